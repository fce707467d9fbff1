//! The deployment's secret: made once, kept with the state.
//!
//! # Meaning
//! Fingerprints of identifiers are made under it, so that nobody outside can construct two
//! identifiers with one fingerprint. A state can only be read with the secret it was made under;
//! answers never depend on it.
//!
//! # When it fails
//! A file of another length is refused: a new secret beside an old state would tear every
//! entity in two.

use std::io::{Read, Write};
use std::path::Path;

use schemas::names::Secret;

use crate::report::Report;

/// The file in the data folder.
pub const FILE: &str = "secret";

/// Reads the secret of a data folder, or makes it.
pub fn of(data_dir: &Path) -> Result<Secret, Report> {
    let path = data_dir.join(FILE);
    let told = |why: String| Report {
        code: "secret/file",
        what: "could not use the deployment's secret".into(),
        at: vec![("file", path.display().to_string())],
        why,
        effect: "nothing was started; no data was touched".into(),
        fix: "restore the file from the backup that the rest of the folder is from; if the \
              folder is new, check who may write there"
            .into(),
    };
    match std::fs::read(&path) {
        Ok(bytes) => match <[u8; 16]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(Secret(bytes)),
            Err(_) => Err(told(format!("expected 16 bytes, found {}", bytes.len()))),
        },
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
            make(data_dir, &path).map_err(|it| told(it.to_string()))
        }
        Err(why) => Err(told(why.to_string())),
    }
}

/// A secret that no file keeps, for a run that keeps no state.
pub fn fresh() -> Result<Secret, Report> {
    random().map(Secret).map_err(|why| Report {
        code: "secret/random",
        what: "could not draw a secret".into(),
        at: vec![("file", "/dev/urandom".into())],
        why: why.to_string(),
        effect: "nothing was started; no data was touched".into(),
        fix: "give the process a readable /dev/urandom".into(),
    })
}

fn random() -> std::io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Written whole under another name first: a crash leaves either no secret or all of it.
fn make(data_dir: &Path, path: &Path) -> std::io::Result<Secret> {
    use std::os::unix::fs::OpenOptionsExt;
    let bytes = random()?;
    let half = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&half, path)?;
    std::fs::File::open(data_dir)?.sync_all()?;
    Ok(Secret(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_a_torn_one_is_refused() {
        let folder = std::env::temp_dir().join(format!("millstream-secret-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let first = of(&folder).unwrap();
        assert_eq!(of(&folder).unwrap().0, first.0);
        std::fs::write(folder.join(FILE), b"short").unwrap();
        assert_eq!(of(&folder).unwrap_err().why, "expected 16 bytes, found 5");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
