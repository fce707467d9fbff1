//! `millstream run`: everything, until told to stop.

use crate::commands::replay::Clock;
use crate::config::Settings;
use crate::report::Report;
use crate::run::{self, Plan, Source};

/// Runs until SIGINT or SIGTERM, then ends cleanly.
pub fn main(settings: Settings, rebuild: bool) -> Result<(), Report> {
    run::end_on_panic();
    let sources = settings.feeds.iter().map(|it| Source {
        name: it.name.clone(),
        path: it.path.clone(),
        mapping: it.mapping.clone(),
        repeat: 1,
        rate: None,
    });
    let plan = Plan {
        log: true,
        sources: sources.collect(),
        kafka: settings.kafka.clone(),
        state: Some(settings.data_dir.clone()),
        rebuild,
        until_end: false,
        clock: Clock::Wall,
        serve: true,
        progress: false,
    };
    let running = run::start(settings, plan)?;
    if let Some(address) = running.address() {
        tracing::info!(%address, "serving");
    }
    running.until_told();
    running.stop()
}
