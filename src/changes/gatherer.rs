//! Gathers each complete epoch's changes and hands them to the interests; on a thread of its own.
//!
//! In: the newest complete epoch, requests to watch. Out: a [`Delta`] to each interest.
//!
//! # Invariants
//! - An interest is told of every change once, in the order of the epochs, whoever joins meanwhile.
//! - While nobody is interested nothing is held and nothing is read.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use schemas::names::Name;
use schemas::reading::{Gone, Pin};
use schemas::rows::{Row, ViewDef};
use tokio::sync::mpsc;

use super::interest::{self, Interest, Watcher};
use super::{
    Account, After, Change, Delta, Expired, Kind, Progress, Request, Select, Subscription, Wanted,
};
use crate::clock;
use crate::messages::{AsOf, Epoch, ReadHandle};
use crate::metrics::Metrics;

/// How long an interest is kept up after its last watcher: a reconnection, a page reloaded.
pub(super) const LINGER: Duration = Duration::from_secs(30);
/// How often interests without watchers are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// Interests without watchers that are kept at most.
const MAX_LINGERING: usize = 1_000;
/// Up to so many keys of a view are read one by one; beyond, all its changes are looked through.
const FEW_KEYS: usize = 64;
/// How long an epoch that someone comes back with is held while its changes are read.
const RESUME_LEASE_MS: u64 = 1_000;

pub(super) struct Gatherer {
    read: ReadHandle,
    metrics: Metrics,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    progress: Arc<Progress>,
    /// Complete when this run began: older epochs were told by an earlier one.
    born: Epoch,
    /// The instant up to which everything is gathered; held while there are interests.
    held: Option<Pin>,
    interests: Vec<Option<Interest>>,
    known: HashMap<Wanted, usize>,
    /// Per view, who is interested.
    watched: Vec<Watched>,
}

/// Interests in one view.
#[derive(Default)]
struct Watched {
    keys: HashMap<Name, usize>,
    tenants: HashMap<String, Vec<usize>>,
}

impl Gatherer {
    pub(super) fn new(
        read: ReadHandle,
        metrics: Metrics,
        now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
        progress: Arc<Progress>,
    ) -> Gatherer {
        Gatherer {
            watched: read.views.iter().map(|_| Watched::default()).collect(),
            born: read.instants.complete(),
            read,
            metrics,
            now_ms,
            progress,
            held: None,
            interests: Vec::new(),
            known: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut newest = self.read.newest.clone();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let watching = !self.known.is_empty();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.watch(request),
                    None => return,
                },
                changed = newest.changed(), if watching => match changed {
                    Ok(()) => self.gather(),
                    Err(_) => return,
                },
                _ = sweep.tick(), if watching => self.sweep(clock::monotonic()),
            }
        }
    }

    /// Moves on to the last complete epoch.
    fn gather(&mut self) {
        let now = self.read.instants.pin();
        let Some(held) = &self.held else {
            self.progress.gathered.store(now.epoch(), SeqCst);
            self.held = Some(now);
            return;
        };
        let (last, epoch) = (held.epoch(), now.epoch());
        if epoch <= last {
            return;
        }
        let as_of = (self.read.as_of)(epoch);
        for view in 0..self.watched.len() {
            let mut found: HashMap<usize, Vec<Change>> = HashMap::new();
            let result = self.changes_of(view, last, epoch, &mut |interest, change| {
                found.entry(interest).or_default().push(change);
            });
            match result {
                Ok(()) => {
                    for (interest, changes) in found {
                        self.hand_out(interest, as_of, changes);
                    }
                }
                Err(gone) => {
                    tracing::error!(last, epoch, oldest = gone.oldest, "lost track of a view");
                    self.lose(view, epoch);
                }
            }
        }
        self.held = Some(now);
        self.progress.gathered.store(epoch, SeqCst);
    }

    fn changes_of(
        &self,
        view: usize,
        last: Epoch,
        epoch: Epoch,
        emit: &mut dyn FnMut(usize, Change),
    ) -> Result<(), Gone> {
        let (reader, watched) = (&self.read.views[view], &self.watched[view]);
        if watched.tenants.is_empty() && watched.keys.len() <= FEW_KEYS {
            for (name, interest) in &watched.keys {
                let old = reader.get(name.tenant(), name.key(), last)?;
                let new = reader.get(name.tenant(), name.key(), epoch)?;
                if let Some(change) = change(name, true, old.as_ref(), true, new.map(Arc::new)) {
                    emit(*interest, change);
                }
            }
            return Ok(());
        }
        reader.changes(last, epoch, &mut |name, old, new| {
            let new = new.map(Arc::new);
            if let Some(interest) = watched.keys.get(name)
                && let Some(change) = change(name, true, old.as_ref(), true, new.clone())
            {
                emit(*interest, change);
            }
            for at in watched.tenants.get(name.tenant()).into_iter().flatten() {
                let Some(interest) = &self.interests[*at] else { continue };
                let select = &interest.wanted.select;
                let was = old.as_ref().is_some_and(|it| select.wants(it));
                let is = new.as_ref().is_some_and(|it| select.wants(it));
                if let Some(change) = change(name, was, old.as_ref(), is, new.clone()) {
                    emit(*at, change);
                }
            }
        })
    }

    fn hand_out(&mut self, interest: usize, as_of: AsOf, changes: Vec<Change>) {
        let Some(interest) = &mut self.interests[interest] else { return };
        let delta = delta(interest.def, as_of, changes);
        self.metrics.stream_changes.add(delta.changes.len() as u64);
        self.metrics.watchers_slow.add(interest.hand_out(delta, &self.progress));
    }

    /// Changes of a view can no longer be told: its watchers must read the rows anew.
    fn lose(&mut self, view: usize, epoch: Epoch) {
        for interest in self.interests.iter_mut().flatten().filter(|it| it.wanted.view == view) {
            interest.forget(epoch);
        }
    }

    fn watch(&mut self, request: Request) {
        let Request { wanted, after, answer } = request;
        self.gather();
        let at = self.interest(&wanted);
        let result = self.catch_up(at, &after).map(|missed| {
            let account = Arc::new(Account::default());
            let (sender, queue) = mpsc::channel(interest::QUEUED_DELTAS);
            let mut watcher = Watcher::new(sender, Arc::clone(&account));
            for delta in missed {
                watcher.hand(&delta, &self.progress);
            }
            if let Some(interest) = &mut self.interests[at] {
                interest.join(watcher);
            }
            Subscription { queue, account, progress: Arc::clone(&self.progress) }
        });
        if answer.send(result).is_err() {
            tracing::debug!("who asked to watch has left");
        }
    }

    /// What happened since, from the ring or from the view's own history.
    fn catch_up(&self, at: usize, after: &After) -> Result<Vec<Arc<Delta>>, Expired> {
        let (Some(interest), Some(held)) = (&self.interests[at], &self.held) else {
            return Err(Expired);
        };
        let now = held.epoch();
        let epoch = match after {
            After::Held(pin) => pin.epoch(),
            After::Told(epoch) => *epoch,
        };
        if epoch > now || epoch < self.born {
            return Err(Expired);
        }
        if let Some(missed) = interest.since(epoch) {
            return Ok(missed);
        }
        if let After::Told(_) = after {
            let leased = self.read.instants.lease(epoch, (self.now_ms)(), RESUME_LEASE_MS);
            leased.map_err(|_| Expired)?;
        }
        let changes = self.since(&interest.wanted, epoch, now).map_err(|_| Expired)?;
        let none = changes.is_empty();
        let as_of = (self.read.as_of)(now);
        Ok(if none { vec![] } else { vec![Arc::new(delta(interest.def, as_of, changes))] })
    }

    /// One interest's changes from the view's own history.
    fn since(&self, wanted: &Wanted, last: Epoch, epoch: Epoch) -> Result<Vec<Change>, Gone> {
        let reader = &self.read.views[wanted.view];
        let tenant = wanted.tenant.as_str();
        let mut changes = Vec::new();
        if let Select::Key(key) = &wanted.select {
            let (old, new) = (reader.get(tenant, key, last)?, reader.get(tenant, key, epoch)?);
            let name = Name::new(tenant, key);
            changes.extend(change(&name, true, old.as_ref(), true, new.map(Arc::new)));
            return Ok(changes);
        }
        reader.changes(last, epoch, &mut |name, old, new| {
            if name.tenant() == tenant {
                let was = old.as_ref().is_some_and(|it| wanted.select.wants(it));
                let is = new.as_ref().is_some_and(|it| wanted.select.wants(it));
                changes.extend(change(name, was, old.as_ref(), is, new.map(Arc::new)));
            }
        })?;
        Ok(changes)
    }

    /// The interest in these rows, made if there is none.
    fn interest(&mut self, wanted: &Wanted) -> usize {
        if let Some(at) = self.known.get(wanted) {
            return *at;
        }
        let epoch = self.held.as_ref().map_or(0, Pin::epoch);
        let def = self.read.views[wanted.view].def();
        let interest = Some(Interest::new(wanted.clone(), def, epoch, clock::monotonic()));
        let at = match self.interests.iter().position(Option::is_none) {
            Some(at) => {
                self.interests[at] = interest;
                at
            }
            None => {
                self.interests.push(interest);
                self.interests.len() - 1
            }
        };
        self.known.insert(wanted.clone(), at);
        let watched = &mut self.watched[wanted.view];
        match &wanted.select {
            Select::Key(key) => {
                watched.keys.insert(Name::new(&wanted.tenant, key), at);
            }
            Select::Filters(_) => {
                watched.tenants.entry(wanted.tenant.clone()).or_default().push(at);
            }
        }
        at
    }

    /// Lets interests go that nobody came back for.
    fn sweep(&mut self, now: Instant) {
        let mut idle: Vec<(Duration, usize)> = Vec::new();
        for (at, interest) in self.interests.iter_mut().enumerate() {
            if let Some(since) = interest.as_mut().and_then(|it| it.idle(now)) {
                idle.push((since, at));
            }
        }
        idle.sort();
        let crowd = idle.len().saturating_sub(MAX_LINGERING);
        let over = idle.len() - idle.partition_point(|(since, _)| *since < LINGER);
        for (_, at) in idle.into_iter().rev().take(crowd.max(over)) {
            self.remove(at);
        }
        if self.known.is_empty() {
            self.held = None;
        }
    }

    fn remove(&mut self, at: usize) {
        let Some(Interest { wanted, .. }) = self.interests[at].take() else { return };
        self.known.remove(&wanted);
        let watched = &mut self.watched[wanted.view];
        match &wanted.select {
            Select::Key(key) => {
                watched.keys.remove(&Name::new(&wanted.tenant, key));
            }
            Select::Filters(_) => {
                if let Some(all) = watched.tenants.get_mut(&wanted.tenant) {
                    all.retain(|it| *it != at);
                    if all.is_empty() {
                        watched.tenants.remove(&wanted.tenant);
                    }
                }
            }
        }
    }
}

/// A row's change as a watcher sees it, of whom it `was` and `is` one of the rows watched.
fn change(
    name: &Name,
    was: bool,
    old: Option<&Row>,
    is: bool,
    new: Option<Arc<Row>>,
) -> Option<Change> {
    let (kind, row) = match (old.filter(|_| was), new.filter(|_| is)) {
        (None, None) => return None,
        (None, Some(new)) => (Kind::Enter, Some(new)),
        (Some(_), None) => (Kind::Leave, None),
        (Some(old), Some(new)) if *old == *new => return None,
        (Some(_), Some(new)) => (Kind::Update, Some(new)),
    };
    Some(Change { kind, name: name.clone(), row })
}

fn delta(def: &'static ViewDef, as_of: AsOf, mut changes: Vec<Change>) -> Delta {
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    let bytes = changes.iter().map(interest::weight).sum();
    Delta { as_of, def, changes, bytes, encoded: OnceLock::new() }
}
