//! Rebalances of the group, and errors of partitions' offsets. On the `kafka-poll` thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use slog::{debug, warn};

use super::assignment::Assignment;
use super::messages::{AssignmentKind, PartitionEvent};
use crate::consumer::protocol::PartitionAssignment;
use crate::consumer::start_offset::{self, Begin};
use crate::kafka::commit_metadata::of_topic_before;
use crate::kafka::consumer::{Consumer, ConsumerError, FetchReport, RebalanceEvent};
use crate::kafka::error::KafkaError;

use crate::kafka::topic_id::Recreated;
use crate::record::TopicPartition;
use crate::settings::{AutoOffsetReset, OffsetOutOfRange};

/// The delay between two attempts to fetch offsets.
const OFFSET_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The initial and the maximum backoff before a client is created again whose static id the brokers have not
/// released.
const INSTANCE_ID_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long the brokers may take to release it: twice Kafka's default of `group.consumer.session.timeout.ms`,
/// and some more.
const ID_RELEASED: Duration = Duration::from_secs(120);

impl Assignment {
    /// Serves the client.
    pub(super) fn poll(&mut self, timeout: Duration) {
        let Some(reader) = &self.reader else {
            self.try_id_again();
            self.report_health();
            return;
        };
        let polled = reader.poll(timeout);
        if let Some(report) = reader.take_report() {
            self.work.events.do_send(PartitionEvent::Client(report));
        }
        let balanced = reader.balance_fetching();
        match polled {
            Ok(None) => {}
            Ok(Some(RebalanceEvent::Dealt(partitions))) => self.on_assign(partitions),
            Ok(Some(RebalanceEvent::Taken { partitions, lost })) => self.revoke(partitions, lost),
            Err(ConsumerError::Permanent(reason)) => self.report_error(reason, true),
            Err(ConsumerError::Transient(reason)) => self.report_error(reason, false),
            Err(ConsumerError::InstanceIdInUse(reason)) => self.wait_for_instance_id(&reason),
        }
        self.commit_on_interval();
        match balanced {
            Ok(report) => self.note_fetching(&report),
            Err(failure) => self.report_error(failure.to_string(), false),
        }
        self.mend_commits();
        self.report_health();
    }

    /// Records for which partitions fetching is paused: those are not stalled.
    fn note_fetching(&mut self, report: &FetchReport) {
        self.is_tight = report.is_tight;
        if report.paused.is_empty() && report.resumed.is_empty() {
            return;
        }
        let held = self.partitions();
        for (names, paused) in [(&report.paused, true), (&report.resumed, false)] {
            names.iter().filter_map(|name| held.get(name)).for_each(|counters| counters.set_fetch_paused(paused));
        }
        debug!(self.work.logger, "fetching ahead is balanced: consumer.memory_budget_mb is used up";
            "paused" => report.paused.len(), "resumed" => report.resumed.len());
    }

    fn on_assign(&mut self, partitions: Vec<TopicPartition>) {
        let starts = self.starts(&partitions);
        let taken = starts.and_then(|starts| {
            self.open_partitions(&starts, AssignmentKind::Added)
                .map_err(|failure| (failure.to_string(), failure.is_denied()))?;
            self.id_taken = None;
            Ok(())
        });
        let Err((reason, permanent)) = taken else { return };
        // The group requires an acknowledgement, even if this worker fails.
        if let Some(Err(failure)) = self.reader.as_ref().map(|reader| reader.assign(&[])) {
            warn!(self.work.logger, "{failure}");
        }
        self.report_error(reason, permanent);
    }

    /// The start offset of each partition; or the error, and whether it is permanent.
    fn starts(&self, partitions: &[TopicPartition]) -> Result<Vec<PartitionAssignment>, (String, bool)> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let topics: BTreeSet<_> = partitions.iter().map(|name| name.topic.clone()).collect();
        let topics: Vec<_> = topics.into_iter().collect();
        let asked = |reader: &Consumer, timeout| {
            // Fetched first: the offsets below may belong to a topic that is created again meanwhile, which its
            // next id reveals.
            let topic_ids = reader.topic_ids(&topics, timeout)?;
            let committed = reader.committed_with_metadata(partitions, timeout)?;
            // A committed offset needs no leader. If it is not in the log any more, the first fetch reports it.
            let is_new = |name: &&TopicPartition| {
                committed.get(name).is_none_or(|committed| {
                    of_topic_before(&name.topic, committed, topic_ids.get(&name.topic)).is_some()
                })
            };
            let new: Vec<_> = partitions.iter().filter(is_new).cloned().collect();
            let watermarks = if new.is_empty() { BTreeMap::new() } else { reader.watermarks(&new, timeout)? };
            Ok((topic_ids, committed, watermarks))
        };
        let (topic_ids, committed, watermarks) =
            self.fetch_start_offsets(asked).map_err(|failure| (failure.to_string(), failure.is_denied()))?;
        let consumer = &self.work.start.settings.consumer;
        let start = |name: &TopicPartition| {
            // Fetched for each partition without a committed offset of its current topic.
            let known = || watermarks.get(name).copied().ok_or_else(|| (format!("no watermarks of {name}"), false));
            let topic_id = topic_ids.get(&name.topic);
            let start = match committed.get(name) {
                None => start_offset::reset_offset(consumer, known()?, self.is_added(name)),
                Some(committed) => match of_topic_before(&name.topic, committed, topic_id) {
                    None => committed.offset,
                    Some(recreated) => self.log_jump(
                        name,
                        start_offset::of_recreated(consumer.offset_out_of_range, &recreated, known()?),
                    )?,
                },
            };
            Ok(PartitionAssignment { partition: name.clone(), start, until: None, topic_id: topic_id.cloned() })
        };
        let starts = partitions.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        // Committed soon, even if no message follows: at the next rebalance the high watermark would be a
        // different one, behind messages that were never processed. The commit of a previous topic has to be
        // replaced as well.
        let is_valid = |start: &&PartitionAssignment| match committed.get(&start.partition) {
            Some(committed) => of_topic_before(&start.partition.topic, committed, start.topic_id.as_ref()).is_none(),
            None => consumer.auto_offset_reset != AutoOffsetReset::Latest,
        };
        starts.iter().filter(|start| !is_valid(start)).for_each(|start| self.counters(start).stored(start.start));
        Ok(starts)
    }

    /// Whether a partition was added to its topic while the run consumes it.
    fn is_added(&self, name: &TopicPartition) -> bool {
        let member = self.work.start.member.as_ref();
        let before = member.and_then(|member| member.partitions_at_start.get(&name.topic));
        before.is_some_and(|before| name.partition >= *before)
    }

    /// Repeats the query until there is a reply, the rebalance timeout is over, or the worker stops.
    fn fetch_start_offsets<T>(
        &self,
        question: impl Fn(&Consumer, Duration) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let settings = &self.work.start.settings;
        let (begun, deadline) = (Instant::now(), settings.consumer.membership.revoke_timeout);
        loop {
            let Some(reader) = &self.reader else {
                return Err(KafkaError::Request {
                    what: "offsets".to_owned(),
                    reason: "there is no client".to_owned(),
                });
            };
            let left = deadline.saturating_sub(begun.elapsed()).max(OFFSET_RETRY_INTERVAL);
            let reply = question(reader, left.min(settings.kafka.request_timeout()));
            let over = begun.elapsed() >= deadline || self.work.stopping.load(Ordering::Acquire);
            if reply.is_ok() || reply.as_ref().is_err_and(KafkaError::is_denied) || over {
                return reply;
            }
            std::thread::sleep(OFFSET_RETRY_INTERVAL);
        }
    }

    fn log_jump(&self, name: &TopicPartition, begin: Begin) -> Result<i64, (String, bool)> {
        match begin {
            Begin::At(offset) => Ok(offset),
            Begin::Jump(offset, text) => {
                warn!(self.work.logger, "{name}: {text}"; "topic" => &name.topic, "partition" => name.partition);
                Ok(offset)
            }
            Begin::Nowhere(text) => Err((format!("{name}: {text}"), true)),
        }
    }

    /// Handles a position that is not in the log: continues at the offset that the settings require.
    pub(super) fn retry_offsets(&mut self, name: TopicPartition, offset: i64) {
        // The partition was revoked or moved meanwhile: the old position does not matter.
        if self.partitions().get(&name).is_none_or(|counters| counters.next() != offset) {
            return;
        }
        let these = [name.clone()];
        let policy = self.work.start.settings.consumer.offset_out_of_range;
        if self.work.stopping.load(Ordering::Acquire) {
            // The next start finds the same error, and the last commit must not wait for it.
            return;
        }
        let (topics, before) =
            ([name.topic.clone()], self.partitions().get(&name).and_then(|counters| counters.topic_id()));
        let found = self.fetch_start_offsets(|reader, timeout| {
            Ok((reader.topic_ids(&topics, timeout)?, reader.watermarks(&these, timeout)?))
        });
        let (topic_ids, watermarks) = match found {
            Ok(found) => found,
            Err(failure) => return self.report_error(failure.to_string(), failure.is_denied()),
        };
        let Some(&known) = watermarks.get(&name) else { return };
        let is_compared = !self.work.start.settings.consumer.metadata_refresh_interval.is_zero();
        let changed =
            before.zip(topic_ids.get(&name.topic).cloned()).filter(|(before, now)| is_compared && before != now);
        let begin = match changed {
            Some((before, now)) if policy == OffsetOutOfRange::Stop => {
                start_offset::of_recreated(policy, &Recreated { topic: name.topic.clone(), before, now }, known)
            }
            // The supervisor compares the ids, too, and sends a restart for all partitions of the topic. Until
            // then nothing is fetched: offsets of the new topic must not be committed as offsets of the old one.
            Some(_) => return,
            None => start_offset::requested_offset(policy, offset, known),
        };
        let at = match self.log_jump(&name, begin) {
            Ok(at) => at,
            Err((reason, permanent)) => return self.report_error(reason, permanent),
        };
        if !self.pause_and_wait(&these, false) {
            return;
        }
        // If this commit fails, the next one replaces it.
        self.commit_these(&these);
        let given_back = self.reader.as_ref().map_or(Ok(()), |reader| reader.unassign(&these));
        if let Some(counters) = self.partitions().get(&name) {
            // Even if no message follows: the same gap must not be reported again.
            counters.seek(at);
            counters.stored(at);
        }
        let topic_id = self.partitions().get(&name).and_then(|counters| counters.topic_id());
        let start = PartitionAssignment { partition: name, start: at, until: None, topic_id };
        if let Err(failure) = given_back.and_then(|()| self.open_partitions(&[start], AssignmentKind::Again)) {
            self.report_error(failure.to_string(), false);
            return;
        }
        // The client commits only what follows, and possibly no message follows.
        self.commit_these(&these);
    }

    /// Restarts partitions whose topic was created again, at the offsets that the supervisor has requested. What
    /// was processed of the previous topic is not committed.
    pub(super) fn restart(&mut self, mut starts: Vec<PartitionAssignment>) {
        {
            let held = self.partitions();
            let is_old = |start: &PartitionAssignment| {
                held.get(&start.partition).is_some_and(|counters| counters.topic_id() != start.topic_id)
            };
            starts.retain(is_old);
        }
        let names: Vec<_> = starts.iter().map(|start| start.partition.clone()).collect();
        if names.is_empty() || !self.pause_and_wait(&names, false) {
            return;
        }
        let unassigned = self.reader.as_ref().map_or(Ok(()), |reader| reader.unassign(&names));
        for start in &starts {
            self.counters(start).restart(start.start);
        }
        if let Err(failure) = unassigned.and_then(|()| self.open_partitions(&starts, AssignmentKind::Restarted)) {
            self.report_error(failure.to_string(), false);
        }
    }

    /// Waits until the brokers have removed the dead member with this static id.
    fn wait_for_instance_id(&mut self, reason: &str) {
        let now = Instant::now();
        let (first, longest) = INSTANCE_ID_BACKOFF;
        let (since, pause) = match self.id_taken {
            Some((since, _, pause)) => (since, pause),
            None => {
                warn!(
                    self.work.logger,
                    "the group still has a member with this worker's static id, which has died without a word: waiting \
                     until the brokers give it up (group.consumer.session.timeout.ms, 45 s unless set): {reason}"
                );
                (now, first)
            }
        };
        if now.duration_since(since) > ID_RELEASED {
            self.report_error(
                format!(
                    "{reason}: the member with this worker's static id lives on for more than {ID_RELEASED:?}; two \
                     supervisors have one consumer.membership.instance_id_prefix: give each its own, or set \
                     consumer.membership.static_membership = false"
                ),
                true,
            );
            return;
        }
        self.replace_client();
        self.id_taken = Some((since, now + pause, (pause * 2).min(longest)));
    }

    fn try_id_again(&mut self) {
        let due = self.id_taken.is_some_and(|(_, at, _)| Instant::now() >= at);
        if due
            && !self.work.stopping.load(Ordering::Acquire)
            && let Err(failure) = self.connect(&[], AssignmentKind::Again)
        {
            self.report_error(failure.to_string(), false);
        }
    }
}
