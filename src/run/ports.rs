//! What serving may ask of the other rooms, and who answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::erasing::shown::{Shown, shown};
use super::notifying::Reloader;
use super::publishing::Publisher;
use super::rebuild::Building;
use crate::backup;
use crate::commands::backup::{SMALL, told};
use crate::commands::feed;
use crate::commands::log::record;
use crate::commands::rejects::find;
use crate::commands::state::verified;
use crate::config::{Settings, SinkSettings};
use crate::desk;
use crate::engine::{Engine, OperatorLine};
use crate::epochs::{Epochs, Hold};
use crate::ingest::local_log::{self, LocalLog};
use crate::ingest::resets::{Resets, To};
use crate::ledger::Book;
use crate::messages::queues::AskDesk;
use crate::messages::{Append, AppendRefused, Appended, Ledger, ReadHandle};
use crate::metrics::{Metrics, OfOperator};
use crate::notify;
use crate::rejects::{self, Filter, Reject, RejectStore, Select};
use crate::report::Report;
use crate::serve::{
    AdminAction, AdminAnswer, AdminPort, Health, KeptReject, KnownRejects, Ports, RejectsPort,
};
use crate::sinks::{Asking, no_sinks};
use crate::sql::Sql;
use crate::store::Looking;
use crate::watch;

/// What the ports are made of.
pub(super) struct Behind<'a> {
    pub(super) settings: &'a Settings,
    pub(super) engine: &'a Engine,
    pub(super) book: &'a Arc<Book>,
    pub(super) epochs: &'a Arc<Epochs>,
    pub(super) log: Option<Arc<LocalLog>>,
    pub(super) rejects: &'a RejectStore,
    pub(super) health: Arc<watch::Health>,
    pub(super) metrics: Metrics,
    pub(super) ledger: Arc<dyn Fn() -> Ledger + Send + Sync>,
    pub(super) end: tokio::sync::watch::Sender<bool>,
    /// What was decided about feeds; none where no state is kept.
    pub(super) resets: Option<Arc<Resets>>,
    /// What is kept of the views; none where no state is kept.
    pub(super) state: Option<Looking>,
    /// What leaves; none where nothing does.
    pub(super) sinks: Option<Asking>,
    /// What rules said; none where there are neither rules nor channels.
    pub(super) messages: Option<notify::Asking>,
    /// Who is told; none where nobody is.
    pub(super) channels: Option<notify::AskingChannels>,
    /// Who has others put in place.
    pub(super) reloader: Reloader,
    /// Who has models speak.
    pub(super) publisher: Arc<Publisher>,
    pub(super) building: Arc<Building>,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// The ports of a running process.
pub(super) fn of(behind: Behind<'_>) -> Result<Ports, Report> {
    let Behind {
        settings,
        engine,
        book,
        epochs,
        log,
        rejects,
        health,
        metrics,
        ledger,
        end,
        resets,
        state,
        sinks,
        messages,
        channels,
        reloader,
        publisher,
        building,
        now_ms,
    } = behind;
    let append: Arc<dyn Append> = match &log {
        Some(log) => Arc::new(Gate {
            log: Arc::clone(log),
            health: Arc::clone(&health),
            epochs: Arc::clone(epochs),
        }),
        None => Arc::new(NoLog),
    };
    let (operators, counted) = (engine.operators(), Arc::clone(book));
    let (gathered, told) = (engine.operators(), metrics.clone());
    let read: ReadHandle = engine.read_handle();
    let of_views = read.clone();
    let of_sql = Arc::clone(&building);
    let words: crate::sql::Building = Arc::new(move |view| of_sql.words(Some(view)));
    let sql = Sql::start(&settings.sql, read.clone(), Arc::clone(&now_ms), words)?;
    let queues = desk_of(settings, &read, log.clone(), &building, &now_ms)?;
    let facts = log.clone();
    let marks = Arc::new(notify::Marker {
        read: read.clone(),
        append: Arc::new(move |all| match &facts {
            Some(log) => log.append_facts(all),
            None => NoLog.append(all),
        }),
        now_ms: Arc::clone(&now_ms),
    });
    Ok(Ports {
        read,
        marks,
        append,
        ledger,
        applied: Arc::new(move |first, next| counted.applied(first, next)),
        rejects: Arc::new(Kept(rejects.clone())),
        health: {
            let health = Arc::clone(&health);
            Arc::new(move || Health { dead: vec![], not_ready: health.troubles() })
        },
        debug: Arc::new(move || {
            let views = of_views.views.iter().map(|view| {
                let stats = view.stats();
                json!({"view": view.def().name, "entities": stats.entities,
                       "bytes": stats.bytes, "undo_bytes": stats.undo_bytes})
            });
            json!({"operators": operators(), "views": views.collect::<Vec<_>>()})
        }),
        metrics,
        gather: Arc::new(move || gather(&gathered(), &told)),
        building: Arc::new(move |view| building.words(Some(view))),
        admin: Arc::new(Admin {
            data_dir: settings.data_dir.display().to_string(),
            log,
            health,
            epochs: Arc::clone(epochs),
            rejects: rejects.clone(),
            book: Arc::clone(book),
            resets,
            state,
            sinks,
            given: settings.sinks.clone(),
            messages,
            channels,
            reloader,
            publisher,
            end,
            now_ms: Arc::clone(&now_ms),
        }),
        sql,
        queues,
        now_ms,
        future_limit: settings.engine.future_limit,
    })
}

/// The desk on its thread, which ends once nobody can ask any more: with the server. Where there is
/// no log nothing can be decided, and the order is shown all the same.
fn desk_of(
    settings: &Settings,
    read: &ReadHandle,
    log: Option<Arc<LocalLog>>,
    building: &Arc<Building>,
    now_ms: &Arc<dyn Fn() -> u64 + Send + Sync>,
) -> Result<Arc<dyn AskDesk>, Report> {
    let needed = log.as_ref().map_or(0, |it| it.end());
    let building = Arc::clone(building);
    let (counter, thread) = desk::start(desk::Parts {
        settings: settings.queues.clone(),
        read: read.clone(),
        append: Arc::new(move |facts| match &log {
            Some(log) => log.append_facts(facts),
            None => NoLog.append(facts),
        }),
        needed,
        now_ms: Arc::clone(now_ms),
        is_building: Arc::new(move |view| building.words(Some(view)).is_some()),
    })?;
    // It has nothing to say at its end, and a panic in it ends the process.
    drop(thread);
    Ok(Arc::new(counter))
}

/// What each operator did, over all workers, into the metrics.
fn gather(operators: &[OperatorLine], metrics: &Metrics) {
    let mut all: BTreeMap<&str, OperatorLine> = BTreeMap::new();
    for line in operators {
        let sum = all.entry(&line.name).or_default();
        sum.busy_ms += line.busy_ms;
        sum.records_in += line.records_in;
        sum.arranged_records += line.arranged_records;
        sum.waiting_bytes += line.waiting_bytes;
    }
    for (name, sum) in all {
        let of = OfOperator { operator: name.to_string() };
        metrics.operator_busy.get_or_create(&of).raise_to((sum.busy_ms * 1e3) as u64);
        metrics.operator_records.get_or_create(&of).raise_to(sum.records_in.max(0).cast_unsigned());
        metrics.operator_arranged.get_or_create(&of).set(sum.arranged_records);
        metrics.operator_waiting.get_or_create(&of).set(sum.waiting_bytes);
    }
}

/// The log, closed while what is kept needs more memory than it may have, or what waits for a sink
/// more of the disk: what nobody can read is not piled up.
struct Gate {
    log: Arc<LocalLog>,
    health: Arc<watch::Health>,
    epochs: Arc<Epochs>,
}

/// When to try again where an outbox is full: it may have room with the next batch.
const AFTER_OUTBOX: Duration = Duration::from_secs(2);

/// When to try again: until there is more memory is a person's matter.
const AFTER_MEMORY: Duration = Duration::from_secs(10);

impl Append for Gate {
    fn append(
        &self,
        records: Vec<Vec<u8>>,
    ) -> Result<oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused> {
        if self.health.is_out_of_memory() {
            return Err(AppendRefused::Busy(AFTER_MEMORY));
        }
        if self.epochs.is_held_for(Hold::Outbox) {
            return Err(AppendRefused::Busy(AFTER_OUTBOX));
        }
        self.log.append(records)
    }
}

/// A replay keeps no log: nothing can be appended.
struct NoLog;

impl Append for NoLog {
    fn append(
        &self,
        _records: Vec<Vec<u8>>,
    ) -> Result<oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused> {
        Err(AppendRefused::Failed(Report {
            code: "run/no-log",
            what: "cannot take events".into(),
            at: vec![],
            why: "this process replays a file and keeps no log".into(),
            effect: "nothing was taken".into(),
            fix: "send events to a process started with `millstream run`".into(),
        }))
    }
}

struct Kept(RejectStore);

impl RejectsPort for Kept {
    fn list(
        &self,
        reason: Option<&str>,
        feed: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<KeptReject>, Report> {
        let filter =
            Filter { feed: feed.map(Into::into), code: reason.map(Into::into), retried: None };
        let page = self.0.list(&filter, limit, before)?;
        Ok(page
            .rejects
            .into_iter()
            .map(|it| KeptReject {
                id: it.id,
                told: it.told(),
                native: it.head.mapping.is_none(),
                bytes: it.bytes,
            })
            .collect())
    }

    fn known(&self) -> KnownRejects {
        let (reasons, feeds) = self.0.known();
        KnownRejects { reasons, feeds }
    }

    fn counts(&self) -> Value {
        json!(self.0.counts())
    }
}

struct Admin {
    data_dir: String,
    health: Arc<watch::Health>,
    epochs: Arc<Epochs>,
    log: Option<Arc<LocalLog>>,
    rejects: RejectStore,
    book: Arc<Book>,
    resets: Option<Arc<Resets>>,
    state: Option<Looking>,
    sinks: Option<Asking>,
    /// As the settings say.
    given: Vec<SinkSettings>,
    messages: Option<notify::Asking>,
    channels: Option<notify::AskingChannels>,
    reloader: Reloader,
    publisher: Arc<Publisher>,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    end: tokio::sync::watch::Sender<bool>,
}

impl AdminPort for Admin {
    fn act(&self, action: AdminAction) -> AdminAnswer {
        match action {
            AdminAction::Shutdown => {
                self.end.send_replace(true);
                Box::pin(async { Ok(json!({"ending": true})) })
            }
            AdminAction::Status => {
                let status = json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "data_dir": self.data_dir,
                    "process": std::process::id(),
                    "stalled": self.health.is_stalled(),
                    "ready": self.health.troubles().is_empty(),
                    "careful": self.epochs.is_careful(),
                });
                Box::pin(async move { Ok(status) })
            }
            AdminAction::LogStats => {
                let stats = self.log.as_ref().map(|it| it.stats());
                Box::pin(async move {
                    serde_json::to_value(stats).map_err(|it| untellable(&it.to_string()))
                })
            }
            AdminAction::LogShow { from, limit } => {
                let Some(log) = self.log.clone() else {
                    return Box::pin(async { Err(untellable(NO_LOG)) });
                };
                Box::pin(on_disk(move || {
                    let shown = log.show(from.unwrap_or_else(|| log.first()), limit)?;
                    Ok(shown.iter().map(record).collect())
                }))
            }
            AdminAction::Rejects { reason, feed, number, limit } => {
                let store = self.rejects.clone();
                Box::pin(on_disk(move || {
                    let found = find(store.kept(), reason, feed, number, limit)?;
                    Ok(found.iter().map(Reject::told).collect())
                }))
            }
            AdminAction::RejectCounts => {
                let counts = json!(self.rejects.counts());
                Box::pin(async move { Ok(counts) })
            }
            AdminAction::StateStats => Box::pin(self.of_state(|it| Ok(json!(it.stats()?)))),
            AdminAction::Checkpoints { limit } => {
                Box::pin(self.of_state(move |it| Ok(json!(it.checkpoints(limit)?))))
            }
            AdminAction::Verify => {
                let (logs, data_dir) = (self.logs(), PathBuf::from(&self.data_dir));
                Box::pin(slowly(move || verified(&logs, &data_dir)))
            }
            AdminAction::Backup { to } => {
                let (logs, now_ms) = (self.logs(), (self.now_ms)());
                let data_dir = PathBuf::from(&self.data_dir);
                Box::pin(slowly(move || {
                    if to.is_empty() {
                        return Err(untellable("expected the parameter `to`, found none"));
                    }
                    Ok(told(&backup::make(&data_dir, &logs, SMALL, Path::new(&to), now_ms)?))
                }))
            }
            AdminAction::Feeds => {
                let resets = self.resets.as_ref().map_or_else(Vec::new, |it| it.all());
                let lines = feed::lines(&self.book.state().lines, &resets);
                Box::pin(async move { Ok(Value::Array(lines)) })
            }
            AdminAction::ResetFeed { feed, to, partition } => {
                let (book, resets) = (Arc::clone(&self.book), self.resets.clone());
                Box::pin(async move {
                    let to = To::try_from(to).map_err(|why| untellable(&why))?;
                    let resets = resets.ok_or_else(|| untellable(NO_LOG))?;
                    let decide = move || resets.decide(&book.state().lines, &feed, partition, to);
                    let done = tokio::task::spawn_blocking(decide).await;
                    Ok(feed::decided(&done.map_err(|it| untellable(&it.to_string()))??))
                })
            }
            AdminAction::Publish { asked } => {
                let publisher = Arc::clone(&self.publisher);
                Box::pin(slowly(move || {
                    let asked = serde_json::from_str(&asked)
                        .map_err(|why| untellable(&format!("the parameter `asked`: {why}")))?;
                    Ok(publisher.publish(&asked)?.as_json())
                }))
            }
            AdminAction::Seal => {
                let publisher = Arc::clone(&self.publisher);
                Box::pin(slowly(move || Ok(publisher.seal_now()?.as_json())))
            }
            AdminAction::Erasures { customer } => {
                let (dir, sinks) = (self.data_dir.clone(), self.given.clone());
                Box::pin(on_disk(move || {
                    let all = shown(dir.as_ref(), &sinks, customer.as_deref())?;
                    Ok(all.iter().map(Shown::json).collect())
                }))
            }
            AdminAction::Sinks => {
                let list = self.sinks.as_ref().map_or_else(|| json!([]), Asking::list);
                Box::pin(async move { Ok(list) })
            }
            AdminAction::Aside { sink } => {
                Box::pin(of_sinks(self.sinks.clone(), move |it| it.aside(&sink)))
            }
            AdminAction::Sink { sink, what, id } => {
                Box::pin(of_sinks(self.sinks.clone(), move |it| match what.as_str() {
                    "resume" => it.resume(&sink),
                    "retry" => it.retry(&sink),
                    "drop" => it.drop_aside(&sink, id.as_deref()),
                    "anew" => it.anew(&sink),
                    "verify" => it.verify(&sink),
                    _ => Err(untellable("expected `do` to be resume, retry, drop, anew or verify")),
                }))
            }
            AdminAction::Messages { what, message, rule, channel, owner } => {
                let asked = notify::Asked { message, rule, channel, tenant: owner };
                let messages = self.messages.clone();
                Box::pin(slowly(move || {
                    let wanted = match what.as_str() {
                        "retry" => notify::Wanted::Retry,
                        "cancel" => notify::Wanted::Cancel,
                        _ => return Err(untellable("expected `do` to be retry or cancel")),
                    };
                    messages.ok_or_else(notify::no_notifications)?.act(wanted, &asked)
                }))
            }
            AdminAction::ReloadRules => {
                let reloader = self.reloader.clone();
                Box::pin(slowly(move || Ok(reloader.answer())))
            }
            AdminAction::Channels => {
                let list =
                    self.channels.as_ref().map_or_else(|| json!([]), notify::AskingChannels::list);
                Box::pin(async move { Ok(list) })
            }
            AdminAction::Channel { channel, what } => {
                let channels = self.channels.clone();
                Box::pin(slowly(move || {
                    let it = channels.ok_or_else(|| notify::no_such(&channel, &[]))?;
                    match what.as_str() {
                        "again" => it.again(&channel),
                        "resume" => it.resume(&channel),
                        "reload" => it.reload(&channel),
                        _ => Err(untellable("expected `do` to be again, resume or reload")),
                    }
                }))
            }
            AdminAction::RetryRejects { reason, feed, number } => {
                let select = match number {
                    Some(number) => Select::Ids(vec![number]),
                    None => Select::Filter(Filter { feed, code: reason, retried: None }),
                };
                let (rejects, log) = (self.rejects.clone(), self.log.clone());
                Box::pin(retry(rejects, log, select))
            }
        }
    }
}

impl Admin {
    /// Every log, in the order in which they are to be copied.
    fn logs(&self) -> Vec<backup::Part> {
        let mut logs: Vec<backup::Part> = Vec::new();
        logs.extend(self.state.iter().flat_map(Looking::logs));
        logs.extend(self.rejects.kept().folder().map(|it| (rejects::DIR, Arc::clone(it))));
        logs.extend(self.log.iter().map(|it| (local_log::DIR, it.folder())));
        logs
    }

    fn of_state(
        &self,
        ask: impl FnOnce(&Looking) -> Result<Value, Report> + Send + 'static,
    ) -> impl Future<Output = Result<Value, Report>> + Send + 'static {
        let state = self.state.clone();
        slowly(move || ask(&state.ok_or_else(|| untellable(NO_LOG))?))
    }
}

/// Asks the sinks, on a thread that may wait.
async fn of_sinks(
    sinks: Option<Asking>,
    ask: impl FnOnce(&Asking) -> Result<Value, Report> + Send + 'static,
) -> Result<Value, Report> {
    slowly(move || ask(&sinks.ok_or_else(no_sinks)?)).await
}

const NO_LOG: &str = "this process replays a file and keeps no log";

/// Reads from the disk, on a thread that may wait.
async fn on_disk(
    work: impl FnOnce() -> Result<Vec<Value>, Report> + Send + 'static,
) -> Result<Value, Report> {
    slowly(|| work().map(Value::Array)).await
}

/// Does what waits for the disk, on a thread that may wait.
async fn slowly(
    work: impl FnOnce() -> Result<Value, Report> + Send + 'static,
) -> Result<Value, Report> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|it| untellable(&it.to_string()))?
}

/// Waits for the disk: on a thread that may wait.
async fn retry(
    rejects: RejectStore,
    log: Option<Arc<LocalLog>>,
    select: Select,
) -> Result<Value, Report> {
    let Some(log) = log else {
        return Err(untellable(NO_LOG));
    };
    let work = tokio::task::spawn_blocking(move || rejects.retry(&select, &*log));
    let retried = work.await.map_err(|it| untellable(&it.to_string()))??;
    serde_json::to_value(retried).map_err(|it| untellable(&it.to_string()))
}

fn untellable(why: &str) -> Report {
    Report {
        code: "run/admin",
        what: "could not do what the command line asked".into(),
        at: vec![],
        why: why.into(),
        effect: "no data was changed".into(),
        fix: "look at the log of the running process, then try again".into(),
    }
}

/// Longest wait of the door's threads for serving to end, beyond its own drain.
pub(super) const GRACE: Duration = Duration::from_secs(5);
