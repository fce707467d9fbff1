//! A receiver of webhooks: a ledger of all that came, and a temper that a test sets.
//!
//! Speaks HTTP/1.1 by hand, so that it can misbehave in every way that a real one does.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection, StreamOwned};

/// What becomes of one request.
#[derive(Clone, Debug)]
pub enum Temper {
    /// This status, with these headers.
    Answers(u16, Vec<(&'static str, String)>),
    /// Kept, and then the connection is closed without a word.
    Silent,
    /// Nothing is said for so long.
    Hangs(Duration),
    /// One byte of a good answer after the other, so far apart.
    Drips(Duration),
    /// A good answer, so late.
    Late(Duration),
    /// Nothing is said until this is set; then the connection is closed.
    Until(Arc<AtomicBool>),
    /// Nothing is said until this is set; then a good answer.
    Once(Arc<AtomicBool>),
    /// A good answer is written, and then this process is killed. `held`: it is stopped before, so
    /// that it is certain not to have read the answer; else it may have read it, and marked it.
    Kills { pid: u32, held: bool },
}

impl Temper {
    pub fn status(it: u16) -> Temper {
        Temper::Answers(it, vec![])
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Came {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: SystemTime,
    /// How many with this id came before.
    pub nth: usize,
}

impl Came {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// All that came, and what wakes those who wait for more.
type Ledger = (Mutex<Vec<Came>>, Condvar);
/// How many are not answered yet, and the most that there were.
type AtOnce = (AtomicUsize, AtomicUsize);
type Mood = Box<dyn Fn(&Came) -> Temper + Send + Sync>;

pub struct Receiver {
    pub address: SocketAddr,
    ledger: Arc<Ledger>,
    /// Connections that were made.
    pub connections: Arc<AtomicUsize>,
    at_once: Arc<AtOnce>,
}

impl Receiver {
    pub fn start(mood: impl Fn(&Came) -> Temper + Send + Sync + 'static) -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap(), mood)
    }

    /// With TLS: its certificate is of an authority that nobody knows, `tests/common/tls/ca.pem`.
    pub fn tls(mood: impl Fn(&Came) -> Temper + Send + Sync + 'static) -> Receiver {
        let file = |it: &str| format!("{}/tests/common/tls/{it}", env!("CARGO_MANIFEST_DIR"));
        let chain = vec![CertificateDer::from_pem_file(file("receiver.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("receiver.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Receiver::with(listener, Some(Arc::new(config)), mood)
    }

    /// One that begins to accept where somebody has listened already.
    pub fn on(
        listener: TcpListener,
        mood: impl Fn(&Came) -> Temper + Send + Sync + 'static,
    ) -> Receiver {
        Receiver::with(listener, None, mood)
    }

    fn with(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        mood: impl Fn(&Came) -> Temper + Send + Sync + 'static,
    ) -> Receiver {
        let address = listener.local_addr().unwrap();
        let ledger = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let mood: Arc<Mood> = Arc::new(Box::new(mood));
        let at_once = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let (kept, counted) = (Arc::clone(&ledger), Arc::clone(&connections));
        let open = Arc::clone(&at_once);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, SeqCst);
                let (kept, mood, tls) = (Arc::clone(&kept), Arc::clone(&mood), tls.clone());
                let open = Arc::clone(&open);
                std::thread::spawn(move || match tls {
                    None => serve(stream, (&kept, &open), &mood),
                    Some(tls) => {
                        let shaken = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(shaken, stream), (&kept, &open), &mood)
                    }
                });
            }
        });
        Receiver { address, ledger, connections, at_once }
    }

    /// All that came so far.
    pub fn came(&self) -> Vec<Came> {
        self.ledger.0.lock().unwrap().clone()
    }

    /// The most requests that were not answered yet at once.
    pub fn most_at_once(&self) -> usize {
        self.at_once.1.load(SeqCst)
    }

    /// Waits until what came is enough.
    pub fn until(&self, what: &str, enough: impl Fn(&[Came]) -> bool) -> Vec<Came> {
        let until = Instant::now() + Duration::from_secs(300);
        let mut came = self.ledger.0.lock().unwrap();
        while !enough(&came) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: {}", summary(&came));
            came = self.ledger.1.wait_timeout(came, left).unwrap().0;
        }
        came.clone()
    }
}

/// How many came on each path, and of them how many again; the last of them in its words.
fn summary(came: &[Came]) -> String {
    let mut paths: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for it in came {
        let (all, again) = paths.entry(&it.path).or_default();
        *all += 1;
        *again += usize::from(it.nth > 0);
    }
    let last = came.last().map(|it| String::from_utf8_lossy(&it.body));
    format!("{} came (path: all, again): {paths:?}; the last: {last:?}", came.len())
}

/// Tells a process something by its name.
fn signal(name: &str, pid: u32) {
    let told = std::process::Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(told.unwrap().success(), "{name} {pid}");
}

/// Waits until no thread of a process goes on.
fn until_stopped(pid: u32) {
    let until = Instant::now() + Duration::from_secs(60);
    let is_stopped = |stat: &str| stat.rsplit(") ").next().is_some_and(|it| it.starts_with('T'));
    loop {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let stats = tasks.map(|it| std::fs::read_to_string(it.path().join("stat")));
        if stats.into_iter().all(|it| it.is_ok_and(|it| is_stopped(&it))) {
            return;
        }
        assert!(Instant::now() < until, "it does not stop");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Counted as one that is not answered, as long as this lives.
struct Open<'o>(&'o AtOnce);

impl<'o> Open<'o> {
    fn new(counts: &'o AtOnce) -> Open<'o> {
        counts.1.fetch_max(counts.0.fetch_add(1, SeqCst) + 1, SeqCst);
        Open(counts)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

fn serve(stream: impl Read + Write, (kept, open): (&Ledger, &AtOnce), mood: &Mood) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
        let path = line.split(' ').nth(1)?.to_string();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
        }
        let length: usize = headers.get("content-length")?.parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let open = Open::new(open);
        let mut came = Came { path, headers, body, at: SystemTime::now(), nth: 0 };
        let temper = {
            let mut all = kept.0.lock().unwrap();
            came.nth = all.iter().filter(|it| it.id() == came.id()).count();
            let temper = mood(&came);
            all.push(came);
            kept.1.notify_all();
            temper
        };
        let writer = reader.get_mut();
        // Before the answer: whoever has read it finds this one counted no more.
        let answered = || drop(open);
        match temper {
            Temper::Answers(status, headers) => {
                answered();
                let more: String =
                    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                write!(writer, "HTTP/1.1 {status} So\r\n{more}content-length: 0\r\n\r\n").ok()?;
            }
            Temper::Silent => return None,
            Temper::Hangs(time) => {
                std::thread::park_timeout(time);
                return None;
            }
            Temper::Drips(pause) => {
                for byte in b"HTTP/1.1 200 So\r\ncontent-length: 0\r\n\r\n" {
                    writer.write_all(&[*byte]).and_then(|()| writer.flush()).ok()?;
                    std::thread::park_timeout(pause);
                }
            }
            Temper::Late(time) => {
                std::thread::park_timeout(time);
                answered();
                write!(writer, "HTTP/1.1 200 So\r\ncontent-length: 0\r\n\r\n").ok()?;
            }
            Temper::Until(set) => {
                while !set.load(SeqCst) {
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                return None;
            }
            Temper::Once(set) => {
                while !set.load(SeqCst) {
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                answered();
                write!(writer, "HTTP/1.1 200 So\r\ncontent-length: 0\r\n\r\n").ok()?;
            }
            Temper::Kills { pid, held } => {
                if held {
                    signal("-STOP", pid);
                    until_stopped(pid);
                }
                let answer = b"HTTP/1.1 204 So\r\n\r\n";
                let written = writer.write_all(answer).and_then(|()| writer.flush());
                signal("-KILL", pid);
                written.expect("the answer was written");
                return None;
            }
        }
    }
}
