//! Functions of texts whose cost in SQLite grows with the product of two lengths: a single call
//! could take minutes, and nobody looks at the time inside of one. These take as long as their texts
//! are long, and each call looks.
//!
//! # Meaning
//! As SQLite's: `trim`, `ltrim`, `rtrim` take off characters of the second text, `instr` counts
//! characters from 1 and is 0 where there is none, `replace` replaces every occurrence. Null where an
//! argument is; numbers are their texts.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};

use super::hold::Hold;

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

/// Puts them in the place of SQLite's.
pub(super) fn add(connection: &Connection, hold: &Arc<Hold>) -> Result<()> {
    for (name, start, end) in [("trim", true, true), ("ltrim", true, false), ("rtrim", false, true)]
    {
        let hold = Arc::clone(hold);
        connection.create_scalar_function(name, 2, FLAGS, move |it| {
            let Some([text, set]) = texts(it, &hold)? else { return Ok(None) };
            Ok(Some(trimmed(&text, &set, (start, end)).to_string()))
        })?;
    }
    let here = Arc::clone(hold);
    connection.create_scalar_function("instr", 2, FLAGS, move |it| {
        if let (ValueRef::Blob(bytes), ValueRef::Blob(part)) = (it.get_raw(0), it.get_raw(1)) {
            here.tend().map_err(|_| stopped())?;
            let at = memchr::memmem::find(bytes, part);
            return Ok(Some(at.map_or(0, |at| at as i64 + 1)));
        }
        let Some([text, part]) = texts(it, &here)? else { return Ok(None) };
        Ok(Some(place(&text, &part)))
    })?;
    let hold = Arc::clone(hold);
    connection.create_scalar_function("replace", 3, FLAGS, move |it| {
        let Some([text, old, new]) = texts(it, &hold)? else { return Ok(None) };
        replaced(&text, &old, &new).map(Some)
    })
}

/// The arguments as texts; none where one of them is null.
fn texts<'c, const N: usize>(
    it: &'c Context<'_>,
    hold: &Hold,
) -> Result<Option<[Cow<'c, str>; N]>> {
    hold.tend().map_err(|_| stopped())?;
    let mut all = [const { Cow::Borrowed("") }; N];
    for (n, into) in all.iter_mut().enumerate() {
        *into = match it.get_raw(n) {
            ValueRef::Null => return Ok(None),
            ValueRef::Integer(it) => it.to_string().into(),
            ValueRef::Real(it) => format!("{it:?}").into(),
            ValueRef::Text(it) | ValueRef::Blob(it) => String::from_utf8_lossy(it),
        };
    }
    Ok(Some(all))
}

fn stopped() -> Error {
    Error::UserFunctionError("stopped".into())
}

fn trimmed<'t>(text: &'t str, set: &str, (start, end): (bool, bool)) -> &'t str {
    let set: HashSet<char> = set.chars().collect();
    let is_in = |it: char| set.contains(&it);
    let text = if start { text.trim_start_matches(is_in) } else { text };
    if end { text.trim_end_matches(is_in) } else { text }
}

/// Where the part begins, in characters from 1; 0: nowhere.
fn place(text: &str, part: &str) -> i64 {
    let at = memchr::memmem::find(text.as_bytes(), part.as_bytes());
    at.map_or(0, |at| text[..at].chars().count() as i64 + 1)
}

fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    if old.is_empty() {
        return Ok(text.to_string());
    }
    let (mut out, mut from) = (String::new(), 0);
    for at in memchr::memmem::find_iter(text.as_bytes(), old.as_bytes()) {
        out.push_str(&text[from..at]);
        out.push_str(new);
        from = at + old.len();
        if out.len() > super::VALUE_BYTES as usize {
            return Err(Error::UserFunctionError("string or blob too big".into()));
        }
    }
    out.push_str(&text[from..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what they say is what SQLite says. Method: both, over texts that are short, empty, of
    /// several bytes a character, and overlap themselves.
    #[test]
    fn as_sqlite_says() {
        let connection = Connection::open_in_memory().unwrap();
        let theirs = |sql: &str, all: &[&str]| -> rusqlite::types::Value {
            connection.query_row(sql, rusqlite::params_from_iter(all), |it| it.get(0)).unwrap()
        };
        let texts = ["", "a", "aa", "aaa", "ab", "ba", "abab", "äöä", "ä", "xäx", "  a ", "日本日"];
        for text in texts {
            for other in texts {
                let two = [text, other];
                let trims =
                    [("trim", (true, true)), ("ltrim", (true, false)), ("rtrim", (false, true))];
                for (name, ends) in trims {
                    let ours = trimmed(text, other, ends).to_string();
                    assert_eq!(
                        theirs(&format!("SELECT {name}(?, ?)"), &two),
                        ours.into(),
                        "{two:?}"
                    );
                }
                assert_eq!(
                    theirs("SELECT instr(?, ?)", &two),
                    place(text, other).into(),
                    "{two:?}"
                );
                for new in ["", "a", "bb", "ä"] {
                    let three = [text, other, new];
                    let ours = replaced(text, other, new).unwrap();
                    assert_eq!(theirs("SELECT replace(?, ?, ?)", &three), ours.into(), "{three:?}");
                }
            }
        }
        let long = "a".repeat(super::super::VALUE_BYTES as usize);
        assert!(replaced(&long, "a", "aa").is_err());
    }
}
