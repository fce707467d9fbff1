//! A `millstream run` of a test's own: ready, ledger, the digests of its views.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::wait::{self, until};

/// Rows and digest, by view.
pub type Digests = BTreeMap<String, (u64, String)>;

/// The tenants of generated events.
pub const TENANTS: [&str; 2] = millstream::generator::TENANTS;

/// A file of a process's folder: what it holds is the variable of that name.
pub const PASSWORD_VARIABLE: &str = "KAFKA_PASSWORD";

/// A running process; killed with the test.
pub struct Millstream {
    child: Child,
    folder: PathBuf,
    address: String,
}

/// The program, without the settings and variables of whoever runs the tests.
pub fn program(words: &[&str]) -> Command {
    let mut it = Command::new(env!("CARGO_BIN_EXE_millstream"));
    it.args(words).current_dir(std::env::temp_dir()).env_clear().stdin(Stdio::null());
    it
}

/// Exit code, standard output, standard error.
pub fn told(it: Output) -> (i32, String, String) {
    let text = |it: Vec<u8>| String::from_utf8(it).unwrap();
    (it.status.code().unwrap_or(-1), text(it.stdout), text(it.stderr))
}

impl Millstream {
    /// Starts it with these settings (TOML) and waits until it is ready. Its data folder is the
    /// test's; [`Millstream::start_again`] goes on with it.
    pub fn start(name: &str, settings: &str) -> Millstream {
        let it = Millstream::start_unready(name, settings);
        it.until_ready();
        it
    }

    /// The same for one that will not be ready: it answers.
    pub fn start_unready(name: &str, settings: &str) -> Millstream {
        let folder = wait::folder(&format!("millstream-{name}"));
        std::fs::write(folder.join("millstream.toml"), settings).unwrap();
        Millstream::started(folder, &[])
    }

    fn started(folder: PathBuf, more: &[&str]) -> Millstream {
        let path = |name: &str| folder.join(name).display().to_string();
        let log = std::fs::File::options().create(true).append(true).open(folder.join("stderr"));
        let (config, data) = (path("millstream.toml"), path("data"));
        let address = folder.join("data/admin.addr");
        // One that was killed has left it behind.
        std::fs::remove_file(&address).ok();
        let words = ["run", "--config", &config, "--data-dir", &data, "--listen", "127.0.0.1:0"];
        let words = [&words[..], more].concat();
        let mut command = program(&words);
        if let Ok(password) = std::fs::read_to_string(folder.join(PASSWORD_VARIABLE)) {
            command.env(PASSWORD_VARIABLE, password);
        }
        let mut child = command.stdout(Stdio::null()).stderr(log.unwrap()).spawn().unwrap();
        let address = until("it says where it listens", || {
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "{}", std::fs::read_to_string(path("stderr")).unwrap());
            std::fs::read_to_string(&address).ok().filter(|it| !it.is_empty())
        });
        let it = Millstream { child, folder, address: address.trim().to_string() };
        until("it answers", || it.get("/health/live"));
        it
    }

    fn until_ready(&self) {
        until("it is ready", || (self.get("/health/ready")?.0 == 200).then_some(()));
    }

    /// By SIGKILL, and from its data folder again.
    pub fn kill_and_start_again(mut self) -> Millstream {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.start_again()
    }

    /// In order: SIGTERM, and its exit code.
    pub fn stop(&mut self) -> i32 {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Its exit code, if it has ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|it| it.code().unwrap_or(-1))
    }

    /// After its end: from its data folder again.
    pub fn start_again(self) -> Millstream {
        self.start_again_with(&[])
    }

    /// The same, by other settings.
    pub fn start_again_by(self, settings: &str) -> Millstream {
        std::fs::write(self.folder.join("millstream.toml"), settings).unwrap();
        self.start_again()
    }

    /// The same, with more words.
    pub fn start_again_with(mut self, more: &[&str]) -> Millstream {
        let folder = std::mem::take(&mut self.folder);
        drop(self);
        let it = Millstream::started(folder, more);
        it.until_ready();
        it
    }

    /// After [`Millstream::stop`]: a start with more words that is expected to be refused.
    pub fn refused(&self, more: &[&str]) -> (i32, String, String) {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let (config, data) = (path("millstream.toml"), path("data"));
        let words = ["run", "--config", &config, "--data-dir", &data, "--listen", "127.0.0.1:0"];
        told(program(&[&words[..], more].concat()).output().unwrap())
    }

    /// `millstream feed` with these words, on its data folder, whether it runs or not.
    pub fn feed(&self, words: &[&str]) -> (i32, String, String) {
        self.command(&[&["feed"], words].concat())
    }

    /// A command with its settings, on its data folder.
    pub fn command(&self, words: &[&str]) -> (i32, String, String) {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let (config, data) = (path("millstream.toml"), path("data"));
        let words = [words, &["--config", &config, "--data-dir", &data]].concat();
        told(program(&words).output().unwrap())
    }

    /// Everything it has said on standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// A connection to its HTTP.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// `GET`: status and body. `None`: it does not answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.ask(&format!("GET {path}"), "")
    }

    /// Events of a tenant, as one batch that is applied when this returns.
    pub fn post(&self, tenant: &str, events: &[&String]) {
        let all: Vec<&str> = events.iter().map(|it| it.as_str()).collect();
        let body = format!("[{}]", all.join(","));
        let more = format!(
            "Content-Type: application/cloudevents-batch+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let path = format!("POST /v1/events?wait=applied&tenant={tenant}");
        let (status, answer) = self.ask(&path, &more).unwrap();
        assert!((200..300).contains(&status), "{status}: {answer}");
    }

    /// A request (`GET /path`), what follows its first lines, and the answer.
    pub fn ask(&self, what: &str, more: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let more = if more.is_empty() { "\r\n" } else { more };
        let request =
            format!("{what} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}", self.address);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.get(9..12)?.parse().ok()?, body.to_string()))
    }

    /// `GET` of JSON that is there.
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).unwrap_or_else(|| panic!("{path}: {}", self.said()));
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The ledger's lines of the feeds whose names begin so.
    pub fn ledger(&self, feed: &str) -> Vec<Value> {
        let all = self.json("/v1/ledger")["partitions"].take();
        let of = |it: &Value| it["feed"].as_str().unwrap().starts_with(feed);
        all.as_array().unwrap().iter().filter(|it| of(it)).cloned().collect()
    }

    /// A count, over the partitions of these feeds.
    pub fn count(&self, feed: &str, name: &str) -> u64 {
        self.ledger(feed).iter().map(|it| it[name].as_u64().unwrap()).sum()
    }

    /// A metric: the sum over the lines that begin so.
    pub fn metric(&self, begins: &str) -> f64 {
        let all = self.get("/metrics").map_or_else(String::new, |it| it.1);
        let of = |it: &str| it.rsplit_once(' ')?.1.parse::<f64>().ok();
        all.lines().filter(|it| it.starts_with(begins)).filter_map(of).sum()
    }

    /// Waits until so many alarms of this kind are on for a `[[kafka]]`.
    pub fn until_alarms(&self, feed: &str, code: &str, n: u32) {
        let line = format!("millstream_kafka_alarms{{feed=\"{feed}\",alarm=\"{code}\"}} ");
        let is = |it: &String| it.lines().any(|it| it == format!("{line}{n}"));
        until(&format!("{line}{n}"), || self.get("/metrics").map(|it| it.1).filter(is));
    }

    /// Waits until so many records of these feeds are read.
    pub fn until_read(&self, feed: &str, records: u64) {
        let mut last = 0;
        until(&format!("{records} records of {feed} are read"), || {
            let read = self.count(feed, "read");
            assert!(read <= records, "{read} records read of {records}: some twice");
            assert!(read >= last, "counts only grow");
            last = read;
            (read == records).then_some(())
        });
    }

    /// Every line of the ledger adds up: next - first = read + lost + absent, and each record read
    /// is in one place. (With a mapping that makes several events of a record, the second does not
    /// hold.)
    pub fn balances(&self, feed: &str) {
        let lines = self.ledger(feed);
        assert!(!lines.is_empty(), "no feed {feed}: {}", self.json("/v1/ledger"));
        for it in lines {
            let n = |name: &str| it[name].as_u64().unwrap();
            assert_eq!(n("next") - n("first"), n("read") + n("lost") + n("absent"), "{it}");
            let ended = n("applied") + n("duplicate") + n("skipped") + n("rejected");
            assert_eq!(n("read"), ended, "{it}");
        }
    }

    /// Every view's rows as a client lists them, page by page, digested as `replay` does.
    pub fn digests(&self, tenants: &[&str]) -> Digests {
        let views = self.json("/v1/views");
        let names = views["views"].as_array().unwrap().iter();
        let mut digests = Digests::new();
        for view in names.map(|it| it["name"].as_str().unwrap()) {
            let mut lines = Vec::new();
            for tenant in tenants {
                let mut at = String::new();
                loop {
                    let path = format!("/v1/views/{view}?tenant={tenant}&limit=1000{at}");
                    let mut page = self.json(&path);
                    for it in page["rows"].as_array_mut().unwrap() {
                        let mut row = serde_json::Map::new();
                        row.insert("tenant".into(), (*tenant).into());
                        row.extend(it["row"].as_object_mut().map(std::mem::take).unwrap());
                        lines.push(Value::Object(row).to_string());
                    }
                    match page["next"].as_str() {
                        Some(next) => at = format!("&cursor={next}"),
                        None => break,
                    }
                }
            }
            lines.sort_unstable();
            let hash = Sha256::digest(lines.join("\n"));
            let digest = hash.iter().take(8).map(|it| format!("{it:02x}")).collect();
            digests.insert(view.to_string(), (lines.len() as u64, digest));
        }
        digests
    }
}

impl Drop for Millstream {
    fn drop(&mut self) {
        // Ended already, in many tests.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() && !self.folder.as_os_str().is_empty() {
            println!("what millstream said: {}", self.folder.join("stderr").display());
        }
    }
}

/// What a file gives, by `millstream replay` at the wall's time: what a feed of the same records
/// must give too.
pub fn replayed(file: &Path, more: &[&str]) -> Digests {
    let file = file.display().to_string();
    let words = [&["replay", &file, "--clock", "wall", "--json"], more].concat();
    let (code, out, err) = told(program(&words).output().unwrap());
    assert_eq!(code, 0, "{err}");
    let outcome: Value = serde_json::from_str(&out).unwrap();
    let view = |(name, it): (&String, &Value)| {
        (name.clone(), (it["rows"].as_u64().unwrap(), it["digest"].as_str().unwrap().to_string()))
    };
    outcome["views"].as_object().unwrap().iter().map(view).collect()
}

/// Generated events, one a line, and the file that has them.
pub fn generated(name: &str, seed: u64, events: u64) -> (PathBuf, Vec<String>) {
    let (events, seed) = (events.to_string(), seed.to_string());
    let words = ["generate", "--events", &events, "--seed", &seed];
    let (code, out, err) = told(program(&words).output().unwrap());
    assert_eq!(code, 0, "{err}");
    let file = wait::folder(name).join("events.jsonl");
    std::fs::write(&file, &out).unwrap();
    (file, out.lines().map(str::to_string).collect())
}
