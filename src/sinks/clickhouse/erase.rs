//! What the tables have of a customer who was erased goes.
//!
//! In: a tenant and a customer's id. Out: how many rows were removed ([`Removed`]).
//!
//! # Meaning
//! A row is theirs if it names them ([`NAMES`], [`LISTS`]), if it is about an order, a case or an
//! intent of which any event or row that names them is about ([`THINGS`]), or if it is of a key that
//! has no row any more and named them once, or went with them: what a key itself says (an address) goes
//! with the last that was there. Tables are known by their columns, so that those of views that are no
//! longer taken are searched, too; tables that are not ours are left alone.
//!
//! # Invariants
//! - What does not name them goes first: done half, a second time finds what is left.
//! - One statement is about at most [`KEYS_MAX`] keys, [`TEXT_MAX`] bytes of them, of one table; the
//!   next follows when the server has finished it. None begins where one is under way: what took longer
//!   than an attempt may is not asked for twice.
//!
//! # Why this way
//! `ALTER TABLE … DELETE` writes parts anew without the rows; a lightweight `DELETE` would hide them
//! until a merge that may never come. Parts are replaced one after the other: for a moment a reader may
//! see of one key an older row, which it saw before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::faults;
use super::fit::{columns, text};
use super::server::{Server, Told};
use crate::messages::Epoch;

/// Keys that one statement is about, at most.
pub const KEYS_MAX: usize = 500;
/// Their bytes in it, about: the server reads statements of up to 256 KiB.
const TEXT_MAX: usize = 48 << 10;

/// Columns with a customer's id.
const NAMES: [&str; 1] = ["customer"];
/// Columns with JSON that quotes ids.
const LISTS: [&str; 5] = ["customers", "members", "persons", "identifiers", "by_hand"];
/// What else a row may be about: the column, how types of events about it begin, and of whose tables
/// the column says that (none: of all).
const THINGS: [(&str, &str, Option<&str>); 3] = [
    ("order", "order.", None),
    ("case", "case.", None),
    ("message", "message.", Some("notifications")),
];

/// The table of events.
const EVENTS: &str = "events_rows";
/// The view that says who was erased: it stays.
const ERASURES: &str = "erasures";

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    /// Rows of all tables; each version that was there is one.
    pub(super) rows: u64,
    /// Of these, events.
    pub(super) events: u64,
}

/// A table of ours, as its columns show it.
struct Rows {
    name: String,
    /// Whether a row names them.
    names: Option<String>,
    /// The column of what it is about, and which of [`THINGS`] that is.
    about: Option<(&'static str, usize)>,
    /// Of rows by key: whether the newest says that there is none any more.
    is_gone: &'static str,
}

/// A text as the server reads it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Some texts, in pieces that one statement may hold.
fn pieces<'t>(all: impl IntoIterator<Item = &'t String>) -> Vec<String> {
    let mut pieces: Vec<(String, usize)> = Vec::new();
    for it in all {
        let it = literal(it);
        match pieces.last_mut() {
            Some((piece, n)) if *n < KEYS_MAX && piece.len() + it.len() < TEXT_MAX => {
                piece.push_str(", ");
                piece.push_str(&it);
                *n += 1;
            }
            _ => pieces.push((it, 1)),
        }
    }
    pieces.into_iter().map(|it| it.0).collect()
}

/// The tables of our views, by their columns.
fn tables(columns: &BTreeMap<(String, String), String>, customer: &str) -> Vec<Rows> {
    let names: BTreeSet<&String> = columns.keys().map(|it| &it.0).collect();
    let quoted = Value::from(customer).to_string();
    let of = |table: &String| {
        let has = |column: &str| columns.contains_key(&(table.clone(), column.to_string()));
        let is_gone = match table.strip_suffix("_rows").or(table.strip_suffix("_changes"))? {
            ERASURES => return None,
            _ if table.ends_with("_rows") && has("is_deleted") => {
                "argMax(is_deleted, row_version) = 1"
            }
            _ if table.ends_with("_changes") && has("diff") => {
                "argMax(diff, (incarnation, epoch)) = -1"
            }
            _ => return None,
        };
        if !has("tenant") || !has("key_text") {
            return None;
        }
        let named = NAMES.iter().filter(|it| has(it));
        let named = named.map(|it| format!("ifNull(`{it}` = {}, 0)", literal(customer)));
        let lists = LISTS.iter().filter(|it| has(it));
        let lists = lists.map(|it| format!("position(`{it}`, {}) > 0", literal(&quoted)));
        let names: Vec<String> = named.chain(lists).collect();
        let names = (!names.is_empty()).then(|| format!("({})", names.join(" OR ")));
        let about = THINGS.iter().position(|(column, _, only)| {
            has(column) && only.is_none_or(|view| table.starts_with(view))
        });
        let about = about.map(|it| (THINGS[it].0, it));
        (names.is_some() || about.is_some()).then(|| Rows {
            name: table.clone(),
            names,
            about,
            is_gone,
        })
    };
    names.into_iter().filter_map(of).collect()
}

/// Whether an event names them.
fn event_names(customer: &str) -> String {
    let is = |field: &str| {
        format!("JSONExtractString(event, 'data', '{field}') = {}", literal(customer))
    };
    format!("({} OR {})", is("customer"), is("other"))
}

/// Removes what there is. `epoch`: of the row that says that they were erased, that of all that went
/// with it.
pub(super) async fn erase(
    server: &Server,
    (tenant, customer): (&str, &str),
    epoch: Epoch,
    removed: &mut Removed,
) -> Result<(), Told> {
    let columns = columns(server).await?;
    let tables = tables(&columns, customer);
    let has_events = columns.contains_key(&(EVENTS.to_string(), "event".to_string()));
    let (tenant, event_names) = (format!("tenant = {}", literal(tenant)), event_names(customer));

    // What is theirs besides what names them.
    let mut things: [BTreeSet<String>; THINGS.len()] = Default::default();
    for it in &tables {
        if let (Some(names), Some((column, n))) = (&it.names, it.about) {
            let (table, not_empty) = (&it.name, format!("notEmpty(ifNull(`{column}`, ''))"));
            let from = format!(
                "`{column}` AS it FROM `{table}` WHERE {tenant} AND {names} AND {not_empty}"
            );
            things[n].extend(texts(server, &from).await?);
        }
    }
    for (n, (field, kind, _)) in THINGS.iter().enumerate().filter(|_| has_events) {
        let thing = format!("JSONExtractString(event, 'data', '{field}')");
        let from = format!(
            "{thing} AS it FROM {EVENTS} WHERE {tenant} AND startsWith(type, '{kind}') AND {event_names} AND it != ''"
        );
        things[n].extend(texts(server, &from).await?);
    }

    // Rows about these that do not name them: they can be found as long as others do.
    for it in &tables {
        let Some((column, n)) = it.about else { continue };
        let is_there = if it.name.ends_with("_rows") { "is_deleted = 0" } else { "diff = 1" };
        let names = it.names.as_ref().map_or(String::new(), |it| format!(" AND NOT {it}"));
        for some in pieces(&things[n]) {
            let such = format!("{tenant} AND `{column}` IN ({some}) AND {is_there}{names}");
            remove(server, &it.name, &such, removed).await?;
        }
    }
    for (n, (field, kind, _)) in THINGS.iter().enumerate().filter(|_| has_events) {
        for some in pieces(&things[n]) {
            let such = format!(
                "{tenant} AND startsWith(type, '{kind}') AND JSONExtractString(event, 'data', '{field}') IN ({some}) \
                 AND NOT {event_names}"
            );
            remove(server, EVENTS, &such, removed).await?;
        }
    }

    // Rows that name them, and all of keys that are gone.
    for it in &tables {
        let table = &it.name;
        let mut keys = BTreeSet::new();
        if let Some(names) = &it.names {
            let from = format!("key_text AS it FROM `{table}` WHERE {tenant} AND {names}");
            keys.extend(texts(server, &from).await?);
        }
        if table.ends_with("_rows") {
            // The server may have taken what named them together with what says that it is gone.
            let from = format!(
                "key_text AS it FROM `{table}` WHERE {tenant} AND is_deleted = 1 AND epoch = {epoch}"
            );
            keys.extend(texts(server, &from).await?);
        }
        let names = it.names.as_deref().unwrap_or("0");
        for some in pieces(&keys) {
            let from = format!(
                "key_text AS it FROM `{table}` WHERE {tenant} AND key_text IN ({some}) \
                 GROUP BY key_text HAVING {}",
                it.is_gone
            );
            let gone = texts(server, &from).await?;
            let gone = pieces(&gone).into_iter().map(|it| format!(" OR key_text IN ({it})"));
            let gone: String = gone.collect();
            let such = format!("{tenant} AND key_text IN ({some}) AND ({names}{gone})");
            remove(server, table, &such, removed).await?;
        }
    }
    if has_events {
        remove(server, EVENTS, &format!("{tenant} AND {event_names}"), removed).await?;
    }
    Ok(())
}

/// The different texts of a question.
async fn texts(server: &Server, from: &str) -> Result<BTreeSet<String>, Told> {
    let rows = server.rows(&format!("SELECT DISTINCT {from}"), &[]).await?;
    Ok(rows.iter().map(|it| text(it, "it").to_string()).collect())
}

/// How many there are.
async fn count(server: &Server, from: &str) -> Result<u64, Told> {
    let rows = server.rows(&format!("SELECT count() AS n FROM {from}"), &[]).await?;
    let n = rows.first().and_then(|it| it["n"].as_u64());
    n.ok_or_else(|| Told::unknown("a count without a number".into()))
}

/// Removes such rows of a table.
async fn remove(
    server: &Server,
    table: &str,
    such: &str,
    removed: &mut Removed,
) -> Result<(), Told> {
    let n = count(server, &format!("`{table}` WHERE {such}")).await?;
    if n == 0 {
        return Ok(());
    }
    let under_way = format!(
        "system.mutations WHERE database = currentDatabase() AND table = {} AND NOT is_done",
        literal(table)
    );
    if count(server, &under_way).await? > 0 {
        let why = format!(
            "{table}: rows of it are being changed or removed; what is asked for next waits"
        );
        return Err(Told::new(None, faults::BUSY, why));
    }
    // Counted before: what takes longer than an attempt may is done by the server all the same.
    let before = *removed;
    removed.rows += n;
    removed.events += if table == EVENTS { n } else { 0 };
    let sql = format!("ALTER TABLE `{table}` DELETE WHERE {such} SETTINGS mutations_sync = 2");
    let done = server.run(&sql).await;
    if done.as_ref().is_err_and(|it| it.fault.is_some()) {
        *removed = before;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is put into statements stays a text there, and pieces are bounded. Method: ids
    /// that end a text, many keys, long keys.
    #[test]
    fn texts_stay_texts() {
        assert_eq!(literal(r"a'b\'"), r"'a\'b\\\''");
        let many: Vec<String> = (0..1_234).map(|it| format!("k{it}")).collect();
        let made = pieces(&many);
        let sizes: Vec<usize> = made.iter().map(|it| it.split(", ").count()).collect();
        assert_eq!(sizes, [KEYS_MAX, KEYS_MAX, 234]);
        let long: Vec<String> = (0..100).map(|_| "x".repeat(1 << 10)).collect();
        assert!(pieces(&long).iter().all(|it| it.len() <= TEXT_MAX));
        assert_eq!(pieces(&[]).len(), 0);
    }

    /// Goal: tables are known by their columns: those that say something of a customer, not those
    /// that count, the facts, or somebody else's. Method: every view's columns, and a foreign table.
    #[test]
    fn tables_are_known_by_their_columns() {
        let mut columns = BTreeMap::new();
        let mut add = |table: &str, names: &[&str]| {
            for it in names {
                columns.insert((table.to_string(), it.to_string()), "String".to_string());
            }
        };
        for (_, text) in schemas::clickhouse::MIGRATIONS {
            for statement in schemas::clickhouse::statements(text) {
                let Some(table) = schemas::clickhouse::about(&statement) else { continue };
                let quoted: Vec<&str> = statement.split('`').skip(1).step_by(2).collect();
                if statement.starts_with("CREATE TABLE") {
                    add(table, &quoted);
                }
                if statement.contains("row_version") {
                    add(table, &["row_version"]);
                }
            }
        }
        add("theirs_rows", &["customer"]);
        let found = tables(&columns, "C");
        let of = |view: &str| found.iter().filter(|it| it.name.starts_with(view)).count();
        for (view, n) in [
            ("customers_", 2),
            ("orders_rows", 1),
            ("orders_changes", 1),
            ("cases_", 2),
            ("claims_", 2),
            ("notifications_", 2),
            ("identifiers_", 2),
            ("identity_conflicts_", 2),
            ("profiles_", 2),
            ("profile_health_", 2),
            ("health_", 2),
            ("erasures", 0),
            ("volume", 0),
            ("orders_by_status", 0),
            ("queue_load", 0),
            ("theirs", 0),
            ("_", 0),
        ] {
            assert_eq!(of(view), n, "{view}");
        }
        let claims = found.iter().find(|it| it.name == "claims_rows").unwrap();
        assert!(claims.names.is_none() && claims.about == Some(("case", 1)));
        let visible = found.iter().find(|it| it.name == "order_visibility_rows").unwrap();
        assert_eq!(visible.about, Some(("order", 0)), "its message is a text for the customer");
    }
}
