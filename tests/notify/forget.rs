//! Goal: a message that ended longer ago than `notifications.keep` is forgotten, and is not said
//! again by whatever comes: a restart, a kill, the whole log read into an empty state.
//! Method: the real binary, which keeps messages for seconds; a rule that at each start speaks of
//! all that is so and was not said before, however old it is.

use super::*;

/// Messages live as long as they are kept: shorter it must not be.
const KEEP: &str = "4s";
const CASES: usize = 3;

/// Records of the log of one type, as they were written.
fn records(address: &str, kind: &str) -> Vec<Value> {
    let (mut all, mut from) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/admin/log/records?limit=1000{from}");
        let (status, page) = ask(address, "GET", &path, &Value::Null);
        assert_eq!(status, 200, "{page}");
        let records = page["result"].as_array().unwrap();
        let Some(last) = records.last() else { return all };
        from = format!("&from={}", last["position"].as_u64().unwrap() + 1);
        let events =
            records.iter().filter_map(|it| serde_json::from_str(it["text"].as_str()?).ok());
        all.extend(events.filter(|it: &Value| it["type"] == kind));
    }
}

/// Waits until so many were forgotten, and gives what is counted then.
fn until_forgotten(address: &str, n: usize) -> BTreeMap<String, u64> {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let (_, ledger) = ask(address, "GET", "/v1/ledger", &Value::Null);
        let counts: BTreeMap<String, u64> =
            serde_json::from_value(ledger["notifications"].clone()).unwrap();
        if counts.get("forgotten") == Some(&(n as u64)) {
            return counts;
        }
        assert!(Instant::now() < end, "{n} forgotten: {counts:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The counts of what ended or waits are together as many as were planned.
fn balance(counts: &BTreeMap<String, u64>, planned: usize) {
    let n: u64 = counts.iter().filter(|it| it.0 != "forgotten").map(|it| it.1).sum();
    assert_eq!(n, planned as u64, "{counts:?}");
}

fn ids(came: &[Came]) -> BTreeSet<String> {
    came.iter().map(|it| it.id().to_string()).collect()
}

#[test]
fn what_ended_is_forgotten_and_not_said_again() {
    let folder = Folder::new("notify-forget");
    let receiver = Receiver::start(|_| Temper::status(200));
    // It has no `since`: nothing is too old for it.
    let more = "already = true\nresolved = \"case {{ case }} is done\"";
    let text = rule("waits", "ops", more).replace("since = \"opened_at\"\n", "");
    let text = format!("[notifications]\nkeep = \"{KEEP}\"\n{text}");
    let text = text + &channel("ops", &receiver, &format!("expires = \"{KEEP}\""));
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let (process, mut address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", CASES));
    let counts = until_forgotten(&address, CASES);
    balance(&counts, CASES);
    assert_eq!(counts.get("planned"), None, "{counts:?}");
    assert!(intents(&address).is_empty());
    let first = ids(&receiver.came());
    assert_eq!(first.len(), CASES, "{:#?}", receiver.came());

    // Nothing can be done about it, and that is said.
    let message = first.first().unwrap();
    for (word, code) in [
        ("retry", "notify/forgotten"),
        ("cancel", "notify/forgotten"),
        ("acknowledge", "serve/no-such-row"),
    ] {
        let data_dir = data.display().to_string();
        let words =
            ["notifications", word, message, "--data-dir", &data_dir, "--config", &settings];
        let (rc, out, err) = run(&words);
        assert!(rc != 0 && err.contains(code) && err.contains(message), "{rc} {out}{err}");
    }

    // Ended in order, killed, and without its state: the log alone. Each start has decided of what
    // was so before the case that is opened then; that one is told too, and forgotten.
    let mut n = CASES;
    let mut process = Some(process);
    for way in ["end", "kill", "log"] {
        let mut last = process.take().unwrap();
        match way {
            "end" => {
                last.signal("-TERM");
                assert_eq!(last.end().0, 0);
            }
            _ => {
                last.child.kill().unwrap();
                last.child.wait().unwrap();
            }
        }
        if way == "log" {
            std::fs::remove_dir_all(data.join("state")).unwrap();
            std::fs::remove_dir_all(data.join("identities")).ok();
        }
        let (next, at) = start(&data, &settings);
        (process, address) = (Some(next), at);
        tell(&address, "case.opened", &[format!("L-{way}")]);
        n += 1;
        receiver.until("the one that is new", |it| {
            let about = format!("L-{way}");
            it.iter().any(|it| it.json()["data"]["about"] == about.as_str())
        });
        balance(&until_forgotten(&address, n), n);
        assert_eq!(ids(&receiver.came()).len(), n, "{way}");
        let planned = records(&address, "message.planned");
        assert_eq!(planned.len(), n, "{way}: {planned:#?}");
        let answered = records(&address, "message.answered");
        let forgot: Vec<&Value> =
            answered.iter().filter(|it| it["data"]["outcome"] == "forgotten").collect();
        let names: BTreeSet<&str> = forgot.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!((forgot.len(), names.len()), (n, n), "once each: {forgot:#?}");
    }

    // That it is over is said of one that was forgotten: it was spoken of.
    let said = |it: &Came| it.json()["data"]["corrects"].as_str().map(str::to_string);
    tell(&address, "case.resolved", &names("K", 1));
    let came = receiver.until("its end", |it| it.iter().any(|it| said(it).is_some()));
    let corrected = came.iter().find_map(said).unwrap();
    assert!(first.contains(&corrected), "{corrected} {first:?}");
    balance(&until_forgotten(&address, n + 1), n + 1);
}

/// Goal: a shorter time is taken up without a restart; what is to be shown later stays, and is
/// forgotten once it has been shown. Method: messages that are kept for an hour, one of them
/// snoozed; then a reload.
#[test]
fn a_shorter_time_is_taken_up() {
    let folder = Folder::new("notify-shorter");
    let receiver = Receiver::start(|_| Temper::status(200));
    let rule = rule("waits", "ops", "").replace("since = \"opened_at\"\n", "");
    let text = |keep: &str| {
        let channel = channel("ops", &receiver, &format!("expires = \"{KEEP}\""));
        format!("[notifications]\nkeep = \"{keep}\"\n{rule}{channel}")
    };
    let path = settings(&folder, &text("1h"));
    let data = folder.0.join("data");
    let (_process, address) = start(&data, &path);
    tell(&address, "case.opened", &names("K", CASES));
    let all =
        until(&address, "ended", |it| it.len() == CASES && !states(it).contains_key("planned"));
    let later = all.keys().next().unwrap();
    let data_dir = data.display().to_string();
    let folder_words = ["--data-dir", &data_dir, "--config", &path];
    let command = |words: &[&str]| {
        let (code, out, err) = run(&[words, &folder_words].concat());
        assert_eq!(code, 0, "{words:?}: {out}{err}");
    };
    command(&["notifications", "snooze", later, "--for", "2h"]);
    settings(&folder, &text(KEEP));
    command(&["rules", "reload"]);
    balance(&until_forgotten(&address, CASES - 1), CASES);
    let shown = |query: &str| {
        let (_, told) = ask(&address, "GET", &format!("/v1/notifications{query}"), &Value::Null);
        told["rows"].as_array().unwrap().len()
    };
    assert_eq!((shown(""), shown("?snoozed=all")), (0, 1));
    // Shown again, it is forgotten by the next round: the reload begins one.
    command(&["notifications", "snooze", later, "--over"]);
    let end = Instant::now() + Duration::from_secs(120);
    while shown("") != 1 {
        assert!(Instant::now() < end, "it is shown again");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    settings(&folder, &text("5s"));
    command(&["rules", "reload"]);
    balance(&until_forgotten(&address, CASES), CASES);
    assert_eq!(shown("?snoozed=all"), 0);
}

/// Goal: what looks back on messages finds them there, or nothing is started: by default they are
/// kept as long as that, and a shorter time is told. Method: `check`, with rules and a channel.
#[test]
fn kept_as_long_as_is_looked_back() {
    let folder = Folder::new("notify-keep");
    let receiver = Receiver::start(|_| Temper::status(200));
    let check = |keep: &str, more: &str| {
        let text = channel("ops", &receiver, "") + &rule("waits", "ops", more);
        let settings = settings(&folder, &format!("{keep}{text}"));
        run(&["check", "--show", "--config", &settings])
    };
    for (keep, more, expected) in [
        ("", "", "30d"),
        ("", "max_age = \"60d\"", "60d"),
        ("[notifications]\nkeep = \"90d\"\n", "max_age = \"60d\"", "90d"),
        ("[notifications]\nkeep = \"4d\"\n", "", "4d"),
    ] {
        let (code, out, err) = check(keep, more);
        let line = format!("notifications.keep = \"{expected}\"");
        assert!(code == 0 && out.lines().any(|it| it == line), "{keep}{more}: {out}{err}");
    }
    for (keep, more, whose) in [
        ("3d", "", "at least 4d, which is channels.ops.expires"),
        ("20d", "max_age = \"60d\"", "at least 60d, which is rules.waits.max_age"),
        ("20d", "quiet = \"21d\"", "at least 21d, which is rules.waits.quiet"),
        ("20d", "settle = \"22d\"", "at least 22d, which is rules.waits.settle"),
        ("500ms", "", "from 1s to 4000d"),
    ] {
        let (code, out, err) = check(&format!("[notifications]\nkeep = \"{keep}\"\n"), more);
        assert!(code != 0 && err.contains(whose), "{keep} {more}: {out}{err}");
    }
}
