//! Other rules and channels, without a restart.
//!
//! In: rules, compiled, and channels. Out: the epoch from which on they are what decides.
//!
//! # Meaning
//! All of them are put in place of all that were, or none is: a channel that cannot be used leaves
//! everything as it was. A channel of the same name goes on with what waits for it, and is tried at
//! once; one that is gone ends, and what waits for it is refused; a rule of the same wording goes on
//! with what settles, and one of the same name with who is quiet and what is grouped. What is so
//! already is no news to a rule that is new, unless it says `already = true`.
//!
//! # When it fails
//! Nothing is changed. An attempt that is under way ends as it was begun.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::receiver::Receiver;
use super::rule::Rules;
use super::send::{Channel, Live, Waiting};
use super::standing::Standing;
use super::wire::Resolve;
use super::{no_notifications, unfit};
use crate::config::channels::ChannelSettings;
use crate::messages::Epoch;
use crate::report::Report;

/// The channels there are, in the order of the settings.
pub(super) type Ways = Arc<RwLock<Vec<Arc<Waiting>>>>;

/// What the watcher is to go on with.
pub(super) struct Fresh {
    pub(super) rules: Rules,
    pub(super) channels: HashMap<String, Arc<Waiting>>,
    /// From when on, and what is other than before.
    pub(super) told: oneshot::Sender<(Epoch, Differs)>,
}

/// Names of rules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differs {
    pub(super) added: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) removed: Vec<String>,
}

/// Where the watcher finds it.
pub(super) type Slot = Arc<Mutex<Option<Fresh>>>;

/// Who has others put in place.
#[derive(Clone)]
pub struct Reloading {
    pub(super) ways: Ways,
    pub(super) slot: Slot,
    pub(super) watcher: Thread,
    /// For so long messages are kept, milliseconds, and who forgets them.
    pub(super) keep: (Arc<AtomicU64>, Thread),
    /// Tasks of channels that are new.
    pub(super) tasks: mpsc::Sender<Channel>,
    pub(super) folder: PathBuf,
    pub(super) resolve: Resolve,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// One at a time.
    pub(super) one: Arc<Mutex<()>>,
}

impl Reloading {
    /// Puts these in place; waits until they are. Else everything that is wrong.
    /// `keep`: for so long messages that ended are kept from now on.
    pub fn reload(
        &self,
        rules: Rules,
        wanted: Vec<ChannelSettings>,
        keep: Duration,
    ) -> Result<Value, Vec<Report>> {
        let _one = self.one.lock();
        let (mut lives, mut wrong) = (Vec::new(), Vec::new());
        for settings in wanted {
            match Receiver::new(&settings, Arc::clone(&self.resolve)) {
                Ok(receiver) => lives.push(Arc::new(Live { settings, receiver })),
                Err(why) => wrong.push(unfit(&settings.name, why)),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let (keep_ms, forgetting) = &self.keep;
        keep_ms.store(super::millis(keep), SeqCst);
        forgetting.unpark();
        let n_rules = rules.all.len();
        let before = self.ways.read().clone();
        let mut after = Vec::with_capacity(lives.len());
        for live in lives {
            let name = &live.settings.name;
            match before.iter().find(|it| it.live().settings.name == *name) {
                Some(waiting) => {
                    waiting.put(live);
                    waiting.probe.store(true, SeqCst);
                    waiting.bell.notify_one();
                    after.push(Arc::clone(waiting));
                }
                None => after.push(self.begin(live, after.len())),
            }
        }
        let name = |it: &Arc<Waiting>| it.live().settings.name.clone();
        let names: Vec<String> = after.iter().map(name).collect();
        for it in before.iter().filter(|it| !names.contains(&name(it))) {
            it.end.send_replace(true);
        }
        self.ways.write().clone_from(&after);
        let channels = after.into_iter().map(|it| (name(&it), it)).collect();
        let (told, answer) = oneshot::channel();
        *self.slot.lock() = Some(Fresh { rules, channels, told });
        self.watcher.unpark();
        let ending = |_| vec![no_notifications()];
        let (epoch, differs) = answer.blocking_recv().map_err(ending)?;
        Ok(json!({
            "reloaded": true, "from": epoch, "rules": n_rules, "added": differs.added,
            "changed": differs.changed, "removed": differs.removed, "channels": names,
        }))
    }

    /// A channel that there was not.
    fn begin(&self, live: Arc<Live>, n: usize) -> Arc<Waiting> {
        let standing = Standing::open(&self.folder, &live.settings.name);
        let waiting = Arc::new(Waiting::new(standing, live));
        let seed = (self.now_ms)().rotate_left(17) ^ (n as u64 + 1) | 1;
        if self.tasks.blocking_send(Channel { waiting: Arc::clone(&waiting), seed }).is_err() {
            tracing::debug!("channels are ending");
        }
        waiting
    }
}
