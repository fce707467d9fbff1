//! Whether what was read can be read once more, so that a view can be built again from it.

use std::collections::BTreeSet;

use crate::config::KafkaSettings;
use crate::ingest::kafka;
use crate::ingest::local_log::Stats;
use crate::messages::BookLine;
use crate::report::Report;

/// From where on events can be read again.
pub(super) struct Covered<'a> {
    /// The embedded log; none for a replay, which reads its input whole.
    pub(super) log: Option<Stats>,
    /// Files and folders, by the names of their feeds; not standard input.
    pub(super) files: BTreeSet<&'a str>,
    /// Clusters.
    pub(super) kafka: &'a [KafkaSettings],
}

impl Covered<'_> {
    /// For all views, from nothing: refused where something may be missing, and that was not
    /// accepted.
    pub(super) fn all(&self, accept_incomplete: bool) -> Result<(), Report> {
        let mut lacking: Vec<String> = self.log_lacks().into_iter().collect();
        if !self.kafka.is_empty() {
            // No offset is left: topics begin where the settings say.
            lacking
                .push("topics of Kafka are read: what they no longer hold would be missing".into());
        }
        self.judge(&lacking, accept_incomplete)
    }

    /// For a start that finds no checkpoint.
    pub(super) fn start(&self, accept_incomplete: bool) -> Result<(), Report> {
        let lacking: Vec<String> = self.log_lacks().into_iter().collect();
        self.judge(&lacking, accept_incomplete)
    }

    /// For some views beside the others, from what these lines of the ledger were made of.
    pub(super) fn beside(&self, lines: &[BookLine], accept_incomplete: bool) -> Result<(), Report> {
        if accept_incomplete {
            return self.judge(&["what is left of each feed is read".into()], true);
        }
        let mut lacking = Vec::new();
        for line in lines.iter().filter(|it| it.next > it.first) {
            let feed = line.feed.as_str();
            let cluster = feed.split_once('/').map(|it| it.0);
            let of_kafka = || self.kafka.iter().any(|it| Some(it.name.as_str()) == cluster);
            match feed {
                "log" => lacking.extend(self.log_lacks()),
                _ if self.files.contains(feed) || of_kafka() => {}
                _ => lacking.push(format!("feed {feed} is not to be read any more, or only once")),
            }
        }
        for it in self.kafka {
            lacking.extend(kafka::lacking(it, lines)?);
        }
        self.judge(&lacking, false)
    }

    fn log_lacks(&self) -> Option<String> {
        // Own facts are kept when all around them has gone.
        let log = self.log.as_ref().filter(|it| it.whole_from > 0)?;
        let from = log.oldest_ms.map_or_else(String::new, |ms| {
            let at = schemas::time::rfc3339((ms * 1_000).cast_signed());
            format!(", which came at {at}")
        });
        let first = log.whole_from;
        Some(format!("expected the log's first record, found that it begins at {first}{from}"))
    }

    fn judge(&self, lacking: &[String], accept_incomplete: bool) -> Result<(), Report> {
        if lacking.is_empty() {
            return Ok(());
        }
        let why = lacking.join("; ");
        if accept_incomplete {
            tracing::warn!(code = "store/not-covered", why, "built from what is left");
            return Ok(());
        }
        let log = self.log.as_ref();
        Err(Report {
            code: "store/not-covered",
            what: "cannot build views again from what was read".into(),
            at: log.map(|it| vec![("folder", it.folder.clone())]).unwrap_or_default(),
            why,
            effect: "nothing was started; the state is as it was".into(),
            fix: "start with the build that wrote the state, restore a backup, or build it from \
                  what is left: add `--accept-incomplete`"
                .into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Counts;

    fn log(first: u64) -> Stats {
        Stats {
            folder: "data/log".into(),
            n_segments: 1,
            bytes: 1,
            first: 0,
            whole_from: first,
            next: 20,
            n_records: 5,
            oldest_ms: Some(1_767_225_600_000),
            newest_ms: None,
            queued_bytes: 0,
            failing: false,
        }
    }

    fn line(feed: &str, first: u64, next: u64) -> BookLine {
        BookLine {
            feed: feed.into(),
            identity: None,
            partition: 0,
            first,
            next,
            newest_event: 0,
            reset: 0,
            counts: Counts::default(),
        }
    }

    const AGED: &str = "expected the log's first record, found that it begins at 15, which came \
                        at 2026-01-01T00:00:00.000Z";

    /// Goal: what may be missing is never built over in silence. Method: a table. (Topics that are
    /// asked for are in `tests/live/`.)
    #[test]
    fn a_rebuild_that_may_lose_is_refused() {
        let check = |log, files: &[&'static str], lines: &[BookLine], why: Option<&str>| {
            let files = files.iter().copied().collect();
            let covered = Covered { log, files, kafka: &[] };
            let refused = covered.beside(lines, false).err().map(|it| it.why);
            assert_eq!(refused.as_deref(), why, "{lines:?}");
            covered.beside(lines, true).unwrap();
        };
        check(Some(log(0)), &[], &[line("log", 0, 20)], None);
        check(Some(log(15)), &[], &[line("log", 0, 20)], Some(AGED));
        check(Some(log(15)), &["shop"], &[line("shop", 0, 3)], None);
        let gone = "feed shop is not to be read any more, or only once";
        check(Some(log(0)), &[], &[line("log", 0, 20), line("shop", 0, 3)], Some(gone));
        check(Some(log(0)), &[], &[line("log", 0, 20), line("shop", 7, 7)], None);
        check(
            Some(log(0)),
            &[],
            &[line("k/orders", 0, 3)],
            Some(&gone.replace("shop", "k/orders")),
        );

        let all = |log| Covered { log, files: BTreeSet::new(), kafka: &[] }.all(false);
        all(None).unwrap();
        all(Some(log(0))).unwrap();
        assert_eq!(all(Some(log(15))).unwrap_err().why, AGED);
    }
}
