//! A frontier that stands, and what is none. Method: the real book, sealed and completed by hand;
//! time is the age of the last look.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64};

use schemas::reading::{Epoch, Gone, Instants, Pin};

use super::*;
use crate::messages::{AsOf, Feed, Format, LeftOut, Offsets};

const STALL_AFTER: Duration = Duration::from_secs(10);

/// No views, no readers.
struct Empty;

impl Instants for Empty {
    fn complete(&self) -> Epoch {
        0
    }
    fn pin(&self) -> Pin {
        Pin::new(0, Box::new(|| {}))
    }
    fn lease(&self, _: Epoch, _: u64, _: u64) -> Result<(), Gone> {
        Err(Gone { oldest: 0 })
    }
    fn expire(&self, _: u64) {}
    fn undo_bytes(&self) -> u64 {
        0
    }
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct World {
    watched: Watched,
    newest: tokio::sync::watch::Sender<AsOf>,
    held: Arc<AtomicBool>,
    log: Log,
    /// The newest epoch, and since when it has been.
    seen: Seen,
}

impl World {
    fn new() -> World {
        let (name, mapping) = ("log".into(), None);
        let (format, is_log, takes_own) = (Format::Native, true, false);
        let feed = Feed { name, mapping, format, is_log, takes_own, identity: None };
        let feeds = Feeds::new(vec![feed]);
        let metrics = Metrics::default();
        let from = Offsets::from([((0, 0), 0)]);
        let (newest, receiver) = tokio::sync::watch::channel(AsOf { epoch: 1, position: 0 });
        let held = Arc::new(AtomicBool::new(false));
        let is_held = Arc::clone(&held);
        let watched = Watched {
            book: Arc::new(Book::new(feeds.clone(), from, metrics.clone())),
            read: ReadHandle {
                views: Arc::new([]),
                instants: Arc::new(Empty),
                newest: receiver,
                as_of: Arc::new(|epoch| AsOf { epoch, position: 0 }),
            },
            feeds,
            dedup: Arc::new(|| serde_json::json!({})),
            anomalies: Arc::new(|| 0),
            left_out: Arc::new(Vec::new),
            note_tails: Arc::new(|| {}),
            metrics,
            health: Arc::new(Health::awaiting(0)),
            reading: Arc::new(Vec::new),
            syncing: Arc::new(|| Duration::ZERO),
            held: Arc::new(move || is_held.load(SeqCst)),
            stall_after: STALL_AFTER,
            cap: Cap::new(u64::MAX),
            hold_memory: Box::new(|_| {}),
            on_look: None,
            on_ready: None,
        };
        let seen = Seen::new(1);
        World { watched, newest, held, log: Log::default(), seen }
    }

    /// Looks, the newest epoch having stood for so long; what is wrong then, and how many stalls
    /// have been counted.
    fn look(&mut self, stood: Duration) -> (Vec<String>, u64) {
        let since = crate::clock::monotonic().checked_sub(stood).unwrap();
        (self.seen.at, self.seen.unread_at) = (since, since);
        let log = self.log.clone();
        let told = tracing_subscriber::fmt().with_writer(move || log.clone()).finish();
        tracing::subscriber::with_default(told, || self.watched.look(&mut self.seen));
        (self.watched.health.troubles(), self.watched.metrics.stalls.get())
    }

    fn seal(&self, epoch: u64, next: u64) {
        self.watched.book.sealed(epoch, Offsets::from([((0, 0), next)]));
    }

    fn complete(&self, epoch: u64) {
        self.newest.send_replace(self.watched.book.completed(epoch));
    }

    fn told(&self, words: &str) -> usize {
        String::from_utf8(self.log.0.lock().clone()).unwrap().matches(words).count()
    }
}

const LONG: Duration = Duration::from_secs(11);
const SHORT: Duration = Duration::from_secs(9);

fn standing() -> Vec<String> {
    vec!["the frontier has stopped: no epoch completes".to_string()]
}

/// Goal: an epoch that is sealed and never completes is a stall: counted once, told once, named
/// among the reasons for which we are not ready, until it completes.
#[test]
fn a_sealed_epoch_that_never_completes_is_a_stall() {
    let mut world = World::new();
    assert_eq!(world.look(LONG), (vec![], 0), "nothing waits: nothing stalls");
    world.seal(7, 5);
    assert_eq!(world.look(SHORT), (vec![], 0), "not yet");
    assert_eq!(world.look(LONG), (standing(), 1));
    assert!(world.watched.health.is_stalled());
    assert_eq!(world.look(LONG), (standing(), 1), "counted once");
    let (begins, ends) = ("although work waits", "epochs complete again");
    assert_eq!((world.told(begins), world.told(ends)), (1, 0));
    assert_eq!(world.told("watch/stall"), 1);
    world.complete(7);
    assert_eq!(world.look(LONG), (vec![], 1), "an epoch has completed since");
    assert!(!world.watched.health.is_stalled());
    assert_eq!((world.told(begins), world.told(ends)), (1, 1));
    // What is sealed next is timed from the epoch that has completed.
    world.seal(8, 6);
    assert_eq!(world.look(SHORT), (vec![], 1));
    assert_eq!(world.look(LONG), (standing(), 2));
}

/// Goal: what is in no row is counted as often as it is; a relation's anomaly is told each time, that a
/// tenant measures too many series once, whichever of the two it is that grew. Method: looks at which
/// counts have grown and have not; a second tenant that comes later.
#[test]
fn what_is_in_no_row_is_counted() {
    let mut world = World::new();
    let n = Arc::new(AtomicU64::new(0));
    let of = Arc::clone(&n);
    world.watched.anomalies = Arc::new(move || of.load(SeqCst));
    let of = Arc::clone(&n);
    world.watched.left_out = Arc::new(move || {
        let n = of.load(SeqCst);
        let tenants = [("acme", 0, n), ("late", 2 * n.saturating_sub(3), 0)].into_iter();
        let tenants = tenants.map(|(tenant, measurements, pushed_out)| LeftOut {
            tenant: tenant.into(),
            measurements,
            pushed_out,
        });
        tenants.filter(|it| it.measurements + it.pushed_out > 0).collect()
    });
    for n_more in [3, 4, 0] {
        n.fetch_add(n_more, SeqCst);
        world.look(SHORT);
    }
    let metrics = &world.watched.metrics;
    assert_eq!(metrics.anomalies.get(), 7);
    assert_eq!((metrics.left_out.get(), metrics.pushed_out.get()), (8, 7));
    assert_eq!((world.told("watch/anomaly"), world.told("watch/series")), (2, 2));
    assert_eq!((world.told("acme"), world.told("late")), (1, 1));
}

/// Goal: records that wait to be read are work too; but what is held back on purpose is no stall,
/// and holding back does not hide an epoch that hangs.
#[test]
fn back_pressure_is_no_stall() {
    let mut world = World::new();
    world.seal(7, 5);
    world.complete(7);
    assert_eq!(world.look(Duration::ZERO), (vec![], 0));
    world.watched.book.tail((0, 0), 100, 0);
    world.held.store(true, SeqCst);
    assert_eq!(world.look(LONG), (vec![], 0), "held back on purpose");
    world.held.store(false, SeqCst);
    assert_eq!(world.look(LONG), (standing(), 1), "95 records wait and nothing happens");
    world.held.store(true, SeqCst);
    assert_eq!(world.look(LONG), (vec![], 1));
    world.seal(8, 100);
    assert_eq!(world.look(LONG), (standing(), 2), "an epoch hangs, held back or not");
}

/// Goal: records of the log that nobody reads are a stall although epochs of nothing complete.
/// Method: an epoch a look; the position stands, then moves, then is held back.
#[test]
fn a_log_that_is_not_read_is_a_stall() {
    let mut world = World::new();
    let mut epoch = 7;
    let mut look = |world: &mut World, next: u64, stood| {
        epoch += 1;
        world.seal(epoch, next);
        world.complete(epoch);
        world.look(stood)
    };
    world.watched.book.tail((0, 0), 100, 0);
    assert_eq!(look(&mut world, 5, LONG), (vec![], 0), "seen for the first time");
    assert_eq!(look(&mut world, 5, SHORT), (vec![], 0), "not yet");
    assert_eq!(look(&mut world, 5, LONG), (standing(), 1));
    assert_eq!(look(&mut world, 6, LONG), (vec![], 1), "it is read on");
    world.held.store(true, SeqCst);
    assert_eq!(look(&mut world, 6, LONG), (vec![], 1), "held back on purpose");
    world.held.store(false, SeqCst);
    assert_eq!(look(&mut world, 100, LONG), (vec![], 1), "all is read");
}
