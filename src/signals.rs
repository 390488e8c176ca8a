//! Signal handling: one thread of each process receives signals and converts them to actor messages.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use actix::{Message, Recipient};
use tokio::sync::mpsc;

use crate::os::signal_mask;
use signal_map::{HangUp, Meaning};
use signal_thread::Thread;

mod signal_map;
mod signal_thread;

/// The action that a signal requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum ControlSignal {
    /// The first SIGTERM or SIGINT, or the end of the controlling terminal: finish messages in flight, commit,
    /// report, exit.
    Terminate,
    /// A second SIGTERM or SIGINT, or SIGQUIT: exit at once.
    AtOnce,
    /// SIGUSR1: log the status as one line of JSON.
    Status,
    /// SIGHUP without a controlling terminal: restart the workers one by one.
    Roll,
    /// SIGTTIN: add a worker.
    More,
    /// SIGTTOU: remove a worker.
    Fewer,
    /// SIGUSR2: pause consuming and keep the partitions.
    Pause,
    /// SIGCONT: resume.
    Resume,
    /// The process resumed after the terminal had suspended it with its workers (SIGTSTP).
    Continued,
}

impl ControlSignal {
    /// Returns whether the process must exit.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Terminate | Self::AtOnce)
    }
}

/// The kind of process that receives signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A command with workers.
    Supervisor,
    /// A command without workers.
    Alone,
    /// A worker. Linux sends a parent-death signal for each of the parent's threads, so a second SIGTERM has no
    /// meaning.
    Worker,
}

/// The maximum number of queued signals.
const CAPACITY: usize = 64;

/// Receives the signals of this process; signals are queued from the installation of the handlers on.
#[derive(Debug)]
pub struct SignalHandler {
    interrupts: mpsc::Receiver<ControlSignal>,
    attended: Arc<AtomicBool>,
}

impl SignalHandler {
    /// Installs the handlers and starts their thread. Must be called early, on the main thread after
    /// [`signal_mask::block_handled`]; signals are unblocked in this thread from then on.
    ///
    /// # Errors
    /// The operating system rejects a handler or a thread.
    pub fn start(role: Role) -> io::Result<Self> {
        let meaning = Meaning::new(role, HangUp::of_this_process(role));
        let (sender, interrupts) = mpsc::channel(CAPACITY);
        let attended = Arc::new(AtomicBool::new(false));
        let (installed, result) = sync_channel(1);
        let thread = Thread { role, meaning, interrupts: sender, attended: Arc::clone(&attended) };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || thread.run(&installed))?;
        result.recv().map_err(|_| io::Error::other("the thread for signals has ended"))??;
        signal_mask::allow_handled();
        Ok(Self { interrupts, attended })
    }

    /// The next signal.
    pub async fn next(&mut self) -> ControlSignal {
        self.attended.store(true, Ordering::Relaxed);
        match self.interrupts.recv().await {
            Some(interrupt) => interrupt,
            // The thread lives as long as this value.
            None => std::future::pending().await,
        }
    }

    /// Forwards every signal to `target` from now on, as long as the actor system runs.
    pub fn forward_all(mut self, target: Recipient<ControlSignal>) {
        actix::spawn(async move {
            self.forward(&target).await;
        });
    }

    /// Forwards every signal to `target` until this future is dropped.
    pub async fn forward(&mut self, target: &Recipient<ControlSignal>) -> Infallible {
        loop {
            target.do_send(self.next().await);
        }
    }

    /// Forwards signals until `work` is finished.
    pub async fn forward_signals_until<T>(
        &mut self,
        target: &Recipient<ControlSignal>,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::select! {
            done = work => done,
            never = self.forward(target) => match never {},
        }
    }

    /// Waits for `work`, or returns `None` when a signal arrives for which `ends` is true. Work that was started
    /// continues in the background.
    pub async fn cancellable<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut ends: impl FnMut(ControlSignal) -> bool,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                interrupt = self.next() => {
                    if ends(interrupt) {
                        return None;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(name: &str) {
        let process = std::process::id().to_string();
        let killed = std::process::Command::new("kill").args(["-s", name, &process]).status();
        assert!(killed.unwrap().success());
    }

    /// One test, because signals arrive for the whole process.
    #[actix::test]
    async fn signals_are_kept_until_somebody_asks() {
        let mut signals = SignalHandler::start(Role::Supervisor).unwrap();
        assert_eq!(signals.cancellable(async { 7 }, |_| true).await, Some(7));
        kill("TERM");
        let mut received = Vec::new();
        let until = |last: ControlSignal, received: &mut Vec<ControlSignal>, interrupt: ControlSignal| {
            received.push(interrupt);
            interrupt == last
        };
        let never = std::future::pending::<()>;
        assert_eq!(signals.cancellable(never(), |it| until(ControlSignal::Terminate, &mut received, it)).await, None);
        kill("USR1");
        assert_eq!(signals.cancellable(never(), |it| until(ControlSignal::Status, &mut received, it)).await, None);
        kill("QUIT");
        assert_eq!(signals.cancellable(never(), |it| until(ControlSignal::AtOnce, &mut received, it)).await, None);
        assert_eq!(received, [ControlSignal::Terminate, ControlSignal::Status, ControlSignal::AtOnce]);
    }
}
