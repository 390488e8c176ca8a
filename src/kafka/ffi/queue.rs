//! A partition queue of librdkafka: the prefetched messages of a partition.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka_sys as sys;

/// The queue, which keeps its client alive.
pub(in crate::kafka) struct FetchQueue<C: ConsumerContext> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Fields are dropped after `drop` below: the client outlives the queue.
    client: Arc<BaseConsumer<C>>,
}

// SAFETY: the pointer is to a librdkafka object with its own lock, which any thread may use; the client is shared
// between threads anyway.
unsafe impl<C: ConsumerContext> Send for FetchQueue<C> {}
// SAFETY: as above.
unsafe impl<C: ConsumerContext> Sync for FetchQueue<C> {}

impl<C: ConsumerContext> FetchQueue<C> {
    /// Splits the partition's queue off the client's common one; `None` if librdkafka has no such queue.
    pub(in crate::kafka) fn new(client: &Arc<BaseConsumer<C>>, topic: &str, partition: i32) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client lives and the name is a C string during the call; librdkafka keeps neither. The returned
        // handle is reference-counted and released in `drop`.
        let queue =
            unsafe { sys::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), partition) };
        Some(Self { queue: NonNull::new(queue)?, client: Arc::clone(client) })
    }

    /// The number of queued messages.
    pub(in crate::kafka) fn len(&self) -> usize {
        // SAFETY: we own the queue handle.
        unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    pub(super) fn client(&self) -> &BaseConsumer<C> {
        &self.client
    }
}

impl<C: ConsumerContext> Drop for FetchQueue<C> {
    fn drop(&mut self) {
        // SAFETY: this is the counted handle from `new`. The client still lives.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}
