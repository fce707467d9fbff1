//! We, killed again and again between an insert and its acknowledgement.

use crate::between::{Between, How};
use crate::engine::Millstream;
use crate::flow::{Events, is_equal, settings};
use crate::server::Real;
use crate::wait::{seed, until};

/// Goal: killed between insert and acknowledgement, 20 times, nothing is lost and nothing doubled.
/// Method: the server commits and no answer comes; once such an insert has come, SIGKILL; what is
/// sent again afterwards is known.
#[test]
fn killed_between_insert_and_acknowledgement() {
    let seed = seed();
    let database = Real::shared().database("acknowledged");
    let between = Between::of(database.real.url());
    let mut it = Millstream::start("acknowledged", &settings(&database, between.url(), ""));
    let mut events = Events::new("acknowledged", seed, 4_200);
    for round in 0..20 {
        // Some rounds later inserts of a flush, so that each stream is hit.
        let after = between.inserts() + round % 5;
        let mut hangs = false;
        until("an insert hangs", || {
            events.post(&it, 20);
            if between.inserts() >= after && !hangs {
                between.plan(&[How::HangAfter]);
                hangs = true;
            }
            (hangs && between.planned() == 0).then_some(())
        });
        it = it.kill_and_start_again();
    }
    while events.post(&it, 500) {}
    is_equal(&it, &database);
}
