//! A summary of a status in words and numbers. Pure: no I/O, no state.

use super::app::App;
use super::rates::{CounterKey, Rates};
use super::table::{Severity, width_of};
use crate::monitoring::status::{ConsumeStatus, HistogramStatus, Phase, ProduceStatus, STATUS_VERSION, Status};
use crate::util::format::{bytes, format_count, format_rate, pluralize, seconds};

/// A text with its severity.
pub(super) type StyledText = (Severity, String);

/// Returns the program, the command and the process that report the status.
pub(super) fn title(status: &Status) -> String {
    let Status { program, command, host, pid, .. } = status;
    format!("kafka-actors {program}  {command} on {host}, pid {pid}")
}

/// Returns the phase of the run and its uptime.
pub(super) fn phase(status: &Status) -> String {
    let phase = match status.phase {
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Paused => "paused",
        Phase::Draining => "draining",
        Phase::Ended => "ended",
    };
    format!("{phase}, up {}", seconds(status.uptime_seconds))
}

/// Returns whether the run is ready, or the first reason why it is not.
pub(super) fn readiness(status: &Status) -> StyledText {
    match (status.phase, status.not_ready_reasons.as_slice()) {
        (Phase::Draining, _) => (Severity::Warning, "it is stopping: messages in flight are finished first".to_owned()),
        (Phase::Ended, _) => (Severity::Faint, "all is done".to_owned()),
        (Phase::Paused, []) => {
            (Severity::Warning, "ready, but paused: workers keep their partitions and process no messages".to_owned())
        }
        (_, []) => (Severity::Well, "ready".to_owned()),
        (_, [reason]) => (Severity::Bad, format!("not ready: {reason}")),
        (_, [reason, more @ ..]) => (Severity::Bad, format!("not ready: {reason} (and {} more)", more.len())),
    }
}

/// Returns the age of the shown status, the error of the last request, and the URL.
pub(super) fn source(state: &App) -> StyledText {
    let address = &state.address;
    let old = state.age().map(|age| match age.as_secs_f64() {
        age if age < 9.95 => format!("{age:.1} s"),
        age => seconds(age),
    });
    match (old, &state.trouble) {
        (old, _) if state.paused => {
            let old = old.map(|old| format!(", this is {old} old")).unwrap_or_default();
            (Severity::Warning, format!("PAUSED{old}  {address}"))
        }
        (None, None) => (Severity::Plain, format!("requesting {address}")),
        (None, Some(why)) => (Severity::Bad, format!("NO RESPONSE: {why}  {address}, again every second")),
        (Some(old), Some(why)) => (Severity::Bad, format!("NO RESPONSE, this is {old} old: {why}  {address}")),
        (Some(old), None) => match state.newer {
            Some(version) => {
                let known = format!(
                    "the status has version {version}, this program knows {STATUS_VERSION}: something may be missing"
                );
                (Severity::Warning, format!("updated {old} ago; {known}  {address}"))
            }
            None => (Severity::Faint, format!("updated {old} ago from {address}")),
        },
    }
}

/// Returns the totals of the producer.
pub(super) fn produced(produce: &ProduceStatus, rates: &Rates) -> Vec<StyledText> {
    let failed: u64 = produce.failed.values().fold(0, |sum, count| sum.saturating_add(*count));
    let of = produce.requested.map(|requested| format!(" of {}", format_count(requested))).unwrap_or_default();
    let mut texts = vec![
        plain(format!("produce to {}:", produce.topic)),
        plain(format!("{}{of} {}", format_count(produce.delivered()), produce.delivery())),
    ];
    texts.extend(rates.of(&CounterKey::Delivered).map(|rate| plain(format_rate(rate))));
    texts.extend(rates.of(&CounterKey::SentBytes).map(|rate| plain(format!("{}/s", bytes(rate as u64)))));
    let missing = produce.requested.map(|requested| requested.saturating_sub(produce.delivered()));
    let left = missing.filter(|missing| *missing > 0).and_then(|it| rates.seconds_for(&CounterKey::Delivered, it));
    texts.extend(left.map(|left| plain(format!("{} left", seconds(left)))));
    texts.push(plain(format!("{} sent", format_count(produce.sent))));
    texts.push(bad_if(failed > 0, format!("{} failed", format_count(failed))));
    for (reason, number) in &produce.failed {
        texts.push((Severity::Bad, format!("{reason}: {}", format_count(*number))));
    }
    texts.extend(latency("scheduled → acked", &produce.acknowledgement));
    texts
}

fn group(consume: &ConsumeStatus) -> String {
    if consume.read_only { "read only, nothing is committed".to_owned() } else { format!("group {}", consume.group) }
}

/// Returns the totals of the consumer.
pub(super) fn consumed(consume: &ConsumeStatus, rates: &Rates) -> Vec<StyledText> {
    let restarts = consume.restarts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let mut texts = vec![
        plain(format!("consume from {}, {}, {}:", consume.topics.join(", "), group(consume), consume.assignment)),
        plain(format!("{} processed", format_count(consume.processed))),
    ];
    texts.extend(rates.of(&CounterKey::Processed).map(|rate| plain(format_rate(rate))));
    texts.extend(rates.of(&CounterKey::ReadBytes).map(|rate| plain(format!("{}/s", bytes(rate as u64)))));
    texts.push(plain(format!("lag {}", format_count(consume.lag))));
    texts.push(bad_if(consume.failed > 0, format!("{} skipped", format_count(consume.failed))));
    texts.push(bad_if(consume.dead_lettered > 0, pluralize(consume.dead_lettered, "dead letter")));
    for (reason, number) in &consume.failures {
        texts.push((Severity::Bad, format!("{reason}: {}", format_count(*number))));
    }
    texts.push(plain(match consume.retried {
        1 => "1 retry".to_owned(),
        retried => format!("{} retries", format_count(retried)),
    }));
    texts.push(plain(pluralize(restarts, "restart")));
    for (cause, number) in &consume.restarts {
        texts.push((Severity::Warning, format!("{cause}: {}", format_count(*number))));
    }
    texts.push(plain(pluralize(consume.rebalances, "rebalance")));
    texts.extend(latency("scheduled → processed", &consume.end_to_end));
    texts.extend(latency("processing", &consume.processing));
    texts.extend(latency("committing", &consume.commit));
    texts
}

fn plain(text: String) -> StyledText {
    (Severity::Plain, text)
}

fn bad_if(bad: bool, text: String) -> StyledText {
    (if bad { Severity::Bad } else { Severity::Plain }, text)
}

fn latency(what: &str, times: &HistogramStatus) -> Option<StyledText> {
    let HistogramStatus { p50_seconds, p99_seconds, .. } = times;
    (times.count > 0).then(|| plain(format!("{what} p50 {}, p99 {}", seconds(*p50_seconds), seconds(*p99_seconds))))
}

/// Wraps texts into lines of a maximum width. A text is never split; a text that is wider than a line has its own line. Lines
/// after the first one are indented.
pub(super) fn flow(texts: Vec<StyledText>, width: usize) -> Vec<Vec<StyledText>> {
    let mut lines: Vec<Vec<StyledText>> = Vec::new();
    let mut used = 0;
    for (mood, text) in texts {
        let wide = width_of(&text) + 2;
        match lines.last_mut() {
            Some(line) if used + wide <= width => line.push((mood, format!("  {text}"))),
            None => {
                lines.push(vec![(mood, text)]);
                used = wide - 2;
                continue;
            }
            Some(_) => {
                lines.push(vec![(mood, format!("  {text}"))]);
                used = 0;
            }
        }
        used += wide;
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::monitoring::status::RateSample;

    fn text(texts: Vec<StyledText>) -> String {
        texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("  ")
    }

    #[test]
    fn the_first_reason_is_shown_with_the_number_of_reasons() {
        let ready = |phase, reasons: &[&str]| {
            let not_ready_reasons = reasons.iter().map(ToString::to_string).collect();
            readiness(&Status { phase, not_ready_reasons, ..Status::default() }).1
        };
        assert_eq!(ready(Phase::Running, &[]), "ready");
        assert_eq!(
            ready(Phase::Running, &["t/0 is not assigned to a worker"]),
            "not ready: t/0 is not assigned to a worker"
        );
        assert_eq!(ready(Phase::Running, &["a", "b", "c"]), "not ready: a (and 2 more)");
        assert_eq!(ready(Phase::Draining, &[]), "it is stopping: messages in flight are finished first");
    }

    #[test]
    fn the_age_is_shown_and_the_reason_of_a_missing_reply() {
        let mut state = App::new("http://run:1".to_owned(), Instant::now());
        assert_eq!(source(&state).1, "requesting http://run:1");
        state.trouble = Some("gone".to_owned());
        assert_eq!(source(&state).1, "NO RESPONSE: gone  http://run:1, again every second");
        state.reported = Some(state.now);
        state.now += Duration::from_secs(12);
        assert_eq!(source(&state).1, "NO RESPONSE, this is 12 s old: gone  http://run:1");
        state.trouble = None;
        assert_eq!(source(&state).1, "updated 12 s ago from http://run:1");
        state.newer = Some(7);
        assert!(source(&state).1.contains("the status has version 7, this program knows 2"));
        state.paused = true;
        assert_eq!(source(&state).1, "PAUSED, this is 12 s old  http://run:1");
    }

    #[test]
    fn totals_are_shown_with_rates_and_what_remains() {
        let mut rates = Rates::default();
        let at = |uptime_seconds, acknowledged| {
            let failed = BTreeMap::from([("message too large".to_owned(), 2)]);
            let produce = ProduceStatus {
                topic: "t".to_owned(),
                requested: Some(4_000),
                acknowledged,
                sent: 3_100,
                failed,
                ..ProduceStatus::default()
            };
            let sample = |(at, acknowledged)| RateSample { at, acknowledged, ..RateSample::default() };
            let history = [(1.0, 1_000), (2.0, 3_000)].map(sample).to_vec();
            Status { uptime_seconds, produce: Some(produce), history, ..Status::default() }
        };
        rates.note(&at(1.0, 1_000));
        rates.note(&at(2.0, 3_000));
        let expected = "produce to t:  3,000 of 4,000 acknowledged  2,000/s  0 B/s  500 ms left  3,100 sent  2 failed  \
            message too large: 2";
        assert_eq!(text(produced(&at(2.0, 3_000).produce.unwrap(), &rates)), expected);
        let consume =
            ConsumeStatus { group: "g".to_owned(), assignment: "manual".to_owned(), lag: 7, ..Default::default() };
        assert!(text(consumed(&consume, &rates)).contains("0 processed  lag 7  0 skipped  0 dead letters"));
    }

    #[test]
    fn texts_are_wrapped_into_lines() {
        let lines = |width| {
            let texts = ["aaaa", "bb", "cc", "dddddddd"].map(|text| plain(text.to_owned())).to_vec();
            flow(texts, width)
                .into_iter()
                .map(|line| line.into_iter().map(|(_, text)| text).collect())
                .collect::<Vec<String>>()
        };
        assert_eq!(lines(80), ["aaaa  bb  cc  dddddddd"]);
        assert_eq!(lines(12), ["aaaa  bb  cc", "  dddddddd"]);
        assert_eq!(lines(8), ["aaaa  bb", "  cc", "  dddddddd"]);
        assert_eq!(lines(0).len(), 4);
    }
}
