use proptest::prelude::*;
use schemas::events::LoadMeasured;

use super::*;

const HOUR: i64 = 60 * MINUTE;
/// A Monday, in hours since the Unix epoch.
const MONDAY: i64 = 490_872;

fn event(n: usize, hour: i64, value: i64) -> Event<'static> {
    let series = "calls".into();
    Event {
        tenant: "t".into(),
        source: "s".into(),
        id: n.to_string().into(),
        time: (MONDAY + hour) * HOUR + 5,
        data: Data::LoadMeasured(LoadMeasured { series, bucket_minutes: 60, value }),
    }
}

fn state(events: &[Event<'_>]) -> State {
    let mut state = State::default();
    events.iter().for_each(|it| state.hear(&Update::of(it).unwrap().1));
    state
}

fn at(hour: i64) -> Epoch {
    ((MONDAY + hour) * HOUR / 1_000) as Epoch
}

fn name() -> Name {
    Name::new("t", &key_of(MEASURED, "calls", 60))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Goal: the order in which measurements come, also whether a state was bytes meanwhile, changes
    /// nothing. Method: weeks of hours in a random order against the plain computation.
    #[test]
    fn any_order_is_the_same(
        hours in prop::collection::vec((0..24 * 7 * 10_i64, 0..500_i64), 1..300),
        days in 1..80_i64,
    ) {
        let events: Vec<_> =
            hours.iter().enumerate().map(|(n, (hour, value))| event(n, *hour, *value)).collect();
        let now = at(days * 24);
        let row = LoadForecast::row(&name(), &state(&events), now);
        let mut bytes = Vec::new();
        LoadForecast::store(&state(&events[..events.len() / 2]), &mut bytes);
        let mut half = LoadForecast::restore(&bytes).unwrap();
        events[events.len() / 2..].iter().for_each(|it| half.hear(&Update::of(it).unwrap().1));
        prop_assert_eq!(&LoadForecast::row(&name(), &half, now), &row);
        let plain = reference(&events, now);
        prop_assert_eq!(plain.get(&name()), row.as_ref());
    }
}

/// Goal: a forecast is made at the end of a bucket and stays until the next one ends, whatever comes
/// into the open one; a late measurement corrects it; a state of which nothing is kept sleeps.
/// Method: hours one after the other.
#[test]
fn made_at_the_end_of_a_bucket() {
    let events: Vec<_> = (0..100).map(|it| event(it as usize, it, 50 + it % 24)).collect();
    let mut state = state(&events);
    let row = |state: &State, now| LoadForecast::row(&name(), state, now).unwrap();
    let first = row(&state, at(100));
    assert_eq!(first.values[DEF.position("made_at").unwrap()], Value::Time((MONDAY + 100) * HOUR));
    assert_eq!(first.values[DEF.position("next_p50").unwrap()], Value::Int(54));
    assert_eq!(first.values[DEF.position("model").unwrap()], Value::Text(MODEL.into()));
    assert_eq!(LoadForecast::next_due(&state, at(100)), Some(at(101)));
    state.hear(&Update::of(&event(100, 100, 9_000)).unwrap().1);
    assert_eq!(row(&state, at(101) - 1), first);
    assert_ne!(row(&state, at(101)), first);
    state.hear(&Update::of(&event(101, 99, 700)).unwrap().1);
    assert_ne!(row(&state, at(101) - 1), first);
    assert_eq!(LoadForecast::next_due(&state, at(100 + 24 * 7 * 8 + 3)), None);
    // After one day nothing is said yet, and until two are over nothing will be.
    assert_eq!(LoadForecast::next_due(&super::tests::state(&events[..24]), 1), Some(at(48)));
    let one_day: Vec<_> = events[..24].to_vec();
    let row = LoadForecast::row(&name(), &super::tests::state(&one_day), at(24)).unwrap();
    let nobody = ["made_at", "model"].map(|it| row.values[DEF.position(it).unwrap()].clone());
    assert_eq!(nobody, [Value::Null, Value::Null]);
}

/// Goal: the reasons are the ways that count most, in words, and what does not count is none. Method:
/// weights by hand; and a series that repeats day by day.
#[test]
fn reasons_are_what_counts_most() {
    let words = |weights| match reasons(&weights) {
        Json::Array(all) => all,
        it => panic!("{it}"),
    };
    let all = words([0.1, 0.0, 0.3, 0.004, 0.3, 0.296]);
    let expected = [(30, WORDS[2]), (30, WORDS[4]), (30, WORDS[5])];
    let expected = expected.map(|(percent, words)| json!({"words": words, "percent": percent}));
    assert_eq!(all, expected);
    assert_eq!(words([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]).len(), 1);
    let events: Vec<_> = (0..24 * 30).map(|it| event(it as usize, it, 50 + it % 24)).collect();
    let row = LoadForecast::row(&name(), &state(&events), at(24 * 30)).unwrap();
    let Value::Json(Json::Array(told)) = &row.values[DEF.position("reasons").unwrap()] else {
        panic!("{row:?}")
    };
    assert!(!told.is_empty() && told.len() <= REASONS_MAX, "{told:?}");
}

/// Goal: of single types by five minutes two weeks are kept, in whatever order they come; of all eight,
/// and by the hour too. Method: three weeks, and the last two of them.
#[test]
fn of_single_types_less_is_kept() {
    let heard = |minutes: u16, counted, days: &mut dyn Iterator<Item = i64>| {
        let mut state = State::default();
        let per_day = DAY_MINUTES / i64::from(minutes);
        for day in days {
            for it in 0..per_day {
                let bucket = MONDAY * 60 / i64::from(minutes) + day * per_day + it;
                state.hear(&Update { minutes, bucket, n: 1 + it % 7 + day, counted });
            }
        }
        let until = MONDAY * 60 / i64::from(minutes) + 21 * per_day;
        (
            state.values(until).1.len() as i64 / per_day,
            (LoadForecast::heap_bytes(&state) / 16) as i64,
        )
    };
    for (minutes, counted, days) in
        [(5, Counted::OneType, 14), (5, Counted::All, 21), (60, Counted::OneType, 21)]
    {
        let forward = heard(minutes, counted, &mut (0..21));
        assert_eq!(forward.0, days, "{minutes} {counted:?}");
        assert!(forward.1 <= days * DAY_MINUTES / i64::from(minutes) + RECENT_MAX as i64);
        assert_eq!(heard(minutes, counted, &mut (0..21).rev()).0, days);
    }
}
