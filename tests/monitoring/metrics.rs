//! The metrics of a scrape.

use std::collections::BTreeSet;

use kafka_actors::internal::metrics::{ROWS, text};
use kafka_actors::internal::status::{BrokerStatus, ClientStatus, ConsumeStatus, PartitionStatus, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::exposition::{Exposition, Family, scrape};
use crate::harness::full_status::full_status;
use crate::harness::program::kafka_actors;
use crate::harness::wait_for;

fn reported_of(status: &Status) -> Exposition {
    let text = text(status);
    Exposition::read(&text).unwrap_or_else(|rule| panic!("{rule}\nin\n{text}"))
}

fn changed(change: impl FnOnce(&mut ConsumeStatus)) -> Exposition {
    let mut status = full_status();
    change(status.consume.as_mut().unwrap());
    reported_of(&status)
}

#[test]
fn the_text_is_the_one_that_a_scrape_expects() {
    let text = text(&full_status());
    for expected in [
        r#"
# HELP kafka_actors_info Always 1. The command and the version of the program.
# TYPE kafka_actors_info gauge
kafka_actors_info{version="1.2.3",command="verify"} 1
"#,
        r#"
# TYPE kafka_actors_start_time_seconds gauge
kafka_actors_start_time_seconds 1795600800.5
"#,
        r#"
# TYPE kafka_actors_producer_acknowledged_messages_total counter
kafka_actors_producer_acknowledged_messages_total{topic="orders",producer="0"} 490
kafka_actors_producer_acknowledged_messages_total{topic="orders",producer="1"} 590
"#,
        r#"
# TYPE kafka_actors_consumer_committed_offset gauge
kafka_actors_consumer_committed_offset{topic="orders",partition="0"} 200
kafka_actors_consumer_committed_offset{topic="audit",partition="0"} 200
"#,
        r#"
# TYPE kafka_actors_consumer_commit_seconds histogram
kafka_actors_consumer_commit_seconds_bucket{le="0.001"} 0
kafka_actors_consumer_commit_seconds_bucket{le="0.005"} 4
kafka_actors_consumer_commit_seconds_bucket{le="1"} 8
kafka_actors_consumer_commit_seconds_bucket{le="+Inf"} 9
kafka_actors_consumer_commit_seconds_sum 3.75
kafka_actors_consumer_commit_seconds_count 9
"#,
    ] {
        let text = format!("\n{text}");
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

#[test]
fn the_same_status_is_the_same_text() {
    assert_eq!(text(&full_status()), text(&full_status()));
}

#[test]
fn counts_are_those_of_the_status() {
    let reported = reported_of(&full_status());
    for (name, labels, value) in [
        ("ready", vec![], 0.0),
        ("phase", vec![("phase", "running")], 1.0),
        ("phase", vec![("phase", "starting")], 0.0),
        ("producer_requested_messages", vec![], 2_000.0),
        ("producer_sent_messages_total", vec![("producer", "1")], 600.0),
        ("producer_sent_bytes_total", vec![], 123_456.0),
        ("producer_failed_messages_total", vec![("producer", "1")], 3.0),
        ("producer_failures_total", vec![("reason", "MessageTimedOut")], 4.0),
        ("consumer_failures_total", vec![("reason", "no stock for #")], 20.0),
        ("producer_acknowledgement_seconds_count", vec![], 1_080.0),
        ("consumer_info", vec![("group", "billing"), ("assignment", "manual")], 1.0),
        ("consumer_partitions", vec![("topic", "orders")], 2.0),
        ("consumer_partitions_aggregated", vec![], 0.0),
        ("consumer_processed_messages_total", vec![("topic", "audit"), ("partition", "0")], 190.0),
        ("consumer_failed_messages_total", vec![("topic", "audit")], 4.0),
        ("consumer_dead_lettered_messages_total", vec![("topic", "audit")], 6.0),
        ("consumer_retries_total", vec![("topic", "audit")], 8.0),
        ("consumer_read_bytes_total", vec![("topic", "audit")], 20_000.0),
        ("consumer_lag_messages", vec![("topic", "audit")], 40.0),
        ("consumer_position", vec![("partition", "1")], 211.0),
        ("consumer_high_watermark", vec![("partition", "1")], 250.0),
        ("consumer_retrying_partitions", vec![("partition", "1")], 0.0),
        ("consumer_retrying_partitions", vec![("topic", "audit")], 1.0),
        ("consumer_stopped_partitions", vec![("partition", "1")], 1.0),
        ("consumer_stopped_partitions", vec![("topic", "audit")], 0.0),
        ("consumer_in_flight_seconds", vec![("topic", "audit")], 0.25),
        ("consumer_in_flight_seconds", vec![("partition", "1")], 0.0),
        ("consumer_stalled_seconds", vec![("topic", "audit")], 1.5),
        ("consumer_partition_owner_info", vec![("topic", "audit"), ("worker", "0")], 1.0),
        ("consumer_rebalances_total", vec![], 5.0),
        ("consumer_processing_seconds_count", vec![], 571.0),
        ("consumer_end_to_end_seconds_sum", vec![], 3.75),
        ("worker_state", vec![("worker", "1"), ("state", "failed")], 1.0),
        ("worker_state", vec![("worker", "1"), ("state", "running")], 0.0),
        ("worker_uptime_seconds", vec![("worker", "0")], 50.0),
        ("worker_resident_memory_bytes", vec![("worker", "0")], 30_000_000.0),
        ("worker_cpu_seconds_total", vec![("worker", "0")], 12.5),
        ("worker_processed_messages_total", vec![("worker", "0")], 600.0),
        ("worker_partitions", vec![("worker", "0")], 2.0),
        ("worker_restarts_total", vec![("worker", "0"), ("cause", "killed")], 1.0),
        ("worker_restarts_total", vec![("worker", "1"), ("cause", "killed")], 8.0),
        ("worker_restarts_total", vec![("worker", "1"), ("cause", "exit")], 2.0),
        ("worker_restarts_total", vec![("worker", "1"), ("cause", "panic")], 0.0),
        ("consumer_client_queued_messages", vec![("worker", "0")], 200.0),
        ("producer_client_queued_bytes", vec![("producer", "0")], 100_000.0),
        ("consumer_client_rtt_mean_seconds", vec![("worker", "0"), ("broker", "2")], 0.002),
        ("consumer_client_rtt_p99_seconds", vec![("worker", "0"), ("broker", "2")], 0.02),
        ("consumer_client_throttle_seconds", vec![("worker", "0"), ("broker", "2")], 0.5),
        ("producer_client_last_response_age_seconds", vec![("producer", "1")], 2.5),
        ("producer_client_authentication_failures_total", vec![("producer", "0")], 11.0),
        ("consumer_client_last_response_age_seconds", vec![("worker", "0")], 3.5),
        ("consumer_client_coordinator_unavailable_seconds", vec![("worker", "0")], 1.25),
        ("consumer_client_authentication_failures_total", vec![("worker", "0")], 11.0),
        ("consumer_commit_failures_total", vec![("worker", "0")], 7.0),
        ("consumer_commit_overdue_seconds", vec![("worker", "0")], 3.0),
        ("consumer_commit_overdue_seconds", vec![("worker", "1")], 0.0),
        ("producer_client_queued_requests", vec![("producer", "1"), ("broker", "1")], 1.0),
        ("producer_client_in_flight_requests", vec![("producer", "1"), ("broker", "1")], 2.0),
    ] {
        assert_eq!(reported.value(&format!("kafka_actors_{name}"), &labels), value, "{name} {labels:?}");
    }
}

#[test]
fn a_side_that_a_run_does_not_have_has_no_families() {
    let without = |change: fn(&mut Status)| {
        let mut status = full_status();
        change(&mut status);
        reported_of(&status).0.into_iter().map(|family| family.name).collect::<BTreeSet<_>>()
    };
    let producing = without(|status| status.consume = None);
    let consuming = without(|status| status.produce = None);
    let begins = |names: &BTreeSet<String>, with: &str| names.iter().any(|name| name.starts_with(with));
    assert!(begins(&producing, "kafka_actors_producer_") && begins(&consuming, "kafka_actors_consumer_"));
    assert!(!begins(&producing, "kafka_actors_consumer_") && !begins(&producing, "kafka_actors_worker_"));
    assert!(!begins(&consuming, "kafka_actors_producer_"));
    let empty = reported_of(&Status::default());
    assert_eq!(empty.names(), ["kafka_actors_info", "kafka_actors_phase", "kafka_actors_ready"].into());
}

#[test]
fn hostile_texts_stay_the_values_of_their_labels() {
    let hostile = "a\"} 1\nkafka_actors_ready 1\n# \\ \t \u{202e} é {x=\"";
    let reported = changed(|consume| {
        consume.group = hostile.to_owned();
        consume.partitions[2].topic = hostile.to_owned();
        consume.workers[0].restart_causes = [(hostile.to_owned(), 1)].into();
    });
    assert_eq!(reported.value("kafka_actors_consumer_info", &[("group", hostile)]), 1.0);
    assert_eq!(reported.value("kafka_actors_consumer_lag_messages", &[("topic", hostile)]), 40.0);
    assert_eq!(reported.value("kafka_actors_worker_restarts_total", &[("cause", hostile)]), 1.0);
    assert_eq!(reported.value("kafka_actors_ready", &[]), 0.0);
}

#[test]
fn long_reasons_are_cut_and_many_share_a_row() {
    let long = |end: &str| "é".repeat(100) + end;
    let cut = changed(|consume| consume.failures = [(long("one"), 3), (long("other"), 4), (long(""), 5)].into());
    let value = |reason: &str| cut.value("kafka_actors_consumer_failures_total", &[("reason", reason)]);
    assert_eq!((value(&("é".repeat(99) + "…")), value(&long(""))), (7.0, 5.0));
    let many = changed(|consume| consume.failures = (0..1_000).map(|at| (format!("reason {at:03}"), 1)).collect());
    assert_eq!(many.family("kafka_actors_consumer_failures_total").samples.len(), 51);
    assert_eq!(many.value("kafka_actors_consumer_failures_total", &[("reason", "other")]), 950.0);
    let causes = |count| (0..count).map(|at| (format!("cause {at:03}"), 1)).collect();
    let many = changed(|consume| consume.workers[0].restart_causes = causes(1_000));
    let own = many
        .family("kafka_actors_worker_restarts_total")
        .samples
        .iter()
        .filter(|sample| sample.labels.iter().any(|(label, value)| label == "worker" && value == "0"));
    assert_eq!(own.count(), 51);
}

#[test]
fn names_are_whole_however_long() {
    let topic = |end: &str| "t".repeat(248) + end;
    let reported = changed(|consume| {
        for (partition, end) in consume.partitions.iter_mut().zip(["a", "b"]) {
            (partition.topic, partition.partition, partition.position) = (topic(end), 0, 7);
        }
    });
    for end in ["a", "b"] {
        assert_eq!(reported.value("kafka_actors_consumer_position", &[("topic", &topic(end))]), 7.0);
    }
}

#[test]
fn what_is_no_number_is_left_out_and_duplicates_are_merged() {
    let reported = changed(|consume| {
        consume.partitions[0].stalled_seconds = f64::NAN;
        consume.partitions[1].stalled_seconds = f64::INFINITY;
        consume.partitions[2].stalled_seconds = 2.5;
        consume.partitions.push(consume.partitions[2].clone());
        consume.partitions[3].stalled_seconds = 0.5;
        consume.commit.buckets.last_mut().unwrap().le_seconds = f64::INFINITY;
    });
    assert_eq!(reported.family("kafka_actors_consumer_stalled_seconds").samples.len(), 1);
    assert_eq!(reported.value("kafka_actors_consumer_stalled_seconds", &[]), 2.5);
    assert_eq!(reported.value("kafka_actors_consumer_lag_messages", &[("topic", "audit")]), 80.0);
}

#[test]
fn beyond_a_number_of_partitions_topics_have_rows_and_a_note() {
    let with = |count: usize| {
        changed(|consume| {
            let row = |number: usize| PartitionStatus {
                topic: ["even", "odd"][number % 2].to_owned(),
                partition: i32::try_from(number).unwrap(),
                stalled_seconds: number as f64,
                ..consume.partitions[0].clone()
            };
            consume.partitions = (0..count).map(row).collect();
        })
    };
    let rows =
        |reported: &Exposition, name: &str| reported.family(&format!("kafka_actors_consumer_{name}")).samples.len();
    let all = with(ROWS);
    assert_eq!((rows(&all, "lag_messages"), rows(&all, "position")), (ROWS, ROWS));
    assert_eq!(all.value("kafka_actors_consumer_partitions_aggregated", &[]), 0.0);

    let summed = with(ROWS + 2);
    let of_partitions = |family: &&Family| family.name.starts_with("kafka_actors_consumer_");
    assert!(summed.0.iter().filter(of_partitions).map(|family| family.samples.len()).max() < Some(20));
    assert_eq!(summed.value("kafka_actors_consumer_partitions_aggregated", &[]), 1.0);
    let odd = |name: &str| summed.value(&format!("kafka_actors_consumer_{name}"), &[("topic", "odd")]);
    let count = (ROWS / 2 + 1) as f64;
    assert_eq!((odd("partitions"), odd("retrying_partitions")), (count, count));
    assert_eq!((odd("lag_messages"), odd("processed_messages_total")), (40.0 * count, 190.0 * count));
    assert_eq!(odd("stalled_seconds"), (ROWS + 1) as f64);
    assert!(!summed.names().contains("kafka_actors_consumer_position"));
}

#[test]
fn beyond_a_number_of_connections_brokers_have_rows() {
    let reported = changed(|consume| {
        let client = consume.workers[0].client.clone().unwrap();
        let row =
            |broker| BrokerStatus { broker, in_flight_requests: 5, rtt_mean_seconds: 3.0, ..client.brokers[0].clone() };
        let with = |brokers| Some(ClientStatus { brokers, ..client.clone() });
        consume.workers[0].client = with((0..i32::try_from(ROWS).unwrap()).map(row).collect());
        consume.workers[1].client = with(vec![row(1)]);
    });
    let broker = |name: &str| reported.value(&format!("kafka_actors_consumer_client_{name}"), &[("broker", "1")]);
    assert_eq!((broker("in_flight_requests"), broker("rtt_mean_seconds")), (10.0, 3.0));
}

/// The phases and states come from the schema of the status.
#[test]
fn each_phase_and_each_state_has_a_row() {
    let schema = serde_json::to_value(schemars::schema_for!(Status)).unwrap();
    let reported = reported_of(&full_status());
    for (kind, family, label) in [("Phase", "phase", "phase"), ("WorkerState", "worker_state", "state")] {
        let known = schema["$defs"][kind]["oneOf"].as_array().unwrap();
        let known: BTreeSet<_> = known.iter().map(|value: &Value| value["const"].as_str().unwrap()).collect();
        let Family { samples, .. } = reported.family(&format!("kafka_actors_{family}"));
        let rows: BTreeSet<_> = samples.iter().map(|sample| sample.labels[label].as_str()).collect();
        assert!(known.len() > 4);
        assert_eq!(rows, known);
    }
}

#[test]
fn metrics_are_complete_and_grow_over_a_workers_exit() {
    let run = "demo --rate 500 --messages-per-thread 1000000 --set monitoring.listen=0";
    let running = kafka_actors(run).start();
    let mut last: Option<Exposition> = None;
    let mut reported = |what: &str, holds: &dyn Fn(&Exposition) -> bool| {
        wait_for(what, || {
            let Some(now) = scrape(&running) else { return false };
            if let Some(before) = &last {
                let counts = now.counts();
                let fallen = |(series, value): &(_, f64)| counts.get(series).is_none_or(|now| now < value);
                let fallen: Vec<_> = before.counts().into_iter().filter(fallen).collect();
                assert!(fallen.is_empty(), "less than before: {fallen:?}");
            }
            let holds = holds(&now);
            last = Some(now);
            holds
        });
    };
    let processed = |reported: &Exposition| reported.sum("kafka_actors_consumer_processed_messages_total");
    reported("messages, commits and round trips", &|reported| {
        processed(reported) > 200.0
            && reported.value("kafka_actors_ready", &[]) == 1.0
            && reported.value("kafka_actors_consumer_commit_seconds_count", &[]) > 0.0
            && reported.names().contains("kafka_actors_consumer_client_in_flight_requests")
            && reported.names().contains("kafka_actors_producer_client_in_flight_requests")
    });
    kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
    reported("a worker that was started again", &|reported| reported.sum("kafka_actors_worker_restarts_total") == 1.0);
    reported("its next life, and what its client reports", &|reported| {
        reported.value("kafka_actors_ready", &[]) == 1.0
            && reported.names().contains("kafka_actors_consumer_client_last_response_age_seconds")
    });
    let before = last.take().unwrap();
    let restarts = &before.family("kafka_actors_worker_restarts_total").samples;
    let killed = restarts.iter().filter(|sample| sample.labels["cause"] == "killed");
    assert_eq!(killed.map(|sample| sample.value).sum::<f64>(), 1.0);
    assert_eq!(before.sum("kafka_actors_consumer_partition_owner_info"), 6.0);
    // The full status has every metric, and this run has all of them except those of events that never happened here.
    let full = reported_of(&full_status());
    let missing: Vec<_> = full.names().difference(&before.names()).map(|name| (*name).to_owned()).collect();
    assert_eq!(missing, ["kafka_actors_consumer_failures_total", "kafka_actors_producer_failures_total"]);
    assert!(before.names().is_subset(&full.names()));
    running.signal(Signal::SIGTERM);
    running.end();
}

/// The strict parser that the tests above use rejects each of these texts; each breaks one rule.
#[test]
fn the_strict_reader_refuses_each_broken_text() {
    let good = "# HELP kafka_actors_a_total A.\n# TYPE kafka_actors_a_total counter\nkafka_actors_a_total{x=\"1\"} 1\n\
        # HELP kafka_actors_b_seconds B.\n# TYPE kafka_actors_b_seconds histogram\n\
        kafka_actors_b_seconds_bucket{le=\"0.5\"} 1\nkafka_actors_b_seconds_bucket{le=\"1\"} 2\n\
        kafka_actors_b_seconds_bucket{le=\"+Inf\"} 3\nkafka_actors_b_seconds_sum 4.5\nkafka_actors_b_seconds_count 3\n\
        # HELP kafka_actors_c C.\n# TYPE kafka_actors_c gauge\nkafka_actors_c -1e3\n";
    Exposition::read(good).unwrap();
    let a = "kafka_actors_a_total{x=\"1\"} 1\n";
    let row = |labels: &str| format!("kafka_actors_a_total{labels}\n");
    for (from, to, rule) in [
        ("-1e3\n", "-1e3", "the last line does not end"),
        ("-1e3\n", "-1e3\n\n", "a sample has a value"),
        ("# HELP kafka_actors_c C.", "# kafka_actors_c C.", "a comment is a help or a type"),
        ("# HELP kafka_actors_c C.", "# HELP kafka_actors_c ", "a help says something"),
        ("# HELP kafka_actors_c C.", "# HELP kafka_actors_c \\\"", "are escaped, nothing else"),
        ("# HELP kafka_actors_c C.\n", "", "a type follows its help"),
        ("# TYPE kafka_actors_c gauge\n", "", "a sample follows its family's type"),
        ("# TYPE kafka_actors_c gauge\n", "# TYPE kafka_actors_c gauge\n# TYPE kafka_actors_c gauge\n", "has one type"),
        ("_c gauge", "_c summary", "a type is a counter, gauge or histogram"),
        (a, "", "a family has samples"),
        (a, &format!("{a}{a}"), "a series stands there once"),
        ("kafka_actors_c -1e3\n", &format!("kafka_actors_c -1e3\n{a}"), "belongs to the family before it"),
        (
            "kafka_actors_c -1e3\n",
            &format!("kafka_actors_c -1e3\n{}", &good[..good.find("# TYPE").unwrap()]),
            "in one place",
        ),
        ("kafka_actors_c", "actors_c", "a name begins with the program's"),
        ("kafka_actors_c", "kafka_actors_C", "lower-case"),
        ("kafka_actors_c", "kafka_actors_c_ms", "ms is no base unit"),
        ("kafka_actors_a_total", "kafka_actors_a", "counters and nothing else end in _total"),
        ("kafka_actors_c", "kafka_actors_c_total", "counters and nothing else end in _total"),
        ("kafka_actors_c", "kafka_actors_c_count", "no name ends in"),
        ("kafka_actors_c", "kafka_actors_c_info", "an info is 1"),
        ("kafka_actors_b_seconds", "kafka_actors_b", "a histogram's name ends in its unit"),
        (a, &row("{x=\"1\"} -1"), "only a gauge is negative"),
        (a, &row("{X=\"1\"} 1"), "a label's name is lower-case"),
        (a, &row("{x=\"1\",x=\"2\"} 1"), "a sample has a label once"),
        (a, &row("{x=1} 1"), "a label is name=\"value\""),
        (a, &row("{x=\"1} 1"), "ends with a quote"),
        (a, &row("{x=\"\\t\"} 1"), "are escaped, nothing else"),
        (a, &row("{x=\"1\" y=\"1\"} 1"), "separated by commas"),
        (a, &row("{x=\"1\",le=\"1\"} 1"), "buckets have a bound, nothing else has"),
        (a, &format!("{a}{}", row("{y=\"1\"} 1")), "all samples have the same labels"),
        (a, &row("{x=\"1\"} 1 1700000000"), "without a timestamp"),
        (a, &row("{x=\"1\"} NaN"), "a finite number"),
        (a, &row("{x=\"1\"} inf"), "a finite number"),
        (a, &row("{x=\"1\"} "), "a finite number"),
        ("{le=\"1\"} 2", "{le=\"1\"} 0", "buckets grow"),
        ("{le=\"1\"} 2", "{le=\"0.25\"} 2", "buckets grow"),
        ("{le=\"1\"} 2", "{le=\"inf\"} 2", "a bucket's bound is a number"),
        ("{le=\"+Inf\"} 3", "{le=\"+Inf\"} 2", "the last bucket is +Inf, and has all"),
        ("kafka_actors_b_seconds_bucket{le=\"+Inf\"} 3\n", "", "the last bucket is +Inf, and has all"),
        ("kafka_actors_b_seconds_sum 4.5\n", "", "a histogram has a count and a sum"),
        ("kafka_actors_b_seconds_count 3\n", "", "a histogram has a count and a sum"),
    ] {
        let broken = good.replace(from, to);
        assert_ne!(broken, good);
        let reported = Exposition::read(&broken).map(|_| ()).unwrap_err();
        let rule = rule.replace("a finite number", "one finite number");
        assert!(reported.contains(&rule), "{reported:?} is not {rule:?}, of\n{broken}");
    }
}
