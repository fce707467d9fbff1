//! docs/clickhouse.md, typed as a newcomer does.

use std::process::{Command, Stdio};

use crate::wait::{folder, until};

/// Goal: the ten lines work as they stand, and say what they should. Method: a shell, with the program
/// on its path and ports of its own; the lines themselves are the page's.
#[test]
fn the_ten_lines() {
    let root = env!("CARGO_MANIFEST_DIR");
    let page = std::fs::read_to_string(format!("{root}/docs/clickhouse.md")).unwrap();
    let lines = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 10, "ten lines");
    let place = folder("document");
    for name in ["scripts", "schemas"] {
        std::os::unix::fs::symlink(format!("{root}/{name}"), place.join(name)).unwrap();
    }
    // Only where it would meet another test's: the ports, and where the server's data are. And what a
    // newcomer does with his eyes: waits until there is something to see.
    let owner = std::process::id();
    let mut script = String::from(
        "set -eu\nset -m\nexport MILLSTREAM_CLICKHOUSE_DIR=$PWD/clickhouse-data MILLSTREAM_SERVE__LISTEN=127.0.0.1:0\n\
         export MILLSTREAM_DATA_DIR=$PWD/data\n",
    );
    for line in &lines {
        let line = match *line {
            "scripts/clickhouse start" => {
                format!("{line} --port auto --owner {owner}\nport=$(cat clickhouse-data/ports)")
            }
            it if it.contains("8123") => it.replace("8123", "'$port'"),
            it => it.to_string(),
        };
        script.push_str(&format!(
            "echo '# {}' >&2\n{line}\n",
            line.replace('\'', "").replace('\n', " ")
        ));
        if line.starts_with("millstream run") {
            script.push_str("for look in $(seq 600); do [ \"$(scripts/clickhouse sql 'SELECT count() FROM millstream.orders FORMAT TSV')\" -gt 0 ] && break; sleep 0.2; done\n");
        }
    }
    script.push_str("scripts/clickhouse stop\n");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_millstream")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&place)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    for said in ["ClickHouse 25.8", "0008_top_customers", "delivered", "equal"] {
        assert!(out.contains(said), "{said:?} is not in what it said:\n{out}\n{err}");
    }
    assert!(!out.contains("NOT EQUAL"), "{out}");
    until("the server is gone", || {
        let there = Command::new("bash")
            .args(["-c", "scripts/clickhouse status --dir clickhouse-data"])
            .current_dir(&place)
            .stdout(Stdio::null())
            .status();
        (!there.unwrap().success()).then_some(())
    });
}
