//! The metadata of a committed offset: a text that Kafka stores with it, by which this program recognizes its own
//! commits.
//!
//! The format is `kafka-actors` followed by fields `key=value`, each after one space; values have no spaces. Parsers
//! ignore unknown fields.
//!
//! | field | value |
//! | --- | --- |
//! | `run` | the [`RunId`] of the supervisor run that committed the offset |
//! | `topic` | the [`TopicId`] of the offset's topic; left out if the brokers have no topic ids |
//!
//! Kafka's own tools commit an empty text. The brokers accept up to `offset.metadata.max.bytes` (4096 by default).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::offsets::{Commits, Committed, Offsets};
use super::topic_id::{Recreated, TopicId};
use crate::record::TopicPartition;

/// The first word of the metadata.
const PROGRAM: &str = "kafka-actors";

/// The random, unique id of a supervisor run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId(u64);

impl RunId {
    /// Creates a new id.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// The metadata of an offset committed by this program, without the topic id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitMetadata {
    /// The run that committed the offset.
    pub run: RunId,
}

impl fmt::Display for CommitMetadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PROGRAM} run={}", self.run)
    }
}

/// The topic id in the metadata of a committed offset, if present.
fn topic_id_of(metadata: &str) -> Option<TopicId> {
    let mut words = metadata.split(' ').skip_while(|word| *word == PROGRAM);
    let id = words.find_map(|word| word.strip_prefix("topic="));
    id.filter(|id| metadata.starts_with(PROGRAM) && !id.is_empty()).map(TopicId::new)
}

/// Returns whether the committed offset belongs to a deleted topic of the same name, while the current topic has the
/// id `now`.
pub fn of_topic_before(topic: &str, committed: &Committed, now: Option<&TopicId>) -> Option<Recreated> {
    let (before, now) = (topic_id_of(&committed.metadata)?, now?);
    let recreated = || Recreated { topic: topic.to_owned(), before: before.clone(), now: now.clone() };
    (before != *now).then(recreated)
}

impl CommitMetadata {
    /// The full metadata text for an offset of the topic with this id.
    pub fn of_topic(&self, topic_id: Option<&TopicId>) -> String {
        topic_id.map_or_else(|| self.to_string(), |topic_id| format!("{self} topic={topic_id}"))
    }

    /// Returns whether this run committed the offset.
    pub fn has_committed(&self, committed: &Committed) -> bool {
        committed.metadata.parse::<Self>().is_ok_and(|metadata| metadata.run == self.run)
    }

    /// Separates this run's commits from those of other clients.
    pub fn separate(&self, commits: Commits) -> (Offsets, Vec<ForeignCommit>) {
        let (mut own, mut foreign) = (Offsets::new(), Vec::new());
        for (partition, committed) in commits {
            if self.has_committed(&committed) {
                own.insert(partition, committed.offset);
            } else {
                let Committed { offset, metadata } = committed;
                foreign.push(ForeignCommit { partition, offset, metadata });
            }
        }
        (own, foreign)
    }
}

/// An offset that another client committed for the group although this run owns the group's partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignCommit {
    /// The partition.
    pub partition: TopicPartition,
    /// The committed offset.
    pub offset: i64,
    /// The metadata of the other client's commit.
    pub metadata: String,
}

impl ForeignCommit {
    /// Describes the other client, as far as the metadata identifies it.
    pub fn client(&self) -> String {
        match self.metadata.parse::<CommitMetadata>() {
            Ok(CommitMetadata { run }) => format!("another run of kafka-actors (run {run})"),
            Err(NotOurs) if self.metadata.is_empty() => {
                "another client (such as kafka-consumer-groups --reset-offsets)".to_owned()
            }
            Err(NotOurs) => format!("another client, with the metadata {:?}", self.metadata),
        }
    }
}

/// The error for metadata that another program has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the metadata of an offset that kafka-actors has committed")]
pub struct NotOurs;

impl FromStr for CommitMetadata {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split(' ');
        if words.next() != Some(PROGRAM) {
            return Err(NotOurs);
        }
        let fields: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
        let value = |key| fields.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let run = value("run").filter(|run| run.len() == 16).and_then(|run| u64::from_str_radix(run, 16).ok());
        Ok(Self { run: RunId(run.ok_or(NotOurs)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let ours = CommitMetadata { run: RunId(0x2a) };
        assert_eq!(ours.to_string(), "kafka-actors run=000000000000002a");
        assert_eq!(ours.to_string().parse(), Ok(ours.clone()));
        assert_eq!("kafka-actors later=1 run=000000000000002a x".parse(), Ok(ours), "fields of a later version");
    }

    #[test]
    fn commits_of_other_clients_are_separated() {
        let ours = CommitMetadata { run: RunId(1) };
        let commits = [(0, ours.to_string()), (1, String::new()), (2, CommitMetadata { run: RunId(2) }.to_string())];
        let commits =
            commits.map(|(number, metadata)| (TopicPartition::new("t", number), Committed { offset: 7, metadata }));
        let (own, foreign) = ours.separate(commits.into());
        assert_eq!(own, [(TopicPartition::new("t", 0), 7)].into());
        let clients: Vec<_> = foreign.iter().map(|foreign| (foreign.partition.partition, foreign.client())).collect();
        assert!(
            clients[0].1.contains("--reset-offsets") && clients[1].1.contains("run 0000000000000002"),
            "{clients:?}"
        );
    }

    #[test]
    fn a_commit_of_the_topic_before_is_found_out() {
        let [before, now] = ["AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg"].map(TopicId::new);
        let ours = CommitMetadata { run: RunId(1) };
        let committed = |metadata| Committed { offset: 7, metadata };
        let text = ours.of_topic(Some(&before));
        assert_eq!(text.parse(), Ok(ours.clone()));
        assert_eq!(of_topic_before("t", &committed(text.clone()), Some(&before)), None);
        let found = of_topic_before("t", &committed(text.clone()), Some(&now)).unwrap();
        assert_eq!((found.topic.as_str(), found.before, found.now), ("t", before, now.clone()));
        assert_eq!(of_topic_before("t", &committed(text), None), None, "the brokers have no ids");
        for others in [String::new(), "topic=x".to_owned(), ours.of_topic(None)] {
            assert_eq!(of_topic_before("t", &committed(others), Some(&now)), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_metadata_makes_it_panic(text: String, run: u64, topic: String) {
            for metadata in [text.clone(), format!("{PROGRAM} {text}"), format!("{PROGRAM} run={run:016x}{text}")] {
                let committed = Committed { offset: 7, metadata };
                of_topic_before("t", &committed, Some(&TopicId::new(&topic)));
                committed.metadata.parse::<CommitMetadata>().ok();
            }
            let ours = CommitMetadata { run: RunId(run) };
            proptest::prop_assert_eq!(ours.to_string().parse(), Ok(ours));
        }
    }

    #[test]
    fn texts_of_others_are_not_ours() {
        for text in [
            "",
            " ",
            "kafka-actors",
            "kafka-actors run=",
            "kafka-actors run=2a",
            "kafka-actorsrun=000000000000002a",
            "\u{fffd}",
        ] {
            assert_eq!(text.parse::<CommitMetadata>(), Err(NotOurs), "{text:?}");
        }
    }
}
