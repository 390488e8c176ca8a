//! The Kafka client of an assignment: it is created, polled, and created again while the brokers reject its static id.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use slog::{debug, warn};

use super::Assignment;
use crate::consumer::protocol::{FailureKind, PartitionAssignment, Revocation, WorkerEvent, WorkerHealth};
use crate::consumer::worker::instance_id_retry::{RELEASE_TIMEOUT, Rejected};
use crate::consumer::worker::messages::{AssignmentKind, PartitionEvent};
use crate::consumer::worker::partition_state::PartitionState;
use crate::kafka::consumer::{Consumer, ConsumerError, ConsumerRole, FetchReport, MembershipOperation, RebalanceEvent};
use crate::kafka::error::KafkaError;

/// How long the close of a replaced client may take: without brokers it would take the session timeout.
const OLD_CLIENT_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the worker reports whether its client reaches the cluster.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

impl Assignment {
    /// Creates the client with these partitions, or joins the group.
    pub(super) fn connect(
        &mut self,
        partitions: &[PartitionAssignment],
        kind: AssignmentKind,
    ) -> Result<(), KafkaError> {
        let config = Arc::clone(&self.context.config);
        let (role, expected) = match &config.member {
            Some(member) => (ConsumerRole::Member(member.id.as_deref()), member.partitions),
            None => (ConsumerRole::Manual, partitions.len()),
        };
        let commits = Arc::clone(&self.commits);
        // With group membership the supervisor finds gaps in the log (`WorkerCommand::SkipGaps`).
        let report_ends = config.member.is_none();
        let consumer =
            Consumer::new(&config.settings, role, expected, report_ends, &self.context.logger, move |commit| {
                commits.count(&commit);
                commits.on_commit_result(&commit);
            })?;
        self.consumer = Some(consumer.with_metadata(&config.commit_metadata));
        self.commits.end_commit();
        self.open_partitions(partitions, kind)?;
        match (&config.member, &self.consumer) {
            (Some(_), Some(consumer)) => consumer.subscribe(&config.settings.consumed_topics()),
            _ => Ok(()),
        }
    }

    /// Serves the client.
    pub(in crate::consumer::worker) fn poll(&mut self, timeout: Duration) {
        let Some(consumer) = &self.consumer else {
            self.retry_instance_id();
            self.report_health();
            return;
        };
        let polled = consumer.poll(timeout);
        if let Some(report) = consumer.take_report() {
            self.context.events.do_send(PartitionEvent::Report(WorkerEvent::ClientStats(report)));
        }
        let balanced = consumer.balance_fetching();
        match polled {
            Ok(None) => {}
            Ok(Some(RebalanceEvent::Assigned(partitions))) => self.on_assigned(partitions),
            Ok(Some(RebalanceEvent::Revoked(partitions))) => self.revoke(partitions, Revocation::Committed),
            Ok(Some(RebalanceEvent::Lost(partitions))) => self.revoke(partitions, Revocation::Lost),
            Err(ConsumerError::Permanent(reason)) => self.fail(FailureKind::Permanent, reason),
            Err(ConsumerError::Transient(reason)) => self.fail(FailureKind::Transient, reason),
            Err(ConsumerError::InstanceIdInUse(reason)) => self.wait_for_instance_id(&reason),
        }
        self.commit_on_interval();
        match balanced {
            Ok(report) => self.on_fetch_report(&report),
            Err(failure) => self.fail(FailureKind::Transient, failure),
        }
        self.repeat_undone_commits();
        self.report_health();
    }

    /// Records for which partitions fetching is paused: those are not stalled.
    fn on_fetch_report(&mut self, report: &FetchReport) {
        self.is_tight = report.is_tight;
        if report.paused.is_empty() && report.resumed.is_empty() {
            return;
        }
        let assigned = self.assigned();
        for (names, paused) in [(&report.paused, true), (&report.resumed, false)] {
            names.iter().filter_map(|name| assigned.get(name)).for_each(|state| state.set_fetch_paused(paused));
        }
        debug!(self.context.logger, "fetching ahead is balanced: consumer.memory_budget_mb is used up";
            "paused" => report.paused.len(), "resumed" => report.resumed.len());
    }

    /// Reports periodically whether the client reaches the cluster.
    fn report_health(&mut self) {
        if self.health_reported.elapsed() < HEALTH_INTERVAL {
            return;
        }
        self.health_reported = Instant::now();
        let uncommitted =
            |state: &Arc<PartitionState>| state.uncommitted().and_then(|_| state.oldest_uncommitted_age());
        let uncommitted = self.assigned().values().filter_map(uncommitted).max().unwrap_or_default();
        let client = self.consumer.as_ref().and_then(Consumer::health);
        // While a broker throttles the client a commit may be late; a read-only run commits nothing.
        let is_throttled = self.consumer.as_ref().is_some_and(Consumer::is_throttled);
        let is_counted = !is_throttled && !self.context.config.settings.consumer.read_only;
        let health = WorkerHealth {
            client,
            uncommitted_ms: if is_counted { uncommitted.as_millis() as u64 } else { 0 },
            commit_failures: self.commits.failures(),
        };
        self.context.events.do_send(PartitionEvent::Report(WorkerEvent::Health(health)));
    }

    /// Waits until the brokers have removed the dead member with this static id.
    fn wait_for_instance_id(&mut self, reason: &str) {
        match self.instance_id_retry.on_rejected(Instant::now()) {
            Rejected::First => warn!(
                self.context.logger,
                "the group still has a member with this worker's static id, which has died without a word: waiting \
                 until the brokers give it up (group.consumer.session.timeout.ms, 45 s unless set): {reason}"
            ),
            Rejected::Again => {}
            Rejected::TimedOut => {
                let reason = format!(
                    "{reason}: the member with this worker's static id lives on for more than {RELEASE_TIMEOUT:?}; two \
                     supervisors have one consumer.membership.instance_id_prefix: give each its own, or set \
                     consumer.membership.static_membership = false"
                );
                return self.fail(FailureKind::Permanent, reason);
            }
        }
        self.replace_client();
    }

    fn retry_instance_id(&mut self) {
        if self.instance_id_retry.is_due(Instant::now())
            && !self.context.flags.is_shutting_down()
            && let Err(failure) = self.connect(&[], AssignmentKind::Reopened)
        {
            self.fail(FailureKind::Transient, failure);
        }
    }

    /// Closes the client of a member whose static id the brokers have not released; a new client follows. Does
    /// not wait for brokers that do not reply.
    fn replace_client(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        self.wait_for_queues(&consumer);
        let (done, closed) = mpsc::sync_channel(1);
        // The thread ends with the client, or with the process.
        let closing = std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
            consumer.close(MembershipOperation::RemainInGroup);
            // Fails only if the poll thread does not wait any more.
            done.send(()).ok();
        });
        if closing.is_ok() && closed.recv_timeout(OLD_CLIENT_CLOSE_TIMEOUT).is_err() {
            warn!(self.context.logger, "the old Kafka client does not end: going on without waiting for it");
        }
    }
}
