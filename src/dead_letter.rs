//! A dead letter: the copy of a message that could not be processed, with headers that say why and where it came from.
//!
//! The copy has the message's key, value and headers as they were, and behind them, in this order, each as text:
//!
//! | header | what |
//! | --- | --- |
//! | `kafka-actors.error` | why it could not be processed; 4,096 bytes at most |
//! | `kafka-actors.attempts` | how often that was tried; 0: not at all, since it had killed workers before |
//! | `kafka-actors.topic`, `.partition`, `.offset` | where it stands |
//! | `kafka-actors.timestamp` | its own time, in milliseconds since 1970 UTC; empty if it has none |
//! | `kafka-actors.time` | when it was given up (RFC 3339) |
//! | `kafka-actors.worker` | the number of the worker that gave it up |
//!
//! `dlq replay` sends it back without these, and with `kafka-actors.replays`: how often that was done.

use std::time::SystemTime;

use crate::record::{OwnedRecord, Record, TopicPartition};

/// A message's headers: names may repeat, a value may be null.
pub type HeaderList = Vec<(String, Option<Vec<u8>>)>;

const ERROR: &str = "kafka-actors.error";
const ATTEMPTS: &str = "kafka-actors.attempts";
const TOPIC: &str = "kafka-actors.topic";
const PARTITION: &str = "kafka-actors.partition";
const OFFSET: &str = "kafka-actors.offset";
const TIMESTAMP: &str = "kafka-actors.timestamp";
const TIME: &str = "kafka-actors.time";
const WORKER: &str = "kafka-actors.worker";
/// In their order.
const ADDED: [&str; 8] = [ERROR, ATTEMPTS, TOPIC, PARTITION, OFFSET, TIMESTAMP, TIME, WORKER];
const REPLAYS: &str = "kafka-actors.replays";

/// The longest error text, in bytes: the copy must not become much larger than the message.
const LONGEST_ERROR: usize = 4_096;

/// Why a message was given up, and who did it.
#[derive(Clone, Copy, Debug)]
pub struct GivenUp<'a> {
    /// Why.
    pub error: &'a str,
    /// How often its processing was tried.
    pub attempts: u64,
    /// When it was given up.
    pub at: SystemTime,
    /// The worker's number.
    pub worker: usize,
}

/// The headers of the copy.
pub fn headers(record: &Record<'_>, given_up: GivenUp<'_>) -> HeaderList {
    let GivenUp { error, attempts, at, worker } = given_up;
    let error = &error[..error.floor_char_boundary(LONGEST_ERROR)];
    let values = [
        error.to_owned(),
        attempts.to_string(),
        record.topic.to_owned(),
        record.partition.to_string(),
        record.offset.to_string(),
        record.timestamp_ms.map(|time| time.to_string()).unwrap_or_default(),
        humantime::format_rfc3339_millis(at).to_string(),
        worker.to_string(),
    ];
    let own = record.headers.list().into_iter().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
    let added = ADDED.into_iter().zip(values).map(|(name, value)| (name.to_owned(), Some(value.into_bytes())));
    own.chain(added).collect()
}

/// What a copy says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the message stands.
    pub origin: TopicPartition,
    /// Where the message stands.
    pub offset: i64,
    /// Why it could not be processed.
    pub error: String,
    /// How often that was tried.
    pub attempts: u64,
    /// When it was given up.
    pub time: String,
    /// Which worker gave it up.
    pub worker: String,
    /// How often it had been sent back before.
    pub replays: u64,
    /// The headers that it had without all this.
    pub headers: HeaderList,
}

impl DeadLetter {
    /// Reads the headers of a copy; `None` if they are not those of one. Of a copy of a copy, the last one counts.
    pub fn of(copy: &OwnedRecord) -> Option<Self> {
        let names: Vec<&str> = copy.headers.iter().map(|(name, _)| name.as_str()).collect();
        let at = (0..names.len()).rev().find(|at| names[*at..].starts_with(&ADDED))?;
        let (before, rest) = copy.headers.split_at(at);
        let (added, behind) = rest.split_at(ADDED.len());
        // `added` has all of them, in their order.
        let text = |name: &str| {
            let place = ADDED.iter().position(|added| *added == name)?;
            Some(String::from_utf8_lossy(added.get(place)?.1.as_deref()?).into_owned())
        };
        let mut headers: HeaderList = before.iter().chain(behind).cloned().collect();
        let replays = headers.iter().rposition(|(name, _)| name == REPLAYS).map(|at| headers.remove(at));
        let replays = replays.and_then(|(_, count)| String::from_utf8(count?).ok()?.parse().ok());
        Some(Self {
            origin: TopicPartition::new(text(TOPIC)?, text(PARTITION)?.parse().ok()?),
            offset: text(OFFSET)?.parse().ok()?,
            error: text(ERROR)?,
            attempts: text(ATTEMPTS)?.parse().ok()?,
            time: text(TIME)?,
            worker: text(WORKER)?,
            replays: replays.unwrap_or(0),
            headers,
        })
    }

    /// The headers with which the message goes back.
    pub fn replayed_headers(&self) -> HeaderList {
        let count = (REPLAYS.to_owned(), Some((self.replays + 1).to_string().into_bytes()));
        self.headers.iter().cloned().chain([count]).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(headers: HeaderList) -> OwnedRecord {
        OwnedRecord {
            topic: "orders".to_owned(),
            partition: 3,
            offset: 41,
            timestamp_ms: Some(7),
            key: None,
            value: None,
            headers,
        }
    }

    fn copied(message: &OwnedRecord, error: &str) -> OwnedRecord {
        let given_up = GivenUp { error, attempts: 3, at: SystemTime::UNIX_EPOCH, worker: 2 };
        let headers = headers(&message.borrow(), given_up);
        OwnedRecord { topic: "orders.dlq".to_owned(), partition: 0, offset: 0, headers, ..message.clone() }
    }

    #[test]
    fn a_copy_says_what_became_of_the_message() {
        let headers = vec![("a".to_owned(), None), ("a".to_owned(), Some(vec![0xff]))];
        let copy = copied(&message(headers.clone()), "no such article");
        let texts: Vec<_> = copy.headers[2..]
            .iter()
            .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value.as_deref().unwrap())))
            .collect();
        let expected = [
            "kafka-actors.error=no such article",
            "kafka-actors.attempts=3",
            "kafka-actors.topic=orders",
            "kafka-actors.partition=3",
            "kafka-actors.offset=41",
            "kafka-actors.timestamp=7",
            "kafka-actors.time=1970-01-01T00:00:00.000Z",
            "kafka-actors.worker=2",
        ];
        assert_eq!(texts, expected);
        let letter = DeadLetter::of(&copy).unwrap();
        assert_eq!((letter.origin, letter.offset), (TopicPartition::new("orders", 3), 41));
        assert_eq!((letter.error.as_str(), letter.attempts, letter.replays), ("no such article", 3, 0));
        assert_eq!(letter.headers, headers);
    }

    #[test]
    fn replays_are_counted() {
        let sent_back = |message: &OwnedRecord| {
            let letter = DeadLetter::of(&copied(message, "no")).unwrap();
            OwnedRecord { headers: letter.replayed_headers(), ..message.clone() }
        };
        let twice = sent_back(&sent_back(&message(vec![("a".to_owned(), None)])));
        let expected = [("a".to_owned(), None), (REPLAYS.to_owned(), Some(b"2".to_vec()))];
        assert_eq!(twice.headers, expected);
    }

    #[test]
    fn a_copy_of_a_copy_goes_back_one_step_only() {
        let first = copied(&message(vec![]), "first");
        let letter = DeadLetter::of(&copied(&first, "second")).unwrap();
        assert_eq!((letter.error.as_str(), letter.origin.topic.as_str()), ("second", "orders.dlq"));
        assert_eq!(letter.headers, first.headers);
    }

    #[test]
    fn a_long_error_is_cut_between_its_letters() {
        let letter = DeadLetter::of(&copied(&message(vec![]), &"ü".repeat(5_000))).unwrap();
        assert_eq!(letter.error.len(), LONGEST_ERROR);
        let odd = DeadLetter::of(&copied(&message(vec![]), &format!("x{}", "ü".repeat(5_000)))).unwrap();
        assert_eq!(odd.error.len(), LONGEST_ERROR - 1);
    }

    #[test]
    fn what_is_no_copy_is_not_taken_for_one() {
        assert_eq!(DeadLetter::of(&message(vec![])), None);
        let mut copy = copied(&message(vec![]), "no");
        copy.headers[4].1 = Some(b"far".to_vec());
        assert_eq!(DeadLetter::of(&copy), None, "an offset that is no number");
        copy.headers.remove(4);
        assert_eq!(DeadLetter::of(&copy), None);
    }

    fn any_headers() -> impl Strategy<Value = HeaderList> {
        let names = ADDED.map(str::to_owned).into_iter().chain(["a".to_owned(), String::new()]).collect::<Vec<_>>();
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..5));
        prop::collection::vec((prop::sample::select(names), value), 0..20)
    }

    proptest! {
        #[test]
        fn whatever_headers_it_had_come_back(headers in any_headers(), error: String) {
            let copy = copied(&message(headers.clone()), &error);
            let letter = DeadLetter::of(&copy).unwrap();
            prop_assert_eq!(letter.headers, headers);
            prop_assert_eq!(letter.error, error);
        }
    }
}
