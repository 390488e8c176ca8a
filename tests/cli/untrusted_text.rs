//! Text from messages and from other programs in logs, reports, headers and terminals: truncated, escaped, limited.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::harness::kafka::Topic;
use crate::harness::program::kafka_actors;
use crate::harness::site::{LISTEN, Site};
use crate::harness::{terminal, wait_for};

/// A demonstration that runs until it is stopped.
const ENDLESS: &str = "demo --rate 50 --messages-per-thread 0";

#[test]
#[ignore = "needs a real Kafka"]
fn a_programs_error_of_120_kilobytes_is_cut_in_the_log_the_header_and_the_report() {
    let topic = Topic::new(1);
    topic.fill(4);
    let retry = "--set consumer.retry.attempts=1 --set consumer.retry.backoff=1ms";
    let body = "answer(m, error='x' * 120000)";
    let stopped = topic.consume_with(&format!("--until-end {retry}"), body).run().expect(1);
    assert!(stopped.reason().len() < 4_000, "{} bytes", stopped.reason().len());
    let dead = Topic::new(1);
    let arguments =
        format!("--until-end --on-failure dead_letter --set consumer.dead_letter_topic={} {retry}", dead.name);
    let ended = topic.consume_with(&arguments, body).run().expect(0);
    let longest = ended.stderr.lines().map(str::len).max().unwrap_or(0);
    assert!(longest < 4_000, "a line of {longest} bytes");
    let list = kafka_actors(&format!("dlq list {} --json --brokers {}", dead.name, dead.brokers)).run().expect(0);
    assert_eq!(list.stdout.lines().count(), 4, "{}", list.stdout);
    assert!(list.stdout.lines().all(|line| line.contains("xxx") && line.len() < 6_000), "{}", list.stdout);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_program_that_floods_its_stderr_fills_no_log() {
    let topic = Topic::new(1);
    topic.fill(4);
    // 200,000 lines that look like a JSON log, and one that would clear the screen.
    let line = r#"{\"time\": 1, \"level\": \"info\", \"message\": \"noise\", \"x\": \"0123456789\"}"#;
    let body = format!(
        "sys.stderr.write('\\x1b[2Jcleared\\n' + \"{line}\\n\" * 50000) if m['offset'] >= 0 else 0; sys.stderr.flush(); answer(m)"
    );
    let ended = topic.consume_with("--until-end", &body).run().expect(0);
    let noise = ended.stderr.matches("noise").count();
    assert!((1..100_000).contains(&noise), "{noise} lines");
    assert!(ended.stderr.contains("\\u{1b}[2Jcleared") && !ended.stderr.contains('\u{1b}'), "escapes are escaped");
    ended.reports("that its processor wrote to stderr are dropped: more than logging.stderr_lines_per_second = 5000");
}

#[test]
#[ignore = "needs a real Kafka"]
fn what_a_message_contains_controls_no_terminal() {
    let topic = Topic::new(1);
    let evil = "evil\u{9b}2J\u{202e}txt\u{2066}\u{200f}";
    let json = format!("{{\"a\": \"{evil}\"}}");
    topic.write([evil, json.as_str()]);
    let steers = |text: &str| text.chars().any(|letter| "\u{9b}\u{202e}\u{2066}\u{200f}".contains(letter));
    let printed = topic.consume("--processor print --until-end").run().expect(0);
    assert!(printed.stdout.contains("\\u009b2J\\u202etxt") && !steers(&printed.stdout), "{:?}", printed.stdout);
    let reported: serde_json::Value = serde_json::from_str(printed.stdout.lines().nth(1).unwrap()).unwrap();
    assert_eq!(reported["value"]["a"], evil, "it is the same text");
    for format in ["terminal", "json"] {
        let logged =
            topic.consume(&format!("--from-beginning --until-end --set logging.format={format}")).run().expect(0);
        assert!(logged.stderr.contains("evil") && !steers(&logged.stderr), "{:?}", logged.stderr);
    }
}

#[test]
fn a_settings_file_of_others_steers_no_terminal() {
    let settings = "[kafka]\ntopic = \"x\u{202e}y\u{9b}2J\"\n\"evil\u{9b}31m\" = 1\n";
    for command in ["config show", "config check", "produce"] {
        let ended = kafka_actors(command).file("Settings.toml", settings).run();
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        assert!(shown.contains("evil") && !shown.chars().any(|letter| "\u{9b}\u{202e}".contains(letter)), "{shown:?}");
    }
}

#[test]
fn a_dumb_terminal_gets_no_escape_sequence() {
    let running = terminal::run("TERM=dumb NO_COLOR= $PROGRAM demo --rate 0", 30, 80);
    let ended = running.end().expect(0);
    assert!(ended.stdout.contains("INFO reading") && !ended.stdout.contains('\u{1b}'), "{:?}", ended.stdout);
}

#[test]
fn a_stop_of_the_user_is_no_error_and_levels_are_written_in_full() {
    let demo = kafka_actors("demo --rate 50 --messages-per-thread 1000").start();
    wait_for("producing to have begun", || demo.stderr().contains("producing"));
    demo.signal(Signal::SIGQUIT);
    let ended = demo.end().expect(3).reports("WARNING terminated by a signal");
    assert!(!ended.stderr.contains("ERRO"), "{}", ended.stderr);
    let failed = kafka_actors("demo --rate 0 --set producer.faults.oversized=1").run().expect(1);
    failed.reports(" ERROR ");
}

fn ask(site: &Site, path: &str, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(site.0).unwrap();
    stream.set_read_timeout(Some(crate::harness::DEADLINE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn code(stream: &mut TcpStream) -> String {
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    String::from_utf8_lossy(&head[9..]).into_owned()
}

#[test]
fn the_status_on_this_machine_answers_only_who_names_this_machine() {
    let running = kafka_actors(&format!("{ENDLESS} {LISTEN}")).start();
    wait_for("producing to have begun", || running.stderr().contains("producing"));
    let site = Site::of(&running);
    for (host, expected) in [("evil.example:9464", "421"), ("127.0.0.1.evil.example", "421"), ("localhost:1", "200")] {
        for path in ["/status", "/livez", "/"] {
            assert_eq!(code(&mut ask(&site, path, host)), expected, "{host} {path}");
        }
    }
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}

#[test]
fn one_client_has_some_of_the_event_streams_and_not_all() {
    let running = kafka_actors(&format!("{ENDLESS} {LISTEN}")).start();
    wait_for("producing to have begun", || running.stderr().contains("producing"));
    let site = Site::of(&running);
    let mut streams: Vec<_> = (0..7).map(|_| ask(&site, "/events", "localhost")).collect();
    let codes: Vec<_> = streams.iter_mut().map(code).collect();
    assert_eq!(codes.iter().filter(|code| *code == "200").count(), 6, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "503").count(), 1, "{codes:?}");
    drop(streams);
    // The server frees a slot when it detects that the connection is closed.
    wait_for("a place", || code(&mut ask(&site, "/events", "localhost")) == "200");
    running.signal(Signal::SIGTERM);
    running.end().expect(0);
}
