//! Feeds the checker, on one thread, with the outcomes of producers and the histories of workers.
//!
//! Workers connect to a socket in a private directory of this run and send their histories; the data of a killed
//! worker stays in the socket and is read to its end. The queue is bounded: senders wait while the checker is busy.

use std::io::{self, Read as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slog::{Logger, error, warn};

use super::run_file;
use crate::history::{HistoryDecoder, HistoryError, HistoryEvent, WorkerId};
use crate::kafka::delivery_reports::{DeliveryObserver, DeliveryOutcome};
use crate::os::temp_dir::TempDir;
use crate::stamp::StampKind;
use crate::verify::checker::Checker;

/// The maximum number of chunks that wait for the checker, each of up to 64 KiB.
const QUEUE_CAPACITY: usize = 64;
/// Outcomes per chunk.
const OUTCOMES: usize = 512;
/// Bytes of a history per chunk.
const READ_CHUNK: usize = 64 << 10;
/// Outcomes are buffered by producer, so that the clients' threads do not wait for each other.
const POOLED_BUFFERS: usize = 32;
/// How long the last chunks may take after all workers have exited.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// The flush interval of the run file: at most this much is missing if the program is killed.
const FLUSH: Duration = Duration::from_secs(1);
/// The wait when no descriptor is free.
const NO_DESCRIPTOR: Duration = Duration::from_millis(10);

enum CollectorMessage {
    Outcomes(Vec<DeliveryOutcome>),
    Journal(usize, Vec<u8>),
    JournalEnds(usize),
    End,
}

/// The running checker.
pub struct Collector {
    inputs: SyncSender<CollectorMessage>,
    folder: TempDir,
    stop: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
    judging: JoinHandle<CollectorResult>,
    outcome_buffer: Arc<OutcomeBuffer>,
}

/// The result of a collector.
pub struct CollectorResult {
    /// The checker with all events.
    pub checker: Checker,
    /// Errors of the run file or a history, which leave the checker with incomplete data.
    pub problems: Vec<String>,
}

impl Collector {
    /// Starts the collector. `run_file` records acknowledged and failed messages.
    ///
    /// # Errors
    /// The directory for temporary files does not allow sockets, or no thread can be started.
    pub fn start(checker: Checker, run_file: Option<run_file::Writer>, logger: &Logger) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let listener = UnixListener::bind(socket(&folder))?;
        let (inputs, waiting) = mpsc::sync_channel(QUEUE_CAPACITY);
        let stop = Arc::new(AtomicBool::new(false));
        let logger = logger.clone();
        let judging = std::thread::Builder::new()
            .name("checker".to_owned())
            .spawn(move || serve(&waiting, checker, run_file, &logger))?;
        let (journals, stopped) = (inputs.clone(), Arc::clone(&stop));
        let accepting = std::thread::Builder::new()
            .name("journals".to_owned())
            .spawn(move || accept(&listener, &journals, &stopped))?;
        let buffers = std::iter::repeat_with(Mutex::default).take(POOLED_BUFFERS).collect();
        let outcome_buffer = Arc::new(OutcomeBuffer { buffers, inputs: inputs.clone() });
        Ok(Self { inputs, folder, stop, accepting, judging, outcome_buffer })
    }

    /// The socket for the workers' histories.
    pub fn socket(&self) -> PathBuf {
        socket(&self.folder)
    }

    /// The observer for the producers' outcomes.
    pub fn outcomes(&self) -> Arc<dyn DeliveryObserver> {
        self.outcome_buffer.clone()
    }

    /// Waits for all events, after all producers and workers have exited. Blocks.
    ///
    /// # Errors
    /// The last chunks did not arrive in time.
    pub fn finish(self) -> Result<CollectorResult, String> {
        let (done, collected) = mpsc::sync_channel(1);
        let finishing = move || {
            self.outcome_buffer.flush();
            self.stop.store(true, Ordering::Release);
            // The connection wakes the accept thread. Without a descriptor for it that thread may have none, either.
            while UnixStream::connect(socket(&self.folder)).is_err() && !self.accepting.is_finished() {
                std::thread::sleep(NO_DESCRIPTOR);
            }
            self.accepting.join().ok();
            self.inputs.send(CollectorMessage::End).ok();
            // The receiver is dropped after the timeout.
            done.send(self.judging.join()).ok();
        };
        std::thread::Builder::new()
            .name("last-pieces".to_owned())
            .spawn(finishing)
            .map_err(|error| format!("no thread could be started: {}", crate::os::limits::named(&error)))?;
        match collected.recv_timeout(DRAIN_TIMEOUT) {
            Ok(Ok(collected)) => Ok(collected),
            Ok(Err(_)) => Err("the checker's thread has panicked".to_owned()),
            Err(_) => Err(format!("the workers' histories did not end within {DRAIN_TIMEOUT:?}")),
        }
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("journals")
}

/// Accepts workers until `stop` is set, then those that have already connected; returns when all their histories have
/// ended. `finish` connects, too, to wake this thread: an empty history.
fn accept(listener: &UnixListener, inputs: &SyncSender<CollectorMessage>, stop: &AtomicBool) {
    let mut readers: Vec<JoinHandle<()>> = Vec::new();
    let mut number = 0;
    loop {
        if stop.load(Ordering::Acquire) && listener.set_nonblocking(true).is_err() {
            break;
        }
        match listener.accept() {
            Ok((connection, _)) => {
                let inputs = inputs.clone();
                let reading = std::thread::Builder::new()
                    .name(format!("journal-{number}"))
                    .spawn(move || read(number, connection, &inputs));
                number += 1;
                readers.retain(|reader| !reader.is_finished());
                // A worker whose history is not read gets no reply either, and exits with the reason.
                readers.extend(reading.ok());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => std::thread::sleep(NO_DESCRIPTOR),
        }
    }
    readers.into_iter().for_each(|reader| {
        reader.join().ok();
    });
}

fn read(number: usize, mut connection: UnixStream, inputs: &SyncSender<CollectorMessage>) {
    loop {
        let mut piece = vec![0; READ_CHUNK];
        match connection.read(&mut piece) {
            // An error ends the history, too: a local socket has no other error.
            Ok(0) | Err(_) => break,
            Ok(length) => piece.truncate(length),
        }
        if inputs.send(CollectorMessage::Journal(number, piece)).is_err() {
            return;
        }
    }
    // The checker's thread lives until the process exits.
    inputs.send(CollectorMessage::JournalEnds(number)).ok();
}

/// The checker's thread.
fn serve(
    inputs: &Receiver<CollectorMessage>,
    mut checker: Checker,
    mut run_file: Option<run_file::Writer>,
    logger: &Logger,
) -> CollectorResult {
    let mut problems = Vec::new();
    // A finished or invalid history is dropped, because a decoder may hold up to a megabyte.
    let mut journals: Vec<Option<HistoryConnection>> = Vec::new();
    let mut flushed = Instant::now();
    loop {
        if flushed.elapsed() >= FLUSH {
            flushed = Instant::now();
            write(&mut run_file, run_file::Writer::flush, &mut problems, logger);
        }
        let input = match inputs.recv_timeout(FLUSH) {
            Ok(input) => input,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match input {
            CollectorMessage::Outcomes(outcomes) => {
                outcomes.iter().for_each(|outcome| feed_outcome(&mut checker, outcome));
                let all = |file: &mut _| outcomes.iter().try_for_each(|outcome| written(file, outcome));
                write(&mut run_file, all, &mut problems, logger);
            }
            CollectorMessage::Journal(number, piece) => {
                if journals.len() <= number {
                    journals.resize_with(number + 1, || Some(HistoryConnection::default()));
                }
                let Some(history) = &mut journals[number] else { continue };
                if let Err(error) = history.push(&piece, &mut checker) {
                    error!(logger, "{error}");
                    problems.push(error.to_string());
                    journals[number] = None;
                }
            }
            CollectorMessage::JournalEnds(number) => {
                let ended = journals.get_mut(number).and_then(Option::take);
                let end = ended.map(|history| history.decoder.finish());
                if let Some(end) = end.filter(|end| end.discarded > 0) {
                    let slot = end.reader.map_or_else(|| "?".to_owned(), |reader| reader.slot.to_string());
                    warn!(
                        logger,
                        "worker {slot} exited while it sent its history: the messages in the last \
                        {} bytes are unknown and will be processed again",
                        end.discarded
                    );
                }
            }
            CollectorMessage::End => break,
        }
    }
    if let Some(Err(error)) = run_file.map(run_file::Writer::finish) {
        problems.push(error.to_string());
    }
    CollectorResult { checker, problems }
}

/// Writes to the run file, if there is one. After the first error the file is left as it is.
fn write(
    file: &mut Option<run_file::Writer>,
    what: impl FnOnce(&mut run_file::Writer) -> Result<(), run_file::RunFileError>,
    problems: &mut Vec<String>,
    logger: &Logger,
) {
    if let Some(Err(error)) = file.as_mut().map(what) {
        error!(logger, "{error}");
        problems.push(error.to_string());
        *file = None;
    }
}

/// The history of one worker process.
#[derive(Default)]
struct HistoryConnection {
    decoder: HistoryDecoder,
    worker: WorkerId,
}

impl HistoryConnection {
    fn push(&mut self, piece: &[u8], checker: &mut Checker) -> Result<(), HistoryError> {
        let worker = &mut self.worker;
        self.decoder.push(piece, |event| {
            // Every history starts with this event.
            if let HistoryEvent::Hello(hello) = event {
                *worker = hello;
            }
            checker.history(*worker, &event);
        })
    }
}

fn feed_outcome(checker: &mut Checker, outcome: &DeliveryOutcome) {
    let DeliveryOutcome { stamp, place } = outcome;
    match place {
        Some((partition, offset)) => checker.acknowledged(stamp.producer, stamp.sequence, *partition, *offset),
        // A failed duplicate does not affect the original.
        None if stamp.kind == StampKind::Duplicate => {}
        None => checker.failed(stamp.producer, stamp.sequence),
    }
}

fn written(file: &mut run_file::Writer, outcome: &DeliveryOutcome) -> Result<(), run_file::RunFileError> {
    let DeliveryOutcome { stamp, place } = outcome;
    match place {
        Some((partition, offset)) => file.acknowledged(stamp.producer, stamp.sequence, *partition, *offset),
        None if stamp.kind == StampKind::Duplicate => Ok(()),
        None => file.failed(stamp.producer, stamp.sequence),
    }
}

/// Buffers outcomes until there are enough for a chunk.
struct OutcomeBuffer {
    buffers: Vec<Mutex<Vec<DeliveryOutcome>>>,
    inputs: SyncSender<CollectorMessage>,
}

impl OutcomeBuffer {
    fn send(&self, outcomes: Vec<DeliveryOutcome>) {
        // The checker's thread lives until the process exits.
        self.inputs.send(CollectorMessage::Outcomes(outcomes)).ok();
    }
}

impl DeliveryObserver for OutcomeBuffer {
    fn notify(&self, outcome: DeliveryOutcome) {
        let Some(buffer) = self.buffers.get(usize::from(outcome.stamp.producer) % POOLED_BUFFERS) else { return };
        let full = {
            let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
            buffer.push(outcome);
            (buffer.len() >= OUTCOMES).then(|| std::mem::replace(&mut *buffer, Vec::with_capacity(OUTCOMES)))
        };
        if let Some(outcomes) = full {
            self.send(outcomes);
        }
    }

    fn flush(&self) {
        for buffer in &self.buffers {
            let outcomes = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
            if !outcomes.is_empty() {
                self.send(outcomes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use slog::{Discard, o};

    use super::*;
    use crate::history::{HistoryEntry, Writer};
    use crate::verify::checker::{CheckScope, RunFacts};

    fn outcome_buffer(process: u32) -> Vec<u8> {
        let mut history = Writer::new(WorkerId { slot: 0, process });
        history.assigned(0, 0);
        history.read(1, &[HistoryEntry { offset: i64::from(process), ..HistoryEntry::default() }]);
        history.bye();
        history.bytes().to_vec()
    }

    #[test]
    fn journals_that_nobody_has_taken_in_when_it_ends_are_read() {
        let folder = TempDir::new().unwrap();
        let listener = UnixListener::bind(socket(&folder)).unwrap();
        for process in 0..10 {
            UnixStream::connect(socket(&folder)).unwrap().write_all(&outcome_buffer(process)).unwrap();
        }
        let (inputs, waiting) = mpsc::sync_channel(QUEUE_CAPACITY);
        // As if stopped before it has accepted.
        accept(&listener, &inputs, &AtomicBool::new(true));
        drop(inputs);
        let ended = waiting.iter().filter(|input| matches!(input, CollectorMessage::JournalEnds(_))).count();
        assert_eq!(ended, 10);
    }

    #[test]
    fn what_many_workers_have_sent_is_all_known_at_the_end() {
        let logger = Logger::root(Discard, o!());
        let checker = Checker::new(CheckScope { partitions: 1, ..CheckScope::default() });
        let collector = Collector::start(checker, None, &logger).unwrap();
        for process in 0..200 {
            UnixStream::connect(collector.socket()).unwrap().write_all(&outcome_buffer(process)).unwrap();
        }
        let CollectorResult { checker, problems } = collector.finish().unwrap();
        assert_eq!(problems, [""; 0]);
        let verdict = checker.verdict(RunFacts::default());
        assert_eq!((verdict.processed, verdict.readers), (200, 200));
    }
}
