//! What of a case lies one step away: fields made one by one, without the row.

use schemas::names::Name;
use schemas::rows::Value;

use super::Case;
use crate::Epoch;
use crate::stamps::Stamp;

/// The fields that [`near`] makes: case to resolved_at.
pub(super) const NEAR: u64 = 0b1_1111_1111;

/// One field of the row of a state, if it is among [`NEAR`].
pub(super) fn near(name: &Name, state: &Case, _now: Epoch, field: usize) -> Option<Value> {
    let text = |it: Option<&str>| it.map_or(Value::Null, |it| Value::Text(it.into()));
    let time = |it: Option<&Stamp>| it.map_or(Value::Null, |it| Value::Time(it.at));
    Some(match field {
        0 => Value::Text(crate::key_id(name)),
        1 => Value::Text(state.status().into()),
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
    /// What was said last.
    pub(super) fn status(&self) -> &'static str {
        let said = [
            (self.opened.as_deref().map(|it| &it.stamp), "open"),
            (self.assigned.as_deref().map(|it| &it.stamp), "assigned"),
            (self.resolved.as_deref().map(|it| &it.stamp), "resolved"),
        ];
        said.into_iter().max_by_key(|it| it.0).map_or("open", |it| it.1)
    }

    /// Of the newest statement that names one.
    pub(super) fn queue(&self) -> Option<&str> {
        let opened = self.opened.as_deref();
        let queued = self.queued.as_deref();
        match queued.filter(|q| opened.is_none_or(|o| o.stamp < q.stamp)) {
            Some(it) => it.queue.as_deref(),
            None => opened.map(|it| it.queue.as_str()),
        }
    }

    /// Of the newest opening; before one, of the newest statement that names one.
    pub(super) fn customer(&self) -> Option<&str> {
        match self.opened.as_deref() {
            Some(it) => Some(it.customer.as_str()),
            None => self.named.as_deref().map(|it| it.customer.as_str()),
        }
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
