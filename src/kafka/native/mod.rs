//! What rdkafka has no function for, or a slow one: the only code of the crate with `unsafe`, behind safe interfaces.
//!
//! - [`batch`]: many messages with one call. - [`topic`]: messages to one topic, without looking its name up for each.

pub(super) mod batch;
pub(super) mod topic;
