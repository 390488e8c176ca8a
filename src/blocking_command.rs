//! Runs blocking commands on a separate thread, while the main thread waits for signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slog::{Logger, info};

use crate::exit::{ExitCode, ExitStatus};
use crate::signals::{ControlSignal, SignalHandler};
use crate::util::blocking;

/// The exit status of a command that a signal has cancelled.
fn undone() -> ExitStatus {
    ExitStatus::stopped(ExitCode::Failed, "stopped by a signal before it was finished")
}

/// Runs `work`; the first terminating signal cancels it.
pub fn until_signal(mut signals: SignalHandler, work: impl FnOnce() -> ExitStatus + Send + 'static) -> ExitStatus {
    let ended = waiting(async {
        let done = signals.cancellable(blocking::spawn_blocking("command", work), ControlSignal::is_end).await;
        done.ok_or_else(undone)?.map_err(ExitStatus::failed)
    });
    ended.unwrap_or_else(|exit| exit)
}

/// A stop request, and whether the command has work to finish when stopped.
#[derive(Debug, Default)]
pub struct Stop {
    is_requested: AtomicBool,
    has_begun: AtomicBool,
}

impl Stop {
    /// Records that the command has work to finish from now on.
    pub fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    /// Returns whether the command must stop.
    pub fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::Relaxed)
    }
}

/// Runs `work`, which checks its argument for a stop request. A terminating signal cancels a command that has nothing
/// to finish; otherwise the command gets `shutdown.timeout` to finish, unless another signal terminates it at once.
///
/// # Errors
/// The exit status, if `work` has not finished.
pub fn until_stopped<T: Send + 'static>(
    mut signals: SignalHandler,
    deadline: Duration,
    logger: &Logger,
    work: impl FnOnce(&Stop) -> T + Send + 'static,
) -> Result<T, ExitStatus> {
    let stop = Arc::<Stop>::default();
    let stopped = Arc::clone(&stop);
    waiting(async {
        let mut work = std::pin::pin!(blocking::spawn_blocking("command", move || work(&stopped)));
        if let Some(done) = signals.cancellable(&mut work, ControlSignal::is_end).await {
            return done.map_err(ExitStatus::failed);
        }
        stop.is_requested.store(true, Ordering::Relaxed);
        if !stop.has_begun.load(Ordering::Relaxed) {
            return Err(undone());
        }
        info!(logger, "stopping"; "deadline" => ?deadline);
        let at_once = |interrupt| interrupt == ControlSignal::AtOnce;
        let forced = |reason: &str| Err(ExitStatus::new(ExitCode::Forced, reason));
        match tokio::time::timeout(deadline, signals.cancellable(work, at_once)).await {
            Ok(Some(done)) => done.map_err(ExitStatus::failed),
            Ok(None) => forced("terminated by a signal"),
            Err(_) => forced("stopped by a signal, and not finished within shutdown.timeout"),
        }
    })
}

fn waiting<T>(work: impl Future<Output = Result<T, ExitStatus>>) -> Result<T, ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|error| ExitStatus::failed(format!("no runtime for signals: {error}")))?.block_on(work)
}
