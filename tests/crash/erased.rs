//! Goal: who was erased stays so whatever is gone back to: an older checkpoint, a state that is made
//! again of the log. Method: the real binary with a life in a canary, erased; killed at once or ended
//! once all is certified; the newest states damaged, so that the start goes back behind them; every
//! view and every file is searched.

use std::time::Duration;

use serde_json::{Value, json};

use crate::life::life;
use crate::load::*;
use crate::process::{Folder, run};
use crate::rebuilt::{Place, flip, segments};
use crate::searched::{found_in, until};

const SECRET: &str = "secret-7b2d";
const WHO: &str = "Gone-17";

fn certified(data: &str) -> Result<(), String> {
    let (code, out, err) = run(&["erasure", "show", "--json", "--data-dir", data]);
    assert_eq!(code, 0, "{err}");
    let said: Value = serde_json::from_str(out.lines().next().unwrap_or("{}")).unwrap();
    let all = ["log", "rejects", "state", "outbox"];
    if all.iter().all(|it| said[it]["at"].is_string()) { Ok(()) } else { Err(out) }
}

fn nothing_is_served(address: &str) {
    let views = [
        "customers",
        "orders",
        "cases",
        "sentiment",
        "health",
        "profile_health",
        "sla",
        "notifications",
    ];
    for view in views {
        for (key, row) in rows(address, view, "default") {
            let row = row.to_string();
            assert!(!row.contains(SECRET) && !key.contains(WHO), "{view}: {key} {row}");
        }
    }
}

#[test]
fn nobody_comes_back_with_an_older_checkpoint() {
    let mut went_back = 0;
    for at_once in [true, false] {
        let folder = Folder::new(if at_once { "erased-at-once" } else { "erased" });
        let data = folder.path("data");
        let with = ["--set", "state.segment_bytes=4 MiB"];
        let (process, address) = started_with(&folder, ".", 1, &with);
        let mut n_events = 0;
        let mut grow = |address: &str, batches: u64| {
            for _ in 0..batches {
                assert_eq!(post(address, n_events, "&wait=applied").unwrap().0, 202);
                n_events += BATCH;
            }
        };
        grow(&address, 30);
        let life: Vec<String> = life(WHO, SECRET).iter().map(Value::to_string).collect();
        assert_eq!(post_of(&address, "default", &life, "&wait=applied").unwrap().0, 202);
        until("it is in the state", || {
            let found = found_in(folder.path("data").as_ref(), SECRET.as_bytes());
            let is_there = found.iter().any(|it| it.contains("/state/"));
            if is_there { Ok(()) } else { Err(format!("{found:?}")) }
        });
        grow(&address, 30);
        let erased = json!({
            "specversion": "1.0", "type": "customer.erased", "source": "desk", "id": "r-1",
            "time": "2026-01-03T00:00:00Z", "data": {"customers": [WHO]},
        });
        let erased = [erased.to_string()];
        assert_eq!(post_of(&address, "default", &erased, "&wait=applied").unwrap().0, 202);
        nothing_is_served(&address);
        if at_once {
            process.signal("-KILL");
            process.end();
        } else {
            until("all is gone through", || certified(&data));
            grow(&address, 60);
            process.signal("-TERM");
            assert_eq!(process.end().0, 0);
            assert_eq!(found_in(data.as_ref(), SECRET.as_bytes()), [""; 0]);
        }
        flip(segments(&folder, "state").last().unwrap(), Place::Middle);

        let (process, address) = started_with(&folder, ".", 2, &with);
        while get(&address, "/health/ready").unwrap().0 != 200 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        // What was read since is read again when this is applied.
        assert_eq!(post(&address, 0, "&wait=applied").unwrap().0, 202);
        nothing_is_served(&address);
        until("all is gone through", || certified(&data));
        until("no file has it", || {
            let found = found_in(data.as_ref(), SECRET.as_bytes());
            if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
        });
        nothing_is_served(&address);
        process.signal("-TERM");
        let (code, _, err) = process.end();
        assert_eq!(code, 0, "{err}");
        went_back += usize::from(err.contains("an older checkpoint is taken up"));
        assert!(at_once || err.contains("the state that was kept is damaged"), "{err}");
    }
    assert!(went_back > 0, "nothing was gone back to");
}
