//! A customer's state as bytes, and back.
//!
//! # Why this way
//! The attributes of one event share its stamp; so they do in the bytes (a stamp is written where
//! it first occurs, later attributes say how many stamps ago that was) and after they are read.

use std::sync::Arc;

use super::caseload::Caseload;
use super::{Customers, FIXED, Kept, MAX_NAMES, Profile, Reversed, State};
use crate::Keep;
use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::stamps::Stamp;
use crate::sums::Sums;

/// How many stamps ago one is still looked for: enough for an event after the other, and a bound
/// on the time for a customer of hundreds of attributes.
const STAMPS_BACK: usize = 16;

/// Flags.
const REVERSED: u8 = 1;
const PROFILE: u8 = 2;
const CASES: u8 = 4;

impl Keep for Customers {
    const LAYOUT: &'static str = layout!(
        "customers 2: flags, first_seen, last_seen, n_events, n_orders, n_ratings, rating_sum, \
         spend, cancelled and returned, n_cases and the newest statement of each case, attributes \
         each with its stamp"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        let flag = |there: bool, flag: u8| if there { flag } else { 0 };
        let cases = flag(state.cases.is_some(), CASES);
        let profile = flag(state.profile.is_some(), PROFILE);
        into.push(flag(state.reversed.is_some(), REVERSED) | profile | cases);
        let mut writer = Writer(into);
        writer.int(state.first_seen);
        writer.int(state.last_seen);
        let counts = [state.n_events, state.n_orders, state.n_ratings, state.rating_sum];
        counts.into_iter().for_each(|it| writer.count(it));
        state.spend.store(&mut writer);
        if let Some(it) = &state.reversed {
            it.cancelled.store(&mut writer);
            it.returned.store(&mut writer);
        }
        if let Some(it) = &state.cases {
            writer.count(it.n_opened);
            writer.count(it.bytes().len() as u64);
            writer.0.extend_from_slice(it.bytes());
        }
        if let Some(it) = &state.profile {
            it.store(&mut writer);
        }
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        let flags = from.byte().filter(|it| *it <= REVERSED | PROFILE | CASES)?;
        let mut state = State {
            first_seen: from.int()?,
            last_seen: from.int()?,
            n_events: from.count()?,
            n_orders: from.count()?,
            n_ratings: from.count()?,
            rating_sum: from.count()?,
            spend: Sums::restore(&mut from)?,
            reversed: None,
            cases: None,
            profile: None,
        };
        if flags & REVERSED != 0 {
            let cancelled = Sums::restore(&mut from)?;
            let returned = Sums::restore(&mut from)?;
            state.reversed = Some(Arc::new(Reversed { cancelled, returned }));
        }
        if flags & CASES != 0 {
            let n_opened = from.count()?;
            let n = from.count()?;
            state.cases = Some(Arc::new(Caseload::restore(n_opened, from.bytes(n)?)?));
        }
        if flags & PROFILE != 0 {
            state.profile = Some(Arc::new(Profile::restore(&mut from)?));
        }
        from.end()?;
        Some(state)
    }
}

impl Profile {
    fn store(&self, into: &mut Writer<'_>) {
        let mut stamps: Vec<&Arc<Stamp>> = Vec::new();
        let set = (0..FIXED).filter(|it| self.fixed[*it].is_some());
        into.0.push(set.fold(0, |mask, it| mask | 1 << it));
        for kept in self.fixed.iter().flatten() {
            kept.store(into, &mut stamps);
        }
        into.count(self.named.len() as u64);
        for (name, kept) in &self.named {
            into.text(name);
            kept.store(into, &mut stamps);
        }
    }

    fn restore(from: &mut Checked<'_>) -> Option<Profile> {
        let mut profile = Profile::default();
        let mut stamps = Vec::new();
        let mask = from.byte().filter(|it| it >> FIXED == 0)?;
        for (place, kept) in profile.fixed.iter_mut().enumerate() {
            if mask & 1 << place != 0 {
                *kept = Some(Kept::restore(from, &mut stamps)?);
            }
        }
        let n = from.count::<usize>().filter(|it| *it <= MAX_NAMES)?;
        // Of each at least a length, a stamp and a value: three bytes.
        profile.named.reserve_exact(n.min(from.0.len() / 3));
        for _ in 0..n {
            let name = from.text()?;
            if profile.named.last().is_some_and(|it| it.0.as_str() >= name) {
                return None;
            }
            let kept = Kept::restore(from, &mut stamps)?;
            profile.named.push((name.into(), kept));
        }
        Some(profile)
    }
}

impl Kept {
    /// `stamps`: those written so far.
    fn store<'s>(&'s self, into: &mut Writer<'_>, stamps: &mut Vec<&'s Arc<Stamp>>) {
        let back = stamps.iter().rev().take(STAMPS_BACK).position(|it| **it == self.stamp);
        into.count(back.map_or(0, |it| it as u64 + 1));
        if back.is_none() {
            self.stamp.store(into);
            stamps.push(&self.stamp);
        }
        into.maybe(self.value.as_deref());
    }

    fn restore(from: &mut Checked<'_>, stamps: &mut Vec<Arc<Stamp>>) -> Option<Kept> {
        let stamp = match from.count::<usize>()? {
            0 => {
                let stamp = Arc::new(Stamp::restore(from)?);
                stamps.push(stamp.clone());
                stamp
            }
            back => stamps.get(stamps.len().checked_sub(back)?)?.clone(),
        };
        Some(Kept { stamp, value: from.maybe()?.map(Into::into) })
    }
}
