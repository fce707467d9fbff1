//! What the desk decided, by the key of the request that it was asked with.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! The desk's decisions are events of its own source ([`schemas::events::DESK`]); the event's id is
//! the request's `Idempotency-Key`. So the row under a key says what was answered to it, also after
//! a restart, and a request made again is given the same answer. A decision is an assignment (a
//! case was claimed until then), an assignment that ends when it begins (it was given back) or a
//! resolution (it was completed). Of two events with one key the older by event time stands.
//!
//! # State
//! One decision per key, for ever: as cases, they are what was done. 8 bytes in place and 128 behind
//! an `Arc`; what is longer than 24 bytes of case, agent and queue beside.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{DESK, Data, Event};
use schemas::names::{Fingerprint, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::stamps::text_bytes;
use crate::{Epoch, Fold, Keep};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "claims",
    words: "What the desk decided, by the key of the request that it was asked with.",
    shape: Shape::Fold,
    key: &["claim"],
    fields: &[
        FieldDef::new("claim", FieldKind::Text, false, false, "The request's Idempotency-Key."),
        FieldDef::new("did", FieldKind::Text, false, true, "claimed, released or completed."),
        FieldDef::new("case", FieldKind::Text, false, true, "The case."),
        FieldDef::new("agent", FieldKind::Text, true, true, "Who asked; of a completion, null."),
        FieldDef::new("queue", FieldKind::Text, true, true, "Which queue; of a completion, null."),
        FieldDef::new("at", FieldKind::Time, false, false, "When it was decided."),
        FieldDef::new(
            "until",
            FieldKind::Time,
            true,
            false,
            "When the lease ends; of a release, when it was given back; of a completion, null.",
        ),
    ],
};

/// The fold.
pub struct Claims;

/// What was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update(Arc<Decided>);

/// A decision. Ordered by event time first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Decided {
    /// Microseconds since the Unix epoch.
    at: i64,
    case: CompactString,
    agent: Option<CompactString>,
    queue: Option<CompactString>,
    until: Option<i64>,
    /// Whose case it is.
    owner: Fingerprint,
}

/// What is known under a key.
#[derive(Clone, Debug, Default)]
pub struct State {
    decided: Option<Arc<Decided>>,
}

const _: () = assert!(size_of::<State>() <= 8 && 16 + size_of::<Decided>() <= 128); // the doc's

impl State {
    /// The queue from which a case was handed out, and when; nothing for other decisions.
    pub(crate) fn picked(&self) -> Option<(&str, i64)> {
        let it = self.decided.as_deref()?;
        (it.did() == "claimed").then_some((it.queue.as_deref()?, it.at))
    }
}

impl Decided {
    fn did(&self) -> &'static str {
        match (&self.agent, self.until) {
            (None, _) => "completed",
            (Some(_), Some(until)) if until <= self.at => "released",
            _ => "claimed",
        }
    }

    fn row(&self, claim: CompactString) -> Row {
        let text = |it: &Option<CompactString>| it.clone().map_or(Value::Null, Value::Text);
        Row {
            values: vec![
                Value::Text(claim),
                Value::Text(self.did().into()),
                Value::Text(self.case.clone()),
                text(&self.agent),
                text(&self.queue),
                Value::Time(self.at),
                self.until.map_or(Value::Null, Value::Time),
            ],
        }
    }
}

impl Update {
    /// What an event of the desk says, and under which key; `owner`: the fingerprint of the
    /// customer it names.
    #[inline]
    pub(crate) fn of<'e>(event: &'e Event<'_>, owner: Fingerprint) -> Option<(&'e str, Update)> {
        if event.source != DESK {
            return None;
        }
        let text = |it: &str| CompactString::from(it);
        let decided = match &event.data {
            Data::CaseAssigned(it) => Decided {
                at: event.time,
                case: text(&it.case),
                agent: Some(text(&it.agent)),
                queue: it.queue.as_deref().map(text),
                until: it.until,
                owner,
            },
            Data::CaseResolved(it) => Decided {
                at: event.time,
                case: text(&it.case),
                agent: None,
                queue: None,
                until: None,
                owner,
            },
            _ => return None,
        };
        Some((&event.id, Update(Arc::new(decided))))
    }
}

impl Fold for Claims {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, Update(it): &Update) {
        if state.decided.as_ref().is_none_or(|stands| it < stands) {
            state.decided = Some(it.clone());
        }
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        Some(state.decided.as_ref()?.row(crate::key_id(name)))
    }

    fn exists(state: &State) -> bool {
        state.decided.is_some()
    }

    const OWNED: bool = true;

    fn owner(state: &State) -> Option<Fingerprint> {
        state.decided.as_ref().map(|it| it.owner).filter(|it| *it != 0)
    }

    fn heap_bytes(state: &State) -> usize {
        state.decided.as_ref().map_or(0, |it| {
            let text = |it: &Option<CompactString>| it.as_ref().map_or(0, text_bytes);
            16 + size_of::<Decided>() + text_bytes(&it.case) + text(&it.agent) + text(&it.queue)
        })
    }
}

impl Keep for Claims {
    const LAYOUT: &'static str =
        layout!("claims 1: whether decided, at, case, agent, queue, whether until, until, owner");

    fn store(state: &State, into: &mut Vec<u8>) {
        let mut writer = Writer(into);
        writer.count(u64::from(state.decided.is_some()));
        let Some(it) = &state.decided else { return };
        writer.int(it.at);
        writer.text(&it.case);
        writer.maybe(it.agent.as_deref());
        writer.maybe(it.queue.as_deref());
        writer.count(u64::from(it.until.is_some()));
        if let Some(until) = it.until {
            writer.int(until);
        }
        writer.id(it.owner);
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        match from.count::<u64>()? {
            0 => return from.end().map(|()| State::default()),
            1 => {}
            _ => return None,
        }
        let decided = Decided {
            at: from.int()?,
            case: from.text()?.into(),
            agent: from.maybe()?.map(CompactString::from),
            queue: from.maybe()?.map(CompactString::from),
            until: match from.count::<u64>()? {
                0 => None,
                1 => Some(from.int()?),
                _ => return None,
            },
            owner: from.id()?,
        };
        from.end()?;
        Some(State { decided: Some(Arc::new(decided)) })
    }
}

/// The view, plainly: the desk's events by id, the first of each.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut rows = BTreeMap::new();
    let gone = crate::erased::Plain::of(events);
    for event in events.iter().filter(|it| it.source == DESK && !gone.names(it)) {
        let text = |it: &str| Value::Text(it.into());
        let (did, case, agent, queue, until) = match &event.data {
            Data::CaseAssigned(it) => {
                let is_over = it.until.is_some_and(|it| it <= event.time);
                let did = if is_over { "released" } else { "claimed" };
                (did, &it.case, Some(&it.agent), it.queue.as_deref(), it.until)
            }
            Data::CaseResolved(it) => ("completed", &it.case, None, None, None),
            _ => continue,
        };
        let values = vec![
            text(&event.id),
            text(did),
            text(case),
            agent.map_or(Value::Null, |it| text(it)),
            queue.map_or(Value::Null, text),
            Value::Time(event.time),
            until.map_or(Value::Null, Value::Time),
        ];
        rows.insert(Name::new(&event.tenant, &key_text(&[&event.id])), Row { values });
    }
    rows
}
