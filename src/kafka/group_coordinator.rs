//! Retries requests while a group coordinator is unavailable or the group rebalances.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError as RdKafkaError, KafkaResult, RDKafkaErrorCode};

/// The interval between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Repeats a request until `deadline` while the coordinator is loading, moves to another broker, or the group
/// rebalances. Such errors resolve within seconds; during a rebalance, the member must first process the rebalance
/// event.
pub(super) fn retry_while_coordinator_loading<T>(
    deadline: Instant,
    request: impl Fn() -> KafkaResult<T>,
) -> KafkaResult<T> {
    loop {
        let reply = request();
        if !reply.as_ref().is_err_and(is_retriable) || Instant::now() + RETRY_INTERVAL >= deadline {
            return reply;
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
}

fn is_retriable(error: &RdKafkaError) -> bool {
    use RDKafkaErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator, RebalanceInProgress, StaleMemberEpoch,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            CoordinatorLoadInProgress
                | CoordinatorNotAvailable
                | NotCoordinator
                | RebalanceInProgress
                | StaleMemberEpoch
        )
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn refused(code: RDKafkaErrorCode) -> RdKafkaError {
        RdKafkaError::OffsetFetch(code)
    }

    #[test]
    fn it_is_asked_until_the_coordinator_is_there() {
        use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
        let coming = [CoordinatorNotAvailable, NotCoordinator, CoordinatorLoadInProgress];
        let attempts = Cell::new(0);
        let reply = retry_while_coordinator_loading(Instant::now() + Duration::from_secs(60), || {
            let reply = coming.get(attempts.get()).map_or(Ok("known"), |code| Err(refused(*code)));
            attempts.set(attempts.get() + 1);
            reply
        });
        assert_eq!((reply, attempts.get()), (Ok("known"), 4));
    }

    #[test]
    fn any_other_answer_and_the_deadline_end_it() {
        let attempts = Cell::new(0);
        let ask_for = |code, deadline| {
            attempts.set(0);
            let reply: KafkaResult<()> = retry_while_coordinator_loading(deadline, || {
                attempts.set(attempts.get() + 1);
                Err(refused(code))
            });
            assert_eq!(reply, Err(refused(code)));
            attempts.get()
        };
        let now = Instant::now();
        assert_eq!(ask_for(RDKafkaErrorCode::GroupAuthorizationFailed, now + Duration::from_secs(60)), 1);
        assert_eq!(ask_for(RDKafkaErrorCode::NotCoordinator, now), 1);
    }
}
