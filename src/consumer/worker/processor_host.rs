//! Lives on the processing arbiter, owns the processor that its partitions share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;

use super::history_writer::HistoryWriter;
use super::isolation_gate::IsolationGate;
use super::latency_recorder::{LatencyRecorder, SharedLatencies};
use super::messages::{NewPartition, PartitionEvent};
use super::partition_consumer::PartitionConsumer;
use super::shared::{MessageQuota, Shared};
use super::worker_flags::WorkerFlags;
use crate::consumer::protocol::{FailureKind, WorkerFailure};
use crate::kafka::dead_letter_producer::{Batching, DeadLetterProducer};
use crate::latency::scope::StampScope;
use crate::logging::SampledLog;
use crate::processor::{self, ProcessError, ProcessResult, ProcessorFactory, WorkerContext};
use crate::record::TopicPartition;
use crate::util::panic::{CatchPanic, catch_panic};

/// Manager to host: start a consumer for each partition. The first of these messages creates the processor.
#[derive(Message)]
#[rtype(result = "Result<Vec<(TopicPartition, Addr<PartitionConsumer>)>, ProcessError>")]
pub(super) struct OpenPartitions(pub(super) Vec<NewPartition>);

/// Manager to host: no message is in flight any more, the processor may finish.
#[derive(Message)]
#[rtype(result = "Result<(), ProcessError>")]
pub(super) struct FinishProcessor;

/// The parameters of a host.
pub(super) struct HostParams {
    pub(super) context: WorkerContext,
    /// The sampled log of messages, if only some lines are shown.
    pub(super) sample: Option<SampledLog>,
    pub(super) factory: Option<ProcessorFactory>,
    /// As [`crate::consumer::protocol::WorkerConfig::max_messages`].
    pub(super) max_messages: Option<u64>,
    pub(super) flags: Arc<WorkerFlags>,
    pub(super) history: Option<Arc<HistoryWriter>>,
    pub(super) latencies: SharedLatencies,
    pub(super) stamps: StampScope,
    pub(super) events: Recipient<PartitionEvent>,
}

/// Starts the partitions' actors, on the processing thread.
pub(super) struct ProcessorHost {
    params: HostParams,
    shared: Option<Rc<Shared>>,
}

impl ProcessorHost {
    pub(super) fn new(params: HostParams) -> Self {
        Self { params, shared: None }
    }

    fn build_processor(&self) -> Result<Rc<Shared>, ProcessError> {
        let params = &self.params;
        let mut processor = catch_panic(|| processor::build(&params.context, params.factory.as_ref()))
            .map_err(ProcessError::Worker)??;
        if let Some(failure) = catch_panic(|| processor.failure()).map_err(ProcessError::Worker)? {
            let events = params.events.clone();
            actix::spawn(async move {
                let reason = CatchPanic(failure).await.unwrap_or_else(|panic| panic);
                let failure = ProcessError::Worker(reason).shortened();
                let failure = WorkerFailure::of_processor(FailureKind::Transient, failure);
                events.do_send(PartitionEvent::Failed(failure));
            });
        }
        Ok(Rc::new(Shared {
            processor: RefCell::new(processor),
            context: params.context.clone(),
            quota: MessageQuota::new(params.max_messages),
            flags: Arc::clone(&params.flags),
            history: params.history.clone(),
            stamps: params.stamps,
            latencies: RefCell::new(LatencyRecorder::new(Arc::clone(&params.latencies), &params.context.settings)),
            events: params.events.clone(),
            dead_letters: DeadLetterProducer::new(&params.context.settings, Batching::Single, &params.context.logger),
            // Each message is in memory several times: in the client, as a line for a program, and as spare
            // capacity of growing buffers.
            gate: IsolationGate::new((params.context.settings.consumer.memory_budget_mb << 20) / 16),
            has_result: Cell::new(false),
            created: Instant::now(),
            log_limiter: RefCell::default(),
        }))
    }
}

impl Actor for ProcessorHost {
    type Context = Context<Self>;
}

impl Handler<OpenPartitions> for ProcessorHost {
    type Result = MessageResult<OpenPartitions>;

    fn handle(&mut self, OpenPartitions(partitions): OpenPartitions, _: &mut Self::Context) -> Self::Result {
        let shared = self.shared.take().map_or_else(|| self.build_processor(), Ok);
        let shared = match shared {
            Ok(shared) => shared,
            Err(failure) => return MessageResult(Err(failure.shortened())),
        };
        self.shared = Some(Rc::clone(&shared));
        let start = |new: NewPartition| {
            let partition = new.state.partition.clone();
            (partition, PartitionConsumer::new(new, Rc::clone(&shared)).start())
        };
        MessageResult(Ok(partitions.into_iter().map(start).collect()))
    }
}

impl Handler<FinishProcessor> for ProcessorHost {
    type Result = ResponseFuture<Result<(), ProcessError>>;

    fn handle(&mut self, _: FinishProcessor, _: &mut Self::Context) -> Self::Result {
        let Some(shared) = self.shared.take() else { return Box::pin(async { Ok(()) }) };
        let (sample, slot) = (self.params.sample.clone(), self.params.context.slot);
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
