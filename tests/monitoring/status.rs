//! A run's status from outside: its numbers match the report and Kafka's own tools.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::broker::Broker;
use crate::harness::browser::Browser;
use crate::harness::kafka::Topic;
use crate::harness::site::{LISTEN, Site};
use crate::harness::wait_for;

#[test]
#[ignore = "needs a real Kafka"]
fn what_is_scraped_is_what_is_reported_to_the_message_after_kills_and_restarts() {
    let topic = Topic::new(4);
    let running = topic.consume(&format!("--processor count --processes 2 {LISTEN}")).start();
    let site = Site::of(&running);
    let producer = topic.produce("--rate 1000 --key round_robin --messages-per-thread 2000").start();
    for kills in 1..=3 {
        wait_for("two workers that read", || {
            site.rows("workers").iter().filter(|worker| worker["state"] == "running").count() == 2
        });
        kill(Pid::from_raw(running.workers()[kills % 2]), Signal::SIGKILL).unwrap();
        wait_for("its death", || site.status()["consume"]["restarts"]["killed"] == kills);
    }
    assert_eq!(producer.end().expect(0).acknowledged(), 8_000);
    wait_for("everything to be read and committed", || {
        let partitions = site.rows("partitions");
        partitions.iter().map(|row| row["high_watermark"].as_i64().unwrap()).sum::<i64>() == 8_000
            && partitions.iter().all(|row| row["committed"] == row["high_watermark"])
    });
    let scraped = site.scrape();
    let events = site.status()["events"].clone();
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert!(ended.processed() >= 8_000);
    for row in ended.partitions() {
        let number = row["partition"].to_string();
        let value = |name: &str| {
            scraped.value(&format!("kafka_actors_{name}"), &[("topic", &topic.name), ("partition", &number)]) as i64
        };
        let pairs = [
            ("consumer_processed_messages_total", "processed"),
            ("consumer_failed_messages_total", "failed"),
            ("consumer_dead_lettered_messages_total", "dead_lettered"),
            ("consumer_retries_total", "retried"),
            ("consumer_position", "position"),
            ("consumer_committed_offset", "committed"),
            ("consumer_high_watermark", "high_watermark"),
            ("consumer_lag_messages", "lag"),
        ];
        for (metric, field) in pairs {
            assert_eq!(Some(value(metric)), row[field].as_i64(), "{metric} of {number}");
        }
        assert!(value("consumer_read_bytes_total") > 100 * value("consumer_processed_messages_total"));
    }
    let workers = ended.report["consume"]["workers"].as_array().unwrap();
    for worker in workers {
        let slot = worker["slot"].to_string();
        let killed = [("worker", slot.as_str()), ("cause", "killed")];
        let restarts = scraped.value("kafka_actors_worker_restarts_total", &killed);
        assert_eq!(restarts as usize, worker["restarts"].as_array().unwrap().len());
    }
    assert_eq!(scraped.sum("kafka_actors_worker_restarts_total") as i64, 3);
    let deaths = events.as_array().unwrap().iter().filter(|event| event["kind"] == "exit");
    assert_eq!(deaths.filter(|event| event["text"].as_str().unwrap().contains("SIGKILL")).count(), 3, "{events}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_is_scraped_of_the_producing_side_is_what_is_reported() {
    let topic = Topic::new(2);
    let running =
        topic.verify(&format!("--threads 2 --messages-per-thread 500 --rate 400 --processes 1 {LISTEN}")).start();
    let site = Site::of(&running);
    // The worker is stopped: all messages are written, and the run continues.
    wait_for("a worker", || site.status()["phase"] == "running");
    let worker = Pid::from_raw(running.workers()[0]);
    kill(worker, Signal::SIGSTOP).unwrap();
    wait_for("everything to be written", || site.status()["produce"]["acknowledged"] == 1_000);
    let scraped = site.scrape();
    kill(worker, Signal::SIGCONT).unwrap();
    let ended = running.end().expect(0);
    for thread in ended.report["produce"]["threads"].as_array().unwrap() {
        let labels = [("topic", topic.name.as_str()), ("producer", &thread["producer"].to_string())];
        for (metric, field) in [("sent", "sent"), ("acknowledged", "acknowledged"), ("failed", "failed")] {
            let value = scraped.value(&format!("kafka_actors_producer_{metric}_messages_total"), &labels);
            assert_eq!(Some(value as u64), thread[field].as_u64(), "{metric}");
        }
    }
    let count = scraped.value("kafka_actors_producer_acknowledgement_seconds_count", &[("topic", &topic.name)]);
    assert_eq!(Some(count as u64), ended.report["produce"]["latency_us"]["count"].as_u64());
}

#[test]
#[ignore = "needs a real Kafka"]
fn lag_is_what_kafkas_own_tool_says() {
    let topic = Topic::new(3);
    let running = topic.consume(&format!("--processor count --set consumer.commit_interval=100ms {LISTEN}")).start();
    let site = Site::of(&running);
    topic.fill(300);
    let sum = |field: &str| site.rows("partitions").iter().map(|row| row[field].as_i64().unwrap_or(-1)).sum::<i64>();
    wait_for("commits", || sum("committed") == 300);
    assert_eq!(topic.committed_and_lag(), (300, 0));
    assert_eq!(sum("lag"), 0);
    running.signal(Signal::SIGUSR2);
    wait_for("paused", || site.status()["phase"] == "paused");
    // The pause command is on its way to the workers, which may still process the first messages.
    topic.fill(400);
    let asked = Instant::now();
    wait_for("the ends", || {
        sum("high_watermark") == 700 && asked.elapsed().as_secs() > 1 && sum("committed") == sum("position")
    });
    let (committed, lag) = topic.committed_and_lag();
    assert!(lag > 0);
    assert_eq!((sum("committed"), sum("lag")), (committed, lag));
    site.wait_until_ready_is(200, "ready");
    running.signal(Signal::SIGCONT);
    wait_for("commits", || sum("committed") == 700);
    assert_eq!((topic.committed_and_lag(), sum("lag")), ((700, 0), 0));
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_run_is_unready_while_a_handler_hangs_and_ready_again_after_it() {
    let topic = Topic::new(1);
    let body = "\n    while m['offset'] == 3 and not os.path.exists('go on'): time.sleep(0.01)\n    answer(m)";
    let settings = format!("--processes 2 --set monitoring.readiness_stall_timeout=1s {LISTEN}");
    let running = topic.consume_with(&settings, body).start();
    let site = Site::of(&running);
    // One of the two workers is a standby, which does not affect readiness.
    site.wait_until_ready_is(200, "ready");
    topic.fill(8);
    site.wait_until_ready_is(503, "has had a message in flight for");
    assert_eq!(site.get("/livez").unwrap().0, 200, "it lives");
    assert_eq!(site.status()["consume"]["partitions"][0]["in_flight"]["offset"], 3);
    assert_eq!(site.scrape().value("kafka_actors_ready", &[]), 0.0);
    running.make_file("go on");
    site.wait_until_ready_is(200, "ready");
    wait_for("the rest", || site.status()["consume"]["processed"] == 8);
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_run_without_brokers_is_not_ready_and_reports_it_for_both_sides() {
    let broker = Broker::start();
    let topic = Topic::on(broker.brokers.clone(), 2);
    let arguments =
        "--threads 1 --processes 1 --rate 20 --messages-per-thread 0 --set monitoring.readiness_stall_timeout=2s";
    let running = topic.verify(&format!("{arguments} {LISTEN}")).start();
    let site = Site::of(&running);
    site.wait_until_ready_is(200, "ready");
    broker.call("kill-broker");
    for whose in ["worker 0", "producer 0"] {
        site.wait_until_ready_is(503, &format!("{whose}: no response from any broker for"));
    }
    let scraped = site.scrape();
    assert_eq!(scraped.value("kafka_actors_ready", &[]), 0.0);
    for metric in [
        "consumer_client_last_response_age_seconds",
        "consumer_client_coordinator_unavailable_seconds",
        "producer_client_last_response_age_seconds",
    ] {
        assert!(scraped.value(&format!("kafka_actors_{metric}"), &[]) >= 1.0, "{metric}");
    }
    broker.call("restart-broker");
    site.wait_until_ready_is(200, "ready");
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect_found(&[]);
    assert!(ended.restarts().is_empty(), "its own client had only to come back: {}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_run_that_drains_is_ready_and_reports_that_it_drains() {
    let topic = Topic::new(1);
    let body = "\n    while not os.path.exists('go on'): time.sleep(0.01)\n    answer(m)";
    let running = topic.consume_with(LISTEN, body).start();
    let site = Site::of(&running);
    topic.fill(4);
    wait_for("a message in hand", || site.status()["consume"]["partitions"][0]["in_flight"]["offset"] == 0);
    running.signal(Signal::SIGTERM);
    site.wait_until_ready_is(200, "draining");
    wait_for("its phase", || site.status()["phase"] == "draining");
    running.make_file("go on");
    running.end().expect(0).expect_committed();
}

#[test]
#[ignore = "needs a real Kafka and chromium"]
fn the_page_shows_in_a_browser_what_happens_and_a_worker_that_was_just_killed() {
    let topic = Topic::new(4);
    let running = topic.consume(&format!("--processor count --processes 2 {LISTEN}")).start();
    let site = Site::of(&running);
    let browser = Browser::start();
    browser.open(&format!("http://{}/", site.0));
    let text = || browser.text("main");
    wait_for("both workers", || text().matches("● running").count() >= 2);
    topic.fill(400);
    wait_for("what was processed", || browser.text("#numbers").contains("400"));
    let killed = running.workers()[0];
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    wait_for("the death", || browser.text("#events").contains(&format!("pid {killed}")) && text().contains("SIGKILL"));
    wait_for("its successor", || {
        let workers = running.workers();
        workers.len() == 2 && workers.iter().all(|pid| text().contains(&pid.to_string()))
    });
    assert_eq!(browser.console(), Vec::<String>::new(), "no error, no violation of its policy");
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
    wait_for("its end", || browser.text("body").contains("not connected"));
}

/// Asserts that `schema` describes every member of `value`.
fn assert_described(value: &Value, schema: &Value, root: &Value, path: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return assert_described(value, root.pointer(&reference[1..]).unwrap(), root, path);
    }
    if let Some(one_of) = schema["anyOf"].as_array() {
        let inner = one_of.iter().find(|inner| inner["type"] != "null").unwrap();
        if !value.is_null() {
            assert_described(value, inner, root, path);
        }
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let described = [&schema["properties"][name], &schema["additionalProperties"]];
                let described = described.into_iter().find(|schema| schema.is_object());
                let inner = described.unwrap_or_else(|| panic!("{path}.{name} is not described: {schema}"));
                assert_described(member, inner, root, &format!("{path}.{name}"));
            }
            let required = schema["required"].as_array().into_iter().flatten();
            required.for_each(|name| assert!(members.contains_key(name.as_str().unwrap()), "{path}: no {name}"));
        }
        Value::Array(items) => {
            items.iter().for_each(|item| assert_described(item, &schema["items"], root, path));
        }
        _ => assert!(!schema["type"].is_null() || !schema["oneOf"].is_null() || !schema["enum"].is_null(), "{path}"),
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn the_status_conforms_to_its_schema() {
    let topic = Topic::new(2);
    let running = topic.verify(&format!("--rate 200 --messages-per-thread 0 {LISTEN}")).start();
    let site = Site::of(&running);
    wait_for("messages", || {
        let status = site.status();
        status["consume"]["processed"].as_u64() > Some(100) && status["consume"]["workers"][0]["client"].is_object()
    });
    let schema: Value = serde_json::from_str(&site.get("/status/schema").unwrap().1).unwrap();
    let status = site.status();
    assert!(status["history"].as_array().is_some_and(|samples| !samples.is_empty()));
    assert_described(&status, &schema, &schema, "status");
    running.signal(Signal::SIGTERM);
    running.end().expect_found(&[]);
}
