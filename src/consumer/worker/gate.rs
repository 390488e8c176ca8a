//! Lets one message of a worker through at a time, in cautious mode.

use std::cell::{Cell, RefCell};

use actix::Recipient;

use super::messages::DataReady;

/// The gate before the processor. Outside cautious mode it only counts.
#[derive(Default)]
pub(super) struct Gate {
    /// Messages in processing, or announced.
    inside: Cell<usize>,
    /// Who has found it closed since it was left last.
    waiting: RefCell<Vec<Recipient<DataReady>>>,
}

impl Gate {
    /// Enters if nobody is inside; else the partition is woken when somebody has left.
    pub(super) fn enter_alone(&self, partition: Recipient<DataReady>) -> bool {
        if self.inside.get() == 0 {
            self.enter();
            return true;
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.contains(&partition) {
            waiting.push(partition);
        }
        false
    }

    pub(super) fn enter(&self) {
        self.inside.set(self.inside.get() + 1);
    }

    /// All who wait try again, in the order in which they came. Whoever has left has to let them go first: its turn ends.
    pub(super) fn leave(&self) {
        self.inside.set(self.inside.get().saturating_sub(1));
        self.waiting.take().into_iter().for_each(|partition| partition.do_send(DataReady));
    }
}
