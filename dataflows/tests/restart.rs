//! Goal: a restart is a continuation. Killed after any epoch, put back from the records of its last
//! checkpoint on any number of workers, and read on from there, every view (relations too) says at
//! every epoch what an uninterrupted run says, and every entity was touched, by events or by its
//! timer, at the very same instants. Method: random histories with repeats, checkpoints after some
//! epochs, of which some fail, a crash in the midst; an uninterrupted run beside it.

#[path = "support/arrivals.rs"]
mod arrivals;
#[path = "support/drive.rs"]
mod drive;
#[path = "support/history.rs"]
mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Barrier, Mutex};

use dataflows::Epoch;
use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::dedup::Dedup;
use dataflows::inputs::Updates;
use dataflows::load_forecast::{self, SERIES_MAX};
use drive::{SECRET, apply, complete, dedup, rows, views};
use history::{SPAN_MS, START_MS, history};
use proptest::prelude::*;
use proptest::sample::Index;
use schemas::events::{Data, Event, LoadMeasured};
use schemas::names::{Fingerprint, Kind, Name};
use schemas::reading::{Instants, Keep};
use schemas::rows::Row;

/// What is read, by epoch.
type Batches = Arc<Vec<(Vec<Event<'static>>, Epoch)>>;

/// Every row of every view, how many there are of each tenant, and all of them listed.
type Answer = (Vec<BTreeMap<Name, Row>>, Vec<u64>, Vec<(Name, Row)>);

fn answer(views: &Views, at: Epoch) -> Answer {
    let (mut counts, mut listed) = (Vec::new(), Vec::new());
    for reader in views.readers() {
        for tenant in ["acme", "default"] {
            counts.push(reader.count(tenant, at));
            let page = reader.page(tenant, None, at, 9_999, 9_999, Keep::ALL).expect("kept");
            listed.extend(page.rows);
        }
    }
    (rows(views, at), counts, listed)
}

/// The checkpoints that were kept: the records and identities of each, oldest first.
#[derive(Default)]
struct Disk {
    records: Vec<Vec<(usize, Vec<u8>)>>,
    identities: Vec<(Vec<Fingerprint>, u64)>,
    /// How many batches are in it.
    upto: usize,
}

/// One life of the process, over some of the batches.
struct Life {
    views: Arc<Views>,
    dedup: Dedup,
    batches: Batches,
    range: Range<usize>,
    /// After which batches it is saved (`Some`), and whether the store can keep it.
    saves: Vec<Option<bool>>,
    disk: Mutex<Disk>,
    /// Of every batch, and before the first of the batch before.
    answers: Mutex<Vec<Answer>>,
    claimed: Mutex<Vec<(Vec<Fingerprint>, u64)>>,
    barrier: Barrier,
}

impl Life {
    fn new(workers: usize, batches: &Batches, range: Range<usize>, saves: &[Option<bool>]) -> Life {
        Life {
            views: Views::keeping(ViewSet::all(), workers, SECRET, 64 << 20),
            dedup: dedup(),
            batches: batches.clone(),
            range,
            saves: saves.to_vec(),
            disk: Mutex::default(),
            answers: Mutex::default(),
            claimed: Mutex::default(),
            barrier: Barrier::new(workers),
        }
    }

    /// Starts from what is on a disk, newest first.
    fn restored(workers: usize, batches: &Batches, disk: &Disk) -> Life {
        let life = Life::new(workers, batches, disk.upto..batches.len(), &[]);
        for (generation, records) in disk.records.iter().enumerate().rev() {
            for (view, record) in records {
                life.views.keepers()[*view].restore(record, generation as u32).expect("readable");
            }
        }
        disk.identities.iter().rev().for_each(|(ids, at)| life.dedup.restore(ids, *at));
        life
    }

    fn live(self, workers: usize) -> Life {
        let life = Arc::new(self);
        let shared = life.clone();
        let run = timely::execute(timely::Config::process(workers), move |worker| {
            let life = &shared;
            let mut sources = Sources::build(worker, &life.views);
            if let Some(before) = life.range.start.checked_sub(1) {
                let at = life.batches[before].1;
                complete(worker, &mut sources, &life.views, at);
                life.after(worker.index(), at, None);
            }
            for n in life.range.clone() {
                let (batch, epoch) = &life.batches[n];
                let mine = |it: &&Event<'static>| it.time as usize % workers == worker.index();
                let mine: Vec<_> = batch.iter().filter(mine).collect();
                sources.advance_to(*epoch);
                sources.send(&mut life.updates(&mine, *epoch));
                complete(worker, &mut sources, &life.views, *epoch);
                life.after(worker.index(), *epoch, Some(n));
            }
        });
        for worker in run.expect("workers start").join() {
            worker.expect("the worker ended well");
        }
        assert_eq!(life.views.anomalies(), 0);
        Arc::into_inner(life).expect("the workers are gone")
    }

    fn updates(&self, batch: &[&Event<'static>], epoch: Epoch) -> Updates {
        let identity =
            |it: &&Event<'_>| SECRET.fingerprint(&it.tenant, Kind::Event, &[&it.source, &it.id]);
        let identities: Vec<_> = batch.iter().map(identity).collect();
        let mut fresh = Vec::new();
        let at = self.dedup.claim(&identities, epoch, &mut fresh);
        let mut updates = Updates::default();
        let mut new = Vec::new();
        for ((event, id), _) in batch.iter().zip(identities).zip(fresh).filter(|it| it.1) {
            updates.route(event, &SECRET, ViewSet::all());
            new.push(id);
        }
        self.claimed.lock().unwrap().push((new, at));
        updates
    }

    /// Once all workers have completed an epoch, one of them looks, and saves.
    fn after(&self, worker: usize, epoch: Epoch, batch: Option<usize>) {
        self.barrier.wait();
        if worker == 0 {
            self.answers.lock().unwrap().push(answer(&self.views, epoch));
            if let Some(n) = batch
                && let Some(Some(is_kept)) = self.saves.get(n)
            {
                self.save(n, *is_kept);
            }
        }
        self.barrier.wait();
    }

    fn save(&self, n: usize, is_kept: bool) {
        let pin = self.views.clock().pin();
        let mut disk = self.disk.lock().unwrap();
        let generation = disk.records.len() as u32;
        let mut records = Vec::new();
        for (view, keeper) in self.views.keepers().iter().enumerate() {
            keeper
                .save(pin.epoch(), generation, &mut |it| records.push((view, it.to_vec())))
                .expect("pinned");
        }
        if !is_kept {
            for keeper in self.views.keepers() {
                keeper.again(&|it| it == generation);
            }
            // A generation is never used twice.
            disk.records.push(vec![]);
            return;
        }
        disk.records.push(records);
        disk.identities.append(&mut self.claimed.lock().unwrap());
        disk.upto = n + 1;
    }

    /// Of every entity of every fold when it was touched last.
    fn instants(&self) -> BTreeSet<(usize, Vec<u8>)> {
        let pin = self.views.clock().pin();
        let mut all = BTreeSet::new();
        for (view, keeper) in self.views.keepers().iter().enumerate() {
            keeper.again(&|_| true);
            let mut note = |it: &[u8]| {
                all.insert((view, it[..24].to_vec()));
            };
            keeper.save(pin.epoch(), 1_000_000, &mut note).expect("pinned");
        }
        all
    }
}

fn batches() -> impl Strategy<Value = Batches> {
    let picks = proptest::collection::vec(any::<Index>(), 0..30);
    let steps = proptest::collection::vec((0..14_usize, 1..SPAN_MS / 5), 3..14);
    (history(90), picks, steps).prop_map(|(mut events, picks, steps)| {
        for pick in &picks {
            let again = pick.get(&events).clone();
            events.insert(pick.index(events.len()), again);
        }
        let (mut events, mut epoch) = (events.into_iter(), START_MS);
        // Then only time passes, so that promises of before the crash are broken after it.
        let quiet = [(0, 800), (0, SPAN_MS / 2), (0, 70_000)];
        let batches = steps.into_iter().chain(quiet).map(|(n, step)| {
            epoch += step;
            (events.by_ref().take(n).collect(), epoch)
        });
        Arc::new(batches.collect())
    })
}

/// What a run says that nothing interrupts: one worker, nothing kept.
fn plain(batches: &Batches) -> Vec<Answer> {
    let batches = batches.clone();
    timely::execute_directly(move |worker| {
        let (views, dedup) = (views(1), dedup());
        let mut sources = Sources::build(worker, &views);
        let each = batches.iter().map(|(batch, epoch)| {
            apply(&mut sources, &dedup, batch, *epoch);
            complete(worker, &mut sources, &views, *epoch);
            answer(&views, *epoch)
        });
        each.collect()
    })
}

#[test]
fn a_restart_is_a_continuation() {
    arrivals::publish();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 48,
        ..ProptestConfig::default()
    });
    let saves = proptest::collection::vec(proptest::option::of(any::<bool>()), 14);
    let strategy = (batches(), saves, any::<Index>(), 1..=3_usize, 1..=3_usize);
    let outcome = runner.run(&strategy, |(batches, saves, crash, before, after)| {
        let expected = plain(&batches);
        let crash = crash.index(batches.len() - 2) + 1;
        let killed = Life::new(before, &batches, 0..crash, &saves).live(before);
        prop_assert_eq!(&killed.answers.into_inner().unwrap()[..], &expected[..crash]);
        let disk = killed.disk.into_inner().unwrap();

        let life = Life::restored(after, &batches, &disk).live(after);
        let answers = life.answers.lock().unwrap().clone();
        let expected = &expected[disk.upto.saturating_sub(1)..];
        for (n, (found, expected)) in answers.iter().zip(expected).enumerate() {
            prop_assert_eq!(found, expected, "{} epochs after the restart", n);
        }
        prop_assert_eq!(answers.len(), expected.len());

        let through = Life::new(1, &batches, 0..batches.len(), &[]).live(1);
        prop_assert_eq!(life.instants(), through.instants());
        Ok(())
    });
    outcome.unwrap_or_else(|why| panic!("{why}"));
}

/// A word about one series; `n` tells words apart.
fn measured(n: usize, series: usize) -> Event<'static> {
    let series = format!("series {series}").into();
    Event {
        tenant: "acme".into(),
        source: "/meters".into(),
        id: n.to_string().into(),
        time: (START_MS as i64 + n as i64 * 1_000) * 1_000,
        data: Data::LoadMeasured(LoadMeasured { series, bucket_minutes: 60, value: n as i64 }),
    }
}

/// Goal: which of too many series measured outside have rows is a function of what was measured, at
/// every epoch, and through a crash; the others are counted. Method: a hundred series more than may
/// have rows, forwards and backwards, then some of them again; a crash in the midst, put back on
/// another number of workers; an uninterrupted run and the plain computation beside it.
#[test]
fn too_many_series_are_the_same_after_a_restart() {
    let all = SERIES_MAX + 100;
    for (before, after, backwards) in [(1, 2, false), (3, 1, true)] {
        let of = |n: usize| if backwards { all - 1 - n % all } else { n % all };
        let events: Vec<_> = (0..all + 300).map(|n| measured(n, of(n))).collect();
        let batches: Vec<_> = (1..)
            .zip(events.chunks(350))
            .map(|(n, it)| (it.to_vec(), START_MS + n * 600_000))
            .collect();
        let batches = Arc::new(batches);
        let expected = plain(&batches);
        let place = Views::new(ViewSet::all(), 1, SECRET, 1 << 20)
            .readers()
            .iter()
            .position(|it| it.def().name == load_forecast::DEF.name)
            .expect("a view");
        let mut so_far = Vec::new();
        for ((batch, epoch), (found, ..)) in batches.iter().zip(&expected) {
            so_far.extend(batch.iter().cloned());
            assert_eq!(found[place], load_forecast::reference(&so_far, *epoch));
        }
        let stand = expected.last().unwrap().0[place].keys().filter(|it| it.key().starts_with('m'));
        assert_eq!(stand.count(), SERIES_MAX);

        let killed = Life::new(before, &batches, 0..3, &[None, Some(true)]).live(before);
        assert_eq!(killed.answers.into_inner().unwrap(), expected[..3]);
        let life = Life::restored(after, &batches, &killed.disk.into_inner().unwrap()).live(after);
        assert_eq!(*life.answers.lock().unwrap(), expected[1..]);
        assert!(life.views.left_out().tenants()["acme"].measurements > 0);
    }
}
