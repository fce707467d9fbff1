//! Change streams of Debezium into `record.upserted` and `record.deleted`.
//!
//! In: one record: Debezium's envelope, bare or under `payload` beside its schema, of PostgreSQL,
//! MySQL (MariaDB) or MongoDB; alone, or as the `value` of a whole record of Kafka beside its key.
//! Out: what is now so of one record of one table.
//!
//! # Meaning
//! | `op` | becomes |
//! |---|---|
//! | `c`, `u`, `r` (snapshot) | `record.upserted` with `after`; before it, if `before` has another key, `record.deleted` of that |
//! | `d` | `record.deleted` of the key in `before`, or of the key beside it |
//! | `t` (the table was emptied) | a problem, or skipped where the mapping says so: it names no record |
//! | `m` (a message beside the tables), tombstones | skipped |
//!
//! The version is the source's position and `/1`, or `/0` for a row of a snapshot: at one position
//! the stream is the newer. A snapshot without a position is older than anything of the stream.
//!
//! # Invariants
//! The event's id is made of position, operation, table and key, so that a record read or sent
//! again is a duplicate.

mod compile; // a mapping's text to this
mod key; // which record of the table it is
mod seen; // what one envelope says

use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::events::{Data, Event, Text};
use crate::limits::is_identifier;
use crate::names::MAX_IDENTIFIER_BYTES;
use crate::records::{RecordDeleted, RecordUpserted};

use super::Mapped;
use super::lookup::Lookup;
use super::slots::{Slot, Tree, with_slots};
use super::values::Fault;

pub(super) use compile::compile;
use seen::Seen;

/// What is wanted of the envelope; the places are those below.
const WANTED: [&str; 17] = [
    "/op",
    "/before",
    "/after",
    "/ts_ms",
    "/source/connector",
    "/source/name",
    "/source/snapshot",
    "/source/ts_ms",
    "/source/db",
    "/source/schema",
    "/source/table",
    "/source/collection",
    "/source/lsn",
    "/source/file",
    "/source/pos",
    "/source/row",
    "/source/ord",
];
const OP: usize = 0;
const BEFORE: usize = 1;
const AFTER: usize = 2;
const SENT: usize = 3;
const CONNECTOR: usize = 4;
const NAME: usize = 5;
const SNAPSHOT: usize = 6;
const CHANGED: usize = 7;
const DB: usize = 8;
const SCHEMA: usize = 9;
const TABLE: usize = 10;
const COLLECTION: usize = 11;
const LSN: usize = 12;
const FILE: usize = 13;
const POS: usize = 14;
const ROW: usize = 15;
const ORD: usize = 16;
/// Where an envelope may stand: as it is, beside its schema, and each in a whole record of Kafka.
const FORMS: [&str; 4] = ["", "/payload", "/value", "/value/payload"];
/// What tells which of them it is, and the key beside it. Their slots come after the envelopes'.
const AROUND: [&str; 7] =
    ["/payload", "/value", "/value/payload", "/topic", "/key", "/key/schema", "/key/payload"];
const PAYLOAD: usize = FORMS.len() * WANTED.len();
const VALUE: usize = PAYLOAD + 1;
const VALUE_PAYLOAD: usize = PAYLOAD + 2;
const TOPIC: usize = PAYLOAD + 3;
const KEY: usize = PAYLOAD + 4;
const KEY_SCHEMA: usize = PAYLOAD + 5;
const KEY_PAYLOAD: usize = PAYLOAD + 6;

/// Key columns, in the order in which they are joined.
type Columns = Box<[Box<str>]>;

/// A mapping of this shape.
#[derive(Debug)]
pub(super) struct Debezium {
    tree: Tree,
    tenant: Box<str>,
    source: Option<Box<str>>,
    /// Of tables that state none.
    key: Option<Columns>,
    names: Lookup,
    tables: Vec<Table>,
    others: Others,
    skips_truncations: bool,
}

/// What the mapping says of one table.
#[derive(Debug, Default)]
struct Table {
    key: Option<Columns>,
    /// What it is called in our events.
    name: Option<Box<str>>,
    skip: bool,
}

/// What becomes of tables that the mapping does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Take,
    Skip,
    Reject,
}

/// The databases whose positions we can order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connector {
    Postgres,
    MySql,
    MongoDb,
}

impl Debezium {
    /// Makes events of one record, all or none.
    pub(super) fn decode<'a>(
        &'a self,
        record: &'a [u8],
        mut emit: impl FnMut(Event<'a>),
    ) -> Result<Mapped, Fault> {
        if matches!(record.trim_ascii(), b"" | b"null") {
            return Ok(Mapped::Skipped);
        }
        with_slots(self.tree.pointers.len(), |slots| {
            let read = self.tree.fill_record(record, slots);
            read.map_err(|it| Box::new(it.problem(record)))?;
            let Some(form) = form(slots) else { return Ok(Mapped::Skipped) };
            let first = form * WANTED.len();
            let seen = Seen { slots: &*slots, pointers: &self.tree.pointers, first };
            let Some((gone, now)) = self.read(&seen)? else { return Ok(Mapped::Skipped) };
            let n = 1 + u32::from(gone.is_some());
            gone.into_iter().for_each(&mut emit);
            emit(now);
            Ok(Mapped::Events(n))
        })
    }

    /// What the record says; before it, what is gone because the key changed.
    #[allow(clippy::type_complexity)]
    fn read<'a>(
        &'a self,
        seen: &Seen<'_, 'a>,
    ) -> Result<Option<(Option<Event<'a>>, Event<'a>)>, Fault> {
        let op = match seen.slot(OP).text().as_deref() {
            Some("c") => 'c',
            Some("u") => 'u',
            Some("r") => 'r',
            Some("d") => 'd',
            Some("t") if self.skips_truncations => return Ok(None),
            Some("t") => {
                let expected = "a change of one record: \"t\" says that a whole table was \
                                emptied (truncations = \"skip\" passes over it)";
                return Err(seen.fault("schemas/unmapped-type", OP, expected));
            }
            Some("m") => return Ok(None),
            _ => {
                let expected = "an operation of Debezium: c, u, r, d, t or m";
                return Err(seen.fault("schemas/unmapped-type", OP, expected));
            }
        };
        let connector = seen.connector()?;
        let (table_at, table) = seen.table(connector)?;
        let rule = self.names.find(&table).map(|it| &self.tables[it]);
        match (rule, self.others) {
            (Some(Table { skip: true, .. }), _) | (None, Others::Skip) => return Ok(None),
            (None, Others::Reject) => {
                let expected = "a table that the mapping names under `tables`";
                return Err(seen.fault("schemas/unmapped-type", table_at, expected));
            }
            _ => {}
        }
        let stated = rule.and_then(|it| it.key.as_ref()).or(self.key.as_ref());
        let beside = seen.beside(connector)?;
        let of_mongo: &[Box<str>] = &[Box::from("_id")];
        let columns: Cow<'_, [Box<str>]> = match (stated, &beside) {
            (Some(columns), _) => Cow::Borrowed(columns),
            (None, Some(beside)) => beside.iter().map(|it| it.0.clone()).collect(),
            (None, None) if connector == Connector::MongoDb => Cow::Owned(of_mongo.to_vec()),
            (None, None) => {
                let expected = format!(
                    "a table whose key the mapping states: tables.{table:?}.key, or `key` for all \
                     (or a record of Kafka that has a key)"
                );
                return Err(seen.fault("schemas/unmapped-type", table_at, expected));
            }
        };
        let key_of = |at: usize, row: Option<&str>| match (stated, &beside) {
            (None, Some(beside)) => seen.key_beside(at, row, beside),
            _ => seen.key(at, row, &columns, beside.as_ref()),
        };
        let named: Text<'a> = match rule.and_then(|it| it.name.as_deref()) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(table),
        };
        if !is_identifier(&named) {
            return Err(seen.fault("schemas/identifier", table_at, "a name of 1 to 128 bytes"));
        }
        let version = seen.version(connector, op == 'r')?;
        let made = Made {
            tenant: &self.tenant,
            source: match &self.source {
                Some(stated) => Cow::Borrowed(stated),
                None => Cow::Owned(seen.source()?),
            },
            time: seen.time()?,
            table: named,
            version,
        };
        if op == 'd' {
            let row = seen.row_text(BEFORE, connector);
            return Ok(Some((None, made.deleted(key_of(BEFORE, row.as_deref())?, 'd'))));
        }
        let fields = seen.row(AFTER, connector)?;
        let key = key_of(AFTER, Some(&fields))?;
        // What Debezium shows of the row before may lack its columns; then its key is the same. A
        // document's `_id` never changes.
        let may_change = op == 'u' && (stated.is_some() || connector != Connector::MongoDb);
        let before = seen.row_text(BEFORE, connector).filter(|_| may_change);
        let was = before.and_then(|it| seen.key(BEFORE, Some(&it), &columns, None).ok());
        let gone = was.filter(|it| *it != key).map(|key| made.deleted(key, 'k'));
        Ok(Some((gone, made.upserted(key, fields, op))))
    }
}

/// Which of [`FORMS`] a record has; `None`: it holds no envelope, and is a tombstone.
fn form(slots: &[Slot<'_>]) -> Option<usize> {
    let whole = slots[TOPIC].is_present() && slots[VALUE] != Slot::Absent;
    if whole && (slots[VALUE] == Slot::Null || slots[VALUE] == Slot::Text("")) {
        return None;
    }
    match slots[if whole { VALUE_PAYLOAD } else { PAYLOAD }] {
        Slot::Null => None,
        Slot::Absent => Some(if whole { 2 } else { 0 }),
        _ => Some(if whole { 3 } else { 1 }),
    }
}

/// What the events of one record have in common.
struct Made<'a> {
    tenant: &'a str,
    source: Text<'a>,
    time: i64,
    table: Text<'a>,
    version: String,
}

impl<'a> Made<'a> {
    fn event(&self, op: char, key: &str, data: Data<'a>) -> Event<'a> {
        let Made { tenant, source, time, table, version } = self;
        let plain = format!("{version}:{op}:{table}:{key}");
        let id = if plain.len() <= MAX_IDENTIFIER_BYTES {
            plain
        } else {
            let mut hasher = SipHasher13::new();
            for part in [table, key] {
                hasher.write(&(part.len() as u64).to_le_bytes());
                hasher.write(part.as_bytes());
            }
            format!("{version}:{op}:{:032x}", hasher.finish128().as_u128())
        };
        let tenant = Cow::Borrowed(*tenant);
        Event { tenant, source: source.clone(), id: id.into(), time: *time, data }
    }

    fn deleted(&self, key: String, op: char) -> Event<'a> {
        let data = Data::RecordDeleted(RecordDeleted {
            table: self.table.clone(),
            key: key.clone().into(),
            version: self.version.clone().into(),
        });
        self.event(op, &key, data)
    }

    fn upserted(&self, key: String, fields: Text<'a>, op: char) -> Event<'a> {
        let data = Data::RecordUpserted(RecordUpserted {
            table: self.table.clone(),
            key: key.clone().into(),
            fields,
            version: self.version.clone().into(),
        });
        self.event(op, &key, data)
    }
}
