//! Long tests: many faults, or long faults. `scripts/test --chaos` runs only these, one after the other, with dedicated brokers
//! where a test harms them. The normal run skips this module.
//!
//! Each test ends with the verdict of `verify`. Where one checker cannot observe everything (several supervisors, sequential or
//! concurrent), the test checks the union of what the `print` processors wrote.

mod brokers;
mod groups;
mod network;
mod retention;
mod supervisors;
mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Running, kafka_actors, printed};

/// The maximum duration of one of these tests.
const PATIENCE: Duration = Duration::from_secs(300);

/// The random generator of a test. All random values follow from a seed, CHAOS_SEED if it is set; a failure prints the seed.
struct Chance(Xoshiro256PlusPlus);

impl Chance {
    #[allow(clippy::print_stdout, reason = "shown with a failure")]
    fn new() -> Self {
        let seed = std::env::var("CHAOS_SEED").map_or(6, |text| text.parse().unwrap());
        println!("CHAOS_SEED={seed}");
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// Sleeps for a random time of up to `most` milliseconds.
    fn pause(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.0.random_range(0..=most)));
    }
}

/// `verify` with a new topic on these brokers.
fn verify(brokers: &str, arguments: &str) -> Running {
    kafka_actors(&format!("verify --brokers {brokers} {arguments}")).start()
}

/// The messages of a topic that several runs printed, and the number of times each was printed.
#[derive(Default)]
struct Union(BTreeMap<(i64, i64), u32>);

impl Union {
    /// A killed process may leave a partial line, which does not count as a processed message.
    fn add(&mut self, stdout: &str) -> usize {
        let whole = stdout.rfind('\n').map_or("", |end| &stdout[..=end]);
        let places = printed(whole);
        for place in &places {
            *self.0.entry(*place).or_default() += 1;
        }
        places.len()
    }

    /// The number of messages that were processed more than once.
    fn again(&self) -> usize {
        self.0.values().filter(|times| **times > 1).count()
    }

    /// Asserts that every message below an offset of a partition was processed. Returns the number of processed messages beyond it.
    fn expect_all_below(&self, partition: i64, offset: i64) -> usize {
        let missing = (0..offset).find(|offset| !self.0.contains_key(&(partition, *offset)));
        assert_eq!(missing, None, "{partition}: {offset} is committed, and this was not processed");
        self.0.range((partition, offset)..(partition + 1, 0)).count()
    }

    /// Removes messages that may be processed again: everything beyond these offsets, and all other partitions.
    fn forget_beyond(&mut self, next: &BTreeMap<i64, i64>) {
        self.0.retain(|(partition, offset), _| next.get(partition).is_some_and(|next| offset < next));
    }

    /// Asserts that every message of the topic was processed, by the count of Kafka's own tool: none lost and none skipped.
    fn expect_all_of(&self, topic: &Topic) {
        let mut missing = Vec::new();
        for (partition, end) in topic.ends() {
            missing.extend((0..end).map(|offset| (partition, offset)).filter(|place| !self.0.contains_key(place)));
        }
        let first = &missing[..missing.len().min(10)];
        assert!(missing.is_empty(), "{} of {} were not processed, such as {first:?}", missing.len(), topic.end());
    }
}

/// The leaders of a topic's partitions, from Kafka's own tool.
fn leaders(topic: &Topic) -> Vec<u32> {
    let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--topic", &topic.name];
    let output = tool("org.apache.kafka.tools.TopicCommand", &arguments, "");
    let leader = |line: &str| line.split("Leader: ").nth(1)?.split_whitespace().next()?.parse().ok();
    output.lines().filter_map(leader).collect()
}
