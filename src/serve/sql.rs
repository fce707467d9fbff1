//! `POST /v1/sql`: what is asked, checked; what comes back, with its instant.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use warp::reply::Response;

use super::answer::{AsOfJson, json_response, push_json};
use super::caller::Caller;
use super::desk::Desk;
use super::query::Query;
use super::refusal::Refusal;
use crate::messages::sql::{
    SqlAnswer, SqlAsked, SqlFormat, SqlParam, SqlParams, SqlRefused, SqlTrouble,
};

/// In every format the epoch is told here too: CSV and JSON lines have no other place for it.
const AS_OF: &str = "millstream-as-of";

/// The formats, by the names of the parameter `format`.
const FORMATS: &[(&str, SqlFormat, &str)] = &[
    ("json", SqlFormat::Json, "application/json"),
    ("jsonl", SqlFormat::JsonLines, "application/x-ndjson"),
    ("csv", SqlFormat::Csv, "text/csv; charset=utf-8"),
];

/// How the rows are to be written: the parameter, or the first of ours that `Accept` names.
pub(super) fn format(mut query: Query<'_>, headers: &HeaderMap) -> Result<SqlFormat, Refusal> {
    let asked = query.take("format")?;
    query.end()?;
    if let Some(asked) = asked {
        let found = FORMATS.iter().find(|it| it.0 == asked);
        return found.map(|it| it.1).ok_or_else(|| {
            Refusal::parameter("format", format!("expected json, jsonl or csv, found {asked:?}"))
        });
    }
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or("");
    let of = |media: &str| match media.split(';').next().unwrap_or("").trim() {
        "application/x-ndjson" | "application/jsonl" => Some(SqlFormat::JsonLines),
        "text/csv" => Some(SqlFormat::Csv),
        "application/json" => Some(SqlFormat::Json),
        _ => None,
    };
    Ok(accept.split(',').find_map(of).unwrap_or_default())
}

/// Asks, and waits for the answer.
pub(super) async fn answer(
    desk: &Desk,
    caller: &Caller,
    body: &[u8],
    format: SqlFormat,
) -> Result<Response, Refusal> {
    let (sql, params) = asked(body)?;
    let asked = SqlAsked { tenant: caller.tenant().to_string(), sql, params, format };
    let waiting = desk.ports.sql.ask(asked).map_err(refusal)?;
    let ending = || {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "serve/unfinished",
            "the request was not finished",
            "the process is ending",
            "ask again",
        )
    };
    let answered = waiting.answer().await.ok_or_else(ending)?;
    answered.map(|it| response(it, format)).map_err(refusal)
}

fn response(answer: SqlAnswer, format: SqlFormat) -> Response {
    let SqlAnswer { as_of, n_rows, bytes } = answer;
    let body = match format {
        SqlFormat::JsonLines | SqlFormat::Csv => bytes,
        SqlFormat::Json => {
            let mut body = Vec::with_capacity(bytes.len() + 128);
            body.extend(b"{\"as_of\":");
            push_json(&mut body, &AsOfJson(as_of));
            body.extend(b",\"n_rows\":");
            push_json(&mut body, &n_rows);
            body.extend(b",\"results\":");
            body.extend(bytes);
            body.push(b'}');
            body
        }
    };
    let mut response = json_response(StatusCode::OK, body);
    let headers = response.headers_mut();
    if let Some((.., media)) = FORMATS.iter().find(|it| it.1 == format) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    headers.insert(AS_OF, HeaderValue::from(as_of.epoch));
    response
}

/// The statement and its parameters, out of the body.
fn asked(body: &[u8]) -> Result<(String, SqlParams), Refusal> {
    let unread = |why: String| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "serve/body",
            "the body is not understood",
            why,
            r#"send {"sql": "SELECT count(*) FROM orders WHERE status = ?", "params": ["paid"]}"#,
        )
    };
    let body: Value = serde_json::from_slice(body).map_err(|why| {
        unread(format!("expected JSON, at line {}, column {}", why.line(), why.column()))
    })?;
    let Value::Object(members) = body else {
        return Err(unread("expected an object with `sql`, text".into()));
    };
    let (mut sql, mut params) = (None, SqlParams::default());
    for (name, value) in members {
        match (name.as_str(), value) {
            ("sql", Value::String(it)) => sql = Some(it),
            ("sql", _) => return Err(unread("expected `sql` to be text".into())),
            ("params", Value::Null) => {}
            ("params", Value::Array(all)) => {
                let all = all.into_iter().enumerate();
                let all = all.map(|(n, it)| param(it, &format!("/params/{n}")));
                params = SqlParams::Listed(all.collect::<Result<_, _>>().map_err(unread)?);
            }
            ("params", Value::Object(all)) => {
                let all = all.into_iter().map(|(name, it)| {
                    let it = param(it, &format!("/params/{name}"))?;
                    Ok((name, it))
                });
                params = SqlParams::Named(all.collect::<Result<_, String>>().map_err(unread)?);
            }
            ("params", _) => {
                return Err(unread("expected `params` to be an array or an object".into()));
            }
            _ => return Err(unread(format!("expected `sql` and `params`, found {name:?}"))),
        }
    }
    Ok((sql.ok_or_else(|| unread("expected `sql`, found none".into()))?, params))
}

fn param(value: Value, at: &str) -> Result<SqlParam, String> {
    match value {
        Value::Null => Ok(SqlParam::Null),
        Value::Bool(it) => Ok(SqlParam::Int(it.into())),
        Value::String(it) => Ok(SqlParam::Text(it)),
        Value::Number(it) => match (it.as_i64(), it.as_f64()) {
            (Some(it), _) => Ok(SqlParam::Int(it)),
            // A larger whole number would be another one.
            (None, Some(it)) if it.fract() != 0.0 || it.abs() < 9e15 => Ok(SqlParam::Real(it)),
            _ => Err(format!("expected at {at} a number of 64 bits, found {it}")),
        },
        Value::Array(_) | Value::Object(_) => {
            Err(format!("expected at {at} null, a number or text; send JSON as text"))
        }
    }
}

fn refusal(it: SqlRefused) -> Refusal {
    let (status, retry) = match it.kind {
        SqlTrouble::Statement => (StatusCode::BAD_REQUEST, None),
        SqlTrouble::NotAllowed => (StatusCode::FORBIDDEN, None),
        SqlTrouble::TooMuch => (StatusCode::UNPROCESSABLE_ENTITY, None),
        SqlTrouble::Gone => (StatusCode::GONE, None),
        SqlTrouble::Busy(after) => (StatusCode::SERVICE_UNAVAILABLE, Some(after.as_secs().max(1))),
    };
    let mut refusal = Refusal::new(status, it.code, it.title, it.why, it.fix);
    for (name, value) in it.more {
        refusal = refusal.with(name, value);
    }
    if let Some(seconds) = retry {
        refusal = refusal.retry_after(seconds);
    }
    match it.as_of {
        Some(as_of) => refusal.at(as_of),
        None => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_or_told() {
        let check = |body: &str, expected: Option<usize>| {
            let n = asked(body.as_bytes()).ok().map(|it| match it.1 {
                SqlParams::Listed(it) => it.len(),
                SqlParams::Named(it) => it.len(),
            });
            assert_eq!(n, expected, "{body}");
        };
        check(r#"{"sql": "SELECT 1"}"#, Some(0));
        check(r#"{"sql": "SELECT 1", "params": null}"#, Some(0));
        check(r#"{"sql": "SELECT ?,?,?", "params": [1, "a", null]}"#, Some(3));
        check(r#"{"sql": "SELECT :a", "params": {"a": 1.5}}"#, Some(1));
        check(r#"{"sql": "SELECT ?", "params": [[1]]}"#, None);
        check(r#"{"sql": "SELECT ?", "params": [18446744073709551615]}"#, None);
        check(r#"{"sql": "SELECT ?", "params": 1}"#, None);
        check(r#"{"sql": 1}"#, None);
        check(r#"{"query": "SELECT 1"}"#, None);
        check(r#"{}"#, None);
        check("SELECT 1", None);
    }

    #[test]
    fn the_format_is_the_parameters_or_what_is_accepted() {
        let check = |query: &str, accept: &str, expected: Option<SqlFormat>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(format(Query::parse(query), &headers).ok(), expected, "{query} {accept}");
        };
        check("", "*/*", Some(SqlFormat::Json));
        check("", "text/csv", Some(SqlFormat::Csv));
        check("", "text/html, application/x-ndjson;q=0.9", Some(SqlFormat::JsonLines));
        check("format=csv", "application/json", Some(SqlFormat::Csv));
        check("format=xml", "*/*", None);
        check("other=1", "*/*", None);
    }
}
