//! The models of arrival that were sealed: which, since when, and their bodies.
//!
//! In: the rows of `orders`. Out: [`Entry`]s, and what is asked when a row of `order_visibility` is
//! made (`dataflows::models::arrivals`).
//!
//! # Meaning
//! A model is published once the list (`models/arrivals`, replaced whole) names it; its body
//! (`models/<digest>`) was durable before. It is of what happened before a *boundary*, the start of a
//! UTC day, and speaks of orders that enter a stage at [`Entry::since`] or later, and of how long
//! nothing is usually said of orders of which something was said since then.
//!
//! # Invariants
//! - `since` is after every event time that was read before, and after that of every earlier entry:
//!   no row that was shown is changed by it.
//! - The newest is never taken off the list; one that was followed by another [`KEPT`] ago is, at the
//!   next sealing: no order is told by it any more. Its body goes a sealing later, so that a backup
//!   that has read the list still finds what it names.
//! - At most [`LIST_MAX`] are on it, of at most a megabyte each: all of them are in memory.
//! - Every checkpoint names the newest, so that a list that went missing is noticed.
//!
//! # When it fails
//! A list or a body that cannot be read refuses the start: going on without would say nothing of
//! orders of which something was said.

use std::io;
use std::path::Path;

use schemas::names::Name;
use schemas::reading::{Epoch, Known, Pin};
use schemas::rows::Row;
use schemas::time::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::shelf::{FACT, Shelf};
use super::{
    Fitted, Forecaster, Journey, Lanes, SHOWN, WEIGHS, bytes_of, not_readable, not_written,
    silences, speaks_from, teach,
};
use crate::messages::ReadHandle;
use crate::report::Report;
use crate::segments::{self, read_checked, replace_checked};

/// The list, in the folder of models.
pub const LIST: &str = "arrivals";
/// The list, in the data folder. (In two halves: in one it reads like an error's code.)
pub const LIST_PATH: &str = concat!("models", "/arrivals");
/// What all of them are models of.
pub const NAME: &str = "arrival";
/// The view that they are made from.
pub const VIEW: &str = "orders";
/// Models on the list: one a day for as long as each is kept, and some that were asked for.
pub const LIST_MAX: usize = 128;
/// How long a model is kept once another has followed it, microseconds: ten days longer than an
/// order is told by it.
pub const KEPT: i64 = SHOWN + 10 * DAY;
/// A day, microseconds.
pub const DAY: i64 = 86_400_000_000;

/// A model that was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Counted from one.
    pub version: u32,
    /// Of its body.
    pub digest: String,
    /// Of its body.
    pub bytes: u64,
    /// It knows what happened before this instant, microseconds since the Unix epoch.
    pub boundary: i64,
    /// When it was published, milliseconds since the Unix epoch.
    pub sealed_ms: u64,
    /// It speaks of orders that enter a stage at this instant or later, microseconds since the Unix
    /// epoch.
    pub since: i64,
    /// Orders that had arrived, of all tenants; by stage.
    pub n_arrived: u64,
    /// Keys of lanes of which something is known.
    pub n_keys: u64,
    /// Whether the log has the fact.
    pub told: bool,
}

/// All that are in use, in order, and bodies that are to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// The models.
    pub models: Vec<Entry>,
    /// Digests of those that were taken off at the last sealing.
    pub leaving: Vec<String>,
}

impl Entry {
    /// The name under which it speaks in rows.
    pub fn speaks_as(&self) -> String {
        format!("{NAME} {}", self.version)
    }

    /// By which a checkpoint names it.
    pub fn id(&self) -> String {
        format!("{NAME} {} {}", self.version, self.digest)
    }

    /// For people and the log.
    pub fn as_json(&self) -> Value {
        json!({
            "model": self.speaks_as(), "name": NAME, "version": self.version,
            "digest": self.digest, "bytes": self.bytes, "boundary": rfc3339(self.boundary),
            "sealed_at": rfc3339(self.sealed_ms.cast_signed().saturating_mul(1_000)),
            "in_use_since": rfc3339(self.since),
            "n_arrived": self.n_arrived, "n_keys": self.n_keys,
        })
    }

    /// The fact that tells of it.
    pub fn fact(&self) -> Vec<u8> {
        let time = rfc3339(self.sealed_ms.cast_signed().saturating_mul(1_000));
        let fact = json!({
            "specversion": "1.0", "id": self.id(), "source": "millstream", "type": FACT,
            "subject": self.speaks_as(), "time": time, "data": self.as_json(),
        });
        fact.to_string().into_bytes()
    }
}

impl List {
    /// That of a folder of models.
    pub fn read(shelf: &Shelf) -> Result<List, Report> {
        let path = shelf.dir().join(LIST);
        let cannot = |why: &io::Error| unreadable(&path, &why.to_string());
        let Some(bytes) = read_checked(&path).map_err(|why| cannot(&why))? else {
            return Ok(List::default());
        };
        let list: List = serde_json::from_slice(&bytes).map_err(|why| cannot(&why.into()))?;
        let in_order = list.models.is_sorted_by(|a, b| a.since < b.since && a.version < b.version);
        match in_order && list.models.len() <= LIST_MAX {
            true => Ok(list),
            false => Err(unreadable(&path, "its entries are not in order, or too many")),
        }
    }

    /// This one, from now on, durably.
    pub fn write(&self, shelf: &Shelf) -> Result<(), Report> {
        let path = shelf.dir().join(LIST);
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        bytes
            .and_then(|it| replace_checked(&path, &it))
            .map_err(|why| not_written(&path, &why.to_string()))
    }

    /// All models of it, read and verified.
    pub fn speakers(&self, shelf: &Shelf) -> Result<Vec<Forecaster>, Report> {
        self.models.iter().map(|it| Ok(it.speaker(read(shelf, &it.digest)?))).collect()
    }

    /// By which a checkpoint names the newest.
    pub fn named(&self) -> Option<String> {
        self.models.last().map(Entry::id)
    }

    /// That what a checkpoint names is not newer than what is on the list, and no other.
    pub fn expect(&self, shelf: &Shelf, named: &[String]) -> Result<(), Report> {
        for it in named.iter().filter(|it| is_ours(it)) {
            let mut words = it.split(' ').skip(1);
            let version: Option<u32> = words.next().and_then(|it| it.parse().ok());
            let is_older = |first: &Entry| version.is_some_and(|it| it < first.version);
            // Those that were taken off since were older than all that are left.
            let known = self.models.first().is_some_and(is_older)
                || self.models.iter().any(|entry| entry.id() == *it);
            if !known {
                let why = format!("the newest checkpoint was made with {it}, which it lacks");
                return Err(unreadable(&shelf.dir().join(LIST), &why));
            }
        }
        Ok(())
    }

    /// The list with one more, which is its last, and without those of which no order is told any
    /// more. `now_ms`: the time; `newest_event`: the newest event time that was read, microseconds.
    /// Nothing is written.
    pub fn next(
        &self,
        (model, body, digest): (&Fitted, &[u8], &str),
        (now_ms, newest_event): (u64, i64),
    ) -> Result<List, Report> {
        let last = self.models.last();
        if let Some(it) = last.filter(|it| it.digest == digest) {
            return Err(already(it));
        }
        let now = now_ms.cast_signed().saturating_mul(1_000);
        let followed = self.models.iter().skip(1).map(|it| it.since).chain([i64::MAX]);
        let stays = |next: i64| next > now.saturating_sub(KEPT);
        let (stay, off): (Vec<_>, Vec<_>) =
            self.models.iter().zip(followed).partition(|(_, next)| stays(*next));
        let mut models: Vec<Entry> = stay.into_iter().map(|it| it.0.clone()).collect();
        if models.len() >= LIST_MAX {
            return Err(too_many());
        }
        models.push(Entry {
            version: last.map_or(0, |it| it.version) + 1,
            digest: digest.to_string(),
            bytes: body.len() as u64,
            boundary: model.boundary(),
            sealed_ms: now_ms,
            since: speaks_from(now, newest_event, last.map(|it| it.since)),
            n_arrived: model.n_arrived(),
            n_keys: model.n_keys() as u64,
            told: false,
        });
        let leaving = off.into_iter().map(|it| it.0.digest.clone());
        let leaving = leaving.filter(|it| models.iter().all(|entry| entry.digest != *it));
        Ok(List { leaving: leaving.collect(), models })
    }

    /// Removes the bodies that are to go.
    pub fn let_go(&self, shelf: &Shelf) -> Result<(), Report> {
        for it in self.leaving.iter().filter(|it| super::is_digest(it)) {
            let path = shelf.dir().join(it);
            segments::remove(&path).map_err(|why| not_written(&path, &why.to_string()))?;
        }
        Ok(())
    }
}

impl Entry {
    /// Its model, as it speaks.
    pub fn speaker(&self, model: Fitted) -> Forecaster {
        Forecaster::new(model, &self.speaks_as(), self.since)
    }
}

/// Whether a checkpoint means one of ours by this name.
pub fn is_ours(named: &str) -> bool {
    named.split(' ').next() == Some(NAME)
}

fn read(shelf: &Shelf, digest: &str) -> Result<Fitted, Report> {
    let path = shelf.body_path(digest)?;
    let (body, _) = bytes_of(&path)?;
    Fitted::of_body(&body).ok_or_else(|| {
        not_readable(&path, "expected the body of a model of arrival, as this version writes it")
    })
}

/// The sums of all orders before a boundary; none where there is no view of them, or when it is not
/// to `go_on`. A slice of the view is read at a time, each at the newest instant then: nothing is
/// held for longer, and an order is whole in its row.
pub fn lanes(read: &ReadHandle, boundary: i64, go_on: &dyn Fn() -> bool) -> Option<Lanes> {
    let mut lanes = Lanes::default();
    each_order(read, go_on, &mut |name, row| teach(row, name.tenant(), &mut lanes, boundary))?;
    Some(lanes)
}

/// Shows every order, a slice of the view at a time.
fn each_order(
    read: &ReadHandle,
    go_on: &dyn Fn() -> bool,
    see: &mut dyn FnMut(&Name, &Row),
) -> Option<()> {
    let view = read.views.iter().find(|it| it.def().name == VIEW)?;
    let mut scan = schemas::scanning::Scan::default();
    while !scan.over {
        let pin = read.instants.pin();
        let seen = view.each_known(pin.epoch(), &mut scan, &mut |name, known| {
            if let Known::Row(row) = known {
                see(name, &row);
            }
        });
        drop(pin);
        if seen.is_err() || !go_on() {
            return None;
        }
    }
    Some(())
}

/// The sums of all orders, carried on from one boundary to the next by what changed in between, for
/// who goes through a history: reading a million orders at each of its midnights would take days.
pub struct Carried {
    lanes: Lanes,
    silences: silences::Carried,
    /// Undo, over all views, beyond which nothing is held.
    undo_max_bytes: u64,
    /// Holds the epoch of which the sums are.
    pin: Option<Pin>,
    /// Boundaries so far.
    n: u64,
}

/// A build for tests compares the sums with those of all orders at so many boundaries, and then at
/// each of as many: at all of them it would read a long history for hours.
const COMPARED: u64 = 64;

impl Carried {
    /// Of nothing yet. What changed is told by undo that is held: at most so much, over all views.
    pub fn new(undo_max_bytes: u64) -> Carried {
        Carried {
            lanes: Lanes::default(),
            silences: silences::Carried::default(),
            undo_max_bytes,
            pin: None,
            n: 0,
        }
    }

    /// The sums of all orders before a boundary (a midnight), while nothing is read and nothing was
    /// read of then or later; none as [`lanes`].
    pub fn to(
        &mut self,
        read: &ReadHandle,
        boundary: i64,
        go_on: &dyn Fn() -> bool,
    ) -> Option<&Lanes> {
        let now = read.instants.pin();
        let since = self.pin.take();
        if !since.is_some_and(|it| self.carry(read, (it.epoch(), now.epoch()), boundary)) {
            let (mut lanes, mut silences) = (Lanes::default(), silences::Carried::before(boundary));
            each_order(read, go_on, &mut |name, row| {
                Journey::of(row, name.tenant()).teach(&mut lanes, boundary);
                silences.change(name, None, Some(row));
            })?;
            (self.lanes, self.silences) = (lanes, silences);
        }
        self.lanes.silences = self.silences.at(boundary);
        self.n += 1;
        if cfg!(debug_assertions) && (self.n <= COMPARED || self.n.is_multiple_of(COMPARED)) {
            assert_eq!(Some(&self.lanes), lanes(read, boundary, &|| true).as_ref());
        }
        self.pin = Some(now);
        Some(&self.lanes)
    }

    /// Lets go of the epoch that is held, where that costs too much: then all is read once more.
    pub fn relieve(&mut self, read: &ReadHandle) {
        if self.pin.is_some() && read.instants.undo_bytes() > self.undo_max_bytes {
            self.pin = None;
        }
    }

    /// Whether the sums are those of this boundary now.
    fn carry(&mut self, read: &ReadHandle, (after, upto): (Epoch, Epoch), boundary: i64) -> bool {
        let Some(view) = read.views.iter().find(|it| it.def().name == VIEW) else { return false };
        let (mut before, mut now) = (Lanes::default(), Lanes::default());
        let teach = |name: &Name, row: Option<&Row>, lanes: &mut Lanes| {
            if let Some(row) = row {
                Journey::of(row, name.tenant()).teach(lanes, boundary);
            }
        };
        self.silences.forget(boundary);
        let told = view.changes(after, upto, &mut |name, was, is| {
            teach(name, was.as_ref(), &mut before);
            teach(name, is.as_ref(), &mut now);
            self.silences.change(name, was.as_ref(), is.as_ref());
        });
        if told.is_err() {
            // Whoever asks reads every order now.
            return false;
        }
        self.lanes.forget(boundary.saturating_sub(WEIGHS));
        self.lanes.take_back(&before);
        self.lanes.merge(&now);
        true
    }
}

/// The boundary at which one is to be sealed now: the last midnight in UTC, if none is of that one
/// or a later one.
pub fn due(newest: Option<&Entry>, now_ms: u64) -> Option<i64> {
    let now = now_ms.cast_signed().saturating_mul(1_000);
    let midnight = now.div_euclid(DAY) * DAY;
    newest.is_none_or(|it| it.boundary < midnight).then_some(midnight)
}

fn unreadable(path: &Path, why: &str) -> Report {
    Report {
        code: "models/list",
        what: "cannot tell which models of arrival were sealed".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "nothing was started or changed: orders would be told otherwise than before".into(),
        fix: "put the folder `models` of a backup back in its place".into(),
    }
}

fn already(it: &Entry) -> Report {
    Report {
        code: "models/already",
        what: "did not seal a model that is in use".into(),
        at: vec![("model", it.speaks_as())],
        why: format!("it has the same body, {}", it.digest),
        effect: "nothing was changed".into(),
        fix: "nothing is to be done".into(),
    }
}

fn too_many() -> Report {
    Report {
        code: "models/too-much",
        what: "cannot seal one more model of arrival".into(),
        at: vec![("models", LIST_MAX.to_string())],
        why: format!(
            "expected at most {LIST_MAX}: each is kept for {} days after the next one",
            KEPT / DAY
        ),
        effect: "nothing was published; the one in use stays".into(),
        fix: "leave sealing to the days; there is room again when the oldest are taken off".into(),
    }
}

#[cfg(test)]
mod tests {
    use schemas::events::Status;

    use super::*;
    use crate::models::{Lane, digest, keep};

    /// Sealed on this day, of thirty orders.
    fn model(day: i64) -> Fitted {
        let way = dataflows::models::lanes::Way { tenant: "t", ..Default::default() };
        let lane = Lane::of(&way, Status::Shipped);
        let mut lanes = Lanes::default();
        for day in day - 40..day - 10 {
            lanes.entered(&lane, day * DAY, 1);
            lanes.arrived(&lane, day * DAY, (day + 2) * DAY, 1);
        }
        lanes.sealed(day * DAY).unwrap()
    }

    /// Goal: instants are after everything read and every earlier one; old ones are taken off when
    /// no order is told by them, and their bodies go a sealing later; the list is bounded; what is
    /// damaged, missing or of another is refused. Method: a folder, days gone through by hand.
    #[test]
    fn old_ones_leave_and_what_is_damaged_is_refused() {
        let dir = std::env::temp_dir().join(format!("millstream-arrivals-{}", std::process::id()));
        let shelf = Shelf::at(&dir);
        let mut list = List::read(&shelf).unwrap();
        assert_eq!(list, List::default());
        let mut first = String::new();
        let ms = |day: u64| day * 86_400_000;
        for day in 0..100 {
            let it = model(100 + day as i64);
            let body = it.body();
            let named = keep(&dir, &body).unwrap();
            assert_eq!(named, digest(&body));
            let next = list.next((&it, &body, &named), (ms(day), 7)).unwrap();
            list.let_go(&shelf).unwrap();
            next.write(&shelf).unwrap();
            assert_eq!(List::read(&shelf).unwrap(), next);
            let again = next.next((&it, &body, &named), (ms(day) + 5, 7));
            assert_eq!(again.unwrap_err().code, "models/already");
            list = next;
            if day == 0 {
                first = list.models[0].id();
                assert_eq!(list.models[0].since, 1_000, "after all that was read");
            }
        }
        // Followed on day n + 1 and kept for 90 days.
        let versions: Vec<u32> = list.models.iter().map(|it| it.version).collect();
        assert_eq!(versions, (10..=100).collect::<Vec<u32>>());
        assert_eq!(list.leaving.len(), 1);
        assert!(dir.join(&list.leaving[0]).exists());
        let bodies = std::fs::read_dir(&dir).unwrap().count() - 1;
        assert_eq!(bodies, list.models.len() + 1);
        assert_eq!(list.speakers(&shelf).unwrap().len(), 91);

        let newest = list.named().unwrap();
        let sentiment = "sentiment 3 0123456789abcdef".to_string();
        list.expect(&shelf, &[newest.clone(), sentiment]).unwrap();
        list.expect(&shelf, &[first]).unwrap();
        let refused =
            |it: String| assert_eq!(list.expect(&shelf, &[it]).unwrap_err().code, "models/list");
        refused("arrival 101 0123456789abcdef".into());
        refused("arrival 50 0123456789abcdef".into());
        assert!(List::default().expect(&shelf, &[newest]).is_err(), "a list that went missing");

        let full: Vec<Entry> = (1..=LIST_MAX as u32)
            .map(|n| Entry { version: n, since: i64::from(n), ..list.models[0].clone() })
            .collect();
        let full = List { models: full, leaving: Vec::new() };
        let it = model(20);
        let why = full.next((&it, &it.body(), "other"), (7, 7)).unwrap_err();
        assert_eq!(why.code, "models/too-much");

        let body = dir.join(&list.models[5].digest);
        let whole = std::fs::read(&body).unwrap();
        for damaged in [whole[..whole.len() - 1].to_vec(), [&whole[1..], &whole[..1]].concat()] {
            std::fs::write(&body, damaged).unwrap();
            assert_eq!(list.speakers(&shelf).err().unwrap().code, "models/not-readable");
        }
        let path = dir.join(LIST);
        let whole = std::fs::read(&path).unwrap();
        for n in 0..64 {
            let mut flipped = whole.clone();
            flipped[n * whole.len() / 64] ^= 1 << (n % 8);
            std::fs::write(&path, flipped).unwrap();
            assert_eq!(List::read(&shelf).unwrap_err().code, "models/list");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// Goal: what is taken back leaves nothing behind. Method: the sums of some orders, with others
    /// taken in and taken back, also from sums of nothing else.
    #[test]
    fn what_is_taken_back_was_never_there() {
        let of = |from: &str, days: std::ops::Range<i64>, took: i64| {
            let way = dataflows::models::lanes::Way { from: Some(from), ..Default::default() };
            let lane = Lane::of(&way, Status::Paid);
            let mut lanes = Lanes::default();
            for day in days {
                lanes.entered(&lane, day * DAY, 1);
                lanes.arrived(&lane, day * DAY, (day + took) * DAY, 1);
            }
            lanes
        };
        let (stay, go) = (of("A", 0..9, 2), of("B", 4..20, 3));
        let mut all = stay.clone();
        all.merge(&go);
        assert_ne!(all, stay);
        all.take_back(&go);
        assert_eq!(all, stay);
        all.take_back(&stay);
        assert_eq!(all, Lanes::default());
    }

    /// Goal: each midnight is sealed once. Method: a table.
    #[test]
    fn each_midnight_is_due_once() {
        let it = model(30);
        let next = |now_ms| {
            let next = List::default().next((&it, &it.body(), "d"), (now_ms, 0)).unwrap();
            Entry { boundary: due(None, now_ms).unwrap(), ..next.models[0].clone() }
        };
        let day = 86_400_000;
        assert_eq!(due(None, 5 * day + 1), Some(5 * DAY));
        let entry = next(5 * day + 1);
        assert_eq!(due(Some(&entry), 6 * day - 1), None);
        assert_eq!(due(Some(&entry), 6 * day), Some(6 * DAY));
        assert_eq!(due(Some(&entry), 9 * day + 5), Some(9 * DAY), "only the last of some");
        // One that was asked for in between does not stand for the day.
        let asked = Entry { boundary: 5 * DAY + DAY / 2, ..entry };
        assert_eq!(due(Some(&asked), 6 * day), Some(6 * DAY));
    }
}
