//! Offsets per partition, and conversions from and to librdkafka's lists.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::acl::{Needs, Right};
use super::error::KafkaError;
use super::ffi::metadata::metadata_of;
use crate::record::TopicPartition;

/// The offset of each partition; a partition without one is left out.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// The bounds of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The oldest offset that the log still holds.
    pub low: i64,
    /// The next offset that will be written.
    pub high: i64,
}

/// The watermarks of each of these partitions.
///
/// # Errors
/// One of them is missing: consuming from offset 0 instead would skip or repeat messages silently.
pub(super) fn watermarks_of(
    partitions: &[TopicPartition],
    low: &Offsets,
    high: &Offsets,
) -> Result<BTreeMap<TopicPartition, Watermarks>, KafkaError> {
    let of = |partition: &TopicPartition| match (low.get(partition), high.get(partition)) {
        (Some(&low), Some(&high)) => Ok((partition.clone(), Watermarks { low, high })),
        _ => Err(KafkaError::Request {
            what: format!("the watermarks of {partition} could not be read"),
            reason: "the brokers' reply does not have them".to_owned(),
        }),
    };
    partitions.iter().map(of).collect()
}

/// An offset committed by a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to consume.
    pub offset: i64,
    /// The metadata stored with the offset.
    pub metadata: String,
}

/// A group's committed offsets; a partition without one is left out.
pub type Commits = BTreeMap<TopicPartition, Committed>;

/// A list of these offsets with their metadata, for a commit.
pub(super) fn list_to_commit<'a>(
    offsets: impl IntoIterator<Item = (&'a TopicPartition, i64, &'a str)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset, metadata) in offsets {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element
            .set_offset(Offset::Offset(offset))
            .map_err(|error| KafkaError::request(format!("{partition} at {offset}"), &error))?;
        element.set_metadata(metadata);
    }
    Ok(list)
}

pub(super) fn commits_of(list: &TopicPartitionList, what: &str) -> Result<Commits, KafkaError> {
    Ok(with_metadata(list, &offsets_of(list, what)?))
}

/// The committed offsets of the elements without an error.
pub(super) fn known_commits_of(list: &TopicPartitionList) -> Commits {
    with_metadata(list, &committed_of(list))
}

/// The partitions of the elements with an error.
pub(super) fn unknown_of(list: &TopicPartitionList) -> BTreeSet<TopicPartition> {
    let elements = list.elements();
    let unknown = elements.iter().filter(|element| element.error().is_err());
    unknown.map(|element| TopicPartition::new(element.topic(), element.partition())).collect()
}

fn with_metadata(list: &TopicPartitionList, offsets: &Offsets) -> Commits {
    let named = list.elements().into_iter().zip(metadata_of(list));
    let committed = named.filter_map(|(element, metadata)| {
        let partition = TopicPartition::new(element.topic(), element.partition());
        let offset = *offsets.get(&partition)?;
        Some((partition, Committed { offset, metadata }))
    });
    committed.collect()
}

pub(super) fn list_of(partitions: &[TopicPartition], offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(&partition.topic, partition.partition, offset)
            .map_err(|error| KafkaError::request(format!("{partition} at {offset:?}"), &error))?;
    }
    Ok(list)
}

pub(super) fn list_at<'a>(
    offsets: impl IntoIterator<Item = (&'a TopicPartition, &'a i64)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
            .map_err(|error| KafkaError::request(format!("{partition} at {offset}"), &error))?;
    }
    Ok(list)
}

pub(super) fn offsets_of(list: &TopicPartitionList, what: &str) -> Result<Offsets, KafkaError> {
    let mut offsets = Offsets::new();
    for element in list.elements() {
        let partition = TopicPartition::new(element.topic(), element.partition());
        element.error().map_err(|error| {
            let (what, topic) = (format!("{what}: {partition}"), Right::DescribeTopic(partition.topic.clone()));
            KafkaError::of_request(&Needs::of_topic(topic), what, &error)
        })?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(partition, offset);
        }
    }
    Ok(offsets)
}

/// The offsets of the elements without an error.
pub(super) fn committed_of(list: &TopicPartitionList) -> Offsets {
    let elements = list.elements();
    let known = elements.iter().filter(|element| element.error().is_ok());
    let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((TopicPartition::new(element.topic(), element.partition()), offset)),
        _ => None,
    };
    known.filter_map(offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_without_one_of_the_partitions_is_an_error_that_names_it() {
        let partitions = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let low = Offsets::from([(partitions[0].clone(), 3), (partitions[1].clone(), 0)]);
        let mut high = Offsets::from([(partitions[0].clone(), 8)]);
        let error = watermarks_of(&partitions, &low, &high).unwrap_err().to_string();
        assert!(error.contains("t/1"), "{error}");
        high.insert(partitions[1].clone(), 4);
        let known = watermarks_of(&partitions, &low, &high).unwrap();
        assert_eq!(known[&partitions[0]], Watermarks { low: 3, high: 8 });
    }
}
