//! The records of foreign tables, as their change streams leave them.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! Of all that was said of a record, the newest by (version, event time, source, id) stands; there
//! is no row where that is a deletion. The version is the position in the source's own log, so a
//! stream that is read again, comes in any order, or is overlapped by a snapshot changes nothing.
//!
//! # State
//! The newest statement, shared with the older versions of the entry that readers may hold. A
//! deleted record keeps the stamp of its deletion, without columns: an older statement that comes
//! after it must not bring it back.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{Data, Event};
use schemas::names::{Name, key_text};
use schemas::records::compare_versions;
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::stamps::{text_bytes, tie};
use crate::{Epoch, Fold, Keep};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "records",
    words: "The records of foreign tables, as their change streams leave them.",
    shape: Shape::Fold,
    key: &["table", "key"],
    fields: &[
        FieldDef {
            name: "table",
            kind: FieldKind::Text,
            nullable: false,
            filterable: true,
            words: "The table, such as public.orders.",
        },
        FieldDef {
            name: "key",
            kind: FieldKind::Text,
            nullable: false,
            filterable: true,
            words: "The record in it: the parts of its key, joined by a slash.",
        },
        FieldDef {
            name: "fields",
            kind: FieldKind::Json,
            nullable: false,
            filterable: false,
            words: "Its columns, by name.",
        },
        FieldDef {
            name: "version",
            kind: FieldKind::Text,
            nullable: false,
            filterable: false,
            words: "The position in the source's log from which on it is so.",
        },
        FieldDef {
            name: "updated_at",
            kind: FieldKind::Time,
            nullable: false,
            filterable: false,
            words: "When the source changed it, by its own clock.",
        },
    ],
};

/// The fold.
pub struct Records;

/// What an event says of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update(Arc<Said>);

/// One statement. Ordered by its stamp.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    version: CompactString,
    /// Event time, microseconds since the Unix epoch.
    at: i64,
    /// Source and id in one text, ordered as the pair is.
    tie: CompactString,
    /// The text of an object; none: the record is deleted.
    fields: Option<CompactString>,
}

/// What is known of a record.
#[derive(Clone, Debug, Default)]
pub struct Record {
    newest: Option<Arc<Said>>,
}

impl Said {
    /// Which of two is the older.
    fn compare(&self, other: &Said) -> Ordering {
        compare_versions(&self.version, &other.version)
            .then(self.at.cmp(&other.at))
            .then_with(|| self.tie.cmp(&other.tie))
    }
}

impl Update {
    /// What an event says of a record, and of which: table and key.
    #[inline]
    pub(crate) fn of<'e>(event: &'e Event<'_>) -> Option<([&'e str; 2], Update)> {
        let (table, key, version, fields) = match &event.data {
            Data::RecordUpserted(it) => (&it.table, &it.key, &it.version, Some(&it.fields)),
            Data::RecordDeleted(it) => (&it.table, &it.key, &it.version, None),
            _ => return None,
        };
        let said = Said {
            version: version.as_ref().into(),
            at: event.time,
            tie: tie(&event.source, &event.id),
            fields: fields.map(|it| it.as_ref().into()),
        };
        Some(([table, key], Update(Arc::new(said))))
    }
}

impl Fold for Records {
    type Update = Update;
    type State = Record;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut Record, Update(said): &Update) {
        if state.newest.as_ref().is_none_or(|it| it.compare(said).is_lt()) {
            state.newest = Some(said.clone());
        }
    }

    fn row(name: &Name, state: &Record, _now: Epoch) -> Option<Row> {
        let said = state.newest.as_deref()?;
        let fields = said.fields.as_deref()?;
        let (table, key) = name.key().split_once('/')?;
        let (table, key) = (crate::decoded(table), crate::decoded(key));
        Some(row(table, key, fields, &said.version, said.at))
    }

    fn exists(state: &Record) -> bool {
        state.newest.as_ref().is_some_and(|it| it.fields.is_some())
    }

    fn heap_bytes(state: &Record) -> usize {
        state.newest.as_ref().map_or(0, |it| {
            let texts = text_bytes(&it.version) + text_bytes(&it.tie);
            16 + size_of::<Said>() + texts + it.fields.as_ref().map_or(0, text_bytes)
        })
    }
}

impl Keep for Records {
    const LAYOUT: &'static str =
        layout!("records 1: 0, or 1 and version, time, source and id, fields or none");

    fn store(state: &Record, into: &mut Vec<u8>) {
        into.push(u8::from(state.newest.is_some()));
        let Some(it) = &state.newest else { return };
        let mut writer = Writer(into);
        writer.text(&it.version);
        writer.int(it.at);
        writer.text(&it.tie);
        writer.maybe(it.fields.as_deref());
    }

    fn restore(bytes: &[u8]) -> Option<Record> {
        let mut from = Checked(bytes);
        match from.byte()? {
            0 => return from.end().map(|()| Record::default()),
            1 => {}
            _ => return None,
        }
        let version = from.text()?.into();
        let at = from.int()?;
        let tie = from.text()?.into();
        let fields = from.maybe()?.map(CompactString::from);
        from.end()?;
        Some(Record { newest: Some(Arc::new(Said { version, at, tie, fields })) })
    }
}

fn row(table: CompactString, key: CompactString, fields: &str, version: &str, at: i64) -> Row {
    // Decoding has seen that it is an object. One that JSON values cannot hold (a number beyond
    // every range) is shown as it was written, never as nothing.
    let fields = serde_json::from_str(fields).unwrap_or_else(|_| fields.into());
    Row {
        values: vec![
            Value::Text(table),
            Value::Text(key),
            Value::Json(fields),
            Value::Text(version.into()),
            Value::Time(at),
        ],
    }
}

/// The view, plainly: of each record what was said last.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut said: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.data {
            Data::RecordUpserted(it) => {
                Some((event, &it.table, &it.key, &it.version, Some(&it.fields)))
            }
            Data::RecordDeleted(it) => Some((event, &it.table, &it.key, &it.version, None)),
            _ => None,
        })
        .collect();
    said.sort_by(|(a, _, _, x, _), (b, _, _, y, _)| {
        let rest = |it: &Event<'static>| (it.time, it.source.clone(), it.id.clone());
        compare_versions(x, y).then_with(|| rest(a).cmp(&rest(b)))
    });
    let mut rows = BTreeMap::new();
    for (event, table, key, version, fields) in said {
        let name = Name::new(&event.tenant, &key_text(&[table, key]));
        match fields {
            Some(fields) => {
                let (table, key) = (table.as_ref().into(), key.as_ref().into());
                rows.insert(name, row(table, key, fields, version, event.time));
            }
            None => drop(rows.remove(&name)),
        }
    }
    rows
}
