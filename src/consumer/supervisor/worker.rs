//! A slot and the processes that filled it, one after the other.

use std::time::{Instant, SystemTime};

use actix::Addr;

use super::link::{Say, WorkerLink};
use super::policy::{Death, History};
use crate::consumer::control::ToWorker;
use crate::os::child::{Ended, WorkerProcess};
use crate::report::{RestartReport, WorkerReport};

/// A worker, whichever process it is at the moment.
#[derive(Default)]
pub(super) struct Worker {
    /// The process, from its start until it is reaped and its channel is closed.
    pub(super) running: Option<Running>,
    /// A restart is due.
    pub(super) pausing: bool,
    pub(super) history: History,
    /// Granted to the current process.
    pub(super) granted: u64,
    pids: Vec<u32>,
    restarts: Vec<RestartReport>,
}

/// A process and its channel.
pub(super) struct Running {
    pub(super) process: WorkerProcess,
    pub(super) link: Addr<WorkerLink>,
    pub(super) since: Instant,
    pub(super) ready: bool,
    pub(super) end_reached: bool,
    /// It has committed and closed everything.
    pub(super) finished: bool,
    /// It has said that it cannot go on: why, and whether a restart would end the same way.
    pub(super) broken: Option<(String, bool)>,
    /// Nothing more will come from its channel.
    pub(super) silent: bool,
    ended: Option<Ended>,
}

impl Worker {
    /// A process has been started.
    pub(super) fn begin(&mut self, process: WorkerProcess, link: Addr<WorkerLink>) {
        self.pids.push(process.pid());
        (self.pausing, self.granted) = (false, 0);
        self.running = Some(Running {
            process,
            link,
            since: Instant::now(),
            ready: false,
            end_reached: false,
            finished: false,
            broken: None,
            silent: false,
            ended: None,
        });
    }

    /// Says something to the process, if there is one.
    pub(super) fn say(&self, frame: ToWorker) {
        if let Some(running) = &self.running {
            running.link.do_send(Say(frame));
        }
    }

    /// The process that `pid` is, if it is the current one.
    pub(super) fn process(&mut self, pid: u32) -> Option<&mut Running> {
        self.running.as_mut().filter(|running| running.process.pid() == pid)
    }

    /// Whether the process is over: reaped, and everything that it said has been heard.
    ///
    /// # Errors
    /// As the operating system says; none is expected.
    pub(super) fn take_ended(&mut self) -> std::io::Result<Option<(Running, Ended)>> {
        let Some(running) = &mut self.running else { return Ok(None) };
        if running.ended.is_none() {
            running.ended = running.process.try_reap()?;
        }
        match running.ended {
            Some(ended) if running.silent => Ok(self.running.take().map(|running| (running, ended))),
            _ => Ok(None),
        }
    }

    /// Notes why it is started again.
    pub(super) fn restarting(&mut self, cause: String, uptime: f64) {
        self.pausing = true;
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        self.restarts.push(RestartReport { cause, at, uptime });
    }

    /// Whether it reads or stands by.
    pub(super) fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.ready)
    }

    /// Whether it has read all that it was to read.
    pub(super) fn is_at_end(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.end_reached)
    }

    /// For people: its process, or why there is none.
    pub(super) fn describe(&self) -> String {
        match &self.running {
            Some(running) => format!("pid {}", running.process.pid()),
            None if self.pausing => "starting again".to_owned(),
            None => "ended".to_owned(),
        }
    }

    /// For the report.
    pub(super) fn report(&self, slot: usize) -> WorkerReport {
        WorkerReport { slot, pids: self.pids.clone(), restarts: self.restarts.clone() }
    }
}

impl Running {
    /// What the policy has to know.
    pub(super) fn death(&self, expected: bool) -> Death {
        let lasting = self.broken.as_ref().is_some_and(|(_, lasting)| *lasting);
        Death { uptime: self.since.elapsed(), expected, lasting }
    }

    /// How it ended, with its own last words.
    pub(super) fn cause(&self, ended: Ended) -> String {
        match &self.broken {
            Some((reason, _)) => format!("{ended}: {reason}"),
            None => ended.to_string(),
        }
    }
}
