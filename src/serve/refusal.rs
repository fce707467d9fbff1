//! What is not done, told as `application/problem+json`: what, why, effect on the data, fix.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use warp::reply::Response;

use super::answer::{AsOfJson, json_response};
use crate::messages::AsOf;
use crate::report::Report;

/// A request that is refused. Boxed: it is the rare half of every result.
#[derive(Debug)]
pub(super) struct Refusal(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    effect: String,
    fix: String,
    more: Map<String, Value>,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    as_of: Option<AsOf>,
    close: bool,
}

/// Nothing was taken, nothing was changed.
const NO_EFFECT: &str = "nothing was changed";

impl Refusal {
    /// A refusal that changes nothing.
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Refusal {
        Refusal(Box::new(Parts {
            status,
            code,
            title,
            detail: detail.into(),
            effect: NO_EFFECT.into(),
            fix: fix.into(),
            more: Map::new(),
            retry_after: None,
            allow: None,
            as_of: None,
            close: false,
        }))
    }

    /// A parameter that is not understood.
    pub(super) fn parameter(name: &str, why: impl std::fmt::Display) -> Refusal {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "serve/parameter",
            "a parameter is not understood",
            format!("\"{name}\": {why}"),
            "see /openapi.json for the parameters of this route",
        )
        .with("parameter", json!(name))
    }

    /// What another room could not do.
    pub(super) fn report(report: Report) -> Refusal {
        let at: Map<String, Value> =
            report.at.into_iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        // It will never be less: to send it again is of no use, to send it in parts is.
        let too_much = report.code == "ingest/block-too-large";
        let status = match too_much {
            true => StatusCode::PAYLOAD_TOO_LARGE,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let refusal = Refusal::new(
            status,
            report.code,
            "could not be done",
            format!("{}: {}", report.what, report.why),
            report.fix,
        )
        .effect(&report.effect);
        let limit = at.get("limit_bytes").and_then(|it| it.as_str()?.parse::<u64>().ok());
        let refusal = match limit {
            Some(limit) => refusal.with("limit_bytes", json!(limit)),
            None => refusal,
        };
        if at.is_empty() { refusal } else { refusal.with("at", Value::Object(at)) }
    }

    /// With a further member.
    pub(super) fn with(mut self, name: &str, value: Value) -> Refusal {
        self.0.more.insert(name.to_string(), value);
        self
    }

    /// With another effect than none.
    pub(super) fn effect(mut self, effect: &str) -> Refusal {
        self.0.effect = effect.to_string();
        self
    }

    /// With `Retry-After`.
    pub(super) fn retry_after(mut self, seconds: u64) -> Refusal {
        self.0.retry_after = Some(seconds);
        self
    }

    /// With `Allow`.
    pub(super) fn allow(mut self, method: &'static str) -> Refusal {
        self.0.allow = Some(method);
        self
    }

    /// Read at this instant.
    pub(super) fn at(mut self, as_of: AsOf) -> Refusal {
        self.0.as_of = Some(as_of);
        self
    }

    /// The rest of the request is not read: the connection ends with the answer.
    pub(super) fn close(mut self) -> Refusal {
        self.0.close = true;
        self
    }

    /// The answer; `newest` is its instant if it was read at no other, and there is any.
    pub(super) fn into_response(self, newest: impl Into<Option<AsOf>>) -> Response {
        let parts = *self.0;
        let mut body = Map::new();
        // Relative to the documentation, where each code has its page.
        let page = format!("docs/errors/{}.md", parts.code.replace('/', "-"));
        body.insert("type".into(), json!(page));
        body.insert("title".into(), json!(parts.title));
        body.insert("status".into(), json!(parts.status.as_u16()));
        body.insert("detail".into(), json!(parts.detail));
        body.insert("code".into(), json!(parts.code));
        body.insert("effect".into(), json!(parts.effect));
        body.insert("fix".into(), json!(parts.fix));
        body.extend(parts.more);
        if let Some(as_of) = parts.as_of.or(newest.into()) {
            body.insert("as_of".into(), json!(AsOfJson(as_of)));
        }
        let mut response =
            json_response(parts.status, Value::Object(body).to_string().into_bytes());
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        if let Some(seconds) = parts.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(method) = parts.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(method));
        }
        if parts.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
