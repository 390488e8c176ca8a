//! Everything at once: producers, workers and, unless brokers are named, an embedded broker.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::{Logger, info};
use tokio::sync::oneshot;

use crate::consumer::supervisor::actor::{self as supervisor, ConsumerSupervisor};
use crate::consumer::supervisor::messages::{self as consuming, Observation, ReadToEnd};
use crate::exit::{Exit, ExitCode};
use crate::producer::coordinator::{self, ProducerCoordinator};
use crate::producer::messages::{self as producing, Consumed};
use crate::report::{ConsumeReport, ProduceReport};
use crate::settings::{SecurityProtocol, Settings, Start};
use crate::shutdown::Interrupt;

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

/// How it all ended.
pub struct Outcome {
    /// The end.
    pub exit: Exit,
    /// What was produced.
    pub produce: ProduceReport,
    /// What was consumed.
    pub consume: ConsumeReport,
    /// What became of the messages.
    pub account: Account,
}

/// What became of the messages that were acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sent by all producers.
    pub sent: u64,
    /// Acknowledged by the brokers.
    pub acknowledged: u64,
    /// Acknowledged, and not read.
    pub missing: u64,
    /// Processed once more, after a worker had died.
    pub again: u64,
    /// Not processed: they failed, and were skipped.
    pub failed: u64,
}

impl Account {
    /// `to_the_end`: the workers have read each partition to its end.
    fn new(produce: &ProduceReport, consume: &ConsumeReport, to_the_end: bool) -> Self {
        // Each offset once, however often it was processed.
        let read: i64 = consume.partitions.iter().map(|partition| partition.next - partition.first).sum();
        let unread: i64 = consume.partitions.iter().map(|partition| partition.lag).sum();
        let (read, unread) = (u64::try_from(read).unwrap_or(0), u64::try_from(unread).unwrap_or(0));
        Self {
            sent: produce.threads.iter().map(|thread| thread.sent).sum(),
            acknowledged: produce.acknowledged,
            missing: produce.acknowledged.saturating_sub(read).max(if to_the_end { 0 } else { unread }),
            again: (consume.processed + consume.failed).saturating_sub(read),
            failed: consume.failed,
        }
    }
}

/// Directs the two sides, which do not know each other.
pub struct Director {
    settings: Arc<Settings>,
    logger: Logger,
    consuming: Option<supervisor::Order>,
    producing: Option<coordinator::Order>,
    supervisor: Option<Addr<ConsumerSupervisor>>,
    coordinator: Option<Addr<ProducerCoordinator>>,
    produced: Option<producing::Outcome>,
    consumed: Option<consuming::Outcome>,
    interrupted: bool,
    outcome: Option<oneshot::Sender<Outcome>>,
}

impl Director {
    /// Starts it; the receiver gets the outcome.
    pub fn start(
        settings: Arc<Settings>,
        producing: coordinator::Order,
        consuming: supervisor::Order,
        logger: Logger,
    ) -> (Addr<Self>, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let director = Self {
            settings,
            logger,
            consuming: Some(consuming),
            producing: Some(producing),
            supervisor: None,
            coordinator: None,
            produced: None,
            consumed: None,
            interrupted: false,
            outcome: Some(sender),
        };
        (Actor::start(director), receiver)
    }

    /// The workers read: whatever is written from now on is seen.
    fn produce(&mut self, context: &mut Context<Self>) {
        let Some(order) = self.producing.take() else { return };
        if self.interrupted {
            return;
        }
        let (coordinator, outcome) = ProducerCoordinator::start(order);
        self.coordinator = Some(coordinator);
        context.spawn(outcome.into_actor(self).map(|outcome, director, context| {
            if let Ok(outcome) = outcome {
                director.produced(outcome, context);
            }
        }));
    }

    fn produced(&mut self, outcome: producing::Outcome, context: &mut Context<Self>) {
        self.coordinator = None;
        let given_up = outcome.exit.code == ExitCode::Forced || outcome.report.acknowledged == 0;
        info!(self.logger, "produced: {}", outcome.exit.reason);
        self.produced = Some(outcome);
        let Some(supervisor) = self.supervisor.clone().filter(|_| self.consumed.is_none()) else {
            self.finish(context);
            return;
        };
        if given_up {
            supervisor.do_send(Interrupt::Graceful);
        } else {
            supervisor.do_send(ReadToEnd);
        }
    }

    fn consumed(&mut self, outcome: consuming::Outcome, context: &mut Context<Self>) {
        self.consumed = Some(outcome);
        match &self.coordinator {
            // The readers have given up: nothing more needs to be sent.
            Some(coordinator) => coordinator.do_send(Interrupt::Graceful),
            None => self.finish(context),
        }
    }

    fn finish(&mut self, context: &mut Context<Self>) {
        let (Some(consumed), Some(outcome)) = (self.consumed.take(), self.outcome.take()) else { return };
        let produced = self.produced.take();
        let produce = produced.as_ref().map(|produced| produced.report.clone()).unwrap_or_default();
        let account = Account::new(&produce, &consumed.report, !consumed.interrupted);
        let exit = verdict(produced.as_ref(), &consumed, account);
        // Whoever started it waits for this, or is gone with the process.
        let _unheard = outcome.send(Outcome { exit, produce, consume: consumed.report, account });
        context.stop();
    }
}

/// Clean if what was acknowledged was read, also when it was cut short.
fn verdict(produced: Option<&producing::Outcome>, consumed: &consuming::Outcome, account: Account) -> Exit {
    let Some(produced) = produced else {
        return match consumed.exit.is_clean() {
            true => Exit::failed("stopped before anything was produced"),
            false => consumed.exit.clone(),
        };
    };
    if !consumed.exit.is_clean() {
        return consumed.exit.clone();
    }
    let cut_short = produced.interrupted && produced.report.failed.is_empty() && produced.exit.code == ExitCode::Failed;
    if !produced.exit.is_clean() && !cut_short {
        return produced.exit.clone();
    }
    let Account { acknowledged, missing, failed, .. } = account;
    let early = if produced.interrupted { "stopped early; " } else { "" };
    match (missing, failed) {
        (0, 0) => Exit::clean(format!("{early}all {acknowledged} acknowledged messages were processed")),
        (0, _) => Exit::clean(format!(
            "{early}all {acknowledged} acknowledged messages were read; {failed} failed and were skipped"
        )),
        _ => Exit::failed(format!("{missing} of {acknowledged} acknowledged messages were not read")),
    }
}

/// The summary: what every thread and worker did, and whether every message is accounted for.
pub fn summary(outcome: &Outcome) -> String {
    let (produce, consume) = (&outcome.produce, &outcome.consume);
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
    text.push_str(&format!("\n  {}\n", totals(outcome)));
    text
}

/// The summary's last line.
pub fn totals(outcome: &Outcome) -> String {
    let Account { sent, acknowledged, missing, again, failed } = outcome.account;
    let (processed, restarts) =
        (outcome.consume.processed, outcome.consume.workers.iter().map(|worker| worker.restarts.len()).sum::<usize>());
    let all = missing == 0 && acknowledged == sent;
    let word = if all { "every message is accounted for" } else { "NOT every message is accounted for" };
    let skipped = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!(
        "{sent} sent, {acknowledged} acknowledged, {processed} processed{skipped}, {missing} missing, \
         {again} processed again, {restarts} worker restarts: {word}"
    )
}

impl Actor for Director {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(mut order) = self.consuming.take() else { return };
        order.observer = Some(context.address().recipient());
        let (supervisor, outcome) = ConsumerSupervisor::start(order);
        self.supervisor = Some(supervisor);
        context.spawn(outcome.into_actor(self).map(|outcome, director, context| {
            if let Ok(outcome) = outcome {
                director.consumed(outcome, context);
            }
        }));
    }
}

impl Handler<Observation> for Director {
    type Result = ();

    fn handle(&mut self, observation: Observation, context: &mut Self::Context) {
        match (observation, &self.coordinator) {
            (Observation::Ready, _) => self.produce(context),
            (Observation::Read(messages), Some(coordinator)) => coordinator.do_send(Consumed(messages)),
            (Observation::Read(_), None) => {}
        }
    }
}

impl Handler<Interrupt> for Director {
    type Result = ();

    fn handle(&mut self, interrupt: Interrupt, context: &mut Self::Context) {
        let Some(supervisor) = self.supervisor.clone() else { return };
        if let Some(coordinator) = &self.coordinator {
            coordinator.do_send(interrupt);
        }
        if interrupt != Interrupt::Graceful {
            supervisor.do_send(interrupt);
        } else if !std::mem::replace(&mut self.interrupted, true) {
            if self.coordinator.is_none() && self.produced.is_none() {
                supervisor.do_send(Interrupt::Graceful);
            }
            // Otherwise what was sent is read to the end, for as long as there is time.
            context.run_later(self.settings.shutdown.deadline, move |_, _| supervisor.do_send(Interrupt::Graceful));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PartitionReport;

    fn produced(acknowledged: u64, exit: Exit, interrupted: bool) -> producing::Outcome {
        producing::Outcome { exit, report: ProduceReport { acknowledged, ..ProduceReport::default() }, interrupted }
    }

    /// One partition: offsets from 100 on, `read` of `written` messages read, `processed` in all.
    fn consumed(written: i64, read: i64, processed: u64, interrupted: bool) -> consuming::Outcome {
        let partition = PartitionReport {
            topic: "t".to_owned(),
            partition: 0,
            worker: Some(0),
            first: 100,
            next: 100 + read,
            committed: Some(100 + read),
            end: 100 + written,
            lag: written - read,
            processed,
            failed: 0,
            abandoned: 0,
        };
        let report = ConsumeReport { processed, partitions: vec![partition], ..ConsumeReport::default() };
        consuming::Outcome { exit: Exit::clean("end reached"), report, interrupted }
    }

    fn is_clean(produced: Option<&producing::Outcome>, consumed: &consuming::Outcome) -> bool {
        let report = produced.map(|produced| produced.report.clone()).unwrap_or_default();
        let account = Account::new(&report, &consumed.report, !consumed.interrupted);
        verdict(produced, consumed, account).is_clean()
    }

    #[test]
    fn a_missing_message_is_a_failure_and_an_early_end_is_not() {
        let all = produced(400, Exit::clean(""), false);
        assert!(is_clean(Some(&all), &consumed(400, 400, 400, false)));
        assert!(!is_clean(Some(&all), &consumed(400, 399, 399, false)));
        let early = produced(150, Exit::failed("interrupted"), true);
        assert!(is_clean(Some(&early), &consumed(150, 150, 150, false)));
        assert!(!is_clean(Some(&early), &consumed(150, 149, 149, true)));
        assert!(!is_clean(None, &consumed(0, 0, 0, true)));
    }

    #[test]
    fn what_is_processed_twice_does_not_make_up_for_what_is_missing() {
        let all = produced(400, Exit::clean(""), false);
        assert!(!is_clean(Some(&all), &consumed(400, 300, 450, true)));
        assert!(is_clean(Some(&all), &consumed(400, 400, 500, false)), "at least once");
    }

    #[test]
    fn other_writers_messages_do_not_make_up_for_missing_ones() {
        let all = produced(400, Exit::clean(""), false);
        assert!(!is_clean(Some(&all), &consumed(700, 500, 500, true)));
        assert!(is_clean(Some(&all), &consumed(700, 600, 600, false)), "they wrote on when the end was known");
    }
}
