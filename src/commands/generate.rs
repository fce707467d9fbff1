//! `millstream generate`: generated events on standard output, one a line.

use super::out::{Out, Reader};
use super::typed::Generate;
use super::{Problems, chosen};
use crate::generator::{Generator, Shape};

/// Writes them.
pub fn main(it: &Generate) -> Result<(), Problems> {
    let start = chosen::instant_ms("--start", &it.start, "")?;
    let shape = Shape { seed: it.seed, base: 0, start_ms: start, rate: it.rate };
    let mut out = Out::default();
    let count = usize::try_from(it.events).unwrap_or(usize::MAX);
    for event in Generator::new(shape).take(count) {
        if out.line(event).map_err(|it| vec![it])? == Reader::Gone {
            return Ok(());
        }
    }
    out.end().map_err(|it| vec![it])
}
