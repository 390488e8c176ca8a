//! The exit status of a verified run. Pure.

use crate::consumer::supervisor::messages as consuming;
use crate::exit::{ExitCode, ExitStatus};
use crate::producer::messages as producing;
use crate::util::format::format_count;
use crate::verify::checker::Verdict;
use crate::verify::orchestrator::{CONSUMER_NOT_READY, RunOutcome};

/// Failures that do not fail the run.
#[derive(Clone, Copy, Debug)]
pub struct AllowedAnomalies {
    /// Messages that were not acknowledged, which Kafka has not promised to keep.
    pub failed_sends: bool,
}

/// For `demo`: all of its messages have to arrive.
pub const DEMO: AllowedAnomalies = AllowedAnomalies { failed_sends: false };
/// For `verify`: only acknowledged messages have to arrive.
pub const VERIFY: AllowedAnomalies = AllowedAnomalies { failed_sends: true };

/// The exit reason of a run that was stopped at its very start.
pub const NOTHING_DONE: &str = "stopped before anything was done";

/// The exit status: clean if all acknowledged messages were processed and there are no anomalies, even if the run was
/// stopped early.
pub fn exit(outcome: &RunOutcome, verdict: &Verdict, problems: &[String], allowed: AllowedAnomalies) -> ExitStatus {
    let RunOutcome { produced, consumed, .. } = outcome;
    let Some(consumed) = consumed else {
        return produced
            .as_ref()
            .map_or_else(|| ExitStatus::stopped(ExitCode::Failed, NOTHING_DONE), |it| written_down(it, problems));
    };
    let anomalies: Vec<_> = verdict.anomalies().into_iter().map(|(name, count)| format!("{name}: {count}")).collect();
    if outcome.never_ready {
        return never_ready(&consumed.exit);
    }
    // Other failures are consequences of it.
    if let Some(produced) = produced.as_ref().filter(|produced| produced.topic_deleted) {
        return with_anomalies(&produced.exit, &anomalies);
    }
    if !consumed.exit.is_clean() {
        return with_anomalies(&consumed.exit, &anomalies);
    }
    if let Some(produced) = produced.as_ref().filter(|produced| !is_expected(produced, allowed)) {
        return with_anomalies(&produced.exit, &anomalies);
    }
    if !anomalies.is_empty() {
        return ExitStatus::failed(format!("the verdict does not hold: {}", anomalies.join(", ")));
    }
    if let Some(problem) = problems.first() {
        return ExitStatus::failed(format!("not everything could be checked: {problem}"));
    }
    if outcome.interrupted && produced.is_none() && consumed.interrupted {
        return ExitStatus::stopped(ExitCode::Failed, "stopped before everything was read; what was read holds");
    }
    if !verdict.holds {
        return read_in_part(consumed, verdict);
    }
    proven(outcome, verdict)
}

/// The exit status of a run that only produces: its run file must be complete.
fn written_down(produced: &producing::ProducerResult, problems: &[String]) -> ExitStatus {
    let exit = &produced.exit;
    match problems.first() {
        None => exit.clone(),
        Some(problem) if exit.is_clean() => ExitStatus::failed(format!("the run file is incomplete: {problem}")),
        Some(problem) => ExitStatus::new(exit.code, format!("{}; the run file is incomplete: {problem}", exit.reason)),
    }
}

/// The exit status of a run that never started, with the workers' failure.
fn never_ready(consumed: &ExitStatus) -> ExitStatus {
    match consumed.code {
        ExitCode::Success => {
            ExitStatus::failed(format!("{CONSUMER_NOT_READY}: check the workers' log, or raise verify.timeout"))
        }
        code => ExitStatus::new(code, format!("{CONSUMER_NOT_READY}; {}", consumed.reason)),
    }
}

/// The exit status when the consumed part has no anomalies and it is unknown what else there was.
fn read_in_part(consumed: &consuming::ConsumeResult, verdict: &Verdict) -> ExitStatus {
    let why = if verdict.cut_off { "the run file was cut off" } else { "there is no run file" };
    ExitStatus::failed(format!(
        "only a part was consumed ({}), and since {why} it is unknown what is missing; consume everything, with \
         a longer verify.timeout",
        consumed.exit.reason
    ))
}

/// One side's exit status with the anomalies.
fn with_anomalies(exit: &ExitStatus, anomalies: &[String]) -> ExitStatus {
    match anomalies {
        [] => exit.clone(),
        _ => exit.with_reason(format!("{}; {}", exit.reason, anomalies.join(", "))),
    }
}

fn proven(outcome: &RunOutcome, verdict: &Verdict) -> ExitStatus {
    let early = outcome.produced.as_ref().is_some_and(|produced| produced.interrupted);
    let early = if early { "stopped early; " } else { "" };
    let (acknowledged, failed) = (format_count(verdict.acknowledged), verdict.processing_failed);
    let cut_off = if verdict.cut_off { "; the run file was cut off, so there may have been more" } else { "" };
    let holds = match (outcome.produced.is_some() || verdict.acknowledged > 0, failed) {
        (false, _) if verdict.processed == 0 => "there were no messages".to_owned(),
        (false, _) => {
            format!("all {} messages were consumed, without anomalies", format_count(verdict.processed))
        }
        (true, _) if verdict.acknowledged == 0 => format!("{early}no message was acknowledged, so nothing is verified"),
        (true, 0) => format!("{early}all {acknowledged} acknowledged messages were processed"),
        (true, _) => {
            let failed = format_count(failed);
            format!(
                "{early}all {acknowledged} acknowledged messages were consumed; {failed} failed, and were skipped or dead-lettered"
            )
        }
    };
    let unsent = match verdict.failed {
        0 => String::new(),
        unsent => format!("; {} failed to be sent", format_count(unsent)),
    };
    ExitStatus::clean(holds + &unsent + cut_off)
}

fn is_expected(produced: &producing::ProducerResult, allowed: AllowedAnomalies) -> bool {
    let report = &produced.report;
    // Stopped early by a signal: the messages sent so far count.
    let cut_short = produced.interrupted && report.failed.is_empty();
    let failed_sends = allowed.failed_sends && !report.failed.is_empty() && report.acknowledged > 0;
    produced.exit.is_clean()
        || produced.exit.code == ExitCode::Failed && !produced.broken && (cut_short || failed_sends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::supervisor::messages::END_REACHED;
    use crate::report::ProduceReport;
    use crate::verify::checker::{CheckScope, Checker, RunFacts};

    fn produced(exit: ExitStatus) -> producing::ProducerResult {
        let report = ProduceReport { acknowledged: 10, ..ProduceReport::default() };
        producing::ProducerResult { exit, report, interrupted: false, broken: false, topic_deleted: false }
    }

    fn consumed(reason: &str) -> RunOutcome {
        let consumed = consuming::ConsumeResult {
            exit: ExitStatus::clean(reason),
            report: crate::report::ConsumeReport::default(),
            interrupted: false,
        };
        RunOutcome { consumed: Some(consumed), ..RunOutcome::default() }
    }

    fn verdict(acknowledgements: bool, facts: RunFacts) -> Verdict {
        let run = acknowledgements.then_some(7);
        Checker::new(CheckScope { run, acknowledgements, ..CheckScope::default() }).verdict(facts)
    }

    fn ends(outcome: &RunOutcome, verdict: &Verdict, problems: &[&str]) -> (ExitCode, String) {
        let problems: Vec<_> = problems.iter().map(|it| (*it).to_owned()).collect();
        let exit = exit(outcome, verdict, &problems, VERIFY);
        (exit.code, exit.reason)
    }

    #[test]
    fn a_run_file_that_is_not_whole_fails_the_run_that_writes_it() {
        let verdict = verdict(true, RunFacts::default());
        let outcome = |exit| RunOutcome { produced: Some(produced(exit)), ..RunOutcome::default() };
        let clean = outcome(ExitStatus::clean("all is well"));
        assert_eq!(ends(&clean, &verdict, &[]), (ExitCode::Success, "all is well".to_owned()));
        let (code, reason) = ends(&clean, &verdict, &["run file r: no space"]);
        assert_eq!((code, reason.contains("run file r: no space")), (ExitCode::Failed, true));
        let (code, reason) =
            ends(&outcome(ExitStatus::new(ExitCode::Forced, "cut off")), &verdict, &["run file r: no space"]);
        assert_eq!((code, reason.starts_with("cut off; ")), (ExitCode::Forced, true));
    }

    #[test]
    fn a_part_holds_only_by_what_was_acknowledged() {
        for (reason, part) in [(END_REACHED, false), ("verify.timeout has passed", true), ("stdout is closed", true)] {
            let facts = RunFacts { read_in_part: part, ..RunFacts::default() };
            assert_eq!(ends(&consumed(reason), &verdict(true, facts), &[]).0, ExitCode::Success);
            let cut_off = RunFacts { cut_off: true, ..facts };
            for verdict in [verdict(false, facts), verdict(true, cut_off)] {
                let (code, text) = ends(&consumed(reason), &verdict, &[]);
                assert_eq!(code == ExitCode::Failed, part, "{text}");
                assert!(!part || text.contains(reason), "{text}");
            }
        }
    }

    #[test]
    fn workers_that_never_got_ready_fail_the_run() {
        let mut outcome = RunOutcome { never_ready: true, ..consumed(CONSUMER_NOT_READY) };
        let (code, reason) = ends(&outcome, &verdict(true, RunFacts::default()), &[]);
        assert_eq!((code, reason.starts_with(CONSUMER_NOT_READY)), (ExitCode::Failed, true));
        outcome.consumed.as_mut().unwrap().exit = ExitStatus::new(ExitCode::Forced, "worker 0 was killed");
        let (code, reason) = ends(&outcome, &verdict(true, RunFacts::default()), &[]);
        assert_eq!((code, reason), (ExitCode::Forced, format!("{CONSUMER_NOT_READY}; worker 0 was killed")));
    }

    #[test]
    fn a_failed_message_is_allowed_and_a_producer_that_could_not_go_on_is_not() {
        let mut produced = produced(ExitStatus::failed("1 of 11 messages were not acknowledged"));
        produced.report.failed.insert("too large".to_owned(), 1);
        let mut outcome = RunOutcome { produced: Some(produced), ..consumed(END_REACHED) };
        let verdict = verdict(true, RunFacts::default());
        assert_eq!(ends(&outcome, &verdict, &[]).0, ExitCode::Success);
        outcome.produced.as_mut().unwrap().broken = true;
        assert_eq!(ends(&outcome, &verdict, &[]).0, ExitCode::Failed);
    }
}
