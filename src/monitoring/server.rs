//! The HTTP server, on a thread of its own: nothing that a client does holds up the run.
//!
//! What a client may cost: [`CONNECTIONS`] at once, of more the oldest is closed; [`HEADERS`] of a request's head, which has to
//! come within [`PATIENCE`]; an answer that is not read for so long ends the connection. Requests' bodies are not read.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use slog::{Logger, debug, info, warn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;

use super::board::Board;
use super::routes;
use crate::exit::{Exit, ExitCode};

/// Connections at once.
const CONNECTIONS: usize = 64;
/// Bytes of a request's head.
const HEADERS: usize = 16 << 10;
/// How long a client may take to ask, and to take what it is given.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an accept that failed, such as for the lack of descriptors.
const AGAIN: Duration = Duration::from_millis(100);
/// Such accepts are said once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// The server; it ends with this.
pub struct StatusServer {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl StatusServer {
    /// Serves what is on the board. `origin` is who has set the address.
    ///
    /// # Errors
    /// An end with [`ExitCode::Usage`] if nobody can listen there.
    pub fn start(board: Board, address: SocketAddr, origin: &str, logger: &Logger) -> Result<Self, Exit> {
        let refused = |error: io::Error| {
            let text = format!(
                "monitoring.listen = {address} ({origin}): it cannot be listened on: {error}; name another address or port, or none"
            );
            Exit::new(ExitCode::Usage, text)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = oneshot::channel();
        let own = logger.clone();
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, routes::router(board), &own) => {}
                    // Answers under way are cut off: a run that is over waits for nobody who watches it.
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
        // It has panicked only if the process is ending anyway.
        let _joined = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(listener: TcpListener, router: Router, logger: &Logger) {
    // The oldest first.
    let mut open: Vec<(IpAddr, AbortHandle)> = Vec::new();
    let mut said: Option<Instant> = None;
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Whoever was to be accepted has gone.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => continue,
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() >= QUIET) {
                    said = Some(Instant::now());
                    warn!(logger, "monitoring: nobody can connect: {error}; it is tried again and again");
                }
                sleep(AGAIN).await;
                continue;
            }
        };
        open.retain(|(_, connection)| !connection.is_finished());
        if open.len() >= CONNECTIONS {
            let clients: Vec<_> = open.iter().map(|(client, _)| *client).collect();
            open.remove(dispensable(&clients)).1.abort();
        }
        let (router, logger) = (router.clone(), logger.clone());
        let connection = tokio::spawn(async move {
            if let Err(error) = converse(stream, router).await {
                debug!(logger, "monitoring: a connection has ended: {error}");
            }
        });
        open.push((client.ip(), connection.abort_handle()));
    }
}

/// Which connection makes room for another one: the oldest of the client that has most of them. Whoever holds all that there
/// are loses its own, and a probe is answered.
fn dispensable(clients: &[IpAddr]) -> usize {
    let mut counts = HashMap::<_, usize>::new();
    clients.iter().for_each(|client| *counts.entry(client).or_default() += 1);
    let most = counts.values().max().copied();
    clients.iter().position(|client| counts.get(client).copied() == most).unwrap_or(0)
}

async fn converse(stream: TcpStream, router: Router) -> hyper::Result<()> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(PATIENCE));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
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
        assert_eq!(dispensable(&clients(&[1, 2, 3, 2, 3, 2])), 1);
        assert_eq!(dispensable(&clients(&[1, 2, 3])), 0);
        assert_eq!(dispensable(&clients(&[4, 4, 4])), 0);
    }
}
