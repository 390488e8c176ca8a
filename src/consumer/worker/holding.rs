//! What a worker holds: its Kafka client and the partitions that it reads. Lives on the `kafka-poll` thread.
//!
//! A partition is taken in this order: queue split off, assigned, given to an actor. It is given back in this order: its
//! actor has finished the message in hand, stored its offset and dropped the queue; committed; unassigned; told.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use actix::Recipient;
use slog::{Logger, error, info, warn};

use super::commits::{Commits, Held};
use super::counters::Counters;
use super::journal::{Journal, no_journal};
use super::messages::{Event, FromPoll, Opened, Opening};
use super::shared::Outbox;
use crate::consumer::control::{Start, StartPartition};
use crate::kafka::dead_letters;
use crate::kafka::error::Failure;
use crate::kafka::reader::{Commit, Reader, Role};
use crate::record::TopicPartition;

/// How long streams may take to be dropped before the client is closed: they are when their actors have stopped.
const STREAMS_GO: Duration = Duration::from_secs(1);
/// How long a client that is replaced may take to close: without brokers it would be the session's timeout.
const OLD_CLOSES: Duration = Duration::from_secs(5);

/// What the thread works on.
pub(super) struct Work {
    pub(super) start: Arc<Start>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) events: Recipient<Event>,
    pub(super) router: Recipient<FromPoll>,
    pub(super) outbox: Outbox,
    pub(super) logger: Logger,
}

/// The client and its partitions.
pub(super) struct Holding {
    pub(super) work: Work,
    /// `None` while the brokers do not take one.
    pub(super) reader: Option<Reader>,
    held: Arc<Mutex<Held>>,
    commits: Arc<Commits>,
    /// It has been told that the client is broken.
    broken: bool,
    /// The group wants these back, and a message of theirs is in hand: acknowledged when the client is closed.
    unacknowledged: Vec<TopicPartition>,
    /// The brokers have a dead member of this one's id: since when, when to try again, the pause after that.
    pub(super) id_taken: Option<(Instant, Instant, Duration)>,
}

impl Holding {
    pub(super) fn new(work: Work) -> Self {
        let held = Arc::default();
        let Work { start, journal, outbox, events, logger, .. } = &work;
        let commits = Commits::new(start, Arc::clone(&held), journal.clone(), outbox, events.clone(), logger.clone());
        Self {
            commits: Arc::new(commits),
            work,
            reader: None,
            held,
            broken: false,
            unacknowledged: Vec::new(),
            id_taken: None,
        }
    }

    /// Makes the client and takes the partitions that the worker was started with, or becomes a member of the group.
    pub(super) fn begin(&mut self) {
        let start = Arc::clone(&self.work.start);
        let checked = dead_letters::check(&start.settings, &self.work.logger);
        if let Err(failure) = checked.and_then(|()| self.connect(&start.partitions, Opened::First)) {
            self.cannot(failure.to_string(), true);
        }
    }

    pub(super) fn has_client(&self) -> bool {
        self.reader.is_some()
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cannot(&mut self, reason: String, lasting: bool) {
        if !std::mem::replace(&mut self.broken, true) {
            self.work.events.do_send(Event::Broken { reason, lasting });
        }
    }

    pub(super) fn connect(&mut self, partitions: &[StartPartition], opened: Opened) -> Result<(), Failure> {
        let start = Arc::clone(&self.work.start);
        let (role, expected) = match &start.member {
            Some(member) => (Role::Member(member.id.as_deref()), member.partitions),
            None => (Role::Manual, partitions.len()),
        };
        let commits = Arc::clone(&self.commits);
        // librdkafka 2.12 counts an end that it reports in the middle of a batch as a message, and a rebalance makes every
        // partition go on where the application is: one message further than it was (librdkafka#4844). Without a group
        // nothing goes back there.
        let report_ends = start.member.is_none();
        let reader = Reader::new(&start.settings, role, expected, report_ends, &self.work.logger, move |commit| {
            commits.told(&commit);
        })?;
        self.reader = Some(reader);
        self.take(partitions, opened)?;
        match (&start.member, &self.reader) {
            (Some(_), Some(reader)) => reader.subscribe(&start.settings.consumed_topics()),
            _ => Ok(()),
        }
    }

    // ---- taking and giving back ------------------------------------------------------------------------------------

    pub(super) fn take(&self, starts: &[StartPartition], opened: Opened) -> Result<(), Failure> {
        let Some(reader) = &self.reader else { return Ok(()) };
        // Every queue is split off before anything is assigned.
        let streams = starts.iter().map(|start| reader.split(&start.partition)).collect::<Result<Vec<_>, _>>()?;
        if let Some(journal) = &self.work.journal {
            journal
                .assigned(starts)
                .map_err(|error| Failure::Request { what: "the journal".to_owned(), reason: no_journal(&error) })?;
        }
        let mut openings = Vec::with_capacity(starts.len());
        for (start, stream) in starts.iter().zip(streams) {
            let counters = self.counters(start);
            openings.push(Opening { stream, counters, start: start.start, until: start.until });
        }
        let offsets: Vec<_> = starts.iter().map(|start| (start.partition.clone(), start.start)).collect();
        // A deal has to be acknowledged, also an empty one.
        if !starts.is_empty() || opened == Opened::Added {
            reader.assign(&offsets)?;
        }
        self.work.router.do_send(FromPoll::Opened { openings, opened });
        Ok(())
    }

    /// Those that it has, moved; or new ones.
    fn counters(&self, start: &StartPartition) -> Arc<Counters> {
        let mut held = self.held();
        let new = || Counters::new(start.partition.clone(), start.start);
        let counters = held.entry(start.partition.clone()).or_insert_with(new);
        counters.move_to(start.start);
        Arc::clone(counters)
    }

    /// Waits until the actors of these have stopped and dropped their queues. A handler that hangs is told, and `false`.
    pub(super) fn shut(&mut self, partitions: &[TopicPartition], lost: bool) -> bool {
        let (done, stopped) = mpsc::sync_channel(1);
        self.work.router.do_send(FromPoll::Shut { partitions: partitions.to_vec(), lost, done });
        let deadline = self.work.start.settings.consumer.membership.revoke_deadline;
        match stopped.recv_timeout(deadline) {
            // Without a router the process is ending.
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => true,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
                self.cannot(
                    format!(
                        "{} could not be given back: the message in hand was not finished within {deadline:?} \
                         (consumer.membership.revoke_deadline)",
                        names.join(", ")
                    ),
                    false,
                );
                false
            }
        }
    }

    /// Commits what is stored of these, and waits for it.
    pub(super) fn commit_these(&self, partitions: &[TopicPartition]) -> bool {
        match self.commit_stored(partitions) {
            Commit::Done(_) => true,
            Commit::Failed(reason) | Commit::Refused(reason) => {
                warn!(
                    self.work.logger,
                    "partitions are given back, and the commit before failed: what was processed since the last one is \
                     processed again elsewhere: {reason}"
                );
                false
            }
        }
    }

    /// By name and offset: this client may have nothing stored of what the one before it could not commit. After trouble also
    /// what is known as committed, and twice: see [`Commits::settle`].
    fn commit_stored(&self, partitions: &[TopicPartition]) -> Commit {
        let Some(reader) = &self.reader else { return Commit::Done(Vec::new()) };
        let held = self.held().clone();
        let settle = self.commits.settle(&held);
        let offset = |counters: &Arc<Counters>| match settle.is_zero() {
            true => counters.uncommitted(),
            false => counters.known_stored(),
        };
        let stored = partitions.iter().filter_map(|name| Some((name.clone(), offset(held.get(name)?)?)));
        let stored: Vec<_> = stored.collect();
        let mut commit = reader.commit(&stored);
        if !settle.is_zero() && matches!(commit, Commit::Done(_)) {
            std::thread::sleep(settle);
            commit = reader.commit(&stored);
        }
        if let Commit::Done(offsets) = &commit {
            self.commits.done(offsets, &held);
        }
        commit
    }

    /// What an earlier commit has undone is committed again.
    pub(super) fn mend_commits(&self) {
        if self.commits.take_undone() {
            let names: Vec<_> = self.held().keys().cloned().collect();
            match self.commit_stored(&names) {
                Commit::Done(_) => {}
                commit => self.commits.told(&commit),
            }
        }
    }

    /// Gives these back, and tells so. (The rebalance that wants it is acknowledged by it.) While a message of theirs is in
    /// hand, they are nobody else's: this worker ends then, and its end moves them.
    pub(super) fn give_back(&mut self, partitions: Vec<TopicPartition>, lost: bool) {
        let known: Vec<_> = {
            let held = self.held();
            partitions.iter().filter(|name| held.contains_key(name)).cloned().collect()
        };
        let lost = match known.is_empty() {
            true => lost,
            false if lost => {
                // The actors stop at once; one that blocks its thread stores nothing that could still be committed.
                self.shut(&known, true);
                true
            }
            false if !self.shut(&known, false) => {
                // Whoever had them next would read what is processed here. A supervisor waits until this process is dead. A
                // group waits for the acknowledgement, which comes with the client's end and after the last commit, or for
                // the brokers' patience: max.poll.interval.ms for a member that lives, the session's timeout for one that
                // was killed. Beyond that they are lost, whatever is done here.
                if self.work.start.member.is_some() {
                    self.unacknowledged.extend(partitions);
                }
                return;
            }
            false => !self.commit_these(&known),
        };
        if lost
            && !known.is_empty()
            && let Some(journal) = &self.work.journal
        {
            journal.lost();
        }
        self.held().retain(|name, _| !partitions.contains(name));
        self.unacknowledged.retain(|name| !partitions.contains(name));
        // Before whoever has them next can tell that it does: nothing happens to them here any more.
        self.work.router.do_send(FromPoll::GivenBack { partitions: partitions.clone(), lost });
        if let Some(Err(failure)) = self.reader.as_ref().map(|reader| reader.unassign(&partitions)) {
            self.cannot(failure.to_string(), false);
        }
    }

    // ---- the supervisor's orders -----------------------------------------------------------------------------------

    /// Reads these, too. What it has already it goes on with.
    pub(super) fn add(&mut self, starts: &[StartPartition]) {
        let new: Vec<_> = {
            let held = self.held();
            starts.iter().filter(|start| !held.contains_key(&start.partition)).cloned().collect()
        };
        if let Err(failure) = self.take(&new, Opened::Added) {
            self.cannot(failure.to_string(), false);
        }
    }

    /// Reads these no more; what it does not have is answered as well.
    pub(super) fn revoke(&mut self, partitions: Vec<TopicPartition>) {
        let known: Vec<_> = {
            let held = self.held();
            partitions.iter().filter(|name| held.contains_key(name)).cloned().collect()
        };
        if known.len() < partitions.len() {
            let unknown = partitions.iter().filter(|name| !known.contains(name)).cloned().collect();
            self.work.router.do_send(FromPoll::GivenBack { partitions: unknown, lost: false });
        }
        if !known.is_empty() {
            self.give_back(known, false);
        }
    }

    /// Goes on with a new client, each partition where it is.
    pub(super) fn rebuild(&mut self) {
        let names: Vec<_> = self.held().keys().cloned().collect();
        info!(self.work.logger, "the Kafka client is replaced by a new one"; "partitions" => names.len());
        let is_member = self.work.start.member.is_some();
        if !self.shut(&names, false) {
            return;
        }
        let committed = self.commit_these(&names);
        if is_member
            && !committed
            && let Some(journal) = &self.work.journal
        {
            journal.lost();
        }
        self.replace_client();
        let starts = if is_member {
            // The group deals them anew: to this member if it has a static id.
            self.held().clear();
            self.work.router.do_send(FromPoll::GivenBack { partitions: names, lost: !committed });
            Vec::new()
        } else {
            let held = self.held();
            let start = |(name, counters): (&TopicPartition, &Arc<Counters>)| StartPartition {
                partition: name.clone(),
                start: counters.next(),
                until: None,
            };
            held.iter().map(start).collect()
        };
        if let Err(failure) = self.connect(&starts, Opened::Again) {
            self.cannot(failure.to_string(), false);
        }
    }

    /// Ends the client; whoever is next does not wait for it longer than a little.
    pub(super) fn replace_client(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        self.wait_for_streams(&reader);
        if self.work.start.member.is_none() {
            // What it has stored it would commit once more, perhaps behind the new client's commits.
            let names: Vec<_> = self.held().keys().cloned().collect();
            let _ended_anyway = reader.unassign(&names);
        }
        let (done, closed) = mpsc::sync_channel(1);
        // It ends with the client, or with the process.
        let closing = std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
            reader.close(false);
            let _unheard = done.send(());
        });
        if closing.is_ok() && closed.recv_timeout(OLD_CLOSES).is_err() {
            warn!(self.work.logger, "the old Kafka client does not end: going on without waiting for it");
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// All partitions have stopped: what is processed is stored. What was lost is not held any more.
    pub(super) fn commit(&self) {
        let names: Vec<_> = self.held().keys().cloned().collect();
        match self.commit_stored(&names) {
            Commit::Done(_) => {}
            Commit::Failed(reason) => error!(self.work.logger, "the last commit failed: {reason}"),
            Commit::Refused(reason) => error!(self.work.logger, "the last commit was refused: {reason}"),
        }
    }

    fn wait_for_streams(&self, reader: &Reader) {
        let begun = Instant::now();
        while reader.in_use() && begun.elapsed() < STREAMS_GO {
            std::thread::sleep(Duration::from_millis(1));
        }
        if reader.in_use() {
            error!(self.work.logger, "a partition's queue is still in use: the client ends with the process");
        }
    }

    /// Ends the client.
    pub(super) fn close(mut self, leave: bool) {
        let Some(reader) = self.reader.take() else { return };
        self.wait_for_streams(&reader);
        self.reader = Some(reader);
        self.commit();
        if let Some(reader) = self.reader.take() {
            if !self.unacknowledged.is_empty()
                && let Err(failure) = reader.unassign(&self.unacknowledged)
            {
                warn!(self.work.logger, "{failure}");
            }
            reader.close(leave);
        }
    }
}
