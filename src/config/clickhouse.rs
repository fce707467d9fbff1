//! Where a ClickHouse is, who we are there, and how it is spoken to.
//!
//! # Invariants
//! No secret stands in the file and none is ever printed: the password comes from a file (read
//! again whenever we connect) or from a variable that the settings name.

use std::path::PathBuf;
use std::time::Duration;

use super::kafka::Password;

/// A server, a database, a user.
#[derive(Clone, Debug)]
pub struct ClickHouseSettings {
    /// `http://127.0.0.1:8123`, `https://…`.
    pub url: String,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// Where its password comes from; none: it has none.
    pub password: Option<Password>,
    /// A PEM file with the certificates that are trusted; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// `auto` (to other machines only), `lz4`, `none`.
    pub compress: String,
    /// The longest an insert or a question may take.
    pub timeout: Duration,
}

impl Default for ClickHouseSettings {
    fn default() -> ClickHouseSettings {
        ClickHouseSettings {
            url: String::new(),
            database: "millstream".into(),
            user: "default".into(),
            password: None,
            ca_file: None,
            compress: "auto".into(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// What an address is, in words.
pub const A_URL: &str =
    "an address such as \"http://127.0.0.1:8123\" (or https), without user and password";
/// What the name of a database is, in words.
pub const A_NAME: &str = "a name of letters, digits and `_`, at most 64";
/// Ways to compress, in words.
pub const A_COMPRESS: &str = "`auto`, `lz4` or `none`";

/// Scheme, host and perhaps port; nothing after. (What stands after is ours to say.)
pub fn is_url(text: &str) -> bool {
    let uri: Option<http::Uri> = text.parse().ok();
    uri.is_some_and(|it| {
        matches!(it.scheme_str(), Some("http" | "https"))
            && it.host().is_some_and(|it| !it.is_empty())
            && it.path_and_query().is_none_or(|it| it.as_str() == "/")
            && it.authority().is_some_and(|it| !it.as_str().contains('@'))
    })
}

/// Whether it may stand in a statement as it is.
pub fn is_name(text: &str) -> bool {
    let word = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(word) && !text.as_bytes()[0].is_ascii_digit()
}

/// A way to compress.
pub fn is_compress(text: &str) -> bool {
    matches!(text, "auto" | "lz4" | "none")
}

impl ClickHouseSettings {
    /// Whether inserts are compressed: to other machines, unless said otherwise.
    pub fn compressed(&self) -> bool {
        let uri: Option<http::Uri> = self.url.parse().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or("");
        let here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        match self.compress.as_str() {
            "lz4" => true,
            "none" => false,
            _ => !here,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an address is an address and nothing more; what goes into a statement is a name.
    #[test]
    fn addresses_and_names() {
        for good in ["http://127.0.0.1:8123", "https://ch.example.com/", "http://[::1]:8123"] {
            assert!(is_url(good), "{good}");
        }
        for not in
            ["", "127.0.0.1:8123", "ftp://a", "http://u:p@a:1", "http://a/b", "http://a/?x=1"]
        {
            assert!(!is_url(not), "{not}");
        }
        assert!(is_name("millstream_2") && !is_name("a.b") && !is_name("a`b") && !is_name(""));
        let it = |url: &str| ClickHouseSettings { url: url.into(), ..Default::default() };
        assert!(!it("http://localhost:8123").compressed());
        assert!(it("https://ch.example.com").compressed());
    }
}
