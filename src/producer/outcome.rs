//! The coordinator's exit status and report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::coordinator::ProducerCoordinator;
use super::messages::DeadlineKind;
use super::schedule::{AchievedRate, SendProgress};
use super::thread_fleet::DeliveryTotals;
use crate::exit::{ExitCode, ExitStatus};
use crate::report::{self, ProduceReport, ScheduleReport};
use crate::settings::Acks;
use crate::util::format::format_count;

impl ProducerCoordinator {
    /// The exit status, after everything is counted.
    pub(super) fn exit_status(&self) -> ExitStatus {
        let report = self.report();
        let failed: u64 = report.failed.values().sum();
        let sent: u64 = report.threads.iter().map(|thread| thread.sent).sum();
        if self.topic_watch.is_deleted {
            return self.topic_deleted(report.delivered(), failed, sent, &reasons(&report.failed));
        }
        match (self.fleet.first_ended(), report.requested) {
            (Some((number, ended)), _) => ExitStatus::failed(ended.describe(number)),
            (None, _) if failed > 0 => self.not_acknowledged(failed, sent, &reasons(&report.failed)),
            (None, Some(requested)) if report.delivered() < requested + report.faults.duplicated => {
                let and = if self.acks == Acks::None { "sent" } else { "sent and acknowledged" };
                let (delivered, requested) = (format_count(report.delivered()), format_count(requested));
                let reason = format!("interrupted: {delivered} of {requested} messages were {and}");
                if self.shutdown.interrupted {
                    ExitStatus::stopped(ExitCode::Failed, reason)
                } else {
                    ExitStatus::failed(reason)
                }
            }
            (None, _) if self.shutdown.interrupted => ExitStatus::clean(format!("stopped; {}", all(sent, self.acks))),
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
        if self.fleet.is_expired(DeadlineKind::Stopped) {
            let deadline = settings.shutdown.timeout;
            return ExitStatus::new(
                ExitCode::Forced,
                format!(
                    "{text} within the {deadline:?} that shutdown.timeout leaves them, and purged ({reasons}); a longer one \
                     waits for them"
                ),
            );
        }
        if self.fleet.is_expired(DeadlineKind::Flushing) {
            let timeout = settings.producer.flush_timeout;
            return ExitStatus::failed(format!(
                "{text} within producer.flush_timeout = {timeout:?}, and purged ({reasons}); a longer one waits for \
                 them, up to producer.message_timeout"
            ));
        }
        ExitStatus::failed(format!("{text}: {reasons}"))
    }

    /// The exit status of a run with unfinished threads after the deadline of the stop.
    pub(super) fn abandoned(&self) -> ExitStatus {
        let not_done = self.fleet.iter().enumerate().filter(|(_, thread)| !thread.is_done());
        let names: Vec<_> = not_done.map(|(number, _)| number.to_string()).collect();
        let text = format!(
            "producer {} did not finish within the {:?} that shutdown.timeout leaves it: does its generator hang? Messages that it \
             sent may not be counted",
            names.join(", "),
            self.params.settings.shutdown.timeout
        );
        ExitStatus::new(ExitCode::Forced, text)
    }

    pub(super) fn report(&self) -> ProduceReport {
        let DeliveryTotals { threads, acknowledged, unacknowledged, failed, faults, latencies } = self.fleet.totals();
        ProduceReport {
            requested: self.requested(),
            acks: self.acks,
            acknowledged,
            unacknowledged,
            failed,
            messages_per_second: report::rate(acknowledged + unacknowledged, self.pacing.begun.elapsed()),
            latency_us: latencies.due,
            sent_latency_us: latencies.sent,
            schedule: self.schedule_report(),
            seed: self.params.settings.producer.seed,
            faults,
            threads,
        }
    }

    /// How well the rate was kept.
    fn schedule_report(&self) -> Option<ScheduleReport> {
        let since_begun = |time: Instant| time.saturating_duration_since(self.pacing.begun);
        let stopped = self.fleet.stopped_at()?;
        let end = self.pacing.until.map_or(stopped, |until| until.min(stopped));
        let messages: Vec<_> = self.fleet.iter().map(|thread| thread.batches.sent).collect();
        let last = self.fleet.last_sent_at().map_or(Duration::ZERO, since_begun);
        let sent = SendProgress { messages: &messages, limit: self.limit(), last, end: since_begun(end) };
        let AchievedRate { target, actual, met } = self.pacing.schedule.report(&sent)?;
        let worst_delay_us = u64::try_from(self.fleet.worst_delay().as_micros()).unwrap_or(u64::MAX);
        Some(ScheduleReport { target_rate: target, actual_rate: actual, met, worst_delay_us })
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
