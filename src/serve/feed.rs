//! `/v1/notifications`: what was said, for people: listed, streamed, acknowledged, snoozed.
//!
//! # Meaning
//! The view `notifications`, with one thing of its own: what is snoozed is left out until its time,
//! unless `snoozed` asks for it (`true`: only that; `all`: both). As a page, or, where the request
//! accepts `text/event-stream`, as a stream, to which what was snoozed enters at its time.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use schemas::names::MAX_IDENTIFIER_BYTES;
use schemas::time::{parse_rfc3339, rfc3339};
use serde_json::{Value, json};
use warp::reply::Response;

use super::answer::{AsOfJson, json_response};
use super::caller::Caller;
use super::desk::Desk;
use super::events;
use super::query::{Query, key_of};
use super::refusal::Refusal;
use super::routes::{Captures, Endpoint};
use super::{state, stream};
use crate::messages::marks::{Mark, Marking, NotMarked};

const VIEW: &str = "notifications";

/// Longest that a message may be snoozed.
const SNOOZE_MAX_MS: u64 = 366 * 86_400_000;

/// `GET /v1/notifications`
pub(super) async fn read(
    desk: Arc<Desk>,
    caller: Caller,
    mut query: Query<'_>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    match query.take("snoozed")? {
        Some(it) if it == "all" => {}
        Some(it) => query.put("snoozed", it),
        None => query.put("snoozed", Cow::Borrowed("false")),
    }
    let accepts = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or("");
    if accepts.contains("text/event-stream") {
        query.put("view", Cow::Borrowed(VIEW));
        return stream::open(desk, &caller, query, headers);
    }
    let captures = Captures { view: VIEW.into(), ..Captures::default() };
    state::list(desk, caller, captures, query).await
}

/// `POST /v1/notifications/{message}/acknowledge`, `…/snooze`
pub(super) async fn mark(
    desk: &Desk,
    caller: &Caller,
    (endpoint, captures): (Endpoint, &Captures),
    body: &[u8],
) -> Result<Response, Refusal> {
    desk.view(VIEW)?;
    let message = key_of(&captures.view)?;
    let (mark, by) = wanted(endpoint, body, (desk.ports.now_ms)())?;
    let tenant = caller.tenant().to_string();
    let marking = Marking { tenant, message: message.clone(), mark, by };
    let marked = desk.ports.marks.mark(marking).await.map_err(|why| refusal(why, &message))?;
    let told = json!({
        "as_of": AsOfJson(desk.newest()),
        "message": message,
        "did": if mark == Mark::Acknowledged { "acknowledged" } else { "snoozed" },
        "at": marked.at.map(rfc3339),
        "by": marked.by,
        "until": marked.until.map(rfc3339),
        "again": marked.again,
        "position": marked.position,
    });
    Ok(json_response(StatusCode::OK, told.to_string().into_bytes()))
}

fn unread(why: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "serve/body",
        "the body is not understood",
        why,
        r#"send {"by": "zoe"} to acknowledge, {"until": "2026-03-01T12:00:00Z", "by": "zoe"} to snooze"#,
    )
}

/// What is said, and who says it, out of the body.
fn wanted(endpoint: Endpoint, body: &[u8], now_ms: u64) -> Result<(Mark, Option<String>), Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|why| {
        unread(format!("expected JSON, at line {}, column {}", why.line(), why.column()))
    })?;
    let Value::Object(members) = body else { return Err(unread("expected an object")) };
    let snoozes = endpoint == Endpoint::Snooze;
    let (mut by, mut until) = (None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("by", Value::Null) => {}
            ("by", Value::String(it)) if is_identifier(&it) => by = Some(it),
            ("until", Value::Null) if snoozes => until = Some(None),
            ("until", Value::String(it)) if snoozes => {
                until = Some(Some(instant(&it, now_ms)?));
            }
            ("by", _) => {
                return Err(unread(
                    "expected `by` to be an identifier of 1 to 128 bytes, without control \
                     characters",
                ));
            }
            ("until", _) if snoozes => {
                return Err(unread("expected `until` to be a time as RFC 3339 writes it, or null"));
            }
            _ => {
                let all = if snoozes { "until or by" } else { "by" };
                return Err(unread(format!("expected {all}, found {name:?}")));
            }
        }
    }
    match (snoozes, until) {
        (false, _) => Ok((Mark::Acknowledged, by)),
        (true, Some(until)) => Ok((Mark::Snoozed(until), by)),
        (true, None) => Err(unread("expected `until`, found none")),
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_IDENTIFIER_BYTES && !text.chars().any(char::is_control)
}

/// An instant to come, and not too far.
fn instant(text: &str, now_ms: u64) -> Result<i64, Refusal> {
    let found = parse_rfc3339(text)
        .ok_or_else(|| unread(format!("expected a time as RFC 3339 writes it, found {text:?}")))?;
    let ms = u64::try_from(found / 1_000).unwrap_or(0);
    if (now_ms..=now_ms.saturating_add(SNOOZE_MAX_MS)).contains(&ms) {
        return Ok(found);
    }
    Err(unread(format!("expected `until` to be to come, within 366 days; found {text:?}")))
}

fn refusal(why: NotMarked, message: &str) -> Refusal {
    match why {
        NotMarked::Log(refused) => events::refused(refused),
        NotMarked::NoSuch => Refusal::new(
            StatusCode::NOT_FOUND,
            "serve/no-such-row",
            "no such row",
            format!("{VIEW} has no row {message:?} for this tenant at this instant"),
            "check key and tenant; `GET /v1/notifications` lists what there is",
        ),
    }
}
