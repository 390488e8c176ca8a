//! Dead-letter records: copies of messages that could not be processed, with headers for the error and the origin.
//!
//! A dead-letter record has the message's key, value and headers, followed by these headers in this order, each as
//! text:
//!
//! | header | value |
//! | --- | --- |
//! | `kafka-actors.error` | the error; at most 4,096 bytes |
//! | `kafka-actors.attempts` | the number of attempts; 0: none, because the message had crashed workers before |
//! | `kafka-actors.topic`, `.partition`, `.offset` | the message's origin |
//! | `kafka-actors.timestamp` | the message's timestamp, in milliseconds since the Unix epoch; empty if it has none |
//! | `kafka-actors.time` | when it was dead-lettered (RFC 3339) |
//! | `kafka-actors.worker` | the number of the worker that dead-lettered it |
//!
//! `dlq replay` sends the message back without these headers and with `kafka-actors.replays`, the number of replays.

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
/// In this order.
const ADDED_HEADERS: [&str; 8] = [ERROR, ATTEMPTS, TOPIC, PARTITION, OFFSET, TIMESTAMP, TIME, WORKER];
const REPLAYS: &str = "kafka-actors.replays";

/// The maximum length of the error in bytes, so that the record is not much larger than the message.
const MAX_ERROR_BYTES: usize = 4_096;

/// Why a message is dead-lettered, and by which worker.
#[derive(Clone, Copy, Debug)]
pub struct FailedRecord<'a> {
    /// The error.
    pub error: &'a str,
    /// The number of processing attempts.
    pub attempts: u64,
    /// When it is dead-lettered.
    pub at: SystemTime,
    /// The worker's number.
    pub worker: usize,
}

/// The headers of the dead-letter record.
pub fn headers(record: &Record<'_>, given_up: FailedRecord<'_>) -> HeaderList {
    let FailedRecord { error, attempts, at, worker } = given_up;
    let error = &error[..error.floor_char_boundary(MAX_ERROR_BYTES)];
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
    let added = ADDED_HEADERS.into_iter().zip(values).map(|(name, value)| (name.to_owned(), Some(value.into_bytes())));
    own.chain(added).collect()
}

/// The content of a dead-letter record's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's original partition.
    pub origin: TopicPartition,
    /// The message's original offset.
    pub offset: i64,
    /// The error.
    pub error: String,
    /// The number of attempts.
    pub attempts: u64,
    /// When it was dead-lettered.
    pub time: String,
    /// The worker that dead-lettered it.
    pub worker: String,
    /// The number of earlier replays.
    pub replays: u64,
    /// The message's own headers.
    pub headers: HeaderList,
}

impl DeadLetter {
    /// Parses the headers of a dead-letter record; `None` if they are not those of one. If a dead-letter record was
    /// dead-lettered again, the last headers count.
    pub fn from_headers(record: &OwnedRecord) -> Option<Self> {
        let names: Vec<&str> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
        let at = (0..names.len()).rev().find(|at| names[*at..].starts_with(&ADDED_HEADERS))?;
        let (before, rest) = record.headers.split_at(at);
        let (added, behind) = rest.split_at(ADDED_HEADERS.len());
        // `added` has all of them in this order.
        let text = |name: &str| {
            let place = ADDED_HEADERS.iter().position(|added| *added == name)?;
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

    /// The headers of the message that is sent back.
    pub fn replayed_headers(&self) -> HeaderList {
        let count = (REPLAYS.to_owned(), Some(self.replays.saturating_add(1).to_string().into_bytes()));
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
        let given_up = FailedRecord { error, attempts: 3, at: SystemTime::UNIX_EPOCH, worker: 2 };
        let headers = headers(&message.borrow(), given_up);
        OwnedRecord { topic: "orders.dlq".to_owned(), partition: 0, offset: 0, headers, ..message.clone() }
    }

    #[test]
    fn a_copy_has_what_became_of_the_message() {
        let headers = vec![("a".to_owned(), None), ("a".to_owned(), Some(vec![0xff]))];
        let record = copied(&message(headers.clone()), "no such article");
        let texts: Vec<_> = record.headers[2..]
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
        let dead_letter = DeadLetter::from_headers(&record).unwrap();
        assert_eq!((dead_letter.origin, dead_letter.offset), (TopicPartition::new("orders", 3), 41));
        assert_eq!((dead_letter.error.as_str(), dead_letter.attempts, dead_letter.replays), ("no such article", 3, 0));
        assert_eq!(dead_letter.headers, headers);
    }

    #[test]
    fn replays_are_counted() {
        let sent_back = |message: &OwnedRecord| {
            let dead_letter = DeadLetter::from_headers(&copied(message, "no")).unwrap();
            OwnedRecord { headers: dead_letter.replayed_headers(), ..message.clone() }
        };
        let twice = sent_back(&sent_back(&message(vec![("a".to_owned(), None)])));
        let expected = [("a".to_owned(), None), (REPLAYS.to_owned(), Some(b"2".to_vec()))];
        assert_eq!(twice.headers, expected);
    }

    #[test]
    fn a_copy_of_a_copy_goes_back_one_step_only() {
        let first = copied(&message(vec![]), "first");
        let dead_letter = DeadLetter::from_headers(&copied(&first, "second")).unwrap();
        assert_eq!((dead_letter.error.as_str(), dead_letter.origin.topic.as_str()), ("second", "orders.dlq"));
        assert_eq!(dead_letter.headers, first.headers);
    }

    #[test]
    fn a_long_error_is_cut_between_its_letters() {
        let dead_letter = DeadLetter::from_headers(&copied(&message(vec![]), &"ü".repeat(5_000))).unwrap();
        assert_eq!(dead_letter.error.len(), MAX_ERROR_BYTES);
        let odd = DeadLetter::from_headers(&copied(&message(vec![]), &format!("x{}", "ü".repeat(5_000)))).unwrap();
        assert_eq!(odd.error.len(), MAX_ERROR_BYTES - 1);
    }

    #[test]
    fn what_is_no_copy_is_not_taken_for_one() {
        assert_eq!(DeadLetter::from_headers(&message(vec![])), None);
        let mut record = copied(&message(vec![]), "no");
        record.headers[4].1 = Some(b"far".to_vec());
        assert_eq!(DeadLetter::from_headers(&record), None, "an offset that is no number");
        record.headers.remove(4);
        assert_eq!(DeadLetter::from_headers(&record), None);
    }

    fn any_headers() -> impl Strategy<Value = HeaderList> {
        let names =
            ADDED_HEADERS.map(str::to_owned).into_iter().chain(["a".to_owned(), String::new()]).collect::<Vec<_>>();
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..5));
        prop::collection::vec((prop::sample::select(names), value), 0..20)
    }

    /// The headers of a dead-letter record that another client has changed: most values are valid, the others
    /// arbitrary.
    fn forged_headers() -> impl Strategy<Value = HeaderList> {
        let value = prop_oneof![
            any::<Vec<u8>>(),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            Just(u64::MAX.to_string().into_bytes()),
            Just(b"18446744073709551616".to_vec()),
            Just(b"-9223372036854775808".to_vec()),
        ];
        let forged = prop::option::weighted(0.2, prop::option::weighted(0.9, value));
        let values = prop::collection::vec(forged, ADDED_HEADERS.len());
        let replays = prop::option::of(prop_oneof![any::<u64>(), Just(u64::MAX)]);
        (any_headers(), values, replays).prop_map(|(own, values, replays)| {
            let mut headers = copied(&message(own), "no").headers;
            let at = headers.len() - ADDED_HEADERS.len();
            for (header, value) in headers[at..].iter_mut().zip(values) {
                header.1 = value.unwrap_or_else(|| header.1.take());
            }
            headers.extend(replays.map(|count| (REPLAYS.to_owned(), Some(count.to_string().into_bytes()))));
            headers
        })
    }

    proptest! {
        #[test]
        fn no_headers_make_it_panic(headers in prop_oneof![forged_headers(), any_headers()]) {
            let record = message(headers);
            if let Some(dead_letter) = DeadLetter::from_headers(&record) {
                let replayed = OwnedRecord { headers: dead_letter.replayed_headers(), ..record.clone() };
                let count = String::from_utf8(replayed.headers.last().unwrap().1.clone().unwrap()).unwrap();
                prop_assert!(count.parse::<u64>().unwrap() > 0, "never back to nothing");
                prop_assert!(dead_letter.headers.len() < record.headers.len());
            }
        }

        #[test]
        fn whatever_headers_it_had_come_back(headers in any_headers(), error: String) {
            let record = copied(&message(headers.clone()), &error);
            let dead_letter = DeadLetter::from_headers(&record).unwrap();
            prop_assert_eq!(dead_letter.headers, headers);
            prop_assert_eq!(dead_letter.error, error);
        }
    }
}
