//! `top`.

use clap::Args;

use crate::top::StatusUrl;

/// `top`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Top {
    /// The run's monitoring address, as in its log: a URL, HOST:PORT or a local port
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9464")]
    pub url: StatusUrl,
}

const HELP: &str = "\
The run is another `kafka-actors produce, consume, demo or verify`, such as one with --set monitoring.listen=9464. It may be started
later or exit meanwhile: the last status is shown with its age, and is requested again every second.

Keys:
  q, Esc, Ctrl+C            quit
  Tab, Shift+Tab            next pane, previous pane
  Up, Down, j, k            scroll by a line
  PgUp, PgDn, Home, End     scroll by a page, to the start or end
  s                         sort the partitions by lag, or by name
  p                         pause the display
  ?                         help

Without a terminal (a pipe, a file) it prints the current status as plain text, and exits: with 1 if the run does not respond.
No settings are read: --config and --set have no effect. NO_COLOR=1 disables colours.

Examples:
  kafka-actors top                              the run on this machine that listens on port 9464
  kafka-actors top 9500                         on another port
  kafka-actors top http://10.0.0.7:9464/        on another machine
  kafka-actors top | grep lag                   one status, for scripts";
