//! What the death of a worker means. Pure: events and times in, decisions out.

use std::time::Duration;

/// The first pause before a worker is started again; it doubles with each death.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A worker that has lived so long was healthy: the next pause is the first one again.
const HEALTHY: Duration = Duration::from_secs(10);

/// What the supervisor remembers of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// Deaths since the last healthy life.
    deaths: u32,
}

/// A worker that has ended, and what was known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Death {
    /// How long it lived.
    pub uptime: Duration,
    /// It was asked to end, or is done.
    pub expected: bool,
    /// It said that another start would end the same way.
    pub lasting: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing: it is over.
    Leave,
    /// Start it again after this pause.
    Restart {
        /// The pause.
        after: Duration,
    },
    /// End the program: a restart would not help.
    EndProgram,
}

/// Decides.
pub(super) fn on_death(history: &mut History, death: Death) -> Decision {
    if death.expected {
        return Decision::Leave;
    }
    if death.lasting {
        return Decision::EndProgram;
    }
    if death.uptime >= HEALTHY {
        history.deaths = 0;
    }
    let after = FIRST_PAUSE.saturating_mul(1 << history.deaths.min(10)).min(LONGEST_PAUSE);
    history.deaths += 1;
    Decision::Restart { after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(seconds: u64) -> Death {
        Death { uptime: Duration::from_secs(seconds), expected: false, lasting: false }
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_start_anew_after_a_healthy_life() {
        let mut history = History::default();
        let mut pauses = Vec::new();
        for seconds in [0, 0, 0, 1, 2, 3, 4, 5, 30, 0] {
            match on_death(&mut history, death(seconds)) {
                Decision::Restart { after } => pauses.push(after.as_millis()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 100, 200]);
    }

    #[test]
    fn an_expected_end_is_left_and_a_lasting_cause_ends_the_program() {
        let mut history = History::default();
        assert_eq!(on_death(&mut history, Death { expected: true, ..death(1) }), Decision::Leave);
        assert_eq!(on_death(&mut history, Death { lasting: true, ..death(1) }), Decision::EndProgram);
        assert_eq!(history, History::default());
    }
}
