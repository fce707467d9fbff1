//! Own decisions that the views do not show yet.
//!
//! # Invariants
//! A decision is here from the moment it is made until the views, at an instant that a decision is
//! made at, include its position; so every decision is seen by every later one, here or there.
//!
//! # State
//! What was decided within the time that an event takes to be readable; at most [`MAX`].

use std::collections::VecDeque;

use crate::messages::Appended;
use crate::messages::queues::{Decision, Refused};

/// Most of them. Above, the views are so far behind that deciding waits for them.
pub(super) const MAX: usize = 4_096;

/// A decision of ours.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) tenant: String,
    pub(super) queue: String,
    pub(super) key: String,
    pub(super) agent: String,
    /// `position`: 0 until it is durable.
    pub(super) decision: Decision,
}

/// Those that the views do not show yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Own>);

impl Recent {
    /// Forgets what the views include.
    pub(super) fn shown(&mut self, position: u64) {
        while self.0.front().is_some_and(|it| it.decision.position <= position) {
            self.0.pop_front();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX
    }

    pub(super) fn add(&mut self, own: Own) {
        self.0.push_back(own);
    }

    /// What became of those that were not durable yet.
    pub(super) fn kept(&mut self, kept: &Result<Option<Appended>, Refused>) {
        match kept {
            Ok(Some(appended)) => {
                let new = self.0.iter_mut().filter(|it| it.decision.position == 0);
                new.for_each(|it| it.decision.position = appended.next);
            }
            Ok(None) => {}
            Err(_) => self.0.retain(|it| it.decision.position > 0),
        }
    }

    /// The decision under a key.
    pub(super) fn under(&self, tenant: &str, key: &str) -> Option<&Own> {
        self.0.iter().find(|it| it.tenant == tenant && it.key == key)
    }

    /// The newest decision about a case.
    pub(super) fn about(&self, tenant: &str, case: &str) -> Option<&Own> {
        self.0.iter().rev().find(|it| it.tenant == tenant && it.decision.case == case)
    }

    /// How many cases were handed out from a queue.
    pub(super) fn picks(&self, tenant: &str, queue: &str) -> u64 {
        let claimed =
            |it: &&Own| it.tenant == tenant && it.queue == queue && it.decision.did == "claimed";
        self.0.iter().filter(claimed).count() as u64
    }
}
