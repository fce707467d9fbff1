//! What is computed: views as timely/differential dataflows over the events.
//!
//! Pure: no I/O, no tokio, no clock, no settings files. Time is an argument: the epoch.
//!
//! ```text
//!             ┌─▶ fold customers ──┬──────────────▶ served map
//!  updates ───┼─▶ fold orders ─────┼─┬────────────▶ served map
//!  (deduped)  ├─▶ fold cases ──────┼─┼────────────▶ served map
//!             ├─▶ fold volume ─────┼─┼────────────▶ served map
//!             ├─▶ fold records ────┼─┼────────────▶ served map
//!             ├─▶ fold load_forecast ┼────────────▶ served map
//!             ├─▶ fold health ─────┼─┼────────────▶ served map
//!             ├─▶ fold capacity ───┼─┼────────────▶ served map
//!  opinions ──┼─▶ 5 folds ─────────┼─┼────────────▶ served maps
//!             ├─▶ fold erasures ───┼─┼────────────▶ served map, and [`erased`] for all folds
//!             ├─▶ fold claims ─────┼─┼────────────▶ served map
//!             └─▶ fold notifications ┼────────────▶ served map
//!                                  │ └─▶ relate orders_by_status ─▶ publish ─▶ served map
//!                                  └───▶ relate top_customers ────▶ publish ─▶ served map
//!  cases, customers, orders, health ─▶ [`queues`] ─▶ relate priority_queue, sla ─▶ publish ─▶ served maps
//!  customers ─▶ [`identity`], level by level ─▶ profiles, identifiers, identity_conflicts ─▶ publish ─▶ served maps
//!  health, [`identity`] ─────────────────▶ relate profile_health ──────▶ publish ─▶ served map
//!  orders ───────────────────────────────▶ relate order_exceptions ────▶ publish ─▶ served map
//!  orders ─(delivered, summed)─▶ relate order_kpis ──────────────────────▶ publish ─▶ served map
//!  orders ─(arrived, summed)─▶ relate model_quality ─────────────────────▶ publish ─▶ served map
//!  cases, claims ────────────────────────▶ relate queue_load ──────────▶ publish ─▶ served map
//! ```
//!
//! The views, a line each: [`customers`], [`orders`], [`cases`], [`volume`], [`records`],
//! [`sentiment`], [`sentiment_by_customer`], [`sentiment_by_product`], [`sentiment_by_day`],
//! [`claims`], [`notifications`], [`load_forecast`], [`health`], [`erasures`],
//! [`capacity`] (folds);
//! [`orders_by_status`], [`top_customers`],
//! [`priority_queue`], [`sla`], [`queue_load`], [`order_exceptions`], [`order_kpis`],
//! [`profiles`], [`profile_health`], [`identifiers`], [`identity_conflicts`] (relations);
//! [`model_quality`] (its own fold, another look at `load_forecast` and a relation of `orders`, as one),
//! [`order_visibility`] (another look at the states of `orders`),
//! [`capacity_advice`] (another look at those of `capacity`).

pub mod models; // what is learnt from events, and what is said with it
pub mod served; // the multi-version map that folds write and readers read
pub mod fold; // the one operator of kind *fold*
pub mod publish; // serves a relation's output in a map of the same kind
mod attached; // what is known of something, with what it stands in
mod grouped; // what is held under one key, put together as one record
pub mod erased; // whom nobody is to know any more
pub mod dedup; // identities already applied, bounded by horizon and memory
pub mod inputs; // one event into the updates of every view
pub mod catalogue; // every view: its definition and its reader
pub mod customers;
pub mod orders;
pub mod cases;
pub mod volume;
pub mod records;
pub mod sentiment;
pub mod sentiment_by_customer;
pub mod sentiment_by_product;
pub mod sentiment_by_day;
pub mod model_quality;
pub mod orders_by_status;
pub mod top_customers;
mod opinions; // what is said of the texts that come in
pub mod mood; // how the texts of one subject feel over time
mod newest; // the newest texts of a subject
pub mod claims;
pub mod notifications; // what rules decided to say, and what became of it
pub mod queues; // cases with their promises: what the next three are made from
pub mod priority_queue;
pub mod sla;
pub mod queue_load;
pub mod load_forecast;
pub mod health;
pub mod capacity; // what this process can do, against what comes
pub mod capacity_advice;
pub mod order_visibility;
pub mod order_exceptions;
pub mod order_kpis;
pub mod identity; // which customers are one person: what the next four are made from
pub mod profiles;
pub mod profile_health;
pub mod identifiers;
pub mod identity_conflicts;
pub mod erasures; // that a customer was erased
mod owners; // whose an entity was said to be, and that it is gone
mod packed; // facts packed into one allocation
mod stamps; // which of two statements is the newer
mod sums; // sums of money by currency
mod timeline; // what was said of an order's status, by event time
#[cfg(test)]
mod stored_tests; // states as bytes and back, on random histories
#[cfg(test)]
mod histories; // small histories for tests

/// Logical time: milliseconds since the Unix epoch, strictly increasing.
pub type Epoch = u64;

use compact_str::CompactString;
use schemas::names::{Fingerprint, Name};
use schemas::rows::{Row, Value, ViewDef};

/// The pure state machine of one entity. `apply` is commutative; dedup in front of it makes it
/// idempotent. What is kept for an entity is its [`Fold::State`], in place in the served map.
pub trait Fold: Send + Sync + 'static {
    /// What an event says to this entity. Small: it is exchanged between workers.
    type Update: Clone + Send + serde::Serialize + for<'a> serde::Deserialize<'a> + 'static;
    /// What is known of the entity. Cloning must be cheap (variable parts behind `Arc`, changed
    /// by `Arc::make_mut`): the first touch in an epoch keeps the old version in the undo list.
    type State: Clone + Default + Send + Sync + 'static;

    /// Its entry in the catalogue.
    const DEF: &'static ViewDef;

    /// Takes an update in. Commutative.
    fn apply(state: &mut Self::State, update: &Self::Update);

    /// The row at an instant (`now`: milliseconds); `None`: no row (a deleted entity).
    fn row(name: &Name, state: &Self::State, now: Epoch) -> Option<Row>;

    /// Whether there is a row; as `row(..).is_some()`, cheaper. Must not depend on time.
    fn exists(_state: &Self::State) -> bool {
        true
    }

    /// Whether what has a row once has one for good: then of what has none nobody was ever told, and
    /// nobody is.
    const LASTS: bool = false;

    /// What is left where there was a row and is none any more, if that is to be known.
    fn left(_state: &Self::State) -> Option<&'static str> {
        None
    }

    /// Of the places of fields, by bit, those that [`Fold::fields`] makes in some tens of
    /// nanoseconds: of what lies in place, or one step away. They may be made under a shard's lock.
    const NEAR: u64 = 0;

    /// Appends some fields of the row, as [`Fold::row`] says them; asked only where there is one.
    fn fields(
        name: &Name,
        state: &Self::State,
        now: Epoch,
        fields: &[usize],
        into: &mut Vec<Value>,
    ) {
        let mut row = Self::row(name, state, now).map_or_else(Vec::new, |it| it.values);
        into.extend(fields.iter().map(|it| row.get_mut(*it).map_or(Value::Null, std::mem::take)));
    }

    /// The next instant after `after` at which time alone changes the row.
    fn next_due(_state: &Self::State, _after: Epoch) -> Option<Epoch> {
        None
    }

    /// The same for what others make of the state: asked only where somebody does.
    fn next_look(_name: &Name, _state: &Self::State, _after: Epoch) -> Option<Epoch> {
        None
    }

    /// Whose data it is: the customer's fingerprint, if any.
    fn owner(_state: &Self::State) -> Option<Fingerprint> {
        None
    }

    /// Whether some of its states are about a customer: then erasures are looked for among them.
    const OWNED: bool = false;

    /// What is left of a state once some customers are erased; none: it stays as it is. Of what is
    /// gone nothing is left but that, and it stays so. See [`erased`].
    fn settle(
        _key: Fingerprint,
        _name: &Name,
        state: &Self::State,
        gone: &erased::Gone,
    ) -> Option<Self::State> {
        let owner = Self::owner(state)?;
        gone.has(owner).then(Self::State::default)
    }

    /// Whether it is gone and takes nothing in any more; where a default state is as good as gone,
    /// nobody asks.
    fn is_gone(_state: &Self::State) -> bool {
        false
    }

    /// Asks for the memory outside the state that [`Fold::apply`] will look at, if it has some:
    /// called for many states before the first of them is changed.
    fn bring_near(_state: &Self::State) {}

    /// Bytes kept outside the state itself.
    fn heap_bytes(_state: &Self::State) -> usize {
        0
    }
}

/// One field of a row, made by itself; `None`: it is made with the whole row only.
pub(crate) type Near<F> = fn(&Name, &<F as Fold>::State, Epoch, usize) -> Option<Value>;

/// [`Fold::fields`] by a function that makes single fields: the whole row is made only for those
/// that it does not make.
pub(crate) fn near_or_row<F: Fold>(
    (name, state, now): (&Name, &F::State, Epoch),
    fields: &[usize],
    near: Near<F>,
    into: &mut Vec<Value>,
) {
    let mut row: Option<Vec<Value>> = None;
    for field in fields {
        let value = near(name, state, now, *field).unwrap_or_else(|| {
            let row = row.get_or_insert_with(|| {
                F::row(name, state, now).map_or_else(Vec::new, |it| it.values)
            });
            row.get_mut(*field).map_or(Value::Null, std::mem::take)
        });
        into.push(value);
    }
}

/// A fold whose states outlast the process.
///
/// What comes back is as what went: the same row at every instant, the same timers, owner and
/// size, and the same after every further update. Test: `stored_tests`.
pub trait Keep: Fold {
    /// What the bytes of a state are, in words, with a version (see [`served`]): states are read
    /// only where this text is the one under which they were written. Change it with the bytes.
    const LAYOUT: &'static str;

    /// Whether states that nobody has touched for a while are packed where they lie: reading one
    /// takes some tens of microseconds then, and a fifth of the memory.
    const RESTS: bool = false;

    /// Whether a state goes with its owner only: those that rest are looked through for who is erased
    /// by a part of the owners' fingerprints then, and not each unpacked.
    const GOES_WITH_OWNER: bool = false;

    /// Appends a state.
    fn store(state: &Self::State, into: &mut Vec<u8>);

    /// The state that [`Keep::store`] wrote; `None`: no state is written so. Never panics, and
    /// asks for no more memory than the bytes can fill.
    fn restore(bytes: &[u8]) -> Option<Self::State>;

    /// Appends a state that is to rest, without what `owner_of` makes of it again; false: it cannot.
    fn rest(state: &Self::State, _owner_of: OwnerOf<'_>, into: &mut Vec<u8>) -> bool {
        Self::store(state, into);
        true
    }

    /// The state that [`Keep::rest`] wrote.
    fn wake(bytes: &[u8], _owner_of: OwnerOf<'_>) -> Option<Self::State> {
        Self::restore(bytes)
    }
}

/// The fingerprint of a customer, by the id.
pub type OwnerOf<'a> = &'a dyn Fn(&str) -> Fingerprint;

/// Puts one where it belongs among few: most stay one or two, so no room is kept for a third.
pub(crate) fn insert_tight<T>(all: &mut Vec<T>, at: usize, it: T) {
    if all.len() == all.capacity() {
        all.reserve_exact(1 + all.len() / 4);
    }
    all.insert(at, it);
}

/// An update on its way to its entity.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Addressed<U> {
    /// The entity's fingerprint.
    pub key: Fingerprint,
    /// Its name, kept by the map when the entity is new.
    pub name: Name,
    /// What is said.
    pub update: U,
}

/// FNV-1a 64 of the text, mixed: the same everywhere and always.
pub(crate) fn hash_of(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, it| {
        (hash ^ u64::from(it)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

/// The id that an entity's name was made of: the key's only part, decoded.
pub(crate) fn key_id(name: &Name) -> CompactString {
    decoded(name.key())
}

/// A part of a key's text, with its percent-encoded characters as they were. A `%` that starts
/// none stays.
pub(crate) fn decoded(part: &str) -> CompactString {
    let mut text = CompactString::default();
    let mut pieces = part.split('%');
    text.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        let code = piece.get(..2).and_then(|it| u8::from_str_radix(it, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&piece[2..]);
            }
            None => {
                text.push('%');
                text.push_str(piece);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemas::names::key_text;

    proptest! {
        /// Goal: a row names its entity as the event did. Method: any text through both ways.
        #[test]
        fn a_key_gives_its_id_back(id in "\\PC{0,20}|[%/ a-f0-9\\x01\\x7f]{0,20}") {
            let name = Name::new("t", &key_text(&[&id]));
            prop_assert_eq!(key_id(&name).to_string(), id);
        }
    }
}
