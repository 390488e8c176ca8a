//! Tests of the verifier: clean runs have no anomaly, whatever happens to the workers, and the checker names anomalies of
//! consumers. Anomalies of a log are in `anomalies`.
//!
//! Both modules miss one anomaly: no Kafka moves the position of an assigned consumer back. `went_back` exists to find a fault of
//! the consumer itself, and the checker's unit tests cover it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::harness::kafka::{Topic, brokers, tool};
use crate::harness::program::{Running, example, kafka_actors, shell};
use crate::harness::verdict::Run;
use crate::harness::wait_for;

/// A program for `--command` that runs `body` for each message `m` before it replies.
fn work(body: &str) -> String {
    format!(
        "import sys, json, os, time\nfor line in sys.stdin:\n    m = json.loads(line)\n    {body}\n    \
         print(json.dumps({{'id': m['id']}}), flush=True)\n"
    )
}

/// Appends each message to a file before it replies.
const NOTING: &str =
    "with open(os.environ['NOTES'], 'a') as notes: notes.write('%d %d\\n' % (m['partition'], m['offset']))";

/// The appended messages.
fn noted(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A number in the consumer section of the status, summed over all objects that have it.
fn in_status(running: &Running, field: &str) -> i64 {
    let status = running.status();
    let name = format!("\"{field}\":");
    let values = status.split(name.as_str()).skip(1);
    values.filter_map(|rest| rest.split([',', '}']).next()?.parse::<i64>().ok()).sum()
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_clean_run_has_no_finding_and_its_own_topic_is_deleted() {
    let run = |arguments: &str| kafka_actors(&format!("verify --brokers {} {arguments}", brokers())).run();
    let ended = run("--threads 4 --messages-per-thread 500 --partitions 3").expect_found(&[]);
    assert_eq!((ended.acknowledged(), ended.count("acknowledged"), ended.count("processed")), (2_000, 2_000, 2_000));
    assert_eq!((ended.count("redelivered"), ended.count("readers")), (0, 2));
    assert_eq!(ended.reason(), "all 2,000 acknowledged messages were processed");
    let name = ended.partitions()[0]["topic"].as_str().unwrap();
    let described = || kafka_actors(&format!("topics describe {name} --brokers {}", brokers())).run();
    wait_for("the topic to be gone", || described().status.code() == Some(1));

    let keyed = "--key zipf --set producer.tombstone_ratio=0.2 --set producer.headers=a=b";
    run(&format!("--threads 2 --messages-per-thread 300 --partitions 4 {keyed}")).expect_found(&[]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_was_produced_is_verified_on_another_day_from_where_it_began() {
    let first = Run::of("--threads 2 --messages-per-thread 100 --partitions 2");
    let second = Run::to(Topic { name: first.topic.name.clone(), brokers: first.topic.brokers.clone() });
    second.produce("--threads 3 --messages-per-thread 100").run().expect(0);
    let verified = second.verified().expect_found(&[]);
    assert_eq!((verified.count("acknowledged"), verified.count("processed")), (300, 300));
    assert_eq!(verified.sum("start_offset"), 200, "behind the first run");
    first.verified().expect_found(&[("foreign", 300)]);
    let verified = first.topic.verify("--consume-only --processes 3").run().expect_found(&[]);
    assert_eq!((verified.count("gaps"), verified.count("processed")), (0, 500));
    assert_eq!(verified.reason(), "all 500 messages were consumed, without anomalies");
    // The producer and the consumer write the same file at the same time.
    let third = Run::to(Topic::unmade());
    let both = third.topic.verify("--threads 2 --messages-per-thread 100 --partitions 2 --run-file");
    both.arg(third.file().to_str().unwrap()).run().expect_found(&[]);
    assert_eq!(third.verified().expect_found(&[]).count("acknowledged"), 200);
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_was_made_wrong_on_purpose_is_counted_and_no_finding() {
    let topic = Topic::unmade();
    let faults = "--set producer.faults.duplicate=0.05 --set producer.faults.corrupt=0.05 \
                  --set producer.faults.oversized=0.05";
    let arguments = format!("--threads 2 --messages-per-thread 500 --partitions 2 --set producer.seed=11 {faults}");
    let ended = topic.verify(&format!("{arguments} --set producer.faults.oversized_bytes=5000")).run();
    let ended = ended.expect_found(&[]);
    let (made, found) = (&ended.report["produce"]["faults"], &ended.report["verify"]["deliberate"]);
    assert_eq!(made, found);
    assert!(["duplicated", "corrupt", "oversized"].iter().all(|fault| made[fault].as_u64() > Some(20)), "{made}");
    topic.verify("--consume-only").run().expect_found(&[]);

    // Messages that the client rejects are not acknowledged, and none is missing.
    let topic = Topic::unmade();
    let ended = topic.verify(&arguments).run().expect_found(&[]);
    let refused = ended.report["produce"]["faults"]["oversized"].as_u64().unwrap();
    assert!(refused > 20 && ended.count("failed") == refused, "{}", ended.report);
    assert_eq!(ended.report["verify"]["deliberate"]["oversized"], 0);
    // Without the acknowledgements, the checker detects that these sequences are missing.
    topic.verify("--consume-only").run().expect_found(&[("gaps", refused)]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn killed_workers_lose_nothing_and_explain_what_is_processed_again() {
    let folder = TempDir::new().unwrap();
    let notes = folder.path().join("notes");
    let running = Topic::unmade()
        .verify("--threads 2 --messages-per-thread 2000 --rate 1500 --partitions 4 --processes 2")
        .arg("--command")
        .arg("python3 work.py")
        .file("work.py", &work(NOTING))
        .env("NOTES", notes.to_str().unwrap())
        .start();
    // The fourth iteration kills a worker that has just started.
    for (before, more) in [(0, 400), (1, 400), (2, 400), (3, 1), (4, 400)] {
        let done = noted(&notes).len();
        // A worker reports to the checker before it logs that it reads.
        let reading = || running.stderr().matches("INFO reading").count() == before + 2;
        wait_for("work", || noted(&notes).len() >= done + more && running.workers().len() == 2 && reading());
        kill(Pid::from_raw(running.workers()[before % 2]), Signal::SIGKILL).unwrap();
    }
    let ended = running.end().expect_found(&[]);
    assert_eq!(ended.restarts(), ["SIGKILL"; 5]);
    assert_eq!((ended.count("acknowledged"), ended.count("processed"), ended.count("readers")), (4_000, 4_000, 7));
    let mut places = noted(&notes);
    let all = places.len() as u64;
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 4_000, "the program itself has seen all of them");
    let (again, redelivered) = (all - 4_000, ended.count("redelivered"));
    // In each of its two partitions, a killed worker may have appended one message to the file that was not yet counted.
    assert!(redelivered > 0 && (redelivered..=redelivered + 10).contains(&again), "{again}, {redelivered}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_crash_does_not_explain_what_is_processed_again_below_its_commit() {
    let folder = TempDir::new().unwrap();
    let go = folder.path().join("go");
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    let group = run.topic.name.clone();
    let body = "while m['offset'] >= 100 and not os.path.exists(os.environ['GO']): time.sleep(0.01)";
    let running = run
        .consume(&format!("--processes 1 --group {group} --set consumer.commit_interval=100ms"))
        .arg("--command")
        .arg("python3 work.py")
        .file("work.py", &work(body))
        .env("GO", go.to_str().unwrap())
        .start();
    wait_for("reading", || running.stderr().contains("INFO reading"));
    wait_for("the commit", || in_status(&running, "committed") == 100);
    // An offset that another client commits ends the run. This commit looks like an earlier one of this run that arrives late.
    run.topic.commit_as_the_run_does(40);
    kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
    std::fs::write(&go, "").unwrap();
    let ended = running.end().expect_found(&[("redelivered_unexplained", 60)]);
    assert_eq!((ended.count("redelivered"), ended.count("processed"), ended.count("readers")), (60, 200, 2));
    let examples = ended.examples("redelivered_unexplained");
    let offsets: Vec<_> = examples.iter().map(|it| it["offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, (40..50).collect::<Vec<_>>());
    let successor = &ended.report["consume"]["workers"][0]["pids"][1];
    assert!(examples.iter().all(|it| &it["pid"] == successor && it["partition"] == 0), "{examples:#?}");
    let known = |it: &serde_json::Value| it["time"].is_string() && it["producer"].is_u64() && it["sequence"].is_u64();
    assert!(examples.into_iter().all(known), "{:#}", ended.report["verify"]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_no_worker_has_reached_by_the_deadline_is_unread() {
    let folder = TempDir::new().unwrap();
    let notes = folder.path().join("notes");
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    let slow = |body: &str| {
        run.consume("--processes 1 --timeout 2")
            .arg("--command")
            .arg("python3 work.py")
            .file("work.py", &work(body))
            .env("NOTES", notes.to_str().unwrap())
            .env("KAFKA_ACTORS__SHUTDOWN__TIMEOUT", "1s")
            .run()
    };
    let messages = run.topic.messages(200);
    let ended = slow(&format!("{NOTING}; time.sleep(0.05)"));
    let processed = noted(&notes).len();
    assert!((1..150).contains(&processed), "{processed}");
    let ended = ended.expect_found(&[("unread", 200 - processed as u64)]);
    let ended = ended.expect_named("unread", &messages[processed..processed + 10]).reports("the deadline passed");
    assert_eq!(ended.report["verify"]["deadline_passed"], true);
    assert_eq!(ended.count("processed"), processed as u64);

    // A worker that no longer responds is killed. The exit counts as forced, and the verdict is the same.
    let ended = slow("while m['offset'] >= 50: time.sleep(1)").expect(3);
    assert!(
        ended.reason().contains("shutdown.timeout") && ended.reason().ends_with("; unread: 150"),
        "{}",
        ended.reason()
    );
    ended.expect_named("unread", &messages[50..60]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_run_that_is_stopped_is_proven_as_far_as_it_came() {
    let topic = Topic::unmade();
    let running = topic.verify("--threads 2 --messages-per-thread 0 --rate 1000 --partitions 3").start();
    wait_for("producing", || running.stderr().contains("INFO producing"));
    wait_for("work", || in_status(&running, "position") > 200);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect_found(&[]).expect_committed();
    let acknowledged = ended.count("acknowledged");
    assert_eq!(ended.reason(), format!("stopped early; all {acknowledged} acknowledged messages were processed"));
    assert_eq!((topic.end() as u64, ended.count("processed")), (acknowledged, acknowledged));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_run_file_that_does_not_hold_is_refused_and_one_without_its_end_is_used() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    let whole = std::fs::read(run.file()).unwrap();
    let verified = |bytes: &[u8]| {
        std::fs::write(run.file(), bytes).unwrap();
        run.verified()
    };
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap();
    let started = whole.windows(9).position(|text| text == b"\"started\"").unwrap() + 12;
    let refusals = [
        (started, "the checksum of its first line does not match"),
        (line + 1 + 4, "the checksum of a block's header does not match"),
        (line + 1 + 60, "a block's checksum does not match"),
        (whole.len() - 1, "a block's checksum does not match"),
    ];
    for (at, reason) in refusals {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        let ended = verified(&broken).expect(1);
        assert!(ended.reason().contains(reason), "byte {at}: {}", ended.reason());
        assert!(ended.report.get("verify").is_none(), "nothing is verified by it");
    }
    for (bytes, acknowledged) in [(whole.len() - 10, 200), (line + 40, 0)] {
        let ended = verified(&whole[..bytes]).expect_found(&[]).reports("the run file was cut off");
        assert_eq!((ended.count("acknowledged"), ended.count("processed")), (acknowledged, 200));
        assert_eq!(ended.report["verify"]["cut_off"], true);
        assert!(ended.reason().contains("cut off"), "{}", ended.reason());
    }
    let ended = verified(b"{\"version\":2}\n").expect(1);
    assert!(ended.reason().contains("it has version 2"), "{}", ended.reason());
    std::fs::remove_file(run.file()).unwrap();
    let ended = run.verified().expect(1);
    assert!(ended.reason().contains("cannot be read: No such file"), "{}", ended.reason());
    std::fs::write(run.file(), &whole).unwrap();
    let other = Topic::unmade().verify("--consume-only --run-file").arg(run.file().to_str().unwrap()).run().expect(1);
    assert!(other.reason().contains(&run.topic.name) && other.reason().contains("kafka.topic"), "{}", other.reason());
    run.verified().expect_found(&[]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_part_of_a_topic_proves_nothing_if_nobody_knows_what_was_acknowledged() {
    let run = Run::of("--threads 2 --messages-per-thread 10000 --partitions 1");
    let program = format!("$PROGRAM verify --consume-only --brokers {} --topic {}", run.topic.brokers, run.topic.name);
    let line = format!("{program} --processor print | head -1; exit ${{PIPESTATUS[0]}}");
    let ended = shell(&line).run_plain().expect(1).reports("only a part was consumed (stdout is closed)");
    assert_eq!(ended.stdout.lines().count(), 1);

    let whole = std::fs::read(run.file()).unwrap();
    std::fs::write(run.file(), &whole[..whole.len() - 10]).unwrap();
    let slow = ["--consume-only".to_owned(), format!("--consume-only --run-file {}", run.file().display())];
    for arguments in slow {
        let program = run.topic.verify(&format!("{arguments} --processes 1 --timeout 1"));
        let program = program.arg("--command").arg("python3 work.py").file("work.py", &work("time.sleep(0.01)"));
        let ended = program.run();
        assert_eq!(ended.report["verify"]["holds"], false, "{:#}", ended.report["verify"]);
        assert_eq!((&ended.report["verify"]["read_in_part"], ended.status.code()), (&true.into(), Some(1)));
        // An incomplete file is checked as far as it goes.
        let found =
            if arguments.contains("run-file") { "unread: " } else { "only a part was consumed (verify.timeout" };
        assert!(ended.reason().contains(found), "{}", ended.reason());
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_run_file_that_could_not_be_written_to_its_end_is_a_failure() {
    let topic = Topic::unmade();
    let produce = format!("verify --produce-only --brokers {} --topic {} --run-file run", topic.brokers, topic.name);
    // 16 KiB; without the trap the signal kills the program.
    let line = format!("trap '' XFSZ; ulimit -f 16; $PROGRAM {produce} --partitions 2 --messages-per-thread 20000");
    shell(&line).run_plain().expect(1).reports("the run file is incomplete: run file run: cannot be written");
    // An error that is detected before the topic is created leaves nothing behind.
    let ended = kafka_actors(&format!("verify --brokers {} --run-file /no/such/folder/run", brokers())).run().expect(1);
    assert!(
        ended.reason().contains("/no/such/folder/run") && !ended.stderr.contains("topic created"),
        "{}",
        ended.stderr
    );
    // A later error leaves nothing behind either.
    let ended = kafka_actors(&format!("verify --brokers {} --run-file /dev/full", brokers())).run().expect(1);
    let made = ended.stderr.split("topic created, topic: ").nth(1).unwrap();
    let name = made.split([',', '\n']).next().unwrap();
    let described = || kafka_actors(&format!("topics describe {name} --brokers {}", brokers())).run();
    wait_for("the topic to be gone", || described().status.code() == Some(1));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_worker_that_never_gets_ready_is_waited_for_until_the_deadline() {
    let topic = Topic::unmade();
    let program = example("faulty", &format!("verify --brokers {} --topic {} --timeout 2", topic.brokers, topic.name));
    let ended = program.args("--set shutdown.timeout=2s").env("FAULT", "unready").run();
    assert!(matches!(ended.status.code(), Some(1 | 3)), "{}: {}", ended.status, ended.stderr);
    assert!(ended.reason().contains("not every worker was ready within verify.timeout"), "{}", ended.reason());
}

#[test]
#[ignore = "needs a real Kafka"]
fn keys_are_where_the_topic_that_was_written_to_had_them() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 2 --key round_robin");
    let Topic { name, brokers } = &run.topic;
    let alter = ["--bootstrap-server", brokers, "--alter", "--topic", name, "--partitions", "7"];
    tool("org.apache.kafka.tools.TopicCommand", &alter, "");
    let verified = run.verified().expect_found(&[]);
    assert_eq!((verified.count("processed"), verified.partitions().len()), (200, 7));
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_retention_has_deleted_at_the_beginning_is_no_gap() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    run.topic.delete_below(0, 60);
    let verified = run.topic.verify("--consume-only").run().expect_found(&[]);
    assert_eq!((verified.count("gaps"), verified.count("processed")), (0, 140));
}

#[test]
#[ignore = "needs a real Kafka"]
fn others_messages_in_a_demonstrations_topic_change_no_verdict() {
    let topic = Topic::new(2);
    let arguments = format!("demo --brokers {} --topic {} --messages-per-thread 400", topic.brokers, topic.name);
    let demo = kafka_actors(&format!("{arguments} --rate 200")).start();
    wait_for("producing", || demo.stderr().contains("INFO producing"));
    topic.write(["somebody else's"]);
    let ended = demo.end().expect(0);
    assert_eq!((ended.count("foreign"), &ended.report["verify"]["holds"]), (1, &true.into()), "{}", ended.report);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_compacted_topic_is_refused_and_one_that_verify_creates_keeps_everything() {
    let topic = Topic::new(1);
    for policy in ["compact", "[compact,delete]"] {
        topic.alter(&format!("cleanup.policy={policy}"));
        for arguments in ["--key round_robin", "--consume-only", "--produce-only --run-file run"] {
            let refused = topic.verify(arguments).run().expect(1);
            assert!(refused.reason().contains("has cleanup.policy=compact"), "{arguments}: {}", refused.reason());
        }
        let demo = kafka_actors(&format!("demo --brokers {} --topic {}", topic.brokers, topic.name)).run().expect(1);
        assert!(demo.reason().contains("has cleanup.policy=compact"), "{}", demo.reason());
    }
    assert_eq!(topic.end(), 0);
    topic.alter("cleanup.policy=delete,retention.ms=1000");
    topic
        .verify("--messages-per-thread 10")
        .run()
        .reports("retention.ms of the topic is shorter than this run may take");

    let made = Topic::unmade();
    made.verify("--messages-per-thread 10 --partitions 1").run().expect_found(&[]);
    let entity = ["--bootstrap-server", &made.brokers, "--entity-type", "topics", "--entity-name", &made.name];
    let described = tool("kafka.admin.ConfigCommand", &[&entity[..], &["--describe"]].concat(), "");
    assert!(described.contains("cleanup.policy=delete") && described.contains("retention.ms=-1"), "{described}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_a_variable_names_for_other_commands_is_not_filled() {
    let topic = Topic::new(1);
    let verify = kafka_actors(&format!("verify --brokers {} --messages-per-thread 10", topic.brokers));
    let ended = verify.env("KAFKA_ACTORS__KAFKA__TOPIC", &topic.name).run().expect_found(&[]);
    assert!(ended.partitions()[0]["topic"].as_str().unwrap().starts_with("kafka-actors-verify-"));
    assert_eq!(topic.end(), 0);
}

/// Simulates a very long file: the rest of it does not arrive.
#[test]
#[ignore = "needs a real Kafka"]
fn a_signal_ends_the_reading_of_a_run_file() {
    let run = Run::of("--threads 2 --messages-per-thread 100 --partitions 1");
    let whole = std::fs::read(run.file()).unwrap();
    std::fs::remove_file(run.file()).unwrap();
    nix::unistd::mkfifo(&run.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let running = run.consume("").start();
    let mut pipe = std::fs::OpenOptions::new().write(true).open(run.file()).unwrap();
    pipe.write_all(&whole[..whole.len() - 1]).unwrap();
    wait_for("the run", || running.stderr().contains("INFO verifying"));
    let asked = Instant::now();
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(1);
    assert_eq!(ended.reason(), "stopped before anything was done");
    assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
}

/// A server listens and never replies: requests to it wait until `kafka.connect_timeout`.
#[test]
fn a_signal_in_the_first_moments_ends_it_with_a_report() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    for command in ["verify", "demo", "verify --consume-only"] {
        let running = kafka_actors(&format!("{command} --brokers {address} --set kafka.connect_timeout=10m")).start();
        let (mut asking, _) = silent.accept().unwrap();
        assert!(asking.read(&mut [0; 1]).unwrap() > 0);
        let asked = Instant::now();
        running.signal(Signal::SIGTERM);
        let ended = running.end().expect(1);
        assert_eq!(ended.reason(), "stopped before anything was done");
        assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    }
}
