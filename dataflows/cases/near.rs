//! What of a case lies one step away: fields made one by one, without the row.

use compact_str::CompactString;
use schemas::names::Name;
use schemas::rows::Value;

use super::Case;
use crate::Epoch;
use crate::stamps::Stamp;

/// The fields that [`near`] makes: case to resolved_at.
pub(super) const NEAR: u64 = 0b1_1111_1111;

/// One field of the row of a state, if it is among [`NEAR`].
pub(super) fn near(name: &Name, state: &Case, now: Epoch, field: usize) -> Option<Value> {
    let text = |it: Option<&str>| it.map_or(Value::Null, |it| Value::Text(it.into()));
    let time = |it: Option<&Stamp>| it.map_or(Value::Null, |it| Value::Time(it.at));
    Some(match field {
        0 => Value::Text(crate::key_id(name)),
        1 => Value::Text(state.status(now).into()),
        2 => state.opened.as_ref().map_or(Value::Null, |it| Value::Int(it.severity.into())),
        3 => text(state.queue()),
        4 => text(state.assigned.as_deref().map(|it| it.agent.as_str())),
        5 => text(state.customer()),
        6 => time(state.opened.as_deref().map(|it| &it.stamp)),
        7 => time(state.assigned.as_deref().map(|it| &it.stamp)),
        8 => time(state.resolved.as_deref().map(|it| &it.stamp)),
        _ => return None,
    })
}

impl Case {
    /// What was said last and still holds.
    pub(crate) fn status(&self, now: Epoch) -> &'static str {
        let until = self.assigned.as_deref().and_then(|it| it.until);
        let is_over = until.is_some_and(|it| it <= now as i64 * 1_000);
        let said = [
            (self.opened.as_deref().map(|it| &it.stamp), "open"),
            (
                self.assigned.as_deref().map(|it| &it.stamp),
                if is_over { "open" } else { "assigned" },
            ),
            (self.resolved.as_deref().map(|it| &it.stamp), "resolved"),
        ];
        said.into_iter().max_by_key(|it| it.0).map_or("open", |it| it.1)
    }

    /// Of the newest statement that names one.
    pub(crate) fn queue(&self) -> Option<&str> {
        let opened = self.opened.as_deref();
        let queued = self.queued.as_deref();
        match queued.filter(|q| opened.is_none_or(|o| o.stamp < q.stamp)) {
            Some(it) => it.queue.as_deref(),
            None => opened.map(|it| it.queue.as_str()),
        }
    }

    /// Of the newest opening; before one, of the newest statement that names one.
    pub(crate) fn customer(&self) -> Option<&str> {
        match self.opened.as_deref() {
            Some(it) => Some(it.customer.as_str()),
            None => self.named.as_deref().map(|it| it.customer.as_str()),
        }
    }
}

/// What of a case the queues are made from.
pub(crate) struct Asked<'c> {
    pub(crate) customer: &'c str,
    pub(crate) queue: &'c str,
    pub(crate) status: &'static str,
    pub(crate) severity: u8,
    pub(crate) skills: &'c [CompactString],
    pub(crate) agent: Option<&'c str>,
    /// Microseconds since the Unix epoch, as the next.
    pub(crate) opened_at: i64,
    pub(crate) assigned_at: Option<i64>,
    pub(crate) resolved_at: Option<i64>,
}

impl Case {
    /// The case as the queues see it; `None`: its opening is not known.
    pub(crate) fn asked(&self, now: Epoch) -> Option<Asked<'_>> {
        let opened = self.opened.as_deref()?;
        let assigned = self.assigned.as_deref();
        Some(Asked {
            customer: &opened.customer,
            queue: self.queue()?,
            status: self.status(now),
            severity: opened.severity,
            skills: &opened.skills,
            agent: assigned.map(|it| it.agent.as_str()),
            opened_at: opened.stamp.at,
            assigned_at: assigned.map(|it| it.stamp.at),
            resolved_at: self.resolved.as_deref().map(|it| it.stamp.at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_what_is_made() {
        let made = |it: &usize| near(&Name::new("t", "k"), &Case::default(), 0, *it).is_some();
        let bits = (0..64).filter(made).fold(0, |bits, it| bits | 1_u64 << it);
        assert_eq!(bits, NEAR);
    }
}
