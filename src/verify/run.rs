//! A verified run: runs producer and consumer, and feeds the checker.

use std::sync::Arc;

use actix::SystemRunner;
use slog::{Logger, info, warn};

use super::collector::{Collector, CollectorResult};
use super::outcome::NOTHING_DONE;
use super::run_file;
use crate::consumer::protocol::HistoryEndpoint;
use crate::consumer::supervisor::actor as supervisor;
use crate::consumer::supervisor::messages::END_REACHED;
use crate::exit::{ExitCode, ExitStatus};
use crate::kafka::cluster_client::ClusterClient;
use crate::monitoring::status_registry::StatusRegistry;
use crate::producer::coordinator;
use crate::record::TopicPartition;
use crate::settings::Settings;
use crate::signals::{ControlSignal, SignalHandler};
use crate::util::blocking;
use crate::verify::checker::{CheckScope, Checker, RunFacts, Verdict};
use crate::verify::orchestrator::{self, Orchestrator};

/// The parameters of a verified run.
pub struct VerifyRun {
    /// The run, its topic's partitions, and what is known about it.
    pub scope: CheckScope,
    /// The acknowledged messages of an earlier run.
    pub acknowledged: Option<run_file::Reader>,
    /// The run file for the acknowledged messages.
    pub run_file: Option<run_file::Writer>,
}

/// The result of a run.
pub struct VerifyResult {
    /// The outcome of both sides.
    pub outcome: orchestrator::RunOutcome,
    /// The checker's verdict.
    pub verdict: Verdict,
    /// Errors that leave the checker with incomplete data.
    pub problems: Vec<String>,
}

/// A run that ended without a verdict.
pub struct VerifyAborted {
    /// The exit status.
    pub exit: ExitStatus,
    /// The outcome of both sides, if they were started.
    pub outcome: Option<Box<orchestrator::RunOutcome>>,
}

impl From<ExitStatus> for VerifyAborted {
    fn from(exit: ExitStatus) -> Self {
        Self { exit, outcome: None }
    }
}

impl VerifyRun {
    /// Runs both sides as `params` says, and feeds the checker. Must be called on the main thread, that of `system`.
    ///
    /// # Errors
    /// The run could not be started, the run file cannot be read, a signal arrived meanwhile, or a second one before
    /// the verdict.
    pub fn run(
        self,
        mut params: orchestrator::OrchestratorParams,
        system: &SystemRunner,
        signals: &mut SignalHandler,
        logger: &Logger,
        registry: &StatusRegistry,
    ) -> Result<VerifyResult, VerifyAborted> {
        let (scope, acknowledged) = (self.scope, self.acknowledged);
        let feed = move || {
            let mut checker = Checker::new(scope);
            let complete = acknowledged.map_or(Ok(true), |acknowledged| feed_run_file(&mut checker, acknowledged));
            complete.map(|complete| (checker, !complete))
        };
        let (checker, cut_off) = system.block_on(run_setup(signals, logger, registry, "run file", feed))?;
        let collector = Collector::start(checker, self.run_file, logger)
            .map_err(|error| ExitStatus::failed(format!("could not create the socket for the workers' histories: {error}; set TMPDIR to a writable directory with a short path")))?;
        if let Some(producing) = &mut params.producing {
            with_outcomes(producing, self.scope.run, &collector);
        }
        if let Some(consuming) = &mut params.consuming {
            with_history(consuming, self.scope.partitions, &collector);
            consuming.run = self.scope.run;
        }
        let settings = Arc::clone(&params.settings);
        let outcome = system.block_on(async {
            let (director, outcome) = Orchestrator::start(params);
            let outcome = signals.forward_signals_until(&director.recipient(), outcome).await;
            outcome.map_err(|_| ExitStatus::failed("internal error: the orchestrator stopped unexpectedly"))
        })?;
        let facts = RunFacts {
            deadline_passed: outcome.deadline_passed,
            cut_off,
            read_in_part: outcome.consumed.as_ref().is_some_and(|consumed| consumed.exit.reason != END_REACHED),
            partitions_added: outcome.produced.is_some()
                && outcome
                    .consumed
                    .as_ref()
                    .is_some_and(|consumed| consumed.report.partitions.len() > self.scope.partitions),
        };
        // Workers killed at the timeout have left messages unconsumed, and the timeout applies to this, too.
        let is_forced = outcome.consumed.as_ref().is_some_and(|consumed| consumed.exit.code == ExitCode::Forced);
        let log = logger.clone();
        let finishing = move || {
            let CollectorResult { mut checker, problems } = collector.finish()?;
            let mut verdict = checker.verdict(facts);
            if verdict.lost + verdict.unread > 0 && !is_forced {
                feed_log_starts(&mut checker, &settings, &log);
                verdict = checker.verdict(facts);
            }
            Ok::<_, String>((verdict, problems))
        };
        match system.block_on(wait_interruptibly(signals, logger, registry, "verdict", finishing)) {
            Ok(Ok((verdict, problems))) => Ok(VerifyResult { outcome, verdict, problems }),
            Ok(Err(problem)) => {
                Err(VerifyAborted { exit: ExitStatus::failed(problem), outcome: Some(Box::new(outcome)) })
            }
            Err(exit) => Err(VerifyAborted { exit, outcome: Some(Box::new(outcome)) }),
        }
    }
}

/// Runs blocking work before the run starts; the first signal cancels it. The status heartbeat continues meanwhile.
async fn run_setup<T: Send + 'static>(
    signals: &mut SignalHandler,
    logger: &Logger,
    registry: &StatusRegistry,
    name: &str,
    work: impl FnOnce() -> Result<T, ExitStatus> + Send + 'static,
) -> Result<T, ExitStatus> {
    let ends = |interrupt: ControlSignal| {
        if interrupt == ControlSignal::Status {
            info!(logger, "status"; "doing" => name);
        }
        interrupt.is_end()
    };
    let done = signals.cancellable(alive(registry, blocking::spawn_blocking(name, work)), ends).await;
    done.ok_or_else(|| ExitStatus::stopped(ExitCode::Failed, NOTHING_DONE))?.map_err(ExitStatus::failed)?
}

/// Runs blocking work after both sides have stopped; a second signal cancels it. The status heartbeat continues
/// meanwhile.
///
/// # Errors
/// A second signal arrived, or no thread could be started.
pub async fn wait_interruptibly<T: Send + 'static>(
    signals: &mut SignalHandler,
    logger: &Logger,
    registry: &StatusRegistry,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ExitStatus> {
    let at_once = |interrupt| {
        match interrupt {
            ControlSignal::Terminate => {
                info!(
                    logger,
                    "all workers and producers have stopped; computing the verdict, a second signal aborts that"
                )
            }
            ControlSignal::Status => info!(logger, "status"; "doing" => name),
            // There are no workers any more.
            _ => {}
        }
        interrupt == ControlSignal::AtOnce
    };
    let done = signals.cancellable(alive(registry, blocking::spawn_blocking(name, work)), at_once).await;
    let forced = || ExitStatus::stopped(ExitCode::Forced, format!("terminated by a signal during: {name}"));
    done.ok_or_else(forced)?.map_err(ExitStatus::failed)
}

/// Waits for `work` and sends the status heartbeat meanwhile.
pub async fn alive<T>(registry: &StatusRegistry, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        never = registry.keep_alive() => match never {},
    }
}

/// Passes the log start offsets to the checker: missing messages below them were deleted.
fn feed_log_starts(checker: &mut Checker, settings: &Settings, logger: &Logger) {
    let topic = &settings.kafka.topic;
    // Brokers that are gone are not waited for as long as at the start.
    let log_starts = ClusterClient::reconnect(settings, logger).and_then(|cluster| {
        let partitions = cluster.partitions(topic)?;
        cluster.low_watermarks(
            &partitions.into_iter().map(|number| TopicPartition::new(topic, number)).collect::<Vec<_>>(),
        )
    });
    match log_starts {
        Ok(starts) => starts.iter().for_each(|(name, start)| checker.log_begins(name.partition, *start)),
        Err(failure) => warn!(
            logger,
            "the log start offsets could not be read, so messages deleted by retention count as missing: {failure}"
        ),
    }
}

fn with_outcomes(producing: &mut coordinator::ProducerParams, run: Option<u64>, collector: &Collector) {
    producing.run = run;
    producing.outcomes = Some(collector.outcomes());
}

fn with_history(consuming: &mut supervisor::SupervisorParams, partitions: usize, collector: &Collector) {
    let partitions = partitions_by_murmur2(&consuming.settings).then_some(partitions as u32);
    consuming.history = Some(HistoryEndpoint { socket: collector.socket(), partitions });
}

/// Returns whether keys are partitioned by Kafka's default partitioner.
fn partitions_by_murmur2(settings: &Settings) -> bool {
    let partitioner = [&settings.producer.properties, &settings.kafka.properties];
    let partitioner = partitioner.into_iter().find_map(|properties| properties.get("partitioner"));
    partitioner.is_none_or(|name| name.trim().starts_with("murmur2"))
}

/// Feeds the checker with a run file; returns whether the file is complete.
fn feed_run_file(checker: &mut Checker, file: run_file::Reader) -> Result<bool, ExitStatus> {
    let end = file.feed(&mut |record| match record {
        run_file::RunFileRecord::Acknowledged { producer, sequence, partition, offset } => {
            checker.acknowledged(producer, sequence, partition, offset);
        }
        run_file::RunFileRecord::Failed { producer, sequence } => checker.failed(producer, sequence),
    });
    end.map(|end| end.complete).map_err(|error| ExitStatus::failed(error.to_string()))
}
