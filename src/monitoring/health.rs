//! Whether a run is well: pure.

use std::time::Duration;

use super::status::{PartitionStatus, Phase, Status, WorkerState, WorkerStatus};

/// How many reasons are told.
const TOLD: usize = 20;

/// Why a run is not ready; nothing if it is. Ready is a run each of whose partitions has a reader that moves, or nothing to
/// read. A worker that stands by is well, and so is a run that ends: that it does is said elsewhere.
pub fn unready(status: &Status, unready_after: Duration) -> Vec<String> {
    match status.phase {
        Phase::Starting => return vec!["it is starting".to_owned()],
        Phase::Draining | Phase::Ended => return Vec::new(),
        Phase::Running | Phase::Quiet => {}
    }
    let Some(consume) = &status.consume else { return Vec::new() };
    let state = |slot: usize| consume.workers.iter().find(|worker| worker.slot == slot).map(|worker| worker.state);
    let quiet = status.phase == Phase::Quiet;
    let is_well = |worker: &WorkerStatus| matches!(worker.state, WorkerState::Reading | WorkerState::StandingBy);
    // What nobody here reads may be read elsewhere, unless nobody here can.
    let nobody = consume.assignment == "group" && !consume.workers.iter().any(is_well);
    let mut reasons: Vec<_> = nobody.then(|| "no worker reads".to_owned()).into_iter().collect();
    let of_partitions = consume.partitions.iter().filter_map(|partition| {
        let reason = reason(partition, partition.worker.and_then(state), quiet, &consume.assignment, unready_after)?;
        Some(format!("{}/{} {reason}", partition.topic, partition.partition))
    });
    reasons.extend(of_partitions);
    let more = reasons.len().saturating_sub(TOLD);
    reasons.truncate(TOLD);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    reasons
}

fn reason(
    partition: &PartitionStatus,
    owner: Option<WorkerState>,
    quiet: bool,
    assignment: &str,
    unready_after: Duration,
) -> Option<String> {
    if let Some(reason) = &partition.stopped {
        return Some(format!("is read no further: {reason}"));
    }
    match (partition.worker, owner) {
        // A group may have dealt it to somebody else.
        (None, _) if assignment == "group" => return None,
        (Some(_), Some(WorkerState::Reading)) => {}
        (Some(slot), Some(_)) => return Some(format!("waits for worker {slot}, which is not reading")),
        (_, None) => return Some("is read by no worker".to_owned()),
        (None, Some(_)) => {}
    }
    let age = partition.in_flight.as_ref().filter(|_| !partition.retrying).map_or(0.0, |message| message.age_seconds);
    let limit = unready_after.as_secs_f64();
    if age >= limit {
        return Some(format!("has had a message in processing for {age:.1} s"));
    }
    (!quiet && !partition.retrying && partition.still_seconds >= limit)
        .then(|| format!("is {} behind and has stood still for {:.1} s", partition.lag, partition.still_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::status::{ConsumeStatus, InFlightStatus};

    const LIMIT: Duration = Duration::from_secs(10);

    /// A run in which worker 0 reads one partition and worker 1 stands by.
    fn run() -> Status {
        let worker = |slot, state| WorkerStatus { slot, state, ..WorkerStatus::default() };
        let partition = PartitionStatus { topic: "t".to_owned(), worker: Some(0), ..PartitionStatus::default() };
        let consume = ConsumeStatus {
            assignment: "manual".to_owned(),
            workers: vec![worker(0, WorkerState::Reading), worker(1, WorkerState::StandingBy)],
            partitions: vec![partition],
            ..ConsumeStatus::default()
        };
        Status { phase: Phase::Running, consume: Some(consume), ..Status::default() }
    }

    fn told(change: impl FnOnce(&mut Status)) -> Vec<String> {
        let mut status = run();
        change(&mut status);
        unready(&status, LIMIT)
    }

    fn with(change: impl FnOnce(&mut PartitionStatus)) -> Vec<String> {
        told(|status| change(&mut status.consume.as_mut().unwrap().partitions[0]))
    }

    #[test]
    fn a_run_whose_partitions_are_idle_or_move_is_ready() {
        assert!(with(|_| ()).is_empty());
        assert!(with(|partition| partition.lag = 1_000).is_empty());
        assert!(told(|status| status.phase = Phase::Draining).is_empty());
        assert!(told(|status| status.consume = None).is_empty());
    }

    #[test]
    fn a_start_is_not_ready() {
        assert_eq!(told(|status| status.phase = Phase::Starting), ["it is starting"]);
    }

    #[test]
    fn a_message_that_hangs_or_a_partition_that_stands_still_is_not_ready_unless_it_is_tried_again() {
        let hangs = |age_seconds| {
            move |partition: &mut PartitionStatus| {
                partition.in_flight = Some(InFlightStatus { offset: 7, age_seconds });
            }
        };
        assert!(with(hangs(9.9)).is_empty());
        assert_eq!(with(hangs(10.0)), ["t/0 has had a message in processing for 10.0 s"]);
        let still = |partition: &mut PartitionStatus| (partition.lag, partition.still_seconds) = (5, 12.0);
        assert_eq!(with(still), ["t/0 is 5 behind and has stood still for 12.0 s"]);
        let retries = |partition: &mut PartitionStatus| {
            hangs(99.0)(partition);
            still(partition);
            partition.retrying = true;
        };
        assert!(with(retries).is_empty());
    }

    #[test]
    fn a_partition_without_a_reader_is_not_ready_unless_a_group_has_it() {
        assert_eq!(with(|partition| partition.worker = None), ["t/0 is read by no worker"]);
        assert_eq!(with(|partition| partition.worker = Some(1)), ["t/0 waits for worker 1, which is not reading"]);
        let dealt = told(|status| {
            let consume = status.consume.as_mut().unwrap();
            consume.assignment = "group".to_owned();
            consume.partitions[0].worker = None;
        });
        assert!(dealt.is_empty());
        let all_dead = told(|status| {
            let consume = status.consume.as_mut().unwrap();
            consume.assignment = "group".to_owned();
            consume.partitions[0].worker = None;
            consume.workers.iter_mut().for_each(|worker| worker.state = WorkerState::Waiting);
        });
        assert_eq!(all_dead, ["no worker reads"]);
        let stopped = with(|partition| partition.stopped = Some("too much failed".to_owned()));
        assert_eq!(stopped, ["t/0 is read no further: too much failed"]);
    }

    #[test]
    fn thousands_of_reasons_are_a_few() {
        let reasons = told(|status| {
            let partitions = &mut status.consume.as_mut().unwrap().partitions;
            *partitions = vec![PartitionStatus { worker: None, ..partitions[0].clone() }; 1_000];
        });
        assert_eq!((reasons.len(), reasons[TOLD].as_str()), (TOLD + 1, "and 980 more"));
    }
}
