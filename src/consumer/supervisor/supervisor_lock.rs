//! The lock on a group with manual assignment: what supervisors know of each other, and what follows from it.
//! Pure.
//!
//! The lock is the membership in a companion group. Its coordinator orders joins and requests, so of two
//! supervisors that both join it, the later one sees the earlier one: a supervisor that has seen itself alone in
//! the group holds the lock for as long as it stays a member. (The group itself must have no members: the
//! workers commit without being members.)

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::consumer::protocol::Lease;
use crate::kafka::group_lock::GroupMember;
use crate::os::process_identity::{Liveness, ProcessIdentity};

/// For how long workers may process after the last check of the lock, in ms. Checks are a second apart.
const PROCESSING_LEASE_MS: u64 = 5_500;
/// For how long they may commit after the last confirmation of the lock, in ms. Shorter than the session timeout
/// minus the time between two heartbeats, so that no commit arrives after another supervisor has taken over.
const COMMIT_LEASE_MS: u64 = 7_000;

/// The prefix of supervisors' client ids.
const PREFIX: &str = "kafka-actors-supervisor";

/// The companion group of `group`.
pub(super) fn lock_group(group: &str) -> String {
    format!("{group}.supervisor")
}

/// A supervisor, as others know it by its client id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Supervisor {
    pub(super) process: ProcessIdentity,
    /// When it requested the lock, in seconds since 1970.
    since: u64,
    /// Distinguishes two runs in one process.
    nonce: u32,
}

impl Supervisor {
    /// The supervisor in this process.
    pub(super) fn current(nonce: u32) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { process: ProcessIdentity::current(), since, nonce }
    }

    /// The client id of the supervisor.
    pub(super) fn client_id(&self) -> String {
        let ProcessIdentity { host, pid, boot, namespace, started } = &self.process;
        format!("{PREFIX}/{host}/{pid}/{}/{boot}.{namespace}.{started}/{:08x}", self.since, self.nonce)
    }

    /// Parses a client id; `None` if it is not a supervisor's.
    pub(super) fn parse(client_id: &str) -> Option<Self> {
        let mut parts = client_id.split('/');
        let (prefix, host, pid) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let (since, unique, nonce) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let mut unique = unique.split('.');
        let (boot, namespace, started) = (unique.next()?, unique.next()?.parse().ok()?, unique.next()?.parse().ok()?);
        let process = ProcessIdentity { host: host.to_owned(), pid, boot: boot.to_owned(), namespace, started };
        (prefix == PREFIX).then_some(Self { process, since, nonce: u32::from_str_radix(nonce, 16).ok()? })
    }
}

impl fmt::Display for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Limited to dates that can be formatted: a client id is untrusted input.
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(self.since.min(253_402_300_799));
        let since = humantime::format_rfc3339_seconds(since);
        write!(f, "a supervisor on host {:?}, pid {}, since {since}", self.process.host, self.process.pid)
    }
}

/// Another member of the companion group, which holds the lock or waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    client_id: String,
    /// A description for the operator.
    pub(super) text: String,
    /// Its host has this one's name, but from here it cannot be determined whether it still runs.
    pub(super) is_hidden: bool,
}

/// The companion group, as one supervisor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Its own member ids: none if it is not a member, two if an earlier membership has not expired yet.
    own: Vec<String>,
    pub(super) rivals: Vec<Rival>,
    /// Supervisors that have exited on this host and whose sessions have not expired: they do not hold the lock.
    pub(super) dead: Vec<ProcessIdentity>,
}

/// Classifies the members of the companion group for the supervisor with `client_id`.
pub(super) fn survey(
    client_id: &str,
    members: &[GroupMember],
    liveness: impl Fn(&ProcessIdentity) -> Liveness,
) -> Survey {
    let mut survey = Survey::default();
    for member in members {
        if member.client_id == client_id {
            survey.own.push(member.member_id.clone());
            continue;
        }
        let supervisor = Supervisor::parse(&member.client_id);
        let is_hidden = match supervisor.as_ref().map(|other| (other, liveness(&other.process))) {
            Some((dead, Liveness::Gone)) => {
                survey.dead.push(dead.process.clone());
                continue;
            }
            Some((_, Liveness::Hidden)) => true,
            _ => false,
        };
        let text = match supervisor {
            Some(supervisor) => format!("{supervisor} ({})", member.address.trim_start_matches('/')),
            None => format!("the client {:?} ({})", member.client_id, member.address.trim_start_matches('/')),
        };
        survey.rivals.push(Rival { client_id: member.client_id.clone(), text, is_hidden });
    }
    survey
}

/// Whether a supervisor that has requested membership has the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The coordinator has not accepted it as a member yet.
    Pending,
    /// It has the lock, as this member.
    Won(String),
    /// The others may have joined at the same moment, and leave then.
    Contended,
    /// It leaves: another one has the lock, or will.
    Lost,
}

/// Decides between supervisors that join at the same moment, each of which sees the others. The one with the
/// lowest client id stays and waits until the others have left; if they do not, one of them has the lock.
pub(super) fn claim(client_id: &str, survey: &Survey) -> Claim {
    match survey.own.last() {
        None => Claim::Pending,
        Some(member) if survey.rivals.is_empty() => Claim::Won(member.clone()),
        Some(_) if survey.rivals.iter().all(|rival| client_id < rival.client_id.as_str()) => Claim::Contended,
        Some(_) => Claim::Lost,
    }
}

/// Whether a supervisor that had the lock still has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It has been a member all the time. Others that request the lock see it and leave.
    Confirmed,
    /// Its session has expired, and it has not joined again yet.
    Expired,
    /// Its session had expired, and it is alone in the group as this new member. Another one may have come and
    /// gone meanwhile.
    Rejoined(String),
    /// Its session has expired, and this other supervisor has the lock, or has requested it.
    Lost(String),
}

/// The state of the lock that was acquired as `member`.
pub(super) fn hold(member: &str, survey: &Survey) -> Hold {
    match (survey.own.last(), survey.rivals.first()) {
        _ if survey.own.iter().any(|own| own == member) => Hold::Confirmed,
        (_, Some(rival)) => Hold::Lost(rival.text.clone()),
        (Some(member), None) => Hold::Rejoined(member.clone()),
        (None, None) => Hold::Expired,
    }
}

impl Lease {
    /// The lease after a confirmation by a request that was sent at this time.
    pub(super) fn confirmed(at_ms: u64) -> Self {
        Self { process_until: at_ms + PROCESSING_LEASE_MS, commit_until: at_ms + COMMIT_LEASE_MS }
    }

    /// Combines the lease with another confirmation, which may be older.
    #[must_use]
    pub(super) fn renewed(self, by: Self) -> Self {
        Self {
            process_until: self.process_until.max(by.process_until),
            commit_until: self.commit_until.max(by.commit_until),
        }
    }

    /// Extends the processing lease when a request that was sent at this time had no reply: while no coordinator
    /// can be reached, no other supervisor gets the lock, and fetched messages are processed. Does not extend it
    /// after a time without any check: this process was suspended then.
    #[must_use]
    pub(super) fn unconfirmed(self, at_ms: u64) -> Self {
        let goes_on = at_ms < self.process_until;
        Self { process_until: if goes_on { at_ms + PROCESSING_LEASE_MS } else { self.process_until }, ..self }
    }
}

#[cfg(test)]
mod tests;
