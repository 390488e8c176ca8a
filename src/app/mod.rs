//! The program: command line, settings, log, one command, report, exit code.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use actix::System;
use clap::Parser;
use slog::{Logger, debug, error, info, warn};

#[cfg(feature = "top")]
use crate::cli::Top;
use crate::cli::{CheckConfig, Cli, Command, Config, ConfigCommand, Produce, ShowConfig};
use crate::console::Console;
use crate::consumer::protocol::MessageLog;
use crate::consumer::supervisor::actor as supervisor;
use crate::consumer::worker;
use crate::dlq;
use crate::exit::{ExitCode, ExitStatus};
use crate::generator::{Generator, generate_message};
use crate::kafka;
use crate::logging::{self, LogStyle};
#[cfg(feature = "monitoring")]
use crate::monitoring::http_server::StatusServer;
use crate::monitoring::status::Phase;
use crate::monitoring::status_registry::StatusRegistry;
use crate::os::{limits, signal_mask, temp_dir};
use crate::processor::{BUILT_IN, CUSTOM_PROCESSOR, ProcessError, Processor, ProcessorFactory, WorkerContext};
use crate::producer::coordinator::{self, ProducerCoordinator};
use crate::producer::{dry_run, message_builder};
use crate::progress::{ConsumeProgress, ProduceProgress};
use crate::report::{ReportBuilder, ReportSink};
use crate::run_summary;
use crate::settings::{self, LoadOptions, LoadedSettings, LogFormat, LogLevel, Settings};
use crate::signals::{Role, SignalHandler};
#[cfg(feature = "top")]
use crate::top;
use crate::util::escape;
use crate::util::panic;

use crate::blocking_command::{self, Stop};

mod config_check;
#[cfg(feature = "verify")]
mod demo;
mod latency_output;
mod topics;
#[cfg(feature = "verify")]
mod verify;

/// The number of threads of any command: log, console, signals, and a client for cluster queries.
const THREADS: usize = 10;

/// The program with the user's generator and processor. See the [crate documentation](crate) for a complete
/// `main.rs`.
pub struct Program {
    generator: Box<dyn Generator>,
    processor: Option<ProcessorFactory>,
    defaults: Vec<(String, String)>,
}

impl Default for Program {
    fn default() -> Self {
        Self::new()
    }
}

impl Program {
    /// Creates a program with [`generate_message`] and the built-in processors.
    pub fn new() -> Self {
        Self { generator: Box::new(generate_message), processor: None, defaults: Vec::new() }
    }

    /// Sets the message generator.
    #[must_use]
    pub fn generator(mut self, generator: impl Generator) -> Self {
        self.generator = Box::new(generator);
        self
    }

    /// Processes messages with a clone of `processor` in each worker, unless `consumer.processor` names a built-in
    /// one.
    #[must_use]
    pub fn processor<P: Processor + Clone + Send + Sync>(self, processor: P) -> Self {
        self.processor_with(move |_| Ok(Box::new(processor.clone())))
    }

    /// Like [`Program::processor`], for a processor that is created in its worker, for example because it opens a
    /// connection or logs.
    #[must_use]
    pub fn processor_with<F>(mut self, make: F) -> Self
    where
        F: Fn(&WorkerContext) -> Result<Box<dyn Processor>, ProcessError> + Send + Sync + 'static,
    {
        self.processor = Some(Arc::new(make));
        self.default_setting("consumer.processor", CUSTOM_PROCESSOR)
    }

    /// Changes the default of a setting; the user's file, environment and flags take precedence.
    #[must_use]
    pub fn default_setting(mut self, key: &str, value: &str) -> Self {
        self.defaults.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Runs this process' command line. Must be called first in `main`, on the main thread: worker processes run the
    /// same binary.
    pub fn run(self) -> std::process::ExitCode {
        signal_mask::block_handled();
        match Cli::try_parse() {
            Ok(cli) => self.run_command(&cli).into(),
            Err(error) => {
                // For clap, help and version are errors, too; they go to stdout with exit code 0.
                print_usage_error(&error).ok();
                std::process::ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ExitCode::Usage as u8))
            }
        }
    }

    fn run_command(self, cli: &Cli) -> ExitCode {
        limits::raise_descriptor_limit();
        if let Command::Worker(worker) = &cli.command {
            panic::abort_on_panic();
            return worker::run(worker.slot, self.processor);
        }
        panic::abort_on_panic();
        let role = if cli.command.has_workers() { Role::Supervisor } else { Role::Alone };
        let signals = SignalHandler::start(role);
        let screen = Console::start(!cli.quiet);
        let code = match signals {
            Ok(signals) => self.with_console(cli, &screen, signals),
            Err(error) => {
                log_exit(&screen, &ExitStatus::failed(format!("signals cannot be received: {}", limits::named(&error))))
            }
        };
        screen.finish();
        code
    }

    fn with_console(self, cli: &Cli, screen: &Console, signals: SignalHandler) -> ExitCode {
        let mut target = match ReportSink::open(cli.report.as_deref().map(Path::new)) {
            Ok(target) => target,
            Err(exit) => return log_exit(screen, &exit),
        };
        let mut draft = ReportBuilder::new(cli.command.name());
        let exit = match &cli.command {
            // `top` shows another run: it reads no settings and logs nothing.
            #[cfg(feature = "top")]
            Command::Top(command) => run_top(command, cli, screen, &target, signals),
            _ => self.with_settings(cli, screen, &target, &mut draft, signals),
        };
        let code = exit.code;
        match target.write(&draft.finish(exit)) {
            Ok(()) => code,
            Err(error) => {
                log_exit(screen, &ExitStatus::failed(format!("--report: the report could not be written: {error}")));
                if code == ExitCode::Success { ExitCode::Failed } else { code }
            }
        }
    }

    fn with_settings(
        self,
        cli: &Cli,
        screen: &Console,
        target: &ReportSink,
        draft: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> ExitStatus {
        let threads = limits::check_threads(THREADS, &format!("`{}`", cli.command.name())).map_err(ExitStatus::failed);
        match threads.and_then(|()| self.load(cli)) {
            Ok(loaded) => self.command(cli, loaded, screen, target, draft, signals),
            Err(exit) => {
                log_exit(screen, &exit);
                exit
            }
        }
    }

    fn load(&self, cli: &Cli) -> Result<LoadedSettings, ExitStatus> {
        let loaded =
            settings::load(self.inputs(cli)).map_err(|error| ExitStatus::new(ExitCode::Usage, error.to_string()))?;
        kafka::check(&loaded.settings)?;
        Ok(loaded)
    }

    fn inputs(&self, cli: &Cli) -> LoadOptions {
        let own = self.processor.is_some().then_some(CUSTOM_PROCESSOR);
        LoadOptions {
            config_file: cli.config.clone(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
            sets: cli.set.clone(),
            flags: cli.flags.clone(),
            program: self.defaults.clone(),
            processors: BUILT_IN.iter().copied().chain(own).map(str::to_owned).collect(),
        }
    }

    /// Runs the command with a log, and logs its exit reason.
    fn command(
        self,
        cli: &Cli,
        loaded: LoadedSettings,
        screen: &Console,
        target: &ReportSink,
        draft: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> ExitStatus {
        let style = LogStyle::new(&loaded.settings.logging);
        let (logger, _written_at_the_end) = logging::asynchronous(style, screen);
        match loaded.file() {
            Some(path) => info!(logger, "settings file"; "file" => %path.display()),
            None => debug!(logger, "no settings file: neither --config nor ./Settings.toml"),
        }
        if cli.command.connects() {
            draft.security.warnings = loaded.settings.security_warnings();
            draft.security.warnings.iter().for_each(|text| warn!(logger, "{text}"));
        }
        if cli.command.is_long_running() {
            temp_dir::remove_stale();
        }
        let registry = StatusRegistry::new(cli.command.name(), &loaded.settings);
        let stage = RunContext { screen: screen.clone(), style, logger: logger.clone(), registry };
        let opened = latency_output::open(&cli.command, &loaded)
            .and_then(|file| Ok((file, stage.serve(&cli.command, &loaded)?)));
        let exit = match opened {
            Ok((mut file, _server)) => {
                let (exit, closing) = self.dispatch(cli, loaded, &stage, target, draft, signals);
                stage.registry.phase(Phase::Ended, &exit.reason);
                let exit = latency_output::print_and_write(&mut file, draft, &stage, exit);
                stage.print(closing.text(&exit));
                exit
            }
            Err(exit) => exit,
        };
        match exit.code {
            ExitCode::Success if exit.is_silent() => {}
            ExitCode::Success => info!(logger, "done: {}", exit.reason),
            // A run stopped by the user is no error.
            _ if exit.is_stop() => warn!(logger, "{}", exit.reason),
            _ => error!(logger, "{}", exit.reason),
        }
        exit
    }

    /// Runs the command; returns its exit status and the closing output.
    fn dispatch(
        self,
        cli: &Cli,
        loaded: LoadedSettings,
        stage: &RunContext,
        target: &ReportSink,
        draft: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> (ExitStatus, Closing) {
        let logger = stage.logger.clone();
        let exit = match &cli.command {
            #[cfg(feature = "verify")]
            Command::Demo(demo) => return self.demo(demo, loaded, stage, draft, signals),
            #[cfg(feature = "verify")]
            Command::Verify(verify) => return self.verify(verify, loaded, stage, draft, signals),
            Command::Produce(Produce { dry_run: Some(count), .. }) => {
                let (count, mut out) = (*count, output_writer(target));
                blocking_command::until_signal(signals, move || self.dry_run(loaded.settings, count, &mut out))
            }
            Command::Produce(_) => {
                let exit = self.produce(loaded.settings, stage, draft, signals);
                return (exit, Closing::line(draft.produce.as_ref().and_then(run_summary::produced)));
            }
            Command::Consume(_) => {
                let exit = consume(loaded.settings, stage, draft, signals);
                return (exit, Closing::line(draft.consume.as_ref().and_then(run_summary::consumed)));
            }
            Command::Topics(command) => {
                let (command, mut out) = (command.command.clone(), output_writer(target));
                blocking_command::until_signal(signals, move || {
                    topics::run(&command, &loaded.settings, &logger, &mut out)
                })
            }
            Command::Dlq(command) => {
                let (command, mut out) = (command.command.clone(), output_writer(target));
                let deadline = loaded.settings.shutdown.timeout;
                let work = move |stop: &Stop| {
                    let mut replay = None;
                    let exit = dlq::run(&command, &loaded.settings, &logger, &mut out, &mut replay, stop);
                    (exit, replay)
                };
                match blocking_command::until_stopped(signals, deadline, &stage.logger, work) {
                    Ok((exit, replay)) => {
                        draft.replay = replay;
                        exit
                    }
                    Err(exit) => exit,
                }
            }
            Command::Config(Config { command: ConfigCommand::Show(ShowConfig { origin, .. }), .. }) => {
                let (origin, mut out) = (*origin, output_writer(target));
                blocking_command::until_signal(signals, move || {
                    ExitStatus::from_stdout_result(out.write_all(escape::lines(&loaded.show(origin)).as_bytes()))
                })
            }
            Command::Config(Config { command: ConfigCommand::Check(CheckConfig { connect: true, .. }), .. }) => {
                let mut out = output_writer(target);
                blocking_command::until_signal(signals, move || config_check::run(&loaded.settings, &logger, &mut out))
            }
            Command::Config(Config { command: ConfigCommand::Check(_), .. }) => {
                ExitStatus::clean("the settings are in order")
            }
            // Handled before the log was started.
            #[cfg(feature = "top")]
            Command::Top(_) => ExitStatus::new(ExitCode::Usage, "`top` has no settings"),
            Command::Worker(_) => ExitStatus::new(ExitCode::Usage, "workers are started by `consume`, not by hand"),
        };
        (exit, Closing::default())
    }

    fn produce(
        self,
        settings: Settings,
        stage: &RunContext,
        draft: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> ExitStatus {
        let run = settings.producer.stamp.then(rand::random);
        let order = match self.producer_params(Arc::new(settings), run, coordinator::Brokers::Kafka, stage) {
            Ok(order) => order,
            Err(exit) => return exit,
        };
        let outcome = System::new().block_on(async move {
            let (coordinator, outcome) = ProducerCoordinator::start(order);
            signals.forward_all(coordinator.recipient());
            outcome.await.map_err(|_| actor_died())
        });
        match outcome {
            Ok(outcome) => {
                run_summary::missed_rate(&outcome.report).iter().for_each(|text| warn!(stage.logger, "{text}"));
                draft.produce = Some(outcome.report);
                outcome.exit
            }
            Err(exit) => exit,
        }
    }

    fn dry_run(self, mut settings: Settings, count: u64, out: &mut dyn Write) -> ExitStatus {
        choose_seed(&mut settings.producer);
        let run = settings.producer.stamp.then(rand::random);
        match message_builder::generator(&settings.producer, self.generator) {
            Ok(generator) => dry_run::run(&settings.producer, &*generator, run, count, out),
            Err(problem) => ExitStatus::new(ExitCode::Usage, problem),
        }
    }

    fn producer_params(
        self,
        mut settings: Arc<Settings>,
        run: Option<u64>,
        brokers: coordinator::Brokers,
        stage: &RunContext,
    ) -> Result<coordinator::ProducerParams, ExitStatus> {
        choose_seed(&mut Arc::make_mut(&mut settings).producer);
        let generator = message_builder::generator(&settings.producer, self.generator)
            .map_err(|problem| ExitStatus::new(ExitCode::Usage, problem))?;
        Ok(coordinator::ProducerParams {
            generator,
            run,
            outcomes: None,
            brokers,
            registry: stage.registry.clone(),
            progress: ProduceProgress::new(&stage.screen, &stage.logger, settings.producer.threads),
            logger: stage.logger.clone(),
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

/// Prints clap's error, which repeats the wrong arguments, without credentials and colours.
fn print_usage_error(error: &clap::Error) -> std::io::Result<()> {
    let text = error.render().to_string();
    let masked = settings::mask_logins(&text);
    if masked == text {
        return error.print();
    }
    std::io::stderr().write_all(masked.as_bytes())
}

/// What a running command uses.
struct RunContext {
    screen: Console,
    style: LogStyle,
    logger: Logger,
    /// The status registry.
    registry: StatusRegistry,
}

impl RunContext {
    /// Serves the status over HTTP if `monitoring.listen` is set, until the server is dropped.
    #[cfg(feature = "monitoring")]
    fn serve(&self, command: &Command, loaded: &LoadedSettings) -> Result<Option<StatusServer>, ExitStatus> {
        let address = loaded.settings.monitoring.listen.filter(|_| command.is_long_running());
        let origin = loaded.origin("monitoring.listen").to_string();
        address.map(|address| StatusServer::start(self.registry.clone(), address, &origin, &self.logger)).transpose()
    }

    /// Rejects `monitoring.listen`: this build has no HTTP server.
    #[cfg(not(feature = "monitoring"))]
    fn serve(&self, _: &Command, loaded: &LoadedSettings) -> Result<(), ExitStatus> {
        match loaded.settings.monitoring.listen {
            None => Ok(()),
            Some(address) => Err(ExitStatus::new(
                ExitCode::Usage,
                format!("monitoring.listen = {address}: this build has no HTTP server (feature \"monitoring\")"),
            )),
        }
    }

    /// Prints lines for the user; with a machine-readable log format each is a log line.
    fn print(&self, text: &str) {
        match (self.style.format, self.style.level) {
            (LogFormat::Json, _) => {
                text.lines()
                    .filter(|line| !line.trim().is_empty())
                    .for_each(|line| info!(self.logger, "{}", line.trim()));
            }
            (LogFormat::Terminal, LogLevel::Error) => {}
            (LogFormat::Terminal, _) => self.screen.print_line(text.as_bytes()),
        }
    }
}

#[cfg(feature = "top")]
fn run_top(command: &Top, cli: &Cli, screen: &Console, target: &ReportSink, signals: SignalHandler) -> ExitStatus {
    if cli.config.is_some() || !cli.set.is_empty() {
        screen.print_line(b"kafka-actors: `top` reads no settings: --config and --set change nothing\n");
        // Before the terminal switches to the alternate screen.
        screen.finish();
    }
    // A terminal stops a background job that reads keys, as for other programs.
    signal_mask::restore_original();
    let stderr = || Box::new(std::io::stderr()) as Box<dyn Write + Send>;
    let exit = top::run(&command.url, matches!(target, ReportSink::Stdout).then(stderr), signals);
    if !exit.is_clean() {
        log_exit(screen, &exit);
    }
    exit
}

fn consume(settings: Settings, stage: &RunContext, draft: &mut ReportBuilder, signals: SignalHandler) -> ExitStatus {
    let order = consumer_params(Arc::new(settings), false, MessageLog::All, stage);
    let outcome = System::new().block_on(async move {
        let (supervisor, outcome) = supervisor::ConsumerSupervisor::start(order);
        signals.forward_all(supervisor.recipient());
        outcome.await.map_err(|_| actor_died())
    });
    match outcome {
        Ok(outcome) => {
            run_summary::skipped_messages(&outcome.report).iter().for_each(|text| warn!(stage.logger, "{text}"));
            let exit = run_summary::with_skipped(outcome.exit, &outcome.report);
            draft.consume = Some(outcome.report);
            exit
        }
        Err(exit) => exit,
    }
}

fn consumer_params(
    settings: Arc<Settings>,
    finite: bool,
    message_log: MessageLog,
    stage: &RunContext,
) -> supervisor::SupervisorParams {
    supervisor::SupervisorParams {
        finite,
        message_log,
        observer: None,
        history: None,
        run: None,
        starts: None,
        registry: stage.registry.clone(),
        screen: stage.screen.clone(),
        style: stage.style,
        progress: ConsumeProgress::new(&stage.screen, &stage.logger, settings.consumer.processes),
        logger: stage.logger.clone(),
        settings,
    }
}

fn actor_died() -> ExitStatus {
    ExitStatus::failed("internal error: the orchestrator stopped unexpectedly")
}

/// The command's output: stdout, or stderr if the report goes to stdout.
fn output_writer(target: &ReportSink) -> Box<dyn Write + Send> {
    match target {
        ReportSink::Stdout => Box::new(std::io::stderr()),
        _ => Box::new(std::io::stdout()),
    }
}

/// The closing output.
#[derive(Default)]
struct Closing {
    text: String,
    /// The output if a later step failed.
    after_failure: String,
}

impl Closing {
    /// A line of totals.
    fn line(totals: Option<String>) -> Self {
        Self::new(&ExitStatus::clean(""), |_| totals.iter().map(|totals| format!("\n  {totals}\n")).collect())
    }

    /// The output of `summary` for this exit status.
    fn new(exit: &ExitStatus, summary: impl Fn(&ExitStatus) -> String) -> Self {
        Self { text: summary(exit), after_failure: summary(&ExitStatus::failed("")) }
    }

    fn text(&self, exit: &ExitStatus) -> &str {
        if exit.is_clean() { &self.text } else { &self.after_failure }
    }
}

/// Prints an exit reason before there is a log.
fn log_exit(screen: &Console, exit: &ExitStatus) -> ExitCode {
    // The settings file may be untrusted.
    screen.print_line(format!("kafka-actors: {}\n", escape::lines(&exit.reason)).as_bytes());
    exit.code
}
