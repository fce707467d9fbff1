//! Small histories for tests of views that are made from one another: what was said, an event an
//! epoch, and every row of every view at an instant.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use schemas::events::{CaseOpened, Data, Event, Identified, Line, OrderPlaced, Status};
use schemas::names::{Currency, Kind, Name, Secret};
use schemas::reading::Instants;
use schemas::rows::Row;

use crate::Epoch;
use crate::catalogue::{Sources, ViewSet, Views, definitions};
use crate::dedup::{Dedup, DedupLimits};
use crate::inputs::Updates;
use crate::models::arrivals::{Speaker, published};
use crate::models::lanes::{Lane, Lanes, QUARTER, STAGES, Way};
use crate::models::silences::{ORDERS_MIN, Stay};

const SECRET: Secret = Secret([3; 16]);
pub(crate) const START: u64 = 1_767_225_600_000;

/// An event of a history: its time is its place.
pub(crate) fn event(n: usize, data: Data<'static>) -> Event<'static> {
    let time = (START as i64 + n as i64 * 1_000) * 1_000;
    let id = format!("{n}").into();
    Event { tenant: "default".into(), source: "//test".into(), id, time, data }
}

pub(crate) fn history(said: Vec<Data<'static>>) -> Vec<Event<'static>> {
    said.into_iter().enumerate().map(|(n, it)| event(n, it)).collect()
}

pub(crate) fn has(
    customer: &'static str,
    kind: &'static str,
    value: &'static str,
) -> Data<'static> {
    let (customer, kind, value) = (customer.into(), kind.into(), value.into());
    Data::CustomerIdentified(Identified { customer, kind, value, country: None })
}

pub(crate) fn has_not(
    customer: &'static str,
    kind: &'static str,
    value: &'static str,
) -> Data<'static> {
    let (customer, kind, value) = (customer.into(), kind.into(), value.into());
    Data::CustomerUnlinked(Identified { customer, kind, value, country: None })
}

/// One piece of an article.
pub(crate) fn line(sku: &'static str, unit_price: i64) -> Line<'static> {
    Line {
        sku: sku.into(),
        quantity: 1,
        unit_price,
        ship_from: None,
        ship_to: None,
        carrier: None,
        seller: None,
    }
}

pub(crate) fn bought(customer: &'static str, order: &'static str, amount: i64) -> Data<'static> {
    Data::OrderPlaced(OrderPlaced {
        order: order.into(),
        customer: customer.into(),
        currency: Currency::parse("EUR").unwrap(),
        lines: vec![line("S", amount)],
        promised_at: None,
        channel: None,
    })
}

pub(crate) fn opened(customer: &'static str, case: &'static str) -> Data<'static> {
    Data::CaseOpened(CaseOpened {
        case: case.into(),
        customer: customer.into(),
        severity: 2,
        text: None,
        queue: "first".into(),
        skills: vec![],
    })
}

/// A midnight in the year 2100, microseconds since the Unix epoch: models of then speak of no order of
/// another test.
pub(crate) const THEN: i64 = 47_482 * 4 * QUARTER;

/// From [`THEN`] on there is a model, `arrival 7`, which says of every order of the tenant `t` that it
/// takes three days from each stage, and of those of `u` when they are paid; and of those of `quiet` that
/// nothing is said of them for a day once they are paid.
pub(crate) fn arrivals_published() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let (mut lanes, day) = (Lanes::default(), 4 * QUARTER);
        for (tenant, stage) in STAGES.map(|it| ("t", it)).into_iter().chain([("u", STAGES[0])]) {
            let lane = Lane::of(&Way { tenant, ..Way::default() }, stage);
            for n in 0..60 {
                let at = THEN + (n - 70) * day + day / 24;
                lanes.entered(&lane, at, 5);
                lanes.arrived(&lane, at, at + 3 * day, 5);
            }
        }
        let stay = Stay { status: Status::Paid, entered: 0, silence: day, went_on: true };
        lanes.silences.add("quiet", [None; 2], &stay, ORDERS_MIN);
        let model = lanes.sealed(THEN).expect("enough orders arrived");
        published().set(vec![Speaker::new(model, "arrival 7", THEN)]);
    });
}

/// Rows of every view, by name of the view.
pub(crate) type Answer = BTreeMap<&'static str, BTreeMap<Name, Row>>;

/// Plays events, one an epoch, and a day of nothing.
pub(crate) fn play(events: Vec<Event<'static>>) -> Answer {
    // The same instant for every history, so that answers can be compared.
    play_until(events, vec![START + 100_000_000]).remove(0)
}

/// Plays events, one an epoch; the rows at each of these instants, in order.
pub(crate) fn play_until(events: Vec<Event<'static>>, instants: Vec<u64>) -> Vec<Answer> {
    timely::execute_directly(move |worker| {
        let views = Views::new(ViewSet::all(), 1, SECRET, 64 << 20);
        let dedup = Dedup::new(DedupLimits { horizon_ms: 86_400_000, max_bytes: 1 << 20 });
        let mut sources = Sources::build(worker, &views);
        let mut epoch = START;
        for event in &events {
            epoch += 1;
            sources.advance_to(epoch);
            let id = SECRET.fingerprint(&event.tenant, Kind::Event, &[&event.source, &event.id]);
            let mut fresh = Vec::new();
            dedup.claim(&[id], epoch, &mut fresh);
            let mut updates = Updates::default();
            if fresh[0] {
                updates.route(event, &SECRET, ViewSet::all());
            }
            sources.send(&mut updates);
            step(worker, &mut sources, &views, epoch);
        }
        let answers = instants.into_iter().map(|at| {
            step(worker, &mut sources, &views, at);
            assert_eq!(views.anomalies(), 0);
            let rows = |it: &Arc<dyn schemas::reading::ViewReader>| {
                let mut rows = BTreeMap::new();
                let mut take = |name: &Name, row: Row| drop(rows.insert(name.clone(), row));
                it.for_each(at, &mut take).expect("complete");
                rows
            };
            definitions().iter().map(|it| it.name).zip(views.readers().iter().map(rows)).collect()
        });
        answers.collect()
    })
}

fn step(worker: &mut timely::worker::Worker, sources: &mut Sources, views: &Views, epoch: u64) {
    sources.advance_to(epoch + 1);
    while views.clock().complete() < epoch {
        worker.step();
    }
}

/// What a collection holds.
#[derive(Clone)]
pub(crate) struct Held<T>(Rc<RefCell<BTreeMap<T, isize>>>);

impl<T> Default for Held<T> {
    fn default() -> Held<T> {
        Held(Rc::default())
    }
}

impl<T: Ord + Clone + 'static> Held<T> {
    pub(crate) fn watch<'s>(
        &self,
        of: VecCollection<'s, Epoch, T, isize>,
    ) -> VecCollection<'s, Epoch, T, isize> {
        let held = Rc::clone(&self.0);
        of.inspect(move |(it, _, n)| {
            let mut held = held.borrow_mut();
            let times = held.entry(it.clone()).or_insert(0);
            *times += n;
            if *times == 0 {
                held.remove(it);
            }
        })
    }

    /// All, in order; each must be there once.
    pub(crate) fn all(&self) -> Vec<T> {
        let held = self.0.borrow();
        assert!(held.values().all(|it| *it == 1));
        held.keys().cloned().collect()
    }
}
