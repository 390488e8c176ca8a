//! Lives on the processing arbiter, owns the processor that its partitions share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use actix::prelude::*;

use super::history_writer::HistoryWriter;
use super::isolation_gate::IsolationGate;
use super::messages::{NewPartition, PartitionEvent};
use super::partition_consumer::PartitionConsumer;
use super::shared::{LatencyRecorder, MessageQuota, Shared, SharedLatencies, WorkerFlags};
use crate::kafka::dead_letter_producer::{Batching, DeadLetterProducer};
use crate::latency::scope::StampScope;
use crate::logging::SampledLog;
use crate::processor::{self, ProcessError, ProcessResult, ProcessorFactory, WorkerContext};
use crate::record::TopicPartition;
use crate::util::panic::{CatchPanic, catch_panic};

/// Router to host: start a consumer for each partition. The first of these messages creates the processor.
#[derive(Message)]
#[rtype(result = "Result<Vec<(TopicPartition, Addr<PartitionConsumer>)>, ProcessError>")]
pub(super) struct OpenPartitions(pub(super) Vec<NewPartition>);

/// Router to host: no message is in flight any more, the processor may finish.
#[derive(Message)]
#[rtype(result = "Result<(), ProcessError>")]
pub(super) struct FinishProcessor;

/// The parameters of a host.
pub(super) struct HostParams {
    pub(super) context: WorkerContext,
    /// The sampled log of messages, if only some lines are shown.
    pub(super) sample: Option<SampledLog>,
    pub(super) own: Option<ProcessorFactory>,
    /// As [`crate::consumer::protocol::WorkerConfig::max_messages`].
    pub(super) max_messages: Option<u64>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) orders: Arc<WorkerFlags>,
    pub(super) history: Option<Arc<HistoryWriter>>,
    pub(super) outbox: SharedLatencies,
    pub(super) stamps: StampScope,
    pub(super) events: Recipient<PartitionEvent>,
}

/// Starts the partitions' actors, on the processing thread.
pub(super) struct ProcessorHost {
    parts: HostParams,
    shared: Option<Rc<Shared>>,
}

impl ProcessorHost {
    pub(super) fn new(parts: HostParams) -> Self {
        Self { parts, shared: None }
    }

    fn make_processor(&self) -> Result<Rc<Shared>, ProcessError> {
        let parts = &self.parts;
        let mut processor =
            catch_panic(|| processor::build(&parts.context, parts.own.as_ref())).map_err(ProcessError::Worker)??;
        if let Some(failure) = catch_panic(|| processor.failure()).map_err(ProcessError::Worker)? {
            let events = parts.events.clone();
            actix::spawn(async move {
                let reason = CatchPanic(failure).await.unwrap_or_else(|panic| panic);
                let reason = ProcessError::Worker(reason).shortened().to_string();
                events.do_send(PartitionEvent::ProcessorFailed { reason });
            });
        }
        Ok(Rc::new(Shared {
            processor: RefCell::new(processor),
            context: parts.context.clone(),
            quota: MessageQuota::new(parts.max_messages),
            stopping: Arc::clone(&parts.stopping),
            orders: Arc::clone(&parts.orders),
            history: parts.history.clone(),
            stamps: parts.stamps,
            times: RefCell::new(LatencyRecorder::new(Arc::clone(&parts.outbox), &parts.context.settings)),
            events: parts.events.clone(),
            dead_letters: DeadLetterProducer::new(&parts.context.settings, Batching::Single, &parts.context.logger),
            // Each message is in memory several times: in the client, as a line for a program, and as spare
            // capacity of growing buffers.
            gate: IsolationGate::new((parts.context.settings.consumer.memory_budget_mb << 20) / 16),
            has_result: Cell::new(false),
            since: Instant::now(),
            throttle: RefCell::default(),
        }))
    }
}

impl Actor for ProcessorHost {
    type Context = Context<Self>;
}

impl Handler<OpenPartitions> for ProcessorHost {
    type Result = MessageResult<OpenPartitions>;

    fn handle(&mut self, OpenPartitions(openings): OpenPartitions, _: &mut Self::Context) -> Self::Result {
        let made = self.shared.take().map_or_else(|| self.make_processor(), Ok);
        let shared = match made {
            Ok(shared) => shared,
            Err(failure) => return MessageResult(Err(failure.shortened())),
        };
        self.shared = Some(Rc::clone(&shared));
        let start = |opening: NewPartition| {
            let partition = opening.counters.partition.clone();
            (partition, PartitionConsumer::new(opening, Rc::clone(&shared)).start())
        };
        MessageResult(Ok(openings.into_iter().map(start).collect()))
    }
}

impl Handler<FinishProcessor> for ProcessorHost {
    type Result = ResponseFuture<Result<(), ProcessError>>;

    fn handle(&mut self, _: FinishProcessor, _: &mut Self::Context) -> Self::Result {
        let Some(shared) = self.shared.take() else { return Box::pin(async { Ok(()) }) };
        let (sample, slot) = (self.parts.sample.clone(), self.parts.context.slot);
        Box::pin(async move {
            let finished = match catch_panic(|| shared.processor.borrow_mut().finish()) {
                Ok(ProcessResult::Done(result)) => result,
                Ok(ProcessResult::Later(future)) => {
                    CatchPanic(future).await.unwrap_or_else(|panic| Err(ProcessError::Worker(panic)))
                }
                Err(panic) => Err(ProcessError::Worker(panic)),
            };
            sample.iter().for_each(|sample| sample.end(slot));
            finished.map_err(ProcessError::shortened)
        })
    }
}
