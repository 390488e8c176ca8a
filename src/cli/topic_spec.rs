//! A topic in the notation of the command line.

use std::str::FromStr;

use crate::settings::topic_problem;

/// A topic to create, in the notation of `KAFKA_CREATE_TOPICS`: `name:partitions:replication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// The number of partitions, at least 1.
    pub partitions: i32,
    /// The replication factor, at least 1.
    pub replication: i32,
}

/// A topic whose number of partitions will be increased: `name:partitions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredTopic {
    /// Its name.
    pub name: String,
    /// The new number of partitions, at least 1.
    pub partitions: i32,
}

impl FromStr for AlteredTopic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let [name, partitions] = parts[..] else {
            return Err("expected NAME:PARTITIONS, such as test-topic:12".to_owned());
        };
        match topic_problem(name) {
            Some(problem) => Err(problem),
            None => Ok(Self { name: name.to_owned(), partitions: positive("partitions", partitions, i32::MAX)? }),
        }
    }
}

impl FromStr for TopicSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let [name, partitions, replication] = parts[..] else {
            return Err("expected NAME:PARTITIONS:REPLICATION, such as test-topic:6:1".to_owned());
        };
        match topic_problem(name) {
            Some(problem) => Err(problem),
            None => Ok(Self {
                name: name.to_owned(),
                partitions: positive("partitions", partitions, i32::MAX)?,
                // The protocol has 16 bits for it.
                replication: positive("replication", replication, i16::MAX.into())?,
            }),
        }
    }
}

fn positive(what: &str, text: &str, max: i32) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("{what} = {text:?}: expected a number, 1 or more"))
}
