//! The whole program: command line, settings, log, one command, report, exit code.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use actix::System;
use clap::Parser;
use slog::{Logger, error, info};

use crate::cli::{Cli, Command, Config, ConfigCommand, Produce, ShowConfig, Top};
use crate::consumer::supervisor::actor as supervisor;
use crate::consumer::worker;
use crate::dlq;
use crate::exit::{Exit, ExitCode};
use crate::kafka;
use crate::logging::{self, Style};
use crate::message::{Generator, generate_message};
use crate::monitoring::board::Board;
use crate::monitoring::server::StatusServer;
use crate::monitoring::status::Phase;
use crate::panics;
use crate::processing::{BUILT_IN, Failure, OWN, Processor, ProcessorFactory, WorkerContext};
use crate::producer::coordinator::{self, ProducerCoordinator};
use crate::producer::{dry_run, maker};
use crate::progress::{ConsumeProgress, ProduceProgress};
use crate::report::{Draft, Target};
use crate::screen::Screen;
use crate::settings::{self, Inputs, Loaded, LogFormat, LogLevel, Settings};
use crate::shutdown::{self, Second, Signals};
use crate::{top, topics};

mod latencies;
mod proven;

/// The program, with what a user has put in. See the [crate's text](crate) for a whole `main.rs`.
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
    /// The program as it comes: [`generate_message`] and the built-in processors.
    pub fn new() -> Self {
        Self { generator: Box::new(generate_message), processor: None, defaults: Vec::new() }
    }

    /// Sends what `generator` makes.
    #[must_use]
    pub fn generator(mut self, generator: impl Generator) -> Self {
        self.generator = Box::new(generator);
        self
    }

    /// Processes messages with a clone of `processor` in each worker, unless `consumer.processor` names a built-in.
    #[must_use]
    pub fn processor<P: Processor + Clone + Send + Sync>(self, processor: P) -> Self {
        self.processor_with(move |_| Ok(Box::new(processor.clone())))
    }

    /// The same for a processor that is made in its worker: one that opens a connection, say, or logs.
    #[must_use]
    pub fn processor_with<F>(mut self, make: F) -> Self
    where
        F: Fn(&WorkerContext) -> Result<Box<dyn Processor>, Failure> + Send + Sync + 'static,
    {
        self.processor = Some(Arc::new(make));
        self.default_setting("consumer.processor", OWN)
    }

    /// Changes a setting's default; the user's file, environment and flags go before it.
    #[must_use]
    pub fn default_setting(mut self, key: &str, value: &str) -> Self {
        self.defaults.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Runs the command line of this process. To be called from `main`, first thing and on the main thread: workers
    /// are this same binary, started anew.
    pub fn run(self) -> std::process::ExitCode {
        match Cli::try_parse() {
            Ok(cli) => self.execute(&cli).into(),
            Err(error) => {
                // Help and version are no errors to clap either: they go to stdout with exit code 0.
                let _closed = error.print();
                std::process::ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ExitCode::Usage as u8))
            }
        }
    }

    fn execute(self, cli: &Cli) -> ExitCode {
        if let Command::Worker(worker) = &cli.command {
            panics::abort_on_panic();
            return worker::run(worker.slot, self.processor);
        }
        panics::abort_on_panic();
        let screen = Screen::start(!cli.quiet);
        let code = self.on_screen(cli, &screen);
        screen.finish();
        code
    }

    fn on_screen(self, cli: &Cli, screen: &Screen) -> ExitCode {
        let mut target = match Target::open(cli.report.as_deref().map(Path::new)) {
            Ok(target) => target,
            Err(exit) => return say(screen, &exit),
        };
        let mut draft = Draft::new(cli.command.name());
        let exit = match &cli.command {
            // Somebody else's run is watched: no settings of this one, and nothing is logged.
            Command::Top(command) => watch(command, cli, screen, &target),
            _ => self.with_settings(cli, screen, &target, &mut draft),
        };
        let code = exit.code;
        match target.write(&draft.finish(exit)) {
            Ok(()) => code,
            Err(error) => {
                say(screen, &Exit::failed(format!("--report: the report could not be written: {error}")));
                if code == ExitCode::Clean { ExitCode::Failed } else { code }
            }
        }
    }

    fn with_settings(self, cli: &Cli, screen: &Screen, target: &Target, draft: &mut Draft) -> Exit {
        match self.load(cli) {
            Ok(loaded) => self.command(cli, loaded, screen, target, draft),
            Err(exit) => {
                say(screen, &exit);
                exit
            }
        }
    }

    fn load(&self, cli: &Cli) -> Result<Loaded, Exit> {
        let loaded = settings::load(self.inputs(cli)).map_err(|error| Exit::new(ExitCode::Usage, error.to_string()))?;
        kafka::check(&loaded.settings)?;
        Ok(loaded)
    }

    fn inputs(&self, cli: &Cli) -> Inputs {
        let own = self.processor.is_some().then_some(OWN);
        Inputs {
            config_file: cli.config.clone(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
                .collect(),
            sets: cli.set.clone(),
            flags: cli.flags(),
            program: self.defaults.clone(),
            processors: BUILT_IN.iter().copied().chain(own).map(str::to_owned).collect(),
        }
    }

    /// Runs the command with a log, and says how it ended.
    fn command(self, cli: &Cli, loaded: Loaded, screen: &Screen, target: &Target, draft: &mut Draft) -> Exit {
        let style = Style::new(&loaded.settings.logging);
        let (logger, _written_at_the_end) = logging::asynchronous(style, screen);
        let board = Board::new(cli.command.name(), &loaded.settings.monitoring);
        let stage = Stage { screen: screen.clone(), style, logger: logger.clone(), board };
        let opened =
            latencies::open(&cli.command, &loaded).and_then(|file| Ok((file, stage.serve(&cli.command, &loaded)?)));
        let exit = match opened {
            Ok((mut file, _server)) => {
                let (exit, closing) = self.dispatch(cli, loaded, &stage, target, draft);
                stage.board.phase(Phase::Ended, &exit.reason);
                let exit = latencies::tell(&mut file, draft, &stage, exit);
                stage.show(&closing);
                exit
            }
            Err(exit) => exit,
        };
        match exit.code {
            ExitCode::Clean if exit.says_nothing() => {}
            ExitCode::Clean => info!(logger, "done: {}", exit.reason),
            _ => error!(logger, "{}", exit.reason),
        }
        exit
    }

    /// Runs the command; how it ended, and what is to be shown after everything else.
    fn dispatch(self, cli: &Cli, loaded: Loaded, stage: &Stage, target: &Target, draft: &mut Draft) -> (Exit, String) {
        let exit = match &cli.command {
            Command::Demo(demo) => return self.demo(loaded, demo.partitions, stage, draft),
            Command::Verify(verify) => return self.verify(verify, loaded, stage, draft),
            Command::Produce(Produce { dry_run: Some(count), .. }) => {
                self.dry_run(loaded.settings, *count, &mut product(target))
            }
            Command::Produce(_) => self.produce(loaded.settings, stage, draft),
            Command::Consume(_) => consume(loaded.settings, stage, draft),
            Command::Topics(command) => {
                topics::run(&command.command, &loaded.settings, &stage.logger, &mut product(target))
            }
            Command::Dlq(command) => {
                dlq::run(&command.command, &loaded.settings, &stage.logger, &mut product(target), &mut draft.replay)
            }
            Command::Config(Config { command: ConfigCommand::Show(ShowConfig { origin, .. }), .. }) => {
                Exit::shown(product(target).write_all(loaded.show(*origin).as_bytes()))
            }
            Command::Config(Config { command: ConfigCommand::Check(_), .. }) => {
                Exit::clean("the settings are in order")
            }
            // Dealt with before there was a log.
            Command::Top(_) => Exit::new(ExitCode::Usage, "`top` has no settings"),
            Command::Worker(_) => Exit::new(ExitCode::Usage, "workers are started by `consume`, not by hand"),
        };
        (exit, String::new())
    }

    fn produce(self, settings: Settings, stage: &Stage, draft: &mut Draft) -> Exit {
        let run = settings.producer.stamp.then(rand::random);
        let order = match self.producing(Arc::new(settings), run, None, stage) {
            Ok(order) => order,
            Err(exit) => return exit,
        };
        let outcome = System::new().block_on(async move {
            let (coordinator, outcome) = ProducerCoordinator::start(order);
            shutdown::forward_signals(coordinator.recipient(), Second::AtOnce).map_err(|error| no_signals(&error))?;
            outcome.await.map_err(|_| vanished())
        });
        match outcome {
            Ok(outcome) => {
                draft.produce = Some(outcome.report);
                outcome.exit
            }
            Err(exit) => exit,
        }
    }

    fn dry_run(self, mut settings: Settings, count: u64, out: &mut dyn Write) -> Exit {
        choose_seed(&mut settings.producer);
        let run = settings.producer.stamp.then(rand::random);
        match maker::generator(&settings.producer, self.generator) {
            Ok(generator) => dry_run::run(&settings.producer, &*generator, run, count, out),
            Err(problem) => Exit::new(ExitCode::Usage, problem),
        }
    }

    fn producing(
        self,
        mut settings: Arc<Settings>,
        run: Option<u64>,
        unread_limit: Option<u64>,
        stage: &Stage,
    ) -> Result<coordinator::Order, Exit> {
        choose_seed(&mut Arc::make_mut(&mut settings).producer);
        let generator = maker::generator(&settings.producer, self.generator)
            .map_err(|problem| Exit::new(ExitCode::Usage, problem))?;
        Ok(coordinator::Order {
            generator,
            run,
            outcomes: None,
            unread_limit,
            board: stage.board.clone(),
            progress: ProduceProgress::new(&stage.screen, &stage.logger, settings.producer.threads),
            logger: stage.logger.clone(),
            settings,
        })
    }
}

/// A seed for a run that was given none: small enough to be typed, and for every reader of JSON.
fn choose_seed(producer: &mut settings::Producer) {
    if producer.seed == 0 {
        producer.seed = u64::from(rand::random_range(1..=u32::MAX));
    }
}

/// Where a command shows itself.
struct Stage {
    screen: Screen,
    style: Style,
    logger: Logger,
    /// Where the run's status is put up.
    board: Board,
}

impl Stage {
    /// Serves the status of a run, if that is wanted, until the server is dropped.
    fn serve(&self, command: &Command, loaded: &Loaded) -> Result<Option<StatusServer>, Exit> {
        let address = loaded.settings.monitoring.listen.filter(|_| command.is_run());
        let origin = loaded.origin("monitoring.listen").to_string();
        address.map(|address| StatusServer::start(self.board.clone(), address, &origin, &self.logger)).transpose()
    }

    /// Shows lines to people; in a log for machines, each is a log line.
    fn show(&self, text: &str) {
        match (self.style.format, self.style.level) {
            (LogFormat::Json, _) => {
                text.lines()
                    .filter(|line| !line.trim().is_empty())
                    .for_each(|line| info!(self.logger, "{}", line.trim()));
            }
            (LogFormat::Terminal, LogLevel::Error) => {}
            (LogFormat::Terminal, _) => self.screen.say(text.as_bytes()),
        }
    }
}

fn watch(command: &Top, cli: &Cli, screen: &Screen, target: &Target) -> Exit {
    if cli.config.is_some() || !cli.set.is_empty() {
        screen.say(b"kafka-actors: `top` reads no settings: --config and --set change nothing\n");
        // Before the terminal is another one.
        screen.finish();
    }
    let mut stderr = std::io::stderr();
    let exit = top::run(&command.url, matches!(target, Target::Stdout).then_some(&mut stderr));
    if !exit.is_clean() {
        say(screen, &exit);
    }
    exit
}

fn consume(settings: Settings, stage: &Stage, draft: &mut Draft) -> Exit {
    let order = consuming(Arc::new(settings), false, true, stage);
    let outcome = System::new().block_on(async move {
        let (supervisor, outcome) = supervisor::ConsumerSupervisor::start(order);
        let signals =
            Signals::install(Second::AtOnce).and_then(Signals::with_wishes).map_err(|error| no_signals(&error))?;
        signals.forward_all(supervisor.recipient());
        outcome.await.map_err(|_| vanished())
    });
    match outcome {
        Ok(outcome) => {
            draft.consume = Some(outcome.report);
            outcome.exit
        }
        Err(exit) => exit,
    }
}

fn consuming(settings: Arc<Settings>, finite: bool, log_messages: bool, stage: &Stage) -> supervisor::Order {
    supervisor::Order {
        finite,
        log_messages,
        observer: None,
        journal: None,
        starts: None,
        board: stage.board.clone(),
        screen: stage.screen.clone(),
        style: stage.style,
        progress: ConsumeProgress::new(&stage.screen, &stage.logger, settings.consumer.processes),
        logger: stage.logger.clone(),
        settings,
    }
}

fn no_signals(error: &std::io::Error) -> Exit {
    Exit::failed(format!("signals cannot be received: {error}"))
}

fn vanished() -> Exit {
    Exit::failed("the actor that the command hung on is gone without a word")
}

/// Where a command's own product goes: stdout, unless the report is there.
fn product(target: &Target) -> Box<dyn Write> {
    match target {
        Target::Stdout => Box::new(std::io::stderr()),
        _ => Box::new(std::io::stdout()),
    }
}

/// For ends before there is a log.
fn say(screen: &Screen, exit: &Exit) -> ExitCode {
    screen.say(format!("kafka-actors: {}\n", exit.reason).as_bytes());
    exit.code
}
