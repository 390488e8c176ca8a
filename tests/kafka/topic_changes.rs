//! Topics that change while they are consumed: partitions that are added, topics that are deleted, messages that retention has
//! removed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Ended, Running, distinct, is_alive, kafka_actors, printed};
use crate::harness::wait_for;

/// The shortest refresh interval that the program accepts.
const SOON: &str = "--set consumer.metadata_refresh_interval=1s";

/// Adds partitions up to this number.
fn grow(topic: &Topic, partitions: &str) {
    let more = ["--bootstrap-server", &topic.brokers, "--alter", "--topic", &topic.name, "--partitions", partitions];
    tool("org.apache.kafka.tools.TopicCommand", &more, "");
}

fn added_partitions_are_read(assignment: &str) {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic.consume(&format!("--processor print --assignment {assignment} {SOON}")).start();
    running.wait_for_lines(40);
    // Group members detect new partitions by the client's metadata refresh, which has to follow the same setting.
    grow(&topic, "6");
    // Written before any consumer can have detected the partitions: without a start at the low watermark, these messages would be
    // missing.
    topic.fill(400);
    running.wait_for_lines(440);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(distinct(&printed(&ended.stdout)), 440);
    assert_eq!((ended.partitions().len(), topic.committed_and_lag()), (6, (440, 0)));
}

#[test]
#[ignore = "needs a real Kafka"]
fn partitions_that_are_added_are_found_and_read_from_their_beginning() {
    added_partitions_are_read("manual");
}

#[test]
#[ignore = "needs a real Kafka"]
fn partitions_that_are_added_are_assigned_by_the_group_from_their_beginning() {
    added_partitions_are_read("group");
}

/// `auto_offset_reset = "latest"` skips the messages that existed before the run, and none of a partition that is added during the
/// run.
fn added_partitions_are_read_from_their_first_message(membership: &str) {
    let topic = Topic::new(2);
    topic.fill(40);
    let end = "--set consumer.auto_offset_reset=latest";
    let running = topic.consume(&format!("--processor print --processes 2 {end} {membership} {SOON}")).start();
    wait_for("both to be read", || running.stderr().matches("INFO reading").count() >= 2);
    wait_for("the start to be committed, or known", || {
        membership.contains("manual") || topic.committed_and_lag() == (40, 0)
    });
    grow(&topic, "6");
    // Written before any consumer can have detected the partitions.
    topic.fill(400);
    running.wait_for_lines(400);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    let read = printed(&ended.stdout);
    assert_eq!((distinct(&read), topic.committed_and_lag()), (400, (440, 0)));
    assert!((2..6).all(|added| read.contains(&(added, 0))), "from their first message: {read:?}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn added_partitions_are_read_from_their_first_message_also_without_a_commit() {
    added_partitions_are_read_from_their_first_message("--assignment manual");
}

#[test]
#[ignore = "needs a real Kafka"]
fn added_partitions_are_read_from_their_first_message_by_a_classic_groups_members() {
    added_partitions_are_read_from_their_first_message("--assignment group");
}

#[test]
#[ignore = "needs a real Kafka"]
fn added_partitions_are_read_from_their_first_message_by_a_kip_848_groups_members() {
    added_partitions_are_read_from_their_first_message(
        "--assignment group --set consumer.membership.group_protocol=consumer",
    );
}

/// Members that join later start their partitions at the offset at which the first member started.
#[test]
#[ignore = "needs a real Kafka"]
fn a_start_at_the_end_is_kept_when_the_partition_moves() {
    let topic = Topic::new(4);
    topic.fill(40);
    let member = |host: &str| {
        let settings =
            format!("--set consumer.auto_offset_reset=latest --set consumer.membership.instance_id_prefix={host}");
        topic.consume(&format!("--processor print --processes 1 --assignment group {settings}")).start()
    };
    let first = member("a");
    wait_for("all of them", || first.stderr().contains("INFO reading"));
    // It takes no messages while it is paused: messages that are written now are left to the second member.
    first.signal(Signal::SIGUSR2);
    wait_for("pause", || first.stderr().contains("paused:"));
    topic.fill(400);
    let second = member("b");
    wait_for("its share", || second.stderr().contains("INFO reading"));
    first.signal(Signal::SIGCONT);
    wait_for("all messages", || first.stdout().lines().count() + second.stdout().lines().count() >= 400);
    [first, second].into_iter().for_each(|running| {
        running.signal(Signal::SIGTERM);
        running.end().expect(0);
    });
    assert_eq!(topic.committed_and_lag(), (440, 0));
}

/// The checker includes partitions that are added while `verify` produces.
fn added_partitions_are_verified(membership: &str) {
    let topic = Topic::new(2);
    let producers = "--set producer.properties.topic.metadata.refresh.interval.ms=500";
    let load = "--threads 2 --messages-per-thread 0 --rate 400 --key uniform --timeout 100";
    let running =
        topic.verify(&format!("{load} {producers} {membership} --set consumer.metadata_refresh_interval=1s")).start();
    running.wait_for_acknowledgements();
    grow(&topic, "5");
    wait_for("messages in the new partitions", || topic.ends().iter().filter(|(_, end)| *end > 0).count() == 5);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect_found(&[]);
    assert_eq!(ended.count("acknowledged"), ended.count("processed"));
    let added: Vec<_> = ended.partitions().iter().filter(|row| row["partition"].as_i64() >= Some(2)).collect();
    assert!(added.len() == 3 && added.iter().all(|row| row["processed"].as_i64() > Some(0)), "{added:?}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn partitions_that_are_added_during_verify_are_read_to_their_ends() {
    added_partitions_are_verified("--set consumer.assignment=manual");
}

#[test]
#[ignore = "needs a real Kafka"]
fn partitions_that_are_added_during_verify_are_read_to_their_ends_by_a_group() {
    added_partitions_are_verified("--set consumer.assignment=group");
    added_partitions_are_verified("--set consumer.assignment=group --set consumer.membership.group_protocol=consumer");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_is_deleted_during_a_run_is_named_and_the_program_ends() {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic.consume(&format!("--processor print {SOON}")).start();
    running.wait_for_lines(40);
    let delete = ["--bootstrap-server", &topic.brokers, "--delete", "--topic", &topic.name];
    tool("org.apache.kafka.tools.TopicCommand", &delete, "");
    let ended = running.end().expect(1);
    assert!(ended.reason().contains(&topic.name) && ended.reason().contains("deleted"), "{}", ended.reason());
    assert_eq!(ended.restarts(), Vec::<String>::new());
}

/// Deletes the topic and creates it again at once: a periodic check does not detect its absence.
fn recreate(topic: &Topic, partitions: u32) {
    let Topic { name, brokers } = topic;
    kafka_actors(&format!("topics delete {name} --brokers {brokers}")).run().expect(0);
    let create = || kafka_actors(&format!("topics create {name}:{partitions}:1 --brokers {brokers}")).run();
    wait_for("the topic to be created again", || create().status.success());
}

const MEMBERSHIPS: [&str; 3] = [
    "--assignment manual",
    "--assignment group",
    "--assignment group --set consumer.membership.group_protocol=consumer",
];

/// A run that has read 100 messages of a topic, which is then created again with 500 messages.
fn recreated_during_the_run(arguments: &str) -> (Topic, Running) {
    let topic = Topic::new(1);
    topic.fill(100);
    let running = topic.consume(&format!("--processor print --processes 1 {arguments}")).start();
    running.wait_for_lines(100);
    wait_for("the commit", || topic.committed_and_lag() == (100, 0));
    recreate(&topic, 1);
    topic.fill(500);
    (topic, running)
}

fn offsets(stdout: &str) -> BTreeSet<i64> {
    printed(stdout).into_iter().map(|(_, offset)| offset).collect()
}

fn a_recreated_topic_is_read_completely(membership: &str) {
    let earliest = "--set consumer.offset_out_of_range=earliest";
    let (topic, running) = recreated_during_the_run(&format!("{membership} {earliest}"));
    let new = |running: &Running| {
        let stdout = running.stdout();
        let new = stdout.lines().skip(100).map(|line| format!("{line}\n")).collect::<String>();
        offsets(&new)
    };
    wait_for("all messages of the new topic", || new(&running) == (0..500).collect());
    wait_for("their commit", || topic.committed_and_lag() == (500, 0));
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(ended.restarts(), Vec::<String>::new());
    let again = topic.consume(&format!("--processor print --idle-exit 1 {membership}")).run().expect(0);
    assert_eq!(again.stdout, "", "its commits hold");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_is_created_again_is_read_from_its_first_message() {
    a_recreated_topic_is_read_completely(MEMBERSHIPS[0]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_is_created_again_is_read_from_its_first_message_by_a_classic_group() {
    a_recreated_topic_is_read_completely(MEMBERSHIPS[1]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_is_created_again_is_read_from_its_first_message_by_a_kip_848_group() {
    a_recreated_topic_is_read_completely(MEMBERSHIPS[2]);
}

/// Offsets of the new topic that a worker processed would be committed for the old topic, and the messages would be processed
/// again.
#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_reads_nothing_of_a_topic_that_is_created_again_before_its_supervisor_restarts_it() {
    for membership in &MEMBERSHIPS[1..] {
        let earliest = "--set consumer.offset_out_of_range=earliest";
        let topic = Topic::new(1);
        topic.fill(100);
        let frozen = topic.consume(&format!("--processor print --processes 1 {membership} {earliest}")).start();
        frozen.wait_for_lines(100);
        wait_for("the commit", || topic.committed_and_lag() == (100, 0));
        let workers = frozen.workers();
        frozen.signal(Signal::SIGSTOP);
        recreate(&topic, 1);
        // Fewer messages than before: the old position is out of range.
        topic.fill(40);
        let deadline = Instant::now() + Duration::from_secs(6);
        while frozen.stdout().lines().count() < 140 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        frozen.signal(Signal::SIGKILL);
        wait_for("the workers' end", || !workers.iter().any(|worker| is_alive(*worker)));
        let before = frozen.stdout().lines().count() - 100;
        let next = topic.consume(&format!("--processor print --until-end {membership} {earliest}")).run().expect(0);
        assert_eq!(before + next.stdout.lines().count(), 40, "each once ({membership}); {before} before the restart");
    }
}

/// By default the program exits; a run that follows its advice reads all messages.
#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_is_created_again_stops_the_program_by_default() {
    for membership in &MEMBERSHIPS[..2] {
        let (topic, running) = recreated_during_the_run(membership);
        expect_decision(&running.end().expect(1), &topic);
        let earliest = "--set consumer.offset_out_of_range=earliest --idle-exit 3";
        let ended = topic.consume(&format!("--processor print {membership} {earliest}")).run().expect(0);
        assert_eq!(offsets(&ended.expect_committed().stdout), (0..500).collect(), "{membership}");
        assert_eq!(topic.committed_and_lag(), (500, 0));
    }
}

/// Asserts that the exit reason states the cause and the options.
fn expect_decision(ended: &Ended, topic: &Topic) {
    let reason = ended.reason();
    let reported = ["created again", topic.name.as_str(), "consumer.offset_out_of_range = \"earliest\""];
    reported.into_iter().for_each(|reported| assert!(reason.contains(reported), "{reported}: {reason}"));
}

/// Commits an offset for the topic's group, as this program did for an earlier topic with the same name.
fn commit_of_a_topic_before(topic: &Topic, offset: i64) {
    let mut config = ClientConfig::new();
    let client: BaseConsumer =
        config.set("bootstrap.servers", &topic.brokers).set("group.id", &topic.name).create().unwrap();
    let mut list = TopicPartitionList::new();
    let mut partition = list.add_partition(&topic.name, 0);
    partition.set_offset(Offset::Offset(offset)).unwrap();
    partition.set_metadata("kafka-actors run=0000000000000001 topic=AAAAAAAAAAAAAAAAAAAAAQ");
    wait_for("the commit", || client.commit(&list, CommitMode::Sync).is_ok());
}

/// The committed offset exists in the new log, but belongs to the old one.
#[test]
#[ignore = "needs a real Kafka"]
fn a_commit_of_a_topic_before_is_void_at_the_next_start() {
    for membership in MEMBERSHIPS {
        // A member without a static id leaves its group; before that, the group accepts no commits from other clients.
        let membership = format!("{membership} --set consumer.membership.static_membership=false --processes 1");
        let topic = Topic::new(1);
        topic.fill(500);
        commit_of_a_topic_before(&topic, 100);
        let start = |arguments: &str| topic.consume(&format!("--processor print {membership} {arguments}")).run();
        expect_decision(&start("").expect(1), &topic);
        assert_eq!(topic.committed_and_lag(), (100, 400), "nothing was touched");
        let ended = start("--until-end --set consumer.offset_out_of_range=earliest").expect(0).expect_committed();
        assert_eq!(offsets(&ended.stdout), (0..500).collect(), "{membership}");
        assert_eq!(start("--idle-exit 1").expect(0).stdout, "", "{membership}");
        commit_of_a_topic_before(&topic, 100);
        let ended = start("--idle-exit 5 --set consumer.offset_out_of_range=latest").expect(0);
        assert_eq!((ended.stdout.as_str(), topic.committed_and_lag()), ("", (500, 0)), "{membership}");
        assert_eq!(start("--idle-exit 1").expect(0).stdout, "", "{membership}");
    }
}

/// One partition of 100 messages; 10 are committed, and everything below 30 is deleted.
fn with_a_hole() -> Topic {
    let topic = Topic::new(1);
    topic.fill(100);
    topic.consume("--processor count --max-messages 10").run().expect(0);
    topic.delete_below(0, 30);
    topic
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_committed_offset_that_is_gone_stops_the_program() {
    let topic = with_a_hole();
    let ended = topic.consume("--processor print --until-end").run().expect(1);
    let reason = ended.reason();
    for reported in [topic.name.as_str(), "10", "30", "consumer.offset_out_of_range"] {
        assert!(reason.contains(reported), "{reported}: {reason}");
    }
    assert_eq!((ended.stdout.lines().count(), topic.committed_and_lag().0), (0, 10), "nothing was touched");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_committed_offset_that_is_gone_may_mean_the_earliest_message() {
    let topic = with_a_hole();
    let ended = topic.consume("--processor print --until-end --set consumer.offset_out_of_range=earliest").run();
    let ended = ended.expect(0).reports("20 messages").expect_committed();
    assert_eq!(printed(&ended.stdout), (30..100).map(|offset| (0, offset)).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_committed_offset_that_is_gone_may_mean_the_latest_message() {
    let topic = with_a_hole();
    let running = topic.consume("--processor print --set consumer.offset_out_of_range=latest").start();
    wait_for("reading", || running.stderr().contains("INFO reading"));
    // The log states the number of skipped messages with the offset at which the worker continues.
    wait_for("it to be said", || {
        running.stderr().contains("20 messages are gone") && running.stderr().contains("going on at 100")
    });
    topic.fill(40);
    running.wait_for_lines(40);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(printed(&ended.stdout), (100..140).map(|offset| (0, offset)).collect::<Vec<_>>());
}

/// Retention passes a consumer that is busy with one message. It continues with the messages that it has fetched, which are only a
/// part of all messages, and then reaches the gap.
fn messages_are_deleted_during_a_run(policy: &str) -> (Topic, Ended) {
    let topic = Topic::new(1);
    topic.produce("--messages-per-thread 2000 --size 2000").run().expect(0);
    let body =
        "while m['offset'] == 10 and not os.path.exists('go'): open('tenth', 'w'); time.sleep(0.01)\n    answer(m)";
    let fetched = "--set consumer.memory_budget_mb=1";
    let arguments = format!("--processes 1 --set consumer.offset_out_of_range={policy} {fetched} --idle-exit 3");
    let running = topic.consume_with(&arguments, body).start();
    wait_for("the tenth", || running.has_file("tenth"));
    topic.delete_below(0, 8_000);
    topic.fill(40);
    running.make_file("go");
    (topic, running.end())
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_are_deleted_before_they_are_read_are_not_missed_silently() {
    let (topic, ended) = messages_are_deleted_during_a_run("earliest");
    let ended = ended.expect(0).expect_committed();
    assert_eq!(topic.committed_and_lag(), (8_040, 0));
    let missing = 8_040 - ended.processed();
    assert!((100..8_000).contains(&missing), "{missing}: not what was fetched ahead, nor the forty");
    let counted = format!(": {missing} messages from offset ");
    assert!(ended.stderr.replace(',', "").contains(&counted), "{counted:?} is not in:\n{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_are_deleted_before_they_are_read_stop_the_program_by_default() {
    let (topic, ended) = messages_are_deleted_during_a_run("stop");
    let ended = ended.expect(1);
    let reason = ended.reason();
    assert!(reason.contains(&topic.name) && reason.contains("consumer.offset_out_of_range"), "{reason}");
    assert_eq!(topic.committed_and_lag().0, ended.processed() as i64, "what was processed is committed");
}
