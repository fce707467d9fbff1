//! What is to run, as a command says it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::Source;
use super::keep::Rebuild;
use crate::commands::replay::Clock;
use crate::config::{KafkaSettings, Settings};
use crate::models::{arrivals, shelf};
use crate::notify::Resolve;
use crate::report::Report;
use crate::sinks::Given;
use crate::supervise::notes::Told;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// With the embedded log (and a data folder); a replay has neither.
    pub log: bool,
    /// Files to read, after the log.
    pub sources: Vec<Source>,
    /// Kafka clusters to read, after the files.
    pub kafka: Vec<KafkaSettings>,
    /// Where states are kept; in memory only if absent.
    pub state: Option<PathBuf>,
    /// The folder of the models that speak: of texts (the lexicon does without), and of when orders
    /// arrive.
    pub models: Option<PathBuf>,
    /// Where that folder has none that say when orders arrive, and the clock is that of the events:
    /// models are sealed at the midnights that are passed.
    pub seals: bool,
    /// What is to be built again from the log.
    pub rebuild: Rebuild,
    /// Read of Kafka what is there at the start, and end; else go on for ever.
    pub until_end: bool,
    /// Sinks besides those of the settings.
    pub sinks: Vec<Given>,
    /// Reads the settings anew, where rules and channels may come while we run.
    pub reread: Reread,
    /// Who resolves the names of receivers.
    pub resolver: Resolver,
    /// What the parent says, if one has started us.
    pub told: Option<Told>,
    /// Where the epoch's time comes from.
    pub clock: Clock,
    /// Whether to serve HTTP.
    pub serve: bool,
}

/// The settings as they stand in their file now, or everything that is wrong with them.
pub type Read = Arc<dyn Fn() -> Result<Settings, Vec<Report>> + Send + Sync>;

/// Who reads the settings anew; nobody, unless somebody says who.
#[derive(Clone, Default)]
pub struct Reread(pub Option<Read>);

impl std::fmt::Debug for Reread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reread")
    }
}

/// Who resolves names: the system, unless a test says otherwise.
#[derive(Clone)]
pub struct Resolver(pub Resolve);

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver(crate::notify::system())
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Plan {
    /// All that the settings name, kept in their data folder and served, until told to end: what
    /// `millstream run` does.
    pub fn of(settings: &Settings) -> Plan {
        let sources = settings.feeds.iter().map(|it| Source {
            name: it.name.clone(),
            path: it.path.clone(),
            mapping: it.mapping.clone(),
            repeat: 1,
            rate: None,
        });
        Plan {
            log: true,
            sources: sources.collect(),
            kafka: settings.kafka.clone(),
            state: Some(settings.data_dir.clone()),
            models: Some(settings.data_dir.join(shelf::DIR)),
            seals: false,
            rebuild: Rebuild::default(),
            until_end: false,
            sinks: Vec::new(),
            reread: Reread::default(),
            resolver: Resolver::default(),
            told: None,
            clock: Clock::Wall,
            serve: true,
        }
    }

    /// Whether models that say when orders arrive are given.
    pub(super) fn gives_arrivals(&self) -> bool {
        self.models.as_ref().is_some_and(|it| it.join(arrivals::LIST).exists())
    }

    /// Where those lie that are used: where they are given, else with what is kept.
    pub(super) fn arrivals(&self) -> Option<PathBuf> {
        match self.gives_arrivals() {
            true => self.models.clone(),
            false => self.state.as_ref().map(|it| it.join(shelf::DIR)),
        }
    }

    /// Where what is durable lies, if anything is: the data folder, or the folder of a replay.
    pub(super) fn folder<'a>(&'a self, settings: &'a Settings) -> Option<&'a Path> {
        match self.log {
            true => Some(&settings.data_dir),
            false => self.state.as_deref(),
        }
    }
}
