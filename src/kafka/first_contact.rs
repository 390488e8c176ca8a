//! The timeout of the first contact with the brokers, and the log lines while it lasts. Pure.

use std::time::{Duration, Instant};

/// When the first line is logged.
const FIRST_LINE: Duration = Duration::from_secs(1);
/// The interval of the following lines.
const INTERVAL: Duration = Duration::from_secs(60);

/// A wait for the first broker response.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstContact {
    begun: Instant,
    timeout: Option<Duration>,
    next_line: Duration,
}

impl FirstContact {
    /// Starts the wait; without a timeout it is unlimited.
    pub(super) fn new(begun: Instant, timeout: Option<Duration>) -> Self {
        Self { begun, timeout, next_line: FIRST_LINE }
    }

    /// The remaining time; `None` without a limit.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.saturating_sub(now.saturating_duration_since(self.begun)))
    }

    /// The timeout, if it has expired.
    pub(super) fn over(&self, now: Instant) -> Option<Duration> {
        self.timeout.filter(|_| self.left(now).is_some_and(|left| left.is_zero()))
    }

    /// The line to log now, if due: after 1 s, then once a minute.
    pub(super) fn line(&mut self, brokers: &str, now: Instant) -> Option<String> {
        let waited = now.saturating_duration_since(self.begun);
        if waited < self.next_line {
            return None;
        }
        self.next_line = waited + INTERVAL;
        let limit = match self.timeout {
            Some(timeout) => format!("for up to {timeout:?} (kafka.connect_timeout)"),
            None => "as long as that takes (kafka.connect_timeout = \"0s\")".to_owned(),
        };
        Some(format!(
            "no broker of kafka.brokers = {brokers:?} has replied within {}s: waiting {limit}",
            waited.as_secs()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(timeout: Option<Duration>, seconds: u64) -> Vec<String> {
        let begun = Instant::now();
        let mut contact = FirstContact::new(begun, timeout);
        let times = (0..=seconds * 2).map(|halves| begun + Duration::from_millis(halves * 500));
        let times: Vec<_> = times.take_while(|now| contact.over(*now).is_none()).collect();
        times.into_iter().filter_map(|now| contact.line("a:1,b:2", now)).collect()
    }

    #[test]
    fn after_a_second_a_line_names_brokers_and_setting() {
        let expected = "no broker of kafka.brokers = \"a:1,b:2\" has replied within 1s: waiting for up to 10s (kafka.connect_timeout)";
        assert_eq!(lines(Some(Duration::from_secs(10)), 30), [expected]);
        assert!(lines(Some(Duration::from_millis(900)), 30).is_empty());
    }

    #[test]
    fn without_a_limit_there_is_a_line_each_minute_and_no_end() {
        let lines = lines(None, 200);
        assert_eq!(lines.len(), 4);
        assert!(lines[3].contains("within 181s: waiting as long as that takes"), "{}", lines[3]);
        assert_eq!(FirstContact::new(Instant::now(), None).left(Instant::now()), None);
    }
}
