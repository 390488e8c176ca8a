//! The command line. Flags are short forms of settings and are passed on as text, so that the settings alone validate
//! values from all sources.
//!
//! - [`args`]: the commands and their flags; `dlq`, `top`, `topics`: those of these commands. `global_args`: the
//!   options of all commands. `topic_spec`: the notation of topics.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

mod args;
mod dlq;
mod global_args;
#[cfg(feature = "top")]
mod top;
mod topic_spec;
mod topics;

pub use args::{CheckConfig, Command, Config, ConfigCommand, Produce, ShowConfig};
#[cfg(feature = "verify")]
pub use args::{Demo, Verify};
pub use dlq::{DlqCommand, ListDeadLetters, ReplayDeadLetters};
use global_args::GlobalArgs;
#[cfg(feature = "top")]
pub use top::Top;
pub use topic_spec::{AlteredTopic, TopicSpec};
pub use topics::{DeleteTopics, TopicsCommand};

const EXAMPLES: &str = "\
Examples:
  kafka-actors demo                                     produce and consume, without a broker
  kafka-actors topics create test-topic:6:1             six partitions, one replica
  kafka-actors produce --threads 8 --messages-per-thread 1000
  kafka-actors produce --rate 500 --duration 1m         500 messages per second
  kafka-actors produce --size 200 --dry-run 3 | jq .    print messages, without a broker
  kafka-actors consume --processes 4 --from-beginning --until-end
  kafka-actors consume --read-only --from-beginning --processor print -q | jq .   show messages; commits nothing
  kafka-actors consume --command 'python3 work.py'      process messages with your own program
  kafka-actors verify --rate 20000 --duration 1m        verify delivery, and measure latencies
  kafka-actors dlq list                                 show dead-letter records with their errors
  kafka-actors top                                      show the status of a run started with --set monitoring.listen=9464
  kafka-actors config show --origin                     show the effective settings with their origins

Every setting can also be given as --set SECTION.KEY=VALUE, in the environment as KAFKA_ACTORS__SECTION__KEY, or in
Settings.toml; flags win over --set, --set over the environment, the environment over the file.

Exit codes:
  0  success
  1  failure: messages were not delivered or not processed, or the brokers were not reached
  2  invalid command line or settings; nothing was started
  3  forced exit: the shutdown timeout expired, or a second signal arrived (more than a second later)
  4  worker exit after the loss of its supervisor";

/// The parsed command line.
#[derive(Clone, Debug)]
pub struct Cli {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// Each `--set`, in order.
    pub set: Vec<String>,
    /// `--report`: a file, or `-`.
    pub report: Option<String>,
    /// The number of `-v` flags.
    pub verbose: u8,
    /// `-q`.
    pub quiet: bool,
    /// The command.
    pub command: Command,
}

/// Writes JSON messages to Kafka from many threads, and consumes them with many supervised worker processes.
#[derive(Parser)]
#[command(name = "kafka-actors", version, after_help = EXAMPLES, max_term_width = 120, disable_help_subcommand = true, args_override_self = true)]
struct RawArgs {
    #[command(flatten)]
    general: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// The settings of the flags: flag, key, value; the highest layer.
    pub fn flags(&self) -> Vec<(String, String, String)> {
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some(("--quiet", "warning")),
            (false, 0) => None,
            (false, 1) => Some(("--verbose", "debug")),
            (false, _) => Some(("--verbose", "trace")),
        };
        let level = level.map(|(flag, word)| (flag, "logging.level", Some(word.to_owned())));
        let flags = level.into_iter().chain(self.command.setting_overrides());
        flags.filter_map(|(flag, key, value)| Some((flag.to_owned(), key.to_owned(), value?))).collect()
    }

    fn merge(RawArgs { general, command }: RawArgs) -> Result<Self, clap::Error> {
        let all: Vec<GlobalArgs> = std::iter::once(&general).chain(command.general()).cloned().collect();
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
        RawArgs::command()
    }

    fn command_for_update() -> clap::Command {
        RawArgs::command_for_update()
    }
}

impl FromArgMatches for Cli {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        RawArgs::from_arg_matches(matches).and_then(Self::merge)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
