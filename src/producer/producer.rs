//! One producer thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Handler, MessageResult, SyncContext};

use super::maker::{Made, Maker};
use super::messages::{Ended, Flush, Flushed, GivenUp, Halt, Produce, Slice};
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
/// How long what was given up may take to come back; it takes no broker.
pub(super) const COMES_BACK: Duration = Duration::from_secs(1);

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
/// Unless that many took longer than this, because they are large or their generator is slow: then each has its own.
const SLOW: Duration = Duration::from_micros(100);

/// The monotonic clock, not read more often than it has to be.
struct Clock {
    /// Every reading counts.
    paced: bool,
    read: Instant,
    /// How many messages the last reading was meant for.
    uses: u32,
    /// How often it may still be used.
    left: u32,
}

impl Clock {
    fn new(paced: bool) -> Self {
        Self { paced, read: Instant::now(), uses: READING, left: 0 }
    }

    fn now(&mut self) -> Instant {
        if self.left == 0 {
            self.tick(Instant::now());
        }
        self.left -= 1;
        self.read
    }

    fn tick(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.read) / self.uses;
        self.read = now;
        self.uses = if self.paced || took > SLOW / READING { 1 } else { READING };
        self.left = self.uses;
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
                self.advance(&mut slice, now, false);
                continue;
            }
            match self.sender.send(&self.message, self.due, now) {
                Ok(()) => self.advance(&mut slice, now, true),
                Err(SendError::Refused(reason)) => {
                    self.sender.refuse(&self.message, reason);
                    self.advance(&mut slice, now, false);
                }
                Err(SendError::QueueFull) => {
                    // Late, whether it will be sent or not.
                    slice.delay = slice.delay.max(now.saturating_duration_since(self.due));
                    // A second copy belongs to a message that is counted: it waits here, there may be no other slice.
                    if now >= end && !self.copying {
                        break;
                    }
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
            return until.is_none_or(|until| now < until).then_some(now);
        };
        self.due = self.pace.begun + due;
        let last = until.map_or(end, |until| until.min(end));
        if self.due > last || until == Some(self.due) {
            return sleep_until(now, last).and(None);
        }
        sleep_until(now, self.due)
    }

    /// Counts what the client has `taken`, or it or the generator refused, and goes on to the next message, or to this one's
    /// second copy.
    fn advance(&mut self, slice: &mut Slice, now: Instant, taken: bool) {
        let made = self.made.take().unwrap_or_default();
        if taken {
            let bytes = (self.message.payload.len() + self.message.key.as_ref().map_or(0, Vec::len)) as u64;
            slice.bytes += bytes;
            slice.largest = slice.largest.max(bytes);
        }
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
        while !self.sender.flush(FLUSH_STEP) {
            let by = self.halt.flush_by(deadline);
            if Instant::now() < by {
                continue;
            }
            self.sender.abandon();
            // What was abandoned comes back as failed.
            self.sender.flush(COMES_BACK);
            return Flushed { given_up: Some(if by < deadline { GivenUp::Stopped } else { GivenUp::Flushing }) };
        }
        Flushed { given_up: None }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::GenerateError;

    /// Leaves each second message half made, and makes the others too large for any client.
    #[derive(Clone)]
    struct Refused;

    impl Generator for Refused {
        fn generate(&mut self, source: &Source, message: &mut Outgoing) -> Result<(), GenerateError> {
            message.payload.resize(if source.sequence == 0 { 100 } else { 2_000_000 }, b'x');
            if source.sequence % 2 == 1 { Err(GenerateError::Other("half made".to_owned())) } else { Ok(()) }
        }

        fn clone_boxed(&self) -> Box<dyn Generator> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn what_was_refused_has_no_bytes_that_were_sent() {
        let mut settings = settings::defaults();
        settings.kafka.brokers = vec!["127.0.0.1:1".to_owned()];
        let sender = Arc::new(Sender::new(&settings, None, &crate::logging::silent()).unwrap());
        let schedule = Schedule::new(&settings.producer);
        let pace = Pace { begun: Instant::now(), schedule };
        let deliveries = sender.deliveries();
        let mut producer = Producer::new(0, pace, &settings.producer, Box::new(Refused), None, sender, Arc::default());
        // One is taken, two are half made, and two refused by the client.
        let mut sum = Slice::default();
        while sum.sent < 5 {
            let slice = producer.produce(&Produce { count: 5 - sum.sent, bytes: u64::MAX, until: None });
            (sum.sent, sum.bytes) = (sum.sent + slice.sent, sum.bytes + slice.bytes);
            sum.largest = sum.largest.max(slice.largest);
        }
        assert_eq!((sum.bytes, sum.largest), (100, 100));
        assert_eq!(deliveries.failed().values().sum::<u64>(), 4, "{:?}", deliveries.failed());
    }

    #[test]
    fn slow_messages_have_a_reading_of_the_clock_each() {
        let mut clock = Clock::new(false);
        let mut time = clock.read;
        let mut uses_after = |each: Duration| {
            time += each * clock.uses;
            clock.tick(time);
            clock.uses
        };
        let micros = Duration::from_micros;
        assert_eq!(uses_after(micros(10)), READING);
        assert_eq!(uses_after(micros(13)), 1);
        assert_eq!(uses_after(micros(13)), 1);
        assert_eq!(uses_after(micros(5)), READING);
        let mut paced = Clock::new(true);
        paced.tick(paced.read);
        assert_eq!(paced.uses, 1);
    }
}
