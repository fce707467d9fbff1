//! What a statement may do: read our tables, and compute.
//!
//! # Invariants
//! Everything that is not named here is refused: an action, a table or a function that a later
//! SQLite brings is refused until somebody has looked at it. SQLite asks while it prepares a
//! statement, so nothing of a refused one has run. `tests/sql.rs` has the attempts.
//!
//! Deliberately absent: anything that writes, attaches or loads; every pragma, also as a table;
//! the schema's own tables; `randomblob` and `zeroblob`, which only make memory; `json_patch`, whose
//! single call can take minutes. (Others of that kind are made anew in `texts`.)

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Tables of SQLite's own that only take JSON apart.
const TAKING_APART: &[&str] = &["json_each", "json_tree"];

/// How the names of what is not a view's begin (such as `pragma_table_info` or `sqlite_schema`).
const NOT_OURS: &[&str] =
    &["sqlite_", "pragma_", "dbstat", "fts", "rtree", "bytecode", "tables_used"];

/// Functions of SQLite's that compute of their arguments and nothing else (the dates also of the
/// system's clock, where somebody writes 'now').
#[rustfmt::skip]
const FUNCTIONS: &[&str] = &[
    "as_of",
    // of one value
    "abs", "char", "coalesce", "concat", "concat_ws", "format", "glob", "hex", "if", "ifnull",
    "iif", "instr", "length", "like", "likelihood", "likely", "lower", "ltrim", "max", "min",
    "nullif", "octet_length", "printf", "quote", "random", "replace", "round", "rtrim", "sign",
    "soundex", "substr", "substring", "trim", "typeof", "unhex", "unicode", "unistr",
    "unistr_quote", "unlikely", "upper",
    // dates
    "date", "time", "datetime", "julianday", "strftime", "unixepoch", "timediff", "current_date",
    "current_time", "current_timestamp",
    // of many rows
    "avg", "count", "group_concat", "string_agg", "sum", "total", "median", "percentile",
    "percentile_cont", "percentile_disc",
    // over windows
    "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead",
    "first_value", "last_value", "nth_value",
    // JSON
    "->", "->>", "json", "json_array", "json_array_insert", "json_array_length", "json_extract",
    "json_error_position", "json_group_array", "json_group_object", "json_insert", "json_object",
    "json_pretty", "json_quote", "json_remove", "json_replace", "json_set",
    "json_type", "json_valid",
    // numbers, where they are built in
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "ceiling", "cos", "cosh",
    "degrees", "exp", "floor", "ln", "log", "log10", "log2", "mod", "pi", "pow", "power",
    "radians", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
];

/// Whether an action may be, and if not, which it is, in words.
pub(super) fn decide(it: &AuthContext<'_>, tables: &[&str]) -> Result<(), String> {
    let known = |name: &str, all: &[&str]| all.iter().any(|it| it.eq_ignore_ascii_case(name));
    match it.action {
        AuthAction::Select | AuthAction::Recursive => Ok(()),
        AuthAction::Function { function_name } if known(function_name, FUNCTIONS) => Ok(()),
        AuthAction::Function { function_name } => Err(format!("the function {function_name}()")),
        AuthAction::Read { table_name, .. }
            if known(table_name, tables) || known(table_name, TAKING_APART) =>
        {
            Ok(())
        }
        // A part of the statement itself (WITH, a subquery) of which only the rows are counted.
        AuthAction::Read { table_name, column_name: "" }
            if !NOT_OURS.iter().any(|it| begins(table_name, it)) =>
        {
            Ok(())
        }
        AuthAction::Read { table_name, .. } => Err(format!("reading {table_name}")),
        AuthAction::Pragma { pragma_name, .. } => Err(format!("PRAGMA {pragma_name}")),
        AuthAction::Attach { .. } => Err("ATTACH (or VACUUM)".into()),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Err("a transaction of its own".into())
        }
        ref other => Err(words(other)),
    }
}

fn begins(name: &str, with: &str) -> bool {
    name.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with))
}

/// `CreateTable { .. }` as `create table`.
fn words(action: &AuthAction<'_>) -> String {
    let name = format!("{action:?}");
    let name = name.split([' ', '{', '(']).next().unwrap_or("");
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_uppercase());
    }
    words
}

/// As SQLite is told.
pub(super) fn told(decision: &Result<(), String>) -> Authorization {
    if decision.is_ok() { Authorization::Allow } else { Authorization::Deny }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_told_in_words() {
        assert_eq!(words(&AuthAction::CreateTable { table_name: "x" }), "CREATE TABLE");
        assert_eq!(words(&AuthAction::Reindex { index_name: "x" }), "REINDEX");
    }
}
