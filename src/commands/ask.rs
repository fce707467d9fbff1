//! Asking the running process: its loopback routes, at the address it has written into its data
//! folder.
//!
//! # Meaning
//! A data folder belongs to one process. If one runs, it is asked; if none does, the command opens
//! the folder itself, under its lock.
//!
//! # Why this way
//! One request, one answer, this machine: a page over [`TcpStream`] instead of an HTTP client with
//! its own runtime.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::report::Report;

/// The file in the data folder that holds the address.
pub const ADDRESS_FILE: &str = "admin.addr";
/// This machine answers at once, or nobody is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A retry of many rejects waits for the disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A backup of a large log, or reading all of it, lasts as long as the disk takes.
const SLOW_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Longest answer: a page of records is far below.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// The process that has the data folder open.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    address: SocketAddr,
}

/// The process that has this folder open, if it answers.
pub fn running(data_dir: &Path) -> Option<Peer> {
    let text = std::fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?;
    let peer = Peer { address: text.trim().parse().ok()? };
    // A process that was killed leaves its address behind; the port may be another's by now.
    let status = peer.get("/v1/admin/status").ok()?;
    let theirs = status.get("data_dir").and_then(Value::as_str).map(Path::new);
    let same = |it: &Path| it.canonicalize().ok() == data_dir.canonicalize().ok();
    theirs.is_none_or(same).then_some(peer)
}

/// One request with what it carries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asking<'a> {
    /// With its query.
    pub path: &'a str,
    /// Whole lines.
    pub headers: &'a str,
    /// JSON, or empty.
    pub body: &'a [u8],
}

impl Peer {
    /// Asks.
    pub fn get(&self, path: &str) -> Result<Value, Report> {
        self.request("GET", path, ANSWER_TIMEOUT)
    }

    /// Asks a route that is not the command line's own: its whole answer; none where there is no
    /// such thing.
    pub fn json(&self, path: &str) -> Result<Option<Value>, Report> {
        let (status, body) =
            self.exchange("GET", &Asking { path, ..Asking::default() }, ANSWER_TIMEOUT)?;
        let value = serde_json::from_slice(&body)
            .map_err(|why| self.told(path, &format!("expected JSON, found {why}")))?;
        match status {
            200 => Ok(Some(value)),
            404 => Ok(None),
            _ => Err(self.refused(path, status, &value)),
        }
    }

    /// Asks what everything on the disk has to be read for.
    pub fn get_slowly(&self, path: &str) -> Result<Value, Report> {
        self.request("GET", path, SLOW_TIMEOUT)
    }

    /// Has something done that everything on the disk has to be read for.
    pub fn post_slowly(&self, path: &str) -> Result<Value, Report> {
        self.request("POST", path, SLOW_TIMEOUT)
    }

    /// Has something done.
    pub fn post(&self, path: &str) -> Result<Value, Report> {
        self.request("POST", path, ANSWER_TIMEOUT)
    }

    /// Asks a route that takes a body, and gives the good answer as it came. How long it may take
    /// is the process's matter: it has its own limits.
    pub fn ask(&self, asking: &Asking<'_>) -> Result<Vec<u8>, Report> {
        let path = asking.path;
        let (status, body) = self.exchange("POST", asking, SLOW_TIMEOUT)?;
        if status == 200 {
            return Ok(body);
        }
        let value = serde_json::from_slice(&body)
            .map_err(|why| self.told(path, &format!("expected JSON, found {why}")))?;
        Err(self.refused(path, status, &value))
    }

    fn request(&self, method: &str, path: &str, within: Duration) -> Result<Value, Report> {
        let (status, body) =
            self.exchange(method, &Asking { path, ..Asking::default() }, within)?;
        let mut value: Value = serde_json::from_slice(&body)
            .map_err(|why| self.told(path, &format!("expected JSON, found {why}")))?;
        if status == 200 {
            let result = value.get_mut("result").map(Value::take);
            return result.ok_or_else(|| self.told(path, "an answer without a result"));
        }
        Err(self.refused(path, status, &value))
    }

    fn refused(&self, path: &str, status: u16, value: &Value) -> Report {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_string();
        let (code, fix) = (text("code"), text("fix"));
        Report {
            code: "commands/refused",
            what: "cannot do it: the running process refused".into(),
            at: vec![("process", self.address.to_string()), ("route", path.into())],
            why: format!("{status} {code}: {}: {}", text("title"), text("detail")),
            effect: "nothing was changed by this command".into(),
            fix: if fix.is_empty() { "see its log lines".into() } else { fix },
        }
    }

    /// Status and body of an answer.
    fn exchange(
        &self,
        method: &str,
        asking: &Asking<'_>,
        within: Duration,
    ) -> Result<(u16, Vec<u8>), Report> {
        let answer = self
            .bytes(method, asking, within)
            .map_err(|why| self.told(asking.path, &why.to_string()))?;
        parse(&answer).ok_or_else(|| self.told(asking.path, "no HTTP answer"))
    }

    fn bytes(
        &self,
        method: &str,
        asking: &Asking<'_>,
        within: Duration,
    ) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let host = self.address;
        let Asking { path, headers, body } = asking;
        let (kind, length) = ("Content-Type: application/json\r\n", body.len());
        let kind = if body.is_empty() { "" } else { kind };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\
             {headers}{kind}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// What must be in an answer: taken for empty, what is missing would go unseen.
    pub fn listed<'v>(
        &self,
        path: &str,
        answer: &'v Value,
        name: &str,
    ) -> Result<&'v [Value], Report> {
        answer[name].as_array().map(Vec::as_slice).ok_or_else(|| {
            self.told(path, &format!("expected a list `{name}`, found {}", answer[name]))
        })
    }

    /// No answer that could be used.
    pub fn told(&self, path: &str, why: &str) -> Report {
        Report {
            code: "commands/no-answer",
            what: "could not ask the running process".into(),
            at: vec![("process", self.address.to_string()), ("route", path.into())],
            why: why.into(),
            effect: "nothing is known to have been changed".into(),
            fix: "see whether it still runs; with none running the command opens the folder itself"
                .into(),
        }
    }
}

/// Status and body of an HTTP/1.1 answer that ends with the connection.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let body = &answer[end + 4..];
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|it| it.split_once(':'));
        lines.filter(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.trim()).next()
    };
    if header("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
        return Some((status, unchunk(body)?));
    }
    let whole = header("content-length").is_none_or(|it| it.parse() == Ok(body.len()));
    whole.then(|| (status, body.to_vec()))
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|it| it == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// A value in a query: everything but the unreserved percent-encoded.
pub fn query(pairs: &[(&str, Option<String>)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        let Some(value) = value else { continue };
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.push_str(&encoded(value));
    }
    out
}

/// A value in a path or a query.
pub fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: answers are read whole or not at all. Method: a table.
    #[test]
    fn answers_are_read_whole() {
        let check = |answer: &str, expected: Option<(u16, &str)>| {
            let found = parse(answer.as_bytes());
            let found = found.as_ref().map(|it| (it.0, std::str::from_utf8(&it.1).unwrap()));
            assert_eq!(found, expected, "{answer}");
        };
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Some((200, "{}")));
        check("HTTP/1.1 404 No\r\n\r\n{}", Some((404, "{}")));
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", None);
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
            Some((200, "{}")),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n", None);
        check("HTTP/1.1 200 OK\r\n", None);
        check("", None);
    }

    /// Goal: a list that is missing is not taken for an empty one. Method: a table.
    #[test]
    fn a_list_that_is_missing_is_told() {
        let peer = Peer { address: ([127, 0, 0, 1], 9).into() };
        let check = |answer: Value, expected: Result<usize, &str>| {
            let found = peer.listed("/v1/x", &answer, "rows");
            assert_eq!(
                found.as_ref().map(|it| it.len()).map_err(|it| it.code),
                expected,
                "{answer}"
            );
        };
        check(serde_json::json!({"rows": [1]}), Ok(1));
        check(serde_json::json!({"rows": []}), Ok(0));
        check(serde_json::json!({"rows": null}), Err("commands/no-answer"));
        check(serde_json::json!({"row": {}}), Err("commands/no-answer"));
        check(serde_json::json!([]), Err("commands/no-answer"));
    }

    #[test]
    fn queries_are_encoded() {
        let pairs = [("a", Some("x/y z&".to_string())), ("b", None), ("c", Some("1".into()))];
        assert_eq!(query(&pairs), "?a=x/y%20z%26&c=1");
    }
}
