//! The thread that receives the signals of a process, even while its other threads are blocked.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::signal_map::{Meaning, Received};
use super::{ControlSignal, Role};
use crate::exit::ExitCode;
use crate::os::reaper::Reaper;
use crate::os::stdio::StdioBlocked;
use crate::os::{job_control, signal_mask, signals as number};

/// How long a starting command may not receive its signals until the first one terminates it anyway: it may wait for
/// a settings file that is a pipe.
const START_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval of scans for orphans, if this process inherits any.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// The handlers of a process.
struct Handlers {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    status: Signal,
    pause: Signal,
    /// SIGTSTP and SIGCONT; a worker leaves them to the kernel.
    job: Option<(Signal, Signal)>,
    /// SIGTTIN and SIGTTOU. Only a supervisor, which reads no terminal, handles them: for other jobs the kernel uses
    /// them to stop background access to the terminal.
    scale: Option<(Signal, Signal)>,
}

impl Handlers {
    fn install(role: Role) -> io::Result<Self> {
        let pair = |has: bool, first, second| match has {
            true => {
                Ok::<_, io::Error>(Some((signal(SignalKind::from_raw(first))?, signal(SignalKind::from_raw(second))?)))
            }
            false => Ok(None),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            status: signal(SignalKind::user_defined1())?,
            pause: signal(SignalKind::user_defined2())?,
            job: pair(role != Role::Worker, number::SUSPEND, number::CONTINUE)?,
            scale: pair(role == Role::Supervisor, number::SIGTTIN, number::SIGTTOU)?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received::Terminate,
            _ = self.interrupt.recv() => Received::Terminate,
            _ = self.quit.recv() => Received::Quit,
            _ = self.hang_up.recv() => Received::HangUp,
            _ = self.status.recv() => Received::Status,
            _ = self.pause.recv() => Received::Pause,
            first = either(&mut self.job) => if first { Received::Suspend } else { Received::Continue },
            first = either(&mut self.scale) => if first { Received::More } else { Received::Fewer },
        }
    }
}

/// Returns whether the first of the two signals arrived; never returns without any.
async fn either(signals: &mut Option<(Signal, Signal)>) -> bool {
    let Some((first, second)) = signals else { return std::future::pending().await };
    tokio::select! {
        _ = first.recv() => true,
        _ = second.recv() => false,
    }
}

/// See the [module documentation](self).
pub(super) struct Thread {
    pub(super) role: Role,
    pub(super) meaning: Meaning,
    pub(super) interrupts: mpsc::Sender<ControlSignal>,
    /// Whether the command has started to receive signals.
    pub(super) attended: Arc<AtomicBool>,
}

impl Thread {
    /// Installs the handlers, and serves them until the receiver is dropped.
    pub(super) fn run(self, installed: &SyncSender<io::Result<()>>) {
        signal_mask::restore_original();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return report(installed, Err(error)),
        };
        runtime.block_on(async {
            match Handlers::install(self.role) {
                Ok(handlers) => {
                    report(installed, Ok(()));
                    self.serve(handlers).await;
                }
                Err(error) => report(installed, Err(error)),
            }
        });
    }

    async fn serve(mut self, mut handlers: Handlers) {
        let mut reaper = Reaper::new().filter(|_| self.role != Role::Worker);
        let mut is_due = tokio::time::interval(REAP_INTERVAL);
        let receiver = self.interrupts.clone();
        let mut unattended_until = None;
        loop {
            let received = tokio::select! {
                received = handlers.next() => received,
                () = receiver.closed() => return,
                _ = is_due.tick(), if reaper.is_some() => {
                    _ = reaper.as_mut().map(Reaper::reap);
                    continue;
                }
                () = sleep_until(unattended_until) => {
                    if !self.attended.load(Ordering::Relaxed) {
                        end_unattended();
                    }
                    unattended_until = None;
                    continue;
                }
            };
            let interrupt = match received {
                Received::Suspend => job_control::suspend().then(|| self.meaning.continued(Instant::now())),
                other => self.meaning.of(other, Instant::now()),
            };
            let Some(interrupt) = interrupt else { continue };
            if interrupt.is_end() {
                unattended_until = Some(Instant::now() + START_TIMEOUT);
            }
            // Full: the receiver cannot keep up.
            self.interrupts.try_send(interrupt).ok();
        }
    }
}

fn report(installed: &SyncSender<io::Result<()>>, result: io::Result<()>) {
    installed.send(result).ok();
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Terminates a command that must exit and does not receive its signals yet.
fn end_unattended() -> ! {
    if !StdioBlocked::now().stderr {
        io::stderr().write_all(b"kafka-actors: stopped by a signal during its start\n").ok();
    }
    std::process::exit(ExitCode::Forced as i32)
}
