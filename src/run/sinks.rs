//! Sinks on their way through threads: made by the settings, fed by the checkpoints.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use schemas::leaving::Leaving;
use schemas::names::{Kind, Secret};
use schemas::rows::ViewDef;

use super::erasing::there::There;
use super::rebuild::Building;
use crate::clock::SteadyClock;
use crate::config::sinks::{Sort, To};
use crate::config::{Settings, SinkSettings};
use crate::engine::OnApplied;
use crate::epochs::{Epochs, Hold};
use crate::messages::{Epoch, Feeds, ReadHandle};
use crate::metrics::Metrics;
use crate::report::Report;
use crate::sinks::clickhouse::{ClickHouse, Writer};
use crate::sinks::jsonl::Jsonl;
use crate::sinks::{
    Declared, Given, Limits, OutEvent, Outbox, Packed, Parts, Sink, Sinks, Stream, nobody, note,
};
use crate::store::Leaves;

/// The sinks that the settings name, of the views that there are.
pub(super) fn given(
    settings: &Settings,
    views: &[&'static ViewDef],
    secret: &Secret,
    there: &Arc<There>,
) -> Vec<Given> {
    let make = |it: &SinkSettings| {
        let sink: Arc<dyn Sink> = match &it.to {
            To::Jsonl(path) => Arc::new(Jsonl::new(path, declared("jsonl", it, views))),
            To::ClickHouse(to) => {
                let sink = ClickHouse::new(to, declared("clickhouse", it, views), writer(secret));
                Arc::new(sink.certified_by(there.of(&it.name)))
            }
        };
        Given { name: it.name.clone(), sink, max_bytes: it.max_bytes }
    };
    settings.sinks.iter().map(make).collect()
}

/// This process of this deployment. Its name is made from the secret, which it does not tell.
pub(crate) fn writer(secret: &Secret) -> Writer {
    let deployment = secret.fingerprint("", Kind::Event, &["the deployment's name"]);
    let process = format!("{}-{}", std::process::id(), crate::clock::wall_ms());
    Writer::new(&format!("{deployment:032x}"), &process)
}

/// As whom the process that has this folder writes.
pub fn writer_of(data_dir: &std::path::Path) -> Result<Writer, Report> {
    Ok(writer(&crate::secret::of(data_dir)?))
}

/// What a sink takes, as its settings say.
fn declared(kind: &'static str, it: &SinkSettings, views: &[&'static ViewDef]) -> Declared {
    let wanted = |def: &&&'static ViewDef| {
        it.views.is_empty() || it.views.iter().any(|name| name == def.name)
    };
    let mut streams = Vec::new();
    for def in views.iter().filter(wanted) {
        streams.extend(it.take.contains(&Sort::Rows).then_some(Stream::Rows(def)));
        streams.extend(it.take.contains(&Sort::Changes).then_some(Stream::Changes(def)));
    }
    streams.extend(it.take.contains(&Sort::Events).then_some(Stream::Events));
    // Whoever can remove is told who was erased, whatever else is taken.
    let erased = views.iter().map(|it| Stream::Rows(it)).find(Stream::is_behind);
    streams.extend(erased.filter(|it| kind == "clickhouse" && !streams.contains(it)));
    streams.push(Stream::Marks);
    let limits = Limits {
        rows: it.batch_rows,
        bytes: usize::try_from(it.batch_bytes).unwrap_or(usize::MAX),
        wait: it.flush_every,
        timeout: it.timeout,
    };
    Declared { kind, streams, limits }
}

/// Where the events that are applied wait until there is an outbox: none comes before.
pub(super) type Later = Arc<OnceLock<Arc<Outbox>>>;

/// Hands the events that are applied to the outbox; none if no sink takes events.
pub(super) fn on_applied(given: &[Given], feeds: &Feeds, later: &Later) -> Option<OnApplied> {
    let takes = |it: &Given| it.sink.declared().streams.contains(&Stream::Events);
    if !given.iter().any(takes) {
        return None;
    }
    let (feeds, later) = (feeds.clone(), Arc::clone(later));
    Some(Box::new(move |epoch, (feed, partition), applied| {
        // Reading begins when the sinks have started.
        let Some(outbox) = later.get() else { return };
        let feed = feeds.of(feed);
        let mut packed = Packed::default();
        let mut from = 0;
        for (offset, appended_ms, end) in applied.events {
            let json = &applied.bytes[from..end];
            let feed = feed.name.as_str();
            packed.event(&OutEvent { epoch, appended_ms, feed, partition, offset, json });
            from = end;
        }
        outbox.note_events(epoch, &packed);
    }))
}

/// What sinks are wired to.
pub(super) struct Behind<'a> {
    pub(super) dir: &'a Path,
    pub(super) leaving: Vec<Arc<dyn Leaving>>,
    pub(super) read: ReadHandle,
    /// Of the state: which life it is, and the checkpoint that was put back.
    pub(super) state: (u64, Epoch),
    pub(super) epochs: &'a Arc<Epochs>,
    pub(super) clock: &'a Arc<SteadyClock>,
    pub(super) metrics: &'a Metrics,
    pub(super) ending: &'a Arc<AtomicBool>,
    pub(super) building: &'a Arc<Building>,
    /// Who waits for the outbox.
    pub(super) later: &'a Later,
}

/// Notes what is touched from now on; before anything is put back.
pub(super) fn prepare(leaving: &[Arc<dyn Leaving>], given: &[Given]) {
    note(leaving, given);
}

impl Behind<'_> {
    /// Starts them; and what the checkpoints do for them.
    pub(super) fn start(self, given: Vec<Given>) -> Result<Option<(Sinks, Leaves)>, Report> {
        if given.is_empty() {
            nobody(self.dir, self.state.1)?;
            return Ok(None);
        }
        let (epochs, ending) = (Arc::clone(self.epochs), Arc::clone(self.ending));
        let (metrics, ahead) = (self.metrics.clone(), Arc::clone(self.epochs));
        let parts = Parts {
            leaving: self.leaving,
            readers: Arc::clone(&self.read.views),
            instants: Arc::clone(&self.read.instants),
            incarnation: self.state.0,
            epoch: self.state.1,
            hold: Arc::new(move |held| {
                let held = held && !ending.load(SeqCst);
                metrics.outbox_held.set(i64::from(held));
                epochs.hold(Hold::Outbox, held);
            }),
            lags: Arc::new(move || ahead.lags()),
            building: {
                let building = Arc::clone(self.building);
                Arc::new(move |view| building.shows_half(view))
            },
            now_ms: super::now_by(self.clock),
            metrics: self.metrics.clone(),
        };
        let sinks = Sinks::start(self.dir, given, parts)?;
        let (gathers, reads, settles) = (sinks.outbox(), sinks.outbox(), sinks.outbox());
        let (told, much) = (sinks.outbox(), sinks.outbox());
        if self.later.set(sinks.outbox()).is_err() {
            tracing::debug!("there is one outbox in a process");
        }
        let leaves = Leaves {
            gather: Arc::new(move |epoch| gathers.gather(epoch)),
            read: Arc::new(move |pin| reads.read_at(pin)),
            settle: Arc::new(move || settles.settle()),
            durable: Arc::new(move |epoch| told.durable(epoch)),
            much: Arc::new(move || much.is_much()),
        };
        Ok(Some((sinks, leaves)))
    }
}
