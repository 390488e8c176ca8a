//! What is written down when a worker has died.

use std::time::{Duration, Instant, SystemTime};

use slog::{Logger, error, info};

use super::policy::{Death, Seen, Why};
use super::worker::Running;
use crate::exit::ExitCode;
use crate::os::child::Ended;
use crate::os::process;
use crate::panics::LAST_WORDS;
use crate::report::{DeathPartition, RestartReport};

/// How long after the kernel has killed for the lack of memory a death by SIGKILL may be that one.
const SAME_TIME: Duration = Duration::from_secs(1);

/// Counts the kernel's kills for the lack of memory: whether one of them was a worker's is told by the time.
#[derive(Debug, Default)]
pub(super) struct MemoryKills {
    known: Option<u64>,
    /// Those that are nobody's yet, and when they were seen.
    unclaimed: Option<(u64, Instant)>,
}

impl MemoryKills {
    /// From now on.
    pub(super) fn new() -> Self {
        Self { known: process::out_of_memory_kills(), unclaimed: None }
    }

    /// Whether this death was one; `count`: how many there have been. To be asked at every death: what was counted long before
    /// one says nothing about it, and several may have died of the same lack.
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

/// What the policy has to know of a death.
pub(super) fn of(
    running: &Running,
    ended: Ended,
    why: Option<&Why>,
    seen: Vec<Seen>,
    kills: &mut MemoryKills,
) -> Death {
    let killed = matches!(ended, Ended::Signal { number: 9, .. });
    let own = running.cause(ended);
    Death {
        killed,
        crashed: matches!(ended, Ended::Signal { .. }),
        terminated: matches!(ended, Ended::Signal { number: 15, .. }),
        out_of_memory: kills.is_one(killed, process::out_of_memory_kills(), Instant::now()),
        clean: running.finished && ended == Ended::Code(0),
        forced: !running.finished && ended == Ended::Code(ExitCode::Forced as i32),
        blameless: running.broken.is_some() && !running.crashed,
        lasting: running.lasting(),
        cause: why.map_or_else(|| own.clone(), |why| format!("{own} ({why})")),
        seen,
    }
}

/// The record: for the report, and in the log as one line.
pub(super) fn record(
    running: &Running,
    death: &Death,
    why: Option<&Why>,
    slot: usize,
    logger: &Logger,
) -> RestartReport {
    let planned = is_planned(death, why);
    let partitions: Vec<_> = death.seen.iter().map(row).collect();
    let in_hand =
        partitions.iter().filter_map(|row| Some(format!("{}/{}@{}", row.topic, row.partition, row.in_flight?)));
    let in_hand = in_hand.collect::<Vec<_>>().join(", ");
    let uptime = Instant::now().duration_since(running.since).as_secs_f64();
    let pid = running.process.pid();
    let memory = running.resident.map_or_else(|| "unknown".to_owned(), |mib| mib.to_string());
    let log = running.log.list();
    let panicked = log.iter().any(|line| line.starts_with(LAST_WORDS));
    let hint = if panicked {
        " (its own code panicked: this is a bug)"
    } else if death.out_of_memory {
        " (the kernel was out of memory)"
    } else {
        ""
    };
    if planned {
        info!(logger, "worker {slot} (pid {pid}) has ended to be replaced: {}", death.cause; "uptime" => format!("{uptime:.1}"), "rss_mib" => memory);
    } else {
        error!(logger, "worker {slot} (pid {pid}) died: {}{hint}", death.cause;
            "uptime" => format!("{uptime:.1}"), "rss_mib" => memory, "partitions" => partitions.len(), "in_processing" => in_hand);
    }
    RestartReport {
        kind: kind(running, death, why, panicked).to_owned(),
        cause: format!("{}{hint}", death.cause),
        at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        uptime,
        pid,
        rss_mb: running.resident,
        out_of_memory: death.out_of_memory,
        panicked,
        partitions,
        log,
    }
}

/// Whether it has ended as it was asked to.
pub(super) fn is_planned(death: &Death, why: Option<&Why>) -> bool {
    why.is_some_and(|why| death.clean || (death.terminated && why.is_planned()))
}

/// One word for it: there are few, so that they can be counted.
fn kind(running: &Running, death: &Death, why: Option<&Why>, panicked: bool) -> &'static str {
    match why {
        Some(Why::Silent(_)) => "silent",
        Some(Why::Hung { .. } | Why::NotReady(_)) => "hung",
        Some(Why::Stuck(..)) => "stuck",
        Some(Why::Memory { .. }) => "memory",
        Some(Why::Age) => "age",
        Some(Why::Messages(_)) => "messages",
        Some(Why::Roll) => "roll",
        Some(Why::Fewer) => "fewer",
        None if panicked => "panic",
        None if death.out_of_memory => "out_of_memory",
        None if death.killed => "killed",
        None if running.broken.is_some() => "broken",
        None if death.clean => "asked",
        None if death.crashed => "crash",
        None => "exit",
    }
}

fn row(seen: &Seen) -> DeathPartition {
    DeathPartition {
        topic: seen.partition.topic.clone(),
        partition: seen.partition.partition,
        next: seen.next,
        committed: Some(seen.committed),
        in_flight: seen.in_flight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_ran_out_before_another_death_has_killed_nobody_later() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut kills = MemoryKills { known: Some(3), unclaimed: None };
        assert!(!kills.is_one(true, Some(3), at(0)), "somebody has sent SIGKILL");
        assert!(kills.is_one(true, Some(4), at(1)));
        assert!(!kills.is_one(false, Some(5), at(2)), "another process of the group");
        assert!(!kills.is_one(true, Some(5), at(60)), "that was long ago");
        assert!(!kills.is_one(true, None, at(61)));
        assert!(!kills.is_one(true, Some(9), at(62)), "since when is not known");
    }

    #[test]
    fn several_may_die_of_the_same_lack() {
        let now = Instant::now();
        let mut kills = MemoryKills { known: Some(3), unclaimed: None };
        assert_eq!([5, 5, 5].map(|count| kills.is_one(true, Some(count), now)), [true, true, false]);
    }
}
