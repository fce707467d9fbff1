//! What an operator asks: ledger, rejects, health, metrics, operators, and the admin routes.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use schemas::names::DEFAULT_TENANT;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::reply::Response;

use super::answer::{AsOfJson, json_response};
use super::caller::Caller;
use super::desk::Desk;
use super::query::Query;
use super::refusal::Refusal;
use super::routes::{Endpoint, Route};
use super::state::{LIMIT, MAX_LIMIT, blocking};
use super::{AdminAction, KeptReject};

/// Rejects taken from the store at once: at most a few megabytes.
const REJECTS_AT_ONCE: usize = 100;
/// Rejects looked at for one page.
const MAX_REJECTS_EXAMINED: usize = 10_000;
/// Most records of one answer to the command line: at 64 KiB each, 64 MiB.
const MAX_ADMIN_LIMIT: u64 = 1_000;

fn answer(status: StatusCode, body: &Value) -> Response {
    json_response(status, body.to_string().into_bytes())
}

/// `GET /v1/ledger`
pub(super) fn ledger(desk: &Desk) -> Response {
    let ledger = (desk.ports.ledger)();
    let mut body = json!({
        "as_of": AsOfJson(ledger.as_of), "partitions": ledger.partitions, "dedup": ledger.dedup,
    });
    if let Some(counts) = ledger.notifications {
        let counts = counts.into_iter().filter(|it| it.1 != 0);
        let counts = counts.map(|(state, n)| (state, Value::from(n)));
        body["notifications"] = Value::Object(counts.collect());
    }
    answer(StatusCode::OK, &body)
}

/// `GET /health/live`, `GET /health/ready`
pub(super) fn health(desk: &Desk, endpoint: Endpoint) -> Response {
    let health = (desk.ports.health)();
    let as_of = AsOfJson(desk.newest());
    let (name, reasons) = match endpoint {
        Endpoint::Live => ("live", health.dead),
        _ => ("ready", [health.dead, health.not_ready].concat()),
    };
    let well = reasons.is_empty();
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &json!({name: well, "reasons": reasons, "as_of": as_of}))
}

/// `GET /metrics`
pub(super) fn metrics(desk: &Desk) -> Response {
    (desk.ports.gather)();
    let mut response = json_response(StatusCode::OK, desk.ports.metrics.encode().into_bytes());
    let kind = HeaderValue::from_static(Route::of(Endpoint::Metrics).answer);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// `GET /v1/debug/dataflow`
pub(super) fn dataflow(desk: &Desk) -> Response {
    let body = json!({"as_of": AsOfJson(desk.newest()), "dataflow": (desk.ports.debug)()});
    answer(StatusCode::OK, &body)
}

/// `GET /openapi.json`
pub(super) fn openapi(desk: &Desk) -> Response {
    json_response(StatusCode::OK, desk.openapi.to_vec())
}

/// `GET /v1/rejects`
pub(super) async fn rejects(
    desk: Arc<Desk>,
    caller: Caller,
    mut query: Query<'_>,
) -> Result<Response, Refusal> {
    let (reason, feed) = origin(&desk, &mut query).await?;
    let limit = query.number("limit", 1, MAX_LIMIT)?.unwrap_or(LIMIT) as usize;
    let before = query.number("cursor", 0, u64::MAX)?;
    query.end()?;
    let long = Arc::clone(&desk);
    let page = move || {
        let as_of = AsOfJson(desk.newest());
        let (mut rows, mut before, mut examined, mut more) = (Vec::new(), before, 0, true);
        while more && rows.len() < limit && examined < MAX_REJECTS_EXAMINED {
            let (reason, feed) = (reason.as_deref(), feed.as_deref());
            let found = desk.ports.rejects.list(reason, feed, before, REJECTS_AT_ONCE);
            let found = found.map_err(Refusal::report)?;
            more = !found.is_empty();
            for reject in found {
                if rows.len() == limit {
                    break;
                }
                examined += 1;
                before = Some(reject.id);
                if sees(&caller, &reject) {
                    rows.push(reject.told);
                }
            }
        }
        let next = before.filter(|_| more).map(|it| it.to_string());
        let mut body = json!({"as_of": as_of, "rejects": rows, "next": next});
        // A count is of all tenants: for those only who see what is nobody's.
        if caller.sees_unattributed() {
            body["counts"] = desk.ports.rejects.counts();
        }
        Ok(answer(StatusCode::OK, &body))
    };
    long.long.read(page).await
}

/// The parameters `reason` and `feed`, if there is anything by these names.
async fn origin(desk: &Arc<Desk>, query: &mut Query<'_>) -> Result<Origin, Refusal> {
    let reason = query.take("reason")?.map(String::from);
    let feed = query.take("feed")?.map(String::from);
    if reason.is_none() && feed.is_none() {
        return Ok((None, None));
    }
    let desk = Arc::clone(desk);
    blocking(move || {
        let known = desk.ports.rejects.known();
        known_as("reason", reason.as_deref(), &known.reasons)?;
        known_as("feed", feed.as_deref(), &known.feeds)?;
        Ok((reason, feed))
    })
    .await
}

/// A reason and a feed, where they are asked for.
type Origin = (Option<String>, Option<String>);

/// Refuses a name that is none of these: an empty page would look like an answer.
fn known_as(parameter: &str, name: Option<&str>, known: &[String]) -> Result<(), Refusal> {
    match name {
        Some(name) if !known.iter().any(|it| it == name) => {
            let why = format!("expected one of {}, found {name:?}", known.join(", "));
            Err(Refusal::parameter(parameter, why).with("known", json!(known)))
        }
        _ => Ok(()),
    }
}

fn sees(caller: &Caller, reject: &KeptReject) -> bool {
    match owner(reject) {
        Some(tenant) => tenant == caller.tenant(),
        None => caller.sees_unattributed(),
    }
}

/// Whose a record is that could not be decoded: what its `tenant` says, if that can be read and
/// says one thing.
fn owner(reject: &KeptReject) -> Option<String> {
    #[derive(Deserialize)]
    struct Tenant {
        #[serde(default)]
        tenant: Option<Value>,
    }
    if !reject.native {
        return None;
    }
    match serde_json::from_slice(&reject.bytes) {
        Ok(Tenant { tenant: Some(Value::String(tenant)) }) => Some(tenant),
        Ok(Tenant { tenant: None }) if reject.bytes.trim_ascii_start().starts_with(b"{") => {
            Some(DEFAULT_TENANT.to_string())
        }
        Ok(_) => None,
        Err(_) => {
            let text = String::from_utf8_lossy(&reject.bytes);
            let mut named = text.split("\"tenant\"").skip(1).filter_map(|rest| {
                let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
                value.split('"').next()
            });
            let first = named.next()?;
            named.all(|it| it == first).then(|| first.to_string())
        }
    }
}

/// `/v1/admin/…`
pub(super) async fn admin(
    desk: Arc<Desk>,
    endpoint: Endpoint,
    mut query: Query<'_>,
) -> Result<Response, Refusal> {
    let action = match endpoint {
        Endpoint::AdminShutdown => AdminAction::Shutdown,
        Endpoint::AdminLog => AdminAction::LogStats,
        Endpoint::AdminRecords => AdminAction::LogShow {
            from: query.number("from", 0, u64::MAX)?,
            limit: query.number("limit", 1, MAX_ADMIN_LIMIT)?.unwrap_or(LIMIT) as usize,
        },
        Endpoint::AdminRejects => {
            let (reason, feed) = origin(&desk, &mut query).await?;
            AdminAction::Rejects {
                reason,
                feed,
                number: query.number("id", 0, u64::MAX)?,
                limit: query.number("limit", 1, MAX_ADMIN_LIMIT)?.unwrap_or(LIMIT) as usize,
            }
        }
        Endpoint::AdminRejectCounts => AdminAction::RejectCounts,
        Endpoint::AdminRetry => {
            let (reason, feed) = origin(&desk, &mut query).await?;
            AdminAction::RetryRejects { reason, feed, number: query.number("id", 0, u64::MAX)? }
        }
        Endpoint::AdminFeeds => AdminAction::Feeds,
        Endpoint::AdminResetFeed => AdminAction::ResetFeed {
            feed: query.take("feed")?.unwrap_or_default().to_string(),
            to: query.take("to")?.unwrap_or_default().to_string(),
            partition: query
                .number("partition", 0, u64::from(u32::MAX))?
                .and_then(|it| u32::try_from(it).ok()),
        },
        Endpoint::AdminState => AdminAction::StateStats,
        Endpoint::AdminCheckpoints => AdminAction::Checkpoints {
            limit: query.number("limit", 1, MAX_ADMIN_LIMIT)?.unwrap_or(LIMIT) as usize,
        },
        Endpoint::AdminVerify => AdminAction::Verify,
        Endpoint::AdminBackup => {
            AdminAction::Backup { to: query.take("to")?.unwrap_or_default().to_string() }
        }
        Endpoint::AdminPublish => {
            AdminAction::Publish { asked: query.take("asked")?.unwrap_or_default().to_string() }
        }
        Endpoint::AdminSeal => AdminAction::Seal,
        Endpoint::AdminErasures => {
            AdminAction::Erasures { customer: query.take("customer")?.map(String::from) }
        }
        Endpoint::AdminSinks => AdminAction::Sinks,
        Endpoint::AdminAside => {
            AdminAction::Aside { sink: query.take("sink")?.unwrap_or_default().to_string() }
        }
        Endpoint::AdminMessages => AdminAction::Messages {
            what: query.take("do")?.unwrap_or_default().to_string(),
            message: query.take("message")?.map(String::from),
            rule: query.take("rule")?.map(String::from),
            channel: query.take("channel")?.map(String::from),
            owner: query.take("owner")?.map(String::from),
        },
        Endpoint::AdminSink => AdminAction::Sink {
            sink: query.take("sink")?.unwrap_or_default().to_string(),
            what: query.take("do")?.unwrap_or_default().to_string(),
            id: query.take("id")?.map(String::from),
        },
        Endpoint::AdminReload => AdminAction::ReloadRules,
        Endpoint::AdminChannels => AdminAction::Channels,
        Endpoint::AdminChannel => AdminAction::Channel {
            channel: query.take("channel")?.unwrap_or_default().to_string(),
            what: query.take("do")?.unwrap_or_default().to_string(),
        },
        _ => AdminAction::Status,
    };
    query.end()?;
    let result = desk.ports.admin.act(action).await.map_err(Refusal::report)?;
    let body = json!({"as_of": AsOfJson(desk.newest()), "result": result});
    Ok(answer(StatusCode::OK, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reject_is_its_tenants() {
        let check = |native: bool, bytes: &str, expected: Option<&str>| {
            let reject = KeptReject { id: 1, bytes: bytes.into(), native, told: Value::Null };
            assert_eq!(owner(&reject).as_deref(), expected, "{bytes}");
        };
        check(true, r#"{"tenant":"a","x":1}"#, Some("a"));
        check(true, r#"{"x":1}"#, Some("default"));
        check(true, r#"{"tenant":7}"#, None);
        check(true, r#"{"tenant" : "a", "x":"#, Some("a"));
        check(true, r#"{"tenant":"a","tenant":"b"}"#, None);
        check(true, "garbage", None);
        check(true, "[]", None);
        check(false, r#"{"tenant":"a"}"#, None);
    }
}
