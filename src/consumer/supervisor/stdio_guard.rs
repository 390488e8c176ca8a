//! Detects that processing waits for a blocked stdout or stderr. The monitor is pure.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::stdout_lock::StdoutLock;
use super::worker_stderr;
use crate::os::stdio::StdioBlocked;

/// The time without a handled message after which a blocked output counts as the cause. A pipe whose reader is
/// slower than its writers is full at every check; a handler that does not print every message is blocked only
/// if no message moves.
const STALL_THRESHOLD: Duration = Duration::from_secs(1);
/// The same time before it is logged: a user of a pager needs some time for each page.
const LOG_THRESHOLD: Duration = Duration::from_secs(10);

/// Detects blocked output: see the [module](self).
pub(super) struct StdioMonitor {
    /// The processor is `print`: it writes every message.
    prints: bool,
    /// When a message was last handled.
    moved: Instant,
    is_logged: bool,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StdioStall {
    /// No message moves.
    pub(super) stalled: bool,
    /// It is stderr, to which every part of a worker may write.
    pub(super) stderr: bool,
    /// A log line is due; once until messages move again.
    pub(super) must_log: bool,
}

impl StdioMonitor {
    pub(super) fn new(prints: bool, now: Instant) -> Self {
        Self { prints, moved: now, is_logged: false }
    }

    /// Records a handled message.
    pub(super) fn moved(&mut self, now: Instant) {
        (self.moved, self.is_logged) = (now, false);
    }

    /// Checks whether workers wait for a blocked output.
    pub(super) fn check(&mut self, full: StdioBlocked, now: Instant) -> Option<StdioStall> {
        let since = now.saturating_duration_since(self.moved);
        let (stalled, must_log) = (since >= STALL_THRESHOLD, since >= LOG_THRESHOLD);
        let stderr = full.stderr && stalled;
        if !stderr && !(full.stdout && (self.prints || stalled)) {
            return None;
        }
        let must_log = must_log && !std::mem::replace(&mut self.is_logged, must_log);
        Some(StdioStall { stalled, stderr, must_log })
    }
}

/// The outputs that all workers share.
pub(super) struct StdioGuard {
    pub(super) monitor: StdioMonitor,
    /// Keeps the workers' lines on stdout apart; only with the processor `print`.
    pub(super) lock: Option<StdoutLock>,
    /// The threads that read the workers' stderr.
    pub(super) stderr_readers: Vec<JoinHandle<()>>,
}

impl StdioGuard {
    pub(super) fn new(prints: bool, now: Instant) -> Self {
        Self { monitor: StdioMonitor::new(prints, now), lock: None, stderr_readers: Vec::new() }
    }

    /// Waits, for a limited time, until the workers' last lines are written.
    pub(super) fn finish(&mut self) {
        self.lock = None;
        worker_stderr::finish(&self.stderr_readers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: StdioBlocked = StdioBlocked { stdout: true, stderr: false };
    const LOG: StdioBlocked = StdioBlocked { stdout: false, stderr: true };

    fn look(prints: bool, full: StdioBlocked, still_ms: u64) -> Option<StdioStall> {
        let begun = Instant::now();
        StdioMonitor::new(prints, begun).check(full, begun + Duration::from_millis(still_ms))
    }

    #[test]
    fn an_output_that_is_read_is_waited_for_by_nobody() {
        assert_eq!(look(true, StdioBlocked::default(), 60_000), None);
        assert_eq!(look(false, PIPE, 999), None, "others move");
        assert_eq!(look(false, LOG, 999), None);
    }

    #[test]
    fn one_that_is_full_is_waited_for() {
        let waits = |stalled, stderr| Some(StdioStall { stalled, stderr, must_log: false });
        assert_eq!(look(true, PIPE, 0), waits(false, false), "its reader is slower than its writers");
        assert_eq!(look(true, PIPE, 1_000), waits(true, false));
        assert_eq!(look(false, PIPE, 1_000), waits(true, false));
        assert_eq!(look(false, LOG, 1_000), waits(true, true));
    }

    #[test]
    fn it_is_logged_once_until_messages_move_again() {
        let begun = Instant::now();
        let mut output = StdioMonitor::new(true, begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        let said = |output: &mut StdioMonitor, seconds| output.check(PIPE, at(seconds)).unwrap().must_log;
        assert_eq!([9, 10, 11, 12].map(|seconds| said(&mut output, seconds)), [false, true, false, false]);
        output.moved(at(13));
        assert_eq!([22, 23, 24].map(|seconds| said(&mut output, seconds)), [false, true, false]);
    }
}
