use std::borrow::Cow;

use schemas::events::{MessageAnswered, MessageMarked};

use super::*;

fn update(time: i64, data: Data<'static>) -> Update {
    let (tenant, source, id) = ("t".into(), Cow::Borrowed(NOTIFY), "1".into());
    let event = Event { tenant, source, id, time, data };
    Update::of(&event, |_| 7).unwrap().1
}

fn answered(time: i64, outcome: &'static str, reason: Option<&'static str>) -> Update {
    let (message, reason) = ("m".into(), reason.map(Cow::Borrowed));
    let outcome = outcome.into();
    update(
        time,
        Data::MessageAnswered(MessageAnswered { message, outcome, reason, attempts: None }),
    )
}

fn marked(time: i64, mark: &'static str, until: Option<i64>) -> Update {
    let (message, mark) = ("m".into(), mark.into());
    update(time, Data::MessageMarked(MessageMarked { message, mark, by: None, until }))
}

fn planned(time: i64) -> Update {
    let text = |it: &'static str| Cow::Borrowed(it);
    let plan = MessagePlanned {
        message: text("m"),
        rule: text("waits"),
        version: text("1"),
        view: text("cases"),
        about: text("K-1"),
        episode: text("1"),
        channel: text("ops"),
        severity: text("info"),
        text: text("it waits"),
        reason: None,
        corrects: None,
        suppressed: None,
        customer: Some(text("C-1")),
        due: None,
        expires: None,
    };
    update(time, Data::MessagePlanned(Box::new(plan)))
}

/// Goal: whatever is said of a message that was forgotten, before it or after, at any time, its row
/// is gone, nothing of it is kept but what it ended as, and nobody owns it. Method: every order of
/// seven things that are said, and every order of those less what forgets.
#[test]
fn what_is_forgotten_stays_so() {
    let others = [
        planned(5),
        answered(9, "refused", Some("410 Gone")),
        answered(30, "planned", None),
        marked(7, "acknowledged", None),
        marked(8, "snoozed", Some(40)),
    ];
    let forgets =
        [answered(20, "forgotten", Some("expired")), answered(10, "forgotten", Some("refused"))];
    let name = Name::new("t", "m");
    let told = |all: &[&Update]| {
        let mut state = State::default();
        all.iter().for_each(|it| Notifications::apply(&mut state, it));
        let mut bytes = Vec::new();
        Notifications::store(&state, &mut bytes);
        let restored = Notifications::restore(&bytes).unwrap();
        assert_eq!(Notifications::left(&restored), Notifications::left(&state));
        let row = Notifications::row(&name, &state, 1);
        assert_eq!(row.is_some(), Notifications::exists(&state));
        let (left, owner) = (Notifications::left(&state), Notifications::owner(&state));
        (bytes, row.is_some(), left, owner, Notifications::next_due(&state, 0))
    };
    let all: Vec<&Update> = others.iter().chain(&forgets).collect();
    let (bytes, ..) = told(&all);
    let mut n = 0;
    orders(&mut all.clone(), 0, &mut |order| {
        n += 1;
        assert_eq!(told(order), (bytes.clone(), false, Some("refused"), None, None));
    });
    assert_eq!(n, 5_040);
    let rest: Vec<&Update> = others.iter().collect();
    let (whole, ..) = told(&rest);
    assert!(bytes.len() < whole.len() / 2, "{} of {} bytes", bytes.len(), whole.len());
    orders(&mut rest.clone(), 0, &mut |order| {
        let (bytes, is_there, left, owner, due) = told(order);
        assert_eq!((is_there, left, owner), (true, None, Some(7)));
        assert!(bytes == whole && due.is_some());
    });
}

/// Goal: one that does not say what it ended as forgets nothing.
#[test]
fn what_ended_is_said() {
    for reason in [None, Some("planned"), Some("forgotten"), Some("410 Gone")] {
        let answered = MessageAnswered {
            message: "m".into(),
            outcome: "forgotten".into(),
            reason: reason.map(Cow::Borrowed),
            attempts: None,
        };
        let (tenant, source, id) = ("t".into(), Cow::Borrowed(NOTIFY), "1".into());
        let data = Data::MessageAnswered(answered);
        let event = Event { tenant, source, id, time: 1, data };
        assert!(Update::of(&event, |_| 7).is_none(), "{reason:?}");
    }
    assert_eq!(ENDED.len() + 2, OUTCOMES.len(), "all but what is planned, or forgotten");
    assert!(ENDED.iter().all(|it| OUTCOMES.contains(it)));
}

fn orders<T: Copy>(all: &mut Vec<T>, from: usize, see: &mut dyn FnMut(&[T])) {
    if from == all.len() {
        return see(all);
    }
    for n in from..all.len() {
        all.swap(from, n);
        orders(all, from + 1, see);
        all.swap(from, n);
    }
}
