use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("any-name").chain(line.split_whitespace()))
}

fn flags(line: &str) -> Vec<String> {
    let flags = parse(line).unwrap().flags;
    flags.into_iter().map(|(flag, key, value)| format!("{flag} {key}={value}")).collect()
}

#[test]
fn the_definition_holds() {
    Cli::command().debug_assert();
}

#[test]
fn general_options_hold_before_and_after_the_command() {
    let cli = parse("--set a=1 -v produce --set b=2 -v --report - --config x.toml").unwrap();
    assert_eq!(cli.set, ["a=1", "b=2"]);
    assert_eq!(cli.flags, [("--verbose".to_owned(), "logging.level".to_owned(), "trace".to_owned())]);
    assert_eq!(cli.report.as_deref(), Some("-"));
    assert_eq!(cli.config, Some(PathBuf::from("x.toml")));
    let cli = parse("--set a=1 topics --set b=2 describe --set c=3 x").unwrap();
    assert_eq!(cli.set, ["a=1", "b=2", "c=3"]);
}

#[test]
fn quiet_and_verbose_exclude_each_other() {
    assert_eq!(parse("-v produce -q").unwrap_err().kind(), ErrorKind::ArgumentConflict);
    assert_eq!(flags("-q produce"), ["--quiet logging.level=warning"]);
    assert_eq!(flags("produce -vv"), ["--verbose logging.level=trace"]);
}

#[test]
fn flags_are_short_forms_of_settings() {
    let line = "produce --brokers a:1,b:2 --threads 8 --rate -1 --duration 10";
    let expected = [
        "--brokers kafka.brokers=a:1,b:2",
        "--threads producer.threads=8",
        "--duration producer.duration=10s",
        "--rate producer.rate=-1",
    ];
    assert_eq!(flags(line), expected);
    let line = "consume --from-beginning --until-end --idle-exit 500ms --topic t";
    let expected = [
        "--topic kafka.topic=t",
        "--topic consumer.topics=t",
        "--from-beginning consumer.start=earliest",
        "--until-end consumer.until_end=true",
        "--idle-exit consumer.idle_exit=500ms",
    ];
    assert_eq!(flags(line), expected);
}

#[test]
fn brokers_have_the_names_of_kafkas_tools() {
    for command in ["produce", "consume", "demo", "verify", "topics list", "topics create a:1:1", "dlq list t.dlq"] {
        for name in ["--brokers", "--bootstrap-server", "-b"] {
            assert_eq!(flags(&format!("{command} {name} a:1,b:2"))[0], "--brokers kafka.brokers=a:1,b:2");
        }
    }
}

#[test]
fn steps_of_a_profile_come_one_by_one_or_together() {
    let line = ["any-name", "produce", "--rate-profile", "1 for 1s", "--rate-profile", "2 for 1s, 3 for 1s"];
    let expected = [("--rate-profile", "producer.rate_profile", "1 for 1s,2 for 1s, 3 for 1s")];
    let owned = |(flag, key, value): (&str, &str, &str)| (flag.to_owned(), key.to_owned(), value.to_owned());
    assert_eq!(Cli::try_parse_from(line).unwrap().flags, expected.map(owned));
}

#[test]
fn every_flag_names_a_setting_that_exists() {
    let template = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&template, "{}").unwrap();
    let lines = [
        "produce --brokers a --topic t --threads 1 --messages-per-thread 1 --duration 1 --rate 1 --key none --compression none",
        "produce --latency-file l.hlog",
        "produce --lines-file Cargo.toml --size 1..2 --seed 3 --dry-run 3",
        &format!("produce --template-file {}", template.path().display()),
        "consume --brokers a --topic t --group g --processes 1 --assignment manual --strategy range --start latest \
         --max-messages 1 --idle-exit 1 --processor command --command x --on-failure stop --latency-file l.hlog",
        "consume --read-only --from-beginning --until-end",
        "verify --brokers a --topic t --threads 1 --messages-per-thread 1 --rate 1 --key none --size 200 --processes 1 --group g \
         --processor log --timeout 5 --latency-file l.hlog",
        "verify --duration 5 --command x --produce-only --run-file f",
        "demo --brokers a --topic t --threads 1 --messages-per-thread 1 --rate 1 --processes 1 --latency-file l.hlog",
        "topics describe --brokers a",
        "topics list --json --brokers a",
        "topics alter a:3 --brokers a",
        "topics delete a --yes --brokers a",
        "dlq list t.dlq --brokers a --group g --json --max 3",
        "dlq replay t.dlq --brokers a --group g --dry-run --max 3",
    ];
    for line in lines {
        let inputs = crate::settings::LoadOptions {
            flags: parse(line).unwrap().flags,
            config_file: Some("/dev/null".into()),
            processors: vec!["log".to_owned(), "command".to_owned()],
            ..Default::default()
        };
        assert!(crate::settings::load(inputs).is_ok(), "{line}");
    }
}

#[test]
fn from_beginning_contradicts_another_start() {
    assert_eq!(parse("consume --from-beginning --start latest").unwrap_err().kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn an_address_that_is_none_is_a_usage_error() {
    let url = |line: &str| match parse(line).unwrap().command {
        Command::Top(top) => top.url.to_string(),
        _ => panic!(),
    };
    assert_eq!(url("top"), "http://127.0.0.1:9464");
    assert_eq!(url("--set a=1 top 9500 --config x.toml"), "http://127.0.0.1:9500");
    let error = parse("top run:99999").unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("expected a URL such as http://127.0.0.1:9464"), "{error}");
}

#[test]
fn a_demo_without_brokers_has_its_own() {
    let Command::Demo(demo) = parse("demo").unwrap().command else { panic!() };
    assert_eq!((demo.brokers, demo.partitions), (None, 6));
    assert!(parse("demo --partitions 0").is_err());
}

#[test]
fn topics_are_created_from_names_and_numbers() {
    let Command::Topics(topics) = parse("topics create a:1:1,b:2:3 c:6:1").unwrap().command else { panic!() };
    let TopicsCommand::Create(create) = topics.command else { panic!() };
    let names: Vec<&str> = create.topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(create.topics[1], TopicSpec { name: "b".to_owned(), partitions: 2, replication: 3 });
    assert!(parse("topics create").is_err());
}

#[test]
fn an_invalid_topic_is_an_error_with_the_reason() {
    let problem = |text: &str| text.parse::<TopicSpec>().unwrap_err();
    assert!(problem("a:6").contains("NAME:PARTITIONS:REPLICATION"));
    assert!(problem("a:0:1").contains("partitions = \"0\""));
    assert!(problem("a:1:x").contains("replication = \"x\""));
    assert!(problem("ä:1:1").contains("\"ä\" is no name for a topic"));
    for (line, reported) in [
        ("topics create a:0:1", "partitions = \"0\""),
        ("topics alter a:0", "partitions = \"0\""),
        ("topics alter a", "expected NAME:PARTITIONS, such as test-topic:12"),
        ("topics alter a:6:1", "expected NAME:PARTITIONS, such as test-topic:12"),
        ("topics alter ^a:6", "patterns"),
        ("topics create orders-*:1:1", "patterns"),
        ("topics delete ^orders.*", "patterns"),
        ("topics describe orders-*", "patterns"),
        ("dlq list orders-*", "patterns"),
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.contains(reported), "{error}");
    }
    let Command::Topics(topics) = parse("topics alter a:12,b:3").unwrap().command else { panic!() };
    let TopicsCommand::Alter(alter) = topics.command else { panic!() };
    assert_eq!(alter.topics[0], AlteredTopic { name: "a".to_owned(), partitions: 12 });
    let error = parse("topics create a:0:1").unwrap_err().to_string();
    assert!(error.contains("partitions = \"0\": expected a number, 1 or more"), "{error}");
}

#[test]
fn the_worker_is_hidden() {
    assert!(matches!(parse("worker --slot 3").unwrap().command, Command::Worker(args::Worker { slot: 3, .. })));
    assert!(!Cli::command().render_long_help().to_string().contains("worker --slot"));
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    assert_eq!(parse("produce --no-such-flag").unwrap_err().exit_code(), 2);
    assert_eq!(parse("").unwrap_err().exit_code(), 2);
    assert_eq!(parse("--help").unwrap_err().exit_code(), 0);
}
