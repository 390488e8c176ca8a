//! The summary at the end of a run: totals, rates, and problems that an exit code of 0 does not show.

use crate::harness::kafka::Topic;
use crate::harness::program::kafka_actors;

const ALL: &str = "every message is accounted for";

#[test]
fn a_rate_that_was_not_reached_is_named_with_the_one_that_was() {
    let missed = kafka_actors("demo --rate 90000000 --messages-per-thread 20000").run().expect(0);
    assert_eq!(missed.report["produce"]["schedule"]["met"], false);
    let missed = missed.reports("the rate was not reached: ").reports("/s of 90,000,000/s (").reports("80,000 sent, ");
    assert!(missed.stderr.contains(" messages/s\n"), "{}", missed.stderr);
    let kept = kafka_actors("demo --rate 400 --messages-per-thread 100").run().expect(0);
    assert_eq!(kept.report["produce"]["schedule"]["met"], true);
    assert!(!kept.stderr.contains("was not reached"), "{}", kept.stderr);
}

#[test]
fn a_run_that_fails_does_not_report_that_every_message_is_accounted_for() {
    let failed =
        kafka_actors("demo --rate 0 --set producer.seed=7 --set producer.faults.oversized=0.1").run().expect(1);
    assert!(!failed.stderr.contains(ALL), "{}", failed.stderr);
    failed.reports(" failed, ");
    kafka_actors("demo --rate 0")
        .run()
        .expect(0)
        .reports(ALL)
        .reports("400 sent, 400 acknowledged, 0 failed, ")
        .reports("400 processed, 0 missing, 0 processed again, 0 restarts, ");
}

#[test]
fn what_fails_after_the_run_stands_below_no_such_sentence() {
    // This file can be opened, but every write fails.
    let failed = kafka_actors("demo --rate 0 --latency-file /dev/full").run().expect(1);
    assert!(
        failed.reason().contains("the latencies could not be written") && !failed.stderr.contains(ALL),
        "{}",
        failed.stderr
    );
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_verdict_that_holds_names_what_failed_to_be_sent() {
    let topic = Topic::new(1);
    let arguments = "--threads 1 --messages-per-thread 1500 --set producer.seed=7 --set producer.faults.oversized=0.05";
    let ended = topic.verify(arguments).run().expect(0);
    let failed = ended.report["verify"]["failed"].as_u64().unwrap();
    assert!(failed > 0 && !ended.stderr.contains(ALL), "{}", ended.stderr);
    let reported = format!("every acknowledged message is accounted for; {failed} failed to be sent: 1,");
    assert!(ended.reason().ends_with(&format!("; {failed} failed to be sent")), "{}", ended.reason());
    ended.reports(&reported);
}

#[test]
#[ignore = "needs a real Kafka"]
fn both_sides_end_with_their_totals_and_skipped_messages_are_named() {
    let topic = Topic::new(1);
    let produced = topic.produce("--threads 1 --messages-per-thread 2000").run().expect(0);
    produced.reports("2,000 sent, 2,000 acknowledged, 0 failed, ").reports(" messages/s\n");
    let body = "answer(m, **({'error': 'no'} if m['offset'] < 3 else {}))";
    let retry = "--set consumer.retry.attempts=1 --set consumer.retry.backoff=1ms";
    let ended = topic.consume_with(&format!("--until-end --on-failure skip {retry}"), body).run().expect(0);
    assert_eq!(ended.reason(), "end reached; 3 failed messages skipped");
    assert_eq!((&ended.report["consume"]["failed"], &ended.report["consume"]["retried"]), (&3.into(), &3.into()));
    ended
        .reports("1,997 processed, 3 skipped, 0 dead-lettered, 3 retried, ")
        .reports("3 messages failed and were skipped");
}
