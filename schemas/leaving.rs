//! What leaves: the door through which sinks learn which entities were touched, without knowing
//! how a view is kept.

use crate::names::{Fingerprint, Name};
use crate::reading::{Epoch, Gone};
use crate::rows::{Row, ViewDef};

/// Where an entity lies in its map, as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot(pub u64);

/// An entity that was touched, as it was at one epoch.
#[derive(Debug)]
pub struct Touched<'t> {
    /// Where it lies.
    pub spot: Spot,
    /// Its fingerprint: the same over restarts.
    pub key: Fingerprint,
    /// Whose, and its key's text.
    pub name: &'t Name,
    /// When it was touched last, up to then.
    pub epoch: Epoch,
    /// Whether it had a row.
    pub exists: bool,
    /// Its row, if rows were asked for.
    pub row: Option<Row>,
}

/// A version of an entity: when it was touched last, up to some epoch, its name, its row.
pub type Version = (Epoch, Name, Option<Row>);

/// A view as those see it who hand its rows on.
pub trait Leaving: Send + Sync {
    /// Its definition.
    fn def(&self) -> &'static ViewDef;

    /// Whether the store keeps it: then an entity's epoch is the same over restarts. A relation
    /// is made anew at a start, every row as of that instant.
    fn is_kept(&self) -> bool;

    /// From now on what is touched is noted. Before the workers start, and before anything is
    /// put back.
    fn note(&self);

    /// Every entity touched since the call before, as of `at`, whose epoch is above `after`. `at`
    /// must be pinned, and not below that of the call before. An entity touched after `at` is told
    /// as it was then, and once more by a later call. One thread at a time; workers go on
    /// meanwhile. After `Gone` some of it is never
    /// told: begin anew.
    fn touched(
        &self,
        after: Epoch,
        at: Epoch,
        with_rows: bool,
        emit: &mut dyn FnMut(Touched<'_>),
    ) -> Result<(), Gone>;

    /// The entity that lies there, as of `at`; none if another, or nobody, lies there now.
    fn read(&self, spot: Spot, key: Fingerprint, at: Epoch) -> Result<Option<Version>, Gone>;

    /// Every entity whose epoch, as of `at`, is above `after`, in no order. Looks at every
    /// entity, a few at a time between the workers.
    fn since(
        &self,
        after: Epoch,
        at: Epoch,
        emit: &mut dyn FnMut(Spot, Fingerprint, Epoch),
    ) -> Result<(), Gone>;
}
