//! What is said before there is anything to serve: it is alive, and it is too early.

use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

use super::answer::json_response;
use super::refusal::Refusal;
use super::routes::{Endpoint, Route};

/// Whoever asks is to ask again after so many seconds.
const AGAIN_AFTER: u64 = 1;

/// Every path: each connection ends with its answer, the next one may find all of it served.
pub(super) fn filter() -> BoxedFilter<(Response,)> {
    warp::path::full().map(|path: FullPath| answer(path.as_str())).boxed()
}

fn answer(path: &str) -> Response {
    let health = |status, name: &str, well: bool, reasons: &[&str]| {
        json_response(status, json!({name: well, "reasons": reasons}).to_string().into_bytes())
    };
    let mut response = if path == Route::of(Endpoint::Live).path {
        health(StatusCode::OK, "live", true, &[])
    } else if path == Route::of(Endpoint::Ready).path {
        health(StatusCode::SERVICE_UNAVAILABLE, "ready", false, &["the state is being loaded"])
    } else {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "serve/starting",
            "it is starting",
            "the state is being loaded; nothing can be read or taken yet",
            "ask again in a second; /health/ready says when all is caught up",
        )
        .retry_after(AGAIN_AFTER)
        .into_response(None)
    };
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
