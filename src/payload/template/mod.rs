//! Messages by a template: a JSON text in which an object with one member that begins with `$` is a field, written anew
//! for each message.
//!
//! ```json
//! {"id": {"$sequence": {}}, "customer": {"$integer": [1, 5000]}, "state": {"$choice": ["new", "paid"], "weights": [3, 1]},
//!  "items": [{"sku": {"$pattern": "[A-Z]{3}-\\d{4}"}, "price": {"$float": [1, 99], "digits": 2}}]}
//! ```
//!
//! | field | options | what is written |
//! | --- | --- | --- |
//! | `{"$sequence": {}}` | `start` (0), `step` (1) | a whole number, unique in the run: `start` + `step` × (the message's number in its thread × threads + the thread) |
//! | `{"$uuid": {}}` | | a random UUID (version 4) |
//! | `{"$timestamp": "rfc3339"}`, `"ms"`, `"us"` | | when it is made: a text in UTC, or a number since 1970 |
//! | `{"$integer": [1, 100]}` | | a whole number, both ends included |
//! | `{"$float": [0, 1]}` | `digits`, 0 to 15 | a number, with so many decimal places; without, as exactly as it goes |
//! | `{"$choice": ["a", "b"]}` | `weights` | one of any values, which may hold fields |
//! | `{"$word": {}}` | `count`, or `min` and `max` | English words in one text |
//! | `{"$pattern": "[A-Z]{3}-\\d{4}"}` | | text that a regular expression matches; see `pattern` |
//! | `{"$bytes": 100}`, `[10, 100]` | | so many characters of random base64 text |
//! | `{"$boolean": 0.5}` | | `true` with this probability |
//!
//! A member whose name begins with `$` itself is written `$$`. Everything else stands in the message as it does here.
//!
//! The text is compiled once, into a list of pieces; making a message writes them one after the other and builds nothing.
//!
//! - `compile`: text to pieces. `field`: what a field's arguments are. `pattern`, `words`. `write`: pieces to bytes.

mod compile;
mod field;
mod pattern;
mod words;
mod write;

use std::fmt;
use std::sync::Arc;

use super::random::{Draw, of_message};
use crate::message::{GenerateError, Generator, Outgoing, Source};
use field::Field;

/// One step of writing a message.
#[derive(Debug)]
enum Piece {
    /// As it is.
    Literal(Vec<u8>),
    /// Anew each time.
    Field(Field),
    /// The value that is the message's key begins,
    KeyBegins,
    /// and ends.
    KeyEnds,
}

/// A template, compiled. Its clones share it.
#[derive(Clone, Debug)]
pub struct Template {
    pieces: Arc<[Piece]>,
    has_key: bool,
    seed: u64,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The place, such as `order.items[2].price`; empty for the whole.
    pub place: String,
    /// What stands there, shortened.
    pub value: String,
    /// What is wrong, or what is allowed.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place.as_str(), self.value.as_str()) {
            ("", "") => f.write_str(&self.problem),
            ("", value) => write!(f, "{value}: {}", self.problem),
            (place, value) => write!(f, "{place} = {value}: {}", self.problem),
        }
    }
}

impl Template {
    /// Compiles a template. `key_field`: the member of the whole message that is its key, if one is. `seed`: what the
    /// random fields follow from.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn new(text: &str, key_field: Option<&str>, seed: u64) -> Result<Self, Problem> {
        let (pieces, has_key) = compile::pieces(text, key_field)?;
        Ok(Self { pieces: pieces.into(), has_key, seed })
    }

    /// Whether the message has the member that was named as its key.
    pub fn has_key(&self) -> bool {
        self.has_key
    }
}

impl Generator for Template {
    fn generate(&mut self, source: &Source, message: &mut Outgoing) -> Result<(), GenerateError> {
        let random = of_message(self.seed, Draw::Payload, source);
        message.key = write::pieces(&self.pieces, source, random, &mut message.payload)?;
        Ok(())
    }

    fn clone_boxed(&self) -> Box<dyn Generator> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
