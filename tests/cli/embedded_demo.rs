//! The demonstration on the embedded broker.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::program::{is_alive, kafka_actors};
use crate::harness::wait_for;

#[test]
fn every_message_is_accounted_for() {
    let ended =
        kafka_actors("demo --rate 0").run().expect(0).reports("every message is accounted for").expect_committed();
    assert_eq!((ended.acknowledged(), ended.processed()), (400, 400));
    assert_eq!(ended.report["produce"]["threads"].as_array().unwrap().len(), 4);
    assert_eq!(ended.partitions().len(), 6);
    assert_eq!(ended.stdout, "");
    assert!(
        ended.took < Duration::from_secs(8),
        "it waits for no answer that the embedded broker does not give: {:?}",
        ended.took
    );
}

#[test]
fn brokers_of_a_settings_file_or_variable_are_not_written_to() {
    // No server listens there, so that every connection fails.
    let demo = || kafka_actors("demo --rate 0 --messages-per-thread 10");
    let from_file = demo().file("Settings.toml", "[kafka]\nbrokers = [\"127.0.0.1:1\"]\ntopic = \"orders\"\n").run();
    from_file
        .expect(0)
        .reports("the demo uses an embedded broker; those of kafka.brokers (./Settings.toml) are not used");
    let from_variable = demo().env("KAFKA_ACTORS__KAFKA__BROKERS", "127.0.0.1:1").run();
    assert_eq!(from_variable.expect(0).reports("KAFKA_ACTORS__KAFKA__BROKERS").processed(), 40);
}

#[test]
fn a_profile_paces_it_to_its_end() {
    // 100 messages at once, then a pause: the last 300 messages come in the second cycle.
    let steps = "producer.rate_profile=10000 for 10ms, 0 for 990ms, 300 for 1s";
    let ended = kafka_actors("demo --set").arg(steps).run().expect(0).reports("every message is accounted for");
    assert_eq!(ended.acknowledged(), 400);
    let seconds = ended.report["seconds"].as_f64().unwrap();
    assert!((1.9..6.0).contains(&seconds), "{seconds}");
    let reported = kafka_actors("produce --rate-profile").arg("ramp 5 for 1s").run().expect(2);
    let expected = "producer.rate_profile = \"ramp 5 for 1s\" (--rate-profile): step 1, \"ramp 5 for 1s\": \
                    \"to\" is missing after";
    assert!(reported.reason().starts_with(expected), "{}", reported.reason());
}

#[test]
fn latencies_are_shown_as_a_table_and_written_whole_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latency.hlog");
    let arguments = format!("demo --rate 0 --latency-file {}", file.display());
    let ended = kafka_actors(&arguments).run().expect(0).reports("scheduled → acked").reports("p99.99");
    let latency = &ended.report["produce"]["latency_us"];
    assert_eq!(latency["count"], 400, "{latency}");
    let log = std::fs::read_to_string(file).unwrap();
    assert!(log.starts_with("#[Histogram log format version 1.3]"), "{log}");
    assert!(log.contains("\nTag=scheduled_to_acked,0.000,"), "{log}");
    assert!(log.contains(&format!(",{}.000,", latency["max"])), "the interval's longest: {log}");
    let ended = kafka_actors("demo --rate 0 --latency-file /no/such/folder/l.hlog").run().expect(2);
    let expected = "latency.hdr_file = /no/such/folder/l.hlog (--latency-file): the file cannot be written";
    assert!(ended.reason().starts_with(expected), "{}", ended.reason());
}

#[test]
fn it_states_what_the_broker_is_and_logs_some_messages_or_all_when_requested() {
    let some = kafka_actors("demo --rate 0 --messages-per-thread 25").run().expect(0).reports("not Apache Kafka");
    // The first two and the last two messages of each worker.
    assert_eq!(some.stderr.matches("of producer").count(), 8, "{}", some.stderr);
    assert_eq!(some.reports("of messages not shown: -v shows all").stderr.matches("not shown").count(), 2);
    let quiet = kafka_actors("demo -q --rate 0 --messages-per-thread 5").run().expect(0);
    assert!(!quiet.stderr.contains("of producer"), "{}", quiet.stderr);
    let verbose = kafka_actors("demo -v --rate 0 --messages-per-thread 5").run().expect(0);
    assert_eq!(verbose.stderr.matches("of producer").count(), 20, "{}", verbose.stderr);
}

#[test]
fn more_than_the_embedded_broker_keeps_goes_through() {
    // 400,000 messages of 110 bytes through one partition: eight times the capacity of a partition.
    let arguments = "demo --rate 0 --partitions 1 --messages-per-thread 100000 --set producer.message_timeout=50s";
    let ended = kafka_actors(arguments).run().expect(0);
    assert_eq!((ended.acknowledged(), ended.processed()), (400_000, 400_000));
}

#[test]
fn ctrl_c_half_way_ends_it_cleanly() {
    let demo = kafka_actors("demo --rate 50 --messages-per-thread 1000").start();
    wait_for("producing to have begun", || demo.stderr().contains("producing"));
    let workers = demo.workers();
    assert_eq!(workers.len(), 2);
    demo.signal(Signal::SIGINT);
    let ended = demo.end().expect(0);
    assert_eq!(ended.acknowledged(), ended.processed());
    assert!(ended.acknowledged() < 4_000);
    assert!(!workers.into_iter().any(is_alive));
}

#[test]
fn a_worker_that_is_killed_costs_no_message() {
    let demo = kafka_actors("demo --rate 200").start();
    wait_for("producing to have begun", || demo.stderr().contains("producing"));
    let killed = demo.workers()[0];
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    let ended = demo.end().expect(0).expect_committed();
    assert_eq!((ended.acknowledged(), ended.restarts()), (400, vec!["SIGKILL".to_owned()]));
    assert_eq!(ended.sum("position"), 400, "every message of each partition was reached");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let demo = kafka_actors("demo --rate 50 --messages-per-thread 1000").start();
    wait_for("producing to have begun", || demo.stderr().contains("producing"));
    let workers = demo.workers();
    demo.signal(Signal::SIGQUIT);
    demo.end().expect(3);
    wait_for("the workers' end", || !workers.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn workers_without_a_partition_stand_by() {
    let ended = kafka_actors("demo --rate 0 --partitions 1 --processes 3 --messages-per-thread 10").run().expect(0);
    assert_eq!(ended.stderr.matches("this worker: standby").count(), 2, "{}", ended.stderr);
    assert_eq!(ended.report["consume"]["workers"].as_array().unwrap().len(), 3);
}

#[test]
fn json_lines_are_json_lines() {
    let ended = kafka_actors("demo -v --rate 0 --messages-per-thread 50 --set logging.format=json --processes 4")
        .run()
        .expect(0);
    let lines: Vec<serde_json::Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.len() >= 200, "{}", ended.stderr);
    assert!(
        lines.iter().all(|line| line["time"].is_string() && line["level"].is_string() && line["message"].is_string())
    );
    let messages = |line: &&serde_json::Value| line["message"] == "message";
    assert_eq!(lines.iter().filter(messages).count(), 200, "one line for each message");
}
