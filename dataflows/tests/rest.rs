//! Goal: messages and texts that nobody touches are packed, to less than half of what they take, and
//! are read, listed, looked through, kept and answered as ever. Method: forty thousand of them in two
//! sets of views that are told the same; only one of them has its house kept.

#[path = "support/drive.rs"]
#[allow(dead_code)] // other tests need more of it
mod drive;

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::Epoch;
use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::dedup::Dedup;
use drive::{SECRET, apply, complete, dedup, rows};
use schemas::events::{
    Data, Erased, Event, FeedbackSubmitted, MessageAnswered, MessagePlanned, NOTIFY,
};
use schemas::names::Name;
use schemas::reading::{Instants, Keep, Known, ViewReader};
use schemas::scanning::{Scan, Wanted};
use timely::worker::Worker;

const START: Epoch = 1_767_225_600_000;
const MESSAGES: u64 = 40_000;

fn event(id: String, at: Epoch, data: Data<'static>) -> Event<'static> {
    let time = at as i64 * 1_000;
    Event { tenant: "default".into(), source: NOTIFY.into(), id: id.into(), time, data }
}

/// Its name ends in digits, but for some.
fn name(n: u64) -> String {
    let digits = format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    match n % 100 {
        0 => format!("told/by%hand {n}"),
        _ => format!("msg_{digits}{digits}"),
    }
}

fn planned(n: u64) -> Event<'static> {
    let at = START + n / 10;
    let data = MessagePlanned {
        message: name(n).into(),
        rule: "waits".into(),
        version: "0123456789ab".into(),
        view: "cases".into(),
        about: format!("K-{n}").into(),
        episode: schemas::time::rfc3339(at as i64 * 1_000).into(),
        channel: "dead".into(),
        severity: "info".into(),
        text: format!("case K-{n} of C-{} waits in dead", n % 1_000).into(),
        reason: Some("status == 'open'; status: \"open\"".into()),
        corrects: None,
        suppressed: None,
        customer: Some(format!("C-{}", n % 1_000).into()),
        due: None,
        expires: Some((at as i64 + 259_200_000) * 1_000),
    };
    event(name(n), at, Data::MessagePlanned(Box::new(data)))
}

fn answered(n: u64, at: Epoch) -> Event<'static> {
    let data = MessageAnswered {
        message: name(n).into(),
        outcome: "delivered".into(),
        reason: None,
        attempts: Some(2),
    };
    event(format!("{}/delivered", name(n)), at, Data::MessageAnswered(data))
}

fn key(n: u64) -> String {
    schemas::names::key_text(&[&name(n)]).to_string()
}

fn forgets(n: u64, at: Epoch) -> Event<'static> {
    let data = MessageAnswered {
        message: name(n).into(),
        outcome: "forgotten".into(),
        reason: Some("delivered".into()),
        attempts: None,
    };
    event(format!("{}/forgotten", name(n)), at, Data::MessageAnswered(data))
}

/// One set of views, and where it is.
struct Side {
    views: Arc<Views>,
    /// Which of them is looked at.
    name: &'static str,
    sources: Sources,
    dedup: Dedup,
    epoch: Epoch,
}

impl Side {
    fn new(worker: &mut Worker) -> Side {
        let views = Views::keeping(ViewSet::all(), 1, SECRET, 64 << 20);
        Side::of(worker, views, "notifications")
    }

    fn of(worker: &mut Worker, views: Arc<Views>, name: &'static str) -> Side {
        let sources = Sources::build(worker, &views);
        Side { views, name, sources, dedup: dedup(), epoch: START }
    }

    /// Long after: everything that may rest does.
    fn rest(&mut self, worker: &mut Worker, entries: u64) {
        self.tell(worker, &[], 10_000);
        self.tell(worker, &[], 10);
        while self.view().merge_index() {}
        for _ in 0..entries / 64 {
            self.view().merge_index();
        }
    }

    fn tell(&mut self, worker: &mut Worker, events: &[Event<'static>], later: Epoch) {
        self.epoch += later;
        apply(&mut self.sources, &self.dedup, events, self.epoch);
        complete(worker, &mut self.sources, &self.views, self.epoch);
    }

    fn view(&self) -> &Arc<dyn ViewReader> {
        self.views.readers().iter().find(|it| it.def().name == self.name).unwrap()
    }

    fn bytes(&self) -> u64 {
        self.view().stats().bytes
    }
}

/// All that can be read of it at its epoch.
fn same(a: &Side, b: &Side) {
    assert!(rows(&a.views, a.epoch) == rows(&b.views, b.epoch), "rows differ");
    let all = |it: &Side| {
        let (mut pages, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = it.view().page("default", after.as_deref(), it.epoch, 999, 999, Keep::ALL);
            let page = page.unwrap();
            pages.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return pages;
            }
        }
    };
    let listed = all(a);
    assert!(listed == all(b), "listings differ");
    assert!(!listed.is_empty() && listed.is_sorted_by(|a, b| a.0 < b.0));
    for (name, row) in listed.iter().step_by(97) {
        let found = a.view().get("default", name.key(), a.epoch).unwrap();
        assert_eq!(found.as_ref(), Some(row), "{name:?}");
    }
    let scanned = |it: &Side| {
        let wanted = Wanted { fields: vec![0, 1], tests: vec![] };
        let (mut scan, mut values, mut n) = (Scan::default(), Vec::new(), 0);
        while !scan.over {
            n += it.view().scan("default", it.epoch, &wanted, &mut scan, &mut values).unwrap();
        }
        (n, values)
    };
    assert!(scanned(a) == scanned(b), "scans differ");
}

#[test]
fn what_waits_is_packed() {
    timely::execute_directly(|worker| {
        let (mut rests, mut plain) = (Side::new(worker), Side::new(worker));
        let events: Vec<_> = (0..MESSAGES).map(planned).collect();
        for side in [&mut rests, &mut plain] {
            for some in events.chunks(1_000) {
                side.tell(worker, some, 10);
            }
            // Long after.
            side.tell(worker, &[], 10_000);
            side.tell(worker, &[], 10);
        }
        let before = rests.bytes() / MESSAGES;
        while rests.view().merge_index() {}
        for _ in 0..MESSAGES / 64 {
            rests.view().merge_index();
        }
        let after = rests.bytes() / MESSAGES;
        println!("{before} bytes a message, {after} packed");
        assert!(before > 350 && after * 2 < before, "{before} bytes a message, {after} packed");
        same(&rests, &plain);

        // Some are answered: those and their neighbours lie spread out again, for a while.
        for side in [&mut rests, &mut plain] {
            let at = side.epoch;
            let events: Vec<_> = (0..MESSAGES).step_by(700).map(|n| answered(n, at)).collect();
            side.tell(worker, &events, 10);
        }
        same(&rests, &plain);
        assert!(rests.bytes() / MESSAGES > after);
        for side in [&mut rests, &mut plain] {
            side.tell(worker, &[], 10_000);
            side.tell(worker, &[], 10);
        }
        for _ in 0..MESSAGES / 64 {
            rests.view().merge_index();
        }
        assert!(rests.bytes() / MESSAGES <= after + 1, "{after} were packed before");
        same(&rests, &plain);

        // Some are forgotten, and rest as such: what is left of them is known.
        let forgotten = (0..MESSAGES).step_by(700);
        for side in [&mut rests, &mut plain] {
            let at = side.epoch;
            let events: Vec<_> = forgotten.clone().map(|n| forgets(n, at)).collect();
            side.tell(worker, &events, 10);
            side.tell(worker, &[], 10_000);
            side.tell(worker, &[], 10);
        }
        for _ in 0..MESSAGES / 64 {
            rests.view().merge_index();
        }
        assert!(rests.bytes() / MESSAGES <= after + 1, "{after} were packed before");
        same(&rests, &plain);
        let known = |it: &Side| {
            let (mut all, mut scan) = (BTreeMap::new(), Scan::default());
            while !scan.over {
                let see = &mut |name: &Name, it| drop(all.insert(name.clone(), it));
                it.view().each_known(it.epoch, &mut scan, see).unwrap();
            }
            all
        };
        let all = known(&rests);
        assert!(all == known(&plain), "what is known differs");
        assert_eq!(all.len() as u64, MESSAGES);
        for n in forgotten {
            let found = rests.view().known("default", &key(n), rests.epoch).unwrap();
            assert_eq!(found, Some(Known::Left("delivered")), "{n}");
            assert_eq!(all[&Name::new("default", &key(n))], Known::Left("delivered"));
            assert_eq!(rests.view().get("default", &key(n), rests.epoch), Ok(None));
        }

        // Put back elsewhere they are the same.
        let kept = |it: &Side| {
            let mut records = Vec::new();
            let keepers = it.views.keepers();
            let keeper = keepers.iter().find(|it| it.view() == "notifications").unwrap();
            let _pin = it.views.clock().pin();
            keeper.save(it.epoch, 1, &mut |record| records.push(record.to_vec())).unwrap();
            records.sort();
            records
        };
        assert!(kept(&rests) == kept(&plain), "records differ");

        // Of what is forgotten less is left.
        let at = rests.epoch;
        let events: Vec<_> = (0..MESSAGES).map(|n| forgets(n, at)).collect();
        events.chunks(1_000).for_each(|some| rests.tell(worker, some, 10));
        rests.tell(worker, &[], 10_000);
        rests.tell(worker, &[], 10);
        for _ in 0..MESSAGES / 64 {
            rests.view().merge_index();
        }
        let left = rests.bytes() / MESSAGES;
        println!("{left} bytes a message that was forgotten");
        assert!(left + 20 < after, "{left} of {after}");
        assert_eq!(rests.view().rows(), 0);
        assert!(known(&rests).values().all(|it| *it == Known::Left("delivered")));
    });
}

fn says(n: u64) -> Event<'static> {
    let data = FeedbackSubmitted {
        customer: (!n.is_multiple_of(5)).then(|| format!("C-{:05}", n % 1_000).into()),
        order: None,
        product: n.is_multiple_of(3).then(|| format!("S{n:05}").into()),
        rating: None,
        text: Some(format!("the {n}th lamp is wonderful, thank you").into()),
    };
    let source = if n.is_multiple_of(2) { "/rich/feedback" } else { "/shop" };
    let at = START + n / 10;
    Event { source: source.into(), ..event(format!("{n:012x}"), at, Data::FeedbackSubmitted(data)) }
}

/// What is replayed without a store rests too.
#[test]
fn texts_are_packed() {
    timely::execute_directly(|worker| {
        let set = ViewSet::parse(&["sentiment"]).unwrap();
        let views = || Views::new(set, 1, SECRET, 64 << 20);
        let mut rests = Side::of(worker, views(), "sentiment");
        let mut plain = Side::of(worker, views(), "sentiment");
        let texts: Vec<_> = (0..MESSAGES).map(says).collect();
        for side in [&mut rests, &mut plain] {
            texts.chunks(1_000).for_each(|some| side.tell(worker, some, 10));
        }
        let before = rests.bytes() / MESSAGES;
        rests.rest(worker, MESSAGES);
        plain.epoch = rests.epoch;
        complete(worker, &mut plain.sources, &plain.views, plain.epoch);
        let after = rests.bytes() / MESSAGES;
        println!("{before} bytes a text, {after} packed");
        assert!(before > 150 && after * 2 < before, "{before} bytes a text, {after} packed");
        same(&rests, &plain);

        // Who is erased is found among those that rest; what nobody is named in stays.
        let customers = vec!["C-00007".into(), "C-00998".into()];
        for side in [&mut rests, &mut plain] {
            let gone = event(
                "gone".into(),
                side.epoch,
                Data::CustomerErased(Erased { customers: customers.clone() }),
            );
            side.tell(worker, &[gone], 10);
        }
        same(&rests, &plain);
        assert_eq!(rests.view().rows(), MESSAGES - 2 * MESSAGES / 1_000);
    });
}
