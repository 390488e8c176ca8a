//! A rate profile as linear segments: the number of due messages is a parabola in each, with a closed-form inverse.
//!
//! Times are whole nanoseconds and repetitions are integers, so that no error accumulates over days. Message counts
//! are floating-point numbers, exact up to 2^53; within a segment the error is far below one message.

use std::f64::consts::TAU;

use crate::settings::{RateProfile, RateStep};

/// Nanoseconds per second.
const SECOND: f64 = 1e9;
/// The number of segments per sine period. At this number, the count of due messages deviates by at most 3e-5 of a
/// period's messages, and by nothing at the period's end.
const CHORDS: u32 = 128;

/// A segment in which the rate changes linearly.
#[derive(Debug)]
struct LinearSegment {
    /// Seconds of its period before it.
    start: f64,
    /// Messages of its period before it.
    before: f64,
    /// Its duration in seconds.
    time: f64,
    /// The rate at its start.
    rate: f64,
    /// The change of the rate per second.
    slope: f64,
}

/// The part that a step repeats: a sine period, a burst with the time to the next one, or the whole step.
#[derive(Debug)]
struct Period {
    segments: Vec<LinearSegment>,
    time: u64,
    count: f64,
}

/// A step of the profile.
#[derive(Debug)]
struct StepCurve {
    /// Since the start of the cycle.
    start: u64,
    end: u64,
    /// Messages of the cycle before it.
    before: f64,
    period: Period,
}

/// A whole profile, repeated forever.
#[derive(Debug)]
pub(super) struct RateCurve {
    steps: Vec<StepCurve>,
    time: u64,
    count: f64,
}

impl LinearSegment {
    fn count_at(&self, seconds: f64) -> f64 {
        self.rate * seconds + self.slope * seconds * seconds / 2.0
    }

    fn rate_at(&self, seconds: f64) -> f64 {
        self.rate + self.slope * seconds
    }

    /// When `count` messages of this segment are due, in seconds: the numerically stable form of the quadratic
    /// formula.
    fn time_of(&self, count: f64) -> f64 {
        let time = if self.slope == 0.0 {
            count / self.rate
        } else {
            let root = (self.rate * self.rate + 2.0 * self.slope * count).max(0.0).sqrt();
            2.0 * count / (self.rate + root)
        };
        // 0/0 is NaN: nothing is due, and the segment has just started.
        if time.is_nan() { 0.0 } else { time.min(self.time) }
    }
}

impl Period {
    fn new(time: u64) -> Self {
        Self { segments: Vec::new(), time, count: 0.0 }
    }

    /// Appends a segment.
    fn line(mut self, from: f64, to: f64, seconds: f64) -> Self {
        let start = self.segments.last().map_or(0.0, |last| last.start + last.time);
        let slope = if from == to { 0.0 } else { (to - from) / seconds };
        self.segments.push(LinearSegment { start, before: self.count, time: seconds, rate: from, slope });
        self.count = snap_to_integer(self.count + (from + to) / 2.0 * seconds);
        self
    }

    fn of(step: RateStep) -> (Self, u64) {
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match step {
            RateStep::Constant { rate, time } => {
                (Self::new(nanos(time)).line(rate, rate, time.as_secs_f64()), nanos(time))
            }
            RateStep::Ramp { from, to, time } => {
                (Self::new(nanos(time)).line(from, to, time.as_secs_f64()), nanos(time))
            }
            RateStep::Sine { from, to, every, time } => {
                let rate =
                    |chord| from + (to - from) * (1.0 - (TAU * f64::from(chord) / f64::from(CHORDS)).cos()) / 2.0;
                let seconds = every.as_secs_f64() / f64::from(CHORDS);
                let chord = |period: Self, chord| period.line(rate(chord).max(0.0), rate(chord + 1).max(0.0), seconds);
                ((0..CHORDS).fold(Self::new(nanos(every)), chord), nanos(time))
            }
            RateStep::Burst { rate, length, every, base, time } => {
                let rest = every.saturating_sub(length);
                let burst = Self::new(nanos(every)).line(rate, rate, length.as_secs_f64());
                let period = if rest.is_zero() { burst } else { burst.line(base, base, rest.as_secs_f64()) };
                (period, nanos(time))
            }
        }
    }

    fn at(&self, seconds: f64) -> Option<(&LinearSegment, f64)> {
        let piece = last_where(&self.segments, |piece| piece.start <= seconds)?;
        Some((piece, (seconds - piece.start).min(piece.time)))
    }

    /// The number of messages due `time` after its start, with repetitions.
    fn count_at(&self, time: u64) -> f64 {
        let (waves, rest) = (time / self.time.max(1), time % self.time.max(1));
        let within = self.at(rest as f64 / SECOND).map_or(0.0, |(piece, at)| piece.before + piece.count_at(at));
        waves as f64 * self.count + within
    }

    fn time_of(&self, count: f64) -> u64 {
        let (waves, rest) = split(count, self.count);
        let piece = last_where(&self.segments, |piece| piece.before <= rest);
        let within = piece.map_or(0.0, |piece| piece.start + piece.time_of(rest - piece.before));
        waves.saturating_mul(self.time).saturating_add(((within * SECOND).round() as u64).min(self.time))
    }
}

impl RateCurve {
    /// Returns `None` if the profile has no steps.
    pub(super) fn new(profile: &RateProfile) -> Option<Self> {
        let mut cycle = Self { steps: Vec::new(), time: 0, count: 0.0 };
        for step in profile.steps() {
            let (period, time) = Period::of(*step);
            let (start, before) = (cycle.time, cycle.count);
            cycle.time = start.saturating_add(time);
            cycle.count = snap_to_integer(before + period.count_at(time));
            cycle.steps.push(StepCurve { start, end: cycle.time, before, period });
        }
        (cycle.time > 0).then_some(cycle)
    }

    fn at(&self, time: u64) -> Option<&StepCurve> {
        last_where(&self.steps, |stretch| stretch.start <= time)
    }

    /// The number of messages due in the first `time` nanoseconds.
    pub(super) fn count_at(&self, time: u64) -> f64 {
        let (cycles, rest) = (time / self.time, time % self.time);
        let within =
            self.at(rest).map_or(0.0, |stretch| stretch.before + stretch.period.count_at(rest - stretch.start));
        cycles as f64 * self.count + within
    }

    /// When message `number` (from 0) is due, in nanoseconds: the last moment at which no more than `number` messages
    /// are due. So no message is due during a pause, not even at its start.
    pub(super) fn time_of(&self, number: u64) -> u64 {
        let (cycles, rest) = split(number as f64, self.count);
        let stretch = last_where(&self.steps, |stretch| stretch.before <= rest);
        let within = stretch.map_or(0, |stretch| {
            stretch.start.saturating_add(stretch.period.time_of(rest - stretch.before)).min(stretch.end)
        });
        cycles.saturating_mul(self.time).saturating_add(within)
    }

    /// The rate `time` nanoseconds after the start.
    pub(super) fn rate_at(&self, time: u64) -> f64 {
        let rest = time % self.time;
        let rate = |stretch: &StepCurve| {
            let rest = (rest - stretch.start) % stretch.period.time.max(1);
            stretch.period.at(rest as f64 / SECOND).map(|(piece, at)| piece.rate_at(at))
        };
        self.at(rest).and_then(rate).unwrap_or(0.0)
    }
}

/// The last item of the prefix for which `holds` is true.
fn last_where<T>(items: &[T], holds: impl Fn(&T) -> bool) -> Option<&T> {
    items.get(items.partition_point(holds).checked_sub(1)?)
}

/// The number of times that `of` fits into `count`, and the remainder.
fn split(count: f64, of: f64) -> (u64, f64) {
    if of <= 0.0 {
        return (0, count);
    }
    let times = (count / of).floor();
    let rest = count - times * of;
    // The quotient was rounded up past an integer.
    if rest < 0.0 {
        ((times - 1.0) as u64, (rest + of).max(0.0))
    } else if rest >= of {
        ((times + 1.0) as u64, rest - of)
    } else {
        (times as u64, rest)
    }
}

/// Rounds a count that is almost an integer: the first message after a pause must not be due before it.
fn snap_to_integer(count: f64) -> f64 {
    let nearest = count.round();
    if (count - nearest).abs() <= count * 1e-12 { nearest } else { count }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One second in nanoseconds.
    const S: u64 = 1_000_000_000;

    fn cycle(texts: &[&str]) -> RateCurve {
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        RateCurve::new(&RateProfile::try_from(texts).unwrap()).unwrap()
    }

    #[test]
    fn the_messages_of_each_kind_of_step_are_the_area_below_its_rates() {
        let cases = [
            ("1000 for 10s", 10_000.0),
            ("ramp 1000 to 5000 for 30s", 90_000.0),
            ("ramp 5000 to 0 for 3s", 7_500.0),
            ("sine 1000 to 5000 every 20s for 60s", 180_000.0),
            // Half a period more: the mean of half a period is that of a whole one.
            ("sine 0 to 4 every 1s for 2500ms", 5.0),
            ("burst 10000 for 500ms every 5s over 100 for 60s", 12.0 * (5_000.0 + 450.0)),
            // Two bursts, a pause, and one burst that is cut off.
            ("burst 10 for 2s every 4s over 0 for 9s", 50.0),
        ];
        for (text, count) in cases {
            assert_eq!(cycle(&[text]).count, count, "{text}");
        }
    }

    #[test]
    fn a_sine_is_followed_to_a_small_part_of_a_message_in_a_thousand() {
        let cycle = cycle(&["sine 1000 to 5000 every 20s for 60s"]);
        for tenths in 0..600 {
            let time = f64::from(tenths) / 10.0;
            // The integral of 3000 - 2000 cos(2πt/20).
            let exact = 3_000.0 * time - 2_000.0 * 20.0 / TAU * (TAU * time / 20.0).sin();
            let count = cycle.count_at(u64::from(tenths as u32) * S / 10);
            assert!((count - exact).abs() < 60_000.0 * 3e-5, "{time} s: {count}, not {exact}");
        }
        assert_eq!((cycle.rate_at(0), cycle.rate_at(10 * S), cycle.rate_at(30 * S)), (1_000.0, 5_000.0, 5_000.0));
    }

    #[test]
    fn a_ramp_from_nothing_begins_at_once_and_gains_speed() {
        let cycle = cycle(&["ramp 0 to 200 for 10s"]);
        for number in 0..1_000 {
            // The rate grows by 20 per second each second: 10 t² messages.
            let time = (number as f64 / 10.0).sqrt() * SECOND;
            assert!((cycle.time_of(number) as f64 - time).abs() <= 1.0, "{number}");
        }
        assert_eq!(cycle.rate_at(5 * S), 100.0);
    }

    #[test]
    fn a_pause_has_no_message() {
        let cycle = cycle(&["0 for 5s", "1000 for 10s", "0 for 5s", "sine 10 to 0 every 1s for 2s", "0 for 3s"]);
        assert_eq!(cycle.time_of(0), 5 * S);
        assert_eq!(cycle.time_of(9_999), 15 * S - S / 1_000);
        assert_eq!(cycle.time_of(10_000), 20 * S);
        assert!((21 * S..22 * S).contains(&cycle.time_of(10_009)));
        assert_eq!(cycle.time_of(10_010), 30 * S, "the next cycle begins with a pause, too");
        assert_eq!(cycle.count_at(17 * S), 10_000.0);
    }

    #[test]
    fn rounding_moves_no_message_over_a_pause() {
        // 0.1 × 23 + 0.1 × 7 is slightly more than 3 in floating point.
        let cycle = cycle(&["0.1 for 23s", "0.1 for 7s", "0 for 5s", "1 for 5s"]);
        assert_eq!(cycle.time_of(3), 35 * S);
    }

    #[test]
    fn bursts_come_again_and_are_cut_off_at_the_steps_end() {
        let cycle = cycle(&["burst 10 for 1s every 5s over 0 for 8s", "1 for 2s"]);
        assert_eq!(cycle.time_of(9), 9 * S / 10);
        assert_eq!(cycle.time_of(10), 5 * S);
        assert_eq!(cycle.time_of(20), 8 * S);
        assert_eq!(cycle.time_of(21), 9 * S);
        assert_eq!(cycle.time_of(22), 10 * S);
    }

    #[test]
    fn a_period_of_nanoseconds_for_a_year_takes_no_memory() {
        let cycle = cycle(&["sine 0 to 1e9 every 1ns for 1year", "burst 1e9 for 1ns every 2ns over 0 for 1year"]);
        assert_eq!(cycle.steps.iter().map(|stretch| stretch.period.segments.len()).max(), Some(CHORDS as usize));
        assert!(cycle.time_of(1 << 60) > 60 * 60 * S);
    }

    #[test]
    fn next_to_nothing_is_due_when_nobody_is_there_any_more() {
        assert_eq!(cycle(&["1e-300 for 1s"]).time_of(1), u64::MAX);
        assert_eq!(cycle(&["ramp 0 to 1e-300 for 1ns"]).time_of(0), 0);
    }
}
