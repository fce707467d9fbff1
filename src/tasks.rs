//! The one way to start a task: it has a name, and a word when it dies.

use std::future::Future;

use tokio::task::JoinHandle;

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
