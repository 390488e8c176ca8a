//! The clients' properties. What the user gives raw comes last and wins; what must not be changed is refused by the
//! settings' validation.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::error::{Failure, creation};
use super::statistics;
use crate::settings::{Assignment, GroupProtocol, Preset, Properties, SecurityProtocol, Settings};

/// What every client needs.
fn common(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config.set("client.id", "kafka-actors").set("bootstrap.servers", settings.kafka.brokers.join(","));
    // A topic that a typing error created would hide the error.
    config.set("allow.auto.create.topics", "false");
    // A broker that is back is noticed so soon, and not after the default of up to 10 s.
    config.set("reconnect.backoff.max.ms", "2000");
    // What is handed to the socket is a whole request: waiting for more to send would only delay it.
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
        set("sasl.mechanism", &security.sasl_mechanism);
        set("sasl.username", &security.username);
        set("sasl.password", security.password.reveal());
    }
    if tls {
        // A vendored OpenSSL does not know where this system keeps its certificates: let librdkafka look.
        set("ssl.ca.location", if security.ca_file.is_empty() { "probe" } else { &security.ca_file });
        set("ssl.certificate.location", &security.certificate_file);
        set("ssl.key.location", &security.key_file);
        set("ssl.key.password", security.key_password.reveal());
    }
}

/// Has the client tell what it counts, if somebody looks at it.
fn watched(settings: &Settings, config: &mut ClientConfig) {
    if statistics::is_watched(settings) {
        config.set(statistics::INTERVAL, statistics::OFTEN);
    }
}

fn raw(config: &mut ClientConfig, properties: &Properties) {
    for (key, value) in properties {
        config.set(key, value);
    }
}

/// For questions and for topics.
pub(super) fn inquirer(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    raw(&mut config, &settings.kafka.properties);
    config
}

/// Messages of all producer threads that wait for their acknowledgements: as many as make full batches while the first
/// ones are under way. librdkafka needs some 200 bytes for each beside its own.
const WAITING_MESSAGES: usize = 300_000;
/// And their KiB.
const WAITING_KBYTES: usize = 131_072;

fn share(of: usize, threads: usize, least: usize, most: usize) -> String {
    (of / threads.max(1)).clamp(least, most).to_string()
}

/// For a producer thread.
pub(super) fn sender(settings: &Settings) -> ClientConfig {
    let producer = &settings.producer;
    let mut config = common(settings);
    config
        // Implies acks=all and at most five requests under way: in order, and a retry is no second copy.
        .set("enable.idempotence", "true")
        .set("compression.codec", producer.compression.word())
        // librdkafka takes fractions of a millisecond here.
        .set("linger.ms", (producer.linger.as_micros() as f64 / 1_000.0).to_string())
        .set("message.timeout.ms", producer.message_timeout.as_millis().to_string())
        // Kafka's own clients put a key into the same partition.
        .set("partitioner", "murmur2_random")
        // Per client, and there is one a thread: librdkafka's 1 GiB would be that often.
        .set("queue.buffering.max.messages", share(WAITING_MESSAGES, producer.threads, 1_000, 100_000))
        .set("queue.buffering.max.kbytes", share(WAITING_KBYTES, producer.threads, 4_096, 65_536));
    if settings.kafka.preset == Preset::LowLatency {
        // Messages without a key that spread over many partitions are as many requests.
        config.set("sticky.partitioning.linger.ms", "500");
    }
    watched(settings, &mut config);
    raw(&mut config, &settings.kafka.properties);
    raw(&mut config, &producer.properties);
    config
}

/// How long a copy may be under way, in ms: longer than a leader's failover (10 s), and short enough for its error to be told.
const COPY_MS: &str = "20000";

/// For copies of single messages, to a dead-letter topic and back from it. `producer.properties` are for load, and may trade
/// safety for it: they do not hold here.
pub(super) fn dead_letters(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("compression.codec", settings.producer.compression.word())
        // A partition waits for each of its copies.
        .set("linger.ms", "1")
        .set("message.timeout.ms", COPY_MS)
        // How long a topic that nobody knows may be one that was just made.
        .set("topic.metadata.propagation.max.ms", "3000")
        // With its added headers a copy may be larger than the client's own limit for messages; the topic's one counts.
        .set("message.max.bytes", "1000000000")
        .set("partitioner", "murmur2_random");
    raw(&mut config, &settings.kafka.properties);
    // Whatever the others do: a copy is acknowledged by all replicas, or it is none.
    config.remove("request.required.acks");
    config.set("enable.idempotence", "true").set("acks", "all");
    config
}

/// A message in a queue costs librdkafka some 250 bytes beside its own, which its limit in bytes does not count: small ones
/// are limited by their number, as if none had less than this.
const LEAST_MESSAGE: u64 = 768;

/// What tells a reader its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// Whoever made it.
    Manual,
    /// The group that it is a member of, by this static id if it has one.
    Member(Option<&'a str>),
}

/// How often a member tells its group that it lives: a third of the session's timeout, or this. It hears of a rebalance with
/// it, and a cooperative one has two rounds: librdkafka's own 3 s are 6 s until a worker that joins has its partitions.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// librdkafka's own `max.poll.interval.ms`; a session must not be longer.
const POLL_INTERVAL: Duration = Duration::from_secs(300);

/// What makes the client a member.
fn membership(settings: &Settings, id: Option<&str>, config: &mut ClientConfig) {
    let membership = &settings.consumer.membership;
    match membership.protocol {
        // Partitions that stay are not interrupted while others move.
        GroupProtocol::Classic => {
            let session = membership.session_timeout;
            config
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", session.as_millis().to_string())
                .set("heartbeat.interval.ms", (session / 3).min(HEARTBEAT).as_millis().to_string())
                .set("max.poll.interval.ms", session.max(POLL_INTERVAL).as_millis().to_string());
        }
        // The brokers have the timeouts; librdkafka refuses all of the above beside this.
        GroupProtocol::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
    if let Some(id) = id {
        config.set("group.instance.id", id);
    }
    let look = settings.consumer.topic_poll_interval;
    if !look.is_zero() {
        // It is the members that find new partitions, and have them dealt.
        config.set("topic.metadata.refresh.interval.ms", look.as_millis().to_string());
    }
}

/// For a worker that reads `partitions` partitions.
///
/// That is their number when the client is made. If there are more later (manual assignment to a worker that stood by or
/// that takes over from another, a group's member when others have left), each may still fetch ahead as much, so that
/// all together may hold more than `consumer.memory_budget_mb`, in proportion, until the next client.
pub(super) fn reader(settings: &Settings, role: Role<'_>, partitions: usize, report_ends: bool) -> ClientConfig {
    let consumer = &settings.consumer;
    // Both limits hold for each partition, since each has its own queue; less than 1 MiB could not hold one full
    // batch, more than 16 MiB gains nothing.
    let kbytes = (consumer.memory_budget_mb * 1_024 / partitions.max(1) as u64).clamp(1_024, 16_384);
    let mut config = common(settings);
    config
        .set("group.id", &consumer.group)
        // An offset is stored after its message was processed, and what is stored is committed on an interval, when
        // partitions are given back, and at the end.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", consumer.commit_interval.as_millis().to_string())
        // Start offsets are numbers that the supervisor found; any jump from there is an error, not a surprise.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", if report_ends { "true" } else { "false" })
        .set("queued.max.messages.kbytes", kbytes.to_string())
        .set("queued.min.messages", (kbytes * 1_024 / LEAST_MESSAGE).clamp(100, 100_000).to_string())
        // How long a full queue waits before it is filled again; the default of 1 s leaves a worker idle half the time.
        .set("fetch.queue.backoff.ms", "2")
        // There is one fetch at a time for each broker, and it has the partitions only whose queues were not full when it
        // was sent: where those have been read to their ends, it waits, and the others run dry. The default of 500 ms
        // halves the speed; an idle worker sends 20 fetches a second with this.
        .set("fetch.wait.max.ms", "50");
    if let Role::Member(id) = role {
        membership(settings, id, &mut config);
    }
    watched(settings, &mut config);
    raw(&mut config, &settings.kafka.properties);
    raw(&mut config, &consumer.properties);
    config
}

/// For questions about a group's commits and about the ends that its readers can reach.
pub(super) fn group_inquirer(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    config.set("group.id", &settings.consumer.group).set("enable.auto.commit", "false");
    // Its ends have to be those that the readers can reach.
    if let Some(level) = settings.consumer.properties.get("isolation.level") {
        config.set("isolation.level", level);
    }
    raw(&mut config, &settings.kafka.properties);
    config
}

/// Finds properties that librdkafka does not know, or whose values it does not take, without making a client.
///
/// # Errors
/// [`Failure::Settings`].
pub fn check(settings: &Settings) -> Result<(), Failure> {
    let role = match settings.consumer.assignment {
        Assignment::Manual => Role::Manual,
        Assignment::Group => Role::Member(None),
    };
    let consuming = [reader(settings, role, 1, false), group_inquirer(settings), dead_letters(settings)];
    for config in [inquirer(settings), sender(settings)].into_iter().chain(consuming) {
        config.create_native_config().map_err(|error| creation(&error))?;
    }
    Ok(())
}
