use std::collections::BTreeMap;

use schemas::events::{CaseAssigned, CaseOpened, CaseResolved};
use schemas::names::Secret;
use schemas::rows::{FieldKind, Value};

use super::*;
use crate::catalogue::ViewSet;
use crate::inputs::Updates;

/// The statements, one a second (or at `@second`), each with the next id, of one tenant.
fn told(said: &str) -> Vec<Event<'static>> {
    let event = |(n, said): (usize, &str)| {
        let mut words = said.split_whitespace().map(String::from);
        let (word, case, customer) = (words.next().unwrap(), words.next().unwrap(), words.next());
        let at = words.next().map_or(n as i64, |it| it[1..].parse().expect("a second"));
        let (case, customer) = (case.into(), customer.filter(|it| it != "-").map(Into::into));
        let (queue, agent) = ("first", "ann".into());
        let data = match word.as_str() {
            "open" => Data::CaseOpened(CaseOpened {
                case,
                customer: customer.expect("an opening names the customer"),
                severity: 1,
                text: None,
                queue: queue.into(),
                skills: vec![],
            }),
            "assign" => {
                Data::CaseAssigned(CaseAssigned { case, agent, queue: None, customer, until: None })
            }
            _ => Data::CaseResolved(CaseResolved { case, customer, resolution: None }),
        };
        let (tenant, source, id) = ("t".into(), "s".into(), format!("{n:03}").into());
        Event { tenant, source, id, time: at * 1_000_000, data }
    };
    said.split(',').enumerate().map(event).collect()
}

/// The customer d, as folded in this order: (n_cases, n_open_cases).
fn folded<'e>(events: impl Iterator<Item = &'e Event<'static>>) -> Option<(Value, Value)> {
    let mut updates = Updates::default();
    events.for_each(|it| updates.route(it, &Secret([7; 16]), ViewSet::all()));
    let name = Name::new("t", "d");
    let mut state = None;
    for it in updates.customers.iter().filter(|it| it.name == name) {
        Customers::apply(state.get_or_insert_default(), &it.update);
    }
    state.map(|it| counts(&Customers::row(&name, &it, 0).expect("a row")))
}

fn counts(row: &Row) -> (Value, Value) {
    let value = |name| {
        let place = DEF.fields.iter().position(|it| it.name == name).expect("a field");
        row.values[place].clone()
    };
    (value("n_cases"), value("n_open_cases"))
}

/// How many cases of d the view `cases` shows that are not resolved.
fn open_in_cases(events: &[Event<'static>]) -> i64 {
    let rows: BTreeMap<Name, Row> = crate::cases::reference(events, 0);
    let text = |row: &Row, name: &str| {
        let fields = crate::cases::DEF.fields;
        let place = fields.iter().position(|it| it.name == name).expect("a field");
        row.values[place].clone()
    };
    let open = |it: &&Row| {
        text(it, "customer") == Value::Text("d".into())
            && text(it, "status") != Value::Text("resolved".into())
    };
    rows.values().filter(open).count() as i64
}

/// After each statement: how often a case was opened for d, how many of d's cases are open, and,
/// after a slash, how many the view `cases` shows, where that is another number.
fn check(said: &str, expected: &str) {
    let events = told(said);
    let mut found = Vec::new();
    for n in 1..=events.len() {
        let events = &events[..n];
        let plain = reference(events, 0).remove(&Name::new("t", "d")).map(|it| counts(&it));
        assert_eq!(folded(events.iter()), plain, "{said}, the first {n}");
        assert_eq!(folded(events.iter().rev()), plain, "{said}, the first {n}, last one first");
        let Some((Value::Int(n_cases), Value::Int(n_open))) = plain else {
            found.push("none".into());
            continue;
        };
        let other = Some(open_in_cases(events)).filter(|it| *it != n_open);
        let other = other.map_or(String::new(), |it| format!("/{it}"));
        found.push(format!("{n_cases}:{n_open}{other}"));
    }
    assert_eq!(found.join(" "), expected, "{said}");
}

/// Goal: `n_open_cases` is what the view `cases` shows, wherever every statement names the
/// customer; where one does not, it differs as the module's head says. Method: small histories,
/// checked after every statement, in both orders of arrival, against both references.
#[test]
fn open_cases_agree_with_cases() {
    // Resolved twice, another one opened twice: openings less resolutions would say 1 after the
    // second resolution.
    check(
        "open a1 d, open a2 d, open a3 d, resolve a1 d, resolve a1 d, open a2 d, resolve a2 d",
        "1:1 2:2 3:3 3:2 3:2 4:2 4:1",
    );
    // Opened three times, resolved once: nothing is open.
    check("open a d, open a d, open a d, resolve a d", "1:1 2:1 3:1 3:0");
    // Opened again after its resolution.
    check("open a d, resolve a d, open a d", "1:1 1:0 2:1");
    // Late: the resolution is older than the opening; the id decides within one second.
    check("open a d @9, resolve a d @5, assign a d @5", "1:1 1:1 1:1");
    check("open a d @5, resolve a d @5", "1:1 1:0");
    check("resolve a d @5, open a d @5", "0:0 1:1");
    // Resolved before anyone said that it was opened; assigned after its resolution.
    check("resolve a d, open b d", "0:0 1:1");
    check("open a d, resolve a d, assign a d", "1:1 1:0 1:1");
    check("assign a d, resolve a d", "0:1 0:0");
    // Statements that name nobody are not seen here.
    check("open a d, resolve a -, open b d, resolve b d", "1:1 1:1/0 2:2/1 2:1/0");
    check("open a d, resolve a d, assign a -", "1:1 1:0 1:0/1");
    check("resolve a -, open b d", "none 1:1");
    // Opened for somebody else since: stays, until a resolution names d.
    check("open a d, open a e, resolve a e, resolve a d", "1:1 1:1/0 1:1/0 1:0");
}

/// Goal: a sum that cannot grow any more shows the value that its field's words explain. Method: two
/// orders that come to more; every field that shows a sum of money.
#[test]
fn a_saturated_sum_says_so() {
    let eur = Currency::parse("EUR").unwrap();
    let mut state = State::default();
    for amount in [i64::MAX - 1, 2] {
        Customers::apply(&mut state, &Update { at: 0, said: Said::Placed(amount, eur) });
    }
    let row = Customers::row(&Name::new("t", "d"), &state, 0).expect("a row");
    assert!(row.values.contains(&Value::Json(serde_json::json!({ "EUR": i64::MAX }))));
    let sums = |def: &'static ViewDef| def.fields.iter().filter(|it| it.kind == FieldKind::Money);
    let both = sums(&DEF).chain(sums(&crate::orders::DEF));
    let related =
        [(&crate::orders_by_status::DEF, "amount"), (&crate::top_customers::DEF, "spend")];
    let related = related.map(|(def, name)| def.fields.iter().find(|it| it.name == name).unwrap());
    for field in both.chain(related) {
        assert!(field.words.contains(&format!("{} means at least that", i64::MAX)), "{field:?}");
    }
}

/// Goal: which names are kept does not depend on the order of arrival. Method: more names than
/// are kept, forth and back.
#[test]
fn the_first_names_by_text_are_kept() {
    let said = |n: usize| Attributes {
        stamp: Stamp { at: n as i64, tie: "1\0s".into() },
        fixed: vec![],
        named: vec![(format!("{n:04}").into(), Some("x".into()))],
    };
    let (mut forth, mut back) = (Profile::default(), Profile::default());
    (0..MAX_NAMES + 9).for_each(|n| forth.take(&said(n)));
    (0..MAX_NAMES + 9).rev().for_each(|n| back.take(&said(n)));
    let names = |it: &Profile| it.named().map(|it| it.0.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&forth), names(&back));
    assert_eq!((names(&back).len(), names(&back)[0].as_str()), (MAX_NAMES, "0000"));
}

/// Goal: an attribute is found without the others being taken apart. Method: every set of the fixed
/// ones, some stated together, some alone, some withdrawn.
#[test]
fn each_fixed_one_is_found() {
    for mask in 0..1_u8 << FIXED {
        let mut profile = Profile::default();
        for place in (0..FIXED as u8).filter(|it| mask & 1 << it != 0) {
            let value = (place % 3 != 2).then(|| format!("value {place}").into());
            let stamp = Stamp { at: i64::from(place / 2), tie: "1\0s".into() };
            profile.take(&Attributes { stamp, fixed: vec![(place, value)], named: vec![] });
        }
        let each: Vec<Option<CompactString>> =
            (0..FIXED).map(|it| profile.fixed(it).map(Into::into)).collect();
        assert_eq!(each, profile.all_fixed(), "{mask:b}");
        let there = each.iter().flatten().count() as u32;
        assert_eq!(there, (mask & 0b1101_1011).count_ones(), "{mask:b}");
    }
}

/// Goal: what is exchanged and kept per customer stays small. Method: the sizes themselves.
#[test]
fn sizes() {
    assert!(size_of::<crate::Addressed<Update>>() <= 64);
    assert!(size_of::<State>() <= 96);
}

#[test]
fn what_is_near_is_what_is_made() {
    let made = |it: &usize| near(&Name::new("t", "k"), &State::default(), 0, *it).is_some();
    let bits = (0..64).filter(made).fold(0, |bits, it| bits | 1_u64 << it);
    assert_eq!(bits, NEAR);
}
