//! The send time of a message, packed in librdkafka's opaque value.

use std::time::Duration;

/// The send time of a message and its delay after the scheduled time, in one word: a box would need an allocation per
/// message.
///
/// 37 bits of µs since the epoch (they wrap after 38 hours; `producer.message_timeout` is at most one day), and the
/// delay in µs as a floating-point number of 22 bits with a 5-bit exponent, with a relative error of at most 2^-21.
#[derive(Clone, Copy)]
pub(super) struct SendTime(usize);

const _: () = assert!(usize::BITS == 64, "a SendTime needs 64 bits");
const SENT_BITS: u32 = 37;
const EXPONENT_BITS: u32 = 5;
const NUMBER_BITS: u32 = 22;

impl SendTime {
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

    /// The opaque value for librdkafka.
    pub(super) fn to_opaque(self) -> usize {
        self.0
    }

    /// The value from librdkafka's opaque.
    pub(super) fn from_opaque(word: usize) -> Self {
        Self(word)
    }

    /// The latencies at `now` since the epoch.
    pub(super) fn age(self, now: Duration) -> SendLatency {
        let bits = self.0 as u64;
        let sent = bits >> (NUMBER_BITS + EXPONENT_BITS);
        let since_sent = (now.as_micros() as u64).wrapping_sub(sent) & ((1 << SENT_BITS) - 1);
        let number = bits >> EXPONENT_BITS & ((1 << NUMBER_BITS) - 1);
        let late = number << (bits & ((1 << EXPONENT_BITS) - 1));
        SendLatency {
            since_sent: Duration::from_micros(since_sent),
            since_due: Duration::from_micros(since_sent + late),
        }
    }
}

/// The age of a message.
pub(super) struct SendLatency {
    pub(super) since_sent: Duration,
    pub(super) since_due: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_time_has_the_time_and_the_delay() {
        let us = Duration::from_micros;
        for (sent, late) in [(0, 0), (5, 7), (1 << 40, 4_000_000), (123_456_789_012, 3_600_000_123)] {
            let age = SendTime::new(us(sent), us(late)).age(us(sent + 1_500));
            assert_eq!(age.since_sent, us(1_500));
            let stored = (age.since_due - age.since_sent).as_micros() as u64;
            assert!(stored <= late && late - stored <= late >> 21, "{late}: {stored}");
        }
        let age = SendTime::new(us(1), Duration::from_secs(1 << 40)).age(us(2));
        assert_eq!(age.since_sent, us(1), "what is too late for its bits leaves the others alone");
    }
}
