//! Which worker reads which partition. Pure.

use crate::record::TopicPartition;
use crate::settings::Strategy;

/// The partitions of each of `workers` workers; some get none if there are fewer partitions than workers.
///
/// Shares differ by one partition at most. `range` gives neighbours to the same worker, `round_robin` deals in turn.
pub(super) fn plan(
    mut partitions: Vec<TopicPartition>,
    workers: usize,
    strategy: Strategy,
) -> Vec<Vec<TopicPartition>> {
    partitions.sort();
    let mut shares = vec![Vec::new(); workers];
    let (count, mut longer) = (partitions.len(), partitions.len() % workers.max(1));
    let mut partitions = partitions.into_iter();
    match strategy {
        Strategy::Range => {
            for share in &mut shares {
                let size = count / workers + usize::from(longer > 0);
                longer = longer.saturating_sub(1);
                share.extend(partitions.by_ref().take(size));
            }
        }
        Strategy::RoundRobin => {
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

    fn numbers(partitions: i32, workers: usize, strategy: Strategy) -> Vec<Vec<i32>> {
        let partitions = (0..partitions).rev().map(|number| TopicPartition::new("t", number)).collect();
        let shares = plan(partitions, workers, strategy);
        shares.into_iter().map(|share| share.into_iter().map(|partition| partition.partition).collect()).collect()
    }

    #[test]
    fn range_gives_neighbours_and_round_robin_deals() {
        assert_eq!(numbers(5, 2, Strategy::Range), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(numbers(5, 2, Strategy::RoundRobin), [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn one_partition_and_two_workers_leaves_one_standing_by() {
        assert_eq!(numbers(1, 2, Strategy::Range), [vec![0], vec![]]);
        assert_eq!(numbers(1, 2, Strategy::RoundRobin), [vec![0], vec![]]);
    }

    proptest! {
        #[test]
        fn every_partition_has_one_owner_and_shares_are_even(partitions in 0..200i32, workers in 1..50usize, range: bool) {
            let strategy = if range { Strategy::Range } else { Strategy::RoundRobin };
            let shares = numbers(partitions, workers, strategy);
            let mut all: Vec<i32> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..partitions).collect::<Vec<_>>());
            let sizes = shares.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }
}
