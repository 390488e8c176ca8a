//! How many log lines about failing messages are written: a partition can fail faster than anybody reads.

use std::time::{Duration, Instant};

/// So many lines ...
const LINES: u32 = 20;
/// ... in this time, of all partitions of a worker together.
const WITHIN: Duration = Duration::from_secs(1);

/// Counts lines; pure.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    begun: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Throttle {
    /// Whether a line may be written now; what is left out is counted.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= WITHIN) {
            (self.begun, self.written) = (Some(now), 0);
        }
        let allowed = self.written < LINES;
        self.written += u32::from(allowed);
        self.left_out += u64::from(!allowed);
        allowed
    }

    /// How many lines were left out since this was asked last; to be told now and then.
    pub(super) fn take_left_out(&mut self) -> Option<u64> {
        (self.left_out > 0).then(|| std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_and_told_once() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let allowed = (0..100).filter(|_| throttle.allows(now)).count();
        assert_eq!(allowed, LINES as usize);
        assert_eq!(throttle.take_left_out(), Some(80));
        assert_eq!(throttle.take_left_out(), None);
        assert!(throttle.allows(now + WITHIN), "a new second");
    }
}
