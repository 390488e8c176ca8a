//! Log lines: what they look like. All lines of a process, and those that its workers send it, go through one
//! [`Screen`]. stdout is not touched.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use slog::{Drain, FnValue, Level, LevelFilter, Logger, OwnedKVList, PushFnValue, Record, o};
use slog_async::{Async, AsyncGuard, OverflowStrategy};
use slog_term::{Decorator, FullFormat, RecordDecorator};

use crate::screen::{LAST_LINES, Screen};
use crate::settings::{LogFormat, LogLevel};

/// How many lines may wait to be written; what comes while they all wait is dropped, and said so. A terminal that was
/// stopped with Ctrl+S must not stop Kafka's heartbeats.
const WAITING_LINES: usize = 8_192;

/// How lines are to look; the supervisor tells its workers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Style {
    /// For people or machines.
    pub format: LogFormat,
    /// What is left out.
    pub level: LogLevel,
    /// With colours.
    pub color: bool,
}

impl Style {
    /// As the settings say, with colours on a terminal unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn new(settings: &crate::settings::Logging) -> Self {
        let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { format: settings.format, level: settings.level, color }
    }
}

/// Writes what was logged when it is dropped; not for long, if nobody reads.
pub struct Rest(Option<AsyncGuard>);

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(guard) = self.0.take() else { return };
        let (done, written) = mpsc::channel();
        let started = std::thread::Builder::new().name("last-lines".to_owned()).spawn(move || {
            drop(guard);
            // Whoever waited has gone on.
            let _unheard = done.send(());
        });
        if started.is_ok() {
            let _late = written.recv_timeout(LAST_LINES);
        }
    }
}

/// A logger that does not keep its callers waiting.
pub fn asynchronous(style: Style, screen: &Screen) -> (Logger, Rest) {
    let (drain, guard) = Async::new(drain(style, screen))
        .chan_size(WAITING_LINES)
        .overflow_strategy(OverflowStrategy::DropAndReport)
        .thread_name("log".to_owned())
        .build_with_guard();
    (Logger::root(drain.fuse(), o!()), Rest(Some(guard)))
}

/// A logger whose lines are written when the call returns.
pub fn synchronous(style: Style, screen: &Screen) -> Logger {
    // A value of the user's that panics while it is written poisons the lock; the next lines are lost then, not the process.
    Logger::root(std::sync::Mutex::new(drain(style, screen)).ignore_res(), o!())
}

/// A logger that writes nothing.
pub fn silent() -> Logger {
    Logger::root(slog::Discard, o!())
}

type Lines = Box<dyn Drain<Ok = (), Err = slog::Never> + Send>;

fn drain(style: Style, screen: &Screen) -> Lines {
    let lines = WholeLines { screen: screen.clone(), line: Vec::new() };
    let level = level(style.level);
    match style.format {
        LogFormat::Terminal => {
            let decorator = Styled { lines: RefCell::new(lines), color: style.color };
            let drain = FullFormat::new(decorator).use_custom_timestamp(clock_time).use_original_order().build();
            Box::new(LevelFilter::new(drain.ignore_res(), level).ignore_res())
        }
        LogFormat::Json => {
            let drain = slog_json::Json::new(lines)
                .add_key_value(o!(
                    "time" => FnValue(|_: &Record<'_>| rfc3339_now()),
                    "level" => FnValue(|record: &Record<'_>| record.level().as_str().to_lowercase()),
                    "message" => PushFnValue(|record: &Record<'_>, serializer| serializer.emit(record.msg())),
                ))
                .build();
            Box::new(LevelFilter::new(drain.ignore_res(), level).ignore_res())
        }
    }
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warning => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    }
}

fn rfc3339_now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// `HH:MM:SS.mmm` in UTC: whoever watches a terminal knows the day.
fn clock_time(out: &mut dyn Write) -> io::Result<()> {
    let now = rfc3339_now();
    out.write_all(now.get(11..23).unwrap_or(&now).as_bytes())
}

/// Collects what formatters write piece by piece and hands on whole lines.
struct WholeLines {
    screen: Screen,
    line: Vec<u8>,
}

impl Write for WholeLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if bytes.last() == Some(&b'\n') {
            self.screen.write_lines(&self.line);
            self.line.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Colours for a terminal, no escape sequence but our own, and one line a record: a message's content must neither steer a
/// terminal nor look like a line of the log.
struct Styled {
    lines: RefCell<WholeLines>,
    color: bool,
}

impl Decorator for Styled {
    fn with_record<F>(&self, record: &Record<'_>, _: &OwnedKVList, write: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let mut line =
            StyledLine { line: String::with_capacity(256), text: Vec::new(), color: self.color, level: record.level() };
        write(&mut line)?;
        self.lines.borrow_mut().write_all(line.finish().as_bytes())
    }
}

struct StyledLine {
    line: String,
    /// What was written since the last colour: a letter may come in pieces.
    text: Vec<u8>,
    color: bool,
    level: Level,
}

impl StyledLine {
    fn style(&mut self, code: &str) -> io::Result<()> {
        if self.color {
            self.settle();
            self.line.push_str("\x1b[");
            self.line.push_str(code);
            self.line.push('m');
        }
        Ok(())
    }

    fn settle(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        self.line.extend(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
        self.text.clear();
    }

    /// The record as a line; its last newline is the formatter's.
    fn finish(mut self) -> String {
        if self.text.last() == Some(&b'\n') {
            self.text.pop();
        }
        self.settle();
        self.line.push('\n');
        self.line
    }
}

impl Write for StyledLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for StyledLine {
    fn reset(&mut self) -> io::Result<()> {
        self.style("0")
    }
    fn start_timestamp(&mut self) -> io::Result<()> {
        self.style("2")
    }
    fn start_level(&mut self) -> io::Result<()> {
        let code = match self.level {
            Level::Critical | Level::Error => "31",
            Level::Warning => "33",
            Level::Info => "32",
            Level::Debug => "36",
            Level::Trace => "34",
        };
        self.style(code)
    }
    fn start_msg(&mut self) -> io::Result<()> {
        self.style("1")
    }
    fn start_key(&mut self) -> io::Result<()> {
        self.style("2")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(color: bool) -> StyledLine {
        StyledLine { line: String::new(), text: Vec::new(), color, level: Level::Info }
    }

    #[test]
    fn no_escape_sequence_of_a_value_reaches_the_terminal() {
        let mut line = line(true);
        line.start_level().unwrap();
        line.write_all(b"a\x1b[2Jb\n").unwrap();
        assert_eq!(line.finish(), "\x1b[32ma [2Jb\n");
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let mut line = line(false);
        line.start_msg().unwrap();
        // The second byte of `ü` and of the control character U+009B in a piece of its own.
        for piece in [b"failed:\n12:00:00 ERRO forged\r, \xc3".as_slice(), b"\xbc\xc2", b"\x9b2J, \xff", b"\n"] {
            line.write_all(piece).unwrap();
        }
        assert_eq!(line.finish(), "failed: 12:00:00 ERRO forged , ü 2J, \u{fffd}\n");
    }
}
