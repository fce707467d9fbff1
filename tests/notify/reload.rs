//! Goal: other rules and channels decide from a stated epoch on, without a restart: all of them, or
//! none where something is wrong; nothing is said of what was so already, unless a rule says so.
//! Method: the real binary; its settings file is written anew, and `millstream rules reload`, the
//! route behind it and SIGHUP are told so.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::*;

/// A rule over open cases, with a wording of its own.
fn worded(name: &str, channel: &str, word: &str, more: &str) -> String {
    rule(name, channel, more).replace("of {{ customer }} waits", word)
}

fn said(all: &[Came], from: usize) -> BTreeSet<String> {
    let text = |it: &Came| it.json()["data"]["text"].as_str().unwrap().to_string();
    all[from..].iter().map(text).collect()
}

#[test]
fn others_decide_from_an_epoch_on() {
    let folder = Folder::new("notify-reload");
    let is_down = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&is_down);
    let receiver = Receiver::start(move |came| match came.path.as_str() {
        "/more" if down.load(SeqCst) => Temper::status(503),
        _ => Temper::status(200),
    });
    let [ops, more] = ["ops", "more"].map(|it| channel(it, &receiver, ""));
    let path = settings(&folder, &(ops.clone() + &worded("waits", "ops", "one", "")));
    let data = folder.0.join("data");
    let (process, address) = start(&data, &path);
    let reload = || {
        let data_dir = data.display().to_string();
        run(&["rules", "reload", "--data-dir", &data_dir, "--config", &path])
    };
    tell(&address, "case.opened", &names("K", 3));
    until(&address, "said", |it| states(it).get("delivered") == Some(&3));

    // One has another wording, one is new, with a channel of its own.
    let both = worded("waits", "ops", "two", "") + &worded("second", "more", "second", "");
    settings(&folder, &(ops.clone() + &more + &both));
    let (code, out, err) = reload();
    assert_eq!(code, 0, "{out}{err}");
    for part in ["2 rules decide from epoch ", "added     second", "changed   waits"] {
        assert!(out.contains(part), "{out}");
    }
    assert!(out.contains("removed   none") && out.contains("channels  more, ops"), "{out}");
    tell(&address, "case.opened", &names("L", 1));
    until(&address, "said by both", |it| states(it).get("delivered") == Some(&5));
    let came = receiver.came();
    assert_eq!(said(&came, 3), ["case L-0 two", "case L-0 second"].map(String::from).into());
    assert_eq!(came.iter().filter(|it| it.path == "/more").count(), 1);

    // With mistakes nothing is changed, and each is told: of two rules; of a channel.
    let wrong = both.replace("status == 'open'", "sttus == 'open'");
    settings(&folder, &(ops.clone() + &more + &wrong));
    let (code, out, err) = reload();
    assert_eq!((code, err.matches("notify/field").count()), (1, 2), "{out}{err}");
    assert!(err.contains("perhaps") || err.contains("status"), "{err}");
    let (status, told) = ask(&address, "POST", "/v1/admin/rules/reload", &Value::Null);
    let problems = told["result"]["problems"].as_array().unwrap();
    assert_eq!((status, problems.len()), (200, 2), "{told}");
    assert!(problems.iter().all(|it| it["effect"].as_str().unwrap().contains("as they were")));
    let unfit = more.replace("ops.secret", "no.secret");
    settings(&folder, &(ops.clone() + &unfit + &worded("waits", "ops", "three", "")));
    let (code, _, err) = reload();
    assert!(code == 1 && err.contains("notify/channel") && err.contains("no.secret"), "{err}");
    tell(&address, "case.opened", &names("M", 1));
    until(&address, "as before", |it| states(it).get("delivered") == Some(&7));
    let came = receiver.came();
    assert_eq!(said(&came, 5), ["case M-0 two", "case M-0 second"].map(String::from).into());

    // By a signal; and one that speaks also of what is so.
    let third = worded("third", "ops", "third", "already = true\n");
    settings(&folder, &(ops.clone() + &more + &both + &third));
    process.signal("-HUP");
    until(&address, "of all that are open", |it| states(it).get("delivered") == Some(&12));
    let of_third: BTreeSet<String> =
        ["K-0", "K-1", "K-2", "L-0", "M-0"].map(|it| format!("case {it} third")).into();
    assert_eq!(said(&receiver.came(), 7), of_third);

    // A channel that is taken away refuses what waited for it; its rule says nothing more.
    is_down.store(true, SeqCst);
    tell(&address, "case.opened", &names("N", 1));
    until(&address, "one waits", |it| {
        states(it).get("planned") == Some(&1) && states(it).get("delivered") == Some(&14)
    });
    settings(&folder, &(ops.clone() + &worded("waits", "ops", "two", "") + &third));
    let (code, out, err) = reload();
    assert!(code == 0 && out.contains("removed   second"), "{out}{err}");
    let all = until(&address, "it is refused", |it| states(it).get("refused") == Some(&1));
    let refused = all.values().find(|it| it["state"] == "refused").unwrap();
    assert_eq!(refused["answer"], "the settings have no such channel");
    tell(&address, "case.opened", &names("O", 1));
    until(&address, "by two", |it| states(it).get("delivered") == Some(&16));

    // The next process says nothing again.
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let n = receiver.came().len();
    let (_process, address) = start(&data, &path);
    tell(&address, "case.opened", &names("P", 1));
    let all = until(&address, "the next", |it| states(it).get("delivered") == Some(&18));
    assert_eq!((all.len(), receiver.came().len()), (19, n + 2));
}

/// What a stream of `cases` told: whether it has begun, and of each row that entered its key, after
/// which epoch, and up to which.
#[derive(Default)]
struct Followed {
    begun: bool,
    entered: Vec<(String, u64, u64)>,
}

/// Follows the stream to its end, on a thread of its own.
fn follow(address: &str) -> Arc<Mutex<Followed>> {
    let stream = TcpStream::connect(address).unwrap();
    let mut stream = BufReader::new(stream);
    write!(stream.get_mut(), "GET /v1/stream?view=cases HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let followed = Arc::<Mutex<Followed>>::default();
    let all = Arc::clone(&followed);
    std::thread::spawn(move || {
        let (mut before, mut at) = (0, 0);
        let mut told = |epoch: u64| {
            if epoch != at {
                (before, at) = (at, epoch);
            }
            (before, at)
        };
        let (mut line, mut event) = (String::new(), String::new());
        while stream.read_line(&mut line).is_ok_and(|it| it > 0) {
            let text = line.trim_end();
            if let Some(id) = text.strip_prefix("id: ") {
                told(id.parse().unwrap());
            } else if let Some(name) = text.strip_prefix("event: ") {
                event = name.into();
            } else if let Some(data) = text.strip_prefix("data: ") {
                let data: Value = serde_json::from_str(data).unwrap();
                let (before, at) = told(data["as_of"]["epoch"].as_u64().expect("an epoch"));
                let mut all = all.lock().unwrap();
                all.begun = true;
                if event == "enter" {
                    all.entered.push((data["key"].as_str().unwrap().into(), before, at));
                }
            }
            line.clear();
        }
    });
    followed
}

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(300);
    while !is() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Goal: the epoch that a reload names divides what happens: of what changed up to it the old
/// wording speaks, of what changed after it the new one, and of each exactly one. Method: cases are
/// opened one after the other before, during and after a reload; the stream of their view says
/// between which epochs each was opened.
#[test]
fn the_epoch_that_is_named_divides() {
    // As many as one page lists.
    const MOST: usize = 1_000;
    let folder = Folder::new("notify-divides");
    let receiver = Receiver::start(|_| Temper::status(200));
    let ops = channel("ops", &receiver, "");
    let path = settings(&folder, &(ops.clone() + &worded("waits", "ops", "one", "")));
    let data = folder.0.join("data");
    let (_process, address) = start(&data, &path);
    let followed = follow(&address);
    wait_until("the stream begins", || followed.lock().unwrap().begun);
    let opened = Arc::new((AtomicUsize::new(0), AtomicBool::new(false)));
    let opening = {
        let (opened, address) = (Arc::clone(&opened), address.clone());
        std::thread::spawn(move || {
            while !opened.1.load(SeqCst) && opened.0.load(SeqCst) < MOST {
                let n = opened.0.load(SeqCst);
                tell(&address, "case.opened", &[format!("K-{n}")]);
                opened.0.fetch_add(1, SeqCst);
            }
        })
    };
    let n = || opened.0.load(SeqCst);
    wait_until("some are opened before", || n() >= 10);
    settings(&folder, &(ops.clone() + &worded("waits", "ops", "two", "")));
    let data_dir = data.display().to_string();
    let (code, out, err) = run(&["rules", "reload", "--data-dir", &data_dir, "--config", &path]);
    assert_eq!(code, 0, "{out}{err}");
    let divides = out.split("from epoch ").nth(1).unwrap().split(' ').next().unwrap();
    let divides: u64 = divides.parse().unwrap();
    let so_far = n();
    assert!(so_far + 10 <= MOST, "{so_far} were opened while the rules were read");
    wait_until("some are opened after", || n() >= so_far + 10);
    opened.1.store(true, SeqCst);
    opening.join().unwrap();
    wait_until("all entered", || followed.lock().unwrap().entered.len() == n());

    let all = until(&address, "said", |it| states(it).get("delivered") == Some(&n()));
    assert_eq!(all.len(), n(), "each by one wording");
    let text = |about: &str| {
        let found = all.values().find(|it| it["about"] == about).unwrap();
        found["text"].as_str().unwrap().to_string()
    };
    let entered = std::mem::take(&mut followed.lock().unwrap().entered);
    let (mut just_before, mut just_after) = ((0, String::new()), (u64::MAX, String::new()));
    for (key, after, upto) in entered {
        if upto <= divides {
            assert_eq!(text(&key), format!("case {key} one"), "{upto} is not after {divides}");
            just_before = just_before.max((upto, key));
        } else if after >= divides {
            assert_eq!(text(&key), format!("case {key} two"), "{after} is not before {divides}");
            just_after = just_after.min((after, key));
        }
    }
    assert!(just_before.0 > 0 && just_after.0 < u64::MAX, "{just_before:?} {just_after:?}");
}

/// Goal: SIGHUP to the parent of `--supervise` is passed on to the process, which goes on as the same
/// one. Method: the real binary, its settings written anew; a rule that speaks of what is so.
#[test]
fn a_parent_passes_it_on() {
    let folder = Folder::new("notify-reload-parent");
    let receiver = Receiver::start(|_| Temper::status(200));
    let ops = channel("ops", &receiver, "");
    let path = settings(&folder, &(ops.clone() + &worded("waits", "ops", "one", "")));
    let data = folder.0.join("data");
    let data_dir = data.display().to_string();
    let words = [
        "run",
        "--supervise",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        &data_dir,
        "--config",
        &path,
    ];
    let mut parent = Process::start(&words);
    let address = parent.address(&data);
    tell(&address, "case.opened", &names("K", 2));
    until(&address, "said", |it| states(it).get("delivered") == Some(&2));
    for (n, word) in [(4, "second"), (6, "third")] {
        let more = worded(word, "ops", word, "already = true\n");
        settings(&folder, &(ops.clone() + &worded("waits", "ops", "one", "") + &more));
        parent.signal("-HUP");
        until(&address, word, |it| states(it).get("delivered") == Some(&n));
    }
    parent.signal("-TERM");
    assert_eq!(parent.end().0, 0);
}
