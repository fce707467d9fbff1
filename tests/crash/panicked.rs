//! Goal: a panic ends the process with its report, never half dead, with no parent beside it.
//! Method: the real binary, sent a record that panics where it is decoded (feature `crash`).

use std::net::TcpStream;

use crate::load::{BATCH, ask, event};
use crate::process::{Folder, Process, command};

#[test]
fn a_panic_ends_the_process_with_its_report() {
    let folder = Folder::new("panicked");
    let data = folder.path("data");
    let mut run = command(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    let mut process = Process::spawn(&mut run);
    let address = process.address(&folder.0.join("data"));
    let id = format!(r#""e{BATCH}""#);
    let marked = event(BATCH).replace(&id, r#""brings-the-process-down""#);
    let head = "host: a\r\nconnection: close\r\ncontent-type: application/cloudevents+json";
    let request = format!(
        "POST /v1/events HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{marked}",
        marked.len()
    );
    // It may be down before the answer is on its way.
    assert!(marked.contains("brings") && marked.contains(r#""default""#), "{marked}");
    assert!(ask(&address, &request).is_none_or(|it| it.0 == 202));
    let (code, _, told) = process.end();
    assert_eq!(code, -1, "by a signal (abort): {told}");
    for words in ["error[run/panic]", "thread", "timely:work-", "a marked record"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(told.contains("src/engine/hook.rs:"), "the place: {told}");
    assert!(TcpStream::connect(&address).is_err(), "the port is closed");
}
