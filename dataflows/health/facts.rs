//! What is kept of a customer to judge how well it stands: sums by day, newest statements.
//!
//! # Meaning
//! Purchases by day and currency, the [`CELLS_MAX`] newest of them; texts by day, the
//! [`TEXTS_MAX`] newest; of what is said of orders and cases the newest statement of each kind,
//! [`STATEMENTS_MAX`] of them and none older than [`SPAN`] days before the newest. Functions of the
//! set of events: a cell or a statement that falls out has as many newer ones ahead of it for good,
//! and a statement only ever becomes newer.
//!
//! # State
//! Packed in the order of time, each entry by its distance from the one before.

use schemas::names::Currency;
use serde::{Deserialize, Serialize};

use crate::Epoch;
use crate::packed::{Checked, Writer};

/// Most days with purchases, by currency.
pub const CELLS_MAX: usize = 64;
/// Most days with texts.
pub const TEXTS_MAX: usize = 32;
/// Most statements about orders and cases.
pub const STATEMENTS_MAX: usize = 64;
/// Days after which a statement counts no more, against the newest; and a promise so far from the
/// order counts as none.
pub const SPAN: i64 = 180;
/// Days after which nothing becomes older.
pub(super) const AGE_MAX: i64 = 400;
/// What one event adds to a sum at the most, minor units: sums of nine million such do not saturate,
/// so their order does not matter.
pub(super) const AMOUNT_MAX: i64 = 1_000_000_000_000;
pub(super) const DAY_MS: i64 = 86_400_000;

/// The day on which an instant (milliseconds) lies, by when days begin.
pub(super) fn day_of(at: i64, offset: u32) -> i64 {
    (at - i64::from(offset)).div_euclid(DAY_MS)
}

/// When a day begins, milliseconds.
pub(super) fn start_of(day: i64, offset: u32) -> i64 {
    day.saturating_mul(DAY_MS).saturating_add(offset.into())
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Said {
    /// So many orders, and so much more or less money.
    Bought { day: i64, currency: Currency, n: u32, amount: i64 },
    /// A text that feels so, ten-thousandths.
    Text { day: i64, score: i32 },
    /// Something of an order or a case.
    Statement(Statement),
    /// Something of who they are.
    Identity,
}

/// What is said of an order or a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub(super) enum What {
    /// An order, to be there by an instant.
    Promised = 0,
    /// An order arrived.
    Delivered = 1,
    /// An order will not.
    Cancelled = 2,
    /// A case.
    Opened = 3,
    /// A case is over.
    Resolved = 4,
}

impl What {
    const ALL: [What; 5] =
        [What::Promised, What::Delivered, What::Cancelled, What::Opened, What::Resolved];
}

/// A statement; of one kind about one order or case the greatest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Statement {
    /// Event time, milliseconds since the Unix epoch.
    pub(super) at: i64,
    /// By when it is promised, likewise; 0 unless that is what it says.
    pub(super) promised: i64,
    pub(super) what: What,
    /// Of the fingerprint of the order or case, [`Statement::ID`].
    pub(super) id: u64,
}

impl Statement {
    /// Six bytes tell a customer's orders and cases apart: of a million customers with as many as
    /// are kept, some ten in a million million chances that two of one share them.
    pub(super) const ID: u64 = (1 << 48) - 1;
}

/// Purchases of a day in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) day: i64,
    pub(super) currency: Currency,
    pub(super) n: u64,
    pub(super) amount: i64,
}

/// Texts of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) day: i64,
    pub(super) n: u64,
    /// Ten-thousandths.
    pub(super) score: i64,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// When days begin, milliseconds after midnight UTC.
    pub(super) offset: u32,
    /// Whether something was ever said of who they are.
    pub(super) is_told_of: bool,
    pub(super) bought: Vec<Cell>,
    pub(super) texts: Vec<Texts>,
    pub(super) said: Vec<Statement>,
}

impl Facts {
    pub(super) fn clear(&mut self) {
        self.is_told_of = false;
        self.bought.clear();
        self.texts.clear();
        self.said.clear();
    }

    /// The customer's day at an instant.
    pub(super) fn day_at(&self, now: Epoch) -> i64 {
        day_of(i64::try_from(now).unwrap_or(i64::MAX / 2), self.offset)
    }

    pub(super) fn take(&mut self, said: &Said) {
        match said {
            Said::Bought { day, currency, n, amount } => {
                self.buy((*day, *currency), (*n).into(), *amount);
            }
            Said::Text { day, score } => self.hear(*day, 1, (*score).into()),
            Said::Statement(it) => self.say(*it),
            Said::Identity => self.is_told_of = true,
        }
    }

    /// Adds what is known of another one: as if it had been said of this one, on the same days. What
    /// either has let go of, both together would have, too: as many newer ones are ahead of it.
    pub(super) fn add(&mut self, other: &Facts) {
        other.bought.iter().for_each(|it| self.buy((it.day, it.currency), it.n, it.amount));
        other.texts.iter().for_each(|it| self.hear(it.day, it.n, it.score));
        other.said.iter().for_each(|it| self.say(*it));
    }

    fn buy(&mut self, (day, currency): (i64, Currency), n: u64, amount: i64) {
        let place = self.bought.partition_point(|it| (it.day, it.currency) < (day, currency));
        match self.bought.get_mut(place) {
            Some(it) if (it.day, it.currency) == (day, currency) => {
                it.n = it.n.saturating_add(n);
                it.amount = it.amount.saturating_add(amount);
            }
            _ => self.bought.insert(place, Cell { day, currency, n, amount }),
        }
        if self.bought.len() > CELLS_MAX {
            self.bought.remove(0);
        }
    }

    fn hear(&mut self, day: i64, n: u64, score: i64) {
        let place = self.texts.partition_point(|it| it.day < day);
        match self.texts.get_mut(place) {
            Some(it) if it.day == day => {
                it.n = it.n.saturating_add(n);
                it.score = it.score.saturating_add(score);
            }
            _ => self.texts.insert(place, Texts { day, n, score }),
        }
        if self.texts.len() > TEXTS_MAX {
            self.texts.remove(0);
        }
    }

    fn say(&mut self, new: Statement) {
        let same = |it: &Statement| (it.what, it.id) == (new.what, new.id);
        if let Some(place) = self.said.iter().position(same) {
            if self.said[place] >= new {
                return;
            }
            self.said.remove(place);
        }
        let place = self.said.partition_point(|it| *it < new);
        self.said.insert(place, new);
        let newest = self.said.last().map_or(0, |it| it.at);
        let old = self.said.partition_point(|it| it.at < newest - SPAN * DAY_MS);
        let many = self.said.len().saturating_sub(STATEMENTS_MAX);
        self.said.drain(..old.max(many));
    }

    /// The day from which on there is something to say; none if there is nothing.
    pub(super) fn begins(&self) -> Option<i64> {
        let opens = |it: &&Statement| matches!(it.what, What::Opened | What::Promised);
        let said = self.said.iter().find(opens).map(|it| day_of(it.at, self.offset));
        let bought = self.bought.first().map(|it| it.day);
        let texts = self.texts.first().map(|it| it.day);
        [said, bought, texts].into_iter().flatten().min()
    }

    /// The first and the last day that something is about, promises included; 0, if nothing is.
    fn span(&self) -> (i64, i64) {
        let said = self.said.iter().flat_map(|it| {
            let promised = Some(it.promised).filter(|_| it.what == What::Promised);
            [Some(it.at), promised].into_iter().flatten().map(|it| day_of(it, self.offset))
        });
        let bought = self.bought.iter().map(|it| it.day);
        let texts = self.texts.iter().map(|it| it.day);
        let days = said.chain(bought).chain(texts);
        let span = days.fold(None, |span: Option<(i64, i64)>, it| {
            Some(span.map_or((it, it), |(first, last)| (first.min(it), last.max(it))))
        });
        span.unwrap_or_default()
    }

    pub(super) fn pack(&self, into: &mut Writer<'_>) {
        let has_cases = self.said.iter().any(|it| it.what == What::Opened);
        let flags = u64::from(self.is_told_of) << 2
            | u64::from(has_cases) << 1
            | u64::from(self.begins().is_some());
        into.count(u64::from(self.offset) << 3 | flags);
        let (first, last) = self.span();
        into.int(first);
        into.count((last - first) as u64);
        into.count(self.bought.len() as u64);
        let mut before = first;
        for it in &self.bought {
            into.count((it.day - before) as u64);
            into.0.extend_from_slice(&letters(it.currency));
            into.count(it.n);
            into.int(it.amount);
            before = it.day;
        }
        into.count(self.texts.len() as u64);
        let mut before = first;
        for it in &self.texts {
            into.count((it.day - before) as u64);
            into.count(it.n);
            into.int(it.score);
            before = it.day;
        }
        into.count(self.said.len() as u64);
        let mut before = start_of(first, self.offset);
        for it in &self.said {
            into.count((it.at - before) as u64);
            into.0.push(it.what as u8);
            into.0.extend_from_slice(&it.id.to_le_bytes()[..6]);
            if it.what == What::Promised {
                into.int(it.promised - it.at);
            }
            before = it.at;
        }
    }

    /// Appends what [`Facts::pack`] wrote; `None`: it did not write it.
    pub(super) fn unpack(&mut self, bytes: &[u8]) -> Option<()> {
        let mut from = Checked(bytes);
        let head: u64 = from.count()?;
        self.offset =
            u32::try_from(head >> 3).ok().filter(|it| u64::from(*it) < super::SPREAD_MS)?;
        self.is_told_of = head & 4 == 4;
        let first = near(from.int()?)?;
        let _last: u64 = from.count()?;
        let n: usize = from.count()?;
        let mut day = first;
        for _ in 0..n {
            day = near(day.checked_add_unsigned(from.count()?)?)?;
            let currency = Currency::parse(std::str::from_utf8(from.bytes(3)?).ok()?)?;
            let (n, amount) = (from.count()?, from.int()?);
            self.bought.push(Cell { day, currency, n, amount });
        }
        let n: usize = from.count()?;
        let mut day = first;
        for _ in 0..n {
            day = near(day.checked_add_unsigned(from.count()?)?)?;
            self.texts.push(Texts { day, n: from.count()?, score: from.int()? });
        }
        let n: usize = from.count()?;
        let mut at = start_of(first, self.offset);
        for _ in 0..n {
            at = at.checked_add_unsigned(from.count()?)?;
            near(at.div_euclid(DAY_MS))?;
            let what = *What::ALL.get(usize::from(from.byte()?))?;
            let mut id = [0; 8];
            id[..6].copy_from_slice(from.bytes(6)?);
            let promised = match what {
                What::Promised => at.checked_add(from.int()?)?,
                _ => 0,
            };
            near(promised.div_euclid(DAY_MS))?;
            self.said.push(Statement { at, promised, what, id: u64::from_le_bytes(id) });
        }
        from.end()
    }

    /// Whether they can be what was kept: in order, each once, no more than are ever kept.
    pub(super) fn is_whole(&self) -> bool {
        let cell = |it: &Cell| (it.day, it.currency);
        let mut about: Vec<_> = self.said.iter().map(|it| (it.what, it.id)).collect();
        about.sort_unstable();
        let apart = about.windows(2).all(|it| it[0] != it[1]);
        let newest = self.said.last().map_or(0, |it| it.at);
        apart
            && self.bought.is_sorted_by(|a, b| cell(a) < cell(b))
            && self.texts.is_sorted_by(|a, b| a.day < b.day)
            && self.said.is_sorted_by(|a, b| a < b)
            && self.said.first().is_none_or(|it| it.at >= newest - SPAN * DAY_MS)
            && (self.is_told_of || self.bought.len() + self.texts.len() + self.said.len() > 0)
            && self.bought.len() <= CELLS_MAX
            && self.texts.len() <= TEXTS_MAX
            && self.said.len() <= STATEMENTS_MAX
    }
}

/// A currency's three letters.
fn letters(it: Currency) -> [u8; 3] {
    it.as_str().as_bytes().try_into().unwrap_or(*b"XXX")
}

/// A day that an event can have: ten thousand years to either side.
fn near(day: i64) -> Option<i64> {
    (day.abs() <= 10_000 * 366).then_some(day)
}

/// What stands at the front of packed facts.
pub(super) struct Head {
    offset: u32,
    first: i64,
    last: i64,
    /// Whether there is something to say.
    pub(super) is_said: bool,
    /// Whether a case was opened.
    pub(super) has_cases: bool,
    /// Whether something was ever said of who they are.
    pub(super) is_told_of: bool,
}

/// The front of what was packed here.
pub(super) fn head(bytes: &[u8]) -> Head {
    let mut from = crate::packed::Reader(bytes);
    let both = from.count();
    let first = from.int();
    let last = first.saturating_add_unsigned(from.count());
    let (is_said, has_cases, is_told_of) = (both & 1 == 1, both & 2 == 2, both & 4 == 4);
    Head { offset: (both >> 3) as u32, first, last, is_said, has_cases, is_told_of }
}

impl Head {
    /// The start of the next day after an instant, from the first day on that something is about
    /// until nothing becomes older: before and after, time changes nothing.
    pub(super) fn next_day(&self, after: Epoch) -> Option<Epoch> {
        if !self.is_said {
            return None;
        }
        let after = i64::try_from(after).ok()?;
        let next = (day_of(after, self.offset) + 1).max(self.first + 1);
        let ends = self.last.saturating_add(AGE_MAX + super::LOOK_BACK + 1);
        let due = u64::try_from(start_of(next, self.offset)).ok();
        due.filter(|_| next <= ends)
    }
}
