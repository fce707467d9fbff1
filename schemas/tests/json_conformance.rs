//! Does the scanner keep the rules of JSON?
//!
//! Goal: no panic; every text of the parsing suite that must be refused is refused, every one
//! that must be read is read, and where the suite leaves the choice the documented one is taken.
//! Method: `skip` and `finish` over every text of the data set, which is looked for in `shared/`
//! beside the checkout (or where `MILLSTREAM_SHARED` says).

#[path = "../../tests/support/skipped.rs"]
mod skipped;

use std::io::Read;

use base64::Engine;
use schemas::json::Scanner;

/// The data set, if it is there.
fn shared(name: &str) -> Option<Vec<u8>> {
    let path = skipped::shared(name)?;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    zstd::Decoder::new(file).unwrap().read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// Of the texts that the suite leaves open, those that are read: numbers of any size are
/// well-formed (they are refused where an integer is wanted), and characters that are merely
/// unusual are characters. Every other open text is refused.
const OPEN_AND_READ: &[&str] = &[
    "i_number_neg_int_huge_exp",
    "i_number_real_pos_overflow",
    "i_number_real_underflow",
    "i_number_very_big_negative_int",
];

#[test]
fn the_parsing_suite() {
    let Some(lines) = shared("data/conformance/json_parsing.jsonl.zst") else { return };
    let mut wrong = Vec::new();
    let mut n = 0;
    for line in lines.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
        let case: serde_json::Value = serde_json::from_slice(line).unwrap();
        let (name, expect) = (case["name"].as_str().unwrap(), case["expect"].as_str().unwrap());
        let bytes = case["bytes_base64"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(bytes).unwrap();
        let read = Scanner::new(&bytes).and_then(|mut it| {
            it.skip()?;
            it.finish()
        });
        let wanted = match expect {
            "accept" => Some(true),
            "reject" => Some(false),
            "either" => Some(OPEN_AND_READ.contains(&name)),
            // The suite records what becomes of these; ours: see below.
            _ => Some(transformed(name)),
        };
        if wanted != Some(read.is_ok()) {
            wrong.push(format!("{name} ({expect}): {read:?} {}", String::from_utf8_lossy(&bytes)));
        }
        n += 1;
    }
    assert!(n > 100, "only {n} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What other readers change silently: numbers stay as they are written and equal-looking keys
/// stay two, broken characters are refused. (A key that comes twice is refused where the object
/// is read: `json::tests::duplicate_keys`.)
fn transformed(name: &str) -> bool {
    !name.contains("invalid_codepoint")
}
