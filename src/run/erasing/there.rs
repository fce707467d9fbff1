//! What receivers had of erased customers, and removed: the part of the certificate that sinks write.
//!
//! # Meaning
//! A line for each sink that can remove, and each customer: how many rows went, all in all, by which
//! batch it was asked for last, when that was done. It is durable before the batch is forgotten here.
//!
//! # State
//! Some hundred bytes per erased customer and sink, in memory and in a file of its own ([`FILE`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::segments;
use crate::sinks::{Certificates, RemovedThere};

/// In the data folder.
pub const FILE: &str = "erasure-sinks.json";

/// What one sink's receiver had of one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtSink {
    /// The sink's name.
    pub sink: String,
    /// Whose customer.
    pub tenant: String,
    /// The customer's id.
    pub customer: String,
    /// The batch by which it was asked for last.
    pub by: String,
    /// Rows that were removed, all in all: each version of one is one.
    pub rows: u64,
    /// Of these, events.
    pub events: u64,
    /// When it was done last, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// What the file in a data folder says.
pub fn read(dir: &Path) -> Result<Vec<AtSink>, Report> {
    let path = dir.join(FILE);
    let cannot = |why: std::io::Error| segments::cannot_read(&path, &why);
    match segments::read_checked(&path).map_err(cannot)? {
        None => Ok(Vec::new()),
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|why| cannot(std::io::Error::other(why.to_string()))),
    }
}

/// The file, of all sinks of a process.
pub(crate) struct There {
    path: PathBuf,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    all: Mutex<All>,
}

struct All {
    lines: Vec<AtSink>,
    written: bool,
}

impl There {
    pub(crate) fn open(
        dir: &Path,
        now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<Arc<There>, Report> {
        let all = Mutex::new(All { lines: read(dir)?, written: true });
        Ok(Arc::new(There { path: dir.join(FILE), now_ms, all }))
    }

    /// The lines of one sink.
    pub(crate) fn of(self: &Arc<There>, sink: &str) -> Arc<dyn Certificates> {
        Arc::new(One { sink: sink.into(), there: Arc::clone(self) })
    }
}

struct One {
    sink: String,
    there: Arc<There>,
}

impl Certificates for One {
    fn has(&self, by: &str, tenant: &str, customer: &str) -> bool {
        let all = self.there.all.lock();
        all.lines.iter().any(|it| {
            (&*it.sink, &*it.tenant, &*it.customer, &*it.by) == (&*self.sink, tenant, customer, by)
        })
    }

    fn note(&self, it: RemovedThere) {
        let at_ms = (self.there.now_ms)();
        let RemovedThere { tenant, customer, by, rows, events } = it;
        let all = &mut *self.there.all.lock();
        all.written = false;
        let same = |it: &&mut AtSink| {
            (&it.sink, &it.tenant, &it.customer) == (&self.sink, &tenant, &customer)
        };
        match all.lines.iter_mut().find(same) {
            Some(it) => {
                (it.by, it.at_ms) = (by, at_ms);
                it.rows += rows;
                it.events += events;
            }
            None => {
                let sink = self.sink.clone();
                all.lines.push(AtSink { sink, tenant, customer, by, rows, events, at_ms });
            }
        }
    }

    fn write(&self) -> Result<(), Report> {
        let all = &mut *self.there.all.lock();
        if all.written {
            return Ok(());
        }
        let cannot = |why: std::io::Error| segments::cannot_write(&self.there.path, &why, true);
        let bytes = serde_json::to_vec_pretty(&all.lines).expect("plain fields");
        segments::replace_checked(&self.there.path, &bytes).map_err(cannot)?;
        all.written = true;
        Ok(())
    }

    fn events(&self) -> u64 {
        let all = self.there.all.lock();
        all.lines.iter().filter(|it| it.sink == self.sink).map(|it| it.events).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what was noted outlives the process; the same customer is asked for once a batch, and
    /// what went is added up. Method: two batches, two sinks, the file read again.
    #[test]
    fn what_was_removed_is_written_down() {
        let dir = std::env::temp_dir().join(format!("erasure-there-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let there = || There::open(&dir, Arc::new(|| 7)).unwrap();
        let gone = |by: &str, rows| RemovedThere {
            tenant: "t".into(),
            customer: "C".into(),
            by: by.into(),
            rows,
            events: 1,
        };
        let one = there().of("one");
        assert!(!one.has("b-1", "t", "C"));
        one.note(gone("b-1", 3));
        assert!(one.has("b-1", "t", "C") && !one.has("b-2", "t", "C") && !one.has("b-1", "u", "C"));
        assert_eq!(read(&dir).unwrap(), [], "not yet");
        one.write().unwrap();
        let again = there();
        assert!(again.of("one").has("b-1", "t", "C") && !again.of("other").has("b-1", "t", "C"));
        again.of("one").note(gone("b-2", 2));
        again.of("other").note(gone("b-9", 1));
        again.of("other").write().unwrap();
        let all = read(&dir).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((&*all[0].by, all[0].rows, all[0].events, all[0].at_ms), ("b-2", 5, 2, 7));
        assert_eq!(again.of("one").events(), 2);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
