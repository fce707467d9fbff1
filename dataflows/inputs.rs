//! One event into the updates of every view. (owner: dataflows-views)

use schemas::events::Event;
use schemas::names::Secret;

use crate::catalogue::ViewSet;

/// The updates of a slice of events, waiting to be sent: one vector per fold, `volume` pre-summed.
#[derive(Default)]
pub struct Updates {}

impl Updates {
    /// Takes one event apart. `views`: those that are kept; nothing is made for others.
    pub fn route(&mut self, _event: &Event<'_>, _secret: &Secret, _views: ViewSet) {
        todo!()
    }
}
