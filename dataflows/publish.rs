//! Serves a relation's output in a map of the same kind as a fold's.
//!
//! In: a relation's records. Out: its map, by name.
//!
//! # Meaning
//! At a complete epoch the map shows exactly the record that the relation holds under each name.
//! A row that time alone changes is looked at again at its exact instant, as a fold's is.
//!
//! A name under which it holds anything else than one record once (a negative multiplicity, two
//! rows) shows no row and is counted as an anomaly; when the relation mends it, the row is back.
//!
//! # State
//! Per name the record behind an `Arc`, shared with the relation where that holds it too; names
//! without a record are given back once no reader needs them, so a top list does not remember all that
//! ever stood in it.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use differential_dataflow::VecCollection;
use differential_dataflow::consolidation::consolidate;
use schemas::leaving::Leaving;
use schemas::names::{Fingerprint, Kind, Name, Secret};
use schemas::reading::ViewReader;
use schemas::rows::{Row, ViewDef};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;

use crate::fold::timers::Timers;
use crate::grouped::gathered;
use crate::served::{Clock, Served, Slots, Touch, Writer, route};
use crate::{Addressed, Epoch, Fold};

/// A row type of a relation.
pub trait Relation: Send + Sync + 'static {
    /// Its entry in the catalogue.
    const DEF: &'static ViewDef;
    /// The record that differential computes.
    type Record: Ord + Send + Sync + 'static;
    /// Where it stands: tenant and key text. At most one record per name after consolidation.
    fn name(record: &Self::Record) -> Name;
    /// Its row.
    fn row(record: &Self::Record) -> Row;
    /// Its row at an instant (`now`: milliseconds), where time alone changes it.
    fn row_at(record: &Self::Record, _now: Epoch) -> Row {
        Self::row(record)
    }
    /// The next instant after `after` at which time alone changes the row.
    fn next_due(_record: &Self::Record, _after: Epoch) -> Option<Epoch> {
        None
    }
}

/// A relation's map over all workers.
pub struct Published<R: Relation> {
    map: Arc<Served<Rows<R>>>,
    secret: Secret,
    anomalies: AtomicU64,
}

/// The record under a name.
type Shown<T> = Option<Arc<T>>;

/// A published map as the served map sees it: a fold that nobody folds.
pub(crate) struct Rows<R>(std::marker::PhantomData<R>);

/// A record as its relation says it: by itself, or shared with others who hold it.
pub trait Said<T>: differential_dataflow::ExchangeData + Borrow<T> + Into<Arc<T>> {}

impl<T, D: differential_dataflow::ExchangeData + Borrow<T> + Into<Arc<T>>> Said<T> for D {}

impl<R: Relation> Fold for Rows<R> {
    type Update = ();
    type State = Shown<R::Record>;
    const DEF: &'static ViewDef = R::DEF;

    fn apply(_: &mut Self::State, (): &()) {}

    fn row(_: &Name, state: &Self::State, now: Epoch) -> Option<Row> {
        state.as_ref().map(|record| R::row_at(record, now))
    }

    fn next_due(state: &Self::State, after: Epoch) -> Option<Epoch> {
        state.as_ref().and_then(|record| R::next_due(record, after))
    }

    fn exists(state: &Self::State) -> bool {
        state.is_some()
    }

    fn heap_bytes(state: &Self::State) -> usize {
        state.as_ref().map_or(0, |record| size_of_val(&**record) + 16)
    }
}

/// What stands under a name where it is not one record once.
type Odd<T> = Vec<(Arc<T>, isize)>;

/// What is under each of those names, which show no row. None, unless a relation is wrong.
type Odds<T> = BTreeMap<Fingerprint, Odd<T>>;

/// Takes changes in, to what is shown under a name or to what is odd there; gives what is odd now.
fn change<T: Ord, D: Said<T>>(
    shown: &mut Shown<T>,
    odd: Option<Odd<T>>,
    mut changes: Vec<(D, isize)>,
) -> Option<Odd<T>> {
    // One comes, goes, or takes the place of another: nearly always.
    let (gone, came) = match &*changes {
        [(_, -1), (_, 1)] => (Some(0), Some(1)),
        [(_, 1), (_, -1)] => (Some(1), Some(0)),
        [(_, -1)] => (Some(0), None),
        [(_, 1)] => (None, Some(0)),
        _ => (None, None),
    };
    let is_there = match (&*shown, gone) {
        (None, None) => odd.is_none(),
        (Some(record), Some(gone)) => **record == *changes[gone].0.borrow(),
        _ => false,
    };
    if is_there && (gone.is_some() || came.is_some()) {
        *shown = came.map(|at| changes.swap_remove(at).0.into());
        return None;
    }
    let mut records = odd.unwrap_or_default();
    records.extend(shown.take().map(|it| (it, 1)));
    records.extend(changes.into_iter().map(|(it, n)| (it.into(), n)));
    consolidate(&mut records);
    if let [(record, 1)] = &*records {
        *shown = Some(record.clone());
        records.clear();
    }
    (!records.is_empty()).then_some(records)
}

fn fingerprint(secret: &Secret, tenant: &str, key: &str) -> Fingerprint {
    secret.fingerprint(tenant, Kind::Relation, &[key])
}

impl<R: Relation> Published<R> {
    /// A map for this many workers; lanes `first_lane..first_lane + workers` of the clock.
    /// `secret`: names come from outside, so that their fingerprints must not be predictable.
    pub fn new(workers: usize, clock: Arc<Clock>, first_lane: usize, secret: Secret) -> Arc<Self> {
        let key_of =
            Arc::new(move |tenant: &str, key: &str| Some(fingerprint(&secret, tenant, key)));
        let vacant = |it: &Shown<R::Record>| it.is_none();
        let map =
            Served::with(workers, clock, first_lane, key_of, (Slots::Reclaimed(vacant), None));
        Arc::new(Published { map, secret, anomalies: AtomicU64::new(0) })
    }

    /// As readers see it.
    pub fn reader(self: &Arc<Self>) -> Arc<dyn ViewReader> {
        self.map.clone()
    }

    /// As those see it who hand its rows on.
    pub fn leaving(self: &Arc<Self>) -> Arc<dyn Leaving> {
        self.map.clone()
    }

    /// Times that a name was left, by a complete epoch, with anything else than one record once
    /// or nothing (a negative multiplicity, or two rows under one name): an alarm, never a row.
    pub fn anomalies(&self) -> u64 {
        self.anomalies.load(Relaxed)
    }

    fn key(&self, record: &R::Record) -> Fingerprint {
        self.key_of(&R::name(record))
    }

    fn key_of(&self, name: &Name) -> Fingerprint {
        fingerprint(&self.secret, name.tenant(), name.key())
    }
}

/// Consolidates each complete epoch of a relation and writes it to its map, by name.
///
/// What comes out is empty: its frontier tells what is published.
pub fn publish<'s, R: Relation, D: Said<R::Record>>(
    records: VecCollection<'s, Epoch, D, isize>,
    map: Arc<Published<R>>,
    worker: usize,
) -> Stream<'s, Epoch, Vec<()>> {
    let keys = map.clone();
    let by_name = Exchange::new(move |it: &(D, Epoch, isize)| route(keys.key(it.0.borrow())));
    let name = format!("publish {}", R::DEF.name);
    type Nothing = CapacityContainerBuilder<Vec<()>>;
    records.inner.unary_frontier::<Nothing, _, _, _>(by_name, &name, move |first, _| {
        let mut writer = Writer::new(map.map.clone(), worker);
        let mut pending: BTreeMap<Epoch, Vec<(D, isize)>> = BTreeMap::new();
        let mut odds = Odds::new();
        let (mut timers, mut due, mut early) = (Timers::default(), Vec::new(), Vec::new());
        let mut open = 0;
        let mut capability = Some(first);
        move |(input, frontier), _| {
            input.for_each(|_, records| {
                for (record, epoch, diff) in records.drain(..) {
                    pending.entry(epoch).or_default().push((record, diff));
                }
            });
            let frontier = frontier.frontier().first().copied();
            let last = pending.last_key_value().map_or(0, |it| it.0 + 1);
            let end = frontier.unwrap_or(last.max(open));
            if end <= open {
                capability = capability.take().filter(|_| frontier.is_some());
                return;
            }
            writer.begin();
            loop {
                let said = pending.first_key_value().map(|it| *it.0).filter(|it| *it < end);
                let Some(epoch) = said.into_iter().chain(timers.next(end)).min() else { break };
                if let Some(records) = pending.remove(&epoch) {
                    write(&map, &mut writer, (&mut timers, &mut odds), epoch, records);
                }
                if timers.next(end) == Some(epoch) {
                    timers.take(epoch, &mut due);
                    let mut see = |it: Touch<'_, _>| schedule::<R>(&mut timers, epoch, it);
                    writer.fire(epoch, &due, &mut early, &mut see);
                    timers.put_off(&mut early);
                }
                writer.finish(epoch);
            }
            open = end;
            writer.end(end - 1);
            match (frontier, &mut capability) {
                (Some(frontier), Some(capability)) => capability.downgrade(&frontier),
                _ => capability = None,
            }
        }
    })
}

/// What an epoch says of one row, by its key; taken out where it is applied.
type Update<D> = (Fingerprint, Cell<Vec<(D, isize)>>);

/// Where a record stands, by its key.
struct Place {
    key: Fingerprint,
    name: Name,
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        self.key == other.key
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.key.hash(to);
    }
}

/// Writes the records of one epoch, without what cancels.
fn write<R: Relation, D: Said<R::Record>>(
    map: &Published<R>,
    writer: &mut Writer<Rows<R>>,
    (timers, odds): (&mut Timers, &mut Odds<R::Record>),
    epoch: Epoch,
    records: Vec<(D, isize)>,
) {
    let by_name = gathered(records.into_iter().map(|(record, n)| {
        let name = R::name(record.borrow());
        (Place { key: map.key_of(&name), name }, record, n)
    }));
    let by_name = by_name.into_iter().map(|(Place { key, name }, said)| {
        let update = (key, Cell::new(said));
        Addressed { key, name, update }
    });
    let (anomalies, odds) = (Cell::new(0), RefCell::new(odds));
    let apply = |shown: &mut Shown<R::Record>, (key, said): &Update<D>| {
        let mut odds = odds.borrow_mut();
        if let Some(odd) = change(shown, odds.remove(key), said.take()) {
            anomalies.set(anomalies.get() + 1);
            odds.insert(*key, odd);
        }
    };
    let mut see = |touch: Touch<'_, _>| schedule::<R>(timers, epoch, touch);
    writer.apply(epoch, &[by_name.collect()], &apply, &mut see);
    map.anomalies.fetch_add(anomalies.get(), Relaxed);
}

/// Sees to it that a row which was touched is looked at when time changes it next.
fn schedule<R: Relation>(
    timers: &mut Timers,
    epoch: Epoch,
    touch: Touch<'_, <Rows<R> as Fold>::State>,
) {
    if let Some(due) = Rows::<R>::next_due(touch.new, epoch) {
        let had = touch.old.and_then(|(state, since)| Rows::<R>::next_due(state, since));
        timers.schedule((due, had), epoch, touch.place);
    }
}

#[cfg(test)]
mod tests;
