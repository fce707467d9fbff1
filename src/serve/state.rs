//! Rows of views: one, a page of many, several at one instant; and the catalogue.

use std::sync::Arc;

use http::StatusCode;
use schemas::reading::{Keep, Page, ViewReader};
use schemas::rows::{Row, Shape, ViewDef};
use serde_json::{Value, json};
use warp::reply::Response;

use super::answer::{AsOfJson, RowJson, json_response, push_json};
use super::caller::Caller;
use super::cursor::{Listing, Place, Unread};
use super::desk::Desk;
use super::query::{Query, key_of};
use super::refusal::Refusal;
use super::routes::Captures;
use crate::messages::{AsOf, Epoch};

/// Rows of a page if nothing is asked.
pub(super) const LIMIT: u64 = 100;
/// Most rows of a page: about a megabyte.
pub(super) const MAX_LIMIT: u64 = 1_000;
/// Rows looked at for one page, so that a filter that fits nothing answers in milliseconds; the
/// page is then short and its cursor goes on.
pub(super) const MAX_EXAMINED: usize = 50_000;
/// Rows read on the reactor itself; more are a long read.
const INLINE_ROWS: usize = 100;
/// Most reads in one request.
pub(super) const MAX_READS: usize = 100;

/// `GET /v1/views/{view}/{key}`
pub(super) fn row(
    desk: &Desk,
    caller: &Caller,
    captures: &Captures,
    query: Query<'_>,
) -> Result<Response, Refusal> {
    query.end()?;
    let view = desk.view(&captures.view)?;
    let key = key_of(&captures.key)?;
    let pin = desk.ports.read.instants.pin();
    let as_of = desk.as_of(pin.epoch());
    let row = view.get(caller.tenant(), &key, as_of.epoch);
    drop(pin);
    let Some(row) = row.map_err(|gone| desk.gone(as_of.epoch, gone))? else {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "serve/no-such-row",
            "no such row",
            format!("{} has no row {key:?} for this tenant at this instant", captures.view),
            "check key and tenant; right after an append, send Millstream-At-Least",
        )
        .at(as_of));
    };
    let mut body = Vec::with_capacity(768);
    begin(&mut body, as_of, view.def());
    body.push(b',');
    push_row(&mut body, view.def(), &key, &row);
    body.push(b'}');
    Ok(json_response(StatusCode::OK, body))
}

/// `GET /v1/views/{view}`
pub(super) async fn list(
    desk: Arc<Desk>,
    caller: Caller,
    captures: Captures,
    mut query: Query<'_>,
) -> Result<Response, Refusal> {
    let view = Arc::clone(desk.view(&captures.view)?);
    let limit = query.number("limit", 1, MAX_LIMIT)?.unwrap_or(LIMIT) as usize;
    let cursor = query.take("cursor")?;
    let filters = filters(view.def(), query)?;
    let from = match cursor {
        None => From::Newest,
        Some(cursor) => {
            let listing =
                Listing { tenant: caller.tenant(), view: &captures.view, filters: &filters };
            From::Cursor(follow(&desk, &listing, &cursor)?)
        }
    };
    let wide = !filters.is_empty() || limit > INLINE_ROWS;
    let long = Arc::clone(&desk);
    let page = move || page(&desk, &caller, view.as_ref(), filters, limit, from);
    if wide { long.long.read(page).await } else { page() }
}

/// Where a page is read.
enum From {
    Newest,
    Cursor(Place),
}

fn follow(desk: &Desk, listing: &Listing<'_>, cursor: &str) -> Result<Place, Refusal> {
    let place = desk.cursors.read(listing, cursor).map_err(|why| match why {
        Unread::NotOurs => Refusal::parameter(
            "cursor",
            "expected `next` of a page before, with the same view, tenant and filters",
        ),
        Unread::EarlierRun => Refusal::new(
            StatusCode::GONE,
            "serve/cursor-gone",
            "the instant is no longer kept",
            "the cursor was made before the process was last started",
            "begin the listing again without a cursor",
        ),
    })?;
    lease(desk, place.epoch)?;
    Ok(place)
}

fn lease(desk: &Desk, epoch: Epoch) -> Result<(), Refusal> {
    let (now, lease) = ((desk.ports.now_ms)(), desk.settings.cursor_lease.as_millis() as u64);
    desk.ports.read.instants.lease(epoch, now, lease).map_err(|gone| desk.gone(epoch, gone))
}

fn page(
    desk: &Desk,
    caller: &Caller,
    view: &dyn ViewReader,
    filters: Vec<(usize, String)>,
    limit: usize,
    from: From,
) -> Result<Response, Refusal> {
    // Pinned when the page is read: a request that waits for its turn holds nothing.
    let (epoch, after, pin) = match &from {
        From::Newest => {
            let pin = desk.ports.read.instants.pin();
            (pin.epoch(), None, Some(pin))
        }
        From::Cursor(place) => (place.epoch, Some(place.after.as_str()), None),
    };
    let as_of = desk.as_of(epoch);
    let fields: Vec<usize> = filters.iter().map(|it| it.0).collect();
    let wants = |values: &[schemas::rows::Value]| wanted(&filters, values);
    let keep = Keep { fields: &fields, wants: &wants };
    let Page { rows, next } = view
        .page(caller.tenant(), after, epoch, limit, MAX_EXAMINED, keep)
        .map_err(|gone| desk.gone(epoch, gone))?;
    if next.is_some() && pin.is_some() {
        // While the pin still holds it.
        lease(desk, epoch)?;
    }
    drop(pin);
    let mut body = Vec::with_capacity(256 + rows.len() * 512);
    begin(&mut body, as_of, view.def());
    body.extend(b",\"rows\":[");
    for (n, (name, row)) in rows.iter().enumerate() {
        body.extend(if n == 0 { b"{".as_slice() } else { b",{" });
        push_row(&mut body, view.def(), name.key(), row);
        body.push(b'}');
    }
    body.extend(b"],\"next\":");
    let listing = Listing { tenant: caller.tenant(), view: view.def().name, filters: &filters };
    let next = next.map(|after| desk.cursors.write(&listing, &Place { epoch, after }));
    push_json(&mut body, &next);
    body.push(b'}');
    Ok(json_response(StatusCode::OK, body))
}

/// Equality filters out of the parameters left, sorted. A value that can be no value of its field
/// is refused: an empty answer would look like one.
pub(super) fn filters(
    def: &'static ViewDef,
    query: Query<'_>,
) -> Result<Vec<(usize, String)>, Refusal> {
    let mut filters = Vec::new();
    for (name, value) in query.rest() {
        match def.position(&name) {
            Some(at) if def.fields[at].filterable => {
                if filters.iter().any(|it: &(usize, String)| it.0 == at) {
                    return Err(Refusal::parameter(&name, "stands more than once"));
                }
                if let Some(expected) = def.fields[at].expects(&value) {
                    let null = if def.fields[at].nullable { ", or null" } else { "" };
                    let why = format!("expected {expected}{null}, found {value:?}");
                    return Err(Refusal::parameter(&name, why));
                }
                filters.push((at, value.into_owned()));
            }
            _ => {
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "serve/not-filterable",
                    "not a field to filter by",
                    format!("{} cannot be filtered by {name:?}", def.name),
                    format!("filter by {}", def.filterable().join(", ")),
                )
                .with("parameter", json!(name))
                .with("filterable", json!(def.filterable())));
            }
        }
    }
    filters.sort();
    Ok(filters)
}

/// Whether these values, of the fields that filters name, are what they ask for.
pub(super) fn wanted(filters: &[(usize, String)], values: &[schemas::rows::Value]) -> bool {
    filters.iter().zip(values).all(|((_, text), value)| value.matches(text))
}

/// One read that is asked for.
struct ReadOne {
    view: String,
    key: String,
}

/// What the body of `POST /v1/read` asks for, or everything that is wrong with it.
fn reads_of(body: &[u8]) -> Result<Vec<ReadOne>, (String, Vec<Value>)> {
    const EXPECTED: &str =
        "an object with `reads`, an array of objects with `view` and `key`, both text";
    let whole = |found: &str| (format!("expected {EXPECTED}; found {found}"), Vec::new());
    let body: Value = serde_json::from_slice(body).map_err(|why| {
        whole(&format!("what is not JSON, at line {}, column {}", why.line(), why.column()))
    })?;
    let Value::Object(members) = &body else { return Err(whole(kind_of(&body))) };
    let reads = match members.get("reads") {
        Some(Value::Array(reads)) => reads,
        Some(other) => return Err(whole(&format!("`reads`, {}", kind_of(other)))),
        None => return Err(whole("no `reads`")),
    };
    let mut problems: Vec<Value> = Vec::new();
    let mut wrong = |pointer: String, expected: &str, found: String| {
        problems.push(json!({"pointer": pointer, "expected": expected, "found": found}));
    };
    for name in members.keys().filter(|it| *it != "reads") {
        wrong(format!("/{name}"), "`reads` and nothing else", format!("{name:?}"));
    }
    let mut asked = Vec::new();
    for (n, read) in reads.iter().enumerate() {
        let Value::Object(read) = read else {
            wrong(format!("/reads/{n}"), "an object with `view` and `key`", kind_of(read).into());
            continue;
        };
        for name in read.keys().filter(|it| *it != "view" && *it != "key") {
            wrong(
                format!("/reads/{n}/{name}"),
                "`view` and `key` and nothing else",
                format!("{name:?}"),
            );
        }
        let mut text = |name: &str| match read.get(name) {
            Some(Value::String(it)) => Some(it.clone()),
            other => {
                let found = other.map_or("nothing", kind_of).into();
                wrong(format!("/reads/{n}/{name}"), "text", found);
                None
            }
        };
        if let (Some(view), Some(key)) = (text("view"), text("key")) {
            asked.push(ReadOne { view, key });
        }
    }
    match problems.len() {
        0 => Ok(asked),
        n => Err((format!("expected {EXPECTED}; {n} problem(s)"), problems)),
    }
}

/// What a value is, in words.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// `POST /v1/read`
pub(super) fn read(desk: &Desk, caller: &Caller, body: &[u8]) -> Result<Response, Refusal> {
    let unread = |why: String| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "serve/body",
            "the body is not understood",
            why,
            r#"send {"reads":[{"view":"orders","key":"O-1"}]}"#,
        )
    };
    let reads = reads_of(body).map_err(|(why, problems)| match problems.is_empty() {
        true => unread(why),
        false => unread(why).with("problems", problems.into()),
    })?;
    if reads.is_empty() || reads.len() > MAX_READS {
        return Err(unread(format!("expected 1 to {MAX_READS} reads, found {}", reads.len())));
    }
    let views: Vec<Result<_, _>> = reads.iter().map(|it| desk.view(&it.view)).collect();
    let missing: Vec<Value> = views
        .iter()
        .zip(&reads)
        .enumerate()
        .filter(|(_, (view, _))| view.is_err())
        .map(|(n, (_, read))| json!({"pointer": format!("/reads/{n}/view"), "found": read.view}))
        .collect();
    if !missing.is_empty() {
        return Err(unread("names views that do not exist".into()).with("problems", missing.into()));
    }
    let pin = desk.ports.read.instants.pin();
    let as_of = desk.as_of(pin.epoch());
    let mut out = Vec::with_capacity(64 + reads.len() * 512);
    out.extend(b"{\"as_of\":");
    push_json(&mut out, &AsOfJson(as_of));
    out.extend(b",\"results\":[");
    for (n, (read, view)) in reads.iter().zip(views).enumerate() {
        let view = view?;
        let key = key_of(&read.key)?;
        let row = view.get(caller.tenant(), &key, as_of.epoch);
        let row = row.map_err(|gone| desk.gone(as_of.epoch, gone))?;
        out.extend(if n == 0 { b"{\"view\":".as_slice() } else { b",{\"view\":" });
        push_json(&mut out, &view.def().name);
        out.push(b',');
        match row {
            Some(row) => push_row(&mut out, view.def(), &key, &row),
            None => {
                out.extend(b"\"key\":");
                push_json(&mut out, &key);
                out.extend(b",\"row\":null");
            }
        }
        out.push(b'}');
    }
    out.extend(b"]}");
    Ok(json_response(StatusCode::OK, out))
}

/// `GET /v1/views`
pub(super) async fn views(
    desk: Arc<Desk>,
    caller: Caller,
    query: Query<'_>,
) -> Result<Response, Refusal> {
    query.end()?;
    // Counting a tenant's rows may look at all of them.
    let long = Arc::clone(&desk);
    let counted = move || {
        let pin = desk.ports.read.instants.pin();
        let as_of = desk.as_of(pin.epoch());
        let views: Vec<Value> = desk
            .ports
            .read
            .views
            .iter()
            .map(|it| catalogue_entry(it.def(), it.count(caller.tenant(), as_of.epoch)))
            .collect();
        let body = json!({"as_of": AsOfJson(as_of), "views": views});
        Ok(json_response(StatusCode::OK, body.to_string().into_bytes()))
    };
    long.long.read(counted).await
}

fn catalogue_entry(def: &ViewDef, rows: u64) -> Value {
    let shape = match def.shape {
        Shape::Fold => "fold",
        Shape::Relation => "relation",
    };
    let fields: Vec<Value> = def
        .fields
        .iter()
        .map(|it| {
            json!({
                "name": it.name,
                "type": super::openapi::kind_name(it.kind),
                "nullable": it.nullable,
                "filterable": it.filterable,
                "words": it.words,
            })
        })
        .collect();
    json!({
        "name": def.name, "words": def.words, "shape": shape, "key": def.key,
        "fields": fields, "rows": rows,
    })
}

/// Runs what takes longer than the reactor may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|why| {
        tracing::error!(%why, "a request was not finished");
        Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "serve/unfinished",
            "the request was not finished",
            "the process is ending, or has met a fault that it has logged",
            "ask again; if it repeats, report the log",
        ))
    })
}

fn begin(out: &mut Vec<u8>, as_of: AsOf, def: &ViewDef) {
    out.extend(b"{\"as_of\":");
    push_json(out, &AsOfJson(as_of));
    out.extend(b",\"view\":");
    push_json(out, &def.name);
}

/// `"key":…,"row":{…}`
pub(super) fn push_row(out: &mut Vec<u8>, def: &'static ViewDef, key: &str, row: &Row) {
    out.extend(b"\"key\":");
    push_json(out, &key);
    out.extend(b",\"row\":");
    push_json(out, &RowJson(def, row));
}
