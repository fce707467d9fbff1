//! Answers over HTTP: live rows, streams, events in, and what an operator asks.
//!
//! ```text
//!  listener ─▶ connection ─▶ router (warp filters, from the table in routes) ─▶ a handler
//!   caps        deadlines      Caller made here, once                            │
//!                                                    state · events · stream · operate
//! ```
//!
//! In: [`Ports`], what the other rooms let this one do. Out: answers.
//!
//! # Meaning
//! Every answer is read at one complete epoch and says which (`as_of`); everything of a tenant's
//! is read through its [`Caller`] (the canary test).
//!
//! # Invariants
//! - A request waits for nobody else's request: no lock on the path of a read.
//! - Everything has a limit: headers, bodies, events, connections, streams, waits, the rows looked
//!   at for one page.
//! - Text of a user's never enters an SSE field other than `data`, and that is always JSON.
//!
//! # Why this way
//! warp's own server has no deadlines, no caps, and waits for open streams at shutdown, so its
//! filters run as a service under our accept loop. Each route is one warp filter made from its
//! line in [`routes::ROUTES`]; `/openapi.json` is made from the same lines.

mod answer;
mod body;
mod caller;
mod connection;
mod cursor;
mod desk;
mod early; // before there is anything to serve
mod events;
mod feed;
mod listener;
mod long;
mod openapi;
mod operate;
mod query;
mod queues;
mod refusal;
mod router;
mod route;
pub mod routes;
mod sql;
mod sse;
mod state;
mod stream;

pub use caller::{Caller, Role};
pub use listener::{Door, Open, Server};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::config;
use crate::messages::marks::MarkMessages;
use crate::messages::queues::AskDesk;
use crate::messages::sql::AskSql;
use crate::messages::{Append, Ended, Ledger, ReadHandle};
use crate::metrics::Metrics;
use crate::report::Report;

/// What the other rooms let this one do.
#[derive(Clone)]
pub struct Ports {
    /// The views and their instants.
    pub read: ReadHandle,
    /// The embedded log.
    pub append: Arc<dyn Append>,
    /// Where every record has ended.
    pub ledger: Arc<dyn Fn() -> Ledger + Send + Sync>,
    /// Of the positions `first..next`, once applied: how many events were new, how many known.
    pub applied: AppliedOf,
    /// The kept rejects.
    pub rejects: Arc<dyn RejectsPort>,
    /// Alive, and ready or why not.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// Operators with records, bytes, time.
    pub debug: Arc<dyn Fn() -> Value + Send + Sync>,
    /// Every metric.
    pub metrics: Metrics,
    /// Called before metrics are told: sets those that are gathered only when somebody looks.
    pub gather: Arc<dyn Fn() + Send + Sync>,
    /// How far a view is that is being built again; none where it is whole.
    pub building: WordsOf,
    /// The room that answers SQL.
    pub sql: Arc<dyn AskSql>,
    /// The room that hands out cases.
    pub queues: Arc<dyn AskDesk>,
    /// Who writes down what is said of messages.
    pub marks: Arc<dyn MarkMessages>,
    /// What the command line asks of a running process.
    pub admin: Arc<dyn AdminPort>,
    /// The wall clock, milliseconds.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// An event whose time is further ahead is refused at the door.
    pub future_limit: Duration,
}

/// How far a view is that is being built again, in words.
pub type WordsOf = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How many events of these positions were new, and how many known.
pub type AppliedOf = Arc<dyn Fn(u64, u64) -> Option<Ended> + Send + Sync>;

/// The state of the process as probes ask for it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Why it ought to be restarted; none: it is alive.
    pub dead: Vec<String>,
    /// Why it should not be sent work yet; none (and alive): it is ready.
    pub not_ready: Vec<String>,
}

/// The kept rejects as this room reads them.
pub trait RejectsPort: Send + Sync {
    /// Rejects with this reason and feed (all, if none is named) numbered below `before` (all, if
    /// it is absent), newest first, at most `limit`. May be shorter than there are; empty means
    /// that there are no more.
    fn list(
        &self,
        reason: Option<&str>,
        feed: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<KeptReject>, Report>;

    /// Reasons and feeds that can be asked for.
    fn known(&self) -> KnownRejects;

    /// How many there are and were by feed and reason, of all tenants: those that are kept, that
    /// are only counted any more, that were never kept.
    fn counts(&self) -> serde_json::Value;
}

/// One kept reject.
#[derive(Clone, Debug)]
pub struct KeptReject {
    /// Its number among the kept; grows.
    pub id: u64,
    /// The record, perhaps cut.
    pub bytes: Vec<u8>,
    /// The feed's records are CloudEvents as they stand (no mapping): its own `tenant` says whose
    /// it is.
    pub native: bool,
    /// As it is told to who may see it.
    pub told: Value,
}

/// What rejects can be asked for by.
#[derive(Clone, Debug, Default)]
pub struct KnownRejects {
    /// Every reason there is.
    pub reasons: Vec<String>,
    /// Every feed that is read, or of which rejects are kept.
    pub feeds: Vec<String>,
}

/// What the command line asks of a running process.
pub trait AdminPort: Send + Sync {
    /// Does it, and says what became of it.
    fn act(&self, action: AdminAction) -> AdminAnswer;
}

/// The answer to an [`AdminAction`], once there is one.
pub type AdminAnswer = Pin<Box<dyn Future<Output = Result<Value, Report>> + Send>>;

/// One thing asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// End cleanly.
    Shutdown,
    /// What the process is and does: version, addresses, folder, feeds.
    Status,
    /// Size, age and positions of the embedded log.
    LogStats,
    /// Records of the embedded log, of any tenant.
    LogShow {
        /// The first position; the oldest there is, if none is named.
        from: Option<u64>,
        /// How many.
        limit: usize,
    },
    /// Kept rejects, of any tenant, the newest first.
    Rejects {
        /// Only those with this reason.
        reason: Option<String>,
        /// Only those of this feed.
        feed: Option<String>,
        /// Only the one with this number.
        number: Option<u64>,
        /// How many.
        limit: usize,
    },
    /// How many rejects there are and were, by feed and reason.
    RejectCounts,
    /// Where the feeds stand.
    Feeds,
    /// Decide where a feed begins at the next start.
    ResetFeed {
        /// A feed, or all of a `[[kafka]]`.
        feed: String,
        /// Where, as the command line says it.
        to: String,
        /// This partition only.
        partition: Option<u32>,
    },
    /// What is kept of every entity, in figures.
    StateStats,
    /// The checkpoints there are, the newest first.
    Checkpoints {
        /// How many.
        limit: usize,
    },
    /// Read everything that is durable.
    Verify,
    /// Copy everything durable.
    Backup {
        /// An empty folder of this machine.
        to: String,
    },
    /// Have a model that is in the folder speak of texts from now on.
    Publish {
        /// Which, as JSON.
        asked: String,
    },
    /// Seal a model of arrival of what is known now.
    Seal,
    /// What was done about customers who were erased.
    Erasures {
        /// Only those with this id.
        customer: Option<String>,
    },
    /// How the sinks stand.
    Sinks,
    /// What a sink's receiver will not take.
    Aside {
        /// The sink.
        sink: String,
    },
    /// Have something done about messages that rules planned.
    Messages {
        /// `retry`, `cancel`.
        what: String,
        /// Only this one.
        message: Option<String>,
        /// Only those of this rule.
        rule: Option<String>,
        /// Only those to this channel.
        channel: Option<String>,
        /// Only those of this tenant.
        owner: Option<String>,
    },
    /// Have something done about a sink.
    Sink {
        /// The sink.
        sink: String,
        /// `resume`, `retry`, `drop`, `anew`.
        what: String,
        /// Of what stands aside, only this.
        id: Option<String>,
    },
    /// Take rules and channels as they stand in the settings now.
    ReloadRules,
    /// How the channels stand.
    Channels,
    /// Have something done about a channel.
    Channel {
        /// The channel.
        channel: String,
        /// `again`, `resume`, `reload`.
        what: String,
    },
    /// Append rejects to the log again.
    RetryRejects {
        /// Only those with this reason.
        reason: Option<String>,
        /// Only those of this feed.
        feed: Option<String>,
        /// Only the one with this number.
        number: Option<u64>,
    },
}

/// Serves at this address: [`Server::run`] does, until told to end.
pub fn at(open: Open, settings: config::Serve, ports: Ports) -> Server {
    Server::new(open, settings, ports)
}

/// Takes the address of the settings and lets clients in.
pub async fn bind(settings: config::Serve, ports: Ports) -> Result<Server, Report> {
    Ok(at(Door::reserve(settings.listen)?.open()?, settings, ports))
}
