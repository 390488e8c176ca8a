//! Topics that were deleted and created again while they are consumed: their workers would continue in the new
//! log at the old offset, and never process what is before it.

use std::time::Instant;

use actix::prelude::*;
use slog::{debug, warn};

use super::actor::ConsumerSupervisor;
use super::messages::{DiscoveredPartition, Reopen};
use super::policy::Event;
use crate::consumer::protocol::WorkerCommand;
use crate::exit::ExitStatus;
use crate::kafka::topic_id::{DECIDE, TopicIds};
use crate::monitoring::status::EventLevel as Level;
use crate::settings::OffsetOutOfRange;

impl ConsumerSupervisor {
    /// Compares the topics' ids with those that are consumed. Returns whether a topic was created again.
    /// `consumer.offset_out_of_range` decides what follows.
    pub(super) fn restart_recreated(&mut self, topic_ids: &TopicIds, context: &mut Context<Self>) -> bool {
        let recreated = self.policy.partitions.recreated(topic_ids, self.is_group());
        let Some(first) = recreated.first() else { return false };
        if self.shutdown.is_stopping() {
            return true;
        }
        let policy = self.params.settings.consumer.offset_out_of_range;
        if policy == OffsetOutOfRange::Stop {
            self.begin_shutdown(ExitStatus::failed(format!("{first}; {DECIDE}")), context);
            return true;
        }
        for topic in &recreated {
            let text = format!("{topic}; going on at the {} message of the new one", policy.word());
            warn!(self.params.logger, "{text}"; "consumer.offset_out_of_range" => policy.word());
            self.event(Level::Warning, "notice", None, text);
        }
        let topics: Vec<_> = recreated.into_iter().map(|recreated| recreated.topic).collect();
        let reply = self.probes.queries.send(Reopen(topics.clone()));
        context.spawn(reply.into_actor(self).map(move |reply, supervisor, context| match reply {
            Ok(Ok(found)) => supervisor.restart_partitions(&topics, &found, context),
            // Detected again with the next query for high watermarks.
            Ok(Err(failure)) => debug!(supervisor.params.logger, "{failure}"),
            Err(error) => debug!(supervisor.params.logger, "the topic watcher: {error}"),
        }));
        true
    }

    fn restart_partitions(&mut self, topics: &[String], found: &[DiscoveredPartition], context: &mut Context<Self>) {
        if self.shutdown.is_stopping() {
            return;
        }
        if let Some(missing) = self.policy.partitions.missing(topics, found).filter(|_| !self.is_group()) {
            let text = format!("{missing} is gone: its topic was created again with fewer partitions; start again");
            self.begin_shutdown(ExitStatus::failed(text), context);
            return;
        }
        let now = self.now();
        for (slot, starts) in self.policy.partitions.restart(found, self.is_group(), now) {
            self.fleet.slots[slot].send(WorkerCommand::Restart(starts));
        }
        self.add_partitions(found, context);
        self.apply_event(Event::StopOffsets(self.policy.partitions.stop_offsets()), context);
        self.clock.record(Instant::now());
    }
}
