//! `command`: sends messages to an external program, one long-lived child process per worker.
//!
//! Each message is one line of JSON on the program's stdin (see [`super::json`]) with an `id`. The program replies to
//! each with one line on its stdout: `{"id": 7}` when it is processed, `{"id": 7, "error": "…"}` when it failed.
//! Replies may come in any order; at most one message per partition is in flight. The program's stderr goes to the
//! log. At shutdown its stdin is closed, and it must exit. A program that closes its stdin or stdout before that is
//! killed.
//!
//! [`program`] has the child process, and decides which messages may have caused its exit.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{ProcessError, ProcessResult, Processor, WorkerContext, json};
use crate::record::Record;
use program::{Line, Program, Waiting};

mod program;
#[cfg(test)]
mod tests;

pub(super) struct CommandProcessor {
    /// Unbounded, but with at most one line per partition: the next one waits for its reply.
    lines: Option<mpsc::UnboundedSender<Line>>,
    pending: Waiting,
    program: Option<JoinHandle<Result<(), ProcessError>>>,
    /// Completes when the program has exited and no message is in flight.
    ended: Option<oneshot::Receiver<String>>,
    deadline: Duration,
    next_id: u64,
}

impl CommandProcessor {
    /// Starts the program; must be called on the processing arbiter.
    pub(super) fn start(context: &WorkerContext) -> Result<Self, ProcessError> {
        let pending = Waiting::default();
        let (lines, waiting_lines) = mpsc::unbounded_channel();
        let (exit_sender, ended) = oneshot::channel();
        let program = Program::start(context, waiting_lines)?;
        let program = tokio::task::spawn_local(program.attend(Waiting::clone(&pending), exit_sender));
        let deadline = context.settings.shutdown.timeout / 2;
        Ok(Self { lines: Some(lines), pending, program: Some(program), ended: Some(ended), deadline, next_id: 0 })
    }

    fn send(&mut self, record: &Record<'_>) -> Result<oneshot::Receiver<Result<(), ProcessError>>, ProcessError> {
        if let Some(reason) = &self.pending.borrow().over {
            return Err(ProcessError::Worker(reason.clone()));
        }
        let mut line = Vec::with_capacity(256);
        json::write_line(&mut line, Some(self.next_id), record)?;
        let reply = self.pending.borrow_mut().expect(self.next_id);
        if let Some(lines) = &self.lines {
            // The receiver lives while the program is attended to; afterwards that task fails the pending messages.
            lines.send((self.next_id, line)).ok();
        }
        self.next_id += 1;
        Ok(reply)
    }
}

impl Processor for CommandProcessor {
    fn process(&mut self, record: &Record<'_>) -> ProcessResult {
        match self.send(record) {
            Ok(reply) => ProcessResult::Later(Box::pin(async move {
                reply.await.unwrap_or_else(|_| Err(ProcessError::Worker("the program was stopped".to_owned())))
            })),
            Err(failure) => ProcessResult::Done(Err(failure)),
        }
    }

    fn failure(&mut self) -> Option<LocalBoxFuture<'static, String>> {
        let ended = self.ended.take()?;
        Some(Box::pin(async move {
            match ended.await {
                Ok(reason) => reason,
                // The program exited as requested, or its pending messages report the failure.
                Err(_) => std::future::pending().await,
            }
        }))
    }

    fn finish(&mut self) -> ProcessResult {
        self.pending.borrow_mut().finishing = true;
        self.lines = None;
        let (program, deadline) = (self.program.take(), self.deadline);
        ProcessResult::Later(Box::pin(async move {
            let Some(program) = program else { return Ok(()) };
            let abort = program.abort_handle();
            match tokio::time::timeout(deadline, program).await {
                Ok(Ok(result)) => result,
                Ok(Err(error)) => Err(ProcessError::Worker(error.to_string())),
                Err(_) => {
                    // Dropping the task kills the program.
                    abort.abort();
                    Err(ProcessError::Worker(format!(
                        "the program did not exit within {deadline:?} after its stdin was closed: killed"
                    )))
                }
            }
        }))
    }
}
