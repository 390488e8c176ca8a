//! File descriptors that librdkafka opens.

use std::os::fd::BorrowedFd;

use crate::os::descriptors;

/// Marks all descriptors above stderr as close-on-exec. librdkafka does not do this for all of its descriptors: a
/// child process would keep pipes of its clients and connections of the embedded broker open.
pub fn close_on_exec() {
    for number in descriptors::above_stderr() {
        // SAFETY: the number is used for one call that sets this flag. If another thread has closed the descriptor,
        // the call fails; if it has opened another one with this number, a child must not inherit that either.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        descriptors::close_on_exec(descriptor);
    }
}
