//! `count`: does nothing with a message; the worker counts it anyway.

use super::{ProcessResult, Processor};
use crate::record::Record;

pub(super) struct Count;

impl Processor for Count {
    fn process(&mut self, _: &Record<'_>) -> ProcessResult {
        ProcessResult::Done(Ok(()))
    }
}
