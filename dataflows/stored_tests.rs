//! States as bytes and back, on random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::events::*;
use schemas::names::{Currency, Kind, Name, Secret};

use crate::capacity::Capacity;
use crate::cases::Cases;
use crate::catalogue::ViewSet;
use crate::claims::Claims;
use crate::customers::Customers;
use crate::health::Health;
use crate::inputs::{CountsInto, Updates};
use crate::load_forecast::LoadForecast;
use crate::model_quality::ModelQuality;
use crate::notifications::Notifications;
use crate::orders::Orders;
use crate::records::Records;
use crate::sentiment::Sentiment;
use crate::sentiment_by_customer::SentimentByCustomer;
use crate::sentiment_by_day::SentimentByDay;
use crate::sentiment_by_product::SentimentByProduct;
use crate::volume::Volume;
use crate::{Addressed, Keep};

#[path = "tests/support/history.rs"]
mod history;

use history::{SPAN_MS, START_MS, history};

fn route(events: &[Event<'_>]) -> Updates {
    let mut updates = Updates::default();
    for event in events {
        updates.route(event, &Secret([7; 16]), ViewSet::all());
    }
    updates
}

fn stored<F: Keep>(state: &F::State) -> Vec<u8> {
    let mut bytes = vec![0xaa];
    F::store(state, &mut bytes);
    assert_eq!(bytes.remove(0), 0xaa, "appends");
    bytes
}

/// Everything that can be asked of a state.
fn told<F: Keep>(name: &Name, state: &F::State) -> String {
    let now = [0, START_MS, START_MS + SPAN_MS / 2, START_MS + 7 * SPAN_MS];
    let rows = now.map(|it| F::row(name, state, it).map(|it| F::DEF.to_json(&it).to_string()));
    let due = now.map(|it| F::next_due(state, it));
    let left = F::left(state);
    format!("{rows:?} {due:?} {:?} {} {left:?}", F::owner(state), F::exists(state))
}

/// Puts bytes back, and asks what came of them, if anything did.
fn asked<F: Keep>(name: &Name, bytes: &[u8]) {
    if let Some(state) = F::restore(bytes) {
        assert!(!told::<F>(name, &state).is_empty());
    }
}

/// `often`: after which updates the second one goes to bytes and comes back.
fn check<F: Keep>(updates: Vec<Addressed<F::Update>>, often: &[bool]) {
    let mut states: BTreeMap<Name, (F::State, F::State)> = BTreeMap::new();
    for (it, often) in updates.into_iter().zip(often.iter().cycle()) {
        let (plain, other) = states.entry(it.name.clone()).or_default();
        F::apply(plain, &it.update);
        F::apply(other, &it.update);
        let bytes = stored::<F>(other);
        if *often {
            *other = F::restore(&bytes).expect("what was stored");
            assert_eq!(stored::<F>(other), bytes);
            // What rests says no less.
            let tenant = it.name.tenant();
            let owner_of = |it: &str| Secret([7; 16]).fingerprint(tenant, Kind::Customer, &[it]);
            let mut resting = Vec::new();
            assert!(F::rest(other, &owner_of, &mut resting) && resting.len() <= bytes.len());
            let woken = F::wake(&resting, &owner_of).expect("what rested");
            assert_eq!(stored::<F>(&woken), bytes);
            let (kept, was) = (F::heap_bytes(other), F::heap_bytes(plain));
            assert!(kept <= was && was <= 2 * kept + 512, "{kept} bytes, were {was}");
        }
        assert_eq!(told::<F>(&it.name, other), told::<F>(&it.name, plain));
    }
    for (name, (state, _)) in states {
        doubted::<F>(&name, &stored::<F>(&state));
    }
}

/// Whatever happened to the bytes, they are refused or are those of some state.
fn doubted<F: Keep>(name: &Name, bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        if let Some(state) = F::restore(bytes) {
            told::<F>(name, &state);
            stored::<F>(&state);
            assert!(F::heap_bytes(&state) <= 4_096 + 64 * bytes.len());
        }
    };
    (0..bytes.len()).for_each(|it| assert!(F::restore(&bytes[..it]).is_none(), "cut at {it}"));
    assert!(F::restore(&[bytes, &[0]].concat()).is_none(), "one byte more");
    for at in 0..bytes.len() {
        for turned in [1, 0x10, 0x80, 0xff] {
            let mut other = bytes.to_vec();
            other[at] ^= turned;
            read(&other);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Goal: a state that was bytes for a while is as one that never was, then and after every
    /// further update; bytes that were cut are refused, bytes that were changed do no harm.
    /// Method: every fold on random histories, two states of each entity side by side.
    #[test]
    fn states_come_back(
        events in history(60),
        often in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let mut updates = route(&events);
        check::<Customers>(updates.customers, &often);
        check::<Orders>(updates.orders, &often);
        check::<Cases>(updates.cases, &often);
        check::<Records>(updates.records, &often);
        check::<Sentiment>(updates.sentiment, &often);
        check::<SentimentByCustomer>(updates.sentiment_by_customer, &often);
        check::<SentimentByProduct>(updates.sentiment_by_product, &often);
        let mut days = Vec::new();
        updates.sentiment_by_day.drain(&Secret([7; 16]), Some(&mut days));
        // Of the days that follow one is like the other.
        days.retain(|it| it.name.key() <= "2026-01-02");
        check::<SentimentByDay>(days, &often);
        check::<ModelQuality>(updates.model_quality, &often);
        check::<Claims>(updates.claims, &often);
        check::<Notifications>(updates.notifications, &often);
        check::<Health>(updates.health, &often);
        let mut cells = Vec::new();
        let mut loads = std::mem::take(&mut updates.load_forecast);
        let mut capacity = std::mem::take(&mut updates.capacity);
        let into = CountsInto {
            volume: Some(&mut cells),
            load_forecast: Some(&mut loads),
            capacity: Some(&mut capacity),
        };
        updates.volume.drain(&Secret([7; 16]), into);
        check::<Volume>(cells, &often);
        check::<LoadForecast>(loads, &often);
        check::<Capacity>(capacity, &often);
    }

    /// Goal: bytes that nobody stored do no harm. Method: random ones.
    #[test]
    fn strange_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let name = Name::new("t", "x");
        asked::<Customers>(&name, &bytes);
        asked::<Orders>(&name, &bytes);
        asked::<Cases>(&name, &bytes);
        asked::<Sentiment>(&name, &bytes);
        asked::<SentimentByCustomer>(&name, &bytes);
        asked::<SentimentByProduct>(&name, &bytes);
        asked::<SentimentByDay>(&name, &bytes);
        asked::<ModelQuality>(&name, &bytes);
        asked::<Records>(&name, &bytes);
        asked::<Claims>(&name, &bytes);
        asked::<Notifications>(&name, &bytes);
        asked::<Volume>(&name, &bytes);
        asked::<LoadForecast>(&name, &bytes);
        asked::<Capacity>(&name, &bytes);
        asked::<Health>(&name, &bytes);
    }
}

/// Goal: what is stored by its place in a list of this build is not misread by one with another
/// list. Method: the layouts name the lists.
#[test]
fn layouts_name_what_is_stored_by_place() {
    let statuses = Status::ALL.map(Status::as_str).join(", ");
    assert!(Orders::LAYOUT.contains(&format!("({statuses})")), "{statuses}");
    let types = EventType::ALL.map(EventType::as_str).join(", ");
    assert!(Volume::LAYOUT.contains(&format!("({types})")), "{types}");
}

/// A fold's states of the fixed history, one after the other by name.
fn fixture<F: Keep>(updates: &[Addressed<F::Update>]) -> String {
    let mut states: BTreeMap<&Name, F::State> = BTreeMap::new();
    updates.iter().for_each(|it| F::apply(states.entry(&it.name).or_default(), &it.update));
    let hex = |bytes: Vec<u8>| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    states.values().map(|it| hex(stored::<F>(it))).collect::<Vec<_>>().join(" ")
}

/// Goal: bytes written by an earlier build are read by this one, or their layout has another name.
/// Method: a fixed history's states, byte for byte. **If this fails, raise the version in the
/// fold's `LAYOUT`**, then write down the new bytes.
#[test]
fn bytes_change_only_with_the_layout() {
    let event = |n: u8, data: Data<'static>| Event {
        tenant: "t".into(),
        source: "s".into(),
        id: format!("{n}").into(),
        time: 1_000 * i64::from(n),
        data,
    };
    let eur = Currency::parse("EUR").unwrap();
    let customer = Customer {
        customer: "C".into(),
        name: Field::Is("Ann".into()),
        email: Field::Withdrawn,
        attributes: vec![("hat".into(), Some("red".into())), ("shoe".into(), None)],
        ..Customer::default()
    };
    let line = Line {
        sku: "S1".into(),
        quantity: 2,
        unit_price: 150,
        ship_from: Some("north".into()),
        ship_to: None,
        carrier: None,
        seller: None,
    };
    let placed = OrderPlaced {
        order: "O".into(),
        customer: "C".into(),
        currency: eur,
        lines: vec![line],
        promised_at: Some(9_000),
        channel: None,
    };
    let cancelled = OrderReversed {
        order: "O".into(),
        customer: None,
        amount: Some(100),
        currency: Some(eur),
        reason: Some("late".into()),
    };
    let opened = CaseOpened {
        case: "T".into(),
        customer: "C".into(),
        severity: 2,
        text: Some("it stopped".into()),
        queue: "first".into(),
        skills: vec!["french".into()],
    };
    let (agent, queue) = ("bob".into(), Some("second".into()));
    let assigned = CaseAssigned {
        case: "T".into(),
        agent,
        queue,
        customer: Some("C".into()),
        until: Some(9_000_000),
    };
    let resolved = CaseResolved { case: "T".into(), customer: None, resolution: None };
    let upserted = RecordUpserted {
        table: "t".into(),
        key: "1".into(),
        fields: "{}".into(),
        version: "5/1".into(),
    };
    let deleted = RecordDeleted { table: "t".into(), key: "2".into(), version: "6/1".into() };
    let identified = Identified {
        customer: "C".into(),
        kind: "email".into(),
        value: "A@x".into(),
        country: None,
    };
    let separated =
        ByHand { customer: "C".into(), other: "D".into(), agent: Some("ann".into()), reason: None };
    let data = [
        Data::CustomerRegistered(customer.into()),
        Data::OrderPlaced(placed),
        Data::OrderCancelled(cancelled),
        Data::CaseOpened(opened),
        Data::CaseAssigned(assigned),
        Data::CaseResolved(resolved),
        Data::RecordUpserted(upserted),
        Data::RecordDeleted(deleted),
        Data::CustomerIdentified(identified),
        Data::CustomerSeparatedByHand(separated),
    ];
    let events: Vec<_> = (1..).zip(data).map(|(n, data)| event(n, data)).collect();
    let mut updates = route(&events);
    let mut cells = Vec::new();
    let mut loads = std::mem::take(&mut updates.load_forecast);
    let mut capacity = std::mem::take(&mut updates.capacity);
    let into = CountsInto {
        volume: Some(&mut cells),
        load_forecast: Some(&mut loads),
        capacity: Some(&mut capacity),
    };
    updates.volume.drain(&Secret([7; 16]), into);
    let found = [
        (Customers::LAYOUT, fixture::<Customers>(&updates.customers)),
        (Orders::LAYOUT, fixture::<Orders>(&updates.orders)),
        (Cases::LAYOUT, fixture::<Cases>(&updates.cases)),
        (Records::LAYOUT, fixture::<Records>(&updates.records)),
        (Volume::LAYOUT, fixture::<Volume>(&cells)),
        (Claims::LAYOUT, fixture::<Claims>(&updates.claims)),
        (Notifications::LAYOUT, fixture::<Notifications>(&updates.notifications)),
        (LoadForecast::LAYOUT, fixture::<LoadForecast>(&loads)),
        (Health::LAYOUT, fixture::<Health>(&updates.health)),
        (Capacity::LAYOUT, fixture::<Capacity>(&capacity)),
    ];
    let expected = [
        (
            "customers 3",
            "0fd00fa09c010601000001455552d80400000105656d61696c036140780101d08c01033900730441407801014400a09c01043130007304616e6e011188130000000000000103000100350073540300d00f0331007304416e6e0100020368617401047265640473686f650100 09a09c01a09c01010000000000000001014300a09c01043130007304616e6e",
        ),
        (
            "orders 3",
            "1714d0070000000000000003320073e80707000201332f05d98492efe287e0b5495f1a51e84c1cd007000000000000d804033200730143000102533104ac0201056e6f72746803455552d08c0101f02e01455552c801056c617465f02e0333007300000000",
        ),
        (
            "cases 3",
            "37c03e0334007305d98492efe287e0b5495f1a51e84c1c01430566697273740b69742073746f7070656401066672656e636802904e0335007303626f62077365636f6e640180d1ca08e05d0336007300904e0335007305d98492efe287e0b5495f1a51e84c1c0143",
        ),
        ("records 1", "0103352f31b06d03730037037b7d 0103362f31807d0373003800"),
        ("volume 6", "000108 000107 000109 000111 000100 000114 000104 000102 00010c 00010b"),
        ("claims 1", ""),
        ("notifications 3", ""),
        (
            "load_forecast 3",
            "0501010000010014 3c01010000010014 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002 0502010000010002 3c02010000010002",
        ),
        (
            "health 2",
            "01dfd696010100010045555201d804010001ad230297cd8629007e4098101def0e0203fb8051a3a0ae 01a4bcb20c0000000000",
        ),
    ];
    for ((layout, bytes), (version, expected)) in found.iter().zip(expected) {
        assert!(layout.starts_with("record 1: ") && layout.contains(&format!("; {version}: ")));
        assert_eq!(bytes, expected, "{version}");
    }
}
