//! The commands whose runs are proven: `demo` and `verify`.

use std::sync::Arc;

use actix::{System, SystemRunner};
use slog::{info, warn};

use super::{Program, Stage, consuming, no_signals};
use crate::background;
use crate::cli::{NewTopic, Verify};
use crate::demo;
use crate::director;
use crate::exit::Exit;
use crate::judge::Scope;
use crate::kafka::embedded::{self, Embedded};
use crate::report::Draft;
use crate::settings::{Loaded, LogLevel, Settings};
use crate::shutdown::{Interrupt, Second, Signals};
use crate::topics;
use crate::verify::command::{self, Plan, Sides};
use crate::verify::ending::{self, DEMO, NOTHING_DONE, VERIFY};
use crate::verify::run::{Proof, Proven, Unproven, patiently};

impl Program {
    pub(super) fn demo(self, loaded: Loaded, partitions: i32, stage: &Stage, draft: &mut Draft) -> (Exit, String) {
        let proven = match self.demonstrated(loaded, partitions, stage) {
            Ok(proven) => proven,
            Err(unproven) => return (keep_sides(unproven, draft), String::new()),
        };
        let exit = ending::exit(&proven.outcome, &proven.verdict, &proven.problems, DEMO);
        let closing = demo::summary(&proven.outcome, &proven.verdict);
        keep(proven, draft);
        (exit, closing)
    }

    fn demonstrated(self, loaded: Loaded, partitions: i32, stage: &Stage) -> Result<Proven, Unproven> {
        // Dropped last: the workers are gone then, and the actors.
        let _broker;
        let (system, mut signals) = system_with_signals()?;
        let on_embedded = !loaded.is_given("kafka.brokers");
        let rate_given = loaded.is_given("producer.rate") || !loaded.settings.producer.profile.is_empty();
        let mut settings = loaded.settings;
        demo::adapt(&mut settings, on_embedded, rate_given);
        let partitions = if on_embedded {
            _broker = embedded_broker(&mut settings, partitions, stage)?;
            usize::try_from(partitions).unwrap_or_default()
        } else {
            let (asked, logger) = (settings.clone(), stage.logger.clone());
            let new = NewTopic { name: settings.kafka.topic.clone(), partitions, replication: 1 };
            let found = move || topics::ensure(&asked, new, &logger);
            prepared(&system, &mut signals, stage, found)?
        };
        let settings = Arc::new(settings);
        let unread_limit = on_embedded.then_some(embedded::UNREAD_BYTES);
        let verbose = matches!(settings.logging.level, LogLevel::Debug | LogLevel::Trace);
        let run = rand::random();
        let order = director::Order {
            consuming: Some(consuming(Arc::clone(&settings), true, verbose, stage)),
            producing: Some(self.producing(Arc::clone(&settings), Some(run), unread_limit, stage)?),
            deadline: None,
            logger: stage.logger.clone(),
            settings,
        };
        // A topic that is named may have other writers.
        let shared = !on_embedded;
        let scope = Scope { run: Some(run), acknowledgements: true, from_start: false, partitions, shared };
        let proof = Proof { scope, acknowledged: None, run_file: None };
        proof.run(order, &system, &mut signals, &stage.logger, &stage.board)
    }

    pub(super) fn verify(self, verify: &Verify, loaded: Loaded, stage: &Stage, draft: &mut Draft) -> (Exit, String) {
        let (system, mut signals) = match system_with_signals() {
            Ok(both) => both,
            Err(exit) => return (exit, String::new()),
        };
        let (asked, logger) = (verify.clone(), stage.logger.clone());
        let prepare = move || command::prepare(&asked, loaded, &logger);
        let plan = match prepared(&system, &mut signals, stage, prepare) {
            Ok(plan) => plan,
            Err(exit) => return (exit, String::new()),
        };
        let (sides, clean_up) = (plan.sides, plan.clean_up());
        let proven = self.carried_out(plan, stage, &system, &mut signals);
        let exit = match &proven {
            Ok(proven) => ending::exit(&proven.outcome, &proven.verdict, &proven.problems, VERIFY),
            Err(unproven) => unproven.exit.clone(),
        };
        let (ended, logger) = (exit.clone(), stage.logger.clone());
        let cleaning = move || clean_up.run(&ended, &logger);
        let cleaning = patiently(&mut signals, &stage.logger, &stage.board, "clean-up", cleaning);
        if let Err(left) = system.block_on(cleaning) {
            warn!(stage.logger, "{}", left.reason);
        }
        let proven = match proven {
            Ok(proven) => proven,
            Err(unproven) => return (keep_sides(unproven, draft), String::new()),
        };
        let closing = if sides == Sides::Producing { String::new() } else { command::summary(&proven) };
        keep(proven, draft);
        (exit, closing)
    }

    fn carried_out(
        self,
        plan: Plan,
        stage: &Stage,
        system: &SystemRunner,
        signals: &mut Signals,
    ) -> Result<Proven, Unproven> {
        let Plan { settings, sides, proof, starts, .. } = plan;
        let settings = Arc::new(settings);
        let mut order = director::Order {
            consuming: None,
            producing: None,
            deadline: Some(settings.verify.deadline),
            logger: stage.logger.clone(),
            settings: Arc::clone(&settings),
        };
        if sides != Sides::Producing {
            order.consuming = Some(consuming(Arc::clone(&settings), true, false, stage));
        }
        if let Some(consuming) = &mut order.consuming {
            consuming.starts = starts;
        }
        if sides != Sides::Consuming {
            order.producing = Some(self.producing(settings, proof.scope.run, None, stage)?);
        }
        proof.run(order, system, signals, &stage.logger, &stage.board)
    }
}

/// The actor system, which waits for signals from now on.
fn system_with_signals() -> Result<(SystemRunner, Signals), Exit> {
    let system = System::new();
    let signals = system.block_on(async { Signals::install(Second::AtOnce).and_then(Signals::with_wishes) });
    Ok((system, signals.map_err(|error| no_signals(&error))?))
}

/// Does what comes before a run, which blocks; the first signal leaves it undone. A topic that was just being made is left
/// behind then.
fn prepared<T: Send + 'static>(
    system: &SystemRunner,
    signals: &mut Signals,
    stage: &Stage,
    work: impl FnOnce() -> Result<T, Exit> + Send + 'static,
) -> Result<T, Exit> {
    let ends = |interrupt: Interrupt| {
        if interrupt == Interrupt::Status {
            info!(stage.logger, "status"; "doing" => "prepare");
        }
        interrupt.is_end()
    };
    let done = system.block_on(signals.unless(background::run("prepare", work), ends));
    done.ok_or_else(|| Exit::failed(NOTHING_DONE))?.map_err(Exit::failed)?
}

/// What the report has of a run without a verdict; how it ended.
fn keep_sides(Unproven { exit, outcome }: Unproven, draft: &mut Draft) -> Exit {
    let outcome = *outcome.unwrap_or_default();
    draft.produce = outcome.produced.map(|produced| produced.report);
    draft.consume = outcome.consumed.map(|consumed| consumed.report);
    exit
}

/// What the report has of it.
fn keep(proven: Proven, draft: &mut Draft) {
    let Proven { outcome, verdict, .. } = proven;
    draft.produce = outcome.produced.map(|produced| produced.report);
    if let Some(consumed) = outcome.consumed {
        draft.consume = Some(consumed.report);
        draft.verify = Some(verdict);
    }
}

/// The broker of a demonstration that was given none.
fn embedded_broker(settings: &mut Settings, partitions: i32, stage: &Stage) -> Result<Embedded, Exit> {
    let broker = Embedded::start(&settings.kafka.topic, partitions)?;
    settings.kafka.brokers = broker.brokers();
    warn!(stage.logger, "this is {}", embedded::WHAT_IT_IS);
    info!(stage.logger, "topic made"; "topic" => &settings.kafka.topic, "partitions" => partitions);
    Ok(broker)
}
