//! Runs blocking work for actors.

use std::future::Future;

use tokio::sync::oneshot;

use crate::os::limits;

/// Runs `work` on its own thread. Unlike a runtime's blocking pool, the process does not wait for the thread when it
/// exits: `work` must have its own timeout, or nothing to lose.
///
/// The future's error means that the thread could not be started.
pub fn spawn_blocking<T, F>(name: &str, work: F) -> impl Future<Output = Result<T, String>> + use<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // The caller may have dropped the future.
        sender.send(work()).ok();
    });
    async move {
        started.map_err(|error| format!("no thread could be started: {}", limits::named(&error)))?;
        receiver.await.map_err(|_| "the thread ended without a result".to_owned())
    }
}
