//! The kit that every sink passes, over a real server: what it holds is compared by `verify`.

use std::sync::Arc;
use std::time::Duration;

use millstream::sinks::clickhouse::{ClickHouse, Writer};
use millstream::sinks::{Declared, Sink};

use crate::cases;
use crate::kit::{Rows, Subject, World};
use crate::server::{Database, Real};
use crate::temp_dir::TempDir;

impl Subject for Database<'_> {
    fn sink(&self, declared: Declared) -> Arc<dyn Sink> {
        let writer = Writer::new("one deployment", &crate::wait::unique("process"));
        Arc::new(ClickHouse::new(&self.settings("writer"), declared, writer))
    }

    fn holds(
        &self,
        world: &World<'_>,
        live: &Rows,
        but: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        let sinks = world.running.as_ref().unwrap().sinks().unwrap();
        let told = sinks.verify("tested").map_err(|it| it.to_string())?;
        for table in told["tables"].as_array().unwrap() {
            let without =
                live.keys().filter(|it| it.0 == table["view"] && but(&it.2)).count() as u64;
            let of = |field: &str| table[field].as_array().unwrap().iter();
            let expected =
                |it: &serde_json::Value| but(it.as_str().unwrap().split_once('/').unwrap().1);
            let n = table["n_missing"].as_u64().unwrap() + table["n_differing"].as_u64().unwrap();
            if n > without || !of("missing").chain(of("differing")).all(expected) {
                return Err(table.to_string());
            }
        }
        Ok(())
    }

    fn empty(&self) {
        // Who writes here, and which tables there are, is no row of ours.
        let rows =
            self.tables().into_iter().filter(|it| !matches!(&**it, "_writers" | "_migrations"));
        rows.for_each(|it| self.run(&format!("TRUNCATE TABLE {it}")));
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(3)
    }
}

fn passes(case: fn(&mut dyn cases::Driven), name: &str) {
    over(|world| case(world), name);
}

fn over(case: impl Fn(&mut World<'_>), name: &str) {
    let database = Real::shared().database(name);
    let dir = TempDir::new();
    case(&mut World::new(&dir.0, &database));
    database.each_row_is_once();
}

#[test]
fn well() {
    passes(cases::well, "well");
}

#[test]
fn fails_before() {
    passes(cases::fails_before, "fails_before");
}

#[test]
fn fails_after() {
    passes(cases::fails_after, "fails_after");
}

#[test]
fn hangs() {
    passes(cases::hangs, "hangs");
}

#[test]
fn hangs_after() {
    passes(cases::hangs_after, "hangs_after");
}

#[test]
fn misconfigured() {
    passes(cases::misconfigured, "misconfigured");
}

#[test]
fn unknown() {
    passes(cases::unknown, "unknown");
}

#[test]
fn slow() {
    passes(cases::slow, "slow");
}

#[test]
fn unfit() {
    passes(cases::unfit, "unfit");
}

#[test]
fn refuses_some() {
    passes(cases::refuses_some, "refuses_some");
}

#[test]
fn another_life() {
    passes(cases::another_life, "another_life");
}

#[test]
fn rebuilt() {
    passes(cases::rebuilt, "rebuilt");
}

#[test]
fn was_away() {
    over(cases::was_away, "was_away");
}

#[test]
fn anew() {
    over(cases::anew, "anew");
}
