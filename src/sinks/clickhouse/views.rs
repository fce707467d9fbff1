//! Whether materialized views on our tables count an insert that is repeated once.
//!
//! # Meaning
//! An insert whose answer was lost is made again under its token. Our tables know the token; what a
//! materialized view has made of the insert is known again only if the table that it fills remembers
//! tokens, too, or keeps one row per key (a ReplacingMergeTree). One that does neither counts twice: that
//! is told before the first insert, of views on views as well.
//!
//! # When it fails
//! A view that the writer may not see (it lies in a database of which he has no rights) cannot be looked
//! at: the log says so, and nothing is refused.

use std::collections::BTreeSet;

use schemas::clickhouse::WINDOW;
use serde_json::Value;

use super::faults;
use super::fit::{text, window};
use super::server::{Server, Told};

/// Views on views are followed so far.
const VIEWS_MAX: usize = 200;

/// A table: its database and its name.
type Table = (String, String);

/// Looks at every materialized view on a table of the database, and at those on what they fill.
pub(super) async fn look(server: &Server) -> Result<(), Told> {
    let sql = "SELECT name, dependencies_database, dependencies_table FROM system.tables \
               WHERE database = {database:String} AND notEmpty(dependencies_table)";
    let rows = server.rows(sql, &[("database", server.database())]).await?;
    let on = |it: &Value| (server.database().to_string(), text(it, "name").to_string());
    let mut waiting: Vec<(Table, Table)> =
        rows.iter().flat_map(|it| dependents(it).map(move |view| (on(it), view))).collect();
    let mut seen = BTreeSet::new();
    while let Some((source, view)) = waiting.pop() {
        if !seen.insert(view.clone()) || seen.len() > VIEWS_MAX {
            continue;
        }
        let Some(target) = target(server, &view).await? else {
            let (database, view) = view;
            tracing::warn!(database, view, "a materialized view cannot be looked at");
            continue;
        };
        let Some(found) = table(server, &target).await? else { continue };
        let engine = text(&found, "engine_full");
        if !engine.contains("ReplacingMergeTree") && window(engine).unwrap_or(WINDOW.into()) == 0 {
            let why = format!(
                "the materialized view {} on {} fills {}, which remembers no tokens of inserts: one \
                 that is repeated would count twice there (ALTER TABLE {} MODIFY SETTING \
                 non_replicated_deduplication_window = {WINDOW})",
                shown(&view),
                shown(&source),
                shown(&target),
                shown(&target),
            );
            return Err(Told::configuration(faults::TABLES, why));
        }
        waiting.extend(dependents(&found).map(|it| (target.clone(), it)));
    }
    Ok(())
}

/// What depends on a table.
fn dependents(row: &Value) -> impl Iterator<Item = Table> {
    let all = |name: &str| row[name].as_array().cloned().unwrap_or_default();
    let both = all("dependencies_database").into_iter().zip(all("dependencies_table"));
    both.map(|it| (plain(&it.0), plain(&it.1)))
}

fn plain(it: &Value) -> String {
    it.as_str().unwrap_or("").to_string()
}

fn shown((database, name): &Table) -> String {
    format!("`{database}`.`{name}`")
}

async fn table(server: &Server, (database, name): &Table) -> Result<Option<Value>, Told> {
    let sql = "SELECT engine_full, create_table_query, toString(uuid) AS uuid, \
               dependencies_database, dependencies_table FROM system.tables \
               WHERE database = {of:String} AND name = {name:String}";
    let rows = server.rows(sql, &[("of", database), ("name", name)]).await?;
    Ok(rows.into_iter().next())
}

/// The table that a materialized view fills: named by it, or its own.
async fn target(server: &Server, view: &Table) -> Result<Option<Table>, Told> {
    let Some(found) = table(server, view).await? else { return Ok(None) };
    Ok(Some(named(text(&found, "create_table_query")).unwrap_or_else(|| {
        let name = match text(&found, "uuid") {
            it if it.starts_with("00000000-") => format!(".inner.{}", view.1),
            it => format!(".inner_id.{it}"),
        };
        (view.0.clone(), name)
    })))
}

/// `CREATE MATERIALIZED VIEW a.b TO c.d (…) …`: c and d.
fn named(create: &str) -> Option<Table> {
    let mut rest = create.strip_prefix("CREATE MATERIALIZED VIEW ")?;
    name(&mut rest)?;
    let mut rest = rest.split_once(" TO ").filter(|it| !it.0.contains('('))?.1;
    name(&mut rest)
}

/// `a.b`, perhaps in backticks; what is behind it stays.
fn name(rest: &mut &str) -> Option<Table> {
    let database = part(rest)?;
    *rest = rest.strip_prefix('.')?;
    Some((database, part(rest)?))
}

fn part(rest: &mut &str) -> Option<String> {
    let (part, after) = match rest.strip_prefix('`') {
        Some(quoted) => quoted.split_once('`')?,
        None => {
            let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
            rest.split_at(end.unwrap_or(rest.len()))
        }
    };
    *rest = after;
    Some(part.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the table that a view fills is found in its definition, and only there.
    #[test]
    fn what_a_view_fills_is_read_from_its_definition() {
        let check = |create: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|it| (it.0.to_string(), it.1.to_string()));
            assert_eq!(named(create), expected, "{create}");
        };
        let begin = "CREATE MATERIALIZED VIEW";
        check(&format!("{begin} a.b TO c.d (`n` Int64) AS SELECT 1"), Some(("c", "d")));
        check(&format!("{begin} `a-1`.`b 2` TO `c-1`.`d e` (`n` Int64)"), Some(("c-1", "d e")));
        check(
            &format!("{begin} a.b (`n` Int64) ENGINE = SummingMergeTree AS SELECT ' TO c.d'"),
            None,
        );
        check("CREATE VIEW a.b AS SELECT 1", None);
    }
}
