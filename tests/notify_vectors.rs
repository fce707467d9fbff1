//! Goal: signatures are those of Standard Webhooks 1.0. Method: the vectors of its reference
//! implementations, signed and verified; they are looked for in `shared/` beside the checkout.

#![allow(missing_docs)]

#[path = "support/skipped.rs"]
mod skipped;

use std::io::Read;

use millstream::notify::sign::{Keys, Signed};
use serde_json::Value;

fn vectors() -> Option<Vec<Value>> {
    let path = skipped::shared("data/conformance/standard_webhooks.json.zst")?;
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn the_vectors_of_the_standard() {
    let Some(vectors) = vectors() else { return };
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or("").to_string();
    let (mut signed_n, mut verified) = (0, 0);
    for it in &vectors {
        let secret = match it["private_key_seed_base64"].as_str() {
            Some(seed) => format!("whsk_{seed}"),
            None => text(it, "secret"),
        };
        let keys = Keys::read(&secret).unwrap();
        let body = text(it, "payload");
        if it["op"] == "sign" {
            let at = it["timestamp"].as_i64().unwrap();
            let signed = keys.sign(&text(it, "id"), at, body.as_bytes());
            assert_eq!(signed.signature, text(it, "signature"), "{it}");
            signed_n += 1;
            continue;
        }
        let headers = &it["headers"];
        let signed = Signed {
            id: text(headers, "webhook-id"),
            timestamp: text(headers, "webhook-timestamp").parse().unwrap_or(i64::MIN),
            signature: text(headers, "webhook-signature"),
        };
        let now = (it["ignore_timestamp"] != true).then(|| it["now"].as_i64().unwrap());
        let valid = it["valid"].as_bool().unwrap();
        assert_eq!(keys.verify(&signed, body.as_bytes(), now), valid, "{it}");
        verified += 1;
    }
    assert!(signed_n >= 2 && verified >= 4, "{signed_n} signed, {verified} verified");
}
