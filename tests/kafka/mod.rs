//! Topics, brokers and networks that change or fail.

mod broker_failures;
mod network;
mod quotas;
mod topic_changes;
mod transactions;
