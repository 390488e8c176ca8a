//! What a client says unasked: librdkafka's log lines and errors.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use slog::{Logger, debug, error, info, warn};

use super::statistics::{self, ClientStatus};
use crate::settings::{Properties, Settings};

/// A broker that is gone is reported about once a second by each connection: one line in this time is enough.
const QUIET: Duration = Duration::from_secs(10);

/// Logs what a client says, and keeps its last errors for whoever waits for it.
pub(super) struct ClientEvents {
    logger: Logger,
    /// Whoever uses the client tells of its errors.
    quiet: bool,
    /// What librdkafka counts is kept for whoever asks, and logged as it is.
    watched: bool,
    logged: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    last: Option<String>,
    refused: Option<String>,
    logged: Option<Instant>,
    unlogged: u32,
    counted: Option<ClientStatus>,
}

impl ClientEvents {
    pub(super) fn new(logger: &Logger) -> Self {
        Self { logger: logger.clone(), quiet: false, watched: false, logged: true, seen: Mutex::default() }
    }

    /// For a client whose calls return their errors, and that may outlive its broker.
    pub(super) fn quiet(logger: &Logger) -> Self {
        Self { quiet: true, ..Self::new(logger) }
    }

    /// For a client whose counts are shown, if the settings say so; `own` are its side's properties.
    pub(super) fn watched(logger: &Logger, settings: &Settings, own: &Properties) -> Self {
        let (watched, logged) = (statistics::is_watched(settings), statistics::is_logged(settings, own));
        Self { watched, logged, ..Self::new(logger) }
    }

    /// What the client has counted, if it has since this was asked last.
    pub(super) fn take_counted(&self) -> Option<ClientStatus> {
        self.seen.lock().ok()?.counted.take()
    }

    /// The last error's text.
    pub(super) fn last_error(&self) -> Option<String> {
        self.seen.lock().ok()?.last.clone()
    }

    /// Set once a broker has refused credentials or certificates: waiting does not help.
    pub(super) fn refused(&self) -> Option<String> {
        self.seen.lock().ok()?.refused.clone()
    }
}

impl ClientContext for ClientEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
        match level {
            // The same comes to `error` below, where it is counted; and a broker that just came up has no producer ids yet.
            _ if matches!(facility, "FAIL" | "ERROR" | "SSL" | "CONNECT" | "GETPID") => {
                debug!(self.logger, "librdkafka: {message}"; "facility" => facility)
            }
            Emerg | Alert | Critical | Error => error!(self.logger, "librdkafka: {message}"; "facility" => facility),
            Warning => warn!(self.logger, "librdkafka: {message}"; "facility" => facility),
            Notice | Info | Debug => debug!(self.logger, "librdkafka: {message}"; "facility" => facility),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if matches!(error, KafkaError::PartitionEOF(_)) || code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let Ok(mut seen) = self.seen.lock() else { return };
        if matches!(
            code,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL)
        ) {
            seen.refused = Some(reason.to_owned());
        }
        // "All brokers are down" says less than what it follows.
        if code != Some(RDKafkaErrorCode::AllBrokersDown) || seen.last.is_none() {
            seen.last = Some(reason.to_owned());
        }
        if self.quiet {
            debug!(self.logger, "Kafka: {reason}");
            return;
        }
        if seen.logged.is_some_and(|at| at.elapsed() < QUIET) {
            seen.unlogged += 1;
            return;
        }
        seen.logged = Some(Instant::now());
        let unlogged = std::mem::take(&mut seen.unlogged);
        drop(seen);
        if unlogged == 0 {
            warn!(self.logger, "Kafka: {reason}");
        } else {
            warn!(self.logger, "Kafka: {reason} (and {unlogged} more errors since the last such line)");
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        if self.logged {
            info!(self.logger, "librdkafka statistics"; "json" => String::from_utf8_lossy(json).into_owned());
        }
        if self.watched
            && let Some(counted) = statistics::read(json)
            && let Ok(mut seen) = self.seen.lock()
        {
            seen.counted = Some(counted);
        }
    }
}

impl ConsumerContext for ClientEvents {}

/// Has a context of a client's own tell all this to its field `client`, a [`ClientEvents`].
macro_rules! tell_client_events {
    ($context:ty) => {
        impl rdkafka::ClientContext for $context {
            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
                self.client.log(level, facility, message);
            }

            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                self.client.error(error, reason);
            }

            fn stats_raw(&self, statistics: &[u8]) {
                self.client.stats_raw(statistics);
            }
        }
    };
}

pub(super) use tell_client_events;
