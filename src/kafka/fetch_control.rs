//! Pauses and resumes fetching per partition as [`super::fetch_budget`] decides.
//!
//! librdkafka drops the queued messages of a paused partition and resumes at its own position, which may be one
//! message too far (librdkafka#4844). So a paused partition is sought at once to the position after the last message
//! taken out of its queue: the dropped messages are fetched again, and none is skipped or repeated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::consumer_context::ConsumerContext;
use super::error::{KafkaError, code_text};
use super::fetch_budget::{FetchLimits, QueueState};
use super::ffi::batch_consume::BatchLock;
use super::ffi::queue::FetchQueue;
use super::offsets::{list_at, list_of};
use crate::record::TopicPartition;

/// The timeout of a seek, which librdkafka's own thread executes.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);
/// If nothing is consumed for this time although partitions are paused, one of them resumes: the queued messages may
/// belong to partitions that wait for something else.
const STARVED: Duration = Duration::from_secs(5);

/// How long after the last consumed message the client counts as active.
const ACTIVE: Duration = Duration::from_secs(2);

type Client = BaseConsumer<ConsumerContext>;

/// The fetch state of a partition, shared with its queue.
pub(super) struct FetchState {
    partition: TopicPartition,
    pub(super) queue: Arc<FetchQueue<ConsumerContext>>,
    /// The position after the last message taken out of the queue; negative before assignment.
    pub(super) position: Arc<AtomicI64>,
    /// The mean size of the last consumed messages; 0 before the first.
    mean_bytes: AtomicU64,
    is_done: AtomicBool,
}

impl FetchState {
    pub(super) fn new(partition: &TopicPartition, queue: FetchQueue<ConsumerContext>) -> Self {
        let (partition, queue) = (partition.clone(), Arc::new(queue));
        Self {
            partition,
            queue,
            position: Arc::new(AtomicI64::new(-1)),
            mean_bytes: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
        }
    }

    /// Records consumed messages and their bytes.
    pub(super) fn read(&self, messages: usize, bytes: usize) {
        if let Some(mean) = bytes.checked_div(messages) {
            self.mean_bytes.store(mean.max(1) as u64, Ordering::Relaxed);
        }
    }

    /// Marks the partition as finished.
    pub(super) fn end(&self) {
        self.is_done.store(true, Ordering::Relaxed);
    }

    fn queue_state(&self, paused: Option<u64>) -> QueueState {
        let mean_bytes = Some(self.mean_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0);
        let is_done = self.is_done.load(Ordering::Relaxed);
        QueueState { messages: self.queue.len() as u64, is_done, mean_bytes, paused }
    }
}

/// See the [module documentation](self).
pub(super) struct Fetching {
    limits: FetchLimits,
    states: Vec<Weak<FetchState>>,
    /// The paused partitions with the sequence numbers of their pauses.
    paused: BTreeMap<TopicPartition, u64>,
    pauses: u64,
    /// The sum of all positions and the time of its last change.
    read: (i64, Instant),
    /// The time of the last pause or resume.
    changed: Instant,
}

/// The changes made by [`Fetching::balance`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// The partitions that were paused.
    pub paused: Vec<TopicPartition>,
    /// The partitions that were resumed.
    pub resumed: Vec<TopicPartition>,
    /// The queues must be checked again within milliseconds.
    pub is_tight: bool,
}

impl Fetching {
    pub(super) fn new(limits: FetchLimits) -> Self {
        let now = Instant::now();
        Self { limits, states: Vec::new(), paused: BTreeMap::new(), pauses: 0, read: (0, now), changed: now }
    }

    /// Adds a partition that will be assigned.
    pub(super) fn add(&mut self, state: &Arc<FetchState>) {
        self.states.retain(|known| known.strong_count() > 0);
        self.states.push(Arc::downgrade(state));
    }

    /// Sets the start offsets of newly assigned partitions.
    pub(super) fn begin(&mut self, starts: &[(TopicPartition, i64)]) {
        let starts: BTreeMap<_, _> = starts.iter().map(|(name, offset)| (name, *offset)).collect();
        for state in self.states.iter().filter_map(Weak::upgrade) {
            if let Some(offset) = starts.get(&state.partition) {
                state.position.store(*offset, Ordering::Relaxed);
            }
        }
    }

    /// Removes unassigned partitions; librdkafka would keep them paused if they were assigned again.
    pub(super) fn forget(&mut self, client: &Client, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let paused: Vec<_> = partitions.iter().filter(|name| self.paused.remove(*name).is_some()).cloned().collect();
        resume(client, &paused)
    }

    /// Checks all queues; pauses and resumes partitions as needed.
    pub(super) fn balance(&mut self, client: &Client, turn: &BatchLock) -> Result<FetchReport, KafkaError> {
        let (states, now): (Vec<_>, _) = (self.states.iter().filter_map(Weak::upgrade).collect(), Instant::now());
        let paused = |state: &Arc<FetchState>| self.paused.get(&state.partition).copied();
        let seen: Vec<_> = states.iter().map(|state| state.queue_state(paused(state))).collect();
        let mut change = self.limits.decide(&seen);
        let positions = states.iter().map(|state| state.position.load(Ordering::Relaxed)).sum();
        if positions != self.read.0 {
            self.read = (positions, now);
        }
        if change.resume.is_empty() && now.duration_since(self.read.1.max(self.changed)) >= STARVED {
            let first = (0..seen.len())
                .filter(|at| seen[*at].paused.is_some() && !seen[*at].is_done)
                .min_by_key(|at| seen[*at].paused);
            change.resume.extend(first);
        }
        let was_active = now.duration_since(self.read.1) < ACTIVE;
        let is_tight = change.is_tight || (was_active && self.limits.is_exceeded_soon(states.len()));
        let names = |list: &[usize]| list.iter().map(|at| states[*at].partition.clone()).collect::<Vec<_>>();
        let resumed = names(&change.resume);
        resume(client, &resumed)?;
        resumed.iter().for_each(|name| _ = self.paused.remove(name));
        let to_pause: Vec<_> = change.pause.iter().map(|at| Arc::clone(&states[*at])).collect();
        let paused = pause(client, turn, &to_pause)?;
        for name in &paused {
            self.pauses += 1;
            self.paused.insert(name.clone(), self.pauses);
        }
        if !(paused.is_empty() && resumed.is_empty()) {
            self.changed = now;
        }
        Ok(FetchReport { paused, resumed, is_tight })
    }
}

fn resume(client: &Client, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
    if partitions.is_empty() {
        return Ok(());
    }
    let list = list_of(partitions, Offset::Invalid)?;
    client.resume(&list).map_err(|error| KafkaError::request("fetching could not be resumed", &error))
}

/// Pauses the partitions whose position is known, and returns them.
fn pause(client: &Client, turn: &BatchLock, states: &[Arc<FetchState>]) -> Result<Vec<TopicPartition>, KafkaError> {
    // No message may be taken out of a queue meanwhile.
    let _guard = turn.lock().unwrap_or_else(PoisonError::into_inner);
    let position = |state: &Arc<FetchState>| state.position.load(Ordering::Relaxed);
    let known: Vec<_> = states.iter().filter(|state| position(state) >= 0).collect();
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let list = list_at(
        known
            .iter()
            .map(|state| (&state.partition, position(state)))
            .collect::<Vec<_>>()
            .iter()
            .map(|(partition, offset)| (*partition, offset)),
    )?;
    let what = "fetching could not be paused";
    client.pause(&list).map_err(|error| KafkaError::request(what, &error))?;
    let sought = client.seek_partitions(list, SEEK_TIMEOUT).map_err(|error| KafkaError::request(what, &error))?;
    for element in sought.elements() {
        if let Err(error) = element.error() {
            let reason = error.rdkafka_error_code().map_or_else(|| error.to_string(), code_text);
            let what = format!("{what}: {}/{}", element.topic(), element.partition());
            return Err(KafkaError::Request { what, reason });
        }
    }
    Ok(known.into_iter().map(|state| state.partition.clone()).collect())
}
