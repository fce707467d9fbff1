//! What a start does with a state that is damaged or gone: an older checkpoint of it is taken up, or
//! it is made again of what the log has.
//!
//! # Meaning
//! Only damage is gone on from: bytes that are not the ones that were written, and parts that are
//! gone. What another build wrote is whole, and stays.
//!
//! An **older checkpoint** is taken up where all that it rests on is sound and everything that was
//! read since is to be read again: the log reaches back to it, files and topics are read on from
//! the offsets that it holds, as after a crash before the next one.
//!
//! Else it is **built again**, and only where nothing can be missing, for what is removed is gone:
//! nothing but the log was ever read, by the newest checkpoint that can be read, and nothing else
//! is to be read now; the log has its first record and all that the checkpoint knew, and every
//! block of it holds. Else nothing is begun, nothing is changed, and the report says what is in the
//! way.

use std::path::Path;

use super::covered::Covered;
use super::keep::Rebuild;
use crate::config::StateOnDamage;
use crate::ingest::kafka;
use crate::ingest::local_log::{self, LocalLog};
use crate::messages::BookLine;
use crate::report::{Report, log_report};
use crate::store;

/// Codes of reports about states of which not everything is there as it was written.
const DAMAGED: [&str; 4] =
    ["segments/damaged", "store/incomplete", "store/identities-missing", "store/gone"];

/// What is to be built, if anything, instead of taking up what this report is about; or the report,
/// with what is in the way. `asked`: what was to be built anyhow.
pub(super) fn instead(
    report: Report,
    on_damage: StateOnDamage,
    (dir, now_ms): (&Path, u64),
    log: Option<&LocalLog>,
    covered: &Covered<'_>,
    asked: &Rebuild,
) -> Result<Rebuild, Report> {
    if !DAMAGED.contains(&report.code) || on_damage == StateOnDamage::Refuse {
        return Err(report);
    }
    let fix = "see to the disk: bits do not flip by themselves; to be asked first, set \
               `state.on_damage = \"refuse\"`";
    let mut in_the_way = Vec::new();
    if let Some(it) = store::older(dir)? {
        let newest = store::lines_left(dir)?;
        in_the_way = not_read_on(&it.lines, newest.as_deref().unwrap_or(&[]), covered)?;
        if in_the_way.is_empty() {
            let mut at = report.at.clone();
            at.push(("taken up", format!("checkpoint {} of epoch {}", it.seq, it.epoch)));
            let effect = "an older checkpoint is taken up, as another life of the state: what came \
                          since is read again from where each feed stood then; receivers are told \
                          everything once more, under another incarnation";
            let told = Report { at, effect: effect.into(), fix: fix.into(), ..report };
            log_report!(error, told, "the state that was kept is damaged");
            it.take_up(dir, now_ms)?;
            return Ok(asked.clone());
        }
    }
    let lines = store::lines_left(dir)?;
    let mut lacking = match (&lines, store::kept(dir)?) {
        (None, Some(feeds)) => not_again(feeds.iter().map(|it| (it.as_str(), None)), covered),
        (lines, _) => lacking(lines.as_deref(), covered),
    };
    if let Some(log) = log.filter(|_| lacking.is_empty()) {
        // A minute for 64 GiB: before anything is removed.
        tracing::warn!("the state is damaged; whether the log holds is looked at");
        let damaged = log.folder().verify()?.damaged;
        lacking.extend(damaged.first().map(|it| format!("the log is damaged, too: {}", it.why)));
    }
    if !lacking.is_empty() {
        let mut report = report;
        report.at.push(("not built again, for", lacking.join("; ")));
        if !in_the_way.is_empty() {
            report.at.push(("no older checkpoint, for", in_the_way.join("; ")));
        }
        report.fix = "restore a backup, or build it from what is left: `millstream run --rebuild \
                      --accept-incomplete`"
            .into();
        return Err(report);
    }
    let report = Report {
        effect: "it is built again from the log, as another life of the state: nothing is lost; \
                 receivers are told everything once more, under another incarnation"
            .into(),
        fix: fix.into(),
        ..report
    };
    log_report!(error, report, "the state that was kept is damaged");
    Ok(Rebuild { all: true, ..Rebuild::default() })
}

/// Why not everything that came after these lines is to be read again.
/// `newest`: what the newest checkpoint says that can be read.
fn not_read_on(
    lines: &[BookLine],
    newest: &[BookLine],
    covered: &Covered<'_>,
) -> Result<Vec<String>, Report> {
    let mut lacking = Vec::new();
    // Where a person has decided since from where on a feed is read, that is not to be forgotten.
    let same = |one: &BookLine, other: &BookLine| {
        (&one.feed, one.partition) == (&other.feed, other.partition)
    };
    for it in newest {
        if lines.iter().find(|older| same(older, it)).map_or(0, |older| older.reset) < it.reset {
            lacking.push(format!("feed {} was reset since", it.feed));
        }
    }
    // As if they had been read from there on only: so much is what a topic has to have.
    let on: Vec<BookLine> =
        lines.iter().map(|it| BookLine { first: it.next, ..it.clone() }).collect();
    for it in covered.kafka {
        lacking.extend(kafka::lacking(it, &on)?);
    }
    for it in lines.iter().filter(|it| it.next > it.first) {
        let feed = it.feed.as_str();
        let cluster = feed.split_once('/').map(|it| it.0);
        let of_kafka = || covered.kafka.iter().any(|it| Some(it.name.as_str()) == cluster);
        match &covered.log {
            Some(log) if feed == local_log::FEED => {
                if !(log.whole_from..=log.next).contains(&it.next) {
                    let (from, end) = (log.whole_from, log.next);
                    lacking.push(format!("the log has {from} to {end}, it goes on at {}", it.next));
                }
            }
            _ if covered.files.contains(feed) || of_kafka() => {}
            _ => lacking.push(format!("feed {feed} was read, and is not to be read any more")),
        }
    }
    Ok(lacking)
}

/// Why not everything can be read once more. `lines`: what was read, by the newest checkpoint that
/// can be.
fn lacking(lines: Option<&[BookLine]>, covered: &Covered<'_>) -> Vec<String> {
    let Some(lines) = lines else {
        let mut lacking = not_again([].into_iter(), covered);
        lacking.push("no checkpoint can be read, which would say what was read".into());
        return lacking;
    };
    let read = lines.iter().filter(|it| it.next > it.first);
    not_again(read.map(|it| (it.feed.as_str(), Some(it.next))), covered)
}

/// The same of feeds that were read, up to where that is known.
fn not_again<'a>(
    read: impl Iterator<Item = (&'a str, Option<u64>)>,
    covered: &Covered<'_>,
) -> Vec<String> {
    let mut lacking: Vec<String> = covered.all(false).err().map(|it| it.why).into_iter().collect();
    if !covered.files.is_empty() {
        lacking.push("files are read: what they no longer hold would be missing".into());
    }
    let end = covered.log.as_ref().map_or(0, |it| it.next);
    for (feed, next) in read {
        match next {
            _ if feed != local_log::FEED => lacking.push(format!("feed {feed} was read, too")),
            Some(next) if next > end => {
                lacking.push(format!("the log ends at {end}, and was read up to {next}"));
            }
            None if end == 0 => lacking.push("the log was read, and is empty now".into()),
            _ => {}
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

    /// Goal: nothing that came since an older checkpoint is left out. Method: a table.
    #[test]
    fn only_what_is_read_again() {
        let check = |whole_from, files: &[&'static str], line: BookLine, why: &str| {
            let files = files.iter().copied().collect();
            let covered = Covered { log: Some(log(whole_from)), files, kafka: &[] };
            let found = not_read_on(&[line], &[], &covered).unwrap().join("; ");
            assert!(found.is_empty() == why.is_empty() && found.contains(why), "{found:?}");
        };
        let covered = Covered { log: Some(log(0)), files: [].into(), kafka: &[] };
        let since = BookLine { reset: 2, ..line("log", 20) };
        let newest = [line("log", 18), since.clone()];
        let found = not_read_on(&[line("log", 15)], &newest, &covered).unwrap();
        assert_eq!(found, ["feed log was reset since"]);
        let same = std::slice::from_ref(&since);
        assert_eq!(not_read_on(same, same, &covered).unwrap(), [""; 0]);
        let gone = |next| {
            let covered =
                Covered { log: Some(Stats { next, ..log(0) }), files: [].into(), kafka: &[] };
            not_again([("log", None)].into_iter(), &covered).join("; ")
        };
        assert_eq!(gone(1), "");
        assert_eq!(gone(0), "the log was read, and is empty now");
        check(15, &[], line("log", 15), "");
        check(15, &[], line("log", 20), "");
        check(15, &[], line("log", 14), "the log has 15 to 20, it goes on at 14");
        check(0, &[], line("log", 21), "it goes on at 21");
        check(0, &["shop"], line("shop", 3), "");
        check(0, &[], line("shop", 3), "feed shop was read, and is not to be read any more");
        check(0, &[], line("shop", 0), "");
        check(0, &[], line("k/orders", 3), "feed k/orders was read");
    }

    /// Goal: what another build wrote is no damage, and whoever wants to be asked is. Method: codes.
    #[test]
    fn only_damage_and_only_if_wanted() {
        let covered = Covered { log: Some(log(0)), files: [].into(), kafka: &[] };
        let told = |code, on_damage| {
            let dir = (Path::new("/nowhere"), 1);
            instead(report(code), on_damage, dir, None, &covered, &Rebuild::default()).unwrap_err()
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
