//! From a request to its handler: one warp filter per line of the table.

use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Buf;
use futures_util::Stream;
use http::{HeaderMap, Method, StatusCode};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reject::{self, Reject, Rejection};
use warp::reply::Response;

use super::caller::{Caller, only_loopback};
use super::connection::Peer;
use super::desk::Desk;
use super::query::Query;
use super::refusal::Refusal;
use super::routes::{Captures, Class, Endpoint, ROUTES, Route};
use super::{body, events, feed, operate, queues, sql, state, stream};
use crate::clock;

/// The path is a route's, the method is not.
#[derive(Debug)]
struct OtherMethod(&'static str);

impl Reject for OtherMethod {}

/// What every handler is told of its request.
struct Asked {
    captures: Captures,
    query: String,
    tenant: Option<String>,
    at_least: Option<String>,
}

/// Every route. The first line of the table is tried first.
pub(super) fn filter(desk: &Arc<Desk>) -> BoxedFilter<(Response,)> {
    let nothing = warp::any().and_then(|| ready(Err::<Response, _>(reject::not_found())));
    let mut all = nothing.boxed();
    for route in ROUTES.iter().rev() {
        let this = match route.endpoint {
            Endpoint::Row => row(route, Arc::clone(desk)),
            _ if needs_more(route) => with_headers(route, Arc::clone(desk)),
            _ => plain(route, Arc::clone(desk)),
        };
        all = this.or(all).unify().boxed();
    }
    let theirs = Arc::clone(desk);
    all.recover(move |rejection: Rejection| {
        let response = unrouted(&rejection).into_response(theirs.newest());
        theirs.note(None, &response, std::time::Duration::ZERO);
        ready(Ok::<_, Rejection>(response))
    })
    .unify()
    .boxed()
}

/// Headers and body, beyond what every route reads.
fn needs_more(route: &Route) -> bool {
    let by_headers = [Endpoint::Stream, Endpoint::Notifications].contains(&route.endpoint);
    !route.body.is_empty() || route.class == Class::Loopback || by_headers
}

/// The filter of a route's method and path, and of what every handler is told.
fn asked(route: &'static Route) -> impl Filter<Extract = (Asked,), Error = Rejection> + Clone {
    let method = Method::from_bytes(route.method.as_bytes()).unwrap_or_default();
    let at =
        warp::method().and(warp::path::full()).and_then(move |found: Method, path: FullPath| {
            ready(match route.captures(path.as_str()) {
                None => Err(reject::not_found()),
                Some(captures) if found == method => Ok(captures),
                Some(_) => Err(reject::custom(OtherMethod(route.method))),
            })
        });
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    at.and(query)
        .and(warp::header::optional("millstream-tenant"))
        .and(warp::header::optional("millstream-at-least"))
        .map(|captures, query, tenant, at_least| Asked { captures, query, tenant, at_least })
}

/// The route that is asked most: no more than it needs.
fn row(route: &'static Route, desk: Arc<Desk>) -> BoxedFilter<(Response,)> {
    let answer = move |asked: Asked| {
        let desk = Arc::clone(&desk);
        async move {
            let begun = clock::monotonic();
            let answer = read_row(&desk, &asked).await;
            Ok::<_, Rejection>(finish(&desk, route, begun, answer))
        }
    };
    asked(route).and_then(answer).boxed()
}

async fn read_row(desk: &Desk, asked: &Asked) -> Result<Response, Refusal> {
    let mut query = Query::parse(&asked.query);
    let caller = Caller::of(&mut query, asked.tenant.as_deref())?;
    at_least(desk, asked).await?;
    state::row(desk, &caller, &asked.captures, query)
}

fn plain(route: &'static Route, desk: Arc<Desk>) -> BoxedFilter<(Response,)> {
    let answer = move |asked: Asked| {
        let desk = Arc::clone(&desk);
        timed(route, Arc::clone(&desk), async move { read(route, desk, asked).await })
    };
    asked(route).and_then(answer).boxed()
}

async fn read(route: &Route, desk: Arc<Desk>, asked: Asked) -> Result<Response, Refusal> {
    match route.endpoint {
        // Probes add what they like to these.
        Endpoint::Live | Endpoint::Ready => return Ok(operate::health(&desk, route.endpoint)),
        Endpoint::Metrics => return Ok(operate::metrics(&desk)),
        Endpoint::OpenApi => return Ok(operate::openapi(&desk)),
        _ => {}
    }
    let mut query = Query::parse(&asked.query);
    let caller = Caller::of(&mut query, asked.tenant.as_deref())?;
    at_least(&desk, &asked).await?;
    match route.endpoint {
        Endpoint::List => state::list(desk, caller, asked.captures, query).await,
        Endpoint::Views => state::views(desk, caller, query).await,
        Endpoint::QueueOrder => queues::order(desk, caller, asked.captures, query).await,
        Endpoint::Rejects => operate::rejects(desk, caller, query).await,
        Endpoint::Ledger => query.end().map(|()| operate::ledger(&desk)),
        Endpoint::Dataflow => query.end().map(|()| operate::dataflow(&desk)),
        _ => Err(unrouted(&reject::not_found())),
    }
}

fn with_headers(route: &'static Route, desk: Arc<Desk>) -> BoxedFilter<(Response,)> {
    asked(route)
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Peer>())
        .and(warp::body::stream())
        .and_then(move |asked, headers, peer, body| {
            let desk = Arc::clone(&desk);
            timed(route, Arc::clone(&desk), async move {
                more(route, desk, asked, headers, peer, body).await
            })
        })
        .boxed()
}

/// What some routes show is of every tenant: nobody may take it for one's own.
fn of_no_tenant(asked: &Asked) -> Result<(), Refusal> {
    match asked.tenant {
        Some(_) => Err(Refusal::parameter("Millstream-Tenant", "this route is of no tenant")),
        None => Ok(()),
    }
}

async fn more(
    route: &Route,
    desk: Arc<Desk>,
    asked: Asked,
    headers: HeaderMap,
    peer: Peer,
    stream: impl Stream<Item = Result<impl Buf + Send, warp::Error>> + Send + 'static,
) -> Result<Response, Refusal> {
    let mut query = Query::parse(&asked.query);
    if route.class == Class::Loopback {
        only_loopback(peer.0, &headers)?;
        of_no_tenant(&asked)?;
        return operate::admin(desk, route.endpoint, query).await;
    }
    let caller = Caller::of(&mut query, asked.tenant.as_deref())?;
    let (limit, timeout) = (desk.settings.max_body_bytes, desk.settings.body_timeout);
    match route.endpoint {
        Endpoint::Stream => {
            at_least(&desk, &asked).await?;
            stream::open(desk, &caller, query, &headers)
        }
        Endpoint::Notifications => {
            at_least(&desk, &asked).await?;
            feed::read(desk, caller, query, &headers).await
        }
        Endpoint::Acknowledge | Endpoint::Snooze => {
            query.end()?;
            let body = body::read(stream, &headers, limit, timeout).await?;
            body::json_only(&headers)?;
            at_least(&desk, &asked).await?;
            feed::mark(&desk, &caller, (route.endpoint, &asked.captures), &body).await
        }
        Endpoint::Read => {
            query.end()?;
            let body = body::read(stream, &headers, limit, timeout).await?;
            body::json_only(&headers)?;
            at_least(&desk, &asked).await?;
            state::read(&desk, &caller, &body)
        }
        Endpoint::Sql => {
            let format = sql::format(query, &headers)?;
            let body = body::read(stream, &headers, limit, timeout).await?;
            body::json_only(&headers)?;
            at_least(&desk, &asked).await?;
            sql::answer(&desk, &caller, &body, format).await
        }
        Endpoint::QueueClaim | Endpoint::QueueRelease | Endpoint::QueueComplete => {
            query.end()?;
            let key = queues::key(&headers)?;
            let body = body::read(stream, &headers, limit, timeout).await?;
            body::json_only(&headers)?;
            at_least(&desk, &asked).await?;
            queues::ask(&desk, &caller, (route.endpoint, &asked.captures), key, &body).await
        }
        _ => {
            let wait = events::wait_applied(query)?;
            let body = body::read(stream, &headers, limit, timeout).await?;
            events::append(desk, caller, headers, body, wait).await
        }
    }
}

/// Waits for the position that the client has to see.
async fn at_least(desk: &Desk, asked: &Asked) -> Result<(), Refusal> {
    let Some(text) = &asked.at_least else { return Ok(()) };
    let position = text.parse().map_err(|_| {
        Refusal::parameter("Millstream-At-Least", "expected a position, a whole number")
    })?;
    desk.reach(position).await
}

async fn timed(
    route: &'static Route,
    desk: Arc<Desk>,
    answer: impl Future<Output = Result<Response, Refusal>>,
) -> Result<Response, Rejection> {
    let begun = clock::monotonic();
    let answer = answer.await;
    Ok(finish(&desk, route, begun, answer))
}

fn finish(
    desk: &Desk,
    route: &'static Route,
    begun: std::time::Instant,
    answer: Result<Response, Refusal>,
) -> Response {
    let response = answer.unwrap_or_else(|refusal| refusal.into_response(desk.newest()));
    desk.note(Some(route), &response, clock::since(begun));
    response
}

/// What no route took.
fn unrouted(rejection: &Rejection) -> Refusal {
    if let Some(OtherMethod(method)) = rejection.find() {
        return Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "serve/method",
            "not a method of this route",
            format!("expected {method}"),
            "see /openapi.json",
        )
        .allow(method);
    }
    if rejection.is_not_found() {
        return Refusal::new(
            StatusCode::NOT_FOUND,
            "serve/no-such-route",
            "no such route",
            "nothing is served under this path",
            "see /openapi.json for every route",
        );
    }
    Refusal::parameter("header", "a header of the request is not text")
}
