//! Readiness of a run. Pure: no I/O, no state.

use std::time::Duration;

use super::status::{ClientHealth, ConsumeStatus, PartitionStatus, Phase, Status, WorkerState, WorkerStatus};

/// The maximum number of reported reasons.
const MAX_REASONS: usize = 20;

/// Why a run is not ready; empty if it is ready. A run is ready if its clients reach the cluster, its commits succeed, and each
/// partition advances or has no messages. A worker on standby is ready, and so is a run that stops: its phase shows that it does.
pub fn unready_reasons(status: &Status, stall_timeout: Duration) -> Vec<String> {
    match status.phase {
        Phase::Starting => return vec!["the run is starting".to_owned()],
        Phase::Draining | Phase::Ended => return Vec::new(),
        Phase::Running | Phase::Paused => {}
    }
    let mut reasons = unreachable(status, stall_timeout);
    if let Some(consume) = &status.consume {
        reasons.extend(unread(consume, status.phase, stall_timeout));
    }
    let more = reasons.len().saturating_sub(MAX_REASONS);
    reasons.truncate(MAX_REASONS);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    reasons
}

/// Clients that do not reach the cluster, and overdue commits.
fn unreachable(status: &Status, stall_timeout: Duration) -> Vec<String> {
    let threads = status.produce.iter().flat_map(|produce| &produce.threads);
    let threads = threads.filter_map(|row| Some((format!("producer {}", row.producer), row.health.as_ref()?)));
    let workers = status.consume.iter().flat_map(|consume| &consume.workers);
    let clients = workers.filter_map(|row| Some((format!("worker {}", row.slot), row.health.as_ref()?)));
    let mut reasons: Vec<_> = threads
        .chain(clients)
        .filter_map(|(whose, health)| Some(format!("{whose}: {}", of_client(health, stall_timeout)?)))
        .collect();
    if let Some(consume) = &status.consume {
        let limit = consume.commit_interval_seconds + stall_timeout.as_secs_f64();
        let overdue = consume.workers.iter().filter(|row| row.uncommitted_seconds >= limit);
        reasons.extend(overdue.map(|row| {
            format!(
                "worker {}: processed messages have not been committed for {:.1} s",
                row.slot, row.uncommitted_seconds
            )
        }));
    }
    reasons
}

/// Returns why a client does not reach the cluster; `None` if it does.
fn of_client(health: &ClientHealth, stall_timeout: Duration) -> Option<String> {
    let limit = stall_timeout.as_secs_f64();
    if let Some(error) = &health.authentication_error {
        return Some(format!("authentication failed (kafka.security): {error}"));
    }
    if health.last_response_age_seconds >= limit {
        return Some(format!("no response from any broker for {:.1} s", health.last_response_age_seconds));
    }
    let coordinator = health.coordinator_unavailable_seconds;
    (coordinator >= limit).then(|| format!("the group coordinator has been unreachable for {coordinator:.1} s"))
}

/// Partitions that do not advance.
fn unread(consume: &ConsumeStatus, phase: Phase, stall_timeout: Duration) -> Vec<String> {
    let state = |slot: usize| consume.workers.iter().find(|worker| worker.slot == slot).map(|worker| worker.state);
    let paused = phase == Phase::Paused;
    let is_well = |worker: &WorkerStatus| matches!(worker.state, WorkerState::Running | WorkerState::Standby);
    // A partition without a worker may be assigned to another host, unless no worker here can be a member.
    let nobody = consume.assignment == "group" && !consume.workers.iter().any(is_well);
    let mut reasons: Vec<_> = nobody.then(|| "no worker is running".to_owned()).into_iter().collect();
    let of_partitions = consume.partitions.iter().filter_map(|partition| {
        let reason = reason(partition, partition.worker.and_then(state), paused, &consume.assignment, stall_timeout)?;
        Some(format!("{}/{} {reason}", partition.topic, partition.partition))
    });
    reasons.extend(of_partitions);
    reasons
}

fn reason(
    partition: &PartitionStatus,
    owner: Option<WorkerState>,
    paused: bool,
    assignment: &str,
    stall_timeout: Duration,
) -> Option<String> {
    if let Some(reason) = &partition.stopped {
        return Some(format!("is stopped: {reason}"));
    }
    match (partition.worker, owner) {
        // The group may have assigned it to another host.
        (None, _) if assignment == "group" => return None,
        (Some(_), Some(WorkerState::Running)) => {}
        (Some(slot), Some(_)) => return Some(format!("waits for worker {slot}, which is not running")),
        (_, None) => return Some("is not assigned to a worker".to_owned()),
        (None, Some(_)) => {}
    }
    let age = partition.in_flight.as_ref().filter(|_| !partition.retrying).map_or(0.0, |message| message.age_seconds);
    let limit = stall_timeout.as_secs_f64();
    if age >= limit {
        return Some(format!("has had a message in flight for {age:.1} s"));
    }
    (!paused && !partition.retrying && partition.stalled_seconds >= limit)
        .then(|| format!("has a lag of {} and has been stalled for {:.1} s", partition.lag, partition.stalled_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::status::{InFlightStatus, ProduceStatus, ThreadStatus};

    const LIMIT: Duration = Duration::from_secs(10);

    /// A run in which worker 0 consumes one partition and worker 1 is on standby.
    fn run() -> Status {
        let worker = |slot, state| WorkerStatus { slot, state, ..WorkerStatus::default() };
        let partition = PartitionStatus { topic: "t".to_owned(), worker: Some(0), ..PartitionStatus::default() };
        let consume = ConsumeStatus {
            assignment: "manual".to_owned(),
            workers: vec![worker(0, WorkerState::Running), worker(1, WorkerState::Standby)],
            partitions: vec![partition],
            ..ConsumeStatus::default()
        };
        Status { phase: Phase::Running, consume: Some(consume), ..Status::default() }
    }

    fn reported(change: impl FnOnce(&mut Status)) -> Vec<String> {
        let mut status = run();
        change(&mut status);
        unready_reasons(&status, LIMIT)
    }

    fn with(change: impl FnOnce(&mut PartitionStatus)) -> Vec<String> {
        reported(|status| change(&mut status.consume.as_mut().unwrap().partitions[0]))
    }

    #[test]
    fn a_run_whose_partitions_are_idle_or_move_is_ready() {
        assert!(with(|_| ()).is_empty());
        assert!(with(|partition| partition.lag = 1_000).is_empty());
        assert!(reported(|status| status.phase = Phase::Draining).is_empty());
        assert!(reported(|status| status.consume = None).is_empty());
    }

    #[test]
    fn a_start_is_not_ready() {
        assert_eq!(reported(|status| status.phase = Phase::Starting), ["the run is starting"]);
    }

    #[test]
    fn a_message_that_hangs_or_a_partition_that_stands_still_is_not_ready_unless_it_is_tried_again() {
        let hangs = |age_seconds| {
            move |partition: &mut PartitionStatus| {
                partition.in_flight = Some(InFlightStatus { offset: 7, age_seconds });
            }
        };
        assert!(with(hangs(9.9)).is_empty());
        assert_eq!(with(hangs(10.0)), ["t/0 has had a message in flight for 10.0 s"]);
        let still = |partition: &mut PartitionStatus| (partition.lag, partition.stalled_seconds) = (5, 12.0);
        assert_eq!(with(still), ["t/0 has a lag of 5 and has been stalled for 12.0 s"]);
        let retries = |partition: &mut PartitionStatus| {
            hangs(99.0)(partition);
            still(partition);
            partition.retrying = true;
        };
        assert!(with(retries).is_empty());
    }

    #[test]
    fn a_partition_without_an_owner_is_not_ready_unless_a_group_has_it() {
        assert_eq!(with(|partition| partition.worker = None), ["t/0 is not assigned to a worker"]);
        assert_eq!(with(|partition| partition.worker = Some(1)), ["t/0 waits for worker 1, which is not running"]);
        let unassigned = reported(|status| {
            let consume = status.consume.as_mut().unwrap();
            consume.assignment = "group".to_owned();
            consume.partitions[0].worker = None;
        });
        assert!(unassigned.is_empty());
        let all_dead = reported(|status| {
            let consume = status.consume.as_mut().unwrap();
            consume.assignment = "group".to_owned();
            consume.partitions[0].worker = None;
            consume.workers.iter_mut().for_each(|worker| worker.state = WorkerState::Backoff);
        });
        assert_eq!(all_dead, ["no worker is running"]);
        let stopped = with(|partition| partition.stopped = Some("too much failed".to_owned()));
        assert_eq!(stopped, ["t/0 is stopped: too much failed"]);
    }

    #[test]
    fn a_run_whose_clients_do_not_reach_the_cluster_is_not_ready() {
        let worker = |change: fn(&mut WorkerStatus)| {
            reported(|status| {
                let consume = status.consume.as_mut().unwrap();
                consume.commit_interval_seconds = 5.0;
                consume.workers[0].health = Some(ClientHealth::default());
                change(&mut consume.workers[0]);
            })
        };
        let client = |change: fn(&mut ClientHealth)| {
            let health = |change: fn(&mut ClientHealth)| {
                let mut health = ClientHealth::default();
                change(&mut health);
                health
            };
            let thread = ThreadStatus { producer: 3, health: Some(health(change)), ..ThreadStatus::default() };
            let produce = ProduceStatus { threads: vec![thread], ..ProduceStatus::default() };
            reported(|status| (status.produce, status.consume) = (Some(produce), None))
        };
        assert!(worker(|_| ()).is_empty() && client(|_| ()).is_empty());
        assert!(client(|health| health.last_response_age_seconds = 9.9).is_empty());
        let unanswered = client(|health| health.last_response_age_seconds = 10.0);
        assert_eq!(unanswered, ["producer 3: no response from any broker for 10.0 s"]);
        let refused = client(|health| health.authentication_error = Some("no such user".to_owned()));
        assert_eq!(refused, ["producer 3: authentication failed (kafka.security): no such user"]);
        let lost = worker(|worker| worker.health.as_mut().unwrap().coordinator_unavailable_seconds = 12.0);
        assert_eq!(lost, ["worker 0: the group coordinator has been unreachable for 12.0 s"]);
        assert!(worker(|worker| worker.uncommitted_seconds = 14.9).is_empty(), "it commits every 5 s");
        let overdue = worker(|worker| worker.uncommitted_seconds = 15.0);
        assert_eq!(overdue, ["worker 0: processed messages have not been committed for 15.0 s"]);
    }

    #[test]
    fn thousands_of_reasons_are_a_few() {
        let reasons = reported(|status| {
            let partitions = &mut status.consume.as_mut().unwrap().partitions;
            *partitions = vec![PartitionStatus { worker: None, ..partitions[0].clone() }; 1_000];
        });
        assert_eq!((reasons.len(), reasons[MAX_REASONS].as_str()), (MAX_REASONS + 1, "and 980 more"));
    }
}
