//! Takes what is about erased customers out of the files that are kept, and writes down that it did.
//!
//! ```text
//!  view erasures ─who─▶ this thread ─▶ the embedded log: their records are blanked, segment by segment
//!                                   ├▶ the rejects: theirs are blanked
//!                                   ├▶ the state: what is no longer the newest leaves the disk
//!                                   ├▶ the outboxes: what was gathered before leaves it once delivered
//!                                   └▶ erasure.json: what, where, how many, when
//!  sinks that can remove ──▶ erasure-sinks.json: the same of their receivers (there)
//! ```
//!
//! # Meaning
//! A record is theirs if it names an erased customer, or is about an order, a case or an intent of
//! which any record of the log that names one is about. The record `customer.erased` itself stays.
//! What no checkpoint holds yet is left until one does; what comes about them later is taken out
//! once its segment has ended. A reject, and a record that was retried, may be of any form: it is
//! theirs if one of its quoted texts is their id.
//!
//! # State
//! Who is erased, and the orders, cases and intents of theirs that the log speaks of. Both are found
//! anew after a start, when the log is gone through once.
//!
//! # When it fails
//! It is told once and tried again. A crash leaves each file as it was or as it is to be, and the
//! next start goes through all of them again.

pub mod shown; // both, for who asks
pub mod there; // what receivers removed

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use schemas::concerns::{About, about, customers_of};
use schemas::decode;
use schemas::reading::ViewReader;
use schemas::rows::{Row, Value};
use serde::{Deserialize, Serialize};

use crate::ingest::local_log::{Judged, LocalLog};
use crate::messages::ReadHandle;
use crate::rejects::RejectStore;
use crate::report::{Report, log_report};
use crate::segments;
use crate::sinks::Outbox;
use crate::tasks;

/// What was done, in the data folder.
pub const FILE: &str = "erasure.json";

/// Between two looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Who is erased.
const VIEW: &str = "erasures";

/// What the store is asked to forget.
#[derive(Clone, Default)]
pub(super) struct Forget {
    /// Raised by one for each time.
    pub(super) asked: Arc<AtomicU64>,
    /// The last that was done.
    pub(super) done: Arc<AtomicU64>,
}

/// What it works on.
pub(super) struct Behind {
    pub(super) dir: PathBuf,
    pub(super) read: ReadHandle,
    /// How many customers are erased.
    pub(super) erased: Box<dyn Fn() -> usize + Send + Sync>,
    pub(super) log: Arc<LocalLog>,
    pub(super) rejects: RejectStore,
    pub(super) forget: Forget,
    /// What waits for sinks; none: there is no sink.
    pub(super) outbox: Option<Arc<Outbox>>,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) stop: Arc<AtomicBool>,
}

/// That one customer was erased, and what became of what was kept of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Whose customer.
    pub tenant: String,
    /// The customer's id.
    pub customer: String,
    /// The event time of the event that said so first.
    pub erased_at: String,
    /// Its source and id.
    pub source: String,
    /// As above.
    pub id: String,
    /// Records of the log that were blanked.
    pub log_records: u64,
    /// Every record of the log below this position was gone through.
    pub log_upto: u64,
    /// When that was done last, milliseconds since the Unix epoch.
    pub log_at_ms: Option<u64>,
    /// When rejects were gone through last, all of them.
    pub rejects_at_ms: Option<u64>,
    /// When the last older state had left the disk.
    pub state_at_ms: Option<u64>,
    /// When the last that was gathered for sinks before had left the disk: it was delivered.
    #[serde(default)]
    pub outbox_at_ms: Option<u64>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Rejects that were blanked, of anybody.
    pub rejects: u64,
    /// By tenant and customer.
    pub customers: Vec<Certificate>,
}

impl Done {
    /// What the file in a data folder says; nothing where there is none.
    pub fn read(dir: &Path) -> Result<Done, Report> {
        let path = dir.join(FILE);
        let cannot = |why: std::io::Error| segments::cannot_read(&path, &why);
        match segments::read_checked(&path).map_err(cannot)? {
            None => Ok(Done::default()),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|why| cannot(std::io::Error::other(why.to_string()))),
        }
    }
}

/// Starts.
pub(super) fn start(behind: Behind) -> Result<JoinHandle<()>, Report> {
    tasks::thread("erasing", move || {
        let mut it = Erasing::new(behind);
        let mut told = false;
        while !it.behind.stop.load(SeqCst) {
            match it.look() {
                Ok(()) => told = false,
                Err(report) if !std::mem::replace(&mut told, true) => {
                    log_report!(
                        error,
                        report,
                        "what is kept of erased customers could not be removed"
                    );
                }
                Err(_) => {}
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    })
}

struct Erasing {
    behind: Behind,
    /// By place in it customers are counted.
    done: Option<Done>,
    who: Who,
    /// Segments whose records were shown to [`Who`], and that were blanked, by first position.
    shown: HashSet<u64>,
    blanked: HashSet<u64>,
    /// Which time the state was asked to forget, not done yet.
    forgets: Option<u64>,
    /// What was gathered for sinks before is leaving.
    leaving: bool,
}

impl Erasing {
    fn new(behind: Behind) -> Erasing {
        Erasing {
            behind,
            done: None,
            who: Who::default(),
            shown: HashSet::new(),
            blanked: HashSet::new(),
            forgets: None,
            leaving: false,
        }
    }

    fn look(&mut self) -> Result<(), Report> {
        if (self.behind.erased)() == 0 {
            return Ok(());
        }
        let mut done = match self.done.take() {
            Some(it) => it,
            None => Done::read(&self.behind.dir)?,
        };
        let before = done.clone();
        let result = self.work(&mut done);
        let written = if done == before { Ok(()) } else { self.write(&done) };
        self.done = Some(done);
        result.and(written)
    }

    fn write(&self, done: &Done) -> Result<(), Report> {
        let path = self.behind.dir.join(FILE);
        let bytes = serde_json::to_vec_pretty(done).expect("plain fields");
        let cannot = |why: std::io::Error| segments::cannot_write(&path, &why, true);
        segments::replace_checked(&path, &bytes).map_err(cannot)
    }

    fn work(&mut self, done: &mut Done) -> Result<(), Report> {
        if self.who.customers.len() < (self.behind.erased)() {
            self.meet(done);
        }
        self.clear_log(done)?;
        if let Some(asked) = self.forgets
            && self.behind.forget.done.load(SeqCst) >= asked
        {
            // What is gathered from here on has nothing of theirs.
            if let Some(outbox) = &self.behind.outbox {
                outbox.forget()?;
            }
            (self.forgets, self.leaving) = (None, true);
            let now = Some((self.behind.now_ms)());
            let open = done.customers.iter_mut().filter(|it| it.state_at_ms.is_none());
            open.for_each(|it| it.state_at_ms = now);
        }
        if self.leaving && self.behind.outbox.as_ref().is_none_or(|it| it.has_forgotten()) {
            self.leaving = false;
            let now = Some((self.behind.now_ms)());
            let open = done.customers.iter_mut().filter(|it| it.outbox_at_ms.is_none());
            let open = open.filter(|it| it.state_at_ms.is_some());
            open.for_each(|it| it.outbox_at_ms = now);
        }
        if done.customers.iter().any(|it| it.rejects_at_ms.is_none()) {
            let ids = Arc::clone(&self.who.ids);
            done.rejects += self.behind.rejects.blank(Arc::new(move |it| quotes(it, &ids)))?;
            let now = Some((self.behind.now_ms)());
            let open = done.customers.iter_mut().filter(|it| it.rejects_at_ms.is_none());
            open.for_each(|it| it.rejects_at_ms = now);
        }
        Ok(())
    }

    /// Who is erased, as the view says now. New ones are looked for everywhere.
    fn meet(&mut self, done: &mut Done) {
        let Some(view) = self.behind.read.views.iter().find(|it| it.def().name == VIEW) else {
            return;
        };
        let mut known: BTreeMap<(String, String), Certificate> =
            std::mem::take(&mut done.customers)
                .into_iter()
                .map(|it| ((it.tenant.clone(), it.customer.clone()), it))
                .collect();
        for it in rows(&**view, &self.behind.read) {
            known.entry((it.tenant.clone(), it.customer.clone())).or_insert(it);
        }
        done.customers = known.into_values().collect();
        self.who = Who::of(&done.customers);
        self.shown.clear();
        self.blanked.clear();
        self.behind.log.end_segment();
        self.forgets = Some(self.behind.forget.asked.fetch_add(1, SeqCst) + 1);
    }

    /// Goes through what of the log was not gone through yet.
    fn clear_log(&mut self, done: &mut Done) -> Result<(), Report> {
        let log = Arc::clone(&self.behind.log);
        let ended = log.ended();
        let Some(upto) = ended.last().map(|it| it.extent().next) else { return Ok(()) };
        let things = self.who.things.len();
        for segment in ended.iter().filter(|it| !self.shown.contains(&it.header.first)) {
            log.each_record(segment, &mut |it| self.who.hear(it))?;
            if self.behind.stop.load(SeqCst) {
                return Ok(());
            }
        }
        self.shown.extend(ended.iter().map(|it| it.header.first));
        if self.who.things.len() > things {
            // Records about them may stand anywhere before.
            self.blanked.clear();
        }
        let mut is_new = false;
        for segment in &ended {
            if !self.blanked.insert(segment.header.first) {
                continue;
            }
            is_new = true;
            let (who, customers) = (&self.who, &mut done.customers);
            let blanked = log.blank(segment, &mut |it| {
                let whose = who.whose(it);
                if let Some(place) = whose {
                    customers[place].log_records += 1;
                }
                whose.is_some()
            });
            if blanked.is_err() {
                self.blanked.remove(&segment.header.first);
            }
            blanked?;
            if self.behind.stop.load(SeqCst) {
                return Ok(());
            }
        }
        if is_new {
            let now = Some((self.behind.now_ms)());
            for it in &mut done.customers {
                (it.log_upto, it.log_at_ms) = (upto, now);
            }
        }
        Ok(())
    }
}

/// What the view says, as certificates of nothing done yet.
fn rows(view: &dyn ViewReader, read: &ReadHandle) -> Vec<Certificate> {
    let mut all = Vec::new();
    let pin = read.instants.pin();
    let def = view.def();
    let mut take = |name: &schemas::names::Name, row: Row| {
        let of = |field: &str| {
            let place = def.position(field);
            place.and_then(|it| row.values.get(it).cloned()).unwrap_or_default()
        };
        let text = |it: Value| match it {
            Value::Text(it) => it.to_string(),
            Value::Time(it) => schemas::time::rfc3339(it),
            _ => String::new(),
        };
        all.push(Certificate {
            tenant: name.tenant().to_string(),
            customer: text(of("customer")),
            erased_at: text(of("erased_at")),
            source: text(of("source")),
            id: text(of("id")),
            ..Certificate::default()
        });
    };
    if view.for_each(pin.epoch(), &mut take).is_err() {
        // The instant was let go: the next look finds them.
        all.clear();
    }
    all
}

/// Whose records are to go.
#[derive(Default)]
struct Who {
    /// Tenant and id, with the place of their certificate.
    customers: HashMap<(String, String), usize>,
    /// Tenant, and the order, case or intent that is theirs.
    things: HashMap<(String, Thing), usize>,
    /// Ids, of any tenant.
    ids: Arc<HashSet<Vec<u8>>>,
}

/// As [`About`], owned.
#[derive(PartialEq, Eq, Hash)]
enum Thing {
    Order(String),
    Case(String),
    Message(String),
}

impl Thing {
    fn of(it: About<'_>) -> Thing {
        match it {
            About::Order(it) => Thing::Order(it.into()),
            About::Case(it) => Thing::Case(it.into()),
            About::Message(it) => Thing::Message(it.into()),
        }
    }
}

impl Who {
    fn of(all: &[Certificate]) -> Who {
        let each = all.iter().zip(0..);
        let customers =
            each.map(|(it, place)| ((it.tenant.clone(), it.customer.clone()), place)).collect();
        let ids = all.iter().map(|it| it.customer.clone().into_bytes()).collect();
        Who { customers, things: HashMap::new(), ids: Arc::new(ids) }
    }

    fn customer(&self, event: &schemas::events::Event<'_>) -> Option<usize> {
        let of = |it: &str| self.customers.get(&(event.tenant.to_string(), it.to_string()));
        customers_of(event).find_map(of).copied()
    }

    /// What of the log is theirs beside records that name them.
    fn hear(&mut self, it: Judged<'_>) {
        let Ok(event) = decode::structured(it.bytes) else { return };
        if let (Some(place), Some(thing)) = (self.customer(&event), about(&event)) {
            self.things.entry((event.tenant.to_string(), Thing::of(thing))).or_insert(place);
        }
    }

    /// Whose record it is, if it is one's.
    fn whose(&self, it: Judged<'_>) -> Option<usize> {
        if let Ok(event) = decode::structured(it.bytes) {
            let thing = || {
                let thing = Thing::of(about(&event)?);
                self.things.get(&(event.tenant.to_string(), thing)).copied()
            };
            return self.customer(&event).or_else(thing);
        }
        let quoted = it.is_retried.then(|| quoted(it.bytes, &self.ids)).flatten();
        // Of which tenant a foreign record is, only its mapping says: the first who has this id.
        let id = quoted.map(String::from_utf8_lossy)?;
        self.customers.iter().find(|it| it.0.1 == id).map(|it| *it.1)
    }
}

/// The first of a record's quoted texts that is one of these ids.
fn quoted<'r>(record: &'r [u8], ids: &HashSet<Vec<u8>>) -> Option<&'r [u8]> {
    record.split(|it| *it == b'"').find(|it| ids.contains(*it))
}

fn quotes(record: &[u8], ids: &HashSet<Vec<u8>>) -> bool {
    quoted(record, ids).is_some()
}
