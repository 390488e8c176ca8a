//! One test a verdict, and the judge held against its model.

use proptest::prelude::*;

use super::histories::{RUN, chaos, histories, scopes};
use super::model::{self, Told, tell};
use super::*;

const SCOPE: Scope = Scope { run: Some(RUN), acknowledgements: true, from_start: true, partitions: 2, shared: false };
const ONE: Reader = Reader { slot: 0, process: 71 };
const TWO: Reader = Reader { slot: 1, process: 72 };

/// Message `sequence` of producer 3 in partition 1.
fn entry(offset: i64, sequence: u64) -> Entry {
    Entry { offset, sequence, run: RUN, partition: 1, producer: 3, stamped: true, intact: true, ..Entry::default() }
}

fn acknowledge(judge: &mut Judge, offsets: std::ops::Range<i64>) {
    offsets.for_each(|offset| judge.acknowledged(3, offset as u64, 1, offset));
}

fn read(judge: &mut Judge, reader: Reader, offsets: std::ops::Range<i64>) {
    offsets.for_each(|offset| judge.read(reader, 1_700_000_000_000_000, &entry(offset, offset as u64)));
}

/// A judge who was told of ten messages, and of a reader of partition 1.
fn judge() -> Judge {
    let mut judge = Judge::new(SCOPE);
    acknowledge(&mut judge, 0..10);
    judge.assigned(ONE, 1, 0);
    judge
}

/// That these are all findings.
fn assert_found(judge: &Judge, findings: &[(&'static str, u64)]) -> Verdict {
    let verdict = judge.verdict(Facts::default());
    assert_eq!(verdict.findings(), findings, "{verdict:#?}");
    assert_eq!(verdict.holds, findings.is_empty());
    for (name, count) in findings {
        let examples: Vec<_> = verdict.examples.iter().filter(|example| example.finding == *name).collect();
        assert_eq!(examples.len() as u64, (*count).min(10), "{name}: {examples:#?}");
        assert!(verdict.summary().contains(&format!("{name:<23} {count:>10}  such as ")), "{}", verdict.summary());
    }
    verdict
}

#[test]
fn a_clean_history_has_no_finding() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..12);
    acknowledge(&mut judge, 10..12);
    judge.ended(ONE, true);
    let verdict = assert_found(&judge, &[]);
    assert_eq!(verdict.summary(), "every message is accounted for: 12 acknowledged, 12 processed by 1 workers");
    let value = serde_json::to_value(&verdict).unwrap();
    assert_eq!((&value["holds"], &value["lost"], value.get("gaps")), (&true.into(), &0.into(), None));
}

#[test]
fn what_was_read_beyond_and_never_processed_is_lost() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..4);
    judge.assigned(ONE, 1, 6);
    read(&mut judge, ONE, 6..9);
    let verdict = assert_found(&judge, &[("lost", 2), ("unread", 1)]);
    let lost = serde_json::to_value(&verdict.examples[0]).unwrap();
    let expected = serde_json::json!({
        "finding": "lost", "run": "000000000000feed", "producer": 3, "sequence": 4, "partition": 1, "offset": 4
    });
    assert_eq!(lost, expected);
}

#[test]
fn what_was_acknowledged_without_an_offset_is_lost_when_all_was_read() {
    let mut judge = judge();
    judge.acknowledged(3, 4_000, 1, -1);
    judge.acknowledged(3, 5, 1, -1_001);
    read(&mut judge, ONE, 0..9);
    assert_found(&judge, &[("unread", 2)]);
    read(&mut judge, ONE, 9..10);
    assert_found(&judge, &[("lost", 1)]);
}

#[test]
fn a_message_at_two_offsets_is_duplicated_unless_it_was_made_so() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..10);
    judge.read(ONE, 0, &Entry { kind: Kind::Duplicate, ..entry(10, 4) });
    let verdict = assert_found(&judge, &[]);
    assert_eq!(verdict.deliberate, Deliberate { duplicated: 1, ..Deliberate::default() });
    judge.read(ONE, 0, &entry(11, 4));
    judge.read(ONE, 0, &Entry { kind: Kind::Duplicate, ..entry(12, 4) });
    assert_found(&judge, &[("duplicated", 2)]);
}

#[test]
fn a_copy_that_is_read_before_its_original_is_no_finding() {
    let mut judge = judge();
    judge.read(TWO, 0, &Entry { kind: Kind::Duplicate, partition: 0, ..entry(0, 4) });
    read(&mut judge, ONE, 0..10);
    assert_found(&judge, &[]);
}

#[test]
fn a_crash_explains_what_was_read_again_from_the_last_commit() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..8);
    judge.committed(ONE, 1, 5);
    judge.assigned(TWO, 1, 5);
    read(&mut judge, TWO, 5..10);
    judge.ended(TWO, true);
    let verdict = assert_found(&judge, &[]);
    assert_eq!(verdict.redelivered, 3);
    assert!(verdict.summary().ends_with(", 3 of them again after a crash"), "{}", verdict.summary());
    judge.ended(ONE, true);
    assert_found(&judge, &[("redelivered_unexplained", 3)]);
}

#[test]
fn a_crash_does_not_explain_what_was_committed() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..10);
    judge.committed(ONE, 1, 8);
    judge.assigned(TWO, 1, 3);
    read(&mut judge, TWO, 3..10);
    let verdict = assert_found(&judge, &[("redelivered_unexplained", 5)]);
    assert_eq!((verdict.examples[0].offset, verdict.examples[0].pid), (Some(3), Some(72)));
}

#[test]
fn a_journal_that_is_told_after_its_successors_is_explained_as_well() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..3);
    judge.assigned(TWO, 1, 0);
    read(&mut judge, TWO, 0..10);
    read(&mut judge, ONE, 3..7);
    let verdict = assert_found(&judge, &[]);
    assert_eq!(verdict.redelivered, 7);
}

#[test]
fn a_lower_sequence_behind_a_higher_one_is_reordered() {
    let mut judge = Judge::new(SCOPE);
    for (offset, sequence) in [(0, 0), (1, 2), (2, 1), (3, 3), (4, 3)] {
        judge.acknowledged(3, sequence, 1, offset);
        judge.read(ONE, 0, &entry(offset, sequence));
    }
    assert_found(&judge, &[("duplicated", 1), ("reordered", 1)]);
}

#[test]
fn jumps_count_where_a_message_stands() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..4);
    // 4 and 5 come later, from somebody else; 10 to 19 are transaction markers.
    read(&mut judge, ONE, 6..10);
    read(&mut judge, ONE, 20..21);
    read(&mut judge, TWO, 4..6);
    let verdict = assert_found(&judge, &[("skipped", 2)]);
    assert_eq!(verdict.examples.iter().map(|example| example.offset).collect::<Vec<_>>(), [Some(4), Some(5)]);
    let jumped = (Some(71), Some("2023-11-14T22:13:20.000000Z"));
    assert!(verdict.examples.iter().all(|example| (example.pid, example.time.as_deref()) == jumped));
}

#[test]
fn of_what_was_jumped_over_and_never_read_the_message_is_named() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..4);
    read(&mut judge, ONE, 6..10);
    let verdict = assert_found(&judge, &[("lost", 2), ("skipped", 2)]);
    let skipped = serde_json::to_value(&verdict.examples[3]).unwrap();
    let expected = serde_json::json!({
        "finding": "skipped", "run": "000000000000feed", "producer": 3, "sequence": 5, "partition": 1, "offset": 5,
        "worker": 0, "pid": 71, "time": "2023-11-14T22:13:20.000000Z"
    });
    assert_eq!(skipped, expected);
}

#[test]
fn what_stands_before_every_reader_is_lost_also_if_nothing_was_read() {
    let mut judge = Judge::new(SCOPE);
    acknowledge(&mut judge, 0..10);
    judge.assigned(ONE, 1, 10);
    judge.acknowledged(3, 10, 1, 10);
    assert_found(&judge, &[("lost", 10), ("unread", 1)]);
}

#[test]
fn what_is_read_in_part_holds_only_if_it_is_known_what_there_was() {
    let holds = |acknowledgements, facts| {
        let mut judge = Judge::new(Scope { acknowledgements, ..SCOPE });
        judge.assigned(ONE, 1, 0);
        read(&mut judge, ONE, 0..10);
        let verdict = judge.verdict(facts);
        assert_eq!(verdict.findings(), []);
        assert_eq!(verdict.holds, !verdict.summary().contains("does not hold"), "{}", verdict.summary());
        verdict.holds
    };
    let none = Facts::default();
    for part in [Facts { deadline_passed: true, ..none }, Facts { read_in_part: true, ..none }] {
        assert!(holds(true, part) && !holds(false, part) && !holds(true, Facts { cut_off: true, ..part }));
    }
    assert!(holds(false, none) && holds(true, Facts { cut_off: true, ..none }));
}

#[test]
fn others_messages_in_a_shared_topic_are_counted_and_no_finding() {
    let mut judge = Judge::new(Scope { shared: true, ..SCOPE });
    judge.read(ONE, 0, &Entry { stamped: false, ..entry(0, 0) });
    assert_eq!(assert_found(&judge, &[]).foreign, 1);
}

#[test]
fn a_jump_over_more_than_there_can_be_is_no_hardship() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..10);
    read(&mut judge, ONE, i64::MAX - 1..i64::MAX);
    // Its sequence is none that a producer of this program has come to.
    assert_found(&judge, &[("foreign", 1)]);
}

#[test]
fn going_back_without_an_assignment_is_found_and_explains_nothing() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..10);
    read(&mut judge, ONE, 7..10);
    let verdict = assert_found(&judge, &[("redelivered_unexplained", 3), ("went_back", 1)]);
    assert_eq!(verdict.examples[3].time.as_deref(), Some("2023-11-14T22:13:20.000000Z"));
}

#[test]
fn what_failed_and_is_there_is_found_and_what_failed_and_is_not_is_no_finding() {
    let mut judge = judge();
    judge.failed(3, 11);
    judge.failed(3, 12);
    read(&mut judge, ONE, 0..10);
    assert_found(&judge, &[]);
    judge.read(ONE, 0, &entry(10, 12));
    let verdict = assert_found(&judge, &[("failed_but_present", 1)]);
    assert_eq!((verdict.failed, verdict.examples[0].sequence), (2, Some(12)));
}

#[test]
fn acknowledgements_that_changed_places_are_mismatches_whoever_comes_first() {
    for read_first in [false, true] {
        let mut judge = Judge::new(SCOPE);
        judge.assigned(ONE, 1, 0);
        if read_first {
            read(&mut judge, ONE, 0..3);
        }
        judge.acknowledged(3, 1, 1, 0);
        judge.acknowledged(3, 0, 1, 1);
        judge.acknowledged(3, 2, 1, 2);
        if !read_first {
            read(&mut judge, ONE, 0..3);
        }
        let verdict = assert_found(&judge, &[("offset_mismatch", 2)]);
        let detail = verdict.examples[0].detail.as_deref();
        assert_eq!(detail, Some("holds message 0 of producer 3"), "{read_first}");
    }
}

#[test]
fn a_message_that_stands_only_elsewhere_is_a_mismatch_and_not_lost() {
    let mut judge = judge();
    judge.acknowledged(3, 99, 1, 10);
    read(&mut judge, ONE, 0..10);
    judge.assigned(ONE, 1, 11);
    judge.read(ONE, 0, &entry(11, 99));
    assert_found(&judge, &[("offset_mismatch", 1)]);
}

#[test]
fn an_offset_that_is_acknowledged_twice_is_a_mismatch() {
    let mut judge = judge();
    judge.acknowledged(3, 50, 1, 4);
    assert_found(&judge, &[("unread", 10), ("offset_mismatch", 1)]);
    read(&mut judge, ONE, 0..10);
    judge.acknowledged(3, 51, 1, 5);
    assert_found(&judge, &[("offset_mismatch", 2)]);
}

#[test]
fn contradictions_beyond_what_is_kept_are_counted_all_the_same() {
    let mut judge = Judge::new(SCOPE);
    let all = CONFLICTS as i64 + 1_000;
    (0..all).for_each(|offset| judge.acknowledged(3, offset as u64 + 1, 1, offset));
    read(&mut judge, ONE, 0..all);
    let verdict = judge.verdict(Facts::default());
    assert_eq!(verdict.findings(), [("offset_mismatch", all as u64)]);
}

#[test]
fn damaged_misplaced_and_foreign_messages_are_told_apart() {
    let mut judge = judge();
    read(&mut judge, ONE, 0..7);
    judge.read(ONE, 0, &Entry { intact: false, ..entry(7, 1 << 60) });
    judge.read(ONE, 0, &Entry { misplaced: true, ..entry(8, 8) });
    judge.read(ONE, 0, &Entry { failed: true, ..entry(9, 9) });
    judge.read(ONE, 0, &Entry { stamped: false, ..entry(10, 10) });
    judge.read(ONE, 0, &Entry { run: 1, ..entry(11, 11) });
    judge.read(ONE, 0, &Entry { kind: Kind::Corrupt, ..entry(12, 12) });
    judge.read(ONE, 0, &Entry { kind: Kind::Oversized, ..entry(13, 13) });
    let verdict = assert_found(&judge, &[("corrupt", 1), ("misplaced", 1), ("foreign", 2)]);
    assert_eq!((verdict.processed, verdict.processing_failed), (14, 1));
    assert_eq!(verdict.deliberate, Deliberate { duplicated: 0, corrupt: 1, oversized: 1 });
}

#[test]
fn without_acknowledgements_missing_sequences_are_gaps() {
    let told = |scope: Scope| {
        let mut judge = Judge::new(scope);
        for run in [1, 2] {
            for (offset, sequence) in [(0, 2), (1, 3), (2, 7), (3, 5)] {
                judge.read(ONE, 0, &Entry { run, partition: run as i32, ..entry(offset, sequence) });
            }
        }
        judge.read(ONE, 0, &Entry { run: 1, intact: false, ..entry(4, 6) });
        judge
    };
    let scope = Scope { run: None, acknowledgements: false, ..SCOPE };
    // 0, 1, 4 of run 1, whose 6 is damaged; 0, 1, 4, 6 of run 2.
    let verdict = assert_found(&told(scope), &[("reordered", 2), ("corrupt", 1), ("gaps", 7)]);
    assert_eq!(verdict.gaps, Some(7));
    assert_found(&told(Scope { from_start: false, ..scope }), &[("reordered", 2), ("corrupt", 1), ("gaps", 3)]);
}

#[test]
fn places_that_cannot_be_make_no_panic() {
    let mut judge = judge();
    for partition in [-1, i32::MIN, i32::MAX] {
        judge.acknowledged(0, 0, partition, 0);
        judge.assigned(ONE, partition, -5);
        judge.committed(ONE, partition, -5);
        judge.read(ONE, u64::MAX, &Entry { partition, ..entry(0, 0) });
    }
    judge.read(ONE, u64::MAX, &entry(-1, 0));
    judge.read(ONE, u64::MAX, &Entry { stamped: false, ..entry(0, 0) });
    let verdict = judge.verdict(Facts { deadline_passed: true, cut_off: true, read_in_part: true });
    assert_eq!(verdict.findings(), [("unread", 9), ("offset_mismatch", 4), ("foreign", 1)]);
    let summary = verdict.summary();
    assert!(summary.contains("the deadline passed") && summary.contains("cut off"), "{summary}");
}

#[test]
fn a_journal_is_read_as_it_was_written() {
    let mut writer = crate::journal::Writer::new(ONE);
    writer.assigned(1, 0);
    writer.read(5, &(0..10).map(|offset| entry(offset, offset as u64)).collect::<Vec<_>>());
    writer.committed(1, 10);
    writer.bye();
    let mut judge = Judge::new(SCOPE);
    acknowledge(&mut judge, 0..10);
    crate::journal::Decoder::default().push(writer.bytes(), |event| judge.journal(ONE, &event)).unwrap();
    judge.assigned(TWO, 1, 9);
    read(&mut judge, TWO, 9..10);
    assert_found(&judge, &[("redelivered_unexplained", 1)]);
}

#[test]
fn the_histories_have_every_finding() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut found, mut explained) = (std::collections::BTreeMap::new(), 0);
    for _ in 0..300 {
        let (scope, history) = (scopes(), histories()).new_tree(&mut runner).unwrap().current();
        let verdict = model::verdict(&scope, &history);
        verdict.findings().into_iter().for_each(|(name, _)| *found.entry(name).or_insert(0) += 1);
        explained += u64::from(verdict.redelivered > verdict.redelivered_unexplained);
    }
    for finding in Finding::ALL {
        assert!(found.get(finding.name()).is_some_and(|histories| *histories >= 10), "{}: {found:?}", finding.name());
    }
    assert!(explained >= 10, "{explained}");
}

/// That the judge and the model say the same.
fn same(scope: &Scope, history: &[Told]) -> Result<(), TestCaseError> {
    let mut judge = Judge::new(*scope);
    history.iter().for_each(|told| tell(&mut judge, *told));
    let verdict = judge.verdict(Facts::default());
    for finding in Finding::ALL {
        let examples = verdict.examples.iter().filter(|example| example.finding == finding.name()).count() as u64;
        prop_assert_eq!(examples, verdict.of(finding).min(10), "examples of {}", finding.name());
    }
    prop_assert_eq!(Verdict { examples: Vec::new(), ..verdict }, model::verdict(scope, history));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn it_says_what_the_naive_model_says(scope in scopes(), history in histories()) {
        same(&scope, &history)?;
    }

    #[test]
    fn it_says_what_the_naive_model_says_of_what_cannot_be(scope in scopes(), history in chaos()) {
        same(&scope, &history)?;
    }

    #[test]
    fn nothing_that_comes_from_a_good_world_is_a_finding(
        batches in prop::collection::vec((0_u16..4, 0_i32..3, 1_u64..600), 1..40),
        acknowledged_first in any::<[bool; 7]>(),
    ) {
        let mut judge = Judge::new(SCOPE);
        let (mut sequences, mut ends) = ([0_u64; 4], [0_i64; 3]);
        for ((producer, partition, count), first) in batches.into_iter().zip(acknowledged_first.iter().cycle()) {
            let mut batch = Vec::new();
            for _ in 0..count {
                let (sequence, offset) = (&mut sequences[usize::from(producer)], &mut ends[partition as usize]);
                batch.push(Entry { partition, producer, ..entry(*offset, *sequence) });
                (*sequence, *offset) = (*sequence + 1, *offset + 1);
            }
            for acknowledging in [*first, !first] {
                for it in &batch {
                    if acknowledging {
                        judge.acknowledged(producer, it.sequence, partition, it.offset);
                    } else {
                        judge.read(ONE, 0, it);
                    }
                }
            }
        }
        let verdict = judge.verdict(Facts::default());
        prop_assert!(verdict.holds, "{:?}", verdict.findings());
        prop_assert_eq!(verdict.acknowledged, verdict.processed);
    }
}
