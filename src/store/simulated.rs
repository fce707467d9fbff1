//! Checkpoints without their thread, on whatever disk is given: one is made when it is asked for.

use std::fs::File;

use super::Store;
use super::checkpoint::{Maker, Parts};
use crate::messages::{BookState, Epoch};
use crate::report::Report;
use crate::segments::Medium;

pub(crate) struct Driven(Maker);

impl Driven {
    /// Every file of this store, from the next segment on, is made by `file`.
    pub(crate) fn on(
        store: &mut Store,
        file: impl Fn(File) -> Box<dyn Medium> + Clone + Send + 'static,
    ) {
        for log in [&mut store.state, &mut store.identities] {
            log.writer.through(file.clone());
        }
    }

    pub(crate) fn new(store: Store, parts: Parts, last: Option<BookState>) -> Driven {
        Driven(Maker::new(store, parts, last))
    }

    /// One checkpoint, if there is anything new.
    pub(crate) fn make(&mut self) -> Result<(), Report> {
        self.0.make()
    }

    /// The newest that was made; 0: none.
    pub(crate) fn made(&self) -> Epoch {
        self.0.made
    }

    /// Whether old segments have been given up.
    pub(crate) fn has_cleaned(&self) -> bool {
        self.0.store.state.folder.range().0 > 0
    }
}
