//! `millstream model`, as a person uses it: learn from a file, say something of another.

use serde_json::Value;

use crate::examples::reviews;
use crate::process::{Folder, Process, run};

/// Goal: training is a function of the set of texts and never silently replaces a better model;
/// what cannot be done is told. Method: the same file in two orders; then one with turned ratings.
#[test]
fn models_are_learnt_and_kept() {
    let folder = Folder::new("models");
    let path = |name: &str| folder.0.join(name).display().to_string();
    folder.file("reviews.jsonl", reviews());
    let turned: String = reviews().lines().rev().map(|it| format!("{it}\n")).collect();
    folder.file("turned.jsonl", turned);
    let train = |input: &str, out: &str, more: &[&str]| {
        let (input, out) = (path(input), path(out));
        run(&[&["model", "train", "sentiment", "--input", &input, "--out", &out, "--json"], more]
            .concat())
    };
    let (code, out, err) = train("reviews.jsonl", "one", &[]);
    assert_eq!(code, 0, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["texts"]["positive"], 20);
    assert!(told["held_out"]["n_texts"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(train("turned.jsonl", "two", &[]).0, 0);
    let body = |name: &str| std::fs::read(path(name)).unwrap();
    assert_eq!(body("one"), body("two"));

    let score =
        |model: &str| run(&["model", "score", model, "--input", &path("reviews.jsonl"), "--json"]);
    let (code, out, err) = score(&path("one"));
    assert_eq!(code, 0, "{err}");
    let lines: Vec<Value> = out.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(lines.len(), 41);
    assert_eq!((&lines[0]["label"], &lines[1]["label"]), (&"positive".into(), &"negative".into()));
    assert!(lines[0]["words"].as_array().is_some_and(|it| !it.is_empty()), "{}", lines[0]);
    assert_eq!(lines[40]["model"], told["model"]);
    assert_eq!(lines[40]["measured"]["accuracy"], 1.0);
    assert!(score("lexicon").1.contains("lexicon-en"));

    // Ratings that contradict the texts make a worse model: it does not replace the other.
    let mut n = 0;
    let worse: String = reviews()
        .lines()
        .map(|it| {
            n += 1;
            let stars = if n % 3 == 0 { r#""rating":1"# } else { r#""rating":5"# };
            let at = it.find(r#""rating":"#).unwrap();
            format!("{}{stars}{}\n", &it[..at], &it[at + 10..])
        })
        .collect();
    folder.file("worse.jsonl", worse);
    std::fs::copy(path("one"), path("kept")).unwrap();
    let (code, _, err) = train("worse.jsonl", "kept", &[]);
    if code == 1 {
        assert!(err.contains("error[models/no-better]"), "{err}");
        assert_eq!(body("kept"), body("one"));
    }
    assert_eq!(train("worse.jsonl", "kept", &["--anyway"]).0, 0);
    assert_ne!(body("kept"), body("one"));

    // Without a file it is the embedded log that is learnt from: the same texts, the same model.
    let data = path("data");
    let mut process = Process::start(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    let address = process.address(std::path::Path::new(&data));
    // Some of them twice.
    for line in reviews().lines().chain(reviews().lines().take(7)) {
        post(&address, line);
    }
    let of_log = |out: &str| {
        run(&["model", "train", "sentiment", "--data-dir", &data, "--out", &path(out), "--json"])
    };
    let (code, _, err) = of_log("running");
    assert_eq!(code, 0, "{err}");
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let (code, _, err) = of_log("resting");
    assert_eq!(code, 0, "{err}");
    assert_eq!((body("running"), body("resting")), (body("one"), body("one")));

    folder.file("few.jsonl", reviews().lines().next().unwrap().to_string() + "\n");
    let (code, _, err) = train("few.jsonl", "three", &[]);
    assert!(code == 1 && err.contains("error[models/too-few]"), "{err}");
    let (code, _, err) = score(&path("reviews.jsonl"));
    assert!(code == 1 && err.contains("error[models/not-readable]"), "{err}");
    let (code, _, err) = train("reviews.jsonl", "no/such/folder", &[]);
    assert!(code == 1 && err.contains("error[models/not-written]"), "{err}");
}

/// One event by HTTP, durable when it returns.
fn post(address: &str, event: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let kind = "application/cloudevents+json";
    let length = event.len();
    write!(
        stream,
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{event}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}
