//! Another secret for a channel, and no message that cannot be verified meanwhile.
//!
//! # Meaning
//! What signs stands in a file, a secret a line. A new one is put first, and every message carries
//! the signatures of all; once the receivers know the new one, the others are taken out. A receiver
//! verifies with whichever it knows, all the time. Test: `tests/notify/channels.rs`.
//!
//! # Invariants
//! The file is replaced whole, with the rights that it had: a crash leaves the old one or the new
//! one. A secret is never shown; of one for Ed25519 the public half is.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::sign::{KEYS_MAX, Keys, Kind, fresh};

/// What is asked of a file of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new one, put first; of the kind that is first now, if none is named.
    Begin(Option<Kind>),
    /// Only the first stays.
    Finish,
}

/// The secrets as they are to stand; in words, why not.
pub fn stepped(text: &str, step: Step) -> Result<String, String> {
    let keys = Keys::read(text)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    match step {
        Step::Begin(_) if words.len() >= KEYS_MAX => {
            Err(format!("expected room for one more of {KEYS_MAX} secrets; `--finish` first"))
        }
        Step::Begin(kind) => {
            let kind = kind.unwrap_or_else(|| keys.first());
            let new = fresh(kind)?;
            Ok([&[new.as_str()], &words[..]].concat().join("\n") + "\n")
        }
        Step::Finish => Ok(words[..1].join("\n") + "\n"),
    }
}

/// Takes a step in a file, durably. Gives what signs from then on.
pub fn rotate(path: &Path, step: Step) -> std::io::Result<Result<Keys, String>> {
    let text = match stepped(&std::fs::read_to_string(path)?, step) {
        Ok(text) => text,
        Err(why) => return Ok(Err(why)),
    };
    let rights = std::fs::metadata(path)?.permissions();
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let aside = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(rights.mode() & 0o600).open(&aside)?;
    // One that a crash left behind may have had others.
    file.set_permissions(rights)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(Keys::read(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// Goal: the new one is first and the old ones sign too, until it is finished; no two new ones
    /// are the same; there is a bound.
    #[test]
    fn a_new_one_beside_the_old() {
        let both = stepped(OLD, Step::Begin(None)).unwrap();
        let words: Vec<&str> = both.lines().collect();
        assert!(words.len() == 2 && words[1] == OLD && words[0].starts_with("whsec_"), "{both}");
        assert_ne!(both, stepped(OLD, Step::Begin(None)).unwrap());
        let signed = Keys::read(&both).unwrap().sign("msg_1", 1_000, b"{}");
        for one in &words {
            assert!(Keys::read(one).unwrap().verify(&signed, b"{}", Some(1_000)));
        }
        assert_eq!(stepped(&both, Step::Finish).unwrap(), format!("{}\n", words[0]));
        let own = stepped(&both, Step::Begin(Some(Kind::Ed25519))).unwrap();
        assert!(own.starts_with("whsk_"));
        // The kind that is first stays.
        assert!(stepped(&own, Step::Begin(None)).unwrap().starts_with("whsk_"));
        let full = [OLD; KEYS_MAX].join(" ");
        assert!(stepped(&full, Step::Begin(None)).unwrap_err().contains("--finish"));
        assert!(stepped("", Step::Finish).is_err());
    }

    /// Goal: the file keeps its rights, and what was left of an earlier attempt is no hindrance.
    #[test]
    fn a_file_keeps_its_rights() {
        let name = format!("millstream-rotate-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ops.secret");
        std::fs::write(&path, OLD).unwrap();
        std::fs::write(folder.join("ops.secret.new"), "half").unwrap();
        let mode = |it: &Path| std::fs::metadata(it).unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let keys = rotate(&path, Step::Begin(Some(Kind::Ed25519))).unwrap().unwrap();
        assert_eq!((mode(&path), keys.kinds().len()), (0o640, 2));
        assert!(std::fs::read_to_string(&path).unwrap().ends_with(&format!("{OLD}\n")));
        assert!(!folder.join("ops.secret.new").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
