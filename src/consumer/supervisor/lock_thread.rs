//! Acquires the lock on a group, monitors it, and releases it: on a dedicated thread, since all of this blocks.
//!
//! The decisions are in `supervisor_lock`.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use actix::{Message, Recipient};
use slog::{Logger, debug, info, warn};

use super::supervisor_lock::{Claim, Hold, Supervisor, Survey, claim, hold, lock_group, survey};
use crate::consumer::protocol::Lease;
use crate::exit::ExitStatus;
use crate::kafka::group_lock::{GroupLock, LOCK_SESSION_TIMEOUT, LockError, Members};
use crate::os::process_identity::ProcessIdentity;
use crate::os::{boot_clock, worker_process};
use crate::settings::Settings;

/// How long the coordinator may take to return the members of the companion group, before it counts as
/// unavailable.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The interval between two checks of a lock that is held.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The interval between two checks while waiting for the lock.
const WAIT_INTERVAL: Duration = Duration::from_millis(500);
/// The interval between two checks while the coordinator accepts this supervisor as a member.
const JOIN_INTERVAL: Duration = Duration::from_millis(10);
/// The timeout of one poll of the client.
const POLL: Duration = Duration::from_millis(50);
/// How long the coordinator may take to accept this supervisor as a member, as long as it replies: longer than the
/// first rebalance of a group, 3 s by default. A client that was created while the brokers started may never find the
/// coordinator; a new one does.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a supervisor that has joined at the same moment may take to leave.
const CONTENTION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the session of a holder that may have exited can still last.
const EXPIRY: Duration = LOCK_SESSION_TIMEOUT.saturating_add(Duration::from_secs(2));
/// How long leaving the companion group may take. Without a reply the lock is free when the session expires.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than their own deadline the workers of a dead supervisor are waited for.
const ORPHANS_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the reason for waiting is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// From the lock thread to the supervisor.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum FromLock {
    /// Another supervisor, described by this text, holds the lock, and this one waits for it.
    Waiting(String),
    /// The lock is held.
    Held(Lease),
    /// The lock cannot be acquired.
    Refused(ExitStatus),
    /// The lease is extended: the lock is still held, or its state is unknown.
    Extended(Lease),
    /// The session had expired, and the lock is held again: see [`LockKeeper::confirm`].
    Rejoined(String),
    /// The lock is lost, for this reason.
    Lost(String),
    /// The lock was released, or was not held. This is the last message.
    Released,
}

enum Order {
    Confirm(String),
    RefreshCredentials,
    Release,
}

/// The handle of the lock thread. The thread ends on request, and when the handle is dropped.
pub(super) struct LockKeeper {
    orders: mpsc::Sender<Order>,
}

impl LockKeeper {
    /// Starts the thread, which requests the lock at once.
    ///
    /// # Errors
    /// The operating system cannot start the thread.
    pub(super) fn start(
        settings: Arc<Settings>,
        supervisor: Recipient<FromLock>,
        logger: Logger,
    ) -> std::io::Result<Self> {
        let (orders, waiting) = mpsc::channel();
        let own = Supervisor::current(rand::random());
        let keeping = Keeping { client_id: own.client_id(), settings, supervisor, orders: waiting, logger };
        std::thread::Builder::new().name("supervisor-lock".to_owned()).spawn(move || keeping.run())?;
        Ok(Self { orders })
    }

    /// Confirms that no other supervisor has processed anything while this member had no session.
    pub(super) fn confirm(&self, member: String) {
        // Fails only if the thread has ended.
        self.orders.send(Order::Confirm(member)).ok();
    }

    /// Passes the current password to the clients.
    pub(super) fn refresh_credentials(&self) {
        // Fails only if the thread has ended.
        self.orders.send(Order::RefreshCredentials).ok();
    }

    /// Releases the lock; [`FromLock::Released`] follows.
    pub(super) fn release(&self) {
        // Fails only if the thread has ended.
        self.orders.send(Order::Release).ok();
    }
}

/// The lock of a supervisor that needs one.
#[derive(Default)]
pub(super) struct Lock {
    pub(super) keeper: Option<LockKeeper>,
    /// The current lease of the workers; `None`: there is no lock.
    pub(super) lease: Option<Lease>,
    /// The exit status of the run, once the lock is being released.
    pub(super) ending: Option<ExitStatus>,
}

struct Keeping {
    client_id: String,
    settings: Arc<Settings>,
    supervisor: Recipient<FromLock>,
    orders: mpsc::Receiver<Order>,
    logger: Logger,
}

/// Why the thread stops waiting for the lock.
enum Ended {
    Refused(ExitStatus),
    Released,
}

/// The result of joining the companion group.
enum Joined {
    /// The only member, with this id, at this time.
    Alone(String, u64),
    /// Another supervisor has the lock.
    Taken,
    /// The coordinator replies, and has not accepted this supervisor as a member.
    NotAccepted,
}

impl Keeping {
    fn run(self) {
        match self.keep() {
            Ok(()) | Err(Ended::Released) => {}
            Err(Ended::Refused(exit)) => self.supervisor.do_send(FromLock::Refused(exit)),
        }
        self.supervisor.do_send(FromLock::Released);
    }

    fn keep(&self) -> Result<(), Ended> {
        let group = lock_group(&self.settings.consumer.group_id);
        let mut lock = GroupLock::new(&self.settings, &group, &self.client_id, &self.logger)
            .map_err(|failure| Ended::Refused(failure.into()))?;
        let kept = self.acquire(&mut lock).map(|(member, lease)| self.hold(&mut lock, member, lease));
        lock.leave(LEAVE_TIMEOUT);
        kept
    }

    fn refresh_credentials(&self, lock: &GroupLock) {
        if let Err(reason) = lock.refresh_credentials() {
            warn!(self.logger, "the lock's clients keep the password that they have: {reason}");
        }
    }

    /// The members of the companion group and the time of the request; `None` if there is no reply now.
    fn look(&self, lock: &mut GroupLock) -> Result<Option<(Survey, u64)>, Ended> {
        match lock.members(boot_clock::now_ms(), REQUEST_TIMEOUT) {
            Ok(Members { members, asked_at }) => {
                Ok(Some((survey(&self.client_id, &members, ProcessIdentity::liveness), asked_at)))
            }
            Err(LockError::Unavailable(reason)) => {
                debug!(self.logger, "the supervisor lock could not be looked at: {reason}");
                Ok(None)
            }
            Err(LockError::Permanent(reason)) => Err(self.impossible(&reason)),
        }
    }

    fn impossible(&self, reason: &str) -> Ended {
        let group = &self.settings.consumer.group_id;
        Ended::Refused(ExitStatus::failed(format!(
            "the group {group:?} (consumer.group_id) could not be locked: {reason}; without the lock nothing stops another \
             supervisor from processing everything a second time: consumer.supervisor_lock = false takes that risk"
        )))
    }

    /// Serves the client for this time, unless the lock is to be released.
    fn pause(&self, lock: &mut GroupLock, time: Duration) -> Result<(), Ended> {
        let begun = Instant::now();
        loop {
            lock.poll(POLL.min(time.saturating_sub(begun.elapsed()))).map_err(|error| match error {
                LockError::Permanent(reason) | LockError::Unavailable(reason) => self.impossible(&reason),
            })?;
            match self.orders.try_recv() {
                // No lock is held that could be confirmed.
                Ok(Order::Confirm(_)) | Err(mpsc::TryRecvError::Empty) => {}
                Ok(Order::RefreshCredentials) => self.refresh_credentials(lock),
                Ok(Order::Release) | Err(mpsc::TryRecvError::Disconnected) => return Err(Ended::Released),
            }
            if begun.elapsed() >= time {
                return Ok(());
            }
        }
    }

    // ---- acquiring the lock ----

    /// Waits for the lock. Returns the member id with which it is held.
    fn acquire(&self, lock: &mut GroupLock) -> Result<(String, Lease), Ended> {
        let mut dead = Vec::new();
        loop {
            self.wait_until_free(lock)?;
            lock.join().map_err(|failure| Ended::Refused(failure.into()))?;
            match self.join(lock, &mut dead)? {
                Joined::Alone(member, asked_at) => {
                    self.wait_for_orphans(lock, &dead)?;
                    return Ok((member, Lease::confirmed(asked_at)));
                }
                Joined::Taken => lock.leave(LEAVE_TIMEOUT),
                Joined::NotAccepted => {
                    warn!(
                        self.logger,
                        "the group coordinator has not accepted this supervisor as a member of {:?} within {JOIN_TIMEOUT:?}: \
                         trying again with a new client",
                        lock_group(&self.settings.consumer.group_id)
                    );
                    lock.leave(LEAVE_TIMEOUT);
                    lock.replace_member().map_err(|failure| Ended::Refused(failure.into()))?;
                }
            }
        }
    }

    /// Waits until no other supervisor is in the companion group, or returns a refusal.
    fn wait_until_free(&self, lock: &mut GroupLock) -> Result<(), Ended> {
        let (begun, mut logged) = (Instant::now(), None::<(String, Instant)>);
        loop {
            let seen = self.look(lock)?;
            match seen.as_ref().map(|(survey, _)| survey.rivals.first()) {
                Some(None) => return Ok(()),
                Some(Some(rival)) => {
                    let consumer = &self.settings.consumer;
                    let expires = rival.is_hidden && begun.elapsed() < EXPIRY;
                    if !consumer.wait_for_lock && !expires {
                        return Err(Ended::Refused(self.refusal(&rival.text)));
                    }
                    let is_due =
                        logged.as_ref().is_none_or(|(text, at)| *text != rival.text || at.elapsed() >= LOG_INTERVAL);
                    if is_due {
                        let text = format!("waiting: the group {:?} is processed by {}", consumer.group_id, rival.text);
                        info!(self.logger, "{text}");
                        self.supervisor.do_send(FromLock::Waiting(text));
                        logged = Some((rival.text.clone(), Instant::now()));
                    }
                }
                None => {}
            }
            self.pause(lock, WAIT_INTERVAL)?;
        }
    }

    fn refusal(&self, holder: &str) -> ExitStatus {
        let group = &self.settings.consumer.group_id;
        ExitStatus::failed(format!(
            "the group {group:?} (consumer.group_id) is already processed by {holder}; stop that one, wait for its end (--wait), \
             choose another group, or have Kafka share the partitions among all of them (consumer.assignment = \"group\")"
        ))
    }

    /// Waits until this supervisor is the only member.
    fn join(&self, lock: &mut GroupLock, dead: &mut Vec<ProcessIdentity>) -> Result<Joined, Ended> {
        let (mut contended, mut pending) = (None, None);
        loop {
            if let Some((survey, asked_at)) = self.look(lock)? {
                match claim(&self.client_id, &survey) {
                    Claim::Won(member) => {
                        *dead = survey.dead;
                        return Ok(Joined::Alone(member, asked_at));
                    }
                    Claim::Lost => return Ok(Joined::Taken),
                    Claim::Contended if contended.get_or_insert_with(Instant::now).elapsed() >= CONTENTION_TIMEOUT => {
                        return Ok(Joined::Taken);
                    }
                    Claim::Pending if pending.get_or_insert_with(Instant::now).elapsed() >= JOIN_TIMEOUT => {
                        return Ok(Joined::NotAccepted);
                    }
                    Claim::Contended | Claim::Pending => {}
                }
            } else {
                pending = None;
            }
            self.pause(lock, JOIN_INTERVAL)?;
        }
    }

    /// Waits for the workers of a killed supervisor on this host, which finish and commit: the start offsets are
    /// known only after they have exited.
    fn wait_for_orphans(&self, lock: &mut GroupLock, dead: &[ProcessIdentity]) -> Result<(), Ended> {
        let (begun, timeout) = (Instant::now(), self.settings.shutdown.timeout + ORPHANS_TIMEOUT);
        let mut logged = false;
        loop {
            let orphans: Vec<_> = dead.iter().flat_map(worker_process::workers_of).collect();
            if orphans.is_empty() {
                return Ok(());
            }
            if begun.elapsed() >= timeout {
                warn!(self.logger, "workers of a supervisor that has died still run: not waiting for them any longer";
                    "pids" => ?orphans);
                return Ok(());
            }
            if !std::mem::replace(&mut logged, true) {
                let text = format!("waiting for the workers of a supervisor that has died: pids {orphans:?}");
                info!(self.logger, "{text}");
                self.supervisor.do_send(FromLock::Waiting(text));
            }
            self.pause(lock, POLL)?;
        }
    }

    // ---- monitoring the lock ----

    /// Monitors the lock until it is to be released, or is lost.
    fn hold(&self, lock: &mut GroupLock, mut member: String, mut lease: Lease) {
        self.supervisor.do_send(FromLock::Held(lease));
        let (mut rejoined, mut expired, mut looked_at) = (None, false, boot_clock::now_ms());
        loop {
            match self.wait_for_order(lock, looked_at) {
                Some(Order::Release) => return,
                Some(Order::Confirm(confirmed)) => {
                    info!(self.logger, "the lock on the group is held again: no other client has committed meanwhile");
                    (member, rejoined, expired) = (confirmed, None, false);
                }
                Some(Order::RefreshCredentials) => self.refresh_credentials(lock),
                None => {}
            }
            looked_at = boot_clock::now_ms();
            let (survey, asked_at) = match self.look(lock) {
                Ok(Some(seen)) => seen,
                Ok(None) => {
                    lease = lease.unconfirmed(looked_at);
                    self.supervisor.do_send(FromLock::Extended(lease));
                    continue;
                }
                Err(_) => {
                    return self.supervisor.do_send(FromLock::Lost("the brokers do not allow it any more".to_owned()));
                }
            };
            match hold(&member, &survey) {
                Hold::Confirmed => {
                    // A late reply confirms less than what is known already.
                    lease = lease.renewed(Lease::confirmed(asked_at));
                    self.supervisor.do_send(FromLock::Extended(lease));
                }
                Hold::Expired => {
                    if !std::mem::replace(&mut expired, true) {
                        warn!(
                            self.logger,
                            "the lock on the group has expired: no heartbeat has reached the brokers for \
                            {LOCK_SESSION_TIMEOUT:?}; asking for it again"
                        );
                    }
                }
                Hold::Rejoined(new) if rejoined.as_ref() == Some(&new) => {}
                Hold::Rejoined(new) => {
                    rejoined = Some(new.clone());
                    self.supervisor.do_send(FromLock::Rejoined(new));
                }
                Hold::Lost(rival) => return self.supervisor.do_send(FromLock::Lost(format!("it is held by {rival}"))),
            }
        }
    }

    /// The next command before the next check is due; the client is served meanwhile.
    fn wait_for_order(&self, lock: &mut GroupLock, looked_at: u64) -> Option<Order> {
        let due = looked_at + CHECK_INTERVAL.as_millis() as u64;
        loop {
            // A failure, such as a revoked permission, is detected by the next check.
            lock.poll(Duration::ZERO).ok();
            match self.orders.recv_timeout(POLL) {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Some(Order::Release),
            }
            if boot_clock::now_ms() >= due {
                return None;
            }
        }
    }
}
