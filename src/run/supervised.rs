//! What a process does that was started by a parent: it ends with it, puts aside what it was told
//! to, and says once how long it was away.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use schemas::problem::Problem;
use tokio::sync::Notify;

use crate::epochs::{Careful, Epochs, Guard};
use crate::ingest::local_log::LocalLog;
use crate::messages::{BACKFILL, Feeds, Partition, of_backfill};
use crate::metrics::Metrics;
use crate::report::{Report, log_report};
use crate::supervise::Says;
use crate::supervise::notes::{self, Place, Told, Trying};
use crate::tasks;

/// The code of a record that was put aside.
const BROUGHT_DOWN: &str = "engine/brought-down";

/// What stands between the queues and the epochs; none where nothing is aside and nobody careful.
pub(super) fn guard(
    data_dir: &Path,
    told: Option<&Told>,
    feeds: &Feeds,
    durable: &Arc<AtomicU64>,
) -> Result<Option<Guard>, Report> {
    let aside = notes::aside(data_dir)?;
    let plan = told.and_then(|it| it.careful.clone());
    if aside.is_empty() && plan.is_none() {
        return Ok(None);
    }
    let known = feeds.clone();
    let of_partition = move |partition: Partition| {
        let feed = known.of(of_backfill(partition.0));
        let here = |it: &&notes::Aside| {
            (it.place.feed.as_str(), it.place.partition) == (feed.name.as_str(), partition.1)
        };
        aside.iter().filter(here).map(|it| (it.place.offset, problem(&it.why))).collect()
    };
    let careful = plan.map(|plan| {
        let (known, dir) = (feeds.clone(), data_dir.to_path_buf());
        let until = plan.until.and_then(|it| Some((partition(feeds, &it)?, it.offset)));
        Careful {
            limit: plan.limit,
            until,
            durable: Arc::clone(durable),
            on_trying: Box::new(move |partition, first, next| {
                let feed = known.of(of_backfill(partition.0)).name.clone();
                let again = of_backfill(partition.0) != partition.0;
                let from = Place { feed, partition: partition.1, offset: first, again };
                if let Err(report) = notes::trying(&dir, &Trying { from, next }) {
                    log_report!(warn, report, "what is being tried could not be written down");
                }
            }),
        }
    });
    Ok(Some(Guard::new(Box::new(of_partition), careful)))
}

fn partition(feeds: &Feeds, it: &Place) -> Option<Partition> {
    let feed = feeds.all().iter().position(|feed| feed.name == it.feed)?;
    let feed = u16::try_from(feed).ok()?;
    Some((if it.again { feed | BACKFILL } else { feed }, it.partition))
}

fn problem(why: &str) -> Problem {
    Problem {
        code: BROUGHT_DOWN,
        pointer: String::new(),
        expected: "a record that can be applied".into(),
        found: format!("one that brought the process down: {why}"),
    }
}

/// Ends the process cleanly when the parent closes its end of our standard input, or is gone. What
/// the parent writes there is that it was told SIGHUP; several at once are one.
pub(super) fn end_with_parent(
    end: tokio::sync::watch::Sender<bool>,
    hangup: Arc<Notify>,
) -> Result<(), Report> {
    // Not waited for: it ends with the process.
    tasks::thread("parent", move || {
        let mut said = [0; 64];
        // Whatever it is that ends it, the parent is not there any more.
        while std::io::stdin().read(&mut said).is_ok_and(|n| n > 0) {
            hangup.notify_one();
        }
        tracing::info!("the parent has closed its end: told to end");
        end.send_replace(true);
    })
    .map(drop)
}

/// Says at each look how we are: the parent reads our standard output.
pub(super) fn on_look(epochs: Arc<Epochs>) -> Box<dyn Fn(bool, bool) + Send> {
    Box::new(move |stalled, ready| {
        let says = Says { stalled, ready, careful: epochs.is_careful() };
        let line = serde_json::to_string(&says).expect("three flags");
        // A parent that is gone closes our standard input too.
        if writeln!(std::io::stdout(), "{line}").is_err() {
            tracing::debug!("nobody listens any more");
        }
    })
}

/// Says once, when all is caught up, how long it was away: a metric, a log line, a fact.
pub(super) fn on_ready(
    told: &Told,
    metrics: &Metrics,
    log: Option<Arc<LocalLog>>,
) -> Box<dyn FnOnce() + Send> {
    let (told, metrics) = (told.clone(), metrics.clone());
    Box::new(move || {
        if told.restarts == 0 {
            return;
        }
        let now_ms = crate::clock::wall_ms();
        let took_ms = now_ms.saturating_sub(told.went_ms);
        metrics.recoveries.raise_to(told.restarts);
        metrics.recovery_seconds.set(took_ms as f64 / 1e3);
        tracing::warn!(why = told.why, took_ms, restarts = told.restarts, "recovered");
        let Some(log) = log else { return };
        let time = |ms: u64| schemas::time::rfc3339((ms * 1_000).cast_signed());
        let fact = serde_json::json!({
            "specversion": "1.0", "id": format!("recovered-{}", told.went_ms),
            "source": "/millstream", "type": "system.recovered", "time": time(now_ms),
            "data": {"why": told.why, "went_at": time(told.went_ms), "took_ms": took_ms,
                     "restarts": told.restarts},
        });
        if log.append_facts(vec![fact.to_string().into_bytes()]).is_err() {
            tracing::warn!("the log does not take the fact that the process has recovered");
        }
    })
}

/// Where the last words go when the process goes down.
pub(super) fn remember_last_words(data_dir: PathBuf) {
    super::ends::last_words_to(data_dir);
}
