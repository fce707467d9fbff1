//! A small world to serve: views as maps of versions, epochs made by hand, a log in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use millstream::config;
use millstream::messages::{
    Append, AppendRefused, Appended, AsOf, Counts, Ended, Ledger, LedgerLine, ReadHandle,
};
use millstream::metrics::Metrics;
use millstream::report::Report;
use millstream::serve::{
    self, AdminAction, AdminAnswer, AdminPort, Health, KeptReject, KnownRejects, Ports, RejectsPort,
};
use millstream::sql::Sql;
use schemas::names::Name;
use schemas::reading::{Epoch, Gone, Instants, Keep, MapStats, Page, Pin, ViewReader};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use schemas::scanning::{Scan, Wanted};
use tokio::sync::{oneshot, watch};

const fn field(name: &'static str, kind: FieldKind, filterable: bool) -> FieldDef {
    FieldDef { name, kind, nullable: false, filterable, words: "a field" }
}

pub(crate) static ORDERS: ViewDef = ViewDef {
    name: "orders",
    words: "Orders, for tests.",
    shape: Shape::Fold,
    key: &["order"],
    fields: &[
        field("order", FieldKind::Text, false),
        field("status", FieldKind::Text, true),
        field("amount", FieldKind::Int, false),
    ],
};

pub(crate) static CELLS: ViewDef = ViewDef {
    name: "cells",
    words: "Keys of two parts, for tests.",
    shape: Shape::Relation,
    key: &["row", "column"],
    fields: &[
        field("row", FieldKind::Text, true),
        field("column", FieldKind::Text, true),
        field("n", FieldKind::Int, true),
    ],
};

pub(crate) fn order(key: &str, status: &str, amount: i64) -> Row {
    Row { values: vec![Value::Text(key.into()), Value::Text(status.into()), Value::Int(amount)] }
}

/// The first epoch; any time will do.
pub(crate) const FIRST: Epoch = 1_790_000_000_000;

/// Instants by hand.
#[derive(Default)]
pub(crate) struct Clock {
    complete: AtomicU64,
    oldest: AtomicU64,
    pub(crate) pins: AtomicUsize,
    pub(crate) leases: Mutex<BTreeMap<Epoch, u64>>,
    weak: std::sync::OnceLock<std::sync::Weak<Clock>>,
}

impl Clock {
    /// Nothing before the complete epoch is kept any more.
    pub(crate) fn revoke(&self) {
        self.oldest.store(self.complete.load(SeqCst), SeqCst);
        self.leases.lock().unwrap().clear();
    }

    fn kept(&self, epoch: Epoch) -> Result<(), Gone> {
        let oldest = self.oldest.load(SeqCst);
        if epoch < oldest || epoch > self.complete() { Err(Gone { oldest }) } else { Ok(()) }
    }
}

impl Instants for Clock {
    fn complete(&self) -> Epoch {
        self.complete.load(SeqCst)
    }
    fn pin(&self) -> Pin {
        self.pins.fetch_add(1, SeqCst);
        let me = self.weak.get().and_then(std::sync::Weak::upgrade).unwrap();
        let release = move || {
            me.pins.fetch_sub(1, SeqCst);
        };
        Pin::new(self.complete(), Box::new(release))
    }
    fn lease(&self, epoch: Epoch, now_ms: u64, lease_ms: u64) -> Result<(), Gone> {
        self.kept(epoch)?;
        self.leases.lock().unwrap().insert(epoch, now_ms + lease_ms);
        Ok(())
    }
    fn expire(&self, _now_ms: u64) {}
    fn undo_bytes(&self) -> u64 {
        0
    }
}

type Versions = Vec<(Epoch, Option<Row>)>;

/// Versions of rows, by name.
pub(crate) struct View {
    def: &'static ViewDef,
    clock: Arc<Clock>,
    rows: RwLock<BTreeMap<Name, Versions>>,
    pub(crate) examined_max: AtomicUsize,
}

impl View {
    fn at(versions: &[(Epoch, Option<Row>)], epoch: Epoch) -> Option<&Row> {
        versions.iter().rev().find(|it| it.0 <= epoch).and_then(|it| it.1.as_ref())
    }
}

impl ViewReader for View {
    fn def(&self) -> &'static ViewDef {
        self.def
    }
    fn get(&self, tenant: &str, key: &str, at: Epoch) -> Result<Option<Row>, Gone> {
        self.clock.kept(at)?;
        let rows = self.rows.read().unwrap();
        Ok(rows.get(&Name::new(tenant, key)).and_then(|it| View::at(it, at)).cloned())
    }
    fn page(
        &self,
        tenant: &str,
        after: Option<&str>,
        at: Epoch,
        limit: usize,
        examine: usize,
        keep: Keep<'_>,
    ) -> Result<Page, Gone> {
        self.clock.kept(at)?;
        let rows = self.rows.read().unwrap();
        let examine = examine.min(self.examined_max.load(SeqCst));
        let mut page = Page::default();
        let from = Name::new(tenant, after.unwrap_or(""));
        let theirs = rows.range(from..).filter(|it| Some(it.0.key()) != after);
        let mut theirs = theirs.take_while(|it| it.0.tenant() == tenant).peekable();
        for _ in 0..examine {
            let Some((name, versions)) = theirs.next() else { break };
            if let Some(row) = View::at(versions, at).filter(|it| keep.row(it)) {
                page.rows.push((name.clone(), row.clone()));
            }
            page.next = theirs.peek().map(|_| name.key().to_string());
            if page.rows.len() == limit {
                break;
            }
        }
        Ok(page)
    }
    fn count(&self, tenant: &str, at: Epoch) -> u64 {
        let rows = self.rows.read().unwrap();
        let theirs = rows.iter().filter(|it| it.0.tenant() == tenant);
        theirs.filter(|it| View::at(it.1, at).is_some()).count() as u64
    }
    fn rows(&self) -> u64 {
        self.rows.read().unwrap().len() as u64
    }
    fn changes(
        &self,
        after: Epoch,
        upto: Epoch,
        emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        self.clock.kept(after)?;
        for (name, versions) in self.rows.read().unwrap().iter() {
            if versions.iter().any(|it| after < it.0 && it.0 <= upto) {
                emit(name, View::at(versions, after).cloned(), View::at(versions, upto).cloned());
            }
        }
        Ok(())
    }
    fn for_each(&self, _at: Epoch, _emit: &mut dyn FnMut(&Name, Row)) -> Result<(), Gone> {
        unreachable!("serving does not dump views")
    }
    fn fields_of(
        &self,
        tenant: &str,
        key: &str,
        at: Epoch,
        fields: &[usize],
        into: &mut Vec<Value>,
    ) -> Result<bool, Gone> {
        let row = self.get(tenant, key, at)?;
        let values = |row: &Row| fields.iter().map(|it| row.values[*it].clone()).collect();
        into.extend(row.as_ref().map_or_else(Vec::new, values));
        Ok(row.is_some())
    }
    fn scan(
        &self,
        tenant: &str,
        at: Epoch,
        wanted: &Wanted,
        scan: &mut Scan,
        into: &mut Vec<Value>,
    ) -> Result<usize, Gone> {
        self.clock.kept(at)?;
        scan.over = true;
        let passes = |row: &&Row| wanted.tests.iter().all(|it| it.is.passes(&row.values[it.field]));
        let rows = self.rows.read().unwrap();
        let theirs = rows.iter().filter(|it| it.0.tenant() == tenant);
        let found: Vec<&Row> = theirs.filter_map(|it| View::at(it.1, at)).filter(passes).collect();
        for row in &found {
            into.extend(wanted.fields.iter().map(|it| row.values[*it].clone()));
        }
        Ok(found.len())
    }
    fn stats(&self) -> MapStats {
        MapStats::default()
    }
    fn merge_index(&self) -> bool {
        false
    }
}

/// What the log is to do with an append.
#[derive(Clone, Debug)]
pub(crate) enum LogMood {
    Takes,
    Busy(Duration),
    DiskFull,
    NeverAnswers,
}

/// A log in memory.
pub(crate) struct Log {
    pub(crate) records: Mutex<Vec<String>>,
    pub(crate) mood: Mutex<LogMood>,
    pub(crate) kept_open: Mutex<Vec<oneshot::Sender<Result<Appended, AppendRefused>>>>,
}

impl Append for Log {
    fn append(
        &self,
        new: Vec<Vec<u8>>,
    ) -> Result<oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused> {
        let (answer, receiver) = oneshot::channel();
        match self.mood.lock().unwrap().clone() {
            LogMood::Takes => {
                let mut records = self.records.lock().unwrap();
                let first = records.len() as u64;
                records.extend(new.into_iter().map(|it| String::from_utf8(it).unwrap()));
                let next = records.len() as u64;
                answer.send(Ok(Appended { first, next })).unwrap();
            }
            LogMood::Busy(after) => return Err(AppendRefused::Busy(after)),
            LogMood::DiskFull => {
                answer
                    .send(Err(AppendRefused::Failed(Report {
                        code: "segments/disk-full",
                        what: "could not append".into(),
                        at: vec![("folder", "log".into())],
                        why: "no space left on device".into(),
                        effect: "nothing was taken".into(),
                        fix: "make room".into(),
                    })))
                    .unwrap();
            }
            LogMood::NeverAnswers => self.kept_open.lock().unwrap().push(answer),
        }
        Ok(receiver)
    }
}

pub(crate) struct Rejects(pub(crate) Mutex<Vec<KeptReject>>);

impl RejectsPort for Rejects {
    fn list(
        &self,
        reason: Option<&str>,
        feed: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<KeptReject>, Report> {
        let all = self.0.lock().unwrap();
        let wanted = all.iter().rev().filter(|it| {
            reason.is_none_or(|reason| it.told["reason"] == reason)
                && feed.is_none_or(|feed| it.told["feed"] == feed)
                && before.is_none_or(|before| it.id < before)
        });
        Ok(wanted.take(limit).cloned().collect())
    }
    fn known(&self) -> KnownRejects {
        KnownRejects { reasons: vec!["schemas/not-json".into()], feeds: vec!["file:a".into()] }
    }
    fn counts(&self) -> serde_json::Value {
        serde_json::json!([{"feed": "file:a", "code": "schemas/not-json", "not_kept": 3}])
    }
}

pub(crate) struct Admin(pub(crate) Mutex<Vec<AdminAction>>);

impl AdminPort for Admin {
    fn act(&self, action: AdminAction) -> AdminAnswer {
        self.0.lock().unwrap().push(action);
        Box::pin(async { Ok(serde_json::json!({"heard": true})) })
    }
}

/// Everything that a server is given, with a handle on each part.
pub(crate) struct World {
    pub(crate) clock: Arc<Clock>,
    pub(crate) orders: Arc<View>,
    pub(crate) cells: Arc<View>,
    pub(crate) log: Arc<Log>,
    pub(crate) rejects: Arc<Rejects>,
    pub(crate) admin: Arc<Admin>,
    pub(crate) health: Arc<Mutex<Health>>,
    pub(crate) metrics: Metrics,
    newest: watch::Sender<AsOf>,
    positions: Arc<Mutex<BTreeMap<Epoch, u64>>>,
}

impl World {
    pub(crate) fn new() -> World {
        let clock = Arc::new(Clock::default());
        clock.weak.set(Arc::downgrade(&clock)).unwrap();
        clock.complete.store(FIRST, SeqCst);
        clock.oldest.store(FIRST, SeqCst);
        let view = |def| {
            let (clock, rows) = (Arc::clone(&clock), RwLock::default());
            Arc::new(View { def, clock, rows, examined_max: AtomicUsize::new(usize::MAX) })
        };
        let (newest, _) = watch::channel(AsOf { epoch: FIRST, position: 0 });
        World {
            orders: view(&ORDERS),
            cells: view(&CELLS),
            log: Arc::new(Log {
                records: Mutex::default(),
                mood: Mutex::new(LogMood::Takes),
                kept_open: Mutex::default(),
            }),
            rejects: Arc::new(Rejects(Mutex::default())),
            admin: Arc::new(Admin(Mutex::default())),
            health: Arc::default(),
            metrics: Metrics::default(),
            newest,
            positions: Arc::new(Mutex::new([(FIRST, 0)].into())),
            clock,
        }
    }

    /// Completes an epoch with these orders; gives it.
    pub(crate) fn epoch(&self, tenant: &str, orders: &[(&str, Option<Row>)]) -> Epoch {
        let position = self.newest.borrow().position;
        self.epoch_at(tenant, orders, position)
    }

    /// Completes an epoch with these orders, that includes the log below a position.
    pub(crate) fn epoch_at(
        &self,
        tenant: &str,
        orders: &[(&str, Option<Row>)],
        position: u64,
    ) -> Epoch {
        let epoch = self.clock.complete() + 5;
        let mut rows = self.orders.rows.write().unwrap();
        for (key, row) in orders {
            rows.entry(Name::new(tenant, key)).or_default().push((epoch, row.clone()));
        }
        drop(rows);
        self.complete(epoch, position);
        epoch
    }

    /// A row of `cells`.
    pub(crate) fn cell(&self, tenant: &str, row: &str, column: &str, n: i64) {
        let epoch = self.clock.complete() + 5;
        let key = schemas::names::key_text(&[row, column]);
        let values = vec![Value::Text(row.into()), Value::Text(column.into()), Value::Int(n)];
        let mut rows = self.cells.rows.write().unwrap();
        rows.entry(Name::new(tenant, &key)).or_default().push((epoch, Some(Row { values })));
        drop(rows);
        let position = self.newest.borrow().position;
        self.complete(epoch, position);
    }

    fn complete(&self, epoch: Epoch, position: u64) {
        self.positions.lock().unwrap().insert(epoch, position);
        self.clock.complete.store(epoch, SeqCst);
        self.newest.send_replace(AsOf { epoch, position });
    }

    pub(crate) fn ports(&self) -> Ports {
        let (positions, newest) = (Arc::clone(&self.positions), self.newest.subscribe());
        let as_of = move |epoch| {
            let position =
                positions.lock().unwrap().range(..=epoch).next_back().map_or(0, |it| *it.1);
            AsOf { epoch, position }
        };
        let views: Vec<Arc<dyn ViewReader>> = vec![self.orders.clone(), self.cells.clone()];
        let (ledger, health) = (newest.clone(), Arc::clone(&self.health));
        let read = ReadHandle {
            views: views.into(),
            instants: self.clock.clone(),
            newest,
            as_of: Arc::new(as_of),
        };
        let settings = config::Settings::default().sql;
        let sql =
            Sql::start(&settings, read.clone(), Arc::new(|| FIRST), Arc::new(|_| None)).unwrap();
        let log = self.log.clone();
        let (queues, _) = millstream::desk::start(millstream::desk::Parts {
            settings: config::Settings::default().queues,
            read: read.clone(),
            append: Arc::new(move |facts| log.append(facts)),
            needed: 0,
            now_ms: Arc::new(|| FIRST),
            is_building: Arc::new(|_| false),
        })
        .unwrap();
        let log = self.log.clone();
        let marks = Arc::new(millstream::notify::Marker {
            read: read.clone(),
            append: Arc::new(move |facts| log.append(facts)),
            now_ms: Arc::new(|| FIRST),
        });
        Ports {
            read,
            marks,
            sql,
            queues: Arc::new(queues),
            append: self.log.clone(),
            ledger: Arc::new(move || Ledger {
                as_of: *ledger.borrow(),
                partitions: vec![LedgerLine {
                    feed: "log".into(),
                    partition: 0,
                    first: 0,
                    next: 7,
                    lag: 0,
                    lag_seconds: 0.0,
                    counts: Counts { read: 7, applied: 7, ..Counts::default() },
                }],
                dedup: serde_json::json!({"entries": 7}),
                notifications: None,
            }),
            applied: Arc::new(|first, next| Some(Ended { new: next - first, ..Ended::default() })),
            rejects: self.rejects.clone(),
            health: Arc::new(move || health.lock().unwrap().clone()),
            debug: Arc::new(|| serde_json::json!([{"name": "orders"}])),
            metrics: self.metrics.clone(),
            gather: Arc::new(|| {}),
            building: Arc::new(|_| None),
            admin: self.admin.clone(),
            now_ms: Arc::new(|| FIRST),
            future_limit: Duration::from_secs(300),
        }
    }
}

/// Settings for tests: any port, and short waits.
pub(crate) fn settings() -> config::Serve {
    config::Serve {
        listen: "127.0.0.1:0".parse().unwrap(),
        max_body_bytes: 1024 * 1024,
        max_event_bytes: 64 * 1024,
        max_connections: 1_000,
        max_connections_per_address: 1_000,
        max_streams: 100,
        header_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(20),
        drain_timeout: Duration::from_secs(5),
        cursor_lease: Duration::from_secs(30),
        at_least_timeout: Duration::from_millis(200),
    }
}

/// A server on a world, until dropped or stopped.
pub(crate) struct Running {
    pub(crate) world: World,
    pub(crate) address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), Report>>,
}

pub(crate) async fn start(settings: config::Serve) -> Running {
    let world = World::new();
    let server = serve::bind(settings, world.ports()).await.expect("a free port");
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let ended = millstream::tasks::spawn(
        "server",
        server.run(async {
            // Dropped without a word is a word too.
            drop(stopped.await);
        }),
    );
    Running { world, address, stop, ended }
}

impl Running {
    /// Says that it shall end.
    pub(crate) fn stop(self) -> (World, tokio::task::JoinHandle<Result<(), Report>>) {
        self.stop.send(()).expect("the server runs");
        (self.world, self.ended)
    }
}
