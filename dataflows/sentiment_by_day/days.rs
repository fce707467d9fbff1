//! Texts summed by day, before they are exchanged.
//!
//! # Meaning
//! What is said of texts to their days and to the days that follow, once per worker and epoch: of a
//! day all texts together, and of its newest as many as a row names.
//!
//! # State
//! The days of the texts of one epoch.

use std::collections::BTreeMap;

use compact_str::CompactString;
use hashbrown::HashMap;
use schemas::names::{Kind, Name, Secret, key_text};
use schemas::time::MAX_TIME;

use super::{PAST_DAYS, Update, day_of};
use crate::Addressed;
use crate::mood::{DAY, Heard, Sums};
use crate::newest::{Newest, Text};

/// The last day that event time can say, counted from the Unix epoch.
const LAST: i64 = MAX_TIME / DAY;

/// Texts by tenant and day, counted from the Unix epoch.
#[derive(Default)]
pub(crate) struct Days(HashMap<CompactString, BTreeMap<i64, Day>, foldhash::fast::FixedState>);

#[derive(Default)]
struct Day {
    sums: Sums,
    newest: Newest<CompactString>,
}

impl Days {
    /// One more text.
    pub(crate) fn hear(&mut self, tenant: &str, heard: Heard) {
        let days = self.0.entry_ref(tenant).or_default();
        let day = days.entry(heard.at.div_euclid(DAY)).or_default();
        day.sums.add(heard.label, heard.score);
        if day.newest.may_take(heard.at) {
            day.newest.hear(Text::of_many(heard.at, heard.key, heard.owner));
        }
    }

    /// Takes over all texts of another.
    pub(crate) fn take(&mut self, other: &mut Days) {
        for (tenant, days) in other.0.drain() {
            let mine = self.0.entry(tenant).or_default();
            for (day, theirs) in days {
                let mine = mine.entry(day).or_default();
                mine.sums.merge(&theirs.sums);
                mine.newest.merge(theirs.newest);
            }
        }
    }

    /// Empties into updates, if they are wanted.
    pub(crate) fn drain(&mut self, secret: &Secret, into: Option<&mut Vec<Addressed<Update>>>) {
        let Some(into) = into else { return self.0.clear() };
        for (tenant, days) in self.0.drain() {
            let mut said: BTreeMap<i64, Update> = BTreeMap::new();
            for (day, it) in days {
                said.entry(day).or_default().newest = it.newest;
                for back in (0..=PAST_DAYS).take_while(|it| day + i64::from(*it) <= LAST) {
                    said.entry(day + i64::from(back)).or_default().sums.push((back, it.sums));
                }
            }
            for (day, update) in said {
                let text = day_of(day * DAY);
                let key = secret.fingerprint(&tenant, Kind::Day, &[&text]);
                let name = Name::new(&tenant, &key_text(&[&text]));
                into.push(Addressed { key, name, update });
            }
        }
    }
}
