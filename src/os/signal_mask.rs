//! Which threads hear signals.

use nix::sys::signal::{SigSet, SigmaskHow};

/// Makes something whose threads hear no signals: a thread inherits what is blocked where it is made. A signal that comes
/// meanwhile waits, if no other thread hears it.
pub fn deaf<T>(make: impl FnOnce() -> T) -> T {
    // It fails only for a kind of change that is not known.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
    let made = make();
    if let Some(before) = before {
        let _restored = before.thread_set_mask();
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked() -> bool {
        SigSet::thread_get_mask().unwrap().contains(nix::sys::signal::Signal::SIGTERM)
    }

    #[test]
    fn threads_that_are_made_so_hear_nothing_and_others_do() {
        let inside = deaf(|| std::thread::spawn(blocked)).join().unwrap();
        assert!(inside && !blocked());
    }
}
