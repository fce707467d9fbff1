//! `millstream eval`: what the product would have done, on recorded events, through its own path.
//!
//! # Meaning
//! The events go the way of every event (`replay`), into the views. `routing`: every case of
//! `cases` that was opened, assigned and resolved is handed out once more, by the policy of the
//! settings, among so many agents; it takes as long as it took on record (from assignment to
//! resolution). What it was promised comes from the function that makes `priority_queue`; the tier
//! is the one at the end of the record. Orders that were late at the time are not on record in the
//! views, so they do not press here. `--instead` does the same with other settings and shows both:
//! what a change would have done, before it is switched on.

mod eta; // when orders arrive
mod forecast; // what load comes
mod repeat; // who buys again

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemas::names::Name;
use schemas::reading::ViewReader;
use schemas::rows::{Row, Value};
use serde_json::json;

use super::chosen::Chosen;
use super::out::Out;
use super::replay::{self, Clock, Replay};
use super::{Problems, typed};
use crate::config::{Queues, Settings};
use crate::desk::backtest::{Outcome, Recorded, assignments, outcome};
use crate::desk::policy::{Open, Policy};
use crate::engine::Promises;
use crate::messages::ReadHandle;
use crate::report::Report;

/// Evaluates and prints.
pub fn main(what: &typed::Eval, chosen: &Chosen) -> Result<(), Problems> {
    match what {
        typed::Eval::Routing(it) => routing(it, chosen),
        typed::Eval::Eta(it) => eta::main(it, chosen),
        typed::Eval::Forecast(it) => forecast::main(it, chosen),
        typed::Eval::Repeat(it) => repeat::main(it, chosen),
    }
}

fn routing(it: &typed::Routing, chosen: &Chosen) -> Result<(), Problems> {
    let short = [("--views", "engine.views", Some("customers,cases".to_string()))];
    let settings = chosen.settings(&short, &[])?;
    let other = match it.instead.as_slice() {
        [] => None,
        said => Some(chosen.with(said).settings(&short, &[])?.queues),
    };
    let (cases, open) = recorded(it.events.clone(), it.mapping.clone(), &settings).map_err(one)?;
    let by = |queues: &Queues| {
        let cases = promised(&cases, queues);
        let assigned = assignments(&cases, it.agents as usize, Policy::from(queues));
        outcome(&cases, &assigned)
    };
    let now = by(&settings.queues);
    let told = |it: &Outcome| serde_json::to_value(it).unwrap_or_default();
    let mut out = Out::default();
    let mut line = |text: String| out.line(text).map(|_| ()).map_err(one);
    if !it.json {
        line(format!("{} cases on record, {} agents", cases.len(), it.agents))?;
        if open > 0 {
            line(format!("  {open} more were never assigned and resolved, and are left out"))?;
        }
        line(format!("  {:<14} {}", "as set", words(&now)))?;
    }
    match other.as_ref().map(by) {
        Some(instead) if it.json => {
            line(json!({"as_set": told(&now), "instead": told(&instead)}).to_string())?;
        }
        Some(instead) => line(format!("  {:<14} {}", "instead", words(&instead)))?,
        None if it.json => line(told(&now).to_string())?,
        None => {}
    }
    out.end().map_err(one)
}

fn one(it: Report) -> Problems {
    vec![it]
}

fn words(it: &Outcome) -> String {
    format!(
        "{} promises broken (P1 {}, gold {}); mean wait of P1 {:.1} min, longest wait {:.0} min",
        it.breaches, it.p1_breaches, it.gold_breaches, it.p1_mean, it.longest
    )
}

/// A case on record, before anything was promised.
struct Case {
    case: String,
    /// Tenant and customer.
    person: (String, String),
    severity: u8,
    opened_at: i64,
    work: i64,
    tier: Option<String>,
}

/// The path of every event, at the time of the events.
fn through(events: PathBuf, mapping: Option<PathBuf>) -> Replay {
    Replay {
        input: Some(events),
        kafka: None,
        mapping,
        clock: Clock::Event,
        repeat: 1,
        rate: None,
        state: None,
        models: None,
        seals: false,
        rows_out: None,
        serve: false,
        stay: false,
        json: true,
    }
}

/// Every case that was opened, assigned and resolved; and how many others there are.
fn recorded(
    events: PathBuf,
    mapping: Option<PathBuf>,
    settings: &Settings,
) -> Result<(Vec<Case>, usize), Report> {
    let (_, ended) = replay::run(&through(events, mapping), settings.clone())?;
    let read = &ended.read;
    let mut tiers = BTreeMap::new();
    each(read, "customers", |of, tenant| {
        if let (Some(customer), Some(tier)) = (text(of("customer")), text(of("tier"))) {
            tiers.insert((tenant.to_string(), customer), tier);
        }
    })?;
    let (mut cases, mut others) = (Vec::new(), 0);
    each(read, "cases", |of, tenant| {
        let at = |name: &str| match of(name) {
            Value::Time(it) => Some(it),
            _ => None,
        };
        let times = (at("opened_at"), at("assigned_at"), at("resolved_at"));
        let (Value::Int(severity), (Some(opened_at), Some(assigned), Some(resolved))) =
            (of("severity"), times)
        else {
            others += 1;
            return;
        };
        let person = (tenant.to_string(), text(of("customer")).unwrap_or_default());
        cases.push(Case {
            case: text(of("case")).unwrap_or_default(),
            tier: tiers.get(&person).cloned(),
            person,
            severity: u8::try_from(severity).unwrap_or(u8::MAX),
            opened_at,
            work: (resolved - assigned).max(0),
        });
    })?;
    ended.stop()?;
    Ok((cases, others))
}

fn text(it: Value) -> Option<String> {
    match it {
        Value::Text(it) => Some(it.to_string()),
        _ => None,
    }
}

/// Every row of a view at its last instant: its fields by name, and its tenant.
fn each(
    read: &ReadHandle,
    view: &str,
    mut take: impl FnMut(&dyn Fn(&str) -> Value, &str),
) -> Result<(), Report> {
    each_row(read, view, |of, name, _| take(of, name.tenant()))
}

/// The same, with its name and all of it.
fn each_row(
    read: &ReadHandle,
    view: &str,
    mut take: impl FnMut(&dyn Fn(&str) -> Value, &Name, &Row),
) -> Result<(), Report> {
    let at = read.instants.complete();
    let view: &dyn ViewReader = match read.views.iter().find(|it| it.def().name == view) {
        Some(view) => &**view,
        None => return Ok(()),
    };
    let def = view.def();
    let gone = view.for_each(at, &mut |name, row: Row| {
        let of = |field: &str| {
            def.position(field).and_then(|it| row.values.get(it).cloned()).unwrap_or(Value::Null)
        };
        take(&of, name, &row);
    });
    gone.map_err(|gone| replay::gone(def.name, at, &gone))
}

/// What each was promised by these settings.
fn promised(cases: &[Case], queues: &Queues) -> Vec<Recorded> {
    let promises = Promises::of(queues);
    let mut people: BTreeMap<&(String, String), Vec<&Case>> = BTreeMap::new();
    for case in cases {
        people.entry(&case.person).or_default().push(case);
    }
    let mut promised = Vec::with_capacity(cases.len());
    for mut theirs in people.into_values() {
        theirs.sort_by_key(|it| it.opened_at);
        let asked: Vec<_> = theirs.iter().map(|it| (it.severity, it.opened_at)).collect();
        let tier = theirs[0].tier.as_deref();
        for (it, brought) in theirs.iter().zip(promises.each(tier, &asked)) {
            let open = Open {
                case: it.case.clone(),
                severity: it.severity,
                opened_at: it.opened_at,
                due_at: brought.due_at,
                deadline: brought.deadline,
            };
            promised.push(Recorded { open, work: it.work, tier: it.tier.clone() });
        }
    }
    promised
}

/// The area under the curve: the chance that of one for whom it came true and one for whom it did
/// not the first was given the greater chance; equal ones count half.
pub(super) fn area(said: &[(f64, bool)]) -> f64 {
    let mut said = said.to_vec();
    said.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n_true = said.iter().filter(|it| it.1).count() as f64;
    let n_others = said.len() as f64 - n_true;
    let (mut below, mut won) = (0.0, 0.0);
    for equal in said.chunk_by(|a, b| a.0 == b.0) {
        let came = equal.iter().filter(|it| it.1).count() as f64;
        let others = equal.len() as f64 - came;
        won += came * (below + others / 2.0);
        below += others;
    }
    if n_true * n_others > 0.0 { won / (n_true * n_others) } else { 0.5 }
}
