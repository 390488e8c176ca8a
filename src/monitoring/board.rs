//! Where the two sides of a run put up what they know, and everybody else reads it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::interval;

use super::health;
use super::service::Service;
use super::status::{ConsumeStatus, Event, EventLevel, Phase, ProduceStatus, Sample, Status, VERSION};
use crate::os::host;
use crate::settings::Monitoring;

/// How many events are remembered.
const EVENTS: usize = 200;
/// How many samples are remembered: five minutes.
const SAMPLES: usize = 300;
/// Between two of them.
const SAMPLED: Duration = Duration::from_secs(1);
/// How often a run says that it lives after both sides have ended.
const LIVES: Duration = Duration::from_millis(250);
/// The longest text of an event, in characters: some have what a message or a program said.
const LONGEST: usize = 1_000;

/// A run's status; its clones are the same one.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    command: String,
    /// Somebody looks at it.
    watched: bool,
    unready_after: Duration,
    service: Mutex<Service>,
    begun: Instant,
    begun_at: SystemTime,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    phase: Phase,
    produce: Option<ProduceStatus>,
    consume: Option<ConsumeStatus>,
    history: VecDeque<Sample>,
    sampled: Option<Instant>,
    events: VecDeque<Event>,
    next_event: u64,
    /// When something moved last.
    heard: Option<Instant>,
}

impl Board {
    /// Of a run that is starting.
    pub fn new(command: &str, settings: &Monitoring) -> Self {
        Self(Arc::new(Inner {
            command: command.to_owned(),
            watched: settings.listen.is_some(),
            unready_after: settings.unready_after,
            service: Mutex::default(),
            begun: Instant::now(),
            begun_at: SystemTime::now(),
            known: Mutex::default(),
        }))
    }

    /// Whether somebody looks at it: otherwise nothing has to be put up but phases.
    pub fn is_watched(&self) -> bool {
        self.0.watched
    }

    /// The loop that everything hangs on lives; to be called by it, several times a second.
    pub fn alive(&self) {
        self.known().heard = Some(Instant::now());
        self.service().alive();
    }

    /// Lives for both sides once they have ended, while what they leave behind is dealt with.
    pub async fn live_on(&self) -> Infallible {
        let mut clock = interval(LIVES);
        loop {
            clock.tick().await;
            self.alive();
        }
    }

    /// Where the run stands; it never goes back, but for a run that is quiet no more.
    pub fn phase(&self, phase: Phase, text: &str) {
        let mut known = self.known();
        let resumed = known.phase == Phase::Quiet && phase == Phase::Running;
        if phase > known.phase || resumed {
            known.phase = phase;
            drop(known);
            self.service().phase(phase, text);
        }
    }

    /// What the producing side knows.
    pub fn produce(&self, status: ProduceStatus) {
        let mut known = self.known();
        known.produce = Some(status);
        known.sample();
    }

    /// What the consuming side knows.
    pub fn consume(&self, status: ConsumeStatus) {
        let mut known = self.known();
        known.consume = Some(status);
        known.sample();
    }

    /// Something has happened.
    pub fn event(&self, level: EventLevel, kind: &str, worker: Option<usize>, text: impl Into<String>) {
        let mut text: String = text.into();
        if let Some((end, _)) = text.char_indices().nth(LONGEST) {
            text.truncate(end);
            text.push('…');
        }
        let mut known = self.known();
        let id = known.next_event;
        known.next_event += 1;
        if known.events.len() == EVENTS {
            known.events.pop_front();
        }
        known.events.push_back(Event {
            id,
            at: rfc3339(SystemTime::now()),
            level,
            kind: kind.to_owned(),
            worker,
            text,
        });
    }

    /// For how long nothing has moved; `None`: nothing ever has.
    pub fn silence(&self) -> Option<Duration> {
        self.known().heard.map(|heard| heard.elapsed())
    }

    /// Everything, as it is now.
    pub fn status(&self) -> Status {
        let inner = &self.0;
        let known = self.known();
        let mut status = Status {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            command: inner.command.clone(),
            host: host::name(),
            pid: std::process::id(),
            started_at: rfc3339(inner.begun_at),
            at: rfc3339(SystemTime::now()),
            uptime_seconds: inner.begun.elapsed().as_secs_f64(),
            phase: known.phase,
            unready: Vec::new(),
            produce: known.produce.clone(),
            consume: known.consume.clone(),
            history: known.history.iter().copied().collect(),
            events: known.events.iter().cloned().collect(),
        };
        drop(known);
        status.unready = health::unready(&status, inner.unready_after);
        status
    }

    fn service(&self) -> MutexGuard<'_, Service> {
        self.0.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn sample(&mut self) {
        let now = Instant::now();
        if self.sampled.is_some_and(|at| now.duration_since(at) < SAMPLED) {
            return;
        }
        self.sampled = Some(now);
        if self.history.len() == SAMPLES {
            self.history.pop_front();
        }
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let consume = self.consume.as_ref();
        self.history.push_back(Sample {
            at,
            acknowledged: self.produce.as_ref().map_or(0, |produce| produce.acknowledged),
            processed: consume.map_or(0, |consume| consume.processed),
            lag: consume.map_or(0, |consume| consume.lag),
        });
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_events_are_forgotten_and_long_ones_cut() {
        let board = Board::new("consume", &crate::settings::defaults().monitoring);
        (0..1_000).for_each(|_| board.event(EventLevel::Info, "notice", None, "é".repeat(5_000)));
        let events = board.status().events;
        assert_eq!((events.len(), events[0].id, events[199].id), (200, 800, 999));
        assert_eq!(events[0].text.chars().count(), LONGEST + 1);
    }

    #[actix::test]
    async fn a_run_lives_on_while_it_sums_up() {
        let board = Board::new("verify", &crate::settings::defaults().monitoring);
        board.alive();
        tokio::select! {
            never = board.live_on() => match never {},
            () = tokio::time::sleep(LIVES * 6) => {}
        }
        assert!(board.silence().unwrap() < LIVES * 3, "{:?}", board.silence());
    }

    #[test]
    fn a_run_that_ends_is_never_running_again() {
        let board = Board::new("consume", &crate::settings::defaults().monitoring);
        let at = |phase| {
            board.phase(phase, "");
            board.status().phase
        };
        assert_eq!(at(Phase::Running), Phase::Running);
        assert_eq!(at(Phase::Quiet), Phase::Quiet);
        assert_eq!(at(Phase::Running), Phase::Running);
        assert_eq!(at(Phase::Draining), Phase::Draining);
        assert_eq!(at(Phase::Running), Phase::Draining);
    }
}
