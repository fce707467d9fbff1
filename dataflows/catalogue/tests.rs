use schemas::events::{Data, InteractionRecorded};
use schemas::reading::Instants;
use schemas::rows::Value;

use super::*;

const SECRET: Secret = Secret([9; 16]);
/// 2026-01-05, midnight.
const START: u64 = 1_767_571_200_000;

/// Goal: what is read once more, for views that are built again, is counted for those alone.
/// Method: one event, read for all views, then once more for some; each view that counts says what
/// it would have said.
#[test]
fn counted_for_those_that_are_built_again() {
    let data = Data::InteractionRecorded(InteractionRecorded {
        customer: "C".into(),
        channel: "web".into(),
        action: "view".into(),
        target: None,
        text: None,
    });
    let time = (START * 1_000).cast_signed();
    let (tenant, source, id) = ("acme".into(), "s".into(), "1".into());
    let event = Event { tenant, source, id, time, data };
    for again in [ViewSet::VOLUME, ViewSet::LOAD_FORECAST, ViewSet::CAPACITY] {
        let event = event.clone();
        let (volume, loads) = timely::execute_directly(move |worker| {
            let chosen = ViewSet(ViewSet::COUNTED);
            let views = Views::new(chosen, 1, SECRET, 64 << 20);
            let mut sources = Sources::build(worker, &views);
            sources.advance_to(START);
            let mut updates = Updates::default();
            for views in [chosen, ViewSet(again)] {
                updates.route(&event, &SECRET, views);
                sources.send(&mut updates);
            }
            sources.advance_to(START + 1);
            while views.clock().complete() < START {
                worker.step();
            }
            let volume = views.volume.as_ref().expect("chosen");
            let mut rows = Vec::new();
            volume.for_each(START, &mut |_, row| rows.push(row)).expect("complete");
            let place = volume::DEF.position("n_events").expect("a field");
            let loads = views.load_forecast.as_ref().expect("chosen");
            let mut n = 0;
            loads.for_each(START, &mut |_, _| n += 1).expect("complete");
            assert_eq!(rows.len(), 1);
            (rows[0].values[place].clone(), n)
        });
        let expected = 1 + i64::from(again == ViewSet::VOLUME);
        // Of its type and of all, by five minutes and by the hour.
        assert_eq!((volume, loads), (Value::Int(expected), 4), "{again}");
    }
}
