//! The last commit of a worker, and the close of its client. On the `kafka-poll` thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{error, info, warn};

use super::{Assignment, UNCONFIRMED};
use crate::consumer::worker::partition_state::PartitionState;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::consumer::{CommitResult, Consumer, MembershipOperation};
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;

/// How long the drop of queues may take before the client is closed. They are dropped when their actors have
/// stopped.
const QUEUE_DROP_TIMEOUT: Duration = Duration::from_secs(1);
/// A client that has not reached the group coordinator for this time may not reach it in time for a last commit.
const CUT_OFF: Duration = Duration::from_secs(2);
/// The share of `shutdown.timeout` that a commit by a new client may take.
const CUT_OFF_SHARE: f64 = 0.6;
/// How long each wait for pending commits of the existing client takes meanwhile.
const OWN_COMMITS: Duration = Duration::from_millis(200);

impl Assignment {
    /// The last commit. All partitions have stopped, so what is processed is stored. Lost partitions are not
    /// included.
    pub(in crate::consumer::worker) fn commit(&self) {
        if self.is_cut_off() && self.context.config.member.is_none() {
            self.commit_by_new_client();
            return;
        }
        let names: Vec<_> = self.assigned().keys().cloned().collect();
        match self.commit_stored(&names) {
            CommitResult::Done(_) => {}
            CommitResult::Failed(reason) | CommitResult::Denied { reason, .. } => {
                error!(self.context.logger, "the last commit failed: {reason}");
            }
            CommitResult::Refused(reason) => error!(self.context.logger, "the last commit was refused: {reason}"),
        }
    }

    /// Whether the client does not reach the group coordinator, so that a commit would wait for the session
    /// timeout.
    fn is_cut_off(&self) -> bool {
        let health = self.consumer.as_ref().and_then(Consumer::health);
        health.is_some_and(|health| health.coordinator_unavailable_seconds >= CUT_OFF.as_secs_f64())
    }

    /// The last commit with manual assignment, by a new client. Pending commits of the existing client may
    /// arrive as well. Takes at most its share of the shutdown timeout.
    fn commit_by_new_client(&self) {
        let settings = &self.context.config.settings;
        let deadline = Instant::now() + settings.shutdown.timeout.mul_f64(CUT_OFF_SHARE);
        loop {
            // The poll delivers the results of the existing client's commits.
            // Its errors are known: the client is cut off.
            self.consumer.iter().for_each(|consumer| _ = consumer.poll(OWN_COMMITS));
            let assigned = self.assigned().clone();
            let uncommitted =
                |(name, state): (&TopicPartition, &Arc<PartitionState>)| Some((name.clone(), state.uncommitted()?));
            let offsets: Offsets = assigned.iter().filter_map(uncommitted).collect();
            if offsets.is_empty() {
                return;
            }
            if !self.context.flags.lease.may_commit() {
                error!(self.context.logger, "the last commit failed: {UNCONFIRMED}");
                return;
            }
            let committed = ClusterClient::reconnect(settings, &self.context.logger).and_then(|cluster| {
                let names: Vec<_> = offsets.keys().cloned().collect();
                let reply = cluster.committed_or_unknown(&names).and_then(|(commits, _)| {
                    // Offsets that another client has committed are not overwritten.
                    let mut own = offsets.clone();
                    let (_, foreign) = self.context.config.commit_metadata.separate(commits);
                    foreign.iter().for_each(|foreign| _ = own.remove(&foreign.partition));
                    self.commits.found_foreign(foreign);
                    let of_topic = |(name, state): (&TopicPartition, &Arc<PartitionState>)| {
                        Some((name.topic.clone(), state.topic_id()?))
                    };
                    let topic_ids = assigned.iter().filter_map(of_topic).collect();
                    cluster.commit(&own, &self.context.config.commit_metadata, &topic_ids).map(|()| own)
                });
                cluster.leave();
                reply
            });
            match committed {
                Ok(own) => {
                    info!(
                        self.context.logger,
                        "the Kafka client does not reach the group's coordinator: a new one has committed"
                    );
                    self.commits.on_committed(&own.into_iter().collect::<Vec<_>>(), &assigned);
                    return;
                }
                Err(failure) if failure.is_denied() || Instant::now() >= deadline => {
                    error!(self.context.logger, "the last commit failed: {failure}");
                    return;
                }
                Err(_) => {}
            }
        }
    }

    pub(super) fn wait_for_queues(&self, consumer: &Consumer) {
        let begun = Instant::now();
        while consumer.in_use() && begun.elapsed() < QUEUE_DROP_TIMEOUT {
            std::thread::sleep(Duration::from_millis(1));
        }
        if consumer.in_use() {
            error!(self.context.logger, "a partition's queue is still in use: the client ends with the process");
        }
    }

    /// Commits for the last time and closes the client.
    pub(in crate::consumer::worker) fn close(mut self, membership: MembershipOperation) {
        let Some(consumer) = self.consumer.take() else { return };
        self.wait_for_queues(&consumer);
        self.consumer = Some(consumer);
        self.commit();
        let is_cut_off = self.is_cut_off();
        if let Some(consumer) = self.consumer.take() {
            if is_cut_off && self.context.config.member.is_none() {
                // The close would wait for the coordinator; the client ends with the process.
                self.commits.close();
                let close = || consumer.close(MembershipOperation::RemainInGroup);
                // Without a thread the client ends with the process, too.
                std::thread::Builder::new().name("leave".to_owned()).spawn(close).ok();
                return;
            }
            if !self.unacknowledged.is_empty()
                && let Err(failure) = consumer.unassign(&self.unacknowledged)
            {
                warn!(self.context.logger, "{failure}");
            }
            consumer.close(membership);
        }
    }
}
