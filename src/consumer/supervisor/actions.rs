//! Executes the actions that the policy returns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{debug, error, info, warn};

use super::actor::{ConsumerSupervisor, ReapChildren};
use super::messages::{FetchCommitted, GroupCommits};
use super::partition::ResumeFrom;
use super::policy::{Action, Event, ExitCause, Fault, StopReason, WorkerExit};
use super::worker_connection::WorkerConnection;
use super::worker_slot::WorkerSlot;
use super::worker_stderr::{self, LogOutput, LogTail};
use crate::consumer::protocol::{GroupMember, PROTOCOL_VERSION, WorkerCommand, WorkerConfig};
use crate::exit::ExitStatus;
use crate::kafka::cluster_client::ClusterClient;
use crate::latency::scope::StampScope;
use crate::monitoring::status::EventLevel as Level;
use crate::os::{hostname, limits, worker_process};
use crate::record::TopicPartition;
use crate::settings::Assignment;
use crate::util::blocking;
use crate::util::format::pluralize;

/// The timeout of one query for committed offsets. It is repeated until there is a reply.
const COMMITTED_QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The share of that for the brokers: the error of a broker request has to arrive before the query itself times
/// out.
const BROKER_TIMEOUT: Duration = Duration::from_millis(4_500);
/// The delay between two such queries.
const OFFSET_RETRY_INTERVAL: Duration = Duration::from_millis(500);

fn committed_offsets(partitions: &[TopicPartition]) -> FetchCommitted {
    FetchCommitted { partitions: partitions.to_vec(), deadline: Instant::now() + BROKER_TIMEOUT }
}

impl ConsumerSupervisor {
    /// Passes an event to the policy and executes the actions that it returns.
    pub(super) fn apply_event(&mut self, event: Event, context: &mut Context<Self>) {
        let now = self.now();
        let actions = self.policy.handle_event(now, event);
        self.execute(actions, context);
    }

    /// The time of the policy and of its partitions.
    pub(super) fn now(&mut self) -> Duration {
        self.clock.active_at(Instant::now())
    }

    pub(super) fn execute(&mut self, actions: Vec<Action>, context: &mut Context<Self>) {
        for action in actions {
            match action {
                Action::Start(slot) => self.start_worker(slot, context),
                Action::Send(slot, frame) => self.send(slot, frame),
                Action::Assign(slot, partitions) => self.assign(slot, partitions, context),
                Action::Retire(slot) => self.stop_for_restart(slot, context),
                Action::Kill(slot) => match &self.fleet.slots[slot].running {
                    Some(running) => running.process.kill(),
                    None => self.cancel_start(slot, context),
                },
                Action::Probe => self.probe(context),
                Action::Quarantine(partition, reason) => {
                    error!(self.params.logger, "{partition} is quarantined, no worker consumes it any more: {reason}");
                    self.event(Level::Error, "quarantine", None, format!("{partition}: {reason}"));
                    self.policy.partitions.stop(&partition, format!("quarantined: {reason}"));
                    self.end_if_all_stand_still(context);
                }
                Action::Warn(text) => {
                    warn!(self.params.logger, "{text}");
                    self.event(Level::Warning, "notice", None, text);
                }
                Action::Info(text) => {
                    info!(self.params.logger, "{text}");
                    self.event(Level::Info, "notice", None, text);
                }
                Action::End(exit) => self.begin_shutdown(exit, context),
            }
        }
    }

    /// Checks whether a new client reaches the cluster and the group coordinator, because a worker has reported
    /// that its own client does not.
    fn probe(&self, context: &mut Context<Self>) {
        let (settings, logger) = (Arc::clone(&self.params.settings), self.params.logger.clone());
        let partition = self.policy.partitions.names().into_iter().next().filter(|_| !self.is_read_only());
        let probe =
            blocking::spawn_blocking("probe", move || ClusterClient::probe(&settings, &logger, partition.as_slice()));
        context.spawn(probe.into_actor(self).map(|reply, supervisor, context| {
            let failure = match reply {
                Ok(Ok(())) => None,
                Ok(Err(failure)) => Some(failure.to_string()),
                Err(error) => Some(error),
            };
            if let Some(failure) = &failure {
                debug!(supervisor.params.logger, "a new client does not reach the cluster either: {failure}");
            }
            supervisor.apply_event(Event::Probed(failure.is_none()), context);
        }));
    }

    fn send(&mut self, slot: usize, frame: WorkerCommand) {
        if let (WorkerCommand::Revoke(partitions), Some(running)) = (&frame, &mut self.fleet.slots[slot].running) {
            partitions.iter().for_each(|partition| {
                running.assigned.remove(partition);
            });
        }
        self.fleet.slots[slot].send(frame);
    }

    // ---- starting workers ----

    /// Starts a worker at the committed offsets of its predecessors, read from the brokers: the last reports of
    /// the predecessors may be older.
    fn start_worker(&mut self, slot: usize, context: &mut Context<Self>) {
        if self.fleet.slots.len() <= slot {
            self.fleet.slots.resize_with(slot + 1, WorkerSlot::default);
        }
        self.fleet.slots[slot].attempt += 1;
        let names = self.policy.partitions(slot);
        if names.is_empty() || self.policy.partitions.is_untouched(&names) {
            self.spawn_worker(slot, context);
        } else {
            self.resume_worker(slot, self.fleet.slots[slot].attempt, context);
        }
    }

    fn resume_worker(&mut self, slot: usize, attempt: u32, context: &mut Context<Self>) {
        let is_meant = move |supervisor: &Self| {
            supervisor.fleet.slots[slot].attempt == attempt && !supervisor.shutdown.is_stopping()
        };
        if !is_meant(self) {
            return;
        }
        let names = self.policy.partitions(slot);
        self.fleet.slots[slot].resuming = true;
        let reply = self.probes.queries.send(committed_offsets(&names)).timeout(COMMITTED_QUERY_TIMEOUT);
        context.spawn(reply.into_actor(self).map(move |reply, supervisor, context| match reply {
            _ if !is_meant(supervisor) => {}
            Ok(Ok(GroupCommits { foreign, .. })) if !foreign.is_empty() => {
                supervisor.end_on_foreign(&foreign, context);
            }
            Ok(Ok(GroupCommits { committed, .. })) => {
                supervisor.policy.partitions.resume(&names, &committed);
                if !supervisor.is_read_only() {
                    supervisor.policy.partitions.count_unreported(&names);
                }
                let current = supervisor.policy.partitions(slot);
                if current.iter().all(|name| names.contains(name)) {
                    supervisor.spawn_worker(slot, context);
                } else {
                    // Further partitions were assigned to it meanwhile.
                    supervisor.resume_worker(slot, attempt, context);
                }
            }
            Ok(Err(denied)) if denied.is_denied() => supervisor.begin_shutdown(denied.into(), context),
            failed => {
                // At any other offset it would process again what its predecessor has committed.
                warn!(
                    supervisor.params.logger,
                    "worker {slot} waits for the brokers: where it has to go on is not known{}",
                    failed.ok().and_then(Result::err).map(|failure| format!(": {failure}")).unwrap_or_default()
                );
                context.run_later(OFFSET_RETRY_INTERVAL, move |supervisor, context| {
                    supervisor.resume_worker(slot, attempt, context)
                });
            }
        }));
    }

    /// Spawns the process. Lack of a system resource (processes, descriptors, memory) may be over a little
    /// later: a failed start counts as an exit.
    fn spawn_worker(&mut self, slot: usize, context: &mut Context<Self>) {
        if self.messages_left() == Some(0) {
            self.end_at_max_messages(context);
            return;
        }
        if let Err(error) = self.try_spawn_worker(slot, context) {
            let cause = format!("it could not be started: {}", limits::named(&error));
            error!(self.params.logger, "worker {slot}: {cause}");
            self.event(Level::Error, "exit", Some(slot), cause.clone());
            self.fleet.slots[slot].resuming = false;
            self.apply_event(
                Event::Exited(slot, WorkerExit { fault: Some(Fault::Worker), text: cause, ..WorkerExit::default() }),
                context,
            );
        }
    }

    fn try_spawn_worker(&mut self, slot: usize, context: &mut Context<Self>) -> std::io::Result<()> {
        self.reload_password();
        let policy = &self.policy;
        let names = policy.partitions(slot);
        let mut settings = self.params.settings.as_ref().clone();
        settings.kafka.security.password = self.fleet.password.clone();
        let start = WorkerConfig {
            version: PROTOCOL_VERSION,
            slot,
            commit_metadata: self.commits.metadata.clone(),
            finite: self.params.finite || settings.consumer.until_end,
            max_messages: self.messages_left(),
            member: self.member(slot),
            partitions: if self.is_group() {
                Vec::new()
            } else {
                self.policy.partitions.starts(&names, self.resume_from())
            },
            isolated: policy.is_isolated(slot),
            suspects: policy.suspects(),
            paused: policy.is_paused(),
            lease: self.lock.lease,
            poison_messages: policy.poison_messages(),
            stopped: self.policy.partitions.all_stopped(),
            proven: self.fleet.is_ready_logged,
            descriptor_limit: limits::original_descriptor_limit(),
            settings,
            style: self.params.style,
            history: self.params.history.clone(),
            message_log: self.params.message_log,
            output_lock: self.stdio.lock.as_ref().map(|lock| lock.path.clone()),
            stamps: StampScope { since_us: self.clock.started_us(), run: self.params.run },
        };
        self.policy.partitions.on_started(slot);
        let started = worker_process::start_worker(slot)?;
        let pid = started.process.pid();
        let log = LogTail::default();
        self.stdio.stderr_readers.retain(|pipe| !pipe.is_finished());
        let (output, this) = (self.log_output(), context.address());
        // If the supervisor is gone, there is nothing to reap for.
        let at_end = move || _ = this.try_send(ReapChildren);
        self.stdio.stderr_readers.push(worker_stderr::forward(started.stderr, slot, output, log.clone(), at_end)?);
        let supervisor = context.address().recipient();
        let link = WorkerConnection::start(started.control, slot, pid, supervisor, self.params.logger.clone())?;
        self.fleet.slots[slot].begin(started.process, link, log, names.into_iter().collect());
        self.fleet.slots[slot].send(WorkerCommand::Start(Box::new(start)));
        debug!(self.params.logger, "worker {slot} started"; "pid" => pid);
        Ok(())
    }

    fn log_output(&self) -> LogOutput {
        LogOutput {
            screen: self.params.screen.clone(),
            logger: self.params.logger.clone(),
            stderr_lines_per_second: self.params.settings.logging.stderr_lines_per_second,
        }
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.params.settings.consumer.read_only
    }

    pub(super) fn resume_from(&self) -> ResumeFrom {
        if self.is_read_only() { ResumeFrom::Position } else { ResumeFrom::Committed }
    }

    pub(super) fn is_group(&self) -> bool {
        self.params.settings.consumer.assignment == Assignment::Group
    }

    fn member(&self, slot: usize) -> Option<GroupMember> {
        let membership = &self.params.settings.consumer.membership;
        let prefix = Some(membership.instance_id_prefix.clone()).filter(|prefix| !prefix.is_empty());
        let prefix = prefix.unwrap_or_else(hostname::name);
        // The number of partitions that it gets when this supervisor is alone in the group.
        let partitions = self.policy.partitions.names().len().div_ceil(self.params.settings.consumer.processes);
        self.is_group().then(|| GroupMember {
            id: membership.static_membership.then(|| format!("{prefix}-{slot}")),
            partitions,
            partitions_at_start: self.policy.partitions.at_start.clone(),
        })
    }

    // ---- assigning partitions ----

    /// Assigns further partitions to a worker, from their committed offsets. A worker without a process gets
    /// them with its start.
    fn assign(&mut self, slot: usize, partitions: Vec<TopicPartition>, context: &mut Context<Self>) {
        let process = self.fleet.slots[slot].running.as_ref().map(|running| running.process.pid());
        if let Some(process) = process {
            self.resolve_offsets_and_assign(slot, process, partitions, context);
        }
    }

    fn resolve_offsets_and_assign(
        &mut self,
        slot: usize,
        process: u32,
        partitions: Vec<TopicPartition>,
        context: &mut Context<Self>,
    ) {
        let reply = self.probes.queries.send(committed_offsets(&partitions)).timeout(COMMITTED_QUERY_TIMEOUT);
        context.spawn(reply.into_actor(self).map(move |reply, supervisor, context| {
            if supervisor.shutdown.is_stopping() || supervisor.fleet.slots[slot].process(process).is_none() {
                return;
            }
            // Their owner may have changed meanwhile.
            let policy = &supervisor.policy;
            let partitions: Vec<_> =
                partitions.into_iter().filter(|partition| policy.owner(partition) == Some(slot)).collect();
            if let Ok(Err(denied)) = &reply
                && denied.is_denied()
            {
                supervisor.begin_shutdown(denied.clone().into(), context);
                return;
            }
            let Ok(Ok(GroupCommits { committed, foreign })) = reply else {
                let failure = reply.ok().and_then(Result::err).map(|failure| format!(": {failure}"));
                warn!(
                    supervisor.params.logger,
                    "worker {slot} waits for {}: their committed offsets are not known{}",
                    pluralize(partitions.len() as u64, "partition"),
                    failure.unwrap_or_default()
                );
                supervisor.apply_event(Event::Delayed(partitions.clone()), context);
                let again = move |supervisor: &mut Self, context: &mut Context<Self>| {
                    supervisor.resolve_offsets_and_assign(slot, process, partitions, context);
                };
                context.run_later(OFFSET_RETRY_INTERVAL, again);
                return;
            };
            if !foreign.is_empty() {
                supervisor.end_on_foreign(&foreign, context);
                return;
            }
            supervisor.policy.partitions.resume(&partitions, &committed);
            let Some(running) = supervisor.fleet.slots[slot].process(process) else { return };
            let new: Vec<_> =
                partitions.into_iter().filter(|partition| running.assigned.insert(partition.clone())).collect();
            running.end_reached = false;
            let starts = supervisor.policy.partitions.starts(&new, supervisor.resume_from());
            supervisor.fleet.slots[slot].send(WorkerCommand::Assign(starts));
        }));
    }

    // ---- stopping a worker ----

    /// Requests a worker to stop, by message, and by signal in case it does not read messages any more.
    fn stop_for_restart(&mut self, slot: usize, context: &mut Context<Self>) {
        // A worker that is removed leaves its group, which assigns its partitions to other members.
        let stays = self.policy.why(slot) != Some(&StopReason::Fewer);
        self.fleet.slots[slot].send(if stays { WorkerCommand::StopForRestart } else { WorkerCommand::Stop });
        match &self.fleet.slots[slot].running {
            Some(running) => running.process.terminate(),
            None => self.cancel_start(slot, context),
        }
    }

    /// Cancels a start that is in progress: there is no process to stop.
    fn cancel_start(&mut self, slot: usize, context: &mut Context<Self>) {
        self.fleet.slots[slot].attempt += 1;
        self.fleet.slots[slot].resuming = false;
        self.apply_event(Event::Exited(slot, WorkerExit { cause: ExitCause::Clean, ..WorkerExit::default() }), context);
    }

    /// Ends the run if every partition has stopped: nothing would ever be processed again.
    pub(super) fn end_if_all_stand_still(&mut self, context: &mut Context<Self>) {
        if let Some(text) = self.policy.partitions.stopped().filter(|_| self.policy.partitions.are_all_stopped()) {
            self.begin_shutdown(ExitStatus::failed(format!("every partition has stopped; {text}")), context);
        }
    }
}
