//! Whether the tables are as they must be, and who writes there.
//!
//! # Meaning
//! A database belongs to one deployment, and in it to the process that came last: each takes the next
//! turn in `_writers` at its first connection, and looks before an insert, unless it has half a second
//! before ([`LOOK`], by its own clock, which only moves forward), whether it still is the last. A process
//! that was superseded (a copy of a data folder, started by mistake) is refused; one of another deployment
//! never begins.
//!
//! Turns are numbers, each one more than the greatest that the server shows; no clock of a server or of
//! ours decides. Of two that took the same turn at once the greater name is the last: the other is told at
//! its first look. A server whose replicas show different turns for a while decides as late as they agree.
//!
//! # When it fails
//! What two copies of one folder have written before one of them was stopped is of one incarnation
//! and cannot be told apart by the views: `millstream verify clickhouse` tells, `rebuild` mends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemas::clickhouse::MIGRATIONS;
use serde_json::Value;

use super::coding::Layout;
use super::faults;
use super::server::{Server, Told};
use super::views;
use crate::clock;

/// Whether it is still ours is looked at so often: a question costs the server as much as a small
/// insert.
const LOOK: Duration = Duration::from_millis(500);

/// Who writes.
pub struct Writer {
    /// The deployment: a text made from its secret, not the secret.
    deployment: String,
    /// This process.
    process: String,
    claimed: AtomicBool,
    /// When it was the last to have come.
    seen: Mutex<Option<Instant>>,
}

impl Writer {
    /// This process of a deployment.
    pub fn new(deployment: &str, process: &str) -> Writer {
        let claimed = AtomicBool::new(false);
        let (deployment, process) = (deployment.into(), process.into());
        Writer { deployment, process, claimed, seen: Mutex::default() }
    }
}

pub(super) fn text<'v>(row: &'v Value, name: &str) -> &'v str {
    row[name].as_str().unwrap_or("")
}

/// Says that we write here, at the first connection; and that nobody else does.
pub(super) async fn claim(server: &Server, writer: &Writer) -> Result<(), Told> {
    if writer.claimed.load(SeqCst) {
        return still_ours(server, writer).await;
    }
    of_nobody_else(server, writer).await?;
    let sql = format!(
        "INSERT INTO _writers (deployment, writer, turn) SETTINGS async_insert = 0, \
         insert_deduplicate = 0 SELECT '{}', '{}', max(turn) + 1 FROM _writers",
        writer.deployment, writer.process
    );
    server.run(&sql).await?;
    writer.claimed.store(true, SeqCst);
    Ok(())
}

/// Whether no other deployment has ever written here.
pub(super) async fn of_nobody_else(server: &Server, writer: &Writer) -> Result<(), Told> {
    let sql = "SELECT DISTINCT deployment FROM _writers WHERE deployment != {ours:String} LIMIT 1";
    let others = server.rows(sql, &[("ours", &writer.deployment)]).await?;
    let Some(it) = others.first() else { return Ok(()) };
    let why = format!(
        "expected the deployment {}, found what {} has written",
        writer.deployment,
        text(it, "deployment")
    );
    Err(Told::configuration(faults::WRITER, why))
}

/// The same, if nobody has looked just now.
pub(super) async fn still_ours_lately(server: &Server, writer: &Writer) -> Result<(), Told> {
    let seen = *writer.seen.lock();
    match seen.is_some_and(|it| clock::since(it) < LOOK) {
        true => Ok(()),
        false => still_ours(server, writer).await,
    }
}

/// Whether we still are the one that came last.
pub(super) async fn still_ours(server: &Server, writer: &Writer) -> Result<(), Told> {
    let sql = "SELECT writer FROM _writers ORDER BY turn DESC, writer DESC LIMIT 1";
    let rows = server.rows(sql, &[]).await?;
    let last = rows.first().map_or("", |it| text(it, "writer"));
    if last == writer.process {
        *writer.seen.lock() = Some(clock::monotonic());
        return Ok(());
    }
    let (code, why) = match last {
        "" => (
            faults::TABLES,
            "what this process has written into `_writers` is gone: the tables were emptied".into(),
        ),
        other => (faults::WRITER, format!("expected to be the last to come, found {other}")),
    };
    Err(Told::configuration(code, why))
}

/// Whether the tables are those of this version: migrations, engines, windows, columns.
pub(super) async fn look(
    server: &Server,
    layouts: impl Iterator<Item = &Layout>,
) -> Result<(), Told> {
    migrations(server).await?;
    let tables = engines(server).await?;
    let columns = columns(server).await?;
    views::look(server).await?;
    for layout in layouts {
        let wrong =
            |why: String| Told::configuration(faults::TABLES, format!("{}: {why}", layout.table));
        let engine =
            tables.get(&layout.table).ok_or_else(|| wrong("there is no such table".into()))?;
        if !engine.contains("ReplacingMergeTree") {
            let why = format!("expected a ReplacingMergeTree, found {engine}");
            return Err(wrong(why));
        }
        if window(engine) == Some(0) {
            return Err(wrong(
                "it remembers no tokens of inserts: non_replicated_deduplication_window is 0"
                    .into(),
            ));
        }
        for column in &layout.columns {
            let expected = column.sql_type();
            match columns.get(&(layout.table.clone(), column.name.to_string())) {
                Some(found) if *found == expected => {}
                found => {
                    let found = found.map_or("no such column", String::as_str);
                    let why = format!("column {}: expected {expected}, found {found}", column.name);
                    return Err(wrong(why));
                }
            }
        }
    }
    Ok(())
}

/// Tokens that a table remembers, by its definition; none: a replicated one, which does by default.
pub(super) fn window(engine: &str) -> Option<u64> {
    let replicated = engine.starts_with("Replicated") || engine.starts_with("Shared");
    let name = if replicated {
        "replicated_deduplication_window = "
    } else {
        "non_replicated_deduplication_window = "
    };
    let said = engine
        .split(name)
        .nth(1)
        .and_then(|it| it.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok());
    said.or((!replicated).then_some(0))
}

async fn migrations(server: &Server) -> Result<(), Told> {
    let sql = "SELECT name FROM _migrations WHERE is_whole ORDER BY name";
    let rows = server.rows(sql, &[]).await?;
    let applied: Vec<&str> = rows.iter().map(|it| text(it, "name")).collect();
    match MIGRATIONS.iter().find(|it| !applied.contains(&it.0)) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Told::configuration(faults::TABLES, format!("migration {name} is not applied")))
        }
    }
}

async fn engines(server: &Server) -> Result<BTreeMap<String, String>, Told> {
    let sql = "SELECT name, engine_full FROM system.tables WHERE database = {database:String}";
    let rows = server.rows(sql, &[("database", server.database())]).await?;
    Ok(rows.iter().map(|it| (text(it, "name").into(), text(it, "engine_full").into())).collect())
}

pub(super) async fn columns(server: &Server) -> Result<BTreeMap<(String, String), String>, Told> {
    let sql = "SELECT table, name, type FROM system.columns WHERE database = {database:String}";
    let rows = server.rows(sql, &[("database", server.database())]).await?;
    let column =
        |it: &Value| ((text(it, "table").into(), text(it, "name").into()), text(it, "type").into());
    Ok(rows.iter().map(column).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_from_the_definition() {
        let plain = "ReplacingMergeTree(v) ORDER BY a SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192";
        assert_eq!(window(plain), Some(1_000));
        assert_eq!(
            window("ReplacingMergeTree(v) ORDER BY a SETTINGS index_granularity = 8192"),
            Some(0)
        );
        assert_eq!(window("ReplicatedReplacingMergeTree('/a', 'b', v) ORDER BY a"), None);
        assert_eq!(
            window(
                "ReplicatedReplacingMergeTree('/a', 'b', v) SETTINGS replicated_deduplication_window = 0"
            ),
            Some(0)
        );
    }
}
