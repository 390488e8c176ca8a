//! A profile of rates as pieces in which the rate is a straight line: what is due is a parabola in each, which has an
//! inverse in closed form.
//!
//! Times are whole nanoseconds and repetitions are counted in integers, so that nothing adds up over days. Messages are
//! counted in floating point, exact up to 2^53 of them; within a piece the error is far below one message.

use std::f64::consts::TAU;

use crate::settings::{Profile, Step};

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;
/// Pieces of a sine's period. The chords are flatter than the curve: at this number, what is due is at no moment off by
/// more than 3e-5 of a period's messages, and by nothing at the period's end.
const CHORDS: u32 = 128;

/// The rate goes in a straight line.
#[derive(Debug)]
struct Piece {
    /// Seconds of its wave before it.
    start: f64,
    /// Messages of its wave before it.
    before: f64,
    /// Seconds.
    time: f64,
    /// The rate at its beginning.
    rate: f64,
    /// By how much the rate grows in a second.
    slope: f64,
}

/// What a step repeats: a sine's period, a burst and the time to the next one, or the whole step.
#[derive(Debug)]
struct Wave {
    pieces: Vec<Piece>,
    time: u64,
    count: f64,
}

/// A step of the profile.
#[derive(Debug)]
struct Stretch {
    /// Since the cycle's begin.
    start: u64,
    end: u64,
    /// Messages of the cycle before it.
    before: f64,
    wave: Wave,
}

/// A whole profile, which is repeated for ever.
#[derive(Debug)]
pub(super) struct Cycle {
    stretches: Vec<Stretch>,
    time: u64,
    count: f64,
}

impl Piece {
    fn count_at(&self, seconds: f64) -> f64 {
        self.rate * seconds + self.slope * seconds * seconds / 2.0
    }

    fn rate_at(&self, seconds: f64) -> f64 {
        self.rate + self.slope * seconds
    }

    /// When `count` messages of this piece are due, in seconds: the form of the quadratic's root that cancels nothing.
    fn time_of(&self, count: f64) -> f64 {
        let time = if self.slope == 0.0 {
            count / self.rate
        } else {
            let root = (self.rate * self.rate + 2.0 * self.slope * count).max(0.0).sqrt();
            2.0 * count / (self.rate + root)
        };
        // Of two zeros comes no number: nothing is due, and the piece has just begun.
        if time.is_nan() { 0.0 } else { time.min(self.time) }
    }
}

impl Wave {
    fn new(time: u64) -> Self {
        Self { pieces: Vec::new(), time, count: 0.0 }
    }

    /// Adds a piece.
    fn line(mut self, from: f64, to: f64, seconds: f64) -> Self {
        let start = self.pieces.last().map_or(0.0, |last| last.start + last.time);
        let slope = if from == to { 0.0 } else { (to - from) / seconds };
        self.pieces.push(Piece { start, before: self.count, time: seconds, rate: from, slope });
        self.count = whole(self.count + (from + to) / 2.0 * seconds);
        self
    }

    fn of(step: Step) -> (Self, u64) {
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match step {
            Step::Constant { rate, time } => (Self::new(nanos(time)).line(rate, rate, time.as_secs_f64()), nanos(time)),
            Step::Ramp { from, to, time } => (Self::new(nanos(time)).line(from, to, time.as_secs_f64()), nanos(time)),
            Step::Sine { from, to, every, time } => {
                let rate =
                    |chord| from + (to - from) * (1.0 - (TAU * f64::from(chord) / f64::from(CHORDS)).cos()) / 2.0;
                let seconds = every.as_secs_f64() / f64::from(CHORDS);
                let chord = |wave: Self, chord| wave.line(rate(chord).max(0.0), rate(chord + 1).max(0.0), seconds);
                ((0..CHORDS).fold(Self::new(nanos(every)), chord), nanos(time))
            }
            Step::Burst { rate, length, every, base, time } => {
                let rest = every.saturating_sub(length);
                let burst = Self::new(nanos(every)).line(rate, rate, length.as_secs_f64());
                let wave = if rest.is_zero() { burst } else { burst.line(base, base, rest.as_secs_f64()) };
                (wave, nanos(time))
            }
        }
    }

    fn at(&self, seconds: f64) -> Option<(&Piece, f64)> {
        let piece = last_where(&self.pieces, |piece| piece.start <= seconds)?;
        Some((piece, (seconds - piece.start).min(piece.time)))
    }

    /// Messages that are due `time` after its begin; it is repeated for ever.
    fn count_at(&self, time: u64) -> f64 {
        let (waves, rest) = (time / self.time.max(1), time % self.time.max(1));
        let within = self.at(rest as f64 / SECOND).map_or(0.0, |(piece, at)| piece.before + piece.count_at(at));
        waves as f64 * self.count + within
    }

    fn time_of(&self, count: f64) -> u64 {
        let (waves, rest) = split(count, self.count);
        let piece = last_where(&self.pieces, |piece| piece.before <= rest);
        let within = piece.map_or(0.0, |piece| piece.start + piece.time_of(rest - piece.before));
        waves.saturating_mul(self.time).saturating_add(((within * SECOND).round() as u64).min(self.time))
    }
}

impl Cycle {
    /// `None` if the profile has no step.
    pub(super) fn new(profile: &Profile) -> Option<Self> {
        let mut cycle = Self { stretches: Vec::new(), time: 0, count: 0.0 };
        for step in profile.steps() {
            let (wave, time) = Wave::of(*step);
            let (start, before) = (cycle.time, cycle.count);
            cycle.time = start.saturating_add(time);
            cycle.count = whole(before + wave.count_at(time));
            cycle.stretches.push(Stretch { start, end: cycle.time, before, wave });
        }
        (cycle.time > 0).then_some(cycle)
    }

    fn at(&self, time: u64) -> Option<&Stretch> {
        last_where(&self.stretches, |stretch| stretch.start <= time)
    }

    /// How many messages are due in the first `time` nanoseconds.
    pub(super) fn count_at(&self, time: u64) -> f64 {
        let (cycles, rest) = (time / self.time, time % self.time);
        let within = self.at(rest).map_or(0.0, |stretch| stretch.before + stretch.wave.count_at(rest - stretch.start));
        cycles as f64 * self.count + within
    }

    /// When message `number`, counted from 0, is due, in nanoseconds: the last moment up to which no more than `number`
    /// are. So a pause has no message, not even at its begin.
    pub(super) fn time_of(&self, number: u64) -> u64 {
        let (cycles, rest) = split(number as f64, self.count);
        let stretch = last_where(&self.stretches, |stretch| stretch.before <= rest);
        let within = stretch.map_or(0, |stretch| {
            stretch.start.saturating_add(stretch.wave.time_of(rest - stretch.before)).min(stretch.end)
        });
        cycles.saturating_mul(self.time).saturating_add(within)
    }

    /// The rate `time` nanoseconds after the begin.
    pub(super) fn rate_at(&self, time: u64) -> f64 {
        let rest = time % self.time;
        let rate = |stretch: &Stretch| {
            let rest = (rest - stretch.start) % stretch.wave.time.max(1);
            stretch.wave.at(rest as f64 / SECOND).map(|(piece, at)| piece.rate_at(at))
        };
        self.at(rest).and_then(rate).unwrap_or(0.0)
    }
}

/// The last one of which something holds that holds of the first ones only.
fn last_where<T>(items: &[T], holds: impl Fn(&T) -> bool) -> Option<&T> {
    items.get(items.partition_point(holds).checked_sub(1)?)
}

/// How many times `of` goes into `count`, and what remains.
fn split(count: f64, of: f64) -> (u64, f64) {
    if of <= 0.0 {
        return (0, count);
    }
    let times = (count / of).floor();
    let rest = count - times * of;
    // The quotient was rounded over a border.
    if rest < 0.0 {
        ((times - 1.0) as u64, (rest + of).max(0.0))
    } else if rest >= of {
        ((times + 1.0) as u64, rest - of)
    } else {
        (times as u64, rest)
    }
}

/// What rounding has made of a whole number is that number: the first message behind a pause must not slip before it.
fn whole(count: f64) -> f64 {
    let nearest = count.round();
    if (count - nearest).abs() <= count * 1e-12 { nearest } else { count }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds in nanoseconds.
    const S: u64 = 1_000_000_000;

    fn cycle(texts: &[&str]) -> Cycle {
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        Cycle::new(&Profile::try_from(texts).unwrap()).unwrap()
    }

    #[test]
    fn the_messages_of_each_kind_of_step_are_the_area_below_its_rates() {
        let cases = [
            ("1000 for 10s", 10_000.0),
            ("ramp 1000 to 5000 for 30s", 90_000.0),
            ("ramp 5000 to 0 for 3s", 7_500.0),
            ("sine 1000 to 5000 every 20s for 60s", 180_000.0),
            // Half a period more: the mean of a half is that of the whole.
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
            // The area below 3000 - 2000 cos(2πt/20).
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
            // 20 a second more each second: 10 t² messages.
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
        // 0.1 × 23 + 0.1 × 7 is a little more than 3 in floating point.
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
        assert_eq!(cycle.stretches.iter().map(|stretch| stretch.wave.pieces.len()).max(), Some(CHORDS as usize));
        assert!(cycle.time_of(1 << 60) > 60 * 60 * S);
    }

    #[test]
    fn next_to_nothing_is_due_when_nobody_is_there_any_more() {
        assert_eq!(cycle(&["1e-300 for 1s"]).time_of(1), u64::MAX);
        assert_eq!(cycle(&["ramp 0 to 1e-300 for 1ns"]).time_of(0), 0);
    }
}
