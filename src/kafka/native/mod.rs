//! What rdkafka has no function for, or a slow one: the only code of the crate with `unsafe`, behind safe interfaces.
//!
//! - [`batch`]: many messages with one call. [`message`]: one of them.
//! - [`member`]: the id that a group knows a client by.
//! - [`topic`]: messages to one topic, without looking its name up for each. [`events`]: what becomes of them.

pub(super) mod batch;
pub(super) mod events;
pub(super) mod member;
pub(super) mod message;
pub(super) mod topic;
