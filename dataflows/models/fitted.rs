//! What was sealed of lanes, as bytes and back. The digest of these bytes is the model's version.
//!
//! # Meaning
//! A tag, the boundary in quarters of a day, how many orders had arrived; the widest keys in
//! ascending order (each as the distance from the one before) with the factors of their week in
//! 65,536ths; then the keys in ascending order, each with the length of its days and these: how many
//! days are not empty, and of each what arrived and what waited, in 1,024ths of an order; then the
//! keys of silences in ascending order, each with its bucket ([`super::silences`]). The same model is
//! the same bytes.
//!
//! Bodies of the first tag end before the silences; they are read as ones that know of none
//! (test: `super::arrivals::tests::a_body_of_the_first_tag_is_read`).
//!
//! # When it fails
//! What is not such a body is `None`, never a panic, and never asks for more memory than the bytes
//! can fill. Whether bytes were damaged is seen by their digest before they come here.

use super::counts::ByHash;
use super::eta::{DAYS, Fitted, KEYS_MAX, WEEK};
use super::silences::{self, LONGEST, Patience};
use crate::packed::{Checked, Writer};

const TAG: &str = "millstream arrivals 2";
/// That of bodies without silences.
const FIRST_TAG: &str = "millstream arrivals 1";
/// Most parts that a day may have: more would be no whole number of a float.
const PARTS_MAX: u64 = 1 << 53;

/// Days as bytes: those at the end of which nothing is known are left out.
pub(super) fn packed(days: &[(u64, u64)]) -> Box<[u8]> {
    let n = days.iter().rposition(|it| *it != (0, 0)).map_or(0, |it| it + 1);
    // Mostly two bytes a number, or one.
    let mut bytes = Vec::with_capacity(4 * n + 1);
    let mut to = Writer(&mut bytes);
    to.count(n as u64);
    for (arrived, waited) in &days[..n] {
        to.count((*arrived).min(PARTS_MAX));
        to.count((*waited).min(PARTS_MAX));
    }
    bytes.into()
}

/// Every day of what [`packed`] made.
pub(super) fn unpacked(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let mut from = Checked(bytes);
    let n: usize = from.count().unwrap_or(0);
    (0..DAYS).map(move |day| {
        let said = (day < n).then(|| Some((from.count()?, from.count()?)));
        said.flatten().unwrap_or((0, 0))
    })
}

/// Whether [`packed`] could have made it.
fn is_whole(bytes: &[u8]) -> Option<()> {
    let mut from = Checked(bytes);
    let n: usize = from.count()?;
    if n > DAYS {
        return None;
    }
    for _ in 0..2 * n {
        from.count::<u64>().filter(|it| *it <= PARTS_MAX)?;
    }
    from.end()
}

impl Fitted {
    /// As bytes.
    pub fn body(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut to = Writer(&mut bytes);
        to.text(TAG);
        to.int(self.at.into());
        to.count(self.n_arrived);
        each_in_order(&mut to, &self.weeks, |to, week| {
            week.iter().for_each(|it| to.count((*it).into()));
        });
        each_in_order(&mut to, &self.days, |to, days| {
            to.count(days.len() as u64);
            to.0.extend_from_slice(days);
        });
        each_in_order(&mut to, &self.patience.of, |to, it| to.count((*it).into()));
        bytes
    }

    /// The model that [`Fitted::body`] wrote.
    pub fn of_body(bytes: &[u8]) -> Option<Fitted> {
        let mut from = Checked(bytes);
        let has_silences = match from.text()? {
            TAG => true,
            FIRST_TAG => false,
            _ => return None,
        };
        let at = i32::try_from(from.int()?).ok()?;
        let n_arrived = from.count()?;
        let weeks = each(&mut from, KEYS_MAX, |from| {
            let mut week = [0; WEEK];
            for it in &mut week {
                *it = from.count()?;
            }
            Some(week)
        })?;
        let days = each(&mut from, KEYS_MAX, |from| {
            let n = from.count()?;
            let days = from.bytes(n)?;
            is_whole(days)?;
            Some(Box::from(days))
        })?;
        let mut patience = Patience::default();
        if has_silences {
            let bucket = |from: &mut Checked<'_>| from.count().filter(|it| *it <= LONGEST);
            patience.of = each(&mut from, silences::KEYS_MAX, bucket)?;
        }
        from.end()?;
        weeks.keys().all(|it| days.contains_key(it)).then_some(Fitted {
            at,
            n_arrived,
            weeks,
            days,
            patience,
        })
    }
}

fn each_in_order<V>(to: &mut Writer<'_>, all: &ByHash<V>, write: impl Fn(&mut Writer<'_>, &V)) {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_unstable_by_key(|it| *it.0);
    to.count(all.len() as u64);
    let mut before = 0;
    for (key, it) in all {
        to.count(key - before);
        before = *key;
        write(to, it);
    }
}

fn each<'b, V>(
    from: &mut Checked<'b>,
    most: usize,
    read: impl Fn(&mut Checked<'b>) -> Option<V>,
) -> Option<ByHash<V>> {
    let n: usize = from.count()?;
    // Each takes two bytes at least.
    if n > most || n > from.0.len() / 2 {
        return None;
    }
    let mut all = ByHash::default();
    let mut key = 0u64;
    for _ in 0..n {
        key = key.checked_add(from.count()?)?;
        // One that comes twice is no distance.
        if all.insert(key, read(from)?).is_some() {
            return None;
        }
    }
    Some(all)
}
