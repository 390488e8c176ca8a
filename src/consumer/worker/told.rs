//! What the router is told, and by whom: the poll thread, the supervisor, the partitions, signals.

use std::sync::atomic::Ordering;

use actix::prelude::*;
use slog::{error, info, warn};

use super::messages::{Event, FromPoll, FromSupervisor, Proceed};
use super::poll::Order;
use super::router::{PartitionRouter, Shut};
use crate::consumer::control::{FromWorker, ToWorker};
use crate::exit::ExitCode;
use crate::shutdown::Interrupt;

impl Handler<FromPoll> for PartitionRouter {
    type Result = ();

    fn handle(&mut self, message: FromPoll, context: &mut Self::Context) {
        match message {
            FromPoll::Opened { openings, opened } => self.open(openings, opened, context),
            FromPoll::Shut { partitions, lost, done } => self.shut(Shut { partitions, lost, done }, context),
            FromPoll::GivenBack { partitions, lost } => self.given_back(partitions, lost),
        }
    }
}

impl Handler<FromSupervisor> for PartitionRouter {
    type Result = ();

    fn handle(&mut self, message: FromSupervisor, context: &mut Self::Context) {
        match message {
            FromSupervisor::Frame(ToWorker::Stop) => self.stop(true, context),
            FromSupervisor::Frame(ToWorker::Retire) => self.stop(false, context),
            FromSupervisor::Frame(ToWorker::Grant(messages)) => {
                self.grant_asked = false;
                self.budget.add(messages);
                self.wake();
            }
            FromSupervisor::Frame(ToWorker::Recall) => self.tell(FromWorker::Returned(self.budget.drain())),
            FromSupervisor::Frame(ToWorker::ReadUntil(ends)) => {
                self.read_until(ends);
            }
            FromSupervisor::Frame(ToWorker::Quiet(quiet)) => {
                self.orders.quiet.store(quiet, Ordering::Relaxed);
                self.wake();
            }
            FromSupervisor::Frame(ToWorker::Cautious(cautious)) => {
                self.orders.cautious.store(cautious, Ordering::Relaxed);
                self.wake();
            }
            FromSupervisor::Frame(ToWorker::Condemned(list)) => self.orders.condemn(list),
            FromSupervisor::Frame(ToWorker::Stopped(list)) => self.given_up.extend(list),
            FromSupervisor::Frame(ToWorker::Proceed(partition, offset)) => {
                if let Some(announced) = self.partitions.get(&partition) {
                    announced.actor.do_send(Proceed(offset));
                }
            }
            FromSupervisor::Frame(ToWorker::Assign(starts)) => self.order(Order::Assign(starts)),
            FromSupervisor::Frame(ToWorker::Revoke(partitions)) => self.order(Order::Revoke(partitions)),
            FromSupervisor::Frame(ToWorker::Rebuild) => self.order(Order::Rebuild),
            FromSupervisor::Frame(ToWorker::Start(_)) => {
                self.broken("the supervisor started this worker twice".to_owned(), true, context);
            }
            FromSupervisor::Gone => {
                if !self.is_stopping() {
                    warn!(self.logger, "the supervisor is gone: finishing, committing, ending");
                }
                self.code = ExitCode::Orphaned;
                // Nobody else ends it.
                self.end_within(self.start.settings.shutdown.deadline, context);
                // Nobody is known to start a successor.
                self.stop(true, context);
            }
        }
    }
}

impl Handler<Event> for PartitionRouter {
    type Result = ();

    fn handle(&mut self, event: Event, context: &mut Self::Context) {
        match event {
            Event::EndReached(partition) => {
                self.reading.remove(&partition);
                self.tell_end();
            }
            Event::OutOfRange { partition, offset } => self.order(Order::OutOfRange(partition, offset)),
            // A grant has come since this was sent.
            Event::NeedGrant if self.budget.is_left() => {
                self.wake();
            }
            Event::NeedGrant => {
                if !std::mem::replace(&mut self.grant_asked, true) {
                    self.tell(FromWorker::NeedGrant);
                }
            }
            Event::MessageFailed { partition, offset, reason } => {
                error!(self.logger, "message failed: {reason}";
                    "topic" => &partition.topic, "partition" => partition.partition, "offset" => offset);
                self.tell(FromWorker::MessageFailed { partition, offset, reason });
            }
            Event::Announce { partition, offset } => self.tell(FromWorker::Announce { partition, offset }),
            Event::PartitionStopped { partition, offset, reason } => {
                error!(self.logger, "partition stopped: {reason}";
                    "topic" => &partition.topic, "partition" => partition.partition, "offset" => offset);
                // Nothing more will come of it.
                self.reading.remove(&partition);
                self.given_up.insert(partition.clone());
                self.tell(FromWorker::PartitionStopped { partition, offset, reason });
                self.tell_end();
            }
            Event::Counted(counted) => self.tell(FromWorker::Client(counted)),
            Event::OutputClosed => self.tell(FromWorker::OutputClosed),
            Event::Broken { reason, lasting } => self.broken(reason, lasting, context),
            Event::Crashed { reason } => {
                self.tell(FromWorker::Crashed);
                self.broken(reason, false, context);
            }
        }
    }
}

impl Handler<Interrupt> for PartitionRouter {
    type Result = ();

    fn handle(&mut self, interrupt: Interrupt, context: &mut Self::Context) {
        match interrupt {
            // Whoever sent it, the supervisor starts a successor.
            Interrupt::Graceful => self.stop(false, context),
            Interrupt::AtOnce => self.say_ended(ExitCode::Forced),
            Interrupt::Roll | Interrupt::More | Interrupt::Fewer | Interrupt::Quiet | Interrupt::Resume => {}
            Interrupt::Status => {
                let progress: Vec<_> = self.counters.iter().map(|counters| counters.snapshot()).collect();
                match serde_json::to_string(&progress) {
                    Ok(status) => info!(self.logger, "status"; "consume" => status),
                    Err(error) => error!(self.logger, "no status: {error}"),
                }
            }
        }
    }
}
