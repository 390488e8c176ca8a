//! Handlers of [`PartitionConsumer`].

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{LOST_WAKEUP_POLL, PartitionConsumer, Phase};
use crate::consumer::protocol::Revocation;
use crate::consumer::worker::messages::{AllowProcess, DataReady, ReadUntil, SkipGap, StartReading, StopPartition};

impl Actor for PartitionConsumer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(queue) = &mut self.queue {
            let (state, this) = (Arc::clone(&self.state), context.address().downgrade());
            queue.on_ready(Box::new(move || {
                if state.set_woken()
                    && let Some(this) = this.upgrade()
                {
                    this.do_send(DataReady);
                }
            }));
        }
        if self.is_at_end() {
            self.reach_end();
        }
        context.run_interval(LOST_WAKEUP_POLL, |partition, context| {
            partition.schedule(context);
            partition.log_suppressed();
        });
    }
}

impl Handler<StartReading> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, _: StartReading, context: &mut Self::Context) {
        if matches!(self.phase, Phase::Opening) {
            self.phase = Phase::Reading;
            // Events before `on_ready` have woken no actor.
            self.state.set_woken();
            context.notify(DataReady);
        }
    }
}

impl Handler<DataReady> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, _: DataReady, context: &mut Self::Context) {
        // Before the queue is checked: events that come afterwards wake the actor again.
        self.state.clear_woken();
        match self.phase {
            Phase::Reading | Phase::HeldBack(_) => self.run_slice(context),
            // Isolation mode is off again.
            Phase::Announced(_) if !self.shared.flags.is_isolating() => self.proceed(context),
            _ => {}
        }
    }
}

impl Handler<ReadUntil> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, ReadUntil(offset): ReadUntil, _: &mut Self::Context) {
        self.stop_offset = Some(offset);
        if !self.is_at_end() {
            return;
        }
        match &self.phase {
            Phase::Opening | Phase::Reading => self.reach_end(),
            // It waits for the quota or for the gate, and lies beyond the stop offset.
            Phase::HeldBack(message) => {
                self.leave_unfinished(&message.attempts);
                self.reach_end();
            }
            _ => {}
        }
    }
}

impl Handler<SkipGap> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, SkipGap { start, end }: SkipGap, _: &mut Self::Context) {
        // A message that was received meanwhile, or is in flight, has moved the position or keeps it where it
        // is.
        if !matches!(self.phase, Phase::Reading) || self.position != start {
            return;
        }
        self.skip_gap(end);
        if let Some(queue) = self.queue.take() {
            self.store(&*queue);
            self.queue = Some(queue);
        }
    }
}

impl Handler<StopPartition> for PartitionConsumer {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, StopPartition(revocation): StopPartition, context: &mut Self::Context) -> Self::Result {
        let (reply, stopped) = oneshot::channel();
        if matches!(self.phase, Phase::Processing { .. }) && revocation == Revocation::Committed {
            self.stop_reply = Some(reply);
        } else {
            self.stop(reply, revocation, context);
        }
        Box::pin(async move {
            // The sender is dropped unsent only together with the actor, and then there is nothing to wait for.
            stopped.await.ok();
        })
    }
}

impl Handler<AllowProcess> for PartitionConsumer {
    type Result = ();

    fn handle(&mut self, AllowProcess(offset): AllowProcess, context: &mut Self::Context) {
        if matches!(&self.phase, Phase::Announced(message) if message.record.offset == offset) {
            self.proceed(context);
        }
    }
}
