//! Topics that change under their readers: partitions that are added, topics that are deleted, messages that retention
//! has removed.

use nix::sys::signal::Signal;

use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Ended, distinct, printed};
use crate::harness::wait_for;

/// What the program asks for most often.
const SOON: &str = "--set consumer.topic_poll_interval=1s";

fn added_partitions_are_read(assignment: &str) {
    let topic = Topic::new(2);
    topic.fill(40);
    let running = topic.consume(&format!("--processor print --assignment {assignment} {SOON}")).start();
    running.wait_for_lines(40);
    // Members learn of them by the client's own look at the topics, which has to follow the same setting.
    let more = ["--bootstrap-server", &topic.brokers, "--alter", "--topic", &topic.name, "--partitions", "6"];
    tool("org.apache.kafka.tools.TopicCommand", &more, "");
    // Written before anybody can have found them: from their beginning, or it would be missing.
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
fn partitions_that_are_added_are_dealt_by_the_group_from_their_beginning() {
    added_partitions_are_read("group");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_is_deleted_under_its_readers_is_named_and_the_program_ends() {
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

/// One partition of 100 messages; 10 are committed, and everything below 30 is gone.
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
    for told in [topic.name.as_str(), "10", "30", "consumer.offset_out_of_range"] {
        assert!(reason.contains(told), "{told}: {reason}");
    }
    assert_eq!((ended.stdout.lines().count(), topic.committed_and_lag().0), (0, 10), "nothing was touched");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_committed_offset_that_is_gone_may_mean_the_earliest_message() {
    let topic = with_a_hole();
    let ended = topic.consume("--processor print --until-end --set consumer.offset_out_of_range=earliest").run();
    let ended = ended.expect(0).says("20 messages").expect_committed();
    assert_eq!(printed(&ended.stdout), (30..100).map(|offset| (0, offset)).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_committed_offset_that_is_gone_may_mean_the_latest_message() {
    let topic = with_a_hole();
    let running = topic.consume("--processor print --set consumer.offset_out_of_range=latest").start();
    wait_for("reading", || running.stderr().contains("INFO reading"));
    // Where it goes on says what is jumped over.
    wait_for("it to be said", || {
        running.stderr().contains("20 messages are gone") && running.stderr().contains("going on at 100")
    });
    topic.fill(40);
    running.wait_for_lines(40);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(printed(&ended.stdout), (100..140).map(|offset| (0, offset)).collect::<Vec<_>>());
}

/// Retention goes past a reader that is busy with one message: it goes on with those that it has fetched, which are at most
/// a part of these, and meets the hole behind them.
fn messages_vanish_under_a_reader(policy: &str) -> (Topic, Ended) {
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
fn messages_that_vanish_under_their_reader_are_not_missed_silently() {
    let (topic, ended) = messages_vanish_under_a_reader("earliest");
    let ended = ended.expect(0).expect_committed();
    assert_eq!(topic.committed_and_lag(), (8_040, 0));
    let missing = 8_040 - ended.processed();
    assert!((100..8_000).contains(&missing), "{missing}: not what was fetched ahead, nor the forty");
    ended.says(&format!("{missing} message"));
}

#[test]
#[ignore = "needs a real Kafka"]
fn messages_that_vanish_under_their_reader_stop_the_program_by_default() {
    let (topic, ended) = messages_vanish_under_a_reader("stop");
    let ended = ended.expect(1);
    let reason = ended.reason();
    assert!(reason.contains(&topic.name) && reason.contains("consumer.offset_out_of_range"), "{reason}");
    assert_eq!(topic.committed_and_lag().0, ended.processed() as i64, "what was processed is committed");
}
