//! Goal: what the planner decides, step by step and with what it remembers, is what a rule means,
//! said plainly over a whole history at once. Method: random histories of some rows, looked at
//! every second; rules with every setting; the planner against [`reference`], decision by decision.

use std::collections::BTreeSet;
use std::time::Duration;

use schemas::rows::{FieldDef, FieldKind, Shape, Value};

use super::*;
use crate::config::Place;
use crate::config::rules::RuleSettings;

static DEF: ViewDef = ViewDef {
    name: "orders",
    words: "",
    shape: Shape::Fold,
    key: &["order"],
    fields: &[
        FieldDef::new("order", FieldKind::Text, false, false, ""),
        FieldDef::new("open", FieldKind::Bool, false, false, ""),
        FieldDef::new("n", FieldKind::Int, false, false, ""),
        FieldDef::new("since", FieldKind::Time, false, false, ""),
    ],
};

/// A row: open or not, how many, since when (milliseconds).
type State = Option<(bool, i64, u64)>;

/// When, of which row, of which episode, whether it began, and why it is not sent.
type Said = (Epoch, usize, u64, bool, Option<&'static str>);

const START: Epoch = 1_767_225_600_000;
const SUBJECTS: usize = 3;
const LOOKS: usize = 60;

fn row(subject: usize, state: State) -> Option<Row> {
    let (open, n, since) = state?;
    let values = vec![
        Value::Text(format!("O-{subject}").into()),
        Value::Bool(open),
        Value::Int(n),
        Value::Time(since.cast_signed() * 1_000),
    ];
    Some(Row { values })
}

fn name(subject: usize) -> Name {
    Name::new("default", &format!("O-{subject}"))
}

fn settings(on: On, [quiet, settle, max_age]: [u64; 3], resolved: bool) -> RuleSettings {
    RuleSettings {
        name: "rule".into(),
        view: "orders".into(),
        on,
        when: "open and n > 1".into(),
        episode: vec!["since".into()],
        since: Some("since".into()),
        channel: "ops".into(),
        severity: "warning",
        text: "{{ order }}".into(),
        resolved: resolved.then(|| "{{ order }} is over".into()),
        quiet: Duration::from_millis(quiet),
        group: Duration::ZERO,
        settle: Duration::from_millis(settle),
        max_age: Duration::from_millis(max_age),
        already: false,
        place: Place::Flag("test".into()),
    }
}

/// What a rule means, plainly: every row at every look is known.
fn reference(it: &RuleSettings, history: &[Vec<State>]) -> Vec<Said> {
    let ms = |it: Duration| it.as_millis() as u64;
    let episode = |look: usize, subject: usize| {
        history[look][subject].filter(|it| it.0 && it.1 > 1).map(|it| it.2)
    };
    let mut said: Vec<Said> = Vec::new();
    for subject in 0..SUBJECTS {
        // Each time at which there is something to say: when, which episode.
        let mut entries: Vec<(Epoch, u64, u64)> = Vec::new();
        for look in 1..history.len() {
            let now = START + 1_000 * look as u64;
            let (before, after) = (episode(look - 1, subject), episode(look, subject));
            if before == after {
                continue;
            }
            match (it.on, before, after) {
                (On::Leave, Some(left), _) => entries.push((now, 0, left)),
                (On::Enter, _, Some(since)) if now - since <= ms(it.max_age.max(it.settle)) => {
                    let due = since + ms(it.settle);
                    if due <= now {
                        entries.push((now, 0, since));
                    } else if let Some(at) = (look + 1..history.len())
                        .find(|at| START + 1_000 * *at as u64 >= due)
                        .filter(|at| episode(*at, subject) == Some(since))
                    {
                        entries.push((START + 1_000 * at as u64, due, since));
                    }
                }
                _ => {}
            }
            if let (On::Enter, true, Some(left)) = (it.on, it.resolved.is_some(), before) {
                said.push((now, subject, left, false, None));
            }
        }
        entries.sort_unstable();
        let mut last: Option<Epoch> = None;
        for (now, _, since) in entries {
            let is_quiet = last.is_some_and(|it_was| now < it_was + ms(it.quiet));
            if !is_quiet {
                last = Some(now);
            }
            said.push((now, subject, since, true, is_quiet.then_some("quiet")));
        }
    }
    once(said)
}

/// An episode speaks once: the first time; in the order in which it is said.
fn once(mut said: Vec<Said>) -> Vec<Said> {
    said.sort_unstable();
    let mut known = BTreeSet::new();
    said.retain(|it| known.insert((it.1, it.2, it.3)));
    said
}

/// `anew`: whether a process begins at a look, with what was put back as of the look before, and
/// what was said so far.
fn planned(it: &RuleSettings, history: &[Vec<State>], mut anew: impl FnMut() -> bool) -> Vec<Said> {
    let begin = || Planner::new(Rules::compile(std::slice::from_ref(it), &[&DEF]).ok().unwrap());
    let mut planner = begin();
    let mut said: Vec<Said> = Vec::new();
    for look in 1..history.len() {
        let now = START + 1_000 * look as u64;
        if anew() {
            planner = begin();
            for (at, subject, _, began, suppressed) in once(said.clone()) {
                if began && suppressed.is_none() {
                    let last = planner.quiet.entry((0, name(subject))).or_default();
                    *last = at.max(*last);
                }
            }
            let mut out = Vec::new();
            for (subject, state) in history[look - 1].iter().enumerate() {
                if let Some(row) = row(subject, *state) {
                    planner.found(0, &name(subject), &row, (now - 1_000, false), &mut out);
                }
            }
            assert_eq!(out, [], "what is so already is not said");
        }
        let mut out = Vec::new();
        let both = history[look - 1].iter().zip(&history[look]);
        for (subject, (old, new)) in both.enumerate() {
            let (old, new) = (row(subject, *old), row(subject, *new));
            if old != new {
                planner.see(0, &name(subject), (old.as_ref(), new.as_ref()), now, &mut out);
            }
        }
        let is = |_: usize, of: &Name| {
            let subject = (0..SUBJECTS).find(|it| name(*it) == *of)?;
            row(subject, history[look][subject])
        };
        planner.settled(now, &is, &mut out);
        said.extend(out.into_iter().map(|it| {
            let subject = (0..SUBJECTS).find(|at| name(*at) == it.subject).unwrap();
            let since = schemas::time::parse_rfc3339(&it.episode).unwrap().cast_unsigned() / 1_000;
            (now, subject, since, it.corrects.is_none(), it.suppressed)
        }));
    }
    once(said)
}

/// SplitMix64.
fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

/// `again`: rows are also so, not so, and so again in one episode.
fn history(seed: &mut u64, again: bool) -> Vec<Vec<State>> {
    let mut rows: Vec<Vec<State>> = vec![vec![None; SUBJECTS]];
    for look in 1..LOOKS {
        let now = START + 1_000 * look as u64;
        let mut next = rows[look - 1].clone();
        for state in &mut next {
            *state = match random(seed, 8) {
                0 => None,
                // Another episode, perhaps one that began a while ago.
                1 | 2 => Some((true, random(seed, 4).cast_signed(), now - random(seed, 9_000))),
                // The same, more or less of it.
                3 if again => {
                    state.map(|it| (random(seed, 3) > 0, random(seed, 4).cast_signed(), it.2))
                }
                _ => *state,
            };
        }
        rows.push(next);
    }
    rows
}

#[test]
fn the_planner_decides_what_a_rule_means() {
    let mut n = 0;
    // One that fails is repeated by naming it here alone.
    for seed in 0..400_u64 {
        let mut random_of = seed;
        let history = history(&mut random_of, true);
        let on = if random(&mut random_of, 4) == 0 { On::Leave } else { On::Enter };
        let quiet = [0, 0, 3_000, 10_000][random(&mut random_of, 4) as usize];
        let settle = match on {
            On::Enter => [0, 0, 1_500, 5_000][random(&mut random_of, 4) as usize],
            On::Leave => 0,
        };
        let max_age = [2_000, 60_000][random(&mut random_of, 2) as usize];
        let resolved = on == On::Enter && random(&mut random_of, 2) == 0;
        let it = settings(on, [quiet, settle, max_age], resolved);
        let found = planned(&it, &history, || false);
        assert_eq!(found, reference(&it, &history), "seed {seed}: {it:?}");
        n += found.len();
    }
    assert!(n > 4_000, "{n}");
}

/// Goal: processes that begin anew in between say nothing else, and nothing less: what settles goes
/// on to settle, who is quiet stays so, and what is so already is no news. Method: as above, and
/// every tenth look is the first of a process.
#[test]
fn a_start_in_between_changes_nothing() {
    let (mut n, mut n_quiet) = (0, 0);
    for seed in 0..400_u64 {
        let mut random_of = seed;
        let history = history(&mut random_of, false);
        let on = if random(&mut random_of, 4) == 0 { On::Leave } else { On::Enter };
        let quiet = [0, 3_000, 10_000][random(&mut random_of, 3) as usize];
        let settle = match on {
            On::Enter => [0, 1_500, 5_000][random(&mut random_of, 3) as usize],
            On::Leave => 0,
        };
        let max_age = [2_000, 60_000][random(&mut random_of, 2) as usize];
        let it = settings(on, [quiet, settle, max_age], on == On::Enter);
        let found = planned(&it, &history, || random(&mut random_of, 10) == 0);
        assert_eq!(found, reference(&it, &history), "seed {seed}: {it:?}");
        n += found.len();
        n_quiet += found.iter().filter(|it| it.4 == Some("quiet")).count();
    }
    assert!(n > 4_000 && n_quiet > 500, "{n} {n_quiet}");
}

static WIDE: ViewDef = ViewDef {
    name: "cases",
    words: "",
    shape: Shape::Fold,
    key: &["case"],
    fields: &[
        FieldDef::new("case", FieldKind::Text, false, false, ""),
        FieldDef::new("status", FieldKind::Text, true, false, ""),
        FieldDef::new("queue", FieldKind::Text, false, false, ""),
        FieldDef::new("n", FieldKind::Int, true, false, ""),
        FieldDef::new("since", FieldKind::Time, false, false, ""),
    ],
};

/// Goal: what a sieve leaves out would have said nothing: with one and without the same is decided,
/// in the same order, and conditions that fail fail of the same rules. Method: random sets of rules
/// over random changes of rows of few values.
#[test]
fn the_sieve_changes_nothing() {
    const WHEN: &[&str] = &[
        "status == 'open'",
        "status == 'open' and queue == 'a'",
        "queue == \"b\" and status == 'stuck' and n > 1",
        "status == 'stuck' or queue == 'a'",
        "queue == 'a' and (status == 'open' or n is none)",
        "n is not none and n > 1",
        "n > 1 and status == 'open'",
        "queue == 'a' and n.x == 1",
        "not (status == 'open')",
        "queue == 'c' if n == 1 else status == 'open'",
    ];
    let mut n = 0;
    for seed in 0..200_u64 {
        let mut random_of = seed;
        let mut any = |of: u64| random(&mut random_of, of);
        let all: Vec<RuleSettings> = (0..1 + any(12))
            .map(|at| {
                let on = if any(4) == 0 { On::Leave } else { On::Enter };
                let settle = if on == On::Enter && any(4) == 0 { 2_000 } else { 0 };
                let it =
                    settings(on, [[0, 5_000][any(2) as usize], settle, 60_000], on == On::Enter);
                RuleSettings {
                    name: format!("rule-{at}"),
                    view: "cases".into(),
                    when: WHEN[any(WHEN.len() as u64) as usize].into(),
                    episode: vec![["since", "status", "n"][any(3) as usize].into()],
                    text: "{{ case }} {{ n }}".into(),
                    resolved: it.resolved.map(|_| "{{ case }} is over".into()),
                    ..it
                }
            })
            .collect();
        let planner = || Planner::new(Rules::compile(&all, &[&WIDE]).ok().unwrap());
        let (mut sieved, mut open) = (planner(), planner());
        open.of_view = [(0, Arc::new(Sieve::open(0..all.len())))].into();
        let mut now = vec![None; SUBJECTS];
        for look in 1..40 {
            let at = START + 1_000 * look;
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            for (subject, held) in now.iter_mut().enumerate() {
                let next = (any(6) > 0).then(|| {
                    let text = |it: &str| Value::Text(it.into());
                    let values = vec![
                        text(&format!("O-{subject}")),
                        [Value::Null, text("open"), text("stuck")][any(3) as usize].clone(),
                        text(["a", "b", "c"][any(3) as usize]),
                        [Value::Null, Value::Int(any(4).cast_signed())][any(2) as usize].clone(),
                        Value::Time((START + 1_000 * any(look)).cast_signed() * 1_000),
                    ];
                    Row { values }
                });
                let next = if any(3) == 0 { held.clone() } else { next };
                let old = std::mem::replace(&mut *held, next.clone());
                let (before, after) = (old.as_ref(), next.as_ref());
                sieved.see(0, &name(subject), (before, after), at, &mut found);
                open.see(0, &name(subject), (before, after), at, &mut expected);
                // What it is asked before rows are made says the same.
                let sieve = sieved.sieve(0);
                let some = |row: &Row| -> Vec<Value> {
                    sieve.fields.iter().map(|it| row.values[*it].clone()).collect()
                };
                let (before_some, after_some) = (before.map(some), after.map(some));
                assert_eq!(
                    sieve.wants(before_some.as_deref(), after_some.as_deref()),
                    !sieve.of_rows(before, after).is_empty()
                );
            }
            let is = |_: usize, of: &Name| {
                let subject = (0..SUBJECTS).find(|it| name(*it) == *of)?;
                now[subject].clone()
            };
            sieved.settled(at, &is, &mut found);
            open.settled(at, &is, &mut expected);
            assert_eq!(found, expected, "seed {seed}, look {look}: {all:#?}");
            n += found.len();
        }
        let failing = |it: &Planner| it.failed.iter().map(|n| *n > 0).collect::<Vec<_>>();
        assert_eq!(failing(&sieved), failing(&open), "seed {seed}");
    }
    assert!(n > 10_000, "{n}");
}

/// Goal: a rule of the same wording whose other settings changed is told as changed; what settles is
/// due by the new ones, and one that is to speak of what is so does. Method: one row that settles.
#[test]
fn other_settings_are_another_rule() {
    let planner = |it: &RuleSettings| {
        Planner::new(Rules::compile(std::slice::from_ref(it), &[&DEF]).ok().unwrap())
    };
    let before = settings(On::Enter, [0, 60_000, 600_000], false);
    let open = row(0, Some((true, 2, START)));
    let settles = || {
        let (mut it, mut said) = (planner(&before), Vec::new());
        it.see(0, &name(0), (None, open.as_ref()), START + 1_000, &mut said);
        assert!(said.is_empty() && it.next_due() == Some(START + 60_000), "{said:?}");
        it
    };
    let secs = Duration::from_secs;
    let check = |other: RuleSettings, due: Epoch, is_changed: bool| {
        let mut it = planner(&other);
        let (differs, _) = it.take_over(settles());
        assert_eq!(differs.changed.len(), usize::from(is_changed), "{other:?}");
        assert_eq!(it.next_due(), Some(START + due), "{other:?}");
        it.speaks_of_what_is(0)
    };
    let same = RuleSettings { place: Place::Flag("elsewhere".into()), ..before.clone() };
    assert!(!check(same, 60_000, false));
    assert!(!check(RuleSettings { settle: secs(5), ..before.clone() }, 5_000, true));
    assert!(!check(RuleSettings { settle: secs(90), ..before.clone() }, 90_000, true));
    assert!(!check(RuleSettings { quiet: secs(5), ..before.clone() }, 60_000, true));
    assert!(!check(RuleSettings { group: secs(5), ..before.clone() }, 60_000, true));
    assert!(!check(RuleSettings { max_age: secs(5), ..before.clone() }, 60_000, true));
    assert!(check(RuleSettings { already: true, ..before.clone() }, 60_000, true));
}
