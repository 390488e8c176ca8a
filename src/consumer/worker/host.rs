//! Lives on the processing arbiter, owns the processor that its partitions share.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix::prelude::*;

use super::counters::Budget;
use super::messages::{Event, FinishProcessor, Open};
use super::partition::PartitionConsumer;
use crate::panics::{Guarded, guarded};
use crate::processing::{self, Failure, Processing, Processor, ProcessorFactory, WorkerContext};

/// What all partitions of a worker share, on the processing thread.
pub(super) struct Shared {
    pub(super) processor: RefCell<Box<dyn Processor>>,
    pub(super) context: WorkerContext,
    pub(super) budget: Arc<Budget>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) events: Recipient<Event>,
}

/// What a host is made of.
pub(super) struct HostParts {
    pub(super) context: WorkerContext,
    pub(super) own: Option<ProcessorFactory>,
    pub(super) budget: Arc<Budget>,
    pub(super) stopping: Arc<AtomicBool>,
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
            events: parts.events.clone(),
        }))
    }
}

impl Actor for PartitionHost {
    type Context = Context<Self>;
}

impl Handler<Open> for PartitionHost {
    type Result = MessageResult<Open>;

    fn handle(&mut self, Open(openings): Open, _: &mut Self::Context) -> Self::Result {
        let shared = match self.make_processor() {
            Ok(shared) => shared,
            Err(failure) => return MessageResult(Err(failure)),
        };
        self.shared = Some(Rc::clone(&shared));
        let start = |opening: super::messages::Opening| {
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
