//! What a worker's partitions share, on the processing thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix::Recipient;

use super::counters::Budget;
use super::messages::Event;
use crate::processing::{Processor, WorkerContext};

/// What all partitions of a worker share, on the processing thread.
pub(super) struct Shared {
    pub(super) processor: RefCell<Box<dyn Processor>>,
    pub(super) context: WorkerContext,
    pub(super) budget: Arc<Budget>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) events: Recipient<Event>,
}
