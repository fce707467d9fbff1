//! Who is one person: the cases that go wrong elsewhere, told as small histories.
//!
//! Each history is played twice, in the order of the text and backwards, an event an epoch; the rows
//! are those of `reference()` both times, and what the text says.

use std::collections::BTreeMap;

use schemas::events::{ByHand, Customer, Data, Field};
use schemas::names::Name;
use schemas::rows::{Row, Value, ViewDef};

use crate::histories::*;
use crate::{identifiers, identity_conflicts, profile_health, profiles};

fn pair(a: &'static str, b: &'static str) -> ByHand<'static> {
    ByHand { customer: a.into(), other: b.into(), agent: Some("ann".into()), reason: None }
}

fn one(a: &'static str, b: &'static str) -> Data<'static> {
    Data::CustomerLinkedByHand(pair(a, b))
}

fn two(a: &'static str, b: &'static str) -> Data<'static> {
    Data::CustomerSeparatedByHand(pair(a, b))
}

fn told(customer: &'static str, name: &'static str, hat: &'static str) -> Data<'static> {
    let attributes = vec![("hat".into(), Some(hat.into()))];
    let (customer, name) = (customer.into(), Field::Is(name.into()));
    Data::CustomerUpdated(Box::new(Customer { customer, name, attributes, ..Customer::default() }))
}

/// Plays a history forth and back.
pub(crate) fn played(said: Vec<Data<'static>>) -> Answer {
    let events = history(said);
    let forth = play(events.clone());
    let now = START + 100_000_000;
    for (def, expected) in [
        (&profiles::DEF, profiles::reference(&events, now)),
        (&identifiers::DEF, identifiers::reference(&events, now)),
        (&identity_conflicts::DEF, identity_conflicts::reference(&events, now)),
        (&profile_health::DEF, profile_health::reference(&events, now)),
    ] {
        assert_eq!(shown(def, &forth[def.name]), shown(def, &expected), "{}", def.name);
    }
    let mut back = events;
    back.reverse();
    assert_eq!(play(back), forth);
    forth
}

fn shown(def: &ViewDef, rows: &BTreeMap<Name, Row>) -> Vec<String> {
    rows.iter().map(|it| format!("{} {}", it.0.key(), def.to_json(it.1))).collect()
}

fn field(def: &ViewDef, row: &Row, name: &str) -> Value {
    row.values[def.position(name).expect("a field")].clone()
}

fn text(def: &ViewDef, row: &Row, name: &str) -> String {
    match field(def, row, name) {
        Value::Text(it) => it.to_string(),
        Value::Json(it) => it.to_string(),
        Value::Int(it) => it.to_string(),
        Value::Bool(it) => it.to_string(),
        Value::Time(it) => schemas::time::rfc3339(it).to_string(),
        Value::Null => "null".into(),
    }
}

/// The persons: their members.
fn persons(answer: &Answer) -> Vec<String> {
    answer["profiles"].values().map(|it| text(&profiles::DEF, it, "members")).collect()
}

/// Kind, value and reason of every link that does not count.
fn conflicts(answer: &Answer) -> Vec<String> {
    let of = |it: &Row| {
        let def = &identity_conflicts::DEF;
        ["kind", "value", "reason", "detail"].map(|name| text(def, it, name)).join(" | ")
    };
    answer["identity_conflicts"].values().map(of).collect()
}

/// Of an identifier some fields.
fn identifier(answer: &Answer, key: &str, fields: &[&str]) -> String {
    let row = answer["identifiers"].get(&Name::new("default", key)).expect(key);
    let each = fields.iter().map(|it| text(&identifiers::DEF, row, it));
    each.collect::<Vec<_>>().join(" ")
}

/// Goal: a link by a strong identifier is a person; everything they did and told is theirs.
#[test]
fn two_customers_with_one_address_are_one_person() {
    let answer = played(vec![
        told("web-7", "Ann", "red"),
        bought("web-7", "O1", 500),
        has("web-7", "email", " Ann@Example.ORG "),
        told("shop-3", "Ann Miller", "blue"),
        has("shop-3", "email", "ann@example.org"),
        bought("shop-3", "O2", 700),
        bought("alone", "O3", 1),
    ]);
    assert_eq!(persons(&answer), [r#"["web-7","shop-3"]"#]);
    let row = answer["profiles"].values().next().unwrap();
    let of = |name| text(&profiles::DEF, row, name);
    assert_eq!((of("person"), of("name")), ("web-7".into(), "Ann Miller".into()));
    assert_eq!(of("attributes"), r#"{"hat":"blue"}"#);
    assert_eq!((of("n_orders"), of("spend")), ("2".into(), r#"{"EUR":1200}"#.into()));
    assert_eq!(of("first_seen_at"), "2026-01-01T00:00:00.000Z");
    assert_eq!(
        of("identifiers"),
        r#"[{"kind":"email","value":"ann@example.org","by":[{"customer":"web-7","raw":" Ann@Example.ORG ","events":[{"at":"2026-01-01T00:00:02.000Z","source":"//test","id":"2"}]},{"customer":"shop-3","raw":"ann@example.org","events":[{"at":"2026-01-01T00:00:04.000Z","source":"//test","id":"4"}]}]}]"#
    );
    let fields = ["person", "n_customers", "usable"];
    assert_eq!(identifier(&answer, "email/ann@example.org", &fields), "web-7 2 true");
    assert_eq!(identifier(&answer, "customer/shop-3", &fields), "web-7 1 true");
    assert!(!answer["identifiers"].contains_key(&Name::new("default", "customer/alone")));
}

/// Goal: a tablet that a family shares joins nobody once too many use it, and never two accounts.
#[test]
fn a_shared_tablet() {
    let family = ["a", "b", "c", "d", "e"];
    let all: Vec<_> = family.iter().map(|it| has(it, "device", "tablet-1")).collect();
    let answer = played(all.clone());
    assert_eq!(persons(&answer).len(), 5);
    let fields = ["person", "usable", "why_not", "n_customers", "customers"];
    assert_eq!(identifier(&answer, "device/tablet-1", &fields), "null false too_many 5 []");
    assert_eq!(conflicts(&answer), [""; 0]);

    // Few enough to be one person, but two of them have accounts of their own.
    let mut two_accounts = all[..3].to_vec();
    two_accounts.extend([has("a", "account", "1"), has("b", "account", "2")]);
    let answer = played(two_accounts.clone());
    assert_eq!(persons(&answer).len(), 3);
    assert_eq!(conflicts(&answer), ["device | tablet-1 | contradiction | account: 1, 2"]);
    let fields = ["person", "persons"];
    assert_eq!(identifier(&answer, "device/tablet-1", &fields), r#"null ["a","b","c"]"#);

    // They are one person all the same, somebody says: then the accounts do not contradict.
    two_accounts.push(one("a", "b"));
    let answer = played(two_accounts);
    assert_eq!(persons(&answer), [r#"["a","b","c"]"#]);
    assert_eq!(conflicts(&answer), [""; 0]);
}

/// Goal: a telephone number that was given to somebody else joins them no longer than it is both
/// theirs, and accounts keep them apart meanwhile.
#[test]
fn a_recycled_phone_number() {
    let mut said = vec![
        has("old", "account", "100"),
        has("old", "phone", "+49 30 1234567"),
        has("new", "account", "200"),
        has("new", "phone", "0049 30 123 45 67"),
    ];
    let answer = played(said.clone());
    assert_eq!(persons(&answer).len(), 2);
    assert_eq!(conflicts(&answer), ["phone | +49301234567 | contradiction | account: 100, 200"]);
    said.push(has_not("old", "phone", "+49-30-1234567"));
    let answer = played(said);
    assert_eq!(persons(&answer).len(), 2);
    assert_eq!(conflicts(&answer), [""; 0]);
    assert_eq!(identifier(&answer, "phone/+49301234567", &["person", "n_customers"]), "new 1");
}

/// Goal: an address that a whole company uses is nobody's; people of one domain are not one.
#[test]
fn a_corporate_domain() {
    static IDS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
    static OWN: [&str; 12] = [
        "a@corp.org",
        "b@corp.org",
        "c@corp.org",
        "d@corp.org",
        "e@corp.org",
        "f@corp.org",
        "g@corp.org",
        "h@corp.org",
        "i@corp.org",
        "j@corp.org",
        "k@corp.org",
        "l@corp.org",
    ];
    let own = IDS.iter().zip(OWN).map(|(id, own)| has(id, "email", own));
    let info = IDS.iter().map(|id| has(id, "email", "info@corp.org"));
    let answer = played(own.chain(info).collect());
    assert_eq!(persons(&answer).len(), 12);
    assert_eq!(identifier(&answer, "email/info@corp.org", &["usable", "n_customers"]), "false 12");
    assert_eq!(identifier(&answer, "email/c@corp.org", &["person"]), "3");
}

/// Goal: what people type who have no identifier says nothing of them.
#[test]
fn typing_null() {
    let answer = played(vec![
        has("a", "email", "NULL"),
        has("b", "email", "null"),
        has("a", "phone", "000000"),
        has("b", "phone", "000000"),
        has("a", "email", "Test@anything.org"),
        has("b", "email", "test@anything.org"),
        has("a", "badge", "17"),
        has("b", "badge", "17"),
    ]);
    assert_eq!(persons(&answer).len(), 2);
    let fields = ["usable", "why_not", "n_customers"];
    for key in ["email/null", "phone/000000", "email/test@anything.org"] {
        assert_eq!(identifier(&answer, key, &fields), "false blocked 2", "{key}");
    }
    assert_eq!(identifier(&answer, "badge/17", &fields), "false kind 2");
}

/// Goal: the newest statement by hand of a pair stands: what was separated can be linked again.
#[test]
fn by_hand_the_newest_stands() {
    let mail = |it| has(it, "email", "x@y.org");
    let both = vec![mail("a"), mail("b")];
    let with = |more: Vec<Data<'static>>| played([both.clone(), more].concat());
    assert_eq!(persons(&with(vec![])).len(), 1);
    let apart = with(vec![two("b", "a")]);
    assert_eq!(persons(&apart).len(), 2);
    assert_eq!(conflicts(&apart), ["email | x@y.org | separated | a, b"]);
    let again = with(vec![two("b", "a"), one("a", "b")]);
    assert_eq!(persons(&again), [r#"["a","b"]"#]);
    let row = again["profiles"].values().next().unwrap();
    assert_eq!(
        text(&profiles::DEF, row, "by_hand"),
        r#"[{"customers":["a","b"],"agent":"ann","event":{"at":"2026-01-01T00:00:03.000Z","source":"//test","id":"3"}}]"#
    );
    // Of what is linked by hand nothing counts if two of them were separated.
    let ring =
        played(vec![one("a", "b"), one("b", "c"), two("a", "c"), one("d", "e"), one("d", "d")]);
    assert_eq!(persons(&ring).len(), 4);
    let expected = ["by_hand | a/b | separated | a, c", "by_hand | b/c | separated | a, c"];
    assert_eq!(conflicts(&ring), expected);
}

/// Goal: what is joined strongly stays when a weaker link would make it too large, or contradict.
#[test]
fn a_weaker_link_undoes_nothing() {
    static IDS: [&str; 52] = [
        "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14",
        "15", "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29",
        "30", "31", "32", "33", "34", "35", "36", "37", "38", "39", "40", "41", "42", "43", "44",
        "45", "46", "47", "48", "49", "50", "51",
    ];
    // A chain of devices, one longer than a person may be; two of them have one card.
    let mut said = vec![has("00", "loyalty_card", "card"), has("51", "loyalty_card", "card")];
    for it in IDS.windows(2) {
        said.extend([has(it[0], "device", it[0]), has(it[1], "device", it[0])].map(
            |it| match it {
                Data::CustomerIdentified(mut it) => {
                    it.value = format!("d{}", it.value).into();
                    Data::CustomerIdentified(it)
                }
                it => it,
            },
        ));
    }
    let answer = play(history(said.clone()));
    let now = START + 100_000_000;
    let events = history(said);
    assert_eq!(answer["profiles"], profiles::reference(&events, now));
    assert_eq!(answer["identity_conflicts"], identity_conflicts::reference(&events, now));
    assert_eq!(persons(&answer).len(), 51);
    assert!(persons(&answer).contains(&r#"["00","51"]"#.to_string()));
    assert_eq!(conflicts(&answer).len(), 51);
    assert!(conflicts(&answer)[0].ends_with("too_large | 52 customers"));
}

/// Goal: merged by mistake and separated again, everything is as if it had never happened, in every
/// view. Method: the answers with and without the statements; only what counts events may differ.
#[test]
fn merged_and_unlinked_is_as_never_merged() {
    let before = vec![
        told("a", "Ann", "red"),
        bought("a", "O1", 500),
        has("a", "email", "ann@x.org"),
        told("b", "Bob", "blue"),
        bought("b", "O2", 700),
        opened("b", "T1"),
        has("b", "email", "bob@x.org"),
    ];
    let merged = [before.clone(), vec![has("b", "email", "ann@x.org")]].concat();
    let as_one = played(merged.clone());
    assert_eq!(persons(&as_one), [r#"["a","b"]"#]);
    let unlinked = played([merged, vec![has_not("b", "email", "ANN@x.org")]].concat());
    let never = played(before);
    assert_eq!(never["profile_health"].len(), 2);
    assert_eq!(as_one["profile_health"].len(), 1);
    // The two statements are events about b, an hour's load and a minute's volume.
    let counts = ["customers", "volume", "load_forecast", "model_quality"];
    for (view, rows) in &never {
        if counts.contains(view) {
            continue;
        }
        let mut found = unlinked[view].clone();
        if *view == "profiles" {
            for row in found.values_mut().filter(|it| text(&profiles::DEF, it, "person") == "b") {
                let at = |name| profiles::DEF.position(name).expect("a field");
                row.values[at("n_events")] = Value::Int(4);
                row.values[at("last_seen_at")] = Value::Time((START as i64 + 6_000) * 1_000);
            }
        }
        assert_eq!(&found, rows, "{view}");
    }
}
