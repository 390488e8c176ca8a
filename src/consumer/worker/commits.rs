//! What becomes of commits: noted where it is counted, told where it is nobody's to wait for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::Recipient;
use slog::{Logger, warn};

use super::counters::Counters;
use super::journal::Journal;
use super::messages::Event;
use super::shared::Outbox;
use crate::consumer::control::Start;
use crate::kafka::reader::Commit;
use crate::record::TopicPartition;

/// How much longer than `consumer.commit_interval` a commit takes only if the brokers did not take it at once.
const LATE: Duration = Duration::from_millis(300);
/// Within this time after they take commits again, librdkafka has sent all that they had not taken: it waits for a second at
/// most (`retry.backoff.max.ms`), and a fifth more.
const SENT_AGAIN: Duration = Duration::from_millis(1_500);

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
    /// What is processed waits longer than this when commits are late.
    in_time: Duration,
    /// When one was late last.
    late: Mutex<Option<Instant>>,
    /// An earlier one has come behind a later one.
    undone: AtomicBool,
}

impl Commits {
    /// Of a worker that was started so; `outbox` gets how long commits take, if somebody watches.
    pub(super) fn new(
        start: &Start,
        held: Arc<Mutex<Held>>,
        journal: Option<Arc<Journal>>,
        outbox: &Outbox,
        events: Recipient<Event>,
        logger: Logger,
    ) -> Self {
        let settings = &start.settings;
        Self {
            held,
            journal,
            outbox: settings.monitoring.listen.is_some().then(|| Arc::clone(outbox)),
            events,
            logger,
            group: settings.consumer.group.clone(),
            is_member: start.member.is_some(),
            in_time: settings.consumer.commit_interval + LATE,
            late: Mutex::default(),
            undone: AtomicBool::new(false),
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
            let counters = held.get(name);
            if counters.and_then(|counters| counters.known_commit()).is_some_and(|known| known > *offset) {
                self.undone.store(true, Ordering::Relaxed);
            }
            let waited = counters.and_then(|counters| counters.committed(*offset));
            if waited.is_some_and(|waited| waited > self.in_time) {
                *self.late.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
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

    /// Whether what was committed has to be committed again.
    pub(super) fn take_undone(&self) -> bool {
        self.undone.swap(false, Ordering::Relaxed)
    }

    /// How long to wait until no earlier commit can come after one that was just made: librdkafka sends one that the brokers
    /// have not taken again, also behind a later one, which it undoes. Without a group the supervisor looks at the end, and
    /// nobody has to wait.
    pub(super) fn settle(&self, held: &Held) -> Duration {
        if !self.is_member {
            return Duration::ZERO;
        }
        let waits = held.values().filter_map(|counters| counters.waits()).max();
        if waits.is_some_and(|waits| waits > self.in_time) {
            return SENT_AGAIN;
        }
        let late = *self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.map_or(Duration::ZERO, |at| SENT_AGAIN.saturating_sub(at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl actix::Actor for Nobody {
        type Context = actix::Context<Self>;
    }

    impl actix::Handler<Event> for Nobody {
        type Result = ();

        fn handle(&mut self, _: Event, _: &mut Self::Context) {}
    }

    fn commits() -> Commits {
        Commits {
            held: Arc::default(),
            journal: None,
            outbox: None,
            events: actix::Actor::start(Nobody).recipient(),
            logger: Logger::root(slog::Discard, slog::o!()),
            group: "g".to_owned(),
            is_member: true,
            in_time: Duration::from_millis(20),
            late: Mutex::default(),
            undone: AtomicBool::new(false),
        }
    }

    #[actix::test]
    async fn what_an_earlier_commit_undoes_is_noticed() {
        let (commits, name) = (commits(), TopicPartition::new("t", 0));
        let held: Held = [(name.clone(), Counters::new(name.clone(), 0))].into();
        held[&name].stored(650);
        commits.done(&[(name.clone(), 650)], &held);
        assert!(!commits.take_undone() && held[&name].uncommitted().is_none());
        commits.done(&[(name.clone(), 140)], &held);
        assert!(commits.take_undone() && !commits.take_undone(), "once");
        assert_eq!(held[&name].uncommitted(), Some(650));
    }

    #[actix::test]
    async fn after_late_commits_it_takes_its_time_until_no_earlier_one_can_come() {
        let (commits, name) = (commits(), TopicPartition::new("t", 0));
        let held: Held = [(name.clone(), Counters::new(name.clone(), 0))].into();
        assert!(commits.settle(&held).is_zero());
        held[&name].stored(5);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(commits.settle(&held), SENT_AGAIN, "the brokers do not take it");
        commits.done(&[(name.clone(), 5)], &held);
        assert!(!commits.settle(&held).is_zero(), "they have just begun to");
    }
}
