use schemas::events::SystemMeasured;

use super::*;

const HOUR: i64 = 3_600_000_000;
/// A Monday, in hours since the Unix epoch.
const MONDAY: i64 = 24 * (20_454 + 3);

/// At an hour after that Monday's beginning.
fn at(hour: i64) -> Epoch {
    ((MONDAY + hour) * HOUR / 1_000).cast_unsigned()
}

fn measured(hour: i64, n_events: i64, busy_micros: i64, workers: u16, processors: u16) -> Update {
    let data = Data::SystemMeasured(SystemMeasured {
        process: MAIN.into(),
        seconds: 3_600,
        n_events,
        busy_micros,
        workers,
        processors,
    });
    let (tenant, source) = (DEFAULT_TENANT.into(), schemas::events::CAPACITY.into());
    let id = hour.to_string().into();
    let event = Event { tenant, source, id, time: (MONDAY + hour) * HOUR, data };
    let (process, update) = Update::of(&event).unwrap();
    assert_eq!(process, MAIN);
    update
}

/// As many events an hour as it says, for some days; in each hour all in its first minutes.
fn came(hours: i64, per_hour: impl Fn(i64) -> i64) -> State {
    let mut state = State::default();
    for hour in 0..hours {
        for minutes in MINUTES {
            let bucket = bucket_of((MONDAY + hour) * HOUR, minutes);
            let n = per_hour(hour);
            let update =
                load_forecast::Update { minutes, bucket, n, counted: load_forecast::Counted::All };
            state.hear(&Update::Came(update));
        }
    }
    state
}

fn of(state: &State, now: Epoch, field: &str) -> Value {
    let row = Capacity::row(&name_of(MAIN), state, now).unwrap();
    row.values[DEF.position(field).unwrap()].clone()
}

fn text(state: &State, now: Epoch, field: &str) -> String {
    let Value::Text(it) = of(state, now, field) else { panic!("{field} is a text") };
    it.into()
}

/// Goal: the rate is what the newest measurements say, for as many workers as have a processor.
/// Method: figures that can be checked by hand; more measurements than are kept, in both orders.
#[test]
fn the_rate() {
    let mut state = State::default();
    assert!(Capacity::row(&name_of(MAIN), &state, at(1)).is_none() && !Capacity::exists(&state));
    state.hear(&measured(1, 1_000_000, 2_000_000, 2, 4));
    // 2 µs each: one worker 500,000 in a second.
    assert_eq!(of(&state, at(2), "rate_per_second"), Value::Int(1_000_000));
    assert_eq!(of(&state, at(2), "busy_nanos_per_event"), Value::Int(2_000));
    assert_eq!(text(&state, at(2), "advice"), "unknown");
    assert_eq!(of(&state, at(2), "headroom_permille"), Value::Null);
    state.hear(&measured(2, 1_000_000, 6_000_000, 4, 2));
    // 4 µs each, and two of four workers have a processor.
    assert_eq!(of(&state, at(2), "rate_per_second"), Value::Int(500_000));
    let all: Vec<Update> = (0..40).map(|it| measured(it, 1_000 * (it + 1), 9_000, 1, 1)).collect();
    let (mut there, mut back) = (State::default(), State::default());
    all.iter().for_each(|it| there.hear(it));
    all.iter().rev().for_each(|it| back.hear(it));
    assert_eq!(there.measured, back.measured);
    assert_eq!(of(&there, at(50), "n_measurements"), Value::Int(24));
    assert_eq!(of(&there, at(50), "n_events"), Value::Int((17..=40).sum::<i64>() * 1_000));
}

/// Goal: when to have more workers is when the forecast is first above the share; not before, and
/// how many is what the peak needs. Method: days that are all alike, a full hour at noon and a
/// fuller one at eight; measured so that they are too much, too much at eight, and enough.
#[test]
fn when_to_scale() {
    let day = |hour: i64| match hour % 24 {
        12 => 600,
        20 => 900,
        _ => 120,
    };
    let calm = came(24 * 14, day);
    let now = at(24 * 14);
    let asked = |busy_micros: i64| {
        let mut state = calm.clone();
        state.hear(&measured(24 * 14 - 1, 1_000, busy_micros, 2, 2));
        state
    };
    let today = |hour: i64| Value::Time((MONDAY + 24 * 14 + hour) * HOUR);
    // The first buckets hold all of their hour: 120 in five minutes are 1440 in an hour. Of those
    // that are hours as a whole, noon is first.
    let enough = asked(1_000);
    assert_eq!(text(&enough, now, "advice"), "enough", "{}", text(&enough, now, "reason"));
    assert_eq!(of(&enough, now, "scale_at"), Value::Null);
    assert_eq!(of(&enough, now, "made_at"), today(0));
    let Value::Int(peak) = of(&enough, now, "peak_per_hour") else { panic!("a peak") };
    assert!((1_440..2_200).contains(&peak), "{peak}");
    // Two workers can do 2,000 of 3.6 s each: above 1,600 nothing is to be.
    let much = asked(3_600_000 * 2_000 / 2_000 * 1_000);
    assert_eq!(of(&much, now, "rate_per_hour"), Value::Int(2_000));
    let is_full = peak * 1_000 > 2_000 * 800;
    assert_eq!(text(&much, now, "advice"), if is_full { "more" } else { "enough" });
    // And far too much.
    let over = asked(3_600_000 * 1_000 * 20);
    assert_eq!(of(&over, now, "rate_per_hour"), Value::Int(100));
    assert_eq!(text(&over, now, "advice"), "more");
    assert_eq!(of(&over, now, "scale_at"), today(0));
    // Of whom each does 50: forty in use of fifty.
    assert_eq!(of(&over, now, "workers_wanted"), Value::Int((peak + 39) / 40));
    let Value::Int(headroom) = of(&over, now, "headroom_permille") else { panic!("headroom") };
    assert_eq!(headroom, ((100 - peak) * 1_000).div_euclid(100));
    assert!(text(&over, now, "reason").contains("2 workers"), "{}", text(&over, now, "reason"));
}

/// Goal: hours after the next four are looked at as hours, without a gap. Method: the buckets of a
/// forecast made at twenty past.
#[test]
fn five_minutes_then_hours() {
    let until = |seconds: i64| (1_000 * HOUR + 20 * 60_000_000).div_euclid(seconds * 1_000_000);
    let comes = comes(Some((until(300), vec![1.0; 48])), Some((until(3_600), vec![2.2; 24])));
    let comes = comes.unwrap();
    assert_eq!(comes.made_at, 1_000 * HOUR + 20 * 60_000_000);
    let (five, hours) = comes.slots.split_at(48);
    assert!(five.iter().all(|it| it.seconds == 300 && it.per_hour == 12));
    assert_eq!(hours.len(), 20);
    assert_eq!(hours[0].start, 1_004 * HOUR);
    assert!(hours.iter().all(|it| it.seconds == 3_600 && it.per_hour == 3));
    assert!(super::comes(None, Some((7, vec![1.0]))).is_none());
}

/// Goal: a row moves at the end of a bucket and at no other instant; one that was never measured
/// has no timer. Method: the instants that it names, and those between.
#[test]
fn moves_at_the_end_of_a_bucket() {
    let mut state = came(72, |hour| 50 + hour % 24);
    assert_eq!(Capacity::next_due(&state, at(72)), None);
    state.hear(&measured(71, 1_000, 1_000, 1, 1));
    let due = Capacity::next_due(&state, at(72)).unwrap();
    assert_eq!(due, at(72) + 300_000);
    let row = |now| Capacity::row(&name_of(MAIN), &state, now).unwrap();
    assert_eq!(row(at(72)), row(due - 1));
    assert_ne!(row(at(72)), row(due));
}

/// Goal: the advice changes when the answer does, and not with the figures. Method: a day of rows
/// of both views, of days that are all alike.
#[test]
fn advice_stands_still() {
    use crate::capacity_advice::CapacityAdvice;

    let mut state = came(24 * 15, |hour| if hour % 24 == 12 { 60_000 } else { 100 });
    state.hear(&measured(1, 1_000, 72_000_000, 1, 1));
    let nows = (0..24).map(|it| at(24 * 14 + it));
    let (mut rows, mut advice) = (Vec::new(), Vec::new());
    for now in nows {
        rows.push(Capacity::row(&name_of(MAIN), &state, now).unwrap());
        advice.push(CapacityAdvice::row(&name_of(MAIN), &state, now).unwrap());
    }
    rows.dedup();
    advice.dedup();
    assert!(rows.len() > 12 && advice.len() < rows.len() / 2, "{} {advice:?}", rows.len());
    let words = |it: &Row| it.values[1].clone();
    assert!(advice.iter().any(|it| words(it) == Value::Text("more".into())), "{advice:?}");
}

/// Goal: the defaults are the same where they are said twice.
#[test]
fn defaults() {
    assert_eq!(terms(), Terms::default());
    assert_eq!(percent(800), "80 %");
    assert_eq!(percent(725), "72.5 %");
    assert_eq!(workers(4, Some(1)), "4 workers on 1 processor");
}
