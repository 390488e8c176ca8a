//! The command line. Its flags are short forms of settings: they are handed on as texts, so that one place, the
//! settings, says what is wrong with a value, wherever it comes from.

use std::path::PathBuf;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::topic_problem;

const EXAMPLES: &str = "\
Examples:
  kafka-actors demo                                     everything at once, without a broker
  kafka-actors topics create test-topic:6:1             six partitions, one replica
  kafka-actors produce --threads 8 --messages-per-thread 1000
  kafka-actors produce --rate 500 --duration 1m         500 messages a second
  kafka-actors consume --processes 4 --from-beginning --until-end
  kafka-actors consume --processor print -q | jq .      messages as JSON lines
  kafka-actors consume --command 'python3 work.py'      feed a program of your own
  kafka-actors config show --origin                     what holds, and where it comes from

Every setting can also be given as --set SECTION.KEY=VALUE, in the environment as KAFKA_ACTORS__SECTION__KEY, or in
Settings.toml; flags win over --set, --set over the environment, the environment over the file.

Exit codes:
  0  clean: all that was asked for was done
  1  failed: something was not delivered, not processed or not reached
  2  the command line or the settings are wrong; nothing was begun
  3  forced: the shutdown deadline passed, or a second signal came
  4  a worker whose supervisor is gone";

/// The command line, read.
#[derive(Clone, Debug)]
pub struct Cli {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// Each `--set`, in order.
    pub set: Vec<String>,
    /// `--report`: a file, or `-`.
    pub report: Option<String>,
    /// How many times `-v`.
    pub verbose: u8,
    /// `-q`.
    pub quiet: bool,
    /// What to do.
    pub command: Command,
}

/// Writes JSON messages to Kafka from many threads, and reads them with many supervised worker processes.
#[derive(Parser)]
#[command(name = "kafka-actors", version, after_help = EXAMPLES, max_term_width = 120, disable_help_subcommand = true, args_override_self = true)]
struct Raw {
    #[command(flatten)]
    general: General,
    #[command(subcommand)]
    command: Command,
}

/// Options that stand before or after the command. They are no global arguments of clap's, because of those it keeps
/// only what stands after: a `--set` before the command would be lost without a word.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "General options")]
struct General {
    /// Read settings from this file [default: ./Settings.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// At the end, write a report, one JSON object, to this file; "-" is stdout
    #[arg(long, value_name = "FILE")]
    report: Option<String>,
    /// Log more: -v debug, -vv trace
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Log warnings and errors only, and show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write messages from many threads; ends when all are acknowledged
    Produce(Produce),
    /// Read messages with many worker processes
    Consume(Consume),
    /// Produce and consume at once, on a broker of its own unless --brokers names others
    Demo(Demo),
    /// Create, describe or delete topics
    Topics(Topics),
    /// Show or check the settings
    Config(Config),
    /// What the supervisor starts; of no use by hand
    #[command(hide = true)]
    Worker(Worker),
}

/// `produce`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Produce {
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic that is written to [default: test-topic]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Producer threads, each with a client of its own [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages of each thread; 0: no limit [default: 100, or no limit with --duration]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub messages_per_thread: Option<String>,
    /// How long to produce, such as 1m; a number alone is seconds; 0: no limit [default: 0]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub duration: Option<String>,
    /// Messages a second, all threads together; 0: as fast as it goes [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// Keys of the messages: none, round_robin or message [default: none]
    #[arg(long, value_name = "SOURCE")]
    pub key: Option<String>,
    /// none, lz4, zstd, gzip or snappy [default: lz4]
    #[arg(long, value_name = "NAME")]
    pub compression: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `consume`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Consume {
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic that is read [default: test-topic]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// The consumer group, under which Kafka keeps what has been read [default: kafka-actors]
    #[arg(long, value_name = "ID")]
    pub group: Option<String>,
    /// Worker processes, which share the partitions [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Workers")]
    pub processes: Option<String>,
    /// Who deals the partitions to the workers: manual, the supervisor [default: manual]
    #[arg(long, value_name = "WHO", help_heading = "Workers")]
    pub assignment: Option<String>,
    /// How partitions are dealt: range or round_robin [default: range]
    #[arg(long, value_name = "NAME", help_heading = "Workers")]
    pub strategy: Option<String>,
    /// Start at the oldest messages, whatever is committed
    #[arg(long, conflicts_with = "start", help_heading = "Start and end")]
    pub from_beginning: bool,
    /// committed, beginning, end or a time such as 2026-11-23T10:00:00Z [default: committed]
    #[arg(long, value_name = "WHERE", help_heading = "Start and end")]
    pub start: Option<String>,
    /// End at what is the end of each partition at the start
    #[arg(long, help_heading = "Start and end")]
    pub until_end: bool,
    /// End after so many messages; 0: no limit [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Start and end")]
    pub max_messages: Option<String>,
    /// End when no message has come for so long; a number alone is seconds; 0: never [default: 0]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Start and end")]
    pub idle_exit: Option<String>,
    /// What is done with a message: log, print, count, command, or one of the program's [default: log]
    #[arg(long, value_name = "NAME", help_heading = "Processing")]
    pub processor: Option<String>,
    /// Feed the messages to this program; means --processor command
    #[arg(long, value_name = "TEXT", help_heading = "Processing")]
    pub command: Option<String>,
    /// What becomes of a message that fails: stop or skip [default: stop]
    #[arg(long, value_name = "WHAT", help_heading = "Processing")]
    pub on_failure: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Demo {
    /// Use these brokers, separated by commas [default: one of its own, in memory]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    /// The topic that is written and read [default: test-topic]
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Partitions of the topic, if it does not exist yet
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Producer threads [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,
    /// Messages of each thread; 0: no limit [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub messages_per_thread: Option<String>,
    /// Messages a second, all threads together; 0: as fast as it goes [default: so many that it takes 4 s]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// Worker processes [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub processes: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `topics`.
#[derive(Clone, Debug, Args)]
pub struct Topics {
    /// What to do with them.
    #[command(subcommand)]
    pub command: TopicsCommand,
    #[command(flatten)]
    general: General,
}

/// What to do with topics.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicsCommand {
    /// Create topics; one that exists with as many partitions is left as it is
    Create(CreateTopics),
    /// Show partitions, leaders, offsets
    Describe(DescribeTopics),
    /// Delete topics and all their messages
    Delete(DeleteTopics),
}

/// `topics create`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct CreateTopics {
    /// Name, partitions and replication factor of each, such as test-topic:6:1; also separated by commas
    #[arg(value_name = "NAME:PARTITIONS:REPLICATION", required = true, value_delimiter = ',')]
    pub topics: Vec<NewTopic>,
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `topics describe`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct DescribeTopics {
    /// The topics, also separated by commas [default: the settings' own]
    #[arg(value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `topics delete`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct DeleteTopics {
    /// The topics, also separated by commas
    #[arg(value_name = "NAME", required = true, value_delimiter = ',')]
    pub names: Vec<String>,
    /// Where the cluster is asked for at first, separated by commas [default: localhost:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub brokers: Option<String>,
    #[command(flatten)]
    general: General,
}

/// `config`.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// What to do with the settings.
    #[command(subcommand)]
    pub command: ConfigCommand,
    #[command(flatten)]
    general: General,
}

/// What to do with the settings.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print all settings that hold, as TOML; secrets are ***
    Show(ShowConfig),
    /// Say whether the settings hold, and what is wrong
    Check(CheckConfig),
}

/// `config show`.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct ShowConfig {
    /// Say where each value comes from
    #[arg(long)]
    pub origin: bool,
    #[command(flatten)]
    general: General,
}

/// `config check`.
#[derive(Clone, Debug, Args)]
pub struct CheckConfig {
    #[command(flatten)]
    general: General,
}

/// `worker`.
#[derive(Clone, Debug, Args)]
pub struct Worker {
    /// Which of the supervisor's workers this is, from 0.
    #[arg(long)]
    pub slot: usize,
    #[command(flatten)]
    general: General,
}

impl Command {
    /// The general options after the command, and between it and its own command.
    /// The command's word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Produce(_) => "produce",
            Self::Consume(_) => "consume",
            Self::Demo(_) => "demo",
            Self::Topics(_) => "topics",
            Self::Config(_) => "config",
            Self::Worker(_) => "worker",
        }
    }

    fn general(&self) -> Vec<&General> {
        match self {
            Self::Produce(of) => vec![&of.general],
            Self::Consume(of) => vec![&of.general],
            Self::Demo(of) => vec![&of.general],
            Self::Worker(of) => vec![&of.general],
            Self::Topics(Topics { command, general }) => match command {
                TopicsCommand::Create(of) => vec![general, &of.general],
                TopicsCommand::Describe(of) => vec![general, &of.general],
                TopicsCommand::Delete(of) => vec![general, &of.general],
            },
            Self::Config(Config { command, general }) => match command {
                ConfigCommand::Show(of) => vec![general, &of.general],
                ConfigCommand::Check(of) => vec![general, &of.general],
            },
        }
    }

    /// Flag, key, value.
    fn flags(&self) -> Vec<(&'static str, &'static str, Option<String>)> {
        match self {
            Self::Produce(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                ("--threads", "producer.threads", of.threads.clone()),
                ("--messages-per-thread", "producer.messages_per_thread", of.messages_per_thread.clone()),
                ("--duration", "producer.duration", of.duration.as_deref().map(seconds)),
                ("--rate", "producer.rate", of.rate.clone()),
                ("--key", "producer.key", of.key.clone()),
                ("--compression", "producer.compression", of.compression.clone()),
            ],
            Self::Consume(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                // Topics that another place names are not meant any more.
                ("--topic", "consumer.topics", of.topic.clone()),
                ("--group", "consumer.group", of.group.clone()),
                ("--processes", "consumer.processes", of.processes.clone()),
                ("--assignment", "consumer.assignment", of.assignment.clone()),
                ("--strategy", "consumer.strategy", of.strategy.clone()),
                ("--from-beginning", "consumer.start", of.from_beginning.then(|| "beginning".to_owned())),
                ("--start", "consumer.start", of.start.clone()),
                ("--until-end", "consumer.until_end", of.until_end.then(|| "true".to_owned())),
                ("--max-messages", "consumer.max_messages", of.max_messages.clone()),
                ("--idle-exit", "consumer.idle_exit", of.idle_exit.as_deref().map(seconds)),
                ("--processor", "consumer.processor", of.processor.clone()),
                // That this means the processor `command` is the settings' matter: it holds for every place.
                ("--command", "consumer.command", of.command.clone()),
                ("--on-failure", "consumer.on_failure", of.on_failure.clone()),
            ],
            Self::Demo(of) => vec![
                ("--brokers", "kafka.brokers", of.brokers.clone()),
                ("--topic", "kafka.topic", of.topic.clone()),
                ("--topic", "consumer.topics", of.topic.clone()),
                ("--threads", "producer.threads", of.threads.clone()),
                ("--messages-per-thread", "producer.messages_per_thread", of.messages_per_thread.clone()),
                ("--rate", "producer.rate", of.rate.clone()),
                ("--processes", "consumer.processes", of.processes.clone()),
            ],
            Self::Topics(of) => {
                let brokers = match &of.command {
                    TopicsCommand::Create(of) => &of.brokers,
                    TopicsCommand::Describe(of) => &of.brokers,
                    TopicsCommand::Delete(of) => &of.brokers,
                };
                vec![("--brokers", "kafka.brokers", brokers.clone())]
            }
            Self::Config(_) | Self::Worker(_) => Vec::new(),
        }
    }
}

/// A number alone is seconds.
fn seconds(text: &str) -> String {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { format!("{text}s") } else { text.to_owned() }
}

impl Cli {
    /// What the flags set: flag, key, value, for the settings' highest layer.
    pub fn flags(&self) -> Vec<(String, String, String)> {
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some(("--quiet", "warning")),
            (false, 0) => None,
            (false, 1) => Some(("--verbose", "debug")),
            (false, _) => Some(("--verbose", "trace")),
        };
        let level = level.map(|(flag, word)| (flag, "logging.level", Some(word.to_owned())));
        let flags = level.into_iter().chain(self.command.flags());
        flags.filter_map(|(flag, key, value)| Some((flag.to_owned(), key.to_owned(), value?))).collect()
    }

    fn merge(Raw { general, command }: Raw) -> Result<Self, clap::Error> {
        let all: Vec<General> = std::iter::once(&general).chain(command.general()).cloned().collect();
        let cli = Self {
            config: all.iter().rev().find_map(|general| general.config.clone()),
            report: all.iter().rev().find_map(|general| general.report.clone()),
            verbose: all.iter().fold(0, |count, general| count.saturating_add(general.verbose)),
            quiet: all.iter().any(|general| general.quiet),
            set: all.into_iter().flat_map(|general| general.set).collect(),
            command,
        };
        if cli.quiet && cli.verbose > 0 {
            let text = "--quiet and --verbose cannot be used together";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, text));
        }
        Ok(cli)
    }
}

impl Parser for Cli {}

impl CommandFactory for Cli {
    fn command() -> clap::Command {
        Raw::command()
    }

    fn command_for_update() -> clap::Command {
        Raw::command_for_update()
    }
}

impl FromArgMatches for Cli {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Raw::from_arg_matches(matches).and_then(Self::merge)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A topic that is to be created, in the notation of `KAFKA_CREATE_TOPICS`: `name:partitions:replication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions, 1 or more.
    pub partitions: i32,
    /// How many brokers have each, 1 or more.
    pub replication: i32,
}

impl FromStr for NewTopic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let [name, partitions, replication] = parts[..] else {
            return Err("expected NAME:PARTITIONS:REPLICATION, such as test-topic:6:1".to_owned());
        };
        match topic_problem(name) {
            Some(problem) => Err(problem),
            None => Ok(Self {
                name: name.to_owned(),
                partitions: positive("partitions", partitions, i32::MAX)?,
                // The protocol has 16 bits for it.
                replication: positive("replication", replication, i16::MAX.into())?,
            }),
        }
    }
}

fn positive(what: &str, text: &str, most: i32) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{what} = {text:?}: expected a number, 1 or more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("any-name").chain(line.split_whitespace()))
    }

    fn flags(line: &str) -> Vec<String> {
        let flags = parse(line).unwrap().flags();
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
        assert_eq!(cli.verbose, 2);
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
            "--from-beginning consumer.start=beginning",
            "--until-end consumer.until_end=true",
            "--idle-exit consumer.idle_exit=500ms",
        ];
        assert_eq!(flags(line), expected);
    }

    #[test]
    fn every_flag_names_a_setting_that_exists() {
        let lines = [
            "produce --brokers a --topic t --threads 1 --messages-per-thread 1 --duration 1 --rate 1 --key none --compression none",
            "consume --brokers a --topic t --group g --processes 1 --assignment manual --strategy range --start end \
             --max-messages 1 --idle-exit 1 --processor command --command x --on-failure stop",
            "consume --from-beginning --until-end",
            "demo --brokers a --topic t --threads 1 --messages-per-thread 1 --rate 1 --processes 1",
            "topics describe --brokers a",
        ];
        for line in lines {
            let inputs = crate::settings::Inputs {
                flags: parse(line).unwrap().flags(),
                config_file: Some("/dev/null".into()),
                processors: vec!["log".to_owned(), "command".to_owned()],
                ..Default::default()
            };
            assert!(crate::settings::load(inputs).is_ok(), "{line}");
        }
    }

    #[test]
    fn from_beginning_contradicts_another_start() {
        assert_eq!(parse("consume --from-beginning --start end").unwrap_err().kind(), ErrorKind::ArgumentConflict);
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
        assert_eq!(create.topics[1], NewTopic { name: "b".to_owned(), partitions: 2, replication: 3 });
        assert!(parse("topics create").is_err());
    }

    #[test]
    fn a_bad_topic_says_what_is_wrong_with_it() {
        let problem = |text: &str| text.parse::<NewTopic>().unwrap_err();
        assert!(problem("a:6").contains("NAME:PARTITIONS:REPLICATION"));
        assert!(problem("a:0:1").contains("partitions = \"0\""));
        assert!(problem("a:1:x").contains("replication = \"x\""));
        assert!(problem("ä:1:1").contains("\"ä\" is no name for a topic"));
        let error = parse("topics create a:0:1").unwrap_err().to_string();
        assert!(error.contains("partitions = \"0\": expected a number, 1 or more"), "{error}");
    }

    #[test]
    fn the_worker_is_hidden() {
        assert!(matches!(parse("worker --slot 3").unwrap().command, Command::Worker(Worker { slot: 3, .. })));
        assert!(!Cli::command().render_long_help().to_string().contains("worker --slot"));
    }

    #[test]
    fn usage_errors_exit_with_2_and_help_with_0() {
        assert_eq!(parse("produce --no-such-flag").unwrap_err().exit_code(), 2);
        assert_eq!(parse("").unwrap_err().exit_code(), 2);
        assert_eq!(parse("--help").unwrap_err().exit_code(), 0);
    }
}
