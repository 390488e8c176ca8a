//! The commands with verified runs: `demo` and `verify`.

use std::sync::Arc;
use std::time::Duration;

use actix::{System, SystemRunner};
use slog::{info, warn};

use super::consume::consumer_params;
use super::context::{Closing, RunContext};
use super::{Program, demo};
use crate::cli::{Demo, TopicSpec, Verify};
use crate::consumer::protocol::MessageLog;
use crate::exit::{ExitCode, ExitStatus};
use crate::kafka::mock_cluster::{self, MockBroker};
use crate::producer::coordinator::Brokers;
use crate::report::ReportBuilder;
use crate::run_summary;
use crate::settings::{LoadedSettings, LogLevel, Settings};
use crate::signals::{ControlSignal, SignalHandler};
use crate::util::blocking;
use crate::verify::checker::CheckScope;
use crate::verify::orchestrator;
use crate::verify::outcome::{self, DEMO, NOTHING_DONE, VERIFY};
use crate::verify::plan::{self, Cleanup, VerifyMode, VerifyPlan};
use crate::verify::run::{VerifyAborted, VerifyResult, VerifyRun, alive, wait_interruptibly};
use crate::verify::run_topic;

impl Program {
    pub(super) fn demo(
        self,
        demo: &Demo,
        loaded: LoadedSettings,
        context: &RunContext,
        report: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> (ExitStatus, Closing) {
        let (proven, exit) = match self.run_demo(demo, loaded, context, signals) {
            Ok(ended) => ended,
            Err(unproven) => return (drop_unused_side(unproven, report), Closing::default()),
        };
        let closing = Closing::new(&exit, |exit| demo::summary(&proven.outcome, &proven.verdict, exit));
        log_warnings(&proven.outcome, context);
        add_to_report(proven, report);
        (exit, closing)
    }

    fn run_demo(
        self,
        demo: &Demo,
        loaded: LoadedSettings,
        context: &RunContext,
        mut signals: SignalHandler,
    ) -> Result<(VerifyResult, ExitStatus), VerifyAborted> {
        // Dropped last, after workers and actors.
        let _broker;
        plan::require_acknowledgements(&loaded)?;
        let system = System::new();
        // Only from the command line: a demo must not write to the brokers that other commands are configured for.
        let on_embedded = demo.brokers.is_none();
        if on_embedded && loaded.is_set("kafka.brokers") {
            info!(
                context.logger,
                "the demo uses an embedded broker; those of kafka.brokers ({}) are not used: \
                --brokers selects other brokers",
                loaded.origin("kafka.brokers")
            );
        }
        let is_rate_set = loaded.is_set("producer.rate") || !loaded.settings.producer.rate_profile.is_empty();
        let mut settings = loaded.settings;
        demo::demo_settings(&mut settings, on_embedded, is_rate_set);
        let run = rand::random();
        let own_topic = !on_embedded && demo.topic.is_none();
        if own_topic {
            settings.kafka.topic = format!("kafka-actors-demo-{run:016x}");
        }
        let clean_up = Cleanup::new(settings.clone(), own_topic);
        let partitions = if on_embedded {
            _broker = embedded_broker(&mut settings, demo.partitions, context)?;
            usize::try_from(demo.partitions).unwrap_or_default()
        } else {
            let (settings_copy, logger) = (settings.clone(), context.logger.clone());
            let new = TopicSpec { name: settings.kafka.topic.clone(), partitions: demo.partitions, replication: -1 };
            let found = move || {
                let found = run_topic::ensure(&settings_copy, &new, &logger)?;
                plan::require_retention(&settings_copy, Duration::ZERO, &logger)?;
                Ok(found)
            };
            run_preparation(&system, &mut signals, context, found)?
        };
        let settings = Arc::new(settings);
        let brokers = match on_embedded {
            true => Brokers::Embedded { unread_limit: mock_cluster::MAX_RETAINED_BYTES },
            false => Brokers::Kafka,
        };
        let message_log = match settings.logging.level {
            LogLevel::Debug | LogLevel::Trace => MessageLog::All,
            _ => MessageLog::Sample,
        };
        let producing = match self.producer_params(Arc::clone(&settings), Some(run), brokers, context) {
            Ok(producing) => producing,
            Err(exit) => {
                clean_up_topic(clean_up, &exit, &system, &mut signals, context);
                return Err(exit.into());
            }
        };
        let params = orchestrator::OrchestratorParams {
            consuming: Some(consumer_params(Arc::clone(&settings), true, message_log, context)),
            producing: Some(producing),
            deadline: None,
            logger: context.logger.clone(),
            settings,
        };
        // A topic given by name may have other producers.
        let shared = demo.topic.is_some();
        let scope = CheckScope { run: Some(run), acknowledgements: true, from_start: false, partitions, shared };
        let proof = VerifyRun { scope, acknowledged: None, run_file: None };
        let proven = proof.run(params, &system, &mut signals, &context.logger, &context.registry);
        let exit = match &proven {
            Ok(proven) => outcome::exit(&proven.outcome, &proven.verdict, &proven.problems, DEMO),
            Err(unproven) => unproven.exit.clone(),
        };
        clean_up_topic(clean_up, &exit, &system, &mut signals, context);
        proven.map(|proven| (proven, exit))
    }

    pub(super) fn verify(
        self,
        verify: &Verify,
        loaded: LoadedSettings,
        context: &RunContext,
        report: &mut ReportBuilder,
        mut signals: SignalHandler,
    ) -> (ExitStatus, Closing) {
        let system = System::new();
        let (settings_copy, logger) = (verify.clone(), context.logger.clone());
        let prepare = move || plan::prepare(&settings_copy, loaded, &logger);
        let plan = match run_preparation(&system, &mut signals, context, prepare) {
            Ok(plan) => plan,
            Err(exit) => return (exit, Closing::default()),
        };
        let (sides, clean_up) = (plan.sides, plan.clean_up());
        let proven = self.run_plan(plan, context, &system, &mut signals);
        let exit = match &proven {
            Ok(proven) => outcome::exit(&proven.outcome, &proven.verdict, &proven.problems, VERIFY),
            Err(unproven) => unproven.exit.clone(),
        };
        clean_up_topic(clean_up, &exit, &system, &mut signals, context);
        let proven = match proven {
            Ok(proven) => proven,
            Err(unproven) => return (drop_unused_side(unproven, report), Closing::default()),
        };
        let produced = proven.outcome.produced.as_ref().and_then(|produced| run_summary::produced(&produced.report));
        let closing = match sides {
            VerifyMode::Producing => Closing::line(produced),
            _ => Closing::new(&exit, |exit| plan::summary(&proven, exit)),
        };
        log_warnings(&proven.outcome, context);
        add_to_report(proven, report);
        (exit, closing)
    }

    fn run_plan(
        self,
        plan: VerifyPlan,
        context: &RunContext,
        system: &SystemRunner,
        signals: &mut SignalHandler,
    ) -> Result<VerifyResult, VerifyAborted> {
        let VerifyPlan { settings, sides, proof, starts, .. } = plan;
        let settings = Arc::new(settings);
        let mut params = orchestrator::OrchestratorParams {
            consuming: None,
            producing: None,
            deadline: Some(settings.verify.timeout),
            logger: context.logger.clone(),
            settings: Arc::clone(&settings),
        };
        if sides != VerifyMode::Producing {
            params.consuming = Some(consumer_params(Arc::clone(&settings), true, MessageLog::Off, context));
        }
        if let Some(consuming) = &mut params.consuming {
            consuming.starts = starts;
        }
        if sides != VerifyMode::Consuming {
            params.producing = Some(self.producer_params(settings, proof.scope.run, Brokers::Kafka, context)?);
        }
        proof.run(params, system, signals, &context.logger, &context.registry)
    }
}

/// Warns of problems that exit code 0 does not show.
fn log_warnings(outcome: &orchestrator::RunOutcome, context: &RunContext) {
    let missed = outcome.produced.as_ref().and_then(|produced| run_summary::missed_rate(&produced.report));
    let skipped = outcome.consumed.as_ref().and_then(|consumed| run_summary::skipped_messages(&consumed.report));
    missed.iter().chain(&skipped).for_each(|text| warn!(context.logger, "{text}"));
}

/// Deletes the topic of a run if it was created for it and the run succeeded; a second signal skips that.
fn clean_up_topic(
    clean_up: Cleanup,
    exit: &ExitStatus,
    system: &SystemRunner,
    signals: &mut SignalHandler,
    context: &RunContext,
) {
    let (ended, logger) = (exit.clone(), context.logger.clone());
    let cleaning = move || clean_up.run(&ended, &logger);
    let cleaning = wait_interruptibly(signals, &context.logger, &context.registry, "clean-up", cleaning);
    if let Err(left) = system.block_on(cleaning) {
        warn!(context.logger, "{}", left.reason);
    }
}

/// Runs blocking preparation; the first signal cancels it. A topic that is just being created is left behind then.
fn run_preparation<T: Send + 'static>(
    system: &SystemRunner,
    signals: &mut SignalHandler,
    context: &RunContext,
    work: impl FnOnce() -> Result<T, ExitStatus> + Send + 'static,
) -> Result<T, ExitStatus> {
    let ends = |interrupt: ControlSignal| {
        if interrupt == ControlSignal::Status {
            info!(context.logger, "status"; "doing" => "prepare");
        }
        interrupt.is_end()
    };
    let done =
        system.block_on(signals.cancellable(alive(&context.registry, blocking::spawn_blocking("prepare", work)), ends));
    done.ok_or_else(|| ExitStatus::stopped(ExitCode::Failed, NOTHING_DONE))?.map_err(ExitStatus::failed)?
}

/// Reports a run without a verdict; returns its exit status.
fn drop_unused_side(VerifyAborted { exit, outcome }: VerifyAborted, report: &mut ReportBuilder) -> ExitStatus {
    let outcome = *outcome.unwrap_or_default();
    report.produce = outcome.produced.map(|produced| produced.report);
    report.consume = outcome.consumed.map(|consumed| consumed.report);
    exit
}

/// Adds a verified run to the report.
fn add_to_report(proven: VerifyResult, report: &mut ReportBuilder) {
    let VerifyResult { outcome, verdict, .. } = proven;
    report.produce = outcome.produced.map(|produced| produced.report);
    if let Some(consumed) = outcome.consumed {
        report.consume = Some(consumed.report);
        report.verify = Some(verdict);
    }
}

/// Starts the embedded broker of a demo without `--brokers`.
fn embedded_broker(settings: &mut Settings, partitions: i32, context: &RunContext) -> Result<MockBroker, ExitStatus> {
    let broker = MockBroker::start(&settings.kafka.topic, partitions)?;
    settings.kafka.brokers = broker.brokers();
    warn!(context.logger, "this is {}", mock_cluster::MOCK_BROKER_NOTICE);
    info!(context.logger, "topic created"; "topic" => &settings.kafka.topic, "partitions" => partitions);
    Ok(broker)
}
