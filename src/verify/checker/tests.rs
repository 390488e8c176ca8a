//! One test per anomaly; `properties` compares the checker with its reference model.

use super::random_histories::RUN;
use super::*;

mod properties;

const SCOPE: CheckScope =
    CheckScope { run: Some(RUN), acknowledgements: true, from_start: true, partitions: 2, shared: false };
const ONE: WorkerId = WorkerId { slot: 0, process: 71 };
const TWO: WorkerId = WorkerId { slot: 1, process: 72 };

/// Message `sequence` of producer 3 in partition 1.
fn entry(offset: i64, sequence: u64) -> HistoryEntry {
    HistoryEntry {
        offset,
        sequence,
        run: RUN,
        partition: 1,
        producer: 3,
        stamped: true,
        intact: true,
        ..HistoryEntry::default()
    }
}

fn acknowledge(checker: &mut Checker, offsets: std::ops::Range<i64>) {
    offsets.for_each(|offset| checker.acknowledged(3, offset as u64, 1, offset));
}

fn read(checker: &mut Checker, worker: WorkerId, offsets: std::ops::Range<i64>) {
    offsets.for_each(|offset| checker.read(worker, 1_700_000_000_000_000, &entry(offset, offset as u64)));
}

/// A checker with ten acknowledged messages and a worker that consumes partition 1.
fn checker() -> Checker {
    let mut checker = Checker::new(SCOPE);
    acknowledge(&mut checker, 0..10);
    checker.assigned(ONE, 1, 0);
    checker
}

/// Asserts that these are all anomalies.
fn assert_found(checker: &Checker, anomalies: &[(&'static str, u64)]) -> Verdict {
    let verdict = checker.verdict(RunFacts::default());
    assert_eq!(verdict.anomalies(), anomalies, "{verdict:#?}");
    assert_eq!(verdict.holds, anomalies.is_empty());
    for (name, count) in anomalies {
        let examples: Vec<_> = verdict.examples.iter().filter(|example| example.anomaly == *name).collect();
        assert_eq!(examples.len() as u64, (*count).min(10), "{name}: {examples:#?}");
        assert!(verdict.summary().contains(&format!("{name:<23} {count:>10}  such as ")), "{}", verdict.summary());
    }
    verdict
}

#[test]
fn a_clean_history_has_no_finding() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..12);
    acknowledge(&mut checker, 10..12);
    checker.ended(ONE, true);
    let verdict = assert_found(&checker, &[]);
    assert_eq!(verdict.summary(), "12 acknowledged, 12 processed by 1 worker");
    let value = serde_json::to_value(&verdict).unwrap();
    assert_eq!((&value["holds"], &value["lost"], value.get("gaps")), (&true.into(), &0.into(), None));
}

#[test]
fn what_was_read_beyond_and_never_processed_is_lost() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..4);
    checker.assigned(ONE, 1, 6);
    read(&mut checker, ONE, 6..9);
    let verdict = assert_found(&checker, &[("lost", 2), ("unread", 1)]);
    let lost = serde_json::to_value(&verdict.examples[0]).unwrap();
    let expected = serde_json::json!({
        "anomaly": "lost", "run": "000000000000feed", "producer": 3, "sequence": 4, "partition": 1, "offset": 4
    });
    assert_eq!(lost, expected);
}

#[test]
fn of_what_is_lost_it_is_known_what_was_deleted_before_it_was_read() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..4);
    checker.assigned(ONE, 1, 6);
    read(&mut checker, ONE, 6..8);
    checker.log_begins(1, 5);
    let verdict = assert_found(&checker, &[("lost", 2), ("unread", 2)]);
    let detail = |offset| verdict.examples.iter().find(|it| it.offset == Some(offset)).unwrap().detail.clone();
    assert_eq!((verdict.removed, detail(5)), (1, None));
    assert!(detail(4).unwrap().contains("log start offset"));
    assert!(verdict.summary().contains("1 of the lost messages is below the log start offset"));
    // Messages that no worker has reached are deleted, too.
    checker.log_begins(1, 10);
    assert_eq!(assert_found(&checker, &[("lost", 4)]).removed, 4);
}

#[test]
fn what_was_acknowledged_without_an_offset_is_lost_when_all_was_read() {
    let mut checker = checker();
    checker.acknowledged(3, 4_000, 1, -1);
    checker.acknowledged(3, 5, 1, -1_001);
    read(&mut checker, ONE, 0..9);
    assert_found(&checker, &[("unread", 2)]);
    read(&mut checker, ONE, 9..10);
    assert_found(&checker, &[("lost", 1)]);
}

#[test]
fn a_message_at_two_offsets_is_duplicated_unless_it_was_made_so() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..10);
    checker.read(ONE, 0, &HistoryEntry { kind: StampKind::Duplicate, ..entry(10, 4) });
    let verdict = assert_found(&checker, &[]);
    assert_eq!(verdict.deliberate, InjectedFaultCounts { duplicated: 1, ..InjectedFaultCounts::default() });
    checker.read(ONE, 0, &entry(11, 4));
    checker.read(ONE, 0, &HistoryEntry { kind: StampKind::Duplicate, ..entry(12, 4) });
    assert_found(&checker, &[("duplicated", 2)]);
}

#[test]
fn a_copy_that_is_read_before_its_original_is_no_finding() {
    let mut checker = checker();
    checker.read(TWO, 0, &HistoryEntry { kind: StampKind::Duplicate, partition: 0, ..entry(0, 4) });
    read(&mut checker, ONE, 0..10);
    assert_found(&checker, &[]);
}

#[test]
fn a_crash_explains_what_was_read_again_from_the_last_commit() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..8);
    checker.committed(ONE, 1, 5);
    checker.assigned(TWO, 1, 5);
    read(&mut checker, TWO, 5..10);
    checker.ended(TWO, true);
    let verdict = assert_found(&checker, &[]);
    assert_eq!(verdict.redelivered, 3);
    assert!(verdict.summary().ends_with(", 3 of them again after a crash"), "{}", verdict.summary());
    checker.ended(ONE, true);
    assert_found(&checker, &[("redelivered_unexplained", 3)]);
}

#[test]
fn a_crash_does_not_explain_what_was_committed() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..10);
    checker.committed(ONE, 1, 8);
    checker.assigned(TWO, 1, 3);
    read(&mut checker, TWO, 3..10);
    let verdict = assert_found(&checker, &[("redelivered_unexplained", 5)]);
    assert_eq!((verdict.examples[0].offset, verdict.examples[0].pid), (Some(3), Some(72)));
}

#[test]
fn a_history_that_arrives_after_its_successors_is_explained_as_well() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..3);
    checker.assigned(TWO, 1, 0);
    read(&mut checker, TWO, 0..10);
    read(&mut checker, ONE, 3..7);
    let verdict = assert_found(&checker, &[]);
    assert_eq!(verdict.redelivered, 7);
}

#[test]
fn a_lower_sequence_behind_a_higher_one_is_reordered() {
    let mut checker = Checker::new(SCOPE);
    for (offset, sequence) in [(0, 0), (1, 2), (2, 1), (3, 3), (4, 3)] {
        checker.acknowledged(3, sequence, 1, offset);
        checker.read(ONE, 0, &entry(offset, sequence));
    }
    assert_found(&checker, &[("duplicated", 1), ("reordered", 1)]);
}

#[test]
fn jumps_count_where_a_message_stands() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..4);
    // Another worker processes 4 and 5 later; 10 to 19 are transaction markers.
    read(&mut checker, ONE, 6..10);
    read(&mut checker, ONE, 20..21);
    read(&mut checker, TWO, 4..6);
    let verdict = assert_found(&checker, &[("skipped", 2)]);
    assert_eq!(verdict.examples.iter().map(|example| example.offset).collect::<Vec<_>>(), [Some(4), Some(5)]);
    let jumped = (Some(71), Some("2023-11-14T22:13:20.000000Z"));
    assert!(verdict.examples.iter().all(|example| (example.pid, example.time.as_deref()) == jumped));
}

#[test]
fn of_what_was_jumped_over_and_never_read_the_message_is_named() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..4);
    read(&mut checker, ONE, 6..10);
    let verdict = assert_found(&checker, &[("lost", 2), ("skipped", 2)]);
    let skipped = serde_json::to_value(&verdict.examples[3]).unwrap();
    let expected = serde_json::json!({
        "anomaly": "skipped", "run": "000000000000feed", "producer": 3, "sequence": 5, "partition": 1, "offset": 5,
        "worker": 0, "pid": 71, "time": "2023-11-14T22:13:20.000000Z"
    });
    assert_eq!(skipped, expected);
}

#[test]
fn what_is_before_every_start_offset_is_lost_also_if_nothing_was_consumed() {
    let mut checker = Checker::new(SCOPE);
    acknowledge(&mut checker, 0..10);
    checker.assigned(ONE, 1, 10);
    checker.acknowledged(3, 10, 1, 10);
    assert_found(&checker, &[("lost", 10), ("unread", 1)]);
}

#[test]
fn what_is_read_in_part_holds_only_if_it_is_known_what_there_was() {
    let holds = |acknowledgements, facts| {
        let mut checker = Checker::new(CheckScope { acknowledgements, ..SCOPE });
        checker.assigned(ONE, 1, 0);
        read(&mut checker, ONE, 0..10);
        let verdict = checker.verdict(facts);
        assert_eq!(verdict.anomalies(), []);
        assert_eq!(verdict.holds, !verdict.summary().contains("does not hold"), "{}", verdict.summary());
        verdict.holds
    };
    let none = RunFacts::default();
    for part in [RunFacts { deadline_passed: true, ..none }, RunFacts { read_in_part: true, ..none }] {
        assert!(holds(true, part) && !holds(false, part) && !holds(true, RunFacts { cut_off: true, ..part }));
    }
    assert!(holds(false, none) && holds(true, RunFacts { cut_off: true, ..none }));
}

#[test]
fn others_messages_in_a_shared_topic_are_counted_and_no_finding() {
    let mut checker = Checker::new(CheckScope { shared: true, ..SCOPE });
    checker.read(ONE, 0, &HistoryEntry { stamped: false, ..entry(0, 0) });
    assert_eq!(assert_found(&checker, &[]).foreign, 1);
}

#[test]
fn a_jump_over_more_than_there_can_be_is_no_hardship() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..10);
    read(&mut checker, ONE, i64::MAX - 1..i64::MAX);
    // No producer of this program reaches this sequence number.
    assert_found(&checker, &[("foreign", 1)]);
}

#[test]
fn going_back_without_an_assignment_is_found_and_explains_nothing() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..10);
    read(&mut checker, ONE, 7..10);
    let verdict = assert_found(&checker, &[("redelivered_unexplained", 3), ("went_back", 1)]);
    assert_eq!(verdict.examples[3].time.as_deref(), Some("2023-11-14T22:13:20.000000Z"));
}

#[test]
fn what_failed_and_is_there_is_found_and_what_failed_and_is_not_is_no_finding() {
    let mut checker = checker();
    checker.failed(3, 11);
    checker.failed(3, 12);
    read(&mut checker, ONE, 0..10);
    assert_found(&checker, &[]);
    checker.read(ONE, 0, &entry(10, 12));
    let verdict = assert_found(&checker, &[("failed_but_present", 1)]);
    assert_eq!((verdict.failed, verdict.examples[0].sequence), (2, Some(12)));
}

#[test]
fn acknowledgements_that_changed_places_are_mismatches_whoever_comes_first() {
    for read_first in [false, true] {
        let mut checker = Checker::new(SCOPE);
        checker.assigned(ONE, 1, 0);
        if read_first {
            read(&mut checker, ONE, 0..3);
        }
        checker.acknowledged(3, 1, 1, 0);
        checker.acknowledged(3, 0, 1, 1);
        checker.acknowledged(3, 2, 1, 2);
        if !read_first {
            read(&mut checker, ONE, 0..3);
        }
        let verdict = assert_found(&checker, &[("offset_mismatch", 2)]);
        let detail = verdict.examples[0].detail.as_deref();
        assert_eq!(detail, Some("holds message 0 of producer 3"), "{read_first}");
    }
}

#[test]
fn a_message_that_stands_only_elsewhere_is_a_mismatch_and_not_lost() {
    let mut checker = checker();
    checker.acknowledged(3, 99, 1, 10);
    read(&mut checker, ONE, 0..10);
    checker.assigned(ONE, 1, 11);
    checker.read(ONE, 0, &entry(11, 99));
    assert_found(&checker, &[("offset_mismatch", 1)]);
}

#[test]
fn an_offset_that_is_acknowledged_twice_is_a_mismatch() {
    let mut checker = checker();
    checker.acknowledged(3, 50, 1, 4);
    assert_found(&checker, &[("unread", 10), ("offset_mismatch", 1)]);
    read(&mut checker, ONE, 0..10);
    checker.acknowledged(3, 51, 1, 5);
    assert_found(&checker, &[("offset_mismatch", 2)]);
}

#[test]
fn contradictions_beyond_what_is_kept_are_counted_all_the_same() {
    let mut checker = Checker::new(SCOPE);
    let all = MAX_CONFLICTS as i64 + 1_000;
    (0..all).for_each(|offset| checker.acknowledged(3, offset as u64 + 1, 1, offset));
    read(&mut checker, ONE, 0..all);
    let verdict = checker.verdict(RunFacts::default());
    assert_eq!(verdict.anomalies(), [("offset_mismatch", all as u64)]);
}

#[test]
fn corrupt_misplaced_and_foreign_messages_are_distinguished() {
    let mut checker = checker();
    read(&mut checker, ONE, 0..7);
    checker.read(ONE, 0, &HistoryEntry { intact: false, ..entry(7, 1 << 60) });
    checker.read(ONE, 0, &HistoryEntry { misplaced: true, ..entry(8, 8) });
    checker.read(ONE, 0, &HistoryEntry { failed: true, ..entry(9, 9) });
    checker.read(ONE, 0, &HistoryEntry { stamped: false, ..entry(10, 10) });
    checker.read(ONE, 0, &HistoryEntry { run: 1, ..entry(11, 11) });
    checker.read(ONE, 0, &HistoryEntry { kind: StampKind::Corrupt, ..entry(12, 12) });
    checker.read(ONE, 0, &HistoryEntry { kind: StampKind::Oversized, ..entry(13, 13) });
    let verdict = assert_found(&checker, &[("corrupt", 1), ("misplaced", 1), ("foreign", 2)]);
    assert_eq!((verdict.processed, verdict.processing_failed), (14, 1));
    assert_eq!(verdict.deliberate, InjectedFaultCounts { duplicated: 0, corrupt: 1, oversized: 1 });
}

#[test]
fn without_acknowledgements_missing_sequences_are_gaps() {
    let event = |scope: CheckScope| {
        let mut checker = Checker::new(scope);
        for run in [1, 2] {
            for (offset, sequence) in [(0, 2), (1, 3), (2, 7), (3, 5)] {
                checker.read(ONE, 0, &HistoryEntry { run, partition: run as i32, ..entry(offset, sequence) });
            }
        }
        checker.read(ONE, 0, &HistoryEntry { run: 1, intact: false, ..entry(4, 6) });
        checker
    };
    let scope = CheckScope { run: None, acknowledgements: false, ..SCOPE };
    // 0, 1, 4 of run 1, whose 6 is damaged; 0, 1, 4, 6 of run 2.
    let verdict = assert_found(&event(scope), &[("reordered", 2), ("corrupt", 1), ("gaps", 7)]);
    assert_eq!(verdict.gaps, Some(7));
    assert_found(&event(CheckScope { from_start: false, ..scope }), &[("reordered", 2), ("corrupt", 1), ("gaps", 3)]);
}

#[test]
fn no_message_is_misplaced_once_partitions_were_added() {
    let misplaced = |added: bool| {
        let mut checker = checker();
        checker.acknowledged(0, 0, if added { 2 } else { 1 }, 0);
        let elsewhere = HistoryEntry { partition: if added { 2 } else { 1 }, misplaced: true, ..entry(0, 0) };
        checker.read(ONE, 0, &elsewhere);
        checker
    };
    assert_eq!(misplaced(false).verdict(RunFacts::default()).misplaced, 1);
    let verdict = misplaced(true).verdict(RunFacts::default());
    let is_example = verdict.examples.iter().any(|example| example.anomaly == "misplaced");
    assert_eq!((verdict.misplaced, is_example), (0, false), "a producer knew of a third partition");
    let known = RunFacts { partitions_added: true, ..RunFacts::default() };
    assert_eq!(misplaced(false).verdict(known).misplaced, 0, "the supervisor has found one");
}

#[test]
fn a_journal_is_read_as_it_was_written() {
    let mut writer = crate::history::Writer::new(ONE);
    writer.assigned(1, 0);
    writer.read(5, &(0..10).map(|offset| entry(offset, offset as u64)).collect::<Vec<_>>());
    writer.committed(1, 10);
    writer.bye();
    let mut checker = Checker::new(SCOPE);
    acknowledge(&mut checker, 0..10);
    crate::history::HistoryDecoder::default().push(writer.bytes(), |event| checker.history(ONE, &event)).unwrap();
    checker.assigned(TWO, 1, 9);
    read(&mut checker, TWO, 9..10);
    assert_found(&checker, &[("redelivered_unexplained", 1)]);
}
