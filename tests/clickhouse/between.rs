//! What lies between us and a server: passes every request on, or misbehaves on request.
//!
//! HTTP by hand, one request a connection: a misbehaviour is a few lines, and what the server
//! really did is its own. Only inserts are misbehaved with; questions always pass.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to one insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// 500 before the server hears of it.
    ErrorBefore,
    /// 500 after the server has committed it.
    ErrorAfter,
    /// The server commits it, and no answer comes.
    HangAfter,
    /// The connection ends after the server has committed it.
    ClosedAfter,
    /// The connection ends in the middle of what we send.
    CutInside,
    /// 200, and an exception in the body, in one piece; the server never hears of it.
    OkWithException,
    /// The same, a byte at a time.
    OkWithExceptionInDrops,
    /// 200, and the code of an exception in a header.
    OkWithExceptionHeader,
    /// The true answer, a byte at a time with this pause in milliseconds.
    Drops(u64),
    /// 404 by a proxy that knows nothing of ClickHouse.
    NotFound,
    /// 503 by a proxy.
    Unavailable,
}

/// One that is no fault of the rows: a row that were refused would be put aside.
const EXCEPTION: &str = "Code: 159. DB::Exception: Timeout exceeded: elapsed 1.2 seconds, maximum: 1. (TIMEOUT_EXCEEDED) (version 25.8.2.1)\n";

/// A listener; its misbehaviours are used up one by one, then everything passes.
pub struct Between {
    url: String,
    plan: Arc<Mutex<Plan>>,
    inserts: Arc<Mutex<u64>>,
}

/// What happens to the next insert, or to the next into this table.
type Plan = VecDeque<(Option<String>, How)>;

/// The misbehaviour that is meant for this insert.
fn next(plan: &Mutex<Plan>, head: &str) -> Option<How> {
    let mut plan = plan.lock().unwrap();
    let (table, how) = plan.front()?;
    let is_it = table.as_ref().is_none_or(|it| head.contains(&format!("%60{it}%60")));
    let how = is_it.then_some(*how);
    if is_it {
        plan.pop_front();
    }
    how
}

impl Between {
    /// In front of a server.
    pub fn of(url: &str) -> Between {
        let server = url.strip_prefix("http://").unwrap().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let plan = Arc::new(Mutex::new(VecDeque::new()));
        let inserts = Arc::new(Mutex::new(0));
        let (theirs, counted) = (plan.clone(), inserts.clone());
        // Ends with the process; a connection that is left is nobody's.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, plan, counted) = (server.clone(), theirs.clone(), counted.clone());
                std::thread::spawn(move || pass(stream.unwrap(), &server, &plan, &counted));
            }
        });
        Between { url, plan, inserts }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What happens to the next inserts.
    pub fn plan(&self, plan: &[How]) {
        self.plan.lock().unwrap().extend(plan.iter().map(|it| (None, *it)));
    }

    /// What happens to the next insert into this table.
    pub fn plan_for(&self, table: &str, how: How) {
        self.plan.lock().unwrap().push_back((Some(table.into()), how));
    }

    /// How many of these are still to come.
    pub fn planned(&self) -> usize {
        self.plan.lock().unwrap().len()
    }

    /// Inserts that came here.
    pub fn inserts(&self) -> u64 {
        *self.inserts.lock().unwrap()
    }
}

struct Request {
    head: String,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let lower = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if lower.contains("transfer-encoding: chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut piece = vec![0; size + 2];
            reader.read_exact(&mut piece).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&piece[..size]);
        }
    } else if let Some(at) = lower.find("content-length: ") {
        let size = lower[at + 16..].lines().next()?.trim().parse().ok()?;
        body.resize(size, 0);
        reader.read_exact(&mut body).ok()?;
    }
    Some(Request { head, body })
}

/// Asks the server; its whole answer.
fn ask(server: &str, request: &Request) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).unwrap();
    let kept = request.head.lines().filter(|it| {
        let it = it.to_ascii_lowercase();
        !it.starts_with("transfer-encoding")
            && !it.starts_with("content-length")
            && !it.starts_with("connection")
    });
    let head: String = kept.map(|it| format!("{it}\r\n")).collect();
    let more = format!("Content-Length: {}\r\nConnection: close\r\n\r\n", request.body.len());
    stream.write_all(format!("{head}{more}").as_bytes()).unwrap();
    stream.write_all(&request.body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    answer
}

fn plain(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

fn drops(stream: &mut TcpStream, answer: &[u8], pause: Duration) {
    for byte in answer {
        if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
            return; // whoever waited has given up
        }
        std::thread::park_timeout(pause);
    }
}

fn pass(mut stream: TcpStream, server: &str, plan: &Mutex<Plan>, counted: &Mutex<u64>) {
    stream.set_nodelay(true).unwrap();
    // A client keeps its connection: one request after the other, until it leaves.
    let is_insert = |it: &str| it.contains("RowBinaryWithNamesAndTypes");
    let mut start = [0; 4_096];
    let n = stream.peek(&mut start).unwrap_or(0);
    let first = String::from_utf8_lossy(&start[..n]).into_owned();
    let cut = || plan.lock().unwrap().front() == Some(&(None, How::CutInside));
    if is_insert(&first) && cut() {
        plan.lock().unwrap().pop_front();
        *counted.lock().unwrap() += 1;
        let mut some = [0; 2_048];
        stream.read_exact(&mut some[..n.min(1_024)]).ok();
        return; // closes it
    }
    let Some(request) = read(&stream) else { return };
    let how = match is_insert(&request.head) {
        true => {
            *counted.lock().unwrap() += 1;
            next(plan, &request.head)
        }
        false => None,
    };
    let answer = match how {
        None | Some(How::CutInside) => ask(server, &request),
        Some(How::ErrorBefore) => plain("500 Internal Server Error", "", "before"),
        Some(How::NotFound) => plain("404 Not Found", "", ""),
        Some(How::Unavailable) => plain("503 Service Unavailable", "Retry-After: 1\r\n", ""),
        Some(How::OkWithException) => plain("200 OK", "", EXCEPTION),
        Some(How::OkWithExceptionHeader) => {
            plain("200 OK", "X-ClickHouse-Exception-Code: 159\r\n", "")
        }
        Some(How::OkWithExceptionInDrops) => {
            let answer = plain("200 OK", "", EXCEPTION);
            return drops(&mut stream, &answer, Duration::from_millis(1));
        }
        Some(How::Drops(ms)) => {
            let answer = ask(server, &request);
            return drops(&mut stream, &answer, Duration::from_millis(ms));
        }
        Some(how @ (How::ErrorAfter | How::HangAfter | How::ClosedAfter)) => {
            let answer = ask(server, &request);
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            match how {
                How::ErrorAfter => plain("500 Internal Server Error", "", "after"),
                How::ClosedAfter => return,
                _ => {
                    // Until the other end gives up.
                    match stream.read(&mut [0]) {
                        Ok(_) | Err(_) => return,
                    }
                }
            }
        }
    };
    stream.write_all(&answer).ok();
}
