//! Events from a seed: good ones, ones with one thing changed, and texts that are hardly events.

use schemas::events::{EventType, Status};

/// A stream of numbers from a seed (SplitMix64).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// One event as text. About half are good.
pub(crate) fn event(seed: u64) -> Vec<u8> {
    let mut it = Seeded(seed);
    let kind = EventType::ALL[it.below(EventType::ALL.len())];
    let (mut data, entity) = data(kind, &mut it);
    if it.one_in(6) {
        change(&mut data, &mut it);
    }
    let mut members = vec![
        ("specversion".to_string(), "\"1.0\"".to_string()),
        ("type".to_string(), quoted(kind.as_str(), &mut it)),
        ("source".to_string(), identifier(&mut it)),
        ("id".to_string(), identifier(&mut it)),
        ("time".to_string(), instant(&mut it)),
        ("data".to_string(), object(&data, &mut it)),
    ];
    let optional: [(&str, String); 7] = [
        ("subject", entity),
        ("tenant", identifier(&mut it)),
        ("datacontenttype", it.pick(&["\"application/json\"", "\"a/b+json; x=y\"", "null"]).into()),
        ("dataschema", format!("\"{}{}/1\"", it.pick(&["", "https://x/", "a/b/"]), kind.as_str())),
        ("partitionkey", identifier(&mut it)),
        ("sequence", it.pick(&["0", "-1.5e-7", "true", "null", "1e999"]).into()),
        ("dataschema", format!("\"schemas/events/{}.json\"", kind.as_str())),
    ];
    for (name, value) in optional {
        if it.one_in(4) && !members.iter().any(|it| it.0 == name) {
            members.push((name.to_string(), value));
        }
    }
    if it.one_in(8) {
        change(&mut members, &mut it);
    }
    for i in (1..members.len()).rev() {
        members.swap(i, it.below(i + 1));
    }
    let mut text = object(&members, &mut it).into_bytes();
    if it.one_in(6) {
        damage(&mut text, &mut it);
    }
    text
}

type Members = Vec<(String, String)>;

/// One member is left out, doubled, misnamed, or has another value.
fn change(members: &mut Members, it: &mut Seeded) {
    let at = it.below(members.len());
    match it.below(5) {
        0 => drop(members.remove(at)),
        1 => members.push(members[at].clone()),
        2 => members[at].0.push(it.pick(&["x", "_", " ", "S"]).chars().next().unwrap()),
        3 => members.push(("more".to_string(), anything(it))),
        _ => members[at].1 = anything(it),
    }
}

/// Some bytes are replaced, put in, taken out, or the end is cut off.
fn damage(text: &mut Vec<u8>, it: &mut Seeded) {
    const BYTES: &[u8] = b"\"\\{}[]:,0 -.eEtfn\x00\x1f\x7f\xc3\xed\xff9a";
    for _ in 0..=it.below(3) {
        if text.is_empty() {
            return;
        }
        let at = it.below(text.len());
        let byte = BYTES[it.below(BYTES.len())];
        match it.below(4) {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            2 => drop(text.remove(at)),
            _ if it.one_in(4) => text.truncate(at),
            _ => text[at] ^= 1 << it.below(8),
        }
    }
}

fn data(kind: EventType, it: &mut Seeded) -> (Members, String) {
    use EventType as T;
    let entity = identifier(it);
    let mut out = Vec::new();
    let mut put = |name: &str, value: String| out.push((name.to_string(), value));
    match kind {
        T::CustomerRegistered | T::CustomerUpdated => {
            put("customer", entity.clone());
            for name in ["name", "email", "phone"] {
                if it.one_in(2) {
                    put(name, or_null(text, it));
                }
            }
            for name in ["tier", "language", "time_zone"] {
                if it.one_in(2) {
                    put(name, or_null(identifier, it));
                }
            }
            if it.one_in(2) {
                put("country", it.pick(&["\"DE\"", "\"FR\"", "null", "\"de\"", "\"DEU\""]).into());
            }
            if it.one_in(2) {
                let n = if it.one_in(9) { 65 } else { it.below(4) };
                let given = (0..n).map(|i| (format!("a{i}"), or_null(text, it))).collect();
                let given = object(&given, it);
                put("attributes", given);
            }
        }
        T::OrderPlaced => {
            put("order", entity.clone());
            put("customer", identifier(it));
            put("currency", it.pick(&["\"EUR\"", "\"USD\"", "\"\\u0045UR\""]).into());
            let n = if it.one_in(20) {
                it.pick(&["0", "256", "257"]).parse().unwrap()
            } else {
                1 + it.below(3)
            };
            let lines: Vec<String> = (0..n).map(|_| line(it)).collect();
            put("lines", format!("[{}]", lines.join(it.pick(&[",", " , "]))));
            if it.one_in(2) {
                put("promised_at", or_null(instant, it));
            }
            if it.one_in(2) {
                put("channel", or_null(identifier, it));
            }
        }
        T::OrderStatusChanged => {
            put("order", entity.clone());
            put("status", quoted(Status::ALL[it.below(10)].as_str(), it));
            if it.one_in(2) {
                put("line", or_null(|it| integer(1, 256, it), it));
            }
            if it.one_in(2) {
                put("customer", or_null(identifier, it));
            }
        }
        T::OrderCancelled | T::OrderReturned => {
            put("order", entity.clone());
            if it.one_in(2) {
                put("customer", or_null(identifier, it));
            }
            if it.one_in(2) {
                put("amount", or_null(|it| integer(0, 10_000_000_000_000, it), it));
            }
            if !it.one_in(3) {
                put("currency", "\"JPY\"".into());
            }
            if it.one_in(2) {
                put("reason", or_null(text, it));
            }
        }
        T::FeedbackSubmitted => {
            let who = it.below(3);
            if who != 0 {
                put("customer", entity.clone());
            }
            if who != 1 {
                put("order", if it.one_in(2) { entity.clone() } else { identifier(it) });
            }
            if it.one_in(2) {
                put("product", or_null(identifier, it));
            }
            if !it.one_in(4) {
                put("rating", or_null(|it| integer(1, 5, it), it));
            }
            if it.one_in(2) {
                put("text", or_null(text, it));
            }
        }
        T::CaseOpened => {
            put("case", entity.clone());
            put("customer", identifier(it));
            put("severity", integer(1, 4, it));
            put("queue", identifier(it));
            if it.one_in(2) {
                put("text", or_null(text, it));
            }
            if it.one_in(2) {
                let n = if it.one_in(9) { 33 } else { it.below(4) };
                let skills: Vec<String> = (0..n).map(|_| identifier(it)).collect();
                put("skills", format!("[{}]", skills.join(",")));
            }
        }
        T::CaseAssigned => {
            put("case", entity.clone());
            put("agent", identifier(it));
            if it.one_in(2) {
                put("queue", or_null(identifier, it));
            }
            if it.one_in(2) {
                put("customer", or_null(identifier, it));
            }
            if it.one_in(2) {
                put("until", or_null(instant, it));
            }
        }
        T::CaseResolved => {
            put("case", entity.clone());
            if it.one_in(2) {
                put("resolution", or_null(text, it));
            }
        }
        T::InteractionRecorded => {
            put("customer", entity.clone());
            put("channel", identifier(it));
            put("action", identifier(it));
            if it.one_in(2) {
                put("target", or_null(text, it));
            }
        }
        T::MessagePlanned => {
            put("message", entity.clone());
            put("rule", identifier(it));
            put("version", identifier(it));
            put("view", identifier(it));
            put("about", text(it));
            put("episode", text(it));
            put("channel", identifier(it));
            put("severity", identifier(it));
            put("text", text(it));
            if it.one_in(2) {
                put("reason", or_null(text, it));
            }
            if it.one_in(2) {
                put("corrects", or_null(identifier, it));
            }
            if it.one_in(2) {
                put("suppressed", or_null(identifier, it));
            }
            if it.one_in(2) {
                put("customer", or_null(identifier, it));
            }
            if it.one_in(2) {
                put("due", or_null(instant, it));
            }
            if it.one_in(2) {
                put("expires", or_null(instant, it));
            }
        }
        T::MessageAnswered => {
            put("message", entity.clone());
            put("outcome", identifier(it));
            if it.one_in(2) {
                put("reason", or_null(text, it));
            }
            if it.one_in(2) {
                put("attempts", integer(0, 1_000_000, it));
            }
        }
        T::MessageMarked => {
            put("message", entity.clone());
            put("mark", identifier(it));
            if it.one_in(2) {
                put("by", or_null(identifier, it));
            }
            if it.one_in(2) {
                put("until", or_null(instant, it));
            }
        }
        T::LoadMeasured => {
            put("series", entity.clone());
            put("bucket_minutes", integer(1, 1_440, it));
            put("value", integer(0, 10_000_000_000_000, it));
        }
        T::SystemMeasured => {
            put("process", entity.clone());
            put("seconds", integer(1, 31_622_400, it));
            put("n_events", integer(1, 10_000_000_000_000, it));
            put("busy_micros", integer(1, 10_000_000_000_000, it));
            put("workers", integer(1, 65_535, it));
            put("processors", integer(1, 65_535, it));
        }
        T::CustomerIdentified | T::CustomerUnlinked => {
            put("customer", entity.clone());
            put("kind", identifier(it));
            put("value", identifier(it));
            if it.one_in(2) {
                put("country", it.pick(&["\"DE\"", "\"FR\"", "null", "\"de\"", "\"DEU\""]).into());
            }
        }
        T::CustomerLinkedByHand | T::CustomerSeparatedByHand => {
            put("customer", entity.clone());
            put("other", identifier(it));
            if it.one_in(2) {
                put("agent", or_null(identifier, it));
            }
            if it.one_in(2) {
                put("reason", or_null(text, it));
            }
        }
        T::CustomerErased => {
            let n = if it.one_in(9) { it.pick(&["0", "33"]).parse().unwrap() } else { it.below(4) };
            let mut all: Vec<String> = (0..n).map(|_| identifier(it)).collect();
            if n < 32 && !it.one_in(9) {
                all.push(entity.clone());
            }
            put("customers", format!("[{}]", all.join(",")));
        }
        T::RecordUpserted | T::RecordDeleted => {
            put("table", identifier(it));
            put("key", entity.clone());
            put("version", identifier(it));
            if kind == T::RecordUpserted {
                let columns: Members =
                    (0..it.below(4)).map(|i| (format!("c{i}"), anything(it))).collect();
                let mut columns = object(&columns, it);
                if it.one_in(9) {
                    columns = anything(it);
                }
                put("fields", columns);
            }
        }
    }
    (out, entity)
}

fn line(it: &mut Seeded) -> String {
    let mut members: Members = vec![
        ("sku".into(), identifier(it)),
        ("quantity".into(), integer(1, 1_000_000, it)),
        ("unit_price".into(), integer(0, 9_999_999, it)),
    ];
    for name in ["ship_from", "ship_to", "carrier", "seller"] {
        if it.one_in(4) {
            members.push((name.into(), or_null(identifier, it)));
        }
    }
    if it.one_in(40) {
        change(&mut members, it);
    }
    object(&members, it)
}

fn or_null(value: impl FnOnce(&mut Seeded) -> String, it: &mut Seeded) -> String {
    if it.one_in(5) { "null".to_string() } else { value(it) }
}

fn integer(least: i64, most: i64, it: &mut Seeded) -> String {
    match it.below(24) {
        0 => least.to_string(),
        1 => most.to_string(),
        2 => (least - 1).to_string(),
        3 => (most + 1).to_string(),
        4 => it
            .pick(&[
                "-0",
                "1.0",
                "1e2",
                "9223372036854775808",
                "-9223372036854775808",
                "01",
                "1e999",
            ])
            .to_string(),
        _ => (least + (it.next() % (most - least + 1) as u64) as i64).to_string(),
    }
}

fn instant(it: &mut Seeded) -> String {
    if it.one_in(16) {
        return it
            .pick(&[
                "\"1969-12-31T23:59:59Z\"",
                "\"9999-12-31T23:59:59-01:00\"",
                "\"2026-02-30T00:00:00Z\"",
                "\"2026-02-03T00:00Z\"",
                "\"\"",
            ])
            .to_string();
    }
    let fraction = it.pick(&["", ".1", ".123456", ".123456789"]);
    let zone = it.pick(&["Z", "z", "+00:00", "-07:30", "+14:00"]);
    format!(
        "\"20{:02}-{:02}-{:02}{}{:02}:{:02}:{:02}{fraction}{zone}\"",
        it.below(100),
        1 + it.below(12),
        1 + it.below(28),
        it.pick(&["T", "T", "t", " "]),
        it.below(24),
        it.below(60),
        it.below(60),
    )
}

fn identifier(it: &mut Seeded) -> String {
    let text = match it.below(40) {
        0 => String::new(),
        1 => "x".repeat(128),
        2 => "x".repeat(129),
        3 => "é".repeat(64),
        4 => "a\0b".to_string(),
        5 => "a\u{85}b".to_string(),
        6 => "Straße/😀 \"7\" \\".to_string(),
        n => format!("{}-{}", &"CUSTOMER"[..n % 8], it.below(1_000)),
    };
    quoted(&text, it)
}

fn text(it: &mut Seeded) -> String {
    let text = match it.below(24) {
        0 => String::new(),
        1 => "x".repeat(32_768),
        2 => "y".repeat(32_769),
        3 => "tab\tline\nquote\"back\\slash/\u{8}\u{c}\0😀".to_string(),
        _ => "Lieferung kam früh, danke! ".repeat(it.below(4)),
    };
    quoted(&text, it)
}

fn anything(it: &mut Seeded) -> String {
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let values = [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "\"\"",
        "\"x\"",
        "{}",
        "[]",
        "{\"a\":1,\"a\":2}",
        "[null]",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "[{\"sku\":\"a\",\"quantity\":1,\"unit_price\":1}]",
        "[[\"a\",1,1]]",
        &deep,
    ];
    it.pick(&values).to_string()
}

/// Members in their order, with white space here and there, some letters of keys escaped.
fn object(members: &Members, it: &mut Seeded) -> String {
    let (comma, colon) = (it.pick(&[",", ", ", "\n,\t"]), it.pick(&[":", ": ", " :\r\n"]));
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{}{colon}{value}", quoted(key, it))).collect();
    format!("{{{}}}", members.join(comma))
}

/// As JSON, now and then with a letter escaped that need not be.
fn quoted(text: &str, it: &mut Seeded) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    if it.one_in(12) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let (first, rest) = quoted[1..].split_at(1);
        return format!("\"\\u{:04x}{rest}", first.as_bytes()[0]);
    }
    quoted
}
