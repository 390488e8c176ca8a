//! `command`: feeds an external program, one long-lived child per worker.
//!
//! Each message is one line of JSON on the program's stdin (see [`super::json`]) with an `id`. The program answers each
//! with one line on its stdout: `{"id": 7}` when it is processed, `{"id": 7, "error": "…"}` when it is not. Answers may
//! come in any order; there is one message of each partition under way at most. The program's stderr goes to the log.
//! At the end its stdin is closed, and it should exit.

use std::cell::RefCell;
use std::collections::HashMap;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Failure, Processing, Processor, WorkerContext, json};
use crate::record::Record;

/// The longest answer, in bytes: it is an id and an error's text.
const LONGEST_ANSWER: u64 = 1 << 20;

/// How long the last answers of a program that has ended may take.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// What the program answers.
#[derive(Deserialize)]
struct Answer {
    id: u64,
    error: Option<String>,
}

type Waiting = Rc<RefCell<Pending>>;

/// The messages that the program has and has not answered.
#[derive(Default)]
struct Pending {
    answers: HashMap<u64, oneshot::Sender<Result<(), Failure>>>,
    /// Set when no answer will come any more, and why.
    over: Option<String>,
}

pub(super) struct Command {
    /// Unbounded, yet at most one line per partition: the next one waits for its answer.
    lines: Option<mpsc::UnboundedSender<Vec<u8>>>,
    pending: Waiting,
    program: Option<JoinHandle<Result<(), Failure>>>,
    deadline: Duration,
    next_id: u64,
}

impl Command {
    /// Starts the program; to be called on the processing arbiter.
    pub(super) fn start(context: &WorkerContext) -> Result<Self, Failure> {
        let words = &context.settings.consumer.command;
        let Some((name, arguments)) = words.split_first() else {
            return Err(Failure::Worker("consumer.command is empty".to_owned()));
        };
        let mut child = tokio::process::Command::new(name)
            .args(arguments)
            .env("KAFKA_WORKER_SLOT", context.slot.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::Worker(format!("consumer.command: {name:?} could not be started: {error}")))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Worker("the program has no stdin or stdout".to_owned()));
        };
        let (lines, waiting_lines) = mpsc::unbounded_channel();
        let pending = Waiting::default();
        tokio::task::spawn_local(write_lines(stdin, waiting_lines));
        let program = tokio::task::spawn_local(attend(child, stdout, name.clone(), Rc::clone(&pending)));
        let deadline = context.settings.shutdown.deadline / 2;
        Ok(Self { lines: Some(lines), pending, program: Some(program), deadline, next_id: 0 })
    }

    fn send(&mut self, record: &Record<'_>) -> Result<oneshot::Receiver<Result<(), Failure>>, Failure> {
        if let Some(reason) = &self.pending.borrow().over {
            return Err(Failure::Worker(reason.clone()));
        }
        let (answered, answer) = oneshot::channel();
        let mut line = Vec::with_capacity(256);
        json::write_line(&mut line, Some(self.next_id), record)?;
        self.pending.borrow_mut().answers.insert(self.next_id, answered);
        self.next_id += 1;
        if let Some(lines) = &self.lines {
            // A program that has closed its stdin may still answer; its end is seen where answers are read.
            let _stdin_closed = lines.send(line);
        }
        Ok(answer)
    }
}

impl Processor for Command {
    fn process(&mut self, record: &Record<'_>) -> Processing {
        match self.send(record) {
            Ok(answer) => Processing::Later(Box::pin(async move {
                answer.await.unwrap_or_else(|_| Err(Failure::Worker("the program was given up".to_owned())))
            })),
            Err(failure) => Processing::Done(Err(failure)),
        }
    }

    fn finish(&mut self) -> Processing {
        self.lines = None;
        let (program, deadline) = (self.program.take(), self.deadline);
        Processing::Later(Box::pin(async move {
            let Some(program) = program else { return Ok(()) };
            let abort = program.abort_handle();
            match tokio::time::timeout(deadline, program).await {
                Ok(Ok(result)) => result,
                Ok(Err(error)) => Err(Failure::Worker(error.to_string())),
                Err(_) => {
                    // Dropping the task kills the program.
                    abort.abort();
                    Err(Failure::Worker(format!(
                        "the program did not end within {deadline:?} of its stdin's end: killed"
                    )))
                }
            }
        }))
    }
}

async fn write_lines(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Reads answers until there are no more, then waits for the program's end. Whatever is unanswered then fails with
/// the worker: it is read again by the next one.
async fn attend(mut child: Child, stdout: ChildStdout, name: String, pending: Waiting) -> Result<(), Failure> {
    let broken = {
        let mut reading = std::pin::pin!(read_answers(stdout, &pending));
        tokio::select! {
            read = &mut reading => read.err(),
            // What the program has started may hold its stdout open: only what is in the pipe still counts.
            _ended = child.wait() => tokio::time::timeout(LAST_ANSWERS, reading).await.ok().and_then(Result::err),
        }
    };
    if broken.is_some() || !pending.borrow().answers.is_empty() {
        // Its stdout is over: what it was asked will never be answered. It may have ended already.
        let _ended = child.start_kill();
    }
    let status = child.wait().await;
    let failed = !status.as_ref().is_ok_and(std::process::ExitStatus::success);
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let reason = match &broken {
        Some(reason) => format!("the program {name:?} {reason}"),
        None => format!("the program {name:?} ended: {status}"),
    };
    let mut pending = pending.borrow_mut();
    pending.over = Some(reason.clone());
    let unanswered = !pending.answers.is_empty();
    for (_, answer) in pending.answers.drain() {
        let _unheard = answer.send(Err(Failure::Crash(reason.clone())));
    }
    if unanswered || failed || broken.is_some() { Err(Failure::Worker(reason)) } else { Ok(()) }
}

async fn read_answers(stdout: ChildStdout, pending: &Waiting) -> Result<(), String> {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read =
            (&mut stdout).take(LONGEST_ANSWER).read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(());
        }
        let answer: Answer = serde_json::from_slice(&line).map_err(|error| {
            let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).trim_end().to_owned();
            format!("answered {shown:?}, which is not {{\"id\": …}}: {error}")
        })?;
        let Some(waiting) = pending.borrow_mut().answers.remove(&answer.id) else {
            return Err(format!("answered the id {}, which it was not asked or has answered before", answer.id));
        };
        let _unheard = waiting.send(answer.error.map_or(Ok(()), |error| Err(Failure::Message(error))));
    }
}
