//! What every way out must pass, whatever its receiver is: each case drives a [`Driven`] over one.
//!
//! A sink is handed batches of rows, a channel messages; what is promised of both is the same: what
//! was not acknowledged comes again under its id with the same bytes, nothing is dropped and nothing
//! has two ids, the breaker says whose fault it is and outlives the process.

#![allow(missing_docs, unreachable_pub, dead_code)]

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::history;
use crate::kit::*;

/// An engine with its log and its checkpoints, one way out of it, and a receiver that fails as it
/// is told to. Every attempt is looked at: order, ids, bytes.
pub trait Driven {
    fn start(&mut self);
    fn restart(&mut self);
    /// Ended, and started with its states built again from the log: these views beside the others,
    /// or all of them before anything is served. Returns once it begins.
    fn rebuild(&mut self, views: &[&str]);
    /// Since then the receiver was told what it is promised of another life, and nothing else.
    fn lived_again(&self);
    /// Appends some of these and waits until they can be read.
    fn send(&mut self, lines: &[String], n: usize);
    fn set(&self, temper: Temper);
    fn attempts(&self) -> usize;
    /// Ids that were handed over and never acknowledged.
    fn open_ids(&self) -> BTreeSet<String>;
    fn state(&self) -> String;
    fn alarms(&self) -> Vec<String>;
    /// Somebody says that the receiver is mended.
    fn resume(&self);
    /// Waits until the receiver holds what it must, but for keys for which `but` holds.
    fn equal(&self, but: &dyn Fn(&str) -> bool);
    /// The same, without waiting.
    fn holds(&self) -> Result<(), String>;
    /// Waits until nothing is on its way.
    fn acknowledged(&self);
    /// Keys of what the receiver will not take, sorted; each stands there with the receiver's words.
    fn aside(&self) -> Vec<String>;
    /// Somebody says that what stands aside is to be tried again.
    fn retry(&self);
    /// All of so many events has arrived, once.
    fn arrived(&self, events: usize);
    /// As much as can be is handed over at once.
    fn at_once(&mut self) {}
}

/// What every temper must leave behind: nothing open, nothing aside.
pub fn settled(world: &dyn Driven) {
    world.acknowledged();
    assert_eq!(world.open_ids(), BTreeSet::new());
    assert_eq!(world.aside(), [""; 0]);
    assert_eq!(world.state(), "closed");
}

/// A receiver that is well holds what can be read, while events come, and after restarts.
pub fn well(world: &mut dyn Driven) {
    let lines = history(1, 600);
    world.start();
    for _ in 0..3 {
        world.send(&lines, 150);
        world.equal(&|_| false);
    }
    world.restart();
    world.equal(&|_| false);
    world.send(&lines, 150);
    world.equal(&|_| false);
    world.arrived(600);
    settled(world);
}

/// One that fails loses nothing and doubles nothing, also over a restart in between: what was not
/// acknowledged comes again with the same id and the same bytes (the kit looks at each attempt).
fn fails(world: &mut dyn Driven, temper: Temper, state: &[&str]) {
    let lines = history(2, 600);
    world.start();
    world.send(&lines, 200);
    world.equal(&|_| false);
    world.set(temper);
    let before = world.attempts();
    world.send(&lines, 200);
    until("it is tried, and fails", || world.attempts() > before);
    until("the breaker stands", || state.contains(&world.state().as_str()));
    let open = world.open_ids();
    assert!(!open.is_empty());
    world.restart();
    if state != ["closed"] {
        assert_ne!(world.state(), "closed", "the breaker is kept over a restart");
    }
    world.send(&lines, 200);
    world.set(Temper::Well);
    world.resume();
    world.equal(&|_| false);
    settled(world);
}

pub fn fails_before(it: &mut dyn Driven) {
    fails(it, Temper::FailsBefore, &["open", "half-open"]);
}

pub fn fails_after(it: &mut dyn Driven) {
    fails(it, Temper::FailsAfter, &["open", "half-open"]);
}

pub fn hangs(it: &mut dyn Driven) {
    fails(it, Temper::Hangs, &["closed"]);
}

pub fn hangs_after(it: &mut dyn Driven) {
    fails(it, Temper::HangsAfter, &["open", "half-open"]);
}

pub fn misconfigured(it: &mut dyn Driven) {
    fails(it, Temper::Misconfigured, &["misconfigured"]);
}

pub fn unknown(it: &mut dyn Driven) {
    fails(it, Temper::Unknown, &["paused"]);
}

/// A slow one holds nobody up and comes through.
pub fn slow(world: &mut dyn Driven) {
    let lines = history(3, 400);
    world.start();
    world.set(Temper::Slow(Duration::from_millis(30)));
    world.send(&lines, 400);
    world.equal(&|_| false);
    settled(world);
}

/// A receiver that is not fit is an alarm before anything is sent, and nothing is.
pub fn unfit(world: &mut dyn Driven) {
    let lines = history(4, 200);
    world.set(Temper::Unfit);
    world.start();
    world.send(&lines, 200);
    until("it is told", || world.state() == "misconfigured");
    let alarms = world.alarms();
    assert!(alarms.len() == 1 && alarms[0].ends_with(" tested is misconfigured"), "{alarms:?}");
    assert_eq!(world.attempts(), 0);
    world.set(Temper::Well);
    world.resume();
    world.equal(&|_| false);
    settled(world);
}

/// Rows that a receiver refuses are put aside one by one, with the report; all others pass; once it
/// takes them, they are delivered after all.
pub fn refuses_some(world: &mut dyn Driven) {
    let lines = history(5, 600);
    let bad = |key: &str| is_bad(key, 11);
    world.start();
    world.set(Temper::RefusesOneOf(11));
    world.send(&lines, 600);
    world.equal(&bad);
    let aside = world.aside();
    assert!(!aside.is_empty());
    assert!(aside.iter().all(|it| bad(it)), "{aside:?}");
    assert_eq!(world.state(), "closed", "its surroundings are well");
    world.restart();
    until("they stand aside again", || world.aside() == aside);
    world.set(Temper::Well);
    world.retry();
    world.equal(&|_| false);
    until("nothing stands aside", || world.aside().is_empty());
    world.acknowledged();
}

/// Another life of the state: a sink is told all there is once more under its number; a channel says
/// nothing that it has said.
pub fn another_life(world: &mut dyn Driven) {
    let lines = history(7, 400);
    world.start();
    world.send(&lines, 300);
    world.equal(&|_| false);
    world.rebuild(&[]);
    world.send(&lines, 100);
    world.equal(&|_| false);
    world.lived_again();
    settled(world);
}

/// A view that is built again beside the others is told once it is whole: nothing says before that
/// all is there, and what there is then is all of it.
pub fn rebuilt(world: &mut dyn Driven) {
    let lines = history(9, 20_000);
    world.at_once();
    world.start();
    world.send(&lines, 20_000);
    world.equal(&|_| false);
    world.rebuild(&["orders"]);
    world.lived_again();
    // Nothing has happened since the view was whole: what was told is what is read.
    world.holds().unwrap();
    settled(world);
}

/// Taken out of the settings for a while, some streams of it and then all, it begins anew under
/// another number when it is named again: it holds what is read, what has gone meanwhile too, and the
/// events of that time are said to be missing. Of sinks only.
pub fn was_away(world: &mut World<'_>) {
    let lines = history(10, 1_000);
    let all = world.streams;
    // What was left out for a touch behind the newest checkpoint may come once more after a restart.
    world.stage.seen.lock().again = true;
    world.start();
    world.send(&lines, 300);
    world.equal(|_| false);
    until("its events are there", || world.stage.seen.lock().events.len() == 300);
    let first = world.incarnation();
    assert_eq!(world.told("tested")["missed"], serde_json::json!([]));

    world.stop();
    world.streams = row_streams;
    world.start();
    world.send(&lines, 200);
    world.equal(|_| false);
    assert_eq!(world.incarnation(), first, "of what it takes it has missed nothing");
    world.stop();
    world.streams = all;
    world.start();
    let second = world.incarnation();
    assert!(second > first);
    let missed = world.told("tested")["missed"].clone();
    let range =
        |it: &serde_json::Value| (it["from"].as_u64().unwrap(), it["upto"].as_u64().unwrap());
    let streams = missed[0]["streams"].as_array().unwrap();
    assert!(streams.iter().any(|it| it == "events"), "{missed}");
    assert!(streams.iter().any(|it| it == "changes/orders"), "{missed}");
    assert!(streams.iter().all(|it| !it.as_str().unwrap().starts_with("rows/")), "{missed}");
    assert!(range(&missed[0]).0 < range(&missed[0]).1, "{missed}");
    world.equal(|_| false);

    world.stop();
    world.away = true;
    world.start();
    world.send(&lines, 200);
    world.stop();
    world.away = false;
    world.start();
    let third = world.incarnation();
    assert!(third > second);
    let missed = world.told("tested")["missed"].clone();
    assert_eq!(missed.as_array().unwrap().len(), 2, "{missed}");
    assert!(range(&missed[0]).1 <= range(&missed[1]).0, "{missed}");
    assert!(missed[1]["streams"].as_array().unwrap().iter().any(|it| it == "rows/orders"));
    world.equal(|_| false);
    world.send(&lines, 100);
    world.equal(|_| false);

    // Nothing is missed by a restart, nor told once more.
    world.restart();
    assert_eq!((world.incarnation(), &world.told("tested")["missed"]), (third, &missed));
    world.send(&lines, 200);
    world.equal(|_| false);
    until("its marks come to be whole", || {
        world.stage.seen.lock().marks.get(&third).is_some_and(|it| it.whole)
    });
    until("the events of its time are there", || world.stage.seen.lock().events.len() == 600);
    settled(world);
}

/// Asked to begin anew, beside what happens: everything comes once more, and in the end it is equal.
/// Of sinks only: what was said to somebody is never said anew.
pub fn anew(world: &mut World<'_>) {
    let lines = history(8, 600);
    world.start();
    world.send(&lines, 300);
    world.equal(|_| false);
    // As if somebody had emptied the receiver.
    world.stage.seen.lock().again = true;
    world.subject.empty();
    world.running.as_ref().unwrap().sinks().unwrap().anew("tested").unwrap();
    world.send(&lines, 300);
    world.equal(|_| false);
    until("it is whole again", || world.told("tested")["whole"] == true);
    settled(world);
}

impl Driven for World<'_> {
    fn start(&mut self) {
        World::start(self);
    }
    fn restart(&mut self) {
        World::restart(self);
    }
    fn rebuild(&mut self, views: &[&str]) {
        self.before = self.incarnation();
        self.stop();
        self.rebuild_views = views.iter().map(|it| it.to_string()).collect();
        self.rebuild = views.is_empty();
        World::start(self);
        (self.rebuild, self.rebuild_views) = (false, Vec::new());
    }
    fn lived_again(&self) {
        let now = self.incarnation();
        assert!(now > self.before);
        until("its marks come to be whole", || {
            self.stage.seen.lock().marks.get(&now).is_some_and(|it| it.whole)
        });
    }
    fn send(&mut self, lines: &[String], n: usize) {
        World::send(self, lines, n);
    }
    fn set(&self, temper: Temper) {
        self.stage.set(temper);
    }
    fn attempts(&self) -> usize {
        self.stage.attempts()
    }
    fn open_ids(&self) -> BTreeSet<String> {
        self.stage.seen.lock().open_ids()
    }
    fn state(&self) -> String {
        World::state(self)
    }
    fn alarms(&self) -> Vec<String> {
        self.running.as_ref().unwrap().sinks().unwrap().alarms()
    }
    fn resume(&self) {
        self.running.as_ref().unwrap().sinks().unwrap().resume("tested").unwrap();
    }
    fn equal(&self, but: &dyn Fn(&str) -> bool) {
        World::equal(self, but);
    }
    fn holds(&self) -> Result<(), String> {
        self.subject.holds(self, &self.live(), &|_| false)
    }
    fn acknowledged(&self) {
        until("everything is acknowledged", || self.told("tested")["in_flight_batches"] == 0);
    }
    fn aside(&self) -> Vec<String> {
        let asking = self.running.as_ref().unwrap().sinks().unwrap();
        let aside = asking.aside("tested").unwrap();
        let key = |it: &serde_json::Value| {
            assert_eq!(it["report"]["why"], "one of the rows");
            it["row"]["key"].as_str().unwrap().to_string()
        };
        let mut keys: Vec<String> = aside.as_array().unwrap().iter().map(key).collect();
        keys.sort();
        keys
    }
    fn retry(&self) {
        self.running.as_ref().unwrap().sinks().unwrap().retry("tested").unwrap();
    }
    fn arrived(&self, events: usize) {
        until("every event has arrived, once", || self.stage.seen.lock().events.len() == events);
        until("a mark says that it is whole", || {
            self.stage.seen.lock().marks.values().last().is_some_and(|it| it.whole)
        });
    }
    fn at_once(&mut self) {
        // A flush takes all there is: then only the building is waited for.
        (self.limits.rows, self.limits.bytes) = (100_000, 8 << 20);
    }
}
