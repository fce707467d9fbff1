//! Rows on their way out: as JSON, as JSON lines, as CSV.
//!
//! # Invariants
//! - Names of columns are made unique (`n`, `n_2`): a JSON object cannot say one twice.
//! - In CSV a text that a spreadsheet would take for a formula ([`is_formula`]) has an apostrophe before
//!   it. Numbers stay as they are: they are numbers.
//! - What is not finite is null in JSON; bytes are hexadecimal text.

use rusqlite::types::ValueRef;
use serde_json::{Value, json};

use crate::messages::sql::SqlFormat;

/// The rows of one request, as they are written.
pub(super) struct Out {
    format: SqlFormat,
    pub(super) bytes: Vec<u8>,
    pub(super) n_rows: u64,
    /// Of the statement that is written.
    columns: Vec<String>,
    n_results: usize,
    rows_of_result: u64,
}

impl Out {
    pub(super) fn new(format: SqlFormat) -> Out {
        let bytes = if format == SqlFormat::Json { vec![b'['] } else { Vec::new() };
        Out { format, bytes, n_rows: 0, columns: Vec::new(), n_results: 0, rows_of_result: 0 }
    }

    /// Begins the rows of a statement.
    pub(super) fn begin<'c>(&mut self, columns: impl Iterator<Item = &'c str>) {
        self.columns = unique(columns);
        self.rows_of_result = 0;
        match self.format {
            SqlFormat::Json => {
                if self.n_results > 0 {
                    self.bytes.push(b',');
                }
                let columns = json!(self.columns);
                self.text(&format!("{{\"columns\":{columns},\"rows\":["));
            }
            SqlFormat::JsonLines => {}
            SqlFormat::Csv => {
                let columns = std::mem::take(&mut self.columns);
                for (n, it) in columns.iter().enumerate() {
                    self.separate(n);
                    self.csv_text(it);
                }
                self.text("\r\n");
                self.columns = columns;
            }
        }
        self.n_results += 1;
    }

    /// One row: one value per column.
    pub(super) fn row<'v>(
        &mut self,
        mut value: impl FnMut(usize) -> rusqlite::Result<ValueRef<'v>>,
    ) -> rusqlite::Result<()> {
        if self.format == SqlFormat::Json && self.rows_of_result > 0 {
            self.bytes.push(b',');
        }
        let (opens, closes) = match self.format {
            SqlFormat::Json => ("[", "]"),
            SqlFormat::JsonLines => ("{", "}\n"),
            SqlFormat::Csv => ("", "\r\n"),
        };
        self.text(opens);
        for n in 0..self.columns.len() {
            self.separate(n);
            let it = value(n)?;
            match self.format {
                SqlFormat::Json => self.json(it),
                SqlFormat::JsonLines => {
                    let name = json!(self.columns[n]);
                    self.text(&format!("{name}:"));
                    self.json(it);
                }
                SqlFormat::Csv => self.csv(it),
            }
        }
        self.text(closes);
        (self.n_rows, self.rows_of_result) = (self.n_rows + 1, self.rows_of_result + 1);
        Ok(())
    }

    /// Ends the rows of a statement.
    pub(super) fn end(&mut self) {
        if self.format == SqlFormat::Json {
            let n = self.rows_of_result;
            self.text(&format!("],\"n_rows\":{n}}}"));
        }
    }

    /// All of it.
    pub(super) fn whole(mut self) -> Vec<u8> {
        if self.format == SqlFormat::Json {
            self.bytes.push(b']');
        }
        self.bytes
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn separate(&mut self, n: usize) {
        if n > 0 {
            self.bytes.push(b',');
        }
    }

    fn json(&mut self, it: ValueRef<'_>) {
        let value = match it {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(it) => return self.text(&it.to_string()),
            ValueRef::Real(it) => json!(it),
            ValueRef::Text(it) => json!(String::from_utf8_lossy(it)),
            ValueRef::Blob(it) => json!(hex(it)),
        };
        self.text(&value.to_string());
    }

    fn csv(&mut self, it: ValueRef<'_>) {
        match it {
            ValueRef::Null => {}
            ValueRef::Integer(it) => self.text(&it.to_string()),
            ValueRef::Real(it) => self.text(&json!(it).to_string()),
            ValueRef::Text(it) => self.csv_text(&String::from_utf8_lossy(it)),
            ValueRef::Blob(it) => self.csv_text(&hex(it)),
        }
    }

    fn csv_text(&mut self, text: &str) {
        let guard = if is_formula(text) { "'" } else { "" };
        // Empty text in quotes, so that it is not null.
        if text.is_empty() || text.contains(['"', ',', '\r', '\n']) {
            self.text(&format!("\"{guard}{}\"", text.replace('"', "\"\"")));
        } else {
            self.text(guard);
            self.text(text);
        }
    }
}

/// Whether a spreadsheet may take it for a formula: it begins with `=`, `+`, `-` or `@`, also as wide
/// characters, and behind what a spreadsheet passes over; or with a control character.
fn is_formula(text: &str) -> bool {
    let skipped = |it: char| it.is_control() || it.is_whitespace() || it == '\u{feff}';
    let begins = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    text.starts_with(char::is_control) || text.trim_start_matches(skipped).starts_with(begins)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02X}")).collect()
}

fn unique<'c>(columns: impl Iterator<Item = &'c str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for it in columns {
        let mut name = it.to_string();
        let mut n = 2;
        while names.contains(&name) {
            name = format!("{it}_{n}");
            n += 1;
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: SqlFormat, columns: &[&str], rows: &[Vec<ValueRef<'static>>]) -> String {
        let mut out = Out::new(format);
        out.begin(columns.iter().copied());
        for row in rows {
            out.row(|n| Ok(row[n])).unwrap();
        }
        out.end();
        String::from_utf8(out.whole()).unwrap()
    }

    #[test]
    fn rows_in_each_format() {
        let text = |it: &'static str| ValueRef::Text(it.as_bytes());
        let rows = [
            vec![ValueRef::Integer(i64::MIN), text("a \"b\", c"), ValueRef::Null],
            vec![ValueRef::Real(1.5), text(""), ValueRef::Blob(b"\x01\xff")],
        ];
        assert_eq!(
            written(SqlFormat::Json, &["n", "t", "n"], &rows),
            r#"[{"columns":["n","t","n_2"],"rows":[[-9223372036854775808,"a \"b\", c",null],[1.5,"","01FF"]],"n_rows":2}]"#
        );
        assert_eq!(
            written(SqlFormat::JsonLines, &["n", "t", "n"], &rows[..1]),
            "{\"n\":-9223372036854775808,\"t\":\"a \\\"b\\\", c\",\"n_2\":null}\n"
        );
        assert_eq!(
            written(SqlFormat::Csv, &["n", "t", "x"], &rows),
            "n,t,x\r\n-9223372036854775808,\"a \"\"b\"\", c\",\r\n1.5,\"\",01FF\r\n"
        );
    }

    /// Goal: nothing that a customer writes is run by a spreadsheet. Method: what begins formulas.
    #[test]
    fn formulas_are_guarded_in_csv() {
        let controls = ["\t", "\r", "\n", "\0", "\u{1}", "\u{7f}", "\u{85}"];
        let plain = ["=", "+", "-", "@", " =", "\0=", "\u{feff}=", "\u{ff1d}", "\u{ff0b}"];
        for begin in controls.iter().chain(&plain) {
            let bad: &'static str = format!("{begin}cmd|' /C calc'!A0").leak();
            let line = written(SqlFormat::Csv, &[bad], &[vec![ValueRef::Text(bad.as_bytes())]]);
            for cell in line.split("\r\n").filter(|it| it.contains("cmd")) {
                assert!(cell.trim_start_matches('"').starts_with('\''), "{line:?}");
            }
        }
        let plain = written(SqlFormat::Csv, &["n"], &[vec![ValueRef::Integer(-5)]]);
        assert_eq!(plain, "n\r\n-5\r\n");
    }
}
