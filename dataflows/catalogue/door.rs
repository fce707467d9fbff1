//! Where updates go into the dataflow: one door for each fold.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Input;
use timely::dataflow::{InputHandle, ProbeHandle, Scope};

use crate::fold::{Project, fold};
use crate::served::Served;
use crate::{Addressed, Epoch, Fold};

/// Where the updates of one fold go in.
///
/// The newest batch is held back until the next one comes or the epoch is sealed: timely passes
/// the sealing on to the exchange only if something was sent since the worker's last step. Were
/// it all sent before that step, what the exchange has gathered for other workers would stay
/// there, and the epoch would never be complete.
pub(super) struct Door<U: Clone + 'static> {
    input: InputHandle<Epoch, CapacityContainerBuilder<Vec<Addressed<U>>>>,
    pub(super) held: Vec<Addressed<U>>,
}

impl<U: Clone + 'static> Door<U> {
    /// Sends and empties the updates; they come back with room for as many.
    fn send(&mut self, updates: &mut Vec<Addressed<U>>) {
        if updates.is_empty() {
            return;
        }
        std::mem::swap(&mut self.held, updates);
        self.input.send_batch(updates);
        updates.clear();
        let room = self.held.len();
        if updates.capacity() < room {
            updates.reserve_exact(room + room / 8);
        }
    }

    fn advance_to(&mut self, epoch: Epoch) {
        self.input.send_batch(&mut self.held);
        self.held.clear();
        self.input.advance_to(epoch);
    }
}

/// What a fold tells the relation that it feeds.
pub(super) type Moved<'s, F, P> =
    VecCollection<'s, Epoch, <P as Project<F>>::Data, <P as Project<F>>::Diff>;

/// A fold with its input.
pub(super) fn door<'s, F: Fold, P: Project<F>>(
    scope: Scope<'s, Epoch>,
    map: &Arc<Served<F>>,
    worker: usize,
    project: P,
    probe: &ProbeHandle<Epoch>,
) -> (Door<F::Update>, Moved<'s, F, P>) {
    let (input, updates) = scope.new_input::<Vec<Addressed<F::Update>>>();
    let moved = fold(updates, map.clone(), worker, project).probe_with(probe);
    (Door { input, held: Vec::new() }, moved)
}

/// What a door holds back, if it is there and wanted.
pub(super) fn held<U: Clone + 'static>(
    door: &mut Option<Door<U>>,
    wanted: u32,
) -> Option<&mut Vec<Addressed<U>>> {
    door.as_mut().filter(|_| wanted != 0).map(|it| &mut it.held)
}

pub(super) fn give<U: Clone + 'static>(
    door: &mut Option<Door<U>>,
    updates: &mut Vec<Addressed<U>>,
) {
    match door {
        Some(door) => door.send(updates),
        None => updates.clear(),
    }
}

pub(super) fn advance<U: Clone + 'static>(door: &mut Option<Door<U>>, epoch: Epoch) {
    if let Some(door) = door {
        door.advance_to(epoch);
    }
}
