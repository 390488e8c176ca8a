//! Lives on the processing arbiter, owns the processor that its partitions share.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix::prelude::*;

use super::counters::Budget;
use super::gate::Gate;
use super::journal::Journal;
use super::messages::{Event, Opening};
use super::partition::PartitionConsumer;
use super::shared::{Orders, Outbox, Shared, Stopwatch};
use crate::kafka::dead_letters::DeadLetters;
use crate::panics::{Guarded, guarded};
use crate::processing::{self, Failure, Processing, ProcessorFactory, WorkerContext};
use crate::record::TopicPartition;

/// Router to host: start a consumer for each; with the first of these messages the processor is made.
#[derive(Message)]
#[rtype(result = "Result<Vec<(TopicPartition, Addr<PartitionConsumer>)>, Failure>")]
pub(super) struct Open(pub(super) Vec<Opening>);

/// Router to host: no message is under way any more, the processor may finish.
#[derive(Message)]
#[rtype(result = "Result<(), Failure>")]
pub(super) struct FinishProcessor;

/// What a host is made of.
pub(super) struct HostParts {
    pub(super) context: WorkerContext,
    pub(super) own: Option<ProcessorFactory>,
    pub(super) budget: Arc<Budget>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) orders: Arc<Orders>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) outbox: Outbox,
    pub(super) events: Recipient<Event>,
}

/// Starts the partitions' actors, on its own thread.
pub(super) struct PartitionHost {
    parts: HostParts,
    shared: Option<Rc<Shared>>,
}

impl PartitionHost {
    pub(super) fn new(parts: HostParts) -> Self {
        Self { parts, shared: None }
    }

    fn make_processor(&self) -> Result<Rc<Shared>, Failure> {
        let parts = &self.parts;
        let processor = guarded(|| processing::make(&parts.context, parts.own.as_ref())).map_err(Failure::Worker)??;
        Ok(Rc::new(Shared {
            processor: RefCell::new(processor),
            context: parts.context.clone(),
            budget: Arc::clone(&parts.budget),
            stopping: Arc::clone(&parts.stopping),
            orders: Arc::clone(&parts.orders),
            journal: parts.journal.clone(),
            times: RefCell::new(Stopwatch::new(Arc::clone(&parts.outbox), &parts.context.settings)),
            events: parts.events.clone(),
            dead_letters: DeadLetters::new(&parts.context.settings, &parts.context.logger),
            gate: Gate::default(),
            throttle: RefCell::default(),
        }))
    }
}

impl Actor for PartitionHost {
    type Context = Context<Self>;
}

impl Handler<Open> for PartitionHost {
    type Result = MessageResult<Open>;

    fn handle(&mut self, Open(openings): Open, _: &mut Self::Context) -> Self::Result {
        let made = self.shared.take().map_or_else(|| self.make_processor(), Ok);
        let shared = match made {
            Ok(shared) => shared,
            Err(failure) => return MessageResult(Err(failure)),
        };
        self.shared = Some(Rc::clone(&shared));
        let start = |opening: Opening| {
            let partition = opening.counters.partition.clone();
            (partition, PartitionConsumer::new(opening, Rc::clone(&shared)).start())
        };
        MessageResult(Ok(openings.into_iter().map(start).collect()))
    }
}

impl Handler<FinishProcessor> for PartitionHost {
    type Result = ResponseFuture<Result<(), Failure>>;

    fn handle(&mut self, _: FinishProcessor, _: &mut Self::Context) -> Self::Result {
        let Some(shared) = self.shared.take() else { return Box::pin(async { Ok(()) }) };
        Box::pin(async move {
            match guarded(|| shared.processor.borrow_mut().finish()) {
                Ok(Processing::Done(result)) => result,
                Ok(Processing::Later(future)) => {
                    Guarded(future).await.unwrap_or_else(|panic| Err(Failure::Worker(panic)))
                }
                Err(panic) => Err(Failure::Worker(panic)),
            }
        })
    }
}
