//! The coordinator checks its topic when acknowledgements stop, and stops the run when the topic was deleted.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use slog::error;

use super::coordinator::ProducerCoordinator;
use super::topic_watch::is_deleted;
use crate::monitoring::status::{EventLevel, Phase};
use crate::util::blocking;

impl ProducerCoordinator {
    /// Checks the topic if messages are in flight and none was acknowledged since the last check.
    pub(super) fn check_topic(&mut self, context: &mut Context<Self>) {
        let delivered = self.fleet.iter().map(|thread| thread.deliveries.delivered()).sum();
        let is_stalled = std::mem::replace(&mut self.topic_watch.delivered, delivered) == delivered;
        if !is_stalled
            || !self.fleet.waits_for_outcomes()
            || self.topic_watch.is_deleted
            || self.topic_watch.is_checking
        {
            return;
        }
        self.topic_watch.is_checking = true;
        let (settings, logger) = (Arc::clone(&self.params.settings), self.params.logger.clone());
        let clients: Vec<_> = self.fleet.iter().map(|thread| thread.client.clone()).collect();
        let check = blocking::spawn_blocking("topic-check", move || is_deleted(&settings, &clients, &logger));
        context.spawn(check.into_actor(self).map(|is_deleted, coordinator, context| {
            coordinator.topic_watch.is_checking = false;
            if is_deleted == Ok(true) && coordinator.is_running() {
                coordinator.on_topic_deleted(context);
            }
        }));
    }

    /// Nothing sent from now on is delivered: the run stops with its current results.
    fn on_topic_deleted(&mut self, context: &mut Context<Self>) {
        self.topic_watch.is_deleted = true;
        let text = format!("the topic {:?} was deleted: the producers stop", self.params.settings.kafka.topic);
        error!(self.params.logger, "{text}");
        self.params.registry.event(EventLevel::Error, "stopped", None, text.clone());
        self.phase(Phase::Draining, &text);
        self.fleet.iter().for_each(|thread| thread.deliveries.set_topic_missing(true));
        self.stop_threads(Duration::ZERO, context);
    }
}
