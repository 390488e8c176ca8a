//! The context of all clients: receives librdkafka's log lines, errors and statistics.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use slog::{Logger, debug, error, info, warn};

use super::acl;
use super::health::{ClientHealth, Health};
use super::quota_throttle::Throttles;
use super::statistics::{self, ClientReport};
use crate::os::limits;
use crate::settings::{LibrdkafkaConfig, Settings};

/// The minimum interval between two logged errors. Each connection to a lost broker reports an error about once a
/// second.
const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Logs the client's events and keeps its last errors for callers that wait.
pub(super) struct ClientContext {
    logger: Logger,
    /// Errors are logged at debug level only, because the client's owner reports them.
    quiet: bool,
    /// The interval of the librdkafka statistics that are kept for the client's owner; `None` disables that.
    statistics_interval: Option<Duration>,
    /// Whether the raw statistics are logged.
    logged: bool,
    seen: Mutex<ContextState>,
}

struct ContextState {
    health: Health,
    last: Option<String>,
    refused: Option<String>,
    denied: Option<RDKafkaErrorCode>,
    logged: Option<Instant>,
    permanent_logged: Option<Instant>,
    unlogged: u32,
    report: Option<ClientReport>,
    throttles: Throttles,
}

impl Default for ContextState {
    fn default() -> Self {
        let health = Health::new(Instant::now());
        Self {
            health,
            last: None,
            refused: None,
            denied: None,
            logged: None,
            permanent_logged: None,
            unlogged: 0,
            report: None,
            throttles: Throttles::default(),
        }
    }
}

impl ClientContext {
    pub(super) fn new(logger: &Logger) -> Self {
        Self { logger: logger.clone(), quiet: false, statistics_interval: None, logged: true, seen: Mutex::default() }
    }

    /// Creates the context of a client whose calls return their errors and that may outlive its broker.
    pub(super) fn quiet(logger: &Logger) -> Self {
        Self { quiet: true, ..Self::new(logger) }
    }

    /// Creates the context of a client that reports statistics; `own` are the properties of the producer or consumer
    /// side.
    pub(super) fn with_statistics(logger: &Logger, settings: &Settings, own: &LibrdkafkaConfig) -> Self {
        let statistics_interval = Some(statistics::interval(settings));
        Self { statistics_interval, logged: statistics::is_logged(settings, own), ..Self::new(logger) }
    }

    /// Takes the latest statistics report; `None` if none arrived since the last call.
    pub(super) fn take_report(&self) -> Option<ClientReport> {
        self.seen.lock().ok()?.report.take()
    }

    /// Returns whether a broker throttles the client.
    pub(super) fn is_throttled(&self) -> bool {
        self.seen.lock().is_ok_and(|seen| seen.throttles.current(Instant::now()).is_some())
    }

    /// Whether the client reaches the cluster; `None` without statistics. A throttled client is not reported as
    /// disconnected, because the broker delays its responses on purpose.
    pub(super) fn health(&self) -> Option<ClientHealth> {
        let (seen, now) = (self.seen.lock().ok()?, Instant::now());
        let mut health = seen.health.report(now)?;
        if seen.throttles.current(now).is_some() {
            (health.last_response_age_seconds, health.coordinator_unavailable_seconds) = (0.0, 0.0);
        }
        Some(health)
    }

    /// The text of the last error.
    pub(super) fn last_error(&self) -> Option<String> {
        self.seen.lock().ok()?.last.clone()
    }

    /// The error of a broker that rejected credentials or certificates; a retry does not help.
    pub(super) fn refused(&self) -> Option<String> {
        self.seen.lock().ok()?.refused.clone()
    }
}

impl ClientContext {
    /// The code of the last authorization error. The client may report it only once.
    pub(super) fn denied(&self) -> Option<RDKafkaErrorCode> {
        self.seen.lock().ok()?.denied
    }

    /// Resets [`ClientContext::denied`] after a request succeeded.
    pub(super) fn forget_denied(&self) {
        if let Ok(mut seen) = self.seen.lock() {
            seen.denied = None;
        }
    }
}

impl rdkafka::ClientContext for ClientContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
        match level {
            // These events also arrive in `error` below, which rate-limits them; GETPID fails while a broker starts.
            _ if matches!(facility, "FAIL" | "ERROR" | "SSL" | "CONNECT" | "GETPID") => {
                debug!(self.logger, "librdkafka: {message}"; "facility" => facility)
            }
            Emerg | Alert | Critical | Error => error!(self.logger, "librdkafka: {message}"; "facility" => facility),
            Warning => warn!(self.logger, "librdkafka: {message}"; "facility" => facility),
            Notice | Info | Debug => debug!(self.logger, "librdkafka: {message}"; "facility" => facility),
        }
    }

    fn error(&self, error: RdKafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if matches!(error, RdKafkaError::PartitionEOF(_)) || code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let reason = &limits::named_text(reason);
        let Ok(mut seen) = self.seen.lock() else { return };
        let is_refused = matches!(
            code,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL)
        );
        if is_refused {
            seen.refused = Some(reason.to_owned());
            seen.health.refuse(reason);
        }
        if let Some(code) = code.filter(|code| acl::is_denied(*code)) {
            seen.denied = Some(code);
        }
        // "All brokers are down" has less information than the errors before it.
        if code != Some(RDKafkaErrorCode::AllBrokersDown) || seen.last.is_none() {
            seen.last = Some(reason.to_owned());
        }
        if self.quiet {
            debug!(self.logger, "Kafka: {reason}");
            return;
        }
        // Permanent errors have their own log limit, so that transient ones do not hide them.
        let is_permanent = is_refused || code.is_some_and(acl::is_denied);
        let logged = if is_permanent { &mut seen.permanent_logged } else { &mut seen.logged };
        if logged.is_some_and(|at| at.elapsed() < ERROR_LOG_INTERVAL) {
            seen.unlogged += 1;
            return;
        }
        *logged = Some(Instant::now());
        let unlogged = std::mem::take(&mut seen.unlogged);
        drop(seen);
        let more = match unlogged {
            0 => String::new(),
            unlogged => format!(" (and {unlogged} more errors since the last such line)"),
        };
        if is_refused {
            error!(self.logger, "the brokers refuse the connection: {reason}; check kafka.security{more}");
        } else if is_permanent {
            error!(self.logger, "the brokers deny a request, since a right is missing: {reason}{more}");
        } else {
            warn!(self.logger, "Kafka: {reason}{more}");
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        if self.logged {
            info!(self.logger, "librdkafka statistics"; "json" => String::from_utf8_lossy(json).into_owned());
        }
        if let Ok(connections) = serde_json::from_slice(json)
            && let Ok(mut seen) = self.seen.lock()
        {
            seen.health.observe(&connections, Instant::now());
        }
        if let Some(interval) = self.statistics_interval
            && let Ok(mut seen) = self.seen.lock()
            && let Some(report) = statistics::read(json, interval, &mut seen.throttles)
        {
            seen.report = Some(report);
        }
    }
}

impl ConsumerContext for ClientContext {}

/// Implements [`rdkafka::ClientContext`] for a context type by delegating to its field `client`, a [`ClientContext`].
macro_rules! delegate_client_events {
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

pub(super) use delegate_client_events;
