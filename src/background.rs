//! Work that blocks, for an actor that must not.

use std::future::Future;

use tokio::sync::oneshot;

/// Runs `work` on a plain thread of its own. The thread is not waited for at the end of the process, as a runtime's
/// blocking pool would be: `work` has a deadline of its own, or nothing to lose.
///
/// The future's error is a text: the thread could not be started.
pub fn run<T, F>(name: &str, work: F) -> impl Future<Output = Result<T, String>> + use<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Whoever asked may have gone.
        let _unheard = sender.send(work());
    });
    async move {
        started.map_err(|error| format!("no thread could be started: {error}"))?;
        receiver.await.map_err(|_| "the thread ended without an answer".to_owned())
    }
}
