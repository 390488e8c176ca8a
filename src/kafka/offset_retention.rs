//! How long brokers keep the committed offsets of an empty group.

use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use slog::Logger;

use super::client_config;
use super::client_context::ClientContext;
use super::error::{KafkaError, code_text, creation};
use crate::settings::Settings;

/// The broker property.
const SETTING: &str = "offsets.retention.minutes";

/// Reads `offsets.retention.minutes` of one broker; all brokers of a cluster should have the same value. Needs the
/// right `DescribeConfigs` on the cluster. Blocks for up to twice `timeout`.
///
/// # Errors
/// The broker's error, such as a missing right.
pub fn read(settings: &Settings, logger: &Logger, timeout: Duration) -> Result<Duration, KafkaError> {
    let what = || format!("the brokers' {SETTING} could not be read");
    let failed = |reason: &str| KafkaError::Request { what: what(), reason: reason.to_owned() };
    let admin: AdminClient<ClientContext> = client_config::metadata_client(settings)
        .create_with_context(ClientContext::quiet(logger))
        .map_err(|error| creation(&error))?;
    let metadata = admin
        .inner()
        .fetch_metadata(Some(&settings.kafka.topic), timeout)
        .map_err(|error| KafkaError::request(what(), &error))?;
    let broker = metadata.brokers().first().ok_or_else(|| failed("no broker is known"))?.id();
    let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    let reply = block_on(admin.describe_configs(&[ResourceSpecifier::Broker(broker)], &options));
    let resources = reply.map_err(|error| KafkaError::request(what(), &error))?;
    let resource = resources.into_iter().next().ok_or_else(|| failed("the reply is empty"))?;
    let resource = resource.map_err(|code| failed(&code_text(code)))?;
    let value = resource.get(SETTING).and_then(|entry| entry.value.as_deref());
    let minutes = value.and_then(|value| value.parse().ok()).ok_or_else(|| failed("the reply does not have it"))?;
    Ok(Duration::from_secs(60).saturating_mul(minutes))
}
