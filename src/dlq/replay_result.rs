//! The result of a replay. Pure: no I/O.

use crate::exit::{ExitCode, ExitStatus};
use crate::report::ReplayReport;

/// The number of records that were read and not sent back.
pub(super) fn unsent(report: &ReplayReport) -> u64 {
    let ReplayReport { failed, refused, foreign, .. } = report;
    failed.values().sum::<u64>() + refused.values().sum::<u64>() + foreign
}

/// The exit status of a replay; `is_any_full`: a partition has the maximum number of open records.
pub(super) fn exit_status(report: &ReplayReport, is_any_full: bool) -> ExitStatus {
    let ReplayReport { acknowledged, failed, refused, foreign, skipped, parked, .. } = report;
    let unsent = unsent(report);
    if unsent == 0 && !is_any_full {
        return ExitStatus::clean(format!("{acknowledged} dead letters are back where they came from"));
    }
    let mut parts = vec![format!("{acknowledged} dead letters were sent back, {unsent} were not")];
    parts.extend(failed.iter().map(|(reason, count)| format!("{count} could not be: {reason}")));
    parts.extend(
        refused.iter().map(|(topic, count)| {
            format!("{count} name the topic {topic}, which is not allowed (--allow-topic {topic})")
        }),
    );
    if *foreign > 0 {
        parts.push(format!("{foreign} do not say where they came from"));
    }
    let handled = [(skipped, "passed over"), (parked, "parked")];
    parts.extend(handled.iter().filter(|(count, _)| **count > 0).map(|(count, how)| format!("{count} of them {how}")));
    let open = unsent.saturating_sub(skipped + parked);
    if open > 0 {
        parts.push(format!(
            "{open} are tried again by the next replay (--skip-unsendable passes over them, --park TOPIC moves them)"
        ));
    }
    ExitStatus::new(ExitCode::Failed, parts.join("; "))
}
