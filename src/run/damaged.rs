//! What a start does with a state that is damaged: the log has what it was made of.
//!
//! # Meaning
//! Only damage is gone on from: bytes that are not the ones that were written, and parts that are
//! gone. What another build wrote is whole, and stays. And only where nothing can be missing, for
//! what is removed is gone: nothing but the log was ever read, by the newest checkpoint that can be
//! read, and nothing else is to be read now; the log has its first record and all that the
//! checkpoint knew, and every block of it holds. Else nothing is begun, nothing is changed, and the
//! report says what is in the way.

use std::path::Path;

use super::covered::Covered;
use super::keep::Rebuild;
use crate::config::StateOnDamage;
use crate::ingest::local_log::{self, LocalLog};
use crate::messages::BookLine;
use crate::report::{Report, log_report};
use crate::store;

/// Codes of reports about states of which not everything is there as it was written.
const DAMAGED: [&str; 3] = ["segments/damaged", "store/incomplete", "store/identities-missing"];

/// What is to be built instead of taking up what this report is about; or the report, with what
/// is in the way.
pub(super) fn instead(
    report: Report,
    on_damage: StateOnDamage,
    dir: &Path,
    log: Option<&LocalLog>,
    covered: &Covered<'_>,
) -> Result<Rebuild, Report> {
    if !DAMAGED.contains(&report.code) || on_damage == StateOnDamage::Refuse {
        return Err(report);
    }
    let mut lacking = lacking(store::lines_left(dir)?.as_deref(), covered);
    if let Some(log) = log.filter(|_| lacking.is_empty()) {
        // A minute for 64 GiB: before anything is removed.
        tracing::warn!("the state is damaged; whether the log holds is looked at");
        let damaged = log.folder().verify()?.damaged;
        lacking.extend(damaged.first().map(|it| format!("the log is damaged, too: {}", it.why)));
    }
    if !lacking.is_empty() {
        let mut report = report;
        report.at.push(("not built again, for", lacking.join("; ")));
        report.fix = "restore a backup, or build it from what is left: `millstream run --rebuild \
                      --accept-incomplete`"
            .into();
        return Err(report);
    }
    let report = Report {
        effect: "it is built again from the log, as another life of the state: nothing is lost; \
                 receivers are told everything once more, under another incarnation"
            .into(),
        fix: "see to the disk: bits do not flip by themselves; to be asked first, set \
              `state.on_damage = \"refuse\"`"
            .into(),
        ..report
    };
    log_report!(error, report, "the state that was kept is damaged");
    Ok(Rebuild { all: true, ..Rebuild::default() })
}

/// Why not everything can be read once more. `lines`: what was read, by the newest checkpoint that
/// can be.
fn lacking(lines: Option<&[BookLine]>, covered: &Covered<'_>) -> Vec<String> {
    let mut lacking: Vec<String> = covered.all(false).err().map(|it| it.why).into_iter().collect();
    if !covered.files.is_empty() {
        lacking.push("files are read: what they no longer hold would be missing".into());
    }
    let end = covered.log.as_ref().map_or(0, |it| it.next);
    let Some(lines) = lines else {
        lacking.push("no checkpoint can be read, which would say what was read".into());
        return lacking;
    };
    for it in lines.iter().filter(|it| it.next > it.first) {
        if it.feed != local_log::FEED {
            lacking.push(format!("feed {} was read, too", it.feed));
        } else if it.next > end {
            lacking.push(format!("the log ends at {end}, and was read up to {}", it.next));
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KafkaSettings;
    use crate::config::kafka::Start;
    use crate::ingest::local_log::Stats;
    use crate::messages::Counts;

    fn report(code: &'static str) -> Report {
        Report {
            code,
            what: "what".into(),
            at: vec![],
            why: "why".into(),
            effect: "nothing was started".into(),
            fix: "restore a backup".into(),
        }
    }

    fn log(whole_from: u64) -> Stats {
        Stats {
            folder: "data/log".into(),
            n_segments: 1,
            bytes: 1,
            first: 0,
            whole_from,
            next: 20,
            n_records: 5,
            oldest_ms: None,
            newest_ms: None,
            queued_bytes: 0,
            failing: false,
        }
    }

    fn line(feed: &str, next: u64) -> BookLine {
        let (feed, identity, counts) = (feed.into(), None, Counts::default());
        BookLine { feed, identity, partition: 0, first: 0, next, newest_event: 0, reset: 0, counts }
    }

    /// Goal: nothing is removed that cannot be made again. Method: a table of what was read, what
    /// is to be read, and what the log has.
    #[test]
    fn only_what_can_be_whole_again() {
        let kafka = [KafkaSettings {
            name: "k".into(),
            brokers: vec![],
            topics: vec!["orders".into()],
            pattern: None,
            mapping: None,
            start: Start::Earliest,
            group: "millstream".into(),
            tls: None,
            sasl: None,
            librdkafka: vec![],
        }];
        let check = |whole_from, files: &[&'static str], kafka, lines: Option<&[BookLine]>, why| {
            let files = files.iter().copied().collect();
            let covered = Covered { log: Some(log(whole_from)), files, kafka };
            let found = lacking(lines, &covered).join("; ");
            match why {
                "" => assert_eq!(found, ""),
                why => assert!(found.contains(why), "{why:?}: {found:?}"),
            }
        };
        let all = [line("log", 20), line("gone", 0)];
        check(0, &[], &[], Some(&all), "");
        check(0, &[], &[], None, "no checkpoint can be read");
        check(15, &[], &[], Some(&all), "begins at 15");
        check(0, &["shop"], &[], Some(&all), "files are read");
        check(0, &[], &kafka, Some(&all), "topics of Kafka are read");
        // Standard input, a file that is not named any more, a cluster taken out.
        check(0, &[], &[], Some(&[line("log", 20), line("part", 3)]), "feed part was read");
        check(0, &[], &[], Some(&[line("k/orders", 3)]), "feed k/orders was read");
        check(0, &[], &[], Some(&[line("log", 21)]), "the log ends at 20, and was read up to 21");
    }

    /// Goal: what another build wrote is no damage, and whoever wants to be asked is. Method: codes.
    #[test]
    fn only_damage_and_only_if_wanted() {
        let covered = Covered { log: Some(log(0)), files: [].into(), kafka: &[] };
        let told = |code, on_damage| {
            let dir = Path::new("/nowhere");
            instead(report(code), on_damage, dir, None, &covered).unwrap_err()
        };
        for code in ["store/unreadable", "store/other-secret", "segments/other-version"] {
            assert_eq!(told(code, StateOnDamage::Rebuild).fix, "restore a backup");
        }
        for code in DAMAGED {
            assert_eq!(told(code, StateOnDamage::Refuse).fix, "restore a backup");
            let it = told(code, StateOnDamage::Rebuild);
            assert!(it.fix.contains("--accept-incomplete"), "{it:?}");
            assert!(format!("{it:?}").contains("no checkpoint can be read"), "{it:?}");
        }
    }
}
