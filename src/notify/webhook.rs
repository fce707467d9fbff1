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

use super::guard::Guard;
use super::sign::{Keys, Signed};
use super::wire::{Connector, NotAllowed, NotTrusted, Resolve};
use crate::config::Password;
use crate::config::channels::ChannelSettings;
use crate::sinks::Fault;
use crate::sinks::clickhouse::{client_config, trusted};

/// Of an answer so much is read, and no longer than this: then the connection can serve again.
const ANSWER_MAX: usize = 4 * 1024;
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// Longest wait that a receiver may ask for.
const ASKED_MAX: Duration = Duration::from_millis(ASKED_MAX_MS);
pub(super) const ASKED_MAX_MS: u64 = 3_600_000;
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

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is there.
    Delivered,
    /// Nobody wants it, nor any other (410).
    Gone,
    /// It did not work; the receiver may have said when to come again.
    Again {
        /// Not before.
        after: Option<Duration>,
        /// Whose fault it is; the surroundings' if nobody's.
        blame: Option<Fault>,
        /// In words.
        why: String,
    },
    /// It cannot work before somebody has set something right.
    Never(String),
}

impl Webhook {
    /// With the secret and the certificates as they are now; in words, why not.
    pub(super) fn new(settings: &ChannelSettings, resolve: Resolve) -> Result<Webhook, String> {
        let keys = keys(&settings.secret)?;
        let tls = trusted(settings.ca_file.as_deref()).and_then(client_config)?;
        let connector = Connector::new(Guard::new(&settings.allow), tls, resolve);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(settings.concurrency)
            .build(connector);
        let url = settings.url.parse().map_err(|_| "the address is none".to_string())?;
        let (secret, timeout) = (settings.secret.clone(), settings.timeout);
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
            Ok(Err(why)) => failed(&why),
            Ok(Ok(answer)) => {
                let said = meant(answer.status(), answer.headers());
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
    let text = match of {
        Password::Variable(_, value) => value.clone(),
        Password::File(path) => {
            std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?
        }
    };
    Ok(Arc::new(Keys::read(&text)?))
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

fn again(why: String) -> Said {
    Said::Again { after: None, blame: None, why }
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

/// What an answer means.
pub(super) fn meant(status: StatusCode, headers: &header::HeaderMap) -> Said {
    if status.is_success() {
        return Said::Delivered;
    }
    if status == StatusCode::GONE {
        return Said::Gone;
    }
    let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let asked = headers.get(header::RETRY_AFTER).filter(|_| waits);
    let seconds = asked.and_then(|it| it.to_str().ok()?.trim().parse().ok());
    let after = seconds.map(|it| Duration::from_secs(it).min(ASKED_MAX));
    let redirect = if status.is_redirection() { " (redirects are not followed)" } else { "" };
    let why = format!("answered {}{redirect}", status.as_u16());
    Said::Again { after, blame: blame(status), why }
}

/// A failure without an answer.
fn failed(why: &hyper_util::client::legacy::Error) -> Said {
    let mut cause: Option<&dyn std::error::Error> = Some(why);
    let mut last = why.to_string();
    while let Some(it) = cause {
        let inner = it.downcast_ref::<std::io::Error>().and_then(|it| it.get_ref());
        if let Some(NotAllowed(address)) = inner.and_then(|it| it.downcast_ref()) {
            return Said::Never(NotAllowed(*address).to_string());
        }
        if let Some(it) = inner.and_then(|it| it.downcast_ref::<NotTrusted>()) {
            let (blame, why) = (Some(Fault::Configuration), it.to_string());
            return Said::Again { after: None, blame, why };
        }
        last = it.to_string();
        cause = it.source();
    }
    again(last)
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
        let check = |status: u16, after: Option<&str>, expected: Said| {
            let mut headers = header::HeaderMap::new();
            if let Some(it) = after {
                headers.insert(header::RETRY_AFTER, it.parse().unwrap());
            }
            assert_eq!(meant(StatusCode::from_u16(status).unwrap(), &headers), expected);
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
    }

    /// What hostile names resolve to in this test, whatever the network: some of them to loopback
    /// only at the second time.
    fn hostile() -> Resolve {
        use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
        let asked = std::sync::Arc::new(AtomicU32::new(0));
        std::sync::Arc::new(move |host: String, port: u16| {
            let n = asked.fetch_add(1, SeqCst);
            Box::pin(async move {
                if host.ends_with(".test") {
                    let ip = if n.is_multiple_of(2) { [127, 0, 0, 1] } else { [10, 0, 0, 1] };
                    return Ok(vec![(ip, port).into(), ([169, 254, 169, 254], port).into()]);
                }
                // Numbers in other spellings are the system's own business.
                Ok(tokio::net::lookup_host((host, port)).await?.collect())
            })
        })
    }

    /// Goal: no connection is made to an address of the own network, however it is written. Method:
    /// sixty addresses that mean this machine or its neighbours, a listener that counts.
    #[tokio::test]
    async fn sixty_hostile_addresses_and_no_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = [
            "127.0.0.1",
            "127.0.0.2",
            "127.1.2.3",
            "127.255.255.254",
            "0.0.0.0",
            "localhost",
            "LOCALHOST",
            "LocalHost.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "0x7f.0.0.1",
            "127.0.0.1.",
            "0",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.0.1",
            "192.168.255.255",
            "169.254.169.254",
            "169.254.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fdff::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[100::1]",
            "[2001:0:1::80ff:fffe]",
            "metadata.test",
            "rebind.test",
            "rebind.test",
            "intranet.test",
            "localhost.test",
            "kubernetes.default.svc.test",
        ];
        assert_eq!(hosts.len(), 60);
        let settings = |host: &str| ChannelSettings {
            name: "hostile".into(),
            url: format!("http://{host}:{port}/latest/meta-data"),
            secret: Password::Variable("S".into(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()),
            ca_file: None,
            allow: vec![],
            concurrency: 1,
            rate: 1,
            timeout: Duration::from_secs(5),
            expires: Duration::from_secs(5),
        };
        let resolve = hostile();
        for host in hosts {
            let webhook = Webhook::new(&settings(host), resolve.clone()).unwrap();
            let said = webhook.post("m", Bytes::from_static(b"{}"), 0).await;
            // Not an address at all on some systems: then nothing is resolved, and nothing sent.
            let spelled = host.parse::<std::net::Ipv4Addr>().is_err() && !host.starts_with('[');
            let refused = matches!(&said, Said::Never(why) if why.contains("own network"));
            let unresolved = spelled && matches!(&said, Said::Again { .. });
            assert!(refused || unresolved, "{host}: {said:?}");
        }
        let nothing = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nothing.is_err(), "a connection was made");
    }
}
