//! The command line. Flags are short forms of settings and are passed on as text, so that the settings alone validate
//! values from all sources.
//!
//! - `args`: the commands; `produce`, `consume`, `verify`, `topics`, `dlq`, `top`, `config_command`: their flags. `shared_args`: flags that
//!   several commands have; `global_args`: the options of all commands.
//! - `flags`: the settings of the flags. `topic_spec`: the notation of topics.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser};

mod args;
mod config_command;
mod consume;
mod dlq;
mod flags;
mod global_args;
mod produce;
mod shared_args;
#[cfg(feature = "top")]
mod top;
mod topic_spec;
mod topics;
#[cfg(feature = "verify")]
mod verify;

pub use args::Command;
pub use config_command::{CheckConfig, Config, ConfigCommand, ShowConfig};
pub use dlq::{DlqCommand, ListDeadLetters, ReplayDeadLetters};
use global_args::GlobalArgs;
pub use produce::Produce;
#[cfg(feature = "top")]
pub use top::Top;
pub use topic_spec::{AlteredTopic, TopicSpec};
pub use topics::{DeleteTopics, TopicsCommand};
#[cfg(feature = "verify")]
pub use verify::{Demo, Verify};

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
    /// `-q`.
    pub quiet: bool,
    /// The settings of the flags: flag, key, value; the highest layer.
    pub flags: Vec<(String, String, String)>,
    /// The command.
    pub command: Command,
}

/// Writes JSON messages to Kafka from many threads, and consumes them with many supervised worker processes.
#[derive(Parser)]
#[command(name = "kafka-actors", version, after_help = EXAMPLES, max_term_width = 120, disable_help_subcommand = true, args_override_self = true)]
struct RawArgs {
    #[command(subcommand)]
    command: Command,
}

/// Adds the general options to a command and its subcommands.
fn with_global_args(command: clap::Command) -> clap::Command {
    GlobalArgs::augment_args(command).mut_subcommands(with_global_args)
}

/// The general options of the command line: before the command, between it and its subcommand, and after it.
fn global_args(matches: &ArgMatches) -> Result<GlobalArgs, clap::Error> {
    let outer = GlobalArgs::from_arg_matches(matches)?;
    match matches.subcommand() {
        Some((_, matches)) => Ok(outer.merge(global_args(matches)?)),
        None => Ok(outer),
    }
}

impl Cli {
    /// Parses a command line, which starts with the name of the program.
    ///
    /// # Errors
    /// clap's error, which is also how help and version are returned.
    pub fn try_parse_from<T: Into<OsString> + Clone>(line: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(line)?;
        let GlobalArgs { config, set, report, verbose, quiet } = global_args(&matches)?;
        let level = match (quiet, verbose) {
            (true, 1..) => {
                let text = "--quiet and --verbose cannot be used together";
                return Err(Self::command().error(ErrorKind::ArgumentConflict, text));
            }
            (true, 0) => Some(("--quiet", "warning")),
            (false, 0) => None,
            (false, 1) => Some(("--verbose", "debug")),
            (false, _) => Some(("--verbose", "trace")),
        };
        let level = level.map(|(flag, word)| (flag.to_owned(), "logging.level".to_owned(), word.to_owned()));
        let flags = level.into_iter().chain(flags::setting_overrides(&command, &matches)).collect();
        let RawArgs { command } = RawArgs::from_arg_matches(&matches)?;
        Ok(Self { config, set, report, quiet, flags, command })
    }

    fn command() -> clap::Command {
        with_global_args(RawArgs::command())
    }
}

#[cfg(test)]
mod tests;
