//! Tracks from its statistics whether a client reaches the cluster. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Statistics arrive every few seconds, unless the client hangs or the user has disabled them.
const STATISTICS_LATE: Duration = Duration::from_secs(15);

/// The state of a client's connections, as reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "monitoring", derive(schemars::JsonSchema))]
pub struct ClientHealth {
    /// The age of the last broker response; 0 while a connection is up and no request is in flight.
    pub last_response_age_seconds: f64,
    /// How long a consumer has had no connection to its group coordinator; 0 for a producer.
    pub coordinator_unavailable_seconds: f64,
    /// The number of rejected logins and certificates.
    pub authentication_failures: u64,
    /// The last rejection, until a connection is up again.
    pub authentication_error: Option<String>,
}

/// The part of librdkafka's statistics about connections; the rest is not parsed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Connections {
    brokers: HashMap<String, BrokerConnection>,
    cgrp: Option<Group>,
}

#[derive(Debug, Default, Deserialize)]
struct BrokerConnection {
    state: String,
    /// Requests waiting to be sent.
    outbuf_cnt: i64,
    /// Requests in flight.
    waitresp_cnt: i64,
    /// Time since the last received bytes, in µs; -1 if none were received.
    rxidle: i64,
}

#[derive(Debug, Default, Deserialize)]
struct Group {
    state: String,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct Health {
    /// The time of the last broker response; initially the creation of the client.
    responded: Instant,
    /// The last time the coordinator's connection was up; `None` without a group.
    coordinated: Option<Instant>,
    /// The time of the last statistics.
    observed: Option<Instant>,
    authentication_failures: u64,
    authentication_error: Option<String>,
}

impl Health {
    /// Creates the tracker of a client that is created now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            responded: now,
            coordinated: None,
            observed: None,
            authentication_failures: 0,
            authentication_error: None,
        }
    }

    /// Processes statistics.
    pub(super) fn observe(&mut self, connections: &Connections, now: Instant) {
        let created = self.observed.is_none().then_some(self.responded);
        self.observed = Some(now);
        let up = |broker: &&BrokerConnection| broker.state == "UP";
        if connections.brokers.values().any(|broker| up(&broker)) {
            self.authentication_error = None;
        }
        let is_idle = |broker: &BrokerConnection| broker.outbuf_cnt <= 0 && broker.waitresp_cnt <= 0;
        if connections.brokers.values().filter(up).any(is_idle) {
            self.responded = now;
        } else if let Some(idle) =
            connections.brokers.values().filter_map(|broker| u64::try_from(broker.rxidle).ok()).min()
            && let Some(at) = now.checked_sub(Duration::from_micros(idle))
        {
            self.responded = self.responded.max(at);
        }
        match &connections.cgrp {
            Some(group) if group.state == "up" => self.coordinated = Some(now),
            // If it was never up, the time counts from the client's creation.
            Some(_) => self.coordinated = self.coordinated.or(created).or(Some(now)),
            None => self.coordinated = None,
        }
    }

    /// Records a rejected login.
    pub(super) fn refuse(&mut self, reason: &str) {
        self.authentication_failures += 1;
        self.authentication_error = Some(reason.to_owned());
    }

    /// The current health; `None` before the first statistics.
    pub(super) fn report(&self, now: Instant) -> Option<ClientHealth> {
        // Between two statistics the ages do not grow; when the statistics are overdue, they do.
        let observed = self.observed.filter(|at| now.saturating_duration_since(*at) < STATISTICS_LATE).unwrap_or(now);
        let age = |at: Instant| observed.saturating_duration_since(at).as_secs_f64();
        (self.observed.is_some() || self.authentication_failures > 0).then(|| ClientHealth {
            last_response_age_seconds: age(self.responded),
            coordinator_unavailable_seconds: self.coordinated.map_or(0.0, age),
            authentication_failures: self.authentication_failures,
            authentication_error: self.authentication_error.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker's connection: state, requests in flight, seconds since the last received bytes.
    fn connections(brokers: &[(&str, i64, i64)], group: Option<&str>) -> Connections {
        let row = |(number, (state, open, idle)): (usize, &(&str, i64, i64))| {
            let rxidle = if *idle < 0 { -1 } else { idle * 1_000_000 };
            let broker = BrokerConnection { state: (*state).to_owned(), outbuf_cnt: 0, waitresp_cnt: *open, rxidle };
            (number.to_string(), broker)
        };
        Connections {
            brokers: brokers.iter().enumerate().map(row).collect(),
            cgrp: group.map(|state| Group { state: state.to_owned() }),
        }
    }

    fn ages(health: &Health, now: Instant) -> (u64, u64) {
        let report = health.report(now).unwrap();
        (report.last_response_age_seconds as u64, report.coordinator_unavailable_seconds as u64)
    }

    #[test]
    fn a_client_that_nobody_answers_ages_and_one_that_asks_nothing_does_not() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut health = Health::new(begun);
        assert_eq!(health.report(at(5)), None, "nothing is known");
        health.observe(&connections(&[("TRY_CONNECT", 0, -1)], None), at(5));
        assert_eq!(ages(&health, at(5)), (5, 0), "since it was created");
        health.observe(&connections(&[("UP", 1, 1)], None), at(10));
        assert_eq!(ages(&health, at(10)), (1, 0), "a fetch waits for messages");
        health.observe(&connections(&[("UP", 0, 200)], None), at(20));
        assert_eq!(ages(&health, at(20)), (0, 0), "it is up, and nothing is asked");
        // The broker stops responding; then its connection is lost, with its counters.
        health.observe(&connections(&[("UP", 1, 220)], None), at(50));
        health.observe(&connections(&[("DOWN", 0, -1), ("CONNECT", 0, -1)], None), at(60));
        assert_eq!(ages(&health, at(60)), (40, 0));
        health.observe(&connections(&[("DOWN", 0, -1), ("UP", 1, 0)], None), at(70));
        assert_eq!(ages(&health, at(74)), (0, 0), "one of them is enough, until the next statistics");
        assert_eq!(ages(&health, at(90)), (20, 0), "which do not come");
    }

    #[test]
    fn a_group_without_its_coordinator_ages() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut health = Health::new(begun);
        let up = [("UP", 1, 0)];
        health.observe(&connections(&up, Some("query-coord")), at(3));
        assert_eq!(ages(&health, at(3)), (0, 3), "since it was created");
        health.observe(&connections(&up, Some("up")), at(4));
        assert_eq!(ages(&health, at(4)), (0, 0));
        health.observe(&connections(&up, Some("wait-broker-transport")), at(5));
        health.observe(&connections(&up, Some("query-coord")), at(34));
        assert_eq!(ages(&health, at(34)), (0, 30));
        health.observe(&connections(&up, Some("up")), at(35));
        assert_eq!(ages(&health, at(35)), (0, 0));
    }

    #[test]
    fn a_refused_login_is_reported_until_a_connection_is_up() {
        let now = Instant::now();
        let mut health = Health::new(now);
        health.refuse("SASL authentication error");
        health.observe(&connections(&[("DOWN", 0, 1)], None), now);
        health.refuse("SASL authentication error");
        let report = health.report(now).unwrap();
        assert_eq!((report.authentication_failures, report.authentication_error.is_some()), (2, true));
        health.observe(&connections(&[("UP", 0, 0)], None), now);
        let report = health.report(now).unwrap();
        assert_eq!((report.authentication_failures, report.authentication_error), (2, None));
    }
}
