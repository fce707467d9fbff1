//! An intent: a decision to tell somebody something, and its event.
//!
//! # Meaning
//! Its name is a function of what is decided, and of nothing else: rule, wording, whose row, which
//! episode, whether it began or is over. Decided twice (a crash, a replay), it is one event: the
//! engine's dedup and the fold see to that.

use std::borrow::Cow;

use schemas::encode::structured;
use schemas::events::{Data, Event, MessageAnswered, MessageMarked, MessagePlanned, NOTIFY};
use schemas::names::Name;
use sha2::{Digest, Sha256};

/// A decision, not yet durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    /// Its name.
    pub(super) id: String,
    /// Whose row, and which.
    pub(super) subject: Name,
    /// Index of the rule.
    pub(super) rule: usize,
    /// Which episode.
    pub(super) episode: String,
    /// What is said.
    pub(super) text: String,
    /// Why.
    pub(super) reason: String,
    /// The intent that this one corrects: said only if that was.
    pub(super) corrects: Option<String>,
    /// Why it is not sent.
    pub(super) suppressed: Option<&'static str>,
    /// Whose data it is.
    pub(super) customer: Option<String>,
    /// Until when it is held back, microseconds.
    pub(super) due: Option<i64>,
}

/// Whether an episode began or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It is so.
    Began,
    /// It is not so any more.
    Over,
}

/// The name of an intent.
pub(super) fn id(rule: &str, version: &str, subject: &Name, episode: &str, side: Side) -> String {
    let mut digest = Sha256::new();
    let side = match side {
        Side::Began => "began",
        Side::Over => "over",
    };
    for part in [rule, version, subject.tenant(), subject.key(), episode, side] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let hex: String = digest.finalize().iter().take(16).map(|it| format!("{it:02x}")).collect();
    format!("msg_{hex}")
}

/// What the settings add to an intent.
pub(super) struct Terms<'a> {
    /// The rule's name.
    pub(super) rule: &'a str,
    /// Its wording.
    pub(super) version: &'a str,
    /// The view.
    pub(super) view: &'a str,
    /// Who is told.
    pub(super) channel: &'a str,
    /// How urgent it is.
    pub(super) severity: &'a str,
    /// From then on it is not sent, microseconds.
    pub(super) expires: i64,
}

/// The event of an intent, decided at an instant (microseconds).
pub(super) fn planned(it: &Intent, terms: &Terms<'_>, at: i64) -> Vec<u8> {
    let text = |it: &'_ Option<String>| it.clone().map(Cow::Owned);
    event(
        it.subject.tenant(),
        &it.id,
        at,
        Data::MessagePlanned(Box::new(MessagePlanned {
            message: Cow::Borrowed(&it.id),
            rule: Cow::Borrowed(terms.rule),
            version: Cow::Borrowed(terms.version),
            view: Cow::Borrowed(terms.view),
            about: Cow::Borrowed(it.subject.key()),
            episode: Cow::Borrowed(&it.episode),
            channel: Cow::Borrowed(terms.channel),
            severity: Cow::Borrowed(terms.severity),
            text: Cow::Borrowed(&it.text),
            reason: Some(Cow::Borrowed(&it.reason)),
            corrects: text(&it.corrects),
            suppressed: it.suppressed.map(Cow::Borrowed),
            customer: text(&it.customer),
            due: it.due,
            expires: Some(terms.expires),
        })),
    )
}

/// The event of what became of an intent.
pub(super) struct Answer<'a> {
    /// Of whose, and which.
    pub(super) message: (&'a str, &'a str),
    /// One of [`schemas::events::OUTCOMES`].
    pub(super) outcome: &'a str,
    /// In words.
    pub(super) reason: Option<&'a str>,
    /// Attempts that were made.
    pub(super) attempts: u32,
    /// When, microseconds.
    pub(super) at: i64,
}

impl Answer<'_> {
    /// Its event; of the same answer at the same instant the same.
    pub(super) fn event(&self) -> Vec<u8> {
        let (tenant, message) = self.message;
        let id = format!("{message}/{}/{}", self.outcome, self.at);
        let answered = MessageAnswered {
            message: Cow::Borrowed(message),
            outcome: Cow::Borrowed(self.outcome),
            reason: self.reason.map(Cow::Borrowed),
            attempts: Some(i64::from(self.attempts)),
        };
        event(tenant, &id, self.at, Data::MessageAnswered(answered))
    }
}

/// The event that forgets a message that ended so; whenever it is made, it has the same name.
pub(super) fn forgotten((tenant, message): (&str, &str), ended: &str, at: i64) -> Vec<u8> {
    let answered = MessageAnswered {
        message: Cow::Borrowed(message),
        outcome: Cow::Borrowed("forgotten"),
        reason: Some(Cow::Borrowed(ended)),
        attempts: None,
    };
    event(tenant, &format!("{message}/forgotten"), at, Data::MessageAnswered(answered))
}

/// The event of what somebody said of a message.
pub(super) struct Mark<'a> {
    /// Of whose, and which.
    pub(super) message: (&'a str, &'a str),
    /// One of [`schemas::events::MARKS`].
    pub(super) mark: &'a str,
    /// Who said so.
    pub(super) by: Option<&'a str>,
    /// Of one that is snoozed: until when, microseconds.
    pub(super) until: Option<i64>,
    /// When it was said, microseconds.
    pub(super) at: i64,
}

impl Mark<'_> {
    /// Its event; of the same mark at the same instant the same.
    pub(super) fn event(&self) -> Vec<u8> {
        let (tenant, message) = self.message;
        // Two instants may be named within one millisecond.
        let until = self.until.map(|it| format!("/{it}")).unwrap_or_default();
        let id = format!("{message}/{}/{}{until}", self.mark, self.at);
        let marked = MessageMarked {
            message: Cow::Borrowed(message),
            mark: Cow::Borrowed(self.mark),
            by: self.by.map(Cow::Borrowed),
            until: self.until,
        };
        event(tenant, &id, self.at, Data::MessageMarked(marked))
    }
}

fn event(tenant: &str, id: &str, time: i64, data: Data<'_>) -> Vec<u8> {
    structured(&Event {
        tenant: Cow::Borrowed(tenant),
        source: Cow::Borrowed(NOTIFY),
        id: Cow::Borrowed(id),
        time,
        data,
    })
}
