//! Quotas of the cluster: a client that the brokers throttle is not stalled, idle or failed.

use crate::harness::kafka::{Topic, brokers, tool};
use crate::harness::site::{LISTEN, Site};
use crate::harness::{unique, wait_for};

/// A quota for a unique client id: it does not affect other clients of the shared broker.
struct Quota {
    client: String,
    name: &'static str,
}

impl Quota {
    fn new(name: &'static str, bytes_per_second: u32) -> Self {
        let quota = Self { client: unique("throttled"), name };
        quota.alter("--add-config", &format!("{name}={bytes_per_second}"));
        quota
    }

    fn alter(&self, how: &str, what: &str) {
        let entity = ["--entity-type", "clients", "--entity-name", &self.client];
        let brokers = brokers();
        let arguments = [&["--bootstrap-server", &brokers, "--alter", how, what][..], &entity].concat();
        tool("kafka.admin.ConfigCommand", &arguments, "");
    }

    fn setting(&self) -> String {
        format!("--set kafka.properties.client.id={}", self.client)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.alter("--delete-config", self.name);
        }
    }
}

const BEGINS: &str = "are throttled by broker 1";
const ENDS: &str = "are no longer throttled";

#[test]
#[ignore = "needs a real Kafka"]
fn a_throttled_consumer_is_neither_stalled_nor_idle_nor_unready() {
    let topic = Topic::new(8);
    let messages = "--messages-per-thread 1000 --size 1000 --key round_robin --set producer.compression=none";
    assert_eq!(topic.produce(messages).run().expect(0).acknowledged(), 4_000);
    // Each fetch returns up to ten seconds' worth of the quota, and the other fetches wait for it.
    let quota = Quota::new("consumer_byte_rate", 200_000);
    let impatient =
        "--set consumer.watchdog.stall_timeout=2s --set monitoring.readiness_stall_timeout=2s --idle-exit 3";
    let arguments = format!("--processor count --processes 4 {LISTEN} {impatient} {}", quota.setting());
    let running = topic.consume(&arguments).start();
    let site = Site::of(&running);
    site.wait_until_ready_is(200, "");
    let throttled = || {
        let workers = site.rows("workers");
        let brokers = workers.iter().filter_map(|worker| worker["client"]["brokers"].as_array());
        brokers.flatten().any(|broker| broker["throttle_seconds"].as_f64() > Some(2.0))
    };
    wait_for("the brokers to throttle", throttled);
    assert!(site.get("/metrics").unwrap().1.contains("kafka_actors_consumer_client_throttle_seconds"));
    wait_for("the line about it", || running.stderr().contains(BEGINS));
    // The last state of the finished run is ready.
    let mut unready = Vec::new();
    while let Some((code, reasons)) = site.get("/readyz") {
        unready.extend((code != 200).then_some(reasons));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let ended = running.end().expect(0).expect_committed();
    assert_eq!((ended.processed(), ended.restarts()), (4_000, Vec::<String>::new()));
    assert!(unready.is_empty(), "{unready:?}");
    assert!(!ended.stderr.contains("has stood still"), "{}", ended.stderr);
    assert_eq!((ended.stderr.matches(BEGINS).count(), ended.stderr.matches(ENDS).count()), (1, 1), "{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_throttled_producer_reports_it_and_has_not_failed() {
    let topic = Topic::new(3);
    let quota = Quota::new("producer_byte_rate", 100_000);
    let arguments = "--threads 2 --duration 12 --rate 200 --size 2000 --set producer.compression=none --set producer.linger=50ms \
                     --set consumer.watchdog.stall_timeout=2s";
    let running = topic.produce(&format!("{arguments} {LISTEN} {}", quota.setting())).start();
    let site = Site::of(&running);
    let throttled = || {
        let threads = site.status()["produce"]["threads"].as_array().cloned().unwrap_or_default();
        let brokers = threads.iter().filter_map(|thread| thread["client"]["brokers"].as_array().cloned());
        brokers.flatten().any(|broker| broker["throttle_seconds"].as_f64() > Some(0.0))
    };
    wait_for("the brokers to throttle", throttled);
    let ended = running.end().expect(0).reports(BEGINS);
    assert_eq!(topic.end() as u64, ended.acknowledged());

    let few = format!("{arguments} --set producer.message_timeout=3s --duration 30 --rate 500 {}", quota.setting());
    let ended = topic.produce(&few).run().expect(1).reports(BEGINS);
    let reason = "Local: Message timed out while the brokers throttled this client";
    assert!(ended.reason().contains(reason), "{}", ended.reason());
}
