//! The first requests of a command, repeated while the cluster is not ready.
//!
//! A broker that has just started, or resumed, replies before it can serve: it is fenced, its partitions have no
//! leader, its epochs are older than the client's. A client that has received its metadata at that moment may wait in
//! vain for a controller or a broker; therefore each attempt has a new client.

use std::time::{Duration, Instant};

use slog::{Logger, warn};

use super::cluster_client::ClusterClient;
use super::error::KafkaError;
use crate::settings::{Kafka, Settings};

/// The pause between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The interval between two log lines while the cluster is not ready.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// Decides whether the requests of a start are repeated: within `kafka.connect_timeout`, or without a limit.
#[derive(Clone, Copy, Debug)]
pub struct StartupRetry {
    begun: Instant,
    timeout: Option<Duration>,
    logged: Option<Instant>,
}

impl StartupRetry {
    /// Begins a start.
    pub fn new(kafka: &Kafka) -> Self {
        Self { begun: Instant::now(), timeout: kafka.first_contact_timeout(), logged: None }
    }

    /// Logs the error and pauses, if the request is to be repeated; returns whether it is.
    pub fn pause_before_retry(&mut self, failure: &KafkaError, logger: &Logger) -> bool {
        if !self.allows(failure, Instant::now()) {
            return false;
        }
        if self.logged.is_none_or(|at| at.elapsed() >= LINE_INTERVAL) {
            self.logged = Some(Instant::now());
            warn!(logger, "the cluster is not ready, the request is repeated: {failure}");
        }
        std::thread::sleep(RETRY_INTERVAL);
        true
    }

    fn allows(&self, failure: &KafkaError, now: Instant) -> bool {
        let has_time = |timeout| now.saturating_duration_since(self.begun) + RETRY_INTERVAL < timeout;
        matches!(failure, KafkaError::NotReady { .. }) && self.timeout.is_none_or(has_time)
    }
}

/// Connects and makes the requests of a start; repeats them with a new client while the cluster is not ready.
///
/// # Errors
/// The error of [`ClusterClient::connect`], or of the requests.
pub fn when_ready<T>(
    settings: &Settings,
    logger: &Logger,
    mut requests: impl FnMut(ClusterClient) -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    let mut retry = StartupRetry::new(&settings.kafka);
    loop {
        match ClusterClient::connect(settings, logger).and_then(&mut requests) {
            Err(failure) if retry.pause_before_retry(&failure, logger) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cluster_that_is_not_ready_is_asked_again_and_within_the_timeout() {
        let begun = Instant::now();
        let not_ready = KafkaError::NotReady { what: "it".to_owned(), reason: "no leader".to_owned() };
        let refused = KafkaError::Request { what: "it".to_owned(), reason: "no".to_owned() };
        let limited = StartupRetry { begun, timeout: Some(Duration::from_secs(10)), logged: None };
        let unlimited = StartupRetry { timeout: None, ..limited };
        let later = begun + Duration::from_secs(10);
        assert!(limited.allows(&not_ready, begun) && !limited.allows(&refused, begun));
        assert!(!limited.allows(&not_ready, later) && unlimited.allows(&not_ready, later));
    }
}
