//! How each text feels.
//!
//! In: [`Said`], made once for each text ([`crate::opinions`]). Out: rows of [`DEF`].
//!
//! # Meaning
//! One row for each event that has a text (feedback, a case that opens, an interaction): who says
//! it, about what, and the opinion of the model that was in use at its event time
//! ([`crate::models::published`]), with its reasons. Scores and
//! confidences are thousandths: from -1000 to 1000, and from 0 to 1000. An opinion is never made
//! again: another model speaks of later texts.
//!
//! # State
//! About 200 bytes a text, the text itself not among them. Grows with the texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{Data, Event, EventType};
use schemas::names::{Fingerprint, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::models::opinion::{Label, Opinion, text_of};
use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::stamps::text_bytes;
use crate::{Epoch, Fold, Keep};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "sentiment",
    words: "How each text feels: label, score, confidence, and the words that counted.",
    shape: Shape::Fold,
    key: &["source", "id"],
    fields: &[
        FieldDef::new("source", FieldKind::Text, false, false, "The event's source."),
        FieldDef::new("id", FieldKind::Text, false, false, "The event's id within its source."),
        FieldDef::new("said_at", FieldKind::Time, false, false, "When it was said: event time."),
        FieldDef::new(
            "type",
            FieldKind::Text,
            false,
            true,
            "The event's type, such as feedback.submitted.",
        ),
        FieldDef::new("customer", FieldKind::Text, true, true, "Who says it."),
        FieldDef::new("product", FieldKind::Text, true, true, "About which product."),
        FieldDef::new("subject", FieldKind::Text, true, true, "About which order, or which case."),
        FieldDef::new("label", FieldKind::Text, false, true, "negative, neutral or positive."),
        FieldDef::new(
            "score_permille",
            FieldKind::Int,
            false,
            false,
            "From -1000 (negative) to 1000 (positive).",
        ),
        FieldDef::new(
            "confidence_permille",
            FieldKind::Int,
            false,
            false,
            "Of the label, from 0 to 1000; the lexicon's is not calibrated.",
        ),
        FieldDef::new(
            "words",
            FieldKind::Json,
            false,
            false,
            "The words that counted most, the weightiest first.",
        ),
        FieldDef::new(
            "model",
            FieldKind::Text,
            false,
            true,
            "Which model said so, with its version.",
        ),
    ],
};

/// The fold.
pub struct Sentiment;

/// What was said, and what is said of it. Ordered, so that of two contents under one identity the
/// same one stands in every order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    /// Event time, microseconds since the Unix epoch.
    at: i64,
    kind: u8,
    customer: Option<CompactString>,
    product: Option<CompactString>,
    subject: Option<CompactString>,
    label: Label,
    score: i32,
    confidence: i32,
    words: Vec<CompactString>,
    model: CompactString,
    owner: Fingerprint,
}

impl Said {
    /// Of an event with a text, beside the opinion of it.
    pub(crate) fn of(
        event: &Event<'_>,
        said: Opinion,
        model: CompactString,
        owner: Fingerprint,
    ) -> Said {
        let text = |it: &str| CompactString::new(it);
        let (customer, product, subject) = about(event);
        Said {
            at: event.time,
            kind: event.data.event_type() as u8,
            customer: customer.map(text),
            product: product.map(text),
            subject: subject.map(text),
            label: said.label,
            score: said.score,
            confidence: said.confidence,
            words: said.words,
            model,
            owner,
        }
    }
}

/// Of an event that may have a text: who says it, about which product, about which order or case.
pub(crate) fn about<'e>(
    event: &'e Event<'_>,
) -> (Option<&'e str>, Option<&'e str>, Option<&'e str>) {
    match &event.data {
        Data::FeedbackSubmitted(it) => {
            (it.customer.as_deref(), it.product.as_deref(), it.order.as_deref())
        }
        Data::CaseOpened(it) => (Some(&it.customer), None, Some(&it.case)),
        Data::InteractionRecorded(it) => (Some(&it.customer), None, None),
        _ => (None, None, None),
    }
}

/// Ten-thousandths as thousandths, rounded to the nearest, halves away from zero.
pub(crate) fn permille(it: i32) -> i64 {
    let it = i64::from(it);
    (it + 5 * it.signum()) / 10
}

/// What is known of a text.
#[derive(Clone, Debug, Default)]
pub struct State(Option<Arc<Said>>);

impl Fold for Sentiment {
    type Update = Arc<Said>;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, said: &Arc<Said>) {
        if state.0.as_ref().is_none_or(|it| it < said) {
            state.0 = Some(said.clone());
        }
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        let (source, id) = name.key().split_once('/')?;
        Some(row(crate::decoded(source), crate::decoded(id), state.0.as_deref()?))
    }

    fn exists(state: &State) -> bool {
        state.0.is_some()
    }

    const OWNED: bool = true;

    fn owner(state: &State) -> Option<Fingerprint> {
        state.0.as_ref().map(|it| it.owner).filter(|it| *it != 0)
    }

    fn heap_bytes(state: &State) -> usize {
        state.0.as_ref().map_or(0, |it| {
            let optional = [&it.customer, &it.product, &it.subject];
            let texts = optional.into_iter().flatten().chain(&it.words).chain([&it.model]);
            let words = it.words.len() * size_of::<CompactString>();
            16 + size_of::<Said>() + words + texts.map(text_bytes).sum::<usize>()
        })
    }
}

impl Keep for Sentiment {
    const LAYOUT: &'static str = layout!(
        "sentiment 1: 0, or 1 and time, type, customer, product, subject, label, score, \
         confidence, words, model, owner"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        into.push(u8::from(state.0.is_some()));
        let Some(it) = &state.0 else { return };
        let mut writer = Writer(into);
        writer.int(it.at);
        writer.count(it.kind.into());
        for text in [&it.customer, &it.product, &it.subject] {
            writer.maybe(text.as_deref());
        }
        writer.count(it.label as u64);
        writer.int(it.score.into());
        writer.int(it.confidence.into());
        writer.count(it.words.len() as u64);
        it.words.iter().for_each(|it| writer.text(it));
        writer.text(&it.model);
        writer.id(it.owner);
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        match from.byte()? {
            0 => return from.end().map(|()| State::default()),
            1 => {}
            _ => return None,
        }
        let at = from.int()?;
        let kind = from.count()?;
        EventType::ALL.get(usize::from(kind))?;
        let mut maybe = || from.maybe().map(|it| it.map(CompactString::from));
        let (customer, product, subject) = (maybe()?, maybe()?, maybe()?);
        let label = *Label::ALL.get(from.count::<usize>()?)?;
        let (score, confidence) = (from.int()?.try_into().ok()?, from.int()?.try_into().ok()?);
        let n: usize = from.count()?;
        // Each has its length, at least.
        if n > from.0.len() {
            return None;
        }
        let words = (0..n).map(|_| from.text().map(CompactString::from)).collect::<Option<_>>()?;
        let model = from.text()?.into();
        let owner = from.id()?;
        from.end()?;
        let said = Said {
            at,
            kind,
            customer,
            product,
            subject,
            label,
            score,
            confidence,
            words,
            model,
            owner,
        };
        Some(State(Some(Arc::new(said))))
    }
}

fn row(source: CompactString, id: CompactString, it: &Said) -> Row {
    let maybe = |it: &Option<CompactString>| it.clone().map_or(Value::Null, Value::Text);
    let words: Vec<&str> = it.words.iter().map(CompactString::as_str).collect();
    Row {
        values: vec![
            Value::Text(source),
            Value::Text(id),
            Value::Time(it.at),
            Value::Text(EventType::ALL[usize::from(it.kind)].as_str().into()),
            maybe(&it.customer),
            maybe(&it.product),
            maybe(&it.subject),
            Value::Text(it.label.as_str().into()),
            Value::Int(permille(it.score)),
            Value::Int(permille(it.confidence)),
            Value::Json(words.into()),
            Value::Text(it.model.clone()),
        ],
    }
}

/// The view, plainly: each text by itself.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut rows = BTreeMap::new();
    let gone = crate::erased::Plain::of(events);
    for event in events.iter().filter(|it| !gone.names(it)) {
        let Some(text) = text_of(event) else { continue };
        let (said, model) = plainly(text);
        let name = Name::new(&event.tenant, &key_text(&[&event.source, &event.id]));
        let said = Said::of(event, said, model, 0);
        rows.insert(name, row(event.source.as_ref().into(), event.id.as_ref().into(), &said));
    }
    rows
}

/// The shipped scorer's opinion, for references: remembered, for they ask for the same texts at
/// every epoch.
pub(crate) fn plainly(text: &str) -> (Opinion, CompactString) {
    use crate::models::lexicon::{Lexicon, NAME};
    use crate::models::opinion::Scorer;
    type Known = (Lexicon, BTreeMap<String, Opinion>);
    thread_local! {
        static KNOWN: std::cell::RefCell<Known> = Known::default().into();
    }
    KNOWN.with_borrow_mut(|(lexicon, known)| {
        let said = known.entry(text.into()).or_insert_with(|| lexicon.opinion(text));
        (said.clone(), NAME.into())
    })
}
