//! kcat: a client by other people.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::Read;
use crate::topics::Topic;

fn kcat(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("kcat")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("kcat: {why}: scripts/test live installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let writer = {
        let input = input.to_vec();
        // Beside reading what it says, or both wait. It may end before it has read all.
        std::thread::spawn(move || stdin.write_all(&input).ok())
    };
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(done.status.success(), "kcat {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Everything in a topic, by partition and offset. Keys and values are taken as text.
pub fn consume(topic: &Topic) -> Vec<Read> {
    let out = kcat(&["-C", "-b", &topic.brokers, "-t", &topic.name, "-e", "-q", "-J"], b"");
    let mut found: Vec<Read> = Vec::new();
    for line in out.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
        let it: Value = serde_json::from_slice(line).unwrap();
        let bytes = |it: &Value| it.as_str().map(|it| it.as_bytes().to_vec());
        let names = it["headers"].as_array().map_or(&[][..], |it| it);
        let header = |it: &[Value]| (it[0].as_str().unwrap().to_string(), bytes(&it[1]));
        found.push(Read {
            partition: it["partition"].as_i64().unwrap() as i32,
            offset: it["offset"].as_i64().unwrap(),
            timestamp: it["ts"].as_i64(),
            key: bytes(&it["key"]),
            value: bytes(&it["payload"]),
            headers: names.chunks(2).map(header).collect(),
        });
    }
    found.sort_by_key(|it| (it.partition, it.offset));
    found
}

/// Sends a line a record: `key<TAB>value`. Headers are the same for all.
pub fn produce(topic: &Topic, lines: &[(String, String)], headers: &[(&str, &str)], codec: &str) {
    let headers: Vec<String> = headers.iter().map(|it| format!("{}={}", it.0, it.1)).collect();
    let mut words = vec!["-P", "-b", &topic.brokers, "-t", &topic.name, "-K", "\t", "-z", codec];
    for it in &headers {
        words.extend(["-H", it]);
    }
    let input: String = lines.iter().map(|(key, value)| format!("{key}\t{value}\n")).collect();
    kcat(&words, input.as_bytes());
}

/// Sends native events in structured mode: the line is the value, the subject the key.
pub fn produce_structured(topic: &Topic, events: &[String], codec: &str) {
    let lines: Vec<_> = events.iter().map(|it| (subject(it), it.clone())).collect();
    let headers = [("content-type", "application/cloudevents+json; charset=UTF-8")];
    produce(topic, &lines, &headers, codec);
}

/// Sends native events in binary mode, one call each (kcat takes headers by the call).
pub fn produce_binary(topic: &Topic, events: &[String], codec: &str) {
    for event in events {
        let all: serde_json::Map<String, Value> = serde_json::from_str(event).unwrap();
        let mut headers = vec![("content-type".to_string(), "application/json".to_string())];
        for (name, value) in all.iter().filter(|it| it.0 != "data") {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            headers.push((format!("ce_{name}"), text));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|it| (&*it.0, &*it.1)).collect();
        produce(topic, &[(subject(event), all["data"].to_string())], &headers, codec);
    }
}

fn subject(event: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap();
    event["subject"].as_str().unwrap_or_default().to_string()
}
