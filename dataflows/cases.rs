//! Where each case stands, who works on it, and what it is about.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! Of each kind of statement (opened, assigned, resolved) the newest by (event time, id, source)
//! stands, and the newest of them all is the status. The queue is what the newest statement that
//! names one says. The customer, text, severity and skills are the newest opening's; a case that
//! was only assigned or resolved has the customer that the newest such statement names.
//!
//! An assignment may say until when it holds. From that instant on (a timer fires on it) the case
//! is open again, in its old place, unless something newer was said.
//!
//! # State
//! Of a case of which any statement names a customer who was erased nothing is left but that it is
//! gone. Else at most five statements, shared with the older versions of the entry that readers may
//! hold: 56 bytes in place; behind an `Arc` each 160 for an opening, 120 for an assignment, 80 for a
//! resolution, 96 for whom the last two name; of texts what is longer than 24 bytes beside, and 24
//! for a skill. Grows with the cases.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{Data, Event};
use schemas::names::{Fingerprint, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::erased::{About, Gone, Plain};
use crate::owners::Others;
use crate::stamps::{Stamp, text_bytes};
use crate::{Epoch, Fold, near_or_row};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "cases",
    words: "Where each case stands, who works on it, and what it is about.",
    shape: Shape::Fold,
    key: &["case"],
    fields: &[
        FieldDef::new("case", FieldKind::Text, false, false, "The case."),
        FieldDef::new(
            "status",
            FieldKind::Text,
            false,
            true,
            "open, assigned or resolved: what was said last, by event time.",
        ),
        FieldDef::new("severity", FieldKind::Int, true, true, "1 (most severe) to 4."),
        FieldDef::new("queue", FieldKind::Text, true, true, "Where it waits."),
        FieldDef::new("agent", FieldKind::Text, true, true, "Who it was assigned to last."),
        FieldDef::new("customer", FieldKind::Text, true, true, "Whose case."),
        FieldDef::new(
            "opened_at",
            FieldKind::Time,
            true,
            false,
            "When it was opened (last, if it was opened again).",
        ),
        FieldDef::new("assigned_at", FieldKind::Time, true, false, "When it was assigned last."),
        FieldDef::new(
            "resolved_at",
            FieldKind::Time,
            true,
            false,
            "When it was resolved last; a case opened again since then keeps it.",
        ),
        FieldDef::new(
            "text",
            FieldKind::Text,
            true,
            false,
            "What it is about, in the customer's words.",
        ),
        FieldDef::new(
            "skills",
            FieldKind::Json,
            false,
            false,
            "What it takes to solve it: a list of names.",
        ),
        FieldDef::new(
            "resolution",
            FieldKind::Text,
            true,
            false,
            "How it was resolved last, in words.",
        ),
        FieldDef::new(
            "until",
            FieldKind::Time,
            true,
            false,
            "When the last assignment ends or ended: from then on the case is open again, unless \
             it was resolved; null: it does not end by itself.",
        ),
    ],
};

mod near;
mod stored;

/// The fold.
pub struct Cases;

/// What an event says to a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Update {
    /// `case.opened`
    Opened(Arc<Opened>),
    /// `case.assigned`
    Assigned(Arc<Assigned>),
    /// `case.resolved`
    Resolved(Arc<Resolved>),
}

/// A case was opened.
#[derive(Debug, Serialize, Deserialize)]
pub struct Opened {
    stamp: Stamp,
    owner: Fingerprint,
    customer: CompactString,
    queue: CompactString,
    text: Option<CompactString>,
    skills: Box<[CompactString]>,
    severity: u8,
}

/// A case was assigned.
#[derive(Debug, Serialize, Deserialize)]
pub struct Assigned {
    stamp: Stamp,
    agent: CompactString,
    queue: Option<CompactString>,
    /// From then on it holds no more, microseconds since the Unix epoch.
    until: Option<i64>,
    named: Option<Arc<Named>>,
}

/// A case was resolved.
#[derive(Debug, Serialize, Deserialize)]
pub struct Resolved {
    stamp: Stamp,
    resolution: Option<CompactString>,
    named: Option<Arc<Named>>,
}

/// Whose case it is, as said by an assignment or a resolution.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    stamp: Stamp,
    owner: Fingerprint,
    customer: CompactString,
}

/// What is known of a case.
#[derive(Clone, Debug, Default)]
pub struct Case {
    opened: Option<Arc<Opened>>,
    assigned: Option<Arc<Assigned>>,
    resolved: Option<Arc<Resolved>>,
    /// The newest assignment that names a queue.
    queued: Option<Arc<Assigned>>,
    /// The newest customer that an assignment or a resolution names.
    named: Option<Arc<Named>>,
    /// Customers who were named, beside those two who stand.
    others: Others,
}

/// The figures of the module's doc.
const _: () = {
    assert!(size_of::<Case>() <= 56 && 16 + size_of::<Opened>() <= 160);
    assert!(16 + size_of::<Assigned>() <= 120 && 16 + size_of::<Resolved>() <= 80);
    assert!(16 + size_of::<Named>() <= 96);
};

impl Update {
    /// What an event of a case says, and to which; `owner`: the fingerprint of its customer.
    pub(crate) fn of<'e>(event: &'e Event<'_>, owner: Fingerprint) -> Option<(&'e str, Update)> {
        let stamp = || Stamp::of(event);
        let text = |it: &Option<std::borrow::Cow<'_, str>>| it.as_deref().map(CompactString::from);
        let named = |it: &Option<std::borrow::Cow<'_, str>>| {
            text(it).map(|customer| Arc::new(Named { stamp: stamp(), owner, customer }))
        };
        match &event.data {
            Data::CaseOpened(it) => {
                let opened = Opened {
                    stamp: stamp(),
                    owner,
                    customer: it.customer.as_ref().into(),
                    queue: it.queue.as_ref().into(),
                    text: text(&it.text),
                    skills: it.skills.iter().map(|it| it.as_ref().into()).collect(),
                    severity: it.severity,
                };
                Some((&it.case, Update::Opened(Arc::new(opened))))
            }
            Data::CaseAssigned(it) => {
                let assigned = Assigned {
                    stamp: stamp(),
                    agent: it.agent.as_ref().into(),
                    queue: text(&it.queue),
                    until: it.until,
                    named: named(&it.customer),
                };
                Some((&it.case, Update::Assigned(Arc::new(assigned))))
            }
            Data::CaseResolved(it) => {
                let resolution = text(&it.resolution);
                let named = named(&it.customer);
                let resolved = Resolved { stamp: stamp(), resolution, named };
                Some((&it.case, Update::Resolved(Arc::new(resolved))))
            }
            _ => None,
        }
    }
}

/// Puts the statement in, if it is newer than the one that stands; gives the one that does not
/// stand, if there are two.
fn newest<T>(
    stands: &mut Option<Arc<T>>,
    said: &Arc<T>,
    stamp: impl Fn(&T) -> &Stamp,
) -> Option<Arc<T>> {
    match stands {
        Some(it) if stamp(it) >= stamp(said) => Some(said.clone()),
        _ => stands.replace(said.clone()),
    }
}

impl Fold for Cases {
    type Update = Update;
    type State = Case;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut Case, update: &Update) {
        let named = match update {
            Update::Opened(it) => {
                if let Some(other) = newest(&mut state.opened, it, |it| &it.stamp)
                    && state.opened.as_ref().is_some_and(|it| it.owner != other.owner)
                {
                    state.others.add(other.owner);
                }
                None
            }
            Update::Assigned(it) => {
                drop(newest(&mut state.assigned, it, |it| &it.stamp));
                if it.queue.is_some() {
                    drop(newest(&mut state.queued, it, |it| &it.stamp));
                }
                it.named.as_ref()
            }
            Update::Resolved(it) => {
                drop(newest(&mut state.resolved, it, |it| &it.stamp));
                it.named.as_ref()
            }
        };
        if let Some(it) = named
            && let Some(other) = newest(&mut state.named, it, |it| &it.stamp)
            && state.named.as_ref().is_some_and(|it| it.owner != other.owner)
        {
            state.others.add(other.owner);
        }
    }

    #[inline]
    fn exists(state: &Case) -> bool {
        !state.others.is_gone()
    }

    const OWNED: bool = true;

    fn settle(_: Fingerprint, _: &Name, state: &Case, gone: &Gone) -> Option<Case> {
        let opened = state.opened.iter().map(|it| it.owner);
        let named = state.named.iter().map(|it| it.owner);
        let mut all = opened.chain(named).chain(state.others.each());
        all.any(|it| gone.has(it)).then(|| Case { others: Others::gone(), ..Case::default() })
    }

    #[inline]
    fn is_gone(state: &Case) -> bool {
        state.others.is_gone()
    }

    fn row(name: &Name, state: &Case, now: Epoch) -> Option<Row> {
        if state.others.is_gone() {
            return None;
        }
        let Case { opened, assigned, resolved, .. } = state;
        let (opened, assigned, resolved) =
            (opened.as_deref(), assigned.as_deref(), resolved.as_deref());
        let facts = Facts {
            case: crate::key_id(name),
            status: state.status(now),
            severity: opened.map(|it| it.severity),
            queue: state.queue(),
            agent: assigned.map(|it| it.agent.as_str()),
            customer: state.customer(),
            opened_at: opened.map(|it| it.stamp.at),
            assigned_at: assigned.map(|it| it.stamp.at),
            resolved_at: resolved.map(|it| it.stamp.at),
            text: opened.and_then(|it| it.text.as_deref()),
            skills: opened.map_or(vec![], |it| it.skills.iter().map(|it| it.to_string()).collect()),
            resolution: resolved.and_then(|it| it.resolution.as_deref()),
            until: assigned.and_then(|it| it.until),
        };
        Some(facts.row())
    }

    const NEAR: u64 = near::NEAR;

    fn fields(name: &Name, state: &Case, now: Epoch, fields: &[usize], into: &mut Vec<Value>) {
        near_or_row::<Cases>((name, state, now), fields, near::near, into);
    }

    /// A case is open again at the first millisecond that is not before the end of its assignment.
    fn next_due(state: &Case, after: Epoch) -> Option<Epoch> {
        let assigned = state.assigned.as_deref()?;
        let later = |it: Option<&Stamp>| it.is_some_and(|it| *it > assigned.stamp);
        let opened = state.opened.as_deref().map(|it| &it.stamp);
        let resolved = state.resolved.as_deref().map(|it| &it.stamp);
        if later(opened) || later(resolved) {
            return None;
        }
        let due = assigned.until?.div_euclid(1_000) + i64::from(assigned.until? % 1_000 != 0);
        u64::try_from(due).ok().filter(|it| *it > after)
    }

    fn owner(state: &Case) -> Option<Fingerprint> {
        match (&state.opened, &state.named) {
            (Some(it), _) => Some(it.owner),
            (None, named) => named.as_ref().map(|it| it.owner),
        }
    }

    fn heap_bytes(state: &Case) -> usize {
        // Each is counted whole; an assignment that is both newest and queueing counts twice.
        let opened = state.opened.as_ref().map_or(0, |it| {
            let inside = it.stamp.heap_bytes() + text_bytes(&it.customer) + text_bytes(&it.queue);
            let skills = it.skills.iter().map(|it| 24 + text_bytes(it)).sum::<usize>();
            16 + size_of::<Opened>() + inside + skills + it.text.as_ref().map_or(0, text_bytes)
        });
        let assigned = |it: &Option<Arc<Assigned>>| {
            it.as_ref().map_or(0, |it| {
                16 + size_of::<Assigned>() + it.stamp.heap_bytes() + text_bytes(&it.agent)
            })
        };
        let resolved = state.resolved.as_ref().map_or(0, |it| {
            let inside = it.stamp.heap_bytes() + it.resolution.as_ref().map_or(0, text_bytes);
            16 + size_of::<Resolved>() + inside
        });
        let named = state.named.as_ref().map_or(0, |it| {
            16 + size_of::<Named>() + it.stamp.heap_bytes() + text_bytes(&it.customer)
        });
        let others = state.others.heap_bytes();
        others + opened + assigned(&state.assigned) + assigned(&state.queued) + resolved + named
    }
}

/// What a row says.
struct Facts<'f> {
    case: CompactString,
    status: &'static str,
    severity: Option<u8>,
    queue: Option<&'f str>,
    agent: Option<&'f str>,
    customer: Option<&'f str>,
    opened_at: Option<i64>,
    assigned_at: Option<i64>,
    resolved_at: Option<i64>,
    text: Option<&'f str>,
    skills: Vec<String>,
    resolution: Option<&'f str>,
    until: Option<i64>,
}

impl Facts<'_> {
    fn row(self) -> Row {
        let text = |it: Option<&str>| it.map_or(Value::Null, |it| Value::Text(it.into()));
        let time = |it: Option<i64>| it.map_or(Value::Null, Value::Time);
        Row {
            values: vec![
                Value::Text(self.case),
                Value::Text(self.status.into()),
                self.severity.map_or(Value::Null, |it| Value::Int(it.into())),
                text(self.queue),
                text(self.agent),
                text(self.customer),
                time(self.opened_at),
                time(self.assigned_at),
                time(self.resolved_at),
                text(self.text),
                Value::Json(self.skills.into_iter().map(Json::String).collect()),
                text(self.resolution),
                time(self.until),
            ],
        }
    }
}

/// The view, plainly: per case its statements, newest last.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let mut cases: BTreeMap<(&str, &str), Vec<&Event<'static>>> = BTreeMap::new();
    for event in events {
        let case = match &event.data {
            Data::CaseOpened(it) => &it.case,
            Data::CaseAssigned(it) => &it.case,
            Data::CaseResolved(it) => &it.case,
            _ => continue,
        };
        cases.entry((&event.tenant, case)).or_default().push(event);
    }
    let gone = Plain::of(events);
    cases.retain(|(tenant, case), _| !gone.has_thing(tenant, About::Case(case)));
    let mut rows = BTreeMap::new();
    for ((tenant, case), mut said) in cases {
        said.sort_by_key(|it| (it.time, &it.id, &it.source));
        let mut facts = Facts {
            case: case.into(),
            status: "",
            severity: None,
            queue: None,
            agent: None,
            customer: None,
            opened_at: None,
            assigned_at: None,
            resolved_at: None,
            text: None,
            skills: vec![],
            resolution: None,
            until: None,
        };
        for event in said {
            match &event.data {
                Data::CaseOpened(it) => {
                    facts.status = "open";
                    facts.severity = Some(it.severity);
                    facts.queue = Some(&it.queue);
                    facts.customer = Some(&it.customer);
                    facts.opened_at = Some(event.time);
                    facts.text = it.text.as_deref();
                    facts.skills = it.skills.iter().map(|it| it.to_string()).collect();
                }
                Data::CaseAssigned(it) => {
                    let is_over = it.until.is_some_and(|it| it <= now as i64 * 1_000);
                    facts.status = if is_over { "open" } else { "assigned" };
                    facts.until = it.until;
                    facts.agent = Some(&it.agent);
                    facts.queue = it.queue.as_deref().or(facts.queue);
                    facts.assigned_at = Some(event.time);
                }
                Data::CaseResolved(it) => {
                    facts.status = "resolved";
                    facts.resolved_at = Some(event.time);
                    facts.resolution = it.resolution.as_deref();
                }
                _ => {}
            }
            let named = match &event.data {
                Data::CaseAssigned(it) => it.customer.as_deref(),
                Data::CaseResolved(it) => it.customer.as_deref(),
                _ => None,
            };
            if facts.opened_at.is_none() {
                facts.customer = named.or(facts.customer);
            }
        }
        rows.insert(Name::new(tenant, &key_text(&[case])), facts.row());
    }
    rows
}
