//! The status registry: the producer and the consumer publish their status there, and all views read it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::interval;

use super::readiness;
use super::status::{ConsumeStatus, Event, EventLevel, Phase, ProduceStatus, RateSample, STATUS_VERSION, Status};
use super::systemd::SystemdNotifier;
use crate::os::hostname;
use crate::settings::Settings;
use crate::util::escape::truncate_chars;

/// The number of events that are kept.
const EVENT_HISTORY: usize = 200;
/// The number of samples that are kept: five minutes.
const SAMPLES: usize = 300;
/// The interval between samples.
const SAMPLED: Duration = Duration::from_secs(1);
/// The heartbeat interval after the producer and the consumer have ended.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(250);
/// Without `kafka.connect_timeout`, systemd is notified after this time that the run is up and waits for the brokers.
const AWAITED_SILENTLY: Duration = Duration::from_secs(1);
/// The maximum length of an event's text, in characters: it may contain text from messages or programs.
const MAX_EVENT_CHARS: usize = 1_000;

/// The status registry of a run. Clones share the same status.
#[derive(Clone)]
pub struct StatusRegistry(Arc<Inner>);

struct Inner {
    command: String,
    /// Whether the HTTP server reads the status (`monitoring.listen` is set).
    watched: bool,
    readiness_stall_timeout: Duration,
    service: Mutex<SystemdNotifier>,
    /// The brokers, if the run waits for them without a timeout.
    awaited: Option<String>,
    begun: Instant,
    begun_at: SystemTime,
    known: Mutex<RunState>,
}

#[derive(Default)]
struct RunState {
    phase: Phase,
    /// What the run waits for before it starts.
    waits: Option<String>,
    produce: Option<ProduceStatus>,
    consume: Option<ConsumeStatus>,
    history: VecDeque<RateSample>,
    sampled: Option<Instant>,
    events: VecDeque<Event>,
    next_event: u64,
    /// The time of the last heartbeat of the main loop.
    last_heartbeat: Option<Instant>,
}

impl StatusRegistry {
    /// Creates the registry of a starting run.
    pub fn new(command: &str, settings: &Settings) -> Self {
        let awaited = settings.kafka.first_contact_timeout().is_none().then(|| settings.kafka.brokers.join(","));
        let settings = &settings.monitoring;
        Self(Arc::new(Inner {
            command: command.to_owned(),
            watched: settings.listen.is_some(),
            readiness_stall_timeout: settings.readiness_stall_timeout,
            service: Mutex::default(),
            awaited,
            begun: Instant::now(),
            begun_at: SystemTime::now(),
            known: Mutex::default(),
        }))
    }

    /// Whether the HTTP server reads the status; if not, only phases need to be published.
    pub fn is_watched(&self) -> bool {
        self.0.watched
    }

    /// Records that the main loop is alive, and sends the systemd watchdog notification. The main loop calls it several times per
    /// second.
    pub fn heartbeat(&self) {
        let waits = {
            let mut known = self.known();
            known.last_heartbeat = Some(Instant::now());
            known.phase == Phase::Starting && known.waits.is_none() && self.0.begun.elapsed() >= AWAITED_SILENTLY
        };
        if let Some(brokers) = self.0.awaited.as_ref().filter(|_| waits) {
            self.waits(&format!("waiting for the brokers {brokers} (kafka.connect_timeout = 0s)"));
        }
        self.service().alive();
    }

    /// Sends heartbeats after the producer and the consumer have ended, while their results are processed.
    pub async fn keep_alive(&self) -> Infallible {
        let mut clock = interval(KEEPALIVE_INTERVAL);
        loop {
            clock.tick().await;
            self.heartbeat();
        }
    }

    /// Sets the phase. A phase never goes back, except from paused to running.
    pub fn phase(&self, phase: Phase, text: &str) {
        let mut known = self.known();
        let resumed = known.phase == Phase::Paused && phase == Phase::Running;
        if phase > known.phase || resumed {
            known.phase = phase;
            drop(known);
            self.service().phase(phase, text);
        }
    }

    /// Publishes what the run waits for before it starts, without a timeout. systemd is notified that the run is up: otherwise
    /// its start timeout would expire.
    pub fn waits(&self, text: &str) {
        self.known().waits = Some(text.to_owned());
        self.service().waits(text);
    }

    /// Publishes the status of the producer.
    pub fn produce(&self, status: ProduceStatus) {
        let mut known = self.known();
        known.produce = Some(status);
        known.sample();
    }

    /// Publishes the status of the consumer.
    pub fn consume(&self, status: ConsumeStatus) {
        let mut known = self.known();
        known.consume = Some(status);
        known.sample();
    }

    /// Adds an event.
    pub fn event(&self, level: EventLevel, kind: &str, worker: Option<usize>, text: impl Into<String>) {
        let text = truncate_chars(&text.into(), MAX_EVENT_CHARS);
        let mut known = self.known();
        let id = known.next_event;
        known.next_event += 1;
        if known.events.len() == EVENT_HISTORY {
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

    /// Returns the time since the last heartbeat; `None` if there was none yet.
    pub fn time_since_heartbeat(&self) -> Option<Duration> {
        self.known().last_heartbeat.map(|at| at.elapsed())
    }

    /// Returns the complete current status.
    pub fn status(&self) -> Status {
        let inner = &self.0;
        let known = self.known();
        let mut status = Status {
            version: STATUS_VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            command: inner.command.clone(),
            host: hostname::name(),
            pid: std::process::id(),
            started_at: rfc3339(inner.begun_at),
            at: rfc3339(SystemTime::now()),
            uptime_seconds: inner.begun.elapsed().as_secs_f64(),
            phase: known.phase,
            not_ready_reasons: Vec::new(),
            produce: known.produce.clone(),
            consume: known.consume.clone(),
            history: known.history.iter().copied().collect(),
            events: known.events.iter().cloned().collect(),
        };
        let waits = known.waits.clone().filter(|_| known.phase == Phase::Starting);
        drop(known);
        status.not_ready_reasons =
            waits.map_or_else(|| readiness::unready_reasons(&status, inner.readiness_stall_timeout), |text| vec![text]);
        status
    }

    fn service(&self) -> MutexGuard<'_, SystemdNotifier> {
        self.0.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, RunState> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunState {
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
        self.history.push_back(RateSample {
            at,
            acknowledged: self.produce.as_ref().map_or(0, |produce| produce.acknowledged),
            unacknowledged: self.produce.as_ref().map_or(0, |produce| produce.unacknowledged),
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
        let registry = StatusRegistry::new("consume", &crate::settings::defaults());
        (0..1_000).for_each(|_| registry.event(EventLevel::Info, "notice", None, "é".repeat(5_000)));
        let events = registry.status().events;
        assert_eq!((events.len(), events[0].id, events[199].id), (200, 800, 999));
        assert_eq!(events[0].text.chars().count(), MAX_EVENT_CHARS);
    }

    #[actix::test]
    async fn a_run_lives_on_while_it_sums_up() {
        let registry = StatusRegistry::new("verify", &crate::settings::defaults());
        registry.heartbeat();
        tokio::select! {
            never = registry.keep_alive() => match never {},
            () = tokio::time::sleep(KEEPALIVE_INTERVAL * 6) => {}
        }
        assert!(
            registry.time_since_heartbeat().unwrap() < KEEPALIVE_INTERVAL * 3,
            "{:?}",
            registry.time_since_heartbeat()
        );
    }

    #[test]
    fn a_run_that_ends_is_never_running_again() {
        let registry = StatusRegistry::new("consume", &crate::settings::defaults());
        let at = |phase| {
            registry.phase(phase, "");
            registry.status().phase
        };
        assert_eq!(at(Phase::Running), Phase::Running);
        assert_eq!(at(Phase::Paused), Phase::Paused);
        assert_eq!(at(Phase::Running), Phase::Running);
        assert_eq!(at(Phase::Draining), Phase::Draining);
        assert_eq!(at(Phase::Running), Phase::Draining);
    }
}
