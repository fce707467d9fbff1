//! Where a listing goes on, opaque to clients: epoch and last key, bound to who asked for what.
//!
//! # Invariants
//! - A cursor reads nothing by itself: the tenant comes from the [`super::Caller`]. The seal only
//!   keeps listings from being continued as other listings, or from epochs nobody was given.
//! - The seal's key is made at start and kept nowhere: a cursor of an earlier run is *gone*, as its
//!   instant is.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::messages::Epoch;

/// What a listing is of.
#[derive(Debug, Hash)]
pub(super) struct Listing<'a> {
    pub(super) tenant: &'a str,
    pub(super) view: &'a str,
    /// Field and text, sorted.
    pub(super) filters: &'a [(usize, String)],
}

/// Where it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: Epoch,
    pub(super) after: String,
}

/// Why a cursor is not followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Not made by us, or for another listing.
    NotOurs,
    /// Made by an earlier run.
    EarlierRun,
}

/// Makes and reads cursors.
pub(super) struct Cursors {
    run: u32,
    key: RandomState,
}

const FORMAT: u8 = 1;
/// Format, run, epoch, seal; then the key's text.
const HEAD: usize = 1 + 4 + 8 + 8;

impl Cursors {
    pub(super) fn new() -> Cursors {
        let run = RandomState::new().hash_one("run") as u32;
        Cursors { run, key: RandomState::new() }
    }

    pub(super) fn write(&self, listing: &Listing<'_>, place: &Place) -> String {
        let mut bytes = Vec::with_capacity(HEAD + place.after.len());
        bytes.push(FORMAT);
        bytes.extend(self.run.to_be_bytes());
        bytes.extend(place.epoch.to_be_bytes());
        bytes.extend(self.seal(listing, place).to_be_bytes());
        bytes.extend(place.after.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn read(&self, listing: &Listing<'_>, cursor: &str) -> Result<Place, Unread> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Unread::NotOurs)?;
        let (head, after) = bytes.split_at_checked(HEAD).ok_or(Unread::NotOurs)?;
        let number = |from: usize, to: usize| {
            head[from..to].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte))
        };
        if head[0] != FORMAT {
            return Err(Unread::NotOurs);
        }
        if number(1, 5) != u64::from(self.run) {
            return Err(Unread::EarlierRun);
        }
        let after = std::str::from_utf8(after).map_err(|_| Unread::NotOurs)?;
        let place = Place { epoch: number(5, 13), after: after.to_string() };
        if number(13, 21) != self.seal(listing, &place) {
            return Err(Unread::NotOurs);
        }
        Ok(place)
    }

    fn seal(&self, listing: &Listing<'_>, place: &Place) -> u64 {
        self.key.hash_one((listing, place.epoch, &place.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a cursor goes on with its own listing and no other. Method: read back as others.
    #[test]
    fn a_cursor_is_bound_to_its_listing() {
        let cursors = Cursors::new();
        let filters = [(2, "open".to_string())];
        let listing = Listing { tenant: "a", view: "orders", filters: &filters };
        let place = Place { epoch: 77, after: "O/1".into() };
        let cursor = cursors.write(&listing, &place);
        assert_eq!(cursors.read(&listing, &cursor), Ok(place));
        for other in [
            Listing { tenant: "b", view: "orders", filters: &filters },
            Listing { tenant: "a", view: "cases", filters: &filters },
            Listing { tenant: "a", view: "orders", filters: &[] },
        ] {
            assert_eq!(cursors.read(&other, &cursor), Err(Unread::NotOurs), "{other:?}");
        }
        let mut forged = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        forged[12] ^= 1;
        let forged = URL_SAFE_NO_PAD.encode(forged);
        assert_eq!(cursors.read(&listing, &forged), Err(Unread::NotOurs));
        assert_eq!(cursors.read(&listing, "AQ"), Err(Unread::NotOurs));
        assert_eq!(cursors.read(&listing, "ü"), Err(Unread::NotOurs));
        assert_eq!(Cursors::new().read(&listing, &cursor), Err(Unread::EarlierRun));
    }
}
