//! What the fold of customers tells of who they are.
//!
//! # Meaning
//! Of each customer of whom a statement about identity was made: what is known of them, each
//! identifier that they carry, and, of a pair, what was said by hand, told by the one of the two
//! whose id is the smaller.

use std::cmp::Ordering;
use std::sync::Arc;

use schemas::names::{Currency, Name, key_text};
use serde::{Deserialize, Serialize};

use super::known::Known;
use super::{BY_HAND, CUSTOMER, Mark, Terms, Who};
use crate::customers::{Customers, Profile, State};
use crate::fold::Project;
use crate::key_id;

/// What is said of a customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Tells {
    /// What is known of them.
    Member(Who, Member),
    /// An identifier that they carry.
    Carries(Mark, Who),
    /// That two are one, or are not.
    ByHand(Who, Who, bool),
}

/// What is known of a customer, for the row of a person. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// First: of members the one who was seen first gives the person's id.
    pub(crate) seen: (i64, i64),
    pub(crate) sums: Arc<Sums>,
    pub(crate) profile: Option<Arc<Profile>>,
    pub(crate) known: Arc<Known>,
}

impl Ord for Member {
    /// By its fields, in order; what two have in common is not gone through.
    fn cmp(&self, other: &Member) -> Ordering {
        fn shared<T: Ord>(one: &Arc<T>, other: &Arc<T>) -> Ordering {
            if Arc::ptr_eq(one, other) { Ordering::Equal } else { one.cmp(other) }
        }
        let profiles = || match (&self.profile, &other.profile) {
            (Some(one), Some(other)) => shared(one, other),
            (one, other) => one.is_some().cmp(&other.is_some()),
        };
        let seen = self.seen.cmp(&other.seen);
        seen.then_with(|| shared(&self.sums, &other.sums))
            .then_with(profiles)
            .then_with(|| shared(&self.known, &other.known))
    }
}

impl PartialOrd for Member {
    fn partial_cmp(&self, other: &Member) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::hash::Hash for Member {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // Where it goes is decided by whose it is; what is known of them need not be gone through.
        self.seen.hash(state);
    }
}

/// Sums over what one customer did.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// In the order of [`Sums::COUNTS`].
    pub(crate) counts: [u64; 6],
    /// Spent, cancelled, returned.
    pub(crate) money: [Box<[(Currency, i64)]>; 3],
}

impl Sums {
    pub(crate) const COUNTS: [&str; 6] =
        ["n_events", "n_orders", "n_ratings", "rating_sum", "n_cases", "n_open_cases"];
}

/// Tells it, by these terms.
pub(crate) struct Told(pub(crate) Arc<Terms>);

impl Project<Customers> for Told {
    type Data = Tells;
    type Diff = isize;

    #[inline]
    fn change(
        &mut self,
        name: &Name,
        old: Option<&State>,
        new: &State,
        emit: &mut dyn FnMut(Tells, isize),
    ) {
        // Nothing is ever unsaid, but what was said of one who was erased.
        match (new.known(), old.and_then(|it| Some((it, it.known()?)))) {
            (Some(known), _) => self.changed(name, old, new, known, emit),
            (None, Some((old, known))) => {
                emit(Tells::Member(name.clone(), old.member(known)), -1);
                self.tell(name, known, &mut |it| emit(it, -1));
            }
            (None, None) => {}
        }
    }
}

impl Told {
    fn changed(
        &self,
        name: &Name,
        old: Option<&State>,
        new: &State,
        known: &Arc<Known>,
        emit: &mut dyn FnMut(Tells, isize),
    ) {
        let before = old.and_then(|it| Some((it, it.known()?)));
        emit(Tells::Member(name.clone(), new.member(known)), 1);
        if let Some((old, known)) = before {
            emit(Tells::Member(name.clone(), old.member(known)), -1);
        }
        if before.is_some_and(|it| Arc::ptr_eq(it.1, known)) {
            return;
        }
        self.tell(name, known, &mut |it| emit(it, 1));
        if let Some((_, known)) = before {
            self.tell(name, known, &mut |it| emit(it, -1));
        }
    }

    fn tell(&self, name: &Name, known: &Known, emit: &mut dyn FnMut(Tells)) {
        for it in known.marks().iter().filter(|it| it.evidence().next().is_some()) {
            if let Some(mark) = mark(name.tenant(), &it.kind, &it.value, &self.0) {
                emit(Tells::Carries(mark, name.clone()));
            }
        }
        let id = key_id(name);
        for (other, pair) in known.by_hand().iter().filter(|it| it.0 > id) {
            let other = Name::new(name.tenant(), &key_text(&[other]));
            emit(Tells::ByHand(name.clone(), other, pair.is_one));
        }
    }
}

/// An identifier, with what it is worth; `None`: a kind that is ours.
pub(super) fn mark(tenant: &str, kind: &str, value: &str, terms: &Terms) -> Option<Mark> {
    if kind == CUSTOMER || kind == BY_HAND {
        return None;
    }
    Some((terms.judge(kind, value), Name::new(tenant, &key_text(&[kind, value]))))
}
