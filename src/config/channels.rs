//! `[channels.NAME]`: who is told, and how.
//!
//! In: a table of the settings file. Out: [`ChannelSettings`], or every problem at once.
//!
//! # Invariants
//! - No secret stands in the file and none is ever printed: it comes from a file (read again at each
//!   start) or from a variable, one a line; the first signs, all may be verified with.
//! - A password travels over TLS only.
//! - Addresses of mail are read here once, and are plain ASCII: whatever goes into a header or an
//!   envelope later is one address.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::Mailbox;
use toml::de::DeTable;

use super::kafka::{Password, Wrong};
use super::named::{Key, Reader};
use super::problem::{Place, Trouble};

/// A `[channels.NAME]`, checked.
#[derive(Clone, Debug)]
pub struct ChannelSettings {
    /// Unique; rules name it.
    pub name: String,
    /// What it is, and what only that has.
    pub to: To,
    /// Certificates that are trusted with TLS; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// Addresses of the own network that may be spoken to all the same, by host and port.
    pub allow: Vec<String>,
    /// Attempts at once.
    pub concurrency: usize,
    /// Attempts in a second, at most.
    pub rate: usize,
    /// An attempt that takes longer is given up.
    pub timeout: Duration,
    /// An intent is not sent any more so long after it was planned.
    pub expires: Duration,
}

/// What a channel is.
#[derive(Clone, Debug)]
pub enum To {
    /// Standard Webhooks.
    Webhook {
        /// Where to.
        url: String,
        /// What signs: one secret a line, the newest first.
        secret: Password,
    },
    /// Mail.
    Email(EmailSettings),
}

/// What a channel of mail has.
#[derive(Clone, Debug)]
pub struct EmailSettings {
    /// The server that takes mail for us: its name or address.
    pub host: String,
    /// And its port.
    pub port: u16,
    /// How the connection is kept from others' eyes.
    pub tls: Tls,
    /// Who we are to it, if it wants to know.
    pub user: Option<(String, Password)>,
    /// Who it is from.
    pub from: Mailbox,
    /// Who it is to: each message to all of them.
    pub to: Vec<Mailbox>,
}

/// TLS with a server of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte on.
    Implicit,
    /// Asked for before anything else is said; without it nothing is sent.
    Starttls,
    /// None.
    None,
}

/// Where `expires` is not said: later than the last attempt that the schedule of a message has
/// (75 h 35 min, and a fifth).
pub const EXPIRES: Duration = Duration::from_secs(4 * 86_400);

/// Most people that one channel writes to.
pub const RECIPIENTS_MAX: usize = 100;

const KINDS: [&str; 2] = ["webhook", "email"];
/// The port that each sort of connection has where none is said.
const TLS: [(&str, Tls, u16); 3] =
    [("implicit", Tls::Implicit, 465), ("starttls", Tls::Starttls, 587), ("none", Tls::None, 25)];

/// The keys of a `[channels.NAME]`.
pub const CHANNEL_KEYS: &[Key] = &[
    ("kind", "", "\"webhook\"", "What it is: `webhook` (Standard Webhooks 1.0) or `email`."),
    (
        "url",
        "webhook",
        "\"https://hooks.example/millstream\"",
        "Where messages are posted, by http or https.",
    ),
    (
        "secret_file",
        "webhook",
        "\"ops.secret\"",
        "A file that holds what signs, a secret a line (`whsec_…` of 24 to 64 bytes in base64, or `whsk_…` for Ed25519); every line signs each message, so that one can be rotated in before another goes.",
    ),
    (
        "secret_env",
        "webhook",
        "\"OPS_SECRET\"",
        "A variable of the process that holds the same, separated by spaces.",
    ),
    (
        "server",
        "email",
        "\"mail.example:465\"",
        "The server that takes mail for us (SMTP); without a port the one of its `tls`: 465, 587, 25.",
    ),
    (
        "tls",
        "email",
        "\"implicit\"",
        "`implicit`: TLS from the first byte on. `starttls`: asked for at once, and nothing is sent without. `none`: for a server of the own network, without a password.",
    ),
    ("user", "email", "\"millstream\"", "Who we are to the server; nobody if absent."),
    (
        "password_file",
        "email",
        "\"mail.password\"",
        "A file that holds the password; read again for each connection.",
    ),
    ("password_env", "email", "\"MAIL_PASSWORD\"", "A variable of the process that holds it."),
    ("from", "email", "\"Millstream <millstream@example.org>\"", "Who mail is from."),
    (
        "to",
        "email",
        "[\"ops@example.org\"]",
        "Who it is to, 100 at most: each message is one mail to all of them.",
    ),
    (
        "ca_file",
        "",
        "\"hooks.pem\"",
        "Certificates that are trusted with TLS; the system's if absent.",
    ),
    (
        "allow",
        "",
        "[\"127.0.0.1:9000\"]",
        "Addresses that are spoken to although they are loopback, link-local or private, with their ports; none if absent.",
    ),
    ("concurrency", "", "8", "Attempts at once: 1 to 256. Of one subject always one."),
    ("rate", "", "1000", "Attempts in a second: 1 to 100,000."),
    ("timeout", "", "\"15s\"", "An attempt that takes longer is given up: 100ms to 60s."),
    (
        "expires",
        "",
        "\"4d\"",
        "So long after it was planned a message is not sent any more: 1s to 30d.",
    ),
];

/// Reads a `[channels.NAME]`; `None` if something is wrong, and all of it is in `wrong`.
pub(super) fn read(
    (name, place): (&str, Place),
    table: &DeTable<'_>,
    (folder, variables): (&Path, &[(String, String)]),
    at: &dyn Fn(usize) -> Place,
    wrong: &mut Vec<Wrong>,
) -> Option<ChannelSettings> {
    let mut it = Reader::of(("channels", name, &place), table, CHANNEL_KEYS, at, wrong);
    let kind = it.kind(&KINDS, place.clone())?;
    it.only_of(kind, CHANNEL_KEYS);
    let secs = Duration::from_secs;
    let to = match kind {
        "email" => it.email(&place, folder, variables),
        _ => it.webhook(&place, folder, variables),
    };
    let ca_file = it.text("ca_file").map(|it| folder.join(it.1));
    let (said_at, allow) = it.list("allow").unwrap_or_else(|| (place.clone(), Vec::new()));
    for address in &allow {
        if address.parse::<std::net::SocketAddr>().is_err() {
            let expected = "addresses with their ports, such as \"127.0.0.1:9000\"";
            let found = format!("{address:?}");
            it.say(Trouble::Value, said_at.clone(), "allow", expected, found, None);
        }
    }
    let concurrency = it.count("concurrency", 8, 256);
    let rate = it.count("rate", 1_000, 100_000);
    let timeout = it.time("timeout", secs(15), Duration::from_millis(100), secs(60));
    let expires = it.time("expires", EXPIRES, secs(1), secs(30 * 86_400));
    let name = name.to_string();
    let to = to?;
    it.good().then_some(ChannelSettings {
        name,
        to,
        ca_file,
        allow,
        concurrency,
        rate,
        timeout,
        expires,
    })
}

impl Reader<'_> {
    fn webhook(
        &mut self,
        place: &Place,
        folder: &Path,
        variables: &[(String, String)],
    ) -> Option<To> {
        let url = match self.must("url", place) {
            Some((_, text)) if is_hook(&text) => Some(text),
            Some((at, text)) => {
                let expected = "an address by http or https, without a user, such as \
                                \"https://hooks.example/in\"";
                self.say(Trouble::Value, at, "url", expected, format!("{text:?}"), None);
                None
            }
            None => None,
        };
        let secret = self.secret(("secret_file", "secret_env"), folder, variables);
        if secret.is_none() && !self.said("secret_file") && !self.said("secret_env") {
            let (expected, found) =
                ("`secret_file` or `secret_env`", "a channel that signs with nothing");
            self.say(Trouble::Value, place.clone(), "", expected, found, None);
        }
        Some(To::Webhook { url: url?, secret: secret? })
    }

    fn email(
        &mut self,
        place: &Place,
        folder: &Path,
        variables: &[(String, String)],
    ) -> Option<To> {
        let word = self.word("tls", TLS[0].0, &TLS.map(|it| it.0));
        let (_, tls, usual) = TLS.into_iter().find(|it| it.0 == word).unwrap_or(TLS[0]);
        let server = match self.must("server", place) {
            Some((at, text)) => self.server(at, &text, usual),
            None => None,
        };
        let user = self.text("user");
        let password = self.secret(("password_file", "password_env"), folder, variables);
        let has_password = self.said("password_file") || self.said("password_env");
        if self.said("user") != has_password {
            let expected = "`user` and `password_file` (or `password_env`), or neither";
            self.say(Trouble::Conflict, place.clone(), "", expected, "one without the other", None);
        }
        if has_password && tls == Tls::None {
            let expected = "`tls = \"implicit\"` or `\"starttls\"` where there is a password";
            self.say(Trouble::Conflict, place.clone(), "tls", expected, "\"none\"", None);
        }
        let from = match self.must("from", place) {
            Some((at, text)) => self.mailbox("from", &at, &text),
            None => None,
        };
        let mut to = Vec::new();
        match self.list("to") {
            Some((at, all)) if all.len() <= RECIPIENTS_MAX => {
                for text in all {
                    to.extend(self.mailbox("to", &at, &text));
                }
            }
            Some((at, all)) => {
                let expected = format!("at most {RECIPIENTS_MAX} addresses");
                self.say(Trouble::Value, at, "to", expected, all.len().to_string(), None);
            }
            None if !self.said("to") => {
                let found = "a table without `to`";
                self.say(Trouble::Value, place.clone(), "", "`to`", found, None);
            }
            None => {}
        }
        let (host, port) = server?;
        let user = user.map(|it| it.1).zip(password);
        Some(To::Email(EmailSettings { host, port, tls, user, from: from?, to }))
    }

    fn server(&mut self, at: Place, text: &str, usual: u16) -> Option<(String, u16)> {
        let read = text.parse::<http::uri::Authority>().ok().filter(|it| {
            let port = it.port_u16().is_some() || it.as_str() == it.host();
            port && !it.host().is_empty() && !it.as_str().contains('@')
        });
        let read = read.map(|it| {
            (it.host().trim_matches(['[', ']']).to_string(), it.port_u16().unwrap_or(usual))
        });
        if read.is_none() {
            let expected = "a server and its port, such as \"mail.example:465\"";
            self.say(Trouble::Value, at, "server", expected, format!("{text:?}"), None);
        }
        read
    }

    fn mailbox(&mut self, key: &str, at: &Place, text: &str) -> Option<Mailbox> {
        // All of it is one address: what comes after it would be left out silently.
        let whole = |it: &Mailbox| {
            let email: &str = it.email.as_ref();
            let ends = text == email || text.ends_with(&format!("<{email}>"));
            email.is_ascii() && ends && !text.chars().any(char::is_control)
        };
        let read: Option<Mailbox> = text.parse().ok().filter(whole);
        if read.is_none() {
            let expected = "an address in ASCII, such as \"ops@example.org\" or \
                            \"Ops <ops@example.org>\"";
            self.say(Trouble::Value, at.clone(), key, expected, format!("{text:?}"), None);
        }
        read
    }
}

/// An address that can be posted to: scheme and host; nobody's name and password in it.
fn is_hook(text: &str) -> bool {
    let uri: Option<http::Uri> = text.parse().ok();
    uri.is_some_and(|it| {
        matches!(it.scheme_str(), Some("http" | "https"))
            && it.host().is_some_and(|it| !it.is_empty())
            && it.authority().is_some_and(|it| !it.as_str().contains('@'))
    })
}
