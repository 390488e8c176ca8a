//! Everything at once: producers, workers and, unless brokers are named, an embedded broker.

use std::sync::Arc;

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

/// What the demonstration changes in the settings, where the user has not said otherwise.
pub fn adapt(settings: &mut Settings, embedded: bool, rate_given: bool, group_given: bool) {
    let (producer, consumer) = (&mut settings.producer, &mut settings.consumer);
    if !rate_given {
        let messages = (producer.messages_per_thread.max(100) * producer.threads as u64) as f64;
        producer.rate = messages / SECONDS;
    }
    if !group_given {
        // Its own each time: nobody else's commits, and none left behind in a group that is used.
        consumer.group = format!("kafka-actors-demo-{}", std::process::id());
    }
    consumer.topics.clear();
    // What this run writes, not what was there before.
    consumer.start = Start::End;
    consumer.until_end = false;
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
        if self.interrupted {
            // As much time as the senders had.
            context.run_later(self.settings.shutdown.deadline, move |_, _| supervisor.do_send(Interrupt::Graceful));
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
        let exit = verdict(produced.as_ref(), &consumed);
        let produce = produced.map(|produced| produced.report).unwrap_or_default();
        // Whoever started it waits for this, or is gone with the process.
        let _unheard = outcome.send(Outcome { exit, produce, consume: consumed.report });
        context.stop();
    }
}

/// Clean if what was acknowledged was processed, also when it was cut short.
fn verdict(produced: Option<&producing::Outcome>, consumed: &consuming::Outcome) -> Exit {
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
    let (acknowledged, processed) = (produced.report.acknowledged, consumed.report.processed);
    if processed < acknowledged {
        return Exit::failed(format!(
            "{} of {acknowledged} acknowledged messages were not processed",
            acknowledged - processed
        ));
    }
    let end = if produced.interrupted { "stopped early; " } else { "" };
    Exit::clean(format!("{end}all {acknowledged} acknowledged messages were processed"))
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
    let restarts: usize = consume.workers.iter().map(|worker| worker.restarts.len()).sum();
    let sent: u64 = produce.threads.iter().map(|thread| thread.sent).sum();
    let missing = produce.acknowledged.saturating_sub(consume.processed);
    let again = consume.processed.saturating_sub(produce.acknowledged);
    let word = if missing == 0 && produce.acknowledged == sent {
        "every message is accounted for"
    } else {
        "NOT every message is accounted for"
    };
    text.push_str(&format!(
        "\n  {sent} sent, {} acknowledged, {} processed, {missing} missing, {again} processed again, {restarts} worker restarts: {word}\n",
        produce.acknowledged, consume.processed
    ));
    text
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
            (Observation::Consumed(messages), Some(coordinator)) => coordinator.do_send(Consumed(messages)),
            (Observation::Consumed(_), None) => {}
        }
    }
}

impl Handler<Interrupt> for Director {
    type Result = ();

    fn handle(&mut self, interrupt: Interrupt, _: &mut Self::Context) {
        self.interrupted |= interrupt != Interrupt::Status;
        if let Some(coordinator) = &self.coordinator {
            coordinator.do_send(interrupt);
        }
        // While messages are sent a graceful end waits for them, and then reads to the end.
        if let Some(supervisor) = &self.supervisor
            && (self.coordinator.is_none() || interrupt != Interrupt::Graceful)
        {
            supervisor.do_send(interrupt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produced(acknowledged: u64, exit: Exit, interrupted: bool) -> producing::Outcome {
        producing::Outcome { exit, report: ProduceReport { acknowledged, ..ProduceReport::default() }, interrupted }
    }

    fn consumed(processed: u64) -> consuming::Outcome {
        let report = ConsumeReport { processed, ..ConsumeReport::default() };
        consuming::Outcome { exit: Exit::clean("end reached"), report, interrupted: false }
    }

    #[test]
    fn a_missing_message_is_a_failure_and_an_early_end_is_not() {
        let all = produced(400, Exit::clean(""), false);
        assert!(verdict(Some(&all), &consumed(400)).is_clean());
        assert!(!verdict(Some(&all), &consumed(399)).is_clean());
        let early = produced(150, Exit::failed("interrupted"), true);
        assert!(verdict(Some(&early), &consumed(150)).is_clean());
        assert!(!verdict(Some(&early), &consumed(149)).is_clean());
        assert!(!verdict(None, &consumed(0)).is_clean());
    }
}
