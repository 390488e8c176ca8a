//! The HTTP server, on a thread of its own: nothing that a client does holds up the run.
//!
//! What a client may cost: [`CONNECTIONS`] at once, more are closed at once; [`HEADERS`] of a request's head, which has to come
//! within [`PATIENCE`]; an answer that is not read for so long ends the connection. Requests' bodies are not read.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use slog::{Logger, debug, info};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
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
        let refused = |error: std::io::Error| {
            let text = format!(
                "monitoring.listen = {address} ({origin}): it cannot be listened on: {error}; name another address or port, or none"
            );
            Exit::new(ExitCode::Usage, text)
        };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
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
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return debug!(logger, "monitoring: {error}"),
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(AGAIN).await;
            continue;
        };
        // Without room it is dropped, which closes it.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (router, logger) = (router.clone(), logger.clone());
        tokio::spawn(async move {
            if let Err(error) = converse(stream, router).await {
                debug!(logger, "monitoring: a connection has ended: {error}");
            }
            drop(place);
        });
    }
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
