//! Goal: a process under `run --supervise` comes back when it is killed or hangs, each time as soon
//! as the first; a record that brings it down is put aside, alone, and the rest goes on; parent
//! and process end together. Method: the real binary; its process is killed, stopped, and sent a
//! record that panics (feature `crash`).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::load::*;
use crate::process::{Folder, command};
use crate::shim;

/// The parent, ended with the test.
struct Parent(Child);

impl Parent {
    fn signal(&self, name: &str) {
        signal(name, self.0.id().into());
    }
    fn end(&mut self) -> i32 {
        self.0.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // Ended already, in a test that passes; its process ends with it.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn supervise(folder: &Folder) -> Parent {
    let data = folder.path("data");
    let mut run = command(&["run", "--supervise", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    run.args(["--set", "state.interval=50ms", "--set", "engine.stall_after=5s"]);
    run.env("LD_PRELOAD", shim::library()).env("SHIM_HANGS", folder.path("hangs"));
    // What it says when it goes down again and again is more than a pipe holds.
    let told = std::fs::File::create(folder.0.join("told")).unwrap();
    run.stdout(Stdio::null()).stderr(told);
    Parent(run.spawn().unwrap())
}

/// Address and number of the process that answers, once it is not this one.
fn answers(folder: &Folder, parent: &mut Parent, not: u64) -> (String, u64) {
    loop {
        if let Some(status) = parent.0.try_wait().unwrap() {
            panic!("the parent has ended: {status}");
        }
        let address = std::fs::read_to_string(folder.0.join("data/admin.addr"));
        let asked = address.ok().and_then(|it| {
            let address = it.trim().to_string();
            // It may go between the two.
            let (status, answer) = ask(
                &address,
                "GET /v1/admin/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            )?;
            let process = answer["result"]["process"].as_u64()?;
            (status == 200 && process != not && answer["result"]["ready"] == true)
                .then_some((address, process))
        });
        match asked {
            Some(it) => return it,
            None => std::thread::park_timeout(Duration::from_millis(10)),
        }
    }
}

fn signal(name: &str, process: u64) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

fn metric(address: &str, name: &str) -> f64 {
    let (_, text) = crate::process::get(address, "/metrics");
    let line =
        text.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    line.trim().parse().unwrap()
}

/// Facts of the embedded log about ourselves.
fn recovered(data: &str) -> Vec<Value> {
    let words = ["log", "show", "--limit", "1000", "--json", "--data-dir", data];
    let (code, out, err) = crate::process::run(&words);
    assert_eq!(code, 0, "{err}");
    let texts = out.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    let events = texts.filter(|it| it["kind"] == "fact");
    events.map(|it| serde_json::from_str(it["text"].as_str().unwrap()).unwrap()).collect()
}

#[test]
fn killed_or_stopped_it_comes_back() {
    let folder = Folder::new("supervised");
    let mut parent = supervise(&folder);
    let (mut address, mut process) = answers(&folder, &mut parent, 0);
    for n in 0..4 {
        assert_eq!(post(&address, n * BATCH, "&wait=applied").unwrap().0, 202);
        // The last time it only stops answering.
        signal(if n == 3 { "-STOP" } else { "-KILL" }, process);
        (address, process) = answers(&folder, &mut parent, process);
        check(&address, (n + 1) * BATCH);
        while metric(&address, "millstream_recoveries_total") < (n + 1) as f64 {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        assert!(metric(&address, "millstream_recovery_seconds") > 0.0);
    }
    let facts = loop {
        let facts = recovered(&folder.path("data"));
        if facts.len() == 4 {
            break facts;
        }
        assert!(facts.len() < 4, "{facts:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    };
    for (n, fact) in facts.iter().enumerate() {
        assert_eq!(fact["type"], "system.recovered", "{fact}");
        assert_eq!(fact["data"]["restarts"], n + 1, "{fact}");
    }
    let ledger = caught_up(&address, 4 * BATCH + 4);
    assert_eq!((&ledger["applied"], &ledger["skipped"]), (&(4 * BATCH).into(), &4.into()));
    // Told to end, both do.
    parent.signal("-TERM");
    assert_eq!(parent.end(), 0);
    let err = std::fs::read_to_string(folder.0.join("told")).unwrap();
    assert!(get(&address, "/health/live").is_none(), "the process lives on");
    assert!(err.contains("nobody looked at its frontier any more"), "{err}");
}

/// Goal: a process that lives and answers, but whose workers stand, is replaced. Method: its worker
/// threads are stopped in the midst of what they do, and nothing else of it.
#[test]
fn a_frontier_that_stands_is_a_hang() {
    let folder = Folder::new("stands");
    let mut parent = supervise(&folder);
    let (address, process) = answers(&folder, &mut parent, 0);
    assert_eq!(post(&address, 0, "&wait=applied").unwrap().0, 202);
    let flag = folder.0.join(format!("hangs.{process}"));
    std::fs::write(&flag, "").unwrap();
    // It is taken all the same, and acknowledged.
    assert_eq!(post(&address, BATCH, "").unwrap().0, 202);
    assert_eq!(get(&address, "/health/live").unwrap().0, 200, "it lives");
    let (address, _) = answers(&folder, &mut parent, process);
    assert_eq!(post(&address, 2 * BATCH, "&wait=applied").unwrap().0, 202);
    check(&address, 3 * BATCH);
    parent.signal("-TERM");
    assert_eq!(parent.end(), 0);
    let err = std::fs::read_to_string(folder.0.join("told")).unwrap();
    assert!(err.contains("the frontier stood although work waited"), "{err}");
}

#[test]
fn a_process_ends_with_its_parent() {
    let folder = Folder::new("orphan");
    let mut parent = supervise(&folder);
    let (_, process) = answers(&folder, &mut parent, 0);
    parent.signal("-KILL");
    parent.end();
    let lives = || Path::new(&format!("/proc/{process}/exe")).read_link().is_ok();
    while lives() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_record_that_brings_it_down_is_put_aside() {
    let folder = Folder::new("aside");
    let mut parent = supervise(&folder);
    let (address, process) = answers(&folder, &mut parent, 0);
    // Before it, in its midst, and after it.
    assert_eq!(post(&address, 0, "&wait=applied").unwrap().0, 202);
    let (n_events, bad) = (40 * BATCH, 17 * BATCH + 31);
    let mut texts: Vec<String> = (BATCH..n_events).map(event).collect();
    // Tenants differ by batch, and a request is one tenant's: sent as single events would take
    // long, so all that are sent together are of one.
    texts.retain(|it| it.contains(r#""tenant":"default""#));
    let marked = event(bad).replace(&format!(r#""e{bad}""#), r#""brings-the-process-down""#);
    assert!(texts.len() > 500 && marked.contains(r#""tenant":"default""#), "{marked}");
    let at = texts.len() / 3;
    texts.insert(at, marked);
    let sent = texts.len() as u64;
    let body = format!("[{}]", texts.join(","));
    let head = "host: a\r\nconnection: close\r\ncontent-type: application/cloudevents-batch+json";
    let request = format!(
        "POST /v1/events HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // It may be down before the answer is on its way; then it is in the log all the same, or is
    // sent again.
    let answered = ask(&address, &request);
    assert!(answered.is_none_or(|it| it.0 == 202));
    let mut at_last = process;
    let line = loop {
        let (address, process) = answers(&folder, &mut parent, 0);
        at_last = at_last.max(process);
        let Some((_, ledger)) = get(&address, "/v1/ledger") else { continue };
        let line = ledger["partitions"][0].clone();
        if line["rejected"] == 1 && line["applied"].as_u64() >= Some(BATCH + sent - 1) {
            break line;
        }
        if line["applied"].as_u64() == Some(BATCH) && line["lag"] == 0 {
            assert_eq!(ask(&address, &request).map(|it| it.0).unwrap_or(202), 202);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    assert_ne!(at_last, process, "it never went down");
    let (address, _) = answers(&folder, &mut parent, 0);
    let (_, rejects) = get(&address, "/v1/rejects?reason=engine/brought-down").unwrap();
    let rejects = rejects["rejects"].as_array().unwrap();
    assert_eq!(rejects.len(), 1, "{rejects:?}");
    assert!(rejects[0].to_string().contains("brings-the-process-down"), "{rejects:?}");
    assert!(rejects[0].to_string().contains("a marked record"), "{rejects:?}");
    assert_eq!(line["applied"].as_u64(), Some(BATCH + sent - 1), "{line}");
    parent.signal("-TERM");
    assert_eq!(parent.end(), 0);
}
