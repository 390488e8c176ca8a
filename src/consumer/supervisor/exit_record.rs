//! The record of a worker's exit.

use std::time::{Duration, Instant, SystemTime};

use slog::{Logger, error, info};

use super::memory_limits;
use super::partition::LastPosition;
use super::policy::{ExitCause, Fault, StopReason, WorkerExit};
use super::worker_slot::RunningWorker;
use crate::consumer::protocol::FailedPart;
use crate::exit::ExitCode;
use crate::logging::is_log_line;
use crate::os::proc_stats;
use crate::os::worker_process::ProcessExit;
use crate::report::{ExitPosition, RestartKind, RestartReport};
use crate::settings::Consumer;
use crate::util::panic::PANIC_MESSAGE;

/// The maximum time between an OOM kill that the kernel has counted and the SIGKILL that is attributed to it.
const SAME_TIME: Duration = Duration::from_secs(1);

/// The number of stderr lines in a cause; the exit record has more.
const CAUSE_STDERR_LINES: usize = 5;

/// Counts the kernel's OOM kills. Their time decides whether one of them was a worker's.
#[derive(Debug, Default)]
pub(super) struct OomKillCounter {
    known: Option<u64>,
    /// The OOM kills that are not attributed to a worker yet, and when they were seen.
    unclaimed: Option<(u64, Instant)>,
}

impl OomKillCounter {
    /// Creates a counter that starts with the current count.
    pub(super) fn new() -> Self {
        Self { known: proc_stats::oom_kill_count(), unclaimed: None }
    }

    /// Whether this exit was an OOM kill; `count`: the total so far. Has to be called at every exit: kills that
    /// were counted long before one are unrelated, and several processes may be killed at the same time.
    fn is_one(&mut self, killed: bool, count: Option<u64>, now: Instant) -> bool {
        let before = std::mem::replace(&mut self.known, count);
        let new = before.zip(count).map_or(0, |(before, count)| count.saturating_sub(before));
        let recent = self.unclaimed.take().filter(|(_, at)| now.saturating_duration_since(*at) < SAME_TIME);
        let (left, at) =
            if new > 0 { (recent.map_or(0, |(left, _)| left) + new, now) } else { recent.unwrap_or((0, now)) };
        let is_one = killed && left > 0;
        let left = left - u64::from(is_one);
        self.unclaimed = (left > 0).then_some((left, at));
        is_one
    }
}

/// Classifies an exit for the policy.
pub(super) fn classify_exit(
    running: &RunningWorker,
    ended: ProcessExit,
    why: Option<&StopReason>,
    last_positions: Vec<LastPosition>,
    oom_kills: &mut OomKillCounter,
    consumer: &Consumer,
) -> WorkerExit {
    let is_killed = matches!(ended, ProcessExit::Signal { number: 9, .. });
    let out_of_memory = oom_kills.is_one(is_killed, proc_stats::oom_kill_count(), Instant::now());
    let log = running.log.list();
    let mut text = running.cause(ended);
    let fault = fault(running, &log);
    if matches!(fault, Some(Fault::Processor | Fault::ProcessorWithMessage)) {
        text.push_str(&stderr_tail(&log));
    }
    let text = match hint(&log, out_of_memory, consumer) {
        Some(hint) => format!("{text} ({hint})"),
        None => text,
    };
    WorkerExit {
        cause: match ended {
            ProcessExit::Signal { number: 9, .. } if out_of_memory => ExitCause::OutOfMemory,
            ProcessExit::Signal { number: 9, .. } => ExitCause::Killed,
            ProcessExit::Signal { number: 15, .. } => ExitCause::Terminated,
            ProcessExit::Signal { .. } => ExitCause::Crashed,
            ProcessExit::Code(0) if running.finished => ExitCause::Clean,
            ProcessExit::Code(code) if !running.finished && code == ExitCode::Forced as i32 => ExitCause::Forced,
            ProcessExit::Code(_) => ExitCause::Exited,
        },
        fault,
        permanent: running.permanent_cause(),
        text: why.map_or_else(|| text.clone(), |why| format!("{text} ({why})")),
        last_positions,
    }
}

/// The part that has failed, if that is known.
fn fault(running: &RunningWorker, log: &[String]) -> Option<Fault> {
    let is_blameless = (running.failure.is_some() && !running.crashed) || is_librdkafka_abort(log);
    match running.failure.as_ref().map(|failure| failure.part) {
        Some(FailedPart::Processor) if is_blameless => Some(Fault::Processor),
        Some(FailedPart::Processor) => Some(Fault::ProcessorWithMessage),
        _ => is_blameless.then_some(Fault::Worker),
    }
}

/// A hint about the likely cause, in addition to the exit itself.
fn hint(log: &[String], out_of_memory: bool, consumer: &Consumer) -> Option<String> {
    if is_panic(log) {
        Some("its own code panicked: this is a bug".to_owned())
    } else if out_of_memory {
        Some(memory_limits::explain_kill(consumer, proc_stats::memory_limit_mib()))
    } else if is_librdkafka_abort(log) {
        Some("librdkafka has ended it, see its last lines: no message is to blame".to_owned())
    } else {
        None
    }
}

/// The last stderr lines of the processor or its program, as the end of a cause; empty if there are none.
fn stderr_tail(log: &[String]) -> String {
    let lines: Vec<_> = log.iter().map(String::as_str).filter(|line| !is_log_line(line)).collect();
    let last = &lines[lines.len().saturating_sub(CAUSE_STDERR_LINES)..];
    if last.is_empty() { String::new() } else { format!("; its stderr ends with: {}", last.join(" | ")) }
}

fn is_panic(log: &[String]) -> bool {
    log.iter().any(|line| line.starts_with(PANIC_MESSAGE))
}

/// Whether librdkafka has aborted the process by an internal assertion, for example after a failed memory
/// allocation. Its stderr has the text in the form of the C library's `assert`, `program: rdkafka_buf.c:123:
/// function: Assertion ... failed.`, or in its own form: `*** rdkafka_buf.c:123:function: ... ***`.
fn is_librdkafka_abort(log: &[String]) -> bool {
    let is_source = |word: &str| {
        let file = word.split(':').next().unwrap_or_default();
        file.starts_with("rd") && (file.ends_with(".c") || file.ends_with(".h"))
    };
    log.iter().any(|line| {
        let is_assertion = line.contains(": Assertion ") || line.starts_with("*** ");
        is_assertion && line.split_whitespace().take(3).any(is_source)
    })
}

/// Creates the record, for the report and as one log line.
pub(super) fn record(
    running: &RunningWorker,
    exit: &WorkerExit,
    why: Option<&StopReason>,
    slot: usize,
    logger: &Logger,
) -> RestartReport {
    let planned = is_planned(exit, why);
    let partitions: Vec<_> = exit.last_positions.iter().map(row).collect();
    let in_flight = in_flight(&partitions);
    let uptime = Instant::now().duration_since(running.since).as_secs_f64();
    let pid = running.process.pid();
    let memory = running.resident.map_or_else(|| "unknown".to_owned(), |mib| mib.to_string());
    let log = running.log.list();
    let panicked = is_panic(&log);
    if planned {
        info!(logger, "worker {slot} (pid {pid}) has ended to be replaced: {}", exit.text; "uptime" => format!("{uptime:.1}"), "rss_mib" => memory);
    } else {
        error!(logger, "worker {slot} (pid {pid}) died: {}", exit.text;
            "uptime" => format!("{uptime:.1}"), "rss_mib" => memory, "partitions" => partitions.len(), "in_flight" => in_flight);
    }
    RestartReport {
        kind: kind(running, exit, why, panicked),
        cause: exit.text.clone(),
        at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        uptime,
        pid,
        rss_mb: running.resident,
        out_of_memory: exit.cause == ExitCause::OutOfMemory,
        panicked,
        partitions,
        log,
    }
}

/// The messages in flight, as text.
pub(super) fn in_flight(partitions: &[ExitPosition]) -> String {
    let texts = partitions.iter().filter_map(|row| Some(format!("{}/{}@{}", row.topic, row.partition, row.in_flight?)));
    texts.collect::<Vec<_>>().join(", ")
}

/// Whether the process has exited as it was requested to.
pub(super) fn is_planned(exit: &WorkerExit, why: Option<&StopReason>) -> bool {
    why.is_some_and(|why| exit.cause == ExitCause::Clean || (exit.cause == ExitCause::Terminated && why.is_planned()))
}

/// The kind of the exit. There are few kinds, so that they can be the label of a metric.
fn kind(running: &RunningWorker, exit: &WorkerExit, why: Option<&StopReason>, panicked: bool) -> RestartKind {
    match why {
        Some(StopReason::Silent(_)) => RestartKind::Silent,
        Some(StopReason::Hung { .. } | StopReason::NotReady(_)) => RestartKind::Hung,
        Some(StopReason::Stuck(..)) => RestartKind::Stuck,
        Some(StopReason::CutOff(_)) => RestartKind::CutOff,
        Some(StopReason::Memory { .. }) => RestartKind::Memory,
        Some(StopReason::Age) => RestartKind::Age,
        Some(StopReason::Messages(_)) => RestartKind::Messages,
        Some(StopReason::Roll) => RestartKind::Roll,
        Some(StopReason::Fewer) => RestartKind::Fewer,
        None if panicked => RestartKind::Panic,
        None => match exit.cause {
            ExitCause::OutOfMemory => RestartKind::OutOfMemory,
            ExitCause::Killed => RestartKind::Killed,
            _ if running.failure.is_some() => RestartKind::Broken,
            ExitCause::Clean => RestartKind::Asked,
            ExitCause::Terminated | ExitCause::Crashed => RestartKind::Crash,
            ExitCause::Forced | ExitCause::Exited => RestartKind::Exit,
        },
    }
}

fn row(last: &LastPosition) -> ExitPosition {
    ExitPosition {
        topic: last.partition.topic.clone(),
        partition: last.partition.partition,
        position: last.position,
        committed: Some(last.committed),
        in_flight: last.in_flight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_ran_out_before_another_death_has_killed_nobody_later() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut oom_kills = OomKillCounter { known: Some(3), unclaimed: None };
        assert!(!oom_kills.is_one(true, Some(3), at(0)), "somebody has sent SIGKILL");
        assert!(oom_kills.is_one(true, Some(4), at(1)));
        assert!(!oom_kills.is_one(false, Some(5), at(2)), "another process of the group");
        assert!(!oom_kills.is_one(true, Some(5), at(60)), "that was long ago");
        assert!(!oom_kills.is_one(true, None, at(61)));
        assert!(!oom_kills.is_one(true, Some(9), at(62)), "since when is not known");
    }

    #[test]
    fn librdkafkas_own_assertions_are_known_by_their_files() {
        let is = |line: &str| is_librdkafka_abort(&["something else".to_owned(), line.to_owned()]);
        assert!(is("kafka-actors: rd.h:142: rd_malloc: Assertion `p' failed."));
        assert!(is("*** rdkafka_broker.c:5891:rd_kafka_broker_set_state: assert: rkb ***"));
        assert!(!is("work: parser.c:12: parse: Assertion `rd.h' failed."));
        assert!(!is("*** stack smashing detected ***: terminated"));
    }

    #[test]
    fn a_processors_last_words_are_not_the_log() {
        let log = ["21:07:54.823 INFO reading, worker: 0", "Traceback", "", "ModuleNotFoundError: no database"];
        let log: Vec<_> = log.iter().filter(|line| !line.is_empty()).map(|line| (*line).to_owned()).collect();
        assert_eq!(stderr_tail(&log), "; its stderr ends with: Traceback | ModuleNotFoundError: no database");
        assert_eq!(stderr_tail(&log[..1]), "");
    }

    #[test]
    fn several_may_die_of_the_same_lack() {
        let now = Instant::now();
        let mut oom_kills = OomKillCounter { known: Some(3), unclaimed: None };
        assert_eq!([5, 5, 5].map(|count| oom_kills.is_one(true, Some(count), now)), [true, true, false]);
    }
}
