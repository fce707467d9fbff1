//! Are files read line by line, whole, at the offsets they have? Method: small files of every
//! kind, and what comes out of the outlet.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use millstream::clock;
use millstream::ingest::file::{Plan, Progress, read};
use millstream::messages::{Chunk, Framing, MAX_CHUNK_BYTES, Outlet};
use millstream::report::Report;

#[path = "support/temp_dir.rs"]
mod temp_dir;
use temp_dir::TempDir;

const LIMIT: u64 = 64 * 1024;

fn plan(path: &Path) -> Plan {
    Plan {
        path: path.into(),
        feed: 2,
        first_read_ms: 1_000,
        max_event_bytes: LIMIT,
        rate: None,
        passes: 1,
        from: std::collections::BTreeMap::new(),
    }
}

fn run(plan: &Plan) -> (Vec<Chunk>, Result<(), Report>, Arc<Progress>) {
    let (sender, receiver) = crossbeam_channel::bounded(1 << 16);
    let outlet = Outlet::new(sender, Arc::new(|| ()));
    let progress = Arc::new(Progress::default());
    let result = read(plan, &outlet, &progress, &AtomicBool::new(false));
    drop(outlet);
    (receiver.iter().collect(), result, progress)
}

/// (partition, offset, pass, text) of every line, as whoever takes the chunks must read them.
fn lines(chunks: &[Chunk]) -> Vec<(u32, u64, u32, String)> {
    let mut out = Vec::new();
    for chunk in chunks {
        assert!(matches!(chunk.framing, Framing::Lines));
        assert_eq!(chunk.partition.0, 2);
        let text = String::from_utf8(chunk.bytes.clone()).unwrap();
        let body = text.strip_suffix('\n').unwrap_or(&text);
        let mut next = chunk.first;
        for line in body.split('\n') {
            out.push((chunk.partition.1, next, chunk.pass, line.to_string()));
            next += 1;
        }
        assert_eq!(next, chunk.next, "lines counted");
    }
    out
}

/// Goal: which bytes are which lines. Method: a table of texts.
#[test]
fn texts_and_their_lines() {
    fn check(text: &str, expected: &[&str]) {
        let dir = TempDir::new();
        let path = dir.0.join("a.jsonl");
        std::fs::write(&path, text).unwrap();
        let (chunks, result, progress) = run(&plan(&path));
        result.unwrap();
        let got = lines(&chunks);
        let texts: Vec<&str> = got.iter().map(|it| it.3.as_str()).collect();
        assert_eq!(texts, expected, "{text:?}");
        let offsets: Vec<u64> = got.iter().map(|it| it.1).collect();
        assert_eq!(offsets, (0..expected.len() as u64).collect::<Vec<_>>(), "{text:?}");
        assert_eq!(progress.records.load(Relaxed), expected.len() as u64);
        assert_eq!(progress.bytes.load(Relaxed), text.len() as u64);
        assert_eq!(progress.bytes_total.load(Relaxed), text.len() as u64);
        assert!(progress.done.load(Relaxed));
    }
    check("", &[]);
    check("a", &["a"]);
    check("a\n", &["a"]);
    check("a\nb", &["a", "b"]);
    check("\n", &[""]);
    check("a\n\n\nb\n", &["a", "", "", "b"]);
    check("a\r\nb\r\n", &["a\r", "b\r"]);
    check("\n\n", &["", ""]);
}

/// Goal: lines come out whole across chunks, whatever their length, and one that is longer than
/// a chunk is one record, shown to be over the limit. Method: lines of growing and of huge length.
#[test]
fn long_lines_are_one_record_each() {
    let dir = TempDir::new();
    let path = dir.0.join("a.jsonl");
    let lengths = [1, 10, 60_000, 3 << 20, 5, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES - 1, 0, 1 << 20, 7];
    let body: Vec<String> = lengths
        .iter()
        .enumerate()
        .map(|(i, len)| char::from(b'a' + i as u8).to_string().repeat(*len))
        .collect();
    for end in ["", "\n"] {
        std::fs::write(&path, body.join("\n") + end).unwrap();
        let (chunks, result, _) = run(&plan(&path));
        result.unwrap();
        assert!(chunks.iter().all(|it| it.bytes.len() <= MAX_CHUNK_BYTES));
        let got = lines(&chunks);
        assert_eq!(got.len(), body.len());
        for (i, ((_, offset, _, text), whole)) in got.iter().zip(&body).enumerate() {
            assert_eq!(*offset, i as u64);
            if whole.len() <= LIMIT as usize {
                assert_eq!(text, whole);
            } else {
                assert!(text.len() > LIMIT as usize && whole.starts_with(text), "line {i}");
            }
        }
    }
}

/// Goal: compressed files, folders in name order, passes. Method: the same lines in each way.
#[test]
fn folders_compression_and_passes() {
    let dir = TempDir::new();
    let text: String = (0..50_000).map(|i| format!("{{\"n\":{i}}}\n")).collect();
    std::fs::write(dir.0.join("3.jsonl"), "last").unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    // Two members, one after the other, are one file.
    let mut two = gz.finish().unwrap();
    two.extend(two.clone());
    std::fs::write(dir.0.join("1.jsonl.gz"), two).unwrap();
    let zst = zstd::encode_all(text.as_bytes(), 1).unwrap();
    std::fs::write(dir.0.join("2.jsonl.zst"), zst).unwrap();
    std::fs::write(dir.0.join(".hidden"), "no").unwrap();
    std::fs::create_dir(dir.0.join("folder")).unwrap();
    let (chunks, result, progress) = run(&Plan { passes: 2, ..plan(&dir.0) });
    result.unwrap();
    let got = lines(&chunks);
    assert_eq!(got.len(), 2 * 150_001);
    let one: Vec<&str> = text.lines().collect();
    let mut expected = Vec::new();
    for pass in 0..2u64 {
        for (partition, n) in [(0, 100_000), (1, 50_000)] {
            for i in 0..n {
                let line = one[i as usize % 50_000].to_string();
                expected.push((partition, pass * n + i, pass as u32, line));
            }
        }
        expected.push((2, pass, pass as u32, "last".to_string()));
    }
    assert!(got == expected);
    let (read, total) = (progress.bytes.load(Relaxed), progress.bytes_total.load(Relaxed));
    assert_eq!(read, total);
}

/// Goal: what cannot be read is told, and what was read before it counts.
#[test]
fn what_cannot_be_read_is_told() {
    let dir = TempDir::new();
    let (_, result, _) = run(&plan(&dir.0.join("missing")));
    assert_eq!(result.unwrap_err().code, "ingest/cannot-open");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gz.write_all("line\n".repeat(200_000).as_bytes()).unwrap();
    let mut bytes = gz.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    let path = dir.0.join("cut.gz");
    std::fs::write(&path, bytes).unwrap();
    let (chunks, result, _) = run(&plan(&path));
    let report = result.unwrap_err();
    assert_eq!(report.code, "ingest/cannot-read");
    let read = lines(&chunks).len();
    assert!(read > 50_000, "{read}");
    assert!(report.at.contains(&("line", (read + 1).to_string())), "{report}");
    let (_, result, _) = run(&Plan { passes: 2, ..plan(Path::new("-")) });
    assert_eq!(result.unwrap_err().code, "ingest/cannot-repeat");
}

/// Goal: under a rate no line is sent before it is due, all are, and each carries the time at
/// which it was due. Method: 2,000 lines at 10,000 a second.
#[test]
fn paced_lines_are_not_early() {
    let dir = TempDir::new();
    let path = dir.0.join("a.jsonl");
    std::fs::write(&path, "x\n".repeat(2_000)).unwrap();
    let (sender, receiver) = crossbeam_channel::bounded(1 << 16);
    let started = clock::monotonic();
    let plan = Plan { rate: Some(10_000.0), ..plan(&path) };
    let reader = std::thread::spawn(move || {
        let outlet = Outlet::new(sender, Arc::new(|| ()));
        let progress = Arc::new(Progress::default());
        read(&plan, &outlet, &progress, &AtomicBool::new(false))
    });
    let mut next = 0;
    for chunk in receiver {
        let passed = clock::since(started).as_secs_f64();
        assert_eq!(chunk.first, next);
        next = chunk.next;
        let due = (next - 1) as f64 / 10_000.0;
        assert!(passed >= due, "line {} after {passed} s", next - 1);
        assert_eq!(chunk.appended_ms, 1_000 + chunk.first / 10);
    }
    assert_eq!(next, 2_000);
    reader.join().unwrap().unwrap();
}

/// Reads its standard input as `-` and says what it saw.
#[test]
fn reads_as_a_child() {
    if std::env::var_os("MILLSTREAM_TEST_STDIN").is_none() {
        return;
    }
    let (chunks, result, _) = run(&plan(Path::new("-")));
    result.unwrap();
    println!("\nread {}", lines(&chunks).len());
}

/// Goal: `-` is standard input. Method: this program again, with lines in its pipe.
#[test]
fn standard_input() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reads_as_a_child", "--nocapture"])
        .env("MILLSTREAM_TEST_STDIN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("line\n".repeat(100_000).as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("read 100000"), "{text}");
}
