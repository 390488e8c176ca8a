//! Lists of partitions as librdkafka has them, and as this crate does.

use std::collections::BTreeMap;

use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::error::Failure;
use crate::record::TopicPartition;

/// An offset of each partition; a partition without one is left out.
pub type Offsets = BTreeMap<TopicPartition, i64>;

pub(super) fn list_of(partitions: &[TopicPartition], offset: Offset) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(&partition.topic, partition.partition, offset)
            .map_err(|error| Failure::request(format!("{partition} at {offset:?}"), &error))?;
    }
    Ok(list)
}

pub(super) fn list_at<'a>(
    offsets: impl IntoIterator<Item = (&'a TopicPartition, &'a i64)>,
) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
            .map_err(|error| Failure::request(format!("{partition} at {offset}"), &error))?;
    }
    Ok(list)
}

pub(super) fn offsets_of(list: &TopicPartitionList, what: &str) -> Result<Offsets, Failure> {
    let mut offsets = Offsets::new();
    for element in list.elements() {
        let partition = TopicPartition::new(element.topic(), element.partition());
        element.error().map_err(|error| Failure::request(format!("{what}: {partition}"), &error))?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(partition, offset);
        }
    }
    Ok(offsets)
}

/// Those that were told without an error.
pub(super) fn known_of(list: &TopicPartitionList) -> Offsets {
    let elements = list.elements();
    let known = elements.iter().filter(|element| element.error().is_ok());
    let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((TopicPartition::new(element.topic(), element.partition()), offset)),
        _ => None,
    };
    known.filter_map(offset).collect()
}
