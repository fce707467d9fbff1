//! Is mail taken by a server that is not ours? Started by `scripts/test live`, never by `cargo test`
//! alone. (`tests/notify/email.rs` has what only a server of ours can do.)
//! Goal: over either sort of TLS, with a password, what a rule says arrives once, and another
//! program reads of it what was said; with a wrong password nothing does.
//! Method: the real binary, `scripts/smtp`, mail as Python's library reads it.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use process::{Folder, Process, get, run};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";

fn file(name: &str) -> String {
    format!("{}/tests/common/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The other server; it ends when its input does.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(way: &str, password_file: &str) -> Server {
        let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/smtp"))
            .args([way, &file("receiver.pem"), &file("receiver.key"), password_file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no port: {line:?}"));
        Server { child, out, port }
    }

    /// The next mail.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line:?}"))
    }

    /// Ends it; whether there was no more mail.
    fn had_no_more(mut self) -> bool {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap();
        rest.is_empty()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, in a test that passes.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn tell(address: &str, kind: &str, data: &Value) {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let time = schemas::time::rfc3339(time as i64);
    let body = json!([{"specversion": "1.0", "id": format!("{kind}-{time}"), "source": "//crm",
                       "type": kind, "time": time, "data": data}])
    .to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/events?wait=applied HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/cloudevents-batch+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let (status, told) = process::answer(stream);
    assert_eq!(status, 202, "{told}");
}

/// Waits until so many messages are in a state.
fn until(address: &str, state: &str, n: usize) {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let (_, text) = get(address, &format!("/v1/notifications?state={state}&limit=1000"));
        let page: Value = serde_json::from_str(&text).unwrap();
        if page["rows"].as_array().is_some_and(|it| it.len() == n) {
            return;
        }
        assert!(Instant::now() < end, "{n} {state}: {text}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A process with a rule over cases, and a channel to this server.
fn started(folder: &Folder, (way, port): (&str, u16)) -> (Process, String) {
    let settings = folder.file(
        "millstream.toml",
        format!(
            "[channels.ops]\nkind = \"email\"\nserver = \"127.0.0.1:{port}\"\ntls = \"{way}\"\n\
             from = \"Millstream <millstream@example.org>\"\n\
             to = [\"ops@example.org\", \"Änne <ann@example.net>\"]\n\
             allow = [\"127.0.0.1:{port}\"]\nca_file = \"{}\"\nuser = \"millstream\"\n\
             password_file = \"mail.password\"\n\
             [rules.waits]\nview = \"cases\"\nwhen = \"status == 'open'\"\n\
             episode = [\"opened_at\"]\nchannel = \"ops\"\nseverity = \"critical\"\n\
             text = \"case {{{{ case }}}}: {{{{ text }}}}\"\n\
             resolved = \"case {{{{ case }}}} is looked after\"\n",
            file("ca.pem")
        ),
    );
    let data = folder.0.join("data");
    let data_dir = data.display().to_string();
    let words = ["run", "--listen", "127.0.0.1:0", "--data-dir", &data_dir, "--config", &settings];
    let mut process = Process::start(&words);
    let address = process.address(&data);
    (process, address)
}

fn opened(text: &str) -> Value {
    json!({"case": "K-1", "customer": "C-1", "severity": 1, "queue": "q", "text": text})
}

#[test]
fn a_server_that_is_not_ours_reads_what_was_said() {
    for way in ["starttls", "implicit"] {
        let folder = Folder::new(&format!("mail-{way}"));
        let mut server = Server::start(way, &folder.file("mail.password", PASSWORD));
        let (_process, address) = started(&folder, (way, server.port));
        // What a stranger writes: another recipient, a tag, the end of a text, long and not ASCII.
        let hostile =
            format!("é\r\nBcc: evil@example.com\r\n\r\n<b>\r\n.\r\n{}", "x".repeat(3_000));
        tell(&address, "case.opened", &opened(&hostile));
        let first = server.next();
        until(&address, "delivered", 1);
        tell(&address, "case.resolved", &json!({"case": "K-1", "customer": "C-1"}));
        let over = server.next();
        until(&address, "delivered", 2);
        let header = |it: &Value, name: &str| -> Vec<String> {
            let all = it["headers"].as_array().unwrap().iter();
            let is = |it: &&Value| it[0].as_str().unwrap().eq_ignore_ascii_case(name);
            all.filter(is).map(|it| it[1].as_str().unwrap().to_string()).collect()
        };
        for it in [&first, &over] {
            assert_eq!(it["to"], json!(["ops@example.org", "ann@example.net"]), "{it:#}");
            assert_eq!((&it["authenticated"], &it["tls"]), (&json!(true), &json!(true)), "{it:#}");
            assert_eq!(
                (&it["from"], &it["defects"]),
                (&json!("millstream@example.org"), &json!([]))
            );
            assert_eq!(header(it, "Bcc"), [""; 0], "{it:#}");
            assert_eq!(header(it, "From"), ["Millstream <millstream@example.org>"]);
            assert_eq!(header(it, "To"), ["ops@example.org, Änne <ann@example.net>"]);
        }
        assert_eq!(header(&first, "Subject"), ["[critical] case K-1: é"]);
        let text = first["parts"]["text/plain"].as_str().unwrap();
        let said = format!("case K-1: {}", hostile.replace("\r\n", "\n"));
        assert!(text.replace("\r\n", "\n").starts_with(&said), "{text}");
        let html = first["parts"]["text/html"].as_str().unwrap();
        assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"), "{html}");
        assert_eq!(header(&over, "Subject"), ["[resolved] case K-1 is looked after"]);
        assert_eq!(header(&over, "In-Reply-To"), header(&first, "Message-ID"));
        assert!(server.had_no_more());
    }
}

#[test]
fn a_wrong_password_is_a_channel_that_somebody_has_to_see_to() {
    let folder = Folder::new("mail-password");
    let server = Server::start("starttls", &folder.file("their.password", PASSWORD));
    folder.file("mail.password", "another one");
    let (_process, address) = started(&folder, ("starttls", server.port));
    tell(&address, "case.opened", &opened("help"));
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let words = ["channels", "list", "--json", "--data-dir", &folder.path("data")];
        let (code, out, err) = run(&words);
        assert_eq!(code, 0, "{err}");
        let stands: Value = serde_json::from_str(out.trim()).unwrap();
        if stands["state"] == "misconfigured" {
            let why = stands["why"].as_str().unwrap();
            assert!(why.contains("535") && why.contains("who we are"), "{why}");
            break;
        }
        assert!(Instant::now() < end, "{stands}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    until(&address, "planned", 1);
    assert!(server.had_no_more());
}
