//! Whom nobody is to know any more: the customers that were erased, for every fold of every worker.
//!
//! ```text
//!  customer.erased ─decode─▶ [`Erased`] (fingerprint, epoch) ─▶ every fold, at that epoch:
//!        │                                     states of theirs are emptied, and stay so
//!        └─▶ fold erasures (the fact, kept) ─at a start─▶ [`Erased`]
//! ```
//!
//! # Meaning
//! A customer is erased if any event `customer.erased` names their id, for good, whatever the event
//! times: what comes later about the same id, or came late, is theirs too. Links between customers
//! never widen it. Of every view, as of every epoch from that of the erasure on:
//!
//! - a row whose key is the customer is gone (`customers`, `health`, `sentiment_by_customer`);
//! - an order, a case or an intent is gone if *any* statement about it names an erased customer,
//!   whether that statement stands or not: what others said about the same order was about theirs;
//! - a text and a decision of the desk are gone if their event names an erased customer;
//! - what was said by hand of an erased and another customer is gone from the other's too;
//! - what is made from these rows (relations) is as if they had never been there;
//! - counts without a person stay, and count what comes later too: `volume`, `load_forecast`,
//!   `model_quality` (of texts and loads), `sentiment_by_product`, `sentiment_by_day`; but of the
//!   newest texts that a product or a day names theirs are named no more.
//!
//! So every view is a function of the *set* of events, as without erasures. Tests:
//! `tests/oracle.rs`, `tests/shape.rs` (histories with erasures).
//!
//! # Invariants
//! Whoever decodes an erasure adds it before the updates of its epoch are sent: a fold that has
//! seen the frontier pass an epoch knows every erasure of it.
//!
//! # State
//! 24 bytes per erased customer, once per process. A customer that was erased stays here for good:
//! the fact is what keeps the data from coming back.
//!
//! # Why this way
//! Every worker has to hear of each erasure, and which states are a customer's is known by the
//! states only: an index from owners to states would cost each order sixteen bytes and a miss, for
//! a question that is asked a few times a day. So each fold looks through its states once per epoch
//! with an erasure, some tens of nanoseconds each; those that rest and go with their owner only are
//! passed over by a [`tag`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use hashbrown::{HashMap, HashSet};
use parking_lot::RwLock;
pub(crate) use schemas::concerns::About;
use schemas::concerns::{about, customers_of};
use schemas::events::{Data, Event, NOTIFY};
use schemas::names::{Fingerprint, Kind, Secret};

use crate::Epoch;

type Known = HashMap<Fingerprint, Epoch, foldhash::fast::FixedState>;

/// Who is erased, and since which epoch.
pub struct Erased {
    secret: Secret,
    all: RwLock<Arc<Known>>,
    epochs: RwLock<BTreeSet<Epoch>>,
    /// Changes with every addition.
    version: AtomicU64,
}

impl Erased {
    /// Nobody.
    pub fn new(secret: Secret) -> Arc<Erased> {
        Arc::new(Erased {
            secret,
            all: RwLock::default(),
            epochs: RwLock::default(),
            version: AtomicU64::new(0),
        })
    }

    /// These are erased from an epoch on. 0: they were when the process began, and no state of
    /// theirs is left.
    pub fn add(&self, customers: &[Fingerprint], epoch: Epoch) {
        let mut all = self.all.write();
        if customers.iter().all(|it| all.get(it).is_some_and(|since| *since <= epoch)) {
            return;
        }
        let known = Arc::make_mut(&mut all);
        for it in customers {
            let since = known.entry(*it).or_insert(epoch);
            *since = epoch.min(*since);
        }
        drop(all);
        if epoch > 0 {
            self.epochs.write().insert(epoch);
        }
        self.version.fetch_add(1, SeqCst);
    }

    /// Whether a customer is erased, as far as is known now.
    pub fn has(&self, tenant: &str, customer: &str) -> bool {
        if self.version.load(SeqCst) == 0 {
            return false;
        }
        let key = self.secret.fingerprint(tenant, Kind::Customer, &[customer]);
        self.all.read().contains_key(&key)
    }

    /// Whether an event names one who is, as far as is known now.
    #[inline]
    pub fn names(&self, event: &Event<'_>) -> bool {
        !self.is_empty() && customers_of(event).any(|it| self.has(&event.tenant, it))
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.version.load(SeqCst) == 0
    }

    /// How many are.
    pub fn len(&self) -> usize {
        self.all.read().len()
    }
}

/// Who is erased as of one instant: what a fold asks.
#[derive(Clone)]
pub struct Gone {
    secret: Secret,
    all: Arc<Known>,
    at: Epoch,
}

impl Gone {
    /// Whether this is one of them.
    #[inline]
    pub fn has(&self, owner: Fingerprint) -> bool {
        self.all.get(&owner).is_some_and(|it| *it <= self.at)
    }

    /// A part of the fingerprint of each of them, see [`tag`].
    pub(crate) fn tags(&self) -> Tags {
        self.all.iter().filter(|it| *it.1 <= self.at).map(|it| tag(*it.0)).collect()
    }

    /// The same by tenant and id.
    pub(crate) fn has_id(&self, tenant: &str, customer: &str) -> bool {
        self.has(self.secret.fingerprint(tenant, Kind::Customer, &[customer]))
    }
}

/// Parts of the fingerprints of some customers.
pub(crate) type Tags = HashSet<u32, foldhash::fast::FixedState>;

/// A part of a customer's fingerprint: who has another is another.
pub(crate) fn tag(owner: Fingerprint) -> u32 {
    owner as u32
}

/// One fold's view of it: what is new, in the order of epochs.
pub(crate) struct Watched {
    erased: Arc<Erased>,
    version: u64,
    gone: Option<Gone>,
    /// The newest epoch whose erasures were acted on.
    done: Epoch,
}

impl Watched {
    pub(crate) fn new(erased: Arc<Erased>) -> Watched {
        Watched { erased, version: 0, gone: None, done: 0 }
    }

    /// The next epoch before `end` with an erasure that was not acted on.
    pub(crate) fn next(&self, end: Epoch) -> Option<Epoch> {
        if self.erased.is_empty() {
            return None;
        }
        let epochs = self.erased.epochs.read();
        epochs.range(self.done + 1..).next().copied().filter(|it| *it < end)
    }

    /// Whether there is an erasure at this very instant; from now on it was acted on.
    pub(crate) fn take(&mut self, epoch: Epoch) -> bool {
        let is_now = self.next(epoch + 1) == Some(epoch);
        if is_now {
            self.done = epoch;
        }
        is_now
    }

    /// Who is erased as of an instant; none: nobody is.
    pub(crate) fn at(&mut self, epoch: Epoch) -> Option<&Gone> {
        let version = self.erased.version.load(SeqCst);
        if version != self.version {
            let all = self.erased.all.read().clone();
            self.gone = Some(Gone { secret: self.erased.secret, all, at: epoch });
            self.version = version;
        }
        let gone = self.gone.as_mut()?;
        gone.at = epoch;
        Some(gone)
    }
}

/// Who and what is gone, plainly: for references.
pub(crate) struct Plain<'e> {
    customers: BTreeSet<(&'e str, &'e str)>,
    things: BTreeSet<(&'e str, About<'e>)>,
}

impl<'e> Plain<'e> {
    pub(crate) fn of(events: &'e [Event<'static>]) -> Plain<'e> {
        let mut customers = BTreeSet::new();
        for event in events {
            if let Data::CustomerErased(it) = &event.data {
                customers.extend(it.customers.iter().map(|it| (&*event.tenant, &**it)));
            }
        }
        let mut plain = Plain { customers, things: BTreeSet::new() };
        for event in events {
            let is_ours = event.source == NOTIFY;
            let named = about(event).filter(|it| is_ours || !matches!(it, About::Message(_)));
            if let Some(thing) = named.filter(|_| plain.names(event)) {
                plain.things.insert((&*event.tenant, thing));
            }
        }
        plain
    }

    /// Whether this customer is.
    pub(crate) fn has(&self, tenant: &str, customer: &str) -> bool {
        self.customers.contains(&(tenant, customer))
    }

    /// Whether an event names one who is.
    pub(crate) fn names(&self, event: &Event<'_>) -> bool {
        customers_of(event).any(|it| self.has(&event.tenant, it))
    }

    /// Whether this order, case or intent is.
    pub(crate) fn has_thing(&self, tenant: &str, thing: About<'_>) -> bool {
        self.things.contains(&(tenant, thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an erasure is acted on once, at its own instant, and known from then on. Method: two
    /// of them, one told again later, looked at from before, between and after.
    #[test]
    fn each_once_at_its_instant() {
        let erased = Erased::new(Secret(*b"a test's secret!"));
        let mut watched = Watched::new(erased.clone());
        assert_eq!(watched.next(100), None);
        assert!(watched.at(100).is_none());
        erased.add(&[7], 0);
        erased.add(&[1, 2], 10);
        erased.add(&[3], 20);
        erased.add(&[1], 30);
        assert_eq!(watched.next(10), None);
        assert_eq!(watched.next(11), Some(10));
        assert!(!watched.take(9));
        assert!(watched.take(10));
        assert!(!watched.take(10));
        let has = |gone: Option<&Gone>, it| gone.is_some_and(|gone| gone.has(it));
        assert!(has(watched.at(10), 1) && has(watched.at(10), 7) && !has(watched.at(10), 3));
        assert_eq!(watched.next(100), Some(20));
        assert!(watched.take(20));
        assert!(has(watched.at(20), 3));
        assert_eq!(watched.next(100), None, "told again is nothing new");
        assert_eq!(erased.len(), 4);
    }
}
