//! Compares the memory that the workers may need with the memory limit. Pure.

use crate::settings::Consumer;

/// The memory of a worker in MiB, without the messages that its client has prefetched: its code, its client, the
/// message in processing. The memory of a processor or of an external program comes in addition.
const WORKER_BASE_MIB: u64 = 30;
/// The memory of the supervisor, in MiB.
const SUPERVISOR_MIB: u64 = 30;

/// The memory that one worker may need, in MiB.
fn of_worker(consumer: &Consumer) -> u64 {
    consumer.memory_budget_mb + WORKER_BASE_MIB
}

/// The memory that all workers and their supervisor may need, in MiB.
fn of_all(consumer: &Consumer) -> u64 {
    of_worker(consumer) * consumer.processes as u64 + SUPERVISOR_MIB
}

/// A suggestion for the settings, with the numbers.
fn advice(consumer: &Consumer) -> String {
    format!(
        "a worker needs consumer.memory_budget_mb ({}) and about {WORKER_BASE_MIB} MiB, beside what its processor takes, so that \
         {} of them and the supervisor need about {} MiB: lower consumer.memory_budget_mb or consumer.processes, or raise the \
         limit",
        consumer.memory_budget_mb,
        consumer.processes,
        of_all(consumer)
    )
}

/// The warning at the start if the workers may need more memory than the limit.
pub(super) fn warning(consumer: &Consumer, limit_mib: Option<u64>) -> Option<String> {
    let limit = limit_mib.filter(|limit| *limit < of_all(consumer))?;
    Some(format!("the memory limit of this control group is {limit} MiB, and {}", advice(consumer)))
}

/// The text about a worker that the kernel's OOM killer has killed.
pub(super) fn explain_kill(consumer: &Consumer, limit_mib: Option<u64>) -> String {
    let limit =
        limit_mib.map_or_else(|| "memory ran out".to_owned(), |limit| format!("the memory limit is {limit} MiB"));
    format!("the kernel was out of memory: {limit}; {}", advice(consumer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_need_is_held_against_the_limit() {
        let mut consumer = crate::settings::defaults().consumer;
        (consumer.processes, consumer.memory_budget_mb) = (2, 64);
        assert_eq!(warning(&consumer, None), None);
        assert_eq!(warning(&consumer, Some(218)), None);
        let text = warning(&consumer, Some(110)).unwrap();
        assert!(text.contains("110 MiB") && text.contains("(64)") && text.contains("218 MiB"), "{text}");
    }
}
