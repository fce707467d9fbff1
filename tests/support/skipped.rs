//! What a test could not check is said on the real standard error, which no test harness captures.
//! What could have been checked is not skipped where `CI=1` says that all of it is wanted.

#![allow(dead_code, clippy::disallowed_methods)]

use std::io::Write;
use std::path::{Path, PathBuf};

/// A check was not made, because a right or a tool is not there.
pub(crate) fn skipped(what: &str) {
    let line = format!("SKIPPED: {what}\n");
    // Nobody reads it: then nobody is misled either.
    std::io::stderr().write_all(line.as_bytes()).ok();
}

/// A file of the data sets, which lie in `shared/` in the checkout or beside it, or where
/// `MILLSTREAM_SHARED` says. `None`, and told, if there are none.
///
/// # Panics
/// With `CI=1`, if the data sets are there and this file is not among them.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let said = std::env::var_os("MILLSTREAM_SHARED").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Of the workspace's root, or of a crate in it.
    let beside = ["shared", "../shared", "../../shared"].map(|it| here.join(it));
    let places: Vec<PathBuf> = said.into_iter().chain(beside).filter(|it| it.is_dir()).collect();
    let found = find(&places, name);
    if found.is_none() {
        let all = std::env::var("CI").is_ok_and(|it| it == "1");
        assert!(
            !all || places.is_empty(),
            "{name} is not in {places:?}, and CI=1 wants all checks"
        );
        skipped(&format!("{name} is not there (MILLSTREAM_SHARED may say where shared/ lies)"));
    }
    found
}

fn find(places: &[PathBuf], name: &str) -> Option<PathBuf> {
    places.iter().map(|it| it.join(name)).find(|it| it.exists())
}
