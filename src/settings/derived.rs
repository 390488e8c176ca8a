//! Defaults that are derived from other settings.

use std::path::Path;
use std::time::Duration;

use super::error::SettingsError;
use super::values::SettingValues;
use super::{OnFailure, Preset, Settings, password_file, rate_profile};

/// The linger of the preset `low_latency`. A smaller value causes so many requests that the broker falls behind: at 20,000
/// messages per second, with two cores for everything, the median latency to the acknowledgement is 1.7 ms without linger, and
/// 0.9 ms with this value and the preset's stickier partitions.
const LOW_LATENCY: Duration = Duration::from_millis(1);

/// The time by which the flush timeout exceeds the message timeout.
const FLUSH_MARGIN: Duration = Duration::from_secs(5);

/// Applies the derived defaults and records the settings that caused them.
///
/// A *derived default* replaces only a default: a value from a file, the environment or the command line is kept, even if it
/// equals the default. *Alternatives*, of which only one can be used, are different: the one from the higher layer wins.
pub(super) fn apply_derived_defaults(settings: &mut Settings, values: &mut SettingValues) -> Vec<SettingsError> {
    // With a duration, the default of 100 messages does not apply.
    let messages = "producer.messages_per_thread";
    if !settings.producer.duration.is_zero() && values.is_derived(messages, "producer.duration") {
        settings.producer.messages_per_thread = 0;
        values.follow(messages, 0, "producer.duration");
    }
    // The flush at the end of a run must cover the message timeout.
    let (message_timeout, flush_timeout) = (settings.producer.message_timeout, &mut settings.producer.flush_timeout);
    if message_timeout > *flush_timeout && values.is_derived("producer.flush_timeout", "producer.message_timeout") {
        *flush_timeout = message_timeout.saturating_add(FLUSH_MARGIN);
        let text = humantime::format_duration(*flush_timeout).to_string();
        values.follow("producer.flush_timeout", text, "producer.message_timeout");
    }
    if settings.kafka.preset == Preset::LowLatency && values.is_derived("producer.linger", "kafka.preset") {
        settings.producer.linger = LOW_LATENCY;
        values.follow("producer.linger", "1ms", "kafka.preset");
    }
    let is_later = values.layer("consumer.command") > values.layer("consumer.processor");
    if !settings.consumer.command.is_empty() && is_later {
        settings.consumer.processor = "command".to_owned();
        values.follow("consumer.processor", "command", "consumer.command");
    }
    // Dead-letter records are written for the group whose offset passes the message; a read-only run commits no offset.
    if settings.consumer.read_only && settings.consumer.on_failure == OnFailure::DeadLetter {
        settings.consumer.on_failure = OnFailure::Skip;
        values.follow("consumer.on_failure", OnFailure::Skip.word(), "consumer.read_only");
    }
    rate_profile::follow(settings, values);
    password(settings, values).err().into_iter().collect()
}

fn password(settings: &mut Settings, values: &mut SettingValues) -> Result<(), SettingsError> {
    let security = &mut settings.kafka.security;
    if security.password_file.is_empty() {
        return Ok(());
    }
    let keys = ["kafka.security.password", "kafka.security.password_file"];
    if !security.password.reveal().is_empty() {
        return Err(values.contradiction(&keys, "give the password in one place"));
    }
    security.password =
        password_file::read(Path::new(&security.password_file)).map_err(|problem| values.invalid(keys[1], problem))?;
    values.follow(keys[0], security.password.reveal(), keys[1]);
    Ok(())
}
