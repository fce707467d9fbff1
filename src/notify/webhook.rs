//! One attempt at one message: signed, posted, and what the answer means.
//!
//! # Meaning
//! 2xx is success and nothing else is; redirects are never followed. 410 says that nobody wants more
//! of it; 429 and 503 may say when to come again. What else is said is tried again too, and says
//! whose fault it is, as a sink does. The body is a function of the intent alone, so that
//! every attempt carries the same; id and body are signed anew with the time of the attempt.
//!
//! # When it fails
//! See [`Said`]. What may have been taken and was not answered is sent again, under the same id.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::RwLock;
use serde_json::json;

use super::receiver::{ASKED_MAX_MS, Said, again, blamed, secret_text};
use super::sign::{Keys, Signed};
use super::wire::Connector;
use crate::config::Password;
use crate::config::channels::ChannelSettings;
use crate::sinks::Fault;

/// Of an answer so much is read, and no longer than this: then the connection can serve again.
const ANSWER_MAX: usize = 4 * 1024;
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// Longest wait that a receiver may ask for.
const ASKED_MAX: Duration = Duration::from_millis(ASKED_MAX_MS);
/// Connections kept for the next message.
const IDLE: Duration = Duration::from_secs(30);

/// A receiver.
pub(super) struct Webhook {
    client: Client<Connector, Full<Bytes>>,
    url: http::Uri,
    secret: Password,
    keys: RwLock<Arc<Keys>>,
    timeout: Duration,
}

impl Webhook {
    /// With the secret as it is now; in words, why not.
    pub(super) fn new(
        (url, secret): (&str, &Password),
        settings: &ChannelSettings,
        connector: Connector,
    ) -> Result<Webhook, String> {
        let keys = keys(secret)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(settings.concurrency)
            .build(connector);
        let url = url.parse().map_err(|_| "the address is none".to_string())?;
        let (secret, timeout) = (secret.clone(), settings.timeout);
        Ok(Webhook { client, url, secret, keys: RwLock::new(keys), timeout })
    }

    /// What signs from now on is what stands in the file now; in words, why it stays as it was.
    pub(super) fn reload(&self) -> Result<(), String> {
        let fresh = keys(&self.secret)?;
        *self.keys.write() = fresh;
        Ok(())
    }

    /// What signs.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    /// Posts a body under an id, once; `now`: seconds since the Unix epoch.
    pub(super) async fn post(&self, id: &str, body: Bytes, now: i64) -> Said {
        let signed = self.keys().sign(id, now, &body);
        let request = match self.request(&signed, body) {
            Ok(request) => request,
            Err(why) => return Said::Never(why.to_string()),
        };
        match tokio::time::timeout(self.timeout, self.client.request(request)).await {
            Err(_) => again(format!("no answer within {:?}", self.timeout)),
            Ok(Err(why)) => blamed(&why),
            Ok(Ok(answer)) => {
                let said = meant(answer.status(), answer.headers(), now);
                read_away(answer.into_body()).await;
                said
            }
        }
    }

    fn request(&self, it: &Signed, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
        Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("millstream/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &it.id)
            .header("webhook-timestamp", it.timestamp)
            .header("webhook-signature", &it.signature)
            .body(Full::new(body))
    }
}

/// What signs, as it stands in its file now.
fn keys(of: &Password) -> Result<Arc<Keys>, String> {
    Ok(Arc::new(Keys::read(&secret_text(of)?)?))
}

/// What a receiver is sent: the type, when it was decided, and the intent's fields.
pub(super) fn body(tenant: &str, row: &serde_json::Value) -> Bytes {
    let field = |name: &str| row.get(name).cloned().unwrap_or_default();
    let kind = match field("corrects").is_null() {
        true => "notification.raised",
        false => "notification.resolved",
    };
    let data = json!({
        "tenant": tenant, "message": field("message"), "rule": field("rule"), "severity": field("severity"),
        "view": field("view"), "about": field("about"), "episode": field("episode"),
        "text": field("text"), "reason": field("reason"), "corrects": field("corrects"),
    });
    let whole = json!({"type": kind, "timestamp": field("planned_at"), "data": data});
    Bytes::from(whole.to_string())
}

/// Whose fault an answer says it is; nobody's: the surroundings'.
fn blame(status: StatusCode) -> Option<Fault> {
    match status.as_u16() {
        // Too slow, too early, too much, or broken on its own.
        408 | 425 | 429 | 500.. => None,
        // Another address, other credentials, another way to ask.
        300..400 | 401 | 402 | 403 | 404 | 405 | 407 | 421 | 426 => Some(Fault::Configuration),
        // It was read, and this one is not taken.
        400 | 406 | 409 | 411..=417 | 422 | 424 | 428 | 431 => Some(Fault::Data),
        _ => Some(Fault::Unknown),
    }
}

/// What an answer means; `now`: seconds since the Unix epoch.
pub(super) fn meant(status: StatusCode, headers: &header::HeaderMap, now: i64) -> Said {
    if status.is_success() {
        return Said::Delivered;
    }
    if status == StatusCode::GONE {
        return Said::Gone;
    }
    let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let asked = headers.get(header::RETRY_AFTER).filter(|_| waits);
    let after = asked.and_then(|it| asked_for(it.to_str().ok()?.trim(), now));
    let after = after.map(|it| it.min(ASKED_MAX));
    let redirect = if status.is_redirection() { " (redirects are not followed)" } else { "" };
    let why = format!("answered {}{redirect}", status.as_u16());
    Said::Again { after, blame: blame(status), why }
}

/// `Retry-After`: seconds, or an instant in one of the three spellings of HTTP.
fn asked_for(text: &str, now: i64) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_secs(u64::try_from(now).ok()?);
    Some(since.saturating_sub(now))
}

/// The rest of the answer, if it is short and comes soon; else the connection is given up.
async fn read_away(body: Incoming) {
    let all = Limited::new(body, ANSWER_MAX).collect();
    let read = tokio::time::timeout(ANSWER_WITHIN, all).await;
    drop(read);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        const NOW: i64 = 784_111_777;
        let check = |status: u16, after: Option<&str>, expected: Said| {
            let mut headers = header::HeaderMap::new();
            if let Some(it) = after {
                headers.insert(header::RETRY_AFTER, it.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(meant(status, &headers, NOW), expected);
        };
        let again = |after: Option<u64>, blame: Option<Fault>, why: &str| Said::Again {
            after: after.map(Duration::from_secs),
            blame,
            why: why.into(),
        };
        let (ours, data) = (Some(Fault::Configuration), Some(Fault::Data));
        check(200, None, Said::Delivered);
        check(204, None, Said::Delivered);
        check(410, None, Said::Gone);
        check(301, None, again(None, ours, "answered 301 (redirects are not followed)"));
        check(400, Some("7"), again(None, data, "answered 400"));
        check(404, None, again(None, ours, "answered 404"));
        check(418, None, again(None, Some(Fault::Unknown), "answered 418"));
        check(429, Some("7"), again(Some(7), None, "answered 429"));
        check(500, None, again(None, None, "answered 500"));
        check(503, Some("999999"), again(Some(3_600), None, "answered 503"));
        check(503, Some("soon"), again(None, None, "answered 503"));
        let at = |text: &str, seconds: u64| {
            check(503, Some(text), again(Some(seconds), None, "answered 503"));
        };
        at("Sun, 06 Nov 1994 08:50:07 GMT", 30);
        at("Sunday, 06-Nov-94 08:50:07 GMT", 30);
        at("Sun Nov  6 08:50:07 1994", 30);
        // Over already; and later than may be asked for.
        at("Sun, 06 Nov 1994 08:49:00 GMT", 0);
        at("Mon, 07 Nov 1994 08:49:37 GMT", 3_600);
        check(429, Some("Sun, 06 Nov"), again(None, None, "answered 429"));
        check(500, Some("Sun, 06 Nov 1994 08:50:07 GMT"), again(None, None, "answered 500"));
    }
}
