use proptest::prelude::*;
use schemas::events::{Data, Erased as Asked, FeedbackSubmitted};
use schemas::names::{Kind, Secret};
use schemas::reading::Instants;
use schemas::time::MAX_TIME;

use super::*;
use crate::catalogue::{Sources, ViewSet, Views};
use crate::erased::{Erased, Watched};
use crate::inputs::Updates;

const SECRET: Secret = Secret([5; 16]);
const CHOSEN: ViewSet = ViewSet(ViewSet::SENTIMENT_BY_DAY);
const TEXTS: [&str; 4] = ["it stopped", "great, thank you", "I hate it", "a box"];
const CUSTOMERS: [&str; 3] = ["A", "B", "C"];

fn event(n: usize, time: i64, data: Data<'static>) -> Event<'static> {
    Event { tenant: "t".into(), source: "s".into(), id: n.to_string().into(), time, data }
}

fn text(n: usize, time: i64, customer: usize, text: usize) -> Event<'static> {
    let data = Data::FeedbackSubmitted(FeedbackSubmitted {
        customer: Some(CUSTOMERS[customer].into()),
        order: None,
        product: None,
        rating: None,
        text: Some(TEXTS[text].into()),
    });
    event(n, time, data)
}

/// What one worker says of one epoch.
fn said(events: &[Event<'static>]) -> Vec<crate::Addressed<Update>> {
    let mut updates = Updates::default();
    events.iter().for_each(|it| updates.route(it, &SECRET, CHOSEN));
    let mut all = Vec::new();
    updates.sentiment_by_day.drain(&SECRET, Some(&mut all));
    all
}

/// The states as a fold has them.
struct World {
    states: BTreeMap<Name, State>,
    erased: std::sync::Arc<Erased>,
    watched: Watched,
    epoch: Epoch,
}

impl World {
    fn new() -> World {
        let erased = Erased::new(SECRET);
        let watched = Watched::new(erased.clone());
        World { states: BTreeMap::new(), erased, watched, epoch: 1 }
    }

    fn apply(&mut self, events: &[Event<'static>]) {
        for it in said(events) {
            SentimentByDay::apply(self.states.entry(it.name).or_default(), &it.update);
        }
        self.settle();
    }

    fn erase(&mut self, customer: usize) {
        let key = SECRET.fingerprint("t", Kind::Customer, &[CUSTOMERS[customer]]);
        self.erased.add(&[key], self.epoch);
        self.settle();
    }

    fn settle(&mut self) {
        let Some(gone) = self.watched.at(self.epoch) else { return };
        for (name, state) in &mut self.states {
            if let Some(left) = SentimentByDay::settle(0, name, state, gone) {
                *state = left;
                assert!(SentimentByDay::settle(0, name, state, gone).is_none(), "once");
            }
        }
    }

    fn through_bytes(&mut self) {
        for state in self.states.values_mut() {
            let mut bytes = Vec::new();
            SentimentByDay::store(state, &mut bytes);
            *state = SentimentByDay::restore(&bytes).expect("what was stored");
        }
    }

    fn rows(&self) -> BTreeMap<Name, Row> {
        let row = |(name, state): (&Name, &State)| {
            let row = SentimentByDay::row(name, state, 0);
            assert_eq!(row.is_some(), SentimentByDay::exists(state));
            row.map(|it| (name.clone(), it))
        };
        self.states.iter().filter_map(row).collect()
    }
}

fn value(rows: &BTreeMap<Name, Row>, day: i64, field: &str) -> Value {
    let name = Name::new("t", &day_of(day * DAY));
    rows[&name].values[DEF.position(field).expect("a field")].clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Goal: what is kept is what the plain computation says, whatever the order, the workers and
    /// the epochs, whenever a customer is erased, and after a while as bytes. Method: random days,
    /// summed by three workers in four epochs, and one by one from the other end.
    #[test]
    fn kept_by_day_is_all_that_counts(
        texts in prop::collection::vec(
            (0..75_i64, 0..3_i64, 0..3_usize, 0..4_usize, 0..3_usize, 0..4_usize), 1..60),
        erased in prop::option::of((0..3_usize, 0..4_usize)),
    ) {
        let each = texts.iter().enumerate();
        let mut events: Vec<_> = each
            .map(|(n, it)| text(n, it.0 / 4 * 4 * DAY + DAY * (it.0 % 2) + it.1, it.2, it.3))
            .collect();
        let (mut one, mut two) = (World::new(), World::new());
        for epoch in 0..4 {
            for worker in 0..3 {
                let is_mine = |it: &(usize, &Event<'_>)| {
                    (texts[it.0].4, texts[it.0].5) == (worker, epoch)
                };
                let mine = events.iter().enumerate().filter(is_mine).map(|it| it.1.clone());
                one.apply(&mine.collect::<Vec<_>>());
            }
            if let Some((customer, at)) = erased && at == epoch {
                one.erase(customer);
            }
        }
        for (n, it) in events.iter().enumerate().rev() {
            two.apply(std::slice::from_ref(it));
            if let Some((customer, at)) = erased && at * texts.len() / 4 == n {
                two.erase(customer);
            }
            if n % 8 == 0 {
                two.through_bytes();
            }
        }
        if let Some((customer, _)) = erased {
            let customers = vec![CUSTOMERS[customer].into()];
            let data = Data::CustomerErased(Asked { customers });
            events.push(event(texts.len(), 0, data));
        }
        let expected = reference(&events, 0);
        prop_assert_eq!(one.rows(), expected.clone());
        prop_assert_eq!(two.rows(), expected);
    }
}

/// Goal: the past of a day are the thirty days before it, and a text thirty days old counts half.
/// Method: a bad text, good ones thirty and thirty-one days later.
#[test]
fn the_past_ends_after_thirty_days() {
    assert_eq!(mood::half_life_days(), 30);
    let mut world = World::new();
    let days = [(0, 2), (30, 1), (31, 1)];
    days.iter().enumerate().for_each(|(n, it)| world.apply(&[text(n, it.0 * DAY, 0, it.1)]));
    let rows = world.rows();
    assert_eq!(rows.len(), 3, "a day on which nothing was said has no row");
    let past = days.map(|it| value(&rows, it.0, "past_negative_permille"));
    assert_eq!(past, [Value::Null, Value::Int(1_000), Value::Int(0)]);
    let mean = |day, field| match value(&rows, day, field) {
        Value::Int(it) => it as f64,
        it => panic!("{it:?}"),
    };
    let (bad, good) = (mean(0, "mean_permille"), mean(30, "mean_permille"));
    assert!(bad < 0.0 && good > 0.0);
    assert_eq!(mean(0, "decayed_mean_permille"), bad);
    assert!((mean(30, "decayed_mean_permille") - (bad / 2.0 + good) / 1.5).abs() <= 1.0);
    assert_eq!(mean(31, "decayed_mean_permille"), good);
    // The newest of a day only.
    assert_eq!(value(&rows, 31, "newest"), Value::Json(vec!["s/2"].into()));
    assert_eq!(value(&rows, 31, "newest_at"), Value::Time(31 * DAY));
}

/// Goal: an erased customer's text is not named, its place is not taken by an older one, and the
/// counts stay. Method: seven texts of a day, the newest is of whom is erased.
#[test]
fn texts_of_the_erased_are_not_named() {
    let mut world = World::new();
    let texts: Vec<_> = (0..7).map(|n| text(n, n as i64, n / 3, 0)).collect();
    world.apply(&texts);
    let before = world.rows();
    let newest = |rows: &_| value(rows, 0, "newest");
    assert_eq!(newest(&before), Value::Json(vec!["s/6", "s/5", "s/4", "s/3", "s/2"].into()));
    world.erase(2);
    assert_eq!(newest(&world.rows()), Value::Json(vec!["s/5", "s/4", "s/3", "s/2"].into()));
    world.through_bytes();
    world.apply(&[text(9, 9, 2, 0)]);
    let after = world.rows();
    assert_eq!(newest(&after), Value::Json(vec!["s/5", "s/4", "s/3"].into()));
    assert_eq!(value(&after, 0, "n_texts"), Value::Int(8));
    assert_eq!(value(&after, 0, "newest_at"), Value::Time(9));
    for state in world.states.values() {
        let mut bytes = Vec::new();
        SentimentByDay::store(state, &mut bytes);
        assert!(!bytes.windows(3).any(|it| [b"s/6", b"s/9"].contains(&it.try_into().unwrap())));
    }
}

/// Goal: no day is made that event time cannot say. Method: texts at its end, and before it.
#[test]
fn no_day_behind_the_last() {
    let days = |time| said(&[text(0, time, 0, 0)]).len();
    assert_eq!(days(0), 31);
    assert_eq!(days(MAX_TIME), 1);
    assert_eq!(days(MAX_TIME - 10 * DAY), 11);
    let last = said(&[text(0, MAX_TIME, 0, 0)]).remove(0);
    assert_eq!(last.name.key(), "9999-12-31");
}

/// Goal: who takes rows is told of days with a row only. Method: a text through the dataflow; what
/// was touched, and what there is from the beginning.
#[test]
fn days_without_texts_are_told_to_nobody() {
    let told = timely::execute_directly(|worker| {
        let views = Views::new(CHOSEN, 1, SECRET, 64 << 20);
        let view = views.leaving().iter().find(|it| it.def().name == DEF.name).unwrap().clone();
        view.note();
        let mut sources = Sources::build(worker, &views);
        sources.advance_to(5);
        let mut updates = Updates::default();
        updates.route(&text(0, 7 * DAY, 0, 0), &SECRET, CHOSEN);
        sources.send(&mut updates);
        sources.advance_to(6);
        while views.clock().complete() < 5 {
            worker.step();
        }
        let (mut touched, mut n_since) = (Vec::new(), 0);
        view.touched(0, 5, true, &mut |it| touched.push(it.name.key().to_string())).unwrap();
        view.since(0, 5, &mut |_, _, _| n_since += 1).unwrap();
        (touched, n_since)
    });
    assert_eq!(told, (vec!["1970-01-08".to_string()], 1));
}
