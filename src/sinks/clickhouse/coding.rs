//! Rows, events and marks as ClickHouse's RowBinaryWithNamesAndTypes.
//!
//! # Meaning
//! What is sent begins with the names and types of its columns, so that the server compares them
//! with its own before it takes a row: a table that was altered is refused, never filled with bytes
//! that were meant for another (docs/decisions/clickhouse-rows.md).

use schemas::clickhouse::{Column, Of, Table, columns, event_columns, progress_columns};
use schemas::rows::ViewDef;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sinks::{Batch, Mark, OutEvent, OutRow, Stream, Value};

/// What ends a row: epoch, incarnation, a flag.
const OURS_BYTES: usize = 8 + 8 + 1;

/// How a table is written.
pub(super) struct Layout {
    /// The table.
    pub(super) table: String,
    /// What is inserted, in its order.
    pub(super) columns: Vec<Column>,
    /// Names and types, as they begin every insert.
    header: Vec<u8>,
    /// Whether a row that is gone is told as -1 (else as 1: deleted).
    signs: bool,
}

impl Layout {
    /// Of one of a view's tables.
    pub(super) fn of_view(def: &ViewDef, table: Table) -> Layout {
        let signs = table == Table::Changes;
        Layout::new(table.name(def.name), columns(def, table), signs)
    }

    /// Of the events' table.
    pub(super) fn events() -> Layout {
        Layout::new("events_rows".into(), event_columns(), false)
    }

    /// Of the marks' table.
    pub(super) fn marks() -> Layout {
        Layout::new("_progress".into(), progress_columns(), false)
    }

    fn new(table: String, columns: Vec<Column>, signs: bool) -> Layout {
        let mut header = Vec::new();
        count(&mut header, columns.len());
        columns.iter().for_each(|it| text(&mut header, it.name));
        columns.iter().for_each(|it| text(&mut header, &it.sql_type()));
        Layout { table, columns, header, signs }
    }

    /// The statement that the bytes belong to.
    pub(super) fn statement(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|it| format!("`{}`", it.name)).collect();
        let names = names.join(", ");
        format!("INSERT INTO `{}` ({names}) FORMAT RowBinaryWithNamesAndTypes", self.table)
    }

    /// A batch of this table; or what of it cannot be a row there.
    pub(super) fn encode(&self, batch: &Batch) -> Result<Vec<u8>, String> {
        let mut into = Vec::with_capacity(self.header.len() + batch.items.bytes().len() * 5 / 4);
        into.extend_from_slice(&self.header);
        match batch.stream {
            Stream::Rows(_) | Stream::Changes(_) => {
                for row in batch.rows() {
                    self.row(&mut into, batch, &row).map_err(|why| {
                        format!("tenant {:?}, key {:?}: {why}", row.tenant, row.key)
                    })?;
                }
            }
            Stream::Events => {
                for event in batch.events() {
                    encode_event(&mut into, batch, &event).map_err(|why| {
                        format!("{}/{}@{}: {why}", event.feed, event.partition, event.offset)
                    })?;
                }
            }
            Stream::Marks => marks(&mut into, batch),
        }
        Ok(into)
    }

    /// The first row of a batch without what is ours: tenant, key, fields.
    pub(super) fn fields(&self, batch: &Batch) -> Result<Vec<u8>, String> {
        let mut into = Vec::new();
        if let Some(row) = batch.rows().next() {
            self.row(&mut into, batch, &row)?;
        }
        into.truncate(into.len().saturating_sub(OURS_BYTES));
        Ok(into)
    }

    fn row(&self, into: &mut Vec<u8>, batch: &Batch, row: &OutRow<'_>) -> Result<(), String> {
        text(into, row.tenant);
        text(into, row.key);
        // Tenant and key before the fields; epoch, incarnation and a flag after them.
        let fields = &self.columns[2..self.columns.len() - 3];
        if row.is_deleted() {
            fields.iter().for_each(|it| nothing(into, it));
        } else {
            let mut values = row.values();
            for column in fields {
                let value = values.next().unwrap_or(Value::Null);
                field(into, column, value).map_err(|why| format!("{}: {why}", column.name))?;
            }
        }
        into.extend_from_slice(&row.epoch.to_le_bytes());
        into.extend_from_slice(&batch.incarnation.to_le_bytes());
        into.push(match (self.signs, row.is_deleted()) {
            (false, deleted) => u8::from(deleted),
            (true, false) => 1,
            (true, true) => (-1i8) as u8,
        });
        Ok(())
    }
}

/// One value in its column.
fn field(into: &mut Vec<u8>, column: &Column, value: Value<'_>) -> Result<(), String> {
    if column.nullable {
        into.push(u8::from(value == Value::Null));
        if value == Value::Null {
            return Ok(());
        }
    }
    match (column.of, value) {
        (Of::Text | Of::Words, Value::Text(it)) | (Of::Json, Value::Json(it)) => text(into, it),
        (Of::One(words), Value::Text(it)) => match words.iter().position(|word| *word == it) {
            Some(at) => into.push(at as u8 + 1),
            None => return Err(format!("expected one of {}, found {it:?}", words.join(", "))),
        },
        (Of::Int, Value::Int(it)) => into.extend_from_slice(&it.to_le_bytes()),
        (Of::Bool, Value::Bool(it)) => into.push(u8::from(it)),
        (Of::Time, Value::Time(it)) => into.extend_from_slice(&millis(it).to_le_bytes()),
        (Of::Money, Value::Json(it)) => money(into, it)?,
        (Of::Money | Of::Json, Value::Null) => nothing(into, column),
        (_, found) => return Err(format!("expected {:?}, found {found:?}", column.of)),
    }
    Ok(())
}

/// What stands in a field of which there is nothing: of a row that is gone.
fn nothing(into: &mut Vec<u8>, column: &Column) {
    if column.nullable {
        into.push(1);
        return;
    }
    match column.of {
        // The length of a text, the number of a map's entries, the flag.
        Of::Text | Of::Words | Of::Json | Of::Money | Of::Bool | Of::Flag | Of::Sign => {
            into.push(0)
        }
        Of::One(_) => into.push(1),
        Of::Int | Of::Number | Of::Time => into.extend_from_slice(&[0; 8]),
        Of::Small => into.extend_from_slice(&[0; 4]),
    }
}

/// `{"EUR":1200}` as a map.
fn money(into: &mut Vec<u8>, json: &str) -> Result<(), String> {
    if json == "{}" {
        into.push(0);
        return Ok(());
    }
    let map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|why| format!("expected money, found {why}"))?;
    count(into, map.len());
    for (currency, amount) in &map {
        let amount =
            amount.as_i64().ok_or_else(|| format!("expected an amount, found {amount}"))?;
        text(into, currency);
        into.extend_from_slice(&amount.to_le_bytes());
    }
    Ok(())
}

/// The fields of an envelope that are columns.
#[derive(Deserialize)]
struct Envelope<'e> {
    #[serde(borrow)]
    source: std::borrow::Cow<'e, str>,
    #[serde(borrow)]
    id: std::borrow::Cow<'e, str>,
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'e, str>,
    #[serde(borrow, default)]
    subject: Option<std::borrow::Cow<'e, str>>,
    #[serde(borrow)]
    time: std::borrow::Cow<'e, str>,
    #[serde(borrow, default)]
    tenant: Option<std::borrow::Cow<'e, str>>,
    #[serde(borrow, default, rename = "data")]
    _data: Option<&'e RawValue>,
}

fn encode_event(into: &mut Vec<u8>, batch: &Batch, it: &OutEvent<'_>) -> Result<(), String> {
    let json = std::str::from_utf8(it.json).map_err(|why| why.to_string())?;
    let envelope: Envelope<'_> = serde_json::from_str(json).map_err(|why| why.to_string())?;
    let time = schemas::time::parse_rfc3339(&envelope.time);
    let time =
        time.ok_or_else(|| format!("time: expected an instant, found {:?}", envelope.time))?;
    text(into, envelope.tenant.as_deref().unwrap_or(schemas::names::DEFAULT_TENANT));
    text(into, &envelope.source);
    text(into, &envelope.id);
    text(into, &envelope.kind);
    text(into, envelope.subject.as_deref().unwrap_or(""));
    into.extend_from_slice(&millis(time).to_le_bytes());
    into.extend_from_slice(&i64::try_from(it.appended_ms).unwrap_or(i64::MAX).to_le_bytes());
    text(into, it.feed);
    into.extend_from_slice(&it.partition.to_le_bytes());
    into.extend_from_slice(&it.offset.to_le_bytes());
    text(into, json);
    into.extend_from_slice(&it.epoch.to_le_bytes());
    into.extend_from_slice(&batch.incarnation.to_le_bytes());
    Ok(())
}

/// Of the marks of a batch the last, and the first from which on everything is there: of the
/// latter the smallest epoch stands, of the former the greatest.
fn marks(into: &mut Vec<u8>, batch: &Batch) {
    const LATEST: u8 = 1;
    const WHOLE: u8 = 2;
    let mut one = |sort: u8, it: &Mark, version: u64| {
        into.extend_from_slice(&batch.incarnation.to_le_bytes());
        into.push(sort);
        into.extend_from_slice(&it.epoch.to_le_bytes());
        into.extend_from_slice(&it.forked_at.to_le_bytes());
        into.extend_from_slice(&version.to_le_bytes());
    };
    if let Some(it) = batch.marks().last() {
        one(LATEST, &it, it.epoch);
    }
    if let Some(it) = batch.marks().find(|it| it.whole) {
        one(WHOLE, &it, u64::MAX - it.epoch);
    }
}

/// Microseconds as milliseconds: what the columns hold.
fn millis(micros: i64) -> i64 {
    micros.div_euclid(1_000)
}

fn text(into: &mut Vec<u8>, text: &str) {
    count(into, text.len());
    into.extend_from_slice(text.as_bytes());
}

/// LEB128.
fn count(into: &mut Vec<u8>, mut it: usize) {
    while it >= 0x80 {
        into.push(it as u8 | 0x80);
        it >>= 7;
    }
    into.push(it as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::Packed;
    use schemas::names::Name;
    use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value as Field};

    static DEF: ViewDef = ViewDef {
        name: "cases",
        words: "",
        shape: Shape::Fold,
        key: &["case"],
        fields: &[
            FieldDef::new("case", FieldKind::Text, false, false, ""),
            FieldDef::new("status", FieldKind::Text, false, false, ""),
            FieldDef::new("opened_at", FieldKind::Time, true, false, ""),
            FieldDef::new("spend", FieldKind::Money, false, false, ""),
        ],
    };

    fn encoded(status: &str) -> Result<Vec<u8>, String> {
        let layout = Layout::of_view(&DEF, Table::Changes);
        let values = vec![
            Field::Text("C".into()),
            Field::Text(status.into()),
            Field::Time(-1),
            Field::Json(serde_json::json!({"EUR": 5})),
        ];
        let mut packed = Packed::default();
        packed.row(&Name::new("t", "C"), 7, Some(&Row { values }));
        packed.row(&Name::new("t", "D"), 8, None);
        let batch = Batch::of("1", Stream::Changes(&DEF), 9, 9, packed);
        let bytes = layout.encode(&batch)?;
        assert!(bytes.starts_with(&layout.header));
        Ok(bytes[layout.header.len()..].to_vec())
    }

    /// Goal: rows are as the format says, byte by byte. Method: one of each kind, and one that is
    /// gone; a word that its list does not have is told with its row.
    #[test]
    fn rows_are_as_the_format_says() {
        let mut expected = b"\x01t\x01C\x01C\x02\x00".to_vec();
        expected.extend_from_slice(&(-1i64).to_le_bytes()); // floor, not toward zero
        expected.extend_from_slice(b"\x01\x03EUR\x05\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x01");
        expected.extend_from_slice(b"\x01t\x01D\x00\x01\x01\x00");
        expected.extend_from_slice(b"\x08\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\xff");
        assert_eq!(encoded("assigned").unwrap(), expected);
        let why = encoded("lost").unwrap_err();
        assert!(why.starts_with("tenant \"t\", key \"C\": status: expected one of open"), "{why}");
        let mut long = Vec::new();
        count(&mut long, 300);
        assert_eq!(long, [0xac, 0x02]);
    }
}
