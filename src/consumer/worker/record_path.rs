//! The path of a record from the partition queue to the stored offset, without a supervisor and a Kafka client: for benches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Discard, Logger, o};
use tokio::sync::oneshot;

use super::latency_recorder::SharedLatencies;
use super::messages::{NewPartition, PartitionEvent, StartReading, StopPartition};
use super::partition_state::PartitionState;
use super::processor_host::{HostParams, OpenPartitions, ProcessorHost};
use super::worker_flags::WorkerFlags;
use crate::consumer::protocol::Revocation;
use crate::kafka::consumer::MessageQueue;
use crate::latency::scope::StampScope;
use crate::processor::{ProcessError, ProcessorFactory, WorkerContext};
use crate::settings::Settings;

/// Notifies when the partition has reached its stop offset. A partition that fails drops the sender with the system.
struct EndListener(Option<oneshot::Sender<()>>);

impl Actor for EndListener {
    type Context = Context<Self>;
}

impl Handler<PartitionEvent> for EndListener {
    type Result = ();

    fn handle(&mut self, event: PartitionEvent, _: &mut Self::Context) {
        if matches!(event, PartitionEvent::EndReached(_))
            && let Some(end) = self.0.take()
        {
            // The receiver waits for it.
            end.send(()).ok();
        }
    }
}

/// Processes the queue's messages before `until`, and returns the time until the last offset was stored.
///
/// # Errors
/// The processor could not be created, or the partition has failed.
pub fn consume_until(
    settings: &Arc<Settings>,
    processor: ProcessorFactory,
    queue: Box<dyn MessageQueue + Send>,
    until: i64,
) -> Result<Duration, ProcessError> {
    let system = System::new();
    system.block_on(async {
        let (sender, end) = oneshot::channel();
        let logger = Logger::root(Discard, o!());
        let context = WorkerContext { slot: 0, settings: Arc::clone(settings), logger, output_lock: None };
        let host = ProcessorHost::new(HostParams {
            context,
            sample: None,
            factory: Some(processor),
            max_messages: None,
            flags: Arc::new(WorkerFlags::default()),
            history: None,
            latencies: SharedLatencies::default(),
            stamps: StampScope::default(),
            events: EndListener(Some(sender)).start().recipient(),
        });
        let state = PartitionState::new(queue.partition().clone(), 0);
        let new = NewPartition { queue, state, start_offset: 0, stop_offset: Some(until), topic_id: None };
        let partitions = host.start().send(OpenPartitions(vec![new])).await??;
        let begun = Instant::now();
        partitions.iter().for_each(|(_, partition)| partition.do_send(StartReading));
        end.await?;
        for (_, partition) in &partitions {
            // The offset is stored before the reply.
            partition.send(StopPartition(Revocation::Committed)).await?;
        }
        Ok(begun.elapsed())
    })
}
