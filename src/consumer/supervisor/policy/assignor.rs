//! The assignor: which worker consumes which partition. Pure.

use crate::record::TopicPartition;
use crate::settings::AssignmentStrategy;

/// Returns the partitions of each of `workers` workers. With fewer partitions than workers some get none.
///
/// Shares differ by at most one partition. `range` assigns contiguous partitions to the same worker;
/// `round_robin` assigns them to the workers in turn.
pub(super) fn assign_partitions(
    mut partitions: Vec<TopicPartition>,
    workers: usize,
    strategy: AssignmentStrategy,
) -> Vec<Vec<TopicPartition>> {
    partitions.sort();
    let mut shares = vec![Vec::new(); workers];
    let (count, mut longer) = (partitions.len(), partitions.len() % workers.max(1));
    let mut partitions = partitions.into_iter();
    match strategy {
        AssignmentStrategy::Range => {
            for share in &mut shares {
                let size = count / workers + usize::from(longer > 0);
                longer = longer.saturating_sub(1);
                share.extend(partitions.by_ref().take(size));
            }
        }
        AssignmentStrategy::RoundRobin => {
            for (number, partition) in partitions.enumerate() {
                shares[number % workers].push(partition);
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn numbers(partitions: i32, workers: usize, strategy: AssignmentStrategy) -> Vec<Vec<i32>> {
        let partitions = (0..partitions).rev().map(|number| TopicPartition::new("t", number)).collect();
        let shares = assign_partitions(partitions, workers, strategy);
        shares.into_iter().map(|share| share.into_iter().map(|partition| partition.partition).collect()).collect()
    }

    #[test]
    fn range_assigns_neighbours_and_round_robin_one_after_the_other() {
        assert_eq!(numbers(5, 2, AssignmentStrategy::Range), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(numbers(5, 2, AssignmentStrategy::RoundRobin), [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn one_partition_and_two_workers_leaves_one_on_standby() {
        assert_eq!(numbers(1, 2, AssignmentStrategy::Range), [vec![0], vec![]]);
        assert_eq!(numbers(1, 2, AssignmentStrategy::RoundRobin), [vec![0], vec![]]);
    }

    proptest! {
        #[test]
        fn every_partition_has_one_owner_and_shares_are_even(partitions in 0..200i32, workers in 1..50usize, range: bool) {
            let strategy = if range { AssignmentStrategy::Range } else { AssignmentStrategy::RoundRobin };
            let shares = numbers(partitions, workers, strategy);
            let mut all: Vec<i32> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..partitions).collect::<Vec<_>>());
            let sizes = shares.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }
}
