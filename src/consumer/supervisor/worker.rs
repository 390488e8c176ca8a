//! A slot and the processes that filled it, one after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use actix::Addr;

use super::link::{Say, WorkerLink};
use super::log_pipe::LastLines;
use crate::consumer::control::ToWorker;
use crate::kafka::statistics::ClientStatus;
use crate::monitoring::status::{WorkerState, WorkerStatus};
use crate::os::child::{Ended, WorkerProcess};
use crate::record::TopicPartition;
use crate::report::{RestartReport, WorkerReport};

/// How many deaths and processes of a worker are remembered in full: a record may have kilobytes.
const REMEMBERED: usize = 1_000;

/// A worker, whichever process it is at the moment.
#[derive(Default)]
pub(super) struct Worker {
    /// The process, from its start until it is reaped and its channel is closed.
    pub(super) running: Option<Running>,
    /// Grows with each start that is under way, and with each that is called off: an answer that belongs to an earlier one
    /// starts nothing.
    pub(super) attempt: u32,
    /// Its next process is started when the brokers have said where.
    pub(super) resuming: bool,
    /// Granted to the current process.
    pub(super) granted: u64,
    /// Messages that all its processes have dealt with.
    pub(super) dealt_with: u64,
    /// The last ones.
    restarts: VecDeque<RestartReport>,
    /// All of them, by kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// Of the last processes.
    pids: VecDeque<u32>,
    /// Of processes that are gone, in seconds.
    cpu_before: f64,
}

/// A process and its channel.
pub(super) struct Running {
    pub(super) process: WorkerProcess,
    pub(super) link: Addr<WorkerLink>,
    pub(super) log: LastLines,
    pub(super) since: Instant,
    pub(super) ready: bool,
    pub(super) end_reached: bool,
    /// It has committed and closed everything.
    pub(super) finished: bool,
    /// It has said that it cannot go on: why, and whether a restart would end the same way.
    pub(super) broken: Option<(String, bool)>,
    /// A message in hand may have done that.
    pub(super) crashed: bool,
    /// Nothing more will come from its channel.
    pub(super) silent: bool,
    /// Partitions that it was told to read.
    pub(super) given: BTreeSet<TopicPartition>,
    pub(super) dealt_with: u64,
    /// As last seen, in MiB.
    pub(super) resident: Option<u64>,
    /// As last seen, in seconds.
    pub(super) cpu: f64,
    /// What its Kafka client has counted.
    pub(super) counted: Option<ClientStatus>,
    ended: Option<(Ended, Instant)>,
}

/// How long the last lines of a dead process are waited for: whatever it has forked, and has left its group, may hold its
/// stderr open.
const LAST_LINES: Duration = Duration::from_millis(300);
/// And its last words on the channel, which say what it has committed; likewise.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Worker {
    /// A process has been started.
    pub(super) fn begin(
        &mut self,
        process: WorkerProcess,
        link: Addr<WorkerLink>,
        log: LastLines,
        given: BTreeSet<TopicPartition>,
    ) {
        remember(&mut self.pids, process.pid());
        self.resuming = false;
        self.granted = 0;
        self.running = Some(Running {
            process,
            link,
            log,
            since: Instant::now(),
            ready: false,
            end_reached: false,
            finished: false,
            broken: None,
            crashed: false,
            silent: false,
            given,
            dealt_with: 0,
            resident: None,
            cpu: 0.0,
            counted: None,
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

    /// Whether the process is over: reaped, and everything that it said and logged has been heard.
    ///
    /// # Errors
    /// As the operating system says; none is expected.
    pub(super) fn take_ended(&mut self) -> std::io::Result<Option<(Running, Ended)>> {
        let Some(running) = &mut self.running else { return Ok(None) };
        if running.ended.is_none() {
            running.ended = running.process.try_reap()?.map(|ended| (ended, Instant::now()));
        }
        match running.ended {
            Some((ended, at))
                if running.silent && (running.log.is_complete() || at.elapsed() >= LAST_LINES)
                    || at.elapsed() >= LAST_WORDS =>
            {
                self.cpu_before += running.cpu;
                Ok(self.running.take().map(|running| (running, ended)))
            }
            _ => Ok(None),
        }
    }

    /// Whether it reads or stands by.
    pub(super) fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.ready)
    }

    /// Whether it has read all that it was to read.
    pub(super) fn is_at_end(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.end_reached)
    }

    /// It has dealt with so many messages more.
    pub(super) fn deal_with(&mut self, messages: u64) {
        self.dealt_with += messages;
        if let Some(running) = &mut self.running {
            running.dealt_with += messages;
        }
    }

    /// For the status; what its state is and how many partitions it has is known elsewhere.
    pub(super) fn status(&self, slot: usize, state: WorkerState, partitions: usize) -> WorkerStatus {
        let running = self.running.as_ref();
        WorkerStatus {
            slot,
            state,
            pid: running.map(|running| running.process.pid()),
            uptime_seconds: running.map(|running| running.since.elapsed().as_secs_f64()),
            resident_bytes: running.and_then(|running| running.resident).map(|mib| mib << 20),
            cpu_seconds: self.cpu_before + running.map_or(0.0, |running| running.cpu),
            processed: self.dealt_with,
            partitions,
            restarts: self.restarted(),
            last_death: self.restarts.back().map(|restart| restart.cause.clone()),
            client: running.and_then(|running| running.counted.clone()),
        }
    }

    /// For the report.
    pub(super) fn report(&self, slot: usize) -> WorkerReport {
        WorkerReport {
            slot,
            pids: self.pids.iter().copied().collect(),
            restarted: self.restarted(),
            restarts: self.restarts.iter().cloned().collect(),
        }
    }

    /// Its process has ended.
    pub(super) fn dies(&mut self, death: RestartReport) {
        remember(&mut self.restarts, death);
    }

    /// And another one follows.
    pub(super) fn restarts(&mut self, kind: String) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    fn restarted(&self) -> u64 {
        self.kinds.values().sum()
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back(item);
}

impl Running {
    /// How it ended, with its own last words.
    pub(super) fn cause(&self, ended: Ended) -> String {
        match &self.broken {
            Some((reason, _)) => format!("{ended}: {reason}"),
            None => ended.to_string(),
        }
    }

    /// What it said that no restart would mend.
    pub(super) fn lasting(&self) -> Option<String> {
        self.broken.as_ref().filter(|(_, lasting)| *lasting).map(|(reason, _)| reason.clone())
    }
}
