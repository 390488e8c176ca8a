//! The handling of panics.
//!
//! User code (generator, processor) runs in [`catch_panic`]: its panic is a failure of the message. Any other panic
//! logs a line and aborts the process, because an actor system without one of its actors would wait forever.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::os::limits;

/// The start of the line that a panicking process logs; the supervisor counts such exits separately.
pub const PANIC_MESSAGE: &str = "kafka-actors: panic in thread";

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// The location of the last caught panic of this thread.
    static LOCATION: Cell<Option<String>> = const { Cell::new(None) };
}

/// Installs the panic hook; must be called once at the start of a process.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(move |info| {
        let location = info.location().map_or_else(|| "an unknown location".to_owned(), ToString::to_string);
        if GUARDED.get() {
            LOCATION.set(Some(location));
            return;
        }
        let thread = std::thread::current();
        let text = panic_message(info);
        // Libraries panic when they cannot create a thread or open a descriptor.
        let name = thread.name().unwrap_or("unnamed");
        let line = match limits::explanation(&text) {
            Some(limits) => {
                format!("kafka-actors: thread {name:?} at {location}: {text}; {limits}; the process ends\n")
            }
            None => format!("{PANIC_MESSAGE} {name:?} at {location}: {text}; this is a bug, the process ends\n"),
        };
        // Bypasses all locks, because the panicking thread may hold them.
        if let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned() {
            File::from(stderr).write_all(line.as_bytes()).ok();
        }
        std::process::abort();
    }));
}

fn panic_message(info: &PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("without a text").to_owned()
}

/// Calls user code.
///
/// # Errors
/// The text and location of its panic.
pub fn catch_panic<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    let before = GUARDED.replace(true);
    // The user code owns the state that a panic may leave inconsistent; ours is not accessed inside.
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    GUARDED.set(before);
    result.map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a text".to_owned());
        match LOCATION.take() {
            Some(location) => format!("panicked at {location}: {text}"),
            None => format!("panicked: {text}"),
        }
    })
}

/// A future of user code; each poll runs in [`catch_panic`].
pub struct CatchPanic<F>(pub Pin<Box<F>>)
where
    F: Future + ?Sized;

impl<F: Future + ?Sized> Future for CatchPanic<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_panic(|| self.0.as_mut().poll(context)) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarded_panic_is_an_error_with_its_text() {
        let error = catch_panic(|| panic!("no {}", "more")).unwrap_err();
        assert!(error.contains("no more"), "{error}");
        assert_eq!(catch_panic(|| 1), Ok(1));
    }

    #[test]
    fn a_guarded_future_is_an_error_when_it_panics() {
        let panics = CatchPanic(Box::pin(async {
            if true {
                panic!("later")
            }
        }) as Pin<Box<dyn Future<Output = ()>>>);
        assert!(futures::executor::block_on(panics).unwrap_err().contains("later"));
    }
}
