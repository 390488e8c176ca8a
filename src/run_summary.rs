//! The final lines of a run: totals, rates, and warnings about problems that exit code 0 does not show. Pure.

use crate::exit::ExitStatus;
use crate::report::{ConsumeReport, ProduceReport};
use crate::settings::Acks;
use crate::util::format::{format_count, format_rate, messages_per_second, pluralize};
#[cfg(feature = "verify")]
use crate::verify::checker::Verdict;

/// The totals of a producer run in one line; `None` if it never started.
pub fn produced(report: &ProduceReport) -> Option<String> {
    if report.threads.is_empty() {
        return None;
    }
    let sent: u64 = report.threads.iter().map(|thread| thread.sent).sum();
    let failed: u64 = report.failed.values().sum();
    let delivered = match report.acks {
        Acks::None => "not acknowledged (acks=0)".to_owned(),
        _ => format!("{} acknowledged", format_count(report.acknowledged)),
    };
    let rate = messages_per_second(report.messages_per_second);
    Some(format!("{} sent, {delivered}, {} failed, {rate}", format_count(sent), format_count(failed)))
}

/// The totals of a consumer run in one line; `None` if it never started.
pub fn consumed(report: &ConsumeReport) -> Option<String> {
    if report.workers.is_empty() {
        return None;
    }
    let ConsumeReport { processed, failed, dead_lettered, retried, .. } = report;
    Some(format!(
        "{} processed, {} skipped, {} dead-lettered, {} retried, {}",
        format_count(*processed),
        format_count(*failed),
        format_count(*dead_lettered),
        format_count(*retried),
        messages_per_second(report.messages_per_second)
    ))
}

/// The totals of `demo` and `verify`, one line per side.
#[cfg(feature = "verify")]
pub fn verified(produce: Option<&ProduceReport>, consume: Option<&ConsumeReport>, verdict: &Verdict) -> Vec<String> {
    let produced = match produce.filter(|report| !report.threads.is_empty()) {
        Some(report) => produced(report),
        None if verdict.acknowledged > 0 => Some(format!(
            "{} acknowledged before, {} failed to be sent",
            format_count(verdict.acknowledged),
            format_count(verdict.failed)
        )),
        None => None,
    };
    let consumed = consume.map(|report| {
        let restarts: usize = report.workers.iter().map(|worker| worker.restarts.len()).sum();
        let failures =
            [(report.failed, "skipped"), (report.dead_lettered, "dead-lettered"), (report.retried, "retried")];
        let failures = failures.iter().filter(|(number, _)| *number > 0);
        let failures: String = failures.map(|(number, what)| format!(", {} {what}", format_count(*number))).collect();
        format!(
            "{} processed{failures}, {} missing, {} processed again, {}, {}",
            format_count(verdict.processed),
            format_count(verdict.lost + verdict.unread),
            format_count(verdict.redelivered),
            pluralize(restarts as u64, "restart"),
            messages_per_second(report.messages_per_second)
        )
    });
    produced.into_iter().chain(consumed).collect()
}

/// The warning about a rate that was not reached.
pub fn missed_rate(report: &ProduceReport) -> Option<String> {
    let schedule = report.schedule.filter(|schedule| !schedule.met)?;
    let percent = (100.0 * schedule.actual_rate / schedule.target_rate).floor();
    Some(format!(
        "the rate was not reached: {} of {} ({percent}%); more producer.threads, larger batches, or more brokers may reach it",
        format_rate(schedule.actual_rate),
        format_rate(schedule.target_rate)
    ))
}

/// The warning about failed messages that were skipped.
pub fn skipped_messages(report: &ConsumeReport) -> Option<String> {
    (report.failed > 0).then(|| {
        let were = if report.failed == 1 { "was" } else { "were" };
        format!(
            "{} failed and {were} skipped (consumer.on_failure = \"skip\"): not processed, and not read again",
            pluralize(report.failed, "message")
        )
    })
}

/// The exit status of a consumer run, with the number of skipped messages in its reason. The exit code does not
/// change, because the operator has chosen to skip them.
pub fn with_skipped(exit: ExitStatus, report: &ConsumeReport) -> ExitStatus {
    match report.failed {
        0 => exit,
        failed => exit.with_reason(format!("{}; {} skipped", exit.reason, pluralize(failed, "failed message"))),
    }
}

/// A sentence on whether every message of a verified run is accounted for; `None` if the run failed for another
/// reason, which its error names.
#[cfg(feature = "verify")]
pub fn accounting(exit: &ExitStatus, verdict: &Verdict) -> Option<String> {
    if verdict.lost + verdict.unread > 0 {
        return Some("NOT every message is accounted for".to_owned());
    }
    if !exit.is_clean() || !verdict.holds {
        return None;
    }
    if verdict.acknowledged == 0 && verdict.processed == 0 {
        return Some("there was no message to account for".to_owned());
    }
    let skipped = match verdict.processing_failed {
        0 => String::new(),
        failed => format!("; the processing of {} failed", format_count(failed)),
    };
    Some(match (verdict.gaps, verdict.failed) {
        (Some(_), _) => format!("as far as it can be known, every message is accounted for{skipped}"),
        (None, 0) => format!("every message is accounted for{skipped}"),
        (None, failed) => {
            format!("every acknowledged message is accounted for; {} failed to be sent{skipped}", format_count(failed))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{ScheduleReport, ThreadReport, WorkerReport};

    fn produce_report(sent: u64, acknowledged: u64) -> ProduceReport {
        let threads = vec![ThreadReport { sent, acknowledged, ..ThreadReport::default() }];
        ProduceReport { acknowledged, threads, messages_per_second: 1_234.4, ..ProduceReport::default() }
    }

    fn consume_report() -> ConsumeReport {
        let workers = vec![WorkerReport::default()];
        ConsumeReport { processed: 12_345, workers, messages_per_second: 99.9, ..ConsumeReport::default() }
    }

    #[test]
    fn the_totals_of_a_side_have_counts_and_the_rate() {
        let mut report = produce_report(2_000, 1_990);
        report.failed.insert("too large".to_owned(), 10);
        let expected = "2,000 sent, 1,990 acknowledged, 10 failed, 1,234 messages/s";
        assert_eq!(produced(&report).as_deref(), Some(expected));
        report.acks = Acks::None;
        assert!(produced(&report).is_some_and(|text| text.starts_with("2,000 sent, not acknowledged (acks=0), ")));
        let report = ConsumeReport { failed: 3, dead_lettered: 2, retried: 1_000, ..consume_report() };
        let expected = "12,345 processed, 3 skipped, 2 dead-lettered, 1,000 retried, 100 messages/s";
        assert_eq!(consumed(&report).as_deref(), Some(expected));
        assert_eq!((produced(&ProduceReport::default()), consumed(&ConsumeReport::default())), (None, None));
    }

    #[test]
    fn both_sides_have_a_line_that_fits_a_terminal() {
        let (produce, consume) = (produce_report(400, 400), consume_report());
        let verdict = Verdict { processed: 12_345, redelivered: 7, ..Verdict::default() };
        let lines = verified(Some(&produce), Some(&consume), &verdict);
        let expected = "12,345 processed, 0 missing, 7 processed again, 0 restarts, 100 messages/s";
        assert_eq!(lines, ["400 sent, 400 acknowledged, 0 failed, 1,234 messages/s", expected]);
        let verdict = Verdict { acknowledged: 9, ..verdict };
        assert_eq!(verified(None, None, &verdict), ["9 acknowledged before, 0 failed to be sent"]);
    }

    #[test]
    fn a_rate_that_was_not_reached_is_named_with_the_one_that_was() {
        let mut report = produce_report(1, 1);
        assert_eq!(missed_rate(&report), None);
        let schedule = ScheduleReport { target_rate: 5_000.0, actual_rate: 3_210.0, met: false, worst_delay_us: 9 };
        report.schedule = Some(schedule);
        let text = missed_rate(&report).unwrap();
        assert!(text.starts_with("the rate was not reached: 3,210/s of 5,000/s (64%)"), "{text}");
        report.schedule = Some(ScheduleReport { met: true, ..schedule });
        assert_eq!(missed_rate(&report), None);
    }

    #[test]
    fn skipped_messages_are_in_the_warning_and_in_the_reason() {
        let none = consume_report();
        assert_eq!(
            (skipped_messages(&none), with_skipped(ExitStatus::clean("end"), &none)),
            (None, ExitStatus::clean("end"))
        );
        let some = ConsumeReport { failed: 2, ..none };
        assert!(skipped_messages(&some).is_some_and(|text| text.starts_with("2 messages failed and were skipped")));
        assert_eq!(with_skipped(ExitStatus::clean("end"), &some), ExitStatus::clean("end; 2 failed messages skipped"));
    }

    #[test]
    fn all_is_accounted_for_only_where_there_was_something_and_nothing_failed() {
        let holds = Verdict { holds: true, acknowledged: 12, processed: 12, ..Verdict::default() };
        let clean = ExitStatus::clean("done");
        let of = |verdict: &Verdict| accounting(&clean, verdict).unwrap_or_default();
        assert_eq!(of(&holds), "every message is accounted for");
        assert_eq!(accounting(&ExitStatus::failed("a producer panicked"), &holds), None);
        assert_eq!(of(&Verdict { lost: 1, holds: false, ..holds.clone() }), "NOT every message is accounted for");
        let nothing = Verdict { acknowledged: 0, processed: 0, ..holds.clone() };
        assert_eq!(of(&nothing), "there was no message to account for");
        let failed = Verdict { failed: 3, ..holds.clone() };
        assert_eq!(of(&failed), "every acknowledged message is accounted for; 3 failed to be sent");
        let skipped = Verdict { processing_failed: 1_000, ..holds };
        assert_eq!(of(&skipped), "every message is accounted for; the processing of 1,000 failed");
    }
}
