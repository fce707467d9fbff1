//! Reads that may take long: two at once, and a bounded number that waits.
//!
//! # Meaning
//! A listing with a filter looks at some ten thousand rows. However many of them are asked for at
//! once, the workers keep their cores, and nothing is held for those that wait: a read pins its
//! instant when it begins ([`LongReads::read`] is handed work that pins). Test: `tests/storms.rs`.
//!
//! # State
//! [`MAX_LONG_READS`] places for requests; a stream's snapshot waits without one, for there are no
//! more of them than streams.
//!
//! # When it fails
//! A request that finds no place is refused at once, 503 `serve/busy`, and asks again later.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;

use super::refusal::Refusal;
use super::state::blocking;

/// Long reads at once, as SQL has threads: more would only take the workers' cores.
const READ_THREADS: usize = 2;
/// Requests for a long read that are answered or wait; each takes milliseconds to some tenths of a
/// second, so that who is the last of them has an answer before most clients give up.
const MAX_LONG_READS: usize = 64;
/// When some of those that wait have been answered.
const RETRY_AFTER_S: u64 = 1;

/// Who may read, and who may wait for it.
pub(super) struct LongReads {
    places: Arc<Semaphore>,
    threads: Arc<Semaphore>,
}

impl LongReads {
    pub(super) fn new() -> LongReads {
        LongReads {
            places: Arc::new(Semaphore::new(MAX_LONG_READS)),
            threads: Arc::new(Semaphore::new(READ_THREADS)),
        }
    }

    /// A request's: refused if too many wait.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| busy())?;
        let done = self.wait(work).await;
        drop(place);
        done
    }

    /// One that waits for its turn however long that is.
    pub(super) async fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| busy())?;
        // The turn is the work's: a client that leaves does not end what it has begun.
        blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }
}

fn busy() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "serve/busy",
        "too many long reads wait",
        format!("{MAX_LONG_READS} reads that look at many rows are being answered or wait"),
        "ask again, less at once; one row by its key takes no turn",
    )
    .retry_after(RETRY_AFTER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: no more than the places, and each is given back. Method: all taken, one more asked.
    #[tokio::test]
    async fn who_finds_no_place_is_refused_at_once() {
        let reads = LongReads::new();
        let all = u32::try_from(MAX_LONG_READS).unwrap();
        let places = Arc::clone(&reads.places).try_acquire_many_owned(all).unwrap();
        assert!(reads.read(|| Ok(1)).await.is_err());
        assert_eq!(reads.wait(|| Ok(2)).await.unwrap(), 2);
        drop(places);
        for n in 0..2 * MAX_LONG_READS {
            assert_eq!(reads.read(move || Ok(n)).await.unwrap(), n);
        }
    }
}
