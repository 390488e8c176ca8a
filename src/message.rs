//! What is produced. [`generate_message`] is the first of the two places that a user edits.

use serde::Serialize;

/// The message of the demonstration; it is sent as one JSON object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Unique within a run: no two messages of all threads share it.
    pub id: u64,
    /// The producer thread.
    pub producer: usize,
    /// The how-manieth message of this thread, from 0.
    pub sequence: u64,
    /// When it was due or made, in milliseconds since 1970 UTC.
    pub timestamp_ms: u64,
    /// What it says.
    pub text: String,
}

/// Makes the next message. Edit this to send something else: whatever serializes to JSON can be returned.
pub fn generate_message(source: &Source) -> Message {
    Message {
        id: source.number(),
        producer: source.producer,
        sequence: source.sequence,
        timestamp_ms: source.due_us / 1_000,
        text: format!("message {} of producer {}", source.sequence, source.producer),
    }
}

/// Which message is to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The producer thread, from 0.
    pub producer: usize,
    /// How many producer threads there are.
    pub producers: usize,
    /// The how-manieth message of this thread, from 0.
    pub sequence: u64,
    /// When it is due, if there is a rate, else when it is made: in µs since 1970 UTC.
    pub due_us: u64,
}

impl Source {
    /// The how-manieth message of the run, from 0, with all threads in turn.
    pub fn number(&self) -> u64 {
        self.sequence * self.producers as u64 + self.producer as u64
    }
}

/// A message on its way to the producer; the same one is reused for every message of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The bytes that are sent.
    pub payload: Vec<u8>,
    /// The key, if the generator sets one; used with `producer.key = "message"`.
    pub key: Option<Vec<u8>>,
    /// Headers, in order; each costs as much as a third of the message's whole way.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Sent without a payload: what is written with this key is to be forgotten.
    pub tombstone: bool,
}

impl Outgoing {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.payload.clear();
        self.key = None;
        self.headers.clear();
        self.tombstone = false;
    }
}

/// Why a message could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The value does not serialize to JSON.
    #[error("could not write the message as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Makes messages. Each producer thread has a clone of its own.
///
/// Every function `Fn(&Source) -> T` whose `T` serializes to JSON is one, [`generate_message`] among them. Implement
/// it by hand for payloads that are not JSON, or to set keys.
pub trait Generator: Send + 'static {
    /// Writes the next message into `message`, which comes empty.
    ///
    /// # Errors
    /// The message is counted as failed, with this text as its reason, and the next one is made. A panic ends this
    /// producer; the other threads finish.
    fn generate(&mut self, source: &Source, message: &mut Outgoing) -> Result<(), GenerateError>;

    /// Another one, for another thread.
    fn clone_boxed(&self) -> Box<dyn Generator>;
}

impl<F, T> Generator for F
where
    F: FnMut(&Source) -> T + Clone + Send + 'static,
    T: Serialize + 'static,
{
    fn generate(&mut self, source: &Source, message: &mut Outgoing) -> Result<(), GenerateError> {
        Ok(serde_json::to_writer(&mut message.payload, &self(source))?)
    }

    fn clone_boxed(&self) -> Box<dyn Generator> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_over_all_producers() {
        let mut ids = std::collections::HashSet::new();
        for producer in 0..4 {
            for sequence in 0..100 {
                assert!(ids.insert(generate_message(&Source { producer, producers: 4, sequence, due_us: 0 }).id));
            }
        }
    }

    #[test]
    fn a_function_is_a_generator_of_json() {
        let mut out = Outgoing::default();
        let mut generator = generate_message;
        generator.generate(&Source { producer: 1, producers: 4, sequence: 2, due_us: 0 }, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out.payload).unwrap();
        assert_eq!(value["id"], 9);
        assert_eq!(value["text"], "message 2 of producer 1");
    }
}
