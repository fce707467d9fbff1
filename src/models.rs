//! Models that were learnt: their bodies on the disk, by digest.
//!
//! # Meaning
//! A body is a file whose name is the first [`DIGEST_CHARS`] hex digits of its SHA-256. So a name
//! says what is in it, for ever; a file whose contents have another digest is damaged and refused.
//! Nothing is ever written over.
//!
//! # Why this way
//! What is learnt, and what is said with it, is pure and lives in `dataflows/models.rs`; this room
//! is all that touches files, and the only one beside `engine` that knows the crate.

pub mod arrivals; // which models of arrival were sealed, and since when
pub mod shelf; // which were published, and since when

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::report::Report;
use crate::segments::{self, replace as replace_whole};

pub use dataflows::health::backtest::{Backtest, Found, OfBand};
pub use dataflows::load_forecast::{State as Series, Update as Measured};
pub use dataflows::models::arrivals::{SHOWN, Speaker as Forecaster, published as arrivals_of};
pub use dataflows::models::eta::{ARRIVED_MIN, Fitted, WEIGHS};
pub use dataflows::models::journeys::{Journey, teach};
pub use dataflows::models::lanes::{Lane, Lanes, QUARTER, STAGES};
pub use dataflows::models::lexicon::{Lexicon, NAME as LEXICON};
pub use dataflows::models::measure::{Quality, Tally};
pub use dataflows::models::opinion::{Label, ONE, Opinion, Scorer, rated, text_of};
pub use dataflows::models::published::{Published, Speaker};
pub use dataflows::models::repeat::{Purchases, Repeat};
pub use dataflows::models::sentiment::{English, Model, Trainer};
pub use dataflows::models::silences;

/// Hex digits of a digest that name a body.
pub const DIGEST_CHARS: usize = 16;
/// Largest body: two million features.
const BODY_MAX_BYTES: u64 = 256 << 20;

/// The digest that names a body.
pub fn digest(body: &[u8]) -> String {
    let mut text = String::new();
    for byte in &Sha256::digest(body)[..DIGEST_CHARS / 2] {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Whether this could be the name of a body.
fn is_digest(name: &str) -> bool {
    name.len() == DIGEST_CHARS && name.bytes().all(|it| it.is_ascii_hexdigit())
}

/// From when on a model speaks that is published now: behind all that was read and behind the one
/// before it, and not before the time. Microseconds; whole milliseconds, as it is shown.
fn speaks_from(now: i64, newest_event: i64, before: Option<i64>) -> i64 {
    let after = newest_event.max(before.unwrap_or(0)).saturating_add(1).max(now);
    after.saturating_add(999) / 1_000 * 1_000
}

/// Writes a body, durably, under its digest, and says the digest.
pub fn keep(folder: &Path, body: &[u8]) -> Result<String, Report> {
    let digest = digest(body);
    let path = folder.join(&digest);
    if path.exists() {
        return Ok(digest);
    }
    segments::make_dir(folder)
        .and_then(|()| replace_whole(&path, body))
        .map_err(|why| not_written(&path, &why.to_string()))?;
    Ok(digest)
}

/// Writes a body, durably, to a file of the caller's choice.
pub fn write(path: &Path, body: &[u8]) -> Result<(), Report> {
    replace_whole(path, body).map_err(|why| not_written(path, &why.to_string()))
}

/// Reads a model of sentiment from the file of its body; it speaks as `sentiment <digest>`.
pub fn read(path: &Path) -> Result<Model, Report> {
    let (body, digest) = bytes_of(path)?;
    let model = Model::of_body(&body).ok_or_else(|| {
        not_readable(path, "expected the body of a model of sentiment, as this version writes it")
    })?;
    Ok(model.named(&format!("sentiment {digest}")))
}

/// The bytes of a body, and their digest: the one that its name says, if that is one.
fn bytes_of(path: &Path) -> Result<(Vec<u8>, String), Report> {
    let why = |it: std::io::Error| not_readable(path, &it.to_string());
    let length = std::fs::metadata(path).map_err(why)?.len();
    if length > BODY_MAX_BYTES {
        return Err(not_readable(path, &format!("{length} bytes are more than a body has")));
    }
    let body = std::fs::read(path).map_err(why)?;
    let digest = digest(&body);
    let named = path.file_name().map(|it| it.to_string_lossy()).unwrap_or_default();
    if is_digest(&named) && named != digest {
        return Err(not_readable(path, &format!("its contents have the digest {digest}")));
    }
    Ok((body, digest))
}

fn not_written(path: &Path, why: &str) -> Report {
    Report {
        code: "models/not-written",
        what: "could not write a model".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "no model was published; the one in use stays".into(),
        fix: "make room, or choose another place, then do it again".into(),
    }
}

pub(crate) fn not_readable(path: &Path, why: &str) -> Report {
    Report {
        code: "models/not-readable",
        what: "cannot use a model".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "nothing was scored; no data was touched".into(),
        fix: "name a body that `millstream model train` wrote, or train it again".into(),
    }
}
