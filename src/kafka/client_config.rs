//! librdkafka properties of the clients. Raw properties from the settings are applied last and win; the validation of
//! the settings rejects those that must not change.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::error::{KafkaError, creation};
use super::fetch_budget::FetchLimits;
use super::{pem, statistics};
use crate::settings::{
    ACKS_NAMES, Acks, Assignment, GroupProtocol, LibrdkafkaConfig, Preset, SecurityProtocol, Settings,
};

/// The properties that all clients share.
fn common(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config.set("client.id", "kafka-actors").set("bootstrap.servers", settings.kafka.brokers.join(","));
    // An automatically created topic would hide a misspelt name.
    config.set("allow.auto.create.topics", "false");
    // The default of up to 10 s delays the reconnection to a restarted broker.
    config.set("reconnect.backoff.max.ms", "2000");
    // Each write to the socket is a whole request: Nagle's algorithm would only delay it.
    config.set("socket.nagle.disable", "true");
    security(settings, &mut config);
    config
}

fn security(settings: &Settings, config: &mut ClientConfig) {
    let security = &settings.kafka.security;
    config.set("security.protocol", security.protocol.word());
    let sasl = matches!(security.protocol, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl);
    let tls = matches!(security.protocol, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl);
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            config.set(key, value);
        }
    };
    if sasl {
        set("sasl.mechanism", security.sasl_mechanism.word());
        set("sasl.username", &security.username);
        set("sasl.password", security.current_password().reveal());
    }
    if tls {
        // The vendored OpenSSL does not know the system's certificate folder: librdkafka probes for it.
        set("ssl.ca.location", if security.ca_file.is_empty() { "probe" } else { "" });
        let files = [
            ("ssl.ca", &security.ca_file),
            ("ssl.certificate", &security.certificate_file),
            ("ssl.key", &security.key_file),
        ];
        for (property, file) in files {
            match pem::text_behind_mark(file) {
                Some(text) => set(&format!("{property}.pem"), &text),
                None => set(&format!("{property}.location"), file),
            }
        }
        set("ssl.key.password", security.key_password.reveal());
    }
}

/// Enables librdkafka's statistics, which also report throttling.
fn enable_statistics(settings: &Settings, config: &mut ClientConfig) {
    config.set(statistics::INTERVAL, statistics::interval(settings).as_millis().to_string());
}

fn set_properties(config: &mut ClientConfig, properties: &LibrdkafkaConfig) {
    for (key, value) in properties {
        // librdkafka receives the properties unordered: with two names for acks, the last table would not win.
        let key = if ACKS_NAMES.contains(&key.as_str()) { ACKS_NAMES[0] } else { key };
        config.set(key, value);
    }
}

/// The producers' effective `acks`, as librdkafka parses the properties.
///
/// # Errors
/// [`KafkaError::Settings`].
pub fn acks(settings: &Settings) -> Result<Acks, KafkaError> {
    let config = producer(settings, None).create_native_config().map_err(|error| creation(&error))?;
    let value = config.get(ACKS_NAMES[0]).map_err(|error| creation(&error))?;
    Ok(match value.trim() {
        "0" => Acks::None,
        "1" => Acks::Leader,
        // The brokers reject all other values.
        _ => Acks::All,
    })
}

/// The configuration of a client for metadata requests and the admin API.
pub(super) fn metadata_client(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    set_properties(&mut config, &settings.kafka.properties);
    config
}

/// The maximum number of unacknowledged messages of all producer threads: enough for full batches while earlier
/// batches are in flight. librdkafka needs about 200 bytes per message in addition to its content.
const WAITING_MESSAGES: usize = 300_000;
/// The maximum size of the unacknowledged messages of all producer threads, in KiB.
const WAITING_KBYTES: usize = 131_072;

fn memory_share(total: usize, threads: usize, min: usize, max: usize) -> String {
    (total / threads.max(1)).clamp(min, max).to_string()
}

/// librdkafka's property for the largest batch of messages, before compression.
pub(super) const BATCH_SIZE: &str = "batch.size";
/// librdkafka's property for the largest message that a client accepts, before compression.
pub(super) const MESSAGE_MAX_BYTES: &str = "message.max.bytes";
/// librdkafka's default for both.
const DEFAULT_BATCH_SIZE: u64 = 1_000_000;

/// Limits `batch.size` to `max_message_bytes` (the topic's `max.message.bytes`), because brokers reject a larger
/// batch with all its messages. The brokers compare the compressed size, which is never larger than the size compared
/// here. `message.max.bytes` does not change: a single message above the topic's limit may fit after compression.
fn clamp_batches(config: &mut ClientConfig, max_message_bytes: Option<u64>) {
    let configured = config.get(BATCH_SIZE).and_then(|size| size.parse().ok()).unwrap_or(DEFAULT_BATCH_SIZE);
    if let Some(limit) = max_message_bytes.filter(|limit| *limit < configured) {
        config.set(BATCH_SIZE, limit.max(1).to_string());
    }
}

/// The configuration of a producer thread's client; `max_message_bytes` is the topic's `max.message.bytes`, if known.
pub(super) fn producer(settings: &Settings, max_message_bytes: Option<u64>) -> ClientConfig {
    let producer = &settings.producer;
    let mut config = common(settings);
    config
        // Implies acks=all and at most five requests in flight: messages stay in order and retries create no
        // duplicates.
        .set("enable.idempotence", "true")
        .set("compression.codec", producer.compression.word())
        // librdkafka accepts fractions of a millisecond.
        .set("linger.ms", (producer.linger.as_micros() as f64 / 1_000.0).to_string())
        .set("message.timeout.ms", producer.message_timeout.as_millis().to_string())
        // Kafka's Java client assigns keys to the same partitions.
        .set("partitioner", "murmur2_random")
        // The limit is per client, and each thread has one: librdkafka's default of 1 GiB would apply to each.
        .set("queue.buffering.max.messages", memory_share(WAITING_MESSAGES, producer.threads, 1_000, 100_000))
        .set("queue.buffering.max.kbytes", memory_share(WAITING_KBYTES, producer.threads, 4_096, 65_536));
    if settings.kafka.preset == Preset::LowLatency {
        // Messages without a key that spread over many partitions need as many requests.
        config.set("sticky.partitioning.linger.ms", "500");
    }
    enable_statistics(settings, &mut config);
    set_properties(&mut config, &settings.kafka.properties);
    set_properties(&mut config, &producer.properties);
    clamp_batches(&mut config, max_message_bytes);
    config
}

/// The delivery timeout of a dead-letter record, in ms: longer than a leader failover (10 s), short enough to report
/// the error in time.
const DEAD_LETTER_TIMEOUT_MS: &str = "20000";

/// How dead-letter records share batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// One record per batch: a batch of several could exceed the topic's `max.message.bytes`, and none of them would
    /// be written. For callers that wait for each record.
    Single,
    /// Full batches. Brokers reject a batch as a whole: the caller sends rejected records again one by one.
    Shared,
}

/// The configuration of a client that writes single records to a dead-letter topic and back. It ignores
/// `producer.properties`, which may trade safety for throughput.
pub(super) fn dead_letters(settings: &Settings, batching: Batching) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("compression.codec", settings.producer.compression.word())
        // A partition waits for each of its dead-letter records.
        .set("linger.ms", "1")
        .set("message.timeout.ms", DEAD_LETTER_TIMEOUT_MS)
        // How long an unknown topic may be one that was just created.
        .set("topic.metadata.propagation.max.ms", "3000")
        // The added headers may exceed the client's own limit; only the topic's limit applies.
        .set("message.max.bytes", "1000000000")
        .set("partitioner", "murmur2_random");
    set_properties(&mut config, &settings.kafka.properties);
    // A dead-letter record must be acknowledged by all in-sync replicas, whatever the raw properties say.
    config.set("enable.idempotence", "true").set("acks", "all");
    if batching == Batching::Single {
        config.set(BATCH_SIZE, "1");
    }
    config
}

/// The minimum size assumed for a message in a fetch queue. librdkafka needs about 250 bytes per message that its
/// limit in bytes does not count, so the number of small messages is limited, too.
const LEAST_MESSAGE: u64 = 768;
/// The maximum number of messages in a fetch queue; more does not improve throughput.
const MOST_QUEUED: u64 = 20_000;

/// How a consumer gets its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerRole<'a> {
    /// The caller assigns the partitions.
    Manual,
    /// The consumer group assigns the partitions; the value is the `group.instance.id` of a static member.
    Member(Option<&'a str>),
}

/// The upper limit of `heartbeat.interval.ms`, otherwise a third of the session timeout. A member learns of a
/// rebalance with a heartbeat response, and a cooperative rebalance has two rounds: with librdkafka's default of 3 s
/// a joining worker waits 6 s for its partitions.
const GROUP_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// librdkafka's default `max.poll.interval.ms`; the session timeout must not be longer.
const POLL_INTERVAL: Duration = Duration::from_secs(300);

/// Sets the properties of a group member.
fn membership(settings: &Settings, id: Option<&str>, config: &mut ClientConfig) {
    let membership = &settings.consumer.membership;
    match membership.group_protocol {
        // Cooperative: partitions that stay with a member are not interrupted by a rebalance.
        GroupProtocol::Classic => {
            let session = membership.session_timeout;
            config
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", session.as_millis().to_string())
                .set("heartbeat.interval.ms", (session / 3).min(GROUP_HEARTBEAT_INTERVAL).as_millis().to_string())
                .set("max.poll.interval.ms", session.max(POLL_INTERVAL).as_millis().to_string());
        }
        // The brokers configure the timeouts; librdkafka rejects the properties above with this protocol.
        GroupProtocol::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
    if let Some(id) = id {
        config.set("group.instance.id", id);
    }
    let interval = settings.consumer.metadata_refresh_interval;
    if !interval.is_zero() {
        // Members discover new partitions and trigger the rebalance.
        config.set("topic.metadata.refresh.interval.ms", interval.as_millis().to_string());
    }
}

/// The fetch limits of a worker with `partitions` partitions.
pub(super) fn fetch_limits(settings: &Settings, partitions: usize) -> FetchLimits {
    FetchLimits::new(settings.consumer.memory_budget_mb << 20, partitions)
}

/// The configuration of a worker's consumer. `partitions` is the number of partitions when the client is created; if
/// it grows later or messages are large, [`super::fetch_control`] keeps the total within `consumer.memory_budget_mb`.
pub(super) fn consumer(
    settings: &Settings,
    role: ConsumerRole<'_>,
    partitions: usize,
    report_ends: bool,
) -> ClientConfig {
    let consumer = &settings.consumer;
    let limits = fetch_limits(settings, partitions);
    let share = (consumer.memory_budget_mb << 20) / partitions.max(1) as u64;
    let mut config = common(settings);
    let is_member = matches!(role, ConsumerRole::Member(_));
    config
        .set("group.id", &consumer.group_id)
        // An offset is stored after its message is processed. Stored offsets are committed at an interval, before
        // revocation and at shutdown: by the client of a group member, because the group accepts commits from members
        // only; otherwise by the worker, which first reads the committed offsets.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", if is_member && !consumer.read_only { "true" } else { "false" })
        .set("auto.commit.interval.ms", consumer.commit_interval.as_millis().to_string())
        // The supervisor resolves start offsets to numbers, so an offset reset is an error.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", if report_ends { "true" } else { "false" })
        // librdkafka derives `fetch.max.bytes` (the size of a fetch response) from it.
        .set("queued.max.messages.kbytes", (limits.queue / 1_024).to_string())
        .set("queued.min.messages", (share / LEAST_MESSAGE).clamp(100, MOST_QUEUED).to_string())
        .set("max.partition.fetch.bytes", limits.partition_fetch.to_string())
        // How long librdkafka waits before it refills a full queue; with the default of 1 s a worker is idle half the
        // time.
        .set("fetch.queue.backoff.ms", "2")
        // librdkafka sends one fetch per broker at a time, for the partitions whose queues were not full. If these
        // are at their end, the fetch waits and the other queues run empty: the default of 500 ms halves the
        // throughput. With 50 ms an idle worker sends 20 fetches per second.
        .set("fetch.wait.max.ms", "50");
    if let ConsumerRole::Member(id) = role {
        membership(settings, id, &mut config);
    }
    enable_statistics(settings, &mut config);
    set_properties(&mut config, &settings.kafka.properties);
    set_properties(&mut config, &consumer.properties);
    config
}

/// The configuration of a client that reads a group's committed offsets and the high watermarks visible to its
/// consumers.
pub(super) fn group_metadata_client(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    config.set("group.id", &settings.consumer.group_id).set("enable.auto.commit", "false");
    set_properties(&mut config, &settings.kafka.properties);
    // The high watermark depends on the consumers' isolation level.
    if let Some(level) = settings.consumer.properties.get("isolation.level") {
        config.set("isolation.level", level);
    }
    config
}

/// The session timeout of a group member that serves as a lock. It must not be below the brokers'
/// `group.min.session.timeout.ms` (6 s by default).
pub const LOCK_SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// The heartbeat interval of such a member.
const LOCK_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// The configuration of a client that is a member of `group` but consumes nothing; the group's description shows
/// `client_id`.
pub(super) fn group_lock(settings: &Settings, group: &str, client_id: &str) -> ClientConfig {
    let mut config = common(settings);
    set_properties(&mut config, &settings.kafka.properties);
    let session = LOCK_SESSION_TIMEOUT.as_millis().to_string();
    config
        .set("client.id", client_id)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", &session)
        // How long a rebalance waits for a lost member.
        .set("max.poll.interval.ms", &session)
        .set("heartbeat.interval.ms", LOCK_HEARTBEAT_INTERVAL.as_millis().to_string());
    config
}

/// Rejects properties that are unknown to librdkafka or have invalid values, without creating a client.
///
/// # Errors
/// [`KafkaError::Settings`], [`KafkaError::Tls`].
pub fn check(settings: &Settings) -> Result<(), KafkaError> {
    pem::check(&settings.kafka.security)?;
    let role = match settings.consumer.assignment {
        Assignment::Manual => ConsumerRole::Manual,
        Assignment::Group => ConsumerRole::Member(None),
    };
    let consuming =
        [consumer(settings, role, 1, false), group_metadata_client(settings), dead_letters(settings, Batching::Single)];
    for config in [metadata_client(settings), producer(settings, None)].into_iter().chain(consuming) {
        config.create_native_config().map_err(|error| creation(&error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_are_found_under_each_name_in_each_place_and_spelling() {
        let found = |of_all: &[(&str, &str)], of_producers: &[(&str, &str)]| {
            let mut settings = crate::settings::defaults();
            let fill = |table: &mut LibrdkafkaConfig, list: &[(&str, &str)]| {
                list.iter().for_each(|(name, value)| _ = table.insert((*name).to_owned(), (*value).to_owned()));
            };
            fill(&mut settings.kafka.properties, of_all);
            fill(&mut settings.producer.properties, of_producers);
            (acks(&settings).unwrap(), settings.acks_key())
        };
        let key = |name: &str| Some(name.to_owned());
        let alias = "request.required.acks";
        assert_eq!(found(&[], &[]), (Acks::All, None));
        for value in ["0", " 0", "0x0", "00"] {
            assert_eq!(found(&[], &[("acks", value)]), (Acks::None, key("producer.properties.acks")), "{value}");
        }
        assert_eq!(found(&[(alias, "0")], &[]), (Acks::None, key("kafka.properties.request.required.acks")));
        assert_eq!(found(&[("acks", "0")], &[(alias, "1")]).0, Acks::Leader);
        let both = found(&[(alias, "0")], &[("acks", "all")]);
        assert_eq!(both, (Acks::All, key("producer.properties.acks")));
        assert_eq!(found(&[], &[("acks", "-1")]).0, Acks::All);
    }
}
