//! What takes long: many faults, or faults that last. `scripts/test --chaos` runs these and nothing else, one after the
//! other, with brokers of the tests' own where they are harmed; the normal run leaves this module out.
//!
//! Each ends in `verify`'s verdict, or where one judge cannot see all of it (several supervisors, one after the other or
//! at once), in the union of what the `print` processors wrote.

mod brokers;
mod groups;
mod network;
mod supervisors;
mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Running, kafka_actors, printed};

/// How long one of these may take, in all.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is random in a test: all of it follows from a seed, CHAOS_SEED if that is set, which a failure tells.
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

    /// A moment that nobody has chosen: waits for up to so many milliseconds.
    fn pause(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.0.random_range(0..=most)));
    }
}

/// `verify` with a topic of its own on these brokers.
fn verify(brokers: &str, arguments: &str) -> Running {
    kafka_actors(&format!("verify --brokers {brokers} {arguments}")).start()
}

/// What several runs have printed of a topic, and how often.
#[derive(Default)]
struct Union(BTreeMap<(i64, i64), u32>);

impl Union {
    /// A process that is killed may leave half a line, which is no message that was processed.
    fn add(&mut self, stdout: &str) -> usize {
        let whole = stdout.rfind('\n').map_or("", |end| &stdout[..=end]);
        let places = printed(whole);
        for place in &places {
            *self.0.entry(*place).or_default() += 1;
        }
        places.len()
    }

    /// Messages that were processed more than once.
    fn again(&self) -> usize {
        self.0.values().filter(|times| **times > 1).count()
    }

    /// Asserts that everything below an offset of a partition was processed; how much beyond it was.
    fn expect_all_below(&self, partition: i64, offset: i64) -> usize {
        let missing = (0..offset).find(|offset| !self.0.contains_key(&(partition, *offset)));
        assert_eq!(missing, None, "{partition}: {offset} is committed, and this was not processed");
        self.0.range((partition, offset)..(partition + 1, 0)).count()
    }

    /// Forgets what may come again: all that is beyond these offsets of the partitions, and all of other partitions.
    fn forget_beyond(&mut self, next: &BTreeMap<i64, i64>) {
        self.0.retain(|(partition, offset), _| next.get(partition).is_some_and(|next| offset < next));
    }

    /// Asserts that everything in the topic is there, as Kafka's own tool counts it: nothing lost and nothing skipped.
    fn expect_all_of(&self, topic: &Topic) {
        let mut missing = Vec::new();
        for (partition, end) in topic.ends() {
            missing.extend((0..end).map(|offset| (partition, offset)).filter(|place| !self.0.contains_key(place)));
        }
        let first = &missing[..missing.len().min(10)];
        assert!(missing.is_empty(), "{} of {} were not processed, such as {first:?}", missing.len(), topic.end());
    }
}

/// The leaders of a topic's partitions, as Kafka's own tool says.
fn leaders(topic: &Topic) -> Vec<u32> {
    let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--topic", &topic.name];
    let output = tool("org.apache.kafka.tools.TopicCommand", &arguments, "");
    let leader = |line: &str| line.split("Leader: ").nth(1)?.split_whitespace().next()?.parse().ok();
    output.lines().filter_map(leader).collect()
}
