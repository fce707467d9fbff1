//! What rules decided to say (`message.planned`), what became of it (`message.answered`), and what
//! people said of having read it (`message.marked`).
//!
//! # Meaning
//! An *intent* is a decision to tell somebody something, made once: its name is a function of what
//! was decided (rule, its version, subject, episode), so that the same decision made again is the
//! same event. What became of it is a fact of its own; the newest by event time stands.

use crate::events::Text;

/// `message.planned`
#[derive(Clone, Debug, PartialEq)]
pub struct MessagePlanned<'a> {
    /// The intent (also the subject).
    pub message: Text<'a>,
    /// The rule that speaks.
    pub rule: Text<'a>,
    /// Which wording of the rule.
    pub version: Text<'a>,
    /// The view whose row changed.
    pub view: Text<'a>,
    /// Of which row: the text of its key.
    pub about: Text<'a>,
    /// Which episode of that row, by the row's own facts.
    pub episode: Text<'a>,
    /// Who is told.
    pub channel: Text<'a>,
    /// How urgent it is: `info`, `warning`, `critical`.
    pub severity: Text<'a>,
    /// What is said, as it was rendered.
    pub text: Text<'a>,
    /// Why: the condition, and what it saw.
    pub reason: Option<Text<'a>>,
    /// The intent that this one corrects.
    pub corrects: Option<Text<'a>>,
    /// Why it is not sent at all.
    pub suppressed: Option<Text<'a>>,
    /// Whose data it is.
    pub customer: Option<Text<'a>>,
    /// Not before, microseconds since the Unix epoch.
    pub due: Option<i64>,
    /// From then on it is not worth saying, microseconds since the Unix epoch.
    pub expires: Option<i64>,
}

/// `message.answered`
#[derive(Clone, Debug, PartialEq)]
pub struct MessageAnswered<'a> {
    /// The intent (also the subject).
    pub message: Text<'a>,
    /// What became of it: one of [`OUTCOMES`]; of another word nothing is made.
    pub outcome: Text<'a>,
    /// In words.
    pub reason: Option<Text<'a>>,
    /// Attempts that were made, up to this answer.
    pub attempts: Option<i64>,
}

/// `message.marked`
#[derive(Clone, Debug, PartialEq)]
pub struct MessageMarked<'a> {
    /// The intent (also the subject).
    pub message: Text<'a>,
    /// What was said of it: one of [`MARKS`]; of another word nothing is made.
    pub mark: Text<'a>,
    /// Who said so.
    pub by: Option<Text<'a>>,
    /// Of a message that is snoozed: until when, microseconds since the Unix epoch; absent: not any
    /// more.
    pub until: Option<i64>,
}

/// What may be said of an intent by those who read it. `acknowledged`: somebody has seen to it;
/// `snoozed`: it is to be shown again later.
pub const MARKS: [&str; 2] = ["acknowledged", "snoozed"];

/// What may become of an intent. `planned`: it was put back to be sent again; `forgotten`: it ended
/// long ago as its reason says (one of [`ENDED`]), and its row goes for good.
pub const OUTCOMES: [&str; 6] =
    ["planned", "delivered", "refused", "expired", "suppressed", "forgotten"];

/// What an intent may end as.
pub const ENDED: [&str; 4] = ["delivered", "refused", "expired", "suppressed"];
