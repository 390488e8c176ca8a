//! The generation of messages. [`generate_message`] is one of the two functions that users of the program edit.

mod key;
pub mod lines_file;
mod padding;
pub mod rng;
#[cfg_attr(not(feature = "templates"), path = "template_disabled.rs")]
pub mod template;

use serde::Serialize;

pub(crate) use key::key_from_field;
pub(crate) use padding::{pad_object, pad_spaces};

/// The demo message; it is sent as a JSON object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GeneratedMessage {
    /// Unique within a run, over all threads.
    pub id: u64,
    /// The producer thread.
    pub producer: usize,
    /// The sequence number in this thread, from 0.
    pub sequence: u64,
    /// The time when it was scheduled or generated, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The text.
    pub text: String,
}

/// Generates the next message. Edit this function to send something else: it may return any value that serializes to
/// JSON.
pub fn generate_message(source: &MessageContext) -> GeneratedMessage {
    GeneratedMessage {
        id: source.number(),
        producer: source.producer,
        sequence: source.sequence,
        timestamp_ms: source.due_us / 1_000,
        text: format!("message {} of producer {}", source.sequence, source.producer),
    }
}

/// Identifies the message to generate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageContext {
    /// The producer thread, from 0.
    pub producer: usize,
    /// The number of producer threads.
    pub producers: usize,
    /// The sequence number in this thread, from 0.
    pub sequence: u64,
    /// When the message is scheduled (with a rate) or generated, in µs since the Unix epoch.
    pub due_us: u64,
}

impl MessageContext {
    /// The number of the message in the run, from 0, with all threads in turn; wraps at 2^64.
    pub fn number(&self) -> u64 {
        self.sequence.wrapping_mul(self.producers as u64).wrapping_add(self.producer as u64)
    }
}

/// A message to fill in; each thread reuses one buffer for all of its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageBuffer {
    /// The value.
    pub payload: Vec<u8>,
    /// The key, if the generator sets one; used with `producer.key = "message"`.
    pub key: Option<Vec<u8>>,
    /// The headers in order; each adds about a third of the message's total cost.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Whether the message has no value: a tombstone deletes the messages with its key from a compacted topic.
    pub tombstone: bool,
}

impl MessageBuffer {
    /// Clears the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.payload.clear();
        self.key = None;
        self.headers.clear();
        self.tombstone = false;
    }
}

/// Why a message could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The value does not serialize to JSON.
    #[error("could not write the message as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Another error.
    #[error("{0}")]
    Other(String),
}

/// Generates messages. Each producer thread has its own clone.
///
/// Every function `Fn(&MessageContext) -> T` whose `T` serializes to JSON is a generator, such as
/// [`generate_message`]. Implement the trait for payloads that are not JSON, or to set keys.
pub trait Generator: Send + 'static {
    /// Writes the next message into `message`, which is empty.
    ///
    /// # Errors
    /// The message counts as failed with this text as its reason, and the thread continues with the next one. A panic
    /// stops this thread; the others finish.
    fn generate(&mut self, source: &MessageContext, message: &mut MessageBuffer) -> Result<(), GenerateError>;

    /// Clones the generator for another thread.
    fn clone_boxed(&self) -> Box<dyn Generator>;
}

impl<F, T> Generator for F
where
    F: FnMut(&MessageContext) -> T + Clone + Send + 'static,
    T: Serialize + 'static,
{
    fn generate(&mut self, source: &MessageContext, message: &mut MessageBuffer) -> Result<(), GenerateError> {
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
                assert!(
                    ids.insert(generate_message(&MessageContext { producer, producers: 4, sequence, due_us: 0 }).id)
                );
            }
        }
    }

    #[test]
    fn a_function_is_a_generator_of_json() {
        let mut out = MessageBuffer::default();
        let mut generator = generate_message;
        generator.generate(&MessageContext { producer: 1, producers: 4, sequence: 2, due_us: 0 }, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out.payload).unwrap();
        assert_eq!(value["id"], 9);
        assert_eq!(value["text"], "message 2 of producer 1");
    }
}
