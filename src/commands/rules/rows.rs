//! Rows and messages: of the running process, or of a folder whose log is lived through.

use schemas::names::Name;
use schemas::reading::Epoch;
use schemas::rows::{Row, Value as Field};
use serde_json::Value;

use crate::commands::ask::{self, Peer};
use crate::commands::folder;
use crate::config::Settings;
use crate::messages::ReadHandle;
use crate::notify::{Rule, VIEW};
use crate::report::Report;
use crate::run::tried::{self, Steps};

/// Rows of a listing that are looked at for one that a rule means.
const LOOKED_AT: usize = 1_000;

/// Where rows come from.
pub(super) enum Rows {
    Process(Peer),
    Folder { read: ReadHandle, at: Epoch },
}

impl Rows {
    /// Of the process that has the folder open, or of the folder.
    pub(super) fn of(settings: &Settings) -> Result<Rows, Report> {
        if let Some(peer) = ask::running(&settings.data_dir) {
            return Ok(Rows::Process(peer));
        }
        let folder = folder::look(settings)?;
        let until = crate::clock::wall_ms();
        // Nobody looks: only the end counts.
        let hour = std::time::Duration::from_secs(3_600);
        let steps = Steps { since: Epoch::MAX, until, step: hour, idle: hour };
        let lived = tried::live(settings, &folder.log()?, &steps, &mut |_| Ok(None))?;
        let at = lived.read.instants.complete();
        Ok(Rows::Folder { read: lived.read, at })
    }

    /// The time there.
    pub(super) fn now_ms(&self) -> u64 {
        match self {
            Rows::Process(_) => crate::clock::wall_ms(),
            Rows::Folder { at, .. } => *at,
        }
    }

    /// The row of a rule's view under this name.
    pub(super) fn row(&self, rule: &Rule, subject: &Name) -> Result<Option<Row>, Report> {
        match self {
            Rows::Process(peer) => {
                let tenant = ask::query(&[("tenant", Some(subject.tenant().to_string()))]);
                let key = ask::encoded(subject.key());
                let path = format!("/v1/views/{}/{key}{tenant}", rule.def.name);
                let told = peer.json(&path)?;
                told.map(|it| row_of(rule, &it["row"], peer, &path)).transpose()
            }
            Rows::Folder { read, at } => {
                let found = read.views[rule.view].get(subject.tenant(), subject.key(), *at);
                Ok(found.ok().flatten())
            }
        }
    }

    /// A row that is meant, among the first; or the first.
    pub(super) fn one(
        &self,
        rule: &Rule,
        tenant: &str,
        is_meant: &dyn Fn(&Row) -> bool,
    ) -> Result<Option<Row>, Report> {
        let rows: Vec<Row> = match self {
            Rows::Process(peer) => {
                let query = ask::query(&[
                    ("tenant", Some(tenant.to_string())),
                    ("limit", Some(LOOKED_AT.to_string())),
                ]);
                let path = format!("/v1/views/{}{query}", rule.def.name);
                let page = peer.json(&path)?.ok_or_else(|| no_route(peer, &path))?;
                let rows = peer.listed(&path, &page, "rows")?.iter();
                rows.map(|it| row_of(rule, &it["row"], peer, &path)).collect::<Result<_, _>>()?
            }
            Rows::Folder { read, at } => {
                let all = schemas::reading::Keep::ALL;
                let page = read.views[rule.view].page(tenant, None, *at, LOOKED_AT, LOOKED_AT, all);
                page.map_or_else(|_| Vec::new(), |it| it.rows.into_iter().map(|it| it.1).collect())
            }
        };
        let place = rows.iter().position(is_meant).unwrap_or(0);
        Ok(rows.into_iter().nth(place))
    }

    /// The messages about keys of this text.
    pub(super) fn messages(&self, subject: &Name) -> Result<Vec<Value>, Report> {
        match self {
            Rows::Process(peer) => {
                let query = ask::query(&[
                    ("tenant", Some(subject.tenant().to_string())),
                    ("about", Some(subject.key().to_string())),
                    ("limit", Some(LOOKED_AT.to_string())),
                ]);
                let path = format!("/v1/notifications{query}");
                let page = peer.json(&path)?.ok_or_else(|| no_route(peer, &path))?;
                let rows = peer.listed(&path, &page, "rows")?;
                Ok(rows.iter().map(|it| it["row"].clone()).collect())
            }
            Rows::Folder { read, at } => {
                let Some(view) = read.views.iter().find(|it| it.def().name == VIEW) else {
                    return Ok(Vec::new());
                };
                let (about, mut found) = (view.def().position("about"), Vec::new());
                let is = |row: &Row| {
                    let text = about.and_then(|it| row.values.get(it));
                    matches!(text, Some(Field::Text(it)) if it == subject.key())
                };
                let read = view.for_each(*at, &mut |name, row| {
                    if name.tenant() == subject.tenant() && is(&row) {
                        found.push(view.def().to_json(&row));
                    }
                });
                // At the end nothing goes on: every epoch that is complete can be read.
                debug_assert!(read.is_ok());
                Ok(found)
            }
        }
    }
}

fn no_route(peer: &Peer, path: &str) -> Report {
    peer.told(path, "no such route: another version runs, or the view is not kept")
}

fn row_of(rule: &Rule, told: &Value, peer: &Peer, path: &str) -> Result<Row, Report> {
    let why = || format!("a row that is none of {}: another version runs", rule.def.name);
    rule.row_of(told).ok_or_else(|| peer.told(path, &why()))
}
