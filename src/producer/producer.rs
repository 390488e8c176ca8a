//! One producer thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Handler, MessageResult, SyncContext};

use super::maker::{Made, Maker};
use super::messages::{Ended, Flush, Flushed, Halt, Produce, Slice};
use super::schedule::Schedule;
use crate::clock::Anchor;
use crate::kafka::sender::{SendError, Sender};
use crate::message::{Generator, Outgoing, Source};
use crate::panics::guarded;
use crate::settings;
use crate::stamp::Kind;

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
    due: Instant,
    anchor: Anchor,
    clock: Clock,
    pace: Pace,
    /// The message of `source.sequence` is made already; the queue was full.
    made: Option<Made>,
    /// What is made is the second copy of a message that was counted already.
    copying: bool,
    halt: Arc<Halt>,
}

/// How many messages share one reading of the clock when nothing is waited for: a reading costs 30 ns, which is 3 % of
/// a message's whole way, and so many are made within 10 µs.
const READING: u32 = 8;

/// The monotonic clock, not read more often than it has to be.
struct Clock {
    /// Every reading counts.
    paced: bool,
    read: Instant,
    /// How often the last reading may still be used.
    left: u32,
}

impl Clock {
    fn new(paced: bool) -> Self {
        Self { paced, read: Instant::now(), left: 0 }
    }

    fn now(&mut self) -> Instant {
        if self.left == 0 {
            self.read = Instant::now();
            self.left = if self.paced { 1 } else { READING };
        }
        self.left -= 1;
        self.read
    }

    /// Time has passed.
    fn expire(&mut self) {
        self.left = 0;
    }
}

/// Ends within some 60 µs after that moment (Linux' timer slack is 50 µs).
fn sleep_until(now: Instant, moment: Instant) -> Option<Instant> {
    if moment <= now {
        return Some(now);
    }
    std::thread::sleep(moment - now);
    Some(Instant::now())
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
        let source = Source { producer: number, producers: settings.threads, sequence: 0, due_us: 0 };
        Self {
            source,
            maker: Maker::new(settings, generator, run),
            sender,
            message: Outgoing::default(),
            due: pace.begun,
            anchor: Anchor::now(),
            clock: Clock::new(pace.schedule.is_paced()),
            pace,
            made: None,
            copying: false,
            halt,
        }
    }

    fn produce(&mut self, work: &Produce) -> Slice {
        let begun = Instant::now();
        let end = begun + SLICE;
        self.clock.expire();
        self.anchor = Anchor::now();
        let mut slice = Slice::default();
        let more = |slice: &Slice| slice.sent < work.count && slice.bytes < work.bytes;
        while (more(&slice) || self.copying) && !self.halt.is_stopped() {
            // For the slice's end, and as the time at which the message is sent.
            let mut now = self.clock.now();
            if slice.sent > 0 && !self.copying && now >= end {
                break;
            }
            if self.made.is_none() {
                match self.wait_until_due(now, end, work.until) {
                    Some(later) => now = later,
                    None => break,
                }
            }
            if let Err(ended) = self.make() {
                slice.ended = Some(ended);
                break;
            }
            if self.made.is_none() {
                // The generator refused; counted already.
                self.advance(&mut slice, now);
                continue;
            }
            match self.sender.send(&self.message, self.due, now) {
                Ok(()) => self.advance(&mut slice, now),
                Err(SendError::Refused(reason)) => {
                    self.sender.refuse(&self.message, reason);
                    self.advance(&mut slice, now);
                }
                Err(SendError::QueueFull) if now >= end => break,
                Err(SendError::QueueFull) => {
                    std::thread::sleep(FULL);
                    self.clock.expire();
                }
                Err(SendError::Fatal(reason)) => {
                    slice.ended = Some(Ended::Fatal(reason));
                    break;
                }
            }
        }
        slice
    }

    /// Waits until the next message is due; the time then, or `None` if that is after the slice's or the run's end.
    fn wait_until_due(&mut self, now: Instant, end: Instant, until: Option<Instant>) -> Option<Instant> {
        let Some(due) = self.pace.schedule.time_of(self.source.producer, self.source.sequence) else {
            self.due = now;
            return Some(now);
        };
        self.due = self.pace.begun + due;
        let last = until.map_or(end, |until| until.min(end));
        if self.due > last || until == Some(self.due) {
            return sleep_until(now, last).and(None);
        }
        sleep_until(now, self.due)
    }

    /// Counts what was made, taken or refused, and goes on to the next message, or to this one's second copy.
    fn advance(&mut self, slice: &mut Slice, now: Instant) {
        let made = self.made.take().unwrap_or_default();
        let bytes = (self.message.payload.len() + self.message.key.as_ref().map_or(0, Vec::len)) as u64;
        slice.bytes += bytes;
        slice.largest = slice.largest.max(bytes);
        slice.delay = slice.delay.max(now.saturating_duration_since(self.due));
        slice.last = Some(now);
        if std::mem::take(&mut self.copying) {
            slice.faults.duplicated += 1;
        } else {
            slice.sent += 1;
            slice.faults.corrupt += u64::from(made.kind == Kind::Corrupt);
            slice.faults.oversized += u64::from(made.kind == Kind::Oversized);
            if made.repeat {
                self.maker.repeat(&self.source, &mut self.message);
                (self.made, self.copying) = (Some(Made { kind: Kind::Duplicate, repeat: false }), true);
                return;
            }
        }
        self.source.sequence += 1;
    }

    /// Makes the next message, unless it is made already.
    fn make(&mut self) -> Result<(), Ended> {
        if self.made.is_some() {
            return Ok(());
        }
        self.source.due_us = self.anchor.unix_us(self.due);
        let (maker, source, message) = (&mut self.maker, &self.source, &mut self.message);
        match guarded(|| maker.make(source, message)).map_err(Ended::Panicked)? {
            Ok(made) => self.made = Some(made),
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
