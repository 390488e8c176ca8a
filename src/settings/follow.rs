//! What follows from one setting for another.

use std::time::Duration;

use super::error::SettingsError;
use super::layers::Sources;
use super::{Preset, Secret, Settings, profile};

/// How long messages wait for others when each is to be sent soon. Less makes so many requests that the broker falls behind:
/// at 20,000 messages a second, two cores for all, no wait at all has a median of 1.7 ms to the acknowledgement; this, with the preset's stickier partitions, 0.9.
const LOW_LATENCY: Duration = Duration::from_millis(1);

/// From the end of the last message's time to the end of waiting for it.
const FLUSH_MARGIN: Duration = Duration::from_secs(5);

/// Sets what follows, and says who caused it.
pub(super) fn all(settings: &mut Settings, sources: &mut Sources) -> Vec<SettingsError> {
    let above = |sources: &Sources, key, other| sources.layer(key) > sources.layer(other);
    // The default of 100 messages is not meant for somebody who asks for a minute.
    if !settings.producer.duration.is_zero() && above(sources, "producer.duration", "producer.messages_per_thread") {
        settings.producer.messages_per_thread = 0;
        sources.follow("producer.messages_per_thread", 0, "producer.duration");
    }
    // Whoever gives messages more time means that they are waited for.
    let (message_timeout, flush_timeout) = (settings.producer.message_timeout, &mut settings.producer.flush_timeout);
    if message_timeout > *flush_timeout && above(sources, "producer.message_timeout", "producer.flush_timeout") {
        *flush_timeout = message_timeout.saturating_add(FLUSH_MARGIN);
        let text = humantime::format_duration(*flush_timeout).to_string();
        sources.follow("producer.flush_timeout", text, "producer.message_timeout");
    }
    if settings.kafka.preset == Preset::LowLatency && above(sources, "kafka.preset", "producer.linger") {
        settings.producer.linger = LOW_LATENCY;
        sources.follow("producer.linger", "1ms", "kafka.preset");
    }
    if !settings.consumer.command.is_empty() && above(sources, "consumer.command", "consumer.processor") {
        settings.consumer.processor = "command".to_owned();
        sources.follow("consumer.processor", "command", "consumer.command");
    }
    profile::follow(settings, sources);
    password(settings, sources).err().into_iter().collect()
}

fn password(settings: &mut Settings, sources: &mut Sources) -> Result<(), SettingsError> {
    let security = &mut settings.kafka.security;
    if security.password_file.is_empty() {
        return Ok(());
    }
    let keys = ["kafka.security.password", "kafka.security.password_file"];
    if !security.password.reveal().is_empty() {
        return Err(sources.contradiction(&keys, "give the password in one place"));
    }
    let text = std::fs::read_to_string(&security.password_file)
        .map_err(|error| sources.invalid(keys[1], format!("cannot be read: {error}")))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    security.password = Secret::new(text);
    sources.follow(keys[0], text, keys[1]);
    Ok(())
}
