//! A group's coordinator, which is not always there at once, or deals the partitions anew.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// Between two questions.
const AGAIN: Duration = Duration::from_millis(100);

/// Asks until `deadline` while the answer is that the group's coordinator is coming: a broker that has just started, or
/// taken the group over from another one, does not know it yet; it says so, and soon does. While it deals the partitions
/// anew, a member has to hear of that first.
pub(super) fn ask<T>(deadline: Instant, question: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    loop {
        let answer = question();
        if !answer.as_ref().is_err_and(is_coming) || Instant::now() + AGAIN >= deadline {
            return answer;
        }
        std::thread::sleep(AGAIN);
    }
}

fn is_coming(error: &KafkaError) -> bool {
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

    fn refused(code: RDKafkaErrorCode) -> KafkaError {
        KafkaError::OffsetFetch(code)
    }

    #[test]
    fn it_is_asked_until_the_coordinator_is_there() {
        use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
        let coming = [CoordinatorNotAvailable, NotCoordinator, CoordinatorLoadInProgress];
        let asked = Cell::new(0);
        let answer = ask(Instant::now() + Duration::from_secs(60), || {
            let answer = coming.get(asked.get()).map_or(Ok("known"), |code| Err(refused(*code)));
            asked.set(asked.get() + 1);
            answer
        });
        assert_eq!((answer, asked.get()), (Ok("known"), 4));
    }

    #[test]
    fn any_other_answer_and_the_deadline_end_it() {
        let asked = Cell::new(0);
        let ask_for = |code, deadline| {
            asked.set(0);
            let answer: KafkaResult<()> = ask(deadline, || {
                asked.set(asked.get() + 1);
                Err(refused(code))
            });
            assert_eq!(answer, Err(refused(code)));
            asked.get()
        };
        let now = Instant::now();
        assert_eq!(ask_for(RDKafkaErrorCode::GroupAuthorizationFailed, now + Duration::from_secs(60)), 1);
        assert_eq!(ask_for(RDKafkaErrorCode::NotCoordinator, now), 1);
    }
}
