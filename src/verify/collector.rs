//! Brings to the judge, on one thread, what producers and workers tell.
//!
//! Workers connect to a socket in a folder of this run's own and write their journals; what a killed worker had written
//! stays in the socket and is read to its end. Whoever tells waits while the judge is busy: the queue is bounded.

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
use crate::journal::{Decoder, Event, JournalError, Reader};
use crate::judge::Judge;
use crate::kafka::deliveries::{Outcome, Outcomes};
use crate::os::private_folder::PrivateFolder;
use crate::stamp::Kind;

/// Pieces that may wait for the judge, each of up to 64 KiB.
const WAITING: usize = 64;
/// Outcomes in a piece.
const OUTCOMES: usize = 512;
/// Bytes of a journal in a piece.
const PIECE: usize = 64 << 10;
/// Outcomes are held back by producer, so that their clients' threads do not wait for each other.
const BUFFERS: usize = 32;
/// How long the last pieces may take once all workers are gone.
const LAST_PIECES: Duration = Duration::from_secs(60);
/// How often what the run file has is handed to the system: so much is missing in it at most if the program is killed.
const FLUSH: Duration = Duration::from_secs(1);
/// How long to wait for a descriptor when there is none left.
const NO_DESCRIPTOR: Duration = Duration::from_millis(10);

enum Input {
    Outcomes(Vec<Outcome>),
    Journal(usize, Vec<u8>),
    JournalEnds(usize),
    End,
}

/// The judge at work.
pub struct Collector {
    inputs: SyncSender<Input>,
    folder: PrivateFolder,
    stop: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
    judging: JoinHandle<Collected>,
    told: Arc<Told>,
}

/// What came in.
pub struct Collected {
    /// Knows everything now.
    pub judge: Judge,
    /// What went wrong with the run file or a journal: then the judge does not know everything.
    pub problems: Vec<String>,
}

impl Collector {
    /// Starts it. `run_file` gets what is acknowledged or given up.
    ///
    /// # Errors
    /// When the folder for temporary files takes no socket, or no thread can be started.
    pub fn start(judge: Judge, run_file: Option<run_file::Writer>, logger: &Logger) -> io::Result<Self> {
        let folder = PrivateFolder::new()?;
        let listener = UnixListener::bind(socket(&folder))?;
        let (inputs, waiting) = mpsc::sync_channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let logger = logger.clone();
        let judging = std::thread::Builder::new()
            .name("judge".to_owned())
            .spawn(move || serve(&waiting, judge, run_file, &logger))?;
        let (journals, stopped) = (inputs.clone(), Arc::clone(&stop));
        let accepting = std::thread::Builder::new()
            .name("journals".to_owned())
            .spawn(move || accept(&listener, &journals, &stopped))?;
        let buffers = std::iter::repeat_with(Mutex::default).take(BUFFERS).collect();
        let told = Arc::new(Told { buffers, inputs: inputs.clone() });
        Ok(Self { inputs, folder, stop, accepting, judging, told })
    }

    /// Where workers tell what they have processed.
    pub fn socket(&self) -> PathBuf {
        socket(&self.folder)
    }

    /// Where producers tell what became of their messages.
    pub fn outcomes(&self) -> Arc<dyn Outcomes> {
        self.told.clone()
    }

    /// Waits for everything that was told; all producers and workers have ended. Blocks.
    ///
    /// # Errors
    /// A text: the last pieces did not come in time.
    pub fn finish(self) -> Result<Collected, String> {
        let (done, collected) = mpsc::sync_channel(1);
        let finishing = move || {
            self.told.flush();
            self.stop.store(true, Ordering::Release);
            // It wakes the thread to see the end. Without a descriptor for it the thread may have none either.
            while UnixStream::connect(socket(&self.folder)).is_err() && !self.accepting.is_finished() {
                std::thread::sleep(NO_DESCRIPTOR);
            }
            let _journals = self.accepting.join();
            let _heard = self.inputs.send(Input::End);
            // Whoever waits may have given up.
            let _unheard = done.send(self.judging.join());
        };
        std::thread::Builder::new()
            .name("last-pieces".to_owned())
            .spawn(finishing)
            .map_err(|error| format!("no thread could be started: {error}"))?;
        match collected.recv_timeout(LAST_PIECES) {
            Ok(Ok(collected)) => Ok(collected),
            Ok(Err(_)) => Err("the judge's thread has panicked".to_owned()),
            Err(_) => Err(format!("the journals have not come to their ends within {LAST_PIECES:?}")),
        }
    }
}

fn socket(folder: &PrivateFolder) -> PathBuf {
    folder.path().join("journals")
}

/// Takes workers in until it is told to stop, and then those that have connected by now; returns when all their journals
/// have ended. Whoever tells it to stop connects as well, to wake it: a journal without a word.
fn accept(listener: &UnixListener, inputs: &SyncSender<Input>, stop: &AtomicBool) {
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
                // A worker whose journal nobody reads gets no answer either, and ends with the reason.
                readers.extend(reading.ok());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => std::thread::sleep(NO_DESCRIPTOR),
        }
    }
    readers.into_iter().for_each(|reader| {
        let _panicked = reader.join();
    });
}

fn read(number: usize, mut connection: UnixStream, inputs: &SyncSender<Input>) {
    loop {
        let mut piece = vec![0; PIECE];
        match connection.read(&mut piece) {
            // An error is an end as well: a socket of this machine has no other.
            Ok(0) | Err(_) => break,
            Ok(length) => piece.truncate(length),
        }
        if inputs.send(Input::Journal(number, piece)).is_err() {
            return;
        }
    }
    // The judge is gone only when the process ends.
    let _unheard = inputs.send(Input::JournalEnds(number));
}

/// The judge's thread.
fn serve(
    inputs: &Receiver<Input>,
    mut judge: Judge,
    mut run_file: Option<run_file::Writer>,
    logger: &Logger,
) -> Collected {
    let mut problems = Vec::new();
    // A journal that has ended, or cannot be read, is none any more: a decoder may hold up to a megabyte.
    let mut journals: Vec<Option<Journal>> = Vec::new();
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
            Input::Outcomes(outcomes) => {
                outcomes.iter().for_each(|outcome| judged(&mut judge, outcome));
                let all = |file: &mut _| outcomes.iter().try_for_each(|outcome| written(file, outcome));
                write(&mut run_file, all, &mut problems, logger);
            }
            Input::Journal(number, piece) => {
                if journals.len() <= number {
                    journals.resize_with(number + 1, || Some(Journal::default()));
                }
                let Some(journal) = &mut journals[number] else { continue };
                if let Err(error) = journal.push(&piece, &mut judge) {
                    error!(logger, "{error}");
                    problems.push(error.to_string());
                    journals[number] = None;
                }
            }
            Input::JournalEnds(number) => {
                let ended = journals.get_mut(number).and_then(Option::take);
                let end = ended.map(|journal| journal.decoder.finish());
                if let Some(end) = end.filter(|end| end.discarded > 0) {
                    let slot = end.reader.map_or_else(|| "?".to_owned(), |reader| reader.slot.to_string());
                    warn!(
                        logger,
                        "worker {slot} died while it told what it had processed: what was in the last \
                        {} bytes is not known, and processed again",
                        end.discarded
                    );
                }
            }
            Input::End => break,
        }
    }
    if let Some(Err(error)) = run_file.map(run_file::Writer::finish) {
        problems.push(error.to_string());
    }
    Collected { judge, problems }
}

/// Writes to the run file, if there is one. What cannot be written is a problem, and the file is left as it is.
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

/// One worker process' journal.
#[derive(Default)]
struct Journal {
    decoder: Decoder,
    reader: Reader,
}

impl Journal {
    fn push(&mut self, piece: &[u8], judge: &mut Judge) -> Result<(), JournalError> {
        let reader = &mut self.reader;
        self.decoder.push(piece, |event| {
            // Every journal begins with it.
            if let Event::Hello(hello) = event {
                *reader = hello;
            }
            judge.journal(*reader, &event);
        })
    }
}

fn judged(judge: &mut Judge, outcome: &Outcome) {
    let Outcome { stamp, place } = outcome;
    match place {
        Some((partition, offset)) => judge.acknowledged(stamp.producer, stamp.sequence, *partition, *offset),
        // A second copy that failed says nothing about the first one.
        None if stamp.kind == Kind::Duplicate => {}
        None => judge.failed(stamp.producer, stamp.sequence),
    }
}

fn written(file: &mut run_file::Writer, outcome: &Outcome) -> Result<(), run_file::RunFileError> {
    let Outcome { stamp, place } = outcome;
    match place {
        Some((partition, offset)) => file.acknowledged(stamp.producer, stamp.sequence, *partition, *offset),
        None if stamp.kind == Kind::Duplicate => Ok(()),
        None => file.failed(stamp.producer, stamp.sequence),
    }
}

/// Outcomes that are held back until there are enough of them.
struct Told {
    buffers: Vec<Mutex<Vec<Outcome>>>,
    inputs: SyncSender<Input>,
}

impl Told {
    fn send(&self, outcomes: Vec<Outcome>) {
        // The judge is gone only when the process ends.
        let _unheard = self.inputs.send(Input::Outcomes(outcomes));
    }
}

impl Outcomes for Told {
    fn tell(&self, outcome: Outcome) {
        let Some(buffer) = self.buffers.get(usize::from(outcome.stamp.producer) % BUFFERS) else { return };
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
    use crate::journal::{Entry, Writer};
    use crate::judge::{Facts, Scope};

    fn told(process: u32) -> Vec<u8> {
        let mut journal = Writer::new(Reader { slot: 0, process });
        journal.assigned(0, 0);
        journal.read(1, &[Entry { offset: i64::from(process), ..Entry::default() }]);
        journal.bye();
        journal.bytes().to_vec()
    }

    #[test]
    fn journals_that_nobody_has_taken_in_when_it_ends_are_read() {
        let folder = PrivateFolder::new().unwrap();
        let listener = UnixListener::bind(socket(&folder)).unwrap();
        for process in 0..10 {
            UnixStream::connect(socket(&folder)).unwrap().write_all(&told(process)).unwrap();
        }
        let (inputs, waiting) = mpsc::sync_channel(WAITING);
        // As if it were told to stop before it has looked.
        accept(&listener, &inputs, &AtomicBool::new(true));
        drop(inputs);
        let ended = waiting.iter().filter(|input| matches!(input, Input::JournalEnds(_))).count();
        assert_eq!(ended, 10);
    }

    #[test]
    fn what_many_workers_have_told_is_all_known_at_the_end() {
        let logger = Logger::root(Discard, o!());
        let judge = Judge::new(Scope { partitions: 1, ..Scope::default() });
        let collector = Collector::start(judge, None, &logger).unwrap();
        for process in 0..200 {
            UnixStream::connect(collector.socket()).unwrap().write_all(&told(process)).unwrap();
        }
        let Collected { judge, problems } = collector.finish().unwrap();
        assert_eq!(problems, [""; 0]);
        let verdict = judge.verdict(Facts::default());
        assert_eq!((verdict.processed, verdict.readers), (200, 200));
    }
}
