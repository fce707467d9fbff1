//! Whether the tables hold what is served, at one epoch.
//!
//! In: the views as they are served at an epoch, which is held, and of which everything has been
//! delivered. Out: of each view both counts, both digests, and the keys that differ.
//!
//! # Meaning
//! A live row is encoded as it is for an insert; the table is asked for the same columns in the same
//! format: where the bytes are the same the rows are. The changes are looked at as of the epoch
//! (`…_at`); of the current rows those that have not been touched since, there or here, in the table
//! itself, so that a row that is gone is seen, too. Events are counted, by their identities: those of
//! the epochs of which this outbox has counted how many it handed over.
//!
//! # State
//! Thirty-two bytes per row of one view; a table is read in pieces.

use std::collections::{HashMap, HashSet};

use schemas::clickhouse::{Column, Of, STILL_COUNTS, Table, as_of, columns};
use schemas::names::Name;
use schemas::reading::ViewReader;
use schemas::rows::{Row, ViewDef};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::coding::Layout;
use super::faults;
use super::server::{Server, Told};
use crate::messages::Epoch;
use crate::sinks::{Batch, Counted, Fault, Packed, Stream};

/// Keys that are named, per table.
const NAMED: usize = 20;

/// What a row is told by.
type Digest16 = u128;

/// Rows by key, and which of them the table has shown.
struct Live {
    rows: HashMap<Digest16, Digest16>,
    /// Over all rows, whatever their order.
    digest: Digest16,
}

/// One view against one of its tables.
pub(super) async fn view(
    server: &Server,
    reader: &dyn ViewReader,
    table: Table,
    (at, upto): (Epoch, Epoch),
) -> Result<Value, Told> {
    let def = reader.def();
    let layout = Layout::of_view(def, table);
    let touched = match table {
        Table::Rows => touched(reader, at, upto)?,
        Table::Changes => HashSet::new(),
    };
    let live = live(reader, &layout, at)?;
    let mut shown = shown(server, def, &layout, table, at).await?;
    shown.later.extend(touched);
    shown.forget_later();
    let (mut missing, mut differing) = (Vec::new(), shown.differing(&live));
    let mut n_missing = 0;
    let told = reader.for_each(at, &mut |name, _| {
        let key = key_of(name.tenant(), name.key());
        if !shown.rows.contains_key(&key) && !shown.later.contains(&key) {
            n_missing += 1;
            if missing.len() < NAMED {
                missing.push(format!("{}/{}", name.tenant(), name.key()));
            }
        }
    });
    told.map_err(|it| gone(def, at, it.oldest))?;
    let n_differing = shown.n_differing(&live);
    missing.sort_unstable();
    differing.sort_unstable();
    Ok(json!({
        "view": def.name,
        "table": layout.table,
        "rows": live.rows.len(),
        "rows_there": shown.rows.len(),
        "digest": format!("{:032x}", live.digest),
        "digest_there": format!("{:032x}", shown.digest),
        "changed_since": shown.later.len(),
        "n_missing": n_missing,
        "n_differing": n_differing,
        "missing": missing,
        "differing": differing,
        "equal": n_missing == 0 && n_differing == 0,
    }))
}

/// The events, counted: their contents are not compared.
/// `erased`: how many were removed since with customers who were erased.
pub(super) async fn events(
    server: &Server,
    counted: Option<Counted>,
    erased: u64,
) -> Result<Value, Told> {
    let table = Layout::events().table;
    let Some(Counted { from, upto, n }) = counted else {
        let why = "no event has been counted yet: ask again";
        return Err(Told::new(None, faults::BUSY, why.into()));
    };
    let sql = format!(
        "SELECT count() AS there FROM {table} FINAL \
         WHERE epoch > {from} AND epoch <= {upto} AND {STILL_COUNTS}"
    );
    let rows = server.rows(&sql, &[]).await?;
    let there = rows.first().and_then(|it| it["there"].as_u64());
    let there =
        there.ok_or_else(|| Told::new(Some(Fault::Unknown), faults::UNKNOWN, "no count".into()))?;
    let since = schemas::time::rfc3339(i64::try_from(from).unwrap_or(i64::MAX) * 1_000);
    Ok(json!({
        "view": "events",
        "table": table,
        "rows": n,
        "rows_there": there,
        "counted": format!("counted since {since}"),
        "above_epoch": from,
        "upto_epoch": upto,
        "n_erased": erased,
        "n_missing": n.saturating_sub(there + erased),
        "n_differing": there.saturating_sub(n),
        "missing": [],
        "differing": [],
        // Those that were removed may be of before it was counted.
        "equal": there <= n && n <= there + erased,
    }))
}

fn gone(def: &ViewDef, at: Epoch, oldest: Epoch) -> Told {
    let why = format!("{}: epoch {at} is no longer held (oldest: {oldest}); ask again", def.name);
    Told::new(None, faults::BUSY, why)
}

/// Keys of the entities that were touched since.
fn touched(reader: &dyn ViewReader, at: Epoch, upto: Epoch) -> Result<HashSet<Digest16>, Told> {
    let mut touched = HashSet::new();
    let told = reader.changes(at, upto, &mut |name, _, _| {
        touched.insert(key_of(name.tenant(), name.key()));
    });
    told.map_err(|it| gone(reader.def(), at, it.oldest))?;
    Ok(touched)
}

fn live(reader: &dyn ViewReader, layout: &Layout, at: Epoch) -> Result<Live, Told> {
    let def = reader.def();
    let mut live = Live { rows: HashMap::new(), digest: 0 };
    let mut wrong = None;
    let told = reader.for_each(at, &mut |name, row| match encoded(def, layout, name, &row) {
        Ok(bytes) => {
            let digest = digest(&[&bytes]);
            live.digest = live.digest.wrapping_add(digest);
            live.rows.insert(key_of(name.tenant(), name.key()), digest);
        }
        Err(why) => wrong = Some(why),
    });
    told.map_err(|it| gone(def, at, it.oldest))?;
    match wrong {
        None => Ok(live),
        Some(why) => Err(Told::new(Some(Fault::Data), faults::ROW, why)),
    }
}

/// Tenant, key and fields of a row, as an insert would have them.
fn encoded(
    def: &'static ViewDef,
    layout: &Layout,
    name: &Name,
    row: &Row,
) -> Result<Vec<u8>, String> {
    let mut packed = Packed::default();
    packed.row(name, 0, Some(row));
    layout.fields(&Batch::of("", Stream::Rows(def), 0, 0, packed))
}

fn digest(pieces: &[&[u8]]) -> Digest16 {
    let mut hasher = Sha256::new();
    pieces.iter().for_each(|it| hasher.update(it));
    let whole = hasher.finalize();
    whole.first_chunk::<16>().map_or(0, |it| u128::from_le_bytes(*it))
}

fn key_of(tenant: &str, key: &str) -> Digest16 {
    digest(&[tenant.as_bytes(), b"\0", key.as_bytes()])
}

/// What a table has shown.
#[derive(Default)]
struct Shown {
    /// By key: the row's digest, and its name.
    rows: HashMap<Digest16, (Digest16, Box<str>)>,
    /// Keys that were touched since the epoch.
    later: HashSet<Digest16>,
    digest: Digest16,
}

impl Shown {
    /// What was touched since is not compared.
    fn forget_later(&mut self) {
        let Shown { rows, later, digest } = self;
        rows.retain(|key, row| {
            let stays = !later.contains(key);
            if !stays {
                *digest = digest.wrapping_sub(row.0);
            }
            stays
        });
    }

    fn differs(&self, live: &Live, key: &Digest16, row: &Digest16) -> bool {
        live.rows.get(key) != Some(row)
    }

    fn n_differing(&self, live: &Live) -> usize {
        self.rows.iter().filter(|(key, row)| self.differs(live, key, &row.0)).count()
    }

    fn differing(&self, live: &Live) -> Vec<&str> {
        let differ = self.rows.iter().filter(|(key, row)| self.differs(live, key, &row.0));
        differ.take(NAMED).map(|it| &*it.1.1).collect()
    }
}

async fn shown(
    server: &Server,
    def: &ViewDef,
    layout: &Layout,
    table: Table,
    at: Epoch,
) -> Result<Shown, Told> {
    let names: Vec<String> = layout.columns.iter().map(|it| format!("`{}`", it.name)).collect();
    let n_fields = names.len() - 3;
    let fields = names[..n_fields].join(", ");
    let sql = match table {
        Table::Changes => {
            as_of(def.name, &format!("{fields}, toUInt8(0) AS gone"), &at.to_string())
        }
        Table::Rows => format!(
            "SELECT {fields}, is_deleted, epoch FROM (SELECT * FROM {} \
             WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0) AND {STILL_COUNTS} \
             ORDER BY tenant DESC, key_text DESC, row_version DESC LIMIT 1 BY tenant, key_text)",
            layout.table
        ),
    };
    let mut shown = Shown::default();
    let columns = &columns(def, table)[..n_fields];
    let mut take = |tenant: &[u8], key: &[u8], row: &[u8], is_deleted: u8, epoch: u64| {
        let name = format!("{}/{}", String::from_utf8_lossy(tenant), String::from_utf8_lossy(key));
        let key = digest(&[tenant, b"\0", key]);
        if table == Table::Rows && epoch > at {
            shown.later.insert(key);
        } else if is_deleted == 0 {
            let row = digest(&[row]);
            shown.digest = shown.digest.wrapping_add(row);
            shown.rows.insert(key, (row, name.into()));
        }
    };
    server.rows_as_bytes(&sql, &mut |bytes| read(columns, bytes, &mut take)).await?;
    Ok(shown)
}

/// Who takes rows: tenant, key, the bytes of all fields, whether it is gone, epoch.
type Take<'t> = dyn FnMut(&[u8], &[u8], &[u8], u8, u64) + 't;

/// Takes the whole rows at the beginning; how many bytes they are.
fn read(columns: &[Column], bytes: &[u8], take: &mut Take<'_>) -> usize {
    let mut used = 0;
    loop {
        let row = &bytes[used..];
        let mut rest = row;
        let (Some(tenant), Some(key)) = (text(&mut rest), text(&mut rest)) else { return used };
        if columns[2..].iter().try_for_each(|it| skip(it, &mut rest)).is_none() {
            return used;
        }
        let fields = &row[..row.len() - rest.len()];
        let Some((head, after)) = rest.split_first_chunk::<9>() else { return used };
        let epoch = head.last_chunk::<8>().map_or(0, |it| u64::from_le_bytes(*it));
        take(tenant, key, fields, head[0], epoch);
        used = bytes.len() - after.len();
    }
}

fn skip(column: &Column, rest: &mut &[u8]) -> Option<()> {
    if column.nullable {
        let (null, after) = rest.split_first()?;
        *rest = after;
        if *null == 1 {
            return Some(());
        }
    }
    let n = match column.of {
        Of::Text | Of::Words | Of::Json => {
            text(rest)?;
            0
        }
        Of::Money => {
            let entries = number(rest)?;
            for _ in 0..entries {
                text(rest)?;
                *rest = rest.get(8..)?;
            }
            0
        }
        Of::One(_) | Of::Bool | Of::Flag | Of::Sign => 1,
        Of::Small => 4,
        Of::Int | Of::Number | Of::Time => 8,
    };
    *rest = rest.get(n..)?;
    Some(())
}

fn text<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let mut after = *rest;
    let len = number(&mut after)?;
    let (text, after) = after.split_at_checked(len)?;
    *rest = after;
    Some(text)
}

/// LEB128.
fn number(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..).step_by(7).take(9) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
