//! `POST /v1/events`: a request is taken whole, durably, or refused whole with every problem.
//!
//! In: a body in one of CloudEvents' three modes. Out: structured records in the embedded log.
//!
//! # Invariants
//! - The answer 202 comes after the log has the block durably; `position` is the next position
//!   after it.
//! - What the log keeps names its tenant: an event without one gets the caller's, an event with
//!   another one than the caller's is refused.
//! - No record is longer than `max_event_bytes`, the tenant that was written in included: whoever
//!   reads the log, and whoever keeps a record among the rejects, has a limit to rely on.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode;
use schemas::decode;
use schemas::events::EventType;
use schemas::names::DEFAULT_TENANT;
use schemas::own;
use schemas::problem::Problem;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::reply::Response;

use super::answer::{AsOfJson, json_response};
use super::body::media_type;
use super::caller::Caller;
use super::desk::Desk;
use super::query::Query;
use super::refusal::Refusal;
use super::state::blocking;
use crate::messages::{AppendRefused, Appended, Ended};

/// A body that is decoded on the reactor itself: below a millisecond.
const INLINE_BYTES: usize = 64 * 1024;
/// Most problems told of one request; more would only repeat themselves.
const MAX_PROBLEMS: usize = 1_000;

const NOT_TAKEN: &str = "nothing was taken: a request is taken whole or not at all";

/// How the body holds its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Structured,
    Batch,
    Binary,
}

/// Takes the parameters; the body comes later.
pub(super) fn wait_applied(mut query: Query<'_>) -> Result<bool, Refusal> {
    let wait = match query.take("wait")?.as_deref() {
        None => false,
        Some("applied") => true,
        Some(_) => {
            return Err(Refusal::parameter("wait", "expected `applied`, or no such parameter"));
        }
    };
    query.end()?;
    Ok(wait)
}

/// Decodes, appends, answers.
pub(super) async fn append(
    desk: Arc<Desk>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
    wait: bool,
) -> Result<Response, Refusal> {
    let mode = mode(&headers)?;
    let limits = Limits {
        event_bytes: desk.settings.max_event_bytes,
        now_ms: (desk.ports.now_ms)(),
        future_ms: desk.ports.future_limit.as_millis() as u64,
    };
    let inline = body.len() <= INLINE_BYTES;
    let decode = move || records(mode, &headers, &body, &caller, &limits);
    let records = if inline { decode()? } else { blocking(decode).await? };
    let accepted = records.len();
    if accepted == 0 {
        return Ok(taken(&desk, 0, desk.newest().position, None));
    }
    let appended = match desk.ports.append.append(records) {
        Ok(receiver) => receiver.await.unwrap_or_else(|_| Err(stopping())),
        Err(refused) => Err(refused),
    };
    let Appended { first, next } = appended.map_err(refused)?;
    let applied = if wait { Some(desk.reached(next).await) } else { None };
    let counts =
        applied.map(|in_time| (in_time, in_time.then(|| (desk.ports.applied)(first, next))));
    Ok(taken(&desk, accepted, next, counts.map(|(in_time, counts)| (in_time, counts.flatten()))))
}

type Counts = Option<Ended>;

fn taken(desk: &Desk, accepted: usize, position: u64, waited: Option<(bool, Counts)>) -> Response {
    let mut body = json!({
        "accepted": accepted, "position": position, "as_of": AsOfJson(desk.newest()),
    });
    if let Some((applied, counts)) = waited {
        body["applied"] = json!(applied);
        if let Some(Ended { new, duplicate, rejected }) = counts {
            body["new"] = json!(new);
            body["duplicate"] = json!(duplicate);
            body["rejected"] = json!(rejected);
        }
    }
    json_response(StatusCode::ACCEPTED, body.to_string().into_bytes())
}

pub(super) fn refused(why: AppendRefused) -> Refusal {
    match why {
        AppendRefused::Busy(after) => {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "serve/busy",
                "queues are full",
                "more comes in than the log or the views take",
                format!("send again after {seconds} s, then slower"),
            )
            .effect(NOT_TAKEN)
            .retry_after(seconds.max(1))
        }
        AppendRefused::Failed(report) => Refusal::report(report),
    }
}

fn stopping() -> AppendRefused {
    AppendRefused::Failed(crate::report::Report {
        code: "serve/log-stopped",
        what: "could not append".into(),
        at: vec![],
        why: "the log has stopped; the process is ending".into(),
        effect: "the events may or may not be in the log".into(),
        fix: "send them again with the same ids once it is back: known ones are not counted twice"
            .into(),
    })
}

fn mode(headers: &HeaderMap) -> Result<Mode, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|it| it.to_str().unwrap_or("?"));
    let (media, parameters) =
        content_type.map_or(("", ""), |it| it.split_once(';').unwrap_or((it, "")));
    let media = media.trim().to_ascii_lowercase();
    let utf8 =
        parameters.split(';').all(|it| match it.trim().to_ascii_lowercase().split_once('=') {
            Some(("charset", set)) => matches!(set.trim_matches('"'), "utf-8" | "us-ascii"),
            _ => true,
        });
    let binary = headers.contains_key("ce-specversion") || headers.contains_key("ce-id");
    match media.as_str() {
        _ if !utf8 => Err(media_type(content_type.unwrap_or(""))),
        "application/cloudevents+json" => Ok(Mode::Structured),
        "application/cloudevents-batch+json" => Ok(Mode::Batch),
        "application/json" | "" => Ok(Mode::Binary),
        other if other.ends_with("+json") && binary => Ok(Mode::Binary),
        _ => Err(media_type(content_type.unwrap_or(""))),
    }
}

struct Limits {
    event_bytes: u64,
    now_ms: u64,
    future_ms: u64,
}

fn records(
    mode: Mode,
    headers: &HeaderMap,
    body: &[u8],
    caller: &Caller,
    limits: &Limits,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let events: Vec<Cow<'_, [u8]>> = match mode {
        Mode::Structured => vec![Cow::Borrowed(body)],
        Mode::Batch => match decode::batch(body) {
            Ok(events) => events.into_iter().map(Cow::Borrowed).collect(),
            Err(problem) => return Err(all_problems(mode, vec![(None, problem)])),
        },
        Mode::Binary => vec![Cow::Owned(structured(headers, body)?)],
    };
    if let Some(index) = events.iter().position(|it| it.len() as u64 > limits.event_bytes) {
        return Err(event_too_large(index, events[index].len(), "", limits.event_bytes));
    }
    let mut problems = Vec::new();
    let mut records = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        match check(&event, caller, limits) {
            Ok(Stamp::AsItIs) => records.push(event.into_owned()),
            Ok(Stamp::Tenant) => match stamped(&event, caller.tenant()) {
                Ok(record) if record.len() as u64 > limits.event_bytes => {
                    let with = " with the tenant of the request written in";
                    return Err(event_too_large(index, record.len(), with, limits.event_bytes));
                }
                Ok(record) => records.push(record),
                Err(problem) => problems.push((Some(index), problem)),
            },
            Err(found) => problems.extend(found.into_iter().map(|it| (Some(index), it))),
        }
    }
    if problems.is_empty() { Ok(records) } else { Err(all_problems(mode, problems)) }
}

fn structured(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    if !headers.keys().any(|it| it.as_str().starts_with("ce-")) {
        return Err(no_attributes(headers, body));
    }
    let mut attributes = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        // The binding's: what is no printable ASCII is percent-encoded in headers.
        let Ok(value) = percent_decode(value.as_bytes()).decode_utf8() else {
            return Err(Refusal::parameter(&format!("ce-{name}"), "is not UTF-8"));
        };
        attributes.push((name, value));
    }
    let attributes: Vec<(&str, &str)> =
        attributes.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    decode::binary_to_structured(&attributes, content_type, body)
        .map_err(|problem| all_problems(Mode::Binary, vec![(Some(0), problem)]))
}

/// JSON without a `ce-…` header: nearly always an event whole, under the wrong media type.
fn no_attributes(headers: &HeaderMap, body: &[u8]) -> Refusal {
    #[derive(Deserialize)]
    struct Whole {
        #[serde(default)]
        specversion: Option<serde::de::IgnoredAny>,
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let found = content_type.unwrap_or("none");
    let first = body.trim_ascii_start().first();
    let whole = || serde_json::from_slice::<Whole>(body).is_ok_and(|it| it.specversion.is_some());
    let (is, media) = match first {
        Some(b'[') => ("is an array", "application/cloudevents-batch+json"),
        Some(b'{') if whole() => ("is a whole event", "application/cloudevents+json"),
        _ => ("is no event by itself", "application/cloudevents+json"),
    };
    let names = ["specversion", "type", "source", "id", "time"].map(|it| format!("ce-{it}"));
    let problems = names.iter().map(|it| {
        json!({"event": 0, "header": it, "code": "schemas/wrong-shape",
               "expected": "a header", "found": "nothing"})
    });
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "serve/events",
        "events are not understood",
        format!(
            "Content-Type {found} says that the body is an event's `data` and that headers ({}) \
             say the rest; there are no such headers, and the body {is}",
            names.join(", ")
        ),
        format!("send it with Content-Type: {media}, or with the headers"),
    )
    .effect(NOT_TAKEN)
    .with("n_problems", json!(names.len()))
    .with("problems", problems.collect())
}

/// Where a problem is in what was sent: in binary mode attributes are headers, and the body is
/// `data`.
fn place(mode: Mode, pointer: &str) -> (&'static str, String) {
    match (mode, pointer.strip_prefix("/data")) {
        (Mode::Binary, Some(in_body)) if in_body.is_empty() || in_body.starts_with('/') => {
            ("pointer", in_body.to_string())
        }
        (Mode::Binary, _) if pointer == "/datacontenttype" => ("header", "content-type".into()),
        (Mode::Binary, _) if pointer.len() > 1 => ("header", format!("ce-{}", &pointer[1..])),
        _ => ("pointer", pointer.to_string()),
    }
}

/// What is still to be written into a record.
enum Stamp {
    AsItIs,
    Tenant,
}

/// Every problem of an event: those of its shape, and what this request may not say.
fn check(record: &[u8], caller: &Caller, limits: &Limits) -> Result<Stamp, Vec<Problem>> {
    let event = match decode::structured(record) {
        Ok(event) => event,
        Err(first) => {
            let mut all = decode::problems(record);
            if all.is_empty() {
                all.push(first);
            }
            for it in Claims::loosely(record).problems(caller, limits) {
                // What is told of a part is told of it once.
                if all.iter().all(|told| told.pointer != it.pointer) {
                    all.push(it);
                }
            }
            return Err(all);
        }
    };
    // What decoding gives for an absent tenant is the default one's name.
    let absent =
        event.tenant == DEFAULT_TENANT && event.tenant != caller.tenant() && !names_tenant(record);
    let claims = Claims {
        source: Cow::Borrowed(&*event.source),
        kind: Some(event.data.event_type()),
        time: Some(event.time),
        tenant: (!absent).then_some(Cow::Borrowed(&*event.tenant)),
    };
    let problems = claims.problems(caller, limits);
    match (problems.is_empty(), event.tenant == caller.tenant()) {
        (false, _) => Err(problems),
        (true, true) => Ok(Stamp::AsItIs),
        (true, false) => Ok(Stamp::Tenant),
    }
}

/// What an event says of itself that a request may not: who it is from, when it was, and whose.
#[derive(Default)]
struct Claims<'e> {
    source: Cow<'e, str>,
    kind: Option<EventType>,
    /// Microseconds since the Unix epoch.
    time: Option<i64>,
    tenant: Option<Cow<'e, str>>,
}

impl Claims<'_> {
    /// Of a record that is no event: as much of it as can be told.
    fn loosely(record: &[u8]) -> Claims<'static> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Loose {
            source: Value,
            r#type: Value,
            time: Value,
            tenant: Value,
        }
        let said: Loose = serde_json::from_slice(record).unwrap_or_default();
        let text = |it: &Value| it.as_str().map(String::from);
        Claims {
            source: text(&said.source).unwrap_or_default().into(),
            kind: said
                .r#type
                .as_str()
                .and_then(|it| EventType::ALL.into_iter().find(|kind| kind.as_str() == it)),
            time: said.time.as_str().and_then(schemas::time::parse_rfc3339),
            tenant: text(&said.tenant).map(Cow::Owned),
        }
    }

    fn problems(&self, caller: &Caller, limits: &Limits) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            own::said_by_others(&self.source, self.kind).err().into_iter().collect();
        let latest_ms = limits.now_ms.saturating_add(limits.future_ms);
        if let Some(time) = self.time
            && u64::try_from(time).is_ok_and(|it| it / 1_000 > latest_ms)
        {
            let latest = i64::try_from(latest_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
            problems.push(Problem::future_time(time, latest));
        }
        if let Some(tenant) = self.tenant.as_deref().filter(|it| *it != caller.tenant()) {
            problems.push(Problem {
                code: "serve/other-tenant",
                pointer: "/tenant".into(),
                expected: format!("the tenant of the request, {:?}, or none", caller.tenant()),
                found: format!("{tenant:?}"),
            });
        }
        problems
    }
}

/// Whether a record, known to be an event, has the attribute.
fn names_tenant(record: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Tenant {
        #[serde(default)]
        tenant: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Tenant>(record).map_or(true, |it| it.tenant.is_some())
}

/// Whether a record, known to be an object, has the attribute's key, whatever it says.
fn has_tenant_key(record: &[u8]) -> bool {
    let members: Result<std::collections::BTreeMap<Cow<'_, str>, serde::de::IgnoredAny>, _> =
        serde_json::from_slice(record);
    members.is_ok_and(|it| it.contains_key("tenant"))
}

/// The record with its tenant written in, read once more: what the log keeps must be readable.
fn stamped(record: &[u8], tenant: &str) -> Result<Vec<u8>, Problem> {
    let stamped = with_tenant(record, tenant);
    match decode::structured(&stamped) {
        Ok(_) => Ok(stamped),
        // It has a key of that name already, with nothing in it.
        Err(_) if has_tenant_key(record) => Err(Problem {
            code: "schemas/wrong-shape",
            pointer: "/tenant".into(),
            expected: "text, or no `tenant`".into(),
            found: "null".into(),
        }),
        Err(problem) => Err(problem),
    }
}

/// The record, known to be an object that is not empty, with the attribute in front.
fn with_tenant(record: &[u8], tenant: &str) -> Vec<u8> {
    let start = record.iter().position(|it| *it == b'{').map_or(0, |it| it + 1);
    let mut stamped = Vec::with_capacity(record.len() + tenant.len() + 16);
    stamped.extend(b"{\"tenant\":");
    super::answer::push_json(&mut stamped, &tenant);
    stamped.push(b',');
    stamped.extend(&record[start..]);
    stamped
}

fn event_too_large(index: usize, found: usize, with: &str, limit: u64) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "serve/event-too-large",
        "an event is too large",
        format!("event {index}: expected at most {limit} bytes, found {found}{with}"),
        "send less in one event, or raise serve.max_event_bytes",
    )
    .effect(NOT_TAKEN)
    .with("event", json!(index))
    .with("limit_bytes", json!(limit))
}

fn all_problems(mode: Mode, problems: Vec<(Option<usize>, Problem)>) -> Refusal {
    let told: Vec<Value> = problems
        .iter()
        .take(MAX_PROBLEMS)
        .map(|(event, it)| {
            let (part, place) = place(mode, &it.pointer);
            json!({
                "event": event, part: place, "code": it.code,
                "expected": it.expected, "found": it.found,
            })
        })
        .collect();
    let n = problems.len();
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "serve/events",
        "events are not understood",
        format!("{n} problem{}", if n == 1 { "" } else { "s" }),
        "correct the events named and send all of them again",
    )
    .effect(NOT_TAKEN)
    .with("n_problems", json!(n))
    .with("problems", told.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_told_by_the_media_type() {
        let check = |content_type: &str, ce: bool, expected: Option<Mode>| {
            let mut headers = HeaderMap::new();
            if !content_type.is_empty() {
                headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            if ce {
                headers.insert("ce-id", "1".parse().unwrap());
            }
            assert_eq!(mode(&headers).ok(), expected, "{content_type}");
        };
        check("application/cloudevents+json; charset=UTF-8", false, Some(Mode::Structured));
        check("Application/CloudEvents-Batch+JSON", false, Some(Mode::Batch));
        check("application/json", true, Some(Mode::Binary));
        check("application/vnd.order+json", true, Some(Mode::Binary));
        check("application/vnd.order+json", false, None);
        check("application/cloudevents+json; charset=latin1", false, None);
        check("application/cloudevents+avro", false, None);
        check("text/plain", true, None);
        check("", true, Some(Mode::Binary));
    }

    #[test]
    fn the_tenant_is_written_into_the_record() {
        let stamped = with_tenant(b" {\"id\":\"1\"}", "a\"b");
        assert_eq!(String::from_utf8(stamped).unwrap(), r#"{"tenant":"a\"b","id":"1"}"#);
        assert!(names_tenant(br#"{"tenant":"default"}"#));
        assert!(!names_tenant(br#"{"data":{"tenant":"x"}}"#));
    }
}
