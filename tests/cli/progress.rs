//! The progress display of a run: bars in a terminal, periodic lines elsewhere.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::DEADLINE;
use crate::harness::program::{Running, kafka_actors};
use crate::harness::terminal::{self, wait_for_text};

/// Slow enough for the progress display; runs until it is stopped.
const DEMO: &str = "demo --threads 2 --processes 2 --set consumer.processor=count";

/// The output that contains the bars, split into rows as a terminal of this width does: a row that is full has no line break.
fn rows(written: &str, width: usize) -> Vec<String> {
    let mut text = String::new();
    let mut letters = written.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            // CSI … letter: cursor movement or a colour.
            let end = letters.by_ref().find(char::is_ascii_alphabetic);
            text.push_str(if end == Some('m') { "" } else { "\n" });
        } else {
            text.push(letter);
        }
    }
    let drawn = text.split(['\r', '\n']).filter(|piece| piece.contains('━'));
    let letters: Vec<Vec<char>> = drawn.map(|piece| piece.chars().collect()).collect();
    letters.iter().flat_map(|piece| piece.chunks(width)).map(|row| row.iter().collect()).collect()
}

#[test]
fn in_a_terminal_each_thread_and_worker_has_a_row_with_rate_lag_and_time_left() {
    let running = terminal::run(&format!("$PROGRAM {DEMO} --rate 400 --messages-per-thread 1000"), 30, 120);
    let ended = running.end().expect(0);
    let rows = rows(&ended.stdout, 120);
    let has = |name: &str, words: &[&str]| {
        let found = rows.iter().any(|row| row.contains(name) && words.iter().all(|word| row.contains(word)));
        assert!(found, "no row of {name} with {words:?}: {rows:#?}");
    };
    has("producer 1", &["%", "/s", "ETA ", "of 1,000 acknowledged"]);
    has("worker 0", &["/s", "lag ", "pid "]);
    has("worker 1", &["/s", "lag ", "pid "]);
}

#[test]
fn rows_are_whole_in_a_narrow_terminal_and_a_worker_that_comes_later_has_one() {
    let running = terminal::run(&format!("$PROGRAM {DEMO} --rate 400 --messages-per-thread 0"), 30, 40);
    wait_for_text(&running, "worker 1");
    // The program handles signals once its workers run.
    wait_for_text(&running, "reading, worker: 1");
    let program = Pid::from_raw(terminal::program(&running));
    kill(program, Signal::SIGTTIN).unwrap();
    wait_for_text(&running, "worker 2 ");
    wait_for_text(&running, "/s");
    kill(program, Signal::SIGTERM).unwrap();
    let ended = running.end();
    let rows = rows(&ended.stdout, 40);
    for name in ["worker 0", "worker 1", "worker 2"] {
        assert!(rows.iter().any(|row| row.contains(name)), "{name}: {rows:#?}");
    }
    let is_whole =
        |row: &&String| row.trim().is_empty() || ["worker ", "producer "].iter().any(|it| row.trim().starts_with(it));
    let broken: Vec<_> = rows.iter().filter(|row| !is_whole(row)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A demonstration in a terminal that logs each message. It writes its exit code to the file `code`.
fn logging_in_a_terminal() -> (Running, Pid) {
    let line = "trap : HUP; $PROGRAM --report report.json demo --threads 2 --processes 2 --rate 2000 --messages-per-thread 0 \
        --set consumer.processor=log --set logging.level=debug --set shutdown.timeout=5s; echo $? > code";
    let running = terminal::run(line, 30, 120);
    // The program handles signals once its workers run, and draws its bars once it has read messages.
    wait_for_text(&running, "reading, worker: 1");
    wait_for_text(&running, "/s");
    let program = terminal::program(&running);
    (running, Pid::from_raw(program))
}

/// The exit code after SIGTERM; asserts that the report has the same one.
fn terminated(running: &Running, program: Pid) -> i64 {
    kill(program, Signal::SIGTERM).unwrap();
    let begun = Instant::now();
    while running.read_file("code").is_empty() {
        if begun.elapsed() > DEADLINE {
            kill(program, Signal::SIGKILL).unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, report) = (running.read_file("code"), running.read_file("report.json"));
    let reported: serde_json::Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{code}: {error}"));
    assert_eq!(reported["exit"]["code"].to_string(), code.trim(), "{report}");
    reported["exit"]["code"].as_i64().unwrap()
}

#[test]
fn a_terminal_that_is_closed_ends_the_bars_and_not_a_run_that_gets_no_signal() {
    let (running, program) = logging_in_a_terminal();
    // The kernel signals only the shell, which does not pass the signal on.
    terminal::close(&running);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(terminated(&running, program), 0);
}

#[test]
fn a_terminal_that_takes_nothing_holds_up_the_bars_and_not_the_end() {
    let (running, program) = logging_in_a_terminal();
    terminal::hold_up(&running, program.as_raw());
    // Workers with a processor that writes lines may block there, too, until `shutdown.timeout`.
    let code = terminated(&running, program);
    assert!([0, 3].contains(&code), "{code}");
}

#[test]
fn without_a_terminal_a_line_has_the_progress_the_rate_and_the_time() {
    // Seven seconds: the first line comes after five.
    let ended = kafka_actors(&format!("{DEMO} --rate 200 --messages-per-thread 700")).run().expect(0);
    let line = |what: &str| {
        let found = ended.stderr.lines().find(|line| line.contains("INFO progress") && line.contains(what));
        found.unwrap_or_else(|| panic!("no line with {what:?}:\n{}", ended.stderr)).to_owned()
    };
    let produced = line("acknowledged: ");
    assert!(produced.contains("per_second: ") && produced.contains("left: "), "{produced}");
    assert!(line("processed: ").contains("lag: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\u{1b}'), "no bars: {}", ended.stderr);
}
