//! A real broker, by `scripts/kafka`: shared by the suite, or of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::wait;

/// A broker that runs. One of a test's own ends with it; the shared one with the process, by its
/// `--owner`.
pub struct Broker {
    folder: PathBuf,
    status: Value,
    shared: bool,
}

/// A certificate that no broker here shows: for clients that trust the wrong one.
pub fn unknown_ca(name: &str) -> PathBuf {
    let folder = wait::folder(name);
    let [store, pem] = ["other.p12", "other.pem"].map(|it| folder.join(it));
    let run = |words: &[&str]| {
        let done = Command::new("keytool").args(words).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    };
    let at = ["-alias", "other", "-storepass", "changeit", "-keystore", store.to_str().unwrap()];
    run(&[&["-genkeypair", "-keyalg", "RSA", "-dname", "CN=127.0.0.1"][..], &at].concat());
    run(&[&["-exportcert", "-rfc", "-file", pem.to_str().unwrap()][..], &at].concat());
    pem
}

/// The listeners that ask who is there.
#[derive(Clone, Copy, Debug)]
pub enum Secured {
    SaslPlaintext,
    SaslSsl,
    Ssl,
}

impl Broker {
    /// The suite's broker: not to be killed, paused or reset.
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Broker::new("shared", &[], true))
    }

    /// A broker of the test's own, with these of its settings (`name=value`).
    pub fn own(name: &str, settings: &[&str]) -> Broker {
        Broker::new(name, settings, false)
    }

    fn new(name: &str, settings: &[&str], shared: bool) -> Broker {
        let folder = wait::suite_folder().join(format!("kafka-{name}"));
        let mut broker = Broker { folder, status: Value::Null, shared };
        let mut words = vec!["--port", "auto"];
        for it in settings {
            words.extend(["--config", it]);
        }
        // Another suite may take the ports between looking and listening: once more then.
        let owner = std::process::id().to_string();
        words.extend(["--owner", &owner]);
        if !broker.script("start", &words).status.success() {
            broker.must("kill", &[]);
            std::fs::remove_dir_all(&broker.folder).unwrap();
            broker.must("start", &words);
        }
        broker.status = broker.status();
        broker
    }

    fn script(&self, command: &str, more: &[&str]) -> Output {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut it = Command::new(root.join("scripts/kafka"));
        it.arg(command).arg("--dir").arg(&self.folder).args(more).stdin(Stdio::null());
        it.output().unwrap()
    }

    fn must(&self, command: &str, more: &[&str]) -> String {
        let done = self.script(command, more);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "scripts/kafka {command}: {said}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// What `status --json` says, whether it runs or not.
    pub fn status(&self) -> Value {
        let done = self.script("status", &["--json"]);
        serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&done.stderr)))
    }

    fn text(&self, name: &str) -> &str {
        self.status[name].as_str().unwrap()
    }

    /// The plain listener.
    pub fn brokers(&self) -> &str {
        self.text("brokers")
    }

    /// The certificate that clients are to trust.
    pub fn ca(&self) -> &str {
        self.text("ca")
    }

    /// A listener's address, and librdkafka's settings for it: `password_file` names a file, or
    /// nothing where none is asked for.
    pub fn secured(&self, listener: Secured) -> (String, Vec<(String, String)>, Option<PathBuf>) {
        let (name, protocol, user, mechanism) = match listener {
            Secured::SaslPlaintext => ("sasl_plaintext", "SASL_PLAINTEXT", Some("plain"), "PLAIN"),
            Secured::SaslSsl => ("sasl_ssl", "SASL_SSL", Some("scram"), "SCRAM-SHA-256"),
            Secured::Ssl => ("ssl", "SSL", None, ""),
        };
        let mut settings = vec![("security.protocol", protocol)];
        if let Some(user) = user {
            settings.extend([("sasl.mechanism", mechanism), ("sasl.username", user)]);
        }
        if protocol.ends_with("SSL") {
            settings.push(("ssl.ca.location", self.ca()));
        }
        let own = settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let password = user.map(|user| self.folder.join("secrets").join(user));
        (self.text(name).to_string(), own, password)
    }

    /// The file with the first records of a partition.
    pub fn log_path(&self, topic: &str, partition: i32) -> PathBuf {
        let name = format!("data/{topic}-{partition}/00000000000000000000.log");
        self.folder.join(name)
    }

    /// By SIGKILL: as a crash. Its data stay.
    pub fn kill(&self) {
        self.not_shared();
        self.must("kill", &[]);
    }

    /// In order.
    pub fn stop(&self) {
        self.not_shared();
        self.must("stop", &[]);
    }

    /// Again, with the same data and ports; returns when it answers.
    pub fn start(&self) {
        self.must("start", &["--owner", &std::process::id().to_string()]);
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.not_shared();
        self.must("pause", &[]);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.must("continue", &[]);
    }

    /// Stopped, and everything in it removed.
    pub fn reset(&self) {
        self.not_shared();
        self.must("reset", &[]);
    }

    fn not_shared(&self) {
        assert!(!self.shared, "other tests use the shared broker: start one of your own");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // One that is stopped already says so and does nothing. What it said stays for a test
        // that fails.
        self.script("kill", &[]);
        if std::thread::panicking() {
            println!("the broker's log: {}", self.folder.join("broker.log").display());
        } else {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}
