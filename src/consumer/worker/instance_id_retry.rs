//! The retries of a member whose static id (`group.instance.id`) the brokers have not released: a member with this
//! id has died, and its session is not over. Pure.

use std::time::{Duration, Instant};

/// The initial and the maximum backoff before a client is created again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long the brokers may take to release the id: twice Kafka's default of `group.consumer.session.timeout.ms`,
/// and some more.
pub(super) const RELEASE_TIMEOUT: Duration = Duration::from_secs(120);

/// The state of the retries.
#[derive(Debug, Default)]
pub(super) struct InstanceIdRetry(Option<Pending>);

#[derive(Debug)]
struct Pending {
    since: Instant,
    retry_at: Instant,
    backoff: Duration,
}

/// What follows from a rejected id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// The first time: log it, and retry later.
    First,
    /// Retry later.
    Again,
    /// The id was rejected for more than [`RELEASE_TIMEOUT`]: a running member has it.
    TimedOut,
}

impl InstanceIdRetry {
    /// Records that the brokers have rejected the id.
    pub(super) fn on_rejected(&mut self, now: Instant) -> Rejected {
        let (first, longest) = BACKOFF;
        match &mut self.0 {
            None => {
                self.0 = Some(Pending { since: now, retry_at: now + first, backoff: first * 2 });
                Rejected::First
            }
            Some(pending) if now.duration_since(pending.since) > RELEASE_TIMEOUT => Rejected::TimedOut,
            Some(pending) => {
                pending.retry_at = now + pending.backoff;
                pending.backoff = (pending.backoff * 2).min(longest);
                Rejected::Again
            }
        }
    }

    /// Whether a client has to be created again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.0.as_ref().is_some_and(|pending| now >= pending.retry_at)
    }

    /// Records that the brokers have accepted the id.
    pub(super) fn on_accepted(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_retries_with_backoff_until_the_brokers_should_have_released_the_id() {
        let (mut retry, begun) = (InstanceIdRetry::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert!(!retry.is_due(after(1_000)), "nothing was rejected");
        assert_eq!(retry.on_rejected(begun), Rejected::First);
        assert_eq!([retry.is_due(begun), retry.is_due(after(1))], [false, true]);
        assert_eq!(retry.on_rejected(after(10)), Rejected::Again);
        assert_eq!([retry.is_due(after(11)), retry.is_due(after(12))], [false, true]);
        for seconds in [20, 30, 40] {
            assert_eq!(retry.on_rejected(after(seconds)), Rejected::Again);
        }
        assert_eq!([retry.is_due(after(44)), retry.is_due(after(45))], [false, true], "at most 5 s");
        assert_eq!(retry.on_rejected(after(121)), Rejected::TimedOut);
        retry.on_accepted();
        assert_eq!((retry.is_due(after(200)), retry.on_rejected(after(200))), (false, Rejected::First));
    }
}
