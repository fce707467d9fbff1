//! A server of mail: a ledger of all that was handed over, and a temper that a test sets.
//!
//! Speaks SMTP by hand (RFC 5321, STARTTLS, AUTH PLAIN), so that it can misbehave in every way that
//! a real one does.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection, StreamOwned};

/// What is to be answered now.
pub enum Step<'a> {
    Greeting,
    /// A line of the client's.
    Command(&'a str),
    /// A whole mail.
    Text(&'a Mail),
}

#[derive(Clone, Debug)]
pub enum Temper {
    /// As a good server.
    Takes,
    /// This instead; nothing is kept.
    Says(&'static str),
    /// A mail is kept, and this is said.
    KeepsBut(&'static str),
    /// The same as a good server, so late.
    Late(Duration),
    /// Nothing is said until this is set; then the connection is closed.
    Until(Arc<AtomicBool>),
    /// A mail is kept, and then the same.
    KeepsUntil(Arc<AtomicBool>),
}

/// A mail as it came.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
    pub is_tls: bool,
    /// User and password.
    pub user: Option<(String, String)>,
    pub kept: bool,
}

impl Mail {
    /// All headers of this name, unfolded.
    pub fn headers(&self, name: &str) -> Vec<String> {
        headers(&self.text, name)
    }
    pub fn header(&self, name: &str) -> String {
        let mut all = self.headers(name);
        assert_eq!(all.len(), 1, "{name}: {}", self.text);
        all.remove(0)
    }
    pub fn id(&self) -> String {
        self.header("Message-ID")
    }
    /// The plain text, and the HTML.
    pub fn parts(&self) -> [String; 2] {
        let kind = self.header("Content-Type");
        assert!(kind.starts_with("multipart/alternative"), "{kind}");
        let boundary = kind.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
        let parts: Vec<&str> = self.text.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 4, "head, two parts, end: {}", self.text);
        assert!(headers(parts[1].trim_start(), "Content-Type")[0].starts_with("text/plain"));
        assert!(headers(parts[2].trim_start(), "Content-Type")[0].starts_with("text/html"));
        [decoded(parts[1].trim_start()), decoded(parts[2].trim_start())]
    }
    /// A field below the text.
    pub fn field(&self, name: &str) -> String {
        let [plain, _] = self.parts();
        let mut all = plain.lines().filter_map(|it| it.strip_prefix(&format!("{name:<12}")));
        all.next_back().unwrap_or_else(|| panic!("{name}: {plain}")).to_string()
    }
}

fn headers(text: &str, name: &str) -> Vec<String> {
    let head = text.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
    let is = |it: &&str| it.to_lowercase().starts_with(&format!("{}:", name.to_lowercase()));
    head.split("\r\n").filter(is).map(|it| it[name.len() + 1..].trim().to_string()).collect()
}

fn decoded(part: &str) -> String {
    let body = part.split_once("\r\n\r\n").unwrap().1;
    let bytes = match headers(part, "Content-Transfer-Encoding")[0].as_str() {
        "7bit" => body.as_bytes().to_vec(),
        "base64" => STANDARD.decode(body.replace("\r\n", "")).unwrap(),
        "quoted-printable" => {
            let body = body.replace("=\r\n", "");
            let mut out = Vec::new();
            let mut rest = body.as_bytes();
            while let [first, more @ ..] = rest {
                (out, rest) = match first {
                    b'=' => {
                        let hex = std::str::from_utf8(&more[..2]).unwrap();
                        out.push(u8::from_str_radix(hex, 16).unwrap());
                        (out, &more[2..])
                    }
                    it => {
                        out.push(*it);
                        (out, more)
                    }
                };
            }
            out
        }
        it => panic!("{it}"),
    };
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Plain,
    Starttls,
    Implicit,
}

type Mood = dyn Fn(&Step<'_>) -> Temper + Send + Sync;

pub struct Postbox {
    pub address: SocketAddr,
    ledger: Arc<Ledger>,
    /// Connections that were made.
    pub connections: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Ledger {
    mails: Mutex<Vec<Mail>>,
    said: Mutex<Vec<String>>,
    bell: Condvar,
}

impl Postbox {
    /// Its certificate is of an authority that nobody knows, `tests/common/tls/ca.pem`.
    pub fn start(way: Way, mood: impl Fn(&Step<'_>) -> Temper + Send + Sync + 'static) -> Postbox {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
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
        let (tls, mood): (_, Arc<Mood>) = (Arc::new(config), Arc::new(mood));
        let (ledger, connections) = (Arc::<Ledger>::default(), Arc::<AtomicUsize>::default());
        let (kept, counted) = (Arc::clone(&ledger), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, SeqCst);
                let (tls, mood, ledger) = (Arc::clone(&tls), Arc::clone(&mood), Arc::clone(&kept));
                let mut talk = Talk { mail: Mail::default(), way, mood, ledger, tls };
                std::thread::spawn(move || talk.begin(stream));
            }
        });
        Postbox { address, ledger, connections }
    }

    /// All that was handed over so far, whatever was said to it.
    pub fn came(&self) -> Vec<Mail> {
        self.ledger.mails.lock().unwrap().clone()
    }

    /// Every line of every client.
    pub fn said(&self) -> Vec<String> {
        self.ledger.said.lock().unwrap().clone()
    }

    /// Waits until what came is enough.
    pub fn until(&self, what: &str, enough: impl Fn(&[Mail]) -> bool) -> Vec<Mail> {
        let until = Instant::now() + Duration::from_secs(300);
        let mut came = self.ledger.mails.lock().unwrap();
        while !enough(&came) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: only {} came: {came:#?}", came.len());
            came = self.ledger.bell.wait_timeout(came, left).unwrap().0;
        }
        came.clone()
    }
}

trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

struct Talk {
    mail: Mail,
    way: Way,
    mood: Arc<Mood>,
    ledger: Arc<Ledger>,
    tls: Arc<ServerConfig>,
}

impl Talk {
    fn begin(&mut self, stream: TcpStream) -> Option<()> {
        if self.way == Way::Implicit {
            return self.secured(stream, true);
        }
        let mut reader = BufReader::new(Box::new(stream.try_clone().ok()?) as Box<dyn Both>);
        if self.talk(&mut reader, true)? {
            assert!(reader.buffer().is_empty(), "nothing is said before the handshake");
            return self.secured(stream, false);
        }
        Some(())
    }

    fn secured(&mut self, stream: TcpStream, greet: bool) -> Option<()> {
        let shaken = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
        let wire = Box::new(StreamOwned::new(shaken, stream)) as Box<dyn Both>;
        self.mail = Mail { is_tls: true, ..Mail::default() };
        self.talk(&mut BufReader::new(wire), greet).map(drop)
    }

    /// What to say; none: the connection is closed.
    fn answer(&self, step: &Step<'_>, usual: &str) -> (Option<String>, bool) {
        match (self.mood)(step) {
            Temper::Takes => (Some(usual.into()), true),
            Temper::Says(it) => (Some(it.into()), false),
            Temper::KeepsBut(it) => (Some(it.into()), true),
            Temper::Late(time) => {
                std::thread::park_timeout(time);
                (Some(usual.into()), true)
            }
            Temper::Until(set) => {
                wait(&set);
                (None, false)
            }
            Temper::KeepsUntil(_) => (None, true),
        }
    }

    /// Gives whether TLS begins now; none where it is over.
    fn talk(&mut self, wire: &mut BufReader<Box<dyn Both>>, greet: bool) -> Option<bool> {
        if greet {
            let (greeting, _) = self.answer(&Step::Greeting, "220 postbox");
            say(wire, &greeting?)?;
        }
        loop {
            let line = line(wire)?;
            self.ledger.said.lock().unwrap().push(line.clone());
            let verb = line.split([' ', ':']).next().unwrap().to_uppercase();
            let offers = match self.way {
                Way::Starttls if !self.mail.is_tls => "250-STARTTLS\r\n",
                _ => "",
            };
            let usual = match verb.as_str() {
                "EHLO" => format!("250-postbox\r\n{offers}250 AUTH PLAIN LOGIN"),
                "AUTH" => "235 so".into(),
                "DATA" => "354 go on".into(),
                "QUIT" => "221 so".into(),
                _ => "250 so".into(),
            };
            let (said, takes) = self.answer(&Step::Command(&line), &usual);
            let said = said?;
            if !takes {
                say(wire, &said)?;
                continue;
            }
            match verb.as_str() {
                "STARTTLS" => {
                    say(wire, "220 so")?;
                    return Some(true);
                }
                "AUTH" => {
                    let given = STANDARD.decode(line.split(' ').nth(2)?).ok()?;
                    let given = String::from_utf8(given).ok()?;
                    let mut parts = given.split('\0').skip(1).map(String::from);
                    self.mail.user = Some((parts.next()?, parts.next()?));
                }
                "MAIL" => {
                    self.mail.from = between(&line);
                    self.mail.to.clear();
                }
                "RCPT" => self.mail.to.push(between(&line)),
                _ => {}
            }
            say(wire, &said)?;
            match verb.as_str() {
                "DATA" => self.text(wire)?,
                "QUIT" => return Some(false),
                _ => {}
            }
        }
    }

    fn text(&mut self, wire: &mut BufReader<Box<dyn Both>>) -> Option<()> {
        self.mail.text.clear();
        loop {
            let line = line(wire)?;
            if line == "." {
                break;
            }
            self.mail.text += line.strip_prefix('.').unwrap_or(&line);
            self.mail.text += "\r\n";
        }
        let temper = (self.mood)(&Step::Text(&self.mail));
        let keeps = !matches!(temper, Temper::Says(_) | Temper::Until(_));
        let mail = Mail { kept: keeps, ..self.mail.clone() };
        self.ledger.mails.lock().unwrap().push(mail);
        self.ledger.bell.notify_all();
        match temper {
            Temper::Takes => say(wire, "250 kept"),
            Temper::Says(it) | Temper::KeepsBut(it) => say(wire, it),
            Temper::Late(time) => {
                std::thread::park_timeout(time);
                say(wire, "250 kept")
            }
            Temper::Until(set) | Temper::KeepsUntil(set) => {
                wait(&set);
                None
            }
        }
    }
}

fn wait(set: &AtomicBool) {
    while !set.load(SeqCst) {
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn between(line: &str) -> String {
    line.split_once('<').unwrap().1.split_once('>').unwrap().0.to_string()
}

/// A line, without its end; a lone line feed is no end of one.
fn line(wire: &mut BufReader<Box<dyn Both>>) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n") {
        wire.read_until(b'\n', &mut bytes).ok().filter(|it| *it > 0)?;
    }
    bytes.truncate(bytes.len() - 2);
    String::from_utf8(bytes).ok()
}

fn say(wire: &mut BufReader<Box<dyn Both>>, words: &str) -> Option<()> {
    let wire = wire.get_mut();
    wire.write_all(format!("{words}\r\n").as_bytes()).and_then(|()| wire.flush()).ok()
}
