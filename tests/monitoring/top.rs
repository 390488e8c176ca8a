//! `top`: a run's status, live in a terminal, or once as plain text. The run is a server in this file.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::program::{Running, kafka_actors, shell};
use crate::harness::terminal::{self, type_keys, wait_for_text};

/// A simulated run: it sends the same response to every request until the test sets another one.
struct Run {
    port: u16,
    reply: Arc<Mutex<Vec<u8>>>,
}

impl Run {
    fn start(status: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let reply = Arc::new(Mutex::new(in_http(status.to_string().as_bytes())));
        let reported = Arc::clone(&reply);
        // The thread ends with the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let reported = reported.lock().unwrap().clone();
                // The client may have disconnected.
                let _gone = serve(&mut stream.unwrap(), &reported);
            }
        });
        Self { port, reply }
    }

    fn send(&self, reply: Vec<u8>) {
        *self.reply.lock().unwrap() = reply;
    }
}

fn in_http(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn serve(stream: &mut TcpStream, reply: &[u8]) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?).lines();
    let first = request.next().transpose()?.unwrap_or_default();
    for line in request {
        if line?.is_empty() {
            break;
        }
    }
    assert!(first.starts_with("GET /status HTTP/1.1"), "{first}");
    stream.write_all(reply)
}

/// A port without a listener.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The status of a run of `consume`, with this event.
fn status(event: &str) -> Value {
    json!({
        "version": 2, "program": "0.1.0", "command": "consume", "host": "machine", "pid": 4711,
        "started_at": "2026-11-23T12:00:00.000Z", "at": "2026-11-23T12:01:01.000Z", "uptime_seconds": 61.0,
        "phase": "running", "not_ready_reasons": [], "produce": null, "consume": consume(),
        "history": [{"at": 1.0, "acknowledged": 0, "processed": 0, "lag": 5},
            {"at": 2.0, "acknowledged": 0, "processed": 6000, "lag": 1234}],
        "events": [{"id": 0, "at": "2026-11-23T12:00:54.000Z", "level": "warning", "kind": "exit", "worker": 0,
            "text": event}],
    })
}

fn consume() -> Value {
    let worker = json!({
        "slot": 0, "state": "running", "pid": 4712, "uptime_seconds": 7.0, "resident_bytes": 41943040, "cpu_seconds": 1.5,
        "processed": 6000, "partitions": 1, "restarts": 1, "last_exit": "SIGKILL", "client": null,
        "health": null, "uncommitted_seconds": 0.0, "commit_failures": 0,
    });
    let partition = json!({
        "topic": "orders", "partition": 0, "worker": 0, "start_offset": 0, "position": 6000, "committed": 5900, "high_watermark": 7234,
        "stop_offset": null, "lag": 1234, "processed": 6000, "failed": 0, "dead_lettered": 0, "retried": 0, "read_bytes": 0,
        "in_flight": null, "retrying": false, "stalled_seconds": 0.0, "stopped": null,
    });
    json!({
        "group": "g", "read_only": false, "commit_interval_seconds": 1.0, "assignment": "manual", "topics": ["orders"], "processed": 6000, "failed": 0, "dead_lettered": 0,
        "retried": 0, "read_bytes": 0, "lag": 1234, "rebalances": 0, "restarts": {"SIGKILL": 1},
        "workers": [worker], "partitions": [partition],
        "end_to_end": histogram(), "processing": histogram(), "commit": histogram(),
    })
}

fn histogram() -> Value {
    json!({"count": 0, "sum_seconds": 0.0, "p50_seconds": 0.0, "p99_seconds": 0.0, "max_seconds": 0.0, "buckets": []})
}

#[test]
fn without_a_terminal_it_tells_once_what_is_known() {
    let run = Run::start(&status("killed"));
    let ended = kafka_actors(&format!("top {}", run.port)).run().expect(0);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines[0], "kafka-actors 0.1.0  consume on machine, pid 4711, running, up 1m 01s");
    assert_eq!(lines[1], "ready");
    assert!(lines[2].contains("6,000 processed  6,000/s  lag 1,234"), "{}", lines[2]);
    let line = |text: &str| lines.iter().find(|line| line.starts_with(text)).unwrap_or_else(|| panic!("{lines:#?}"));
    assert_eq!(
        line("orders/0").split_whitespace().collect::<Vec<_>>(),
        ["orders/0", "0", "6000", "5900", "7234", "1,234", "-", "reading"]
    );
    assert!(line("12:00:54").ends_with("killed"), "{lines:#?}");
    assert_eq!((ended.stderr.as_str(), ended.report["command"].as_str()), ("", Some("top")));
}

#[test]
fn nobody_who_answers_is_a_failure_with_its_reason() {
    let port = closed_port();
    let ended = kafka_actors(&format!("top 127.0.0.1:{port}")).run().expect(1).reports("connection refused");
    assert!(ended.reason().contains(&format!("http://127.0.0.1:{port}")), "{}", ended.reason());
    let run = Run::start(&json!({"hello": "world"}));
    kafka_actors(&format!("top {}", run.port)).run().expect(1).reports("something that is no status");
    run.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    kafka_actors(&format!("top {}", run.port)).run().expect(1).reports("404 Not Found");
    // Never the complete body that the header announces.
    run.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec());
    kafka_actors(&format!("top {}", run.port)).run().expect(1).reports("no status from");
    kafka_actors("top run:99999").run_plain().expect(2).reports("a port is a number from 1 to 65535");
}

#[test]
fn a_port_that_accepts_and_sends_nothing_is_waited_for_not_for_long() {
    // The kernel accepts connections; no process reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let ended = kafka_actors(&format!("top {port}")).run().expect(1).reports("no answer within 3 s");
    assert!(ended.took < Duration::from_secs(30), "{:?}", ended.took);
}

#[test]
fn a_report_on_stdout_stays_alone_there_and_settings_change_nothing() {
    let run = Run::start(&status("killed"));
    let line = format!("$PROGRAM --set no.such=1 top {} --report - --config /no/such/file", run.port);
    let ended = shell(&line).run_plain().expect(0).reports("top` reads no settings").reports("6,000 processed");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["command"], "top");
    let broken = kafka_actors(&format!("top {}", run.port)).file("Settings.toml", "[no]\nsuch = 1\n");
    assert_eq!(broken.run().expect(0).stderr, "");
}

/// `top` in a pseudo-terminal of this size.
fn in_terminal(port: u16, before: &str, rows: u16, columns: u16) -> Running {
    terminal::run(&format!("{before} $PROGRAM top {port}"), rows, columns)
}

const ALTERNATE: &str = "\u{1b}[?1049h";
const GIVEN_BACK: &str = "\u{1b}[?1049l";

/// Asserts that the alternate screen is left, the cursor is visible, and the line discipline is the normal one.
fn assert_revoked(terminal: &str) {
    let (_, after) = terminal.rsplit_once(ALTERNATE).unwrap_or_else(|| panic!("never taken: {terminal:?}"));
    assert!(after.contains(GIVEN_BACK) && after.contains("\u{1b}[?25h"), "{after:?}");
    let modes: Vec<_> = after.lines().map(str::trim).filter(|line| line.ends_with("icanon")).collect();
    assert_eq!(modes, ["icanon"], "{after:?}");
}

#[test]
fn in_a_terminal_it_shows_a_run_until_a_key_ends_it() {
    let run = Run::start(&status("killed"));
    let running = in_terminal(run.port, "", 40, 120);
    wait_for_text(&running, "orders/0");
    // The next response is shown, too: `top` writes only changes.
    let mut later = status("killed");
    later["not_ready_reasons"] = json!(["orders/0 is not assigned to a worker"]);
    run.send(in_http(later.to_string().as_bytes()));
    wait_for_text(&running, "not ready: orders/0 is not assigned to a worker");
    type_keys(&running, "q");
    let ended = running.end().expect(0);
    assert!(ended.stdout.contains("code 0"), "{:?}", ended.stdout);
    assert_revoked(&ended.stdout);
}

#[test]
fn a_run_that_is_not_there_or_talks_nonsense_is_waited_for() {
    let run = Run::start(&json!("nonsense"));
    let running = in_terminal(run.port, "", 24, 80);
    wait_for_text(&running, "something that is no status");
    run.send(in_http(status("killed").to_string().as_bytes()));
    wait_for_text(&running, "orders/0");
    run.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec());
    wait_for_text(&running, "503");
    type_keys(&running, "\u{3}");
    assert_revoked(&running.end().expect(0).stdout);
    let running = in_terminal(closed_port(), "", 24, 80);
    wait_for_text(&running, "connection refused");
    type_keys(&running, "\u{1b}");
    assert_revoked(&running.end().expect(0).stdout);
}

#[test]
fn a_signal_restores_the_terminal() {
    let run = Run::start(&status("killed"));
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let running = in_terminal(run.port, "", 24, 80);
        wait_for_text(&running, "orders/0");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(terminal::program(&running)), signal).unwrap();
        let ended = running.end().expect(0);
        assert!(ended.stdout.contains("code 0"), "{signal}: {:?}", ended.stdout);
        assert_revoked(&ended.stdout);
    }
}

#[test]
fn hostile_texts_reach_no_terminal_and_no_pipe() {
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\r";
    let mut status = status(hostile);
    status["host"] = json!(hostile);
    status["consume"]["partitions"][0]["topic"] = json!(hostile);
    status["consume"]["workers"][0]["last_exit"] = json!(hostile);
    status["consume"]["restarts"] = json!({hostile: 1});
    let run = Run::start(&status);
    let piped = kafka_actors(&format!("top {}", run.port)).run().expect(0).stdout;
    assert!(
        piped.chars().all(|letter| letter == '\n' || !letter.is_control()) && !piped.contains('\u{202e}'),
        "{piped:?}"
    );
    assert!(piped.contains("owned"));
    let running = in_terminal(run.port, "", 40, 150);
    wait_for_text(&running, "owned");
    type_keys(&running, "q");
    let shown = running.end().expect(0).stdout;
    for part in ["\u{1b}]0;", "\u{7}", "\u{9b}", "\u{202e}"] {
        assert!(!shown.contains(part), "{part:?} in {shown:?}");
    }
    assert_revoked(&shown);
}

#[test]
fn no_color_means_no_colour_and_a_tiny_terminal_is_one() {
    let run = Run::start(&status("killed"));
    let colours = |before: &str| {
        let running = in_terminal(run.port, before, 24, 80);
        wait_for_text(&running, "orders/0");
        type_keys(&running, "q");
        let shown = running.end().expect(0).stdout;
        shown.contains("38;5;2;") || shown.contains("38;5;2m")
    };
    assert!(colours("NO_COLOR="));
    assert!(!colours("NO_COLOR=1"));
    let running = in_terminal(run.port, "", 1, 1);
    wait_for_text(&running, ALTERNATE);
    type_keys(&running, "?\u{1b}[B\tsq");
    assert_revoked(&running.end().expect(0).stdout);
}
