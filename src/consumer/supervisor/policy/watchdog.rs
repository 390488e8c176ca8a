//! Which partitions stand still although there is something to read, and what is tried next.
//!
//! The ladder: a new Kafka client for the worker; a new worker; then the last resort. A message that is in processing for
//! too long goes straight to the second rung: no new client helps a handler that hangs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consumer::control::{InFlight, PartitionProgress};
use crate::kafka::offsets::Offsets;
use crate::record::TopicPartition;
use crate::settings::Consumer;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Watchdog {
    /// Zero: nothing is ever stuck.
    timeout: Duration,
    /// Workers wait for grants: a partition without a message in hand may stand still.
    limited: bool,
    /// When the output was last full: a message in processing that waits for it does not hang.
    output_full: Option<Duration>,
    /// When nothing moved because of that.
    all_waited: Option<Duration>,
    /// What is to be read to an end only, whoever has it.
    untils: Offsets,
    watched: BTreeMap<TopicPartition, Watched>,
}

#[derive(Clone, Debug)]
struct Watched {
    next: i64,
    end: i64,
    until: Option<i64>,
    /// As [`PartitionProgress::read_up_to`]; 0 if that is not known.
    read_up_to: i64,
    in_flight: Option<(InFlight, Duration)>,
    /// When it last moved, or had an excuse.
    moved: Duration,
    rung: Rung,
    was_moved: bool,
    /// How far it was behind when it last stood still and nothing helped. It is left alone each time that it stands still so
    /// far behind: with a group, this is what the marks of a transaction at the end of a log look like.
    left_alone_at: Option<i64>,
}

/// What was tried since it last moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rung {
    Nothing,
    Rebuilt,
    Restarted,
    /// Nothing more is tried.
    LeftAlone,
}

/// What to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// A new client.
    Rebuild(String),
    /// A new worker.
    Restart(String),
    /// A new worker: this message does not end.
    Hung {
        offset: i64,
        age: Duration,
    },
    LastResort(String),
}

impl Watched {
    /// How many messages may be there to be read.
    fn behind(&self) -> i64 {
        let to = self.until.map_or(self.end, |until| until.min(self.end));
        to - self.next.max(self.read_up_to)
    }

    fn is_left_alone(&self) -> bool {
        self.left_alone_at == Some(self.behind())
    }

    /// The message in processing, and for how long it has been: what its worker has told, and the time since; not more than
    /// `most`.
    fn age(&self, now: Duration, most: Duration) -> Option<(i64, Duration)> {
        let (InFlight { offset, age_ms }, heard) = self.in_flight?;
        Some((offset, most.min(Duration::from_millis(age_ms) + now.saturating_sub(heard))))
    }
}

impl Watchdog {
    pub(super) fn new(rules: &Consumer) -> Self {
        let (timeout, limited) = (rules.watchdog.stall_timeout, rules.max_messages > 0);
        Self { timeout, limited, ..Self::default() }
    }

    pub(super) fn watch(&mut self, partition: &TopicPartition, now: Duration) {
        self.watched.entry(partition.clone()).or_insert(Watched {
            next: 0,
            end: 0,
            until: self.untils.get(partition).copied(),
            read_up_to: 0,
            in_flight: None,
            moved: now,
            rung: Rung::Nothing,
            was_moved: false,
            left_alone_at: None,
        });
    }

    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.watched.remove(partition);
    }

    /// Whatever time has passed was not its own.
    pub(super) fn excuse(&mut self, partition: &TopicPartition, now: Duration) {
        if let Some(watched) = self.watched.get_mut(partition) {
            (watched.moved, watched.in_flight) = (now, None);
        }
    }

    /// It is going to another worker.
    pub(super) fn moving(&mut self, partition: &TopicPartition, now: Duration) {
        self.excuse(partition, now);
        if let Some(watched) = self.watched.get_mut(partition) {
            watched.was_moved = true;
        }
    }

    /// Nothing more is tried until it moves; and after that not when it stands still as far behind as now.
    pub(super) fn leave_alone(&mut self, partition: &TopicPartition) {
        if let Some(watched) = self.watched.get_mut(partition) {
            (watched.left_alone_at, watched.rung) = (Some(watched.behind()), Rung::LeftAlone);
        }
    }

    /// Whether nothing more is tried where it stands.
    pub(super) fn is_left_alone(&self, partition: &TopicPartition) -> bool {
        self.watched.get(partition).is_some_and(Watched::is_left_alone)
    }

    pub(super) fn was_moved(&self, partition: &TopicPartition) -> bool {
        self.watched.get(partition).is_some_and(|watched| watched.was_moved)
    }

    /// What its worker tells.
    pub(super) fn progress(&mut self, progress: &PartitionProgress, now: Duration) {
        let Some(watched) = self.watched.get_mut(&progress.partition) else { return };
        if watched.next != progress.next {
            watched.next = progress.next;
            (watched.moved, watched.rung, watched.was_moved) = (now, Rung::Nothing, false);
        }
        if progress.retrying || progress.waits_for_turn {
            watched.moved = now;
        }
        watched.read_up_to = progress.read_up_to.unwrap_or(0);
        watched.in_flight = progress.in_flight.filter(|_| !progress.retrying).map(|in_flight| (in_flight, now));
    }

    /// What the brokers tell; without an answer nobody can be blamed for standing still.
    pub(super) fn ends(&mut self, ends: Option<&Offsets>, now: Duration) {
        for (partition, watched) in &mut self.watched {
            match ends.and_then(|ends| ends.get(partition)) {
                Some(end) => {
                    if *end > watched.end.max(watched.next) && watched.next.max(watched.read_up_to) >= watched.end {
                        // Only now is there something to read.
                        watched.moved = now;
                    }
                    watched.end = *end;
                }
                None => watched.moved = now,
            }
        }
    }

    pub(super) fn until(&mut self, ends: &Offsets) {
        self.untils.extend(ends.iter().map(|(partition, end)| (partition.clone(), *end)));
        for (partition, end) in ends {
            if let Some(watched) = self.watched.get_mut(partition) {
                watched.until = Some(*end);
            }
        }
    }

    /// The output takes nothing now; `still`: and no message moves.
    pub(super) fn output_full(&mut self, still: bool, now: Duration) {
        self.output_full = Some(now);
        if still {
            self.all_waited = Some(now);
        }
    }

    /// For how long the message that is longest in processing has been, of these partitions.
    pub(super) fn busy(&self, partitions: &[TopicPartition], now: Duration) -> Duration {
        let longest = since(self.output_full, now);
        let ages = partitions.iter().filter_map(|partition| self.watched.get(partition)?.age(now, longest));
        ages.map(|(_, age)| age).max().unwrap_or_default()
    }

    /// What has to be done for it now, if anything; the next rung is due after as long again. `busy`: see
    /// [`Self::busy`], of all partitions of its worker.
    pub(super) fn look(&mut self, partition: &TopicPartition, busy: Duration, now: Duration) -> Option<Remedy> {
        let (timeout, limited) = (self.timeout, self.limited);
        let (longest, longest_still) = (since(self.output_full, now), since(self.all_waited, now));
        let watched = self.watched.get_mut(partition).filter(|_| !timeout.is_zero())?;
        if let Some((offset, age)) = watched.age(now, longest) {
            return (age >= timeout).then_some(Remedy::Hung { offset, age });
        }
        let still = longest_still.min(now.saturating_sub(watched.moved));
        let behind = watched.behind();
        // A handler that holds up its worker's other partitions is the one to blame.
        let is_held_up = busy * 2 >= still;
        if limited || behind <= 0 || still < timeout || is_held_up || watched.is_left_alone() {
            return None;
        }
        let text = format!(
            "{behind} messages behind, and has stood still at {} for {still:.1?} (consumer.watchdog.stall_timeout)",
            watched.next
        );
        watched.moved = now;
        let (remedy, rung) = match watched.rung {
            Rung::Nothing => (Remedy::Rebuild(text), Rung::Rebuilt),
            Rung::Rebuilt => (Remedy::Restart(text), Rung::Restarted),
            Rung::Restarted => (Remedy::LastResort(text), Rung::Restarted),
            Rung::LeftAlone => return None,
        };
        watched.rung = rung;
        Some(remedy)
    }
}

/// The longest time for which anything can have stood still by its own fault.
fn since(excused: Option<Duration>, now: Duration) -> Duration {
    excused.map_or(Duration::MAX, |at| now.saturating_sub(at))
}
