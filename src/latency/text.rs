//! A histogram as a text, for the frames between processes: the number of times below zero, a colon, and the times in
//! HdrHistogram's V2 format (uncompressed: empty buckets take no place in it) as base64.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use super::{DIGITS, LONGEST, Latency};

impl Latency {
    /// As a text, from which [`from_text`](Self::from_text) makes the same again.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        if let Some(times) = self.counted() {
            // Writing to memory fails only where a histogram is larger than the address space.
            let _in_memory = V2Serializer::new().serialize(times, &mut bytes);
        }
        format!("{}:{}", self.negative, BASE64_STANDARD.encode(bytes))
    }

    /// What [`to_text`](Self::to_text) has written.
    ///
    /// # Errors
    /// If the text is something else, or of another program version with other bounds.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let (negative, times) = text.split_once(':').ok_or("latencies: expected NUMBER:BASE64")?;
        let negative = negative.parse().map_err(|error| format!("latencies: {negative:?}: {error}"))?;
        let bytes = BASE64_STANDARD.decode(times).map_err(|error| format!("latencies: {error}"))?;
        if bytes.is_empty() {
            return Ok(Self { times: None, negative });
        }
        let times: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("latencies: the histogram cannot be read: {error}"))?;
        if (times.low(), times.high(), times.sigfig()) != (1, LONGEST, DIGITS) {
            return Err(format!(
                "latencies: a histogram from {} to {} µs with {} digits; expected 1 to {LONGEST} with {DIGITS}",
                times.low(),
                times.high(),
                times.sigfig()
            ));
        }
        Ok(Self { times: Some(times), negative })
    }
}

impl From<Latency> for String {
    fn from(latency: Latency) -> Self {
        latency.to_text()
    }
}

impl TryFrom<String> for Latency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::from_text(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_carries_all_that_was_counted() {
        let mut latency = Latency::default();
        assert!(Latency::from_text(&latency.to_text()).unwrap().is_empty());
        (0..100_000).for_each(|number| latency.record_us(number * number % 70_000_000));
        latency.record_signed_us(-3);
        let again = Latency::from_text(&latency.to_text()).unwrap();
        assert_eq!(again.percentiles(), latency.percentiles());
        assert_eq!(again.times, latency.times);
        let frame = serde_json::to_string(&latency).unwrap();
        assert_eq!(serde_json::from_str::<Latency>(&frame).unwrap().times, latency.times);
        // A value in three digits and a count each: what crosses over in an interval stays small.
        assert!(frame.len() < 32_000, "{}", frame.len());
    }

    #[test]
    fn what_came_as_text_adds_up_with_what_did_not() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        one.record_us(7);
        other.record_us(LONGEST);
        let mut sum = Latency::from_text(&one.to_text()).unwrap();
        sum.add(&other);
        other.add(&Latency::from_text(&one.to_text()).unwrap());
        assert_eq!(sum.percentiles(), other.percentiles());
        assert_eq!(sum.percentiles().unwrap().count, 2);
    }

    #[test]
    fn another_text_or_other_bounds_are_told() {
        for text in ["", "5", "x:", "0:*", "0:AAAA", "-1:"] {
            assert!(Latency::from_text(text).unwrap_err().starts_with("latencies: "), "{text}");
        }
        let mut bytes = Vec::new();
        let other = Histogram::<u64>::new_with_bounds(1, 1_000, 2).unwrap();
        V2Serializer::new().serialize(&other, &mut bytes).unwrap();
        let told = Latency::from_text(&format!("0:{}", BASE64_STANDARD.encode(bytes))).unwrap_err();
        assert!(told.contains("1 to 1000 µs with 2 digits; expected 1 to 3600000000 with 3"), "{told}");
    }
}
