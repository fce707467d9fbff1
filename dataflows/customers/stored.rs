//! A customer's state as bytes, and back. Cases and attributes are kept as they are packed in
//! memory.

use std::sync::Arc;

use super::caseload::Caseload;
use super::{Customers, Profile, Rare, State};
use crate::Keep;
use crate::identity::known::Known;
use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::sums::Sums;

/// Flags.
const REVERSED: u8 = 1;
const PROFILE: u8 = 2;
const CASES: u8 = 4;
const KNOWN: u8 = 8;

impl Keep for Customers {
    const LAYOUT: &'static str = layout!(
        "customers 3: flags, first_seen, last_seen, n_events, n_orders, n_ratings, rating_sum, \
         spend, cancelled and returned, the newest statements of each identifier and the newest of \
         each pair of customers, n_cases and the newest statement of each case, attributes \
         each with its stamp"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        let flag = |there: bool, flag: u8| if there { flag } else { 0 };
        let cases = flag(state.cases.is_some(), CASES);
        let profile = flag(state.profile.is_some(), PROFILE);
        let known = flag(state.known().is_some(), KNOWN);
        into.push(flag(state.rare.is_some(), REVERSED) | profile | cases | known);
        let mut writer = Writer(into);
        writer.int(state.first_seen);
        writer.int(state.last_seen);
        let counts = [state.n_events, state.n_orders, state.n_ratings, state.rating_sum];
        counts.into_iter().for_each(|it| writer.count(it));
        state.spend.store(&mut writer);
        if let Some(it) = &state.rare {
            it.cancelled.store(&mut writer);
            it.returned.store(&mut writer);
            if let Some(it) = &it.known {
                it.store(&mut writer);
            }
        }
        if let Some(it) = &state.cases {
            writer.count(it.n_opened);
            writer.count(it.bytes().len() as u64);
            writer.0.extend_from_slice(it.bytes());
        }
        if let Some(it) = &state.profile {
            writer.0.extend_from_slice(it.bytes());
        }
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        let flags = from.byte().filter(|it| *it <= REVERSED | PROFILE | CASES | KNOWN)?;
        let mut state = State {
            first_seen: from.int()?,
            last_seen: from.int()?,
            n_events: from.count()?,
            n_orders: from.count()?,
            n_ratings: from.count()?,
            rating_sum: from.count()?,
            spend: Sums::restore(&mut from)?,
            rare: None,
            cases: None,
            profile: None,
        };
        if flags & REVERSED != 0 {
            let cancelled = Sums::restore(&mut from)?;
            let returned = Sums::restore(&mut from)?;
            let known = match flags & KNOWN {
                0 => None,
                _ => Some(Arc::new(Known::restore(&mut from)?)),
            };
            state.rare = Some(Arc::new(Rare { cancelled, returned, known }));
        } else if flags & KNOWN != 0 {
            return None;
        }
        if flags & CASES != 0 {
            let n_opened = from.count()?;
            let n = from.count()?;
            state.cases = Some(Arc::new(Caseload::restore(n_opened, from.bytes(n)?)?));
        }
        if flags & PROFILE != 0 {
            let rest = from.bytes(from.0.len())?;
            state.profile = Some(Arc::new(Profile::restore(rest)?));
        }
        from.end()?;
        Some(state)
    }
}
