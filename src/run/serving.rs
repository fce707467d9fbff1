//! The server on a runtime of its own: bound, told to end, ended.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Running, ports};
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::report::Report;
use crate::serve::{Door, Open};
use crate::tasks::could_not_start;

/// Threads of HTTP that may block: two for long reads (`crate::serve`), the others for large bodies
/// and what an operator asks of the disk. What comes beyond them waits.
const BLOCKING_THREADS: usize = 8;

/// The server on its runtime.
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    runtime: tokio::runtime::Runtime,
    task: tokio::task::JoinHandle<Result<(), Report>>,
    /// Told to end, by whoever.
    pub(super) end: tokio::sync::watch::Sender<bool>,
    /// Where the address is written for the command line.
    address_file: Option<PathBuf>,
}

impl Serving {
    pub(super) fn until_told(&self) {
        let mut told = self.end.subscribe();
        self.runtime.block_on(async {
            // The sender lives in `self`: it cannot be gone.
            while !*told.borrow_and_update() {
                if told.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    pub(super) fn stop(self) -> Result<(), Report> {
        self.end.send_replace(true);
        let served = self.runtime.block_on(self.task);
        self.runtime.shutdown_timeout(ports::GRACE);
        // Another may have the folder by now, and has written its own.
        let ours = |it: &&PathBuf| {
            std::fs::read_to_string(it).is_ok_and(|it| it.trim() == self.address.to_string())
        };
        if let Some(file) = self.address_file.as_ref().filter(ours) {
            forget_address(file);
        }
        served.unwrap_or_else(|why| Err(panicked("serve", &why)))
    }
}

fn panicked(task: &str, why: &tokio::task::JoinError) -> Report {
    Report {
        code: "run/panic",
        what: "a task panicked".into(),
        at: vec![("task", task.into())],
        why: why.to_string(),
        effect: "nothing that was acknowledged is lost".into(),
        fix: "start again; if it repeats, report the message".into(),
    }
}

/// The file in the data folder that says where a running process answers.
pub const ADMIN_ADDRESS: &str = "admin.addr";

/// Who asks before there is anything to serve is told so; dropped, nobody is let in any more.
pub(super) struct Porch {
    runtime: tokio::runtime::Runtime,
    task: tokio::task::JoinHandle<Open>,
    /// Dropped when there is something to serve.
    starting: tokio::sync::oneshot::Sender<()>,
}

impl Porch {
    /// Lets clients in, to wait.
    pub(super) fn open(
        door: Door,
        settings: &Settings,
        metrics: &Metrics,
    ) -> Result<Porch, Report> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).min(8))
            .thread_name("http")
            .max_blocking_threads(BLOCKING_THREADS)
            .enable_all()
            .build()
            .map_err(|why| could_not_start(("runtime", "http"), &why))?;
        let (starting, until) = tokio::sync::oneshot::channel();
        let entered = runtime.enter();
        let until = async {
            // Nothing is ever sent: it ends when the other side goes.
            let _gone: Result<(), _> = until.await;
        };
        let open = door.open()?;
        let early = open.starting(settings.serve.clone(), metrics.clone(), until);
        let task = crate::tasks::spawn("starting", early);
        drop(entered);
        Ok(Porch { runtime, task, starting })
    }

    fn into_parts(self) -> Result<(tokio::runtime::Runtime, Open), Report> {
        drop(self.starting);
        let open = self.runtime.block_on(self.task).map_err(|why| panicked("starting", &why))?;
        Ok((self.runtime, open))
    }
}

/// The end, whether it was told, and what is done at SIGHUP.
pub(super) type Signals =
    (tokio::sync::watch::Sender<bool>, tokio::sync::watch::Receiver<bool>, OnHangup);

/// SIGHUP as a parent passes it on, and what is done then.
pub(super) type OnHangup = (Arc<tokio::sync::Notify>, Box<dyn Fn() + Send + Sync>);

/// Does this at each SIGHUP, one after the other, on a thread that may wait.
async fn on_hangup(mut hangup: tokio::signal::unix::Signal, (passed_on, again): OnHangup) {
    let again: Arc<dyn Fn() + Send + Sync> = again.into();
    loop {
        tokio::select! {
            heard = hangup.recv() => if heard.is_none() { return },
            () = passed_on.notified() => {}
        }
        tracing::info!(signal = "SIGHUP", "told to read rules and channels anew");
        let again = Arc::clone(&again);
        if tokio::task::spawn_blocking(move || again()).await.is_err() {
            return;
        }
    }
}

pub(super) fn serve(
    settings: &Settings,
    porch: Porch,
    ports: crate::serve::Ports,
    (end, mut told, again): Signals,
    address_file: Option<PathBuf>,
) -> Result<Serving, Report> {
    let (runtime, open) = porch.into_parts()?;
    let _entered = runtime.enter();
    let server = crate::serve::at(open, settings.serve.clone(), ports);
    let address = server.address();
    let signals = end.clone();
    // Listened to before anybody is told where we are: who knows that may end us at once.
    let heard = listeners();
    let hangup =
        listener_of_hangups().map_err(|why| could_not_start(("listener", "SIGHUP"), &why))?;
    crate::tasks::spawn("hangups", on_hangup(hangup, again));
    crate::tasks::spawn("signals", async move {
        match heard {
            Ok((mut interrupt, mut terminate)) => {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                tracing::info!(signal = name, "told to end");
            }
            Err(why) => {
                tracing::error!(%why, "signals cannot be heard; end by the command line");
                return;
            }
        }
        signals.send_replace(true);
    });
    if let Some(file) = &address_file {
        std::fs::write(file, format!("{address}\n")).map_err(|why| Report {
            code: "run/data-folder",
            what: "could not write into the data folder".into(),
            at: vec![("file", file.display().to_string())],
            why: why.to_string(),
            effect: "nothing was started; no data was touched".into(),
            fix: "make room in the folder, or let this user write there".into(),
        })?;
    }
    let task = crate::tasks::spawn(
        "serve",
        server.run(async move {
            while !*told.borrow_and_update() {
                if told.changed().await.is_err() {
                    return;
                }
            }
        }),
    );
    drop(_entered);
    Ok(Serving { address, runtime, task, end, address_file })
}

/// Says where HTTP is served, if it is: a port that was asked for as 0 is told nowhere else to those
/// who have no data folder.
pub fn tell_address(running: &Running) {
    if let Some(address) = running.address() {
        tracing::info!(%address, "serving");
    }
}

/// Calls `told` at SIGINT or SIGTERM, and `hangup` at each SIGHUP before, for as long as what is given
/// lives.
pub fn listen_for_signals(
    told: impl FnOnce() + Send + 'static,
    hangup: impl Fn() + Send + 'static,
) -> Result<tokio::runtime::Runtime, Report> {
    let failed = |why| could_not_start(("runtime", "signals"), &why);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("signals")
        .enable_all()
        .build()
        .map_err(failed)?;
    let entered = runtime.enter();
    let (mut interrupt, mut terminate) = listeners().map_err(failed)?;
    let mut hung_up = listener_of_hangups().map_err(failed)?;
    crate::tasks::spawn("signals", async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                Some(()) = hung_up.recv() => hangup(),
            }
        }
        told();
    });
    drop(entered);
    Ok(runtime)
}

type Listeners = (tokio::signal::unix::Signal, tokio::signal::unix::Signal);

/// SIGINT and SIGTERM.
fn listeners() -> std::io::Result<Listeners> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
}

fn listener_of_hangups() -> std::io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
}

/// A process that was killed leaves its address behind; nobody is to ask there.
pub(super) fn forget_address(file: &Path) {
    if let Err(why) = crate::segments::remove(file) {
        tracing::warn!(file = %file.display(), %why, "could not remove the address file");
    }
}
