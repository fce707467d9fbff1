//! Rules over row changes, and what they say: from a row change to a signed webhook, once per
//! episode.
//!
//! ```text
//!  row changes ─▶ rules ─▶ intents (own facts in the log) ─▶ view `notifications`
//!                                                                 │ planned, oldest first
//!                      answers (own facts in the log) ◀─ channels ┘ one queue and one breaker each
//! ```
//!
//! In: [`ReadHandle`], `[rules]`, `[channels]`. Out: events `message.planned` and
//! `message.answered`; posts to receivers.
//!
//! # Meaning
//! What a rule decides is an event whose name is a function of what was decided; what became of it
//! is another. The view `notifications` is a function of them like any other, so the state of every
//! message outlives the process without a table of its own, and each ends in exactly one of
//! delivered, refused, expired, suppressed (docs/decisions/intents-are-events.md). What ended long
//! ago is forgotten by an event too: its id, and what it ended as, are known for ever.
//!
//! # When it fails
//! | what | what happens |
//! |---|---|
//! | a condition cannot be told of a row | the row is not meant; counted, said; other rules go on |
//! | a text cannot be rendered | the intent is suppressed, with the reason, and rejected; nothing half leaves |
//! | a receiver fails | its own messages wait; nobody else's; how it stands outlives the process |
//! | the process is killed | decisions up to the checkpoint are durable, the rest is decided again |

mod asked; // what a person has done about messages
mod group; // many like messages become one with a count
mod asking; // channels, for those who ask
mod guard; // which addresses may be spoken to
mod intent; // a decision, and its event
mod email; // one attempt by mail
mod forget; // what ended long ago
mod language; // conditions and texts
mod mail; // what waits for one channel
mod marks; // what people say of messages
mod planner; // what rules make of changes
mod receiver; // who is told, whatever it is
mod rule; // rules, compiled
mod reload; // others in place of those
pub mod rotate; // another secret
mod send; // one channel at work
pub mod sign; // Standard Webhooks
mod sieve; // which rules a change can concern
mod standing; // whether a receiver is tried
mod trial; // what rules would have said
mod unsaid; // texts that could not be made
mod watcher; // looks, decides, writes down
mod webhook; // one attempt by http
mod why; // why a rule did or did not speak
mod wire; // connections

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::{Mutex, RwLock};
use schemas::problem::Problem;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::channels::ChannelSettings;
use crate::messages::{AppendRefused, Appended, Epoch, ReadHandle};
use crate::report::Report;
use forget::Forgetter;
use group::Groups;
use planner::Planner;
use receiver::Receiver;
use reload::Slot;
use send::{Channel, Live, Shared, Waiting};
use standing::Standing;
use unsaid::Unsaid;
use watcher::{Places, Watcher};

pub use asked::{Asked, Asking, Wanted, no_notifications};
pub use asking::{AGAIN_MAX, Asking as AskingChannels, no_such};
pub use marks::Marker;
pub use reload::Reloading;
pub use rule::{Rule, Rules};
pub use standing::DIR;
pub use trial::{Tally, Trial};
pub use watcher::Counts;
pub use why::About;
pub use wire::{Resolve, Resolving, system};

/// The view that intents and answers are in.
pub const VIEW: &str = "notifications";

/// Channels that have come while we run, and whose tasks have not begun: they begin at once.
const BEGUN: usize = 16;

/// Longest wait of a checkpoint for what rules decide; then it is made later.
const DECIDED_WITHIN: Duration = Duration::from_secs(1);

/// Hands a block of own facts to the log.
pub type AppendFacts = Arc<
    dyn Fn(
            Vec<Vec<u8>>,
        ) -> Result<oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused>
        + Send
        + Sync,
>;

/// Keeps a message that could not be said: the position of what planned it, why, and that event.
pub type Reject = Arc<dyn Fn(u64, Problem, Vec<u8>) + Send + Sync>;

/// What notifications are made of.
pub struct Parts {
    /// The rules, compiled.
    pub rules: Rules,
    /// Who is told.
    pub channels: Vec<ChannelSettings>,
    /// Where it is kept how channels stand.
    pub folder: PathBuf,
    /// The views.
    pub read: ReadHandle,
    /// The log.
    pub append: AppendFacts,
    /// Positions below are to be in the views before anything is decided or sent.
    pub needed: u64,
    /// The epoch of the state that was put back, held until rules have looked; 0: there was none.
    pub from: Epoch,
    /// The wall clock, milliseconds.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Whether a view is being built again.
    pub is_building: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Who resolves names of receivers.
    pub resolve: Resolve,
    /// What rules decided of the epochs up to this one is durable; checkpoints wait for it.
    pub planned: Arc<Planned>,
    /// For so long messages that ended are kept.
    pub keep: Duration,
    /// Keeps what could not be said.
    pub reject: Reject,
}

/// How far rules have decided, durably.
pub struct Planned {
    upto: Arc<AtomicU64>,
    ended: AtomicBool,
}

impl Default for Planned {
    fn default() -> Planned {
        Planned { upto: Arc::new(AtomicU64::new(0)), ended: AtomicBool::new(false) }
    }
}

impl Planned {
    /// Whether what rules decided up to an epoch is durable; waits for it a moment.
    pub fn includes(&self, epoch: Epoch) -> bool {
        let began = crate::clock::monotonic();
        while self.upto.load(SeqCst) < epoch {
            if self.ended.load(SeqCst) || crate::clock::since(began) > DECIDED_WITHIN {
                return self.upto.load(SeqCst) >= epoch;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        true
    }
}

/// Notifications, running.
pub struct Notifying {
    watching: JoinHandle<()>,
    sending: JoinHandle<()>,
    forgetting: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    end: watch::Sender<bool>,
    planned: Arc<Planned>,
    counts: Arc<Mutex<Counts>>,
    asking: Asking,
    channels: AskingChannels,
    reloading: Reloading,
}

impl Notifying {
    /// The channels, for those who ask.
    pub fn channels(&self) -> AskingChannels {
        self.channels.clone()
    }

    /// For those who have other rules and channels put in place.
    pub fn reloading(&self) -> Reloading {
        self.reloading.clone()
    }

    /// For those who have something done about messages.
    pub fn asking(&self) -> Asking {
        self.asking.clone()
    }

    /// How many intents there are, by state.
    pub fn counts(&self) -> Arc<Mutex<Counts>> {
        Arc::clone(&self.counts)
    }

    /// Decides and sends nothing more. An attempt that is on its way is given up: its message is
    /// sent again by the next start.
    pub fn stop(self) {
        self.stop.store(true, SeqCst);
        self.end.send_replace(true);
        self.watching.thread().unpark();
        self.forgetting.thread().unpark();
        for thread in [self.watching, self.sending, self.forgetting] {
            if thread.join().is_err() {
                tracing::error!("a thread of notifications panicked");
            }
        }
        self.planned.ended.store(true, SeqCst);
    }
}

/// Starts; `None` where there are neither rules nor channels.
pub fn start(parts: Parts) -> Result<Option<Notifying>, Report> {
    if parts.rules.all.is_empty() && parts.channels.is_empty() {
        parts.planned.upto.store(Epoch::MAX, SeqCst);
        return Ok(None);
    }
    let view = parts.read.views.iter().find(|it| it.def().name == VIEW).map(Arc::clone);
    let places = view.as_ref().and_then(|it| Places::of(&**it));
    let (Some(view), Some(places)) = (view, places) else { return Err(no_view()) };
    std::fs::create_dir_all(&parts.folder).map_err(|why| no_folder(&parts.folder, &why))?;
    let (mut channels, mut ways, mut tasks) = (HashMap::new(), Vec::new(), Vec::new());
    for (n, settings) in parts.channels.into_iter().enumerate() {
        let receiver = Receiver::new(&settings, Arc::clone(&parts.resolve))
            .map_err(|why| unfit(&settings.name, why))?;
        let standing = Standing::open(&parts.folder, &settings.name);
        let name = settings.name.clone();
        let live = Arc::new(Live { settings, receiver });
        let waiting = Arc::new(Waiting::new(standing, live));
        let seed = (parts.now_ms)().rotate_left(17) ^ (n as u64 + 1) | 1;
        channels.insert(name, Arc::clone(&waiting));
        ways.push(Arc::clone(&waiting));
        tasks.push(Channel { waiting, seed });
    }
    let ways = Arc::new(RwLock::new(ways));
    let asked = AskingChannels { ways: Arc::clone(&ways), now_ms: Arc::clone(&parts.now_ms) };
    let (slot, resolve, now_ms) = (Slot::default(), parts.resolve, Arc::clone(&parts.now_ms));
    let folder = parts.folder;
    let stop = Arc::new(AtomicBool::new(false));
    let (end, mut ended) = watch::channel(false);
    let counts = Arc::new(Mutex::new(Counts::new()));
    let shared = Arc::new(Shared {
        read: parts.read.clone(),
        view: Arc::clone(&view),
        append: Arc::clone(&parts.append),
        now_ms: Arc::clone(&parts.now_ms),
    });
    let asking = Asking {
        read: parts.read.clone(),
        view: Arc::clone(&view),
        append: Arc::clone(&parts.append),
        now_ms: Arc::clone(&parts.now_ms),
    };
    let keep_ms = Arc::new(AtomicU64::new(millis(parts.keep)));
    let forgetter = Forgetter {
        read: parts.read.clone(),
        view: Arc::clone(&view),
        append: Arc::clone(&parts.append),
        now_ms: Arc::clone(&parts.now_ms),
        is_building: Arc::clone(&parts.is_building),
        keep_ms: Arc::clone(&keep_ms),
        looked: Arc::clone(&parts.planned.upto),
        stop: Arc::clone(&stop),
    };
    let watcher = Watcher {
        planner: Planner::new(parts.rules),
        read: parts.read,
        view,
        append: parts.append,
        channels,
        reload: Arc::clone(&slot),
        needed: parts.needed,
        from: parts.from,
        now_ms: parts.now_ms,
        is_building: parts.is_building,
        planned: Arc::clone(&parts.planned.upto),
        counts: Arc::clone(&counts),
        stop: Arc::clone(&stop),
        recent: HashMap::new(),
        said_at: 0,
        unsaid: Unsaid::default(),
        reject: parts.reject,
        groups: Groups::default(),
        counted: 0,
        places,
        at: 0,
        held: None,
    };
    let watching = crate::tasks::thread("notify", move || watcher.run())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| crate::tasks::could_not_start(("runtime", "notify-out"), &why))?;
    let all = Arc::clone(&ways);
    let (more, mut begun) = mpsc::channel(BEGUN);
    let sending = crate::tasks::thread("notify-out", move || {
        runtime.block_on(async move {
            let run = |it: Channel| it.run(Arc::clone(&shared));
            let mut running: FuturesUnordered<_> = tasks.into_iter().map(run).collect();
            while !*ended.borrow() {
                tokio::select! {
                    Some(channel) = begun.recv() => running.push(run(channel)),
                    Some(()) = running.next(), if !running.is_empty() => {}
                    changed = ended.changed() => if changed.is_err() { break },
                }
            }
            for it in all.read().iter() {
                it.end.send_replace(true);
            }
            while running.next().await.is_some() {}
        });
    })?;
    let forgetting = crate::tasks::thread("notify-forget", move || forgetter.run())?;
    let (watcher, one) = (watching.thread().clone(), Arc::default());
    let keep = (keep_ms, forgetting.thread().clone());
    let reloading =
        Reloading { ways, slot, watcher, keep, tasks: more, folder, resolve, now_ms, one };
    let planned = parts.planned;
    Ok(Some(Notifying {
        watching,
        sending,
        forgetting,
        stop,
        end,
        planned,
        counts,
        asking,
        channels: asked,
        reloading,
    }))
}

fn millis(it: Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
}

fn no_view() -> Report {
    Report {
        code: "notify/no-view",
        what: "cannot keep what rules say".into(),
        at: vec![("setting", "engine.views".into())],
        why: format!("expected the view `{VIEW}` among those that are kept"),
        effect: "nothing was started; no data was touched".into(),
        fix: format!("add `{VIEW}` to `engine.views`, or take rules and channels away"),
    }
}

fn no_folder(folder: &std::path::Path, why: &std::io::Error) -> Report {
    Report {
        code: "run/data-folder",
        what: "could not write into the data folder".into(),
        at: vec![("folder", folder.display().to_string())],
        why: why.to_string(),
        effect: "nothing was started; no data was touched".into(),
        fix: "make room in the folder, or let this user write there".into(),
    }
}

fn unfit(channel: &str, why: String) -> Report {
    Report {
        code: "notify/channel",
        what: "cannot use a channel".into(),
        at: vec![("setting", format!("channels.{channel}"))],
        why,
        effect: "nothing was started; no data was touched".into(),
        fix: "correct the channel or its secret, then start again".into(),
    }
}
