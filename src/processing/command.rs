//! `command`: feeds an external program, one long-lived child per worker.
//!
//! Each message is one line of JSON on the program's stdin (see [`super::json`]) with an `id`. The program answers each
//! with one line on its stdout: `{"id": 7}` when it is processed, `{"id": 7, "error": "…"}` when it is not. Answers may
//! come in any order; there is one message of each partition under way at most. The program's stderr goes to the log.
//! At the end its stdin is closed, and it should exit. One that closes its own end of either before that is killed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::Interest;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Failure, Processing, Processor, WorkerContext, json};
use crate::record::Record;

/// The longest answer, in bytes: it is an id and an error's text.
const LONGEST_ANSWER: u64 = 1 << 20;

/// How long the last answers of a program that has ended may take, and the end of one that has closed its stdin or stdout.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// What a program does that ends by no other means.
const CLOSED_STDIN: &str = "has closed its stdin";
const CLOSED_STDOUT: &str = "has closed its stdout";

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
    /// The program is meant to end: it may close its stdout before.
    finishing: bool,
}

/// A line for the program, and the message's id.
type Line = (u64, Vec<u8>);

pub(super) struct Command {
    /// Unbounded, yet at most one line per partition: the next one waits for its answer.
    lines: Option<mpsc::UnboundedSender<Line>>,
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
        let stdin = stdin.into_owned_fd().and_then(pipe::Sender::from_owned_fd);
        let stdin = stdin.map_err(|error| Failure::Worker(format!("the program's stdin: {error}")))?;
        let (lines, waiting_lines) = mpsc::unbounded_channel();
        let pending = Waiting::default();
        let program = Program { child, stdin, lines: waiting_lines, stdout, name: name.clone() };
        let program = tokio::task::spawn_local(program.attend(Rc::clone(&pending)));
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
        if let Some(lines) = &self.lines {
            // Taken for as long as the program is attended to; whoever does that fails what is unanswered.
            let _over = lines.send((self.next_id, line));
        }
        self.next_id += 1;
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
        self.pending.borrow_mut().finishing = true;
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

/// The program, as it is attended to.
struct Program {
    child: Child,
    stdin: pipe::Sender,
    lines: mpsc::UnboundedReceiver<Line>,
    stdout: ChildStdout,
    name: String,
}

impl Program {
    /// Writes lines and reads answers until there are no more, then waits for the program's end. Whatever is unanswered
    /// then fails with the worker: it is read again by the next one.
    async fn attend(self, pending: Waiting) -> Result<(), Failure> {
        let Self { mut child, stdin, mut lines, stdout, name } = self;
        // From now on nothing is asked: what would be is not what has ended the program.
        let ends = |what: &str| pending.borrow_mut().over = Some(format!("the program {name:?} {what}"));
        let mut unwritten = Vec::new();
        let (mut broken, closed) = {
            let mut reading = std::pin::pin!(read_answers(stdout, &pending));
            tokio::select! {
                read = &mut reading => {
                    let broken = read.err();
                    ends(broken.as_deref().unwrap_or(CLOSED_STDOUT));
                    (broken, CLOSED_STDOUT)
                }
                failed = write_lines(stdin, &mut lines) => {
                    ends(CLOSED_STDIN);
                    unwritten.extend(failed);
                    (tokio::time::timeout(LAST_ANSWERS, reading).await.ok().and_then(Result::err), CLOSED_STDIN)
                }
                // What the program has started may hold its stdout open: only what is in the pipe still counts.
                _ended = child.wait() => {
                    ends("has ended");
                    (tokio::time::timeout(LAST_ANSWERS, reading).await.ok().and_then(Result::err), "has ended")
                }
            }
        };
        let finishing = || pending.borrow().finishing;
        if broken.is_none()
            && !finishing()
            && tokio::time::timeout(LAST_ANSWERS, child.wait()).await.is_err()
            && !finishing()
        {
            broken = Some(format!("{closed}, and had not ended: killed"));
        }
        if broken.is_some() || !pending.borrow().answers.is_empty() {
            // What it was asked will never be answered. It may have ended already.
            let _ended = child.start_kill();
        }
        let status = child.wait().await;
        let failed = !status.as_ref().is_ok_and(std::process::ExitStatus::success);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let reason = match &broken {
            Some(reason) => format!("the program {name:?} {reason}"),
            None => format!("the program {name:?} ended: {status}"),
        };
        while let Ok((id, _)) = lines.try_recv() {
            unwritten.push(id);
        }
        let mut pending = pending.borrow_mut();
        pending.over = Some(reason.clone());
        // The program has never had these: they are not to blame.
        let spared: Vec<_> = unwritten.iter().filter_map(|id| pending.answers.remove(id)).collect();
        let unanswered = !pending.answers.is_empty() || !spared.is_empty();
        for (_, answer) in pending.answers.drain() {
            let _unheard = answer.send(Err(Failure::Crash(reason.clone())));
        }
        for answer in spared {
            let _unheard = answer.send(Err(Failure::Worker(reason.clone())));
        }
        if unanswered || failed || broken.is_some() { Err(Failure::Worker(reason)) } else { Ok(()) }
    }
}

/// Writes lines until the program takes no more: the message of the line that it has not taken, if there was one. Behind
/// the last line its stdin is closed, and this waits for ever.
async fn write_lines(mut stdin: pipe::Sender, lines: &mut mpsc::UnboundedReceiver<Line>) -> Option<u64> {
    loop {
        tokio::select! {
            biased;
            line = lines.recv() => {
                let Some((id, line)) = line else { break };
                if stdin.write_all(&line).await.is_err() {
                    return Some(id);
                }
            }
            // A closed stdin is seen also while there is nothing to write.
            _closed = stdin.ready(Interest::ERROR) => return None,
        }
    }
    drop(stdin);
    std::future::pending().await
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    /// A worker's program that runs this script.
    fn shell(script: &str) -> Command {
        let mut settings = crate::settings::defaults();
        settings.consumer.command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let logger = crate::logging::silent();
        Command::start(&WorkerContext { slot: 0, settings: Arc::new(settings), logger, output_lock: None }).unwrap()
    }

    async fn process(command: &mut Command) -> Result<(), Failure> {
        let record =
            Record { topic: "t", partition: 0, offset: 7, timestamp_ms: None, key: None, value: None, headers: &() };
        match command.process(&record) {
            Processing::Done(result) => result,
            Processing::Later(result) => tokio::time::timeout(Duration::from_secs(20), result).await.unwrap(),
        }
    }

    async fn over(command: &Command) -> String {
        let begun = Instant::now();
        while command.program.as_ref().is_some_and(|program| !program.is_finished()) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        command.pending.borrow().over.clone().unwrap()
    }

    #[actix::test]
    async fn a_program_that_closes_its_stdout_and_lives_is_asked_no_more() {
        let mut command = shell(r#"read line; echo '{"id":0}'; exec >&-; exec sleep 60"#);
        assert_eq!(process(&mut command).await, Ok(()));
        let reason = over(&command).await;
        assert_eq!(reason, "the program \"sh\" has closed its stdout, and had not ended: killed");
        assert_eq!(process(&mut command).await, Err(Failure::Worker(reason)), "nothing is this message's doing");
    }

    #[actix::test]
    async fn what_it_was_asked_before_may_have_done_it() {
        for end in ["stdin", "stdout"] {
            let close = if end == "stdin" { "exec <&-" } else { "exec >&-" };
            let mut command = shell(&format!("read line; {close}; exec sleep 60"));
            match process(&mut command).await {
                Err(Failure::Crash(reason)) => assert!(reason.contains(&format!("has closed its {end}, ")), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[actix::test]
    async fn a_program_that_closes_its_stdin_and_lives_is_asked_no_more() {
        let mut command = shell("exec <&-; exec sleep 60");
        let reason = over(&command).await;
        assert_eq!(reason, "the program \"sh\" has closed its stdin, and had not ended: killed");
        assert_eq!(process(&mut command).await, Err(Failure::Worker(reason)));
    }

    #[actix::test]
    async fn a_program_that_ends_by_itself_is_told_with_its_status() {
        let mut command = shell("read line; exit 3");
        let reason = "the program \"sh\" ended: exit status: 3".to_owned();
        assert_eq!(process(&mut command).await, Err(Failure::Crash(reason.clone())));
        assert_eq!(over(&command).await, reason);
    }

    #[actix::test]
    async fn at_its_end_it_may_close_its_stdout_and_take_its_time() {
        let mut command = shell("read line; exec >&-; sleep 1");
        match command.finish() {
            Processing::Later(result) => assert_eq!(result.await, Ok(())),
            Processing::Done(result) => panic!("{result:?}"),
        }
    }
}
