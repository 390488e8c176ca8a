//! Serves the page and the status that a test creates, as the program does.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kafka_actors::internal::status::Status;

const PAGE: &str = include_str!("../../src/monitoring/dashboard.html");
/// The maximum number of connections; a browser opens a handful.
const MOST: usize = 32;
/// A client that reads nothing for this time is treated as disconnected.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server; its threads and connections end when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    reported: Mutex<Told>,
    changed: Condvar,
    nonces: AtomicU32,
}

#[derive(Default)]
struct Told {
    /// The number of statuses that were shown.
    version: u64,
    /// The last status; `None` before the first.
    json: Option<String>,
    /// The server rejects subscriptions, as if other clients used all slots.
    full: bool,
    /// The number of requests for a subscription.
    asked: u32,
    /// The open connections.
    connections: Vec<TcpStream>,
    stop: bool,
}

impl Server {
    /// Starts at a free port.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// Starts at the port of a server that was dropped.
    pub fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Sets whether all slots are in use from now on; clients that have a slot keep it.
    pub fn set_full(&self, full: bool) {
        self.shared.reported.lock().unwrap().full = full;
    }

    /// The number of requests for a subscription.
    pub fn asked(&self) -> u32 {
        self.shared.reported.lock().unwrap().asked
    }

    /// Sets the next status for all current and later subscribers.
    pub fn show(&self, status: &Status) {
        let mut reported = self.shared.reported.lock().unwrap();
        reported.json = Some(serde_json::to_string(status).unwrap());
        reported.version += 1;
        drop(reported);
        self.shared.changed.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut reported = self.shared.reported.lock().unwrap();
        reported.stop = true;
        reported.connections.iter().for_each(close);
        drop(reported);
        self.shared.changed.notify_all();
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

fn close(connection: &TcpStream) {
    // The connection may be closed already.
    let _closed = connection.shutdown(std::net::Shutdown::Both);
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut answering: Vec<JoinHandle<()>> = Vec::new();
        for connection in listener.incoming() {
            let connection = connection.unwrap();
            let mut reported = self.reported.lock().unwrap();
            if reported.stop {
                break;
            }
            answering.retain(|thread| !thread.is_finished());
            if answering.len() == MOST {
                continue;
            }
            reported.connections.retain(|open| open.peer_addr().is_ok());
            reported.connections.push(connection.try_clone().unwrap());
            drop(reported);
            let shared = Arc::clone(self);
            answering.push(std::thread::spawn(move || {
                // The browser may disconnect at any time.
                let _gone = shared.reply(&connection);
                close(&connection);
            }));
        }
        answering.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Handles one request per connection.
    fn reply(&self, mut connection: &TcpStream) -> std::io::Result<()> {
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(connection).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        match request.split(' ').nth(1) {
            Some("/") => {
                let nonce = format!("nonce{}", self.nonces.fetch_add(1, Ordering::Relaxed));
                let body = PAGE.replace("__NONCE__", &nonce);
                write!(
                    connection,
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\ncontent-security-policy: \
                     default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:\
                     \r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
            Some("/events") => {
                let mut reported = self.reported.lock().unwrap();
                reported.asked += 1;
                let full = reported.full;
                drop(reported);
                if full {
                    let refused = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                    return connection.write_all(refused.as_bytes());
                }
                self.events(connection)
            }
            Some("/status") => {
                let body = self.reported.lock().unwrap().json.clone().unwrap_or_default();
                let length = body.len();
                write!(connection, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
            }
            _ => write!(connection, "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        }
    }

    fn events(&self, mut connection: &TcpStream) -> std::io::Result<()> {
        write!(
            connection,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        )?;
        let mut seen = 0;
        loop {
            let reported = self.reported.lock().unwrap();
            let (reported, _) = self
                .changed
                .wait_timeout_while(reported, Duration::from_secs(1), |reported| {
                    reported.version == seen && !reported.stop
                })
                .unwrap();
            if reported.stop {
                return Ok(());
            }
            // Sends the same status again after a second, as the program does: by this the page detects that the server is alive.
            seen = reported.version;
            let text =
                reported.json.as_ref().map_or(":\n\n".to_owned(), |json| format!("event: status\ndata: {json}\n\n"));
            drop(reported);
            connection.write_all(text.as_bytes())?;
        }
    }
}
