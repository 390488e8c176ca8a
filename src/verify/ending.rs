//! How a proven run ends: pure.

use crate::director::Outcome;
use crate::exit::{Exit, ExitCode};
use crate::judge::{Finding, Verdict};
use crate::producer::messages as producing;

/// What is no reason to fail.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Messages that were not acknowledged: nothing was promised of them.
    pub failed_sends: bool,
    /// Other writers' messages in the same topic.
    pub foreign: bool,
}

/// The demonstration's: all of its messages have to arrive, and a topic that is named may have other writers.
pub const DEMO: Allowed = Allowed { failed_sends: false, foreign: true };
/// `verify`'s: its question is what became of what was acknowledged.
pub const VERIFY: Allowed = Allowed { failed_sends: true, foreign: false };

/// Clean if what was acknowledged was processed and nothing else was found, also when it was cut short.
pub fn exit(outcome: &Outcome, verdict: &Verdict, problems: &[String], allowed: Allowed) -> Exit {
    let Outcome { produced, consumed, .. } = outcome;
    let Some(consumed) = consumed else {
        return produced
            .as_ref()
            .map_or_else(|| Exit::failed("stopped before anything was done"), |it| it.exit.clone());
    };
    let findings: Vec<_> = verdict
        .findings()
        .into_iter()
        .filter(|(name, _)| !(allowed.foreign && *name == Finding::Foreign.name()))
        .map(|(name, count)| format!("{name}: {count}"))
        .collect();
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
    proven(outcome, verdict)
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
    let panicked = report.threads.iter().any(|thread| thread.panic.is_some());
    // Cut short by a signal: what was sent counts.
    let cut_short = produced.interrupted && report.failed.is_empty();
    let failed_sends = allowed.failed_sends && !report.failed.is_empty() && report.acknowledged > 0;
    produced.exit.is_clean() || produced.exit.code == ExitCode::Failed && !panicked && (cut_short || failed_sends)
}
