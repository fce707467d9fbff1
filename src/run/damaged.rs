//! What a start does with a state that is damaged: the log has what it was made of.
//!
//! # Meaning
//! Only damage is gone on from: bytes that are not the ones that were written, and parts that are
//! gone. What another build wrote is whole, and stays. Where anything that was read cannot be read
//! once more nothing is begun, and the report says what is missing.

use super::covered::Covered;
use super::keep::Rebuild;
use crate::config::StateOnDamage;
use crate::report::{Report, log_report};

/// Codes of reports about states of which not everything is there as it was written.
const DAMAGED: [&str; 3] = ["segments/damaged", "store/incomplete", "store/identities-missing"];

/// What is to be built instead of taking up what this report is about; or the report, with what
/// is in the way.
pub(super) fn instead(
    report: Report,
    on_damage: StateOnDamage,
    covered: &Covered<'_>,
) -> Result<Rebuild, Report> {
    if !DAMAGED.contains(&report.code) || on_damage == StateOnDamage::Refuse {
        return Err(report);
    }
    if let Err(lacking) = covered.all(false) {
        let mut report = report;
        report.at.push(("cannot be built again", lacking.why));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::local_log::Stats;

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

    /// Goal: only damage is gone on from, only where nothing can be missing, and only if that is
    /// wanted. Method: a table.
    #[test]
    fn only_what_can_be_whole_again() {
        let check = |code, on_damage, from, expected: Option<&str>| {
            let covered = Covered { log: Some(log(from)), files: [].into(), kafka: &[] };
            let done = instead(report(code), on_damage, &covered);
            match expected {
                None => assert_eq!(done.unwrap(), Rebuild { all: true, ..Rebuild::default() }),
                Some(words) => {
                    let told = done.unwrap_err();
                    assert_eq!(told.code, code);
                    assert!(format!("{told:?}").contains(words), "{told:?}");
                }
            }
        };
        for code in DAMAGED {
            check(code, StateOnDamage::Rebuild, 0, None);
            check(code, StateOnDamage::Refuse, 0, Some("restore a backup"));
            check(code, StateOnDamage::Rebuild, 15, Some("it begins at 15"));
            check(code, StateOnDamage::Rebuild, 15, Some("--accept-incomplete"));
        }
        for code in ["store/unreadable", "store/other-secret", "segments/other-version"] {
            check(code, StateOnDamage::Rebuild, 0, Some("restore a backup"));
        }
    }
}
