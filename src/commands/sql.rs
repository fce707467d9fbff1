//! `millstream sql`: statements over the live views of the running process.

use std::io::Read;

use serde_json::{Value, json};

use super::Problems;
use super::ask::{self, Asking};
use super::chosen::Chosen;
use super::out::{Out, Reader};
use super::typed::sql::{Format, Sql};
use crate::report::Report;

/// Longest statement that is read from standard input; the process has a limit of its own below.
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// Asks, and prints.
pub fn main(it: &Sql, chosen: &Chosen) -> Result<(), Problems> {
    let short = [("--data-dir", "data_dir", it.data_dir.clone())];
    let settings = chosen.settings(&short, &[])?;
    asked(it, &settings.data_dir).map_err(|it| vec![it])
}

fn asked(it: &Sql, data_dir: &std::path::Path) -> Result<(), Report> {
    let statement = match it.statement.as_str() {
        "-" => from_input()?,
        text => text.to_string(),
    };
    let peer = ask::running(data_dir).ok_or_else(|| Report {
        code: "commands/not-running",
        what: "could not ask: no process runs with this data folder".into(),
        at: vec![("folder", data_dir.display().to_string())],
        why: "SQL is over the live views, which only a running process has".into(),
        effect: "nothing was read or changed".into(),
        fix: "start one (`millstream run`), or name its folder with --data-dir".into(),
    })?;
    let params: Vec<Value> = it.params.iter().map(|it| param(it)).collect();
    let format = match it.format {
        Format::Table | Format::Json => "json",
        Format::Jsonl => "jsonl",
        Format::Csv => "csv",
    };
    let query = [("format", Some(format.to_string())), ("tenant", it.tenant.clone())];
    let mut headers = String::new();
    if let Some(position) = it.at_least {
        headers = format!("Millstream-At-Least: {position}\r\n");
    }
    let body = json!({"sql": statement, "params": params}).to_string();
    let answer = peer.ask(&Asking {
        path: &format!("/v1/sql{}", ask::query(&query)),
        headers: &headers,
        body: body.as_bytes(),
    })?;
    let mut out = Out::default();
    if it.format != Format::Table {
        let text = String::from_utf8_lossy(&answer);
        out.text(&text)?;
        if !text.is_empty() && !text.ends_with('\n') {
            out.line("")?;
        }
        return out.end();
    }
    let answer: Value =
        serde_json::from_slice(&answer).map_err(|why| peer.told("/v1/sql", &why.to_string()))?;
    for result in answer["results"].as_array().into_iter().flatten() {
        for line in table(result) {
            if out.line(line)? == Reader::Gone {
                return Ok(());
            }
        }
        out.line("")?;
    }
    let as_of = &answer["as_of"];
    let time = as_of["time"].as_str().unwrap_or("");
    out.line(format!("{} rows as of {time} (epoch {})", answer["n_rows"], as_of["epoch"]))?;
    out.end()
}

fn from_input() -> Result<String, Report> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_string(&mut text);
    match read {
        Ok(_) => Ok(text),
        Err(why) => Err(Report {
            code: "commands/input",
            what: "could not read the statement".into(),
            at: vec![("from", "standard input".into())],
            why: why.to_string(),
            effect: "nothing was asked".into(),
            fix: "send text in UTF-8".into(),
        }),
    }
}

/// Null, a number, true, false or quoted text as JSON has them; anything else is text as it is.
fn param(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(it @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => it,
        _ => json!(text),
    }
}

/// A result in columns: numbers to the right.
fn table(result: &Value) -> Vec<String> {
    let texts = |it: &Value| -> Vec<String> {
        it.as_array().map(|it| it.iter().map(cell).collect()).unwrap_or_default()
    };
    let columns = texts(&result["columns"]);
    let rows: Vec<&Value> = result["rows"].as_array().into_iter().flatten().collect();
    let cells: Vec<Vec<String>> = rows.iter().map(|it| texts(it)).collect();
    let width = |n: usize| {
        let all = cells.iter().filter_map(|it| it.get(n)).chain(columns.get(n));
        all.map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let is_number = |n: usize| {
        let mut values = rows.iter().map(|it| &it[n]).filter(|it| !it.is_null()).peekable();
        values.peek().is_some() && values.all(Value::is_number)
    };
    let right: Vec<bool> = (0..columns.len()).map(is_number).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).zip(&right).map(|((it, width), right)| {
            if *right { format!("{it:>width$}") } else { format!("{it:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let rule: Vec<String> = widths.iter().map(|it| "-".repeat(*it)).collect();
    let head = [line(&columns), line(&rule)];
    head.into_iter().chain(cells.iter().map(|it| line(it))).collect()
}

/// A value in one line; what would steer a terminal is shown, not sent.
fn cell(it: &Value) -> String {
    match it {
        Value::Null => "NULL".into(),
        Value::String(it) => it
            .chars()
            .flat_map(|c| {
                let steers = c.is_control()
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
                let escaped: String = if steers { c.escape_default().collect() } else { c.into() };
                escaped.chars().collect::<Vec<_>>()
            })
            .collect(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_columns() {
        let result = json!({"columns": ["status", "n"],
                            "rows": [["paid", 5], ["in\nproduction\u{1b}[2J", 1200], [null, null]]});
        let found = table(&result);
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|it| it.chars().count() == found[1].len()), "{found:?}");
        assert!(found[3].starts_with("in\\nproduction\\u{1b}[2J"), "{found:?}");
        assert!(found[2].ends_with("   5"), "{found:?}");
    }

    #[test]
    fn parameters_are_json_or_text() {
        let check = |text: &str, expected: Value| assert_eq!(param(text), expected, "{text}");
        check("5", json!(5));
        check("\"5\"", json!("5"));
        check("null", Value::Null);
        check("O-1", json!("O-1"));
        check("[1]", json!("[1]"));
        check("", json!(""));
    }
}
