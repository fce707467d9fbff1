//! `GET /v1/stream`: a snapshot at one epoch, then every change, as server-sent events.
//!
//! ```text
//!  pin ─▶ snapshot ─▶ changes since that pin ─▶ … ─▶ closed (slow, stopping)
//!   ▲                                         │
//!   └── reset ◀── the last id is not known ◀──┘ (on coming back)
//! ```
//!
//! # State
//! One task and one permit per stream; what waits for it is bounded in [`crate::changes`] and by
//! [`FRAMES`]. A client that does not read is cut by its connection's deadline for writing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemas::reading::{Keep, Pin};
use schemas::rows::{Row, ViewDef};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use warp::Reply;
use warp::reply::Response;

use super::caller::Caller;
use super::desk::Desk;
use super::query::{Query, key_of};
use super::refusal::Refusal;
use super::sse;
use super::state::{MAX_EXAMINED, filters, wanted as is_wanted};
use crate::changes::{After, Ended, Select, Subscription, Wanted};
use crate::messages::{AsOf, Epoch};
use crate::metrics::OfReason;
use crate::tasks;

/// Frames that wait for the connection; the rest waits in the subscription, where it is counted.
const FRAMES: usize = 2;
/// A timer's resolution; for settings that a test makes very short.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(1);
/// Rows in one event of a snapshot.
const SNAPSHOT_ROWS: usize = 500;
/// How long a snapshot of several parts holds its instant from part to part: who takes longer for
/// one part is too slow for what follows.
const SNAPSHOT_LEASE_MS: u64 = 5_000;

/// Opens a stream.
pub(super) fn open(
    desk: Arc<Desk>,
    caller: &Caller,
    mut query: Query<'_>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let name = query.take("view")?.ok_or_else(|| Refusal::parameter("view", "is missing"))?;
    desk.view(&name)?;
    let views = &desk.ports.read.views;
    let view = views.iter().position(|it| it.def().name == name).unwrap_or_default();
    let def = views[view].def();
    let last = last_id(&mut query, headers)?;
    let key = query.take("key")?;
    let filters = filters(def, query)?;
    let select = match key {
        Some(_) if !filters.is_empty() => {
            return Err(Refusal::parameter("key", "one row or filters, not both"));
        }
        Some(key) => Select::Key(key_of(&key)?),
        None => Select::Filters(filters),
    };
    let permit = Arc::clone(&desk.streams).try_acquire_owned().map_err(|_| too_many(&desk))?;
    let wanted = Wanted { tenant: caller.tenant().to_string(), view, select };
    let (frames, waiting) = mpsc::channel(FRAMES);
    let stream = Stream { desk, wanted, def, frames, permit };
    tasks::spawn("stream", stream.run(last));
    let body = ReceiverStream::new(waiting).map(Ok::<Bytes, Infallible>);
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn last_id(query: &mut Query<'_>, headers: &HeaderMap) -> Result<Option<Epoch>, Refusal> {
    let parameter = query.take("last_event_id")?;
    let header = headers.get("last-event-id").map(|it| it.to_str().unwrap_or("?"));
    match header.or(parameter.as_deref()) {
        None | Some("") => Ok(None),
        // What is no epoch of ours is an id that is not known: a reset, not a refusal, or a
        // browser would not come back.
        Some(text) => Ok(Some(text.parse().unwrap_or(Epoch::MAX))),
    }
}

fn too_many(desk: &Desk) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "serve/too-many-streams",
        "as many streams are open as may be",
        format!("{} streams are open", desk.settings.max_streams),
        "close streams that are not needed, or raise serve.max_streams",
    )
    .retry_after(5)
}

/// Returns once streams are to end.
async fn stopping_comes(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone: as good a reason to end.
    drop(stopping.wait_for(|it| *it).await);
}

struct Stream {
    desk: Arc<Desk>,
    wanted: Wanted,
    def: &'static ViewDef,
    frames: mpsc::Sender<Bytes>,
    permit: OwnedSemaphorePermit,
}

/// The client has left, or was told to.
struct Left;

/// Rows of a snapshot, the key to go on after, and, with the first, what holds its instant.
struct Part {
    as_of: AsOf,
    rows: Vec<(String, Row)>,
    next: Option<String>,
    pin: Option<Pin>,
}

impl Stream {
    async fn run(self, last: Option<Epoch>) {
        let metrics = &self.desk.ports.metrics;
        metrics.streams.inc();
        let mut stopping = self.desk.stopping.clone();
        tokio::select! {
            biased;
            () = stopping_comes(&mut stopping) => self.close("stopping").await,
            Left = self.serve(last) => {}
        }
        metrics.streams.dec();
        drop(self.permit);
    }

    async fn serve(&self, last: Option<Epoch>) -> Left {
        match self.try_serve(last).await {
            Ok(never) => match never {},
            Err(left) => left,
        }
    }

    async fn try_serve(&self, last: Option<Epoch>) -> Result<Infallible, Left> {
        self.send(sse::opening()).await?;
        let mut subscription = match last {
            None => self.begin().await?,
            Some(last) => {
                let changes = &self.desk.changes;
                match changes.subscribe(self.wanted.clone(), After::Told(last)).await {
                    Ok(subscription) => subscription,
                    Err(_) => {
                        self.desk.ports.metrics.stream_resets.one();
                        self.send(sse::reset(self.desk.newest(), self.def)).await?;
                        self.begin().await?
                    }
                }
            }
        };
        // Well within the time after which something between us may take the line for dead.
        let mut heartbeat =
            tokio::time::interval((self.desk.settings.idle_timeout / 4).max(SHORTEST_HEARTBEAT));
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                delta = subscription.next() => match delta {
                    Some(delta) => self.send(delta.encoded(sse::delta)).await?,
                    None => {
                        let slow = subscription.ended() == Ended::Slow;
                        self.close(if slow { "slow" } else { "over" }).await;
                        return Err(Left);
                    }
                },
                _ = heartbeat.tick() => {
                    if let Some(epoch) = subscription.caught_up() {
                        self.send(sse::heartbeat(epoch)).await?;
                    }
                }
                () = self.frames.closed() => return Err(Left),
            }
        }
    }

    /// The snapshot, and the subscription that goes on from its instant.
    async fn begin(&self) -> Result<Subscription, Left> {
        let Part { as_of, rows, next, pin } = self.part(None, None).await?;
        let Some(mut next) = next else {
            // Watching begins while the pin holds the instant; sending may take longer.
            let after = pin.map_or(After::Told(as_of.epoch), After::Held);
            let subscription = self.subscribe(after).await?;
            self.send(sse::snapshot(as_of, self.def, &rows, true)).await?;
            return Ok(subscription);
        };
        self.lease(as_of.epoch).await?;
        drop(pin);
        self.send(sse::snapshot(as_of, self.def, &rows, false)).await?;
        loop {
            self.lease(as_of.epoch).await?;
            let Part { rows, next: more, .. } = self.part(Some(as_of), Some(next)).await?;
            let Some(more) = more else {
                let subscription = self.subscribe(After::Told(as_of.epoch)).await?;
                self.send(sse::snapshot(as_of, self.def, &rows, true)).await?;
                return Ok(subscription);
            };
            self.send(sse::snapshot(as_of, self.def, &rows, false)).await?;
            next = more;
        }
    }

    /// Rows of the snapshot after a key; of the first part the instant is pinned when it is read.
    async fn part(&self, at: Option<AsOf>, after: Option<String>) -> Result<Part, Left> {
        let view = Arc::clone(&self.desk.ports.read.views[self.wanted.view]);
        let (wanted, desk) = (self.wanted.clone(), Arc::clone(&self.desk));
        let is_short = matches!(wanted.select, Select::Key(_));
        let read = move || {
            let pin = at.is_none().then(|| desk.ports.read.instants.pin());
            let newest = pin.as_ref().map(|it| desk.as_of(it.epoch()));
            let as_of = at.or(newest).unwrap_or_else(|| desk.newest());
            let (epoch, gone) = (as_of.epoch, |it| desk.gone(as_of.epoch, it));
            if let Select::Key(key) = &wanted.select {
                let row = view.get(&wanted.tenant, key, epoch).map_err(gone)?;
                let rows = row.map(|it| (key.clone(), it)).into_iter().collect();
                return Ok(Part { as_of, rows, next: None, pin });
            }
            let filters = wanted.select.filters();
            let fields: Vec<usize> = filters.iter().map(|it| it.0).collect();
            let wants = |values: &[schemas::rows::Value]| is_wanted(filters, values);
            let keep = Keep { fields: &fields, wants: &wants };
            let page = view
                .page(&wanted.tenant, after.as_deref(), epoch, SNAPSHOT_ROWS, MAX_EXAMINED, keep)
                .map_err(gone)?;
            let rows = page.rows.into_iter().map(|(name, row)| (name.key().to_string(), row));
            Ok(Part { as_of, rows: rows.collect(), next: page.next, pin })
        };
        // One row takes no turn.
        let part = if is_short { read() } else { self.desk.long.wait(read).await };
        match part {
            Ok(part) => Ok(part),
            Err(_) => self.too_slow().await,
        }
    }

    async fn lease(&self, epoch: Epoch) -> Result<(), Left> {
        let now = (self.desk.ports.now_ms)();
        match self.desk.ports.read.instants.lease(epoch, now, SNAPSHOT_LEASE_MS) {
            Ok(()) => Ok(()),
            Err(_) => self.too_slow().await,
        }
    }

    async fn subscribe(&self, after: After) -> Result<Subscription, Left> {
        match self.desk.changes.subscribe(self.wanted.clone(), after).await {
            Ok(subscription) => Ok(subscription),
            Err(_) => self.too_slow().await,
        }
    }

    /// The instant of the snapshot was let go before the client had it all.
    async fn too_slow<T>(&self) -> Result<T, Left> {
        self.close("slow").await;
        Err(Left)
    }

    async fn send(&self, frame: Bytes) -> Result<(), Left> {
        self.frames.send(frame).await.map_err(|_| Left)
    }

    /// Tells why, and ends.
    async fn close(&self, reason: &'static str) {
        self.desk.ports.metrics.streams_ended.get_or_create(&OfReason { reason }).one();
        let as_of: AsOf = self.desk.newest();
        if self.send(sse::closed(as_of, self.def, reason)).await.is_err() {
            tracing::debug!(reason, "a stream was left before it could be told why it ends");
        }
    }
}
