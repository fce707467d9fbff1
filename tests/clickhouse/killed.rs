//! We, killed again and again between an insert and its acknowledgement.

use crate::between::{Between, How};
use crate::engine::Millstream;
use crate::flow::{Events, every_event_is_there, is_equal, settings};
use crate::server::Real;
use crate::wait::{seed, until};

/// Into which the insert hangs, one crash after the other: rows from a map and from the log, changes of
/// both, events, marks.
const TABLES: [&str; 10] = [
    "orders_rows",
    "events_rows",
    "orders_changes",
    "_progress",
    "customers_rows",
    "customers_changes",
    "events_rows",
    "volume_changes",
    "volume_rows",
    "_progress",
];

/// Goal: killed between insert and acknowledgement, 20 times, nothing is lost and nothing doubled, nor
/// any event. Method: the server commits an insert into a table of each sort and no answer comes; then
/// SIGKILL; what is sent again afterwards is known by its token: also without FINAL no event is there
/// twice.
#[test]
fn killed_between_insert_and_acknowledgement() {
    let seed = seed();
    let database = Real::shared().database("acknowledged");
    let between = Between::of(database.real.url());
    let mut it = Millstream::start("acknowledged", &settings(&database, between.url(), ""));
    let mut events = Events::new("acknowledged", seed, 40_000);
    database.run("SYSTEM STOP MERGES events_rows");
    for table in TABLES.iter().cycle().take(20) {
        between.plan_for(table, How::HangAfter);
        until(&format!("an insert into {table} hangs"), || {
            assert!(events.post(&it, 10), "enough events");
            (between.planned() == 0).then_some(())
        });
        it = it.kill_and_start_again();
    }
    while events.post(&it, 1_000) {}
    is_equal(&it, &database);
    every_event_is_there(&it, &database);
    let twice = "SELECT count() - uniqExact(row_id) FROM events_rows";
    assert_eq!(database.number(twice), 0, "the tokens of inserts were not known again");
}
