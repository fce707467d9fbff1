//! Bodies, read within their limits: so many bytes, so much time, however they are framed.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::refusal::Refusal;
use crate::tasks;

/// What is read and thrown away after a refusal, so that a client that is still sending gets to
/// read the answer: about the largest upload that is sent by mistake, and not for long.
const DISCARDED_BYTES: usize = 64 * 1024 * 1024;
const DISCARDED_FOR: Duration = Duration::from_secs(2);

/// The whole body.
pub(super) async fn read<S, B, E>(
    stream: S,
    headers: &HeaderMap,
    limit: u64,
    timeout: Duration,
) -> Result<Bytes, Refusal>
where
    S: Stream<Item = Result<B, E>> + Send + 'static,
    B: Buf + Send,
    E: std::fmt::Display + Send,
{
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let announced: Option<u64> = announced.and_then(|it| it.parse().ok());
    let mut stream = Box::pin(stream);
    if headers.contains_key(header::CONTENT_ENCODING) {
        discard(stream, headers);
        return Err(media_type("a compressed body").close());
    }
    if announced.is_some_and(|it| it > limit) {
        discard(stream, headers);
        return Err(too_large(limit, announced));
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(limit) as usize);
    let deadline = tokio::time::sleep(timeout);
    tokio::pin!(deadline);
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = stream.next() => chunk,
            () = &mut deadline => return Err(too_slow(timeout)),
        };
        match chunk {
            None => return Ok(body.freeze()),
            Some(Ok(mut chunk)) => {
                if (body.len() + chunk.remaining()) as u64 > limit {
                    discard(stream, headers);
                    return Err(too_large(limit, announced));
                }
                while chunk.has_remaining() {
                    let slice = chunk.chunk();
                    body.extend_from_slice(slice);
                    let n = slice.len();
                    chunk.advance(n);
                }
            }
            Some(Err(why)) => return Err(cut_off(&why.to_string())),
        }
    }
}

fn discard<S, B, E>(mut stream: std::pin::Pin<Box<S>>, headers: &HeaderMap)
where
    S: Stream<Item = Result<B, E>> + Send + 'static,
    B: Buf + Send,
    E: Send,
{
    if headers.contains_key(header::EXPECT) {
        return; // It waits for our word before it sends.
    }
    tasks::spawn("discard-body", async move {
        let discarding = async {
            let mut left = DISCARDED_BYTES;
            while let Some(Ok(chunk)) = stream.next().await {
                left = left.saturating_sub(chunk.remaining());
                if left == 0 {
                    return;
                }
            }
        };
        // Whether all of it came does not matter: the connection ends either way.
        let whole = tokio::time::timeout(DISCARDED_FOR, discarding).await.is_ok();
        tracing::debug!(whole, "the rest of a refused body was thrown away");
    });
}

const NOT_TAKEN: &str = "nothing was taken";

fn too_large(limit: u64, announced: Option<u64>) -> Refusal {
    let found = announced.map_or("more".to_string(), |it| it.to_string());
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "serve/body-too-large",
        "the body is too large",
        format!("expected at most {limit} bytes, found {found}"),
        "send smaller batches, or raise serve.max_body_bytes",
    )
    .effect(NOT_TAKEN)
    .with("limit_bytes", json!(limit))
    .close()
}

fn too_slow(timeout: Duration) -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "serve/body-timeout",
        "the body did not come in time",
        format!("a body must be there {} s after its header", timeout.as_secs_f64()),
        "send again; if the line is that slow, send smaller batches or raise serve.body_timeout",
    )
    .effect(NOT_TAKEN)
    .close()
}

fn cut_off(why: &str) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "serve/body",
        "the body is not understood",
        format!("the body ended early: {why}"),
        "send the request again",
    )
    .effect(NOT_TAKEN)
    .close()
}

/// A media type that this route does not take.
pub(super) fn media_type(found: &str) -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "serve/media-type",
        "not a media type that this route takes",
        format!("found {found}"),
        "send application/json, or for events also application/cloudevents+json or \
         application/cloudevents-batch+json; in UTF-8, not compressed",
    )
    .effect(NOT_TAKEN)
}

/// Refuses what says that it is not JSON.
pub(super) fn json_only(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(found) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let found = found.to_str().unwrap_or("?");
    let media = found.split(';').next().unwrap_or("").trim();
    if media.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(media_type(found)) }
}
