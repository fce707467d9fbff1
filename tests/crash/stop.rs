//! Goal: told to end under load, it answers who is being answered, ends the streams, makes a last
//! checkpoint and ends well; the next start has nothing to read. Method: the real binary with a
//! producer and some streams; then the newest checkpoint is held against the log's end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use crate::load::*;
use crate::process::{Folder, run};

fn figure(words: &[&str], name: &[&str]) -> u64 {
    let (code, out, err) = run(words);
    assert_eq!(code, 0, "{err}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    name.iter().fold(&found, |it, name| &it[*name]).as_u64().unwrap_or_else(|| panic!("{out}"))
}

#[test]
fn after_a_clean_end_nothing_is_read_again() {
    let folder = Folder::new("stop");
    let data = folder.path("data");
    for round in 0..3 {
        let (process, address) = start(&folder, round + 1);
        let stage = Arc::new(Stage::default());
        *stage.address.lock().unwrap() = address.clone();
        let producer = {
            let stage = Arc::clone(&stage);
            std::thread::spawn(move || produce(&stage, Random(round)))
        };
        let streams: Vec<TcpStream> = (0..5)
            .map(|_| {
                let mut stream = TcpStream::connect(&address).unwrap();
                write!(stream, "GET /v1/stream?view=orders HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
                let mut first = [0; 12];
                stream.read_exact(&mut first).unwrap();
                assert_eq!(&first, b"HTTP/1.1 200");
                stream
            })
            .collect();
        while stage.acknowledged.load(SeqCst) < 20 * BATCH {
            assert!(!producer.is_finished(), "the producer has failed");
            std::thread::yield_now();
        }
        let began = std::time::Instant::now();
        process.signal("-TERM");
        let (code, _, err) = process.end();
        assert_eq!(code, 0, "{err}");
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
        stage.ended.store(true, SeqCst);
        // It waits for an answer that nobody gives any more.
        drop(streams);
        let end = figure(&["log", "stats", "--data-dir", &data, "--json"], &["next"]);
        let stats = ["state", "stats", "--data-dir", &data, "--json"];
        assert_eq!(figure(&stats, &["newest", "position"]), end, "{err}");
        let (process, address) = start(&folder, 2);
        *stage.address.lock().unwrap() = address.clone();
        producer.join().unwrap();
        let line = get(&address, "/v1/ledger").unwrap().1["partitions"][0].clone();
        assert_eq!(line["read"], line["next"], "{line}");
        assert!(line["next"].as_u64() >= Some(end), "{line}");
        process.signal("-TERM");
        assert_eq!(process.end().0, 0);
    }
    // Each life of the process goes on with the one life of the state.
    let stats = run(&["state", "stats", "--data-dir", &data, "--json"]).1;
    assert!(stats.contains(r#""began":"made""#), "{stats}");
}
