//! The program: command line, settings, log, one command, report, exit code.
//!
//! - `produce`, `consume`, `verify` (also `demo`), `topics`, `config_check`: the commands. `demo`: the settings and the summary of the demo.
//! - `context`: what every running command uses. `latency_output`: the latencies at the end of a command.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use slog::{debug, error, info, warn};

use crate::blocking_command::{self, Stop};
#[cfg(feature = "top")]
use crate::cli::Top;
use crate::cli::{CheckConfig, Cli, Command, Config, ConfigCommand, Produce, ShowConfig};
use crate::console::Console;
use crate::consumer::worker;
use crate::dlq;
use crate::exit::{ExitCode, ExitStatus};
use crate::generator::{Generator, generate_message};
use crate::kafka;
use crate::logging::{self, LogStyle};
use crate::monitoring::status::Phase;
use crate::monitoring::status_registry::StatusRegistry;
use crate::os::{limits, signal_mask, temp_dir};
use crate::processor::{BUILT_IN, CUSTOM_PROCESSOR, ProcessError, Processor, ProcessorFactory, WorkerContext};
use crate::report::{ReportBuilder, ReportSink};
use crate::run_summary;
use crate::settings::{self, LoadOptions, LoadedSettings};
use crate::signals::{Role, SignalHandler};
#[cfg(feature = "top")]
use crate::top;
use crate::util::{escape, panic};

mod config_check;
mod consume;
mod context;
#[cfg(feature = "verify")]
mod demo;
mod latency_output;
mod produce;
mod topics;
#[cfg(feature = "verify")]
mod verify;

use context::{Closing, RunContext};

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
    pub fn processor_with<F>(mut self, create: F) -> Self
    where
        F: Fn(&WorkerContext) -> Result<Box<dyn Processor>, ProcessError> + Send + Sync + 'static,
    {
        self.processor = Some(Arc::new(create));
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
        match Cli::try_parse_from(std::env::args_os()) {
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
        panic::abort_on_panic();
        if let Command::Worker(worker) = &cli.command {
            return worker::run(worker.slot, self.processor);
        }
        let role = if cli.command.has_workers() { Role::Supervisor } else { Role::Alone };
        let signals = SignalHandler::start(role);
        let console = Console::start(!cli.quiet);
        let code = match signals {
            Ok(signals) => self.with_console(cli, &console, signals),
            Err(error) => log_exit(
                &console,
                &ExitStatus::failed(format!("signals cannot be received: {}", limits::named(&error))),
            ),
        };
        console.finish();
        code
    }

    fn with_console(self, cli: &Cli, console: &Console, signals: SignalHandler) -> ExitCode {
        let mut sink = match ReportSink::open(cli.report.as_deref().map(Path::new)) {
            Ok(sink) => sink,
            Err(exit) => return log_exit(console, &exit),
        };
        let mut report = ReportBuilder::new(cli.command.name());
        let exit = match &cli.command {
            // `top` shows another run: it reads no settings and logs nothing.
            #[cfg(feature = "top")]
            Command::Top(command) => run_top(command, cli, console, &sink, signals),
            _ => self.with_settings(cli, console, &sink, &mut report, signals),
        };
        let code = exit.code;
        match sink.write(&report.finish(exit)) {
            Ok(()) => code,
            Err(error) => {
                log_exit(console, &ExitStatus::failed(format!("--report: the report could not be written: {error}")));
                if code == ExitCode::Success { ExitCode::Failed } else { code }
            }
        }
    }

    fn with_settings(
        self,
        cli: &Cli,
        console: &Console,
        sink: &ReportSink,
        report: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> ExitStatus {
        let threads = limits::check_threads(THREADS, &format!("`{}`", cli.command.name())).map_err(ExitStatus::failed);
        match threads.and_then(|()| self.load(cli)) {
            Ok(loaded) => self.command(cli, loaded, console, sink, report, signals),
            Err(exit) => {
                log_exit(console, &exit);
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
        console: &Console,
        sink: &ReportSink,
        report: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> ExitStatus {
        let style = LogStyle::new(&loaded.settings.logging);
        let (logger, _written_at_the_end) = logging::asynchronous(style, console);
        match loaded.file() {
            Some(path) => info!(logger, "settings file"; "file" => %path.display()),
            None => debug!(logger, "no settings file: neither --config nor ./Settings.toml"),
        }
        if cli.command.connects() {
            report.security.warnings = loaded.settings.security_warnings();
            report.security.warnings.iter().for_each(|text| warn!(logger, "{text}"));
        }
        if cli.command.is_long_running() {
            temp_dir::remove_stale();
        }
        let registry = StatusRegistry::new(cli.command.name(), &loaded.settings);
        let context = RunContext { console: console.clone(), style, logger: logger.clone(), registry };
        let opened = latency_output::open(&cli.command, &loaded)
            .and_then(|file| Ok((file, context.serve(&cli.command, &loaded)?)));
        let exit = match opened {
            Ok((mut file, _server)) => {
                let (exit, closing) = self.dispatch(cli, loaded, &context, sink, report, signals);
                context.registry.phase(Phase::Ended, &exit.reason);
                let exit = latency_output::print_and_write(&mut file, report, &context, exit);
                context.print(closing.text(&exit));
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
        context: &RunContext,
        sink: &ReportSink,
        report: &mut ReportBuilder,
        signals: SignalHandler,
    ) -> (ExitStatus, Closing) {
        let logger = context.logger.clone();
        let exit = match &cli.command {
            #[cfg(feature = "verify")]
            Command::Demo(demo) => return self.demo(demo, loaded, context, report, signals),
            #[cfg(feature = "verify")]
            Command::Verify(verify) => return self.verify(verify, loaded, context, report, signals),
            Command::Produce(Produce { dry_run: Some(count), .. }) => {
                let (count, mut out) = (*count, output_writer(sink));
                blocking_command::until_signal(signals, move || self.dry_run(loaded.settings, count, &mut out))
            }
            Command::Produce(_) => {
                let exit = self.produce(loaded.settings, context, report, signals);
                return (exit, Closing::line(report.produce.as_ref().and_then(run_summary::produced)));
            }
            Command::Consume(_) => {
                let exit = consume::consume(loaded.settings, context, report, signals);
                return (exit, Closing::line(report.consume.as_ref().and_then(run_summary::consumed)));
            }
            Command::Topics(command) => {
                let (command, mut out) = (command.command.clone(), output_writer(sink));
                blocking_command::until_signal(signals, move || {
                    topics::run(&command, &loaded.settings, &logger, &mut out)
                })
            }
            Command::Dlq(command) => {
                let (command, mut out) = (command.command.clone(), output_writer(sink));
                let deadline = loaded.settings.shutdown.timeout;
                let work = move |stop: &Stop| {
                    let mut replay = None;
                    let exit = dlq::run(&command, &loaded.settings, &logger, &mut out, &mut replay, stop);
                    (exit, replay)
                };
                match blocking_command::until_stopped(signals, deadline, &context.logger, work) {
                    Ok((exit, replay)) => {
                        report.replay = replay;
                        exit
                    }
                    Err(exit) => exit,
                }
            }
            Command::Config(Config { command: ConfigCommand::Show(ShowConfig { origin }) }) => {
                let (origin, mut out) = (*origin, output_writer(sink));
                blocking_command::until_signal(signals, move || {
                    ExitStatus::from_stdout_result(out.write_all(escape::lines(&loaded.show(origin)).as_bytes()))
                })
            }
            Command::Config(Config { command: ConfigCommand::Check(CheckConfig { connect: true }) }) => {
                let mut out = output_writer(sink);
                blocking_command::until_signal(signals, move || config_check::run(&loaded.settings, &logger, &mut out))
            }
            Command::Config(Config { command: ConfigCommand::Check(_) }) => {
                ExitStatus::clean("the settings are in order")
            }
            // Handled before the log was started.
            #[cfg(feature = "top")]
            Command::Top(_) => ExitStatus::new(ExitCode::Usage, "`top` has no settings"),
            Command::Worker(_) => ExitStatus::new(ExitCode::Usage, "workers are started by `consume`, not by hand"),
        };
        (exit, Closing::default())
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

#[cfg(feature = "top")]
fn run_top(command: &Top, cli: &Cli, console: &Console, sink: &ReportSink, signals: SignalHandler) -> ExitStatus {
    if cli.config.is_some() || !cli.set.is_empty() {
        console.print_line(b"kafka-actors: `top` reads no settings: --config and --set change nothing\n");
        // Before the terminal switches to the alternate screen.
        console.finish();
    }
    // A terminal stops a background job that reads keys, as for other programs.
    signal_mask::restore_original();
    let stderr = || Box::new(std::io::stderr()) as Box<dyn Write + Send>;
    let exit = top::run(&command.url, matches!(sink, ReportSink::Stdout).then(stderr), signals);
    if !exit.is_clean() {
        log_exit(console, &exit);
    }
    exit
}

/// The command's output: stdout, or stderr if the report goes to stdout.
fn output_writer(sink: &ReportSink) -> Box<dyn Write + Send> {
    match sink {
        ReportSink::Stdout => Box::new(std::io::stderr()),
        _ => Box::new(std::io::stdout()),
    }
}

/// Prints an exit reason before there is a log.
fn log_exit(console: &Console, exit: &ExitStatus) -> ExitCode {
    // The settings file may be untrusted.
    console.print_line(format!("kafka-actors: {}\n", escape::lines(&exit.reason)).as_bytes());
    exit.code
}
