//! Everything that is read, begun: the log, the files, the clusters, each on threads of its own.
//!
//! In: a bounded queue's end for each, in the order of the feeds. Out: handles to wait for them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::files::{Reading, read_source};
use super::midnights::Midnights;
use super::{LOG, Plan, kafka};
use crate::clock::SteadyClock;
use crate::config::Settings;
use crate::ingest::local_log::{Following, LocalLog};
use crate::ingest::resets::Resets;
use crate::ledger::Book;
use crate::messages::{FeedId, Feeds, FormatOf, Offsets, Outlet};
use crate::metrics::Metrics;
use crate::report::{Report, log_report};

/// What reading needs of the rest.
pub(super) struct Behind<'a> {
    pub(super) settings: &'a Settings,
    pub(super) plan: &'a Plan,
    /// Where reading begins.
    pub(super) from: &'a Offsets,
    pub(super) feeds: &'a Feeds,
    pub(super) book: &'a Arc<Book>,
    pub(super) clock: &'a Arc<SteadyClock>,
    pub(super) metrics: &'a Metrics,
    pub(super) stop: &'a Arc<AtomicBool>,
    pub(super) end: &'a tokio::sync::watch::Sender<bool>,
    /// What was decided about feeds.
    pub(super) resets: Option<&'a Arc<Resets>>,
    /// Who seals at the midnights that files pass, if anybody does.
    pub(super) midnights: Option<&'a Arc<Midnights>>,
}

/// What is being read.
pub(super) struct Readers {
    pub(super) log: Option<(Arc<LocalLog>, Following)>,
    pub(super) sources: Vec<Reading>,
    pub(super) clusters: Vec<kafka::Cluster>,
}

impl Behind<'_> {
    /// Begins. What cannot be read is refused before any cluster is asked.
    pub(super) fn start(
        &self,
        log: Option<LocalLog>,
        formats: FormatOf,
        topics: Vec<kafka::Topics>,
        mut outlets: impl Iterator<Item = Outlet>,
    ) -> Result<Readers, Report> {
        let log = match log {
            Some(log) => {
                let outlet = outlets.next().expect("the log is the first feed");
                Some(self.follow(log, formats, outlet)?)
            }
            None => None,
        };
        let first = FeedId::from(self.plan.log);
        let mut sources = Vec::new();
        let theirs = outlets.by_ref().take(self.plan.sources.len());
        for ((feed, source), outlet) in (first..).zip(&self.plan.sources).zip(theirs) {
            let outlet = match self.midnights {
                Some(it) => outlet.through(Arc::clone(it) as _),
                None => outlet,
            };
            let places = (self.from, self.stop);
            sources.push(read_source(feed, source, self.settings, outlet, places)?);
        }
        // Not before everything that could be refused has been looked at.
        if let Some(resets) = self.resets {
            resets.forget_done(&self.book.state().lines)?;
        }
        let mut clusters = Vec::new();
        for ((cluster, topics), outlet) in self.plan.kafka.iter().zip(topics).zip(outlets) {
            let behind = kafka::Behind {
                feeds: self.feeds,
                book: self.book,
                clock: self.clock,
                metrics: self.metrics,
                stop: self.stop,
                end: self.end,
                resets: self.resets,
                max_event_bytes: self.settings.serve.max_event_bytes,
                until_end: self.plan.until_end,
                keeps: self.plan.state.is_some(),
            };
            clusters.push(behind.read(cluster, topics, outlet)?);
        }
        Ok(Readers { log, sources, clusters })
    }

    fn follow(
        &self,
        log: LocalLog,
        formats: FormatOf,
        outlet: Outlet,
    ) -> Result<(Arc<LocalLog>, Following), Report> {
        let from = self.from.get(&(LOG, 0)).copied().unwrap_or(0);
        let end = self.end.clone();
        let on_failed = Arc::new(move |report: &Report| {
            log_report!(error, *report, "the log cannot be read further");
            end.send_replace(true);
        });
        let following = log.read_from(from, LOG, outlet, formats, on_failed)?;
        Ok((Arc::new(log), following))
    }
}
