//! When each message is due. Open loop: due times depend only on the start of the run, not on when the previous
//! message was sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rate_curve::RateCurve;
use crate::{report, settings};

/// The upper limit of due times (a hundred years), so that no clock overflows.
const MAX_DUE: Duration = Duration::from_secs(36_525 * 24 * 60 * 60);

/// A constant rate or a rate profile, shared by all threads in turn: thread `n % threads` sends message `n` of the
/// run.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    threads: u64,
    rate: Rate,
}

/// Messages per second of all threads.
#[derive(Clone, Debug)]
enum Rate {
    /// Every message is due at once.
    Unlimited,
    Constant(f64),
    Profile(Arc<RateCurve>),
}

/// The start and the end of the run, and its schedule.
#[derive(Clone)]
pub(super) struct Pacing {
    pub(super) begun: Instant,
    /// The time after which no message is generated.
    pub(super) until: Option<Instant>,
    pub(super) schedule: Schedule,
}

impl Pacing {
    pub(super) fn new(settings: &settings::Producer) -> Self {
        Self { begun: Instant::now(), until: None, schedule: Schedule::new(settings) }
    }

    /// Starts the run; a duration of zero is unlimited.
    pub(super) fn begin(&mut self, duration: Duration) {
        self.begun = Instant::now();
        self.until = (!duration.is_zero()).then(|| self.begun + duration);
    }

    /// Whether the duration has passed.
    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// A rate counts as kept when this share of its messages was sent.
const MIN_RATE_RATIO: f64 = 0.99;
/// A rate also counts as kept when the run is late by less than this: one late message of a short run is no missed
/// rate.
const TOLERATED_DELAY: Duration = Duration::from_millis(100);

/// The target rate and the actual rate, in messages per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AchievedRate {
    pub(super) target: f64,
    pub(super) actual: f64,
    /// Whether the rate was kept, see [`MIN_RATE_RATIO`] and [`TOLERATED_DELAY`].
    pub(super) met: bool,
}

impl AchievedRate {
    fn new(target: f64, actual: f64, elapsed: Duration) -> Self {
        let missing = (target - actual).max(0.0);
        let delay = if target > 0.0 { elapsed.as_secs_f64() * missing / target } else { 0.0 };
        let met = actual >= target * MIN_RATE_RATIO || delay < TOLERATED_DELAY.as_secs_f64();
        Self { target, actual, met }
    }
}

/// What was sent by a schedule.
pub(super) struct SendProgress<'a> {
    /// The number of messages by thread.
    pub(super) messages: &'a [u64],
    /// The maximum number of messages per thread.
    pub(super) limit: u64,
    /// When the last message was sent, since the start.
    pub(super) last: Duration,
    /// When sending ended, or the current time.
    pub(super) end: Duration,
}

impl Schedule {
    pub(super) fn new(settings: &settings::Producer) -> Self {
        let rate = match RateCurve::new(&settings.rate_profile) {
            Some(cycle) => Rate::Profile(Arc::new(cycle)),
            None if settings.rate > 0.0 => Rate::Constant(settings.rate),
            None => Rate::Unlimited,
        };
        Self { threads: settings.threads.max(1) as u64, rate }
    }

    /// The number of messages of `thread` that are due after `elapsed`.
    fn due(&self, thread: usize, elapsed: Duration) -> u64 {
        // Beyond the upper limit the number of messages is unbounded.
        let elapsed = elapsed.min(MAX_DUE - Duration::from_nanos(1));
        let Some(estimate) = self.count_at(elapsed) else { return u64::MAX };
        // The due times of single messages decide, so that a message is due at its exact nanosecond and not before.
        let is_due = |number: u64| self.time(number).is_none_or(|time| time <= elapsed);
        let mut all = estimate as u64;
        while is_due(all) {
            all += 1;
        }
        while all > 0 && !is_due(all - 1) {
            all -= 1;
        }
        (all + self.threads - 1).saturating_sub(thread as u64) / self.threads
    }

    /// When message `sequence` of `thread` is due; `None` without a rate.
    pub(super) fn time_of(&self, thread: usize, sequence: u64) -> Option<Duration> {
        self.time(sequence.saturating_mul(self.threads).saturating_add(thread as u64))
    }

    /// Returns whether there is a rate.
    pub(super) fn is_paced(&self) -> bool {
        !matches!(self.rate, Rate::Unlimited)
    }

    /// The mean target rate and the actual rate, in messages per second: until the last message if all due messages
    /// were sent, otherwise until the end, because some are missing. `None` without a rate.
    pub(super) fn report(&self, sent: &SendProgress<'_>) -> Option<AchievedRate> {
        // Messages due exactly at the end are not sent.
        let before_end = sent.end.saturating_sub(Duration::from_nanos(1));
        let is_behind = |(thread, messages): (usize, &u64)| *messages < self.due(thread, before_end).min(sent.limit);
        let elapsed = if sent.messages.iter().enumerate().any(is_behind) { sent.end } else { sent.last };
        // The first message is due at once: there is one interval fewer than messages.
        let between = sent.messages.iter().sum::<u64>().saturating_sub(1);
        Some(AchievedRate::new(self.target_rate(elapsed)?, report::rate(between, elapsed), elapsed))
    }

    /// The mean target rate from the start until `elapsed`, in messages per second; `None` without a rate.
    fn target_rate(&self, elapsed: Duration) -> Option<f64> {
        match &self.rate {
            Rate::Unlimited => None,
            Rate::Constant(rate) => Some(*rate),
            Rate::Profile(cycle) if elapsed.is_zero() => Some(cycle.rate_at(0)),
            Rate::Profile(cycle) => Some(cycle.count_at(nanos(elapsed)) / elapsed.as_secs_f64()),
        }
    }

    /// The unrounded number of messages due by then.
    fn count_at(&self, elapsed: Duration) -> Option<f64> {
        match &self.rate {
            Rate::Unlimited => None,
            Rate::Constant(rate) => Some(elapsed.as_secs_f64() * rate),
            Rate::Profile(cycle) => Some(cycle.count_at(nanos(elapsed))),
        }
    }

    /// When message `number` of the run is due.
    fn time(&self, number: u64) -> Option<Duration> {
        let time = match &self.rate {
            Rate::Unlimited => return None,
            Rate::Constant(rate) => Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(MAX_DUE),
            Rate::Profile(cycle) => Duration::from_nanos(cycle.time_of(number)),
        };
        Some(time.min(MAX_DUE))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RateProfile;
    use proptest::prelude::*;

    fn schedule(rate: f64, profile: &[String], threads: usize) -> Schedule {
        let mut settings = crate::settings::defaults().producer;
        (settings.rate, settings.threads) = (rate, threads);
        settings.rate_profile = RateProfile::try_from(profile.to_vec()).unwrap();
        Schedule::new(&settings)
    }

    fn constant(rate: f64, threads: usize) -> Schedule {
        schedule(rate, &[], threads)
    }

    #[test]
    fn threads_share_what_is_due() {
        for threads in 1..7 {
            let schedule = constant(10.0, threads);
            for tenths in 0..50 {
                // Half an interval later, so that rounding does not matter.
                let elapsed = Duration::from_millis(100 * tenths + 50);
                let due: u64 = (0..threads).map(|thread| schedule.due(thread, elapsed)).sum();
                assert_eq!(due, tenths + 1, "{threads} threads");
            }
        }
    }

    #[test]
    fn one_rate_is_exact_for_days() {
        let schedule = constant(1e6, 4);
        let days = 10 * 24 * 60 * 60;
        for microseconds in [1, 2, 3, 999_999] {
            let number = days * 1_000_000 + microseconds;
            let time = Duration::new(days, microseconds as u32 * 1_000);
            // Twice the distance between two floating-point numbers of this size.
            let off = schedule.time(number).unwrap().abs_diff(time);
            assert!(off <= Duration::from_nanos(1), "{off:?}");
        }
        assert_eq!(constant(8.0, 3).time_of(2, 1), Some(Duration::from_millis(625)));
    }

    #[test]
    fn a_profile_begins_again_at_the_same_moment_after_days() {
        let profile = ["ramp 0 to 2000000 for 1s".to_owned(), "0 for 1s".to_owned()];
        let schedule = schedule(0.0, &profile, 1);
        let cycles = 5 * 24 * 60 * 60;
        for number in [0, 1, 7, 999_999] {
            let (first, later) = (schedule.time_of(0, number), schedule.time_of(0, cycles * 1_000_000 + number));
            assert_eq!(later.unwrap(), first.unwrap() + Duration::from_secs(2 * cycles));
        }
    }

    #[test]
    fn a_rate_is_kept_over_a_ramp() {
        let schedule = schedule(0.0, &["ramp 0 to 1000 for 10s".to_owned()], 4);
        assert_eq!(schedule.target_rate(Duration::ZERO), Some(0.0));
        assert_eq!(schedule.target_rate(Duration::from_secs(5)), Some(250.0));
        assert_eq!(schedule.target_rate(Duration::from_secs(10)), Some(500.0));
        let due: u64 = (0..4).map(|thread| schedule.due(thread, Duration::from_secs(5))).sum();
        assert_eq!(due, 1_251, "the first one is due at once");
    }

    #[test]
    fn a_stall_at_the_end_is_a_rate_that_was_not_kept() {
        let seconds = Duration::from_secs;
        let schedule = constant(100.0, 2);
        let kept = |messages: [u64; 2], limit, last, end| {
            let kept = schedule.report(&SendProgress { messages: &messages, limit, last, end }).unwrap();
            (kept.target, kept.actual)
        };
        // All messages due before 10 s: the last one at 9.99 s.
        let last = Duration::from_millis(9_990);
        assert_eq!(kept([500, 500], u64::MAX, last, seconds(10)), (100.0, 100.0));
        // Nothing was sent in the second half.
        assert_eq!(kept([251, 250], u64::MAX, seconds(5), seconds(10)), (100.0, 50.0));
        assert_eq!(kept([0, 0], u64::MAX, Duration::ZERO, seconds(10)), (100.0, 0.0));
        // The thread's limit was reached.
        assert_eq!(kept([251, 250], 251, seconds(5), seconds(10)).1, 50.0);
        assert_eq!(kept([251, 251], 251, seconds(5), seconds(10)).1, 100.2);
        assert!(constant(0.0, 2).report(&SendProgress { messages: &[1, 1], limit: 1, last, end: last }).is_none());
    }

    #[test]
    fn a_rate_is_missed_by_more_than_a_late_message() {
        let met = |target, actual, ms| AchievedRate::new(target, actual, Duration::from_millis(ms)).met;
        assert!(met(100.0, 100.2, 10_000) && met(100.0, 99.5, 60_000));
        assert!(!met(100.0, 98.0, 60_000) && !met(1e9, 500_000.0, 3_000));
        assert!(met(1_000.0, 300.0, 30), "one late message of a short run");
        assert!(!met(100.0, 0.0, 10_000) && met(0.0, 0.0, 10_000));
    }

    #[test]
    fn without_a_rate_everything_is_due() {
        let schedule = constant(0.0, 4);
        assert!(!schedule.is_paced());
        assert_eq!(schedule.time_of(3, 7), None);
        assert_eq!(schedule.due(3, Duration::ZERO), u64::MAX);
        assert_eq!(schedule.target_rate(Duration::from_secs(1)), None);
    }

    #[test]
    fn no_rate_is_too_small_and_no_time_too_long() {
        for schedule in [constant(1e-300, 2), schedule(0.0, &["1e-300 for 1s".to_owned()], 2)] {
            assert_eq!(schedule.time_of(0, 0), Some(Duration::ZERO));
            assert_eq!(schedule.time_of(1, 0), Some(MAX_DUE));
            assert_eq!(schedule.time_of(1, u64::MAX), Some(MAX_DUE));
            assert_eq!(schedule.due(0, Duration::MAX) + schedule.due(1, Duration::MAX), 1);
        }
    }

    /// Integer and fractional rates, small and large.
    fn rate() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), (1_u32..100_000).prop_map(f64::from), 0.001..1e6_f64]
    }

    fn milliseconds() -> impl Strategy<Value = u64> {
        1_u64..30_000
    }

    fn step() -> impl Strategy<Value = String> {
        let times = (milliseconds(), milliseconds(), milliseconds());
        (rate(), rate(), times, 0..4).prop_map(|(one, other, (time, every, length), kind)| match kind {
            0 => format!("{one} for {time}ms"),
            1 => format!("ramp {one} to {other} for {time}ms"),
            2 => format!("sine {one} to {other} every {every}ms for {time}ms"),
            _ => format!("burst {one} for {}ms every {every}ms over {other} for {time}ms", length.min(every)),
        })
    }

    /// A schedule with a constant rate or a non-empty profile.
    fn any_schedule() -> impl Strategy<Value = Schedule> {
        let profile = proptest::collection::vec(step(), 0..5);
        (rate(), profile, 1_usize..7).prop_map(|(rate, profile, threads)| {
            match RateProfile::try_from(profile.clone()) {
                Ok(parsed) if !parsed.is_empty() => schedule(0.0, &profile, threads),
                _ => constant(rate.max(0.5), threads),
            }
        })
    }

    proptest! {

        #[test]
        fn a_message_is_due_at_its_time_and_not_before(schedule in any_schedule(), number in 0..10_000_000_u64) {
            let (thread, sequence) = ((number % schedule.threads) as usize, number / schedule.threads);
            let time = schedule.time_of(thread, sequence).unwrap();
            // A cycle of a thousandth of a message reaches the limit of a hundred years.
            prop_assert_eq!(schedule.due(thread, time) > sequence, time < MAX_DUE);
            if let Some(before) = time.checked_sub(Duration::from_nanos(1)) {
                prop_assert!(schedule.due(thread, before) <= sequence);
            }
        }

        #[test]
        fn as_many_are_due_as_the_rates_ask_for(schedule in any_schedule(), ms in 0..100_000_000_u64) {
            let elapsed = Duration::from_millis(ms);
            let due: u64 = (0..schedule.threads as usize).map(|thread| schedule.due(thread, elapsed)).sum();
            let expected = schedule.target_rate(elapsed).unwrap() * elapsed.as_secs_f64();
            // From the first message, due at once, to the next one, not due yet.
            prop_assert!(due as f64 >= expected - 0.01 && due as f64 <= expected + 1.01, "{due}, not {expected}");
        }

        #[test]
        fn due_times_never_go_back(schedule in any_schedule(), number in 0..10_000_000_u64) {
            let times: Vec<_> = (number..number + 50).map(|number| schedule.time(number).unwrap()).collect();
            prop_assert!(times.is_sorted(), "{times:?}");
        }

        #[test]
        fn what_is_due_grows_with_time(schedule in any_schedule(), ms in 0..100_000_u64, more in 0..100_000_u64) {
            let (earlier, later) = (Duration::from_millis(ms), Duration::from_millis(ms + more));
            prop_assert!(schedule.due(0, earlier) <= schedule.due(0, later));
        }

        #[test]
        fn a_cycle_is_like_the_one_before(
            steps in proptest::collection::vec(step(), 0..4), cycle in 0..1_000_000_u64, at in 0.0..1.0_f64
        ) {
            // With a step that has messages.
            let profile: Vec<_> = std::iter::once("7 for 1000ms".to_owned()).chain(steps).collect();
            let schedule = schedule(0.0, &profile, 1);
            let Rate::Profile(whole) = &schedule.rate else { unreachable!() };
            let time = |step: &String| step.rsplit("for ").next().unwrap().trim_end_matches("ms").parse::<u64>().unwrap();
            let length = profile.iter().map(time).sum::<u64>() * 1_000_000;
            let at = (at * length as f64) as u64;
            let expected = cycle as f64 * whole.count_at(length) + whole.count_at(at);
            let later = whole.count_at(cycle * length + at);
            prop_assert!((later - expected).abs() <= 1e-9 * expected.max(1.0), "{later}, not {expected}");
        }
    }
}
