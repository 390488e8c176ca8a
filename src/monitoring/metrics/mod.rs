//! The status in the Prometheus text format. docs/MONITORING.md has the table of all families.
//!
//! The settings bound the number of series (threads, workers, topics). Only the cluster bounds the number of partitions and
//! brokers: see [`ROWS`].
//!
//! - [`exposition`]: builds families and encodes them. [`producer`], [`consumer`]: their families, with those of their
//!   [`kafka_clients`].

mod consumer;
mod exposition;
mod kafka_clients;
mod producer;

use std::collections::BTreeMap;
use std::time::SystemTime;

use self::exposition::{Labels, MetricFamilies};
use super::status::{Phase, Status};
use crate::util::escape::truncate_chars;

/// The content type of an HTTP response with [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The maximum number of partitions, and of connections to brokers, with their own series. With more, series are aggregated by
/// topic and by broker: counts and lags as sums, durations as maxima. This limits the size of a scrape to a few MB.
pub const ROWS: usize = 2_000;

/// The maximum number of reasons with their own series; the others share the series `other`.
const REASONS: usize = 50;
/// The maximum length of a reason, in characters: it may contain a broker's message. Names are never truncated, since two could
/// become equal.
const MAX_LABEL_CHARS: usize = 100;

/// The metrics of a run. A run without a producer has no producer metrics, one without a consumer no consumer metrics.
pub fn text(status: &Status) -> String {
    let mut families = MetricFamilies::default();
    run(status, &mut families);
    if let Some(produce) = &status.produce {
        producer::add(produce, &mut families);
    }
    if let Some(consume) = &status.consume {
        consumer::add(consume, &mut families);
    }
    families.text()
}

fn run(status: &Status, families: &mut MetricFamilies) {
    let info = vec![("version", status.program.clone()), ("command", status.command.clone())];
    families.gauge("info", "Always 1. The command and the version of the program.", [(info, 1.0)]);
    let started = humantime::parse_rfc3339(&status.started_at).ok();
    let started = started.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    families.gauge(
        "start_time_seconds",
        "Start time of the process, in seconds since 1970-01-01 UTC.",
        started.map(|at| (Vec::new(), at.as_secs_f64())),
    );
    families.gauge(
        "ready",
        "1 if the run is ready, as in /readyz: the clients reach the cluster, commits succeed, and no partition is stalled. Else 0.",
        [(Vec::new(), flag(status.not_ready_reasons.is_empty()))],
    );
    let phases = PHASES.map(|(phase, name)| (vec![("phase", name.to_owned())], flag(phase == status.phase)));
    families.gauge("phase", "1 for the current phase of the run, 0 for the others.", phases);
}

const PHASES: [(Phase, &str); 5] = [
    (Phase::Starting, "starting"),
    (Phase::Running, "running"),
    (Phase::Paused, "paused"),
    (Phase::Draining, "draining"),
    (Phase::Ended, "ended"),
];

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// A row for each of the first [`REASONS`] reasons; the others share the row `other`.
fn reasons(name: &'static str, counts: &BTreeMap<String, u64>, labels: &Labels) -> Vec<(Labels, f64)> {
    let row = |(place, (reason, count)): (usize, (&String, &u64))| {
        let reason = if place < REASONS { truncate_chars(reason, MAX_LABEL_CHARS) } else { "other".to_owned() };
        ([labels.clone(), vec![(name, reason)]].concat(), *count as f64)
    };
    counts.iter().enumerate().map(row).collect()
}
