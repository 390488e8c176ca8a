//! Detects a processor that does not work at all: it fails in process after process and has never returned a
//! result in this run. It may be a program that cannot start, one that exits before its first reply, or one that
//! never replies. A restart does not help, and no message is the cause: the run ends.

use std::time::Duration;

/// How long a failing processor is restarted before the run ends: a dependency of it may not be available yet.
const TRIAL_PERIOD: Duration = Duration::from_secs(20);
/// The minimum number of failures before the run ends.
const LEAST_FAILURES: u32 = 2;

/// Counts failures of a processor that has not returned a result yet: see the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct ProcessorTrial {
    has_result: bool,
    failures: u32,
    first_failure: Duration,
    last_cause: String,
}

impl ProcessorTrial {
    /// The processor of a worker has returned a result: it works.
    pub(super) fn passed(&mut self) {
        self.has_result = true;
    }

    /// A process has exited since its processor failed or did not return a result.
    pub(super) fn failed(&mut self, now: Duration, cause: &str) {
        if self.failures == 0 {
            self.first_failure = now;
        }
        self.failures += 1;
        cause.clone_into(&mut self.last_cause);
    }

    /// The reason for which the run has to end, if it has to.
    pub(super) fn verdict(&self, now: Duration) -> Option<String> {
        let time = now.saturating_sub(self.first_failure);
        let is_over = !self.has_result && self.failures >= LEAST_FAILURES && time >= TRIAL_PERIOD;
        is_over.then(|| {
            format!(
                "the processor does not work: it has failed {} times within {time:.0?} and has never processed a message; no \
                 message is to blame, none was skipped; at last: {}",
                self.failures, self.last_cause
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_processor_that_never_works_ends_the_run_after_a_while_and_not_before() {
        let mut trial = ProcessorTrial::default();
        trial.failed(A_SECOND, "exit status: 1");
        assert_eq!(trial.verdict(100 * A_SECOND), None, "once is no proof");
        trial.failed(2 * A_SECOND, "exit status: 2");
        assert_eq!(trial.verdict(20 * A_SECOND), None);
        let text = trial.verdict(21 * A_SECOND).unwrap();
        assert!(text.contains("failed 2 times within 20s") && text.ends_with("exit status: 2"), "{text}");
        trial.passed();
        assert_eq!(trial.verdict(100 * A_SECOND), None);
    }
}
