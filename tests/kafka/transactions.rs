//! Topics with transactions: their markers and aborted messages occupy offsets and are not messages, and messages behind an open
//! transaction cannot be read yet. Positions and commits reach the high watermark nevertheless.

use nix::sys::signal::Signal;

use crate::harness::kafka::{Topic, brokers, tool};
use crate::harness::program::{Running, distinct, kafka_actors, printed};
use crate::harness::site::{LISTEN, Site};
use crate::harness::transactions::Transactions;
use crate::harness::{unique, wait_for};

const MANUAL: &str = "--assignment manual";
const CLASSIC: &str = "--assignment group --set consumer.membership.group_protocol=classic";
const KIP_848: &str = "--assignment group --set consumer.membership.group_protocol=consumer";

/// `consume` that prints, serves its status, and has short stall timeouts.
fn start(topic: &Topic, membership: &str) -> Running {
    let watched = "--set consumer.watchdog.stall_timeout=4s --set monitoring.readiness_stall_timeout=3s --processes 1";
    topic.consume(&format!("--processor print {membership} {watched} {LISTEN}")).start()
}

/// Waits until this offset is committed with a lag of 0, by Kafka's own tool.
fn wait_for_commit(topic: &Topic, end: i64) {
    wait_for(&format!("a commit at {end}"), || topic.committed_and_lag() == (end, 0));
}

/// Stops the run. Asserts that it detected no stall and printed no message twice; returns the number of messages.
fn end(running: Running) -> usize {
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert!(!ended.stderr.contains("stood still"), "{}", ended.stderr);
    assert_eq!(ended.restarts(), Vec::<String>::new());
    let last = &ended.partitions()[0];
    assert_eq!((&last["position"], &last["lag"]), (&last["high_watermark"], &0.into()), "{last}");
    distinct(&printed(&ended.stdout))
}

/// Transactions that are committed, aborted and empty at their ends; the position reaches the high watermark after each.
fn positions_pass_markers(membership: &str) {
    let topic = Topic::new(1);
    let transactions = Transactions::new(&topic);
    transactions.begin(100).commit();
    let running = start(&topic, membership);
    running.wait_for_lines(100);
    wait_for_commit(&topic, 101);
    transactions.begin(500).abort();
    wait_for_commit(&topic, 602);
    transactions.begin(10).commit();
    wait_for_commit(&topic, 613);
    // Everything that retention removes below the position has been read.
    topic.delete_below(0, 613);
    assert_eq!(end(running), 110);
    let again = topic.consume(&format!("--processor print --idle-exit 1 {membership}")).run().expect(0);
    assert_eq!(again.stdout, "", "nothing is read again, and nothing is missing");
}

#[test]
#[ignore = "needs a real Kafka"]
fn positions_pass_transaction_markers_and_aborted_messages() {
    positions_pass_markers(MANUAL);
}

#[test]
#[ignore = "needs a real Kafka"]
fn positions_of_a_classic_groups_members_pass_transaction_markers_and_aborted_messages() {
    positions_pass_markers(CLASSIC);
}

#[test]
#[ignore = "needs a real Kafka"]
fn positions_of_a_kip_848_groups_members_pass_transaction_markers_and_aborted_messages() {
    positions_pass_markers(KIP_848);
}

/// A transaction that stays open for longer than `stall_timeout`, behind completed transactions.
fn an_open_transaction_is_no_stall(membership: &str) {
    let topic = Topic::new(1);
    let [first, second] = [Transactions::new(&topic), Transactions::new(&topic)];
    first.begin(100).commit();
    let running = start(&topic, membership);
    running.wait_for_lines(100);
    wait_for_commit(&topic, 101);
    // The last stable offset is behind the aborted messages, and their marker is behind it.
    let aborted = first.begin(50);
    let open = second.begin(200);
    aborted.abort();
    wait_for("the position at the last stable offset", || {
        topic.committed_and_lag().0 == 151 && topic.committed_and_lag().1 > 0
    });
    // Longer than `stall_timeout` and the reaction to it.
    std::thread::sleep(std::time::Duration::from_secs(6));
    let site = Site::of(&running);
    assert_eq!(site.get("/readyz").map(|(code, _)| code), Some(200));
    assert_eq!(site.rows("partitions")[0]["stalled_seconds"], 0.0);
    assert_eq!(running.stdout().lines().count(), 100, "it is not committed yet");
    open.commit();
    running.wait_for_lines(300);
    wait_for_commit(&topic, 353);
    assert_eq!(end(running), 300);
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_open_transaction_is_no_stall_and_is_read_when_it_is_committed() {
    an_open_transaction_is_no_stall(MANUAL);
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_open_transaction_is_no_stall_of_a_classic_groups_member() {
    an_open_transaction_is_no_stall(CLASSIC);
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_open_transaction_is_no_stall_of_a_kip_848_groups_member() {
    an_open_transaction_is_no_stall(KIP_848);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_log_that_ends_in_aborted_messages_is_read_to_its_end() {
    for membership in [MANUAL, CLASSIC, KIP_848] {
        let topic = Topic::new(1);
        let transactions = Transactions::new(&topic);
        transactions.begin(40).commit();
        transactions.begin(20).abort();
        let ended = topic.consume(&format!("--processor print --until-end {membership}")).run().expect(0);
        assert_eq!(distinct(&printed(&ended.expect_committed().stdout)), 40, "{membership}");
        assert_eq!(topic.committed_and_lag(), (62, 0), "{membership}");
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn with_read_uncommitted_open_and_aborted_messages_are_messages() {
    for membership in [MANUAL, CLASSIC] {
        let topic = Topic::new(1);
        let transactions = Transactions::new(&topic);
        transactions.begin(40).abort();
        let open = transactions.begin(20);
        let read = "--set consumer.properties.isolation.level=read_uncommitted";
        let ended = topic.consume(&format!("--processor print --until-end {read} {membership}")).run().expect(0);
        assert_eq!(distinct(&printed(&ended.stdout)), 60, "{membership}");
        assert_eq!(topic.committed_and_lag(), (61, 0), "{membership}");
        open.commit();
    }
}

/// A worker that is killed after its position has passed markers, and after retention has removed them.
#[test]
#[ignore = "needs a real Kafka"]
fn a_restarted_worker_continues_behind_markers_that_retention_has_removed() {
    for membership in [MANUAL, CLASSIC] {
        let topic = Topic::new(1);
        let transactions = Transactions::new(&topic);
        transactions.begin(100).commit();
        let running = start(&topic, membership);
        running.wait_for_lines(100);
        wait_for_commit(&topic, 101);
        topic.delete_below(0, 101);
        let killed = running.workers()[0];
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(killed), Signal::SIGKILL).unwrap();
        wait_for("a successor", || running.workers().iter().any(|pid| *pid != killed));
        transactions.begin(30).commit();
        running.wait_for_lines(130);
        wait_for_commit(&topic, 132);
        running.signal(Signal::SIGTERM);
        let ended = running.end().expect(0).expect_committed();
        assert_eq!((distinct(&printed(&ended.stdout)), ended.restarts().len()), (130, 1));
    }
}

/// A compacted topic that ends in aborted messages: offsets without messages in the middle and at the end.
#[test]
#[ignore = "needs a real Kafka"]
fn positions_pass_what_compaction_has_removed() {
    let topic = Topic { name: unique("compacted"), brokers: brokers() };
    let mut create =
        vec!["--bootstrap-server", &topic.brokers, "--create", "--topic", &topic.name, "--partitions", "1"];
    // Each batch closes the previous segment.
    let compacted = ["cleanup.policy=compact", "segment.ms=1", "max.compaction.lag.ms=100", "delete.retention.ms=1"];
    compacted.iter().for_each(|config| create.extend(["--config", config]));
    tool("org.apache.kafka.tools.TopicCommand", &create, "");
    topic.write_lines(&"a\t1\n".repeat(60));
    topic.write_lines("a\tNULL\n");
    topic.write_lines("b\t1\n");
    Transactions::new(&topic).begin(5).abort();
    let end = topic.end();
    assert_eq!(end, 68);
    let read = |group: &str, membership: &str| {
        let of = format!("--brokers {} --topic {} --group {group}", topic.brokers, topic.name);
        kafka_actors(&format!("consume {of} --processor print --until-end {membership}")).run().expect(0)
    };
    wait_for("compaction", || read(&unique("looks"), MANUAL).processed() < 10);
    for membership in [MANUAL, CLASSIC, KIP_848] {
        let ended = read(&unique("reads"), membership).expect_committed();
        assert_eq!((ended.sum("position"), ended.sum("committed"), ended.sum("lag")), (end, end, 0), "{membership}");
    }
}
