//! The lease of a worker: until when it may process and commit, while its supervisor holds the lock on the
//! group.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::consumer::protocol::Lease;
use crate::os::boot_clock;

/// The lease of a worker: see the [module](self). Set by the manager, read by the partitions and the poll thread.
#[derive(Debug)]
pub(super) struct LeaseGate {
    process_until: AtomicU64,
    commit_until: AtomicU64,
    /// Checked for each message, where reading a clock would cost too much.
    suspended: AtomicBool,
}

/// Whether processing of messages may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseChange {
    Expired,
    Renewed,
}

/// Always open.
impl Default for LeaseGate {
    fn default() -> Self {
        Self::new(None)
    }
}

impl LeaseGate {
    /// Open until the lease expires; without a lease, always.
    pub(super) fn new(lease: Option<Lease>) -> Self {
        let Lease { process_until, commit_until } =
            lease.unwrap_or(Lease { process_until: u64::MAX, commit_until: u64::MAX });
        Self {
            process_until: AtomicU64::new(process_until),
            commit_until: AtomicU64::new(commit_until),
            suspended: AtomicBool::new(false),
        }
    }

    /// Renews the lease, or ends it when the supervisor has lost the lock.
    pub(super) fn renew(&self, lease: Lease) {
        self.process_until.store(lease.process_until, Ordering::Relaxed);
        self.commit_until.store(lease.commit_until, Ordering::Relaxed);
    }

    /// Compares the lease with the clock; `None` if nothing has changed.
    pub(super) fn check(&self) -> Option<LeaseChange> {
        let suspended = boot_clock::now_ms() >= self.process_until.load(Ordering::Relaxed);
        let change = if suspended { LeaseChange::Expired } else { LeaseChange::Renewed };
        (self.suspended.swap(suspended, Ordering::Relaxed) != suspended).then_some(change)
    }

    /// Whether processing of messages may not start.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Whether offsets may be committed now.
    pub(super) fn may_commit(&self) -> bool {
        boot_clock::now_ms() < self.commit_until.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_with_its_lease_and_opens_with_the_next_one() {
        let now = boot_clock::now_ms();
        let gate = LeaseGate::new(Some(Lease { process_until: now, commit_until: now + 60_000 }));
        assert_eq!((gate.check(), gate.check()), (Some(LeaseChange::Expired), None));
        assert!(gate.is_suspended() && gate.may_commit());
        gate.renew(Lease { process_until: now + 60_000, commit_until: now });
        assert_eq!(gate.check(), Some(LeaseChange::Renewed));
        assert!(!gate.is_suspended() && !gate.may_commit());
    }

    #[test]
    fn without_a_lock_it_is_open() {
        let gate = LeaseGate::new(None);
        assert!(gate.check().is_none() && !gate.is_suspended() && gate.may_commit());
    }
}
