//! Kafka's default partitioner, which librdkafka's `murmur2_random` implements, too.

use murmur2::{KAFKA_SEED, murmur2};

/// The partition of a key in a topic with this number of partitions, as the Java client's default partitioner
/// computes it; 0 if the topic has none. Messages without a key have no fixed partition.
pub fn murmur2_partition(key: &[u8], partitions: u32) -> i32 {
    // Java has no unsigned numbers, so Kafka drops the sign.
    let positive = murmur2(key, KAFKA_SEED) & 0x7fff_ffff;
    positive.checked_rem(partitions).and_then(|partition| i32::try_from(partition).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys and hashes of Kafka's own test, `UtilsTest.testMurmur2`.
    const KNOWN: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];

    #[test]
    fn a_key_belongs_where_kafka_puts_it() {
        for (key, hash) in KNOWN {
            let partition = (hash & i32::MAX) % 12;
            assert_eq!(murmur2_partition(key.as_bytes(), 12), partition, "{key}");
            assert_eq!(murmur2_partition(key.as_bytes(), 1 << 31), hash & i32::MAX, "{key}");
        }
    }

    #[test]
    fn a_topic_without_partitions_is_no_panic() {
        assert_eq!(murmur2_partition(b"abc", 0), 0);
    }
}
