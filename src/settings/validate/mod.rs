//! Checks that the types cannot express: ranges, names, files, and settings that exclude each other.

mod consumer;
mod producer;

use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

use super::error::SettingsError;
use super::topic_name::topic_problem;
use super::values::SettingValues;
use super::{
    ACKS_NAMES, Assignment, LibrdkafkaConfig, SaslMechanism, SecurityProtocol, Settings, StartOffset, keys, librdkafka,
};
use producer::LARGE_MESSAGE_COUNT;

/// Returns all errors.
pub(super) fn validate(settings: &Settings, values: &SettingValues, processors: &[String]) -> Vec<SettingsError> {
    let ranges = ranges(settings).into_iter().chain(producer::ranges(&settings.producer));
    let ranges = ranges.chain(consumer::ranges(&settings.consumer));
    let ranges = ranges.filter(|(_, holds, _)| !holds);
    let ranges = ranges.map(|(key, _, allowed)| values.invalid(key, allowed));
    let pairs = conflicts(settings).into_iter().chain(producer::contradictions(&settings.producer));
    let pairs = pairs.chain(consumer::contradictions(settings));
    let pairs = pairs.filter(|(_, excluded, _)| *excluded);
    let pairs = pairs.map(|(keys, _, problem)| values.contradiction(keys, problem));
    let named = check_names(settings, processors).into_iter().chain(producer::names(&settings.producer));
    let named = named.map(|(key, problem)| values.invalid(&key, problem));
    ranges.chain(named).chain(pairs).collect()
}

const fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

const fn minutes(number: u64) -> Duration {
    Duration::from_secs(60 * number)
}

/// The range checks: key, whether the value is valid, allowed values.
fn ranges(settings: &Settings) -> Vec<(&'static str, bool, &'static str)> {
    let Settings { kafka, producer, consumer, shutdown, .. } = settings;
    let within = |value: Duration, least: Duration, most: Duration| (least..=most).contains(&value);
    let (hour, day, year) = (minutes(60), minutes(24 * 60), minutes(366 * 24 * 60));
    vec![
        (
            "kafka.connect_timeout",
            kafka.connect_timeout.is_zero() || within(kafka.connect_timeout, milliseconds(100), minutes(10)),
            "allowed: 0s (no limit), or 100ms to 10m",
        ),
        ("producer.threads", (1..=256).contains(&producer.threads), "allowed: 1 to 256"),
        // No machine sends more than that, and larger numbers would overflow in multiplications.
        ("producer.rate", (0.0..=1e9).contains(&producer.rate), "allowed: 0 (no limit) to 1e9"),
        (
            "producer.messages_per_thread",
            producer.messages_per_thread <= LARGE_MESSAGE_COUNT,
            "allowed: 0 (no limit) to 1e15",
        ),
        ("consumer.max_messages", consumer.max_messages <= LARGE_MESSAGE_COUNT, "allowed: 0 (no limit) to 1e15"),
        ("producer.duration", producer.duration <= year, "allowed: 0s (no limit) to 1year"),
        ("consumer.idle_exit", consumer.idle_exit <= year, "allowed: 0s (never) to 1year"),
        ("producer.linger", producer.linger <= minutes(15), "allowed: 0s to 15m"),
        ("producer.message_timeout", within(producer.message_timeout, milliseconds(1), day), "allowed: 1ms to 1d"),
        ("producer.flush_timeout", within(producer.flush_timeout, milliseconds(1), 2 * day), "allowed: 1ms to 2d"),
        ("consumer.processes", (1..=256).contains(&consumer.processes), "allowed: 1 to 256"),
        ("consumer.group_id", !consumer.group_id.trim().is_empty(), "allowed: a name; it must not be empty"),
        ("consumer.commit_interval", within(consumer.commit_interval, milliseconds(10), hour), "allowed: 10ms to 1h"),
        ("consumer.memory_budget_mb", (1..=65_536).contains(&consumer.memory_budget_mb), "allowed: 1 to 65536"),
        ("latency.warm_up", settings.latency.warm_up <= hour, "allowed: 0s to 1h"),
        (
            "monitoring.readiness_stall_timeout",
            within(settings.monitoring.readiness_stall_timeout, milliseconds(500), day),
            "allowed: 500ms to 1d",
        ),
        ("verify.timeout", within(settings.verify.timeout, milliseconds(1_000), 7 * day), "allowed: 1s to 7d"),
        ("shutdown.timeout", within(shutdown.timeout, milliseconds(100), hour), "allowed: 100ms to 1h"),
    ]
}

/// Checks names and files. Returns the keys with their problems.
fn check_names(settings: &Settings, processors: &[String]) -> Vec<(String, String)> {
    let Settings { kafka, producer, consumer, .. } = settings;
    let mut wrong = Vec::new();
    let mut check = |key: &str, problem: Option<String>| wrong.extend(problem.map(|problem| (key.to_owned(), problem)));
    let none = kafka.brokers.is_empty().then(|| "name one broker at least".to_owned());
    check("kafka.brokers", none.or_else(|| brokers_problem(&kafka.brokers)));
    check("kafka.topic", topic_problem(&kafka.topic));
    let topics = consumer.topics.iter().find_map(|topic| topic_problem(topic));
    check("consumer.topics", topics.or_else(|| first_duplicate(&consumer.topics)));
    let dead_letters = (!consumer.dead_letter_topic.is_empty()).then(|| topic_problem(&consumer.dead_letter_topic));
    check("consumer.dead_letter_topic", dead_letters.flatten());
    check("consumer.processor", processor_problem(&consumer.processor, processors));
    let security = &kafka.security;
    let is_cut = security.username.starts_with(char::is_whitespace);
    check("kafka.security.username", is_cut.then(|| "begins with a blank, which librdkafka cuts off".to_owned()));
    let secrets = [("password", &security.password), ("key_password", &security.key_password)];
    for (name, secret) in secrets {
        check(&format!("kafka.security.{name}"), secret.problem().map(str::to_owned));
    }
    check("kafka.security.ca_file", file_problem(&security.ca_file));
    check("kafka.security.certificate_file", file_problem(&security.certificate_file));
    check("kafka.security.key_file", file_problem(&security.key_file));
    let tables = [("kafka", &kafka.properties), ("producer", &producer.properties), ("consumer", &consumer.properties)];
    for (section, table) in tables {
        for name in table.keys() {
            check(&format!("{section}.properties.{name}"), librdkafka::forbidden_reason(name));
        }
        let [acks, alias] = ACKS_NAMES.map(|name| table.get(name).map(|value| value.trim()));
        if acks.is_some() && alias.is_some() && acks != alias {
            let problem = "this is another name of acks, which has another value: leave one of the two out";
            check(&format!("{section}.properties.{}", ACKS_NAMES[1]), Some(problem.to_owned()));
        }
        if let Some(acks) = weak_acks(table)
            .filter(|_| !is_idempotence_off(&kafka.properties) && !is_idempotence_off(&producer.properties))
        {
            let problem =
                "an idempotent producer needs all; set producer.properties.enable.idempotence = false to go without";
            check(&format!("{section}.properties.{acks}"), Some(problem.to_owned()));
        }
    }
    wrong
}

/// Returns the property that sets `acks` to less than all in-sync replicas.
fn weak_acks(table: &LibrdkafkaConfig) -> Option<&'static str> {
    let weak = |name: &&str| table.get(*name).is_some_and(|acks| !matches!(acks.trim(), "all" | "-1"));
    ACKS_NAMES.into_iter().find(weak)
}

fn is_idempotence_off(table: &LibrdkafkaConfig) -> bool {
    table.get("enable.idempotence").is_some_and(|word| word.trim().eq_ignore_ascii_case("false"))
}

/// The conflict checks: keys, whether they exclude each other, reason.
fn conflicts(settings: &Settings) -> Vec<(&'static [&'static str], bool, &'static str)> {
    use SecurityProtocol::{SaslPlaintext, SaslSsl, Ssl};
    let Settings { kafka, producer, consumer, .. } = settings;
    let security = &kafka.security;
    let sasl = matches!(security.protocol, SaslPlaintext | SaslSsl);
    let tls = matches!(security.protocol, Ssl | SaslSsl);
    let has_password = !security.password.reveal().is_empty();
    let has_key_password = !security.key_password.reveal().is_empty();
    let is_command = consumer.processor == "command";
    let needs_sasl = "only the protocols sasl_plaintext and sasl_ssl use it";
    let needs_tls = "only the protocols ssl and sasl_ssl use it";
    vec![
        (
            &["kafka.security.protocol", "kafka.security.sasl_mechanism"],
            sasl && security.sasl_mechanism == SaslMechanism::None,
            "this protocol needs a mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        ),
        (
            &["kafka.security.protocol", "kafka.security.username"],
            sasl && security.username.is_empty(),
            "this protocol needs a user name",
        ),
        (
            &["kafka.security.protocol", "kafka.security.password"],
            sasl && !has_password,
            "this protocol needs kafka.security.password or kafka.security.password_file",
        ),
        (
            &["kafka.security.sasl_mechanism", "kafka.security.protocol"],
            !sasl && security.sasl_mechanism != SaslMechanism::None,
            needs_sasl,
        ),
        (&["kafka.security.username", "kafka.security.protocol"], !sasl && !security.username.is_empty(), needs_sasl),
        (&["kafka.security.password", "kafka.security.protocol"], !sasl && has_password, needs_sasl),
        (&["kafka.security.ca_file", "kafka.security.protocol"], !tls && !security.ca_file.is_empty(), needs_tls),
        (
            &["kafka.security.certificate_file", "kafka.security.protocol"],
            !tls && !security.certificate_file.is_empty(),
            needs_tls,
        ),
        (&["kafka.security.key_file", "kafka.security.protocol"], !tls && !security.key_file.is_empty(), needs_tls),
        (
            &["kafka.security.certificate_file", "kafka.security.key_file"],
            security.certificate_file.is_empty() != security.key_file.is_empty(),
            "a certificate and its key go together",
        ),
        (
            &["kafka.security.key_password", "kafka.security.key_file"],
            has_key_password && security.key_file.is_empty(),
            "there is no key that the password could open",
        ),
        (
            &["producer.message_timeout", "producer.linger"],
            producer.message_timeout <= producer.linger,
            "a message would fail before its batch is sent; message_timeout must be longer than linger",
        ),
        (
            &["producer.rate_profile", "producer.rate"],
            !producer.rate_profile.is_empty() && producer.rate > 0.0,
            "either one rate or a profile of rates; leave one of the two out",
        ),
        (
            &["consumer.wait_for_lock", "consumer.supervisor_lock"],
            consumer.wait_for_lock && !consumer.supervisor_lock,
            "there is no lock to wait for; leave one of the two out",
        ),
        (
            &["consumer.wait_for_lock", "consumer.assignment"],
            consumer.wait_for_lock && consumer.assignment == Assignment::Group,
            "a group that Kafka shares out has no lock to wait for; leave one of the two out",
        ),
        (
            &["consumer.until_end", "consumer.start"],
            consumer.until_end && consumer.start == StartOffset::Latest,
            "nothing would be read: it would end where it starts",
        ),
        (
            &["consumer.processor", "consumer.command"],
            is_command && consumer.command.first().is_none_or(|program| program.trim().is_empty()),
            "the processor command needs a command",
        ),
        (
            &["consumer.processor", "consumer.command"],
            !is_command && !consumer.command.is_empty(),
            "a command is run only by the processor command; leave one of the two out",
        ),
    ]
}

fn brokers_problem(brokers: &[String]) -> Option<String> {
    if brokers.iter().any(|broker| broker.contains('@')) {
        return Some(
            "a broker's address has no user and password; use kafka.security.username and kafka.security.password"
                .to_owned(),
        );
    }
    brokers.iter().find_map(|broker| broker_problem(broker))
}

/// Returns why a broker is not `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; `None` if it is valid.
fn broker_problem(broker: &str) -> Option<String> {
    let problem = |what: &str| Some(format!("{broker:?} {what}; expected host:port, such as localhost:9092"));
    let bracketed = broker.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, "")) => (host, None),
        Some((host, rest)) => match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None => return problem("has something between ] and the port"),
        },
        None => broker.split_once(':').map_or((broker, None), |(host, port)| (host, Some(port))),
    };
    if bracketed.is_some() && host.parse::<std::net::Ipv6Addr>().is_err() {
        return problem("has no IPv6 address between its brackets");
    }
    if bracketed.is_none() && port.is_some_and(|port| port.contains(':')) && !broker.contains("//") {
        return problem("has more than one colon (an IPv6 address needs brackets)");
    }
    if host.is_empty() {
        return problem("has no host");
    }
    if broker.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ',' | '@')) {
        return problem("has a character that no host name has");
    }
    match port {
        Some(port) if !port.parse::<u16>().is_ok_and(|number| number > 0) => problem("has no port from 1 to 65535"),
        _ => None,
    }
}

fn first_duplicate(topics: &[String]) -> Option<String> {
    let mut seen = BTreeSet::new();
    topics.iter().find(|topic| !seen.insert(*topic)).map(|topic| format!("{topic:?} is named twice"))
}

fn processor_problem(name: &str, processors: &[String]) -> Option<String> {
    if processors.iter().any(|known| known == name) {
        return None;
    }
    let nearest = keys::nearest_word(name, processors).map(|near| format!("; did you mean {near}?"));
    Some(format!("allowed: {}{}", processors.join(", "), nearest.unwrap_or_default()))
}

fn file_problem(path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_dir() => Some("is a directory; expected a file".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests;
