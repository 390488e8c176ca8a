//! Text encoding of a histogram, for the frames between processes: the number of negative values, a colon, and the values in
//! HdrHistogram's V2 format as base64. The format is uncompressed; it stores runs of empty buckets as one number.

use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use super::{LatencyHistogram, MAX_MICROS, SIGNIFICANT_DIGITS};

/// The size of the histogram's header in bytes: cookie, payload length, and histogram parameters.
const HEAD: usize = 40;
/// The encoding of the lowest 64-bit integer.
const LEAST: [u8; 9] = [0xff; 9];

impl LatencyHistogram {
    /// Encodes the histogram as text; [`from_text`](Self::from_text) decodes it.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        if let Some(times) = self.count() {
            // Serialization to memory fails only for a histogram that is larger than the address space.
            V2Serializer::new().serialize(times, &mut bytes).ok();
        }
        format!("{}:{}", self.negative, BASE64_STANDARD.encode(bytes))
    }

    /// Decodes a text that [`encode`](Self::encode) created.
    ///
    /// # Errors
    /// If the text is not a histogram, or if another version of the program created it with other bounds.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let (negative, times) = text.split_once(':').ok_or("latencies: expected NUMBER:BASE64")?;
        let negative = negative.parse().map_err(|error| format!("latencies: {negative:?}: {error}"))?;
        let bytes = BASE64_STANDARD.decode(times).map_err(|error| format!("latencies: {error}"))?;
        if bytes.is_empty() {
            return Ok(Self { times: None, negative });
        }
        check_head(&bytes)?;
        let times: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("latencies: the histogram cannot be read: {error}"))?;
        Ok(Self { times: Some(times), negative })
    }
}

/// Checks values that the library does not check: it allocates as much memory as the header requests, and it negates the lowest
/// 64-bit integer, which overflows.
fn check_head(bytes: &[u8]) -> Result<(), String> {
    let cannot = |problem: &str| Err(format!("latencies: the histogram cannot be read: {problem}"));
    let Some((head, payload)) = bytes.split_first_chunk::<HEAD>() else { return cannot("it is cut off") };
    let number = |range: Range<usize>| head[range].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (length, digits, low, high) = (number(4..8), number(12..16), number(16..24), number(24..32));
    if length != payload.len() as u64 {
        return cannot(&format!("{} bytes follow its head, which names {length}", payload.len()));
    }
    if (low, high, digits) != (1, MAX_MICROS, u64::from(SIGNIFICANT_DIGITS)) {
        return Err(format!(
            "latencies: a histogram from {low} to {high} µs with {digits} digits; expected 1 to {MAX_MICROS} with {SIGNIFICANT_DIGITS}"
        ));
    }
    if payload.windows(LEAST.len()).any(|window| window == LEAST) {
        return cannot("a number is out of range");
    }
    Ok(())
}

impl From<LatencyHistogram> for String {
    fn from(latency: LatencyHistogram) -> Self {
        latency.encode()
    }
}

impl TryFrom<String> for LatencyHistogram {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::from_text(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_carries_all_that_was_counted() {
        let mut latency = LatencyHistogram::default();
        assert!(LatencyHistogram::from_text(&latency.encode()).unwrap().is_empty());
        (0..100_000).for_each(|number| latency.record_us(number * number % 70_000_000));
        latency.record_signed_us(-3);
        let again = LatencyHistogram::from_text(&latency.encode()).unwrap();
        assert_eq!(again.percentiles(), latency.percentiles());
        assert_eq!(again.times, latency.times);
        let frame = serde_json::to_string(&latency).unwrap();
        assert_eq!(serde_json::from_str::<LatencyHistogram>(&frame).unwrap().times, latency.times);
        // An entry is a value with three digits and a count: the data that is sent per interval is small.
        assert!(frame.len() < 32_000, "{}", frame.len());
    }

    #[test]
    fn what_came_as_text_adds_up_with_what_did_not() {
        let (mut one, mut other) = (LatencyHistogram::default(), LatencyHistogram::default());
        one.record_us(7);
        other.record_us(MAX_MICROS);
        let mut sum = LatencyHistogram::from_text(&one.encode()).unwrap();
        sum.add(&other);
        other.add(&LatencyHistogram::from_text(&one.encode()).unwrap());
        assert_eq!(sum.percentiles(), other.percentiles());
        assert_eq!(sum.percentiles().unwrap().count, 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(negative: u64, payload in prop::collection::vec(any_byte(), 0..60), changed in 0..80_usize) {
            let mut latency = LatencyHistogram::default();
            latency.record_us(7);
            let head = latency.encode().split_once(':').map(|(_, text)| BASE64_STANDARD.decode(text).unwrap()).unwrap();
            let mut bytes = [&head[..HEAD], &payload].concat();
            bytes[4..8].copy_from_slice(&(payload.len() as u32).to_be_bytes());
            if let Some(byte) = bytes.get_mut(changed) {
                *byte ^= 0xff;
            }
            if let Ok(read) = LatencyHistogram::from_text(&format!("{negative}:{}", BASE64_STANDARD.encode(&bytes))) {
                latency.add(&read);
                latency.add(&read);
                // Neither panics.
                _ = (latency.percentiles(), latency.cumulative(&[1, 1_000, u64::MAX]));
                prop_assert!(LatencyHistogram::from_text(&read.encode()).unwrap().percentiles() == read.percentiles());
            }
        }
    }

    /// Random bytes of which at least half are `0xff`, so that long integers occur.
    fn any_byte() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), Just(0xff)]
    }

    #[test]
    fn a_head_that_names_more_than_there_is_allocates_nothing() {
        let mut latency = LatencyHistogram::default();
        latency.record_us(7);
        let good = BASE64_STANDARD.decode(latency.encode().trim_start_matches("0:")).unwrap();
        for (at, bytes, named) in [
            (4, [0xff, 0xff, 0xff, 0xff], "which names 4294967295"),
            (12, [0, 0, 0, 5], "with 5 digits"),
            (24, [0xff, 0xff, 0xff, 0xff], "to 1844674407"),
        ] {
            let mut forged = good.clone();
            forged[at..at + 4].copy_from_slice(&bytes);
            let reported = LatencyHistogram::from_text(&format!("0:{}", BASE64_STANDARD.encode(&forged))).unwrap_err();
            assert!(reported.contains(named), "{reported}");
        }
        let lowest = [&good[..HEAD], &LEAST].concat();
        let mut lowest = lowest;
        lowest[7] = LEAST.len() as u8;
        let reported = LatencyHistogram::from_text(&format!("0:{}", BASE64_STANDARD.encode(&lowest))).unwrap_err();
        assert!(reported.contains("out of range"), "{reported}");
    }

    #[test]
    fn another_text_or_other_bounds_are_rejected() {
        for text in ["", "5", "x:", "0:*", "0:AAAA", "-1:"] {
            assert!(LatencyHistogram::from_text(text).unwrap_err().starts_with("latencies: "), "{text}");
        }
        let mut bytes = Vec::new();
        let other = Histogram::<u64>::new_with_bounds(1, 1_000, 2).unwrap();
        V2Serializer::new().serialize(&other, &mut bytes).unwrap();
        let reported = LatencyHistogram::from_text(&format!("0:{}", BASE64_STANDARD.encode(bytes))).unwrap_err();
        assert!(reported.contains("1 to 1000 µs with 2 digits; expected 1 to 3600000000 with 3"), "{reported}");
    }
}
