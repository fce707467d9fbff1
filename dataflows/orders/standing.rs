//! How an order stands on its way, beyond what its own row says: for the views that speak of that.
//!
//! # Meaning
//! *Progress* is any statement about the order or one of its lines; the newest one counts. An order
//! on its way that makes none for longer than is usual where it stands is *stuck*, from that instant
//! on. A line stands where the newest statement about it, or about the whole order, says.
//!
//! What is usual is said by the model of lanes that was published before the newest statement was
//! made ([`crate::models::silences`]), and by a fixed time for each status ([`usual`]) where there is
//! none, or it knows too few orders. It is asked by the statement's own time, so it never changes
//! with a new model; but for [`SHOWN`] from the statement on only, after which that model may be gone:
//! then the fixed time stands. The order is stuck before and after, for no time learnt is longer, and
//! none that is fixed is half as long.

use compact_str::CompactString;
use schemas::events::Status;

use super::way::{self, Way};
use super::{Facts, NEVER, State};
use crate::models::arrivals::{SHOWN, published};
use crate::models::lanes::STAGES;
use crate::models::silences::{SILENCE_MIN, Stay, went_on};

const DAY: i64 = 86_400_000_000;

/// How long nothing is usually said of an order that stands there, where nothing was learnt,
/// microseconds; `None`: it may stay for ever.
pub(crate) fn usual(status: Status) -> Option<i64> {
    let days = match status {
        Status::Placed | Status::Paid | Status::QualityChecked => 3,
        Status::InProduction => 7,
        Status::Shipped => 14,
        Status::OutForDelivery => 2,
        Status::Delivered | Status::Cancelled | Status::Returned | Status::Problem => return None,
    };
    Some(days * DAY)
}

/// Whether an order that stands there is to go on from there.
pub(crate) fn is_on_its_way(status: Status) -> bool {
    usual(status).is_some()
}

/// What an order is on its way to next.
pub(crate) fn next(status: Status) -> Option<Status> {
    Some(match status {
        Status::Placed => Status::Paid,
        Status::Paid => Status::InProduction,
        Status::InProduction => Status::QualityChecked,
        Status::QualityChecked => Status::Shipped,
        Status::Shipped => Status::OutForDelivery,
        Status::OutForDelivery => Status::Delivered,
        Status::Delivered | Status::Cancelled | Status::Returned | Status::Problem => return None,
    })
}

/// Whether it has left the house.
pub(crate) fn has_left(status: Status) -> bool {
    matches!(status, Status::Shipped | Status::OutForDelivery | Status::Delivered)
}

/// What single statements say of an order.
#[derive(Default)]
pub(crate) struct Said {
    /// When the newest statement about the whole order was made.
    pub(crate) since: Option<i64>,
    /// When it was first said to be shipped.
    pub(crate) shipped_at: Option<i64>,
    /// Where each placed line stands, and since when.
    pub(crate) lines: Vec<Option<(Status, i64)>>,
}

/// By when something more is to be said of an order, or it is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// Until when that is so, where a model says it: then the fixed time stands.
    pub(crate) learnt_until: Option<i64>,
}

impl Due {
    /// Of an order that stands there, of which something was said last at `newest`; at an instant. With
    /// it what is learnt beside how long: that is asked for only as long as it may be said.
    #[inline]
    fn of<T>(
        (status, newest): (Status, i64),
        now: i64,
        learnt: impl FnOnce(Status, i64) -> Option<(i64, T)>,
    ) -> Option<(Due, Option<T>)> {
        let usual = usual(status)?;
        let until = newest.saturating_add(SHOWN);
        let (learnt, by) = match now <= until {
            true => learnt(status, newest).unzip(),
            false => (None, None),
        };
        let at = newest.saturating_add(learnt.unwrap_or(usual));
        Some((Due { at, learnt_until: learnt.map(|_| until) }, by))
    }
}

impl State {
    /// By when something more is to be said of it, as of an instant (microseconds since the Unix
    /// epoch); none if it is not on its way.
    #[inline]
    pub(crate) fn due(&self, tenant: &str, now: i64) -> Option<Due> {
        let places = || self.first_places();
        let due = Due::of(self.on_its_way()?, now, |status, newest| {
            Some((published().patience(tenant, status, newest, places)?, ()))
        });
        due.map(|it| it.0)
    }

    /// The same, and the name of the model that says so, where one does.
    pub(crate) fn due_by(&self, tenant: &str, now: i64) -> Option<(Due, Option<CompactString>)> {
        let places = || self.first_places();
        Due::of(self.on_its_way()?, now, |status, newest| {
            published().patience_by(tenant, status, newest, places)
        })
    }

    /// Where it stands, and when something was said of it last, if it is not settled.
    #[inline]
    fn on_its_way(&self) -> Option<(Status, i64)> {
        let stands = || self.status.zip(self.timeline.newest_at());
        if self.settled_at() == NEVER { stands() } else { None }
    }

    /// Since when it is stuck, if it is, and the model that says so, where one does. Of most orders
    /// something was said a moment ago: they are not, whatever is usual, and no name is made.
    #[inline]
    pub(crate) fn stuck_since(
        &self,
        tenant: &str,
        now: i64,
    ) -> Option<(i64, Option<CompactString>)> {
        let newest = self.timeline.newest_at()?;
        if newest.saturating_add(SILENCE_MIN) >= now {
            return None;
        }
        let (due, by) = self.due_by(tenant, now)?;
        (due.at < now).then_some((due.at, by))
    }

    /// After when nothing is said any more of when it arrives by one of its stages, the first such
    /// instant that is not before `after`, if that is to be asked about before it is stuck, or after;
    /// [`NEVER`] if nothing is said of it. The whole timeline is looked through only where it must be:
    /// the end cannot come before it is stuck if even the oldest statement kept is too young.
    #[inline]
    pub(crate) fn told_until(&self, stuck_at: i64, after: i64) -> i64 {
        if self.settled_at().min(self.returned_at()) != NEVER {
            return NEVER;
        }
        let comes_later = || {
            let oldest = self.timeline.oldest_recent()?;
            (stuck_at != NEVER && oldest.saturating_add(SHOWN) > stuck_at).then_some(())
        };
        if stuck_at > after && comes_later().is_some() {
            return NEVER;
        }
        let ends = self.stages_entered().into_iter().flatten().map(|it| it.saturating_add(SHOWN));
        ends.filter(|it| *it >= after).min().unwrap_or(NEVER)
    }

    /// Promised, delivered, cancelled, returned; [`NEVER`]: not.
    #[inline]
    pub(crate) fn instants_known(&self) -> [i64; 4] {
        [self.promised_at, self.delivered_at, self.cancelled_at(), self.returned_at()]
    }

    /// Whose order, if that is known.
    pub(crate) fn customer(&self) -> Option<&str> {
        let mut rest = self.facts()?.rest;
        let _tie = rest.text();
        Some(rest.text())
    }

    /// How many lines were placed.
    #[inline]
    pub(crate) fn n_lines(&self) -> usize {
        let Some(Facts { mut rest, .. }) = self.facts().filter(|_| self.placed) else { return 0 };
        let (_tie, _customer, _channel) = (rest.text(), rest.text(), rest.maybe());
        rest.count() as usize
    }

    /// Where its first line leaves from, and where it goes, as far as was said.
    pub(crate) fn first_places(&self) -> [Option<&str>; 2] {
        let [from, to, _] = self.first_way();
        [from, to]
    }

    /// The same, and who sells it; who carries it, where no seller is known.
    pub(crate) fn first_way(&self) -> [Option<&str>; 3] {
        let placed = self.facts().filter(|_| self.placed);
        let Some(Facts { mut rest, .. }) = placed else { return [None; 3] };
        let (_tie, _customer, _channel) = (rest.text(), rest.text(), rest.maybe());
        if rest.count() == 0 {
            return [None; 3];
        }
        let (_sku, _quantity, _price) = (rest.text(), rest.int(), rest.int());
        let [from, to, carrier, seller] = way::read(&mut rest, Way::default());
        [from, to, seller.or(carrier)]
    }

    /// When it was first said to stand at each of [`STAGES`], as a whole.
    pub(crate) fn stages_entered(&self) -> [Option<i64>; STAGES.len()] {
        let mut first = [None; STAGES.len()];
        for it in self.timeline.entries().filter(|it| it.line == 0) {
            if let Some(stage) = STAGES.iter().position(|stage| *stage == it.status) {
                first[stage] = first[stage].or(Some(it.at));
            }
        }
        first
    }

    /// Where it stood and went on from, each with its longest silence; none where all that was said is
    /// older than whatever says what is usual.
    pub(crate) fn stays(&self) -> Vec<Stay> {
        if self.timeline.newest_at().is_none_or(|at| !published().is_patient_by(at)) {
            return vec![];
        }
        went_on(self.timeline.entries().map(|it| (it.at, it.status, it.line > 0)))
    }

    /// When it was placed.
    pub(crate) fn placed_at(&self) -> Option<i64> {
        self.facts().filter(|_| self.placed).map(|it| it.at)
    }

    /// Whether it, or a line of it, was ever said to be a problem.
    pub(crate) fn was_a_problem(&self) -> bool {
        self.timeline.entries().any(|it| it.status == Status::Problem)
    }

    /// What single statements say.
    pub(crate) fn said_of(&self) -> Said {
        let mut said = Said { lines: vec![None; self.n_lines()], ..Said::default() };
        for it in self.timeline.entries() {
            let stands = Some((it.status, it.at));
            if it.line > 0 {
                if let Some(line) = said.lines.get_mut(usize::from(it.line) - 1) {
                    *line = stands;
                }
                continue;
            }
            said.since = Some(it.at);
            said.lines.iter_mut().for_each(|line| *line = stands);
            if it.status == Status::Shipped {
                said.shipped_at = said.shipped_at.or(Some(it.at));
            }
        }
        said
    }
}
