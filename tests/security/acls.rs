//! Users without a permission: each failure ends the command, and names exactly the missing permission.

use std::sync::{Arc, Mutex, Weak};

use nix::sys::signal::Signal;

use crate::harness::broker::Broker;
use crate::harness::kafka::tool;
use crate::harness::program::{Ended, Program, kafka_actors};
use crate::harness::site::{LISTEN, Site};
use crate::harness::{unique, wait_for};

/// A broker with an authorizer. Tests that run at the same time share one.
struct Guarded {
    broker: Broker,
    users: String,
}

static SHARED: Mutex<Weak<Guarded>> = Mutex::new(Weak::new());

impl Guarded {
    fn start() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let (broker, users) = Broker::with_acls("");
            let guarded = Arc::new(Self { broker, users });
            *shared = Arc::downgrade(&guarded);
            guarded
        })
    }

    /// A topic of one partition with 40 messages.
    fn topic(&self, name: &str) -> String {
        let (name, brokers) = (unique(name), &self.broker.brokers);
        kafka_actors(&format!("topics create {name}:1:1 --brokers {brokers}")).run().expect(0);
        let fill = format!("produce --brokers {brokers} --topic {name} --threads 1 --messages-per-thread 40");
        kafka_actors(&fill).run().expect(0);
        name
    }

    /// Runs `--add` or `--remove` for ACLs of a user, such as `["--operation", "Read", "--topic", "t"]`.
    fn acls(&self, how: &str, user: &str, what: &[&str]) {
        let principal = format!("User:{user}");
        let common = ["--bootstrap-server", &self.broker.brokers, how, "--force", "--allow-principal", &principal];
        tool("org.apache.kafka.tools.AclCommand", &[&common[..], what].concat(), "");
    }

    fn allow(&self, user: &str, operation: &str, resource: &str, name: &str) {
        self.acls("--add", user, &["--operation", operation, resource, name]);
    }

    /// Allows READ on the group in which a supervisor with manual assignment holds its lock.
    fn allow_lock(&self, user: &str, group: &str) {
        self.allow(user, "Read", "--group", &format!("{group}.supervisor"));
    }

    /// Runs the program as this user.
    fn run_as(&self, user: &str, arguments: &str) -> Program {
        kafka_actors(&format!("{arguments} --brokers {}", self.users))
            .env("KAFKA_ACTORS__KAFKA__SECURITY__PROTOCOL", "sasl_plaintext")
            .env("KAFKA_ACTORS__KAFKA__SECURITY__SASL_MECHANISM", "PLAIN")
            .env("KAFKA_ACTORS__KAFKA__SECURITY__USERNAME", user)
            .env("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD", "secret")
    }
}

/// Asserts that the command failed soon, because of this permission only.
fn expect_missing(ended: Ended, right: &str) -> Ended {
    let ended = ended.expect(1);
    assert!(ended.reason().contains(&format!("the right {right}")), "not {right}: {}", ended.reason());
    assert!(!ended.stderr.contains("advertise"), "no address is at fault:\n{}", ended.stderr);
    assert!(ended.took.as_secs() < 15, "{:?}", ended.took);
    ended
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_consumer_names_the_right_that_it_lacks() {
    let guarded = Guarded::start();
    let topic = guarded.topic("guarded");
    let group = |name: &str| format!("{topic}-{name}");
    let consume = |user: &str, group: &str, how: &str| {
        guarded.run_as(user, &format!("consume --topic {topic} --group {group} --processor count {how}"))
    };
    let manual = "--set consumer.commit_interval=200ms";
    let member = "--set consumer.assignment=group --set consumer.commit_interval=200ms";
    for user in ["alice", "bob"] {
        ["none", "described", "read"].iter().for_each(|name| guarded.allow_lock(user, &group(name)));
    }
    for how in [manual, member] {
        expect_missing(consume("alice", &group("none"), how).run(), &format!("DESCRIBE on topic {topic:?}"));
    }
    // Alice may read the topic, bob may describe it; each may read one group and describe another one.
    guarded.allow("alice", "Read", "--topic", &topic);
    guarded.allow("bob", "Describe", "--topic", &topic);
    let lock = format!("READ on group {:?}", group("unlocked.supervisor"));
    expect_missing(consume("alice", &group("unlocked"), manual).run(), &lock);
    for user in ["alice", "bob"] {
        guarded.allow(user, "Describe", "--group", &group("described"));
        guarded.allow(user, "Read", "--group", &group("read"));
        guarded.allow(user, "Read", "--group", &group("member"));
    }
    for how in [manual, member] {
        for name in ["none", "described"] {
            let ended = consume("alice", &group(name), how).run();
            expect_missing(ended, &format!("READ on group {:?}", group(name)));
        }
        expect_missing(consume("bob", &group("read"), how).run(), &format!("READ on topic {topic:?}"));
        let read = group(if how == member { "member" } else { "read" });
        let ended = consume("alice", &read, &format!("{how} --set consumer.idle_exit=1s"));
        let ended = ended.run().expect(0).expect_committed();
        assert_eq!(ended.processed(), 40);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_producer_and_the_commands_name_the_right_that_they_lack() {
    let guarded = Guarded::start();
    let (topic, other) = (guarded.topic("guarded"), guarded.topic("other"));
    let run = |user: &str, arguments: &str| guarded.run_as(user, &arguments.replace("TOPIC", &topic)).run();
    let on = |operation: &str| format!("{operation} on topic {topic:?}");
    // More messages than the client's queue holds: the command does not try all of them.
    let produce = "produce --topic TOPIC --threads 1 --messages-per-thread 0";
    expect_missing(run("carol", produce), &on("DESCRIBE"));
    guarded.allow("carol", "Describe", "--topic", &topic);
    // A producer that may not write to any topic gets no producer id. With WRITE on another topic it gets one, and its messages are
    // rejected.
    let ended = expect_missing(run("carol", produce), &on("WRITE"));
    assert!(ended.reason().contains("IDEMPOTENT_WRITE on the cluster"), "{}", ended.reason());
    guarded.allow("carol", "Write", "--topic", &other);
    let ended = expect_missing(run("carol", produce), &on("WRITE"));
    assert!(ended.acknowledged() == 0 && ended.stderr.contains("Topic authorization failed"), "{}", ended.stderr);
    let verify = "verify --topic TOPIC --messages-per-thread 10";
    expect_missing(run("carol", &format!("{verify} --group {topic}")), "READ on group");

    let describe = format!("topics describe TOPIC --set consumer.group_id={topic}");
    expect_missing(run("carol", &describe), "READ on group");
    expect_missing(run("carol", "topics create TOPIC-new:1:1"), &format!("CREATE on topic \"{topic}-new\""));
    expect_missing(run("carol", "topics delete TOPIC"), &on("DELETE"));
    let list = format!("dlq list TOPIC --group {topic}");
    expect_missing(run("carol", &list), &format!("READ on group \"{topic}.dlq\""));
    guarded.allow("carol", "Describe", "--group", &format!("{topic}.dlq"));
    expect_missing(run("carol", &list), &on("READ"));

    // The user may only describe the dead-letter topic.
    guarded.allow("carol", "Read", "--topic", &other);
    guarded.allow("carol", "Read", "--group", &other);
    guarded.allow_lock("carol", &other);
    let consume = format!(
        "consume --topic {other} --group {other} --set consumer.on_failure=dead_letter \
         --set consumer.dead_letter_topic={topic} --set consumer.retry.attempts=1"
    );
    let fails = "import sys, json\nfor line in sys.stdin: print(json.dumps(dict(id=json.loads(line)['id'], error='no')), flush=True)";
    let consume = guarded.run_as("carol", &consume).arg("--command").arg("python3 work.py").file("work.py", fails);
    let ended = expect_missing(consume.run(), &on("WRITE"));
    assert_eq!(ended.partitions()[0]["committed"], 0, "its dead-letter record is nowhere: {}", ended.stderr);

    // Dead-letter records of a topic to which carol may not write: they are kept, also with the option that skips unsendable
    // records.
    let (origin, letters) = (guarded.topic("origin"), unique("letters"));
    let brokers = &guarded.broker.brokers;
    kafka_actors(&format!("topics create {letters}:1:1 --brokers {brokers}")).run().expect(0);
    let fail_all = format!(
        "consume --brokers {brokers} --topic {origin} --group {origin} --until-end --set consumer.on_failure=dead_letter \
         --set consumer.dead_letter_topic={letters} --set consumer.retry.attempts=1"
    );
    let failing =
        kafka_actors(&fail_all).arg("--command").arg("python3 work.py").file("work.py", fails).run().expect(0);
    assert_eq!(failing.sum("dead_lettered"), 40);
    guarded.allow("carol", "Read", "--topic", &letters);
    guarded.allow("carol", "Read", "--group", &format!("{letters}.dlq"));
    let replay = format!("dlq replay {letters} --group {letters} --allow-topic {origin} --skip-unsendable");
    for _ in 0..2 {
        let ended = expect_missing(run("carol", &replay), &format!("WRITE on topic {origin:?}"));
        assert_eq!(ended.report["replay"]["skipped"], 0, "{}", ended.report);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_consumer_whose_right_is_revoked_commits_what_it_still_can_and_ends() {
    let guarded = Guarded::start();
    for how in ["manual", "group"] {
        // Two topics of one run.
        let (kept, revoked) = (guarded.topic("kept"), guarded.topic("revoked"));
        for topic in [&kept, &revoked] {
            guarded.allow("alice", "Read", "--topic", topic);
        }
        guarded.allow("alice", "Read", "--group", &kept);
        guarded.allow_lock("alice", &kept);
        // Messages that were processed since the last commit are committed only at the end.
        let consume = format!(
            "consume --set consumer.topics={kept},{revoked} --group {kept} --processor print --processes 1 \
             --set consumer.commit_interval=1h --set consumer.assignment={how}"
        );
        let running = guarded.run_as("alice", &consume).start();
        running.wait_for_lines(80);
        guarded.acls("--remove", "alice", &["--operation", "Read", "--topic", &revoked]);
        let ended = running.end().expect(1);
        assert!(ended.reason().contains(&format!("READ on topic {revoked:?}")), "{how}: {}", ended.reason());
        let row = |topic: &str| ended.partitions().iter().find(|row| row["topic"] == topic).unwrap().clone();
        assert_eq!(row(&kept)["committed"], 40, "{how}: {}", ended.stderr);
        // With manual assignment, the start offset was committed before any message was read.
        let committed = if how == "manual" { serde_json::json!(0) } else { serde_json::Value::Null };
        assert_eq!(row(&revoked)["committed"], committed, "{how}");
    }
    for how in ["manual", "group"] {
        let topic = guarded.topic("guarded");
        guarded.allow("alice", "Read", "--topic", &topic);
        guarded.allow("alice", "Read", "--group", &topic);
        guarded.allow_lock("alice", &topic);
        let consume = format!(
            "consume --topic {topic} --group {topic} --processor print --set consumer.commit_interval=200ms \
             --set consumer.assignment={how}"
        );
        let running = guarded.run_as("alice", &consume).start();
        wait_for("a commit", || running.status().contains("\"committed\":40"));
        guarded.acls("--remove", "alice", &["--operation", "Read", "--group", &topic]);
        let more =
            format!("produce --topic {topic} --threads 1 --messages-per-thread 5 --brokers {}", guarded.broker.brokers);
        kafka_actors(&more).run().expect(0);
        let ended = running.end().expect(1);
        assert!(ended.reason().contains(&format!("READ on group {topic:?}")), "{how}: {}", ended.reason());
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_login_that_is_refused_later_is_reported_everywhere_and_the_run_continues_when_it_is_accepted_again() {
    let (broker, users) = Broker::with_acls("");
    let guarded = Guarded { broker, users };
    let topic = guarded.topic("guarded");
    for (operation, resource) in [("Read", "--topic"), ("Write", "--topic"), ("Read", "--group")] {
        guarded.allow("alice", operation, resource, &topic);
    }
    let verify = format!(
        "verify --topic {topic} --group {topic} --threads 1 --processes 1 --rate 20 --messages-per-thread 0 \
         --set monitoring.readiness_stall_timeout=2s {LISTEN}"
    );
    let running = guarded.run_as("alice", &verify).start();
    let site = Site::of(&running);
    site.wait_until_ready_is(200, "ready");
    guarded.broker.call("kill-broker");
    guarded.broker.rewrite("user_alice=\"secret\"", "user_alice=\"another\"");
    guarded.broker.call("restart-broker");
    for whose in ["worker 0", "producer 0"] {
        site.wait_until_ready_is(503, &format!("{whose}: authentication failed (kafka.security)"));
    }
    wait_for("an error line", || running.stderr().contains("ERROR the brokers refuse the connection"));
    for side in ["consumer", "producer"] {
        let refused = format!("kafka_actors_{side}_client_authentication_failures_total");
        assert!(site.scrape().value(&refused, &[]) >= 1.0);
    }
    guarded.broker.call("kill-broker");
    guarded.broker.rewrite("user_alice=\"another\"", "user_alice=\"secret\"");
    guarded.broker.call("restart-broker");
    site.wait_until_ready_is(200, "ready");
    running.signal(Signal::SIGTERM);
    running.end().expect_found(&[]);
}
