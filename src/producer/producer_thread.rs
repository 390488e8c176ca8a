//! One producer thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Handler, MessageResult, SyncContext};

use super::message_builder::{BuiltMessage, MessageBuilder};
use super::messages::{BatchEnd, BatchResult, DeadlineKind, Flush, Flushed, ProduceBatch, StopFlag};
use super::schedule::Pacing;
use crate::generator::{Generator, MessageBuffer, MessageContext};
use crate::kafka::producer::{ProducerClient, SendError};
use crate::settings;
use crate::stamp::StampKind;
use crate::util::clock::ClockAnchor;
use crate::util::panic::catch_panic;

/// The duration of a batch, unless the generator takes longer: well below the 100 ms within which a stop or a rate
/// must take effect.
const BATCH_DURATION: Duration = Duration::from_millis(20);
/// The wait while the client's queue is full.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(1);
/// The interval at which a flush checks whether its deadline was shortened.
const FLUSH_STEP: Duration = Duration::from_millis(100);
/// How long purged messages may take to be reported; this involves no broker.
pub(super) const PURGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Generates and sends messages on its own thread, with its own client.
pub struct ProducerThread {
    source: MessageContext,
    builder: MessageBuilder,
    client: Arc<ProducerClient>,
    message: MessageBuffer,
    /// The scheduled time, or the time of creation.
    due: Instant,
    anchor: ClockAnchor,
    clock: CachedClock,
    pacing: Pacing,
    /// The message of `source.sequence` is already built, because the queue was full.
    built: Option<BuiltMessage>,
    /// The built message is the injected duplicate of a message that was already counted.
    is_duplicate: bool,
    stop_flag: Arc<StopFlag>,
}

/// The number of messages per clock reading without a rate: a reading costs 30 ns, 3 % of a message's total time, and
/// this number of messages takes 10 µs.
const CLOCK_READ_INTERVAL: u32 = 8;
/// If that number of messages takes longer, because they are large or their generator is slow, each gets its own
/// reading.
const SLOW_GENERATOR_THRESHOLD: Duration = Duration::from_micros(100);

/// The monotonic clock, with cached readings.
struct CachedClock {
    /// Every call reads the clock.
    paced: bool,
    read: Instant,
    /// The number of messages of the last reading.
    uses: u32,
    /// The number of remaining uses of the last reading.
    left: u32,
}

impl CachedClock {
    fn new(paced: bool) -> Self {
        Self { paced, read: Instant::now(), uses: CLOCK_READ_INTERVAL, left: 0 }
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
        self.uses =
            if self.paced || took > SLOW_GENERATOR_THRESHOLD / CLOCK_READ_INTERVAL { 1 } else { CLOCK_READ_INTERVAL };
        self.left = self.uses;
    }

    /// Forces a new reading, after a wait.
    fn expire(&mut self) {
        self.left = 0;
    }
}

/// Sleeps until `moment`; returns up to about 60 µs later (the timer slack of Linux is 50 µs).
fn sleep_until(now: Instant, moment: Instant) -> Option<Instant> {
    if moment <= now {
        return Some(now);
    }
    std::thread::sleep(moment - now);
    Some(Instant::now())
}

impl ProducerThread {
    /// Creates producer `number` of `producers`.
    pub(super) fn new(
        number: usize,
        pacing: Pacing,
        settings: &settings::Producer,
        generator: Box<dyn Generator>,
        run: Option<u64>,
        client: Arc<ProducerClient>,
        stop_flag: Arc<StopFlag>,
    ) -> Self {
        let source = MessageContext { producer: number, producers: settings.threads, sequence: 0, due_us: 0 };
        Self {
            source,
            builder: MessageBuilder::new(settings, generator, run),
            client,
            message: MessageBuffer::default(),
            due: pacing.begun,
            anchor: ClockAnchor::now(),
            clock: CachedClock::new(pacing.schedule.is_paced()),
            pacing,
            built: None,
            is_duplicate: false,
            stop_flag,
        }
    }

    fn produce(&mut self, work: &ProduceBatch) -> BatchResult {
        let begun = Instant::now();
        let end = begun + BATCH_DURATION;
        self.clock.expire();
        self.anchor = ClockAnchor::now();
        let mut batch = BatchResult { ended: self.client.broken().map(BatchEnd::Fatal), ..BatchResult::default() };
        if batch.ended.is_some() {
            return batch;
        }
        let more = |batch: &BatchResult| batch.sent < work.count && batch.bytes < work.bytes;
        while (more(&batch) || self.is_duplicate) && !self.stop_flag.is_stopped() {
            // Used for the end of the batch and as the message's send time.
            let mut now = self.clock.now();
            if batch.sent > 0 && !self.is_duplicate && now >= end {
                break;
            }
            if self.built.is_none() {
                match self.wait_until_due(now, end, work.until) {
                    Some(later) => now = later,
                    None => break,
                }
            }
            if let Err(ended) = self.build_message() {
                batch.ended = Some(ended);
                break;
            }
            if self.built.is_none() {
                // The generator rejected it; it is already counted.
                self.advance(&mut batch, now, false);
                continue;
            }
            match self.client.send(&self.message, self.due, now) {
                Ok(()) => self.advance(&mut batch, now, true),
                Err(SendError::Refused(reason)) => {
                    self.client.fail_locally(&self.message, reason);
                    self.advance(&mut batch, now, false);
                }
                Err(SendError::QueueFull) => {
                    // The delay counts whether the message will be sent or not.
                    batch.delay = batch.delay.max(now.saturating_duration_since(self.due));
                    // A duplicate belongs to a counted message, and there may be no further batch: it waits here.
                    if now >= end && !self.is_duplicate {
                        break;
                    }
                    std::thread::sleep(QUEUE_FULL_WAIT);
                    self.clock.expire();
                }
                Err(SendError::Fatal(reason)) => {
                    batch.ended = Some(BatchEnd::Fatal(reason));
                    break;
                }
            }
        }
        batch
    }

    /// Waits until the next message is due and returns that time; `None` if that is after the end of the batch or the
    /// run.
    fn wait_until_due(&mut self, now: Instant, end: Instant, until: Option<Instant>) -> Option<Instant> {
        let Some(due) = self.pacing.schedule.time_of(self.source.producer, self.source.sequence) else {
            self.due = now;
            return until.is_none_or(|until| now < until).then_some(now);
        };
        self.due = self.pacing.begun + due;
        let last = until.map_or(end, |until| until.min(end));
        if self.due > last || until == Some(self.due) {
            return sleep_until(now, last).and(None);
        }
        sleep_until(now, self.due)
    }

    /// Counts a message that the client accepted (`taken`) or that it or the generator rejected, and moves on to the
    /// next message or to this one's duplicate.
    fn advance(&mut self, batch: &mut BatchResult, now: Instant, taken: bool) {
        let built = self.built.take().unwrap_or_default();
        if taken {
            let bytes = (self.message.payload.len() + self.message.key.as_ref().map_or(0, Vec::len)) as u64;
            batch.bytes += bytes;
            batch.largest = batch.largest.max(bytes);
        }
        batch.delay = batch.delay.max(now.saturating_duration_since(self.due));
        batch.last = Some(now);
        if std::mem::take(&mut self.is_duplicate) {
            batch.faults.duplicated += 1;
        } else {
            batch.sent += 1;
            batch.faults.corrupt += u64::from(built.kind == StampKind::Corrupt);
            batch.faults.oversized += u64::from(built.kind == StampKind::Oversized);
            if built.repeat {
                self.builder.repeat(&self.source, &mut self.message);
                (self.built, self.is_duplicate) =
                    (Some(BuiltMessage { kind: StampKind::Duplicate, repeat: false }), true);
                return;
            }
        }
        self.source.sequence += 1;
    }

    /// Builds the next message, unless it is already built.
    fn build_message(&mut self) -> Result<(), BatchEnd> {
        if self.built.is_some() {
            return Ok(());
        }
        self.source.due_us = self.anchor.unix_us(self.due);
        let (builder, source, message) = (&mut self.builder, &self.source, &mut self.message);
        match catch_panic(|| builder.build(source, message)).map_err(BatchEnd::Panicked)? {
            Ok(built) => self.built = Some(built),
            Err(error) => self.client.deliveries().fail(format!("generator: {error}")),
        }
        Ok(())
    }

    fn flush(&self, deadline: Instant) -> Flushed {
        while !self.client.flush(FLUSH_STEP) {
            let by = self.stop_flag.flush_by(deadline);
            if Instant::now() < by {
                continue;
            }
            self.client.purge();
            // Purged messages are reported as failed.
            self.client.flush(PURGE_TIMEOUT);
            let expired = Some(if by < deadline { DeadlineKind::Stopped } else { DeadlineKind::Flushing });
            return Flushed { expired, ended: self.client.broken().map(BatchEnd::Fatal) };
        }
        Flushed { expired: None, ended: self.client.broken().map(BatchEnd::Fatal) }
    }
}

impl Actor for ProducerThread {
    type Context = SyncContext<Self>;
}

impl Handler<ProduceBatch> for ProducerThread {
    type Result = MessageResult<ProduceBatch>;

    fn handle(&mut self, work: ProduceBatch, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.produce(&work))
    }
}

impl Handler<Flush> for ProducerThread {
    type Result = MessageResult<Flush>;

    fn handle(&mut self, flush: Flush, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.flush(flush.deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::GenerateError;

    /// Returns an error for every second message, and generates the others too large for any client.
    #[derive(Clone)]
    struct Refused;

    impl Generator for Refused {
        fn generate(&mut self, source: &MessageContext, message: &mut MessageBuffer) -> Result<(), GenerateError> {
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
        let client = Arc::new(ProducerClient::new(&settings, None, None, &crate::logging::discard()).unwrap());
        let pacing = Pacing::new(&settings.producer);
        let deliveries = client.deliveries();
        let mut producer =
            ProducerThread::new(0, pacing, &settings.producer, Box::new(Refused), None, client, Arc::default());
        // One is accepted, two are rejected by the generator, two by the client.
        let mut sum = BatchResult::default();
        while sum.sent < 5 {
            let batch = producer.produce(&ProduceBatch { count: 5 - sum.sent, bytes: u64::MAX, until: None });
            (sum.sent, sum.bytes) = (sum.sent + batch.sent, sum.bytes + batch.bytes);
            sum.largest = sum.largest.max(batch.largest);
        }
        assert_eq!((sum.bytes, sum.largest), (100, 100));
        assert_eq!(deliveries.failed().values().sum::<u64>(), 4, "{:?}", deliveries.failed());
    }

    #[test]
    fn slow_messages_have_a_reading_of_the_clock_each() {
        let mut clock = CachedClock::new(false);
        let mut time = clock.read;
        let mut uses_after = |each: Duration| {
            time += each * clock.uses;
            clock.tick(time);
            clock.uses
        };
        let micros = Duration::from_micros;
        assert_eq!(uses_after(micros(10)), CLOCK_READ_INTERVAL);
        assert_eq!(uses_after(micros(13)), 1);
        assert_eq!(uses_after(micros(13)), 1);
        assert_eq!(uses_after(micros(5)), CLOCK_READ_INTERVAL);
        let mut paced = CachedClock::new(true);
        paced.tick(paced.read);
        assert_eq!(paced.uses, 1);
    }
}
