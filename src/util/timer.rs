//! Timers of actors that stop while job control suspends the process.

use std::time::Duration;

use actix::prelude::*;

use crate::os::job_control;

/// Calls `then` after this duration, not counting the time in which the process was suspended.
pub fn run_later<A: Actor<Context = Context<A>>>(
    context: &mut Context<A>,
    time: Duration,
    then: impl FnOnce(&mut A, &mut Context<A>) + 'static,
) {
    let before = job_control::suspended_ms();
    context.run_later(time, move |actor, context| {
        match Duration::from_millis(job_control::suspended_ms().saturating_sub(before)) {
            Duration::ZERO => then(actor, context),
            suspended => run_later(context, suspended, then),
        }
    });
}
