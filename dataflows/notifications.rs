//! What rules decided to say, what became of it, and what people said of having read it: every intent
//! with its state.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! An intent (`message.planned`) and the answers to it (`message.answered`) are events of our own
//! source ([`schemas::events::NOTIFY`]); of anybody else's nothing is made. Of two plans of one name
//! the older by event time stands, of two answers the newer. An intent without an answer is
//! `planned`, or `suppressed` where its plan says so; an answer `planned` puts it back.
//!
//! An answer `forgotten` ends its row for good, whatever comes before or after it, by any time: what
//! stays is the name, and what it ended as ([`ENDED`], the answer's reason). Of several the least
//! stands; one that does not say what it ended as is none.
//!
//! Of those who acknowledged it (`message.marked`) the first by event time stands, of those who had it
//! shown later the last; it is `snoozed` up to the instant that was named, which time alone ends.
//!
//! # State
//! One intent per name, as bytes: its text is most of it. 64 bytes in place; behind an `Arc` each its
//! bytes and 16, 72 for an answer, 128 for marks. It lives until it is forgotten; then it is its name
//! and that answer: who decides asks for it ([`Fold::left`]), and decides it never again. A channel
//! that is dead has them wait by the million: those that nobody touches rest, packed
//! (`served/rest.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{Data, ENDED, Event, MARKS, MessagePlanned, NOTIFY, OUTCOMES};
use schemas::names::{Fingerprint, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::erased::{About, Gone, Plain};
use crate::owners::Others;
use crate::packed::{Checked, Reader, Writer};
use crate::served::layout;
use crate::{Epoch, Fold, Keep, OwnerOf};
use FieldKind::{Bool, Int, Text, Time};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "notifications",
    words: "What rules decided to say, and what became of it.",
    shape: Shape::Fold,
    key: &["message"],
    fields: &[
        FieldDef::new("message", Text, false, false, "The intent; a webhook's id."),
        FieldDef::new(
            "state",
            Text,
            false,
            true,
            "planned, delivered, refused, expired or suppressed.",
        ),
        FieldDef::new("rule", Text, false, true, "The rule that speaks."),
        FieldDef::new("version", Text, false, false, "Which wording of the rule."),
        FieldDef::new("view", Text, false, true, "The view whose row changed."),
        FieldDef::new("about", Text, false, true, "Of which row: the text of its key."),
        FieldDef::new("episode", Text, false, false, "Which episode of that row."),
        FieldDef::new("channel", Text, false, true, "Who is told."),
        FieldDef::new("severity", Text, false, true, "info, warning or critical."),
        FieldDef::new("text", Text, false, false, "What is said."),
        FieldDef::new("reason", Text, true, false, "Why it is said."),
        FieldDef::new("corrects", Text, true, true, "The intent that this one corrects."),
        FieldDef::new("customer", Text, true, true, "Whose data it is."),
        FieldDef::new("planned_at", Time, false, false, "When it was decided."),
        FieldDef::new("due_at", Time, true, false, "Not sent before."),
        FieldDef::new("expires_at", Time, true, false, "Not sent from then on."),
        FieldDef::new("answered_at", Time, true, false, "When the newest answer was given."),
        FieldDef::new("answer", Text, true, false, "Why it ended so."),
        FieldDef::new("attempts", Int, true, false, "Attempts up to the newest answer."),
        FieldDef::new(
            "acknowledged_at",
            Time,
            true,
            false,
            "When somebody first said to see to it.",
        ),
        FieldDef::new("acknowledged_by", Text, true, true, "Who that was, if they said so."),
        FieldDef::new("acknowledged", Bool, false, true, "Whether somebody said so."),
        FieldDef::new(
            "snoozed_until",
            Time,
            true,
            false,
            "Not shown before, where someone said so.",
        ),
        FieldDef::new("snoozed", Bool, false, true, "Whether that instant is still to come."),
    ],
};

/// The fold.
pub struct Notifications;

/// What is said of an intent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Update {
    /// That it is one.
    Planned(Plan),
    /// What became of it.
    Answered(Arc<Answer>),
    /// That somebody sees to it.
    Acknowledged(Mark),
    /// That it is to be shown later.
    Snoozed(Mark),
}

/// A plan. Ordered by event time first; the rest is as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Plan {
    at: i64,
    /// [`put`]
    bytes: Arc<[u8]>,
    /// Says the same as the customer among the bytes: it decides nothing.
    owner: Fingerprint,
}

/// An answer. Ordered by event time first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Answer {
    at: i64,
    /// Place in [`OUTCOMES`].
    outcome: u8,
    reason: Option<CompactString>,
    attempts: Option<i64>,
}

/// What somebody said of an intent. Ordered by event time first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    at: i64,
    until: Option<i64>,
    by: Option<CompactString>,
}

/// Most intents have none.
#[derive(Clone, Debug, Default)]
struct Marks {
    /// The first.
    acknowledged: Option<Mark>,
    /// The last.
    snoozed: Option<Mark>,
    /// Customers whom plans name that do not stand.
    others: Others,
}

/// What is known of an intent.
#[derive(Clone, Debug, Default)]
pub struct State {
    planned: Option<Plan>,
    answer: Option<Arc<Answer>>,
    marks: Option<Arc<Marks>>,
}

/// The figures of the module's doc.
const _: () = {
    assert!(size_of::<State>() <= 64 && 16 + size_of::<Answer>() <= 72);
    assert!(16 + size_of::<Marks>() <= 128);
};

const FORGOTTEN: &str = "forgotten";

/// What a message ended as that was forgotten so.
fn ended_as(reason: Option<&str>) -> Option<&'static str> {
    let reason = reason?;
    ENDED.iter().find(|it| **it == reason).copied()
}

impl Answer {
    fn outcome(&self) -> &'static str {
        OUTCOMES[usize::from(self.outcome)]
    }

    fn forgets(&self) -> bool {
        self.outcome() == FORGOTTEN
    }
}

impl State {
    fn is_forgotten(&self) -> bool {
        self.answer.as_ref().is_some_and(|it| it.forgets())
    }

    fn outcome(&self) -> Option<&'static str> {
        Some(self.answer.as_ref()?.outcome())
    }

    fn marks_mut(&mut self) -> &mut Marks {
        Arc::make_mut(self.marks.get_or_insert_default())
    }

    /// Until when it is not to be shown, microseconds.
    fn snoozed_until(&self) -> Option<i64> {
        self.marks.as_ref()?.snoozed.as_ref()?.until
    }
}

impl Update {
    /// What an event says of an intent, and of which. `owner`: the fingerprint of the customer it
    /// names.
    #[inline]
    pub(crate) fn of<'e>(
        event: &'e Event<'_>,
        owner: impl FnOnce(&str) -> Fingerprint,
    ) -> Option<(&'e str, Update)> {
        if event.source != NOTIFY {
            return None;
        }
        match &event.data {
            Data::MessagePlanned(it) => {
                let mut bytes = Vec::with_capacity(64 + it.text.len());
                put(it, &mut bytes);
                let owner = it.customer.as_deref().map_or(0, owner);
                let plan = Plan { at: event.time, owner, bytes: bytes.into() };
                Some((&it.message, Update::Planned(plan)))
            }
            Data::MessageAnswered(it) => {
                let outcome = OUTCOMES.iter().position(|word| *word == it.outcome)?;
                let answer = Answer {
                    at: event.time,
                    outcome: u8::try_from(outcome).ok()?,
                    reason: it.reason.as_deref().map(CompactString::from),
                    attempts: it.attempts,
                };
                if answer.forgets() {
                    ended_as(it.reason.as_deref())?;
                }
                Some((&it.message, Update::Answered(Arc::new(answer))))
            }
            Data::MessageMarked(it) => {
                let by = it.by.as_deref().map(CompactString::from);
                let mark = Mark { at: event.time, until: it.until, by };
                let update = match MARKS.iter().position(|word| *word == it.mark)? {
                    0 => Update::Acknowledged(Mark { until: None, ..mark }),
                    _ => Update::Snoozed(mark),
                };
                Some((&it.message, update))
            }
            _ => None,
        }
    }
}

/// What of a plan is kept: its texts, in the order of the fields, then its times.
fn put(it: &MessagePlanned<'_>, into: &mut Vec<u8>) {
    let mut writer = Writer(into);
    for text in [&it.rule, &it.version, &it.view, &it.about, &it.episode, &it.channel] {
        writer.text(text);
    }
    writer.text(&it.severity);
    writer.text(&it.text);
    for text in [&it.reason, &it.corrects, &it.suppressed, &it.customer] {
        writer.maybe(text.as_deref());
    }
    for time in [it.due, it.expires] {
        writer.count(u64::from(time.is_some()));
        if let Some(time) = time {
            writer.int(time);
        }
    }
}

/// Texts that are always there, and those that may be.
const TEXTS: usize = 8;
const MAYBE: usize = 4;

/// A plan, read back.
struct Planned<'b> {
    texts: [&'b str; TEXTS],
    maybe: [Option<&'b str>; MAYBE],
    times: [Option<i64>; 2],
}

fn planned(bytes: &[u8]) -> Planned<'_> {
    let mut from = Reader(bytes);
    let texts = std::array::from_fn(|_| from.text());
    let maybe = std::array::from_fn(|_| from.maybe());
    let times = std::array::from_fn(|_| (from.count() != 0).then(|| from.int()));
    Planned { texts, maybe, times }
}

/// Whether some bytes are a plan.
fn is_plan(bytes: &[u8]) -> Option<()> {
    let mut from = Checked(bytes);
    for _ in 0..TEXTS {
        from.text()?;
    }
    for _ in 0..MAYBE {
        from.maybe()?;
    }
    for _ in 0..2 {
        match from.count::<u64>()? {
            0 => {}
            1 => drop(from.int()?),
            _ => return None,
        }
    }
    from.end()
}

fn state_of(suppressed: Option<&str>, outcome: Option<&'static str>) -> &'static str {
    match (outcome, suppressed) {
        (Some(it), _) => it,
        (None, Some(_)) => "suppressed",
        (None, None) => "planned",
    }
}

impl Fold for Notifications {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, update: &Update) {
        match update {
            Update::Answered(it) if it.forgets() => {
                if !state.is_forgotten() || state.answer.as_ref().is_some_and(|least| it < least) {
                    *state = State { answer: Some(Arc::clone(it)), ..State::default() };
                }
            }
            _ if state.is_forgotten() => {}
            Update::Planned(it) => {
                let other = match &state.planned {
                    Some(stands) if it >= stands => Some(it.clone()),
                    _ => state.planned.replace(it.clone()),
                };
                if let Some(other) = other
                    && state.planned.as_ref().is_some_and(|it| it.owner != other.owner)
                {
                    state.marks_mut().others.add(other.owner);
                }
            }
            Update::Answered(it) => {
                if state.answer.as_ref().is_none_or(|stands| it > stands) {
                    state.answer = Some(Arc::clone(it));
                }
            }
            Update::Acknowledged(it) => {
                let stands = state.marks.as_ref().and_then(|it| it.acknowledged.as_ref());
                if stands.is_none_or(|stands| it < stands) {
                    state.marks_mut().acknowledged = Some(it.clone());
                }
            }
            Update::Snoozed(it) => {
                let stands = state.marks.as_ref().and_then(|it| it.snoozed.as_ref());
                if stands.is_none_or(|stands| it > stands) {
                    state.marks_mut().snoozed = Some(it.clone());
                }
            }
        }
    }

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        let plan = state.planned.as_ref().filter(|_| Self::exists(state))?;
        let Planned { texts, maybe, times } = planned(&plan.bytes);
        let [reason, corrects, suppressed, customer] = maybe;
        let text = |it: &str| Value::Text(it.into());
        let some = |it: Option<&str>| it.map_or(Value::Null, |it| Value::Text(it.into()));
        let time = |it: Option<i64>| it.map_or(Value::Null, Value::Time);
        let answer = state.answer.as_deref();
        let why = match answer {
            Some(it) => it.reason.as_deref(),
            None => suppressed,
        };
        let mut values = vec![Value::Text(crate::key_id(name))];
        values.push(text(state_of(suppressed, state.outcome())));
        values.extend(texts.map(text));
        values.extend([
            some(reason),
            some(corrects),
            some(customer),
            Value::Time(plan.at),
            time(times[0]),
            time(times[1]),
            time(answer.map(|it| it.at)),
            some(why),
            answer.and_then(|it| it.attempts).map_or(Value::Null, Value::Int),
        ]);
        let acknowledged = state.marks.as_ref().and_then(|it| it.acknowledged.as_ref());
        let until = state.snoozed_until();
        values.extend([
            time(acknowledged.map(|it| it.at)),
            some(acknowledged.and_then(|it| it.by.as_deref())),
            Value::Bool(acknowledged.is_some()),
            time(until),
            Value::Bool(until.is_some_and(|it| is_to_come(it, now))),
        ]);
        Some(Row { values })
    }

    /// One that is snoozed is shown again in the first millisecond that is not before its instant.
    fn next_due(state: &State, after: Epoch) -> Option<Epoch> {
        let until = state.snoozed_until().filter(|_| Self::exists(state))?;
        let due = until.div_euclid(1_000) + i64::from(until.rem_euclid(1_000) != 0);
        u64::try_from(due).ok().filter(|it| *it > after)
    }

    fn exists(state: &State) -> bool {
        state.planned.is_some() && !state.is_forgotten()
    }

    fn left(state: &State) -> Option<&'static str> {
        let answer = state.answer.as_ref().filter(|it| it.forgets())?;
        ended_as(answer.reason.as_deref())
    }

    const OWNED: bool = true;

    fn settle(_: Fingerprint, _: &Name, state: &State, gone: &Gone) -> Option<State> {
        let others = state.marks.iter().flat_map(|it| it.others.each());
        Self::owner(state).into_iter().chain(others).any(|it| gone.has(it)).then(|| {
            let marks = Marks { others: Others::gone(), ..Marks::default() };
            State { marks: Some(Arc::new(marks)), ..State::default() }
        })
    }

    #[inline]
    fn is_gone(state: &State) -> bool {
        state.marks.as_ref().is_some_and(|it| it.others.is_gone())
    }

    fn owner(state: &State) -> Option<Fingerprint> {
        state.planned.as_ref().map(|it| it.owner).filter(|it| *it != 0)
    }

    fn heap_bytes(state: &State) -> usize {
        let plan = state.planned.as_ref().map_or(0, |it| 16 + it.bytes.len());
        let answer = state.answer.as_ref().map_or(0, |it| {
            let reason = it.reason.as_ref().map_or(0, crate::stamps::text_bytes);
            16 + size_of::<Answer>() + reason
        });
        let marks = state.marks.as_ref().map_or(0, |it| {
            let all = [&it.acknowledged, &it.snoozed].into_iter().flatten();
            let by = all.filter_map(|it| it.by.as_ref()).map(crate::stamps::text_bytes);
            16 + size_of::<Marks>() + by.sum::<usize>() + it.others.heap_bytes()
        });
        plan + answer + marks
    }
}

impl Keep for Notifications {
    const LAYOUT: &'static str = layout!(
        "notifications 3: whether planned, at, owner, plan (rule, version, view, about, episode, \
         channel, severity, text, reason, corrects, suppressed, customer, due, expires), whether \
         answered, at, outcome (planned, delivered, refused, expired, suppressed, forgotten), \
         reason, whether attempts, attempts, whether acknowledged, at, by, whether snoozed, at, \
         whether until, until, by, others whom plans name (0: none; 1: it is gone; else how many and \
         one, and each)"
    );
    const RESTS: bool = true;

    fn store(state: &State, into: &mut Vec<u8>) {
        put_state(state, into, &|it, writer| writer.id(it.owner));
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        taken(bytes, &|from| Some(Owned::By(from.id()?)))
    }

    /// Whose it is is said by the plan: that it is somebody's is enough.
    fn rest(state: &State, owner_of: OwnerOf<'_>, into: &mut Vec<u8>) -> bool {
        put_state(state, into, &|it, writer| writer.count(u64::from(it.owner != 0)));
        state.planned.as_ref().is_none_or(|it| it.owner == 0 || it.owner == it.made(owner_of))
    }

    fn wake(bytes: &[u8], owner_of: OwnerOf<'_>) -> Option<State> {
        taken(bytes, &|from| match flag(from)? {
            true => Some(Owned::Said(owner_of)),
            false => Some(Owned::By(0)),
        })
    }
}

impl Plan {
    /// Whose it says to be.
    fn made(&self, owner_of: OwnerOf<'_>) -> Fingerprint {
        let [.., customer] = planned(&self.bytes).maybe;
        customer.map_or(0, owner_of)
    }
}

/// Whose a plan is: as it was written, or as the plan says.
enum Owned<'o> {
    By(Fingerprint),
    Said(OwnerOf<'o>),
}

/// A state as [`Keep::store`] has it, but for how its owner is written.
fn put_state(state: &State, into: &mut Vec<u8>, put_owner: &dyn Fn(&Plan, &mut Writer<'_>)) {
    let mut writer = Writer(into);
    writer.count(u64::from(state.planned.is_some()));
    if let Some(it) = &state.planned {
        writer.int(it.at);
        put_owner(it, &mut writer);
        writer.count(it.bytes.len() as u64);
        writer.0.extend_from_slice(&it.bytes);
    }
    writer.count(u64::from(state.answer.is_some()));
    if let Some(it) = &state.answer {
        writer.int(it.at);
        writer.count(u64::from(it.outcome));
        writer.maybe(it.reason.as_deref());
        writer.count(u64::from(it.attempts.is_some()));
        if let Some(attempts) = it.attempts {
            writer.int(attempts);
        }
    }
    let marks = state.marks.as_deref();
    let acknowledged = marks.and_then(|it| it.acknowledged.as_ref());
    writer.count(u64::from(acknowledged.is_some()));
    if let Some(it) = acknowledged {
        writer.int(it.at);
        writer.maybe(it.by.as_deref());
    }
    let snoozed = marks.and_then(|it| it.snoozed.as_ref());
    writer.count(u64::from(snoozed.is_some()));
    if let Some(it) = snoozed {
        writer.int(it.at);
        writer.count(u64::from(it.until.is_some()));
        if let Some(until) = it.until {
            writer.int(until);
        }
        writer.maybe(it.by.as_deref());
    }
    marks.map_or(&Others::default(), |it| &it.others).store(&mut writer);
}

/// The state that [`put_state`] wrote.
fn taken<'o>(
    bytes: &[u8],
    take_owner: &dyn Fn(&mut Checked<'_>) -> Option<Owned<'o>>,
) -> Option<State> {
    let mut from = Checked(bytes);
    let planned = match from.count::<u64>()? {
        0 => None,
        1 => {
            let (at, owned) = (from.int()?, take_owner(&mut from)?);
            let n = from.count::<usize>()?;
            let bytes = from.bytes(n)?;
            is_plan(bytes)?;
            let plan = Plan { at, owner: 0, bytes: bytes.into() };
            let owner = match owned {
                Owned::By(it) => it,
                Owned::Said(owner_of) => plan.made(owner_of),
            };
            Some(Plan { owner, ..plan })
        }
        _ => return None,
    };
    let answer = match from.count::<u64>()? {
        0 => None,
        1 => {
            let at = from.int()?;
            let outcome = from.count::<u8>().filter(|it| usize::from(*it) < OUTCOMES.len())?;
            let reason = from.maybe()?.map(CompactString::from);
            let attempts = match from.count::<u64>()? {
                0 => None,
                1 => Some(from.int()?),
                _ => return None,
            };
            Some(Arc::new(Answer { at, outcome, reason, attempts }))
        }
        _ => return None,
    };
    let mut marks = None;
    if flag(&mut from)? {
        let (at, by) = (from.int()?, from.maybe()?.map(CompactString::from));
        marks.get_or_insert_with(Marks::default).acknowledged = Some(Mark { at, until: None, by });
    }
    if flag(&mut from)? {
        let at = from.int()?;
        let until = if flag(&mut from)? { Some(from.int()?) } else { None };
        let by = from.maybe()?.map(CompactString::from);
        marks.get_or_insert_with(Marks::default).snoozed = Some(Mark { at, until, by });
    }
    let others = Others::restore(&mut from)?;
    if !others.is_none() {
        marks.get_or_insert_with(Marks::default).others = others;
    }
    from.end()?;
    Some(State { planned, answer, marks: marks.map(Arc::new) })
}

fn flag(from: &mut Checked<'_>) -> Option<bool> {
    match from.count::<u64>()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Whether an instant, in microseconds, is after an epoch, in milliseconds.
fn is_to_come(until: i64, now: Epoch) -> bool {
    i128::from(until) > i128::from(now) * 1_000
}

/// The view, plainly: of each intent the oldest plan, the newest answer, the first who acknowledged it
/// and the last who had it shown later; of those that were forgotten nothing.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let mut ours: Vec<&Event<'static>> = events.iter().filter(|it| it.source == NOTIFY).collect();
    ours.sort_by_key(|it| it.time);
    let mut plans: BTreeMap<Name, Vec<(i64, &MessagePlanned<'static>)>> = BTreeMap::new();
    type Said<'e> = (i64, usize, Option<&'e str>, Option<i64>);
    let mut answers: BTreeMap<Name, Vec<Said<'_>>> = BTreeMap::new();
    type Marked<'e> = BTreeMap<Name, Vec<(i64, Option<i64>, Option<&'e str>)>>;
    let (mut acknowledged, mut snoozed) = (Marked::new(), Marked::new());
    let mut forgotten = BTreeSet::new();
    for event in ours {
        let name = |it: &str| Name::new(&event.tenant, &key_text(&[it]));
        match &event.data {
            Data::MessagePlanned(it) => {
                plans.entry(name(&it.message)).or_default().push((event.time, it));
            }
            Data::MessageAnswered(it) => {
                let Some(place) = OUTCOMES.iter().position(|word| *word == it.outcome) else {
                    continue;
                };
                if it.outcome == "forgotten" {
                    let word = it.reason.as_deref().unwrap_or("");
                    if ["delivered", "refused", "expired", "suppressed"].contains(&word) {
                        forgotten.insert(name(&it.message));
                    }
                    continue;
                }
                let answer = (event.time, place, it.reason.as_deref(), it.attempts);
                answers.entry(name(&it.message)).or_default().push(answer);
            }
            Data::MessageMarked(it) if it.mark == "acknowledged" => {
                let mark = (event.time, None, it.by.as_deref());
                acknowledged.entry(name(&it.message)).or_default().push(mark);
            }
            Data::MessageMarked(it) if it.mark == "snoozed" => {
                let mark = (event.time, it.until, it.by.as_deref());
                snoozed.entry(name(&it.message)).or_default().push(mark);
            }
            _ => {}
        }
    }
    let text = |it: &str| Value::Text(it.into());
    let some = |it: Option<&str>| it.map_or(Value::Null, |it| Value::Text(it.into()));
    let time = |it: Option<i64>| it.map_or(Value::Null, Value::Time);
    let gone = Plain::of(events);
    plans.retain(|name, _| !gone.has_thing(name.tenant(), About::Message(&crate::key_id(name))));
    let mut rows = BTreeMap::new();
    for (name, mut all) in plans {
        // Of plans of one instant the least as it is stored: any rule does, if it is one rule.
        all.sort_by_key(|(at, it)| {
            let mut bytes = Vec::new();
            put(it, &mut bytes);
            (*at, bytes)
        });
        let (at, it) = all[0];
        let answer = answers.get(&name).and_then(|it| it.iter().max().copied());
        let outcome = answer.map(|it| OUTCOMES[it.1]);
        if forgotten.contains(&name) {
            continue;
        }
        let first = acknowledged.get(&name).and_then(|it| it.iter().min().copied());
        let until = snoozed.get(&name).and_then(|it| it.iter().max()?.1);
        let values = vec![
            text(&it.message),
            text(state_of(it.suppressed.as_deref(), outcome)),
            text(&it.rule),
            text(&it.version),
            text(&it.view),
            text(&it.about),
            text(&it.episode),
            text(&it.channel),
            text(&it.severity),
            text(&it.text),
            some(it.reason.as_deref()),
            some(it.corrects.as_deref()),
            some(it.customer.as_deref()),
            Value::Time(at),
            time(it.due),
            time(it.expires),
            time(answer.map(|it| it.0)),
            some(answer.map_or(it.suppressed.as_deref(), |it| it.2)),
            answer.and_then(|it| it.3).map_or(Value::Null, Value::Int),
            time(first.map(|it| it.0)),
            some(first.and_then(|it| it.2)),
            Value::Bool(first.is_some()),
            time(until),
            Value::Bool(until.is_some_and(|it| it > i64::try_from(now).unwrap() * 1_000)),
        ];
        rows.insert(name, Row { values });
    }
    rows
}

/// What is left of the intents that were forgotten, plainly: of what they are said to have ended as
/// what was said first.
pub fn reference_left(events: &[Event<'static>]) -> BTreeMap<Name, &'static str> {
    let mut first = BTreeMap::new();
    for event in events.iter().filter(|it| it.source == NOTIFY) {
        let Data::MessageAnswered(it) = &event.data else { continue };
        let ended = ENDED.iter().find(|word| it.reason.as_deref() == Some(**word));
        if let Some(ended) = ended.filter(|_| it.outcome == "forgotten") {
            let name = Name::new(&event.tenant, &key_text(&[&it.message]));
            let said = (event.time, *ended, it.attempts);
            let least = first.entry(name).or_insert(said);
            *least = said.min(*least);
        }
    }
    first.into_iter().map(|(name, it)| (name, it.1)).collect()
}

#[cfg(test)]
mod tests;
