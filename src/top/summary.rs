//! A status in a few words and numbers. Pure.

use super::rates::{Counted, Rates};
use super::state::State;
use super::table::{Mood, width_of};
use crate::figures::{bytes, count, per_second, seconds, several};
use crate::monitoring::status::{ConsumeStatus, HistogramStatus, Phase, ProduceStatus, Status, VERSION};

/// Something to be said, and what it is like.
pub(super) type Said = (Mood, String);

/// Who tells this.
pub(super) fn title(status: &Status) -> String {
    let Status { program, command, host, pid, .. } = status;
    format!("kafka-actors {program}  {command} on {host}, pid {pid}")
}

/// Where the run stands, and since when it is up.
pub(super) fn phase(status: &Status) -> String {
    let phase = match status.phase {
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Quiet => "quiet",
        Phase::Draining => "draining",
        Phase::Ended => "ended",
    };
    format!("{phase}, up {}", seconds(status.uptime_seconds))
}

/// Whether it is ready, or the first reason why not.
pub(super) fn readiness(status: &Status) -> Said {
    match (status.phase, status.unready.as_slice()) {
        (Phase::Draining, _) => (Mood::Warning, "it ends: what is in hand is finished".to_owned()),
        (Phase::Ended, _) => (Mood::Faint, "all is done".to_owned()),
        (Phase::Quiet, []) => {
            (Mood::Warning, "ready, but quiet: workers keep their partitions and read nothing".to_owned())
        }
        (_, []) => (Mood::Well, "ready".to_owned()),
        (_, [reason]) => (Mood::Bad, format!("not ready: {reason}")),
        (_, [reason, more @ ..]) => (Mood::Bad, format!("not ready: {reason} (and {} more)", more.len())),
    }
}

/// How old all this is, what is wrong with that, and where it comes from.
pub(super) fn source(state: &State) -> Said {
    let address = &state.address;
    let old = state.age().map(|age| match age.as_secs_f64() {
        age if age < 9.95 => format!("{age:.1} s"),
        age => seconds(age),
    });
    match (old, &state.trouble) {
        (old, _) if state.paused => {
            let old = old.map(|old| format!(", this is {old} old")).unwrap_or_default();
            (Mood::Warning, format!("PAUSED{old}  {address}"))
        }
        (None, None) => (Mood::Plain, format!("{address} is asked")),
        (None, Some(why)) => (Mood::Bad, format!("NO ANSWER: {why}  {address}, again every second")),
        (Some(old), Some(why)) => (Mood::Bad, format!("NO ANSWER, this is {old} old: {why}  {address}")),
        (Some(old), None) => match state.newer {
            Some(version) => {
                let known =
                    format!("the status has version {version}, this program knows {VERSION}: something may be missing");
                (Mood::Warning, format!("told {old} ago; {known}  {address}"))
            }
            None => (Mood::Faint, format!("told {old} ago by {address}")),
        },
    }
}

/// The producing side's totals.
pub(super) fn produced(produce: &ProduceStatus, rates: &Rates) -> Vec<Said> {
    let failed: u64 = produce.failed.values().fold(0, |sum, count| sum.saturating_add(*count));
    let of = produce.requested.map(|requested| format!(" of {}", count(requested))).unwrap_or_default();
    let mut said = vec![
        plain(format!("produce to {}:", produce.topic)),
        plain(format!("{}{of} acknowledged", count(produce.acknowledged))),
    ];
    said.extend(rates.of(&Counted::Acknowledged).map(|rate| plain(per_second(rate))));
    said.extend(rates.of(&Counted::SentBytes).map(|rate| plain(format!("{}/s", bytes(rate as u64)))));
    let missing = produce.requested.map(|requested| requested.saturating_sub(produce.acknowledged));
    let left = missing.filter(|missing| *missing > 0).and_then(|it| rates.seconds_for(&Counted::Acknowledged, it));
    said.extend(left.map(|left| plain(format!("{} left", seconds(left)))));
    said.push(plain(format!("{} sent", count(produce.sent))));
    said.push(bad_if(failed > 0, format!("{} failed", count(failed))));
    for (reason, number) in &produce.failed {
        said.push((Mood::Bad, format!("{reason}: {}", count(*number))));
    }
    said.extend(latency("acknowledged within", &produce.acknowledgement));
    said
}

/// The consuming side's totals.
pub(super) fn consumed(consume: &ConsumeStatus, rates: &Rates) -> Vec<Said> {
    let restarts = consume.restarts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let mut said = vec![
        plain(format!("consume from {}, group {}, {}:", consume.topics.join(", "), consume.group, consume.assignment)),
        plain(format!("{} processed", count(consume.processed))),
    ];
    said.extend(rates.of(&Counted::Processed).map(|rate| plain(per_second(rate))));
    said.extend(rates.of(&Counted::ReadBytes).map(|rate| plain(format!("{}/s", bytes(rate as u64)))));
    said.push(plain(format!("lag {}", count(consume.lag))));
    said.push(bad_if(consume.failed > 0, format!("{} skipped", count(consume.failed))));
    said.push(bad_if(consume.dead_lettered > 0, several(consume.dead_lettered, "dead letter")));
    said.push(plain(format!("{} tried again", count(consume.retried))));
    said.push(plain(several(restarts, "restart")));
    for (cause, number) in &consume.restarts {
        said.push((Mood::Warning, format!("{cause}: {}", count(*number))));
    }
    said.push(plain(several(consume.rebalances, "rebalance")));
    said.extend(latency("processed within", &consume.end_to_end));
    said.extend(latency("processing", &consume.processing));
    said
}

fn plain(text: String) -> Said {
    (Mood::Plain, text)
}

fn bad_if(bad: bool, text: String) -> Said {
    (if bad { Mood::Bad } else { Mood::Plain }, text)
}

fn latency(what: &str, times: &HistogramStatus) -> Option<Said> {
    let HistogramStatus { p50_seconds, p99_seconds, .. } = times;
    (times.count > 0).then(|| plain(format!("{what} {} (p99 {})", seconds(*p50_seconds), seconds(*p99_seconds))))
}

/// What is said in lines of this width, none of it torn apart unless it is wider than a line. All but the first line of
/// each begin further to the right.
pub(super) fn flow(said: Vec<Said>, width: usize) -> Vec<Vec<Said>> {
    let mut lines: Vec<Vec<Said>> = Vec::new();
    let mut used = 0;
    for (mood, text) in said {
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
    use crate::monitoring::status::Sample;

    fn text(said: Vec<Said>) -> String {
        said.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("  ")
    }

    #[test]
    fn the_first_reason_is_told_and_how_many_there_are() {
        let ready = |phase, unready: &[&str]| {
            let unready = unready.iter().map(ToString::to_string).collect();
            readiness(&Status { phase, unready, ..Status::default() }).1
        };
        assert_eq!(ready(Phase::Running, &[]), "ready");
        assert_eq!(ready(Phase::Running, &["t/0 is read by no worker"]), "not ready: t/0 is read by no worker");
        assert_eq!(ready(Phase::Running, &["a", "b", "c"]), "not ready: a (and 2 more)");
        assert_eq!(ready(Phase::Draining, &[]), "it ends: what is in hand is finished");
    }

    #[test]
    fn the_age_is_told_and_why_there_is_no_answer() {
        let mut state = State::new("http://run:1".to_owned(), Instant::now());
        assert_eq!(source(&state).1, "http://run:1 is asked");
        state.trouble = Some("gone".to_owned());
        assert_eq!(source(&state).1, "NO ANSWER: gone  http://run:1, again every second");
        state.told = Some(state.now);
        state.now += Duration::from_secs(12);
        assert_eq!(source(&state).1, "NO ANSWER, this is 12 s old: gone  http://run:1");
        state.trouble = None;
        assert_eq!(source(&state).1, "told 12 s ago by http://run:1");
        state.newer = Some(7);
        assert!(source(&state).1.contains("the status has version 7, this program knows 1"));
        state.paused = true;
        assert_eq!(source(&state).1, "PAUSED, this is 12 s old  http://run:1");
    }

    #[test]
    fn totals_are_told_with_rates_and_what_is_left() {
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
            let sample = |(at, acknowledged)| Sample { at, acknowledged, ..Sample::default() };
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
    fn what_is_said_flows_into_lines() {
        let lines = |width| {
            let said = ["aaaa", "bb", "cc", "dddddddd"].map(|text| plain(text.to_owned())).to_vec();
            flow(said, width)
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
