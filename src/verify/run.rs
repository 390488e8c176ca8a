//! A run that is proven: producers and workers at work, and a judge who is told everything.

use actix::System;
use slog::Logger;

use super::collector::{Collected, Collector};
use super::run_file;
use crate::consumer::control::JournalPlace;
use crate::consumer::supervisor::actor as supervisor;
use crate::director::{self, Director};
use crate::exit::Exit;
use crate::judge::{Facts, Judge, Scope, Verdict};
use crate::producer::coordinator;
use crate::settings::Settings;
use crate::shutdown::{self, Second};

/// What is to be proven.
pub struct Proof {
    /// The run, its topic's partitions, and what is told of it.
    pub scope: Scope,
    /// What was acknowledged on another day.
    pub acknowledged: Option<run_file::Reader>,
    /// Where to write what is acknowledged now.
    pub run_file: Option<run_file::Writer>,
}

/// How it ended.
pub struct Proven {
    /// Both sides.
    pub outcome: director::Outcome,
    /// What the judge says.
    pub verdict: Verdict,
    /// What kept the judge from knowing everything.
    pub problems: Vec<String>,
}

impl Proof {
    /// Runs what `order` says, and has both sides tell the judge. To be called on the main thread.
    ///
    /// # Errors
    /// When it could not be begun, or the run file cannot be read.
    pub fn run(self, mut order: director::Order, logger: &Logger) -> Result<Proven, Exit> {
        let mut judge = Judge::new(self.scope);
        let cut_off = match self.acknowledged {
            Some(acknowledged) => !told(&mut judge, acknowledged)?,
            None => false,
        };
        let collector = Collector::start(judge, self.run_file, logger)
            .map_err(|error| Exit::failed(format!("no socket for the workers' journals: {error}; set TMPDIR to a folder that can be written, with a short path")))?;
        if let Some(producing) = &mut order.producing {
            with_outcomes(producing, self.scope.run, &collector);
        }
        if let Some(consuming) = &mut order.consuming {
            with_journal(consuming, self.scope.partitions, &collector);
        }
        let outcome = System::new().block_on(async move {
            let (director, outcome) = Director::start(order);
            shutdown::forward_signals(director.recipient(), Second::AtOnce)
                .map_err(|error| Exit::failed(format!("signals cannot be received: {error}")))?;
            outcome.await.map_err(|_| Exit::failed("the actor that the command hung on is gone without a word"))
        })?;
        let Collected { judge, problems } = collector.finish().map_err(Exit::failed)?;
        let verdict = judge.verdict(Facts { deadline_passed: outcome.deadline_passed, cut_off });
        Ok(Proven { outcome, verdict, problems })
    }
}

fn with_outcomes(producing: &mut coordinator::Order, run: Option<u64>, collector: &Collector) {
    producing.run = run;
    producing.outcomes = Some(collector.outcomes());
}

fn with_journal(consuming: &mut supervisor::Order, partitions: usize, collector: &Collector) {
    let partitions = partitions_by_murmur2(&consuming.settings).then_some(partitions as u32);
    consuming.journal = Some(JournalPlace { socket: collector.socket(), partitions });
}

/// Whether keys are where Kafka's own partitioning puts them.
fn partitions_by_murmur2(settings: &Settings) -> bool {
    let partitioner = [&settings.producer.properties, &settings.kafka.properties];
    let partitioner = partitioner.into_iter().find_map(|properties| properties.get("partitioner"));
    partitioner.is_none_or(|name| name.trim().starts_with("murmur2"))
}

/// Tells the judge what a run file has; whether all of it is there.
fn told(judge: &mut Judge, file: run_file::Reader) -> Result<bool, Exit> {
    let end = file.feed(&mut |record| match record {
        run_file::Record::Acknowledged { producer, sequence, partition, offset } => {
            judge.acknowledged(producer, sequence, partition, offset);
        }
        run_file::Record::Failed { producer, sequence } => judge.failed(producer, sequence),
    });
    end.map(|end| end.complete).map_err(|error| Exit::failed(error.to_string()))
}
