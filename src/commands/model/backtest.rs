//! `millstream model backtest`: what a view would have told of recorded history.
//!
//! # Meaning
//! `health`: every thirty days, each customer who bought within the year before is judged by what
//! was known then, as the row of the view would have said; left is who bought nothing in the days
//! after (`dataflows/health/backtest.rs`). An event that comes twice counts once.

use serde_json::json;

use super::{Seen, texts};
use crate::commands::Problems;
use crate::commands::check::load_mapping;
use crate::commands::chosen::Chosen;
use crate::commands::eval::area;
use crate::commands::out::Out;
use crate::commands::typed::model::Backtest as Typed;
use crate::models::{Backtest, Found, OfBand};
use crate::report::Report;
use schemas::events::Event;

/// Tries and prints.
pub(super) fn main(it: &Typed, chosen: &Chosen) -> Result<(), Problems> {
    let mapping = it.mapping.as_deref().map(load_mapping).transpose()?;
    let flags = [("--data-dir", "data_dir", it.data_dir.clone())];
    let settings = chosen.settings(&flags, &[])?;
    crate::engine::judge_by(&settings.health);
    let (mut backtest, mut seen) = (Backtest::default(), Seen::default());
    let mut take = |event: &Event<'_>| {
        if seen.is_new(event) {
            backtest.add(event);
        }
        Ok(())
    };
    let read = match &it.input {
        Some(input) => texts::each(input, mapping.as_ref(), &settings, take)?,
        None => texts::of_log(&settings, &mut take).map_err(|it| vec![it])?,
    };
    let within = i64::from(it.within);
    let found = backtest.run(within, it.from.map(|it| it.div_euclid(1_000)));
    if found.judged.is_empty() {
        let from = it.input.as_ref().unwrap_or(&settings.data_dir);
        return Err(vec![too_short(&from.display().to_string(), within)]);
    }
    let mut out = Out::default();
    let told = match it.json {
        true => out.line(as_json(&found, within, read.rejected).to_string()),
        false => out.text(&as_text(&found, within)),
    };
    told.and_then(|_| out.end()).map_err(|it| vec![it])
}

/// The area under the curve: the chance that of one who left and one who stayed the first had the
/// lower score.
fn auc(found: &Found) -> f64 {
    let said: Vec<_> = found.judged.iter().map(|it| (-f64::from(it.0), it.1)).collect();
    area(&said)
}

/// The share of those who left, over that of all.
fn lift(of: &OfBand, found: &Found) -> Option<f64> {
    let all = found.judged.iter().filter(|it| it.1).count() as f64 / found.judged.len() as f64;
    (of.n > 0 && all > 0.0).then(|| of.n_left as f64 / of.n as f64 / all)
}

fn day(at: i64) -> String {
    schemas::time::rfc3339(at * 1_000)[..10].to_string()
}

fn as_json(found: &Found, within: i64, rejected: u64) -> serde_json::Value {
    let rounded = |it: f64| (it * 10_000.0).round() / 10_000.0;
    let bands = found.bands.iter().map(|it| {
        let left = (it.n > 0).then(|| rounded(it.n_left as f64 / it.n as f64));
        json!({
            "band": it.name, "n": it.n, "left": it.n_left, "share": left,
            "lift": lift(it, found).map(rounded),
        })
    });
    json!({
        "auc": rounded(auc(found)), "n": found.judged.len(),
        "left": found.judged.iter().filter(|it| it.1).count(), "within_days": within,
        "cuts": found.cuts.iter().map(|it| day(*it)).collect::<Vec<_>>(),
        "bands": bands.collect::<Vec<_>>(), "rejected": rejected,
    })
}

fn as_text(found: &Found, within: i64) -> String {
    let (first, last) = (found.cuts.first(), found.cuts.last());
    let span = first.zip(last).map(|it| (day(*it.0), day(*it.1))).unwrap_or_default();
    let n_left = found.judged.iter().filter(|it| it.1).count();
    let mut text = format!(
        "{} customers judged at {} cuts from {} to {}; {n_left} bought nothing in the {within} days \
         after\narea under the curve: {:.3}\n",
        found.judged.len(),
        found.cuts.len(),
        span.0,
        span.1,
        auc(found)
    );
    for it in &found.bands {
        let share = 100.0 * it.n_left as f64 / it.n.max(1) as f64;
        let lift = lift(it, found).map_or("-".to_string(), |it| format!("{it:.2}"));
        text.push_str(&format!(
            "  {}: {} customers, {share:.1} % left, lift {lift}\n",
            it.name, it.n
        ));
    }
    text
}

fn too_short(input: &str, within: i64) -> Report {
    Report {
        code: "models/no-history",
        what: "could not try this on history".into(),
        at: vec![("input", input.to_string())],
        why: format!(
            "expected orders with customers over more than 90 days, and {within} days after; found \
             no instant at which a customer could be judged"
        ),
        effect: "nothing was judged or changed".into(),
        fix: "read a longer history, or say fewer days (--within), or an earlier instant (--from)"
            .into(),
    }
}
