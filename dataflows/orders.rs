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
//! An order of which any statement names a customer who was erased is gone, whoever else is named.
//!
//! # State
//! 72 bytes in place; the timeline, the facts and the reversals behind one allocation each.
//! Lines are bounded by the contract, the timeline as [`crate::timeline`] says.

use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{Data, Event, OrderPlaced, OrderReversed, Status};
use schemas::names::{Currency, Fingerprint, Name};
use schemas::rows::{Row, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::erased::Gone;
use crate::owners::Others;
use crate::packed::{Reader, Writer};
use crate::served::prefetch::prefetch_shared;
use crate::stamps::{Stamp, text_bytes};
use crate::sums::Sums;
use crate::timeline::{Entry, Tie, Timeline};
use crate::{Epoch, Fold, near_or_row};
use way::Way;

mod reference;
mod rows;
pub(crate) mod standing; // how it stands on its way
mod stored;
mod way;

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
    /// It was placed: what a state keeps in place ([`NEVER`]: nothing was promised), and
    /// [`Facts`], packed.
    Placed { promised_at: i64, currency: Currency, packed: Arc<[u8]> },
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
        let order: &str = match &event.data {
            Data::OrderPlaced(it) => &it.order,
            Data::OrderStatusChanged(it) => &it.order,
            Data::OrderCancelled(it) | Data::OrderReturned(it) => &it.order,
            _ => return None,
        };
        let stamp = Stamp::of(event);
        let said = match &event.data {
            Data::OrderPlaced(it) => {
                scratch.clear();
                Facts::pack(&stamp, amount, &it.customer, owner, scratch);
                Facts::pack_placed(it, scratch);
                let packed = scratch.as_slice().into();
                let (promised_at, currency) = (it.promised_at.unwrap_or(NEVER), it.currency);
                Said::Placed { promised_at, currency, packed }
            }
            Data::OrderStatusChanged(it) => {
                let customer = it.customer.as_deref().unwrap_or("").into();
                Said::Status { status: it.status, line: it.line.unwrap_or(0), customer, owner }
            }
            Data::OrderCancelled(it) => reversed(it, Status::Cancelled, owner),
            Data::OrderReturned(it) => reversed(it, Status::Returned, owner),
            _ => return None,
        };
        Some((order, Update { stamp, said }))
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

/// What of `order.placed` is hardly asked for, packed: owner, when it was said, amount, tie, customer,
/// channel, lines. Of an order never placed the first five (the amount is 0), of the newest statement
/// that names a customer.
struct Facts<'p> {
    owner: Fingerprint,
    at: i64,
    amount: i64,
    /// Tie, customer, and if it was placed channel and lines.
    rest: Reader<'p>,
}

impl<'p> Facts<'p> {
    fn pack(stamp: &Stamp, amount: i64, customer: &str, owner: Fingerprint, into: &mut Vec<u8>) {
        let mut writer = Writer(into);
        writer.id(owner);
        writer.instant(stamp.at);
        writer.int(amount);
        writer.text(&stamp.tie);
        writer.text(customer);
    }

    fn pack_placed(it: &OrderPlaced<'_>, into: &mut Vec<u8>) {
        let mut writer = Writer(into);
        writer.maybe(it.channel.as_deref());
        writer.count(it.lines.len() as u64);
        let mut before = Way::default();
        for line in &it.lines {
            writer.text(&line.sku);
            writer.int(line.quantity);
            writer.int(line.unit_price);
            let way = [&line.ship_from, &line.ship_to, &line.carrier, &line.seller];
            let way = way.map(|it| it.as_deref());
            way::write(&mut writer, way, before);
            before = way;
        }
    }

    #[inline]
    fn unpack(bytes: &'p [u8]) -> Facts<'p> {
        let mut rest = Reader(bytes);
        let (owner, at, amount) = (rest.id(), rest.instant(), rest.int());
        Facts { owner, at, amount, rest }
    }
}

/// Never: an instant after every event time.
pub(crate) const NEVER: i64 = i64::MAX;

/// What is known of an order.
#[derive(Clone, Debug)]
pub struct State {
    timeline: Timeline,
    /// The newest `order.placed`, or (before one) the newest statement naming a customer:
    /// [`Facts`], packed.
    facts: Option<Arc<[u8]>>,
    reversals: Option<Arc<Reversals>>,
    /// [`NEVER`]: nothing was promised.
    promised_at: i64,
    delivered_at: i64,
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
            promised_at: NEVER,
            delivered_at: NEVER,
            currency: Currency::NONE,
            status: None,
            placed: false,
        }
    }
}

/// What few orders have.
#[derive(Clone, Debug, Default)]
struct Reversals {
    cancelled: Reversed,
    returned: Reversed,
    /// Customers who were named, beside the one who stands.
    others: Others,
}

/// Amounts are sums; the reason is the newest that was given.
#[derive(Clone, Debug, Default)]
struct Reversed {
    /// When it was said first.
    at: Option<i64>,
    amounts: Sums,
    reason: Option<(Stamp, CompactString)>,
}

impl State {
    #[inline]
    fn facts(&self) -> Option<Facts<'_>> {
        self.facts.as_deref().map(Facts::unpack)
    }

    /// Status of the whole order, for relations.
    #[inline]
    pub(crate) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Currency ([`Currency::NONE`] until it is placed) and amount, for relations.
    #[inline]
    pub(crate) fn money(&self) -> (Currency, i64) {
        (self.currency, self.facts().map_or(0, |it| it.amount))
    }

    /// Whose order it is, while it is late at an instant: promised by then, neither delivered nor
    /// cancelled.
    #[inline]
    pub(crate) fn late_for(&self, now: Epoch) -> Option<&str> {
        if self.promised_at >= (now as i64).saturating_mul(1_000) || self.settled_at() != NEVER {
            return None;
        }
        self.customer()
    }

    #[inline]
    fn said(&mut self, stamp: &Stamp, status: Status, line: u16) {
        let tie = Tie::of(stamp.tie.as_bytes());
        let entry = Entry { at: stamp.at, status, line, tie };
        let is_newest = self.timeline.insert(entry);
        if line > 0 {
            return;
        }
        self.status = if is_newest { Some(status) } else { self.timeline.status() };
        match status {
            Status::Delivered => self.delivered_at = stamp.at.min(self.delivered_at),
            Status::Cancelled | Status::Returned => {
                let first = &mut self.reversal(status).at;
                *first = Some(first.map_or(stamp.at, |it| it.min(stamp.at)));
            }
            _ => {}
        }
    }

    /// Of an order that was cancelled, or returned.
    #[cold]
    fn reversal(&mut self, status: Status) -> &mut Reversed {
        let reversals = Arc::make_mut(self.reversals.get_or_insert_default());
        match status {
            Status::Cancelled => &mut reversals.cancelled,
            _ => &mut reversals.returned,
        }
    }

    /// When it was first said to be cancelled; [`NEVER`]: it was not.
    #[inline]
    fn cancelled_at(&self) -> i64 {
        self.reversals.as_ref().and_then(|it| it.cancelled.at).unwrap_or(NEVER)
    }

    /// The same of being returned.
    #[inline]
    fn returned_at(&self) -> i64 {
        self.reversals.as_ref().and_then(|it| it.returned.at).unwrap_or(NEVER)
    }

    /// Whether a statement of this rank and stamp is newer than the facts that stand.
    #[inline]
    fn outranked_by(&self, placed: bool, stamp: &Stamp) -> bool {
        let Some(mut facts) = self.facts() else { return true };
        match (self.placed, facts.at).cmp(&(placed, stamp.at)) {
            std::cmp::Ordering::Equal => facts.rest.text() < stamp.tie.as_str(),
            order => order.is_lt(),
        }
    }

    /// Whoever is named and is not the one who stands is remembered: `replaced` by whom the one
    /// who stood so far, else whom was named in vain.
    #[inline]
    fn other(&mut self, owner: Fingerprint, replaced: bool) {
        let Some(stands) = self.facts().map(|it| it.owner) else { return };
        if owner != 0 && stands != owner {
            let other = if replaced { stands } else { owner };
            Arc::make_mut(self.reversals.get_or_insert_default()).others.add(other);
        }
    }

    /// Whether it went with a customer who was erased.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.reversals.as_ref().is_some_and(|it| it.others.is_gone())
    }

    #[inline]
    fn named(&mut self, stamp: &Stamp, customer: &str, owner: Fingerprint) {
        if customer.is_empty() {
            return;
        }
        let stands = !self.placed && self.outranked_by(false, stamp);
        self.other(owner, stands);
        if !stands {
            return;
        }
        let mut packed = Vec::with_capacity(29 + stamp.tie.len() + customer.len());
        Facts::pack(stamp, 0, customer, owner, &mut packed);
        self.facts = Some(packed.into());
    }

    #[cold]
    fn reversed(&mut self, stamp: &Stamp, it: &Reversal) {
        let reversed = self.reversal(it.status);
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
        self.delivered_at.min(self.cancelled_at())
    }
}

/// The first millisecond after this instant (microseconds), if it is to come.
fn first_after(at: i64, after: Epoch) -> Option<Epoch> {
    let due = u64::try_from(at.div_euclid(1_000) + 1).ok();
    due.filter(|it| *it > after)
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
            Said::Placed { promised_at, currency, packed } => {
                state.said(stamp, Status::Placed, 0);
                let stands = state.outranked_by(true, stamp);
                state.other(Facts::unpack(packed).owner, stands);
                if stands {
                    (state.promised_at, state.currency) = (*promised_at, *currency);
                    state.placed = true;
                    state.facts = Some(packed.clone());
                }
            }
            Said::Reversed(it) => {
                state.said(stamp, it.status, 0);
                state.named(stamp, &it.customer, it.owner);
                state.reversed(stamp, it);
            }
        }
    }

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        (!state.is_gone()).then(|| rows::row(name, state, now))
    }

    #[inline]
    fn exists(state: &State) -> bool {
        !state.is_gone()
    }

    const OWNED: bool = true;

    fn settle(_: Fingerprint, _: &Name, state: &State, gone: &Gone) -> Option<State> {
        let others = state.reversals.iter().flat_map(|it| it.others.each());
        Self::owner(state).into_iter().chain(others).any(|it| gone.has(it)).then(|| {
            let reversals = Reversals { others: Others::gone(), ..Reversals::default() };
            State { reversals: Some(Arc::new(reversals)), ..State::default() }
        })
    }

    #[inline]
    fn is_gone(state: &State) -> bool {
        state.is_gone()
    }

    const NEAR: u64 = rows::NEAR;

    fn fields(name: &Name, state: &State, now: Epoch, fields: &[usize], into: &mut Vec<Value>) {
        near_or_row::<Orders>((name, state, now), fields, rows::near, into);
    }

    /// An order that is not settled becomes late in the first millisecond after its promise.
    #[inline]
    fn next_due(state: &State, after: Epoch) -> Option<Epoch> {
        if state.promised_at == NEVER || state.settled_at() != NEVER {
            return None;
        }
        first_after(state.promised_at, after)
    }

    /// And stuck in the one after what is usual; in later ones nothing is said any more of when it
    /// arrives, and what is usual is not what was learnt.
    #[inline]
    fn next_look(name: &Name, state: &State, after: Epoch) -> Option<Epoch> {
        let first = |at| if at == NEVER { None } else { first_after(at, after) };
        let now = i64::try_from(after).map_or(NEVER, |it| it.saturating_mul(1_000));
        let due = state.due(name.tenant(), now);
        let stuck_at = due.map_or(NEVER, |it| it.at);
        let told_until = state.told_until(stuck_at, now);
        let learnt_until = due.and_then(|it| it.learnt_until).unwrap_or(NEVER);
        [stuck_at, told_until, learnt_until].into_iter().filter_map(first).min()
    }

    fn owner(state: &State) -> Option<Fingerprint> {
        state.facts().map(|it| it.owner)
    }

    #[inline]
    fn bring_near(state: &State) {
        state.timeline.bring_near();
        if let Some(facts) = &state.facts {
            prefetch_shared(facts);
        }
    }

    fn heap_bytes(state: &State) -> usize {
        let reversals = state.reversals.as_ref().map_or(0, |it| {
            let one = |it: &Reversed| {
                let reason = it.reason.as_ref();
                it.amounts.heap_bytes()
                    + reason.map_or(0, |it| it.0.heap_bytes() + text_bytes(&it.1))
            };
            let others = it.others.heap_bytes();
            16 + size_of::<Reversals>() + one(&it.cancelled) + one(&it.returned) + others
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
        assert!(size_of::<State>() <= 72);
    }

    #[test]
    fn what_is_near_is_what_is_made() {
        let made =
            |it: &usize| rows::near(&Name::new("t", "k"), &State::default(), 0, *it).is_some();
        let bits = (0..64).filter(made).fold(0, |bits, it| bits | 1_u64 << it);
        assert_eq!(bits, rows::NEAR);
    }
}
