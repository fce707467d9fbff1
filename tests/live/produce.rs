//! `millstream produce` against a real broker, read back by others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::broker::{Broker, Secured, unknown_ca};
use crate::client::{CODECS, Read, read_all};
use crate::engine::{generated, program, told};
use crate::kcat;
use crate::topics::Topic;
use crate::wait::{Rng, folder, seed, unique};

fn words<'a>(file: &'a str, topic: &'a Topic, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["produce", "--json", "--input", file, "--topic", &topic.name];
    [&words, &["--brokers", &topic.brokers][..], more].concat()
}

/// Exit code, outcome, standard error.
fn produce(file: &Path, topic: &Topic, more: &[&str]) -> (i32, Value, String) {
    let file = file.display().to_string();
    let (code, out, err) = told(program(&words(&file, topic, more)).output().unwrap());
    let outcome = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    (code, outcome, err)
}

fn text(it: &Option<Vec<u8>>) -> String {
    it.as_deref().map_or(String::new(), |it| String::from_utf8_lossy(it).into_owned())
}

/// The values of each key, in their order.
fn by_key(all: &[Read]) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for it in all {
        keys.entry(text(&it.key)).or_default().push(text(&it.value));
    }
    keys
}

/// What should be there: the lines of each subject, in their order.
fn by_subject(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap();
        let key = event["subject"].as_str().unwrap_or_default();
        keys.entry(key.into()).or_default().push(line.clone());
    }
    keys
}

/// Goal: a file arrives whole, each line once, in order within its key, marked as an event.
/// Method: every codec; kcat reads it back. (Lines without a key have no order between them.)
#[test]
fn a_file_arrives_whole() {
    let (file, lines) = generated("whole", seed(), 2_000);
    for codec in CODECS {
        let topic = Topic { brokers: Broker::shared().brokers().into(), name: unique("whole") };
        let more = ["--partitions", "4", "--compression", codec];
        let (code, outcome, err) = produce(&file, &topic, &more);
        assert_eq!((code, &outcome["ended"]), (0, &"whole".into()), "{err}");
        assert_eq!(
            (&outcome["acknowledged"], &outcome["next_line"]),
            (&2_000.into(), &2_001.into())
        );
        assert_eq!(topic.partitions(), 4);
        let read = kcat::consume(&topic);
        let (mut found, mut wanted) = (by_key(&read), by_subject(&lines));
        for it in [&mut found, &mut wanted] {
            it.entry(String::new()).or_default().sort_unstable();
        }
        assert_eq!(found, wanted, "{codec}");
        let unkeyed = read.iter().filter(|it| it.key.is_none()).count();
        assert_eq!(outcome["unkeyed"], unkeyed);
        let marked = ("content-type".to_string(), "application/cloudevents+json; charset=UTF-8");
        for it in read {
            assert_eq!((&it.headers[0].0, &*text(&it.headers[0].1)), (&marked.0, marked.1));
        }
    }
}

/// Goal: in binary mode the headers are the attributes and the value is the data. Method: kcat
/// reads it back; each event is put together again and compared with its line.
#[test]
fn binary_mode_is_the_binding_for_kafka() {
    let (file, lines) = generated("binary", seed(), 500);
    let topic = Topic::create(Broker::shared().brokers(), "binary", 3, &[]);
    let (code, _, err) = produce(&file, &topic, &["--mode", "binary"]);
    assert_eq!(code, 0, "{err}");
    let together = |it: Read| {
        let mut event = serde_json::Map::new();
        for (name, value) in &it.headers {
            match name.strip_prefix("ce_") {
                Some(name) => event.insert(name.into(), text(value).into()),
                None => {
                    assert_eq!((&**name, &*text(value)), ("content-type", "application/json"));
                    None
                }
            };
        }
        assert_eq!(event.get("subject").map_or("", |it| it.as_str().unwrap()), text(&it.key));
        event.insert("data".into(), serde_json::from_str(&text(&it.value)).unwrap());
        Value::Object(event)
    };
    let id = |it: &Value| it["id"].as_str().unwrap().to_string();
    let found: BTreeMap<_, _> =
        kcat::consume(&topic).into_iter().map(together).map(|it| (id(&it), it)).collect();
    let parsed = lines.iter().map(|it| serde_json::from_str::<Value>(it).unwrap());
    assert_eq!(found, parsed.map(|it| (id(&it), it)).collect());
}

/// Goal: foreign JSON is sent as it stands, keyed by the pointer, also compressed files; empty
/// lines are not sent. Method: text, number, nothing, and what is not JSON.
#[test]
fn foreign_lines_are_keyed_by_their_pointer() {
    seed();
    let file = folder("foreign").join("in.jsonl.gz");
    let lines =
        ["{\"a\":{\"id\":\"A\"}}", "", "{\"a\":{\"id\":7}}\r", "{\"b\":1}", "no JSON", "  "];
    let mut writer =
        flate2::write::GzEncoder::new(std::fs::File::create(&file).unwrap(), Default::default());
    std::io::Write::write_all(&mut writer, lines.join("\n").as_bytes()).unwrap();
    writer.finish().unwrap();
    let topic = Topic::create(Broker::shared().brokers(), "foreign", 1, &[]);
    let (code, outcome, err) = produce(&file, &topic, &["--key-pointer", "/a/id"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!((&outcome["skipped"], &outcome["unkeyed"]), (&2.into(), &2.into()), "{outcome}");
    let found: Vec<_> =
        read_all(&topic).iter().map(|it| (text(&it.key), text(&it.value))).collect();
    let wanted = [("A", lines[0]), ("7", "{\"a\":{\"id\":7}}"), ("", lines[3]), ("", lines[4])];
    assert_eq!(found, wanted.map(|it| (it.0.to_string(), it.1.to_string())));
}

/// One that was started; killed with the test.
struct Started(Child);

impl Started {
    /// Started, and so far that this many records are acknowledged.
    fn until_acknowledged(file: &Path, topic: &Topic, more: &[&str], records: u64) -> Started {
        let file = file.display().to_string();
        let mut command = program(&words(&file, topic, more));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, told) = std::sync::mpsc::channel();
        // It goes on reading, or the process would wait for it.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let [_, count, "acknowledged", ..] = words[..] {
                    tell.send(count.parse::<u64>().unwrap()).ok();
                }
            }
        });
        let it = Started(child);
        while told.recv_timeout(crate::wait::PATIENCE).expect("a line of progress") < records {}
        it
    }

    /// SIGINT, as Ctrl-C.
    fn interrupt(&self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    fn outcome(mut self) -> (i32, Value) {
        let mut out = String::new();
        std::io::Read::read_to_string(&mut self.0.stdout.take().unwrap(), &mut out).unwrap();
        let code = self.0.wait().unwrap().code().unwrap_or(-1);
        (code, serde_json::from_str(&out).unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Ended already, in a test that passes.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Goal: a broker that is killed in the middle costs nothing: each line once, in order within its
/// key, without a word from us. Method: SIGKILL once a quarter is there, then its start.
#[test]
fn a_killed_broker_costs_nothing() {
    let broker = Broker::own("produce", &[]);
    let topic = Topic::create(broker.brokers(), "killed", 4, &[]);
    let seed = seed();
    let (file, lines) = generated("killed", seed, 8_000);
    let at = 1_000 + Rng(seed).below(4_000);
    let it = Started::until_acknowledged(&file, &topic, &["--rate", "1000"], at);
    broker.kill();
    broker.start();
    let (code, outcome) = it.outcome();
    assert_eq!((code, &outcome["acknowledged"]), (0, &8_000.into()), "{outcome}");
    let (mut found, mut wanted) = (by_key(&read_all(&topic)), by_subject(&lines));
    for it in [&mut found, &mut wanted] {
        it.entry(String::new()).or_default().sort_unstable();
    }
    assert_eq!(found, wanted);
}

/// Goal: a broker that stays away is told in the end, with where to go on, and going on leaves
/// nothing out. Method: SIGKILL in the middle and two seconds of patience; then its start.
#[test]
fn a_broker_that_stays_away_is_told() {
    let broker = Broker::own("away", &[]);
    let topic = Topic::create(broker.brokers(), "away", 4, &[]);
    let (file, lines) = generated("away", seed(), 6_000);
    let more = ["--rate", "1000", "--property", "message.timeout.ms=2000"];
    let it = Started::until_acknowledged(&file, &topic, &more, 1_000);
    broker.kill();
    let (code, outcome) = it.outcome();
    assert_eq!((code, &outcome["ended"]), (1, &"failed".into()), "{outcome}");
    let next = outcome["next_line"].as_u64().unwrap();
    assert!((1_001..=6_000).contains(&next), "{outcome}");
    broker.start();
    let (code, _, err) = produce(&file, &topic, &["--from", &next.to_string()]);
    assert_eq!(code, 0, "{err}");
    let found: BTreeSet<_> = read_all(&topic).iter().map(|it| text(&it.value)).collect();
    assert_eq!(found, lines.into_iter().collect());
}

/// Goal: the demo's events reach a topic without a file, the same ones for a seed, also from a
/// position on. Method: beside what `generate` writes.
#[test]
fn the_generator_s_events_need_no_file() {
    let seed = (seed() % 1_000_000).to_string();
    let words = ["generate", "--events", "500", "--seed", &seed];
    let (_, lines, _) = told(program(&words).output().unwrap());
    let lines: Vec<String> = lines.lines().map(str::to_string).collect();
    for (from, left) in [("1", 500), ("401", 100)] {
        let topic = Topic::create(Broker::shared().brokers(), "events", 1, &[]);
        let words = ["produce", "--json", "--events", "500", "--seed", &seed, "--from", from];
        let to = ["--topic", &topic.name, "--brokers", &topic.brokers];
        let (code, out, err) = told(program(&[&words[..], &to].concat()).output().unwrap());
        let outcome: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        let told = (code, outcome["acknowledged"].as_u64(), outcome["next_line"].as_u64());
        assert_eq!(told, (0, Some(left), Some(501)), "{err}");
        let read: Vec<String> = read_all(&topic).iter().map(|it| text(&it.value)).collect();
        assert_eq!(read, lines[500 - left as usize..]);
    }
}

/// Goal: interrupted, it says from where to go on, and going on leaves nothing out. Method: SIGINT
/// in the middle, then `--from`; every line is there, those before the position exactly once.
#[test]
fn an_interrupted_file_is_gone_on_with() {
    let topic = Topic::create(Broker::shared().brokers(), "interrupted", 4, &[]);
    let (file, lines) = generated("interrupted", seed(), 4_000);
    let it = Started::until_acknowledged(&file, &topic, &["--rate", "400"], 500);
    it.interrupt();
    let (code, outcome) = it.outcome();
    assert_eq!((code, &outcome["ended"]), (1, &"interrupted".into()), "{outcome}");
    let next = outcome["next_line"].as_u64().unwrap();
    assert!((501..=3_999).contains(&next), "{outcome}");
    let (code, outcome, err) = produce(&file, &topic, &["--from", &next.to_string()]);
    assert_eq!((code, &outcome["next_line"]), (0, &4_001.into()), "{err}");
    let read = read_all(&topic);
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for it in &read {
        *times.entry(text(&it.value)).or_default() += 1;
    }
    assert_eq!(times.keys().collect::<BTreeSet<_>>(), lines.iter().collect::<BTreeSet<_>>());
    for line in &lines[..next as usize - 1] {
        assert_eq!(times[line], 1, "{line}");
    }
}

/// Goal: a line that the topic does not take is named, with where to go on, and what is before it
/// is kept. Method: a topic with a small limit, a long line in the middle.
#[test]
fn a_line_that_is_refused_is_named() {
    seed();
    let limit = [("max.message.bytes", "1000")];
    let topic = Topic::create(Broker::shared().brokers(), "refused", 1, &limit);
    let file = folder("refused").join("in.jsonl");
    std::fs::write(&file, format!("a\nb\n{}\nc\n", "x".repeat(5_000))).unwrap();
    let plain = ["--compression", "none"];
    let (code, outcome, err) = produce(&file, &topic, &plain);
    assert_eq!((code, &outcome["next_line"]), (1, &3.into()), "{outcome}{err}");
    assert!(err.contains("error[produce/refused]") && err.contains("at: line 3"), "{err}");
    let more = [&plain[..], &["--from", "4"]].concat();
    let (code, outcome, err) = produce(&file, &topic, &more);
    assert_eq!((code, &outcome["acknowledged"]), (0, &1.into()), "{err}");
    let values: BTreeSet<_> = read_all(&topic).iter().map(|it| text(&it.value)).collect();
    assert_eq!(values.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
}

/// Goal: every listener is reached with the right credentials, and refused at once with the wrong
/// ones; no secret is shown. Method: each listener; then a wrong password, then a CA of another.
#[test]
fn secured_listeners_are_reached_and_wrong_secrets_refused() {
    seed();
    const CANARY: &str = "kestrel-7731-canary";
    let broker = Broker::shared();
    let plain = Topic::create(broker.brokers(), "secured", 1, &[]);
    let file = folder("secured").join("in.jsonl");
    std::fs::write(&file, "{}\n").unwrap();
    let wrong = folder("secured").join("wrong");
    std::fs::write(&wrong, format!("{CANARY}\n")).unwrap();
    let unknown_ca = unknown_ca("secured").display().to_string();
    let reach = |listener, password: Option<&Path>, ca: Option<&str>| {
        let (address, settings, right) = broker.secured(listener);
        let topic = Topic { brokers: address, ..plain.clone() };
        let mut more: Vec<String> = Vec::new();
        for (name, value) in settings {
            let value = ca.filter(|_| name == "ssl.ca.location").map_or(value, str::to_string);
            more.extend(["--property".into(), format!("{name}={value}")]);
        }
        if let Some(file) = password.or(right.as_deref()) {
            more.extend(["--property".into(), format!("sasl.password=file:{}", file.display())]);
        }
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let (code, outcome, err) = produce(&file, &topic, &more);
        assert!(!format!("{outcome}{err}").contains(CANARY), "{outcome}{err}");
        (code, err)
    };
    for listener in [Secured::SaslPlaintext, Secured::SaslSsl, Secured::Ssl] {
        let (code, err) = reach(listener, None, None);
        assert_eq!(code, 0, "{listener:?}: {err}");
    }
    for listener in [Secured::SaslPlaintext, Secured::SaslSsl] {
        let (code, err) = reach(listener, Some(&wrong), None);
        assert_eq!(code, 1, "{listener:?}: {err}");
        assert!(
            err.contains("error[produce/no-broker]") && err.contains("Authentication"),
            "{err}"
        );
    }
    let (code, err) = reach(Secured::Ssl, None, Some(&unknown_ca));
    assert!(code == 1 && err.contains("certificate could not be verified"), "{err}");
    assert_eq!(read_all(&plain).len(), 3);
}

/// Goal: nothing is made or sent by accident. Method: a topic that is not there; brokers that are
/// not.
#[test]
fn what_is_not_there_is_told() {
    seed();
    let (file, _) = generated("absent", 1, 1);
    let topic = Topic { brokers: Broker::shared().brokers().into(), name: unique("absent") };
    let (code, outcome, err) = produce(&file, &topic, &[]);
    assert_eq!((code, &outcome["acknowledged"]), (1, &0.into()));
    assert!(err.contains("error[produce/no-topic]"), "{err}");
    assert_eq!(topic.partitions(), 0);
    let nobody = Topic { brokers: "127.0.0.1:1".into(), ..topic };
    let (code, _, err) = produce(&file, &nobody, &[]);
    assert!(code == 1 && err.contains("error[produce/no-broker]"), "{err}");
    assert!(err.contains("Connection refused"), "{err}");
}
