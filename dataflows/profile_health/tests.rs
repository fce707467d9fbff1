//! How well it stands with a person: small histories, beside those of one customer.

use schemas::events::{Data, Erased, OrderStatusChanged, Status};
use schemas::names::Name;
use schemas::rows::{Row, Value};

use super::{DEF, FIELDS, reference};
use crate::health;
use crate::histories::{Answer, START, bought, has, has_not, history, opened, play_until};
use crate::identity::tests::played;

fn promised(customer: &'static str, order: &'static str, at: u64) -> Data<'static> {
    match bought(customer, order, 500) {
        Data::OrderPlaced(mut it) => {
            it.promised_at = Some(at as i64 * 1_000);
            Data::OrderPlaced(it)
        }
        other => other,
    }
}

fn delivered(customer: &'static str, order: &'static str) -> Data<'static> {
    let (order, customer) = (order.into(), Some(customer.into()));
    Data::OrderStatusChanged(OrderStatusChanged {
        order,
        status: Status::Delivered,
        line: None,
        customer,
    })
}

fn row<'a>(answer: &'a Answer, view: &str, key: &str) -> &'a Row {
    answer[view].get(&Name::new("default", key)).unwrap_or_else(|| panic!("{view}/{key}"))
}

fn field(row: &Row, name: &str) -> Value {
    row.values[DEF.position(name).expect("a field")].clone()
}

/// Goal: the row of a person is that of one customer who did all of it; of two members who speak of
/// one order the newest stands; members are counted though nothing is known of them. Method: a
/// history of three customers with one address, and the same told of one.
#[test]
fn a_person_is_judged_by_what_all_members_did() {
    let said = |a, b, c| {
        let mail = |it| has(it, "email", "ann@x.org");
        vec![
            mail(a),
            promised(a, "O1", START + 3_600_000),
            bought(b, "O2", 700),
            opened(b, "T1"),
            delivered(b, "O1"),
            mail(b),
            mail(c),
        ]
    };
    let answer = played(said("a", "b", "c"));
    let person = row(&answer, "profile_health", "a");
    let one = played(said("a", "a", "a"));
    let one = row(&one, "health", "a");
    assert_eq!(person.values[..one.values.len()], one.values);
    assert_eq!(field(person, "n_customers"), Value::Int(3));
    assert_eq!(field(person, "customers"), Value::Json(serde_json::json!(["a", "b", "c"])));
    // The case of one, the purchase of the other, and the order of one that the other received.
    assert_eq!(field(person, "cases"), Value::Int(80));
    assert_eq!(field(person, "late_orders"), Value::Int(100));
    assert_eq!(field(row(&answer, "health", "a"), "cases"), Value::Int(100));
    assert_eq!(field(row(&answer, "health", "a"), "late_orders"), Value::Int(60));
    assert_eq!(answer["profile_health"].len(), 1);
    assert_eq!(answer["health"].len(), 2);

    // Nothing is known of one of whom nobody spoke but that they carry an address; and who was never
    // identified is nobody's.
    let answer = played(vec![has("a", "email", "x@y.org"), bought("alone", "O1", 1)]);
    assert_eq!((answer["profiles"].len(), answer["profile_health"].len()), (1, 0));
}

/// Goal: who is identified late brings everything that was known before; who is erased takes what was
/// theirs, and nothing else, within the epoch. Method: as above, an instant before and at each.
#[test]
fn what_was_known_comes_and_goes_with_the_member() {
    let mut said = vec![
        bought("a", "O1", 500),
        opened("b", "T1"),
        has("a", "email", "ann@x.org"),
        has("b", "email", "ann@x.org"),
        has_not("b", "email", "ann@x.org"),
        has("b", "email", "ann@x.org"),
    ];
    let cases = |answer: &Answer| field(row(answer, "profile_health", "a"), "cases");
    for (n, expected) in [(3, 100), (4, 80), (5, 100), (6, 80)] {
        assert_eq!(cases(&played(said[..n].to_vec())), Value::Int(expected), "{n} events");
    }
    let erased = Erased { customers: vec!["b".into()] };
    said.push(Data::CustomerErased(erased));
    let events = history(said);
    // Each event has an epoch of its own, from the millisecond after the start on.
    let answers = play_until(events.clone(), vec![START + 8]);
    let person = row(&answers[0], "profile_health", "a");
    assert_eq!(field(person, "cases"), Value::Int(100));
    assert_eq!(field(person, "n_customers"), Value::Int(1));
    assert_eq!(answers[0]["profile_health"], reference(&events, START + 8));
    assert_eq!(answers[0]["profile_health"].len(), 1);
}

/// Goal: time moves the row of a person once a day, when the person's own day begins; not when that
/// of another member does. Method: rows at the instants around both.
#[test]
fn a_day_begins_when_the_persons_does() {
    let mail = |it| has(it, "email", "ann@x.org");
    let events =
        history(vec![mail("a"), bought("a", "O1", 500), mail("b"), bought("b", "O2", 700)]);
    let [own, others] = ["a", "b"].map(|it| START + u64::from(health::offset_of(it)));
    assert!(own > START + 60_000 && others > START + 60_000 && own != others);
    let day = 86_400_000;
    let mut instants = vec![own - 1, own, own + 1, others - 1, others, others + 1, own + day - 1];
    instants.sort_unstable();
    let answers = play_until(events.clone(), instants.clone());
    let rows: Vec<&Row> = answers.iter().map(|it| row(it, "profile_health", "a")).collect();
    let (before, after) = (rows[0], rows[rows.len() - 1]);
    assert_ne!(before, after);
    for (at, found) in instants.iter().zip(&rows) {
        assert_eq!(*found, if *at < own { before } else { after }, "{at}");
        assert_eq!(reference(&events, *at)[&Name::new("default", "a")], **found, "{at}");
    }
    // The other member's row moves when theirs begins.
    let theirs = |at| {
        let place = instants.iter().position(|it| *it == at).unwrap();
        row(&answers[place], "health", "b")
    };
    assert_ne!(theirs(others - 1), theirs(others));
}

/// Goal: the fields are those of `health` in the same order, and what is said of members.
#[test]
fn the_fields_are_those_of_health() {
    let names = |it: &[schemas::rows::FieldDef]| it.iter().map(|it| it.name).collect::<Vec<_>>();
    let health = names(health::DEF.fields);
    assert_eq!(names(&FIELDS)[1..health.len()], health[1..]);
    assert_eq!(names(&FIELDS)[health.len()..], ["n_customers", "customers"]);
}
