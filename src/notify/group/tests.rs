//! Goal: what is sent, held back and counted is what `group` means, said plainly over a whole history,
//! also where processes begin anew in between. Method: random histories of three rules and two
//! tenants, corrections among them; look by look against [`reference`]; now and then what was
//! written so far is told to windows that know nothing, in any order.

use std::collections::BTreeSet;

use schemas::rows::{FieldDef, FieldKind, Shape, ViewDef};

use super::*;
use crate::config::Place;
use crate::config::rules::{On, RuleSettings};
use crate::notify::rule::Rules;

static DEF: ViewDef = ViewDef {
    name: "orders",
    words: "",
    shape: Shape::Fold,
    key: &["order"],
    fields: &[
        FieldDef::new("order", FieldKind::Text, false, false, ""),
        FieldDef::new("open", FieldKind::Bool, false, false, ""),
    ],
};

/// How long rules group, milliseconds.
const GROUPS: [u64; 3] = [0, 2_000, 5_000];
const TENANTS: [&str; 2] = ["a", "b"];
const START: Epoch = 1_767_225_600_000;

/// A message that a rule has for a tenant; whether it was over in the same look.
type Wants = (usize, usize, bool);

/// When, of which rule and tenant, what: sent, held back until then, a count, a correction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Sent,
    Held(Epoch),
    Counts(u64),
    Corrects,
}
type Said = (Epoch, usize, usize, What);

/// What `group` means, plainly: a message is held back where one of the rule and tenant was sent so
/// shortly before; once that is over those are counted, in a message that is sent.
fn reference(history: &[(Epoch, Vec<Wants>)]) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for (now, wants) in history {
        for rule in 0..GROUPS.len() {
            for tenant in 0..TENANTS.len() {
                let of = |it: &&Said| (it.1, it.2) == (rule, tenant);
                let since: Vec<&Said> = said.iter().filter(of).collect();
                let sent =
                    since.iter().rposition(|it| matches!(it.3, What::Sent | What::Counts(_)));
                let held = since[sent.map_or(0, |it| it + 1)..]
                    .iter()
                    .filter(|it| matches!(it.3, What::Held(until) if until <= *now))
                    .count();
                if held > 0 {
                    said.push((*now, rule, tenant, What::Counts(held as u64)));
                }
            }
        }
        for (rule, tenant, is_over) in wants {
            let newest = said
                .iter()
                .filter(|it| (it.1, it.2) == (*rule, *tenant))
                .filter(|it| matches!(it.3, What::Sent | What::Counts(_)))
                .map(|it| it.0 + GROUPS[*rule])
                .max();
            match newest.filter(|it| now < it) {
                // What was not sent needs no correction.
                Some(until) => said.push((*now, *rule, *tenant, What::Held(until))),
                None => {
                    said.push((*now, *rule, *tenant, What::Sent));
                    if *is_over {
                        said.push((*now, *rule, *tenant, What::Corrects));
                    }
                }
            }
        }
    }
    said.sort();
    said
}

fn rules() -> Rules {
    let all: Vec<RuleSettings> = (GROUPS.iter().enumerate())
        .map(|(n, group)| RuleSettings {
            name: format!("rule-{n}"),
            view: "orders".into(),
            on: On::Enter,
            when: "open".into(),
            episode: vec!["open".into()],
            since: None,
            channel: "ops".into(),
            severity: "warning",
            text: "{{ order }}".into(),
            resolved: None,
            quiet: Duration::ZERO,
            group: Duration::from_millis(*group),
            settle: Duration::ZERO,
            max_age: Duration::from_secs(1),
            already: false,
            place: Place::Flag("test".into()),
        })
        .collect();
    Rules::compile(&all, &[&DEF]).ok().unwrap()
}

fn intent(rule: usize, tenant: usize, id: String, corrects: Option<String>) -> Intent {
    Intent {
        subject: Name::new(TENANTS[tenant], &id),
        text: id.clone(),
        id,
        rule,
        episode: "e".into(),
        reason: String::new(),
        corrects,
        suppressed: None,
        customer: None,
        due: None,
    }
}

/// SplitMix64.
fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

fn history(seed: &mut u64) -> Vec<(Epoch, Vec<Wants>)> {
    let mut now = START;
    let looks = (0..60).map(|_| {
        now += 100 + random(seed, 1_500);
        let n = random(seed, 4);
        let wants = (0..n).map(|_| {
            let tenant = random(seed, 2) as usize;
            (random(seed, 3) as usize, tenant, random(seed, 4) == 0)
        });
        (now, wants.collect())
    });
    looks.collect()
}

/// As the watcher has them: what is over is counted, then what is new is held back; what is known is
/// not said again. `anew`: one look of so many is the first of a process.
fn grouped(history: &[(Epoch, Vec<Wants>)], rules: &Rules, seed: &mut u64, anew: u64) -> Vec<Said> {
    let (mut groups, mut written) = (Groups::default(), Vec::<(Epoch, Intent)>::new());
    for (n, (now, wants)) in history.iter().enumerate() {
        let known: BTreeSet<String> = written.iter().map(|it| it.1.id.clone()).collect();
        if random(seed, anew) == 0 {
            groups = Groups::default();
            let mut all: Vec<&(Epoch, Intent)> =
                written.iter().filter(|it| it.1.corrects.is_none()).collect();
            for last in (1..all.len()).rev() {
                all.swap(last, random(seed, last as u64 + 1) as usize);
            }
            for (at, it) in all {
                let until = it.due.map(|it| it.cast_unsigned() / 1_000);
                let rule = (it.rule, &rules.all[it.rule]);
                groups.was(rule, it.subject.tenant(), (*at, until), &it.text);
            }
            groups.begin(&rules.all, |name| known.contains(name.key()));
        }
        let mut counts = Vec::new();
        groups.over(&rules.all, *now, &mut counts);
        counts.retain(|it| !known.contains(&it.id));
        let mut intents = Vec::new();
        for (at, (rule, tenant, is_over)) in wants.iter().enumerate() {
            let id = format!("{n}-{at}");
            intents.push(intent(*rule, *tenant, id.clone(), None));
            if *is_over {
                intents.push(intent(*rule, *tenant, format!("{id}-over"), Some(id)));
            }
        }
        groups.hold(&rules.all, *now, &mut intents);
        written.extend(intents.into_iter().chain(counts).map(|it| (*now, it)));
    }
    let said = written.into_iter().map(|(now, it)| {
        let tenant = TENANTS.iter().position(|name| *name == it.subject.tenant()).unwrap();
        let what = match (&it.suppressed, it.due) {
            _ if it.corrects.is_some() => What::Corrects,
            (Some(why), Some(due)) if *why == GROUPED => What::Held(due.cast_unsigned() / 1_000),
            (None, None) if it.subject.key() == ALL => {
                What::Counts(it.text.split(' ').next().unwrap().parse().unwrap())
            }
            (None, None) => What::Sent,
            other => panic!("{other:?}"),
        };
        (now, it.rule, tenant, what)
    });
    let mut said: Vec<Said> = said.collect();
    said.sort();
    said
}

#[test]
fn one_speaks_and_the_others_are_counted() {
    let rules = rules();
    let (mut n_held, mut n_counts) = (0, 0);
    // One that fails is repeated by naming it here alone.
    for seed in 0..200_u64 {
        let mut random_of = seed;
        let history = history(&mut random_of);
        let expected = reference(&history);
        // Never anew; and every tenth look.
        for anew in [u64::MAX, 10] {
            let found = grouped(&history, &rules, &mut random_of, anew);
            assert_eq!(found, expected, "seed {seed}, anew {anew}");
        }
        n_held += expected.iter().filter(|it| matches!(it.3, What::Held(_))).count();
        n_counts += expected.iter().filter(|it| matches!(it.3, What::Counts(_))).count();
    }
    assert!(n_held > 4_000 && n_counts > 1_000, "{n_held} {n_counts}");
}
