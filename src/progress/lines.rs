//! A line now and then, where there is no terminal.

use slog::{Logger, info};

use crate::figures::seconds;

/// How the producing side goes. `left`: seconds, as it goes now, if that is known.
pub(super) fn produced(logger: &Logger, sent: u64, acknowledged: u64, rate: f64, left: Option<f64>) {
    let rate = rate.round() as u64;
    match left.map(seconds) {
        Some(left) => info!(logger, "progress";
            "sent" => sent, "acknowledged" => acknowledged, "per_second" => rate, "left" => left),
        None => info!(logger, "progress"; "sent" => sent, "acknowledged" => acknowledged, "per_second" => rate),
    }
}

/// How the consuming side goes.
pub(super) fn consumed(logger: &Logger, processed: u64, lag: u64, rate: f64, left: Option<f64>) {
    let rate = rate.round() as u64;
    match left.map(seconds) {
        Some(left) => info!(logger, "progress";
            "processed" => processed, "lag" => lag, "per_second" => rate, "left" => left),
        None => info!(logger, "progress"; "processed" => processed, "lag" => lag, "per_second" => rate),
    }
}
