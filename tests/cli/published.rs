//! Models that are published into a data folder: who speaks of which text, live, after a kill, built
//! again, replayed, restored; and what happens when a file of theirs is damaged.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::examples::reviews;
use crate::process::{Folder, Process, get, run};

/// A process over a data folder, and where it answers.
pub(crate) fn start(data: &str, more: &[&str]) -> (Process, String) {
    let words = [&["run", "--data-dir", data, "--listen", "127.0.0.1:0"], more].concat();
    let mut process = Process::start(&words);
    let address = process.address(Path::new(data));
    (process, address)
}

/// One event by HTTP, in the views when it returns.
pub(crate) fn post(address: &str, event: &str) {
    let answer = send(address, "cloudevents", "?wait=applied", event).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

/// What is answered, if anybody answers.
fn send(address: &str, kind: &str, query: &str, body: &str) -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "POST /v1/events{query} HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/{kind}+json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A text, said at this instant.
fn said(id: &str, at: &str) -> String {
    let data = json!({"customer": "C2", "rating": 1, "text": format!("{id}: too late, it broke")});
    json!({"specversion": "1.0", "id": id, "source": "/later", "type": "feedback.submitted",
           "subject": "C2", "time": at, "data": data})
    .to_string()
}

/// Every row of `sentiment`, by its event.
fn rows(address: &str) -> BTreeMap<String, Value> {
    let (mut rows, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let (status, body) = get(address, &format!("/v1/views/sentiment?limit=1000{cursor}"));
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        let these = page["rows"].as_array().unwrap().iter().map(|it| it["row"].clone());
        rows.extend(these.map(|it| (format!("{} {}", it["source"], it["id"]), it)));
        let Some(next) = page["next"].as_str() else { return rows };
        cursor = format!("&cursor={next}");
    }
}

/// The rows of `sentiment` that a replay of this file by these models makes, and the digests of all
/// views.
fn replayed(folder: &Folder, input: &str, workers: &str) -> (BTreeMap<String, Value>, Value) {
    let (models, out) = (folder.path("data/models"), folder.path(&format!("rows-{workers}")));
    let words = ["replay", input, "--models", &models, "--workers", workers];
    let told = told(&[&words[..], &["--rows-out", &out, "--json"]].concat());
    let text = std::fs::read_to_string(Path::new(&out).join("sentiment.jsonl")).unwrap();
    let rows = text.lines().map(|it| {
        let mut row: Value = serde_json::from_str(it).unwrap();
        row.as_object_mut().unwrap().remove("tenant");
        (format!("{} {}", row["source"], row["id"]), row)
    });
    (rows.collect(), told["views"].clone())
}

fn model_of(rows: &BTreeMap<String, Value>, id: &str) -> String {
    let row = rows.values().find(|it| it["id"] == id).unwrap_or_else(|| panic!("no {id}"));
    row["model"].as_str().unwrap().to_string()
}

pub(crate) fn told(words: &[&str]) -> Value {
    let (code, out, err) = run(words);
    assert_eq!(code, 0, "{words:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|why| panic!("{words:?}: {why}: {out}"))
}

pub(crate) fn end(process: Process) {
    process.signal("-TERM");
    let (code, out, err) = process.end();
    assert_eq!(code, 0, "{out}{err}");
}

/// Rated texts of which every third has the wrong stars.
fn worse() -> String {
    let turned = |(n, line): (usize, &str)| {
        let at = line.find(r#""rating":"#).unwrap();
        let stars = if n % 3 == 0 { 5 } else { 1 };
        format!("{}\"rating\":{stars}{}\n", &line[..at], &line[at + 10..])
    };
    reviews().lines().enumerate().map(turned).collect()
}

/// Goal: of a text speaks the model that was published before its own time, live and ever after: the
/// same rows after kill -9, when the view is built again, from a file with the same models by one
/// worker and by two, and in a restored backup. What is worse is not published silently. Method:
/// the real binary; texts before, between and after two publishings, some of them late.
#[test]
fn the_model_of_its_time_speaks() {
    let folder = Folder::new("published");
    let path = |name: &str| folder.path(name);
    let (data, good) = (path("data"), path("good"));
    folder.file("reviews.jsonl", reviews());
    folder.file("worse.jsonl", worse());
    let mut all = reviews();
    let train = |input: &str, out: &str| {
        run(&["model", "train", "sentiment", "--input", &path(input), "--out", out, "--anyway"])
    };
    assert_eq!(train("reviews.jsonl", &good).0, 0);
    assert_eq!(train("worse.jsonl", &path("bad")).0, 0);

    let (process, address) = start(&data, &[]);
    for line in reviews().lines() {
        post(&address, line);
    }
    let before = rows(&address);
    assert_eq!(model_of(&before, "r7"), "lexicon-en 1");

    let publish = |model: &str, more: &[&str]| {
        run(&[&["model", "publish", model, "--data-dir", &data, "--json"], more].concat())
    };
    let (code, out, err) = publish(&good, &[]);
    assert_eq!(code, 0, "{err}");
    let one: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&one["model"], &one["predecessor"]),
        (&json!("sentiment 1"), &json!("lexicon-en 1"))
    );
    assert_eq!(one["texts"], json!({"negative": 20, "neutral": 0, "positive": 20}));
    assert!(one["compared"]["this"]["n_texts"].as_u64() > Some(0), "{one}");
    // What is in use already, and what is worse, changes nothing, and leaves nothing behind.
    let files = || std::fs::read_dir(Path::new(&data).join("models")).unwrap().count();
    let (code, _, err) = publish(&good, &[]);
    assert!(code == 1 && err.contains("models/already"), "{err}");
    let (code, _, err) = publish(&path("bad"), &[]);
    assert!(code == 1 && err.contains("error[models/no-better]"), "{err}");
    let none = folder.file("none.jsonl", "");
    let (code, _, err) = publish(&path("bad"), &["--input", &none]);
    assert!(code == 1 && err.contains("error[models/not-compared]"), "{err}");
    assert_eq!(files(), 2);

    let since = |it: &Value| it["in_use_since"].as_str().unwrap().to_string();
    let mut say = |address: &str, id: &str, at: &str| {
        let event = said(id, at);
        post(address, &event);
        all.push_str(&event);
        all.push('\n');
    };
    say(&address, "late", "2026-01-02T00:00:00Z");
    say(&address, "first", &since(&one));
    let (code, out, err) = publish(&path("bad"), &["--even-if-worse"]);
    assert_eq!(code, 0, "{err}");
    let two: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(two["predecessor"], "sentiment 1");
    say(&address, "second", &since(&two));
    say(&address, "between", &since(&one));
    let live = rows(&address);
    let speaks = [("late", "lexicon-en 1"), ("first", "sentiment 1"), ("second", "sentiment 2")];
    for (id, model) in speaks.into_iter().chain([("between", "sentiment 1")]) {
        assert_eq!(model_of(&live, id), model, "{id}");
    }
    // Nothing that was said before is said otherwise now.
    assert!(before.iter().all(|(key, row)| live[key] == *row));
    let (_, body) = get(&address, "/v1/views/model_quality?limit=10");
    assert!(body.contains("sentiment 2"), "{body}");

    // Killed at once: what is put back, and what is read again, is the same.
    process.signal("-KILL");
    assert_ne!(process.end().0, 0);
    let (process, address) = start(&data, &[]);
    post(&address, &said("first", &since(&one)));
    assert_eq!(rows(&address), live);
    let facts = {
        let (_, out, _) = run(&["log", "show", "--data-dir", &data, "--limit", "1000", "--json"]);
        out.matches(r#"model.published"#).count()
    };
    assert_eq!(facts, 2, "each is told once");
    end(process);
    let (process, address) = start(&data, &["--rebuild", "sentiment"]);
    let built = || get(&address, "/v1/views/sentiment?limit=1").0 == 200;
    while !built() || rows(&address).len() < live.len() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(rows(&address), live);
    end(process);

    // From a file, by the same models.
    let input = folder.file("all.jsonl", &all);
    let (rows_of_file, views) = replayed(&folder, &input, "1");
    assert_eq!(rows_of_file, live);
    assert_eq!(replayed(&folder, &input, "2").1, views);

    // Elsewhere.
    let (copy, restored) = (path("copy"), path("restored"));
    told(&["backup", &copy, "--data-dir", &data, "--json"]);
    told(&["restore", &copy, "--data-dir", &restored, "--json"]);
    let list = |data: &str| run(&["model", "list", "--data-dir", data, "--json"]).1;
    assert_eq!((list(&restored), list(&data).lines().count()), (list(&data), 2));
    let (process, address) = start(&restored, &[]);
    assert_eq!(rows(&address), live);
    end(process);
    let show = told(&["model", "show", "1", "--data-dir", &data, "--json"]);
    assert_eq!(show, one);
    let (code, _, err) = run(&["model", "show", "7", "--data-dir", &data]);
    assert!(code == 1 && err.contains("error[models/no-such]"), "{err}");
}

/// Goal: publishing while texts stream in leaves no text with another opinion than it has at a
/// replay, also when the process is killed at once. Method: two workers; a producer whose texts are
/// dated around now, sent again until they are acknowledged; a model after the other is published,
/// every second time followed by kill -9; then every row is held against a replay of what was sent.
#[test]
fn publishing_under_load_is_replayed() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Mutex};
    let folder = Folder::new("published-load");
    let data = folder.path("data");
    folder.file("reviews.jsonl", reviews());
    folder.file("worse.jsonl", worse());
    let models =
        [("reviews", "english"), ("worse", "other"), ("reviews", "other"), ("worse", "english")];
    for (n, (input, language)) in models.into_iter().enumerate() {
        let (input, out) = (folder.path(&format!("{input}.jsonl")), folder.path(&format!("m{n}")));
        let train = ["model", "train", "sentiment", "--input", &input, "--out", &out];
        let (code, _, err) = run(&[&train[..], &["--language", language]].concat());
        assert_eq!(code, 0, "{err}");
    }
    let two = ["--workers", "2"];
    let (mut process, address) = start(&data, &two);
    let place = Arc::new(Mutex::new(address));
    let (stop, batches) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let producer = {
        let (place, stop, batches) = (place.clone(), stop.clone(), batches.clone());
        std::thread::spawn(move || {
            let mut sent = String::new();
            while !stop.load(SeqCst) {
                let n = batches.load(SeqCst);
                let now = millstream::clock::wall_ms() as i64;
                // From a second ago to a second from now.
                let one = |at: usize| {
                    let time = now + ((n * 20 + at) * 7_919 % 2_000) as i64 - 1_000;
                    said(&format!("{n}-{at}"), &schemas::time::rfc3339(time * 1_000))
                };
                let events: Vec<String> = (0..20).map(one).collect();
                let batch = format!("[{}]", events.join(","));
                let to = || place.lock().unwrap().clone();
                // Until it is known to be there; a second time it is a duplicate.
                while !send(&to(), "cloudevents-batch", "", &batch)
                    .is_ok_and(|it| it.starts_with("HTTP/1.1 202"))
                {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                sent.push_str(&(events.join("\n") + "\n"));
                batches.fetch_add(1, SeqCst);
                // Some hundred texts a second: a slow machine keeps up, too.
                std::thread::park_timeout(Duration::from_millis(50));
            }
            sent
        })
    };
    for n in 0..models.len() {
        let until = batches.load(SeqCst) + 8;
        while batches.load(SeqCst) < until {
            assert!(!producer.is_finished(), "the producer has failed");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let model = folder.path(&format!("m{n}"));
        let words = ["model", "publish", &model, "--data-dir", &data, "--even-if-worse"];
        let (code, _, err) = run(&words);
        assert_eq!(code, 0, "{err}");
        if n % 2 == 1 {
            process.signal("-KILL");
            assert_ne!(process.end().0, 0);
            let address;
            (process, address) = start(&data, &two);
            *place.lock().unwrap() = address;
        }
    }
    let until = batches.load(SeqCst) + 30;
    while batches.load(SeqCst) < until {
        assert!(!producer.is_finished(), "the producer has failed");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    stop.store(true, SeqCst);
    let sent = producer.join().unwrap();
    let address = place.lock().unwrap().clone();
    while rows(&address).len() < sent.lines().count() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let live = rows(&address);
    let spoke: std::collections::BTreeSet<&str> =
        live.values().filter_map(|it| it["model"].as_str()).collect();
    assert!(spoke.len() >= 4, "{spoke:?}");
    let input = folder.file("sent.jsonl", &sent);
    let (rows_of_file, _) = replayed(&folder, &input, "2");
    let differ = live.iter().filter(|(key, row)| rows_of_file.get(*key) != Some(*row)).count();
    assert_eq!((differ, rows_of_file.len()), (0, live.len()));
    end(process);
}

/// Goal: without a process the folder is taken; the next start speaks by the model and tells the log
/// of it. A body or a list that is damaged or gone refuses the start, and put back all is as before.
/// Method: each file is damaged, removed, put back.
#[test]
fn what_cannot_be_read_is_not_replaced_by_another() {
    let folder = Folder::new("published-damage");
    let data = folder.path("data");
    let (process, address) = start(&data, &[]);
    for line in reviews().lines() {
        post(&address, line);
    }
    end(process);
    let trained = ["model", "train", "sentiment", "--data-dir", &data, "--publish", "--json"];
    let one = told(&trained)["published"].clone();
    assert_eq!((&one["model"], &one["version"]), (&json!("sentiment 1"), &json!(1)));
    let (process, address) = start(&data, &[]);
    post(&address, &said("first", one["in_use_since"].as_str().unwrap()));
    let live = rows(&address);
    assert_eq!(model_of(&live, "first"), "sentiment 1");
    let (_, out, _) = run(&["log", "show", "--data-dir", &data, "--limit", "1000", "--json"]);
    assert_eq!(out.matches("model.published").count(), 1, "{out}");
    end(process);

    let models = Path::new(&data).join("models");
    let body = models.join(one["digest"].as_str().unwrap());
    let refused = |code: &str| {
        let (status, _, err) = run(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
        assert!(status == 1 && err.contains(&format!("error[{code}]")), "{code}: {err}");
    };
    for (file, code) in [(body, "models/not-readable"), (models.join("published"), "models/list")] {
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        refused(code);
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        refused(code);
        std::fs::remove_file(&file).unwrap();
        refused(code);
        std::fs::write(&file, &whole).unwrap();
    }
    let (process, address) = start(&data, &[]);
    assert_eq!(rows(&address), live);
    end(process);
}
