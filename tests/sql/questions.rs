//! Goal: the ten questions of `docs/sql.md` have right answers. Method: the text of the document
//! as it stands, over weeks of generated events, beside plain loops over the events
//! (`answers.rs`); on one worker and on three.

use serde_json::Value;

use crate::answers::Answers;
use crate::asking::{Asked, TENANT, events};
use crate::documents::questions;

/// Equal, numbers within what rounding leaves.
fn same(found: &Value, expected: &Value) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
        _ => found == expected,
    }
}

#[test]
fn ten_questions_are_answered() {
    let events = events(11, 24_000);
    let now = (events.iter().map(|it| it.time).max().unwrap() / 1_000) as u64 + 1;
    let answers = Answers::of(&events, TENANT, now as i64 * 1_000);
    let questions = questions();
    assert_eq!(questions.len(), 10);
    for workers in [1, 3] {
        let asked = Asked::of(&events, now, workers);
        for (n, (title, sql)) in questions.iter().enumerate() {
            let (columns, rows) = asked.rows(sql);
            let expected = answers.answer(n + 1);
            assert!(!expected.is_empty(), "{title}: nothing to compare");
            assert_eq!(rows.len(), expected.len(), "{title}: {rows:?}\n{expected:?}");
            for (row, expected) in rows.iter().zip(&expected) {
                let fits = columns.len() == expected.len()
                    && row.iter().zip(expected).all(|(a, b)| same(a, b));
                assert!(fits, "{title}:\n{columns:?}\nfound    {row:?}\nexpected {expected:?}");
            }
        }
        let weeks = answers.answer(3).len();
        assert!(weeks >= 3, "{weeks} weeks: the percentiles by week are of one");
    }
}
