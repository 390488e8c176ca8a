//! Signals end here: one task in each process turns them into actor messages.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;

use actix::{Message, Recipient};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::os::signal_number as number;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Interrupt {
    /// SIGTERM or SIGINT, the first: finish what is in hand, commit, report, end.
    Graceful,
    /// A second one, or SIGQUIT: end at once.
    AtOnce,
    /// SIGUSR1: say what is going on, in one line of JSON in the log.
    Status,
    /// SIGHUP: replace the workers, one after the other.
    Roll,
    /// SIGTTIN: one worker more.
    More,
    /// SIGTTOU: one worker less.
    Fewer,
    /// SIGTSTP or SIGUSR2: take no more messages, keep the partitions.
    Quiet,
    /// SIGCONT: go on.
    Resume,
}

impl Interrupt {
    /// Whether it is the end of the process that is asked for.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Graceful | Self::AtOnce)
    }
}

/// What a second SIGTERM or SIGINT means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// [`Interrupt::AtOnce`]: somebody is losing patience.
    AtOnce,
    /// Nothing new. Linux sends a parent-death signal for each of the parent's threads: a worker gets several.
    Ignored,
}

/// Sends every signal to `target` from now on, for as long as the actor system runs.
///
/// # Errors
/// When the operating system refuses a handler; none is expected.
pub fn forward_signals(target: Recipient<Interrupt>, second: Second) -> std::io::Result<()> {
    Signals::install(second)?.forward_all(target);
    Ok(())
}

/// Waits for a signal that ends a process, its terminal's end included: for a command that has nothing to finish, and a
/// terminal to give back. The handlers are installed when this returns; the future is one of tokio's.
///
/// # Errors
/// As [`Signals::install`].
pub fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::install(Second::AtOnce)?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        let _whichever = signals.unless(hang_up.recv(), Interrupt::is_end).await;
    })
}

/// The signals of this process, from the moment that its handlers are installed: what comes before anybody asks is kept.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    status: Signal,
    wishes: Option<Wishes>,
    second: Second,
    asked_before: bool,
}

impl Signals {
    /// Installs the handlers, on an actor system or another runtime, which has to run whenever signals are waited for.
    ///
    /// # Errors
    /// When the operating system refuses a handler; none is expected.
    pub fn install(second: Second) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            status: signal(SignalKind::user_defined1())?,
            wishes: None,
            second,
            asked_before: false,
        })
    }

    /// With those by which workers are supervised: [`Interrupt::Roll`] and those after it. Without this SIGHUP ends a
    /// process, and SIGTSTP stops it.
    ///
    /// # Errors
    /// As [`Signals::install`].
    pub fn with_wishes(self) -> std::io::Result<Self> {
        let wishes = Wishes {
            hang_up: signal(SignalKind::hangup())?,
            quiet: signal(SignalKind::user_defined2())?,
            more: signal(SignalKind::from_raw(number::MORE))?,
            fewer: signal(SignalKind::from_raw(number::FEWER))?,
            stop: signal(SignalKind::from_raw(number::STOP))?,
            resume: signal(SignalKind::from_raw(number::RESUME))?,
        };
        Ok(Self { wishes: Some(wishes), ..self })
    }

    /// The next one.
    pub async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.terminate.recv() => asked(&mut self.asked_before, self.second),
            _ = self.interrupt.recv() => asked(&mut self.asked_before, self.second),
            _ = self.quit.recv() => Interrupt::AtOnce,
            _ = self.status.recv() => Interrupt::Status,
            wish = Wishes::next(&mut self.wishes) => wish,
        }
    }

    /// Sends every signal to `target` from now on, for as long as the actor system runs.
    pub fn forward_all(mut self, target: Recipient<Interrupt>) {
        actix::spawn(async move {
            self.forward(&target).await;
        });
    }

    /// Sends every signal to `target`, until this future is dropped.
    pub async fn forward(&mut self, target: &Recipient<Interrupt>) -> Infallible {
        loop {
            target.do_send(self.next().await);
        }
    }

    /// Forwards signals until `work` is done.
    pub async fn forward_until<T>(&mut self, target: &Recipient<Interrupt>, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.forward(target) => match never {},
        }
    }

    /// Waits for `work`, unless a signal comes that `ends` it: `None` then. What `work` has begun goes on without anybody.
    pub async fn unless<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut ends: impl FnMut(Interrupt) -> bool,
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

/// The signals by which workers are supervised.
#[derive(Debug)]
struct Wishes {
    hang_up: Signal,
    quiet: Signal,
    more: Signal,
    fewer: Signal,
    stop: Signal,
    resume: Signal,
}

impl Wishes {
    /// The next one; never, if there are none.
    async fn next(wishes: &mut Option<Self>) -> Interrupt {
        let Some(wishes) = wishes else { return std::future::pending().await };
        tokio::select! {
            _ = wishes.hang_up.recv() => Interrupt::Roll,
            _ = wishes.more.recv() => Interrupt::More,
            _ = wishes.fewer.recv() => Interrupt::Fewer,
            _ = wishes.quiet.recv() => Interrupt::Quiet,
            _ = wishes.stop.recv() => Interrupt::Quiet,
            _ = wishes.resume.recv() => Interrupt::Resume,
        }
    }
}

fn asked(before: &mut bool, second: Second) -> Interrupt {
    let again = std::mem::replace(before, true);
    if again && second == Second::AtOnce { Interrupt::AtOnce } else { Interrupt::Graceful }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(name: &str) {
        let process = std::process::id().to_string();
        let killed = std::process::Command::new("kill").args(["-s", name, &process]).status();
        assert!(killed.unwrap().success());
    }

    /// One test: signals come to the whole process.
    #[actix::test]
    async fn signals_are_kept_until_somebody_asks_and_the_second_is_another_one() {
        let mut signals = Signals::install(Second::AtOnce).unwrap();
        assert_eq!(signals.unless(async { 7 }, |_| true).await, Some(7));
        kill("TERM");
        let mut heard = Vec::new();
        let until = |last: Interrupt, heard: &mut Vec<Interrupt>, interrupt: Interrupt| {
            heard.push(interrupt);
            interrupt == last
        };
        let never = std::future::pending::<()>;
        assert_eq!(signals.unless(never(), |it| until(Interrupt::Graceful, &mut heard, it)).await, None);
        kill("USR1");
        assert_eq!(signals.unless(never(), |it| until(Interrupt::Status, &mut heard, it)).await, None);
        kill("INT");
        assert_eq!(signals.unless(never(), |it| until(Interrupt::AtOnce, &mut heard, it)).await, None);
        assert_eq!(heard, [Interrupt::Graceful, Interrupt::Status, Interrupt::AtOnce]);
        let mut worker = Signals::install(Second::Ignored).unwrap();
        for _ in 0..2 {
            kill("TERM");
            assert_eq!(worker.next().await, Interrupt::Graceful);
        }
    }
}
