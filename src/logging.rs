//! The log: its format and its loggers. All lines of a process, and those that its workers send, go through one
//! [`Console`]; stdout is not used.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use slog::{Drain, FnValue, Level, LevelFilter, Logger, OwnedKVList, PushFnValue, Record, o};
use slog_async::{Async, AsyncGuard, OverflowStrategy};
use slog_term::{CountingWriter, Decorator, FullFormat, RecordDecorator, ThreadSafeTimestampFn};

use crate::console::{Console, FINAL_FLUSH_TIMEOUT, is_dumb_terminal};
use crate::settings::{LogFormat, LogLevel};
use crate::util::escape::{escape_json, one_line, truncate_chars};
use crate::util::format::{format_count, seconds};

mod repeat_filter;
mod sample;

use repeat_filter::{Repeated, Repeats};
pub use sample::SampledLog;

/// The maximum number of characters of a line that represents suppressed ones.
const LAST_CHARS: usize = 300;
/// The maximum number of queued lines; further lines are dropped, with a note in the log. A terminal stopped with
/// Ctrl+S must not block Kafka's heartbeats.
const WAITING_LINES: usize = 8_192;

/// The style of log lines, which the supervisor passes to its workers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LogStyle {
    /// For users or machines.
    pub format: LogFormat,
    /// The lowest level that is logged.
    pub level: LogLevel,
    /// Whether lines have colours.
    pub color: bool,
}

impl LogStyle {
    /// The style from the settings, with colours on a terminal, unless it is a dumb one (`TERM=dumb`) or `NO_COLOR`
    /// is set (<https://no-color.org>).
    pub fn new(settings: &crate::settings::Logging) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = io::stderr().is_terminal() && !is_dumb_terminal() && !no_color;
        Self { format: settings.format, level: settings.level, color }
    }
}

/// Writes the queued lines when dropped, with a timeout.
pub struct FlushGuard(Option<AsyncGuard>);

impl Drop for FlushGuard {
    fn drop(&mut self) {
        let Some(guard) = self.0.take() else { return };
        let (done, written) = mpsc::channel();
        let started = std::thread::Builder::new().name("last-lines".to_owned()).spawn(move || {
            drop(guard);
            // The receiver is dropped after the timeout.
            done.send(()).ok();
        });
        if started.is_ok() {
            written.recv_timeout(FINAL_FLUSH_TIMEOUT).ok();
        }
    }
}

/// Creates a logger that does not block its callers. Similar warnings and errors are counted, see [`repeat_filter`].
pub fn asynchronous(style: LogStyle, screen: &Console) -> (Logger, FlushGuard) {
    let lines = Counted { drain: drain(style, screen), repeats: RefCell::default() };
    let (drain, guard) = Async::new(lines)
        .chan_size(WAITING_LINES)
        .overflow_strategy(OverflowStrategy::DropAndReport)
        .thread_name("log".to_owned())
        .build_with_guard();
    (Logger::root(drain.fuse(), o!()), FlushGuard(Some(guard)))
}

/// Creates a logger whose calls return after the line is written.
pub fn synchronous(style: LogStyle, screen: &Console) -> Logger {
    // If formatting a user's value panics, it poisons the lock; the next lines are lost then, but the process
    // continues.
    Logger::root(std::sync::Mutex::new(drain(style, screen)).ignore_res(), o!())
}

/// Creates a logger that writes nothing.
#[cfg(test)]
pub fn discard() -> Logger {
    Logger::root(slog::Discard, o!())
}

type Lines = Box<dyn Drain<Ok = (), Err = slog::Never> + Send>;

/// Returns whether a line from a process' stderr is probably a log line.
pub fn is_log_line(line: &str) -> bool {
    // Hours, minutes, seconds, milliseconds; dimmed on a terminal.
    let line = line.strip_prefix("\u{1b}[2m").unwrap_or(line);
    let is_clock =
        |time: &str| time.chars().zip("00:00:00.000".chars()).all(|(a, b)| a == b || (a.is_ascii_digit() && b == '0'));
    let starts_with_clock = line.get(..12).is_some_and(is_clock);
    starts_with_clock || ["{\"", "\"time\":", "\"level\":", "\"message\":"].iter().all(|part| line.contains(part))
}

fn drain(style: LogStyle, screen: &Console) -> Lines {
    let lines = LineWriter { screen: screen.clone(), format: style.format, line: Vec::new() };
    let level = level(style.level);
    match style.format {
        LogFormat::Terminal => {
            let decorator = StyledDrain { lines: RefCell::new(lines), color: style.color };
            let drain = FullFormat::new(decorator).use_custom_timestamp(clock_time).use_original_order();
            let drain = drain.use_custom_header_print(header).build();
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

/// `HH:MM:SS.mmm` in UTC, without the date.
fn clock_time(out: &mut dyn Write) -> io::Result<()> {
    let now = rfc3339_now();
    out.write_all(now.get(11..23).unwrap_or(&now).as_bytes())
}

/// Writes the time, the full level and the message; returns whether there is a message.
fn header(
    time: &dyn ThreadSafeTimestampFn<Output = io::Result<()>>,
    mut line: &mut dyn RecordDecorator,
    record: &Record<'_>,
    _with_location: bool,
) -> io::Result<bool> {
    line.start_timestamp()?;
    time(&mut line)?;
    line.start_whitespace()?;
    write!(line, " ")?;
    line.start_level()?;
    write!(line, "{}", record.level().as_str())?;
    line.start_whitespace()?;
    write!(line, " ")?;
    line.start_msg()?;
    let mut counting = CountingWriter::new(&mut line);
    write!(counting, "{}", record.msg())?;
    Ok(counting.count() != 0)
}

/// Writes lines, but counts similar warnings and errors instead of repeating them.
struct Counted {
    drain: Lines,
    repeats: RefCell<Repeats>,
}

impl Counted {
    /// Writes one line for the suppressed ones.
    fn write_repeated(&self, repeated: &Repeated) {
        let Repeated { lines, over, last, errors } = repeated;
        let (last, none) = (truncate_chars(last, LAST_CHARS), OwnedKVList::from(o!()));
        let (lines, over) = (format_count(*lines), seconds(over.as_secs_f64()));
        let Ok(()) = match errors {
            true => self.drain.log(
                &slog::record!(
                    Level::Error,
                    "",
                    &format_args!("{lines} more like this in the last {over}: {last}"),
                    slog::b!()
                ),
                &none,
            ),
            false => self.drain.log(
                &slog::record!(
                    Level::Warning,
                    "",
                    &format_args!("{lines} more like this in the last {over}: {last}"),
                    slog::b!()
                ),
                &none,
            ),
        };
    }
}

impl Drain for Counted {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let (now, level) = (Instant::now(), record.level());
        let over = self.repeats.borrow_mut().take_over(now);
        over.iter().for_each(|repeated| self.write_repeated(repeated));
        let is_counted = matches!(level, Level::Warning | Level::Error);
        if is_counted && !self.repeats.borrow_mut().allows(now, &record.msg().to_string(), level == Level::Error) {
            return Ok(());
        }
        self.drain.log(record, values)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.repeats.borrow_mut().take_all(Instant::now());
        left.iter().for_each(|repeated| self.write_repeated(repeated));
    }
}

/// Buffers the output of formatters and passes on whole lines.
struct LineWriter {
    screen: Console,
    format: LogFormat,
    line: Vec<u8>,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if bytes.last() == Some(&b'\n') {
            if self.format == LogFormat::Json {
                escape_json(&mut self.line, 0);
            }
            self.screen.write_lines(&self.line);
            self.line.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Formats a record as one line, with colours for a terminal and all other escape sequences escaped: the content of a
/// message must neither control the terminal nor look like a log line.
struct StyledDrain {
    lines: RefCell<LineWriter>,
    color: bool,
}

impl Decorator for StyledDrain {
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
    /// The text since the last colour: a character may arrive in parts.
    text: Vec<u8>,
    color: bool,
    level: Level,
}

impl StyledLine {
    fn style(&mut self, code: &str) -> io::Result<()> {
        if self.color {
            self.flush_text();
            self.line.push_str("\x1b[");
            self.line.push_str(code);
            self.line.push('m');
        }
        Ok(())
    }

    fn flush_text(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        self.line.push_str(&one_line(&text));
        self.text.clear();
    }

    /// The record as a line; the formatter has added the last newline.
    fn finish(mut self) -> String {
        if self.text.last() == Some(&b'\n') {
            self.text.pop();
        }
        self.flush_text();
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

    #[test]
    fn log_lines_are_distinguished_from_others() {
        assert!(is_log_line("21:07:54.823 INFO reading, worker: 0"));
        assert!(is_log_line("\u{1b}[2m21:07:54.823\u{1b}[0m \u{1b}[32mINFO"));
        assert!(is_log_line(r#"{"message":"reading","level":"info","time":"2026-01-31T12:00:00Z","worker":0}"#));
        for line in ["", "21:07", "Traceback (most recent call last):", r#"{"id": 7, "level": 3}"#, "ää:öö:üü.ßßß INFO"]
        {
            assert!(!is_log_line(line), "{line}");
        }
    }

    fn line(color: bool) -> StyledLine {
        StyledLine { line: String::new(), text: Vec::new(), color, level: Level::Info }
    }

    #[test]
    fn no_escape_sequence_of_a_value_reaches_the_terminal() {
        let mut line = line(true);
        line.start_level().unwrap();
        line.write_all(b"a\x1b[2Jb\n").unwrap();
        assert_eq!(line.finish(), "\x1b[32ma\\u{1b}[2Jb\n");
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let mut line = line(false);
        line.start_msg().unwrap();
        // The second bytes of `ü` and of the control character U+009B arrive separately.
        for piece in [b"failed:\n12:00:00 ERROR forged\r, \xc3".as_slice(), b"\xbc\xc2", b"\x9b2J, \xff", b"\n"] {
            line.write_all(piece).unwrap();
        }
        assert_eq!(line.finish(), "failed: 12:00:00 ERROR forged , ü\\u{9b}2J, \u{fffd}\n");
    }
}
