//! The demonstration: producers, workers and, unless brokers are named, an embedded broker, all at once.

use std::time::Duration;

use crate::director::Outcome;
use crate::judge::Verdict;
use crate::report::{ConsumeReport, ProduceReport};
use crate::settings::{SecurityProtocol, Settings, Start};

/// In how many seconds the messages are sent if no rate is given: slow enough to watch.
const SECONDS: f64 = 4.0;

/// What the demonstration changes in the settings.
pub fn adapt(settings: &mut Settings, embedded: bool, rate_given: bool) {
    let (producer, consumer) = (&mut settings.producer, &mut settings.consumer);
    if !rate_given {
        let messages = (producer.messages_per_thread.max(100) * producer.threads as u64) as f64;
        producer.rate = messages / SECONDS;
    }
    // Its own each time, whatever is set: commits of a demonstration would make a group in use skip messages.
    consumer.group = format!("kafka-actors-demo-{}", std::process::id());
    consumer.topics.clear();
    // What this run writes, all of it, and not what was there before.
    consumer.start = Start::End;
    consumer.until_end = false;
    consumer.max_messages = 0;
    consumer.idle_exit = Duration::ZERO;
    // One half for the messages that are under way, one for the workers' end.
    settings.shutdown.deadline /= 2;
    let mut default = |name: &str, value: &str| {
        producer.properties.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    // Messages without a key change partition with each message instead of with each batch: more to see.
    default("sticky.partitioning.linger.ms", "0");
    if embedded {
        settings.kafka.security.protocol = SecurityProtocol::Plaintext;
        // The embedded broker answers an empty fetch only when its time is over.
        consumer.properties.entry("fetch.wait.max.ms".to_owned()).or_insert_with(|| "20".to_owned());
    }
}

/// The summary: what every thread and worker did, and whether every message is accounted for.
pub fn summary(outcome: &Outcome, verdict: &Verdict) -> String {
    let none = (ProduceReport::default(), ConsumeReport::default());
    let produce = outcome.produced.as_ref().map_or(&none.0, |produced| &produced.report);
    let consume = outcome.consumed.as_ref().map_or(&none.1, |consumed| &consumed.report);
    let mut text = String::from("\n  producer      sent  acknowledged    failed\n");
    for thread in &produce.threads {
        text.push_str(&format!(
            "{:>10}{:>10}{:>14}{:>10}\n",
            thread.producer, thread.sent, thread.acknowledged, thread.failed
        ));
    }
    text.push_str("\n    worker  partition  processed  committed  lag\n");
    for partition in &consume.partitions {
        let worker = partition.worker.map_or_else(|| "-".to_owned(), |slot| slot.to_string());
        let committed = partition.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        text.push_str(&format!(
            "{worker:>10}{:>11}{:>11}{committed:>11}{:>5}\n",
            partition.partition, partition.processed, partition.lag
        ));
    }
    text.push_str(&format!("\n  {}\n", totals(produce, consume, verdict)));
    text
}

/// The summary's last line.
pub fn totals(produce: &ProduceReport, consume: &ConsumeReport, verdict: &Verdict) -> String {
    let sent: u64 = produce.threads.iter().map(|thread| thread.sent).sum::<u64>() + produce.faults.duplicated;
    let ProduceReport { acknowledged, .. } = produce;
    let restarts: usize = consume.workers.iter().map(|worker| worker.restarts.len()).sum();
    let (missing, again) = (verdict.lost + verdict.unread, verdict.redelivered);
    let all = missing == 0 && *acknowledged == sent;
    let word = if all { "every message is accounted for" } else { "NOT every message is accounted for" };
    let skipped = if consume.failed > 0 { format!(", {} failed", consume.failed) } else { String::new() };
    format!(
        "{sent} sent, {acknowledged} acknowledged, {} processed{skipped}, {missing} missing, \
         {again} processed again, {restarts} worker restarts: {word}",
        consume.processed
    )
}
