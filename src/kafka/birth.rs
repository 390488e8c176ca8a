//! When a message came into being, carried along by librdkafka.

use std::time::Duration;

/// When a message was sent and how late, in one word: librdkafka carries it along, and a box for each message would be
/// an allocation.
///
/// 37 bits of µs since the epoch (they wrap after 38 hours, which no message lives: `producer.message_timeout` ends at a
/// day), and a number of 22 bits with 5 of an exponent: µs between being due and being sent, in steps of 2^-21 at most.
#[derive(Clone, Copy)]
pub(super) struct Birth(usize);

const _: () = assert!(usize::BITS == 64, "a Birth needs 64 bits");
const SENT_BITS: u32 = 37;
const EXPONENT_BITS: u32 = 5;
const NUMBER_BITS: u32 = 22;

impl Birth {
    pub(super) fn new(sent: Duration, late: Duration) -> Self {
        // 22 bits shifted by 31 are 286 years.
        let late = (late.as_micros() as u64).min(1 << (NUMBER_BITS + 30));
        let exponent = (u64::BITS - late.leading_zeros()).saturating_sub(NUMBER_BITS);
        let sent = sent.as_micros() as u64 & ((1 << SENT_BITS) - 1);
        Self(
            (sent << (NUMBER_BITS + EXPONENT_BITS) | (late >> exponent) << EXPONENT_BITS | u64::from(exponent))
                as usize,
        )
    }

    /// As librdkafka carries it.
    pub(super) fn word(self) -> usize {
        self.0
    }

    /// As librdkafka brought it back.
    pub(super) fn from_word(word: usize) -> Self {
        Self(word)
    }

    /// How old it is at `now` since the epoch.
    pub(super) fn age(self, now: Duration) -> Age {
        let bits = self.0 as u64;
        let sent = bits >> (NUMBER_BITS + EXPONENT_BITS);
        let since_sent = (now.as_micros() as u64).wrapping_sub(sent) & ((1 << SENT_BITS) - 1);
        let number = bits >> EXPONENT_BITS & ((1 << NUMBER_BITS) - 1);
        let late = number << (bits & ((1 << EXPONENT_BITS) - 1));
        Age { since_sent: Duration::from_micros(since_sent), since_due: Duration::from_micros(since_sent + late) }
    }
}

/// How old a message is.
pub(super) struct Age {
    pub(super) since_sent: Duration,
    pub(super) since_due: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_keeps_when_and_how_late() {
        let us = Duration::from_micros;
        for (sent, late) in [(0, 0), (5, 7), (1 << 40, 4_000_000), (123_456_789_012, 3_600_000_123)] {
            let age = Birth::new(us(sent), us(late)).age(us(sent + 1_500));
            assert_eq!(age.since_sent, us(1_500));
            let told = (age.since_due - age.since_sent).as_micros() as u64;
            assert!(told <= late && late - told <= late >> 21, "{late}: {told}");
        }
        let age = Birth::new(us(1), Duration::from_secs(1 << 40)).age(us(2));
        assert_eq!(age.since_sent, us(1), "what is too late for its bits leaves the others alone");
    }
}
