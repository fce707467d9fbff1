//! `millstream verify clickhouse` and `millstream rebuild clickhouse`: whether its tables hold what is
//! served, and filling them anew.
//!
//! # Meaning
//! Only the running process knows what is served, and what has been delivered: it is asked, and
//! compares ([`crate::sinks::Sink::verify`]). To rebuild, the tables are emptied here, as somebody
//! who may, and the process delivers everything once more beside what happens: current rows, and
//! changes that begin with one row per live key.

use serde_json::Value;

use super::Problems;
use super::ask::{self, Peer};
use super::chosen::{Chosen, wrong_flag};
use super::migrate::{named, runtime};
use super::out::Out;
use super::typed::{OfClickHouse, Rebuild};
use crate::config::sinks::Sort;
use crate::report::Report;
use crate::sinks::clickhouse::{Server, Told, migrate};

/// Compares, and says what differs.
pub fn main(it: &OfClickHouse, chosen: &Chosen) -> Result<(), Problems> {
    let settings = chosen.folder(&it.folder)?;
    let (name, _) = named(&settings, it.sink.as_deref())?.ok_or_else(no_such)?;
    let one = |it: Report| vec![it];
    let peer = running(&settings.data_dir).map_err(one)?;
    let of = [("sink", Some(name.clone())), ("do", Some("verify".into()))];
    let path = format!("/v1/admin/sinks/do{}", ask::query(&of));
    let found = peer.post_slowly(&path).map_err(one)?;
    print(&found, it.folder.json).map_err(one)?;
    if found["equal"] == true {
        return Ok(());
    }
    Err(vec![Report {
        code: "commands/not-equal",
        what: "found what ClickHouse has otherwise than it is served".into(),
        at: vec![("sink", name), ("epoch", found["epoch"].to_string())],
        why: "the tables above that are not equal, and their keys".into(),
        effect: "nothing was changed; what is served is right".into(),
        fix:
            "`millstream rebuild clickhouse` fills tables of rows and changes anew; the changes of \
              before are gone then, and events, which are told once, are not filled"
                .into(),
    }])
}

fn print(found: &Value, json: bool) -> Result<(), Report> {
    let mut out = Out::default();
    if json {
        out.line(found.to_string())?;
        return out.end();
    }
    let at = found["epoch"].as_i64().map(|it| schemas::time::rfc3339(it * 1_000));
    out.line(format!("at {} (epoch {})", at.unwrap_or_default(), found["epoch"]))?;
    for it in found["tables"].as_array().into_iter().flatten() {
        let equal = if it["equal"] == true { "equal" } else { "NOT EQUAL" };
        let (table, digest) = (it["table"].as_str().unwrap_or(""), &it["digest"]);
        let since = match it["changed_since"].as_u64() {
            Some(n) if n > 0 => format!("  {n} changed since"),
            _ => String::new(),
        };
        let digest = digest.as_str().or(it["counted"].as_str()).unwrap_or("");
        let (rows, there) = (&it["rows"], &it["rows_there"]);
        out.line(format!(
            "{table:<26} {rows:>10} rows  {there:>10} there  {digest}  {equal}{since}"
        ))?;
        for (list, words) in [("missing", "missing"), ("differing", "other")] {
            for key in it[list].as_array().into_iter().flatten() {
                out.line(format!("  {words}: {}", key.as_str().unwrap_or("")))?;
            }
            let n = it[format!("n_{list}")].as_u64().unwrap_or(0);
            let named = it[list].as_array().map_or(0, Vec::len) as u64;
            if n > named {
                out.line(format!("  {words}: {} more", n - named))?;
            }
        }
    }
    out.end()
}

/// Empties the tables of the views and has everything of them delivered anew; events stay.
pub fn rebuild(it: &Rebuild, chosen: &Chosen) -> Result<(), Problems> {
    let one = |it: Report| vec![it];
    let settings = chosen.folder(&it.folder)?;
    let (name, own) = named(&settings, it.server.sink.as_deref())?.ok_or_else(no_such)?;
    let to = super::migrate::settings(&it.server, chosen)?;
    for (flag, sinks, found) in
        [("--url", &own.url, &to.url), ("--database", &own.database, &to.database)]
    {
        // What is emptied must be what is filled.
        if sinks != found {
            return Err(wrong_flag(flag, &format!("the sink's, {sinks:?}"), &format!("{found:?}")));
        }
    }
    // What the sink does not take nobody fills again.
    let mut tables = Vec::new();
    for sink in settings.sinks.iter().filter(|it| it.name == name) {
        for def in crate::engine::definitions() {
            if sink.views.is_empty() || sink.views.iter().any(|it| it == def.name) {
                tables.extend(sink.take.iter().filter_map(|sort| match sort {
                    Sort::Rows => Some(format!("{}_rows", def.name)),
                    Sort::Changes => Some(format!("{}_changes", def.name)),
                    Sort::Events => None,
                }));
            }
        }
    }
    let told = |it: Told| it.report(&to);
    let peer = running(&settings.data_dir).map_err(one)?;
    let runtime = runtime().map_err(one)?;
    let server = Server::connect(&to).map_err(|it| vec![told(it)])?;
    let writer = crate::run::writer_of(&settings.data_dir).map_err(one)?;
    runtime.block_on(migrate::empty(&server, &writer, tables)).map_err(|it| vec![told(it)])?;
    let of = |what: &str| {
        let of = [("sink", Some(name.clone())), ("do", Some(what.to_string()))];
        format!("/v1/admin/sinks/do{}", ask::query(&of))
    };
    peer.post(&of("anew")).map_err(one)?;
    let found = peer.post(&of("resume")).map_err(one)?;
    let mut out = Out::default();
    let words = match it.folder.json {
        true => found.to_string(),
        false => format!(
            "the tables of {} are empty, and are filled; `millstream verify clickhouse` says when \
             they hold what is served",
            to.database
        ),
    };
    out.line(words).map_err(one)?;
    out.end().map_err(one)
}

fn running(data_dir: &std::path::Path) -> Result<Peer, Report> {
    ask::running(data_dir).ok_or_else(|| Report {
        code: "commands/not-running",
        what: "cannot ask the process that serves: none runs with this data folder".into(),
        at: vec![("folder", data_dir.display().to_string())],
        why: "what is served, and what has been delivered, only it knows".into(),
        effect: "nothing was changed".into(),
        fix: "start it (`millstream run`), or name its folder with --data-dir".into(),
    })
}

fn no_such() -> Problems {
    vec![super::migrate::no_clickhouse()]
}
