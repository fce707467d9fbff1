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
//! Some 230 bytes a text with its name, the text itself not among them, and a third of that once it
//! rests ([`Keep::RESTS`]). Grows with the texts.

use std::cmp::Ordering;
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
use crate::{Epoch, Fold, Keep, OwnerOf};

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

/// What was said, and what is said of it, packed into one allocation. Ordered, so that of two contents
/// under one identity the same one stands in every order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said(Arc<[u8]>);

/// The same, to be read.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'s> {
    /// Event time, microseconds since the Unix epoch.
    at: i64,
    kind: u8,
    customer: Option<&'s str>,
    product: Option<&'s str>,
    subject: Option<&'s str>,
    label: Label,
    score: i32,
    confidence: i32,
    words: Vec<&'s str>,
    model: &'s str,
    owner: Fingerprint,
}

/// Bytes of most texts, packed.
const USUAL: usize = 96;
/// Bytes of an owner, with which what is packed ends.
const OWNER: usize = size_of::<Fingerprint>();

impl Said {
    /// Of an event with a text, beside the opinion of it.
    pub(crate) fn of(event: &Event<'_>, said: &Opinion, model: &str, owner: Fingerprint) -> Said {
        let (customer, product, subject) = about(event);
        let mut packed = Vec::with_capacity(USUAL);
        let mut writer = Writer(&mut packed);
        writer.int(event.time);
        writer.count(event.data.event_type() as u64);
        [customer, product, subject].into_iter().for_each(|it| writer.maybe(it));
        writer.count(said.label as u64);
        writer.int(said.score.into());
        writer.int(said.confidence.into());
        writer.count(said.words.len() as u64);
        said.words.iter().for_each(|it| writer.text(it));
        writer.text(model);
        writer.id(owner);
        Said(packed.into())
    }

    fn text(&self) -> Text<'_> {
        Text::read(&self.0).expect("it was packed here, or looked through")
    }

    fn owner(&self) -> Fingerprint {
        let owner = self.0.last_chunk::<OWNER>().expect("it ends with the owner");
        Fingerprint::from_le_bytes(*owner)
    }
}

impl Ord for Said {
    fn cmp(&self, other: &Said) -> Ordering {
        self.text().cmp(&other.text())
    }
}

impl PartialOrd for Said {
    fn partial_cmp(&self, other: &Said) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'s> Text<'s> {
    /// Of what was packed; nothing, if it was not.
    fn read(packed: &'s [u8]) -> Option<Text<'s>> {
        let mut from = Checked(packed);
        let at = from.int()?;
        let kind = from.count()?;
        EventType::ALL.get(usize::from(kind))?;
        let (customer, product, subject) = (from.maybe()?, from.maybe()?, from.maybe()?);
        let label = *Label::ALL.get(from.count::<usize>()?)?;
        let (score, confidence) = (from.int()?.try_into().ok()?, from.int()?.try_into().ok()?);
        let n: usize = from.count()?;
        // Each has its length, at least.
        if n > from.0.len() {
            return None;
        }
        let words = (0..n).map(|_| from.text()).collect::<Option<_>>()?;
        let (model, owner) = (from.text()?, from.id()?);
        from.end()?;
        Some(Text {
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
        })
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
pub struct State(Option<Said>);

impl Fold for Sentiment {
    type Update = Said;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, said: &Said) {
        if state.0.as_ref().is_none_or(|it| it < said) {
            state.0 = Some(said.clone());
        }
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        let (source, id) = name.key().split_once('/')?;
        Some(row(crate::decoded(source), crate::decoded(id), &state.0.as_ref()?.text()))
    }

    fn exists(state: &State) -> bool {
        state.0.is_some()
    }

    const OWNED: bool = true;

    fn owner(state: &State) -> Option<Fingerprint> {
        state.0.as_ref().map(Said::owner).filter(|it| *it != 0)
    }

    fn heap_bytes(state: &State) -> usize {
        state.0.as_ref().map_or(0, |it| 16 + it.0.len())
    }
}

impl Keep for Sentiment {
    /// A text is said once: nothing comes to it any more.
    const RESTS: bool = true;
    const GOES_WITH_OWNER: bool = true;

    const LAYOUT: &'static str = layout!(
        "sentiment 1: 0, or 1 and time, type, customer, product, subject, label, score, \
         confidence, words, model, owner"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        into.push(u8::from(state.0.is_some()));
        into.extend(state.0.iter().flat_map(|it| it.0.iter()));
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        match bytes.split_first()? {
            (0, []) => Some(State::default()),
            (1, packed) => Text::read(packed).map(|_| State(Some(Said(packed.into())))),
            _ => None,
        }
    }

    /// Whose it is is said by the customer.
    fn rest(state: &State, owner_of: OwnerOf<'_>, into: &mut Vec<u8>) -> bool {
        into.push(u8::from(state.0.is_some()));
        let Some(it) = &state.0 else { return true };
        into.extend_from_slice(&it.0[..it.0.len() - OWNER]);
        it.text().customer.map_or(0, owner_of) == it.owner()
    }

    fn wake(bytes: &[u8], owner_of: OwnerOf<'_>) -> Option<State> {
        let (1, packed) = bytes.split_first()? else { return Self::restore(bytes) };
        let mut packed = [packed, &[0; OWNER]].concat();
        let owner = Text::read(&packed)?.customer.map_or(0, owner_of);
        *packed.last_chunk_mut()? = owner.to_le_bytes();
        Some(State(Some(Said(packed.into()))))
    }
}

fn row(source: CompactString, id: CompactString, it: &Text<'_>) -> Row {
    let maybe = |it: Option<&str>| it.map_or(Value::Null, |it| Value::Text(it.into()));
    Row {
        values: vec![
            Value::Text(source),
            Value::Text(id),
            Value::Time(it.at),
            Value::Text(EventType::ALL[usize::from(it.kind)].as_str().into()),
            maybe(it.customer),
            maybe(it.product),
            maybe(it.subject),
            Value::Text(it.label.as_str().into()),
            Value::Int(permille(it.score)),
            Value::Int(permille(it.confidence)),
            Value::Json(it.words.as_slice().into()),
            Value::Text(it.model.into()),
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
        let said = Said::of(event, &said, &model, 0);
        let (source, id) = (event.source.as_ref().into(), event.id.as_ref().into());
        rows.insert(name, row(source, id, &said.text()));
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
