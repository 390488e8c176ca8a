//! A run that is proven: producers and workers at work, and a judge who is told everything.

use actix::SystemRunner;
use slog::{Logger, info};

use super::collector::{Collected, Collector};
use super::ending::NOTHING_DONE;
use super::run_file;
use crate::background;
use crate::consumer::control::JournalPlace;
use crate::consumer::supervisor::actor as supervisor;
use crate::consumer::supervisor::messages::END_REACHED;
use crate::director::{self, Director};
use crate::exit::{Exit, ExitCode};
use crate::judge::{Facts, Judge, Scope, Verdict};
use crate::monitoring::board::Board;
use crate::producer::coordinator;
use crate::settings::Settings;
use crate::shutdown::{Interrupt, Signals};

/// What is to be proven.
pub struct Proof {
    /// The run, its topic's partitions, and what is told of it.
    pub scope: Scope,
    /// What was acknowledged on another day.
    pub acknowledged: Option<run_file::Reader>,
    /// Where to write what is acknowledged now.
    pub run_file: Option<run_file::Writer>,
}

/// How it ended.
pub struct Proven {
    /// Both sides.
    pub outcome: director::Outcome,
    /// What the judge says.
    pub verdict: Verdict,
    /// What kept the judge from knowing everything.
    pub problems: Vec<String>,
}

/// How it ended without a verdict.
pub struct Unproven {
    /// Why.
    pub exit: Exit,
    /// Both sides, if it came so far.
    pub outcome: Option<Box<director::Outcome>>,
}

impl From<Exit> for Unproven {
    fn from(exit: Exit) -> Self {
        Self { exit, outcome: None }
    }
}

impl Proof {
    /// Runs what `order` says, and has both sides tell the judge. To be called on the main thread, that of `system`.
    ///
    /// # Errors
    /// When it could not be begun, or the run file cannot be read, or a signal came meanwhile, or a second one before the
    /// verdict.
    pub fn run(
        self,
        mut order: director::Order,
        system: &SystemRunner,
        signals: &mut Signals,
        logger: &Logger,
        board: &Board,
    ) -> Result<Proven, Unproven> {
        let (scope, acknowledged) = (self.scope, self.acknowledged);
        let telling = move || {
            let mut judge = Judge::new(scope);
            let complete = acknowledged.map_or(Ok(true), |acknowledged| told(&mut judge, acknowledged));
            complete.map(|complete| (judge, !complete))
        };
        let (judge, cut_off) = system.block_on(beforehand(signals, logger, board, "run file", telling))?;
        let collector = Collector::start(judge, self.run_file, logger)
            .map_err(|error| Exit::failed(format!("no socket for the workers' journals: {error}; set TMPDIR to a folder that can be written, with a short path")))?;
        if let Some(producing) = &mut order.producing {
            with_outcomes(producing, self.scope.run, &collector);
        }
        if let Some(consuming) = &mut order.consuming {
            with_journal(consuming, self.scope.partitions, &collector);
        }
        let outcome = system.block_on(async {
            let (director, outcome) = Director::start(order);
            let outcome = signals.forward_until(&director.recipient(), outcome).await;
            outcome.map_err(|_| Exit::failed("the actor that the command hung on is gone without a word"))
        })?;
        let facts = Facts {
            deadline_passed: outcome.deadline_passed,
            cut_off,
            read_in_part: outcome.consumed.as_ref().is_some_and(|consumed| consumed.exit.reason != END_REACHED),
        };
        let finishing = move || {
            let Collected { judge, problems } = collector.finish()?;
            Ok::<_, String>((judge.verdict(facts), problems))
        };
        match system.block_on(patiently(signals, logger, board, "verdict", finishing)) {
            Ok(Ok((verdict, problems))) => Ok(Proven { outcome, verdict, problems }),
            Ok(Err(problem)) => Err(Unproven { exit: Exit::failed(problem), outcome: Some(Box::new(outcome)) }),
            Err(exit) => Err(Unproven { exit, outcome: Some(Box::new(outcome)) }),
        }
    }
}

/// Does work that blocks before anything is begun, which the first signal leaves undone. The run lives as long as this waits.
async fn beforehand<T: Send + 'static>(
    signals: &mut Signals,
    logger: &Logger,
    board: &Board,
    name: &str,
    work: impl FnOnce() -> Result<T, Exit> + Send + 'static,
) -> Result<T, Exit> {
    let ends = |interrupt: Interrupt| {
        if interrupt == Interrupt::Status {
            info!(logger, "status"; "doing" => name);
        }
        interrupt.is_end()
    };
    let done = signals.unless(alive(board, background::run(name, work)), ends).await;
    done.ok_or_else(|| Exit::failed(NOTHING_DONE))?.map_err(Exit::failed)?
}

/// Does work that blocks, which a second signal leaves undone. Both sides have ended: the run lives as long as this waits.
///
/// # Errors
/// A second signal has come, or no thread could be started.
pub async fn patiently<T: Send + 'static>(
    signals: &mut Signals,
    logger: &Logger,
    board: &Board,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Exit> {
    let at_once = |interrupt| {
        match interrupt {
            Interrupt::Graceful => {
                info!(logger, "all has ended, and is being summed up; a second signal ends that, too")
            }
            Interrupt::Status => info!(logger, "status"; "doing" => name),
            // There are no workers any more.
            _ => {}
        }
        interrupt == Interrupt::AtOnce
    };
    let done = signals.unless(alive(board, background::run(name, work)), at_once).await;
    let forced = || Exit::new(ExitCode::Forced, format!("ended at once by a signal, before the {name} was done"));
    done.ok_or_else(forced)?.map_err(Exit::failed)
}

/// Waits for `work`; the run lives meanwhile.
async fn alive<T>(board: &Board, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        never = board.live_on() => match never {},
    }
}

fn with_outcomes(producing: &mut coordinator::Order, run: Option<u64>, collector: &Collector) {
    producing.run = run;
    producing.outcomes = Some(collector.outcomes());
}

fn with_journal(consuming: &mut supervisor::Order, partitions: usize, collector: &Collector) {
    let partitions = partitions_by_murmur2(&consuming.settings).then_some(partitions as u32);
    consuming.journal = Some(JournalPlace { socket: collector.socket(), partitions });
}

/// Whether keys are where Kafka's own partitioning puts them.
fn partitions_by_murmur2(settings: &Settings) -> bool {
    let partitioner = [&settings.producer.properties, &settings.kafka.properties];
    let partitioner = partitioner.into_iter().find_map(|properties| properties.get("partitioner"));
    partitioner.is_none_or(|name| name.trim().starts_with("murmur2"))
}

/// Tells the judge what a run file has; whether all of it is there.
fn told(judge: &mut Judge, file: run_file::Reader) -> Result<bool, Exit> {
    let end = file.feed(&mut |record| match record {
        run_file::Record::Acknowledged { producer, sequence, partition, offset } => {
            judge.acknowledged(producer, sequence, partition, offset);
        }
        run_file::Record::Failed { producer, sequence } => judge.failed(producer, sequence),
    });
    end.map(|end| end.complete).map_err(|error| Exit::failed(error.to_string()))
}
