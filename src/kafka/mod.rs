//! The Kafka clients, based on rdkafka. No other module uses rdkafka, and this one has no actors.
//!
//! - [`cluster_client`]: metadata, watermarks and committed offsets ([`offsets`]); `first_contact`: the wait for the
//!   brokers; `group_coordinator`: retries while a group coordinator is unavailable.
//! - [`consumer`], `consumer_context`, [`partition_queue`]: a consumer client; `fetch_control`, `fetch_budget`: its
//!   prefetch limit.
//! - [`producer`], [`delivery_reports`], `send_time`, `size_limits`: a producer client; [`dead_letter_producer`]: a
//!   producer for single dead-letter records.
//! - [`commit_metadata`]: the metadata of committed offsets; [`offset_gaps`]: ranges of a log without messages;
//!   [`offset_retention`]: how long brokers keep the offsets of an empty group; [`group_lock`]: a consumer group as a
//!   lock.
//! - [`topic_admin`]: creates, describes and deletes topics; [`topic_id`]: tells a topic from one of the same name.
//! - `client_config`: librdkafka properties; `client_context`: log lines and errors; [`statistics`], [`health`],
//!   [`quota_throttle`]: the state of a client's connections.
//! - [`error`], [`acl`]: errors and missing rights; `diagnosis`, `probe`, `pem`: why a connection fails.
//! - [`mock_cluster`]: an embedded broker for the demo.
//! - `ffi`: calls of librdkafka that rdkafka lacks; the only unsafe code.

pub mod acl;
mod client_config;
mod client_context;
pub mod cluster_client;
pub mod commit_metadata;
pub mod consumer;
mod consumer_context;
pub mod dead_letter_producer;
pub mod delivery_reports;
mod diagnosis;
pub mod error;
mod fetch_budget;
mod fetch_control;
#[allow(unsafe_code, reason = "librdkafka calls that rdkafka lacks; see the module")]
mod ffi;
mod first_contact;
mod group_coordinator;
pub mod group_lock;
pub mod health;
pub mod mock_cluster;
pub mod offset_gaps;
pub mod offset_retention;
pub mod offsets;
pub mod partition_queue;
mod pem;
mod probe;
pub mod producer;
pub mod quota_throttle;
mod send_time;
mod size_limits;
pub mod startup;
pub mod statistics;
pub mod topic_admin;
pub mod topic_id;

pub use client_config::{acks, check};
pub use ffi::descriptors::close_on_exec;
