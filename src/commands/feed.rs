//! `millstream feed`: where the feeds stand, and where a topic is to begin at the next start.
//!
//! # Meaning
//! A reset is a decision that is kept in the data folder ([`crate::ingest::resets`]); the next
//! start does it. With a process running it is told there, and goes on reading as before.

use serde_json::{Value, json};

use super::Problems;
use super::ask;
use super::chosen::Chosen;
use super::folder;
use super::out::{Out, Reader};
use super::typed::{Feed, ResetFeed};
use crate::config::Settings;
use crate::ingest::resets::{self, Reset, Resets, To};
use crate::messages::BookLine;
use crate::report::Report;
use crate::store;

/// Lists or resets.
pub fn main(what: &Feed, chosen: &Chosen) -> Result<(), Problems> {
    let (Feed::List { folder } | Feed::Reset(ResetFeed { folder, .. })) = what;
    let settings = chosen.folder(folder)?;
    let done = match what {
        Feed::List { folder } => list(&settings, folder.json),
        Feed::Reset(it) => reset(&settings, it),
    };
    done.map_err(|it| vec![it])
}

/// A line per partition, with what was decided about it and is not done yet.
pub fn lines(lines: &[BookLine], resets: &[Reset]) -> Vec<Value> {
    let line = |it: &BookLine| {
        json!({
            "feed": it.feed, "partition": it.partition, "identity": it.identity,
            "first": it.first, "next": it.next, "counts": it.counts,
            "begins_at": resets::pending(resets, it).map(|it| it.to.to_string()),
        })
    };
    let mut lines: Vec<&BookLine> = lines.iter().collect();
    lines.sort_by_key(|it| (&it.feed, it.partition));
    lines.into_iter().map(line).collect()
}

/// What was decided, and the lines that it concerns.
pub fn decided((reset, of): &(Reset, Vec<BookLine>)) -> Value {
    json!({"feed": reset.feed, "to": reset.to.to_string(), "number": reset.number,
           "partitions": lines(of, std::slice::from_ref(reset))})
}

fn list(settings: &Settings, json: bool) -> Result<(), Report> {
    let found: Vec<Value> = match ask::running(&settings.data_dir) {
        Some(peer) => peer.get("/v1/admin/feeds")?.as_array().cloned().unwrap_or_default(),
        None => {
            let _looked = folder::look(settings)?;
            let resets = Resets::open(&settings.data_dir)?.all();
            lines(&store::lines(&settings.data_dir)?, &resets)
        }
    };
    let mut out = Out::default();
    for it in &found {
        let reader = if json { out.line(it.to_string())? } else { out.line(line(it))? };
        if reader == Reader::Gone {
            return Ok(());
        }
    }
    if found.is_empty() && !json {
        out.line("none")?;
    }
    out.end()
}

fn reset(settings: &Settings, it: &ResetFeed) -> Result<(), Report> {
    let running = ask::running(&settings.data_dir);
    let done = match &running {
        Some(peer) => {
            let partition = it.partition.map(|it| it.to_string());
            let of = [
                ("feed", Some(it.feed.clone())),
                ("to", Some(it.to.to_string())),
                ("partition", partition),
            ];
            peer.post(&format!("/v1/admin/feeds/reset{}", ask::query(&of)))?
        }
        None => {
            let _taken = folder::take(settings)?;
            let known = store::lines(&settings.data_dir)?;
            let resets = Resets::open(&settings.data_dir)?;
            decided(&resets.decide(&known, &it.feed, it.partition, it.to.clone())?)
        }
    };
    let mut out = Out::default();
    if it.folder.json {
        out.line(done.to_string())?;
        return out.end();
    }
    for it in done["partitions"].as_array().into_iter().flatten() {
        out.line(line(it))?;
    }
    out.line(match running {
        Some(_) => {
            "done at the next start; the running process reads as before: end it, start again"
        }
        None => "done at the next start",
    })?;
    out.end()
}

fn line(it: &Value) -> String {
    let text = |key: &str| it[key].as_str().unwrap_or("").to_string();
    let place = format!("{} {}", text("feed"), it["partition"]);
    let decided = match it["begins_at"].as_str() {
        Some(to) => format!("  begins at the next start: {to}"),
        None => String::new(),
    };
    let counts = &it["counts"];
    format!(
        "{place:<32} from {:>10}  next {:>10}  read {:>10}  lost {:>6}  {}{decided}",
        it["first"],
        it["next"],
        counts["read"],
        counts["lost"],
        text("identity"),
    )
}

/// A place, as typed.
pub fn place(text: &str) -> Result<To, String> {
    To::try_from(text.to_string())
}
