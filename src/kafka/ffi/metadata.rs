//! The metadata of committed offsets as received from the brokers.

use rdkafka::TopicPartitionList;

/// The metadata of each element of the list, in order. Any client may have written it: invalid UTF-8 is replaced,
/// where rdkafka's own function panics.
pub(in crate::kafka) fn metadata_of(list: &TopicPartitionList) -> Vec<String> {
    let count = list.count();
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: the list lives and does not change during the call; its elements are an array of `count`, and each
    // element's metadata is null or that number of bytes.
    unsafe {
        let elements = std::slice::from_raw_parts((*list.ptr()).elems, count);
        let text = |element: &rdkafka_sys::rd_kafka_topic_partition_t| match element.metadata.is_null() {
            true => String::new(),
            false => {
                let bytes = std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
                String::from_utf8_lossy(bytes).into_owned()
            }
        };
        elements.iter().map(text).collect()
    }
}
