//! Goal: what a rule wants said is heard once by the right endpoint, signed, whatever dies on either
//! side; and what cannot be delivered delays nobody else.
//! Method: the real binary with rules and channels; a receiver of ours with a ledger and a temper;
//! `kill -9` where it hurts most; then the ledger of the receiver against what happened.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "notify/channels.rs"]
mod channels;
#[path = "notify/email.rs"]
mod email;
#[path = "notify/feed.rs"]
mod feed;
#[path = "notify/forget.rs"]
mod forget;
#[path = "common/postbox.rs"]
mod postbox;
#[path = "common/process.rs"]
mod process;
#[path = "common/receiver.rs"]
mod receiver;
#[path = "notify/reload.rs"]
mod reload;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant, SystemTime};

use millstream::notify::sign::{Keys, Signed};
use postbox::{Postbox, Temper as Mood, Way};
use process::{Folder, Process, run};
use receiver::{Came, Receiver, Temper};
use serde_json::{Value, json};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn ask(address: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    answered(address, method, path, body).expect("an answer")
}

/// The answer; none where the process was killed before it gave one.
fn answered(address: &str, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let body = if method == "GET" { String::new() } else { body.to_string() };
    let kind = "application/cloudevents-batch+json";
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, serde_json::from_str(body).ok()?))
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// Cases are opened, or resolved, now.
fn tell(address: &str, kind: &str, cases: &[String]) {
    let (status, told) = told(address, kind, cases).expect("an answer");
    assert_eq!(status, 202, "{told}");
}

fn told(address: &str, kind: &str, cases: &[String]) -> Option<(u16, Value)> {
    let event = |case: &String| {
        let mut data = json!({"case": case, "customer": "C-1"});
        if kind == "case.opened" {
            data["severity"] = json!(1);
            data["queue"] = json!("q");
        }
        let time = now();
        json!({"specversion": "1.0", "id": format!("{case}-{kind}-{time}"), "source": "//crm",
               "type": kind, "time": schemas::time::rfc3339(time), "data": data})
    };
    let events: Vec<Value> = cases.iter().map(event).collect();
    answered(address, "POST", "/v1/events?wait=applied", &Value::Array(events))
}

fn settings(folder: &Folder, text: &str) -> String {
    folder.file("ops.secret", SECRET);
    folder.file("millstream.toml", text)
}

fn channel(name: &str, to: &Receiver, more: &str) -> String {
    let address = to.address;
    format!(
        "[channels.{name}]\nkind = \"webhook\"\nurl = \"http://{address}/{name}\"\n\
         secret_file = \"ops.secret\"\nallow = [\"{address}\"]\n{more}\n"
    )
}

fn rule(name: &str, channel: &str, more: &str) -> String {
    format!(
        "[rules.{name}]\nview = \"cases\"\nwhen = \"status == 'open' and severity == 1\"\n\
         episode = [\"opened_at\"]\nsince = \"opened_at\"\nchannel = \"{channel}\"\n\
         text = \"case {{{{ case }}}} of {{{{ customer }}}} waits\"\n{more}\n"
    )
}

fn start(data: &Path, settings: &str) -> (Process, String) {
    let data_dir = data.display().to_string();
    // One that was killed a moment ago has left its own behind.
    std::fs::remove_file(data.join("admin.addr")).ok();
    let words = ["run", "--listen", "127.0.0.1:0", "--data-dir", &data_dir, "--config", settings];
    let mut process = Process::start(&words);
    let address = process.address(data);
    (process, address)
}

/// Every intent there is, by its name.
fn intents(address: &str) -> BTreeMap<String, Value> {
    let (status, told) = ask(address, "GET", "/v1/notifications?limit=1000", &Value::Null);
    assert_eq!(status, 200, "{told}");
    let rows = told["rows"].as_array().unwrap().iter();
    rows.map(|it| &it["row"])
        .map(|it| (it["message"].as_str().unwrap().to_string(), it.clone()))
        .collect()
}

/// Waits until the intents are as they should be.
fn until(
    address: &str,
    what: &str,
    enough: impl Fn(&BTreeMap<String, Value>) -> bool,
) -> BTreeMap<String, Value> {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let all = intents(address);
        if enough(&all) {
            return all;
        }
        assert!(Instant::now() < end, "{what}: {all:#?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn states(all: &BTreeMap<String, Value>) -> BTreeMap<&str, usize> {
    let mut states = BTreeMap::new();
    for it in all.values() {
        *states.entry(it["state"].as_str().unwrap()).or_default() += 1;
    }
    states
}

fn is_signed(it: &Came) {
    let signed = Signed {
        id: it.id().to_string(),
        timestamp: it.headers["webhook-timestamp"].parse().unwrap(),
        signature: it.headers["webhook-signature"].clone(),
    };
    let at = it.at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!(Keys::read(SECRET).unwrap().verify(&signed, &it.body, Some(at)), "{it:?}");
}

fn names(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|it| format!("{prefix}-{it}")).collect()
}

/// Goal: an episode speaks once, signed; a restart, a kill, and the whole log read again say nothing
/// more; another episode of the same row speaks again.
#[test]
fn an_episode_speaks_once() {
    let folder = Folder::new("notify-once");
    let receiver = Receiver::start(|_| Temper::status(200));
    let text = channel("ops", &receiver, "") + &rule("waits", "ops", "severity = \"critical\"");
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let (process, address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", 3));
    let came = receiver.until("three cases", |it| it.len() == 3);
    came.iter().for_each(is_signed);
    let said: BTreeSet<String> =
        came.iter().map(|it| it.json()["data"]["text"].as_str().unwrap().to_string()).collect();
    let expected = names("K", 3).iter().map(|it| format!("case {it} of C-1 waits")).collect();
    assert_eq!(said, expected);
    assert_eq!(came[0].json()["type"], "notification.raised");
    assert_eq!(came[0].json()["data"]["severity"], "critical");
    let all = until(&address, "delivered", |it| states(it).get("delivered") == Some(&3));
    assert_eq!(all.len(), 3);
    let (_, ledger) = ask(&address, "GET", "/v1/ledger", &Value::Null);
    assert_eq!(ledger["notifications"], json!({"delivered": 3}), "{ledger}");
    // Ended in order, killed, and without its state: the log alone.
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let (mut process, address) = start(&data, &settings);
    until(&address, "as before", |it| states(it).get("delivered") == Some(&3));
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    drop(process);
    std::fs::remove_dir_all(data.join("state")).unwrap();
    std::fs::remove_dir_all(data.join("identities")).ok();
    let (_process, address) = start(&data, &settings);
    until(&address, "as before", |it| states(it).get("delivered") == Some(&3));
    // One is opened again: another episode; and the message of it is the fourth that comes.
    tell(&address, "case.resolved", &names("K", 1));
    tell(&address, "case.opened", &names("K", 1));
    let came = receiver.until("the next episode", |it| it.len() >= 4);
    until(&address, "delivered", |it| states(it).get("delivered") == Some(&4));
    assert_eq!(came.len(), 4, "{came:#?}");
}

/// Goal: killed between the receiver's 2xx and our mark of it, the same message comes again under
/// the same id, and none is missing. Method: the first attempt at each message ends the process,
/// again and again, in turn in three ways: killed before an answer is written; killed when a 2xx was
/// written and flushed, stopped from before that on, so that it has it and cannot have marked it;
/// killed as soon as a 2xx was written and flushed, so that it may have marked it or not. After the
/// first two the id comes again for certain; after the third at most.
#[test]
fn killed_between_answer_and_mark() {
    use std::sync::atomic::AtomicU32;
    let folder = Folder::new("notify-killed");
    let pid = std::sync::Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let victim = std::sync::Arc::clone(&pid);
    let receiver = Receiver::start(move |came| {
        let pid = if came.nth == 0 { victim.0.swap(0, SeqCst) } else { 0 };
        match victim.1.load(SeqCst) % 3 {
            _ if pid == 0 => Temper::status(204),
            0 => {
                let args = ["-9", &pid.to_string()];
                let kill = std::process::Command::new("kill").args(args).status();
                assert!(kill.unwrap().success());
                Temper::Silent
            }
            1 => Temper::Kills { pid, held: true },
            _ => Temper::Kills { pid, held: false },
        }
    });
    let text = channel("ops", &receiver, "") + &rule("waits", "ops", "");
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let rounds = std::env::var("MILLSTREAM_KILLS").map_or(100, |it| it.parse().unwrap());
    for n in 0..rounds {
        let (mut process, address) = start(&data, &settings);
        pid.1.store(n as u32, SeqCst);
        pid.0.store(process.child.id(), SeqCst);
        // The answer may be cut off: the event was applied before the receiver heard of it.
        drop(told(&address, "case.opened", &[format!("K-{n}")]));
        let end = Instant::now() + Duration::from_secs(300);
        while process.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "round {n}: {:#?}", receiver.came());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
    let (_process, address) = start(&data, &settings);
    let all = until(&address, "all", |it| states(it).get("delivered") == Some(&rounds));
    assert_eq!(all.len(), rounds);
    let came = receiver.came();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    came.iter().for_each(|it| *times.entry(it.id().to_string()).or_default() += 1);
    assert!(times.keys().eq(all.keys()), "{times:#?}");
    for (id, it) in &all {
        let about = it["about"].as_str().unwrap();
        let round: usize = about[2..].parse().unwrap();
        assert!(times[id] >= 2 || round % 3 == 2, "{about} came {} times", times[id]);
    }
    for it in &came {
        let first = came.iter().find(|one| one.id() == it.id()).unwrap();
        assert_eq!(first.body, it.body, "the same each time");
    }
}

/// Goal: killed between an event and what rules make of it, or between that and the first attempt,
/// nothing is missing and nothing has two ids. Method: killed at once, or some milliseconds after
/// the event was acknowledged, so that there is a checkpoint or none, again and again.
#[test]
fn killed_between_event_and_attempt() {
    let folder = Folder::new("notify-between");
    let receiver = Receiver::start(|_| Temper::status(200));
    let text = channel("ops", &receiver, "") + &rule("waits", "ops", "");
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let rounds = std::env::var("MILLSTREAM_KILLS").map_or(16, |it| it.parse().unwrap());
    for n in 0..rounds {
        let (mut process, address) = start(&data, &settings);
        tell(&address, "case.opened", &[format!("K-{n}")]);
        std::thread::park_timeout(Duration::from_millis([0, 2, 5, 300][n % 4]));
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }
    let (_process, address) = start(&data, &settings);
    let all = until(&address, "all", |it| states(it).get("delivered") == Some(&rounds));
    assert_eq!(all.len(), rounds, "{all:#?}");
    let came = receiver.came();
    let ids: BTreeSet<String> = came.iter().map(|it| it.id().to_string()).collect();
    assert_eq!(ids, all.into_keys().collect());
    let about = |it: &Came| it.json()["data"]["about"].as_str().unwrap().to_string();
    assert_eq!(came.iter().map(about).collect::<BTreeSet<_>>().len(), rounds);
}

/// Goal: a receiver in any temper gets each message in the end or is told why not, and a dead one
/// delays no other. Method: one receiver, a path per temper.
#[test]
fn tempers() {
    let folder = Folder::new("notify-tempers");
    let receiver = Receiver::start(|came| match came.path.as_str() {
        "/busy" if came.nth == 0 => Temper::Answers(429, vec![("retry-after", "7".into())]),
        "/broken" if came.nth == 0 => Temper::status(500),
        "/lost" if came.nth == 0 => Temper::Silent,
        "/hangs" if came.nth == 0 => Temper::Hangs(Duration::from_secs(3)),
        "/drips" if came.nth == 0 => Temper::Drips(Duration::from_millis(200)),
        // To where it would be taken, if somebody followed.
        "/moved" => {
            let here = format!("http://{}/elsewhere", came.headers["host"]);
            Temper::Answers(301, vec![("location", here)])
        }
        "/gone" => Temper::status(410),
        _ => Temper::status(200),
    });
    let paths = ["good", "busy", "broken", "lost", "hangs", "drips", "moved", "gone"];
    let mut text = String::new();
    for name in paths {
        text += &channel(name, &receiver, "timeout = \"1s\"");
        text += &rule(&format!("to-{name}"), name, "");
    }
    let settings = settings(&folder, &text);
    let (_process, address) = start(&folder.0.join("data"), &settings);
    tell(&address, "case.opened", &names("K", 1));
    receiver.until("the good one", |it| it.iter().any(|it| it.path == "/good"));
    let all = until(&address, "all but one", |it| {
        states(it).get("delivered") == Some(&6) && states(it).get("refused") == Some(&1)
    });
    assert_eq!(states(&all), BTreeMap::from([("delivered", 6), ("planned", 1), ("refused", 1)]));
    let gone = all.values().find(|it| it["channel"] == "gone").unwrap();
    assert_eq!(gone["answer"], "the receiver answered 410 Gone");
    let came = receiver.came();
    assert!(came.iter().all(|it| it.path != "/elsewhere"), "a redirect was followed");
    let busy: Vec<&Came> = came.iter().filter(|it| it.path == "/busy").collect();
    let between = busy[1].at.duration_since(busy[0].at).unwrap();
    assert!(between >= Duration::from_secs(7), "it asked for 7 s: {between:?}");
    came.iter().for_each(is_signed);
    for name in ["busy", "broken", "lost", "hangs", "drips"] {
        let of: Vec<&Came> = came.iter().filter(|it| it.path == format!("/{name}")).collect();
        assert_eq!(of.len(), 2, "{name}");
        assert_eq!((of[0].id(), &of[0].body), (of[1].id(), &of[1].body), "{name}");
    }
}

/// Goal: quiet time, corrections and settling; each intent in exactly one state. Method: rules over
/// the same cases.
#[test]
fn quiet_resolved_and_settled() {
    let folder = Folder::new("notify-quiet");
    let receiver = Receiver::start(|_| Temper::status(200));
    let text = channel("ops", &receiver, "")
        + &rule("quiet", "ops", "quiet = \"1h\"")
        + &rule("ends", "ops", "resolved = \"case {{ case }} is done\"")
        + &rule("settles", "ops", "settle = \"2s\"");
    let settings = settings(&folder, &text);
    let (_process, address) = start(&folder.0.join("data"), &settings);
    // Opened, resolved and opened again, all within the time in which it would have settled.
    tell(&address, "case.opened", &names("K", 1));
    until(&address, "begins", |it| it.len() >= 2);
    tell(&address, "case.resolved", &names("K", 1));
    until(&address, "ends", |it| it.len() >= 3);
    tell(&address, "case.opened", &names("K", 1));
    let all = until(&address, "everything", |it| {
        let of = |rule: &str| it.values().filter(|it| it["rule"] == rule).count();
        (of("quiet"), of("ends"), of("settles")) == (2, 3, 1)
            && it.values().all(|it| it["state"] != "planned")
    });
    let of = |rule: &str, field: &str| {
        let found = all.values().filter(|it| it["rule"] == rule);
        let mut found: Vec<String> =
            found.map(|it| it[field].as_str().unwrap_or("").into()).collect();
        found.sort();
        found
    };
    assert_eq!(of("quiet", "state"), ["delivered", "suppressed"]);
    assert_eq!(of("quiet", "answer"), ["", "quiet"]);
    assert_eq!(
        of("ends", "text"),
        ["case K-0 is done", "case K-0 of C-1 waits", "case K-0 of C-1 waits"]
    );
    let corrects = of("ends", "corrects").pop().unwrap();
    assert_eq!(all[&corrects]["text"], "case K-0 of C-1 waits");
    let came = receiver.until("five", |it| it.len() >= 5);
    assert_eq!(came.len(), 5);
}

/// Goal: a start goes on with who is quiet, from what was said, not from what was taken back. Method:
/// a case is opened, and resolved some seconds later; after another start, when the quiet time since
/// the first message is over, and that since the second one is not, it is opened again. (Where the
/// machine is so slow that both are over, this shows nothing.)
#[test]
fn quiet_since_what_was_said() {
    const QUIET: Duration = Duration::from_secs(8);
    let folder = Folder::new("notify-quiet-since");
    let receiver = Receiver::start(|_| Temper::status(200));
    let more = format!("quiet = \"{}s\"\nresolved = \"over\"", QUIET.as_secs());
    let text = channel("ops", &receiver, "") + &rule("waits", "ops", &more);
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let (process, address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", 1));
    let all = until(&address, "said", |it| states(it).get("delivered") == Some(&1));
    let said = all.values().next().unwrap()["planned_at"].as_str().unwrap();
    let said = schemas::time::parse_rfc3339(said).unwrap();
    let wait_for = |time: Duration| {
        while now() - said < time.as_micros() as i64 {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    wait_for(QUIET / 2);
    tell(&address, "case.resolved", &names("K", 1));
    until(&address, "over", |it| states(it).get("delivered") == Some(&2));
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let (_process, address) = start(&data, &settings);
    wait_for(QUIET + QUIET / 8);
    tell(&address, "case.opened", &names("K", 1));
    let all = until(&address, "said again", |it| it.len() == 3);
    assert_eq!(states(&all).get("suppressed"), None, "{all:#?}");
}

/// Goal: what is wrong with rules and channels is told before anything starts, all at once, with the
/// nearest name; no secret among it.
#[test]
fn wrong_rules_are_told_at_once() {
    let folder = Folder::new("notify-wrong");
    let receiver = Receiver::start(|_| Temper::status(200));
    let good: String = (0..9).map(|it| rule(&format!("good-{it}"), "ops", "")).collect();
    let text = channel("ops", &receiver, "")
        + &good
        + "[rules.bad]\nview = \"cases\"\nwhen = \"statsu == 'open'\"\nepisode = [\"openedat\"]\n\
           channel = \"opps\"\ntext = \"{{ case\"\n";
    let settings = settings(&folder, &text);
    let (code, out, err) = run(&["check", "--config", &settings]);
    let told = out + &err;
    assert_ne!(code, 0, "{told}");
    for words in ["rules.bad.channel", "perhaps `ops` was meant"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let corrected = std::fs::read_to_string(&settings).unwrap().replace("opps", "ops");
    std::fs::write(&settings, corrected).unwrap();
    let (_, out, err) = run(&["check", "--config", &settings]);
    let told = out + &err;
    for words in ["perhaps `status` was meant", "perhaps `opened_at` was meant", "rules.bad.text"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("good-") && !told.contains(&SECRET[8..]), "{told}");
}

/// Goal: the page of the documentation works as it is typed. Method: its settings, with the
/// address of a receiver that is there.
#[test]
fn the_settings_of_the_documentation() {
    let folder = Folder::new("notify-docs");
    let receiver = Receiver::start(|_| Temper::status(200));
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/notifications.md");
    let page = std::fs::read_to_string(page).unwrap();
    let text = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let text = text.replace("127.0.0.1:9000", &receiver.address.to_string());
    let settings = settings(&folder, &text);
    let (_process, address) = start(&folder.0.join("data"), &settings);
    tell(&address, "case.opened", &names("K", 1));
    receiver.until("raised", |it| it.len() == 1);
    tell(&address, "case.resolved", &names("K", 1));
    let came = receiver.until("resolved", |it| it.len() == 2);
    came.iter().for_each(is_signed);
    let json: Vec<Value> = came.iter().map(Came::json).collect();
    assert_eq!(json[1]["type"], "notification.resolved");
    assert_eq!(json[1]["data"]["text"], "case K-0 is looked after");
    assert_eq!(json[1]["data"]["corrects"], json[0]["data"]["message"]);
    // What the page shows of a body is what a body has.
    let shown = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    let fields = |it: &Value| it["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&shown), fields(&json[0]));
}

/// Goal: no secret is ever shown. Method: one channel with its secret in a variable and one with it
/// in a file, and one of mail with a password, asked and ended; all that was printed, answered, and
/// written into the data folder.
#[test]
fn no_secret_is_shown() {
    let folder = Folder::new("notify-secret");
    let receiver = Receiver::start(|_| Temper::status(500));
    let postbox = Postbox::start(Way::Starttls, |_| Mood::Takes);
    let variable = "whsec_Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5";
    let text = channel("ops", &receiver, "")
        + &channel("env", &receiver, "")
            .replace("secret_file = \"ops.secret\"", "secret_env = \"OPS\"")
        + &email::to("mail", &postbox, &email::with_password(&folder))
        + &rule("waits", "ops", "")
        + &rule("also", "env", "")
        + &rule("mailed", "mail", "");
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let data_dir = data.display().to_string();
    let words = ["run", "--listen", "127.0.0.1:0", "--data-dir", &data_dir, "--config", &settings];
    let mut process = Process::spawn(process::command(&words).env("OPS", variable));
    let address = process.address(&data);
    tell(&address, "case.opened", &names("K", 1));
    receiver.until("both", |it| it.len() >= 2);
    let mailed = postbox.until("mail", |it| it.len() == 1).remove(0);
    assert_eq!(mailed.user.unwrap().1, email::PASSWORD, "it was used");
    let mut shown =
        ["ops", "env", "mail"].map(|it| channels::stands(&data, it).to_string()).concat();
    for path in
        ["/v1/notifications", "/v1/ledger", "/metrics", "/v1/debug/dataflow", "/health/ready"]
    {
        shown += &process::get(&address, path).1;
    }
    process.signal("-TERM");
    let (_, out, err) = process.end();
    let mut command = process::command(&["check", "--show", "--config", &settings]);
    let (_, checked, wrong) = process::told(command.env("OPS", variable).output().unwrap());
    shown += &[out, err, checked, wrong].concat();
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => shown += &String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()),
            }
        }
    }
    assert!(shown.contains("case K-0 of C-1 waits"), "the canary looks in the right place");
    use base64::Engine;
    let encoded = |it: String| base64::engine::general_purpose::STANDARD.encode(it);
    let password = email::PASSWORD.to_string();
    // As it stands in its file, and as it is said to a server, in either way.
    let login = encoded(format!("\0millstream\0{password}"));
    let secrets = [variable[6..].into(), SECRET[6..].into(), encoded(password.clone()), login];
    for secret in secrets.into_iter().chain([password]) {
        assert!(!shown.contains(&secret), "a secret was shown");
    }
}

/// Goal: of one subject the end of what was is heard before what is now, also where both are decided
/// in one look. Method: cases of many customers go to another queue in one batch; the queue is the
/// episode.
#[test]
fn the_end_of_what_was_comes_first() {
    const CASES: usize = 40;
    let folder = Folder::new("notify-order");
    let receiver = Receiver::start(|_| Temper::status(200));
    let text = "[rules.waits]\nview = \"cases\"\nwhen = \"severity == 1\"\nepisode = [\"queue\"]\n\
                channel = \"ops\"\ntext = \"{{ case }} in {{ queue }}\"\n\
                resolved = \"{{ case }} has left\"\n";
    let settings = settings(&folder, &format!("{text}{}", channel("ops", &receiver, "")));
    let (_process, address) = start(&folder.0.join("data"), &settings);
    let cases = names("K", CASES);
    tell(&address, "case.opened", &cases);
    receiver.until("raised", |it| it.len() == CASES);
    let event = |case: &String| {
        json!({"specversion": "1.0", "id": format!("{case}-moved"), "source": "//crm",
               "type": "case.assigned", "time": schemas::time::rfc3339(now()),
               "data": {"case": case, "agent": "ann", "queue": "r", "customer": "C-1"}})
    };
    let events: Vec<Value> = cases.iter().map(event).collect();
    let (status, told) = ask(&address, "POST", "/v1/events?wait=applied", &Value::Array(events));
    assert_eq!(status, 202, "{told}");
    let came = receiver.until("moved", |it| it.len() == 3 * CASES);
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for it in came.iter().map(Came::json) {
        let about = it["data"]["about"].as_str().unwrap_or_else(|| panic!("{it}")).to_string();
        of.entry(about).or_default().push(it["type"].as_str().unwrap().to_string());
    }
    assert_eq!(of.len(), CASES, "{of:?}");
    let whole = ["notification.raised", "notification.resolved", "notification.raised"];
    assert!(of.values().all(|it| *it == whole), "{of:?}");
}

/// Goal: the counts say nothing of whom nobody knows any more, before and after a restart. Method:
/// messages about a customer who is erased.
#[test]
fn counts_without_who_was_erased() {
    const CASES: usize = 3;
    let folder = Folder::new("notify-erased");
    let receiver = Receiver::start(|_| Temper::status(200));
    let settings = settings(&folder, &(rule("waits", "ops", "") + &channel("ops", &receiver, "")));
    let data = folder.0.join("data");
    let (process, address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", CASES));
    let until = |address: &str, n: i64| {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let (_, ledger) = ask(address, "GET", "/v1/ledger", &Value::Null);
            let counts: BTreeMap<String, i64> =
                serde_json::from_value(ledger["notifications"].clone()).unwrap();
            let sum: i64 = counts.values().sum();
            if sum == n && counts.get("delivered").copied().unwrap_or(0) == n {
                return;
            }
            assert!(Instant::now() < end, "{n}: {counts:?}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    until(&address, CASES as i64);
    let erased = json!([{"specversion": "1.0", "id": "e", "source": "//desk",
        "type": "customer.erased", "time": schemas::time::rfc3339(now()),
        "data": {"customers": ["C-1"]}}]);
    let (status, told) = ask(&address, "POST", "/v1/events?wait=applied", &erased);
    assert_eq!(status, 202, "{told}");
    until(&address, 0);
    process.signal("-TERM");
    assert_eq!({ process }.end().0, 0);
    let (_process, address) = start(&data, &settings);
    until(&address, 0);
}
