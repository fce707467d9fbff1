//! When the records of a chunk happened, before any of it is handed out.
//!
//! In: a [`Chunk`] of lines. Out: the first of its records that reaches an instant.
//!
//! # Meaning
//! What counts is what counts to a worker: the event times of a record that is taken, moved where
//! the file is read again. A record that is skipped or rejected has none. So where an instant is
//! reached depends on the records and their order alone
//! (test: `what_is_told_by_its_text_is_told_by_decoding`).
//!
//! # Why this way
//! A worker knows only when it decodes, and then the record belongs to an epoch. Decoding each
//! record twice would cost a third of the speed; of our own events mostly the text of their times
//! tells that they are of the days before. Through a mapping they are decoded twice.

use memchr::memmem::Finder;
use schemas::decode;
use schemas::mapping::Mapped;
use schemas::problem::Problem;
use schemas::time::rfc3339;

use super::decoder::{Judgement, line_ends};
use crate::config;
use crate::messages::{Chunk, Feed, Feeds, Format};

const DAY: i64 = 86_400_000_000;

/// What is asked of records that are not handed out yet.
pub struct Ahead {
    feeds: Feeds,
    judgement: Judgement,
    max_event_bytes: usize,
    key: Finder<'static>,
    escape: Finder<'static>,
}

/// A place in a chunk from which on records are looked at, and the record that was found from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Its first byte.
    pub byte: usize,
    /// Its offset.
    pub offset: u64,
    /// The newest of its events' times, microseconds since the Unix epoch.
    pub time: i64,
}

impl Ahead {
    /// Of these feeds, judged as the engine judges.
    pub fn new(
        feeds: Feeds,
        settings: &config::Engine,
        (shift_per_pass, max_event_bytes): (i64, u64),
    ) -> Ahead {
        Ahead {
            feeds,
            judgement: Judgement::new(settings, shift_per_pass),
            max_event_bytes: usize::try_from(max_event_bytes).unwrap_or(usize::MAX),
            key: Finder::new(b"\"time\""),
            escape: Finder::new(b"\\u"),
        }
    }

    /// Of a chunk of lines, from this byte and offset on, the first record with an event at `bound`
    /// (microseconds since the Unix epoch) or later.
    pub fn reaches(
        &self,
        chunk: &Chunk,
        (byte, offset): (usize, u64),
        bound: i64,
    ) -> Option<Reached> {
        let feed = self.feeds.of(chunk.partition.0);
        let moved = self.judgement.shift_per_pass.saturating_mul(i64::from(chunk.pass));
        let day = match feed.format {
            Format::Native => day_of(bound.saturating_sub(moved)),
            Format::Mapped(_) => None,
        };
        let bytes = &chunk.bytes[byte..];
        // With its letters escaped a key would not be found by its text.
        let is_plain = self.escape.find(bytes).is_none();
        let mut start = 0;
        for (offset, end) in (offset..).zip(line_ends(bytes)) {
            let line = &bytes[start..end];
            let at = byte + start;
            start = end + 1;
            let is_told = is_plain || self.escape.find(line).is_none();
            if day.is_some_and(|day| is_told && self.says_before(line, &day)) {
                continue;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(time) = self.time_of(line, &feed, chunk).filter(|it| *it >= bound) {
                return Some(Reached { byte: at, offset, time });
            }
        }
        None
    }

    /// Whether the text alone says that the record, if it is one, is of before this day: every field
    /// `time` in it, whosesoever, is one in UTC with an earlier date, and there is one.
    fn says_before(&self, line: &[u8], day: &[u8; 10]) -> bool {
        let mut says = false;
        for at in self.key.find_iter(line) {
            let Some(text) = value_of(&line[at + b"\"time\"".len()..]) else { return false };
            // A leap second may be one of the next day.
            let is_before = text.len() > 19
                && text[..10] < day[..]
                && text[17..19] != *b"60"
                && matches!(text.last(), Some(b'Z' | b'z'));
            if !is_before {
                return false;
            }
            says = true;
        }
        says
    }

    /// The newest event time of a record; none if it is not taken.
    fn time_of(&self, line: &[u8], feed: &Feed, chunk: &Chunk) -> Option<i64> {
        if line.trim_ascii().is_empty() {
            return None;
        }
        decode::within(line, self.max_event_bytes).ok()?;
        let (mut newest, mut refused) = (None, None::<Problem>);
        let mut take = |mut event: schemas::events::Event<'_>| {
            let (appended_ms, again) = (chunk.appended_ms, (chunk.pass, ""));
            match self.judgement.of(&mut event, appended_ms, feed.takes_own, again) {
                Ok(()) => newest = newest.max(Some(event.time)),
                Err(problem) => refused = Some(problem),
            }
        };
        let mapped = match &feed.format {
            Format::Native => decode::structured(line).map(|event| {
                take(event);
                Mapped::Events(1)
            }),
            Format::Mapped(mapping) => mapping.decode(line, take),
        };
        (mapped.is_ok() && refused.is_none()).then_some(newest).flatten()
    }
}

/// The day that begins at an instant, as texts of times begin; none if it is no such day.
fn day_of(bound: i64) -> Option<[u8; 10]> {
    let is_said = bound.rem_euclid(DAY) == 0 && (0..schemas::time::MAX_TIME).contains(&bound);
    if !is_said {
        return None;
    }
    rfc3339(bound).as_bytes().first_chunk().copied()
}

/// Behind a key: the text that is its value; none if it is none, or not at once told to be one.
fn value_of(rest: &[u8]) -> Option<&[u8]> {
    let rest =
        rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    // Longer is no time that anybody writes.
    let end = memchr::memchr(b'"', &rest[..rest.len().min(48)])?;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Framing, Gap};

    fn ahead() -> Ahead {
        let feed = Feed {
            name: "replay".into(),
            mapping: None,
            format: Format::Native,
            is_log: false,
            takes_own: true,
            identity: None,
        };
        let settings = config::Settings::default_in(std::path::Path::new("nowhere"));
        Ahead::new(Feeds::new(vec![feed]), &settings.engine, (DAY, 65_536))
    }

    fn chunk(lines: &[String], pass: u32) -> Chunk {
        let bytes = lines.join("\n").into_bytes();
        let (partition, gap, framing) = ((0, 0), Gap::default(), Framing::Lines);
        let (first, next, appended_ms) = (7, 7 + lines.len() as u64, 4_000_000_000_000);
        Chunk { partition, first, next, gap, pass, appended_ms, bytes, framing }
    }

    fn event(time: &str, more: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"order.status_changed",{time},"data":{{"order":"O","status":"paid"{more}}}}}"#
        )
    }

    /// Goal: where an instant is reached is what decoding alone would say, for all ways to write a
    /// time. Method: each line by itself, and all of them behind each other, on two days; the same
    /// without looking at the text.
    #[test]
    fn what_is_told_by_its_text_is_told_by_decoding() {
        let ahead = ahead();
        let bound = 20_000 * DAY;
        assert_eq!(rfc3339(bound), "2024-10-04T00:00:00.000Z");
        let time = |text: &str| event(&format!(r#""time":"{text}""#), "");
        // Each: whether it reaches the day.
        let lines: Vec<(String, bool)> = vec![
            (time("2024-10-03T23:59:59.999999Z"), false),
            (time("2024-10-03T23:59:59.9999999Z"), false),
            (time("2024-10-04T00:00:00Z"), true),
            (time("2024-10-04t00:00:00z"), true),
            (time("2024-10-03 10:00:00z"), false),
            (time("2024-10-03T23:59:60Z"), true),
            (time("2024-10-03T22:00:00-05:00"), true),
            (time("2024-10-04T01:00:00+05:00"), false),
            (time("1969-10-04T01:00:00Z"), false),
            (event(r#""time" : "2024-10-09T00:00:00Z""#, ""), true),
            (event(r#""time" :	"2024-09-09T00:00:00Z""#, ""), false),
            (event(r#""\u0074ime":"2024-10-09T00:00:00Z""#, ""), true),
            (
                event(r#""t\u0069me":"2024-10-09T00:00:00Z""#, r#","time":"2024-10-01T00:00:00Z""#),
                false,
            ),
            (event(r#""time":"2024-10-0\u0039T00:00:00Z""#, ""), true),
            (event(r#""time":"2024-10-01T00:00:00Z""#, r#","time":"2024-10-09T00:00:00Z""#), false),
            (event(r#""time":"2024-10-01T00:00:00Z""#, r#","note":"\"time\":\"2""#), false),
            (event(r#""time":7"#, ""), false),
            (time("2024-10-09"), false),
            (time("2124-10-09T00:00:00Z"), false),
            (time("2024-10-09T00:00:00Z") + "no", false),
            (time("2024-10-09T00:00:00Z").replace("order.status", "ordr.status"), false),
            (String::new(), false),
            (time("2024-10-09T00:00:00Z") + "\r", true),
            ("x".repeat(70_000) + &time("2024-10-09T00:00:00Z"), false),
        ];
        let mut found = Vec::new();
        for (n, (line, reaches)) in lines.iter().enumerate() {
            let one = chunk(std::slice::from_ref(line), 0);
            let by_text = ahead.reaches(&one, (0, 7), bound);
            assert_eq!(by_text.is_some(), *reaches, "{n}: {line:.200}");
            // One more microsecond: no day begins there, so each is decoded.
            let decoded = ahead.reaches(&one, (0, 7), i64::MIN);
            assert_eq!(decoded.filter(|it| it.time >= bound), by_text, "{n}: {line:.200}");
            found.extend(reaches.then_some(7 + n as u64));
        }
        let texts: Vec<String> = lines.into_iter().map(|it| it.0).collect();
        let all = chunk(&texts, 0);
        let (mut from, mut seen) = ((0, 7), Vec::new());
        while let Some(it) = ahead.reaches(&all, from, bound) {
            seen.push(it.offset);
            let line = all.bytes[it.byte..].iter().position(|it| *it == b'\n').unwrap();
            from = (it.byte + line + 1, it.offset + 1);
        }
        assert_eq!(seen, found);
        // Read once more each is a day later.
        let again = chunk(&[time("2024-10-02T23:00:00Z"), time("2024-10-03T00:00:00Z")], 1);
        let reached = ahead.reaches(&again, (0, 7), bound).unwrap();
        assert_eq!((reached.offset, reached.time), (8, bound));
    }
}
