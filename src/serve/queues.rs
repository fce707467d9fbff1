//! `/v1/queues/{queue}`: who is next, and who takes, gives back and finishes cases.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use schemas::events::{MAX_SKILLS, MAX_TEXT_BYTES};
use schemas::names::MAX_IDENTIFIER_BYTES;
use schemas::time::rfc3339;
use serde_json::{Map, Value, json};
use warp::reply::Response;

use super::answer::{AsOfJson, RowJson, epoch_time, json_response, push_json};
use super::caller::Caller;
use super::desk::Desk;
use super::events;
use super::query::{Query, key_of};
use super::refusal::Refusal;
use super::routes::{Captures, Endpoint};
use super::state::{LIMIT, MAX_LIMIT};
use crate::messages::queues::{Asked, Decision, Ordered, Refused, Wanted};

/// `GET /v1/queues/{queue}`
pub(super) async fn order(
    desk: Arc<Desk>,
    caller: Caller,
    captures: Captures,
    mut query: Query<'_>,
) -> Result<Response, Refusal> {
    let limit = query.number("limit", 1, MAX_LIMIT)?.unwrap_or(LIMIT) as usize;
    query.end()?;
    let queue = name(&captures)?;
    let asking = Arc::clone(&desk);
    let of = queue.clone();
    let work = move || asking.ports.queues.order(caller.tenant(), &of, limit).map_err(refusal);
    let ordered = desk.long.read(work).await?;
    let Ordered { as_of, picks, n_waiting, oldest, rows } = ordered;
    let def = desk.view("priority_queue")?.def();
    let mut body = Vec::with_capacity(256 + rows.len() * 512);
    body.extend(b"{\"as_of\":");
    push_json(&mut body, &AsOfJson(as_of));
    let told = json!({
        "queue": queue, "at": epoch_time(as_of.epoch), "n_claims": picks, "n_waiting": n_waiting,
        "oldest_opened_at": oldest.map(rfc3339),
        "longest_wait_seconds": oldest.map(|it| waited(as_of.epoch, it)),
    });
    for (name, value) in told.as_object().into_iter().flatten() {
        body.push(b',');
        push_json(&mut body, name);
        body.push(b':');
        push_json(&mut body, value);
    }
    body.extend(b",\"cases\":[");
    for (n, row) in rows.iter().enumerate() {
        body.extend(if n == 0 { b"".as_slice() } else { b"," });
        push_json(&mut body, &RowJson(def, row));
    }
    body.extend(b"]}");
    Ok(json_response(StatusCode::OK, body))
}

/// Seconds from an instant (microseconds) to an epoch (milliseconds); what is to come has not waited.
fn waited(epoch: u64, since: i64) -> i64 {
    let now = i64::try_from(epoch).unwrap_or(i64::MAX);
    (now.saturating_sub(since.div_euclid(1_000)) / 1_000).max(0)
}

fn name(captures: &Captures) -> Result<String, Refusal> {
    let written = key_of(&captures.view)?;
    let mut name = String::new();
    // A queue is one part of a key: as it was written in the event.
    let decoded = percent_encoding::percent_decode_str(&written).decode_utf8_lossy();
    name.push_str(&decoded);
    identifier("queue", &name)?;
    Ok(name)
}

fn identifier(what: &str, text: &str) -> Result<(), Refusal> {
    let fits = !text.is_empty() && text.len() <= MAX_IDENTIFIER_BYTES;
    if fits && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let why =
        format!("expected {what}: an identifier of 1 to 128 bytes, without control characters");
    Err(unread(why))
}

/// The key under which a request is remembered.
pub(super) fn key(headers: &HeaderMap) -> Result<String, Refusal> {
    let why = "expected the header once: 1 to 128 bytes of text that no other request has";
    let refuse = || Refusal::parameter("Idempotency-Key", why);
    let mut all = headers.get_all("idempotency-key").iter();
    let (Some(key), None) = (all.next(), all.next()) else { return Err(refuse()) };
    let key = key.to_str().map_err(|_| refuse())?.trim();
    let fits = !key.is_empty() && key.len() <= MAX_IDENTIFIER_BYTES;
    if fits { Ok(key.to_string()) } else { Err(refuse()) }
}

/// `POST /v1/queues/{queue}/claim`, `…/release`, `…/complete`
pub(super) async fn ask(
    desk: &Desk,
    caller: &Caller,
    (endpoint, captures): (Endpoint, &Captures),
    key: String,
    body: &[u8],
) -> Result<Response, Refusal> {
    let what = wanted(endpoint, body)?;
    let agent = what.agent().to_string();
    let asked = Asked { tenant: caller.tenant().to_string(), queue: name(captures)?, key, what };
    let queue = asked.queue.clone();
    let waiting = desk.ports.queues.ask(asked).map_err(refusal)?;
    let answered = waiting.await.unwrap_or(Err(Refused::Ending)).map_err(refusal)?;
    let mut told = Map::new();
    told.insert("as_of".into(), json!(AsOfJson(desk.newest())));
    told.insert("queue".into(), json!(queue));
    told.insert("agent".into(), json!(agent));
    match answered {
        None => drop(told.insert("case".into(), Value::Null)),
        Some(it) => decision(&it, &mut told),
    }
    Ok(json_response(StatusCode::OK, Value::Object(told).to_string().into_bytes()))
}

fn decision(it: &Decision, into: &mut Map<String, Value>) {
    into.insert("case".into(), json!(it.case));
    into.insert("did".into(), json!(it.did));
    into.insert("at".into(), json!(rfc3339(it.at)));
    if let Some(until) = it.until {
        into.insert("until".into(), json!(rfc3339(until)));
    }
    into.insert("again".into(), json!(it.again));
    into.insert("position".into(), json!(it.position));
}

fn unread(why: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "serve/body",
        "the body is not understood",
        why,
        r#"send {"agent": "ann", "skills": ["french"]} to claim, {"agent": "ann", "case": "K-1"} to release or complete"#,
    )
}

/// What is asked for, out of the body.
fn wanted(endpoint: Endpoint, body: &[u8]) -> Result<Wanted, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|why| {
        unread(format!("expected JSON, at line {}, column {}", why.line(), why.column()))
    })?;
    let Value::Object(members) = body else { return Err(unread("expected an object")) };
    let (mut agent, mut case, mut skills, mut resolution) = (None, None, Vec::new(), None);
    let claims = endpoint == Endpoint::QueueClaim;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("agent", Value::String(it)) => agent = Some(it),
            ("case", Value::String(it)) if !claims => case = Some(it),
            ("skills", Value::Array(all)) if claims && all.len() <= MAX_SKILLS => {
                for it in all {
                    let Value::String(it) = it else {
                        return Err(unread("expected `skills` to be a list of texts"));
                    };
                    skills.push(it);
                }
            }
            ("resolution", Value::String(it))
                if endpoint == Endpoint::QueueComplete && it.len() <= MAX_TEXT_BYTES =>
            {
                resolution = Some(it);
            }
            ("resolution", Value::Null) if endpoint == Endpoint::QueueComplete => {}
            ("agent" | "case" | "skills" | "resolution", _) => {
                return Err(unread(format!(
                    "{name:?} is not of this request, or not what it takes (skills: a list of at \
                     most {MAX_SKILLS} texts; resolution: text of at most {MAX_TEXT_BYTES} bytes)"
                )));
            }
            _ => {
                return Err(unread(format!(
                    "expected agent, case, skills or resolution, found {name:?}"
                )));
            }
        }
    }
    let agent = agent.ok_or_else(|| unread("expected `agent`, found none"))?;
    identifier("agent", &agent)?;
    if claims {
        return Ok(Wanted::Claim { agent, skills });
    }
    let case = case.ok_or_else(|| unread("expected `case`, found none"))?;
    identifier("case", &case)?;
    Ok(match endpoint {
        Endpoint::QueueRelease => Wanted::Release { agent, case },
        _ => Wanted::Complete { agent, case, resolution },
    })
}

fn refusal(why: Refused) -> Refusal {
    let later = |code, title, detail: String, fix| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail, fix).retry_after(1)
    };
    match why {
        Refused::Busy => later(
            "desk/busy",
            "the desk has too much to decide",
            "as many requests wait as may, or the views are too far behind".into(),
            "send it again, with the same Idempotency-Key",
        ),
        Refused::Behind { have, need } => later(
            "desk/behind",
            "the log's tail is not applied yet",
            format!("positions below {have} are in the views, those below {need} have to be"),
            "send it again; after a start it takes as long as reading the log's tail",
        ),
        Refused::NoView(view) => later(
            "desk/no-view",
            "a view that is needed is not there",
            format!("the view {view} is not kept, or is being built again"),
            "keep cases, claims, priority_queue and queue_load (engine.views), or wait",
        ),
        Refused::Ending => later(
            "serve/unfinished",
            "the request was not finished",
            "the process is ending".into(),
            "send it again, with the same Idempotency-Key",
        ),
        Refused::Held { holder, status } => Refusal::new(
            StatusCode::CONFLICT,
            "desk/held",
            "the agent does not have the case",
            match &holder {
                Some(it) => format!("{it:?} has it"),
                None => format!("nobody has it: it is {status}"),
            },
            "claim again: the lease has ended, or the case was never given to this agent",
        )
        .with("holder", json!(holder)),
        Refused::NoCase(case) => Refusal::new(
            StatusCode::NOT_FOUND,
            "desk/no-such-case",
            "no such case",
            format!("{case:?} is not known to this tenant at this instant"),
            "check case and tenant",
        ),
        Refused::KeyUsed { did, case } => Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "desk/key-used",
            "the key was used for another request",
            format!("under this Idempotency-Key {case:?} was {did}"),
            "use a key of its own for each request",
        ),
        Refused::Log(refused) => events::refused(refused),
    }
}
