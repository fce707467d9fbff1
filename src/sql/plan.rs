//! How a table is read for one place of a statement: by key, or all of it past tests.
//!
//! In: what SQLite knows of the place ([`IndexInfo`]). Out: a [`Plan`], which it keeps as text and
//! hands to each cursor.
//!
//! # Meaning
//! A plan may give more rows than SQLite's own comparison keeps, never fewer: SQLite compares
//! again. So a comparison is only used where both sides are of the column's kind, and text only
//! byte by byte (no `COLLATE`).

use rusqlite::types::ValueRef;
use rusqlite::vtab::{IndexConstraintOp, IndexFlags, IndexInfo};
use schemas::rows::{FieldKind, Value};
use schemas::scanning::{Is, Test};

use super::columns::{Columns, Said, said};

/// How a table is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// By its whole key: the comparisons are equalities, one for each part.
    pub(super) by_key: bool,
    /// Of each value that a cursor is given: the column, and how it is compared.
    pub(super) compared: Vec<(usize, Op)>,
    /// The columns that the statement uses.
    pub(super) used: Vec<usize>,
}

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Op {
    const ALL: [(Op, char); 5] = [
        (Op::Equal, '='),
        (Op::AtLeast, 'g'),
        (Op::Above, '>'),
        (Op::AtMost, 'l'),
        (Op::Below, '<'),
    ];

    fn of(op: &IndexConstraintOp) -> Option<Op> {
        match op {
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Some(Op::Equal),
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Some(Op::AtLeast),
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Some(Op::Above),
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Some(Op::AtMost),
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Some(Op::Below),
            _ => None,
        }
    }
}

impl Plan {
    /// The plan for a place, told to SQLite with what it costs. `rows`: about how many there are.
    pub(super) fn choose(columns: &Columns, rows: u64, info: &mut IndexInfo) -> Plan {
        let mut plan = Plan { used: used(columns, info.col_used()), ..Plan::default() };
        let mut usable = Vec::new();
        for (n, it) in info.constraints().enumerate() {
            let (Ok(column), Some(op)) = (usize::try_from(it.column()), Op::of(&it.operator()))
            else {
                continue;
            };
            let compares = columns.all.get(column).is_some_and(|it| comparable(it.1, op));
            let binary = info.collation(n).is_ok_and(|it| it.eq_ignore_ascii_case("BINARY"));
            if it.is_usable() && compares && binary {
                usable.push((n, column, op));
            }
        }
        let of_key = |part: &usize| {
            let it = usable.iter().find(|it| it.1 == *part && it.2 == Op::Equal);
            it.filter(|it| columns.all[it.1].1 != FieldKind::Int).copied()
        };
        let whole_key: Option<Vec<_>> = columns.key.iter().map(of_key).collect();
        plan.by_key = whole_key.is_some();
        let chosen = whole_key.unwrap_or(usable);
        let (mut cost, mut estimate) = (rows as f64 + 10.0, rows as f64 + 1.0);
        for (place, (n, column, op)) in chosen.into_iter().enumerate() {
            info.constraint_usage(n).set_argv_index(place as i32 + 1);
            plan.compared.push((column, op));
            // A test costs less than a row that SQLite looks at.
            cost *= 0.7;
            estimate *= if op == Op::Equal { 0.1 } else { 0.4 };
        }
        if plan.by_key {
            (cost, estimate) = (2.0, 1.0);
            info.set_idx_flags(IndexFlags::SQLITE_INDEX_SCAN_UNIQUE);
        }
        info.set_estimated_cost(cost);
        info.set_estimated_rows((estimate as i64).max(1));
        info.set_idx_str(&plan.to_text());
        plan
    }

    /// As SQLite keeps it.
    pub(super) fn to_text(&self) -> String {
        let letter = |op: Op| Op::ALL.iter().find(|it| it.0 == op).map_or('=', |it| it.1);
        let compared = self.compared.iter().map(|(column, op)| format!("{}{column}", letter(*op)));
        let used = self.used.iter().map(usize::to_string);
        format!(
            "{}|{}|{}",
            if self.by_key { "key" } else { "scan" },
            compared.collect::<Vec<_>>().join(" "),
            used.collect::<Vec<_>>().join(" "),
        )
    }

    /// Back from text; `None`: not one of ours.
    pub(super) fn from_text(text: &str) -> Option<Plan> {
        let mut parts = text.split('|');
        let by_key = parts.next()? == "key";
        let compared = parts.next()?.split_ascii_whitespace().map(|it| {
            let mut letters = it.chars();
            let letter = letters.next()?;
            let op = Op::ALL.iter().find(|it| it.1 == letter)?.0;
            Some((letters.as_str().parse().ok()?, op))
        });
        let compared = compared.collect::<Option<_>>()?;
        let used = parts.next()?.split_ascii_whitespace().map(|it| it.parse().ok());
        Some(Plan { by_key, compared, used: used.collect::<Option<_>>()? })
    }
}

/// The columns of a mask, in which the last bit stands for all from the 64th on.
fn used(columns: &Columns, mask: u64) -> Vec<usize> {
    (0..columns.all.len()).filter(|it| mask >> (*it).min(63) & 1 == 1).collect()
}

fn comparable(kind: FieldKind, op: Op) -> bool {
    match kind {
        FieldKind::Text | FieldKind::Int | FieldKind::Time => true,
        FieldKind::Bool => op == Op::Equal,
        FieldKind::Money | FieldKind::Json => false,
    }
}

/// The tests that a comparison with this value amounts to, or fewer.
pub(super) fn tests(field: usize, kind: FieldKind, op: Op, with: ValueRef<'_>) -> Vec<Test> {
    let is = match (kind, with) {
        (FieldKind::Text, ValueRef::Text(it)) => of_text(op, it),
        (FieldKind::Time, ValueRef::Text(it)) => of_time(op, it),
        (FieldKind::Int, ValueRef::Integer(it)) => of_int(op, it),
        (FieldKind::Bool, ValueRef::Integer(it @ (0 | 1))) => vec![Is::Equal(Value::Bool(it == 1))],
        _ => vec![],
    };
    is.into_iter().map(|is| Test { field, is }).collect()
}

fn of_text(op: Op, with: &[u8]) -> Vec<Is> {
    let Ok(text) = std::str::from_utf8(with) else { return vec![] };
    let value = || Value::Text(text.into());
    vec![match op {
        Op::Equal => Is::Equal(value()),
        Op::AtLeast | Op::Above => Is::AtLeast(value()),
        Op::Below => Is::Below(value()),
        // Between a text and itself with a NUL behind it there is none.
        Op::AtMost => Is::Below(Value::Text(format!("{text}\0").into())),
    }]
}

fn of_int(op: Op, with: i64) -> Vec<Is> {
    match op {
        Op::Equal => vec![Is::Equal(Value::Int(with))],
        Op::AtLeast | Op::Above => vec![Is::AtLeast(Value::Int(with))],
        Op::Below => vec![Is::Below(Value::Int(with))],
        Op::AtMost => with.checked_add(1).map(|it| Is::Below(Value::Int(it))).into_iter().collect(),
    }
}

fn of_time(op: Op, with: &[u8]) -> Vec<Is> {
    let Some(said) = std::str::from_utf8(with).ok().and_then(said) else { return vec![] };
    let (from, next) = match said {
        Said::Exactly(at) => (at, at + 1_000),
        Said::From(at) => (at, at),
    };
    let (from, next) = (Is::AtLeast(Value::Time(from)), Is::Below(Value::Time(next)));
    match (op, said) {
        // The beginning of a text equals no time; let SQLite find that out.
        (Op::Equal, Said::From(_)) => vec![],
        (Op::Equal, _) => vec![from, next],
        (Op::AtLeast | Op::Above, _) => vec![from],
        (Op::AtMost, _) => vec![next],
        (Op::Below, Said::Exactly(at) | Said::From(at)) => vec![Is::Below(Value::Time(at))],
    }
}

/// The text of a part of a key, if the value is one that a key can have.
pub(super) fn key_part(kind: FieldKind, with: ValueRef<'_>) -> Option<String> {
    let ValueRef::Text(text) = with else { return None };
    let text = std::str::from_utf8(text).ok()?;
    match kind {
        FieldKind::Text => Some(text.to_string()),
        FieldKind::Time => match said(text)? {
            Said::Exactly(at) => Some(schemas::time::rfc3339(at)),
            Said::From(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_come_back_from_text() {
        let plan = Plan {
            by_key: false,
            compared: vec![(1, Op::Equal), (12, Op::AtMost), (3, Op::Above)],
            used: vec![0, 5, 12],
        };
        assert_eq!(Plan::from_text(&plan.to_text()), Some(plan));
        let least = Plan { by_key: true, ..Plan::default() };
        assert_eq!(Plan::from_text(&least.to_text()), Some(least));
        assert_eq!(Plan::from_text("scan|?1|"), None);
    }

    /// Goal: a test never drops what SQLite would keep. Method: every operator over values near
    /// the bound, beside the comparison of the texts or numbers themselves.
    #[test]
    fn tests_keep_what_the_comparison_keeps() {
        let keeps = |op: Op, order: std::cmp::Ordering| match op {
            Op::Equal => order.is_eq(),
            Op::AtLeast => order.is_ge(),
            Op::Above => order.is_gt(),
            Op::AtMost => order.is_le(),
            Op::Below => order.is_lt(),
        };
        let day = schemas::time::parse_rfc3339("2026-01-31T00:00:00Z").unwrap();
        let times = [-1_000_000, -1_000, -1, 0, 1, 999, 1_000, 86_400_000_000].map(|it| day + it);
        let with = ["2026-01-31", "2026-01-31T00:00:00.000Z", "2026-01-31T00:00:00", "2026", "x"];
        for (op, _) in Op::ALL {
            for with in with {
                for at in times {
                    let order = super::super::columns::stamp(at).as_str().cmp(with);
                    let tests = tests(0, FieldKind::Time, op, ValueRef::Text(with.as_bytes()));
                    let passes = tests.iter().all(|it| it.is.passes(&Value::Time(at)));
                    assert!(passes || !keeps(op, order), "{op:?} {with} {at}");
                }
            }
            for (with, values) in [(5, [4, 5, 6]), (i64::MAX, [i64::MAX - 1, i64::MAX, 0])] {
                for it in values {
                    let tests = tests(0, FieldKind::Int, op, ValueRef::Integer(with));
                    let passes = tests.iter().all(|test| test.is.passes(&Value::Int(it)));
                    assert!(passes || !keeps(op, it.cmp(&with)), "{op:?} {with} {it}");
                }
            }
            for it in ["a", "b", "b\0", "ba", "c", ""] {
                let tests = tests(0, FieldKind::Text, op, ValueRef::Text(b"b"));
                let passes = tests.iter().all(|test| test.is.passes(&Value::Text(it.into())));
                assert!(passes || !keeps(op, it.cmp("b")), "{op:?} {it:?}");
            }
        }
    }
}
