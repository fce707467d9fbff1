//! Goal: a view is built again from the log while the others go on, also when the process goes
//! down meanwhile, and is what it was; until then it is not served half. A state that is damaged is
//! built again as a whole. Method: the real binary under load, started with `--rebuild` or with
//! something else in its files than it wrote; killed at once, started again without a word.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::load::*;
use crate::process::{Folder, run};

/// The number of this life of the state.
fn incarnation(data: &str) -> u64 {
    let (code, out, err) = run(&["state", "stats", "--json", "--data-dir", data]);
    assert_eq!(code, 0, "{err}");
    let stats: serde_json::Value = serde_json::from_str(&out).unwrap();
    stats["incarnation"].as_u64().unwrap()
}

#[test]
fn a_view_is_built_again_beside_the_others() {
    let folder = Folder::new("rebuilt");
    let data = folder.path("data");
    let (process, address) = start(&folder, 2);
    let stage = Arc::new(Stage::default());
    *stage.address.lock().unwrap() = address.clone();
    let producer = {
        let stage = Arc::clone(&stage);
        std::thread::spawn(move || produce(&stage, Random(3)))
    };
    let go_on = |batches: u64| {
        let until = stage.acknowledged.load(SeqCst) + batches * BATCH;
        while stage.acknowledged.load(SeqCst) < until {
            assert!(!producer.is_finished(), "the producer has failed");
            std::thread::yield_now();
        }
    };
    go_on(60);
    // Those of 60 batches, at least, once they are applied.
    let position = get(&address, "/v1/ledger").unwrap().1["partitions"][0]["next"].as_u64();
    caught_up(&address, position.unwrap());
    let n_orders = rows(&address, "orders", "default").len();
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let before = incarnation(&data);

    let (mut killed, mut unfinished, mut gone_on) = (0, false, 0);
    for (n, rebuild) in
        [&["--rebuild", "orders"][..], &[], &["--rebuild", "orders"], &[]].iter().enumerate()
    {
        let (process, address) = started_with(&folder, ".", n as u64 % 3 + 1, rebuild);
        *stage.address.lock().unwrap() = address.clone();
        let (status, answer) = get(&address, "/v1/views/orders?limit=1").unwrap();
        // Not yet, or whole: never half.
        match status {
            503 => assert_eq!(answer["code"], "serve/rebuilding", "{answer}"),
            _ => assert!(rows(&address, "orders", "default").len() >= n_orders, "{status}"),
        }
        // The others go on.
        assert_eq!(get(&address, "/v1/views/customers?limit=1").unwrap().0, 200);
        if n < 3 {
            let half = get(&address, "/v1/views/orders?limit=1").unwrap().0 == 503;
            process.signal("-KILL");
            killed += 1;
            let (_, _, err) = process.end();
            // Whoever is killed over it is started with it again, without a word.
            let again = err.contains("views are built again beside the others");
            assert!(again || rebuild.is_empty() && !unfinished, "start {n}: {err}");
            gone_on += u32::from(again && rebuild.is_empty());
            unfinished = half;
            continue;
        }
        go_on(5);
        while get(&address, "/v1/views/orders?limit=1").unwrap().0 == 503 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        stage.ended.store(true, SeqCst);
        producer.join().unwrap();
        let n_events = stage.acknowledged.load(SeqCst);
        let (status, _) = post(&address, n_events - BATCH, "&wait=applied").unwrap();
        assert_eq!(status, 202);
        check(&address, n_events);
        process.signal("-TERM");
        assert_eq!(process.end().0, 0);
        // The next start takes all of it from the state.
        let (process, address) = start(&folder, 1);
        assert_eq!(get(&address, "/v1/views/orders?limit=1").unwrap().0, 200);
        check(&address, n_events);
        process.signal("-TERM");
        let (code, _, err) = process.end();
        assert_eq!(code, 0);
        assert!(!err.contains("built again"), "{err}");
        break;
    }
    assert_eq!(killed, 3);
    println!("{gone_on} starts went on with it unasked");
    assert!(incarnation(&data) > before);
    let (code, _, err) = run(&[
        "run",
        "--rebuild",
        "orders_by_status",
        "--data-dir",
        &data,
        "--listen",
        "127.0.0.1:0",
    ]);
    assert!(code == 1 && err.contains("store/no-such-view"), "{err}");
}

/// The segments of a log of the state, the first one first.
pub fn segments(folder: &Folder, log: &str) -> Vec<PathBuf> {
    let dir = std::fs::read_dir(folder.0.join("data").join(log)).unwrap();
    let mut all: Vec<PathBuf> = dir.map(|it| it.unwrap().path()).collect();
    all.retain(|it| it.extension().is_some_and(|it| it == "seg"));
    all.sort();
    all
}

/// Flips a bit: in the first block, or in the middle of the file.
pub fn flip(file: &Path, place: Place) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = match place {
        Place::FirstBlock => FIRST_BLOCK_BYTES / 2,
        Place::Middle => bytes.len() / 2,
    };
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

pub enum Place {
    FirstBlock,
    Middle,
}

/// No segment's header and first block are shorter: a flip in here leaves no checkpoint before it.
const FIRST_BLOCK_BYTES: usize = 160;

/// Goal: a state of which something is damaged or gone costs a longer start and nothing else: what
/// the log has is all there, in another life; whoever wants to be asked is. Method: a bit of the
/// states, a bit of the identities, a segment of each removed, all of them; killed in the middle of the
/// second one.
#[test]
fn a_damaged_state_is_built_again_from_the_log() {
    let folder = Folder::new("damaged");
    let data = folder.path("data");
    let (process, address) = start(&folder, 2);
    // Until something is behind the first segment: what lies in it is no end of what was written.
    let grow = |address: &str, mut n_events: u64| {
        while n_events < 60 * BATCH || segments(&folder, "state").len() < 3 {
            assert_eq!(post(address, n_events, "&wait=applied").unwrap().0, 202);
            n_events += BATCH;
        }
        n_events
    };
    let mut n_events = grow(&address, 0);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let damage: [(&str, &dyn Fn()); 5] = [
        ("segments/damaged", &|| flip(&segments(&folder, "state")[0], Place::FirstBlock)),
        ("segments/damaged", &|| flip(&segments(&folder, "identities")[0], Place::FirstBlock)),
        ("store/", &|| std::fs::remove_file(&segments(&folder, "state")[0]).unwrap()),
        ("store/", &|| std::fs::remove_file(&segments(&folder, "identities")[0]).unwrap()),
        ("store/gone", &|| std::fs::remove_dir_all(folder.0.join("data/state")).unwrap()),
    ];
    let refuse = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let refuse = [&refuse[..], &["--set", "state.on_damage=refuse"]].concat();
    for (n, (code, damage)) in damage.into_iter().enumerate() {
        let before = incarnation(&data);
        damage();
        let (refused, _, err) = run(&refuse);
        assert!(refused == 1 && err.contains(code) && err.contains("--rebuild"), "{n}: {err}");
        let (mut process, mut address) = start(&folder, n as u64 + 1);
        if n == 1 {
            process.signal("-KILL");
            let (_, _, err) = process.end();
            assert!(err.contains("the state that was kept is damaged"), "{err}");
            (process, address) = start(&folder, 1);
        }
        caught_up(&address, n_events);
        assert_eq!(post(&address, 0, "&wait=applied").unwrap().0, 202);
        check(&address, n_events);
        n_events = grow(&address, n_events);
        process.signal("-TERM");
        let (ended, _, err) = process.end();
        assert_eq!(ended, 0, "{n}: {err}");
        // The one that was killed had said it.
        assert_eq!(err.contains("the state that was kept is damaged"), n != 1, "{n}: {err}");
        assert!(incarnation(&data) > before);
    }
}

/// Goal: where only what came last is damaged, the checkpoint before that is taken up, also where
/// not everything could be read from the beginning: what came since is read again. Method: some
/// events by a file, the others by HTTP; a bit in the newest states, then one in the newest
/// identities; killed at once, and started again.
#[test]
fn an_older_checkpoint_is_taken_up() {
    let folder = Folder::new("older");
    let data = folder.path("data");
    let texts: Vec<String> = (0..30 * BATCH).map(event).collect();
    let feed = format!("part={}", folder.file("part.jsonl", texts.join("\n")));
    // Nothing is cleaned: every checkpoint has all that it needs.
    let with = ["--feed", &feed, "--set", "state.segment_bytes=4 MiB"];
    let (mut process, mut address) = started_with(&folder, ".", 1, &with);
    let mut n_events = 30 * BATCH;
    // A segment for each life, at least, with many a checkpoint.
    let grow = |address: &str, n_events: &mut u64| {
        for _ in 0..60 {
            assert_eq!(post(address, *n_events, "&wait=applied").unwrap().0, 202);
            *n_events += BATCH;
        }
    };
    for log in ["state", "identities"] {
        grow(&address, &mut n_events);
        process.signal("-TERM");
        assert_eq!(process.end().0, 0);
        let before = incarnation(&data);
        flip(segments(&folder, log).last().unwrap(), Place::Middle);
        let mut words = vec!["run", "--data-dir", &data, "--listen", "127.0.0.1:0"];
        words.extend(["--set", "state.on_damage=refuse"]);
        words.extend(with);
        let (refused, _, err) = run(&words);
        assert!(refused == 1 && err.contains("segments/damaged"), "{log}: {err}");
        process = started_with(&folder, ".", 2, &with).0;
        process.signal("-KILL");
        let (_, _, err) = process.end();
        assert!(err.contains("an older checkpoint is taken up"), "{log}: {err}");
        (process, address) = started_with(&folder, ".", 3, &with);
        while get(&address, "/health/ready").unwrap().0 != 200 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        assert_eq!(post(&address, n_events - BATCH, "&wait=applied").unwrap().0, 202);
        check(&address, n_events);
        assert!(incarnation(&data) > before, "{log}");
    }
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert!(code == 0 && !err.contains("damaged"), "{err}");
}

/// Goal: what cannot be made again is not removed. Method: a state of which something came by a
/// file, damaged; a start with and without that file is refused, and changes nothing in it.
#[test]
fn a_damaged_state_of_more_than_the_log_stays() {
    let folder = Folder::new("damaged-files");
    let texts: Vec<String> = (0..30 * BATCH).map(event).collect();
    let feed = format!("part={}", folder.file("part.jsonl", texts.join("\n")));
    let (process, address) = started_with(&folder, ".", 1, &["--feed", &feed]);
    for batch in 30..120 {
        assert_eq!(post(&address, batch * BATCH, "&wait=applied").unwrap().0, 202);
    }
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    flip(&segments(&folder, "state")[0], Place::FirstBlock);
    let there = || -> Vec<Vec<u8>> {
        let all = ["state", "identities"].map(|it| segments(&folder, it)).concat();
        all.iter().map(|it| std::fs::read(it).unwrap()).collect()
    };
    let before = there();
    let data = folder.path("data");
    for (feeds, why) in [
        (&["--feed", &feed][..], "files are read: what they no longer hold would be missing"),
        (&[], "feed part was read, too"),
    ] {
        let run_it = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0"];
        let (code, _, err) = run(&[&run_it[..], feeds].concat());
        assert!(code == 1 && err.contains("segments/damaged") && err.contains(why), "{err}");
        assert!(err.contains("--accept-incomplete"), "{err}");
        assert!(there() == before, "the state was changed");
    }
}

/// Goal: a file that was read beside the log is read once more for a view that is built again; one
/// that is shorter now leaves the view unserved, and says so; one that is not read any more is
/// refused. Method: some events by the file, the others by HTTP.
#[test]
fn a_view_is_built_again_from_files_too() {
    let folder = Folder::new("rebuilt-files");
    let (n_file, n_events) = (30 * BATCH, 60 * BATCH);
    let texts: Vec<String> = (0..n_file).map(event).collect();
    let file = folder.file("part.jsonl", texts.join("\n"));
    let feed = format!("part={file}");
    let with = ["--feed", &feed];
    let ready = |address: &str| {
        while get(address, "/health/ready").unwrap().0 != 200 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    let (process, address) = started_with(&folder, ".", 2, &with);
    for batch in n_file / BATCH..n_events / BATCH {
        assert_eq!(post(&address, batch * BATCH, "&wait=applied").unwrap().0, 202);
    }
    ready(&address);
    check(&address, n_events);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);

    let again = ["--feed", &feed, "--rebuild", "orders"];
    let (process, address) = started_with(&folder, ".", 1, &again);
    while get(&address, "/v1/views/orders?limit=1").unwrap().0 == 503 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    check(&address, n_events);
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert!(code == 0 && err.contains("the views are whole again"), "{err}");

    // Half of the file is gone.
    std::fs::write(&file, texts[..10 * BATCH as usize].join("\n")).unwrap();
    let (process, address) = started_with(&folder, ".", 1, &again);
    let why = loop {
        let why = get(&address, "/health/ready").unwrap().1.to_string();
        if why.contains("could not be built again") {
            break why;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    assert!(why.contains("ended at 500 and was read up to 1500"), "{why}");
    let (status, answer) = get(&address, "/v1/views/orders?limit=1").unwrap();
    assert_eq!((status, &answer["code"]), (503, &"serve/rebuilding".into()), "{answer}");
    assert_eq!(get(&address, "/v1/views/customers?limit=1").unwrap().0, 200);
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert!(code == 1 && err.contains("store/not-covered"), "{code}: {err}");

    // Not among the feeds any more.
    let data = folder.path("data");
    let (code, _, err) =
        run(&["run", "--rebuild", "orders", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    assert!(code == 1 && err.contains("feed part is not to be read any more"), "{code}: {err}");
    // From what is left.
    let (process, address) =
        started_with(&folder, ".", 1, &["--rebuild", "orders", "--accept-incomplete"]);
    while get(&address, "/v1/views/orders?limit=1").unwrap().0 == 503 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}
