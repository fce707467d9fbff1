//! A whole engine over a real server, something that goes wrong in the middle, and the end of every
//! story: the tables hold what is served, each row once, nothing open and nothing aside.
//!
//! The kit's world, over the sink as it is: what the receiver answers is what the engine meets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream::config::ClickHouseSettings;
use millstream::sinks::clickhouse::{ClickHouse, Writer};
use millstream::sinks::{Declared, Sink};

use crate::common::history;
use crate::kit::{Rows, Subject, Temper, World, until};
use crate::server::Database;
use crate::temp_dir::TempDir;

/// A database as these settings reach it.
pub struct Through<'d> {
    pub database: &'d Database<'d>,
    pub settings: ClickHouseSettings,
}

impl Subject for Through<'_> {
    fn sink(&self, declared: Declared) -> Arc<dyn Sink> {
        let writer = Writer::new("one deployment", &crate::wait::unique("process"));
        Arc::new(ClickHouse::new(&self.settings, declared, writer))
    }

    fn holds(
        &self,
        world: &World<'_>,
        live: &Rows,
        but: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        self.database.holds(world, live, but)
    }

    fn empty(&self) {
        self.database.empty();
    }

    fn timeout(&self) -> Duration {
        self.settings.timeout
    }
}

/// What happens in the middle.
pub struct Middle<'w, 's> {
    pub world: &'w mut World<'s>,
    lines: Vec<String>,
}

impl Middle<'_, '_> {
    /// Events come, and can be read.
    pub fn send(&mut self, n: usize) {
        self.world.send(&self.lines, n);
    }

    /// Events come until the sink's state has one of these codes (`a|b`), which it keeps.
    pub fn until_told(&mut self, codes: &str) {
        until(codes, || {
            self.world.send(&self.lines, 10);
            let told = self.world.told("tested");
            told["code"].as_str().is_some_and(|it| codes.split('|').any(|code| code == it))
        });
    }

    /// Batches that were handed over more than once.
    pub fn n_again(&self) -> usize {
        let seen = self.world.stage.seen.lock();
        let ids: BTreeSet<&str> = seen.attempts.iter().map(|it| &*it.id).collect();
        seen.attempts.len() - ids.len()
    }

    /// The receiver is mended: it is found so at once.
    pub fn mended(&self) {
        self.world.running.as_ref().unwrap().sinks().unwrap().resume("tested").unwrap();
    }
}

/// Events, what happens in the middle, events; and the end.
pub fn story(
    database: &Database<'_>,
    settings: ClickHouseSettings,
    middle: impl FnOnce(&mut Middle<'_, '_>),
) {
    let dir = TempDir::new();
    let through = Through { database, settings };
    let mut world = World::new(&dir.0, &through);
    world.stage.set(Temper::AsItIs);
    world.start();
    let mut it = Middle { world: &mut world, lines: history(crate::wait::seed(), 20_000) };
    it.send(300);
    it.world.equal(|_| false);
    middle(&mut it);
    it.send(300);
    until("its breaker is closed", || {
        it.mended();
        it.world.state() == "closed"
    });
    it.world.equal(|_| false);
    crate::cases::settled(it.world);
    database.each_row_is_once();
    assert!(database.number("SELECT count() FROM orders") > 10, "something was compared");
}
