//! A message as mail: plain text, the same as HTML, and headers that nothing can be put into.
//!
//! # Meaning
//! A function of the intent alone: every attempt carries the same bytes, `Message-ID`, date and
//! boundary included. What is said comes from rows, and so from strangers: in a header a line break
//! is a space, in HTML everything is escaped, and the boundary is a digest of what it bounds, so that
//! no text can contain it.

use std::time::{Duration, SystemTime};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use minijinja::HtmlEscape;
use schemas::time::parse_rfc3339;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Characters of a subject.
const SUBJECT_MAX: usize = 150;

/// What of an intent stands below what is said, and how it is called there.
const FIELDS: [(&str, &str); 8] = [
    ("rule", "rule"),
    ("severity", "severity"),
    ("view", "view"),
    ("about", "about"),
    ("episode", "episode"),
    ("reason", "because"),
    ("planned_at", "decided at"),
    ("message", "message"),
];

/// The mail; in words, why there is none.
pub(super) fn letter(
    (from, to): (&Mailbox, &[Mailbox]),
    tenant: &str,
    row: &Value,
) -> Result<Vec<u8>, String> {
    let field = |name: &str| row[name].as_str().unwrap_or("");
    let name = |id: &str| format!("<{id}@{}>", from.email.domain());
    let said = lines(field("text"));
    let mut below = vec![("tenant", line(tenant))];
    below.extend(FIELDS.iter().map(|(of, shown)| (*shown, line(field(of)))));
    let corrects = row["corrects"].as_str();
    let urgency = if corrects.is_some() { "resolved" } else { field("severity") };
    let first = said.lines().next().unwrap_or("");
    let subject: String = format!("[{urgency}] {first}").chars().take(SUBJECT_MAX).collect();
    let (plain, html) = (plain(&said, &below), html(&said, &below));
    let at = parse_rfc3339(field("planned_at")).and_then(|it| u64::try_from(it).ok()).unwrap_or(0);

    let mut message = Message::builder()
        .from(from.clone())
        .subject(line(&subject))
        .message_id(Some(name(field("message"))))
        .date(SystemTime::UNIX_EPOCH + Duration::from_micros(at))
        // Nobody's holidays are to answer it.
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("Millstream-Message", field("message")));
    for it in to {
        message = message.to(it.clone());
    }
    if let Some(id) = corrects {
        message = message.in_reply_to(name(id)).references(name(id));
    }
    let parts = MultiPart::alternative()
        .boundary(boundary(&[&plain, &html]))
        .singlepart(SinglePart::plain(plain))
        .singlepart(SinglePart::html(html));
    message.multipart(parts).map(|it| it.formatted()).map_err(|why| why.to_string())
}

/// A header of ours; its value is one line of ASCII.
fn raw(name: &'static str, value: &str) -> HeaderValue {
    let value: String = value.chars().filter(char::is_ascii_graphic).collect();
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// Text without what steers a terminal or ends a line of mail.
fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.replace(|it: char| it.is_control() && it != '\n' && it != '\t', " ")
}

/// The same on one line.
fn line(text: &str) -> String {
    text.replace(|it: char| it.is_control() || it == '\u{2028}' || it == '\u{2029}', " ")
}

fn plain(said: &str, below: &[(&str, String)]) -> String {
    let mut out = format!("{said}\n\n");
    for (name, value) in below {
        out += &format!("{name:<12}{value}\n");
    }
    out
}

fn html(said: &str, below: &[(&str, String)]) -> String {
    let mut out =
        String::from("<!doctype html>\n<html><body>\n<p style=\"white-space: pre-wrap\">");
    out += &format!("{}</p>\n<table>\n", HtmlEscape(said));
    for (name, value) in below {
        out += &format!("<tr><td>{name}</td><td>{}</td></tr>\n", HtmlEscape(value));
    }
    out + "</table>\n</body></html>\n"
}

fn boundary(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.concat());
    digest.iter().take(16).map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(row: &Value) -> String {
        let from: Mailbox = "Mill <m@example.org>".parse().unwrap();
        let to: Vec<Mailbox> = vec!["o@example.org".parse().unwrap()];
        let mail = letter((&from, &to), "t\r\nBcc: x@evil.example", row).unwrap();
        assert_eq!(mail, letter((&from, &to), "t\r\nBcc: x@evil.example", row).unwrap());
        String::from_utf8(mail).unwrap()
    }

    /// Goal: whatever stands in whichever field, the headers are those that there are without it, each
    /// once, every line of the mail ends as SMTP wants it, and the parts are two.
    #[test]
    fn nothing_becomes_a_header_or_a_part() {
        let names = |mail: &str| -> Vec<String> {
            let head = mail.split("\r\n\r\n").next().unwrap();
            let lines = head.split("\r\n").filter(|it| !it.starts_with([' ', '\t']));
            lines.map(|it| it.split(':').next().unwrap().to_string()).collect()
        };
        let row = json!({"message": "msg_1", "rule": "r", "severity": "info", "view": "v",
                         "about": "K", "episode": "e", "text": "so", "reason": "w",
                         "planned_at": "2026-03-01T09:30:00Z", "corrects": "msg_0"});
        let expected = names(&made(&row));
        for field in row.as_object().unwrap().keys() {
            for hostile in [
                "\r\nBcc: x@evil.example",
                "\nBcc: x@evil.example\n\nand a body",
                "\rBcc: x@evil.example\r",
                "\r\n.\r\nMAIL FROM:<x@evil.example>\r\n",
                "\u{2028}Bcc: x@evil.example\u{85}\u{0}\u{b}\u{c}",
                "=?utf-8?q?=0D=0ABcc:_x=40evil.example?=",
                "<script>alert(1)</script>\"><img src=x>",
            ] {
                let mut row = row.clone();
                row[field] = json!(hostile);
                let mail = made(&row);
                assert_eq!(names(&mail), expected, "{field}: {hostile:?}: {mail}");
                let lone = mail.replace("\r\n", "");
                assert!(!lone.contains(['\r', '\n']), "{field}: {hostile:?}: {mail:?}");
                assert!(!mail.contains("<script>alert(1)</script>\"></"), "{mail}");
                assert_eq!(mail.matches("Content-Type: text/").count(), 2, "{mail}");
            }
        }
        // A text that knows how boundaries are made knows not its own.
        let marks = |mail: &str| -> String {
            mail.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap().into()
        };
        let first = marks(&made(&row));
        let mut next = row.clone();
        next["text"] = json!(format!("--{first}\r\nContent-Type: text/html\r\n\r\nit"));
        let mail = made(&next);
        assert_ne!(marks(&mail), first);
        assert_eq!(mail.matches(&format!("--{}", marks(&mail))).count(), 3);
    }
}
