//! `[channels.NAME]`: who is told, and how.
//!
//! In: a table of the settings file. Out: [`ChannelSettings`], or every problem at once.
//!
//! # Invariants
//! No secret stands in the file and none is ever printed: it comes from a file (read again at each
//! start) or from a variable, one a line; the first signs, all may be verified with.

use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

use super::kafka::{Password, Wrong};
use super::named::{Key, Reader};
use super::problem::{Place, Trouble};

/// A `[channels.NAME]`, checked.
#[derive(Clone, Debug)]
pub struct ChannelSettings {
    /// Unique; rules name it.
    pub name: String,
    /// Where to.
    pub url: String,
    /// What signs: one secret a line, the newest first.
    pub secret: Password,
    /// Certificates that are trusted with https; the system's if absent.
    pub ca_file: Option<std::path::PathBuf>,
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

/// The keys of a `[channels.NAME]`.
pub const CHANNEL_KEYS: &[Key] = &[
    ("kind", "", "\"webhook\"", "What it is: `webhook` (Standard Webhooks 1.0)."),
    (
        "url",
        "",
        "\"https://hooks.example/millstream\"",
        "Where messages are posted, by http or https.",
    ),
    (
        "secret_file",
        "",
        "\"ops.secret\"",
        "A file that holds what signs, a secret a line (`whsec_…` of 24 to 64 bytes in base64, or `whsk_…` for Ed25519); every line signs each message, so that one can be rotated in before another goes.",
    ),
    (
        "secret_env",
        "",
        "\"OPS_SECRET\"",
        "A variable of the process that holds the same, separated by spaces.",
    ),
    (
        "ca_file",
        "",
        "\"hooks.pem\"",
        "Certificates that are trusted with https; the system's if absent.",
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
        "\"3d\"",
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
    it.kind(&["webhook"], place.clone())?;
    let secs = Duration::from_secs;
    let url = it.must("url", &place).filter(|it| !it.1.is_empty());
    let url = match url {
        Some((_, text)) if is_hook(&text) => Some(text),
        Some((at, text)) => {
            let expected = "an address by http or https, without a user, such as \
                            \"https://hooks.example/in\"";
            it.say(Trouble::Value, at, "url", expected, format!("{text:?}"), None);
            None
        }
        None => None,
    };
    let secret = it.secret(("secret_file", "secret_env"), folder, variables);
    if secret.is_none() && !it.said("secret_file") && !it.said("secret_env") {
        let expected = "`secret_file` or `secret_env`";
        it.say(
            Trouble::Value,
            place.clone(),
            "",
            expected,
            "a channel that signs with nothing",
            None,
        );
    }
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
    let expires = it.time("expires", secs(3 * 86_400), secs(1), secs(30 * 86_400));
    let name = name.to_string();
    let (url, secret) = (url?, secret?);
    it.good().then_some(ChannelSettings {
        name,
        url,
        secret,
        ca_file,
        allow,
        concurrency,
        rate,
        timeout,
        expires,
    })
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
