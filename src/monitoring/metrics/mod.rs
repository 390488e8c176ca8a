//! A status in Prometheus's text format: nothing is counted here. docs/MONITORING.md has the table of all families.
//!
//! The number of series is bounded by the settings (threads, workers, topics), but for partitions and brokers, of which the
//! cluster may have any number: see [`ROWS`].
//!
//! - [`families`]: how a family is made of rows. [`produce`], [`consume`]: what each side tells, with its [`clients`].

mod clients;
mod consume;
mod families;
mod produce;

use std::collections::BTreeMap;
use std::time::SystemTime;

use self::families::{Families, Labels};
use super::status::{Phase, Status};

/// What an HTTP answer with [`text`] says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Of so many partitions, and connections to brokers, each has its own rows. Of more, counts and lags are told as sums, times as
/// the longest: by topic and by broker. A scrape stays below a few MB, and one program does not fill a Prometheus by itself.
pub const ROWS: usize = 2_000;

/// So many reasons have rows of their own, the others share one.
const REASONS: usize = 50;
/// The longest of them, in characters: they may have what a broker said. Names are never cut, or two would become one.
const LONGEST: usize = 100;

/// The metrics of a run. A side that it does not have has none.
pub fn text(status: &Status) -> String {
    let mut families = Families::default();
    run(status, &mut families);
    if let Some(produce) = &status.produce {
        produce::add(produce, &mut families);
    }
    if let Some(consume) = &status.consume {
        consume::add(consume, &mut families);
    }
    families.text()
}

fn run(status: &Status, families: &mut Families) {
    let info = vec![("version", status.program.clone()), ("command", status.command.clone())];
    families.gauge("info", "Always 1; which program this is, and what it does.", [(info, 1.0)]);
    let started = humantime::parse_rfc3339(&status.started_at).ok();
    let started = started.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    families.gauge(
        "start_time_seconds",
        "When it was started, in seconds since 1970.",
        started.map(|at| (Vec::new(), at.as_secs_f64())),
    );
    families.gauge(
        "ready",
        "1 if each partition has a reader that moves or nothing to read, as /readyz says; else 0.",
        [(Vec::new(), flag(status.unready.is_empty()))],
    );
    let phases = PHASES.map(|(phase, name)| (vec![("phase", name.to_owned())], flag(phase == status.phase)));
    families.gauge("phase", "1 for the phase that the run is in, 0 for the others.", phases);
}

const PHASES: [(Phase, &str); 5] = [
    (Phase::Starting, "starting"),
    (Phase::Running, "running"),
    (Phase::Quiet, "quiet"),
    (Phase::Draining, "draining"),
    (Phase::Ended, "ended"),
];

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// A row for each of the first [`REASONS`] reasons; the others share one, `other`.
fn reasons(name: &'static str, counts: &BTreeMap<String, u64>, labels: &Labels) -> Vec<(Labels, f64)> {
    let row = |(place, (reason, count)): (usize, (&String, &u64))| {
        let reason = if place < REASONS { shortened(reason) } else { "other".to_owned() };
        ([labels.clone(), vec![(name, reason)]].concat(), *count as f64)
    };
    counts.iter().enumerate().map(row).collect()
}

fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(LONGEST) {
        None => reason.to_owned(),
        Some((end, _)) => format!("{}…", &reason[..end]),
    }
}
