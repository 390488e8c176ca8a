//! The comparison of the checker with its reference model, on random histories.

use proptest::prelude::*;

use super::super::random_histories::{histories, random_faults, scopes};
use super::super::reference_model::{self, ModelEvent, apply};
use super::*;

#[test]
fn places_that_cannot_be_make_no_panic() {
    let mut checker = checker();
    for partition in [-1, i32::MIN, i32::MAX] {
        checker.acknowledged(0, 0, partition, 0);
        checker.assigned(ONE, partition, -5);
        checker.committed(ONE, partition, -5);
        checker.read(ONE, u64::MAX, &HistoryEntry { partition, ..entry(0, 0) });
    }
    checker.read(ONE, u64::MAX, &entry(-1, 0));
    checker.read(ONE, u64::MAX, &HistoryEntry { stamped: false, ..entry(0, 0) });
    let verdict =
        checker.verdict(RunFacts { deadline_passed: true, cut_off: true, read_in_part: true, ..RunFacts::default() });
    assert_eq!(verdict.anomalies(), [("unread", 9), ("offset_mismatch", 4), ("foreign", 1)]);
    let summary = verdict.summary();
    assert!(summary.contains("the deadline passed") && summary.contains("cut off"), "{summary}");
}

#[test]
fn the_histories_have_every_finding() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut found, mut explained) = (std::collections::BTreeMap::new(), 0);
    for _ in 0..300 {
        let (scope, history) = (scopes(), histories()).new_tree(&mut runner).unwrap().current();
        let verdict = reference_model::verdict(&scope, &history);
        verdict.anomalies().into_iter().for_each(|(name, _)| *found.entry(name).or_insert(0) += 1);
        explained += u64::from(verdict.redelivered > verdict.redelivered_unexplained);
    }
    for anomaly in Anomaly::ALL {
        assert!(found.get(anomaly.name()).is_some_and(|histories| *histories >= 10), "{}: {found:?}", anomaly.name());
    }
    assert!(explained >= 10, "{explained}");
}

/// Numbers at the ends of their ranges and at the checker's own limits.
fn extreme() -> impl Strategy<Value = u64> {
    let near = |centre: u64| (0..6_u64).prop_map(move |distance| centre.wrapping_add(distance).wrapping_sub(3));
    prop_oneof![near(0), near(1 << 34), near(1 << 46), near(1 << 63), any::<u64>(), Just(u64::MAX), Just(u64::MAX - 1)]
}

/// Arbitrary numbers, as from forged stamps, faulty clients and foreign tools.
fn forged() -> impl Strategy<Value = Vec<ModelEvent>> {
    let worker = || (0..2_u32).prop_map(|slot| WorkerId { slot, process: 1 });
    let place = || (prop_oneof![0..3_i32, Just(-1), Just(i32::MAX)], extreme().prop_map(|offset| offset as i64));
    let producer = || prop_oneof![0..2_u16, Just(u16::MAX)];
    let run = prop_oneof![4 => Just(RUN), 1 => extreme()];
    let kind = (0..4_u8).prop_map(|kind| StampKind::from_byte(kind).unwrap());
    let entry = (place(), producer(), extreme(), run, kind, any::<[bool; 4]>()).prop_map(
        |((partition, offset), producer, sequence, run, kind, [plain, damaged, misplaced, failed])| {
            let (stamped, intact) = (!plain, !damaged);
            HistoryEntry { offset, sequence, run, partition, producer, kind, stamped, intact, misplaced, failed }
        },
    );
    let event = prop_oneof![
        4 => (producer(), extreme(), place()).prop_map(
            |(producer, sequence, (partition, offset))| ModelEvent::Acknowledged { producer, sequence, partition, offset }),
        2 => (producer(), extreme()).prop_map(|(producer, sequence)| ModelEvent::Failed { producer, sequence }),
        1 => (worker(), place()).prop_map(|(worker, (partition, start))| ModelEvent::Assigned { worker, partition, start }),
        1 => (worker(), place()).prop_map(|(worker, (partition, offset))| ModelEvent::Committed { worker, partition, offset }),
        8 => (worker(), entry).prop_map(|(worker, entry)| ModelEvent::Read { worker, entry }),
        1 => (worker(), any::<bool>()).prop_map(|(worker, clean)| ModelEvent::Ended { worker, clean }),
    ];
    prop::collection::vec(event, 0..30)
}

/// Asserts that checker and model agree.
fn same(scope: &CheckScope, history: &[ModelEvent]) -> Result<(), TestCaseError> {
    let mut checker = Checker::new(*scope);
    history.iter().for_each(|event| apply(&mut checker, *event));
    let verdict = checker.verdict(RunFacts::default());
    for anomaly in Anomaly::ALL {
        let examples = verdict.examples.iter().filter(|example| example.anomaly == anomaly.name()).count() as u64;
        prop_assert_eq!(examples, verdict.of(anomaly).min(10), "examples of {}", anomaly.name());
    }
    prop_assert_eq!(Verdict { examples: Vec::new(), ..verdict }, reference_model::verdict(scope, history));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn it_finds_what_the_reference_model_finds(scope in scopes(), history in histories()) {
        same(&scope, &history)?;
    }

    #[test]
    fn it_finds_what_the_reference_model_finds_in_impossible_histories(scope in scopes(), history in random_faults()) {
        same(&scope, &history)?;
    }

    #[test]
    fn no_number_overflows(scope in scopes(), history in forged()) {
        let mut checker = Checker::new(scope);
        history.iter().for_each(|event| apply(&mut checker, *event));
        let verdict = checker.verdict(RunFacts::default());
        let of_kind = |is: fn(&ModelEvent) -> bool| history.iter().filter(|event| is(event)).count() as u64;
        let read = of_kind(|event| matches!(event, ModelEvent::Read { .. }));
        prop_assert!(verdict.processed + verdict.redelivered <= read);
    }

    #[test]
    fn nothing_that_comes_from_a_good_world_is_a_finding(
        batches in prop::collection::vec((0_u16..4, 0_i32..3, 1_u64..600), 1..40),
        acknowledged_first in any::<[bool; 7]>(),
    ) {
        let mut checker = Checker::new(SCOPE);
        let (mut sequences, mut ends) = ([0_u64; 4], [0_i64; 3]);
        for ((producer, partition, count), first) in batches.into_iter().zip(acknowledged_first.iter().cycle()) {
            let mut batch = Vec::new();
            for _ in 0..count {
                let (sequence, offset) = (&mut sequences[usize::from(producer)], &mut ends[partition as usize]);
                batch.push(HistoryEntry { partition, producer, ..entry(*offset, *sequence) });
                (*sequence, *offset) = (*sequence + 1, *offset + 1);
            }
            for acknowledging in [*first, !first] {
                for it in &batch {
                    if acknowledging {
                        checker.acknowledged(producer, it.sequence, partition, it.offset);
                    } else {
                        checker.read(ONE, 0, it);
                    }
                }
            }
        }
        let verdict = checker.verdict(RunFacts::default());
        prop_assert!(verdict.holds, "{:?}", verdict.anomalies());
        prop_assert_eq!(verdict.acknowledged, verdict.processed);
    }
}
