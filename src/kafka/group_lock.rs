//! A consumer group whose membership is a lock: a client joins it, consumes nothing, and leaves it.
//!
//! The client ids of the members show who is in the group. The caller decides who holds the lock.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use slog::Logger;

use super::client_config;
pub use super::client_config::LOCK_SESSION_TIMEOUT;
use super::client_context::{ClientContext, delegate_client_events};
use super::error::{KafkaError, code_text, creation};
use super::ffi::credentials;
pub use super::ffi::group::GroupMember;
use super::ffi::group::Inquiry;
use super::ffi::member_id;
use crate::settings::Settings;

/// The poll interval while the client leaves.
const POLL: Duration = Duration::from_millis(5);

/// Why the group could not be joined or described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockError {
    /// A retry fails in the same way; the text tells the operator what to do.
    Permanent(String),
    /// The coordinator does not respond now.
    Unavailable(String),
}

/// The context of the member's client.
struct LockEvents {
    client: ClientContext,
}

delegate_client_events!(LockEvents);

impl ConsumerContext for LockEvents {
    /// Acknowledges every rebalance with an empty assignment, so that nothing is consumed.
    fn rebalance(&self, client: &BaseConsumer<Self>, code: RDKafkaRespErr, _: &mut TopicPartitionList) {
        // librdkafka logs a failure.
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => client.assign(&TopicPartitionList::new()),
            _ => client.unassign(),
        }
        .ok();
    }
}

/// How long a request may remain unanswered before it is sent again over a new connection: the old connection may be
/// dead.
const STALE: Duration = Duration::from_secs(20);

/// The client that requests the members; separate from the member's client, so that it can be replaced.
struct Observer {
    /// The pending request, with its send time by the caller's clock and as an [`Instant`]. Dropped before the
    /// client.
    inquiry: Option<(Inquiry, u64, Instant)>,
    client: BaseConsumer<ClientContext>,
}

impl Observer {
    fn new(settings: &Settings, logger: &Logger) -> Result<Self, KafkaError> {
        let config = client_config::metadata_client(settings);
        let client = config.create_with_context(ClientContext::quiet(logger)).map_err(|error| creation(&error))?;
        Ok(Self { inquiry: None, client })
    }
}

/// A response of the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// The send time of the request by the caller's clock; the members are at least as recent.
    pub asked_at: u64,
    /// The members of the group; empty if the group does not exist.
    pub members: Vec<GroupMember>,
}

/// The two clients. The member must be polled more often than [`LOCK_SESSION_TIMEOUT`].
pub struct GroupLock {
    consumer: BaseConsumer<LockEvents>,
    observer: Observer,
    settings: Settings,
    group: String,
    client_id: String,
    logger: Logger,
}

/// Creates the member's client.
fn member(
    settings: &Settings,
    group: &str,
    client_id: &str,
    logger: &Logger,
) -> Result<BaseConsumer<LockEvents>, KafkaError> {
    let events = LockEvents { client: ClientContext::quiet(logger) };
    let config = client_config::group_lock(settings, group, client_id);
    config.create_with_context(events).map_err(|error| creation(&error))
}

impl GroupLock {
    /// Creates the clients, which connect in the background and have not joined yet.
    ///
    /// # Errors
    /// [`KafkaError::Settings`].
    pub fn new(settings: &Settings, group: &str, client_id: &str, logger: &Logger) -> Result<Self, KafkaError> {
        Ok(Self {
            consumer: member(settings, group, client_id, logger)?,
            observer: Observer::new(settings, logger)?,
            settings: settings.clone(),
            group: group.to_owned(),
            client_id: client_id.to_owned(),
            logger: logger.clone(),
        })
    }

    /// Sets the current password for new connections; existing connections stay open.
    ///
    /// # Errors
    /// librdkafka's error text.
    pub fn refresh_credentials(&self) -> Result<(), String> {
        let security = &self.settings.kafka.security;
        let password = security.current_password();
        credentials::set_sasl(self.consumer.client(), &security.username, password.reveal())?;
        credentials::set_sasl(self.observer.client.client(), &security.username, password.reveal())
    }

    /// Joins the group. A consumer must subscribe to topics: it uses those of the workers.
    ///
    /// # Errors
    /// librdkafka's error; none is expected.
    pub fn join(&self) -> Result<(), KafkaError> {
        let topics = self.settings.consumed_topics();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let what = || format!("the group {:?} could not be joined", self.group);
        self.consumer.subscribe(&topics).map_err(|error| KafkaError::request(what(), &error))
    }

    /// Replaces the member's client, which has left the group or has never been in it.
    ///
    /// # Errors
    /// [`KafkaError::Settings`].
    pub fn replace_member(&mut self) -> Result<(), KafkaError> {
        let member = member(&self.settings, &self.group, &self.client_id, &self.logger)?;
        let old = std::mem::replace(&mut self.consumer, member);
        // Closing the old client may take a while; without a thread it closes here.
        std::thread::Builder::new().name("leave".to_owned()).spawn(move || drop(old)).ok();
        Ok(())
    }

    /// Serves rebalances and errors for up to `timeout`.
    ///
    /// # Errors
    /// Only those that a retry does not resolve.
    pub fn poll(&self, timeout: Duration) -> Result<(), LockError> {
        match self.consumer.poll(timeout).map(|polled| polled.map(|_| ())) {
            Some(Err(error)) => match self.error(error.rdkafka_error_code()) {
                permanent @ LockError::Permanent(_) => Err(permanent),
                LockError::Unavailable(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The group's members as known to its coordinator. A request without a response within `timeout` stays pending,
    /// and the next call waits for it.
    ///
    /// # Errors
    /// [`LockError`]; [`LockError::Unavailable`] also after `timeout`.
    pub fn members(&mut self, now: u64, timeout: Duration) -> Result<Members, LockError> {
        // Serves log lines and errors.
        drop(self.observer.client.poll(Duration::ZERO));
        let (inquiry, asked_at, sent) = match self.observer.inquiry.take() {
            Some(open) => open,
            None => {
                let sent = Inquiry::send(self.observer.client.client(), &self.group);
                (sent.map_err(|code| self.error(Some(code)))?, now, Instant::now())
            }
        };
        match inquiry.poll(timeout) {
            Some(Ok(members)) => Ok(Members { asked_at, members }),
            Some(Err(code)) => Err(self.error(Some(code))),
            None if sent.elapsed() < STALE => {
                self.observer.inquiry = Some((inquiry, asked_at, sent));
                Err(LockError::Unavailable("no reply".to_owned()))
            }
            None => {
                drop(inquiry);
                let observer = Observer::new(&self.settings, &self.logger);
                let observer = observer.map_err(|failure| LockError::Unavailable(failure.to_string()))?;
                let old = std::mem::replace(&mut self.observer, observer);
                // Closing the old client may take a while; without a thread it closes here.
                std::thread::Builder::new().name("leave".to_owned()).spawn(move || drop(old)).ok();
                Err(LockError::Unavailable(format!("no reply within {STALE:?}")))
            }
        }
    }

    fn error(&self, code: Option<RDKafkaErrorCode>) -> LockError {
        let group = &self.group;
        match code {
            Some(code @ RDKafkaErrorCode::GroupAuthorizationFailed) => LockError::Permanent(format!(
                "{}: the right READ on group {group:?} is missing (kafka-acls --add --allow-principal User:NAME \
                 --operation READ --group {group})",
                code_text(code)
            )),
            Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => LockError::Permanent(format!(
                "{}: the right READ on the topics of consumer.topics is missing",
                code_text(code)
            )),
            Some(code @ RDKafkaErrorCode::InvalidSessionTimeout) => LockError::Permanent(format!(
                "{}: the brokers do not allow a session timeout of {LOCK_SESSION_TIMEOUT:?} (group.min.session.timeout.ms, \
                 group.max.session.timeout.ms)",
                code_text(code)
            )),
            Some(code @ RDKafkaErrorCode::InconsistentGroupProtocol) => LockError::Permanent(format!(
                "{}: the group {group:?} has members that are not supervisors: choose another consumer.group_id",
                code_text(code)
            )),
            Some(code) => LockError::Unavailable(code_text(code)),
            None => LockError::Unavailable("no reply".to_owned()),
        }
    }

    /// Leaves the group. Returns when the coordinator has removed the member, or after `timeout`; then the member
    /// stays until its session times out.
    pub fn leave(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        self.consumer.unsubscribe();
        while Instant::now() < deadline {
            // The client leaves even if it reports an error.
            self.poll(POLL).ok();
            let left = deadline.saturating_duration_since(Instant::now());
            if !member_id::has_id(&self.consumer) {
                match self.members(0, left) {
                    Ok(Members { members, .. }) if members.iter().any(|of| of.client_id == self.client_id) => {}
                    Ok(_) => return,
                    Err(_) => {}
                }
            }
        }
    }
}
