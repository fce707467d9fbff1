//! Goal: a channel and its receiver, whatever becomes of either: secrets that are rotated, a
//! certificate that is not trusted, a name that stands for nothing, a receiver that is not there yet,
//! one of a hundred that hangs, one that is gone.
//! Method: the real binary and its command line, a receiver of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;

/// Cases of a round, each a message to every one of a hundred endpoints.
const ROUND: usize = 15;
/// What an endpoint that hangs may cost in a round above one that does not, MiB: much more than its
/// messages need, and less than what they would take if each held on to a buffer.
const DEAD_MIB: i64 = 48;

/// What a process has in memory.
fn resident_mib(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() / 1_024
}

/// What `millstream channels list` says of a channel.
pub(super) fn stands(data: &Path, name: &str) -> Value {
    let data_dir = data.display().to_string();
    let (code, out, err) = run(&["channels", "list", "--json", "--data-dir", &data_dir]);
    assert_eq!(code, 0, "{err}");
    let all = out.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    all.into_iter().find(|it| it["name"] == name).expect("a channel of this name")
}

pub(super) fn until_stands(
    data: &Path,
    name: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let it = stands(data, name);
        if is(&it) {
            return it;
        }
        assert!(Instant::now() < end, "{what}: {it}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// `millstream channels …`; what it prints.
pub(super) fn channels(words: &[&str], data: &Path, settings: &str) -> (i32, String) {
    let data_dir = data.display().to_string();
    let all = [&["channels"], words, &["--data-dir", &data_dir, "--config", settings]].concat();
    let (code, out, err) = run(&all);
    (code, out + &err)
}

fn signed_by(it: &Came, secret: &str) -> bool {
    let signed = Signed {
        id: it.id().to_string(),
        timestamp: it.headers["webhook-timestamp"].parse().unwrap(),
        signature: it.headers["webhook-signature"].clone(),
    };
    Keys::read(secret).unwrap().verify(&signed, &it.body, None)
}

/// Goal: a secret is rotated while the process runs and no message is without a signature that the
/// receiver knows: both sign after the first step, the new one alone after the last; then the same
/// with an Ed25519 key beside an HMAC secret; no secret is shown. Method: a message after each step.
#[test]
fn a_secret_is_rotated() {
    let folder = Folder::new("notify-rotate");
    let receiver = Receiver::start(|_| Temper::status(200));
    let text = channel("ops", &receiver, "") + &rule("waits", "ops", "");
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let file = folder.0.join("ops.secret");
    let (process, address) = start(&data, &settings);
    let secrets = || -> Vec<String> {
        std::fs::read_to_string(&file).unwrap().lines().map(String::from).collect()
    };
    let mut n = 0;
    let mut said = |address: &str| {
        let case = format!("K-{n}");
        tell(address, "case.opened", std::slice::from_ref(&case));
        n += 1;
        let is = |it: &Came| it.json()["data"]["about"] == case;
        let came = receiver.until("one more", |it| it.iter().any(is));
        // Marked, too: what is said next is another one.
        until(address, "all are there", |it| states(it).get("delivered") == Some(&n));
        came.into_iter().rfind(is).unwrap()
    };
    assert!(signed_by(&said(&address), SECRET));
    let (code, told) = channels(&["rotate", "ops"], &data, &settings);
    assert_eq!(code, 0, "{told}");
    let both = secrets();
    assert!(both.len() == 2 && both[1] == SECRET, "the new one is first");
    let came = said(&address);
    assert!(both.iter().all(|it| signed_by(&came, it)), "either verifies");
    assert_eq!(stands(&data, "ops")["signs"], json!(["hmac", "hmac"]));
    let (code, more) = channels(&["rotate", "ops", "--finish"], &data, &settings);
    assert_eq!((code, secrets()), (0, vec![both[0].clone()]), "{more}");
    let came = said(&address);
    assert!(signed_by(&came, &both[0]) && !signed_by(&came, SECRET));
    // A key pair beside it, while no process runs: the next one signs with both.
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let (code, own) = channels(&["rotate", "ops", "--kind", "ed25519"], &data, &settings);
    assert_eq!(code, 0, "{own}");
    let pair = secrets();
    assert!(own.contains("whpk_") && pair[0].starts_with("whsk_"), "{own}");
    let (_process, address) = start(&data, &settings);
    let came = said(&address);
    assert!(pair.iter().all(|it| signed_by(&came, it)));
    assert!(came.headers["webhook-signature"].contains("v1a,"));
    for secret in both.iter().chain(&pair) {
        for shown in [&told, &more, &own] {
            assert!(!shown.contains(&secret[6..]), "a secret was shown");
        }
    }
    // What cannot be is told, and nothing is changed.
    let (code, told) = channels(&["rotate", "opps"], &data, &settings);
    assert!(code == 1 && told.contains("notify/no-such-channel"), "{told}");
    std::fs::write(&file, "no secret").unwrap();
    let (code, told) = channels(&["rotate", "ops"], &data, &settings);
    assert!(code == 1 && told.contains("notify/rotate"), "{told}");
    assert!(signed_by(&said(&address), &pair[0]), "it signs as before");
}

/// Goal: nothing is said to one whose certificate is not trusted, or whose name stands for nothing;
/// both are told, and the messages wait; one that is trusted is spoken to.
#[test]
fn certificates_and_names() {
    let folder = Folder::new("notify-tls");
    let receiver = Receiver::tls(|_| Temper::status(200));
    let plain = Receiver::start(|_| Temper::status(200));
    let https = |it: String| it.replace("http://", "https://");
    let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/tls/ca.pem");
    // (The system's own certificates are other ones; a list without any of them will do.)
    let trusted = https(channel("trusted", &receiver, &format!("ca_file = \"{ca}\"")));
    let other = folder.file("other.pem", OTHER_CA);
    let unknown = https(channel("unknown", &receiver, &format!("ca_file = \"{other}\"")));
    let nowhere = channel("nowhere", &plain, "")
        .replace(&format!("http://{}", plain.address), "http://receiver.invalid");
    let rules = ["trusted", "unknown", "nowhere"].map(|it| rule(&format!("to-{it}"), it, ""));
    let settings = settings(&folder, &(trusted + &unknown + &nowhere + &rules.concat()));
    let data = folder.0.join("data");
    let (_process, address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", 1));
    let all = until(&address, "one is there", |it| states(it).get("delivered") == Some(&1));
    assert_eq!(all.values().find(|it| it["state"] == "delivered").unwrap()["channel"], "trusted");
    let is = |it: &Value| it["state"] == "misconfigured";
    let it = until_stands(&data, "unknown", "it is told", is);
    assert!(it["why"].as_str().unwrap().contains("certificate is not trusted"), "{it}");
    until_stands(&data, "nowhere", "it is tried", |it| it["failures"].as_u64() > Some(0));
    let (_, again) = channels(&["again", "nowhere"], &data, &settings);
    assert!(again.contains("  attempts ") && again.contains("K-0"), "{again}");
    assert_eq!((receiver.came().len(), plain.came().len()), (1, 0));
    receiver.came().iter().for_each(is_signed);
}

/// Another authority than that of the receivers, as nobody would use it.
const OTHER_CA: &str = include_str!("../common/tls/other.pem");

/// Goal: killed between an intent and its first attempt, each is sent once by the next process, under
/// the name that it had. Method: nobody listens at first, so that nothing can be attempted; `kill -9`
/// once the intents can be read; then a receiver at that very address.
#[test]
fn killed_before_the_first_attempt() {
    let folder = Folder::new("notify-before");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = port.local_addr().unwrap().to_string();
    let text = format!(
        "[channels.ops]\nkind = \"webhook\"\nurl = \"http://{at}/ops\"\n\
         secret_file = \"ops.secret\"\nallow = [\"{at}\"]\n"
    ) + &rule("waits", "ops", "");
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    // Bound, and nobody accepts: connections are made, and never answered.
    let (mut process, address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", 5));
    let before = until(&address, "decided", |it| states(it).get("planned") == Some(&5));
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    drop(process);
    // What lies there of the one that was killed comes too, under the same ids.
    let receiver = Receiver::on(port, |_| Temper::status(200));
    let (_process, address) = start(&data, &settings);
    let after = until(&address, "delivered", |it| states(it).get("delivered") == Some(&5));
    assert!(after.keys().eq(before.keys()));
    let came = receiver.came();
    let ids: BTreeSet<&str> = came.iter().map(Came::id).collect();
    assert_eq!(ids, before.keys().map(String::as_str).collect());
}

/// Goal: of a hundred receivers the one that hangs delays no other, and holds no more than its
/// window. Method: it hangs until all others have everything.
#[test]
fn one_of_a_hundred_hangs() {
    let folder = Folder::new("notify-hundred");
    let over = Arc::new(AtomicBool::new(false));
    let held = Arc::clone(&over);
    let receiver = Receiver::start(move |came| match came.path.as_str() {
        "/c-7" if !held.load(SeqCst) => Temper::Until(Arc::clone(&held)),
        _ => Temper::status(200),
    });
    let all: String = (0..100)
        .map(|n| {
            let name = format!("c-{n}");
            // One at a time each: a burst of all of them fits what a listener keeps unaccepted.
            channel(&name, &receiver, "timeout = \"60s\"\nconcurrency = 1")
                + &rule(&format!("to-{n}"), &name, "")
        })
        .collect();
    let settings = settings(&folder, &all);
    let data = folder.0.join("data");
    let (process, address) = start(&data, &settings);
    const CASES: usize = 5;
    tell(&address, "case.opened", &names("K", CASES));
    // One that comes again is the same one.
    let others = |it: &[Came]| it.iter().filter(|it| it.path != "/c-7" && it.nth == 0).count();
    receiver.until("all others have all", |it| others(it) == 99 * CASES);
    let it = stands(&data, "c-7");
    assert_eq!((&it["delivered"], &it["waiting"]), (&json!(0), &json!(CASES)), "{it}");
    // Memory is flat: as many again for all but the dead one, and as many as that once it lives.
    let round = |prefix: &str| {
        let n = others(&receiver.came());
        let before = resident_mib(process.child.id());
        tell(&address, "case.opened", &names(prefix, ROUND));
        receiver.until("all others have all", |it| others(it) == n + 99 * ROUND);
        resident_mib(process.child.id()) - before
    };
    round("warm");
    let with_a_dead_one = round("L");
    over.store(true, SeqCst);
    let (code, told) = channels(&["resume", "c-7"], &data, &settings);
    assert_eq!(code, 0, "{told}");
    let is_all = |it: &Value| it["delivered"] == CASES + 2 * ROUND && it["waiting"] == 0;
    until_stands(&data, "c-7", "it is told everything after all", is_all);
    let without = round("M");
    assert!(
        with_a_dead_one < without + DEAD_MIB,
        "grown by {with_a_dead_one} MiB with a dead endpoint, by {without} MiB without"
    );
}

/// Goal: a receiver that answered 410 is not spoken to again, also by the next process; what waits
/// for it expires; once somebody says so, it hears again.
#[test]
fn gone_until_somebody_says_so() {
    let folder = Folder::new("notify-gone");
    let back = Arc::new(AtomicBool::new(false));
    let is_back = Arc::clone(&back);
    let receiver = Receiver::start(move |_| match is_back.load(SeqCst) {
        true => Temper::status(200),
        false => Temper::status(410),
    });
    let with = |more: &str| {
        settings(&folder, &(channel("ops", &receiver, more) + &rule("waits", "ops", "")))
    };
    let words = with("");
    let data = folder.0.join("data");
    let (process, address) = start(&data, &words);
    tell(&address, "case.opened", &names("K", 1));
    until(&address, "refused", |it| states(it).get("refused") == Some(&1));
    until_stands(&data, "ops", "gone", |it| it["state"] == "gone");
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    // What waits for it now is soon not worth saying.
    let (process, address) = start(&data, &with("expires = \"2s\""));
    assert_eq!(stands(&data, "ops")["state"], "gone");
    tell(&address, "case.opened", &names("L", 3));
    until(&address, "they expire", |it| states(it).get("expired") == Some(&3));
    assert_eq!(receiver.came().len(), 1);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let words = with("");
    let (_process, address) = start(&data, &words);
    back.store(true, SeqCst);
    let (code, told) = channels(&["resume", "ops"], &data, &words);
    assert_eq!(code, 0, "{told}");
    until_stands(&data, "ops", "it is tried again", |it| it["state"] == "closed");
    tell(&address, "case.opened", &names("M", 1));
    until(&address, "it hears again", |it| states(it).get("delivered") == Some(&1));
}

/// Goal: a channel makes no more attempts in a second than its `rate`. Method: the last of seven, at
/// two a second, cannot have left before three seconds are over; what slows this down only makes it
/// later.
#[test]
fn no_faster_than_its_rate() {
    const N: usize = 7;
    let folder = Folder::new("notify-rate");
    let receiver = Receiver::start(|_| Temper::status(200));
    let text = channel("ops", &receiver, "rate = 2") + &rule("waits", "ops", "");
    let settings = settings(&folder, &text);
    let (_process, address) = start(&folder.0.join("data"), &settings);
    let began = SystemTime::now();
    tell(&address, "case.opened", &names("K", N));
    let came = receiver.until("all", |it| it.len() == N);
    for (n, it) in came.iter().enumerate() {
        let took = it.at.duration_since(began).unwrap();
        // A millisecond of grace for each; and the clocks are read in milliseconds.
        let least = Duration::from_millis(500 * n as u64).saturating_sub(Duration::from_millis(20));
        assert!(took >= least, "{n}: {took:?}");
    }
}

/// Goal: a channel has no more attempts under way than its `concurrency`, and as many where so many
/// wait. Method: a receiver that holds every answer until three are asked for, and counts those that
/// it has not answered.
#[test]
fn no_more_at_once_than_its_concurrency() {
    const N: usize = 30;
    let folder = Folder::new("notify-concurrency");
    let go = Arc::new(AtomicBool::new(false));
    let held = Arc::clone(&go);
    let receiver = Receiver::start(move |_| Temper::Once(Arc::clone(&held)));
    let text = channel("ops", &receiver, "concurrency = 3\ntimeout = \"60s\"");
    let settings = settings(&folder, &(text + &rule("waits", "ops", "")));
    let data = folder.0.join("data");
    let (_process, address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", N));
    receiver.until("three are under way", |it| it.len() == 3);
    // All are decided, and a look of the channel at least has gone by with nothing more.
    until(&address, "all wait", |it| it.len() == N);
    until_stands(&data, "ops", "all wait", |it| it["waiting"] == N);
    assert_eq!(receiver.came().len(), 3);
    go.store(true, SeqCst);
    until(&address, "all are there", |it| states(it).get("delivered") == Some(&N));
    assert_eq!(receiver.most_at_once(), 3);
    assert_eq!(receiver.came().len(), N);
}
