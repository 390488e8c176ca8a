//! The supervisor asks: the brokers for ends and for partitions that are new, the operating system for its workers' memory
//! and for the output.

use std::time::Instant;

use actix::prelude::*;
use slog::{debug, info, warn};

use super::actor::{ConsumerSupervisor, ENDS};
use super::messages::{FindNew, ReadEnds};
use super::output::Waits;
use super::policy::Event;
use crate::consumer::control::ToWorker;
use crate::exit::Exit;
use crate::monitoring::status::EventLevel as Level;
use crate::os::output::Full;
use crate::os::process;

impl ConsumerSupervisor {
    /// Looks at the workers' memory.
    pub(super) fn measure(&mut self, context: &mut Context<Self>) {
        for slot in 0..self.workers.len() {
            let Some(running) = &mut self.workers[slot].running else { continue };
            let Some(resident) = process::resident_mib(running.process.pid()) else { continue };
            running.resident = Some(resident);
            running.cpu = process::cpu_seconds(running.process.pid()).unwrap_or(running.cpu);
            self.decide(Event::Measured(slot, resident), context);
        }
    }

    /// Looks whether anybody reads the output: who waits for that does not hang.
    pub(super) fn look_at_output(&mut self, context: &mut Context<Self>) {
        let Some(Waits { still, log, say }) = self.output.look(Full::now(), Instant::now()) else { return };
        if say {
            let which = if log { "stderr" } else { "stdout" };
            let text = format!(
                "{which} takes nothing: whoever reads it has stopped, and messages wait for that; meanwhile no handler \
                 counts as hung"
            );
            // If it is for this log, the line comes when it is read again.
            warn!(self.order.logger, "{text}");
            self.event(Level::Warning, "output", None, text);
        }
        self.decide(Event::OutputFull { still, log }, context);
    }

    /// Reads the ends; a question that is still open is not asked again.
    pub(super) fn ask_ends(&mut self, context: &mut Context<Self>) {
        let names = self.partitions.names();
        if self.asking_ends || names.is_empty() || self.stopping.is_some() {
            return;
        }
        self.asking_ends = true;
        let positions = self.partitions.positions();
        context.spawn(self.watcher.send(ReadEnds(names)).into_actor(self).map(move |answer, supervisor, context| {
            supervisor.asking_ends = false;
            let failure = match answer {
                Ok(Ok(ends)) => {
                    if let Some(text) = supervisor.truncation.look(&positions, &ends) {
                        supervisor.stop(Exit::failed(text), context);
                    }
                    supervisor.partitions.set_ends(&ends);
                    supervisor.decide(Event::Ends(Some(ends)), context);
                    return;
                }
                Ok(Err(failure)) => failure.to_string(),
                Err(error) => format!("the topic watcher: {error}"),
            };
            // Asked again a little later.
            debug!(supervisor.order.logger, "{failure}");
            supervisor.decide(Event::Ends(None), context);
        }));
    }

    /// Looks for partitions that are new, and for topics that are gone.
    pub(super) fn look_for_new(&mut self, context: &mut Context<Self>) {
        if self.policy.is_none() || self.stopping.is_some() || std::mem::replace(&mut self.asking_new, true) {
            return;
        }
        let answer = self.watcher.send(FindNew(self.partitions.names()));
        context.spawn(answer.into_actor(self).map(|answer, supervisor, context| {
            supervisor.asking_new = false;
            match answer {
                Ok(Ok(found)) if found.is_empty() => {}
                Ok(Ok(found)) => {
                    let names: Vec<_> = found.iter().map(|found| found.start.partition.clone()).collect();
                    let shown: Vec<_> = names.iter().map(ToString::to_string).collect();
                    info!(supervisor.order.logger, "new partitions, read from their beginning: {}", shown.join(", "));
                    found.iter().for_each(|found| supervisor.partitions.insert(found));
                    if !supervisor.is_group() {
                        supervisor.decide(Event::Found(names), context);
                    }
                }
                Ok(Err(exit)) => supervisor.stop(exit, context),
                Err(error) => debug!(supervisor.order.logger, "the topic watcher: {error}"),
            }
        }));
    }

    /// Reads the ends, until there is an answer, and has everything read up to there.
    pub(super) fn read_to_end(&mut self, context: &mut Context<Self>) {
        if self.stopping.is_some() {
            return;
        }
        let ends = self.watcher.send(ReadEnds(self.partitions.names()));
        context.spawn(ends.into_actor(self).map(|answer, supervisor, context| match answer {
            Ok(Ok(ends)) => {
                supervisor.partitions.read_until(&ends);
                supervisor.decide(Event::Until(ends.clone()), context);
                let ends: Vec<_> = ends.into_iter().collect();
                supervisor.workers.iter().for_each(|worker| worker.say(ToWorker::ReadUntil(ends.clone())));
            }
            Ok(Err(failure)) => {
                warn!(supervisor.order.logger, "{failure}; asking again");
                context.run_later(ENDS, |supervisor, context| supervisor.read_to_end(context));
            }
            Err(error) => supervisor.stop(Exit::failed(format!("the topic watcher is gone: {error}")), context),
        }));
    }
}
