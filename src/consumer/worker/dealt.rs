//! What the group wants of a worker, and what the brokers say of its partitions' offsets. On the `kafka-poll` thread.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use slog::warn;

use super::holding::Holding;
use super::messages::{Event, Opened};
use super::start::{self, Begin, Known};
use crate::consumer::control::StartPartition;
use crate::kafka::error::Failure;
use crate::kafka::offsets::Offsets;
use crate::kafka::reader::{Broken, Reader, Rebalance};
use crate::record::TopicPartition;

/// Between two questions for offsets that have failed.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// The first and the longest pause before a client is made again whose static id the brokers have not released.
const ID_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long they may take for it: twice Kafka's own default of `group.consumer.session.timeout.ms`, and something more.
const ID_RELEASED: Duration = Duration::from_secs(120);

impl Holding {
    /// Serves the client.
    pub(super) fn poll(&mut self, timeout: Duration) {
        let Some(reader) = &self.reader else {
            self.try_id_again();
            return;
        };
        let polled = reader.poll(timeout);
        if let Some(counted) = reader.take_counted() {
            self.work.events.do_send(Event::Counted(counted));
        }
        match polled {
            Ok(None) => {}
            Ok(Some(Rebalance::Dealt(partitions))) => self.dealt(partitions),
            Ok(Some(Rebalance::Taken { partitions, lost })) => self.give_back(partitions, lost),
            Err(Broken::Lasting(reason)) => self.cannot(reason, true),
            Err(Broken::Passing(reason)) => self.cannot(reason, false),
            Err(Broken::IdTaken(reason)) => self.wait_for_id(&reason),
        }
        self.mend_commits();
    }

    fn dealt(&mut self, partitions: Vec<TopicPartition>) {
        let starts = self.starts(&partitions);
        let taken = starts.and_then(|starts| {
            self.take(&starts, Opened::Added).map_err(|failure| (failure.to_string(), false))?;
            self.id_taken = None;
            Ok(())
        });
        let Err((reason, lasting)) = taken else { return };
        // The group waits for an answer, whatever becomes of this worker.
        if let Some(Err(failure)) = self.reader.as_ref().map(|reader| reader.assign(&[])) {
            warn!(self.work.logger, "{failure}");
        }
        self.cannot(reason, lasting);
    }

    /// Where each begins; or why not, and whether that lasts.
    fn starts(&self, partitions: &[TopicPartition]) -> Result<Vec<StartPartition>, (String, bool)> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let asked = |reader: &Reader, timeout| {
            let committed = reader.committed(partitions, timeout)?;
            // What is committed needs no leader that answers now; that it is not in the log any more is told with the first
            // fetch.
            let new: Vec<_> = partitions.iter().filter(|name| !committed.contains_key(name)).cloned().collect();
            let bounds =
                if new.is_empty() { (Offsets::new(), Offsets::new()) } else { reader.bounds(&new, timeout)? };
            Ok((committed, bounds))
        };
        let (committed, (beginnings, ends)) = self.ask(asked).map_err(|failure| (failure.to_string(), false))?;
        let consumer = &self.work.start.settings.consumer;
        let start = |name: &TopicPartition| {
            let (beginning, end) = (beginnings.get(name).copied().unwrap_or(0), ends.get(name).copied().unwrap_or(0));
            let new = || start::without_commit(consumer, Known { beginning, end });
            let start = committed.get(name).copied().unwrap_or_else(new);
            StartPartition { partition: name.clone(), start, until: None }
        };
        Ok(partitions.iter().map(start).collect())
    }

    /// Asks until there is an answer, or the time for a rebalance is over, or the worker ends.
    fn ask<T>(&self, question: impl Fn(&Reader, Duration) -> Result<T, Failure>) -> Result<T, Failure> {
        let settings = &self.work.start.settings;
        let (begun, deadline) = (Instant::now(), settings.consumer.membership.revoke_deadline);
        loop {
            let Some(reader) = &self.reader else {
                return Err(Failure::Request { what: "offsets".to_owned(), reason: "there is no client".to_owned() });
            };
            let left = deadline.saturating_sub(begun.elapsed()).max(ASK_AGAIN);
            let answer = question(reader, left.min(settings.kafka.connect_timeout));
            let over = begun.elapsed() >= deadline || self.work.stopping.load(Ordering::Acquire);
            if answer.is_ok() || over {
                return answer;
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn say(&self, name: &TopicPartition, begin: Begin) -> Result<i64, (String, bool)> {
        match begin {
            Begin::At(offset) => Ok(offset),
            Begin::Jump(offset, text) => {
                warn!(self.work.logger, "{name}: {text}"; "topic" => &name.topic, "partition" => name.partition);
                Ok(offset)
            }
            Begin::Nowhere(text) => Err((format!("{name}: {text}"), true)),
        }
    }

    /// The offset that is to be read next is not in the log: goes on where the settings want it.
    pub(super) fn find_again(&mut self, name: TopicPartition, offset: i64) {
        // Given back meanwhile, or moved: then it is not to be read there any more.
        if self.held().get(&name).is_none_or(|counters| counters.next() != offset) {
            return;
        }
        let these = [name.clone()];
        let policy = self.work.start.settings.consumer.offset_out_of_range;
        if self.work.stopping.load(Ordering::Acquire) {
            // The next start finds the same, and the last commit is not to wait for it.
            return;
        }
        let found =
            self.ask(|reader, timeout| reader.bounds(&these, timeout)).map_err(|failure| (failure.to_string(), false));
        let found = found.and_then(|(beginnings, ends)| {
            let known = Known {
                beginning: beginnings.get(&name).copied().unwrap_or(0),
                end: ends.get(&name).copied().unwrap_or(0),
            };
            self.say(&name, start::wanted(policy, offset, known))
        });
        let at = match found {
            Ok(at) => at,
            Err((reason, lasting)) => return self.cannot(reason, lasting),
        };
        if !self.shut(&these, false) {
            return;
        }
        // A commit that fails here is made good by the next one.
        let _also_tried_later = self.commit_these(&these);
        let given_back = self.reader.as_ref().map_or(Ok(()), |reader| reader.unassign(&these));
        if let Some(counters) = self.held().get(&name) {
            // Also if no message follows: what is missing is not to be found missing again.
            counters.move_to(at);
            counters.stored(at);
        }
        let start = StartPartition { partition: name, start: at, until: None };
        if let Err(failure) = given_back.and_then(|()| self.take(&[start], Opened::Again)) {
            self.cannot(failure.to_string(), false);
        }
    }

    /// The dead member of this id has to be forgotten by the brokers first.
    fn wait_for_id(&mut self, reason: &str) {
        let now = Instant::now();
        let (first, longest) = ID_PAUSES;
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
            self.cannot(
                format!(
                    "{reason}: the member with this worker's static id lives on for more than {ID_RELEASED:?}; two \
                     supervisors have one consumer.membership.host: give each its own, or set \
                     consumer.membership.fixed = false"
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
            && let Err(failure) = self.connect(&[], Opened::Again)
        {
            self.cannot(failure.to_string(), false);
        }
    }
}
