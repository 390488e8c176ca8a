//! The child process: its start, its stdin and stdout, its exit.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use slog::{Logger, warn};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdout};
use tokio::sync::{mpsc, oneshot};

use super::super::{ProcessError, WorkerContext};
use crate::kafka;
use crate::os::pipe::unread_bytes;
use crate::os::{environment, limits, signal_mask};
use crate::settings::mask_command;
use crate::util::text_file::without_mark;

/// The maximum length of a reply in bytes: it has an id and an error text.
const MAX_REPLY_BYTES: u64 = 1 << 20;

/// How long the last replies of an exited program may take, and the exit of a program that closed its stdin or
/// stdout.
const LAST_REPLIES_TIMEOUT: Duration = Duration::from_millis(200);

/// How long the first reply may take before a log line names the probable cause.
const FIRST_REPLY_HINT_DELAY: Duration = Duration::from_secs(5);

/// The environment variable that makes Python's `print` flush each line, even to a pipe.
const PYTHONUNBUFFERED: &str = "PYTHONUNBUFFERED";

/// Texts for a program that closed a pipe without exiting.
const CLOSED_STDIN: &str = "has closed its stdin";
const CLOSED_STDOUT: &str = "has closed its stdout";

/// SIGKILL and SIGTERM come from outside, not from processing a message.
const SIGNALS_FROM_OUTSIDE: [i32; 2] = [9, 15];

/// A reply of the program.
#[derive(Deserialize)]
pub(super) struct Reply {
    pub(super) id: u64,
    pub(super) error: Option<String>,
}

impl Reply {
    /// Parses a line of arbitrary content.
    pub(super) fn of(line: &[u8]) -> Result<Self, String> {
        // Some systems' programs start their output with a byte order mark.
        serde_json::from_slice(without_mark(line)).map_err(|error| {
            let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).trim_end().to_owned();
            format!("answered {shown:?}, which is not {{\"id\": …}}: {error}")
        })
    }
}

pub(super) type Waiting = Rc<RefCell<Pending>>;

/// The messages in flight in the program.
#[derive(Default)]
pub(super) struct Pending {
    messages: HashMap<u64, Sent>,
    /// When the first message was sent.
    first_sent: Option<Instant>,
    /// Whether the program has sent a reply.
    has_replied: bool,
    /// The reason why no more replies will arrive, once known.
    pub(super) over: Option<String>,
    /// The program is expected to exit: it may close its stdout first.
    pub(super) finishing: bool,
}

/// A message without a reply.
struct Sent {
    reply: oneshot::Sender<Result<(), ProcessError>>,
    /// The number of bytes written to the program before the message's line; `None` before the line is started.
    start: Option<u64>,
}

impl Pending {
    /// Registers a message that will be sent; the receiver gets its reply.
    pub(super) fn expect(&mut self, id: u64) -> oneshot::Receiver<Result<(), ProcessError>> {
        let (reply, receiver) = oneshot::channel();
        self.first_sent.get_or_insert_with(Instant::now);
        self.messages.insert(id, Sent { reply, start: None });
        receiver
    }

    /// Fails all pending messages. The program may have exited because of a message that it has at least partly read,
    /// unless it was killed from outside; never because of the others.
    fn fail(&mut self, reason: &str, read: u64, from_outside: bool) {
        for Sent { reply, start } in self.messages.drain().map(|(_, sent)| sent) {
            let had = start.is_some_and(|start| start < read);
            let failure = if had && !from_outside { ProcessError::Crash } else { ProcessError::Worker };
            reply.send(Err(failure(reason.to_owned()))).ok();
        }
    }
}

/// A message id and its line for the program.
pub(super) type Line = (u64, Vec<u8>);

/// The running program.
pub(super) struct Program {
    child: Child,
    stdin: Stdin,
    lines: mpsc::UnboundedReceiver<Line>,
    stdout: ChildStdout,
    name: String,
    logger: Logger,
}

/// The writing end of its stdin.
struct Stdin {
    /// `None` once it is closed.
    pipe: Option<pipe::Sender>,
    /// The number of bytes written to the pipe.
    written: u64,
}

impl Stdin {
    /// Writes a line, or the part of it that the pipe accepts before it breaks.
    async fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
        let mut left = line;
        while !left.is_empty() {
            let taken = pipe.write(left).await?;
            self.written += taken as u64;
            left = &left[taken..];
        }
        Ok(())
    }

    /// The number of written bytes that the program has read; all of them if the system does not report it.
    fn read(&self) -> u64 {
        let unread = self.pipe.as_ref().and_then(unread_bytes).unwrap_or(0);
        self.written.saturating_sub(unread)
    }

    async fn breaks(&self) {
        match &self.pipe {
            Some(pipe) => _ = pipe.ready(Interest::ERROR).await,
            None => std::future::pending().await,
        }
    }
}

impl Program {
    /// Starts the program.
    pub(super) fn start(context: &WorkerContext, lines: mpsc::UnboundedReceiver<Line>) -> Result<Self, ProcessError> {
        let words = &context.settings.consumer.command;
        let Some((name, arguments)) = words.split_first() else {
            return Err(ProcessError::Worker("consumer.command is empty".to_owned()));
        };
        let mut command = tokio::process::Command::new(name);
        command.args(arguments).env("KAFKA_WORKER_SLOT", context.slot.to_string());
        if std::env::var_os(PYTHONUNBUFFERED).is_none() {
            command.env(PYTHONUNBUFFERED, "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        environment::remove_private(command.as_std_mut());
        kafka::close_on_exec();
        let spawn = || limits::with_original_descriptor_limit(|| command.spawn());
        let mut child = signal_mask::with_original(spawn).map_err(|error| {
            let name = mask_command(std::slice::from_ref(name)).concat();
            ProcessError::Worker(format!("consumer.command: {name:?} could not be started: {}", limits::named(&error)))
        })?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ProcessError::Worker("the program has no stdin or stdout".to_owned()));
        };
        let pipe = stdin.into_owned_fd().and_then(pipe::Sender::from_owned_fd);
        let pipe = pipe.map_err(|error| ProcessError::Worker(format!("the program's stdin: {error}")))?;
        let stdin = Stdin { pipe: Some(pipe), written: 0 };
        Ok(Self { child, stdin, lines, stdout, name: name.clone(), logger: context.logger.clone() })
    }

    /// Writes lines and reads replies until there are no more, then waits for the program's exit. The remaining
    /// messages fail together with the worker, and the next worker process consumes them again. If none remains and
    /// the exit was unexpected, `ended` gets the reason.
    pub(super) async fn attend(self, pending: Waiting, ended: oneshot::Sender<String>) -> Result<(), ProcessError> {
        let Self { mut child, mut stdin, mut lines, stdout, name, logger } = self;
        let hint = tokio::task::spawn_local(hint_at_buffering(Rc::clone(&pending), name.clone(), logger));
        // From now on no message is sent, because a later one cannot have caused the exit.
        let ends = |what: &str| pending.borrow_mut().over = Some(format!("the program {name:?} {what}"));
        let (mut broken, closed) = {
            let mut reading = std::pin::pin!(read_replies(stdout, &pending));
            tokio::select! {
                read = &mut reading => {
                    let broken = read.err();
                    ends(broken.as_deref().unwrap_or(CLOSED_STDOUT));
                    (broken, CLOSED_STDOUT)
                }
                () = write_lines(&mut stdin, &mut lines, &pending) => {
                    ends(CLOSED_STDIN);
                    (tokio::time::timeout(LAST_REPLIES_TIMEOUT, reading).await.ok().and_then(Result::err), CLOSED_STDIN)
                }
                // Child processes of the program may keep its stdout open: only replies already in the pipe count.
                _ended = child.wait() => {
                    ends("has ended");
                    (tokio::time::timeout(LAST_REPLIES_TIMEOUT, reading).await.ok().and_then(Result::err), "has ended")
                }
            }
        };
        hint.abort();
        let finishing = || pending.borrow().finishing;
        if broken.is_none()
            && !finishing()
            && tokio::time::timeout(LAST_REPLIES_TIMEOUT, child.wait()).await.is_err()
            && !finishing()
        {
            broken = Some(format!("{closed}, and had not ended: killed"));
        }
        if broken.is_some() || !pending.borrow().messages.is_empty() {
            // The pending messages will get no reply. The program may have exited already.
            child.start_kill().ok();
        }
        let status = child.wait().await;
        let from_outside = broken.is_none() && status.as_ref().is_ok_and(ended_from_outside);
        let failed = !status.as_ref().is_ok_and(ExitStatus::success);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let what = broken.clone().unwrap_or_else(|| format!("ended: {status}"));
        let reason = format!("the program {name:?} {what}");
        let mut pending = pending.borrow_mut();
        pending.over = Some(reason.clone());
        let unanswered = !pending.messages.is_empty();
        pending.fail(&reason, stdin.read(), from_outside);
        if !unanswered && !pending.finishing {
            // The receiver is dropped when the worker already stops.
            ended.send(reason.clone()).ok();
        }
        if unanswered || failed || broken.is_some() { Err(ProcessError::Worker(reason)) } else { Ok(()) }
    }
}

fn ended_from_outside(status: &ExitStatus) -> bool {
    status.signal().is_some_and(|signal| SIGNALS_FROM_OUTSIDE.contains(&signal))
}

/// Writes lines until the pipe breaks. After the last line it closes stdin and then never returns.
async fn write_lines(stdin: &mut Stdin, lines: &mut mpsc::UnboundedReceiver<Line>, pending: &Waiting) {
    loop {
        tokio::select! {
            biased;
            line = lines.recv() => {
                let Some((id, line)) = line else { break };
                if let Some(sent) = pending.borrow_mut().messages.get_mut(&id) {
                    sent.start = Some(stdin.written);
                }
                if stdin.write(&line).await.is_err() {
                    return;
                }
            }
            // Detects a closed stdin even while there is nothing to write.
            () = stdin.breaks() => return,
        }
    }
    stdin.pipe = None;
    std::future::pending().await
}

async fn read_replies(stdout: ChildStdout, pending: &Waiting) -> Result<(), String> {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut stdout)
            .take(MAX_REPLY_BYTES)
            .read_until(b'\n', &mut line)
            .await
            .map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(());
        }
        let reply = Reply::of(&line)?;
        let mut pending = pending.borrow_mut();
        let Some(sent) = pending.messages.remove(&reply.id) else {
            return Err(format!("replied to the id {}, which is not in flight", reply.id));
        };
        pending.has_replied = true;
        sent.reply.send(reply.error.map_or(Ok(()), |error| Err(ProcessError::Message(error)))).ok();
    }
}

/// Logs a hint if the first reply takes long: it is probably in the program's own output buffer.
async fn hint_at_buffering(pending: Waiting, name: String, logger: Logger) {
    loop {
        tokio::time::sleep(FIRST_REPLY_HINT_DELAY / 10).await;
        let pending = pending.borrow();
        if pending.has_replied || pending.over.is_some() {
            return;
        }
        let waited = pending.first_sent.map(|sent| sent.elapsed()).unwrap_or_default();
        if waited >= FIRST_REPLY_HINT_DELAY {
            warn!(
                logger,
                "the program {name:?} has not replied to its first message for {:.0?}: does it flush each reply? Most \
                 languages keep what is written to a pipe until a buffer is full: flush stdout after each line (Ruby: \
                 $stdout.sync = true, Perl: $| = 1, awk: fflush(), C programs: stdbuf -oL); a slow program is waited for \
                 (consumer.watchdog.stall_timeout)",
                waited
            );
            return;
        }
    }
}
