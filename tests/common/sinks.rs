//! The kit that every sink passes: a whole engine with its log and its checkpoints, a sink over a
//! real receiver, and a temper between the two that makes it fail in every way that there is.
//!
//! A sink of another kind passes it by a [`Subject`]: how it is made, and what its receiver holds.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream::config::Settings;
use millstream::report::Report;
use millstream::run::{Plan, Running, start};
use millstream::sinks::{
    Against, Batch, Declared, Delivering, Delivery, Fault, Given, Limits, Mark, Sink, Stream, Value,
};
use parking_lot::Mutex;
use serde_json::Value as Json;

/// View, tenant, key.
pub type Key = (String, String, String);
/// Rows by their keys, as text: one that is deleted is none.
pub type Rows = BTreeMap<Key, String>;

/// A sink under test and its receiver.
pub trait Subject: Sync {
    /// The sink, new, over the same receiver as before.
    fn sink(&self, declared: Declared) -> Arc<dyn Sink>;
    /// Whether its receiver holds, of one incarnation, these current rows, and changes that amount
    /// to them; but for rows for which `but` holds. What differs, otherwise.
    fn holds(
        &self,
        world: &World<'_>,
        live: &Rows,
        but: &dyn Fn(&str) -> bool,
    ) -> Result<(), String>;
    /// Somebody empties it.
    fn empty(&self);
    /// How long it may take for a batch.
    fn timeout(&self) -> Duration {
        Duration::from_millis(300)
    }
}

/// As [`Subject::holds`] answers, of rows that were found.
pub fn same(
    what: &str,
    mut found: Rows,
    live: &Rows,
    but: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    let mut live = live.clone();
    live.retain(|key, _| !but(&key.2));
    found.retain(|key, _| !but(&key.2));
    let why = differ(what, &found, &live);
    if why.is_empty() { Ok(()) } else { Err(why) }
}

/// How a receiver behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Temper {
    Well,
    /// As the receiver itself answers.
    AsItIs,
    /// Fails before anything is kept.
    FailsBefore,
    /// Keeps it, and says that it failed.
    FailsAfter,
    /// Never answers, and keeps nothing.
    Hangs,
    /// Keeps it, and never answers.
    HangsAfter,
    /// Takes its time.
    Slow(Duration),
    /// Refuses batches with rows whose key this number divides, by a hash.
    RefusesOneOf(u64),
    /// Refuses everything for its configuration.
    Misconfigured,
    /// Fails, and nobody knows why.
    Unknown,
    /// The receiver is not fit.
    Unfit,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: String,
    pub seq: u64,
    pub stream: String,
    pub whole: bool,
    pub items: usize,
    pub durable: bool,
    /// For what is in it: then its halves come, and of a single row nothing more.
    pub refused: bool,
}

/// What was seen of everything handed over; over restarts.
#[derive(Default)]
pub struct Seen {
    pub attempts: Vec<Attempt>,
    /// What each id stood for.
    bytes: HashMap<String, (String, u64, Vec<u8>)>,
    /// Under which id an item was durable.
    items: HashMap<(String, u64, Key, u64), String>,
    /// The newest instant that a mark spoke of, by incarnation.
    pub marks: BTreeMap<u64, Mark>,
    /// The newest change of each key.
    changes: HashMap<(u64, Key), u64>,
    /// By stream: a sink that takes two has two of different ones.
    last_seq: HashMap<String, u64>,
    /// Events that were durable, under which id.
    pub events: BTreeMap<String, String>,
    /// Items are allowed to come again: someone asked for all anew.
    pub again: bool,
}

pub struct Tempered {
    inner: Arc<dyn Sink>,
    stage: Arc<Stage>,
}

/// What the test and the sink share.
#[derive(Default)]
pub struct Stage {
    pub temper: Mutex<Option<Temper>>,
    pub seen: Mutex<Seen>,
}

impl Stage {
    pub fn set(&self, temper: Temper) {
        *self.temper.lock() = Some(temper);
    }
    fn temper(&self) -> Temper {
        self.temper.lock().unwrap_or(Temper::Well)
    }
    pub fn attempts(&self) -> usize {
        self.seen.lock().attempts.len()
    }
}

pub fn report(why: &str) -> Report {
    Report {
        code: "sinks/jsonl",
        what: "could not hand a batch over".into(),
        at: vec![],
        why: why.into(),
        effect: "nothing is lost".into(),
        fix: "it is a test".into(),
    }
}

pub fn is_bad(key: &str, n: u64) -> bool {
    let hash = key.bytes().fold(7_u64, |hash, it| hash.wrapping_mul(31).wrapping_add(it.into()));
    hash % n == 0
}

impl Sink for Tempered {
    fn declared(&self) -> Declared {
        self.inner.declared()
    }
    fn takes_two(&self) -> bool {
        self.inner.takes_two()
    }
    fn verify(&self, against: &Against<'_>) -> Result<Json, Report> {
        self.inner.verify(against)
    }
    fn ready(&self) -> Delivering<'_> {
        Box::pin(async move {
            match self.stage.temper() {
                Temper::Unfit => {
                    Delivery::Refused { fault: Fault::Configuration, report: report("unfit") }
                }
                _ => self.inner.ready().await,
            }
        })
    }
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivering<'a> {
        Box::pin(async move {
            self.stage.seen.lock().see(batch);
            let retry = |why: &str| Delivery::Retry { after: None, report: report(why) };
            let refuse = |fault, why: &str| Delivery::Refused { fault, report: report(why) };
            let keep = || async {
                let answer = self.inner.deliver(batch).await;
                assert_eq!(answer, Delivery::Durable, "the receiver itself is well");
                self.stage.seen.lock().keep(batch);
            };
            match self.stage.temper() {
                Temper::Well | Temper::Unfit => {}
                Temper::AsItIs => {
                    let answer = self.inner.deliver(batch).await;
                    let mut seen = self.stage.seen.lock();
                    match &answer {
                        Delivery::Durable => {
                            seen.keep(batch);
                            seen.durable(batch);
                        }
                        Delivery::Refused { fault: Fault::Data, .. } => seen.refused(batch),
                        _ => {}
                    }
                    return answer;
                }
                Temper::FailsBefore => return retry("before"),
                Temper::FailsAfter => {
                    keep().await;
                    return retry("after");
                }
                Temper::Hangs => std::future::pending::<()>().await,
                Temper::HangsAfter => {
                    keep().await;
                    std::future::pending::<()>().await;
                }
                Temper::Slow(time) => tokio::time::sleep(time).await,
                Temper::RefusesOneOf(n) if batch.rows().any(|it| is_bad(it.key, n)) => {
                    self.stage.seen.lock().refused(batch);
                    return refuse(Fault::Data, "one of the rows");
                }
                Temper::RefusesOneOf(_) => {}
                Temper::Misconfigured => return refuse(Fault::Configuration, "no such table"),
                Temper::Unknown => return refuse(Fault::Unknown, "it said 42"),
            }
            keep().await;
            self.stage.seen.lock().durable(batch);
            Delivery::Durable
        })
    }
}

impl Seen {
    /// The same id is the same bytes; batches come in order.
    fn see(&mut self, batch: &Batch) {
        let whole = batch.part.0.is_none();
        let (id, stream) = (batch.id.clone(), batch.stream.to_string());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        assert!(id.len() <= 96 && id.chars().all(plain), "{id}");
        let this = (stream.clone(), batch.incarnation, batch.items.bytes().to_vec());
        let known = self.bytes.entry(id.clone()).or_insert_with(|| this.clone());
        assert!(*known == this, "{id} stands for something else than before");
        if whole && batch.seq > 0 {
            let last = self.last_seq.entry(stream.clone()).or_default();
            assert!(batch.seq >= *last, "{stream}: {} after {last}", batch.seq);
            *last = batch.seq;
        }
        let mut keys = BTreeSet::new();
        for row in batch.rows() {
            assert!(row.epoch <= batch.upto, "{id}: a row of {} above {}", row.epoch, batch.upto);
            let is_new = keys.insert((row.tenant, row.key));
            assert!(is_new || batch.stream.sort() == "changes", "{id} has a key twice");
        }
        let (seq, items) = (batch.seq, batch.len());
        let (durable, refused) = (false, false);
        self.attempts.push(Attempt { id, seq, stream, whole, items, durable, refused });
    }

    /// The receiver has it, whatever it says.
    fn keep(&mut self, batch: &Batch) {
        let stream = batch.stream.to_string();
        for row in batch.rows() {
            let key = (batch.stream.view().into(), row.tenant.into(), row.key.to_string());
            let item = (stream.clone(), batch.incarnation, key, row.epoch);
            let root = batch.id.split('.').next().unwrap().to_string();
            let known = self.items.entry(item.clone()).or_insert_with(|| root.clone());
            assert!(*known == root || self.again, "{item:?} in {root} and in {known}");
        }
    }

    /// It is not taken for what is in it.
    fn refused(&mut self, batch: &Batch) {
        if let Some(it) = self.attempts.iter_mut().rfind(|it| it.id == batch.id) {
            it.refused = true;
        }
    }

    /// It was acknowledged.
    fn durable(&mut self, batch: &Batch) {
        if let Some(it) = self.attempts.iter_mut().rfind(|it| it.id == batch.id) {
            it.durable = true;
        }
        for row in batch.rows().filter(|_| batch.stream.sort() == "changes") {
            let key = (batch.stream.view().into(), row.tenant.into(), row.key.to_string());
            let newest = self.changes.entry((batch.incarnation, key)).or_default();
            // (What stood aside comes when it may.)
            assert!(row.epoch >= *newest || batch.seq == 0, "{} goes back", row.key);
            *newest = (*newest).max(row.epoch);
            let mark = self.marks.get(&batch.incarnation).map_or(0, |it| it.epoch);
            assert!(row.epoch > mark || self.again || batch.seq == 0, "a change below its mark");
        }
        for event in batch.events() {
            let json: Json = serde_json::from_slice(event.json).unwrap();
            let text = |it: &str| json[it].as_str().unwrap_or("default").to_string();
            let (tenant, source, id) = (text("tenant"), text("source"), text("id"));
            let event = format!("{}/{tenant}/{source}/{id}", batch.incarnation);
            let root = batch.id.split('.').next().unwrap().to_string();
            let known = self.events.entry(event.clone()).or_insert_with(|| root.clone());
            assert!(*known == root, "{event} in {root} and in {known}");
        }
        for mark in batch.marks() {
            let last = self.marks.insert(batch.incarnation, mark);
            let is_new =
                |it: &Mark| it.epoch < mark.epoch || (it.epoch == mark.epoch && mark.whole);
            assert!(last.as_ref().is_none_or(is_new) || self.again, "{last:?} {mark:?}");
        }
    }

    /// Ids that were seen and never durable, nor refused for what is in them.
    pub fn open_ids(&self) -> BTreeSet<String> {
        let ended = self.attempts.iter().filter(|it| it.durable || it.refused);
        let ended: BTreeSet<&String> = ended.map(|it| &it.id).collect();
        self.attempts.iter().filter(|it| !ended.contains(&it.id)).map(|it| it.id.clone()).collect()
    }
}

/// A folder, its engine, and the sinks over it.
pub struct World<'s> {
    pub dir: PathBuf,
    pub stage: Arc<Stage>,
    pub subject: &'s dyn Subject,
    pub running: Option<Running>,
    pub max_bytes: u64,
    /// Other sinks of the same process, by name, with their temper.
    pub others: Vec<(&'static str, Arc<Stage>, &'s dyn Subject)>,
    pub streams: fn() -> Vec<Stream>,
    pub limits: Limits,
    pub rebuild: bool,
    /// Beside the others.
    pub rebuild_views: Vec<String>,
    /// The incarnation before it was built again.
    pub before: u64,
    /// The settings do not name it.
    pub away: bool,
    sent: usize,
}

/// Every stream of every view.
pub fn all_streams() -> Vec<Stream> {
    let views = millstream::engine::definitions();
    let of = |def| [Stream::Rows(def), Stream::Changes(def)];
    let mut streams: Vec<Stream> = views.iter().flat_map(|it| of(*it)).collect();
    streams.push(Stream::Events);
    streams.push(Stream::Marks);
    streams
}

/// Current rows only.
pub fn row_streams() -> Vec<Stream> {
    millstream::engine::definitions().iter().map(|it| Stream::Rows(it)).collect()
}

impl<'s> World<'s> {
    pub fn new(dir: &Path, subject: &'s dyn Subject) -> World<'s> {
        World {
            dir: dir.to_path_buf(),
            stage: Arc::default(),
            subject,
            running: None,
            max_bytes: 1 << 30,
            others: Vec::new(),
            streams: all_streams,
            limits: Limits {
                rows: 300,
                bytes: 64 << 10,
                wait: Duration::from_millis(20),
                timeout: Duration::from_millis(300),
            },
            rebuild: false,
            rebuild_views: Vec::new(),
            before: 0,
            away: false,
            sent: 0,
        }
    }

    pub fn start(&mut self) -> &Running {
        let mut settings = Settings::default_in(&self.dir.join("data"));
        settings.engine.workers = 2;
        settings.state.interval = Duration::from_millis(10);
        settings.state.max_interval = Duration::from_millis(20);
        let mut plan = Plan::of(&settings);
        plan.serve = false;
        plan.rebuild.all = self.rebuild;
        plan.rebuild.views = self.rebuild_views.clone();
        let own = ("tested", Arc::clone(&self.stage), self.subject);
        let own = (!self.away).then_some(own);
        for (name, stage, subject) in self.others.iter().cloned().chain(own) {
            let limits = Limits { timeout: subject.timeout(), ..self.limits };
            let declared = Declared { kind: "tested", streams: (self.streams)(), limits };
            let inner = subject.sink(declared);
            let sink = Arc::new(Tempered { inner, stage });
            plan.sinks.push(Given { name: name.into(), sink, max_bytes: self.max_bytes });
        }
        self.running = Some(start(settings, plan).unwrap_or_else(|it| panic!("{it}")));
        self.running.as_ref().unwrap()
    }

    pub fn stop(&mut self) {
        self.running.take().unwrap().stop().unwrap();
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Appends some of these and waits until they can be read.
    pub fn send(&mut self, lines: &[String], n: usize) {
        let some = &lines[self.sent..(self.sent + n).min(lines.len())];
        self.sent += some.len();
        for block in some.chunks(40) {
            self.append(block);
        }
        let running = self.running.as_ref().unwrap();
        until("what was sent is read", || running.ledger().partitions[0].lag == 0);
    }

    /// Appends all of these and waits until they can be read.
    pub fn send_all(&self, lines: &[String]) {
        lines.chunks(40).for_each(|it| self.append(it));
        let running = self.running.as_ref().unwrap();
        until("what was sent is read", || running.ledger().partitions[0].lag == 0);
    }

    pub fn append(&self, block: &[String]) {
        let running = self.running.as_ref().unwrap();
        let block: Vec<Vec<u8>> = block.iter().map(|it| it.clone().into_bytes()).collect();
        let append = running.append.as_ref().unwrap();
        append.append(block).unwrap().blocking_recv().unwrap().unwrap();
    }

    /// What is read now.
    pub fn live(&self) -> Rows {
        let running = self.running.as_ref().unwrap();
        let pin = running.read.instants.pin();
        let mut rows = Rows::new();
        for view in running.read.views.iter() {
            let def = view.def();
            view.for_each(pin.epoch(), &mut |name, row| {
                let key = (def.name.into(), name.tenant().into(), name.key().into());
                rows.insert(key, def.to_json(&row).to_string());
            })
            .unwrap();
        }
        rows
    }

    pub fn told(&self, name: &str) -> Json {
        let list = self.running.as_ref().unwrap().sinks().unwrap().list();
        list.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone()
    }

    pub fn state(&self) -> String {
        self.told("tested")["state"].as_str().unwrap().into()
    }

    /// Waits until the receiver holds what can be read, without rows for which `but` holds.
    pub fn equal(&self, but: impl Fn(&str) -> bool) {
        self.equal_of(self.subject, &but);
    }

    pub fn equal_of(&self, subject: &dyn Subject, but: &dyn Fn(&str) -> bool) {
        let began = Instant::now();
        loop {
            let Err(why) = subject.holds(self, &self.live(), but) else { return };
            if began.elapsed() > Duration::from_secs(300) {
                panic!("the receiver never held what can be read: {}\n{why}", self.told("tested"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Whether changes are handed over.
    pub fn has_changes(&self) -> bool {
        (self.streams)().iter().any(|it| it.sort() == "changes")
    }

    /// The life under which it is told.
    pub fn incarnation(&self) -> u64 {
        self.told("tested")["incarnation"].as_u64().unwrap()
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // A test that has failed has said why.
            running.stop().ok();
        }
    }
}

fn differ(what: &str, found: &Rows, expected: &Rows) -> String {
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differing = keys.into_iter().filter(|it| found.get(*it) != expected.get(*it));
    let told = differing.take(10).map(|key| {
        let (a, b) = (found.get(key), expected.get(key));
        format!("{what} {key:?}\n  found    {a:?}\n  expected {b:?}\n")
    });
    told.collect()
}

/// Waits until it is so; five minutes at most, for a machine that has much else to do.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(300), "it never came to this: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A row of a batch as text, as [`World::live`] has it.
pub fn row_text(batch: &Batch, row: &millstream::sinks::OutRow<'_>) -> String {
    let fields = batch.stream.def().unwrap().fields;
    let values = fields.iter().zip(row.values()).map(|(def, value)| {
        let json = match value {
            Value::Null => Json::Null,
            Value::Bool(it) => it.into(),
            Value::Int(it) => it.into(),
            Value::Text(it) => it.into(),
            Value::Time(it) => schemas::time::rfc3339(it).into(),
            Value::Json(it) => serde_json::from_str(it).unwrap(),
        };
        (def.name.to_string(), json)
    });
    Json::Object(values.collect()).to_string()
}
