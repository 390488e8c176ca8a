//! One producer thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Handler, MessageResult, SyncContext};

use super::maker::Maker;
use super::messages::{Ended, Flush, Flushed, Halt, Produce, Slice};
use super::schedule::Schedule;
use crate::clock::Anchor;
use crate::kafka::sender::{SendError, Sender};
use crate::message::{Generator, Outgoing, Source};
use crate::panics::guarded;
use crate::settings;

/// How long a slice of work takes at most, unless the generator itself takes longer: well below the 100 ms in which a
/// stop or a rate has to be felt.
const SLICE: Duration = Duration::from_millis(20);
/// How long to wait when the client's queue is full.
const FULL: Duration = Duration::from_millis(1);
/// In which steps a flush looks whether its deadline was moved.
const FLUSH_STEP: Duration = Duration::from_millis(100);

/// Generates messages and sends them, on a thread of its own and with a client of its own.
pub struct Producer {
    source: Source,
    maker: Maker,
    sender: Arc<Sender>,
    message: Outgoing,
    /// When it was due, or is made.
    since: Instant,
    anchor: Anchor,
    pace: Pace,
    /// The message of `source.sequence` is made already; the queue was full.
    made: bool,
    halt: Arc<Halt>,
}

/// When the run has begun, and what is due when.
#[derive(Clone)]
pub(super) struct Pace {
    pub(super) begun: Instant,
    pub(super) schedule: Schedule,
}

impl Producer {
    /// Producer `number` of `producers`.
    pub(super) fn new(
        number: usize,
        pace: Pace,
        settings: &settings::Producer,
        generator: Box<dyn Generator>,
        run: Option<u64>,
        sender: Arc<Sender>,
        halt: Arc<Halt>,
    ) -> Self {
        let source = Source { producer: number, producers: settings.threads, sequence: 0 };
        Self {
            source,
            maker: Maker::new(settings, generator, run),
            sender,
            message: Outgoing::default(),
            since: pace.begun,
            anchor: Anchor::now(),
            pace,
            made: false,
            halt,
        }
    }

    fn produce(&mut self, work: &Produce) -> Slice {
        let begun = Instant::now();
        self.anchor = Anchor::now();
        let mut slice = Slice::default();
        while slice.sent < work.count && slice.bytes < work.bytes && !self.halt.is_stopped() {
            // Read once for each message: for the slice's end, and as the time that the message's latency counts from.
            let now = Instant::now();
            if slice.sent > 0 && now.duration_since(begun) >= SLICE {
                break;
            }
            if let Err(ended) = self.make(now) {
                slice.ended = Some(ended);
                break;
            }
            if !self.made {
                // The generator refused; counted already.
                self.advance(&mut slice);
                continue;
            }
            match self.sender.send(&self.message, self.since) {
                Ok(()) => self.advance(&mut slice),
                Err(SendError::Refused(reason)) => {
                    self.sender.deliveries().fail(reason);
                    self.advance(&mut slice);
                }
                Err(SendError::QueueFull) if begun.elapsed() >= SLICE => break,
                Err(SendError::QueueFull) => std::thread::sleep(FULL),
                Err(SendError::Fatal(reason)) => {
                    slice.ended = Some(Ended::Fatal(reason));
                    break;
                }
            }
        }
        slice
    }

    fn advance(&mut self, slice: &mut Slice) {
        slice.sent += 1;
        let bytes = (self.message.payload.len() + self.message.key.as_ref().map_or(0, Vec::len)) as u64;
        slice.bytes += bytes;
        slice.largest = slice.largest.max(bytes);
        self.source.sequence += 1;
        self.made = false;
    }

    /// Makes the next message, unless it is made already.
    fn make(&mut self, now: Instant) -> Result<(), Ended> {
        if self.made {
            return Ok(());
        }
        let due = self.pace.schedule.time_of(self.source.producer, self.source.sequence);
        self.since = due.map_or(now, |due| self.pace.begun + due);
        let due_us = self.anchor.unix_us(self.since);
        let (maker, source, message) = (&mut self.maker, &self.source, &mut self.message);
        match guarded(|| maker.make(source, due_us, message)).map_err(Ended::Panicked)? {
            Ok(()) => self.made = true,
            Err(error) => self.sender.deliveries().fail(format!("generator: {error}")),
        }
        Ok(())
    }

    fn flush(&self, deadline: Instant) -> Flushed {
        let mut abandoned = false;
        while !abandoned && !self.sender.flush(FLUSH_STEP) {
            abandoned = Instant::now() >= self.halt.flush_by(deadline);
        }
        if abandoned {
            self.sender.abandon();
            // What was abandoned comes back as given up; it takes no broker to tell.
            self.sender.flush(FLUSH_STEP);
        }
        let deliveries = self.sender.deliveries();
        Flushed { acknowledged: deliveries.acknowledged(), failed: deliveries.failed(), abandoned }
    }
}

impl Actor for Producer {
    type Context = SyncContext<Self>;
}

impl Handler<Produce> for Producer {
    type Result = MessageResult<Produce>;

    fn handle(&mut self, work: Produce, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.produce(&work))
    }
}

impl Handler<Flush> for Producer {
    type Result = MessageResult<Flush>;

    fn handle(&mut self, flush: Flush, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.flush(flush.deadline))
    }
}
