//! Progress lines in the log when there is no terminal.

use slog::{Logger, info};

use crate::util::format::seconds;

/// The producer's progress. `acknowledged`: `None` with acks=0. `left`: the estimated remaining seconds, if known.
pub(super) fn produced(logger: &Logger, sent: u64, acknowledged: Option<u64>, rate: f64, left: Option<f64>) {
    let rate = rate.round() as u64;
    match (acknowledged, left.map(seconds)) {
        (Some(acknowledged), Some(left)) => info!(logger, "progress";
            "sent" => sent, "acknowledged" => acknowledged, "per_second" => rate, "left" => left),
        (Some(acknowledged), None) => {
            info!(logger, "progress"; "sent" => sent, "acknowledged" => acknowledged, "per_second" => rate)
        }
        (None, Some(left)) => info!(logger, "progress"; "sent" => sent, "per_second" => rate, "left" => left),
        (None, None) => info!(logger, "progress"; "sent" => sent, "per_second" => rate),
    }
}

/// The consumer's progress.
pub(super) fn consumed(logger: &Logger, processed: u64, lag: u64, rate: f64, left: Option<f64>) {
    let rate = rate.round() as u64;
    match left.map(seconds) {
        Some(left) => info!(logger, "progress";
            "processed" => processed, "lag" => lag, "per_second" => rate, "left" => left),
        None => info!(logger, "progress"; "processed" => processed, "lag" => lag, "per_second" => rate),
    }
}
