//! How a proven run ends: pure.

use crate::consumer::supervisor::messages as consuming;
use crate::director::{NEVER_READY, Outcome};
use crate::exit::{Exit, ExitCode};
use crate::judge::Verdict;
use crate::producer::messages as producing;

/// What is no reason to fail.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Messages that were not acknowledged: nothing was promised of them.
    pub failed_sends: bool,
}

/// The demonstration's: all of its messages have to arrive.
pub const DEMO: Allowed = Allowed { failed_sends: false };
/// `verify`'s: its question is what became of what was acknowledged.
pub const VERIFY: Allowed = Allowed { failed_sends: true };

/// Why a run failed that was stopped in its first moments.
pub const NOTHING_DONE: &str = "stopped before anything was done";

/// Clean if what was acknowledged was processed and nothing else was found, also when it was cut short.
pub fn exit(outcome: &Outcome, verdict: &Verdict, problems: &[String], allowed: Allowed) -> Exit {
    let Outcome { produced, consumed, .. } = outcome;
    let Some(consumed) = consumed else {
        return produced.as_ref().map_or_else(|| Exit::failed(NOTHING_DONE), |it| written_down(it, problems));
    };
    let findings: Vec<_> = verdict.findings().into_iter().map(|(name, count)| format!("{name}: {count}")).collect();
    if outcome.never_ready {
        return never_ready(&consumed.exit);
    }
    if !consumed.exit.is_clean() {
        return with_findings(&consumed.exit, &findings);
    }
    if let Some(produced) = produced.as_ref().filter(|produced| !is_allowed(produced, allowed)) {
        return with_findings(&produced.exit, &findings);
    }
    if !findings.is_empty() {
        return Exit::failed(format!("the verdict does not hold: {}", findings.join(", ")));
    }
    if let Some(problem) = problems.first() {
        return Exit::failed(format!("not everything could be judged: {problem}"));
    }
    if outcome.interrupted && produced.is_none() && consumed.interrupted {
        return Exit::failed("stopped before everything was read; what was read holds");
    }
    if !verdict.holds {
        return read_in_part(consumed, verdict);
    }
    proven(outcome, verdict)
}

/// The end of a run that only produces: the run file has to be whole.
fn written_down(produced: &producing::Outcome, problems: &[String]) -> Exit {
    let exit = &produced.exit;
    match problems.first() {
        None => exit.clone(),
        Some(problem) if exit.is_clean() => Exit::failed(format!("not everything was written down: {problem}")),
        Some(problem) => Exit::new(exit.code, format!("{}; not everything was written down: {problem}", exit.reason)),
    }
}

/// Nothing was begun; and how the workers have ended then.
fn never_ready(consumed: &Exit) -> Exit {
    match consumed.code {
        ExitCode::Clean => Exit::failed(format!("{NEVER_READY}: see what they do first, or give them more time")),
        code => Exit::new(code, format!("{NEVER_READY}; {}", consumed.reason)),
    }
}

/// Nothing is wrong with what was read, and nobody knows what else there was.
fn read_in_part(consumed: &consuming::Outcome, verdict: &Verdict) -> Exit {
    let why = if verdict.cut_off { "the run file was cut off" } else { "there is no run file" };
    Exit::failed(format!(
        "only a part was read ({}), and since {why} it is not known what is missing; read everything, if need be with \
         a longer verify.deadline",
        consumed.exit.reason
    ))
}

/// One side's end, and what was found all the same.
fn with_findings(exit: &Exit, findings: &[String]) -> Exit {
    let also = if findings.is_empty() { String::new() } else { format!("; {}", findings.join(", ")) };
    Exit::new(exit.code, format!("{}{also}", exit.reason))
}

fn proven(outcome: &Outcome, verdict: &Verdict) -> Exit {
    let early = outcome.produced.as_ref().is_some_and(|produced| produced.interrupted);
    let early = if early { "stopped early; " } else { "" };
    let (acknowledged, failed) = (verdict.acknowledged, verdict.processing_failed);
    let cut_off = if verdict.cut_off { "; the run file was cut off, so there may have been more" } else { "" };
    let holds = match (outcome.produced.is_some() || acknowledged > 0, failed) {
        (false, _) => format!("all {} messages were read, and nothing is wrong with them", verdict.processed),
        (true, 0) => format!("{early}all {acknowledged} acknowledged messages were processed"),
        (true, _) => {
            format!("{early}all {acknowledged} acknowledged messages were read; {failed} failed and were skipped")
        }
    };
    Exit::clean(holds + cut_off)
}

fn is_allowed(produced: &producing::Outcome, allowed: Allowed) -> bool {
    let report = &produced.report;
    // Cut short by a signal: what was sent counts.
    let cut_short = produced.interrupted && report.failed.is_empty();
    let failed_sends = allowed.failed_sends && !report.failed.is_empty() && report.acknowledged > 0;
    produced.exit.is_clean()
        || produced.exit.code == ExitCode::Failed && !produced.broken && (cut_short || failed_sends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::supervisor::messages::END_REACHED;
    use crate::judge::{Facts, Judge, Scope};
    use crate::report::ProduceReport;

    fn produced(exit: Exit) -> producing::Outcome {
        let report = ProduceReport { acknowledged: 10, ..ProduceReport::default() };
        producing::Outcome { exit, report, interrupted: false, broken: false }
    }

    fn consumed(reason: &str) -> Outcome {
        let consumed = consuming::Outcome {
            exit: Exit::clean(reason),
            report: crate::report::ConsumeReport::default(),
            interrupted: false,
        };
        Outcome { consumed: Some(consumed), ..Outcome::default() }
    }

    fn verdict(acknowledgements: bool, facts: Facts) -> Verdict {
        let run = acknowledgements.then_some(7);
        Judge::new(Scope { run, acknowledgements, ..Scope::default() }).verdict(facts)
    }

    fn ends(outcome: &Outcome, verdict: &Verdict, problems: &[&str]) -> (ExitCode, String) {
        let problems: Vec<_> = problems.iter().map(|it| (*it).to_owned()).collect();
        let exit = exit(outcome, verdict, &problems, VERIFY);
        (exit.code, exit.reason)
    }

    #[test]
    fn a_run_file_that_is_not_whole_fails_the_run_that_writes_it() {
        let verdict = verdict(true, Facts::default());
        let outcome = |exit| Outcome { produced: Some(produced(exit)), ..Outcome::default() };
        let clean = outcome(Exit::clean("all is well"));
        assert_eq!(ends(&clean, &verdict, &[]), (ExitCode::Clean, "all is well".to_owned()));
        let (code, reason) = ends(&clean, &verdict, &["run file r: no space"]);
        assert_eq!((code, reason.contains("run file r: no space")), (ExitCode::Failed, true));
        let (code, reason) =
            ends(&outcome(Exit::new(ExitCode::Forced, "cut off")), &verdict, &["run file r: no space"]);
        assert_eq!((code, reason.starts_with("cut off; ")), (ExitCode::Forced, true));
    }

    #[test]
    fn a_part_holds_only_by_what_was_acknowledged() {
        for (reason, part) in [(END_REACHED, false), ("verify.deadline has passed", true), ("stdout is closed", true)] {
            let facts = Facts { read_in_part: part, ..Facts::default() };
            assert_eq!(ends(&consumed(reason), &verdict(true, facts), &[]).0, ExitCode::Clean);
            let cut_off = Facts { cut_off: true, ..facts };
            for verdict in [verdict(false, facts), verdict(true, cut_off)] {
                let (code, text) = ends(&consumed(reason), &verdict, &[]);
                assert_eq!(code == ExitCode::Failed, part, "{text}");
                assert!(!part || text.contains(reason), "{text}");
            }
        }
    }

    #[test]
    fn workers_that_never_got_ready_fail_the_run() {
        let mut outcome = Outcome { never_ready: true, ..consumed(NEVER_READY) };
        let (code, reason) = ends(&outcome, &verdict(true, Facts::default()), &[]);
        assert_eq!((code, reason.starts_with(NEVER_READY)), (ExitCode::Failed, true));
        outcome.consumed.as_mut().unwrap().exit = Exit::new(ExitCode::Forced, "worker 0 was killed");
        let (code, reason) = ends(&outcome, &verdict(true, Facts::default()), &[]);
        assert_eq!((code, reason), (ExitCode::Forced, format!("{NEVER_READY}; worker 0 was killed")));
    }

    #[test]
    fn a_failed_message_is_allowed_and_a_producer_that_could_not_go_on_is_not() {
        let mut produced = produced(Exit::failed("1 of 11 messages were not acknowledged"));
        produced.report.failed.insert("too large".to_owned(), 1);
        let mut outcome = Outcome { produced: Some(produced), ..consumed(END_REACHED) };
        let verdict = verdict(true, Facts::default());
        assert_eq!(ends(&outcome, &verdict, &[]).0, ExitCode::Clean);
        outcome.produced.as_mut().unwrap().broken = true;
        assert_eq!(ends(&outcome, &verdict, &[]).0, ExitCode::Failed);
    }
}
