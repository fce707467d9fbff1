//! What every sink must pass, whatever its receiver is: each case drives a [`World`] over one.

#![allow(missing_docs, unreachable_pub, dead_code)]

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::history;
use crate::kit::*;

/// What every temper must leave behind: nothing open, nothing aside.
pub fn settled(world: &World<'_>) {
    until("everything is acknowledged", || world.told("tested")["in_flight_batches"] == 0);
    assert_eq!(world.stage.seen.lock().open_ids(), BTreeSet::new());
    assert_eq!(world.told("tested")["aside"], 0);
    assert_eq!(world.state(), "closed");
}

/// A receiver that is well holds what can be read, while events come, and after restarts.
pub fn well(world: &mut World<'_>) {
    let lines = history(1, 600);
    world.start();
    for _ in 0..3 {
        world.send(&lines, 150);
        world.equal(|_| false);
    }
    world.restart();
    world.equal(|_| false);
    world.send(&lines, 150);
    world.equal(|_| false);
    until("every event has arrived, once", || world.stage.seen.lock().events.len() == 600);
    until("a mark says that it is whole", || {
        world.stage.seen.lock().marks.values().last().is_some_and(|it| it.whole)
    });
    settled(world);
}

/// One that fails loses nothing and doubles nothing, also over a restart in between: what was not
/// acknowledged comes again with the same id and the same bytes (the kit looks at each attempt).
fn fails(world: &mut World<'_>, temper: Temper, state: &[&str]) {
    let lines = history(2, 600);
    world.start();
    world.send(&lines, 200);
    world.equal(|_| false);
    world.stage.set(temper);
    let before = world.stage.attempts();
    world.send(&lines, 200);
    until("it is tried, and fails", || world.stage.attempts() > before);
    until("the breaker stands", || state.contains(&world.state().as_str()));
    let open = world.stage.seen.lock().open_ids();
    assert!(!open.is_empty());
    world.restart();
    if state != ["closed"] {
        assert_ne!(world.state(), "closed", "the breaker is kept over a restart");
    }
    world.send(&lines, 200);
    world.stage.set(Temper::Well);
    world.running.as_ref().unwrap().sinks().unwrap().resume("tested").unwrap();
    world.equal(|_| false);
    settled(world);
}

pub fn fails_before(it: &mut World<'_>) {
    fails(it, Temper::FailsBefore, &["open", "half-open"]);
}

pub fn fails_after(it: &mut World<'_>) {
    fails(it, Temper::FailsAfter, &["open", "half-open"]);
}

pub fn hangs(it: &mut World<'_>) {
    fails(it, Temper::Hangs, &["closed"]);
}

pub fn hangs_after(it: &mut World<'_>) {
    fails(it, Temper::HangsAfter, &["open", "half-open"]);
}

pub fn misconfigured(it: &mut World<'_>) {
    fails(it, Temper::Misconfigured, &["misconfigured"]);
}

pub fn unknown(it: &mut World<'_>) {
    fails(it, Temper::Unknown, &["paused"]);
}

/// A slow one holds nobody up and comes through.
pub fn slow(world: &mut World<'_>) {
    let lines = history(3, 400);
    world.start();
    world.stage.set(Temper::Slow(Duration::from_millis(30)));
    world.send(&lines, 400);
    world.equal(|_| false);
    settled(world);
}

/// A receiver that is not fit is an alarm before anything is sent, and nothing is.
pub fn unfit(world: &mut World<'_>) {
    let lines = history(4, 200);
    world.stage.set(Temper::Unfit);
    world.start();
    world.send(&lines, 200);
    until("it is told", || world.state() == "misconfigured");
    let asking = world.running.as_ref().unwrap().sinks().unwrap();
    assert_eq!(asking.alarms(), ["sink tested is misconfigured"]);
    assert_eq!(world.stage.attempts(), 0);
    world.stage.set(Temper::Well);
    asking.resume("tested").unwrap();
    world.equal(|_| false);
    settled(world);
}

/// Rows that a receiver refuses are put aside one by one, with the report; all others pass; once it
/// takes them, they are delivered after all.
pub fn refuses_some(world: &mut World<'_>) {
    let lines = history(5, 600);
    let bad = |key: &str| is_bad(key, 11);
    world.start();
    world.stage.set(Temper::RefusesOneOf(11));
    world.send(&lines, 600);
    world.equal(bad);
    let asking = world.running.as_ref().unwrap().sinks().unwrap();
    let aside = asking.aside("tested").unwrap();
    let aside = aside.as_array().unwrap();
    assert!(!aside.is_empty(), "{:?}", world.live().keys().take(9).collect::<Vec<_>>());
    for it in aside {
        assert!(bad(it["row"]["key"].as_str().unwrap()), "{it}");
        assert_eq!(it["report"]["why"], "one of the rows");
    }
    assert_eq!(world.state(), "closed", "its surroundings are well");
    drop(asking);
    world.restart();
    let asking = world.running.as_ref().unwrap().sinks().unwrap();
    assert_eq!(asking.aside("tested").unwrap().as_array().unwrap().len(), aside.len());
    world.stage.set(Temper::Well);
    asking.retry("tested").unwrap();
    world.equal(|_| false);
    until("nothing stands aside", || world.told("tested")["aside"] == 0);
    until("everything is acknowledged", || world.told("tested")["in_flight_batches"] == 0);
}

/// Another life of the state: all there is comes again under its number, and a mark says when it is
/// whole.
pub fn another_life(world: &mut World<'_>) {
    let lines = history(7, 400);
    world.start();
    world.send(&lines, 300);
    world.equal(|_| false);
    let before = world.incarnation();
    world.stop();
    world.rebuild = true;
    world.start();
    world.rebuild = false;
    world.send(&lines, 100);
    let now = world.incarnation();
    assert!(now > before);
    world.equal(|_| false);
    until("its marks come to be whole", || {
        world.stage.seen.lock().marks.get(&now).is_some_and(|it| it.whole)
    });
    settled(world);
}

/// A view that is built again beside the others is told once it is whole: no mark says before that
/// all is there, and what there is then is all of it.
pub fn rebuilt(world: &mut World<'_>) {
    let lines = history(9, 20_000);
    // A flush takes all there is: then only the building is waited for.
    (world.limits.rows, world.limits.bytes) = (100_000, 8 << 20);
    world.start();
    world.send(&lines, 20_000);
    world.equal(|_| false);
    let before = world.incarnation();
    world.stop();
    world.rebuild_views = vec!["orders".into()];
    world.start();
    world.rebuild_views.clear();
    let now = world.incarnation();
    assert!(now > before);
    until("its marks come to be whole", || {
        world.stage.seen.lock().marks.get(&now).is_some_and(|it| it.whole)
    });
    // Nothing has happened since the view was whole: what was marked is what is read.
    world.subject.holds(world, &world.live(), &|_| false).unwrap();
    settled(world);
}

/// Asked to begin anew, beside what happens: everything comes once more, and in the end it is equal.
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
