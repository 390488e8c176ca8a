//! The status server with valid and malicious clients, on the embedded broker; and a service manager.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::program::{Running, kafka_actors};
use crate::harness::site::{LISTEN, Site};
use crate::harness::wait_for;

/// A demonstration that runs until it is stopped.
fn endless() -> (Running, Site) {
    let running = kafka_actors(&format!("demo --rate 200 --messages-per-thread 0 {LISTEN}")).start();
    let site = Site::of(&running);
    wait_for("messages", || processed(&site) > 0);
    (running, site)
}

fn processed(site: &Site) -> u64 {
    site.get("/status")
        .and_then(|(_, body)| serde_json::from_str::<serde_json::Value>(&body).ok())
        .and_then(|status| status["consume"]["processed"].as_u64())
        .unwrap_or(0)
}

fn finish(running: Running) {
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

#[test]
fn every_route_answers_and_nothing_else_does() {
    let (running, site) = endless();
    let routes = [
        ("/status", "\"version\":2"),
        ("/status/schema", "$defs"),
        ("/metrics", "# HELP kafka_actors_"),
        ("/livez", "alive"),
        ("/readyz", "ready"),
        ("/", "<!doctype html>"),
    ];
    for (path, text) in routes {
        let (code, body) = site.get(path).unwrap();
        assert_eq!(code, 200, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    assert_eq!(site.get("/etc/passwd").unwrap().0, 404);
    assert_eq!(site.get("/../../etc/passwd").unwrap().0, 404);
    let mut post = TcpStream::connect(site.0).unwrap();
    post.write_all(b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n").unwrap();
    let mut head = [0; 12];
    post.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 405");
    finish(running);
}

#[test]
fn clients_that_are_slow_many_or_malicious_hold_up_nothing() {
    let (running, site) = endless();
    // More connections than the server accepts at once: half of them send an incomplete request, the others send one and do not
    // read.
    let mut silent: Vec<_> = (0..100).filter_map(|_| TcpStream::connect(site.0).ok()).collect();
    for (number, client) in silent.iter_mut().enumerate() {
        let request: &[u8] =
            if number % 2 == 0 { b"GET /status HT" } else { b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n" };
        // Fails for connections that the server closed at once.
        let _refused = client.write_all(request);
    }
    let begun = Instant::now();
    let mut before = 0;
    // The server closes them one by one, and serves other clients.
    wait_for("an answer", || {
        before = processed(&site);
        before > 0
    });
    wait_for("the run to go on", || processed(&site) > before);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    drop(silent);
    let mut large = TcpStream::connect(site.0).unwrap();
    let head = format!("GET /status HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // The server may close the connection before all of it is sent.
    let _cut = large.write_all(head.as_bytes());
    let mut reply = String::new();
    let _reset = large.read_to_string(&mut reply);
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431") || reply.starts_with("HTTP/1.1 400"), "{reply}");
    let mut nonsense = TcpStream::connect(site.0).unwrap();
    nonsense.write_all(&[0xff; 4_096]).unwrap();
    let _closed = nonsense.read(&mut [0; 64]);
    assert_eq!(site.get("/livez").unwrap().0, 200);
    finish(running);
}

#[test]
fn who_holds_all_connections_keeps_nobody_else_out() {
    let (running, site) = endless();
    let mut held: std::collections::VecDeque<_> = (0..64).map(|_| TcpStream::connect(site.0).unwrap()).collect();
    for _ in 0..100 {
        // Each closed connection is replaced at once.
        held.pop_front();
        held.push_back(TcpStream::connect(site.0).unwrap());
        assert_eq!(site.get("/livez").map(|(code, _)| code), Some(200));
    }
    finish(running);
}

#[test]
fn a_server_that_can_accept_no_connection_logs_it_now_and_then() {
    let (running, site) = endless();
    let limit = |descriptors: &str| {
        let pid = running.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={descriptors}:")]).status().unwrap();
        assert!(set.success());
    };
    // The next descriptor would be the lowest free one.
    let is_free = |fd: &u32| !Path::new(&format!("/proc/{}/fd/{fd}", running.id())).exists();
    limit(&(0..).find(is_free).unwrap().to_string());
    let waiting: Vec<_> = (0..10).map(|_| TcpStream::connect(site.0).unwrap()).collect();
    let said = "WARNING monitoring: connections cannot be accepted: ";
    wait_for("a word about it", || running.stderr().contains(said));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(running.stderr().matches(said).count(), 1, "{}", running.stderr());
    limit("1024");
    drop(waiting);
    wait_for("an answer", || site.get("/livez").is_some());
    finish(running);
}

#[test]
fn an_address_that_cannot_be_listened_on_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = kafka_actors(&format!("demo --set monitoring.listen={address}")).run().expect(2);
    let expected = format!("monitoring.listen = {address} (--set): it cannot be listened on: ");
    assert!(ended.reason().starts_with(&expected), "{}", ended.reason());
}

#[test]
fn events_come_as_they_happen() {
    let (running, site) = endless();
    let mut stream = TcpStream::connect(site.0).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut text, mut piece) = (String::new(), [0; 4_096]);
    while text.matches("event: status\ndata: {\"version\":2,").count() < 3 {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    finish(running);
}

#[test]
fn a_service_manager_is_notified_that_the_run_is_ready_alive_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let receive = |wanted: &str| {
        let begun = Instant::now();
        let mut piece = [0; 4_096];
        loop {
            let length = socket.recv(&mut piece).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            if String::from_utf8_lossy(&piece[..length]).lines().any(|line| line == wanted) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{wanted} did not come");
        }
    };
    let running = kafka_actors("demo --rate 200 --messages-per-thread 0")
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "1000000")
        .start();
    receive("READY=1");
    for _ in 0..3 {
        assert!(receive("WATCHDOG=1") < Duration::from_secs(1), "twice as often as it has to be");
    }
    // A stopped supervisor sends nothing; a datagram that is in flight may still arrive.
    running.signal(Signal::SIGSTOP);
    socket.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    let begun = Instant::now();
    while socket.recv(&mut [0; 4_096]).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is stopped and says that it lives");
    }
    running.signal(Signal::SIGCONT);
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    receive("WATCHDOG=1");
    running.signal(Signal::SIGTERM);
    receive("STOPPING=1");
    running.end().expect(0);
}

/// The run reports itself as started while it waits for its brokers without a limit. Its start then has no timeout, and the
/// watchdog receives keep-alive notifications.
#[test]
fn a_service_manager_is_notified_that_a_run_waits_for_its_brokers() {
    for command in ["consume", "consume --assignment group", "produce", "verify"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let running = kafka_actors(&format!("{command} --brokers 127.0.0.1:1 --set kafka.connect_timeout=0s"))
            .env("NOTIFY_SOCKET", path.to_str().unwrap())
            .env("WATCHDOG_USEC", "1000000")
            .start();
        let mut received = String::new();
        let begun = Instant::now();
        while !(received.contains("READY=1") && received.matches("WATCHDOG=1").count() > 6) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{command}: {received}");
            let mut piece = [0; 4_096];
            let length = socket.recv(&mut piece).unwrap();
            received.push_str(&String::from_utf8_lossy(&piece[..length]));
            received.push('\n');
        }
        let status = "STATUS=waiting for the brokers 127.0.0.1:1 (kafka.connect_timeout = 0s)";
        assert!(received.contains(status), "{command}: {received}");
        running.signal(Signal::SIGTERM);
        running.end();
    }
}

#[test]
fn a_service_manager_that_does_not_listen_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let running = kafka_actors(&format!("demo --rate 200 --messages-per-thread 0 {LISTEN}"))
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        // More notifications in these seconds than the queue of such a socket holds.
        .env("WATCHDOG_USEC", "100000")
        .start();
    let site = Site::of(&running);
    let begun = Instant::now();
    wait_for("the run to go on", || begun.elapsed() > Duration::from_secs(3) && processed(&site) > 400);
    finish(running);
}
