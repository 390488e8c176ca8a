//! Safe wrappers of librdkafka functions that rdkafka lacks or implements slowly: the only code of the crate with
//! `unsafe`.
//!
//! - [`commit`]: an asynchronous commit whose result poll reports. [`metadata`]: the metadata of committed offsets.
//! - [`queue`]: a partition queue. [`batch_consume`]: many messages of it per call. [`message`]: one message.
//! - [`credentials`]: changes the password of a connected client. [`member_id`]: a client's id in its group.
//! - [`descriptors`]: close-on-exec for all descriptors. [`group`]: the members of a consumer group.
//! - [`topic_ids`]: the ids of topics.
//! - [`produce`]: produces to one topic without a lookup per message. [`event_queue`]: delivery reports.

pub(super) mod batch_consume;
pub(super) mod commit;
pub(super) mod credentials;
pub(super) mod descriptors;
pub(super) mod event_queue;
pub(super) mod group;
pub(super) mod member_id;
pub(super) mod message;
pub(super) mod metadata;
pub(super) mod produce;
pub(super) mod queue;
pub(super) mod topic_ids;
