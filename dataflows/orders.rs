//! Each order: where it stands, how it came there, what it is, and whether it is late.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! The status is what the newest statement about the whole order, by (event time, id, source),
//! says: `order.placed` says placed, `order.cancelled` cancelled, `order.returned` returned. A
//! statement about one line is that line's status, never the order's. Customer, lines, amount and
//! promise are those of the newest `order.placed`; an order that was never placed has the
//! customer that the newest statement naming one says.
//!
//! Late: not delivered or cancelled by the promised instant, and that instant has passed, or the
//! delivery or cancellation came after it. The first delivery and the first cancellation count.
//!
//! # State
//! 96 bytes in place; the timeline, the facts and the reversals behind one allocation each.
//! Lines are bounded by the contract, the timeline as [`crate::timeline`] says.

use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{Data, Event, OrderPlaced, OrderReversed, Status};
use schemas::names::{Currency, Fingerprint, Name};
use schemas::rows::{Row, ViewDef};
use serde::{Deserialize, Serialize};

use crate::packed::{Reader, Writer};
use crate::stamps::{Stamp, text_bytes};
use crate::sums::Sums;
use crate::timeline::{Entry, Timeline};
use crate::{Epoch, Fold};

mod reference;
mod rows;

pub use reference::reference;
pub use rows::DEF;

/// The fold.
pub struct Orders;

/// What an event says to an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    stamp: Stamp,
    said: Said,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Said {
    /// It was placed: [`Placed`], packed.
    Placed(Arc<[u8]>),
    /// Its status, or that of a line (from 1; 0: the order's). Customer: empty if none is named.
    Status { status: Status, line: u16, customer: CompactString, owner: Fingerprint },
    /// It was cancelled or returned; more than half of all updates are statuses, so this is boxed.
    Reversed(Arc<Reversal>),
}

/// An order was cancelled or returned.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reversal {
    status: Status,
    customer: CompactString,
    owner: Fingerprint,
    amount: Option<(i64, Currency)>,
    reason: Option<CompactString>,
}

impl Update {
    /// What an event says to the order it is about. `owner`: the fingerprint of the customer it
    /// names (0 if none); `amount`: the order's whole amount, for `order.placed`; `scratch`:
    /// anything, will be overwritten.
    #[inline]
    pub(crate) fn of<'e>(
        event: &'e Event<'_>,
        owner: Fingerprint,
        amount: i64,
        scratch: &mut Vec<u8>,
    ) -> Option<(&'e str, Update)> {
        let (order, said): (&str, Said) = match &event.data {
            Data::OrderPlaced(it) => {
                scratch.clear();
                Placed::pack(event, it, owner, amount, scratch);
                (&it.order, Said::Placed(scratch.as_slice().into()))
            }
            Data::OrderStatusChanged(it) => {
                let customer = it.customer.as_deref().unwrap_or("").into();
                let (status, line) = (it.status, it.line.unwrap_or(0));
                (&it.order, Said::Status { status, line, customer, owner })
            }
            Data::OrderCancelled(it) => (&it.order, reversed(it, Status::Cancelled, owner)),
            Data::OrderReturned(it) => (&it.order, reversed(it, Status::Returned, owner)),
            _ => return None,
        };
        Some((order, Update { stamp: Stamp::of(event), said }))
    }
}

#[cold]
fn reversed(it: &OrderReversed<'_>, status: Status, owner: Fingerprint) -> Said {
    Said::Reversed(Arc::new(Reversal {
        status,
        customer: it.customer.as_deref().unwrap_or("").into(),
        owner,
        amount: it.amount.zip(it.currency),
        reason: it.reason.as_deref().map(CompactString::from),
    }))
}

/// The whole amount of an order, minor units: of each line quantity times price. Saturates.
#[inline]
pub(crate) fn amount_of(order: &OrderPlaced<'_>) -> i64 {
    order
        .lines
        .iter()
        .fold(0_i64, |sum, it| sum.saturating_add(it.quantity.saturating_mul(it.unit_price)))
}

/// What `order.placed` says, unpacked: first what a state needs in place, then texts that only
/// rows need. An order never placed packs no more than owner, tie and customer.
struct Placed<'p> {
    owner: Fingerprint,
    amount: i64,
    /// [`NEVER`]: nothing was promised.
    promised_at: i64,
    currency: Currency,
    /// Tie, customer, channel, lines.
    rest: Reader<'p>,
}

impl<'p> Placed<'p> {
    fn pack(
        event: &Event<'_>,
        it: &OrderPlaced<'_>,
        owner: Fingerprint,
        amount: i64,
        into: &mut Vec<u8>,
    ) {
        into.extend_from_slice(&owner.to_le_bytes());
        let mut writer = Writer(into);
        writer.text(it.currency.as_str());
        writer.int(amount);
        writer.count(it.promised_at.is_some().into());
        writer.int(it.promised_at.unwrap_or(0));
        writer.text(&crate::stamps::tie(&event.id, &event.source));
        writer.text(&it.customer);
        writer.maybe(it.channel.as_deref());
        writer.count(it.lines.len() as u64);
        for line in &it.lines {
            writer.text(&line.sku);
            writer.int(line.quantity);
            writer.int(line.unit_price);
            let others = [&line.ship_from, &line.ship_to, &line.carrier, &line.seller];
            others.iter().for_each(|it| writer.maybe(it.as_deref()));
        }
    }

    /// Of an order that was never placed.
    fn pack_named(tie: &str, customer: &str, owner: Fingerprint) -> Arc<[u8]> {
        let mut packed = Vec::with_capacity(24 + tie.len() + customer.len());
        packed.extend_from_slice(&owner.to_le_bytes());
        let mut writer = Writer(&mut packed);
        writer.text(Currency::NONE.as_str());
        writer.text(tie);
        writer.text(customer);
        packed.into()
    }

    #[inline]
    fn unpack(bytes: &'p [u8]) -> Placed<'p> {
        let mut rest = Reader(bytes);
        let owner = u128::from_le_bytes(rest.bytes(16).try_into().expect("sixteen bytes"));
        let Some(currency) = Currency::parse(rest.text()) else {
            let (amount, promised_at, currency) = (0, NEVER, Currency::NONE);
            return Placed { owner, amount, promised_at, currency, rest };
        };
        let amount = rest.int();
        let promised_at = match (rest.count(), rest.int()) {
            (0, _) => NEVER,
            (_, promised_at) => promised_at,
        };
        Placed { owner, amount, promised_at, currency, rest }
    }
}

/// Never: an instant after every event time.
const NEVER: i64 = i64::MAX;

/// What is known of an order.
#[derive(Clone, Debug)]
pub struct State {
    timeline: Timeline,
    /// The newest `order.placed`, or (before one) the newest statement naming a customer:
    /// [`Placed`], packed.
    facts: Option<Arc<[u8]>>,
    reversals: Option<Arc<Reversals>>,
    /// Event time of `facts`.
    facts_at: i64,
    amount: i64,
    /// [`NEVER`]: nothing was promised.
    promised_at: i64,
    delivered_at: i64,
    cancelled_at: i64,
    returned_at: i64,
    currency: Currency,
    /// Status of the whole order.
    status: Option<Status>,
    placed: bool,
}

impl Default for State {
    fn default() -> State {
        State {
            timeline: Timeline::default(),
            facts: None,
            reversals: None,
            facts_at: 0,
            amount: 0,
            promised_at: NEVER,
            delivered_at: NEVER,
            cancelled_at: NEVER,
            returned_at: NEVER,
            currency: Currency::NONE,
            status: None,
            placed: false,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Reversals {
    cancelled: Reversed,
    returned: Reversed,
}

/// Amounts are sums; the reason is the newest that was given.
#[derive(Clone, Debug, Default)]
struct Reversed {
    amounts: Sums,
    reason: Option<(Stamp, CompactString)>,
}

impl State {
    /// Status of the whole order, for relations.
    #[inline]
    pub(crate) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Currency ([`Currency::NONE`] until it is placed) and amount, for relations.
    #[inline]
    pub(crate) fn money(&self) -> (Currency, i64) {
        (self.currency, self.amount)
    }

    #[inline]
    fn said(&mut self, stamp: &Stamp, status: Status, line: u16) {
        self.timeline.insert(Entry { at: stamp.at, status, line, tie: stamp.tie.as_bytes() });
        if line > 0 {
            return;
        }
        self.status = self.timeline.status();
        let first = match status {
            Status::Delivered => &mut self.delivered_at,
            Status::Cancelled => &mut self.cancelled_at,
            Status::Returned => &mut self.returned_at,
            _ => return,
        };
        *first = stamp.at.min(*first);
    }

    /// Whether a statement of this rank and stamp is newer than the facts that stand.
    #[inline]
    fn outranked_by(&self, placed: bool, stamp: &Stamp) -> bool {
        let Some(facts) = &self.facts else { return true };
        let stands = (self.placed, self.facts_at);
        match stands.cmp(&(placed, stamp.at)) {
            std::cmp::Ordering::Equal => Placed::unpack(facts).rest.text() < stamp.tie.as_str(),
            order => order.is_lt(),
        }
    }

    #[inline]
    fn placed(&mut self, stamp: &Stamp, packed: &Arc<[u8]>) {
        if self.outranked_by(true, stamp) {
            let it = Placed::unpack(packed);
            (self.amount, self.currency) = (it.amount, it.currency);
            self.promised_at = it.promised_at;
            (self.placed, self.facts_at) = (true, stamp.at);
            self.facts = Some(packed.clone());
        }
    }

    #[inline]
    fn named(&mut self, stamp: &Stamp, customer: &str, owner: Fingerprint) {
        if self.placed || customer.is_empty() || !self.outranked_by(false, stamp) {
            return;
        }
        self.facts_at = stamp.at;
        self.facts = Some(Placed::pack_named(&stamp.tie, customer, owner));
    }

    #[cold]
    fn reversed(&mut self, stamp: &Stamp, it: &Reversal) {
        let reversals = Arc::make_mut(self.reversals.get_or_insert_default());
        let reversed = match it.status {
            Status::Cancelled => &mut reversals.cancelled,
            _ => &mut reversals.returned,
        };
        if let Some((amount, currency)) = it.amount {
            reversed.amounts.add(currency, amount);
        }
        if let Some(reason) = &it.reason
            && reversed.reason.as_ref().is_none_or(|it| it.0 < *stamp)
        {
            reversed.reason = Some((stamp.clone(), reason.clone()));
        }
    }

    /// When it was first delivered or cancelled.
    #[inline]
    fn settled_at(&self) -> i64 {
        self.delivered_at.min(self.cancelled_at)
    }
}

impl Fold for Orders {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    #[inline]
    fn apply(state: &mut State, update: &Update) {
        let stamp = &update.stamp;
        match &update.said {
            Said::Status { status, line, customer, owner } => {
                state.said(stamp, *status, *line);
                state.named(stamp, customer, *owner);
            }
            Said::Placed(packed) => {
                state.said(stamp, Status::Placed, 0);
                state.placed(stamp, packed);
            }
            Said::Reversed(it) => {
                state.said(stamp, it.status, 0);
                state.named(stamp, &it.customer, it.owner);
                state.reversed(stamp, it);
            }
        }
    }

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        Some(rows::row(name, state, now))
    }

    /// An order that is not settled becomes late in the first millisecond after its promise.
    #[inline]
    fn next_due(state: &State, after: Epoch) -> Option<Epoch> {
        if state.promised_at == NEVER || state.settled_at() != NEVER {
            return None;
        }
        let due = state.promised_at.div_euclid(1_000) + 1;
        u64::try_from(due).ok().filter(|it| *it > after)
    }

    fn owner(state: &State) -> Option<Fingerprint> {
        state.facts.as_ref().map(|it| Placed::unpack(it).owner)
    }

    fn heap_bytes(state: &State) -> usize {
        let reversals = state.reversals.as_ref().map_or(0, |it| {
            let one = |it: &Reversed| {
                let reason = it.reason.as_ref();
                it.amounts.heap_bytes()
                    + reason.map_or(0, |it| it.0.heap_bytes() + text_bytes(&it.1))
            };
            16 + size_of::<Reversals>() + one(&it.cancelled) + one(&it.returned)
        });
        let facts = state.facts.as_ref().map_or(0, |it| 16 + it.len());
        state.timeline.heap_bytes() + facts + reversals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is exchanged and kept per order stays small. Method: the sizes themselves.
    #[test]
    fn sizes() {
        assert!(size_of::<crate::Addressed<Update>>() <= 128);
        assert!(size_of::<State>() <= 96);
    }
}
