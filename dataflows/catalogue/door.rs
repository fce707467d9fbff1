//! Where updates go into the dataflow: one door for each fold.

use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, Scope, Stream};

use crate::fold::{Listen, fold};
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

/// On their way to a fold.
type Updates<'s, F> = Stream<'s, Epoch, Vec<Addressed<<F as Fold>::Update>>>;

/// A fold with its input, and what those who listen to it hear.
pub(super) fn door<'s, F: Fold, L: Listen<F>>(
    scope: Scope<'s, Epoch>,
    map: &Arc<Served<F>>,
    worker: usize,
    listener: L,
    probe: &ProbeHandle<Epoch>,
) -> (Door<F::Update>, L::Said<'s>) {
    door_by(scope, map, worker, listener, probe, |updates| updates)
}

/// The same, where updates pass something on their way to the fold.
pub(super) fn door_by<'s, F: Fold, L: Listen<F>>(
    scope: Scope<'s, Epoch>,
    map: &Arc<Served<F>>,
    worker: usize,
    listener: L,
    probe: &ProbeHandle<Epoch>,
    by: impl FnOnce(Updates<'s, F>) -> Updates<'s, F>,
) -> (Door<F::Update>, L::Said<'s>) {
    let (input, updates) = scope.new_input::<Vec<Addressed<F::Update>>>();
    let (done, said) = fold(by(updates), map.clone(), worker, listener);
    done.probe_with(probe);
    (Door { input, held: Vec::new() }, said)
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
