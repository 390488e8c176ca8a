//! The tables of a status. Pure: no I/O, no state.

use std::cmp::Reverse;
use std::ops::Range;

use super::app::{App, Pane, Sort};
use super::rates::{CounterKey, Rates};
use super::table::{Column, Row, Severity, Table};
use crate::monitoring::status::{
    ClientStatus, Event, EventLevel, PartitionStatus, ThreadStatus, WorkerState, WorkerStatus,
};
use crate::util::format::{bytes, format_count, format_rate, seconds};

/// Columns that need at least two received statuses.
pub(super) const DIFFERENCES: &[&str] = &["RATE", "CPU"];

const WORKERS: &[Column] = &[
    Column::number("SLOT", 4, 0),
    Column::text("STATE", 11, 0),
    Column::number("PID", 7, 4),
    Column::number("UP", 7, 6),
    Column::number("MEMORY", 8, 5),
    Column::number("CPU", 5, 3),
    Column::number("PROCESSED", 11, 2),
    Column::number("RATE", 9, 1),
    Column::number("RESTARTS", 8, 2),
    Column::number("PARTITIONS", 10, 6),
    Column::fill("LAST EXIT", 7),
];
const PARTITIONS: &[Column] = &[
    Column::text("PARTITION", 12, 0),
    Column::number("WORKER", 6, 4),
    Column::number("POSITION", 9, 5),
    Column::number("COMMITTED", 9, 6),
    Column::number("HIGH WATERMARK", 14, 6),
    Column::number("LAG", 9, 0),
    Column::number("RATE", 9, 1),
    Column::number("IN FLIGHT", 9, 3),
    Column::fill("STATE", 2),
];
const THREADS: &[Column] = &[
    Column::number("THREAD", 6, 0),
    Column::number("SENT", 11, 3),
    Column::number("ACKNOWLEDGED", 12, 0),
    Column::number("OF", 11, 2),
    Column::number("RATE", 9, 1),
    Column::number("FAILED", 6, 2),
    Column::number("QUEUED", 9, 4),
    Column::number("RTT", 9, 5),
    Column::number("THROTTLED", 9, 5),
];
const EVENT_COLUMNS: &[Column] = &[
    Column::text("UTC", 8, 2),
    Column::text("LEVEL", 7, 1),
    Column::text("KIND", 10, 3),
    Column::number("WORKER", 6, 4),
    Column::fill("EVENT", 0),
];

/// Returns the given lines of a pane.
pub(super) fn table(state: &App, pane: Pane, lines: Range<usize>) -> Table {
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
            Table { columns: EVENT_COLUMNS, rows: part(&newest_first, lines).map(|it| event(it)).collect() }
        }
    }
}

fn part<T>(all: &[T], lines: Range<usize>) -> impl Iterator<Item = &T> {
    all.iter().skip(lines.start).take(lines.len())
}

fn or_dash<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// Returns the severity and the name of a worker's state.
fn word(state: WorkerState) -> (Severity, &'static str) {
    match state {
        WorkerState::Starting => (Severity::Warning, "starting"),
        WorkerState::Running => (Severity::Well, "running"),
        WorkerState::Standby => (Severity::Faint, "standby"),
        WorkerState::Stopping => (Severity::Warning, "stopping"),
        WorkerState::Backoff => (Severity::Bad, "backoff"),
        WorkerState::Failed => (Severity::Bad, "failed"),
        WorkerState::ScaledDown => (Severity::Faint, "scaled down"),
        WorkerState::Ended => (Severity::Faint, "ended"),
    }
}

/// Returns the longest time for which a broker throttles the responses to this client.
fn throttle(client: Option<&ClientStatus>) -> Option<f64> {
    let times = client?.brokers.iter().map(|broker| broker.throttle_seconds);
    times.filter(|time| *time > 0.0).max_by(f64::total_cmp)
}

fn worker(worker: &WorkerStatus, rates: &Rates) -> Row {
    let (mood, word) = match worker.state {
        WorkerState::Running if throttle(worker.client.as_ref()).is_some() => (Severity::Warning, "throttled"),
        state => word(state),
    };
    let cells = vec![
        worker.slot.to_string(),
        word.to_owned(),
        or_dash(worker.pid, |pid| pid.to_string()),
        or_dash(worker.uptime_seconds, seconds),
        or_dash(worker.resident_bytes, bytes),
        or_dash(rates.of(&CounterKey::Cpu(worker.slot)), |cores| format!("{:.0}%", cores * 100.0)),
        format_count(worker.processed),
        or_dash(rates.of(&CounterKey::Worker(worker.slot)), format_rate),
        format_count(worker.restarts),
        worker.partitions.to_string(),
        worker.last_exit.clone().unwrap_or_default(),
    ];
    (mood, cells)
}

fn partition(partition: &PartitionStatus, rates: &Rates) -> Row {
    let (mood, doing) = activity(partition);
    let counted = CounterKey::Partition(partition.topic.clone(), partition.partition);
    let in_flight = partition.in_flight.as_ref();
    let cells = vec![
        format!("{}/{}", partition.topic, partition.partition),
        or_dash(partition.worker, |slot| slot.to_string()),
        partition.position.to_string(),
        or_dash(partition.committed, |offset| offset.to_string()),
        partition.high_watermark.to_string(),
        format_count(partition.lag),
        or_dash(rates.of(&counted), format_rate),
        or_dash(in_flight, |message| format!("{} for {}", message.offset, seconds(message.age_seconds))),
        doing,
    ];
    (mood, cells)
}

fn activity(partition: &PartitionStatus) -> (Severity, String) {
    let stalled = partition.stalled_seconds;
    if let Some(reason) = &partition.stopped {
        return (Severity::Bad, format!("stopped: {reason}"));
    }
    match partition.worker {
        None => (Severity::Warning, "no worker".to_owned()),
        Some(_) if partition.retrying => (Severity::Warning, "retrying".to_owned()),
        Some(_) if stalled >= 1.0 => (Severity::Warning, format!("stalled for {}", seconds(stalled))),
        Some(_) if partition.lag == 0 => (Severity::Plain, "at the end".to_owned()),
        Some(_) => (Severity::Well, "reading".to_owned()),
    }
}

fn thread(thread: &ThreadStatus, rates: &Rates) -> Row {
    let client = thread.client.as_ref();
    let slowest =
        client.and_then(|client| client.brokers.iter().map(|broker| broker.rtt_mean_seconds).max_by(f64::total_cmp));
    let cells = vec![
        thread.producer.to_string(),
        format_count(thread.sent),
        format_count(thread.acknowledged),
        or_dash(thread.requested, format_count),
        or_dash(rates.of(&CounterKey::Thread(thread.producer)), format_rate),
        format_count(thread.failed),
        or_dash(client, |client| format_count(client.queued_messages)),
        or_dash(slowest, seconds),
        or_dash(throttle(client), seconds),
    ];
    (if thread.failed > 0 { Severity::Bad } else { Severity::Plain }, cells)
}

fn event(event: &Event) -> Row {
    let (mood, level) = match event.level {
        EventLevel::Info => (Severity::Plain, "info"),
        EventLevel::Warning => (Severity::Warning, "warning"),
        EventLevel::Error => (Severity::Bad, "error"),
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

/// Returns `12:34:56` of `2026-11-23T12:34:56.789Z`; returns any other text unchanged.
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
        let mut state = App::new(String::new(), Instant::now());
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
    fn a_partition_shows_what_is_wrong_with_it() {
        let of = |change: fn(&mut PartitionStatus)| {
            let mut partition = PartitionStatus { worker: Some(0), lag: 3, ..PartitionStatus::default() };
            change(&mut partition);
            activity(&partition).1
        };
        assert_eq!(of(|_| ()), "reading");
        assert_eq!(of(|it| it.lag = 0), "at the end");
        assert_eq!(of(|it| it.worker = None), "no worker");
        assert_eq!(of(|it| it.stalled_seconds = 12.0), "stalled for 12 s");
        assert_eq!(of(|it| it.retrying = true), "retrying");
        assert_eq!(of(|it| it.stopped = Some("too much failed".to_owned())), "stopped: too much failed");
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        let rates = Rates::default();
        assert_eq!(worker(&WorkerStatus::default(), &rates).1.len(), WORKERS.len());
        assert_eq!(partition(&PartitionStatus::default(), &rates).1.len(), PARTITIONS.len());
        assert_eq!(thread(&ThreadStatus::default(), &rates).1.len(), THREADS.len());
        assert_eq!(event(&Event::default()).1.len(), EVENT_COLUMNS.len());
    }

    #[test]
    fn a_time_is_that_of_the_day() {
        assert_eq!(time_of_day("2026-11-23T12:34:56.789Z"), "12:34:56");
        assert_eq!((time_of_day("T12"), time_of_day("Tüüüü")), ("T12".to_owned(), "üüüü".to_owned()));
    }
}
