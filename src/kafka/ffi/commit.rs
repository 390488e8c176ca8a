//! An asynchronous commit whose result the client's poll reports.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{IsError, KafkaError as RdKafkaError, KafkaResult};
use rdkafka_sys as sys;

/// Requests a commit of these offsets. The client's poll passes the result to `ConsumerContext::commit_callback`.
/// rdkafka's `CommitMode::Async` never reports it, because rdkafka takes events, for which librdkafka's
/// `rd_kafka_commit` has no queue.
pub(in crate::kafka) fn start<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> KafkaResult<()> {
    let client = client.client().native_ptr();
    // SAFETY: the client and the list live; librdkafka copies the list. We release the returned queue handle;
    // librdkafka keeps its own reference until the result is in it. Without a callback nothing is called.
    let error = unsafe {
        let queue = sys::rd_kafka_queue_get_main(client);
        let error = sys::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, std::ptr::null_mut());
        sys::rd_kafka_queue_destroy(queue);
        error
    };
    if error.is_error() { Err(RdKafkaError::ConsumerCommit(error.into())) } else { Ok(()) }
}
