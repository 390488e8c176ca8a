//! Makes a message whole: the generator's payload, the key, the stamp.

use crate::message::{GenerateError, Generator, Outgoing, Source};
use crate::settings::{self, KeySource};
use crate::stamp::{Kind, NAME, Stamp};

/// Makes the messages of one producer thread. Its outcome depends on the settings, the run and the sequence number
/// alone (unless the user's generator looks elsewhere).
pub(super) struct Maker {
    generator: Box<dyn Generator>,
    key: Key,
    /// The run, if messages are stamped.
    run: Option<u64>,
}

enum Key {
    None,
    RoundRobin { cardinality: u64 },
    Message { field: String },
}

impl Maker {
    /// `run`: stamps the messages as this run's.
    pub(super) fn new(settings: &settings::Producer, generator: Box<dyn Generator>, run: Option<u64>) -> Self {
        let key = match settings.key {
            KeySource::None => Key::None,
            KeySource::RoundRobin => Key::RoundRobin { cardinality: settings.key_cardinality },
            KeySource::Message => Key::Message { field: settings.key_field.clone() },
        };
        Self { generator, key, run }
    }

    /// Makes the message of `source`, due at `due_us` (µs since 1970 UTC), in `message`, whose memory is reused.
    ///
    /// # Errors
    /// What the generator says.
    pub(super) fn make(&mut self, source: &Source, due_us: u64, message: &mut Outgoing) -> Result<(), GenerateError> {
        message.clear();
        self.generator.generate(source, message)?;
        self.set_key(source, message);
        self.stamp(source, due_us, Kind::Regular, message);
        Ok(())
    }

    fn set_key(&self, source: &Source, message: &mut Outgoing) {
        match &self.key {
            Key::None => message.key = None,
            Key::RoundRobin { cardinality } => {
                let number = (source.sequence * source.producers as u64 + source.producer as u64) % cardinality;
                message.key = Some(format!("key-{number}").into_bytes());
            }
            Key::Message { field } => {
                if message.key.is_none() {
                    message.key = field_of(&message.payload, field);
                }
            }
        }
    }

    fn stamp(&self, source: &Source, due_us: u64, kind: Kind, message: &mut Outgoing) {
        let Some(run) = self.run else { return };
        // There are 256 producers at most.
        let stamp = Stamp { run, producer: source.producer as u16, sequence: source.sequence, due_us, kind };
        let key = message.key.as_deref();
        if message.tombstone {
            message.headers.push((NAME.to_owned(), stamp.header(key, None).to_vec()));
        } else if !stamp.put(key, &mut message.payload) {
            message.headers.push((NAME.to_owned(), stamp.header(key, Some(&message.payload)).to_vec()));
        }
    }
}

/// A JSON object's member as a key: a string without its quotes, anything else as it is written.
fn field_of(payload: &[u8], field: &str) -> Option<Vec<u8>> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(payload).ok()?;
    match members.get(field)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_message_is_its_key() {
        let payload = br#"{"id":7,"name":"a b","nothing":null}"#;
        assert_eq!(field_of(payload, "id").unwrap(), b"7");
        assert_eq!(field_of(payload, "name").unwrap(), b"a b");
        assert_eq!(field_of(payload, "nothing"), None);
        assert_eq!(field_of(payload, "missing"), None);
        assert_eq!(field_of(b"not json", "id"), None);
    }
}
