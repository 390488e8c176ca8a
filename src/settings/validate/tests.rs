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
    let most = ["producer.threads=256", "consumer.processes=256", "shutdown.timeout=1h", "producer.message_timeout=1d"];
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
fn an_impossible_mechanism_or_file_is_an_error() {
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
    for brokers in ["me:geheim@a:1", "b:1,me:geheim@a:1", "SASL_SSL://me:geheim@a:1", "me:ge,heim@a:1", "me:geheim@"] {
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
