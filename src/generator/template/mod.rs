//! Generates messages from a template: a JSON text in which an object with one member that starts with `$` is a field,
//! rendered for each message.
//!
//! ```json
//! {"id": {"$sequence": {}}, "customer": {"$integer": [1, 5000]}, "state": {"$choice": ["new", "paid"], "weights": [3, 1]},
//!  "items": [{"sku": {"$pattern": "[A-Z]{3}-\\d{4}"}, "price": {"$float": [1, 99], "digits": 2}}]}
//! ```
//!
//! | field | options | value |
//! | --- | --- | --- |
//! | `{"$sequence": {}}` | `start` (0), `step` (1) | a whole number, unique in the run: `start` + `step` × (the message's number in its thread × threads + the thread) |
//! | `{"$uuid": {}}` | | a random UUID (version 4) |
//! | `{"$timestamp": "rfc3339"}`, `"ms"`, `"us"` | | the time of generation: a text in UTC, or a number since the Unix epoch |
//! | `{"$integer": [1, 100]}` | | a whole number, both ends inclusive |
//! | `{"$float": [0, 1]}` | `digits`, 0 to 15 | a number with this number of decimal places; without the option, with full precision |
//! | `{"$choice": ["a", "b"]}` | `weights` | one of the values, which may contain fields |
//! | `{"$word": {}}` | `count`, or `min` and `max` | English words in one text |
//! | `{"$pattern": "[A-Z]{3}-\\d{4}"}` | | text that matches a regular expression; see `pattern` |
//! | `{"$bytes": 100}`, `[10, 100]` | | this number of random base64 characters |
//! | `{"$boolean": 0.5}` | | `true` with this probability |
//!
//! A member name that starts with a literal `$` is written `$$`. Everything else is copied into the message.
//!
//! The text is compiled once into a list of segments, which are rendered one after the other without building a value.
//!
//! - `compiler`: text to segments. `field`, `pattern`, `word_list`: the fields. `renderer`: segments to bytes.

mod compiler;
mod field;
mod pattern;
mod renderer;
mod word_list;

use std::fmt;
use std::sync::Arc;

use super::rng::{RngStream, rng_for};
use crate::generator::{GenerateError, Generator, MessageBuffer, MessageContext};
use field::Field;

/// A part of a compiled template.
#[derive(Debug)]
enum Segment {
    /// Literal bytes.
    Literal(Vec<u8>),
    /// A field, rendered for each message.
    Field(Field),
    /// The start of the value that is the message's key.
    KeyBegins,
    /// The end of that value.
    KeyEnds,
}

/// A compiled template, shared by its clones.
#[derive(Clone, Debug)]
pub struct Template {
    pieces: Arc<[Segment]>,
    has_key: bool,
    seed: u64,
}

/// An error in a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TemplateError {
    /// The path, such as `order.items[2].price`; empty for the whole template.
    pub place: String,
    /// The value at the path, shortened.
    pub value: String,
    /// What is wrong or allowed.
    pub problem: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place.as_str(), self.value.as_str()) {
            ("", "") => f.write_str(&self.problem),
            ("", value) => write!(f, "{value}: {}", self.problem),
            (place, value) => write!(f, "{place} = {value}: {}", self.problem),
        }
    }
}

impl Template {
    /// Compiles a template. `key_field`: the member of the whole message that is its key. `seed`: the seed of the
    /// random fields.
    ///
    /// # Errors
    /// The first error, with its path.
    pub fn new(text: &str, key_field: Option<&str>, seed: u64) -> Result<Self, TemplateError> {
        let (pieces, has_key) = compiler::compile(text, key_field)?;
        Ok(Self { pieces: pieces.into(), has_key, seed })
    }

    /// Returns whether the message has the member `key_field`.
    pub fn has_key(&self) -> bool {
        self.has_key
    }
}

impl Generator for Template {
    fn generate(&mut self, source: &MessageContext, message: &mut MessageBuffer) -> Result<(), GenerateError> {
        let random = rng_for(self.seed, RngStream::Payload, source);
        message.key = renderer::render(&self.pieces, source, random, &mut message.payload)?;
        Ok(())
    }

    fn clone_boxed(&self) -> Box<dyn Generator> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
