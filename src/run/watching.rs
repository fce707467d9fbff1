//! The thread that looks at the whole, four times a second, and what it is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use super::files::{Files, unread};
use super::rebuild::Building;
use super::supervised;
use crate::config::Settings;
use crate::engine::Engine;
use crate::epochs::{Epochs, Hold};
use crate::ingest::local_log::LocalLog;
use crate::ledger::Book;
use crate::messages::{Feeds, ReadHandle};
use crate::metrics::Metrics;
use crate::report::Report;
use crate::segments::Folder;
use crate::supervise::notes::Told;
use crate::tasks;
use crate::watch::{Cap, Health, Watched};

/// What is looked at.
pub(super) struct Behind<'a> {
    pub(super) settings: &'a Settings,
    /// What the parent says, if there is one to be told how we are.
    pub(super) told: Option<&'a Told>,
    pub(super) engine: &'a Engine,
    pub(super) book: &'a Arc<Book>,
    pub(super) epochs: &'a Arc<Epochs>,
    pub(super) read: ReadHandle,
    pub(super) feeds: Feeds,
    pub(super) log: Option<Arc<LocalLog>>,
    pub(super) files: Files,
    pub(super) note_tails: Arc<dyn Fn() + Send + Sync>,
    pub(super) dedup: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    pub(super) metrics: Metrics,
    pub(super) health: Arc<Health>,
    pub(super) building: Arc<Building>,
    /// What is written to.
    pub(super) folders: Vec<Arc<Folder>>,
    pub(super) stop: &'a Arc<AtomicBool>,
}

/// Starts looking.
pub(super) fn start(behind: Behind<'_>) -> Result<JoinHandle<()>, Report> {
    let Behind { settings, told, engine, book, epochs, read, feeds, log, .. } = behind;
    let Behind { files, note_tails, dedup, metrics, health, building, folders, stop, .. } = behind;
    let on_ready = told.map(|it| supervised::on_ready(it, &metrics, log));
    let (counted, holding) = (Arc::clone(book), Arc::clone(epochs));
    let (held_for_memory, ending) = (Arc::clone(epochs), Arc::clone(stop));
    let watched = Watched {
        book: Arc::clone(book),
        read,
        feeds,
        dedup,
        anomalies: Arc::new(engine.anomalies()),
        left_out: Arc::new(engine.left_out()),
        note_tails,
        metrics,
        health,
        reading: Arc::new(move || {
            let mut words = unread(&files, &counted);
            words.extend(building.words(None));
            words
        }),
        syncing: Arc::new(move || folders.iter().map(|it| it.syncing()).max().unwrap_or_default()),
        held: Arc::new(move || holding.is_held()),
        stall_after: settings.engine.stall_after,
        cap: Cap::new(settings.engine.memory_max),
        hold_memory: Box::new(move |held| {
            held_for_memory.hold(Hold::Memory, held && !ending.load(SeqCst));
        }),
        on_look: told.map(|_| supervised::on_look(Arc::clone(epochs))),
        on_ready,
    };
    let until = Arc::clone(stop);
    tasks::thread("watch", move || watched.run(&until))
}
