//! Consuming from Apache Kafka: which consumer reads which partitions, and the start and stop offsets.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::kafka::Topic;
use crate::harness::program::{distinct, kafka_actors, printed, shell};
use crate::harness::wait_for;

#[test]
#[ignore = "needs a real Kafka"]
fn two_workers_share_three_partitions() {
    let topic = Topic::new(3);
    topic.fill(400);
    let workers = |strategy: &str| {
        let ended = topic.consume(&format!("--from-beginning --until-end --strategy {strategy}")).run().expect(0);
        assert_eq!(ended.processed(), 400);
        ended.partitions().iter().map(|partition| partition["worker"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(workers("range"), [0, 0, 1]);
    assert_eq!(workers("round_robin"), [0, 1, 0]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn one_partition_and_two_workers_is_reported_plainly() {
    let topic = Topic::new(1);
    topic.fill(100);
    let ended = topic
        .consume("--until-end")
        .run()
        .expect(0)
        .reports("1 partition for 2 workers")
        .reports("this worker: standby");
    assert_eq!(ended.processed(), 100);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_restart_continues_at_the_commit() {
    let topic = Topic::new(3);
    topic.fill(100);
    assert_eq!(topic.consume("--until-end").run().expect(0).expect_committed().processed(), 100);
    topic.fill(40);
    let again = topic.consume("--until-end").run().expect(0).expect_committed();
    assert_eq!((again.processed(), again.sum("start_offset")), (40, 100));
    assert_eq!(topic.consume("--until-end").run().expect(0).processed(), 0);
    assert_eq!(topic.committed_and_lag(), (140, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn starts_other_than_the_commit() {
    let topic = Topic::new(2);
    topic.fill(100);
    topic.consume("--until-end").run().expect(0);
    // Messages have their producer's clock, which is the clock of this machine. The next messages have a later millisecond, because
    // a process starts in between.
    let now = 1 + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    topic.fill(60);
    let processed = |arguments: &str| topic.consume(arguments).run().expect(0).processed();
    assert_eq!(processed("--from-beginning --until-end"), 160);
    assert_eq!(processed(&format!("--start {now} --until-end")), 60);
    assert_eq!(processed("--start latest --idle-exit 1"), 0);
    assert_eq!(processed("--group another --set consumer.auto_offset_reset=latest --idle-exit 1"), 0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn max_messages_is_exact_and_what_is_left_comes_next_time() {
    let topic = Topic::new(3);
    topic.fill(1_000);
    let mut places = Vec::new();
    for messages in [1, 299] {
        let ended =
            topic.consume(&format!("--processor print --max-messages {messages}")).run().expect(0).expect_committed();
        assert_eq!(ended.processed(), messages);
        places.extend(printed(&ended.stdout));
    }
    places.extend(printed(&topic.consume("--processor print --until-end").run().expect(0).stdout));
    assert_eq!(distinct(&places), 1_000);
}

#[test]
#[ignore = "needs a real Kafka"]
fn max_messages_stays_exact_when_its_one_worker_is_killed_replaced_and_refused_a_second() {
    let topic = Topic::new(3);
    topic.fill(3_000);
    let body = "print(m['partition'], m['offset'], file=open('seen', 'a')); time.sleep(0.005); answer(m)";
    let running = topic.consume_with("--from-beginning --processes 2 --max-messages 600", body).start();
    let seen = || running.read_file("seen").lines().count();
    wait_for("some messages", || seen() > 100);
    running.signal(Signal::SIGTTIN);
    kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
    let killed_at = seen();
    wait_for("its successor", || seen() > killed_at + 100);
    running.signal(Signal::SIGHUP);
    let ended = running.end().expect(0).expect_committed();
    let ended = ended.reports("one worker process reads all partitions").reports("no worker is added");
    assert_eq!(ended.report["consume"]["workers"].as_array().unwrap().len(), 1, "{}", ended.report);
    assert_eq!(ended.restarts().len(), 2, "{}", ended.stderr);
    let (committed, _) = topic.committed_and_lag();
    assert!((500..=600).contains(&committed), "{committed}: {}", ended.report);
    assert!((500..=600).contains(&ended.processed()), "{}", ended.report);
}

#[test]
#[ignore = "needs a real Kafka"]
fn read_only_commits_nothing_and_a_rewind_is_announced() {
    let topic = Topic::new(3);
    topic.fill(160);
    topic.consume("--until-end").run().expect(0);
    let look = "--read-only --from-beginning --processor print";
    let ended =
        topic.consume(&format!("{look} --max-messages 2")).run().expect(0).reports("read only: nothing is committed");
    assert_eq!((ended.processed(), printed(&ended.stdout).len()), (2, 2));
    assert_eq!(ended.report["consume"]["read_only"], true);
    let unknown = |field: &str| ended.partitions().iter().all(|partition| partition[field].is_null());
    assert!(unknown("committed") && unknown("lag"), "{}", ended.report);
    assert!(!ended.stderr.contains("about to move back"), "{}", ended.stderr);
    assert_eq!(topic.committed_and_lag(), (160, 0), "the group is where it was");
    assert_eq!(topic.consume("--read-only --until-end").run().expect(0).processed(), 0, "it starts where the group is");
    // A run does not create a group that does not exist.
    topic.consume(&format!("{look} --until-end --group {}-unknown", topic.name)).run().expect(0);
    let described = kafka_actors(&format!("topics describe {} --brokers {}", topic.name, topic.brokers));
    let described = described.args(&format!("--set consumer.group_id={}-unknown", topic.name)).run().expect(0).stdout;
    assert!(described.lines().skip(1).all(|line| line.split_whitespace().nth(4) == Some("-")), "{described}");
    topic.consume("--read-only --assignment group").run().expect(2).reports("consumer.read_only");

    let ended = topic.consume("--from-beginning --max-messages 2 --processor print").run().expect(0);
    let announced = format!("the group \"{}\" is about to move back in the topic \"{}\"", topic.name, topic.name);
    let at = ended.stderr.find(&announced).unwrap_or_else(|| panic!("{}", ended.stderr));
    let line = ended.stderr[at..].lines().next().unwrap();
    assert_eq!(line.matches(" to 0").count(), 3, "{line}");
    assert!(ended.stderr[..at].rfind("INFO reading").is_none(), "before anything is read:\n{}", ended.stderr);

    // Members of the group do not prevent this.
    let member = topic.consume("--assignment group").start();
    wait_for("the member", || member.stderr().contains("INFO reading"));
    assert_eq!(topic.consume(&format!("{look} --until-end")).run().expect(0).processed(), 160);
    member.signal(Signal::SIGTERM);
    member.end().expect(0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_read_only_worker_that_is_killed_continues_where_it_was() {
    let topic = Topic::new(1);
    topic.fill(400);
    let body = "print(m['offset'], file=open('seen', 'a')); time.sleep(0.005); answer(m)";
    let running = topic.consume_with("--read-only --from-beginning --until-end --processes 1", body).start();
    let seen = || running.read_file("seen").lines().count();
    wait_for("some messages", || seen() > 200);
    kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
    wait_for("its successor", || seen() > 390);
    let mut offsets: Vec<i64> = Vec::new();
    wait_for("all", || {
        offsets = running.read_file("seen").lines().map(|line| line.parse().unwrap()).collect();
        offsets.last() == Some(&399)
    });
    running.end().expect(0);
    let all = offsets.len();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), 400);
    assert!(all < 500, "{all}: not from the beginning again");
    assert_eq!(topic.committed_and_lag(), (0, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn idle_exit_ends_it_when_nothing_comes() {
    let topic = Topic::new(2);
    topic.fill(40);
    let ended = topic.consume("--idle-exit 1").run().expect(0).expect_committed();
    assert_eq!(ended.processed(), 40);
    assert!(ended.reason().contains("idle"), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn several_topics_are_read_together() {
    let (one, other) = (Topic::new(2), Topic::new(1));
    one.fill(40);
    other.fill(20);
    let topics = format!("--until-end --set consumer.topics={},{}", one.name, other.name);
    // The flag would take precedence over the setting.
    let line =
        format!("$PROGRAM consume --brokers {} --group {} --report report.json -q {topics}", one.brokers, one.name);
    let ended = shell(&format!("{line}; code=$?; cat report.json; exit $code")).run_plain().expect(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["consume"]["processed"], 60);
    assert_eq!(report["consume"]["partitions"].as_array().unwrap().len(), 3);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_closed_stdout_ends_it_cleanly() {
    let topic = Topic::new(3);
    topic.fill(10_000);
    let Topic { name, brokers } = &topic;
    let consume = format!("consume --processor print --brokers {brokers} --topic {name} --group {name}");
    let ended = shell(&format!("set -o pipefail; $PROGRAM {consume} | head -1")).run_plain().expect(0);
    assert_eq!(ended.stdout.lines().count(), 1);
    let lines = ended.stderr.lines().filter(|line| line.contains("INFO")).count();
    assert!(lines < 10, "not a line for each message:\n{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn offsets_that_are_gone_are_not_skipped_silently() {
    let topic = Topic::new(1);
    topic.fill(100);
    topic.consume("--until-end --max-messages 10").run().expect(0);
    let file = tempfile::NamedTempFile::new().unwrap();
    let content =
        format!("{{\"partitions\":[{{\"topic\":\"{}\",\"partition\":0,\"offset\":30}}],\"version\":1}}", topic.name);
    std::fs::write(file.path(), content).unwrap();
    let arguments = ["--bootstrap-server", &topic.brokers, "--offset-json-file", file.path().to_str().unwrap()];
    crate::harness::kafka::tool("org.apache.kafka.tools.DeleteRecordsCommand", &arguments, "");
    let refused = topic.consume("--until-end").run().expect(1);
    assert!(refused.reason().contains("20 messages are gone") && refused.reason().contains("offset_out_of_range"));
    let latest = topic.consume("--until-end --set consumer.offset_out_of_range=latest").run().expect(0);
    assert_eq!(latest.reports("20 messages are gone").processed(), 0);
    assert_eq!(topic.committed_and_lag(), (100, 0), "what is missing is not found missing again");
}
