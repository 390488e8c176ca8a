//! Flags that are short forms of settings. The id of such a flag is its setting: `KEY`, or `KEY=VALUE` for a flag without a value
//! that sets this value. A flag that sets several settings names them all, separated by commas.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Returns the settings of the flags on the command line, in the order of `--help`: flag, key, value.
pub(super) fn setting_overrides(command: &Command, matches: &ArgMatches) -> Vec<(String, String, String)> {
    let mut found: Vec<_> = command.get_arguments().flat_map(|flag| overrides_of(flag, matches)).collect();
    if let Some((name, matches)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        found.extend(setting_overrides(command, matches));
    }
    found
}

fn overrides_of(flag: &Arg, matches: &ArgMatches) -> Vec<(String, String, String)> {
    let id = flag.get_id().as_str();
    if !id.contains('.') || matches.value_source(id) != Some(ValueSource::CommandLine) {
        return Vec::new();
    }
    let (keys, value) = match (id.split_once('='), flag.get_action()) {
        (Some((keys, value)), _) => (keys, value.to_owned()),
        (None, ArgAction::SetTrue) => (id, "true".to_owned()),
        (None, _) => {
            let values = matches.get_many::<String>(id).unwrap_or_default();
            (id, values.map(String::as_str).collect::<Vec<_>>().join(","))
        }
    };
    let flag = format!("--{}", flag.get_long().unwrap_or_default());
    keys.split(',').map(|key| (flag.clone(), key.to_owned(), value.clone())).collect()
}
