//! A status as rows of text. Pure.

use std::cmp::Reverse;
use std::ops::Range;

use super::rates::{Counted, Rates};
use super::state::{Pane, Sort, State};
use super::table::{Column, Mood, Row, Table};
use crate::figures::{bytes, count, per_second, seconds};
use crate::monitoring::status::{Event, EventLevel, PartitionStatus, ThreadStatus, WorkerState, WorkerStatus};

/// Columns that are known when two statuses were told.
pub(super) const DIFFERENCES: &[&str] = &["RATE", "CPU"];

const WORKERS: &[Column] = &[
    Column::number("SLOT", 4, 0),
    Column::text("STATE", 11, 0),
    Column::number("PID", 7, 4),
    Column::number("UP", 7, 6),
    Column::number("RSS", 8, 5),
    Column::number("CPU", 5, 3),
    Column::number("PROCESSED", 11, 2),
    Column::number("RATE", 9, 1),
    Column::number("RESTARTS", 8, 2),
    Column::number("PARTITIONS", 10, 6),
    Column::rest("LAST DEATH", 7),
];
const PARTITIONS: &[Column] = &[
    Column::text("PARTITION", 12, 0),
    Column::number("WORKER", 6, 4),
    Column::number("NEXT", 9, 5),
    Column::number("COMMITTED", 9, 6),
    Column::number("END", 9, 6),
    Column::number("LAG", 9, 0),
    Column::number("RATE", 9, 1),
    Column::number("IN FLIGHT", 9, 3),
    Column::rest("STATE", 2),
];
const THREADS: &[Column] = &[
    Column::number("THREAD", 6, 0),
    Column::number("SENT", 11, 3),
    Column::number("ACKNOWLEDGED", 12, 0),
    Column::number("OF", 11, 2),
    Column::number("RATE", 9, 1),
    Column::number("FAILED", 6, 2),
    Column::number("QUEUED", 9, 4),
    Column::number("ROUND TRIP", 10, 5),
];
const EVENTS: &[Column] = &[
    Column::text("UTC", 8, 2),
    Column::text("LEVEL", 7, 1),
    Column::text("KIND", 10, 3),
    Column::number("WORKER", 6, 4),
    Column::rest("EVENT", 0),
];

/// These lines of a pane.
pub(super) fn table(state: &State, pane: Pane, lines: Range<usize>) -> Table {
    let (consume, produce) = match &state.status {
        Some(status) => (status.consume.as_ref(), status.produce.as_ref()),
        None => (None, None),
    };
    match pane {
        Pane::Workers => {
            let workers = consume.map_or(&[][..], |consume| &consume.workers);
            Table { columns: WORKERS, rows: part(workers, lines).map(|it| worker(it, &state.rates)).collect() }
        }
        Pane::Partitions => {
            let mut sorted: Vec<_> = consume.map_or(&[][..], |consume| &consume.partitions).iter().collect();
            let name = |it: &PartitionStatus| (it.topic.clone(), it.partition);
            match state.sort {
                Sort::Name => sorted.sort_by_cached_key(|it| name(it)),
                Sort::Lag => sorted.sort_by_cached_key(|it| (Reverse(it.lag), name(it))),
            }
            Table { columns: PARTITIONS, rows: part(&sorted, lines).map(|it| partition(it, &state.rates)).collect() }
        }
        Pane::Threads => {
            let threads = produce.map_or(&[][..], |produce| &produce.threads);
            Table { columns: THREADS, rows: part(threads, lines).map(|it| thread(it, &state.rates)).collect() }
        }
        Pane::Events => {
            let events = state.status.as_ref().map_or(&[][..], |status| &status.events);
            let newest_first: Vec<_> = events.iter().rev().collect();
            Table { columns: EVENTS, rows: part(&newest_first, lines).map(|it| event(it)).collect() }
        }
    }
}

fn part<T>(all: &[T], lines: Range<usize>) -> impl Iterator<Item = &T> {
    all.iter().skip(lines.start).take(lines.len())
}

fn or_dash<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// What a worker does, in a word or two.
fn word(state: WorkerState) -> (Mood, &'static str) {
    match state {
        WorkerState::Starting => (Mood::Warning, "starting"),
        WorkerState::Reading => (Mood::Well, "reading"),
        WorkerState::StandingBy => (Mood::Faint, "standing by"),
        WorkerState::Ending => (Mood::Warning, "ending"),
        WorkerState::Waiting => (Mood::Bad, "waiting"),
        WorkerState::Parked => (Mood::Bad, "parked"),
        WorkerState::Removed => (Mood::Faint, "removed"),
        WorkerState::Ended => (Mood::Faint, "ended"),
    }
}

fn worker(worker: &WorkerStatus, rates: &Rates) -> Row {
    let (mood, word) = word(worker.state);
    let cells = vec![
        worker.slot.to_string(),
        word.to_owned(),
        or_dash(worker.pid, |pid| pid.to_string()),
        or_dash(worker.uptime_seconds, seconds),
        or_dash(worker.resident_bytes, bytes),
        or_dash(rates.of(&Counted::Cpu(worker.slot)), |cores| format!("{:.0}%", cores * 100.0)),
        count(worker.processed),
        or_dash(rates.of(&Counted::Worker(worker.slot)), per_second),
        count(worker.restarts),
        worker.partitions.to_string(),
        worker.last_death.clone().unwrap_or_default(),
    ];
    (mood, cells)
}

fn partition(partition: &PartitionStatus, rates: &Rates) -> Row {
    let (mood, doing) = doing(partition);
    let counted = Counted::Partition(partition.topic.clone(), partition.partition);
    let in_flight = partition.in_flight.as_ref();
    let cells = vec![
        format!("{}/{}", partition.topic, partition.partition),
        or_dash(partition.worker, |slot| slot.to_string()),
        partition.next.to_string(),
        or_dash(partition.committed, |offset| offset.to_string()),
        partition.end.to_string(),
        count(partition.lag),
        or_dash(rates.of(&counted), per_second),
        or_dash(in_flight, |message| format!("{} for {}", message.offset, seconds(message.age_seconds))),
        doing,
    ];
    (mood, cells)
}

fn doing(partition: &PartitionStatus) -> (Mood, String) {
    let still = partition.still_seconds;
    if let Some(reason) = &partition.stopped {
        return (Mood::Bad, format!("stopped: {reason}"));
    }
    match partition.worker {
        None => (Mood::Warning, "read by nobody here".to_owned()),
        Some(_) if partition.retrying => (Mood::Warning, "tries again".to_owned()),
        Some(_) if still >= 1.0 => (Mood::Warning, format!("still for {}", seconds(still))),
        Some(_) if partition.lag == 0 => (Mood::Plain, "at the end".to_owned()),
        Some(_) => (Mood::Well, "reading".to_owned()),
    }
}

fn thread(thread: &ThreadStatus, rates: &Rates) -> Row {
    let client = thread.client.as_ref();
    let slowest = client
        .and_then(|client| client.brokers.iter().map(|broker| broker.round_trip_mean_seconds).max_by(f64::total_cmp));
    let cells = vec![
        thread.producer.to_string(),
        count(thread.sent),
        count(thread.acknowledged),
        or_dash(thread.requested, count),
        or_dash(rates.of(&Counted::Thread(thread.producer)), per_second),
        count(thread.failed),
        or_dash(client, |client| count(client.queued_messages)),
        or_dash(slowest, seconds),
    ];
    (if thread.failed > 0 { Mood::Bad } else { Mood::Plain }, cells)
}

fn event(event: &Event) -> Row {
    let (mood, level) = match event.level {
        EventLevel::Info => (Mood::Plain, "info"),
        EventLevel::Warning => (Mood::Warning, "warning"),
        EventLevel::Error => (Mood::Bad, "error"),
    };
    let cells = vec![
        time_of_day(&event.at),
        level.to_owned(),
        event.kind.clone(),
        or_dash(event.worker, |slot| slot.to_string()),
        event.text.clone(),
    ];
    (mood, cells)
}

/// `12:34:56` of `2026-11-23T12:34:56.789Z`, or all of what is no such time.
fn time_of_day(at: &str) -> String {
    let time = at.split_once('T').and_then(|(_, time)| time.get(..8));
    time.unwrap_or(at).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::monitoring::status::{ConsumeStatus, Status};

    fn names(sort: Sort, lines: Range<usize>) -> Vec<String> {
        let partition = |(topic, partition, lag): (&str, i32, u64)| PartitionStatus {
            topic: topic.to_owned(),
            partition,
            lag,
            ..PartitionStatus::default()
        };
        let partitions = [("b", 0, 5), ("a", 10, 5), ("a", 9, 7), ("a", 2, 0)].map(partition).to_vec();
        let mut state = State::new(String::new(), Instant::now());
        state.sort = sort;
        let consume = ConsumeStatus { partitions, ..ConsumeStatus::default() };
        state.status = Some(Status { consume: Some(consume), ..Status::default() });
        table(&state, Pane::Partitions, lines).rows.into_iter().map(|(_, cells)| cells[0].clone()).collect()
    }

    #[test]
    fn partitions_are_sorted_by_name_and_number_or_by_lag() {
        assert_eq!(names(Sort::Name, 0..9), ["a/2", "a/9", "a/10", "b/0"]);
        assert_eq!(names(Sort::Lag, 0..9), ["a/9", "a/10", "b/0", "a/2"]);
        assert_eq!(names(Sort::Lag, 1..3), ["a/10", "b/0"]);
        assert!(names(Sort::Lag, 7..9).is_empty());
    }

    #[test]
    fn a_partition_says_what_is_wrong_with_it() {
        let of = |change: fn(&mut PartitionStatus)| {
            let mut partition = PartitionStatus { worker: Some(0), lag: 3, ..PartitionStatus::default() };
            change(&mut partition);
            doing(&partition).1
        };
        assert_eq!(of(|_| ()), "reading");
        assert_eq!(of(|it| it.lag = 0), "at the end");
        assert_eq!(of(|it| it.worker = None), "read by nobody here");
        assert_eq!(of(|it| it.still_seconds = 12.0), "still for 12 s");
        assert_eq!(of(|it| it.retrying = true), "tries again");
        assert_eq!(of(|it| it.stopped = Some("too much failed".to_owned())), "stopped: too much failed");
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        let rates = Rates::default();
        assert_eq!(worker(&WorkerStatus::default(), &rates).1.len(), WORKERS.len());
        assert_eq!(partition(&PartitionStatus::default(), &rates).1.len(), PARTITIONS.len());
        assert_eq!(thread(&ThreadStatus::default(), &rates).1.len(), THREADS.len());
        assert_eq!(event(&Event::default()).1.len(), EVENTS.len());
    }

    #[test]
    fn a_time_is_that_of_the_day() {
        assert_eq!(time_of_day("2026-11-23T12:34:56.789Z"), "12:34:56");
        assert_eq!((time_of_day("T12"), time_of_day("Tüüüü")), ("T12".to_owned(), "üüüü".to_owned()));
    }
}
