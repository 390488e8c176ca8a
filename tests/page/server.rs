//! Serves the page and the status that a test makes, as the program does.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kafka_actors::monitoring::status::Status;

const PAGE: &str = include_str!("../../src/monitoring/page.html");
/// Connections at once; a browser opens a handful.
const MOST: usize = 32;
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server; its threads and connections end with it.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
    nonces: AtomicU32,
}

#[derive(Default)]
struct Told {
    /// How many were shown.
    version: u64,
    /// The last of them; `None`: none yet.
    json: Option<String>,
    /// Nobody is told of changes, as if others had all the places.
    full: bool,
    /// How often somebody has asked for them.
    asked: u32,
    /// Those that are open.
    connections: Vec<TcpStream>,
    stop: bool,
}

impl Server {
    /// At a free port.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// At the port of one that is gone.
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

    /// From now on all places are taken, or none is; those who have one keep it.
    pub fn set_full(&self, full: bool) {
        self.shared.told.lock().unwrap().full = full;
    }

    /// How often somebody has asked for a place.
    pub fn asked(&self) -> u32 {
        self.shared.told.lock().unwrap().asked
    }

    /// The next status, for everybody who listens now or later.
    pub fn show(&self, status: &Status) {
        let mut told = self.shared.told.lock().unwrap();
        told.json = Some(serde_json::to_string(status).unwrap());
        told.version += 1;
        drop(told);
        self.shared.changed.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut told = self.shared.told.lock().unwrap();
        told.stop = true;
        told.connections.iter().for_each(close);
        drop(told);
        self.shared.changed.notify_all();
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

fn close(connection: &TcpStream) {
    // It may be closed.
    let _closed = connection.shutdown(std::net::Shutdown::Both);
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut answering: Vec<JoinHandle<()>> = Vec::new();
        for connection in listener.incoming() {
            let connection = connection.unwrap();
            let mut told = self.told.lock().unwrap();
            if told.stop {
                break;
            }
            answering.retain(|thread| !thread.is_finished());
            if answering.len() == MOST {
                continue;
            }
            told.connections.retain(|open| open.peer_addr().is_ok());
            told.connections.push(connection.try_clone().unwrap());
            drop(told);
            let shared = Arc::clone(self);
            answering.push(std::thread::spawn(move || {
                // The browser may go at any time.
                let _gone = shared.answer(&connection);
                close(&connection);
            }));
        }
        answering.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// One request a connection.
    fn answer(&self, mut connection: &TcpStream) -> std::io::Result<()> {
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
                let mut told = self.told.lock().unwrap();
                told.asked += 1;
                let full = told.full;
                drop(told);
                if full {
                    let refused = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                    return connection.write_all(refused.as_bytes());
                }
                self.events(connection)
            }
            Some("/status") => {
                let body = self.told.lock().unwrap().json.clone().unwrap_or_default();
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
            let told = self.told.lock().unwrap();
            let (told, _) = self
                .changed
                .wait_timeout_while(told, Duration::from_secs(1), |told| told.version == seen && !told.stop)
                .unwrap();
            if told.stop {
                return Ok(());
            }
            // The same again after a second, as the program does: the page knows by it that somebody is there.
            seen = told.version;
            let text = told.json.as_ref().map_or(":\n\n".to_owned(), |json| format!("event: status\ndata: {json}\n\n"));
            drop(told);
            connection.write_all(text.as_bytes())?;
        }
    }
}
