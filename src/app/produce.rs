//! `produce`, and its dry run.

use std::io::Write;
use std::sync::Arc;

use actix::System;
use slog::warn;

use super::Program;
use super::context::{RunContext, actor_died};
use crate::exit::{ExitCode, ExitStatus};
use crate::producer::coordinator::{Brokers, ProducerCoordinator, ProducerParams};
use crate::producer::{dry_run, message_builder};
use crate::progress::ProduceProgress;
use crate::report::ReportBuilder;
use crate::run_summary;
use crate::settings::{self, Settings};
use crate::signals::SignalHandler;

impl Program {
    pub(super) fn produce(
        self,
        settings: Settings,
        context: &RunContext,
        report: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> ExitStatus {
        let run = settings.producer.stamp.then(rand::random);
        let params = match self.producer_params(Arc::new(settings), run, Brokers::Kafka, context) {
            Ok(params) => params,
            Err(exit) => return exit,
        };
        let result = System::new().block_on(async move {
            let (coordinator, result) = ProducerCoordinator::start(params);
            signals.forward_all(coordinator.recipient());
            result.await.map_err(|_| actor_died())
        });
        match result {
            Ok(result) => {
                run_summary::missed_rate(&result.report).iter().for_each(|text| warn!(context.logger, "{text}"));
                report.produce = Some(result.report);
                result.exit
            }
            Err(exit) => exit,
        }
    }

    pub(super) fn dry_run(self, mut settings: Settings, count: u64, out: &mut dyn Write) -> ExitStatus {
        choose_seed(&mut settings.producer);
        let run = settings.producer.stamp.then(rand::random);
        match message_builder::generator(&settings.producer, self.generator) {
            Ok(generator) => dry_run::run(&settings.producer, &*generator, run, count, out),
            Err(problem) => ExitStatus::new(ExitCode::Usage, problem),
        }
    }

    pub(super) fn producer_params(
        self,
        mut settings: Arc<Settings>,
        run: Option<u64>,
        brokers: Brokers,
        context: &RunContext,
    ) -> Result<ProducerParams, ExitStatus> {
        choose_seed(&mut Arc::make_mut(&mut settings).producer);
        let generator = message_builder::generator(&settings.producer, self.generator)
            .map_err(|problem| ExitStatus::new(ExitCode::Usage, problem))?;
        Ok(ProducerParams {
            generator,
            run,
            outcomes: None,
            brokers,
            registry: context.registry.clone(),
            progress: ProduceProgress::new(&context.console, &context.logger, settings.producer.threads),
            logger: context.logger.clone(),
            settings,
        })
    }
}

/// Chooses a seed if none is set: small enough to type, and for every JSON parser.
fn choose_seed(producer: &mut settings::Producer) {
    if producer.seed == 0 {
        producer.seed = u64::from(rand::random_range(1..=u32::MAX));
    }
}
