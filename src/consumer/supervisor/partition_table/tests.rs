//! The positions of partitions over several processes.

use std::collections::BTreeSet;

use super::*;
use crate::consumer::supervisor::messages::CommittedOffsets;
use crate::kafka::topic_id::TopicId;

const NOW: Duration = Duration::ZERO;
/// When the status is requested.
const LATER: Duration = Duration::from_secs(1);

/// One partition, consumed from `first` by slot 0; `before` was committed by an earlier run.
fn read_from(first: i64, before: Option<i64>) -> (PartitionTable, TopicPartition) {
    let name = TopicPartition::new("t", 0);
    let start = PartitionAssignment { partition: name.clone(), start: first, until: None, topic_id: None };
    let mut partitions = PartitionTable::default();
    partitions.insert(&DiscoveredPartition { start, end: 2_000, committed: before }, NOW);
    partitions.give(&name, 0);
    (partitions, name)
}

fn progress(name: &TopicPartition, next: i64) -> PartitionProgress {
    PartitionProgress {
        partition: name.clone(),
        next,
        end: None,
        committed: None,
        counts: PartitionCounts { processed: 5, ..PartitionCounts::default() },
        in_flight: None,
        retrying: false,
        waits_for_turn: false,
    }
}

fn resumed_at(partitions: &mut PartitionTable, name: &TopicPartition, reply: Option<i64>) -> i64 {
    partitions.resume(std::slice::from_ref(name), &reply.map(|offset| (name.clone(), offset)).into_iter().collect());
    partitions.starts(std::slice::from_ref(name), ResumeFrom::Committed)[0].start
}

#[test]
fn a_worker_goes_on_where_this_run_has_committed() {
    let (mut partitions, name) = read_from(10, Some(10));
    assert_eq!(resumed_at(&mut partitions, &name, Some(70)), 70);
    assert_eq!(resumed_at(&mut partitions, &name, None), 70, "what was known stays known");
}

#[test]
fn a_commit_that_a_dead_worker_has_not_reported_counts_as_handled_once() {
    let (mut partitions, name) = read_from(10, Some(10));
    partitions.update(0, vec![progress(&name, 15)], NOW);
    for committed in [12, 15, 18, 18] {
        assert_eq!(resumed_at(&mut partitions, &name, Some(committed)), committed);
        partitions.count_unreported(std::slice::from_ref(&name));
    }
    assert_eq!((partitions.totals().handled(), partitions.unreported()), (5, 3));
    assert_eq!(partitions.uncommitted(false), None);
}

#[test]
fn a_commit_of_an_earlier_run_is_no_place_to_go_on() {
    // Started at the low watermark although 1,000 was committed; nothing has been committed since.
    let (mut partitions, name) = read_from(0, Some(1_000));
    assert_eq!(resumed_at(&mut partitions, &name, Some(1_000)), 0);
    assert_eq!(resumed_at(&mut partitions, &name, Some(50)), 50, "this one is ours");
}

#[test]
fn without_commits_a_worker_goes_on_where_the_other_one_was() {
    let (mut partitions, name) = read_from(10, None);
    partitions.update(0, vec![progress(&name, 15)], NOW);
    let start = |from| partitions.starts(std::slice::from_ref(&name), from)[0].start;
    assert_eq!((start(ResumeFrom::Position), start(ResumeFrom::Committed)), (15, 10));
    assert_eq!(partitions.report(true)[0].lag, None, "there is no group that could be behind");
    assert_eq!(partitions.report(false)[0].lag, Some(1_985));
}

#[test]
fn what_is_read_or_is_not_to_be_read_does_not_stand_still() {
    let (mut partitions, name) = read_from(100, None);
    let still = |partitions: &PartitionTable| partitions.status(false, LATER)[0].stalled_seconds > 0.0;
    partitions.set_high_watermarks(&[(name.clone(), 2_000)].into(), NOW);
    assert!(still(&partitions), "there are messages");
    partitions.update(0, vec![progress(&name, 1_999)], NOW);
    assert!(still(&partitions));
    partitions.update(0, vec![progress(&name, 2_000)], NOW);
    assert!(!still(&partitions));
    assert!(!partitions.last_positions(0, ResumeFrom::Committed)[0].has_work);
    assert!(!partitions.unread().is_empty(), "it has no end");
    partitions.read_until(&[(name.clone(), 2_000)].into(), NOW);
    assert!(partitions.unread().is_empty());
    partitions.set_high_watermarks(&[(name, 3_000)].into(), NOW);
    assert!(!still(&partitions), "what comes later is not to be read");
}

#[test]
fn the_end_is_the_last_stable_offset_while_a_transaction_is_open() {
    let (mut partitions, name) = read_from(100, None);
    let status = |partitions: &PartitionTable| {
        let status = &partitions.status(false, LATER)[0];
        (status.high_watermark, status.lag, status.stalled_seconds > 0.0)
    };
    let report = |partitions: &mut PartitionTable, high_watermark| {
        partitions.update(0, vec![PartitionProgress { end: Some(high_watermark), ..progress(&name, 2_000) }], NOW);
    };
    report(&mut partitions, 2_000);
    partitions.on_watermarks_requested();
    // Written and received while the request was in flight.
    report(&mut partitions, 2_300);
    partitions.set_high_watermarks(&[(name.clone(), 2_100)].into(), NOW);
    assert_eq!(status(&partitions).0, 2_300, "without transactions the worker's own knowledge is younger");
    partitions.on_watermarks_requested();
    partitions.set_high_watermarks(&[(name.clone(), 2_000)].into(), NOW);
    assert_eq!(status(&partitions), (2_000, 0, false), "what is behind the last stable offset cannot be read yet");
    report(&mut partitions, 2_400);
    assert_eq!((status(&partitions), partitions.starved()), ((2_000, 0, false), Offsets::new()));
    partitions.on_watermarks_requested();
    partitions.set_high_watermarks(&[(name.clone(), 2_401)].into(), NOW);
    assert_eq!((status(&partitions).1, partitions.starved()), (401, [(name, 2_000)].into()));
}

#[test]
fn a_topic_that_was_created_again_begins_anew() {
    let ids = ["before", "now"].map(TopicId::new);
    let name = TopicPartition::new("t", 0);
    let found = |id: &TopicId, start, end| {
        let start = PartitionAssignment { partition: name.clone(), start, until: None, topic_id: Some(id.clone()) };
        DiscoveredPartition { start, end, committed: None }
    };
    let mut partitions = PartitionTable::default();
    partitions.insert(&found(&ids[0], 0, 100), NOW);
    partitions.give(&name, 0);
    partitions.update(0, vec![PartitionProgress { committed: Some(100), ..progress(&name, 100) }], NOW);
    let now: TopicIds = [("t".to_owned(), ids[1].clone())].into();
    assert_eq!(partitions.recreated(&[("t".to_owned(), ids[0].clone())].into(), false), []);
    assert_eq!(partitions.recreated(&now, false).len(), 1);
    let new = found(&ids[1], 0, 500);
    assert_eq!(partitions.missing(&["t".to_owned()], &[]), Some(name.clone()), "fewer partitions");
    assert_eq!(partitions.restart(std::slice::from_ref(&new), false, NOW), [(0, vec![new.start.clone()])].into());
    partitions.update(0, vec![PartitionProgress { committed: Some(300), ..progress(&name, 300) }], NOW);
    let start =
        |partitions: &PartitionTable| partitions.starts(std::slice::from_ref(&name), ResumeFrom::Committed)[0].start;
    assert_eq!(start(&partitions), 0, "what its worker says before it has restarted is of the topic before");
    partitions.restarted(0, std::slice::from_ref(&new.start));
    partitions.update(0, vec![PartitionProgress { committed: Some(40), ..progress(&name, 40) }], NOW);
    assert_eq!((start(&partitions), partitions.recreated(&now, false)), (40, Vec::new()));
    partitions.release(&name, 0);
    partitions.remove_owner(&name, 0);
    let other: TopicIds = [("t".to_owned(), ids[0].clone())].into();
    assert_eq!(partitions.recreated(&other, true), [], "in a group, its next reader knows");
}

#[test]
fn a_partition_that_is_unread_is_left_until_it_is_read_no_further() {
    let (mut partitions, name) = read_from(0, None);
    partitions.read_until(&[(name.clone(), 10)].into(), NOW);
    partitions.update(0, vec![progress(&name, 9)], NOW);
    assert_eq!(partitions.unread().get(&name), Some(&10));
    partitions.stop(&name, "too much failed".to_owned());
    assert!(partitions.unread().is_empty());
}

#[test]
fn what_a_worker_has_counted_before_its_group_replaced_it_stays_counted() {
    let (mut partitions, name) = read_from(0, None);
    partitions.update(0, vec![progress(&name, 5)], NOW);
    partitions.on_assigned(
        1,
        &[PartitionAssignment { partition: name.clone(), start: 3, until: None, topic_id: None }],
        NOW,
    );
    partitions.give(&name, 1);
    partitions.update(
        1,
        vec![PartitionProgress {
            counts: PartitionCounts { processed: 2, ..PartitionCounts::default() },
            ..progress(&name, 5)
        }],
        NOW,
    );
    assert_eq!(partitions.totals().processed, 7);
}

#[test]
fn what_is_read_elsewhere_has_no_lag_here_and_does_not_stand_still() {
    let (mut partitions, name) = read_from(0, None);
    partitions.release(&name, 0);
    partitions.remove_owner(&name, 0);
    partitions.set_high_watermarks(&[(name.clone(), 3_000)].into(), NOW);
    let reported = |partitions: &PartitionTable, shared| {
        let status = &partitions.status(shared, LATER)[0];
        (status.lag, status.stalled_seconds > 0.0)
    };
    assert_eq!(reported(&partitions, true), (0, false));
    assert_eq!(reported(&partitions, false), (3_000, true), "without a group it is nobody else's");
    partitions.stop(&name, "too much failed".to_owned());
    assert_eq!(reported(&partitions, false), (3_000, false), "it is read no further");
}

#[test]
fn what_was_processed_and_is_not_committed_is_named() {
    let (mut partitions, name) = read_from(10, None);
    assert_eq!(partitions.uncommitted(false), None, "nothing was processed");
    partitions.update(0, vec![progress(&name, 15)], NOW);
    let read_back = |offset| {
        let committed = [(name.clone(), offset)].into();
        CommittedOffsets { foreign: Vec::new(), committed, unknown: BTreeSet::new(), ends: Offsets::new() }
    };
    partitions.read_back(&read_back(14), NOW);
    assert_eq!(partitions.commit_lag(), [(name.clone(), 15)].into());
    assert!(partitions.uncommitted(false).is_some_and(|text| text.contains("t/0")));
    partitions.read_back(&read_back(15), NOW);
    assert_eq!((partitions.uncommitted(false), partitions.commit_lag()), (None, Offsets::new()));
    partitions.read_back(&read_back(20), NOW);
    assert!(partitions.uncommitted(false).is_some() && partitions.commit_lag().is_empty(), "somebody else's");
}
