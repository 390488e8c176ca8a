//! The demo: producer, workers and, unless brokers are given, an embedded broker in one process.

use std::time::Duration;

use crate::exit::ExitStatus;
use crate::report::{ConsumeReport, ProduceReport};
use crate::run_summary;
use crate::settings::{LibrdkafkaConfig, SecurityProtocol, Settings, StartOffset};
use crate::util::format::format_count;
use crate::util::text_table::{Align, TextTable};
use crate::verify::checker::Verdict;
use crate::verify::orchestrator::RunOutcome;

/// The duration of the demo without a rate, in seconds: slow enough to follow.
const SECONDS: f64 = 4.0;

/// Changes the settings for the demo.
pub fn demo_settings(settings: &mut Settings, embedded: bool, is_rate_set: bool) {
    let (producer, consumer) = (&mut settings.producer, &mut settings.consumer);
    if !is_rate_set {
        let messages = (producer.messages_per_thread.max(100) * producer.threads as u64) as f64;
        producer.rate = messages / SECONDS;
    }
    // A new group each time, whatever is set: the demo's commits would make an existing group skip messages.
    consumer.group_id = format!("kafka-actors-demo-{}", std::process::id());
    consumer.topics.clear();
    consumer.read_only = false;
    // Consume all messages of this run, and none from before.
    consumer.start = StartOffset::Latest;
    consumer.until_end = false;
    consumer.max_messages = 0;
    consumer.idle_exit = Duration::ZERO;
    // Half of the timeout is for messages in flight, half for the workers' shutdown.
    settings.shutdown.timeout /= 2;
    let of_all = &settings.kafka.properties;
    // Without sticky batches each message without a key goes to another partition, which shows more.
    set_default(&mut producer.properties, of_all, "sticky.partitioning.linger.ms", "0");
    if embedded {
        // The embedded broker replies to an empty fetch only after its maximum wait.
        set_default(&mut consumer.properties, of_all, "fetch.wait.max.ms", "20");
        settings.kafka.security.protocol = SecurityProtocol::Plaintext;
        // Nothing else creates or deletes topics there, and it does not reply to requests for topic ids.
        consumer.metadata_refresh_interval = Duration::ZERO;
    }
}

/// Sets a property of one side unless the user has set it, for this side or for all clients.
fn set_default(of_side: &mut LibrdkafkaConfig, of_all: &LibrdkafkaConfig, name: &str, value: &str) {
    if !of_side.contains_key(name) && !of_all.contains_key(name) {
        of_side.insert(name.to_owned(), value.to_owned());
    }
}

/// The summary of all threads and workers, with the verdict.
pub fn summary(outcome: &RunOutcome, verdict: &Verdict, exit: &ExitStatus) -> String {
    let none = (ProduceReport::default(), ConsumeReport::default());
    let produce = outcome.produced.as_ref().map_or(&none.0, |produced| &produced.report);
    let consume = outcome.consumed.as_ref().map_or(&none.1, |consumed| &consumed.report);
    let columns = [("  producer", 10), ("sent", 8), ("acknowledged", 12), ("failed", 8)];
    let mut threads = TextTable::new(columns.map(|(title, width)| (title, Align::Right(width))));
    for thread in &produce.threads {
        let numbers = [thread.sent, thread.acknowledged, thread.failed].map(format_count);
        threads.row([thread.producer.to_string()].into_iter().chain(numbers));
    }
    let columns = [("  worker", 10), ("partition", 9), ("processed", 9), ("committed", 9), ("lag", 3)];
    let mut partitions = TextTable::new(columns.map(|(title, width)| (title, Align::Right(width))));
    for partition in &consume.partitions {
        let count = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |of| format_count(of.unsigned_abs()));
        partitions.row([
            partition.worker.map_or_else(|| "-".to_owned(), |slot| slot.to_string()),
            partition.partition.to_string(),
            format_count(partition.counts.processed),
            count(partition.committed),
            count(partition.lag),
        ]);
    }
    let mut text = format!("\n{threads}\n{partitions}\n");
    let totals = run_summary::verified(Some(produce), Some(consume), verdict);
    totals
        .into_iter()
        .chain(run_summary::accounting(exit, verdict))
        .for_each(|line| text.push_str(&format!("  {line}\n")));
    text
}
