//! The one way to start a task or a thread: it has a name, and a word when it dies.

use std::future::Future;

use tokio::task::JoinHandle;

use crate::report::Report;

/// Starts a task on the current runtime. A panic ends the process where the hook of the door is
/// set; where it is not (a test), the name says whose it was.
#[allow(clippy::disallowed_methods)]
pub fn spawn<F>(name: &'static str, task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(async move {
        let unfinished = Unfinished(name);
        let output = task.await;
        std::mem::forget(unfinished);
        output
    })
}

/// Starts a thread.
pub fn thread<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>, Report> {
    let builder = std::thread::Builder::new().name(name.into());
    builder.spawn(body).map_err(|why| could_not_start(("thread", name), &why))
}

/// A thread, or a runtime with its threads, that the system did not give.
pub fn could_not_start(which: (&'static str, &str), why: &std::io::Error) -> Report {
    Report {
        code: "engine/thread",
        what: "could not start a thread".into(),
        at: vec![(which.0, which.1.into())],
        why: why.to_string(),
        effect: "nothing was started; no data was touched".into(),
        fix: "raise the limit on threads (`ulimit -u`), then start again".into(),
    }
}

struct Unfinished(&'static str);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "a task panicked");
        } else {
            tracing::debug!(task = self.0, "a task was cancelled");
        }
    }
}
