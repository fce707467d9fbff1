//! Signatures of Standard Webhooks 1.0: a message is signed anew at each attempt.
//!
//! # Meaning
//! Signed is `id.timestamp.body`. `v1` is HMAC-SHA256 under a shared secret (`whsec_…`), `v1a` is
//! Ed25519 (`whsk_…`). Every secret there is signs; the receiver takes a message if one signature is
//! right. Held to the vectors of the reference implementations by `tests/notify_vectors.rs`.
//!
//! # Invariants
//! A secret is never shown: [`Keys`] has no text of itself.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// How far a receiver's clock may be off, in seconds, as the standard says.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Most secrets of one channel: one that comes, one that goes, and room.
pub const KEYS_MAX: usize = 8;

/// Bytes of a shared secret, as the standard wants them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

enum Key {
    Shared(hmac::Key),
    Own(Box<Ed25519KeyPair>),
}

/// How a secret signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HMAC-SHA256 under a secret that both sides have.
    Hmac,
    /// Ed25519: the receiver has the public half.
    Ed25519,
}

/// What signs.
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

/// The three headers of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `webhook-id`
    pub id: String,
    /// `webhook-timestamp`, seconds since the Unix epoch.
    pub timestamp: i64,
    /// `webhook-signature`
    pub signature: String,
}

impl Keys {
    /// Reads secrets, one a word. Of what is wrong nothing of the secret is told.
    pub fn read(text: &str) -> Result<Keys, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() || words.len() > KEYS_MAX {
            return Err(format!("expected 1 to {KEYS_MAX} secrets, found {}", words.len()));
        }
        let all: Result<Vec<Key>, String> = words
            .iter()
            .enumerate()
            .map(|(n, word)| key(word).map_err(|why| format!("secret {}: {why}", n + 1)))
            .collect();
        Ok(Keys(all?))
    }

    /// How the first signs.
    pub fn first(&self) -> Kind {
        match self.0.first() {
            Some(Key::Own(_)) => Kind::Ed25519,
            _ => Kind::Hmac,
        }
    }

    /// Of each what may be shown: `hmac`, or the public half (`whpk_…`).
    pub fn kinds(&self) -> Vec<String> {
        let shown = self.0.iter().map(|it| match it {
            Key::Shared(_) => "hmac".to_string(),
            Key::Own(key) => format!("whpk_{}", STANDARD.encode(key.public_key().as_ref())),
        });
        shown.collect()
    }

    /// Signs a message at an instant.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Signed {
        let message = message(id, timestamp, body);
        let signatures = self.0.iter().map(|key| match key {
            Key::Shared(key) => format!("v1,{}", STANDARD.encode(hmac::sign(key, &message))),
            Key::Own(key) => format!("v1a,{}", STANDARD.encode(key.sign(&message))),
        });
        let signature = signatures.collect::<Vec<_>>().join(" ");
        Signed { id: id.into(), timestamp, signature }
    }

    /// Whether one of the signatures is right, and the time within [`TOLERANCE_SECONDS`] of `now`
    /// (`None`: whenever it was signed): what a receiver does.
    pub fn verify(&self, signed: &Signed, body: &[u8], now: Option<i64>) -> bool {
        let in_time = |now: i64| now.abs_diff(signed.timestamp) <= TOLERANCE_SECONDS as u64;
        if signed.id.is_empty() || !now.is_none_or(in_time) {
            return false;
        }
        let message = message(&signed.id, signed.timestamp, body);
        signed.signature.split(' ').any(|it| {
            let Some((version, text)) = it.split_once(',') else { return false };
            let Ok(bytes) = STANDARD.decode(text) else { return false };
            self.0.iter().any(|key| match (key, version) {
                (Key::Shared(key), "v1") => hmac::verify(key, &message, &bytes).is_ok(),
                (Key::Own(key), "v1a") => {
                    let public = ring::signature::UnparsedPublicKey::new(
                        &ring::signature::ED25519,
                        key.public_key().as_ref(),
                    );
                    public.verify(&message, &bytes).is_ok()
                }
                _ => false,
            })
        })
    }
}

/// A new secret, as it stands in a file; in words, why none.
pub fn fresh(kind: Kind) -> Result<String, String> {
    let mut bytes = [0; 32];
    let random = ring::rand::SystemRandom::new();
    let drawn = ring::rand::SecureRandom::fill(&random, &mut bytes);
    drawn.map_err(|_| "the system gives no random bytes".to_string())?;
    let prefix = match kind {
        Kind::Hmac => "whsec_",
        Kind::Ed25519 => "whsk_",
    };
    Ok(format!("{prefix}{}", STANDARD.encode(bytes)))
}

fn message(id: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat()
}

fn key(word: &str) -> Result<Key, String> {
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| "it is no base64".to_string());
    if let Some(text) = word.strip_prefix("whsk_") {
        let bytes = decoded(text)?;
        let seed = match bytes.len() {
            32 => &bytes[..],
            // The seed, then the public key: as some tools write it.
            64 => &bytes[..32],
            n => return Err(format!("expected a seed of 32 bytes, found {n}")),
        };
        let key = Ed25519KeyPair::from_seed_unchecked(seed);
        return key.map(|it| Key::Own(Box::new(it))).map_err(|_| "it is no key".to_string());
    }
    let bytes =
        decoded(word.strip_prefix("whsec_").ok_or("it begins with no `whsec_` or `whsk_`")?)?;
    if !SECRET_BYTES.contains(&bytes.len()) {
        return Err(format!("expected 24 to 64 bytes, found {}", bytes.len()));
    }
    Ok(Key::Shared(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";

    /// Goal: the signatures of the standard's own examples.
    #[test]
    fn signs_as_the_standard_does() {
        let signed = Keys::read(SECRET).unwrap().sign(ID, 1_614_265_330, BODY);
        assert_eq!(signed.signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let own = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=";
        let signed = Keys::read(own).unwrap().sign(ID, 1_614_265_330, BODY);
        assert_eq!(
            signed.signature,
            "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
        );
    }

    /// Goal: while secrets are rotated, who has either verifies; another body, another time, or
    /// another secret does not.
    #[test]
    fn either_secret_verifies_while_rotating() {
        let new = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3";
        let both = Keys::read(&format!("{new}\n{SECRET}\n")).unwrap();
        let signed = both.sign(ID, 1_000, BODY);
        for one in [new, SECRET] {
            let one = Keys::read(one).unwrap();
            assert!(one.verify(&signed, BODY, Some(1_300)));
            assert!(!one.verify(&signed, BODY, Some(1_301)) && !one.verify(&signed, b"", None));
            assert!(!one.verify(&Signed { timestamp: 1_001, ..signed.clone() }, BODY, None));
        }
        let other = Keys::read("whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90").unwrap();
        assert!(!other.verify(&signed, BODY, None));
    }

    /// Goal: what is wrong with a secret is told without it.
    #[test]
    fn a_wrong_secret_is_not_told() {
        for text in ["", "whsec_c2hvcnQ=", "whsec_%%%", "plain-text-secret", "whsk_c2hvcnQ="] {
            let why = Keys::read(text).unwrap_err();
            assert!(text.is_empty() || !why.contains(&text[6.min(text.len())..]), "{why}");
        }
        assert_eq!(format!("{:?}", Keys::read(SECRET).unwrap()), "Keys(1)");
        let own = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=";
        let shown = Keys::read(&format!("{own} {SECRET}")).unwrap().kinds();
        assert!(shown[0].starts_with("whpk_") && shown[1] == "hmac", "{shown:?}");
    }
}
