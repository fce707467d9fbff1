//! How rows are read: the door through which serving, sinks and digests see a view, without
//! knowing how it is kept.

use crate::names::Name;
use crate::rows::{Row, Value, ViewDef};
use crate::scanning::{Scan, Wanted};

/// Logical time: milliseconds since the Unix epoch, strictly increasing.
pub type Epoch = u64;

/// The epoch asked for is no longer kept: its lease was revoked, or it was never held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The oldest epoch that can still be read.
    pub oldest: Epoch,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// Rows in the order of the key's text.
    pub rows: Vec<(Name, Row)>,
    /// Key text to go on after, if there may be more.
    pub next: Option<String>,
}

/// What a view holds and costs.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapStats {
    /// Entities, rows or not.
    pub entities: u64,
    /// Bytes: index, slab, states and names with what they keep outside.
    pub bytes: u64,
    /// Bytes of undo lists.
    pub undo_bytes: u64,
}

/// Which rows a page keeps: told by some of their fields, so that of all others nothing is made.
#[derive(Clone, Copy)]
pub struct Keep<'a> {
    /// Places of the fields that are looked at.
    pub fields: &'a [usize],
    /// Whether a row with these values of them is kept.
    pub wants: &'a dyn Fn(&[Value]) -> bool,
}

impl Keep<'_> {
    /// Every row.
    pub const ALL: Keep<'static> = Keep { fields: &[], wants: &|_| true };

    /// Whether a row that is there already is kept.
    pub fn row(&self, row: &Row) -> bool {
        let values: Vec<Value> = self.fields.iter().map(|it| row.values[*it].clone()).collect();
        (self.wants)(&values)
    }
}

/// What a view knows of an entity.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// It has a row.
    Row(Row),
    /// It had one, of which this is left.
    Left(&'static str),
}

/// Some fields of a row before or after; none: there is no row.
pub type Side<'a> = Option<&'a [Value]>;

/// A view as readers see it: rows at one epoch.
pub trait ViewReader: Send + Sync {
    /// Its definition.
    fn def(&self) -> &'static ViewDef;
    /// One row. `key` is the key's text (parts percent-encoded, joined by `/`).
    fn get(&self, tenant: &str, key: &str, at: Epoch) -> Result<Option<Row>, Gone>;
    /// Rows after a key text, that `keep` wants, until `limit` are found or `examine` were
    /// looked at (then `next` says where to go on).
    fn page(
        &self,
        tenant: &str,
        after: Option<&str>,
        at: Epoch,
        limit: usize,
        examine: usize,
        keep: Keep<'_>,
    ) -> Result<Page, Gone>;
    /// Rows of a tenant.
    fn count(&self, tenant: &str, at: Epoch) -> u64;
    /// Rows of all tenants, newest (progress lines, metrics).
    fn rows(&self) -> u64;
    /// Every entity touched in `(after, upto]`, with its row at both ends. `after` must have
    /// been held (leased or pinned) since before.
    #[allow(clippy::type_complexity)] // a name for it would say less
    fn changes(
        &self,
        after: Epoch,
        upto: Epoch,
        emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone>;
    /// The same of those only that are wanted by some fields of the row at both ends: rows are made
    /// for no others.
    #[allow(clippy::type_complexity)] // as above
    fn changes_where(
        &self,
        (after, upto): (Epoch, Epoch),
        (fields, wants): (&[usize], &mut dyn FnMut(Side<'_>, Side<'_>) -> bool),
        emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        let some = |row: &Row| -> Vec<Value> {
            fields.iter().map(|it| row.values.get(*it).cloned().unwrap_or(Value::Null)).collect()
        };
        self.changes(after, upto, &mut |name, old, new| {
            let (before, now) = (old.as_ref().map(some), new.as_ref().map(some));
            if wants(before.as_deref(), now.as_deref()) {
                emit(name, old, new);
            }
        })
    }
    /// Every row, in no order (digests, dumps).
    fn for_each(&self, at: Epoch, emit: &mut dyn FnMut(&Name, Row)) -> Result<(), Gone>;
    /// What is known of one entity: its row, or what is left of it.
    fn known(&self, tenant: &str, key: &str, at: Epoch) -> Result<Option<Known>, Gone> {
        Ok(self.get(tenant, key, at)?.map(Known::Row))
    }
    /// Some more of what is known, of all tenants, in no order; gives how many were looked at. Call
    /// again until the scan is over; between two calls nothing is held.
    fn each_known(
        &self,
        at: Epoch,
        scan: &mut Scan,
        emit: &mut dyn FnMut(&Name, Known),
    ) -> Result<usize, Gone> {
        let mut n = 0;
        self.for_each(at, &mut |name, row| {
            n += 1;
            emit(name, Known::Row(row));
        })?;
        scan.over = true;
        Ok(n)
    }
    /// Some fields of one row, appended to `into`; false: there is no such row.
    fn fields_of(
        &self,
        tenant: &str,
        key: &str,
        at: Epoch,
        fields: &[usize],
        into: &mut Vec<Value>,
    ) -> Result<bool, Gone>;
    /// What is wanted of some more of a tenant's rows, in no order, appended to `into`; gives how
    /// many rows that were. Call again until the scan is over; between two calls nothing is held.
    fn scan(
        &self,
        tenant: &str,
        at: Epoch,
        wanted: &Wanted,
        scan: &mut Scan,
        into: &mut Vec<Value>,
    ) -> Result<usize, Gone>;
    /// Size and cost.
    fn stats(&self) -> MapStats;
    /// Merges new keys into the ordered index; true if there was work. Called from a
    /// housekeeping thread, never from a worker.
    fn merge_index(&self) -> bool;
}

/// Which instants can be read: one per process, over all views and workers.
pub trait Instants: Send + Sync {
    /// The last complete epoch.
    fn complete(&self) -> Epoch;
    /// Holds the last complete epoch for a short read (one request). Cheap, never revoked while
    /// the guard lives; guards must live milliseconds.
    fn pin(&self) -> Pin;
    /// Holds an epoch for a listing's cursor or a stream, for `lease_ms` of wall time from now
    /// (`now_ms`), shared by all who lease the same epoch; renewed by calling again. Revoked
    /// early when undo exceeds its limit. `Gone` if the epoch is no longer kept.
    fn lease(&self, epoch: Epoch, now_ms: u64, lease_ms: u64) -> Result<(), Gone>;
    /// Lets leases end that are over at `now_ms`, and revokes the oldest while undo exceeds its
    /// limit. Called by housekeeping a few times a second.
    fn expire(&self, now_ms: u64);
    /// Undo bytes over all views.
    fn undo_bytes(&self) -> u64;
}

/// A short read's hold on one epoch; released when dropped.
pub struct Pin {
    epoch: Epoch,
    release: Option<Box<dyn FnOnce() + Send>>,
}

impl Pin {
    /// A hold that is let go by `release`.
    pub fn new(epoch: Epoch, release: Box<dyn FnOnce() + Send>) -> Pin {
        Pin { epoch, release: Some(release) }
    }
    /// The epoch held.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}
