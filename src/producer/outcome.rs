//! The coordinator's exit status and report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::error;

use super::coordinator::{Outcomes, ProducerCoordinator, ThreadPhase};
use super::messages::{BatchEnd, DeadlineKind};
use super::schedule::{Kept, SendProgress};
use crate::exit::{ExitCode, ExitStatus};
use crate::kafka::delivery_reports::Latencies;
use crate::report::{self, FaultsReport, ProduceReport, ScheduleReport, ThreadReport};
use crate::settings::Acks;
use crate::util::format::format_count;

impl ProducerCoordinator {
    /// The exit status, after everything is counted.
    pub(super) fn exit_status(&self) -> ExitStatus {
        let report = self.report();
        let failed: u64 = report.failed.values().sum();
        let sent: u64 = report.threads.iter().map(|thread| thread.sent).sum();
        let ended = self.threads.iter().enumerate().find_map(|(number, thread)| Some((number, thread.ended.as_ref()?)));
        if self.topic_watch.is_deleted {
            return self.topic_deleted(report.delivered(), failed, sent, &reasons(&report.failed));
        }
        match (ended, report.requested) {
            (Some((number, BatchEnd::Panicked(text))), _) => {
                ExitStatus::failed(format!("producer {number}: the generator {text}"))
            }
            (Some((number, BatchEnd::Fatal(text))), _) => ExitStatus::failed(format!("producer {number}: {text}")),
            (None, _) if failed > 0 => self.not_acknowledged(failed, sent, &reasons(&report.failed)),
            (None, Some(requested)) if report.delivered() < requested + report.faults.duplicated => {
                let and = if self.acks == Acks::None { "sent" } else { "sent and acknowledged" };
                let (delivered, requested) = (format_count(report.delivered()), format_count(requested));
                let reason = format!("interrupted: {delivered} of {requested} messages were {and}");
                if self.interrupted {
                    ExitStatus::stopped(ExitCode::Failed, reason)
                } else {
                    ExitStatus::failed(reason)
                }
            }
            (None, _) if self.interrupted => ExitStatus::clean(format!("stopped; {}", all(sent, self.acks))),
            (None, _) => ExitStatus::clean(all(sent, self.acks)),
        }
    }

    fn topic_deleted(&self, delivered: u64, failed: u64, sent: u64, reasons: &str) -> ExitStatus {
        let topic = &self.params.settings.kafka.topic;
        let how = if self.acks == Acks::None { "sent" } else { "acknowledged" };
        let (delivered, sent) = (format_count(delivered), format_count(sent));
        let failed =
            if failed > 0 { format!("; {} were not ({reasons})", format_count(failed)) } else { String::new() };
        ExitStatus::failed(format!(
            "the topic {topic:?} was deleted while messages were written to it: {delivered} of {sent} messages were \
             {how}, and are deleted with it{failed}"
        ))
    }

    /// Names the deadline that expired, if one did.
    fn not_acknowledged(&self, failed: u64, sent: u64, reasons: &str) -> ExitStatus {
        let settings = &self.params.settings;
        let what = if self.acks == Acks::None { "sent" } else { "acknowledged" };
        let text = format!("{} of {} messages were not {what}", format_count(failed), format_count(sent));
        let expired = |by| self.threads.iter().any(|thread| thread.expired == Some(by));
        if expired(DeadlineKind::Stopped) {
            let deadline = settings.shutdown.timeout;
            return ExitStatus::new(
                ExitCode::Forced,
                format!(
                    "{text} within the {deadline:?} that shutdown.timeout leaves them, and purged ({reasons}); a longer one \
                     waits for them"
                ),
            );
        }
        if expired(DeadlineKind::Flushing) {
            let timeout = settings.producer.flush_timeout;
            return ExitStatus::failed(format!(
                "{text} within producer.flush_timeout = {timeout:?}, and purged ({reasons}); a longer one waits for \
                 them, up to producer.message_timeout"
            ));
        }
        ExitStatus::failed(format!("{text}: {reasons}"))
    }

    /// The deadline of the stop has passed: an unfinished thread hangs in its generator.
    pub(super) fn abandon_threads(&mut self, context: &mut Context<Self>) {
        if self.outcome.is_none() {
            return;
        }
        let not_done = self.threads.iter().enumerate().filter(|(_, thread)| thread.state != ThreadPhase::Done);
        let names: Vec<_> = not_done.map(|(number, _)| number.to_string()).collect();
        let text = format!(
            "producer {} did not finish within the {:?} that shutdown.timeout leaves it: does its generator hang? Messages that it \
             sent may not be counted",
            names.join(", "),
            self.params.settings.shutdown.timeout
        );
        error!(self.params.logger, "{text}");
        self.finish(ExitStatus::new(ExitCode::Forced, text), context);
    }

    pub(super) fn report(&self) -> ProduceReport {
        let mut failed: BTreeMap<String, u64> = BTreeMap::new();
        let mut faults = FaultsReport::default();
        let mut threads = Vec::new();
        for (producer, thread) in self.threads.iter().enumerate() {
            faults.add(&thread.faults);
            let Outcomes { acknowledged, unacknowledged, failed: reasons } = thread.outcomes();
            let panic = match &thread.ended {
                Some(BatchEnd::Panicked(text)) => Some(text.clone()),
                _ => None,
            };
            threads.push(ThreadReport {
                producer,
                sent: thread.expected_outcomes(),
                acknowledged,
                unacknowledged,
                failed: reasons.values().sum(),
                panic,
            });
            for (reason, count) in reasons {
                *failed.entry(reason).or_default() += count;
            }
        }
        let acknowledged: u64 = threads.iter().map(|thread| thread.acknowledged).sum();
        let unacknowledged: u64 = threads.iter().map(|thread| thread.unacknowledged).sum();
        let messages_per_second = report::rate(acknowledged + unacknowledged, self.begun.elapsed());
        let mut latencies = Latencies::default();
        self.threads.iter().for_each(|thread| thread.deliveries.add_latencies_to(&mut latencies));
        let Latencies { due: latency_us, sent: sent_latency_us } = latencies;
        ProduceReport {
            requested: self.requested(),
            acks: self.acks,
            acknowledged,
            unacknowledged,
            failed,
            messages_per_second,
            latency_us,
            sent_latency_us,
            schedule: self.schedule_report(),
            seed: self.params.settings.producer.seed,
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
        let sent = SendProgress { messages: &sent, limit: self.limit(), last, end: since_begun(end) };
        let Kept { wanted, reached, met } = self.schedule.report(&sent)?;
        let delay = self.threads.iter().map(|thread| thread.delay).max().unwrap_or_default();
        let worst_delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        Some(ScheduleReport { wanted, reached, met, worst_delay_us })
    }
}

/// The text for messages of which none failed.
fn all(sent: u64, acks: Acks) -> String {
    if sent == 0 {
        return "no message was sent".to_owned();
    }
    let sent = format_count(sent);
    match acks {
        Acks::All => format!("all {sent} messages were acknowledged"),
        Acks::Leader => format!("all {sent} messages were acknowledged, by their partitions' leaders only (acks=1)"),
        Acks::None => {
            format!(
                "all {sent} messages were sent, not acknowledged (acks=0): whether the brokers have them is unknown"
            )
        }
    }
}

fn reasons(failed: &BTreeMap<String, u64>) -> String {
    failed.iter().map(|(reason, failed)| format!("{reason}: {}", format_count(*failed))).collect::<Vec<_>>().join(", ")
}
