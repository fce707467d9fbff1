//! What is wrong at the moment: told once when it begins, once when it is over, and a gauge between.

use std::collections::BTreeSet;

use crate::metrics::{Metrics, OfAlarm};
use crate::report::{Report, log_report};

/// The alarms of one `[[kafka]]`.
pub(super) struct Alarms {
    feed: String,
    metrics: Metrics,
    on: BTreeSet<(&'static str, String)>,
}

impl Alarms {
    pub(super) fn new(feed: &str, metrics: Metrics) -> Alarms {
        Alarms { feed: feed.into(), metrics, on: BTreeSet::new() }
    }

    /// It is wrong: about what, and how it is told.
    pub(super) fn raise(&mut self, about: &str, report: impl FnOnce() -> Report) {
        // What it is called is part of the report; a report is made to be told or not at all.
        let report = report();
        if self.on.insert((report.code, about.to_string())) {
            log_report!(error, report, "reading from Kafka needs help");
            self.show(report.code);
        }
    }

    /// It is over, if it was.
    pub(super) fn clear(&mut self, code: &'static str, about: &str) {
        if self.on.remove(&(code, about.to_string())) {
            tracing::info!(code, feed = self.feed, about, "it is over");
            self.show(code);
        }
    }

    fn show(&self, code: &'static str) {
        let n = self.on.iter().filter(|it| it.0 == code).count();
        let of = OfAlarm { feed: self.feed.clone(), alarm: code };
        self.metrics.kafka_alarms.get_or_create(&of).set(n as i64);
    }
}
