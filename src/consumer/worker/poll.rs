//! `kafka-poll`: the plain thread that owns the Kafka client. It serves errors, log lines, commits and what the group
//! wants; messages come out of the partitions' own queues.
//!
//! Every change of what this worker reads is made here, one after the other, whoever wants it: the supervisor, the group,
//! or a partition whose offset is gone. Waiting for partitions to stop blocks nobody else: their actors live on other
//! threads.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::holding::{Holding, Work};
use crate::consumer::control::StartPartition;
use crate::record::TopicPartition;

/// How long one poll waits; an order is felt within it.
const POLL: Duration = Duration::from_millis(50);

/// The thread, seen from the router.
pub(super) struct PollThread {
    /// Unbounded: they are a few for each frame of the supervisor, and one for each partition whose offset is gone.
    orders: mpsc::Sender<Order>,
    closed: oneshot::Receiver<()>,
}

/// What the router wants.
pub(super) enum Order {
    /// Read these, too.
    Assign(Vec<StartPartition>),
    /// Read these no more.
    Revoke(Vec<TopicPartition>),
    /// Go on with a new client.
    Rebuild,
    /// A partition's next offset is not in the log.
    OutOfRange(TopicPartition, i64),
    /// Commit what is stored, and answer.
    Commit(oneshot::Sender<()>),
    /// End.
    Close {
        /// Leave the group, too.
        leave: bool,
    },
}

/// The thread that is going to be: it is started when its router can hear it.
pub(super) struct Asked {
    orders: mpsc::Receiver<Order>,
    closed: oneshot::Sender<()>,
}

impl Asked {
    /// Starts it; what it assigns comes to `work.router`.
    pub(super) fn start(self, work: Work) -> std::io::Result<()> {
        let Self { orders, closed } = self;
        std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(move || {
            serve(Holding::new(work), &orders);
            let _unheard = closed.send(());
        })?;
        Ok(())
    }
}

impl PollThread {
    /// Both ends.
    pub(super) fn new() -> (Self, Asked) {
        let (send_closed, closed) = oneshot::channel();
        let (orders, asked) = mpsc::channel();
        (Self { orders, closed }, Asked { orders: asked, closed: send_closed })
    }

    /// Has it do something; a thread that is gone has nothing to do it with.
    pub(super) fn order(&self, order: Order) {
        let _gone = self.orders.send(order);
    }

    /// Commits what is stored, and waits for it.
    pub(super) async fn commit(&self) {
        let (done, committed) = oneshot::channel();
        // A thread that is gone has nothing to commit.
        if self.orders.send(Order::Commit(done)).is_ok() {
            let _committed = committed.await;
        }
    }

    /// Closes the client and ends the thread; all partitions' queues have to be dropped before.
    pub(super) async fn close(self, leave: bool) {
        // An error would mean that the thread is gone already.
        if self.orders.send(Order::Close { leave }).is_ok() {
            let _closed = self.closed.await;
        }
    }
}

fn serve(mut holding: Holding, orders: &mpsc::Receiver<Order>) {
    holding.begin();
    let leave = loop {
        // Without a client there is nothing to poll: wait for orders instead.
        let order = match holding.has_client() {
            true => orders.try_recv(),
            false => orders.recv_timeout(POLL).map_err(|error| match error {
                mpsc::RecvTimeoutError::Timeout => mpsc::TryRecvError::Empty,
                mpsc::RecvTimeoutError::Disconnected => mpsc::TryRecvError::Disconnected,
            }),
        };
        // Another order may be waiting.
        let wait = if order.is_ok() { Duration::ZERO } else { POLL };
        match order {
            Ok(Order::Assign(starts)) => holding.add(&starts),
            Ok(Order::Revoke(partitions)) => holding.revoke(partitions),
            Ok(Order::Rebuild) => holding.rebuild(),
            Ok(Order::OutOfRange(partition, offset)) => holding.find_again(partition, offset),
            Ok(Order::Commit(done)) => {
                holding.commit();
                // Asked by a router that has run into its deadline meanwhile.
                let _unheard = done.send(());
            }
            Ok(Order::Close { leave }) => break leave,
            // The router is gone, and with it the process.
            Err(mpsc::TryRecvError::Disconnected) => break false,
            Err(mpsc::TryRecvError::Empty) => {}
        }
        holding.poll(wait);
    };
    holding.close(leave);
}
