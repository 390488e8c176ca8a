//! `consume`.

use std::sync::Arc;

use actix::System;
use slog::warn;

use super::context::{RunContext, actor_died};
use crate::consumer::protocol::MessageLog;
use crate::consumer::supervisor::actor::{ConsumerSupervisor, SupervisorParams};
use crate::exit::ExitStatus;
use crate::progress::ConsumeProgress;
use crate::report::ReportBuilder;
use crate::run_summary;
use crate::settings::Settings;
use crate::signals::SignalHandler;

pub(super) fn consume(
    settings: Settings,
    context: &RunContext,
    report: &mut ReportBuilder,
    signals: SignalHandler,
) -> ExitStatus {
    let params = consumer_params(Arc::new(settings), false, MessageLog::All, context);
    let result = System::new().block_on(async move {
        let (supervisor, result) = ConsumerSupervisor::start(params);
        signals.forward_all(supervisor.recipient());
        result.await.map_err(|_| actor_died())
    });
    match result {
        Ok(result) => {
            run_summary::skipped_messages(&result.report).iter().for_each(|text| warn!(context.logger, "{text}"));
            let exit = run_summary::with_skipped(result.exit, &result.report);
            report.consume = Some(result.report);
            exit
        }
        Err(exit) => exit,
    }
}

pub(super) fn consumer_params(
    settings: Arc<Settings>,
    finite: bool,
    message_log: MessageLog,
    context: &RunContext,
) -> SupervisorParams {
    SupervisorParams {
        finite,
        message_log,
        observer: None,
        history: None,
        run: None,
        starts: None,
        registry: context.registry.clone(),
        screen: context.console.clone(),
        style: context.style,
        progress: ConsumeProgress::new(&context.console, &context.logger, settings.consumer.processes),
        logger: context.logger.clone(),
        settings,
    }
}
