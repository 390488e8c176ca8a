//! Whether messages wait for somebody to read the output: pure.

use std::time::{Duration, Instant};

use crate::os::output::Full;

/// A pipe whose reader is slower than its writers is full whenever one looks: only when no message was dealt with for
/// this long does it hold up a handler that does not print every message.
const STILL: Duration = Duration::from_secs(1);
/// And for this long before it is said: somebody who turns pages needs some time for each.
const SAID: Duration = Duration::from_secs(10);

/// See the [module](self).
pub(super) struct Output {
    /// The processor does nothing but print.
    prints: bool,
    /// When a message was last dealt with.
    moved: Instant,
    said: bool,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    /// Nobody moves.
    pub(super) still: bool,
    /// For stderr, in which every part of a worker may write.
    pub(super) log: bool,
    /// It is time to say so; once until messages move again.
    pub(super) say: bool,
}

impl Output {
    pub(super) fn new(prints: bool, now: Instant) -> Self {
        Self { prints, moved: now, said: false }
    }

    /// A message was dealt with.
    pub(super) fn moved(&mut self, now: Instant) {
        (self.moved, self.said) = (now, false);
    }

    /// Whether workers wait for it.
    pub(super) fn look(&mut self, full: Full, now: Instant) -> Option<Waits> {
        let since = now.saturating_duration_since(self.moved);
        let (still, say) = (since >= STILL, since >= SAID);
        let log = full.stderr && still;
        if !log && !(full.stdout && (self.prints || still)) {
            return None;
        }
        let say = say && !std::mem::replace(&mut self.said, say);
        Some(Waits { still, log, say })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: Full = Full { stdout: true, stderr: false };
    const LOG: Full = Full { stdout: false, stderr: true };

    fn look(prints: bool, full: Full, still_ms: u64) -> Option<Waits> {
        let begun = Instant::now();
        Output::new(prints, begun).look(full, begun + Duration::from_millis(still_ms))
    }

    #[test]
    fn an_output_that_is_read_is_waited_for_by_nobody() {
        assert_eq!(look(true, Full::default(), 60_000), None);
        assert_eq!(look(false, PIPE, 999), None, "others move");
        assert_eq!(look(false, LOG, 999), None);
    }

    #[test]
    fn one_that_is_full_is_waited_for() {
        let waits = |still, log| Some(Waits { still, log, say: false });
        assert_eq!(look(true, PIPE, 0), waits(false, false), "its reader is slower than its writers");
        assert_eq!(look(true, PIPE, 1_000), waits(true, false));
        assert_eq!(look(false, PIPE, 1_000), waits(true, false));
        assert_eq!(look(false, LOG, 1_000), waits(true, true));
    }

    #[test]
    fn it_is_said_once_until_messages_move_again() {
        let begun = Instant::now();
        let mut output = Output::new(true, begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        let said = |output: &mut Output, seconds| output.look(PIPE, at(seconds)).unwrap().say;
        assert_eq!([9, 10, 11, 12].map(|seconds| said(&mut output, seconds)), [false, true, false, false]);
        output.moved(at(13));
        assert_eq!([22, 23, 24].map(|seconds| said(&mut output, seconds)), [false, true, false]);
    }
}
