//! What is due when. Open loop: due times follow from the start of the run alone, not from when the last message went.

use std::time::Duration;

/// A constant rate, shared by all threads in turn: message `n` of the run is thread `n % threads`'s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Messages per second of all threads; 0: everything is due at once.
    pub rate: f64,
    pub threads: usize,
}

impl Schedule {
    /// How many messages of `thread` are due after `elapsed`.
    pub(super) fn due(&self, thread: usize, elapsed: Duration) -> u64 {
        if self.rate == 0.0 {
            return u64::MAX;
        }
        // The first message is due at once.
        let all = (elapsed.as_secs_f64() * self.rate).floor() as u64 + 1;
        let threads = self.threads as u64;
        (all + threads - 1 - thread as u64) / threads
    }

    /// When message `sequence` of `thread` is due; `None` if there is no rate.
    pub(super) fn time_of(&self, thread: usize, sequence: u64) -> Option<Duration> {
        let number = sequence * self.threads as u64 + thread as u64;
        self.is_paced().then(|| Duration::from_secs_f64(number as f64 / self.rate))
    }

    /// Whether there is anything to wait for.
    pub(super) fn is_paced(&self) -> bool {
        self.rate > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_what_is_due() {
        for threads in 1..7 {
            let schedule = Schedule { rate: 10.0, threads };
            for tenths in 0..50 {
                // Half a message later, so that no rounding decides.
                let elapsed = Duration::from_millis(100 * tenths + 50);
                let due: u64 = (0..threads).map(|thread| schedule.due(thread, elapsed)).sum();
                assert_eq!(due, tenths + 1, "{threads} threads");
            }
        }
    }

    #[test]
    fn a_message_is_due_at_its_time_and_not_before() {
        let schedule = Schedule { rate: 8.0, threads: 3 };
        for sequence in 0..20 {
            let time = schedule.time_of(2, sequence).unwrap();
            assert_eq!(schedule.due(2, time), sequence + 1);
            assert_eq!(schedule.due(2, time.saturating_sub(Duration::from_millis(1))), sequence);
        }
    }

    #[test]
    fn without_a_rate_everything_is_due() {
        assert_eq!(Schedule { rate: 0.0, threads: 4 }.time_of(3, 7), None);
        assert_eq!(Schedule { rate: 0.0, threads: 4 }.due(3, Duration::ZERO), u64::MAX);
    }
}
