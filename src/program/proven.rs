//! The commands whose runs are proven: `demo` and `verify`.

use std::sync::Arc;

use slog::{info, warn};

use super::{Program, Stage, consuming};
use crate::cli::{NewTopic, Verify};
use crate::demo;
use crate::director;
use crate::exit::Exit;
use crate::judge::Scope;
use crate::kafka::embedded::{self, Embedded};
use crate::report::Draft;
use crate::settings::{Loaded, LogLevel, Settings};
use crate::topics;
use crate::verify::command::{self, Plan, Sides};
use crate::verify::ending::{self, DEMO, VERIFY};
use crate::verify::run::{Proof, Proven};

impl Program {
    pub(super) fn demo(self, loaded: Loaded, partitions: i32, stage: &Stage, draft: &mut Draft) -> (Exit, String) {
        let run = |program: Self| program.demonstrated(loaded, partitions, stage);
        let proven = match run(self) {
            Ok(proven) => proven,
            Err(exit) => return (exit, String::new()),
        };
        let exit = ending::exit(&proven.outcome, &proven.verdict, &proven.problems, DEMO);
        let closing = demo::summary(&proven.outcome, &proven.verdict);
        keep(proven, draft);
        (exit, closing)
    }

    fn demonstrated(self, loaded: Loaded, partitions: i32, stage: &Stage) -> Result<Proven, Exit> {
        let on_embedded = !loaded.is_given("kafka.brokers");
        let rate_given = loaded.is_given("producer.rate") || !loaded.settings.producer.profile.is_empty();
        let mut settings = loaded.settings;
        demo::adapt(&mut settings, on_embedded, rate_given);
        // Dropped last: the workers are gone then.
        let (_broker, partitions) = demo_broker(&mut settings, on_embedded, partitions, stage)?;
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
        let scope = Scope { run: Some(run), acknowledgements: true, from_start: false, partitions };
        Proof { scope, acknowledged: None, run_file: None }.run(order, &stage.logger)
    }

    pub(super) fn verify(self, verify: &Verify, loaded: Loaded, stage: &Stage, draft: &mut Draft) -> (Exit, String) {
        let plan = match command::prepare(verify, loaded, &stage.logger) {
            Ok(plan) => plan,
            Err(exit) => return (exit, String::new()),
        };
        let (sides, clean_up) = (plan.sides, plan.clean_up());
        let proven = match self.carried_out(plan, stage) {
            Ok(proven) => proven,
            Err(exit) => return (exit, String::new()),
        };
        let exit = ending::exit(&proven.outcome, &proven.verdict, &proven.problems, VERIFY);
        clean_up.run(&exit, &stage.logger);
        let closing = if sides == Sides::Producing { String::new() } else { command::summary(&proven) };
        keep(proven, draft);
        (exit, closing)
    }

    fn carried_out(self, plan: Plan, stage: &Stage) -> Result<Proven, Exit> {
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
        proof.run(order, &stage.logger)
    }
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

/// The embedded broker, or the topic on a real one; and how many partitions it has.
fn demo_broker(
    settings: &mut Settings,
    embedded: bool,
    partitions: i32,
    stage: &Stage,
) -> Result<(Option<Embedded>, usize), Exit> {
    if !embedded {
        let new = NewTopic { name: settings.kafka.topic.clone(), partitions, replication: 1 };
        let partitions = topics::ensure(settings, new, &stage.logger)?;
        return Ok((None, partitions));
    }
    let broker = Embedded::start(&settings.kafka.topic, partitions)?;
    settings.kafka.brokers = broker.brokers();
    warn!(stage.logger, "this is {}", embedded::WHAT_IT_IS);
    info!(stage.logger, "topic made"; "topic" => &settings.kafka.topic, "partitions" => partitions);
    Ok((Some(broker), usize::try_from(partitions).unwrap_or_default()))
}
