//! An order's state as bytes, and back.
//!
//! # Why this way
//! The timeline and the facts are packed already: they are copied as they lie, and looked through
//! once when they come back, for the rest of this crate reads them without doubt. The order's
//! status is not written: it is what its timeline says last.

use std::sync::Arc;

use schemas::events::MAX_LINES;
use schemas::names::Currency;

use super::way::{self, Way};
use super::{NEVER, Orders, Reversals, Reversed, State};
use crate::Keep;
use crate::owners::Others;
use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::stamps::Stamp;
use crate::sums::Sums;
use crate::timeline::Timeline;

/// Flags: what there is beside the timeline, in this order.
const FACTS: u8 = 1;
const PLACED: u8 = 2;
const PROMISED: u8 = 4;
const DELIVERED: u8 = 8;
const REVERSALS: u8 = 16;

impl Keep for Orders {
    const LAYOUT: &'static str = layout!(
        "orders 3: flags, timeline (placed, paid, in_production, quality_checked, shipped, \
         out_for_delivery, delivered, cancelled, returned, problem), its ties by the first one's, \
         facts (owner, at, amount, tie, customer; of a placed one channel, lines, each way by the \
         one before), currency, promised_at, delivered_at, reversals (whether and when, amounts, \
         reason), others who were named (0: none; 1: it is gone; else how many and one, and each)"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        let instants = state.instants();
        let mut flags = 0;
        let mut flag = |bit: u8, is: bool| flags |= if is { bit } else { 0 };
        flag(FACTS, state.facts.is_some());
        flag(PLACED, state.placed);
        flag(REVERSALS, state.reversals.is_some());
        instants.iter().for_each(|(bit, at)| flag(*bit, *at != NEVER));
        into.push(flags);
        let mut writer = Writer(into);
        block(&mut writer, &state.timeline.bytes());
        if let Some(facts) = &state.facts {
            block(&mut writer, facts);
        }
        if state.placed {
            writer.text(state.currency.as_str());
        }
        for (_, at) in instants.into_iter().filter(|it| it.1 != NEVER) {
            writer.int(at);
        }
        if let Some(it) = &state.reversals {
            it.cancelled.store(&mut writer);
            it.returned.store(&mut writer);
            it.others.store(&mut writer);
        }
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        let flags = from.byte().filter(|it| it >> 5 == 0)?;
        let has = |bit: u8| flags & bit != 0;
        let n = from.count()?;
        let timeline = Timeline::restore(from.bytes(n)?)?;
        let mut state =
            State { status: timeline.status(), timeline, placed: has(PLACED), ..State::default() };
        if has(FACTS) {
            let n = from.count()?;
            let facts = from.bytes(n)?;
            are_facts(facts, state.placed)?;
            state.facts = Some(facts.into());
        }
        if state.placed {
            state.facts.as_ref()?;
            state.currency = match from.text()? {
                "" => Currency::NONE,
                letters => Currency::parse(letters)?,
            };
        }
        let mut instant = |bit| if has(bit) { from.int() } else { Some(NEVER) };
        state.promised_at = instant(PROMISED)?;
        state.delivered_at = instant(DELIVERED)?;
        if has(REVERSALS) {
            let cancelled = Reversed::restore(&mut from)?;
            let returned = Reversed::restore(&mut from)?;
            let others = Others::restore(&mut from)?;
            state.reversals = Some(Arc::new(Reversals { cancelled, returned, others }));
        }
        from.end()?;
        Some(state)
    }
}

impl State {
    /// The instants that may be [`NEVER`], each with its flag.
    fn instants(&self) -> [(u8, i64); 2] {
        [(PROMISED, self.promised_at), (DELIVERED, self.delivered_at)]
    }
}

impl Reversed {
    fn store(&self, into: &mut Writer<'_>) {
        into.count(self.at.is_some().into());
        self.at.into_iter().for_each(|it| into.int(it));
        self.amounts.store(into);
        into.maybe(self.reason.as_ref().map(|it| it.1.as_str()));
        if let Some((stamp, _)) = &self.reason {
            stamp.store(into);
        }
    }

    fn restore(from: &mut Checked<'_>) -> Option<Reversed> {
        let at = match from.count::<u8>()? {
            0 => None,
            1 => Some(from.int()?),
            _ => return None,
        };
        let amounts = Sums::restore(from)?;
        let reason = match from.maybe()? {
            Some(text) => Some((Stamp::restore(from)?, text.into())),
            None => None,
        };
        Some(Reversed { at, amounts, reason })
    }
}

/// Bytes with their length.
fn block(into: &mut Writer<'_>, bytes: &[u8]) {
    into.count(bytes.len() as u64);
    into.0.extend_from_slice(bytes);
}

/// Whether these are packed facts, of a placed order or of one that was only spoken of.
fn are_facts(bytes: &[u8], placed: bool) -> Option<()> {
    let mut facts = Checked(bytes);
    facts.id()?;
    facts.instant()?;
    facts.int()?;
    facts.text()?;
    facts.text()?;
    if placed {
        facts.maybe()?;
        let n = facts.count::<usize>().filter(|it| *it <= MAX_LINES)?;
        let mut way = Way::default();
        for _ in 0..n {
            facts.text()?;
            facts.int()?;
            facts.int()?;
            way = way::check(&mut facts, way)?;
        }
    }
    facts.end()
}
