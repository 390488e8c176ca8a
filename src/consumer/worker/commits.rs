//! What becomes of commits: noted where it is counted, told where it is nobody's to wait for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix::Recipient;
use slog::{Logger, warn};

use super::counters::Counters;
use super::holding::Work;
use super::journal::Journal;
use super::messages::Event;
use super::shared::Outbox;
use crate::kafka::reader::Commit;
use crate::record::TopicPartition;

/// The partitions of a worker.
pub(super) type Held = BTreeMap<TopicPartition, Arc<Counters>>;

/// See the [module](self). Called by the client's callback and by whoever has asked for a commit.
pub(super) struct Commits {
    held: Arc<Mutex<Held>>,
    journal: Option<Arc<Journal>>,
    /// If somebody watches how long commits take.
    outbox: Option<Outbox>,
    events: Recipient<Event>,
    logger: Logger,
    group: String,
    is_member: bool,
}

impl Commits {
    pub(super) fn new(work: &Work, held: Arc<Mutex<Held>>) -> Self {
        let settings = &work.start.settings;
        Self {
            held,
            journal: work.journal.clone(),
            outbox: settings.monitoring.listen.is_some().then(|| Arc::clone(&work.outbox)),
            events: work.events.clone(),
            logger: work.logger.clone(),
            group: settings.consumer.group.clone(),
            is_member: work.start.member.is_some(),
        }
    }

    /// What has become of one that comes again by itself.
    pub(super) fn told(&self, commit: &Commit) {
        match commit {
            Commit::Done(offsets) => {
                let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                self.done(offsets, &held);
            }
            Commit::Failed(reason) => warn!(self.logger, "a commit failed, the next one tries again: {reason}"),
            // The group takes the partitions away as well, which is dealt with then.
            Commit::Refused(reason) if self.is_member => {
                warn!(self.logger, "the group has refused a commit: {reason}");
            }
            Commit::Refused(reason) => {
                let group = &self.group;
                let reason = format!(
                    "the group {group:?} (consumer.group) is in use by other consumers, which subscribe with it: Kafka \
                     takes no commits from here ({reason}); choose another group, or stop them"
                );
                self.events.do_send(Event::Broken { reason, lasting: true });
            }
        }
    }

    /// These are committed. Noted at once and not when the client tells of it, with its next poll: there may be none, and
    /// the supervisor has to know where whoever is next starts.
    pub(super) fn done(&self, offsets: &[(TopicPartition, i64)], held: &Held) {
        for (name, offset) in offsets {
            let waited = held.get(name).and_then(|counters| counters.committed(*offset));
            let outbox = self.outbox.as_ref().and_then(|outbox| outbox.lock().ok());
            if let Some((waited, mut outbox)) = waited.zip(outbox) {
                outbox.commit.record(waited);
            }
            if let Some(journal) = &self.journal {
                // A journal that is broken is noticed where messages are written to it.
                let _noticed = journal.committed(name.partition, *offset);
            }
        }
    }
}
