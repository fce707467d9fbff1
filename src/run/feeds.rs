//! The feeds that a plan names, and how their records are read.

use std::path::Path;
use std::sync::Arc;

use schemas::mapping::Mapping;

use super::{Plan, kafka};
use crate::ingest::local_log;
use crate::messages::{Feed, Format, FormatOf};
use crate::report::Report;

pub(super) fn of(plan: &Plan) -> Result<Vec<Feed>, Report> {
    let mut feeds = Vec::new();
    if plan.log {
        let (name, format) = (local_log::FEED.into(), Format::Native);
        let (is_log, takes_own) = (true, false);
        feeds.push(Feed { name, mapping: None, format, is_log, takes_own, identity: None });
    }
    for source in &plan.sources {
        let format = match &source.mapping {
            Some(path) => Format::Mapped(Arc::new(mapping(path)?)),
            None => Format::Native,
        };
        let (name, mapping) = (source.name.clone(), mapping_name(source.mapping.as_deref()));
        // What was written out of a log is read back whole where nothing is sent or handed out.
        let takes_own = !plan.log && source.mapping.is_none();
        feeds.push(Feed { name, mapping, format, is_log: false, takes_own, identity: None });
    }
    Ok(feeds)
}

/// A retried record is read as its first feed is read, by the name of its mapping.
pub(super) fn formats(feeds: &[Feed], topics: &[kafka::Topics]) -> FormatOf {
    let of_topics = topics.iter().filter_map(|it| Some((it.mapping.clone()?, it.format.clone())));
    let named: Vec<(String, Format)> = feeds
        .iter()
        .filter_map(|feed| Some((feed.mapping.clone()?, feed.format.clone())))
        .chain(of_topics)
        .collect();
    Arc::new(move |origin| {
        let name = origin.mapping.as_deref();
        let found = named.iter().find(|it| Some(it.0.as_str()) == name);
        found.map_or(Format::Native, |it| it.1.clone())
    })
}

/// How a mapping is called in what is kept: by its file's name.
pub(super) fn mapping_name(path: Option<&Path>) -> Option<String> {
    Some(path?.file_name()?.to_string_lossy().into_owned())
}

/// Reads and compiles a mapping file. (Commands have told every problem of every mapping before.)
pub fn mapping(path: &Path) -> Result<Mapping, Report> {
    crate::commands::check::load_mapping(path).map_err(|mut all| all.swap_remove(0))
}
