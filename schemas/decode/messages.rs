//! `data` of what rules decided to say, and of what became of it.

use super::data::{AN_IDENTIFIER, not_ours};
use super::fields::{identifier, integer, optional, required, text, time};
use super::report::{At, Stop, Tell};
use crate::events::{MessageAnswered, MessageMarked, MessagePlanned};
use crate::json::Scanner;
use crate::limits::ATTEMPTS;

const A_TEXT: &str = "a text";

pub(super) fn planned<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<MessagePlanned<'a>, Stop> {
    const FIELDS: &[&str] = &[
        "message",
        "rule",
        "version",
        "view",
        "about",
        "episode",
        "channel",
        "severity",
        "text",
        "reason",
        "corrects",
        "suppressed",
        "customer",
        "due",
        "expires",
    ];
    let (mut message, mut rule, mut version, mut view) = (None, None, None, None);
    let (mut about, mut episode, mut channel, mut severity) = (None, None, None, None);
    let (mut words, mut reason, mut corrects, mut suppressed) = (None, None, None, None);
    let (mut customer, mut due, mut expires) = (None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "message" => message = Some(identifier(s, tell, at)?),
            "rule" => rule = Some(identifier(s, tell, at)?),
            "version" => version = Some(identifier(s, tell, at)?),
            "view" => view = Some(identifier(s, tell, at)?),
            "about" => about = Some(text(s, tell, at)?),
            "episode" => episode = Some(text(s, tell, at)?),
            "channel" => channel = Some(identifier(s, tell, at)?),
            "severity" => severity = Some(identifier(s, tell, at)?),
            "text" => words = Some(text(s, tell, at)?),
            "reason" => reason = optional(s, |s| text(s, tell, at))?,
            "corrects" => corrects = optional(s, |s| identifier(s, tell, at))?,
            "suppressed" => suppressed = optional(s, |s| identifier(s, tell, at))?,
            "customer" => customer = optional(s, |s| identifier(s, tell, at))?,
            "due" => due = optional(s, |s| time(s, tell, at))?,
            "expires" => expires = optional(s, |s| time(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(MessagePlanned {
        message: required(message, tell, At::Data("message"), AN_IDENTIFIER)?,
        rule: required(rule, tell, At::Data("rule"), AN_IDENTIFIER)?,
        version: required(version, tell, At::Data("version"), AN_IDENTIFIER)?,
        view: required(view, tell, At::Data("view"), AN_IDENTIFIER)?,
        about: required(about, tell, At::Data("about"), A_TEXT)?,
        episode: required(episode, tell, At::Data("episode"), A_TEXT)?,
        channel: required(channel, tell, At::Data("channel"), AN_IDENTIFIER)?,
        severity: required(severity, tell, At::Data("severity"), AN_IDENTIFIER)?,
        text: required(words, tell, At::Data("text"), A_TEXT)?,
        reason,
        corrects,
        suppressed,
        customer,
        due,
        expires,
    })
}

pub(super) fn answered<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<MessageAnswered<'a>, Stop> {
    const FIELDS: &[&str] = &["message", "outcome", "reason", "attempts"];
    let (mut message, mut outcome, mut reason, mut attempts) = (None, None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "message" => message = Some(identifier(s, tell, at)?),
            "outcome" => outcome = Some(identifier(s, tell, at)?),
            "reason" => reason = optional(s, |s| text(s, tell, at))?,
            "attempts" => attempts = optional(s, |s| integer(s, tell, at, &ATTEMPTS))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(MessageAnswered {
        message: required(message, tell, At::Data("message"), AN_IDENTIFIER)?,
        outcome: required(outcome, tell, At::Data("outcome"), AN_IDENTIFIER)?,
        reason,
        attempts,
    })
}

pub(super) fn marked<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<MessageMarked<'a>, Stop> {
    const FIELDS: &[&str] = &["message", "mark", "by", "until"];
    let (mut message, mut mark, mut by, mut until) = (None, None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "message" => message = Some(identifier(s, tell, at)?),
            "mark" => mark = Some(identifier(s, tell, at)?),
            "by" => by = optional(s, |s| identifier(s, tell, at))?,
            "until" => until = optional(s, |s| time(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(MessageMarked {
        message: required(message, tell, At::Data("message"), AN_IDENTIFIER)?,
        mark: required(mark, tell, At::Data("mark"), AN_IDENTIFIER)?,
        by,
        until,
    })
}
