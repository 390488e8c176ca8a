use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::monitoring::status::{
    ConsumeStatus, Event, EventLevel, InFlightStatus, PartitionStatus, Phase, ProduceStatus, ThreadStatus, WorkerState,
    WorkerStatus,
};
use crate::partition_counts::PartitionCounts;
use crate::top::fetcher::{FetchResult, FetchedStatus};
use crate::top::keymap::Action;

/// The status of a demo after one minute; worker 1 has just exited unexpectedly.
fn example() -> Status {
    let worker = |slot, state, pid| WorkerStatus {
        slot,
        state,
        pid,
        uptime_seconds: pid.map(|_| 61.0),
        resident_bytes: pid.map(|_| 40 << 20),
        processed: 3_000,
        partitions: 2,
        ..WorkerStatus::default()
    };
    let mut workers = vec![worker(0, WorkerState::Running, Some(4_711)), worker(1, WorkerState::Backoff, None)];
    (workers[1].restarts, workers[1].last_exit) = (1, Some("SIGKILL".to_owned()));
    let partition = |partition, lag| PartitionStatus {
        topic: "orders".to_owned(),
        partition,
        worker: Some(0),
        position: 1_500,
        committed: Some(1_400),
        high_watermark: 1_500 + lag as i64,
        lag,
        counts: PartitionCounts { processed: 1_500, ..PartitionCounts::default() },
        ..PartitionStatus::default()
    };
    let mut partitions: Vec<_> =
        [0, 7, 1_234, 2].into_iter().enumerate().map(|(at, lag)| partition(at as i32, lag)).collect();
    partitions[2].in_flight = Some(InFlightStatus { offset: 1_500, age_seconds: 2.5 });
    let event = |id, level, kind: &str, text: &str| Event {
        id,
        at: format!("2026-11-23T12:00:0{id}.000Z"),
        level,
        kind: kind.to_owned(),
        worker: Some(1),
        text: text.to_owned(),
    };
    Status {
        version: 1,
        program: "0.1.0".to_owned(),
        command: "demo".to_owned(),
        host: "machine".to_owned(),
        pid: 4_700,
        uptime_seconds: 61.0,
        phase: Phase::Running,
        not_ready_reasons: vec!["orders/2 waits for worker 1, which is not running".to_owned()],
        produce: Some(ProduceStatus {
            topic: "orders".to_owned(),
            requested: Some(10_000),
            sent: 6_100,
            acknowledged: 5_900,
            threads: vec![ThreadStatus { acknowledged: 5_900, ..ThreadStatus::default() }],
            ..ProduceStatus::default()
        }),
        consume: Some(ConsumeStatus {
            group: "g".to_owned(),
            assignment: "manual".to_owned(),
            topics: vec!["orders".to_owned()],
            processed: 5_900,
            lag: 1_243,
            workers,
            partitions,
            ..ConsumeStatus::default()
        }),
        history: (0_u32..60)
            .map(|second| RateSample {
                at: second.into(),
                acknowledged: u64::from(second * 100),
                unacknowledged: 0,
                processed: u64::from(second * 100),
                lag: u64::from(second),
            })
            .collect(),
        events: vec![
            event(0, EventLevel::Info, "ready", "worker 1 reads"),
            event(1, EventLevel::Warning, "exit", "SIGKILL after 12 s"),
        ],
        ..Status::default()
    }
}

fn state(status: Status) -> App {
    let now = Instant::now();
    let mut state = App::new("http://127.0.0.1:9464".to_owned(), now);
    state.update(FetchResult { at: now, reported: Ok(FetchedStatus { status, newer: None }) });
    state
}

fn buffer(state: &App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    terminal.backend().buffer().clone()
}

fn screen(state: &App, width: u16, height: u16) -> Vec<String> {
    let buffer = buffer(state, width, height);
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

fn has(screen: &[String], text: &str) {
    assert!(screen.iter().any(|line| line.contains(text)), "{text:?} is not in:\n{}", screen.join("\n"));
}

#[test]
fn a_large_screen_shows_everything() {
    let screen = screen(&state(example()), 130, 50);
    assert!(screen[0].starts_with("kafka-actors 0.1.0  demo on machine, pid 4700"), "{}", screen[0]);
    assert!(screen[0].ends_with("running, up 1m 01s"), "{}", screen[0]);
    assert_eq!(screen[1], "not ready: orders/2 waits for worker 1, which is not running");
    assert_eq!(screen[2], "updated 0.0 s ago from http://127.0.0.1:9464");
    has(&screen, "produce to orders:  5,900 of 10,000 acknowledged  100/s  41 s left  6,100 sent  0 failed");
    has(&screen, "consume from orders, group g, manual:  5,900 processed  100/s  lag 1,243");
    has(&screen, "acknowledged 100/s, peak 100/s");
    has(&screen, "lag 59, peak 59");
    has(&screen, "   0  running         4711   1m 01s    40 MiB      -        3,000          -         0           2");
    has(
        &screen,
        "   1  backoff            -        -         -      -        3,000          -         1           2  SIGKILL",
    );
    has(&screen, "▸ Partitions 4, by name");
    has(
        &screen,
        "orders/2           0       1500       1400            2734      1,234          -  1500 for 2.5 s  reading",
    );
    has(&screen, "12:00:01  warning  exit             1  SIGKILL after 12 s");
    has(&screen, "q quit  ? help  Tab pane");
}

#[test]
fn a_small_screen_shows_one_pane_with_what_matters() {
    let mut state = state(example());
    let shown = screen(&state, 40, 8);
    assert!(shown[0].starts_with("running, up 1m 01s  kafka-actors"), "{}", shown[0]);
    let pane = ["▸ Partitions 1-3 of 4, by name   Tab: Wo", "PARTITION           LAG       RATE"];
    assert_eq!(
        (shown[3..5].to_vec(), shown[5].as_str()),
        (pane.map(str::to_owned).to_vec(), "orders/0              0          -")
    );
    state.act(Action::PageDown, 3);
    let scrolled = screen(&state, 40, 8);
    assert!(scrolled[3].starts_with("▸ Partitions 2-4 of 4"), "{}", scrolled[3]);
    assert_eq!(scrolled[7], "orders/3              2          -");
    state.act(Action::PaneBefore, 3);
    has(&screen(&state, 40, 8), "▸ Workers 2   Tab: Partitions");
    has(&screen(&state, 40, 12), "produce to orders:");
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let mut hurried = state(example());
    hurried.act(Action::Help, 0);
    let nothing = App::new(String::new(), Instant::now());
    let mut gone = state(Status::default());
    gone.update(FetchResult { at: Instant::now(), reported: Err("gone".to_owned()) });
    for state in [&state(example()), &hurried, &nothing, &gone] {
        for (width, height) in (0..50).flat_map(|n| [(n, n), (n, 24), (80, n), (1, n), (n, 1), (n * 9, 7)]) {
            screen(state, width, height);
        }
        screen(state, 1_000, 500);
    }
}

#[test]
fn numbers_at_their_ends_are_drawn() {
    let mut status = example();
    status.uptime_seconds = f64::MAX;
    (status.history[0].at, status.history[1].at, status.history[2].lag) = (f64::MIN, f64::MAX, u64::MAX);
    let produce = status.produce.as_mut().unwrap();
    (produce.acknowledged, produce.sent, produce.requested) = (u64::MAX, u64::MAX, Some(u64::MAX));
    produce.failed = [("a", u64::MAX), ("b", u64::MAX)].map(|(reason, count)| (reason.to_owned(), count)).into();
    let consume = status.consume.as_mut().unwrap();
    consume.restarts = produce.failed.clone();
    (consume.workers[0].cpu_seconds, consume.workers[0].uptime_seconds) = (f64::MAX, Some(-1.0));
    let partition = &mut consume.partitions[0];
    (partition.position, partition.high_watermark, partition.lag, partition.stalled_seconds) =
        (i64::MIN, i64::MAX, u64::MAX, f64::MAX);
    let mut state = state(status.clone());
    status.uptime_seconds = f64::MIN;
    state.update(FetchResult { at: Instant::now(), reported: Ok(FetchedStatus { status, newer: None }) });
    has(&screen(&state, 200, 60), "18,446,744,073,709,551,615");
}

#[test]
fn the_run_that_is_gone_is_named_with_the_age_of_what_is_shown() {
    let mut state = state(example());
    state.update(FetchResult { at: Instant::now(), reported: Err("connection refused".to_owned()) });
    state.now += Duration::from_secs(75);
    let shown = screen(&state, 100, 30);
    assert_eq!(shown[2], "NO RESPONSE, this is 1m 15s old: connection refused  http://127.0.0.1:9464");
    has(&shown, "orders/2");
    let mut never = App::new("http://x:1".to_owned(), Instant::now());
    never.trouble = Some("connection refused".to_owned());
    let expected = "NO RESPONSE: connection refused  http://x:1, again every second";
    assert_eq!(screen(&never, 100, 30)[1], expected);
}

#[test]
fn without_colours_there_are_none_and_the_words_are_the_same() {
    let mut state = state(example());
    let colourful = (screen(&state, 130, 50), buffer(&state, 130, 50));
    state.colours = false;
    let plain = (screen(&state, 130, 50), buffer(&state, 130, 50));
    assert_eq!(colourful.0, plain.0);
    let colours = |buffer: &Buffer| {
        buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(colours(&colourful.1) > 0);
    assert_eq!(colours(&plain.1), 0);
}

#[test]
fn help_lies_over_everything_and_a_pause_is_seen() {
    let mut state = state(example());
    state.act(Action::Help, 1);
    has(&screen(&state, 100, 30), "Tab           next pane (Shift: back)");
    state.act(Action::Help, 1);
    state.act(Action::Pause, 1);
    let shown = screen(&state, 100, 30);
    assert_eq!(shown[2], "PAUSED, this is 0.0 s old  http://127.0.0.1:9464");
    has(&shown, "p go on");
}

#[test]
fn sorted_by_lag_the_worst_comes_first() {
    let mut state = state(example());
    state.act(Action::Sort, 1);
    let shown = screen(&state, 130, 50);
    let head = shown.iter().position(|line| line.contains("▸ Partitions 4, by lag")).unwrap();
    let names: Vec<_> = shown[head + 2..head + 6].iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["orders/2", "orders/1", "orders/3", "orders/0"]);
}
