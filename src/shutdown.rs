//! Signals end here: one task in each process turns them into actor messages.

use actix::{Message, Recipient};
use tokio::signal::unix::{SignalKind, signal};

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
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut status = signal(SignalKind::user_defined1())?;
    actix::spawn(async move {
        let mut asked_before = false;
        loop {
            let message = tokio::select! {
                _ = terminate.recv() => asked(&mut asked_before, second),
                _ = interrupt.recv() => asked(&mut asked_before, second),
                _ = quit.recv() => Interrupt::AtOnce,
                _ = status.recv() => Interrupt::Status,
            };
            target.do_send(message);
        }
    });
    Ok(())
}

fn asked(before: &mut bool, second: Second) -> Interrupt {
    let again = std::mem::replace(before, true);
    if again && second == Second::AtOnce { Interrupt::AtOnce } else { Interrupt::Graceful }
}
