//! Detects partitions that are stalled although there are messages to consume, and escalates.
//!
//! The first remedy is a new process for the worker, which also has a new Kafka client; the second one is the
//! last resort. A message that is in processing for too long always gets a new process as the remedy: another
//! worker does not help a handler that hangs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consumer::protocol::{InFlight, PartitionProgress};
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::settings::Consumer;

/// How often partitions are checked. There may be thousands of partitions; a stall is detected later by at most
/// this time.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Detects stalled partitions: see the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Watchdog {
    /// The stall timeout; zero disables the check.
    timeout: Duration,
    /// The run ends after `max_messages`: a partition may wait until the messages that others have in flight are
    /// handled.
    limited: bool,
    /// When stdout or stderr last blocked: a message in processing that waits for it does not hang.
    output_blocked_at: Option<Duration>,
    /// When nothing moved because of that.
    stalled_at: Option<Duration>,
    /// The stop offsets of partitions, whichever worker owns them.
    stop_offsets: Offsets,
    watched: BTreeMap<TopicPartition, WatchedPartition>,
    /// When partitions were last checked.
    checked_at: Duration,
}

#[derive(Clone, Debug)]
struct WatchedPartition {
    next: i64,
    end: i64,
    until: Option<i64>,
    in_flight: Option<(InFlight, Duration)>,
    /// When the position last moved or the timer was reset. It lies in the future while the partition is
    /// throttled.
    moved: Duration,
    level: EscalationLevel,
    was_moved: bool,
}

/// The remedy that was tried since the position last moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EscalationLevel {
    Nothing,
    Restarted,
    /// No further remedy is tried.
    LeftAlone,
}

/// The remedy to try next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remediation {
    /// Restart the worker.
    Restart(String),
    /// Restart the worker: the handler of this message hangs.
    Hung {
        offset: i64,
        age: Duration,
    },
    LastResort(String),
}

impl WatchedPartition {
    /// The number of offsets up to the high watermark, or to the stop offset if that is lower.
    fn behind(&self) -> i64 {
        let to = self.until.map_or(self.end, |until| until.min(self.end));
        to.saturating_sub(self.next)
    }

    /// The message in processing and its age: the age that its worker has reported plus the time since, but at
    /// most `most`.
    fn age(&self, now: Duration, most: Duration) -> Option<(i64, Duration)> {
        let (InFlight { offset, age_ms }, reported_at) = self.in_flight?;
        Some((offset, most.min(Duration::from_millis(age_ms) + now.saturating_sub(reported_at))))
    }
}

impl Watchdog {
    pub(super) fn new(rules: &Consumer) -> Self {
        let (timeout, limited) = (rules.watchdog.stall_timeout, rules.max_messages > 0);
        Self { timeout, limited, ..Self::default() }
    }

    pub(super) fn watch(&mut self, partition: &TopicPartition, now: Duration) {
        self.watched.entry(partition.clone()).or_insert(WatchedPartition {
            next: 0,
            end: 0,
            until: self.stop_offsets.get(partition).copied(),
            in_flight: None,
            moved: now,
            level: EscalationLevel::Nothing,
            was_moved: false,
        });
    }

    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.watched.remove(partition);
    }

    /// Resets the stall timer: the time that has passed does not count.
    pub(super) fn reset_timer(&mut self, partition: &TopicPartition, now: Duration) {
        if let Some(watched) = self.watched.get_mut(partition) {
            (watched.moved, watched.in_flight) = (now, None);
        }
    }

    /// The partition receives nothing until then. A message in processing does not wait for that.
    pub(super) fn on_throttled(&mut self, partition: &TopicPartition, until: Duration) {
        if let Some(watched) = self.watched.get_mut(partition) {
            watched.moved = watched.moved.max(until);
        }
    }

    /// The partition is moving to another worker.
    pub(super) fn on_move(&mut self, partition: &TopicPartition, now: Duration) {
        self.reset_timer(partition, now);
        if let Some(watched) = self.watched.get_mut(partition) {
            watched.was_moved = true;
        }
    }

    /// Tries no further remedy until the position moves.
    pub(super) fn leave_alone(&mut self, partition: &TopicPartition) {
        if let Some(watched) = self.watched.get_mut(partition) {
            watched.level = EscalationLevel::LeftAlone;
        }
    }

    pub(super) fn was_moved(&self, partition: &TopicPartition) -> bool {
        self.watched.get(partition).is_some_and(|watched| watched.was_moved)
    }

    /// Records the progress that a worker has reported.
    pub(super) fn on_progress(&mut self, progress: &PartitionProgress, now: Duration) {
        let Some(watched) = self.watched.get_mut(&progress.partition) else { return };
        if watched.next != progress.next {
            watched.next = progress.next;
            (watched.moved, watched.level, watched.was_moved) = (now, EscalationLevel::Nothing, false);
        }
        if progress.retrying || progress.waits_for_turn {
            watched.moved = now;
        }
        watched.in_flight = progress.in_flight.filter(|_| !progress.retrying).map(|in_flight| (in_flight, now));
    }

    /// Records the high watermarks. Without a reply of the brokers no partition counts as stalled.
    pub(super) fn on_watermarks(&mut self, ends: Option<&Offsets>, now: Duration) {
        for (partition, watched) in &mut self.watched {
            match ends.and_then(|ends| ends.get(partition)) {
                Some(end) => {
                    if *end > watched.end.max(watched.next) && watched.next >= watched.end {
                        // Messages are available only from now on.
                        watched.moved = now;
                    }
                    watched.end = *end;
                }
                None => watched.moved = now,
            }
        }
    }

    pub(super) fn set_stop_offsets(&mut self, ends: &Offsets) {
        self.stop_offsets.extend(ends.iter().map(|(partition, end)| (partition.clone(), *end)));
        for (partition, end) in ends {
            if let Some(watched) = self.watched.get_mut(partition) {
                watched.until = Some(*end);
            }
        }
    }

    /// Records that writes to stdout or stderr block; `stalled`: no message moves either.
    pub(super) fn on_output_blocked(&mut self, stalled: bool, now: Duration) {
        self.output_blocked_at = Some(now);
        if stalled {
            self.stalled_at = Some(now);
        }
    }

    /// Whether the partitions are to be checked again; if so, the next check is due after an interval.
    pub(super) fn is_check_due(&mut self, now: Duration) -> bool {
        let is_due = now.saturating_sub(self.checked_at) >= CHECK_INTERVAL;
        if is_due {
            self.checked_at = now;
        }
        is_due
    }

    /// The age of the message that has been in processing for longest in these partitions.
    pub(super) fn busy(&self, partitions: &[TopicPartition], now: Duration) -> Duration {
        let longest = since(self.output_blocked_at, now);
        let ages = partitions.iter().filter_map(|partition| self.watched.get(partition)?.age(now, longest));
        ages.map(|(_, age)| age).max().unwrap_or_default()
    }

    /// Returns the remedy that is due for the partition, if any; the next one is due after the same time again.
    /// `busy`: see [`Self::busy`], for all partitions of its worker.
    pub(super) fn check(&mut self, partition: &TopicPartition, busy: Duration, now: Duration) -> Option<Remediation> {
        let (timeout, limited) = (self.timeout, self.limited);
        let (longest, longest_still) = (since(self.output_blocked_at, now), since(self.stalled_at, now));
        let watched = self.watched.get_mut(partition).filter(|_| !timeout.is_zero())?;
        if let Some((offset, age)) = watched.age(now, longest) {
            return (age >= timeout).then_some(Remediation::Hung { offset, age });
        }
        let still = longest_still.min(now.saturating_sub(watched.moved));
        let behind = watched.behind();
        // The handler that blocks the other partitions of its worker is the cause.
        let is_held_up = busy * 2 >= still;
        if limited || behind <= 0 || still < timeout || is_held_up {
            return None;
        }
        let text = format!(
            "{behind} messages behind, and has stood still at {} for {still:.1?} (consumer.watchdog.stall_timeout)",
            watched.next
        );
        watched.moved = now;
        let (remedy, level) = match watched.level {
            EscalationLevel::Nothing => (Remediation::Restart(text), EscalationLevel::Restarted),
            EscalationLevel::Restarted => (Remediation::LastResort(text), EscalationLevel::Restarted),
            EscalationLevel::LeftAlone => return None,
        };
        watched.level = level;
        Some(remedy)
    }
}

/// The longest time for which a stall can count, given the last reset.
fn since(excused: Option<Duration>, now: Duration) -> Duration {
    excused.map_or(Duration::MAX, |at| now.saturating_sub(at))
}
