//! `top`.

use clap::Args;

use super::general::General;
use crate::top::Address;

/// `top`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
#[allow(missing_docs, reason = "these are the texts of --help")]
pub struct Top {
    /// Where the run listens, as its log says: a URL, HOST:PORT or a port of this machine
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9464")]
    pub url: Address,
    #[command(flatten)]
    pub(super) general: General,
}

const HELP: &str = "\
The run is another `kafka-actors produce, consume, demo or verify`, with --set monitoring.listen=9464, say. It may be started
later or end meanwhile: what was last known is shown with its age, and the run is asked again every second.

Keys:
  q, Esc, Ctrl+C            quit
  Tab, Shift+Tab            the next pane, the one before
  Up, Down, j, k            scroll by a line
  PgUp, PgDn, Home, End     scroll by a page, to the ends
  s                         sort the partitions by lag, or by name
  p                         pause: what is shown stays as it is
  ?                         help

Without a terminal (a pipe, a file) it prints what is known at this moment as plain text, and ends: with 1 if nobody answers.
No settings are read: --config and --set change nothing here. NO_COLOR=1 leaves colours out.

Examples:
  kafka-actors top                              the run on this machine that listens on port 9464
  kafka-actors top 9500                         on another port
  kafka-actors top http://10.0.0.7:9464/        on another machine
  kafka-actors top | grep lag                   one look, for scripts";

impl Top {
    pub(super) fn general(&self) -> &General {
        &self.general
    }
}
