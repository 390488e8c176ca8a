//! A consumer client of a worker: what it reads, and its commits.
//!
//! Each partition has a queue of its own, so that a slow one holds up no other. A queue is split off *before* its
//! partition is assigned: afterwards the first messages could already be in the common queue.
//!
//! Partitions come and go one by one: each is assigned at an offset that is a number, and unassigned after its queue was
//! dropped. Nothing is ever sought or paused. What a group deals and takes comes out of [`Reader::poll`], and the group
//! waits until it is acknowledged by [`Reader::assign`] or [`Reader::unassign`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use slog::Logger;

pub use super::config::Role;
use super::error::{Failure, code_text, creation};
use super::native::batch::Turn;
use super::native::member;
use super::offsets::{Offsets, list_at, list_of, offsets_of};
pub use super::reader_events::{Commit, Rebalance};
use super::reader_events::{ReaderEvents, assign, commit_of, unassign};
use super::statistics::ClientStatus;
pub use super::stream::{Next, PartitionStream, ReceivedMessage};
use super::{config, coordinator};
use crate::record::TopicPartition;
use crate::settings::{GroupProtocol, Settings};

/// How long leaving a group may take, beside what closing the client takes.
const LEAVE: Duration = Duration::from_secs(5);
/// And how long one that has no id by which that could be seen has to be without partitions.
const LEAVES: Duration = Duration::from_millis(200);
/// One look at the client meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// How long a commit waits for another coordinator. Kafka gives a group to the next broker within a second or two.
const COORDINATOR: Duration = Duration::from_secs(5);

/// Why a client cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Another start would end the same way.
    Lasting(String),
    /// A new client may do better.
    Passing(String),
    /// The brokers still have a member of this id (KIP-848), which has died without a word: for as long they refuse it.
    IdTaken(String),
}

/// The client. It has to be polled, and ends when it is closed.
pub struct Reader {
    consumer: Arc<BaseConsumer<ReaderEvents>>,
    /// Messages that came out of the common queue: there must be none.
    leaked: AtomicU64,
    turn: Turn,
    is_member: bool,
    is_static: bool,
    is_classic: bool,
}

impl Reader {
    /// Makes the client; it connects by itself. Memory is shared out by the number of `partitions`. With
    /// `report_ends`, [`PartitionStream::read_next`] says [`Next::End`].
    ///
    /// # Errors
    /// [`Failure::Settings`].
    pub fn new(
        settings: &Settings,
        role: Role<'_>,
        partitions: usize,
        report_ends: bool,
        logger: &Logger,
        on_commit: impl Fn(Commit) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let events = ReaderEvents::new(settings, logger, on_commit);
        let consumer: BaseConsumer<_> = config::reader(settings, role, partitions, report_ends)
            .create_with_context(events)
            .map_err(|error| creation(&error))?;
        let is_member = matches!(role, Role::Member(_));
        let is_static = matches!(role, Role::Member(Some(_)));
        Ok(Self {
            consumer: Arc::new(consumer),
            leaked: AtomicU64::new(0),
            turn: Turn::default(),
            is_member,
            is_static,
            is_classic: settings.consumer.membership.protocol == GroupProtocol::Classic,
        })
    }

    /// Becomes a member of the group, which deals the partitions of these topics.
    ///
    /// # Errors
    /// What librdkafka says.
    pub fn subscribe(&self, topics: &[String]) -> Result<(), Failure> {
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|error| {
            Failure::request(format!("the topics {} could not be subscribed to", topics.join(", ")), &error)
        })
    }

    /// The queue of a partition that is going to be assigned. One that it had before has to be dropped.
    ///
    /// # Errors
    /// When librdkafka has no such queue; none is expected.
    pub fn split(&self, partition: &TopicPartition) -> Result<PartitionStream, Failure> {
        PartitionStream::new(&self.consumer, &self.turn, partition, self.is_member).ok_or_else(|| Failure::Request {
            what: partition.to_string(),
            reason: "its queue could not be split off".to_owned(),
        })
    }

    /// Starts reading these, too, at these offsets. What is read already goes on.
    ///
    /// # Errors
    /// What librdkafka says.
    pub fn assign(&self, starts: &[(TopicPartition, i64)]) -> Result<(), Failure> {
        assign(&self.consumer, &list_at(starts.iter().map(|(name, offset)| (name, offset)))?)
            .map_err(|error| Failure::request("the partitions could not be assigned", &error))
    }

    /// Reads these no more, and commits nothing of them any more. Their streams have to be gone.
    ///
    /// # Errors
    /// What librdkafka says.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), Failure> {
        let list = list_of(partitions, Offset::Invalid)?;
        // librdkafka commits what was stored once more, also what is committed and, since acknowledging ends its knowing
        // of that, what is lost: behind the back of whoever has the partition next, whose commits it could undo.
        let _not_there_any_more = self.consumer.store_offsets(&list);
        unassign(&self.consumer, &list)
            .map_err(|error| Failure::request("the partitions could not be given back", &error))
    }

    /// Serves log lines, errors and commits for up to `timeout`, or until the group wants something.
    ///
    /// # Errors
    /// When the client is broken for good, or a message came where none may come.
    pub fn poll(&self, timeout: Duration) -> Result<Option<Rebalance>, Broken> {
        let polled = self.consumer.poll(timeout);
        if let Some(rebalance) = self.consumer.context().next_rebalance() {
            // Before anything else: the group, and the client's end, wait for its acknowledgement.
            return Ok(Some(rebalance));
        }
        match polled {
            None => {}
            Some(Ok(message)) => {
                let leaked = self.leaked.fetch_add(1, Ordering::Relaxed) + 1;
                let place = format!("{}/{}@{}", message.topic(), message.partition(), message.offset());
                let text = format!("{leaked} message(s) came past their partition's queue, the last {place}");
                return Err(Broken::Passing(text));
            }
            // Reported to the context already; what is about one partition comes out of its queue.
            Some(Err(error)) => {
                if let Some(text) = error.rdkafka_error_code().and_then(lasting_for_member).filter(|_| self.is_member) {
                    return Err(Broken::Lasting(text));
                }
            }
        }
        match self.consumer.client().fatal_error() {
            Some((code, text)) => Err(of_fatal(code, text)),
            None => Ok(None),
        }
    }

    /// What the client has counted, if it has since this was asked last; only with `monitoring.listen`.
    pub fn take_counted(&self) -> Option<ClientStatus> {
        self.consumer.context().take_counted()
    }

    /// Commits these offsets, and waits for the brokers. How long, is librdkafka's to say: up to `session.timeout.ms` until it
    /// knows the group's coordinator, and up to `socket.timeout.ms` for that one's answer. A worker that waits here is ended
    /// at the shutdown's deadline; whoever else calls it has to have that much time.
    pub fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Commit {
        if offsets.is_empty() {
            return Commit::Done(Vec::new());
        }
        let list = match list_at(offsets.iter().map(|(name, offset)| (name, offset))) {
            Ok(list) => list,
            Err(failure) => return Commit::Failed(failure.to_string()),
        };
        if self.is_member && self.consumer.assignment_lost() {
            // The group has put this member out: as nobody's, librdkafka's request would pass if the group were empty.
            return Commit::Refused("the group has dealt the partitions to others".to_owned());
        }
        let result = coordinator::ask(Instant::now() + COORDINATOR, || self.consumer.commit(&list, CommitMode::Sync));
        commit_of(result, &list).unwrap_or(Commit::Done(Vec::new()))
    }

    /// Commits all that was stored; waits as [`Reader::commit`] does.
    pub fn commit_all(&self) -> Commit {
        let stored = || self.consumer.commit_consumer_state(CommitMode::Sync);
        let result = coordinator::ask(Instant::now() + COORDINATOR, stored);
        // Nothing new is no failure: all of it is committed.
        commit_of(result, &TopicPartitionList::new()).unwrap_or(Commit::Done(Vec::new()))
    }

    /// What the group has committed.
    ///
    /// # Errors
    /// What the group's coordinator says, or nothing within `timeout`.
    pub fn committed(&self, partitions: &[TopicPartition], timeout: Duration) -> Result<Offsets, Failure> {
        let what = "the group's committed offsets could not be read";
        let answer = self.consumer.committed_offsets(list_of(partitions, Offset::Invalid)?, timeout);
        offsets_of(&answer.map_err(|error| Failure::request(what, &error))?, what)
    }

    /// The oldest offset of each that is still there, and the next one that will be written.
    ///
    /// # Errors
    /// What the brokers say, or nothing within `timeout`.
    pub fn bounds(&self, partitions: &[TopicPartition], timeout: Duration) -> Result<(Offsets, Offsets), Failure> {
        let what = "the partitions' offsets could not be read";
        let ask = |at| {
            let answer = self.consumer.offsets_for_times(list_of(partitions, at)?, timeout);
            offsets_of(&answer.map_err(|error| Failure::request(what, &error))?, what)
        };
        Ok((ask(Offset::Beginning)?, ask(Offset::End)?))
    }

    /// Gives the partitions back and ends the client. All streams have to be gone. A member with a static id that does
    /// not `leave` keeps its partitions in the group for its successor; one without always leaves. With KIP-848 librdkafka
    /// has no way for a static member to leave: the brokers hold its partitions until its session is over.
    ///
    /// Waits for the brokers; without them, for up to the session's timeout.
    pub fn close(self, leave: bool) {
        let client = &self.consumer;
        client.context().close();
        while let Some(rebalance) = client.context().next_rebalance() {
            // Ended with the client anyway; but the group waits for an answer, and the client for the group.
            let _logged_by_librdkafka = match rebalance {
                Rebalance::Dealt(_) => self.assign(&[]),
                Rebalance::Taken { partitions, .. } => self.unassign(&partitions),
            };
        }
        if !self.is_member {
            // Ended with the client anyway.
            let _unassigned = client.unassign();
        } else if leave || !self.is_static {
            // Its leave is sent a moment after it has no partitions any more, and not at all by a client that is being closed.
            let loses_id = self.is_classic && member::has_id(client);
            client.unsubscribe();
            let begun = Instant::now();
            let mut empty_since = None;
            while begun.elapsed() < LEAVE {
                let _nobody_asks = client.poll(LOOK);
                let is_empty = client.assignment().is_ok_and(|list| list.count() == 0);
                let since = *empty_since.get_or_insert_with(Instant::now);
                if !is_empty {
                    empty_since = None;
                } else if if loses_id { !member::has_id(client) } else { since.elapsed() >= LEAVES } {
                    break;
                }
            }
        }
    }

    /// Whether a stream still holds the client.
    pub fn in_use(&self) -> bool {
        Arc::strong_count(&self.consumer) > 1
    }
}

/// What a member hears of its group or its topics that waiting does not change.
fn lasting_for_member(code: RDKafkaErrorCode) -> Option<String> {
    let what_to_do = match code {
        RDKafkaErrorCode::GroupAuthorizationFailed => "allow this user to read with consumer.group",
        RDKafkaErrorCode::TopicAuthorizationFailed => "allow this user to read the topics of consumer.topics",
        RDKafkaErrorCode::InconsistentGroupProtocol => {
            "other members of consumer.group are no cooperative and sticky ones, or are kept by another \
             consumer.membership.protocol: stop them, or take another group"
        }
        RDKafkaErrorCode::InvalidSessionTimeout => {
            "the brokers allow another range (group.min.session.timeout.ms, group.max.session.timeout.ms): change \
             consumer.membership.session_timeout"
        }
        _ => return None,
    };
    Some(format!("{}; {what_to_do}", code_text(code)))
}

fn of_fatal(code: RDKafkaErrorCode, text: String) -> Broken {
    match code {
        RDKafkaErrorCode::UnreleasedInstanceId => Broken::IdTaken(text),
        RDKafkaErrorCode::FencedInstanceId => Broken::Lasting(format!(
            "{text}: a younger member has the same static id, and the group has put this one out; two supervisors have \
             one consumer.membership.host: give each its own, or set consumer.membership.fixed = false"
        )),
        RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature => Broken::Lasting(format!(
            "{text}: these brokers do not know consumer.membership.protocol = \"consumer\", which Kafka 4.0 has; take \
             \"classic\""
        )),
        _ => match lasting_for_member(code) {
            Some(text) => Broken::Lasting(text),
            None => Broken::Passing(text),
        },
    }
}
