//! What a panic does.
//!
//! The user's code (generator, processor) runs [`guarded`]: its panic is that message's failure, with its text. A
//! panic anywhere else ends the process at once with a log line: an actor system that lives on without one of its
//! actors would wait for ever.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What the line begins with by which a process that panicked says so; its supervisor counts such deaths apart.
pub const LAST_WORDS: &str = "kafka-actors: panic in thread";

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where the last guarded panic of this thread happened.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// To be called once, at the start of a process.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        if GUARDED.get() {
            PLACE.set(Some(place));
            return;
        }
        let thread = std::thread::current();
        let line = format!(
            "{LAST_WORDS} {:?} at {place}: {}; this is a bug, the process ends\n",
            thread.name().unwrap_or("unnamed"),
            text_of(info)
        );
        // Past all locks: the panicking thread may hold them.
        if let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned() {
            let _nobody_reads = File::from(stderr).write_all(line.as_bytes());
        }
        std::process::abort();
    }));
}

fn text_of(info: &PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("without a text").to_owned()
}

/// Calls the user's code.
///
/// # Errors
/// If it panics: the panic's text and place.
pub fn guarded<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    let before = GUARDED.replace(true);
    // The state that the user's code leaves behind is the user's; ours is not touched inside.
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    GUARDED.set(before);
    result.map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a text".to_owned());
        match PLACE.take() {
            Some(place) => format!("panicked at {place}: {text}"),
            None => format!("panicked: {text}"),
        }
    })
}

/// A future of the user's, each poll of which is [`guarded`].
pub struct Guarded<F>(pub Pin<Box<F>>)
where
    F: Future + ?Sized;

impl<F: Future + ?Sized> Future for Guarded<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match guarded(|| self.0.as_mut().poll(context)) {
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
        let error = guarded(|| panic!("no {}", "more")).unwrap_err();
        assert!(error.contains("no more"), "{error}");
        assert_eq!(guarded(|| 1), Ok(1));
    }

    #[test]
    fn a_guarded_future_is_an_error_when_it_panics() {
        let panics = Guarded(Box::pin(async {
            if true {
                panic!("later")
            }
        }) as Pin<Box<dyn Future<Output = ()>>>);
        assert!(futures::executor::block_on(panics).unwrap_err().contains("later"));
    }
}
