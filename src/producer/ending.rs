//! The coordinator's end: how it all went, summed up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::error;

use super::coordinator::{ProducerCoordinator, State};
use super::messages::{Ended, GivenUp};
use super::schedule::Sent;
use crate::exit::{Exit, ExitCode};
use crate::kafka::deliveries::Latencies;
use crate::report::{self, FaultsReport, ProduceReport, ScheduleReport, ThreadReport};

impl ProducerCoordinator {
    /// How it ends, now that everything is counted.
    pub(super) fn verdict(&self) -> Exit {
        let report = self.report();
        let failed: u64 = report.failed.values().sum();
        let sent: u64 = report.threads.iter().map(|thread| thread.sent).sum();
        let ended = self.threads.iter().enumerate().find_map(|(number, thread)| Some((number, thread.ended.as_ref()?)));
        match (ended, report.requested) {
            (Some((number, Ended::Panicked(text))), _) => {
                Exit::failed(format!("producer {number}: the generator {text}"))
            }
            (Some((number, Ended::Fatal(text))), _) => Exit::failed(format!("producer {number}: {text}")),
            (None, _) if failed > 0 => self.not_acknowledged(failed, sent, &reasons(&report.failed)),
            (None, Some(requested)) if report.acknowledged < requested + report.faults.duplicated => Exit::failed(
                format!("interrupted: {} of {requested} messages were sent and acknowledged", report.acknowledged),
            ),
            (None, _) if self.interrupted => Exit::clean(format!("stopped; all {sent} messages were acknowledged")),
            (None, _) => Exit::clean(format!("all {sent} messages were acknowledged")),
        }
    }

    /// Names the deadline that has ended the waiting, if one has.
    fn not_acknowledged(&self, failed: u64, sent: u64, reasons: &str) -> Exit {
        let settings = &self.order.settings;
        let text = format!("{failed} of {sent} messages were not acknowledged");
        let given_up = |by| self.threads.iter().any(|thread| thread.given_up == Some(by));
        if given_up(GivenUp::Stopped) {
            let deadline = settings.shutdown.deadline;
            return Exit::new(
                ExitCode::Forced,
                format!(
                    "{text} within the {deadline:?} that shutdown.deadline leaves them, and given up ({reasons}); a longer one \
                     waits for them"
                ),
            );
        }
        if given_up(GivenUp::Flushing) {
            let timeout = settings.producer.flush_timeout;
            return Exit::failed(format!(
                "{text} within producer.flush_timeout = {timeout:?}, and given up ({reasons}); a longer one waits for \
                 them, up to producer.message_timeout"
            ));
        }
        Exit::failed(format!("{text}: {reasons}"))
    }

    /// The stop's deadline is over: whoever is not done hangs in the generator.
    pub(super) fn leave_behind(&mut self, context: &mut Context<Self>) {
        if self.outcome.is_none() {
            return;
        }
        let not_done = self.threads.iter().enumerate().filter(|(_, thread)| thread.state != State::Done);
        let names: Vec<_> = not_done.map(|(number, _)| number.to_string()).collect();
        let text = format!(
            "producer {} had not come back within the {:?} that shutdown.deadline leaves it: does its generator hang? What it \
             has sent may not be counted",
            names.join(", "),
            self.order.settings.shutdown.deadline
        );
        error!(self.order.logger, "{text}");
        self.finish(Exit::new(ExitCode::Forced, text), context);
    }

    pub(super) fn report(&self) -> ProduceReport {
        let mut failed: BTreeMap<String, u64> = BTreeMap::new();
        let mut faults = FaultsReport::default();
        let mut threads = Vec::new();
        for (producer, thread) in self.threads.iter().enumerate() {
            faults.add(&thread.faults);
            let (acknowledged, reasons) = thread.outcomes();
            let panic = match &thread.ended {
                Some(Ended::Panicked(text)) => Some(text.clone()),
                _ => None,
            };
            threads.push(ThreadReport {
                producer,
                sent: thread.handed(),
                acknowledged,
                failed: reasons.values().sum(),
                panic,
            });
            for (reason, count) in reasons {
                *failed.entry(reason).or_default() += count;
            }
        }
        let acknowledged = threads.iter().map(|thread| thread.acknowledged).sum();
        let messages_per_second = report::rate(acknowledged, self.begun.elapsed());
        let mut latencies = Latencies::default();
        self.threads.iter().for_each(|thread| thread.deliveries.add_latencies_to(&mut latencies));
        let Latencies { due: latency_us, sent: sent_latency_us } = latencies;
        ProduceReport {
            requested: self.requested(),
            acknowledged,
            failed,
            messages_per_second,
            latency_us,
            sent_latency_us,
            schedule: self.schedule_report(),
            seed: self.order.settings.producer.seed,
            faults,
            threads,
        }
    }

    /// How well the rate was kept.
    fn schedule_report(&self) -> Option<ScheduleReport> {
        let now = Instant::now();
        let since_begun = |time: Instant| time.saturating_duration_since(self.begun);
        let stopped = self.threads.iter().map(|thread| thread.stopped.unwrap_or(now)).max()?;
        let end = self.until.map_or(stopped, |until| until.min(stopped));
        let sent: Vec<_> = self.threads.iter().map(|thread| thread.sent).collect();
        let last = self.threads.iter().filter_map(|thread| thread.last).max().map_or(Duration::ZERO, since_begun);
        let sent = Sent { messages: &sent, limit: self.limit(), last, end: since_begun(end) };
        let (wanted, reached) = self.schedule.kept(&sent)?;
        let delay = self.threads.iter().map(|thread| thread.delay).max().unwrap_or_default();
        Some(ScheduleReport { wanted, reached, worst_delay_us: u64::try_from(delay.as_micros()).unwrap_or(u64::MAX) })
    }
}

fn reasons(failed: &BTreeMap<String, u64>) -> String {
    failed.iter().map(|(reason, count)| format!("{reason}: {count}")).collect::<Vec<_>>().join(", ")
}
