//! States as bytes and back, on random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::events::{Event, EventType, Status};
use schemas::names::{Name, Secret};

use crate::cases::Cases;
use crate::catalogue::ViewSet;
use crate::customers::Customers;
use crate::inputs::Updates;
use crate::orders::Orders;
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
    format!("{rows:?} {due:?} {:?} {}", F::owner(state), F::exists(state))
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
        let mut cells = Vec::new();
        updates.volume.drain(&Secret([7; 16]), |it| cells.push(it));
        check::<Volume>(cells, &often);
    }

    /// Goal: bytes that nobody stored do no harm. Method: random ones.
    #[test]
    fn strange_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let name = Name::new("t", "x");
        let _ = Customers::restore(&bytes).map(|it| told::<Customers>(&name, &it));
        let _ = Orders::restore(&bytes).map(|it| told::<Orders>(&name, &it));
        let _ = Cases::restore(&bytes).map(|it| told::<Cases>(&name, &it));
        let _ = Volume::restore(&bytes).map(|it| told::<Volume>(&name, &it));
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
