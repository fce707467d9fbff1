//! `millstream sql`: what a person types and sees.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::process::{Folder, Process, command, run, told};

/// Goal: statements are asked of the running process, and told in every format; what is wrong is
/// told with its code. Method: a demonstration, asked as a person would.
#[test]
fn statements_are_asked_and_told() {
    let folder = Folder::new("sql");
    let data = folder.path("data");
    let (code, _, err) = run(&["sql", "SELECT 1", "--data-dir", &data]);
    assert!(code == 1 && err.contains("error[commands/not-running]"), "{err}");

    let mut demo =
        Process::start(&["demo", "--rate", "500", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    demo.until("serves http://");
    demo.until("events/s");
    let sql = |words: &[&str]| {
        let more = ["--data-dir", &data, "--tenant", "acme"];
        run(&[&["sql"], words, more.as_slice()].concat())
    };
    let (code, out, err) =
        sql(&["SELECT status, count(*) AS n FROM orders GROUP BY status ORDER BY status"]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("status") && lines[0].ends_with('n'), "{out}");
    assert!(lines[1].starts_with("---") && out.contains("rows as of 20"), "{out}");

    let one = "SELECT customer, ? AS p, NULL AS z FROM customers WHERE customer = ?";
    let words = [one, "-p", "-5", "--param", "C-1", "--format"];
    let (_, out, err) = sql(&[words.as_slice(), &["csv"]].concat());
    assert_eq!(out, "customer,p,z\r\nC-1,-5,\r\n", "{err}");
    let (_, out, err) = sql(&[words.as_slice(), &["jsonl"]].concat());
    assert_eq!(out, "{\"customer\":\"C-1\",\"p\":-5,\"z\":null}\n", "{err}");
    let (_, out, err) = sql(&[words.as_slice(), &["json"]].concat());
    let answer: Value = serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {err}"));
    assert!(answer["as_of"]["epoch"].as_u64() > Some(0), "{answer}");
    assert_eq!(answer["results"][0]["rows"], serde_json::json!([["C-1", -5, null]]));

    // From standard input, with line ends.
    let mut asked = command(&["sql", "-", "--data-dir", &data, "--format", "csv"]);
    let mut child =
        asked.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 'two\nlines'\n  AS t;\n").unwrap();
    let (code, out, err) = told(child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (0, "t\r\n\"two\nlines\"\r\n"), "{err}");

    for (wrong, words) in [
        ("SELECT stauts FROM orders", "sql/statement"),
        ("DELETE FROM orders", "sql/not-allowed"),
        ("SELECT ?", "sql/parameters"),
    ] {
        let (code, out, err) = sql(&[wrong]);
        assert!(code == 1 && out.is_empty(), "{wrong}: {out}");
        assert!(err.contains("error[commands/refused]") && err.contains(words), "{err}");
    }
    demo.signal("-TERM");
    let (code, _, err) = demo.end();
    assert_eq!(code, 0, "{err}");
}
