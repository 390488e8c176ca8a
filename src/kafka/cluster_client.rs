//! A client for metadata, watermarks and committed offsets. Each call blocks up to a deadline and must not run on an
//! arbiter's thread.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as RdKafkaError;
use slog::{Logger, warn};

use super::client_context::ClientContext;
use super::error::{KafkaError, creation};
use super::ffi::credentials;
use super::first_contact::FirstContact;
pub use super::offsets::Committed;
use super::{client_config, diagnosis};
use crate::record::TopicPartition;
use crate::settings::{Security, Settings};

mod group;
mod topics;
mod watermarks;

/// The timeout of one connection attempt; short, so that a rejected login is noticed early.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
/// The interval between diagnoses while no broker responds.
const DIAGNOSIS_INTERVAL: Duration = Duration::from_secs(5);
/// The connect timeout of a new client after an earlier one has connected.
const RECONNECT: Duration = Duration::from_secs(3);
/// The longest request during the first contact: a client may wait in vain for a broker, and a new one not.
const FIRST_CONTACT_ATTEMPT: Duration = Duration::from_secs(3);
/// The poll interval while partitions have no leader.
const LEADER_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A connection to the cluster.
pub struct ClusterClient {
    client: BaseConsumer<ClientContext>,
    /// The topic whose metadata is requested during the first contact; it need not exist.
    topic: String,
    brokers: String,
    group: String,
    timeout: Duration,
    /// The number of brokers in the cluster.
    broker_count: usize,
    /// The deadline of the first contact, which all requests until then share.
    first_contact: Instant,
}

impl ClusterClient {
    /// Connects and waits until a broker responds; logs a warning while it waits. The client's group is
    /// `consumer.group_id`.
    ///
    /// # Errors
    /// [`KafkaError::Settings`], [`KafkaError::Unreachable`] after `kafka.connect_timeout`, [`KafkaError::Refused`] as soon as
    /// it is known.
    pub fn connect(settings: &Settings, logger: &Logger) -> Result<Self, KafkaError> {
        Self::connect_within(settings, logger, settings.kafka.first_contact_timeout(), |line| warn!(logger, "{line}"))
    }

    /// Like [`ClusterClient::connect`], with a short timeout, for a process that was connected before.
    ///
    /// # Errors
    /// See [`ClusterClient::connect`].
    pub fn reconnect(settings: &Settings, logger: &Logger) -> Result<Self, KafkaError> {
        Self::connect_within(settings, logger, Some(settings.kafka.request_timeout().min(RECONNECT)), |_| {})
    }

    /// Checks whether a new client reaches the brokers and the group coordinator, from which it requests the
    /// committed offsets of `partitions`.
    ///
    /// # Errors
    /// What could not be reached.
    pub fn probe(settings: &Settings, logger: &Logger, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let cluster = Self::reconnect(settings, logger)?;
        let reply = cluster.committed_with_metadata_within(partitions, RECONNECT);
        cluster.leave();
        reply.map(|_| ())
    }

    fn connect_within(
        settings: &Settings,
        logger: &Logger,
        timeout: Option<Duration>,
        waiting: impl Fn(String),
    ) -> Result<Self, KafkaError> {
        let config = client_config::group_metadata_client(settings);
        let client: BaseConsumer<ClientContext> =
            config.create_with_context(ClientContext::quiet(logger)).map_err(|error| creation(&error))?;
        let begun = Instant::now();
        let mut cluster = Self {
            client,
            topic: settings.kafka.topic.clone(),
            brokers: settings.kafka.brokers.join(","),
            group: settings.consumer.group_id.clone(),
            timeout: settings.kafka.request_timeout(),
            broker_count: 0,
            first_contact: begun,
        };
        cluster.broker_count = cluster.wait_for_broker(settings, FirstContact::new(begun, timeout), waiting)?;
        cluster.first_contact = match timeout {
            Some(timeout) => begun + timeout,
            None => Instant::now() + cluster.timeout,
        };
        Ok(cluster)
    }

    /// Returns the number of brokers.
    fn wait_for_broker(
        &self,
        settings: &Settings,
        mut contact: FirstContact,
        waiting: impl Fn(String),
    ) -> Result<usize, KafkaError> {
        let mut diagnosed = None::<Instant>;
        loop {
            let attempt = contact.left(Instant::now()).map_or(REQUEST_TIMEOUT, |left| left.min(REQUEST_TIMEOUT));
            let reply = self.client.fetch_metadata(Some(&self.topic), attempt.max(Duration::from_millis(10)));
            self.serve_events();
            let error = match reply {
                Ok(metadata) => return Ok(metadata.brokers().len()),
                Err(error) => error,
            };
            let refused = self.client.context().refused();
            if refused.is_some() || diagnosed.is_none_or(|at| at.elapsed() >= DIAGNOSIS_INTERVAL) {
                diagnosed = Some(Instant::now());
                if let Some(found) = diagnosis::diagnose(settings) {
                    return Err(KafkaError::Diagnosed(found));
                }
            }
            if let Some(reason) = refused {
                return Err(KafkaError::Refused { brokers: self.brokers.clone(), reason });
            }
            let reason = || self.client.context().last_error().unwrap_or_else(|| super::error::reason(&error));
            let now = Instant::now();
            if let Some(waited) = contact.over(now) {
                return Err(KafkaError::Unreachable { brokers: self.brokers.clone(), waited, reason: reason() });
            }
            if let Some(line) = contact.line(&self.brokers, now) {
                waiting(format!("{line}: {}", reason()));
            }
        }
    }

    /// The timeout of the next request. During the first contact a request that fails is repeated with a new client.
    pub(super) fn remaining(&self) -> Duration {
        let left = self.first_contact.saturating_duration_since(Instant::now());
        if left.is_zero() { self.timeout } else { left.clamp(Duration::from_secs(1), FIRST_CONTACT_ATTEMPT) }
    }

    /// Adds the connection's last error, because a timeout alone has no cause.
    fn failed(&self, what: impl Into<String>, error: &RdKafkaError) -> KafkaError {
        let reason = super::error::reason(error);
        let reason = match self.client.context().last_error() {
            Some(last) => {
                format!("{reason} ({last}); can the addresses that the brokers advertise be reached from here?")
            }
            None => reason,
        };
        KafkaError::with_reason(what, reason, error)
    }

    /// librdkafka delivers errors and log lines only when its queue is polled.
    fn serve_events(&self) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(5) {
            drop(self.client.poll(Duration::from_millis(1)));
        }
    }

    /// Closes the client on a separate thread, because librdkafka takes up to 100 ms.
    pub fn leave(self) {
        // Without a thread the client closes here, a little later.
        std::thread::Builder::new().name("leave".to_owned()).spawn(move || drop(self)).ok();
    }

    /// Sets the current password for new connections; existing connections stay open.
    ///
    /// # Errors
    /// librdkafka's error text.
    pub fn refresh_credentials(&self, security: &Security) -> Result<(), String> {
        credentials::set_sasl(self.client.client(), &security.username, security.current_password().reveal())
    }

    /// The number of brokers in the cluster. A client that uses all partitions connects to each of them.
    pub fn broker_count(&self) -> usize {
        self.broker_count
    }

    /// The bootstrap servers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }
}

/// The time until `deadline`, at least 50 ms, so that a fast reply is still received.
fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(50))
}
