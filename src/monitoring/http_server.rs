//! The HTTP server of the status. It runs on a dedicated thread, so that no client can delay the run.
//!
//! Limits: at most [`CONNECTIONS`] connections, beyond which the oldest one is closed; at most [`HEADERS`] bytes of a request's
//! head, which must arrive within [`CLIENT_TIMEOUT`]; a response that is not read within the same time closes the connection.
//! Request bodies are not read. `axum::serve` has none of these limits, which is why connections are served by hyper here.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use slog::{Logger, debug, info, warn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;

use super::routes;
use super::status_registry::StatusRegistry;
use crate::exit::{ExitCode, ExitStatus};

/// The maximum number of concurrent connections.
const CONNECTIONS: usize = 64;
/// The maximum size of a request's head, in bytes.
const HEADERS: usize = 16 << 10;
/// The timeout for receiving a request's head, and for sending a response.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The delay after a failed accept, such as one for lack of file descriptors.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Failed accepts are logged at most once per interval.
const ACCEPT_ERROR_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The HTTP server; it stops when this is dropped.
pub struct StatusServer {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl StatusServer {
    /// Starts to serve the status in the registry. `origin` is the origin of the address setting, for errors.
    ///
    /// # Errors
    /// An exit status with [`ExitCode::Usage`] if the address cannot be bound.
    pub fn start(
        registry: StatusRegistry,
        address: SocketAddr,
        origin: &str,
        logger: &Logger,
    ) -> Result<Self, ExitStatus> {
        let refused = |error: io::Error| {
            let text = format!(
                "monitoring.listen = {address} ({origin}): it cannot be listened on: {error}; name another address or port, or none"
            );
            ExitStatus::new(ExitCode::Usage, text)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = oneshot::channel();
        let own = logger.clone();
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, routes::router(registry, bound.ip()), &own) => {}
                    // Responses in progress are cancelled: a finished run does not wait for HTTP clients.
                    _ = stopped => {}
                }
            });
        });
        info!(logger, "monitoring"; "url" => format!("http://{bound}/"));
        Ok(Self { stop: Some(stop), thread: Some(thread.map_err(refused)?) })
    }
}

impl Drop for StatusServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It fails only if the thread panicked, and then the process is exiting.
            thread.join().ok();
        }
    }
}

async fn serve(listener: TcpListener, router: Router, logger: &Logger) {
    // The oldest connection is first.
    let mut open: Vec<(IpAddr, AbortHandle)> = Vec::new();
    let mut logged: Option<Instant> = None;
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The client has already disconnected.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => continue,
            Err(error) => {
                if logged.is_none_or(|logged| logged.elapsed() >= ACCEPT_ERROR_LOG_INTERVAL) {
                    logged = Some(Instant::now());
                    warn!(logger, "monitoring: connections cannot be accepted: {error}; retrying");
                }
                sleep(ACCEPT_RETRY_INTERVAL).await;
                continue;
            }
        };
        open.retain(|(_, connection)| !connection.is_finished());
        if open.len() >= CONNECTIONS {
            let clients: Vec<_> = open.iter().map(|(client, _)| *client).collect();
            open.remove(evictable(&clients)).1.abort();
        }
        let router = router.clone().layer(Extension(routes::Client(client.ip().to_canonical())));
        let logger = logger.clone();
        let connection = tokio::spawn(async move {
            if let Err(error) = serve_connection(stream, router).await {
                debug!(logger, "monitoring: a connection has ended: {error}");
            }
        });
        open.push((client.ip(), connection.abort_handle()));
    }
}

/// Returns the index of the connection to close for a new one: the oldest connection of the client with the most connections. A
/// client that uses up all connections loses its own, and a probe still gets a response.
fn evictable(clients: &[IpAddr]) -> usize {
    let mut counts = HashMap::<_, usize>::new();
    clients.iter().for_each(|client| *counts.entry(client).or_default() += 1);
    let most = counts.values().max().copied();
    clients.iter().position(|client| counts.get(client).copied() == most).unwrap_or(0)
}

async fn serve_connection(stream: TcpStream, router: Router) -> hyper::Result<()> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(CLIENT_TIMEOUT));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_TIMEOUT)
        .max_buf_size(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_most_connections_loses_the_oldest_of_them() {
        let clients = |hosts: &[u8]| hosts.iter().map(|host| IpAddr::from([10, 0, 0, *host])).collect::<Vec<_>>();
        assert_eq!(evictable(&clients(&[1, 2, 3, 2, 3, 2])), 1);
        assert_eq!(evictable(&clients(&[1, 2, 3])), 0);
        assert_eq!(evictable(&clients(&[4, 4, 4])), 0);
    }
}
