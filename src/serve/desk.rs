//! What every handler shares.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use schemas::reading::{Gone, ViewReader};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use warp::reply::Response;

use super::Ports;
use super::cursor::Cursors;
use super::long::LongReads;
use super::refusal::Refusal;
use super::routes::{ROUTES, Route};
use crate::changes::Changes;
use crate::config;
use crate::messages::{AsOf, Epoch};
use crate::metrics::{Count, Durations, OfAnswer, OfRoute};

pub(super) struct Desk {
    pub(super) settings: config::Serve,
    pub(super) ports: Ports,
    pub(super) cursors: Cursors,
    pub(super) changes: Changes,
    /// Whose turn it is to look at many rows.
    pub(super) long: LongReads,
    /// One permit per stream that may be open.
    pub(super) streams: Arc<Semaphore>,
    /// Turns true when streams are to end.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) openapi: Bytes,
    /// One per route, then one for what is no route.
    measures: Vec<Measures>,
}

struct Measures {
    classes: [Count; 3],
    time: Durations,
}

impl Desk {
    pub(super) fn new(
        settings: config::Serve,
        ports: Ports,
        changes: Changes,
        stopping: watch::Receiver<bool>,
    ) -> Desk {
        let metrics = &ports.metrics;
        let measures = |method: &'static str, route: &'static str| {
            let count =
                |status| metrics.answers.get_or_create(&OfAnswer { route, method, status }).clone();
            Measures {
                classes: ["2xx", "4xx", "5xx"].map(count),
                time: metrics.answer_time.get_or_create(&OfRoute { route, method }).clone(),
            }
        };
        let none = [measures("any", "none")];
        let all = ROUTES.iter().map(|it| measures(it.method, it.path)).chain(none).collect();
        let definitions: Vec<_> = ports.read.views.iter().map(|it| it.def()).collect();
        Desk {
            cursors: Cursors::new(),
            changes,
            long: LongReads::new(),
            streams: Arc::new(Semaphore::new(settings.max_streams)),
            stopping,
            openapi: super::openapi::document(&definitions, &settings).to_string().into(),
            measures: all,
            settings,
            ports,
        }
    }

    /// Notes an answer of a route (none: what is no route).
    pub(super) fn note(&self, route: Option<&'static Route>, response: &Response, took: Duration) {
        let at = route.and_then(|it| ROUTES.iter().position(|other| std::ptr::eq(other, it)));
        let measures = &self.measures[at.unwrap_or(ROUTES.len())];
        let class = match response.status().as_u16() {
            500.. => 2,
            400.. => 1,
            _ => 0,
        };
        measures.classes[class].one();
        measures.time.observe(took);
    }

    /// The newest complete instant.
    pub(super) fn newest(&self) -> AsOf {
        *self.ports.read.newest.borrow()
    }

    /// The instant of a held epoch.
    pub(super) fn as_of(&self, epoch: Epoch) -> AsOf {
        let newest = self.newest();
        if newest.epoch == epoch { newest } else { (self.ports.read.as_of)(epoch) }
    }

    /// The view of this name.
    pub(super) fn view(&self, name: &str) -> Result<&Arc<dyn ViewReader>, Refusal> {
        if let Some(words) = (self.ports.building)(name) {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "serve/rebuilding",
                "the view is being built again",
                words,
                "ask again; it ends by itself",
            ));
        }
        self.ports.read.views.iter().find(|it| it.def().name == name).ok_or_else(|| {
            let names: Vec<_> = self.ports.read.views.iter().map(|it| it.def().name).collect();
            Refusal::new(
                StatusCode::NOT_FOUND,
                "serve/no-such-view",
                "no such view",
                format!("there is no view {name:?}; there are {}", names.join(", ")),
                "GET /v1/views lists the views",
            )
        })
    }

    /// Waits until the views include everything below this position, within the limit.
    pub(super) async fn reach(&self, position: u64) -> Result<(), Refusal> {
        if self.newest().position >= position || self.reached(position).await {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "serve/not-reached",
            "the position was not reached in time",
            format!(
                "the views include positions below {}, {position} was asked for",
                self.newest().position
            ),
            "ask again; /v1/ledger shows how far behind the views are",
        )
        .retry_after(1))
    }

    /// Whether the views came to include everything below this position within the limit.
    pub(super) async fn reached(&self, position: u64) -> bool {
        let mut newest = self.ports.read.newest.clone();
        let waiting = newest.wait_for(|it| it.position >= position);
        matches!(tokio::time::timeout(self.settings.at_least_timeout, waiting).await, Ok(Ok(_)))
    }

    /// The instant asked for is no longer kept.
    pub(super) fn gone(&self, epoch: Epoch, gone: Gone) -> Refusal {
        let lease = self.settings.cursor_lease.as_secs_f64();
        Refusal::new(
            StatusCode::GONE,
            "serve/cursor-gone",
            "the instant is no longer kept",
            format!(
                "epoch {epoch} was let go; a cursor holds its instant for {lease} s from its last \
                 use, less when much changes"
            ),
            "begin the listing again without a cursor",
        )
        .with("oldest", json!(gone.oldest))
    }
}
