//! A whole process that writes into a database, events for it, and the end of every story: what is
//! served and what is in the tables are the same, each row once.

use crate::engine::{Millstream, TENANTS, generated};
use crate::server::Database;
use crate::wait::until;

/// The settings of a process that writes there.
pub fn settings(database: &Database<'_>, url: &str, more: &str) -> String {
    let password = database.real.password("writer");
    format!(
        "[sinks.ch]\nkind = \"clickhouse\"\nurl = \"{url}\"\ndatabase = \"{}\"\nuser = \"writer\"\n\
         password_file = {password:?}\nflush_every = \"100ms\"\ntimeout = \"3s\"\n{more}\n",
        database.name
    )
}

/// Events in portions that are posted one after the other.
pub struct Events {
    lines: Vec<(usize, String)>,
    at: usize,
}

impl Events {
    pub fn new(name: &str, seed: u64, n: u64) -> Events {
        let tenant = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            TENANTS.iter().position(|it| event["tenant"] == **it).unwrap()
        };
        let lines = generated(name, seed, n).1;
        let lines = lines.into_iter().map(|it| (tenant(&it), it)).collect();
        Events { lines, at: 0 }
    }

    /// All of them, in their order.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().map(|it| it.1.clone()).collect()
    }

    /// Posts the next ones; they are applied when this returns. False: there are no more.
    pub fn post(&mut self, to: &Millstream, n: usize) -> bool {
        let upto = (self.at + n).min(self.lines.len());
        for (place, tenant) in TENANTS.iter().enumerate() {
            let some: Vec<&String> = self.lines[self.at..upto]
                .iter()
                .filter_map(|it| (it.0 == place).then_some(&it.1))
                .collect();
            if !some.is_empty() {
                to.post(tenant, &some);
            }
        }
        self.at = upto;
        upto < self.lines.len()
    }
}

/// How the sink stands.
pub fn sink(it: &Millstream) -> serde_json::Value {
    let list = it.json("/v1/admin/sinks");
    let list = if list.is_array() { list } else { list["result"].clone() };
    list.as_array().unwrap().iter().find(|it| it["name"] == "ch").unwrap().clone()
}

/// Every event that the state has applied is there, once: what its ledger says.
pub fn every_event_is_there(it: &Millstream, database: &Database<'_>) {
    let mut last = (0, 0);
    until("every event is there", || {
        last = (it.count("", "applied"), database.number("SELECT count() FROM events"));
        println!("{} events applied, {} there", last.0, last.1);
        (last.0 == last.1).then_some(())
    });
    assert!(last.0 > 0);
    let twice = "SELECT count() - uniqExact(tenant, source, id) FROM events";
    assert_eq!(database.number(twice), 0, "events that are there twice");
}

/// Every table holds what is served, and each row once.
pub fn is_equal(it: &Millstream, database: &Database<'_>) {
    let mut last = String::new();
    until("the tables hold what is served", || {
        let (code, out, err) = it.command(&["verify", "clickhouse"]);
        last = format!("{out}{err}");
        println!("{last}");
        (code == 0).then_some(())
    });
    database.each_row_is_once();
    // Something was compared.
    let rows: u64 = database.number("SELECT count() FROM orders");
    assert!(rows > 10, "{last}");
}
