//! `millstream run`: everything, until told to stop.

use crate::config::Settings;
use crate::report::Report;
use crate::run::{self, Plan, Rebuild};

/// Runs until SIGINT or SIGTERM, then ends cleanly.
pub fn main(settings: Settings, rebuild: Rebuild) -> Result<(), Report> {
    run::end_on_panic();
    let plan = Plan { rebuild, ..Plan::of(&settings) };
    let running = run::start(settings, plan)?;
    if let Some(address) = running.address() {
        tracing::info!(%address, "serving");
    }
    running.until_told();
    running.stop()
}
