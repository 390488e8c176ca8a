//! Signal masks.
//!
//! A thread inherits the mask of its creator, and a program that of the thread that starts it.

use std::sync::OnceLock;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The signals that this program handles.
const HANDLED: [Signal; 10] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
];

/// The signal mask at the start of this process.
static ORIGINAL: OnceLock<SigSet> = OnceLock::new();

/// Blocks the handled signals in this thread until [`allow_handled`]; must be the first call in `main`. A signal that
/// arrives before the handlers are installed stays pending instead of terminating the process.
pub fn block_handled() {
    if let Ok(before) = HANDLED.into_iter().collect::<SigSet>().thread_swap_mask(SigmaskHow::SIG_BLOCK) {
        // A second call would read the blocked signals.
        ORIGINAL.set(before).ok();
    }
}

/// Restores the original signal mask in this thread.
pub fn restore_original() {
    if let Some(original) = ORIGINAL.get() {
        original.thread_set_mask().ok();
    }
}

/// Undoes [`block_handled`] in this thread, except for SIGTTOU: a thread that blocks it may write to a terminal of
/// another job (`stty tostop`). With a handler instead, the kernel would restart the write and send the signal again,
/// endlessly.
pub fn allow_handled() {
    restore_original();
    // Fails only for an invalid signal.
    SigSet::from(Signal::SIGTTOU).thread_block().ok();
}

/// Starts a program with the original signal mask.
pub fn with_original<T>(start: impl FnOnce() -> T) -> T {
    let Some(original) = ORIGINAL.get() else { return start() };
    let before = original.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok();
    let started = start();
    if let Some(before) = before {
        before.thread_set_mask().ok();
    }
    started
}

/// Calls `make` with all signals blocked, so that the threads that it creates inherit the mask and receive no
/// signals. A signal that arrives meanwhile stays pending if no other thread receives it.
pub fn block_all_signals<T>(make: impl FnOnce() -> T) -> T {
    // Fails only for an invalid operation.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
    let value = make();
    if let Some(before) = before {
        before.thread_set_mask().ok();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(signal: Signal) -> bool {
        SigSet::thread_get_mask().unwrap().contains(signal)
    }

    #[test]
    fn threads_that_are_made_so_hear_nothing_and_others_do() {
        let inside = block_all_signals(|| std::thread::spawn(|| blocked(Signal::SIGTERM))).join().unwrap();
        assert!(inside && !blocked(Signal::SIGTERM));
    }

    #[test]
    fn handled_signals_are_blocked_until_there_are_handlers_and_never_in_programs() {
        let check = || {
            block_handled();
            assert!(HANDLED.into_iter().all(blocked));
            allow_handled();
            assert_eq!(HANDLED.into_iter().filter(|signal| blocked(*signal)).collect::<Vec<_>>(), [Signal::SIGTTOU]);
            assert!(with_original(|| !HANDLED.into_iter().any(blocked)));
            assert!(blocked(Signal::SIGTTOU));
        };
        // The thread's mask ends with it.
        std::thread::spawn(check).join().unwrap();
    }
}
