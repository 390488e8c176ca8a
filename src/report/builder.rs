//! Collects the parts of the report while the command runs.

use std::io;
use std::time::{Instant, SystemTime};

use super::{ConsumeReport, ProduceReport, REPORT_VERSION, ReplayReport, Report, SecurityReport};
use crate::exit::ExitStatus;
use crate::latency::LatencyHistogram;
use crate::latency::hdr_log::{HdrLogWriter, SCHEDULED_TO_ACKED, SCHEDULED_TO_PROCESSED, SENT_TO_ACKED};
#[cfg(feature = "verify")]
use crate::verify::checker::Verdict;

/// Builds a report; it is created when the command starts.
pub struct ReportBuilder {
    command: String,
    began: Instant,
    began_at: SystemTime,
    /// The security of the connections.
    pub security: SecurityReport,
    /// The result of producing, if the command produces.
    pub produce: Option<ProduceReport>,
    /// The result of consuming, if the command consumes.
    pub consume: Option<ConsumeReport>,
    /// The verdict, if the command runs the checker.
    #[cfg(feature = "verify")]
    pub verify: Option<Verdict>,
    /// The result of the replay, if the command is `dlq replay`.
    pub replay: Option<ReplayReport>,
}

impl ReportBuilder {
    /// Starts the report of `command`.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            began: Instant::now(),
            began_at: SystemTime::now(),
            security: SecurityReport::default(),
            produce: None,
            consume: None,
            #[cfg(feature = "verify")]
            verify: None,
            replay: None,
        }
    }

    /// Returns the measured latencies, each with its tag.
    pub fn latencies(&self) -> Vec<(&'static str, &LatencyHistogram)> {
        let produce = self
            .produce
            .iter()
            .flat_map(|report| [(SCHEDULED_TO_ACKED, &report.latency_us), (SENT_TO_ACKED, &report.sent_latency_us)]);
        let consume = self.consume.iter().map(|report| (SCHEDULED_TO_PROCESSED, &report.latency_us));
        produce.chain(consume).filter(|(_, latency)| !latency.is_empty()).collect()
    }

    /// Writes the latencies to their file, as one interval from the start of the command until now.
    ///
    /// # Errors
    /// See [`HdrLogWriter::write`].
    pub fn write_latencies(&self, to: &mut HdrLogWriter) -> io::Result<()> {
        to.write(self.began_at, self.began.elapsed(), &self.latencies())
    }

    /// Returns the report with the exit status of the command.
    pub fn finish(self, exit: ExitStatus) -> Report {
        Report {
            version: REPORT_VERSION,
            command: self.command,
            exit,
            seconds: self.began.elapsed().as_secs_f64(),
            security: self.security,
            produce: self.produce,
            consume: self.consume,
            #[cfg(feature = "verify")]
            verify: self.verify,
            replay: self.replay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parts_that_a_command_has_are_there() {
        let value = serde_json::to_value(ReportBuilder::new("topics").finish(ExitStatus::clean("done"))).unwrap();
        assert_eq!(value["version"], 2);
        assert_eq!(value["exit"]["code"], 0);
        assert!(value.get("produce").is_none() && value.get("consume").is_none());
    }

    #[test]
    fn latencies_are_percentiles_in_the_report_and_whole_until_then() {
        let mut draft = ReportBuilder::new("produce");
        let mut produce = ProduceReport::default();
        produce.latency_us.record_us(7);
        draft.produce = Some(produce);
        draft.consume = Some(ConsumeReport::default());
        let tags: Vec<_> = draft.latencies().iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [SCHEDULED_TO_ACKED]);
        let value = serde_json::to_value(draft.finish(ExitStatus::clean("done"))).unwrap();
        assert_eq!(value["produce"]["latency_us"]["p99_99"], 7);
        assert!(value["produce"].get("sent_latency_us").is_none() && value["produce"].get("schedule").is_none());
        assert!(value["consume"].get("latency_us").is_none());
    }
}
