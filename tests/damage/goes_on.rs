//! What a start that was accepted goes on to serve: the states that were put back, with relations
//! made of them anew, and the records of the log from there on, through the dataflow of every view;
//! against the plain computation over the same events.

use std::collections::{BTreeMap, HashSet};

use dataflows::Epoch;
use dataflows::catalogue::{Reference, Sources, ViewSet, Views, references};
use dataflows::dedup::{Dedup, DedupLimits};
use dataflows::inputs::Updates;
use schemas::events::Event;
use schemas::names::{Kind, Name, Secret};
use schemas::reading::Instants;
use schemas::rows::Row;

use super::{Checkpoint, Record};

const UNDO_MAX_BYTES: u64 = 64 << 20;

/// Every event of these records, repeats too. Facts of ours are no view's.
pub fn events(log: &[Record]) -> Vec<(u64, Event<'static>)> {
    let of = |it: &Record| {
        // Borrowed by the event for the rest of the test.
        let text: &'static [u8] = Box::leak(it.bytes.clone().into_boxed_slice());
        (it.position, schemas::decode::structured(text).expect("it was judged before it was kept"))
    };
    log.iter().filter(|it| !it.is_fact).map(of).collect()
}

/// What is served in the end where a start has this state and these events to read from there on.
fn served(
    state: Option<&Checkpoint>,
    rest: Vec<Event<'static>>,
    (secret, now): (Secret, Epoch),
) -> Result<Vec<BTreeMap<Name, Row>>, String> {
    let views = Views::keeping(ViewSet::all(), 1, secret, UNDO_MAX_BYTES);
    let dedup = Dedup::new(DedupLimits { horizon_ms: u64::MAX >> 20, max_bytes: 64 << 20 });
    if let Some(it) = state {
        for keeper in views.keepers() {
            let of_view = it.records.get(keeper.view()).into_iter().flatten();
            for (generation, record) in of_view {
                keeper.restore(record, *generation).map_err(|it| it.why)?;
            }
        }
        it.identities.iter().for_each(|(ids, claimed_ms)| dedup.restore(ids, *claimed_ms));
    }
    let begins_at = state.map_or(0, |it| it.epoch);
    timely::execute_directly(move |worker| {
        let mut sources = Sources::build(worker, &views);
        sources.advance_to(begins_at + 1);
        let identity =
            |it: &Event<'_>| secret.fingerprint(&it.tenant, Kind::Event, &[&it.source, &it.id]);
        let identities: Vec<_> = rest.iter().map(identity).collect();
        let mut fresh = Vec::new();
        dedup.claim(&identities, begins_at + 1, &mut fresh);
        let mut updates = Updates::default();
        for (event, _) in rest.iter().zip(fresh).filter(|it| it.1) {
            updates.route(event, &secret, ViewSet::all());
        }
        sources.send(&mut updates);
        sources.advance_to(now + 1);
        while views.clock().complete() < now {
            worker.step();
        }
        if views.anomalies() > 0 {
            return Err("less than nothing was counted".into());
        }
        let rows_of = |reader: &dyn schemas::reading::ViewReader| {
            let mut rows = BTreeMap::new();
            let mut take = |name: &Name, row: Row| drop(rows.insert(name.clone(), row));
            reader.for_each(now, &mut take).expect("the last complete epoch is kept");
            rows
        };
        Ok(views.readers().iter().map(|it| rows_of(&**it)).collect())
    })
}

/// Whether these are the rows of all that the state holds by its own account, and of what is to be
/// read from there on. `all`: every event that was ever written.
pub fn is_right(
    state: Option<&Checkpoint>,
    log: &[Record],
    all: &[(u64, Event<'static>)],
    (secret, now): (Secret, Epoch),
) -> Result<(), String> {
    let from = state.map_or(0, |it| it.position);
    let there: HashSet<u64> = log.iter().map(|it| it.position).collect();
    let is_read = |it: &&(u64, Event<'static>)| it.0 >= from && there.contains(&it.0);
    let rest = all.iter().filter(is_read).map(|it| it.1.clone()).collect();
    let found = served(state, rest, (secret, now))?;
    let mut known = HashSet::new();
    let mut counts = |it: &&(u64, Event<'static>)| {
        let event = &it.1;
        (it.0 < from || there.contains(&it.0))
            && known.insert((event.tenant.clone(), event.source.clone(), event.id.clone()))
    };
    let events: Vec<_> = all.iter().filter(&mut counts).map(|it| it.1.clone()).collect();
    let definitions = dataflows::catalogue::definitions();
    let all: &[Reference] = &references();
    for ((def, reference), found) in definitions.iter().zip(all).zip(found) {
        let expected = reference(&events, now);
        if let Some(name) =
            expected.keys().chain(found.keys()).find(|it| expected.get(*it) != found.get(*it))
        {
            let (expected, found) = (expected.get(name), found.get(name));
            return Err(format!("{} {name:?}: expected {expected:?}, found {found:?}", def.name));
        }
    }
    Ok(())
}
