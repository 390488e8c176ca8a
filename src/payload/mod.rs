//! Payloads by settings: generators that need no code.
//!
//! - [`template`]: a JSON text with typed, random fields (`producer.template`). [`lines`]: a file's lines
//!   (`producer.lines_file`). `pad`: payloads of a size (`producer.size`).
//! - [`random`]: the random numbers of a message, which follow from a seed. `key`: a member as the message's key.

mod key;
pub mod lines;
mod pad;
pub mod random;
pub mod template;

pub(crate) use key::field_of;
pub(crate) use pad::{blanks, pad};
