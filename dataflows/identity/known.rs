//! What was said of who one customer is.
//!
//! # Meaning
//! Per (kind, normalised value) the newest [`MAX_EVIDENCE`] statements by their stamps: the newest
//! says whether the customer carries it. Per other customer the newest statement by hand.
//!
//! # Invariants
//! What is kept does not depend on the order of arrival: of the kinds, of the values of one kind and
//! of the other customers the first ones by text ([`MAX_KINDS`], [`MAX_VALUES`], [`MAX_BY_HAND`]).
//! A name that was left out never comes back, for those before it only become more.

use compact_str::CompactString;
use schemas::events::{ByHand, Event, Identified};
use serde::{Deserialize, Serialize};

use super::normalised;
use crate::erased::Gone;
use crate::insert_tight;
use crate::packed::{Checked, Writer};
use crate::stamps::{Stamp, text_bytes};

/// Most kinds of identifiers kept of one customer.
pub const MAX_KINDS: usize = 16;
/// Most values of one kind kept of one customer, withdrawn ones included.
pub const MAX_VALUES: usize = 32;
/// Most statements kept of one identifier of one customer: evidence, newest first.
pub const MAX_EVIDENCE: usize = 4;
/// Most other customers, of one, of whom is kept what was said by hand.
pub const MAX_BY_HAND: usize = 256;

/// What an event says of who a customer is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// Of an identifier.
    Mark { kind: CompactString, value: CompactString, statement: Statement },
    /// Of another customer.
    ByHand { other: CompactString, pair: Pair },
}

impl Said {
    /// That they carry an identifier, or no longer.
    pub(crate) fn mark(event: &Event<'_>, it: &Identified<'_>, is_carried: bool) -> Said {
        let value = normalised(&it.kind, &it.value, it.country.as_deref());
        let raw = (value != *it.value).then(|| CompactString::from(&*it.value));
        let statement = Statement { stamp: Stamp::of(event), raw, is_carried };
        Said::Mark { kind: (&*it.kind).into(), value, statement }
    }

    /// That they are one with another, or are not. `other`: as seen from this customer.
    pub(crate) fn by_hand(event: &Event<'_>, it: &ByHand<'_>, other: &str, is_one: bool) -> Said {
        let agent = it.agent.as_deref().map(CompactString::from);
        Said::ByHand { other: other.into(), pair: Pair { stamp: Stamp::of(event), is_one, agent } }
    }
}

/// A statement about an identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Statement {
    pub(crate) stamp: Stamp,
    /// As it was given, where that differs from the value.
    pub(crate) raw: Option<CompactString>,
    pub(crate) is_carried: bool,
}

/// What was said by hand of a pair of customers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) stamp: Stamp,
    pub(crate) is_one: bool,
    pub(crate) agent: Option<CompactString>,
}

/// What was said of one identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Marked {
    pub(crate) kind: CompactString,
    pub(crate) value: CompactString,
    /// Newest first, at least one.
    said: Vec<Statement>,
}

impl Marked {
    /// The statements that say so since it was withdrawn last, newest first; none: it is not carried.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = &Statement> {
        self.said.iter().take_while(|it| it.is_carried)
    }
}

/// What was said of one customer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Known {
    /// In the order of kind and value.
    marks: Vec<Marked>,
    /// In the order of the others' ids.
    by_hand: Vec<(CompactString, Pair)>,
}

impl Known {
    pub(crate) fn take(&mut self, said: &Said) {
        match said {
            Said::Mark { kind, value, statement } => self.mark(kind, value, statement),
            Said::ByHand { other, pair } => {
                match self.by_hand.binary_search_by(|it| it.0.cmp(other)) {
                    Ok(at) if self.by_hand[at].1.stamp < pair.stamp => {
                        self.by_hand[at].1 = pair.clone();
                    }
                    Ok(_) => {}
                    Err(at) => {
                        insert_tight(&mut self.by_hand, at, (other.clone(), pair.clone()));
                        self.by_hand.truncate(MAX_BY_HAND);
                    }
                }
            }
        }
    }

    /// What is left without what was said of customers who are erased; none: nothing was.
    pub(crate) fn without(&self, tenant: &str, gone: &Gone) -> Option<Known> {
        let is_gone = |it: &(CompactString, Pair)| gone.has_id(tenant, &it.0);
        if !self.by_hand.iter().any(is_gone) {
            return None;
        }
        let mut left = self.clone();
        left.by_hand.retain(|it| !is_gone(it));
        Some(left)
    }

    /// Whether anything is said.
    pub(crate) fn is_said(&self) -> bool {
        !self.marks.is_empty() || !self.by_hand.is_empty()
    }

    fn mark(&mut self, kind: &CompactString, value: &CompactString, statement: &Statement) {
        match self.marks.binary_search_by(|it| (&it.kind, &it.value).cmp(&(kind, value))) {
            Ok(at) => {
                let said = &mut self.marks[at].said;
                let place = said.partition_point(|it| it.stamp > statement.stamp);
                if said.get(place).is_none_or(|it| it.stamp != statement.stamp) {
                    insert_tight(said, place, statement.clone());
                    said.truncate(MAX_EVIDENCE);
                }
            }
            Err(at) => {
                let said = vec![statement.clone()];
                let marked = Marked { kind: kind.clone(), value: value.clone(), said };
                insert_tight(&mut self.marks, at, marked);
                self.keep_within_limits();
            }
        }
    }

    fn keep_within_limits(&mut self) {
        let (mut n_kinds, mut n_values, mut last) = (0, 0, CompactString::default());
        self.marks.retain(|it| {
            if n_kinds == 0 || it.kind != last {
                (n_kinds, n_values, last) = (n_kinds + 1, 0, it.kind.clone());
            }
            n_values += 1;
            n_kinds <= MAX_KINDS && n_values <= MAX_VALUES
        });
    }

    /// Every identifier of which something was said, in the order of kind and value.
    pub(crate) fn marks(&self) -> &[Marked] {
        &self.marks
    }

    /// Every other customer of whom something was said by hand, in the order of their ids.
    pub(crate) fn by_hand(&self) -> &[(CompactString, Pair)] {
        &self.by_hand
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let maybe = |it: &Option<CompactString>| it.as_ref().map_or(0, text_bytes);
        let statement = |it: &Statement| it.stamp.heap_bytes() + maybe(&it.raw);
        let marked = |it: &Marked| {
            let said = it.said.iter().map(statement).sum::<usize>();
            text_bytes(&it.kind) + text_bytes(&it.value) + said + size_of_val(&it.said[..])
        };
        let pair = |it: &(CompactString, Pair)| {
            text_bytes(&it.0) + it.1.stamp.heap_bytes() + maybe(&it.1.agent)
        };
        16 + size_of::<Known>()
            + size_of_val(&self.marks[..])
            + self.marks.iter().map(marked).sum::<usize>()
            + size_of_val(&self.by_hand[..])
            + self.by_hand.iter().map(pair).sum::<usize>()
    }

    pub(crate) fn store(&self, into: &mut Writer<'_>) {
        into.count(self.marks.len() as u64);
        for it in &self.marks {
            into.text(&it.kind);
            into.text(&it.value);
            into.count(it.said.len() as u64);
            for it in &it.said {
                into.0.push(u8::from(it.is_carried));
                it.stamp.store(into);
                into.maybe(it.raw.as_deref());
            }
        }
        into.count(self.by_hand.len() as u64);
        for (other, it) in &self.by_hand {
            into.text(other);
            into.0.push(u8::from(it.is_one));
            it.stamp.store(into);
            into.maybe(it.agent.as_deref());
        }
    }

    /// What [`Known::store`] wrote; `None` if it cannot have.
    pub(crate) fn restore(from: &mut Checked<'_>) -> Option<Known> {
        let truth = |it: u8| (it <= 1).then_some(it == 1);
        let mut known = Known::default();
        let n = from.count::<usize>().filter(|it| *it <= MAX_KINDS * MAX_VALUES)?;
        for _ in 0..n {
            let (kind, value) = (from.text()?.into(), from.text()?.into());
            let mut said: Vec<Statement> = Vec::new();
            for _ in 0..from.count::<usize>().filter(|it| (1..=MAX_EVIDENCE).contains(it))? {
                let is_carried = truth(from.byte()?)?;
                let stamp = Stamp::restore(from)?;
                if said.last().is_some_and(|it| it.stamp <= stamp) {
                    return None;
                }
                let raw = from.maybe()?.map(CompactString::from);
                said.push(Statement { stamp, raw, is_carried });
            }
            let marked = Marked { kind, value, said };
            let before = known.marks.last().map(|it| (&it.kind, &it.value));
            if before.is_some_and(|it| it >= (&marked.kind, &marked.value)) {
                return None;
            }
            known.marks.push(marked);
        }
        let n_marks = known.marks.len();
        known.keep_within_limits();
        let n = from
            .count::<usize>()
            .filter(|it| *it <= MAX_BY_HAND && known.marks.len() == n_marks)?;
        for _ in 0..n {
            let other = CompactString::from(from.text()?);
            if known.by_hand.last().is_some_and(|it| it.0 >= other) {
                return None;
            }
            let is_one = truth(from.byte()?)?;
            let stamp = Stamp::restore(from)?;
            let agent = from.maybe()?.map(CompactString::from);
            known.by_hand.push((other, Pair { stamp, is_one, agent }));
        }
        Some(known)
    }
}
