//! Tables made and changed: the migrations of `schemas/clickhouse/`, each once, in their order.
//!
//! In: a server on which we may make tables. Out: what was done, or would be.
//!
//! # Meaning
//! Which migrations a database has is written in its table `_migrations`, each with the digest of
//! its text. A migration that was interrupted begins again: each of its statements may be run
//! twice. One of which something was dropped since is applied again, and with it every later one that
//! is about the same tables. A database that somebody else has made, or a later version, is refused
//! before anything is done (docs/decisions/tables-carried-forward.md).

use std::collections::{BTreeMap, BTreeSet};

use schemas::clickhouse::{MIGRATIONS, Migration, about, statements};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::faults;
use super::fit::{self, Writer};
use super::server::{Server, Told};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS _migrations (
    name String COMMENT 'Which.',
    digest String COMMENT 'SHA-256 of its text, so that another text of the same name is seen.',
    is_whole Bool COMMENT 'false: begun; it will be begun again.',
    version String COMMENT 'Which version of Millstream did it.',
    at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(name, is_whole)) COMMENT 'One per migration and state.'
) ENGINE = ReplacingMergeTree(at)
ORDER BY (name, is_whole, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Which migrations this database has.'";

/// What is to be done, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The migration.
    pub name: &'static str,
    /// Its statements.
    pub statements: Vec<String>,
    /// Of its text.
    digest: String,
}

/// What a database lacks.
pub async fn plan(server: &Server) -> Result<Vec<Step>, Told> {
    plan_of(server, MIGRATIONS).await
}

/// What a database lacks of these.
pub async fn plan_of(server: &Server, all: &[Migration]) -> Result<Vec<Step>, Told> {
    let (applied, tables) = applied(server).await?;
    for (name, digest) in &applied {
        let Some((_, text)) = all.iter().find(|it| it.0 == name) else {
            let why = format!("migration {name} is of a later version of Millstream");
            return Err(Told::configuration(faults::MIGRATE, why));
        };
        if *digest != digest_of(text) {
            let why = format!("migration {name} was applied with another text than this version's");
            return Err(Told::configuration(faults::MIGRATE, why));
        }
    }
    let mut again: BTreeSet<String> = BTreeSet::new();
    let mut steps = Vec::new();
    for (name, text) in all {
        let statements = statements(text);
        let of: Vec<&str> = statements.iter().filter_map(|it| about(it)).collect();
        // What is made again is as its first migration made it: the later ones are wanted, too.
        let dropped = of.iter().any(|it| !tables.contains(*it) || again.contains(*it));
        if !applied.contains_key(*name) || dropped {
            again.extend(of.iter().map(ToString::to_string));
            steps.push(Step { name, digest: digest_of(text), statements });
        }
    }
    Ok(steps)
}

/// Does what a plan says; tells each step before it is done.
pub async fn apply(
    server: &Server,
    plan: &[Step],
    tell: &mut dyn FnMut(&Step),
) -> Result<(), Told> {
    let database = server.database();
    server.run_on_server(&format!("CREATE DATABASE IF NOT EXISTS `{database}`")).await?;
    server.run(TABLE).await?;
    for step in plan {
        tell(step);
        note(server, step, false).await?;
        for it in &step.statements {
            server.run(it).await?;
        }
        note(server, step, true).await?;
    }
    Ok(())
}

/// Empties what is delivered anew: the marks, and these tables. Events stay: nobody
/// delivers them again; so does every table that is not ours. A database in which another
/// deployment has written is left as it is.
pub async fn empty(server: &Server, writer: &Writer, tables: Vec<String>) -> Result<(), Told> {
    let lacking = plan(server).await?;
    if let Some(it) = lacking.first() {
        let why = format!("migration {} is not applied: `millstream migrate` first", it.name);
        return Err(Told::configuration(faults::TABLES, why));
    }
    fit::of_nobody_else(server, writer).await?;
    for name in tables.into_iter().chain(["_progress".to_string()]) {
        server.run(&format!("TRUNCATE TABLE `{name}`")).await?;
    }
    Ok(())
}

async fn note(server: &Server, step: &Step, is_whole: bool) -> Result<(), Told> {
    // The token makes a repeat of this statement nothing; a migration that begins again says so.
    let sql = format!(
        "INSERT INTO _migrations (name, digest, is_whole, version) SETTINGS async_insert = 0, \
         insert_deduplicate = 0 VALUES ('{}', '{}', {is_whole}, '{}')",
        step.name,
        step.digest,
        env!("CARGO_PKG_VERSION")
    );
    server.run(&sql).await
}

fn digest_of(text: &str) -> String {
    Sha256::digest(text).iter().map(|it| format!("{it:02x}")).collect()
}

/// The migrations that a database has, with their digests; and its tables and views.
async fn applied(server: &Server) -> Result<(BTreeMap<String, String>, BTreeSet<String>), Told> {
    let database = server.database();
    let sql = format!("SELECT name FROM system.tables WHERE database = '{database}' LIMIT 1000");
    let tables = server.rows_of_server(&sql).await?;
    let name = |it: &Value| it["name"].as_str().unwrap_or("").to_string();
    let tables: BTreeSet<String> = tables.iter().map(name).collect();
    if tables.is_empty() {
        return Ok((BTreeMap::new(), tables));
    }
    if !tables.contains("_migrations") {
        let first = tables.first().map_or("", String::as_str);
        let why = format!(
            "expected an empty database or one of ours, found the table {first} and no _migrations"
        );
        return Err(Told::configuration(faults::MIGRATE, why));
    }
    let rows =
        server.rows("SELECT name, digest FROM _migrations FINAL WHERE is_whole", &[]).await?;
    let digest = |it: &Value| it["digest"].as_str().unwrap_or("").to_string();
    Ok((rows.iter().map(|it| (name(it), digest(it))).collect(), tables))
}
