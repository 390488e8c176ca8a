//! Checks that the types cannot express: ranges, names, files, and settings that exclude each other.

mod consumer;
mod producer;

use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

use super::error::SettingsError;
use super::sources::Provenance;
use super::topic_name::topic_problem;
use super::{
    ACKS_NAMES, Assignment, LibrdkafkaConfig, SaslMechanism, SecurityProtocol, Settings, StartOffset, keys, librdkafka,
};
use producer::LARGE_MESSAGE_COUNT;

/// Returns all errors.
pub(super) fn validate(settings: &Settings, sources: &Provenance, processors: &[String]) -> Vec<SettingsError> {
    let ranges = ranges(settings).into_iter().chain(producer::ranges(&settings.producer));
    let ranges = ranges.chain(consumer::ranges(&settings.consumer));
    let ranges = ranges.filter(|(_, holds, _)| !holds);
    let ranges = ranges.map(|(key, _, allowed)| sources.invalid(key, allowed));
    let pairs = conflicts(settings).into_iter().chain(producer::contradictions(&settings.producer));
    let pairs = pairs.chain(consumer::contradictions(settings));
    let pairs = pairs.filter(|(_, excluded, _)| *excluded);
    let pairs = pairs.map(|(keys, _, problem)| sources.contradiction(keys, problem));
    let named = check_names(settings, processors).into_iter().chain(producer::names(&settings.producer));
    let named = named.map(|(key, problem)| sources.invalid(&key, problem));
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
mod tests {
    use super::super::{LoadOptions, load};
    use super::topic_problem;

    /// Returns the error that loading these `--set` arguments results in; empty if they are valid.
    fn reported(sets: &[&str]) -> String {
        let processors = ["log", "print", "count", "command"].map(str::to_owned).to_vec();
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        let inputs = LoadOptions { sets, processors, config_file: Some("/dev/null".into()), ..LoadOptions::default() };
        load(inputs).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_port_alone_is_for_this_machine_only() {
        let listen = |set: &str| {
            let sets = vec![format!("monitoring.listen={set}")];
            let inputs = LoadOptions { sets, config_file: Some("/dev/null".into()), ..LoadOptions::default() };
            let inputs = LoadOptions { processors: vec!["log".to_owned()], ..inputs };
            load(inputs).map(|loaded| loaded.settings.monitoring.listen.map(|address| address.to_string()))
        };
        let address = |text: &str| Some(text.to_owned());
        assert_eq!(listen("").unwrap(), None);
        for local in ["9464", ":9464", "localhost:9464", "127.0.0.1:9464"] {
            assert_eq!(listen(local).unwrap(), address("127.0.0.1:9464"), "{local}");
        }
        assert_eq!(listen("0.0.0.0:1").unwrap(), address("0.0.0.0:1"));
        assert_eq!(listen("[::1]:1").unwrap(), address("[::1]:1"));
        for wrong in ["127.0.0.1", "host:1", "70000", "-1", "true"] {
            let error = listen(wrong).err().unwrap().to_string();
            assert!(error.contains("monitoring.listen") && error.contains("0.0.0.0:9464"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_value_out_of_range_names_key_value_origin_and_the_range() {
        let cases = [
            ("producer.threads", "0", "1 to 256"),
            ("producer.threads", "257", "1 to 256"),
            ("consumer.processes", "0", "1 to 256"),
            ("consumer.processes", "257", "1 to 256"),
            ("kafka.connect_timeout", "99ms", "0s (no limit), or 100ms to 10m"),
            ("producer.linger", "16m", "0s to 15m"),
            ("producer.message_timeout", "0s", "1ms to 1d"),
            ("producer.message_timeout", "2d", "1ms to 1d"),
            ("producer.flush_timeout", "0s", "1ms to 2d"),
            ("producer.rate", "1e20", "0 (no limit) to 1e9"),
            ("producer.messages_per_thread", "4611686018427387904", "0 (no limit) to 1e15"),
            ("producer.duration", "100years", "0s (no limit) to 1year"),
            ("shutdown.timeout", "99ms", "100ms to 1h"),
            ("consumer.commit_interval", "61m", "10ms to 1h"),
            ("consumer.memory_budget_mb", "0", "1 to 65536"),
            ("producer.rate", "-1", "0 (no limit) to 1e9"),
            ("producer.rate", "NaN", "0 (no limit) to 1e9"),
            ("producer.rate", "inf", "0 (no limit) to 1e9"),
            ("producer.key_cardinality", "0", "1 to 1e15"),
        ];
        for (key, value, allowed) in cases {
            let reported = reported(&[&format!("{key}={value}")]);
            let expected = format!("{key} = {value} (--set): allowed: {allowed}");
            assert!(reported.lines().any(|line| line == expected), "{reported}\n{expected}");
        }
        assert!(reported(&["consumer.group_id="]).starts_with("consumer.group_id = \"\" (--set): allowed: a name"));
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        let least = ["producer.threads=1", "consumer.processes=1", "shutdown.timeout=100ms", "producer.linger=0"];
        assert_eq!(reported(&least), "");
        let most =
            ["producer.threads=256", "consumer.processes=256", "shutdown.timeout=1h", "producer.message_timeout=1d"];
        assert_eq!(reported(&most), "");
    }

    #[test]
    fn topics_have_kafkas_names() {
        for name in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(topic_problem(name), None);
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            let reported = reported(&[&format!("kafka.topic={name}")]);
            assert!(reported.starts_with("kafka.topic = ") && reported.contains("(--set)"), "{reported}");
            assert!(reported.contains("is no name for a topic; allowed: 1 to 249"), "{reported}");
        }
        for pattern in ["^orders.*", "orders-*", "orders-?", "(a|b)", "a$", "a[0-9]", "a{2}", "a\\d"] {
            for key in ["kafka.topic", "consumer.topics", "consumer.dead_letter_topic"] {
                let reported = reported(&[&format!("{key}={pattern}")]);
                assert!(reported.contains("patterns (regular expressions, wildcards) are not supported"), "{reported}");
            }
        }
        assert!(!reported(&["kafka.topic=a/b"]).contains("patterns"));
        assert!(reported(&["consumer.topics=a,b c"]).contains("\"b c\" is no name for a topic"));
        assert!(reported(&["consumer.topics=a,b,a"]).ends_with("\"a\" is named twice"));
    }

    #[test]
    fn brokers_are_hosts_and_ports() {
        assert_eq!(reported(&["kafka.brokers=a,b:1,10.0.0.1:65535,[::1],[fe80::1]:9092"]), "");
        let bad =
            ["", ":1", "a:", "a:0", "a:65536", "a:x", "::1", "[::1", "[x]:1", "[::1]1", "a b:1", "http://a:1", "u@a:1"];
        for broker in bad {
            let reported = reported(&[&format!("kafka.brokers={broker}")]);
            assert!(reported.starts_with("kafka.brokers = ") && reported.contains("(--set): "), "{broker}: {reported}");
        }
    }

    #[test]
    fn an_unknown_processor_names_the_nearest() {
        let expected = "consumer.processor = prnt (--set): allowed: log, print, count, command; did you mean print?";
        assert_eq!(reported(&["consumer.processor=prnt"]), expected);
    }

    #[test]
    fn security_holds_together() {
        let sasl = "kafka.security.protocol=sasl_ssl";
        let mechanism = "kafka.security.sasl_mechanism=PLAIN";
        let (user, password) = ("kafka.security.username=me", "kafka.security.password=geheim");
        assert_eq!(reported(&[sasl, mechanism, user, password]), "");
        let cases: [(&[&str], &str); 9] = [
            (&[sasl, user, password], "needs a mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
            (&[sasl, mechanism, password], "needs a user name"),
            (&[sasl, mechanism, user], "needs kafka.security.password or kafka.security.password_file"),
            (&[mechanism], "only the protocols sasl_plaintext and sasl_ssl use it"),
            (&[user], "only the protocols sasl_plaintext and sasl_ssl use it"),
            (&[password], "only the protocols sasl_plaintext and sasl_ssl use it"),
            (&["kafka.security.ca_file=/dev/null"], "only the protocols ssl and sasl_ssl use it"),
            (
                &["kafka.security.protocol=ssl", "kafka.security.certificate_file=/dev/null"],
                "a certificate and its key go together",
            ),
            (&["kafka.security.key_password=geheim"], "there is no key that the password could open"),
        ];
        for (sets, expected) in cases {
            let reported = reported(sets);
            assert!(reported.ends_with(expected) && reported.lines().count() == 1, "{reported}");
            assert!(
                reported.contains("(--set)") && reported.contains(" and ") && !reported.contains("geheim"),
                "{reported}"
            );
        }
    }

    #[test]
    fn a_mechanism_or_file_that_cannot_be_is_told() {
        let expected = "sasl_mechanism = GSSAPI (--set): allowed: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512";
        assert!(reported(&["kafka.security.sasl_mechanism=GSSAPI"]).contains(expected));
        let reported = reported(&["kafka.security.ca_file=/no/such"]);
        assert!(reported.contains("ca_file = /no/such (--set): cannot be read: No such file"), "{reported}");
    }

    #[test]
    fn words_are_taken_in_any_case() {
        let login = ["kafka.security.username=me", "kafka.security.password=geheim"];
        for (protocol, mechanism) in [("SASL_SSL", "scram-sha-512"), ("Sasl_Plaintext", "Plain")] {
            let protocol = format!("kafka.security.protocol={protocol}");
            let mechanism = format!("kafka.security.sasl_mechanism={mechanism}");
            assert_eq!(reported(&[&protocol, &mechanism, login[0], login[1]]), "");
        }
        let others =
            ["producer.compression=LZ4", "logging.level=INFO", "consumer.start=Latest", "consumer.assignment=Manual"];
        assert_eq!(reported(&others), "");
    }

    #[test]
    fn logins_in_broker_addresses_are_refused_and_not_printed() {
        for brokers in
            ["me:geheim@a:1", "b:1,me:geheim@a:1", "SASL_SSL://me:geheim@a:1", "me:ge,heim@a:1", "me:geheim@"]
        {
            let reported = reported(&[&format!("kafka.brokers={brokers}")]);
            assert!(reported.contains("kafka.security.password"), "{reported}");
            assert!(!reported.contains("heim") && !reported.contains("me:"), "{reported}");
        }
    }

    #[test]
    fn settings_that_exclude_each_other_are_both_named() {
        let cases: [(&[&str], &str); 3] = [
            (
                &["consumer.start=latest", "consumer.until_end=true"],
                "consumer.until_end = true (--set) and consumer.start = latest (--set): nothing would be read: it would end \
                 where it starts",
            ),
            (
                &["producer.linger=2s", "producer.message_timeout=1s"],
                "producer.message_timeout = 1s (--set) and producer.linger = 2s (--set): a message would fail before its \
                 batch is sent; message_timeout must be longer than linger",
            ),
            (
                &["producer.key=message", "producer.key_field="],
                "producer.key = message (--set) and producer.key_field = \"\" (--set): key = \"message\" needs the name \
                 of a field",
            ),
        ];
        for (sets, expected) in cases {
            assert_eq!(reported(sets), expected);
        }
    }

    #[test]
    fn a_property_that_the_program_sets_is_refused_with_what_to_use() {
        let expected = "producer.properties.linger.ms = 3 (--set): the program sets this property by itself: use \
                        producer.linger";
        assert_eq!(reported(&["producer.properties.linger.ms=3"]), expected);
        assert!(reported(&["kafka.properties.sasl.password=geheim"]).contains("sasl.password = *** (--set)"));
        assert!(reported(&["producer.properties.acks=1"]).contains("enable.idempotence = false"));
        let weak = ["producer.properties.acks=1", "producer.properties.enable.idempotence=false"];
        assert_eq!(reported(&weak), "");
        assert_eq!(reported(&["producer.properties.acks=all", "consumer.properties.queued.min.messages=1"]), "");
    }
}
