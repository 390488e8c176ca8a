//! A failing network: a TCP proxy between the program and its broker.
//!
//! Kafka's clients connect to the addresses that brokers advertise, so the broker has to advertise the proxy: `Broker::behind`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// The maximum number of connections; the proxy closes further ones at once. The program has one per client and broker, and a few
/// more.
const MOST: usize = 256;
/// The maximum size of a forwarded piece in bytes.
const PIECE: usize = 64 << 10;
/// The interval at which the proxy checks whether a fault is over.
const LOOK: Duration = Duration::from_millis(5);

/// The effect of the network on all traffic from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// No effect.
    None,
    /// Delays each piece of up to 64 KiB by this time, in both directions.
    Latency(Duration),
    /// Limits each direction of each connection to this number of bytes per second.
    Throttle(u32),
    /// The proxy accepts and keeps connections, and forwards nothing. Data that was sent meanwhile is forwarded when the fault is
    /// over.
    HalfOpen,
    /// The proxy closes connections as soon as it accepts them; existing connections stay open.
    Refuse,
    /// The proxy drops the fetch requests on connections that it accepts during the fault; see [`Proxy::starve`].
    Starve,
}

/// The proxy; its threads and connections end when it is dropped.
pub struct Proxy {
    /// The address to which clients connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    fault: Mutex<Fault>,
    connections: Mutex<Vec<Arc<Connection>>>,
    stop: AtomicBool,
    accepted: AtomicU64,
    truncated: AtomicU64,
}

/// Both ends of a connection.
struct Connection {
    client: TcpStream,
    broker: TcpStream,
    /// Truncates the next piece of a response, and closes the connection.
    truncate: AtomicBool,
    /// Drops fetch requests from now on.
    starve: AtomicBool,
}

impl Proxy {
    /// Starts a proxy without a broker, which closes every connection.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(None),
            fault: Mutex::new(Fault::None),
            connections: Mutex::default(),
            stop: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Sets the broker to which the proxy forwards.
    pub fn stand_before(&self, target: SocketAddr) {
        *lock(&self.shared.target) = Some(target);
    }

    /// Sets the fault from now on.
    pub fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
    }

    /// Closes all connections, and returns their number.
    pub fn cut(&self) -> usize {
        let connections = lock(&self.shared.connections);
        connections.iter().for_each(|connection| connection.close());
        connections.len()
    }

    /// Truncates the next response on each connection.
    pub fn truncate(&self) {
        lock(&self.shared.connections).iter().for_each(|connection| connection.truncate.store(true, Ordering::Relaxed));
    }

    /// Stops the messages on all current connections: the proxy drops fetch requests, and forwards everything else.
    pub fn starve(&self) {
        lock(&self.shared.connections).iter().for_each(|connection| connection.starve.store(true, Ordering::Relaxed));
    }

    /// The number of truncated responses.
    pub fn truncated(&self) -> u64 {
        self.shared.truncated.load(Ordering::Relaxed)
    }

    /// The number of accepted connections so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.cut();
        // The thread waits for a connection; this one wakes it.
        let _woken = TcpStream::connect(self.address);
        let _joined = self.accepting.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut pumps: Vec<JoinHandle<()>> = Vec::new();
        for client in listener.incoming() {
            if self.is_over() {
                break;
            }
            pumps.retain(|pump| !pump.is_finished());
            let (Ok(client), Some(target)) = (client, *lock(&self.target)) else { continue };
            let fault = self.fault();
            let refused = pumps.len() >= 2 * MOST || fault == Fault::Refuse;
            let Some(broker) = (!refused).then(|| TcpStream::connect(target).ok()).flatten() else { continue };
            self.accepted.fetch_add(1, Ordering::Relaxed);
            let starve = AtomicBool::new(fault == Fault::Starve);
            let connection = Arc::new(Connection { client, broker, truncate: AtomicBool::new(false), starve });
            lock(&self.connections).push(Arc::clone(&connection));
            for is_reply in [false, true] {
                let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
                pumps.push(std::thread::spawn(move || shared.forward(&connection, is_reply)));
            }
        }
        // A connection may have been accepted after the owner had closed all.
        lock(&self.connections).iter().for_each(|connection| connection.close());
        pumps.into_iter().for_each(|pump| {
            let _panicked = pump.join();
        });
    }

    /// Forwards one direction of a connection until it ends, and closes the other direction, too.
    fn forward(&self, connection: &Arc<Connection>, is_reply: bool) {
        let (mut from, mut to) = match is_reply {
            true => (&connection.broker, &connection.client),
            false => (&connection.client, &connection.broker),
        };
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            match self.fault() {
                Fault::Latency(time) => std::thread::sleep(time),
                Fault::Throttle(rate) => std::thread::sleep(Duration::from_secs_f64(length as f64 / f64::from(rate))),
                Fault::HalfOpen => self.wait(),
                Fault::None | Fault::Refuse | Fault::Starve => {}
            }
            if !is_reply && connection.starve.load(Ordering::Relaxed) {
                if to.write_all(&without_fetches(&piece[..length])).is_err() {
                    break;
                }
                continue;
            }
            if is_reply && connection.truncate.load(Ordering::Relaxed) {
                self.truncated.fetch_add(1, Ordering::Relaxed);
                // The client receives half of the response or an error; the test accepts both.
                let _half = to.write_all(&piece[..length / 2]);
                break;
            }
            if to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        connection.close();
        lock(&self.connections).retain(|open| !Arc::ptr_eq(open, connection));
    }

    /// Blocks until the connections are no longer half-open.
    fn wait(&self) {
        while self.fault() == Fault::HalfOpen && !self.is_over() {
            std::thread::sleep(LOOK);
        }
    }

    fn fault(&self) -> Fault {
        *lock(&self.fault)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Connection {
    fn close(&self) {
        // They fail if the peer has closed the connection first.
        let _closed = self.client.shutdown(Shutdown::Both);
        let _closed = self.broker.shutdown(Shutdown::Both);
    }
}

/// Removes the fetch requests from a piece. Kafka's requests start with their length (4 bytes) and their API key (2 bytes): 1 is
/// Fetch. librdkafka writes a consumer's requests as a whole; a piece that does not consist of whole requests is unchanged.
fn without_fetches(piece: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::new(), piece);
    while let Some((head, _)) = rest.split_first_chunk::<6>() {
        let length = 4 + u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((request, next)) = rest.split_at_checked(length) else { return piece.to_vec() };
        if head[4..] != [0, 1] {
            kept.extend_from_slice(request);
        }
        rest = next;
    }
    if rest.is_empty() { kept } else { piece.to_vec() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

#[test]
fn a_starving_proxy_drops_whole_requests_for_messages() {
    let (metadata, fetch) = ([0, 0, 0, 3, 0, 3, 7], [0, 0, 0, 4, 0, 1, 8, 9]);
    assert_eq!(without_fetches(&[&metadata[..], &fetch, &metadata].concat()), [metadata, metadata].concat());
    assert!(without_fetches(&fetch).is_empty());
    let half = &fetch[..7];
    assert_eq!(without_fetches(half), half);
}

#[test]
fn the_proxy_forwards_cuts_holds_and_truncates() {
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = echo.local_addr().unwrap();
    let echoing = std::thread::spawn(move || {
        for mut connection in echo.incoming().take(2).map(Result::unwrap) {
            let mut piece = [0; 8];
            while let Ok(length @ 1..) = connection.read(&mut piece) {
                connection.write_all(&piece[..length]).unwrap();
            }
        }
    });
    let proxy = Proxy::start();
    proxy.stand_before(target);
    let connect = || {
        let connection = TcpStream::connect(proxy.address).unwrap();
        connection.set_read_timeout(Some(super::DEADLINE)).unwrap();
        connection
    };
    let (mut one, mut reply) = (connect(), [0; 8]);
    one.write_all(b"12345678").unwrap();
    one.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"12345678");
    proxy.set(Fault::HalfOpen);
    one.write_all(b"abcdefgh").unwrap();
    one.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(one.read(&mut reply).is_err(), "nothing comes");
    one.set_read_timeout(Some(super::DEADLINE)).unwrap();
    proxy.set(Fault::None);
    one.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"abcdefgh", "and then it does");
    proxy.truncate();
    one.write_all(b"12345678").unwrap();
    let mut rest = Vec::new();
    one.read_to_end(&mut rest).unwrap();
    assert_eq!((&rest[..], proxy.truncated()), (&b"1234"[..], 1));
    let mut other = connect();
    other.write_all(b"1").unwrap();
    other.read_exact(&mut reply[..1]).unwrap();
    super::wait_for("the first one's end", || lock(&proxy.shared.connections).len() == 1);
    assert_eq!(proxy.cut(), 1);
    assert_eq!(other.read(&mut reply).unwrap_or(0), 0, "closed");
    drop(proxy);
    echoing.join().unwrap();
}
