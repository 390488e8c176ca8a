//! The last commit of a worker, and the close of its client. On the `kafka-poll` thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{error, info, warn};

use super::assignment::{Assignment, UNCONFIRMED};
use super::partition_state::PartitionState;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::consumer::{CommitResult, Consumer};
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;

/// How long the drop of queues may take before the client is closed. They are dropped when their actors have
/// stopped.
const STREAMS_GO: Duration = Duration::from_secs(1);
/// A client that has not reached the group coordinator for this time may not reach it in time for a last commit.
const CUT_OFF: Duration = Duration::from_secs(2);
/// The share of `shutdown.timeout` that a commit by a new client may take.
const CUT_OFF_SHARE: f64 = 0.6;
/// How long each wait for pending commits of the existing client takes meanwhile.
const OWN_COMMITS: Duration = Duration::from_millis(200);

impl Assignment {
    /// The last commit. All partitions have stopped, so what is processed is stored. Lost partitions are not
    /// included.
    pub(super) fn commit(&self) {
        if self.is_cut_off() && self.work.start.member.is_none() {
            self.commit_by_new_client();
            return;
        }
        let names: Vec<_> = self.partitions().keys().cloned().collect();
        match self.commit_stored(&names) {
            CommitResult::Done(_) => {}
            CommitResult::Failed(reason) | CommitResult::Denied { reason, .. } => {
                error!(self.work.logger, "the last commit failed: {reason}");
            }
            CommitResult::Refused(reason) => error!(self.work.logger, "the last commit was refused: {reason}"),
        }
    }

    /// Whether the client does not reach the group coordinator, so that a commit would wait for the session
    /// timeout.
    fn is_cut_off(&self) -> bool {
        let health = self.reader.as_ref().and_then(Consumer::health);
        health.is_some_and(|health| health.coordinator_unavailable_seconds >= CUT_OFF.as_secs_f64())
    }

    /// The last commit with manual assignment, by a new client. Pending commits of the existing client may
    /// arrive as well. Takes at most its share of the shutdown timeout.
    fn commit_by_new_client(&self) {
        let settings = &self.work.start.settings;
        let deadline = Instant::now() + settings.shutdown.timeout.mul_f64(CUT_OFF_SHARE);
        loop {
            // The poll delivers the results of the existing client's commits.
            let _cut_off = self.reader.as_ref().map(|reader| reader.poll(OWN_COMMITS));
            let held = self.partitions().clone();
            let uncommitted = |(name, counters): (&TopicPartition, &Arc<PartitionState>)| {
                Some((name.clone(), counters.uncommitted()?))
            };
            let offsets: Offsets = held.iter().filter_map(uncommitted).collect();
            if offsets.is_empty() {
                return;
            }
            if !self.work.orders.lease.may_commit() {
                error!(self.work.logger, "the last commit failed: {UNCONFIRMED}");
                return;
            }
            let committed = ClusterClient::reconnect(settings, &self.work.logger).and_then(|cluster| {
                let names: Vec<_> = offsets.keys().cloned().collect();
                let reply = cluster.committed_or_unknown(&names).and_then(|(commits, _)| {
                    // Offsets that another client has committed are not overwritten.
                    let mut own = offsets.clone();
                    let (_, foreign) = self.work.start.commit_metadata.separate(commits);
                    foreign.iter().for_each(|foreign| _ = own.remove(&foreign.partition));
                    self.commits.found_foreign(foreign);
                    let of_topic = |(name, counters): (&TopicPartition, &Arc<PartitionState>)| {
                        Some((name.topic.clone(), counters.topic_id()?))
                    };
                    let topic_ids = held.iter().filter_map(of_topic).collect();
                    cluster.commit(&own, &self.work.start.commit_metadata, &topic_ids).map(|()| own)
                });
                cluster.leave();
                reply
            });
            match committed {
                Ok(own) => {
                    info!(
                        self.work.logger,
                        "the Kafka client does not reach the group's coordinator: a new one has committed"
                    );
                    self.commits.on_committed(&own.into_iter().collect::<Vec<_>>(), &held);
                    return;
                }
                Err(failure) if failure.is_denied() || Instant::now() >= deadline => {
                    error!(self.work.logger, "the last commit failed: {failure}");
                    return;
                }
                Err(_) => {}
            }
        }
    }

    pub(super) fn wait_for_streams(&self, reader: &Consumer) {
        let begun = Instant::now();
        while reader.in_use() && begun.elapsed() < STREAMS_GO {
            std::thread::sleep(Duration::from_millis(1));
        }
        if reader.in_use() {
            error!(self.work.logger, "a partition's queue is still in use: the client ends with the process");
        }
    }

    /// Commits for the last time and closes the client.
    pub(super) fn close(mut self, leave: bool) {
        let Some(reader) = self.reader.take() else { return };
        self.wait_for_streams(&reader);
        self.reader = Some(reader);
        self.commit();
        let is_cut_off = self.is_cut_off();
        if let Some(reader) = self.reader.take() {
            if is_cut_off && self.work.start.member.is_none() {
                // The close would wait for the coordinator; the client ends with the process.
                self.commits.close();
                let _not_waited_for =
                    std::thread::Builder::new().name("leave".to_owned()).spawn(|| reader.close(false));
                return;
            }
            if !self.unacknowledged.is_empty()
                && let Err(failure) = reader.unassign(&self.unacknowledged)
            {
                warn!(self.work.logger, "{failure}");
            }
            reader.close(leave);
        }
    }
}
