//! Goal: what ended long ago is forgotten, once, a little at a time, and nothing else is.
//! Method: a view of our own, whose rows go as the log takes what forgets them.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use schemas::reading::{Gone, Instants, Keep, MapStats, Page, Pin};
use schemas::rows::{FieldDef, FieldKind, Shape, ViewDef};
use schemas::scanning::Wanted;
use serde_json::Value as Json;

use super::*;
use crate::messages::{Appended, AsOf};

const DAY: u64 = 86_400_000;
const KEEP: u64 = 30 * DAY;
const NOW: u64 = 1_767_225_600_000;
/// Slots of a stride.
const STRIDE: usize = 64;

static DEF: ViewDef = ViewDef {
    name: "notifications",
    words: "",
    shape: Shape::Fold,
    key: &["message"],
    fields: &[
        FieldDef::new("message", FieldKind::Text, false, false, ""),
        FieldDef::new("state", FieldKind::Text, false, false, ""),
        FieldDef::new("planned_at", FieldKind::Time, false, false, ""),
        FieldDef::new("answered_at", FieldKind::Time, true, false, ""),
        FieldDef::new("expires_at", FieldKind::Time, true, false, ""),
        FieldDef::new("snoozed_until", FieldKind::Time, true, false, ""),
    ],
};

/// Planned, answered, expires, shown again: milliseconds, 0 for never.
fn row(message: &str, state: &str, times: [u64; 4]) -> Row {
    let text = |it: &str| Value::Text(it.into());
    let time = |it: u64| match it {
        0 => Value::Null,
        it => Value::Time(it.cast_signed() * 1_000),
    };
    let values = [text(message), text(state)].into_iter().chain(times.map(time));
    Row { values: values.collect() }
}

/// Rows by message.
#[derive(Default)]
struct View {
    rows: Mutex<BTreeMap<String, Row>>,
    /// Rows looked at under each pin, and how many pins there are now.
    looked_at: Mutex<Vec<usize>>,
    pinned: Arc<AtomicU64>,
}

impl ViewReader for View {
    fn def(&self) -> &'static ViewDef {
        &DEF
    }
    fn get(&self, _: &str, key: &str, _: Epoch) -> Result<Option<Row>, Gone> {
        Ok(self.rows.lock().get(key).cloned())
    }
    fn each_known(
        &self,
        _: Epoch,
        scan: &mut Scan,
        emit: &mut dyn FnMut(&Name, Known),
    ) -> Result<usize, Gone> {
        assert_eq!(self.pinned.load(SeqCst), 1, "read while it is held");
        let rows = self.rows.lock().clone();
        let some: Vec<_> = rows.iter().skip(scan.slot as usize).take(STRIDE).collect();
        for (name, row) in &some {
            emit(&Name::new("acme", name), Known::Row((*row).clone()));
        }
        scan.slot += some.len() as u32;
        scan.over = some.len() < STRIDE;
        *self.looked_at.lock().last_mut().unwrap() += some.len();
        Ok(some.len())
    }
    fn page(
        &self,
        _: &str,
        _: Option<&str>,
        _: Epoch,
        _: usize,
        _: usize,
        _: Keep<'_>,
    ) -> Result<Page, Gone> {
        unreachable!("nobody asks")
    }
    fn count(&self, _: &str, _: Epoch) -> u64 {
        unreachable!("nobody asks")
    }
    fn rows(&self) -> u64 {
        unreachable!("nobody asks")
    }
    fn changes(
        &self,
        _: Epoch,
        _: Epoch,
        _: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        unreachable!("nobody asks")
    }
    fn for_each(&self, _: Epoch, _: &mut dyn FnMut(&Name, Row)) -> Result<(), Gone> {
        unreachable!("nobody looks at all of it at once")
    }
    fn fields_of(
        &self,
        _: &str,
        _: &str,
        _: Epoch,
        _: &[usize],
        _: &mut Vec<Value>,
    ) -> Result<bool, Gone> {
        unreachable!("nobody asks")
    }
    fn scan(
        &self,
        _: &str,
        _: Epoch,
        _: &Wanted,
        _: &mut Scan,
        _: &mut Vec<Value>,
    ) -> Result<usize, Gone> {
        unreachable!("nobody asks")
    }
    fn stats(&self) -> MapStats {
        MapStats::default()
    }
    fn merge_index(&self) -> bool {
        false
    }
}

struct Held(Arc<View>);

impl Instants for Held {
    fn complete(&self) -> Epoch {
        NOW
    }
    fn pin(&self) -> Pin {
        self.0.looked_at.lock().push(0);
        self.0.pinned.fetch_add(1, SeqCst);
        let pinned = Arc::clone(&self.0.pinned);
        let release = move || {
            pinned.fetch_sub(1, SeqCst);
        };
        Pin::new(NOW, Box::new(release))
    }
    fn lease(&self, _: Epoch, _: u64, _: u64) -> Result<(), Gone> {
        unreachable!("nobody asks")
    }
    fn expire(&self, _: u64) {}
    fn undo_bytes(&self) -> u64 {
        0
    }
}

type Log = Arc<Mutex<Vec<Json>>>;

/// Who forgets, in a view with these rows; its log, which first is busy.
fn forgetter(rows: Vec<Row>) -> (Forgetter, Arc<View>, Log) {
    let view = Arc::new(View::default());
    for it in rows {
        let Value::Text(name) = &it.values[0] else { unreachable!() };
        assert!(view.rows.lock().insert(name.to_string(), it.clone()).is_none(), "twice");
    }
    let log = Log::default();
    let (taken, of_log, busy) = (Arc::clone(&log), Arc::clone(&view), Mutex::new(Some(())));
    let append = Arc::new(move |facts: Vec<Vec<u8>>| {
        assert_eq!(of_log.pinned.load(SeqCst), 0, "nothing is held while the log is waited for");
        if busy.lock().take().is_some() {
            return Err(AppendRefused::Busy(Duration::ZERO));
        }
        assert!((1..=BLOCK).contains(&facts.len()));
        let mut log = taken.lock();
        for fact in &facts {
            let event: Json = serde_json::from_slice(fact).unwrap();
            let message = event["data"]["message"].as_str().unwrap();
            assert!(of_log.rows.lock().remove(message).is_some(), "{message} was there");
            log.push(event);
        }
        let (tell, told) = tokio::sync::oneshot::channel();
        let next = log.len() as u64;
        tell.send(Ok(Appended { first: next - facts.len() as u64, next })).unwrap();
        Ok(told)
    });
    let as_of = AsOf { epoch: NOW, position: u64::MAX };
    let read = ReadHandle {
        views: Arc::new([]),
        instants: Arc::new(Held(Arc::clone(&view))),
        newest: tokio::sync::watch::channel(as_of).1,
        as_of: Arc::new(move |_| as_of),
    };
    let forgetter = Forgetter {
        read,
        view: Arc::clone(&view) as Arc<dyn ViewReader>,
        append,
        now_ms: Arc::new(|| NOW),
        is_building: Arc::new(|_| false),
        keep_ms: Arc::new(AtomicU64::new(KEEP)),
        looked: Arc::new(AtomicU64::new(NOW)),
        stop: Arc::new(AtomicBool::new(false)),
    };
    (forgetter, view, log)
}

/// Goal: only what ended, so long ago, is forgotten, with what it ended as; never what waits, what is
/// to be shown later, or what could be sent again. Method: a table.
#[test]
fn only_what_ended_long_ago() {
    let (old, young) = (NOW - KEEP, NOW - KEEP + 1);
    let table = [
        ("delivered", [1, old, 2, 0], true),
        ("refused", [1, old, 2, 0], true),
        ("expired", [1, old, old, 0], true),
        ("suppressed", [1, old, 2, 0], true),
        ("suppressed", [old, 0, 2, 0], true),
        ("suppressed", [young, 0, 2, 0], false),
        ("delivered", [1, young, 2, 0], false),
        ("planned", [1, old, 2, 0], false),
        ("planned", [1, 0, 2, 0], false),
        ("forgotten", [1, old, 2, 0], false),
        ("shrugged", [1, old, 2, 0], false),
        ("delivered", [1, old, 2, NOW + 7], false),
        ("delivered", [1, old, 2, NOW], true),
        ("refused", [1, old, NOW + 9, 0], false),
    ];
    let rows = table.iter().enumerate();
    let rows = rows.map(|(n, it)| row(&format!("m{n}"), it.0, it.1)).collect();
    let (forgetter, view, log) = forgetter(rows);
    // The first of those that stay is due in a millisecond.
    assert_eq!(forgetter.round(KEEP).ok().unwrap(), Some(NOW + 1));
    for (n, (state, times, is_old)) in table.iter().enumerate() {
        let message = format!("m{n}");
        assert_eq!(view.rows.lock().contains_key(&message), !is_old, "{state} {times:?}");
        let log = log.lock();
        let said: Vec<_> = log.iter().filter(|it| it["data"]["message"] == *message).collect();
        assert_eq!(said.len(), usize::from(*is_old));
        for it in said {
            assert_eq!(it["id"], format!("{message}/forgotten"));
            assert_eq!((&it["type"], &it["tenant"]), (&"message.answered".into(), &"acme".into()));
            assert_eq!(it["data"]["outcome"], "forgotten");
            assert_eq!(it["data"]["reason"], *state);
        }
    }
}

/// Goal: of many a bounded number is looked at while an instant is held, and all are forgotten in the
/// end. Method: five thousand, of which every other is old; a log that is busy at first.
#[test]
fn a_little_at_a_time() {
    let at = |n: usize| if n.is_multiple_of(2) { NOW - KEEP - 5 } else { NOW - KEEP + 5 };
    let rows = (0..5_000).map(|n| row(&format!("m{n:05}"), "delivered", [1, at(n), 2, 0]));
    let (forgetter, view, log) = forgetter(rows.collect());
    assert_eq!(forgetter.round(KEEP).ok().unwrap(), Some(NOW + 5));
    let most = *view.looked_at.lock().iter().max().unwrap();
    assert!((STEP..STEP + STRIDE).contains(&most), "{most}");
    // Rows that go while the others are looked at move these on: the next round finds what was
    // passed over, and a round that finds none is the last.
    let mut rounds = 1;
    while log.lock().len() < 2_500 {
        assert!(forgetter.round(KEEP).is_ok() && rounds < 5);
        rounds += 1;
    }
    assert_eq!((log.lock().len(), view.rows.lock().len()), (2_500, 2_500));
    assert_eq!(forgetter.round(KEEP).ok().unwrap(), Some(NOW + 5));
    assert_eq!(log.lock().len(), 2_500, "once each");
    assert!(view.rows.lock().values().all(|it| matches!(it.values[3], Value::Time(at) if at > 0)));
}

/// Goal: nothing is forgotten before the watcher has counted what ended, and the end ends it. Method:
/// a watcher that stands still.
#[test]
fn waits_for_what_is_counted() {
    let (forgetter, view, log) = forgetter(vec![row("m", "delivered", [1, 1, 1, 0])]);
    forgetter.looked.store(NOW - 1, SeqCst);
    let (stop, looked) = (Arc::clone(&forgetter.stop), Arc::clone(&view));
    let thread = crate::tasks::thread("test", move || forgetter.run()).unwrap();
    while looked.looked_at.lock().iter().sum::<usize>() == 0 {
        std::thread::yield_now();
    }
    stop.store(true, SeqCst);
    thread.thread().unpark();
    thread.join().unwrap();
    assert!(log.lock().is_empty() && view.rows.lock().len() == 1);
}
