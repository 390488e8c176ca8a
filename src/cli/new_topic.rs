//! A topic as it is given on the command line.

use std::str::FromStr;

use crate::settings::topic_problem;

/// A topic that is to be created, in the notation of `KAFKA_CREATE_TOPICS`: `name:partitions:replication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions, 1 or more.
    pub partitions: i32,
    /// How many brokers have each, 1 or more.
    pub replication: i32,
}

impl FromStr for NewTopic {
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

fn positive(what: &str, text: &str, most: i32) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{what} = {text:?}: expected a number, 1 or more"))
}
