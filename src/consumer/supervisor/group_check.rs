//! Checks whether a run may use its consumer group now. The check blocks: it sends requests to the group
//! coordinator.

use slog::{Logger, info};

use super::supervisor_lock::{lock_group, survey};
use crate::exit::ExitStatus;
use crate::kafka::cluster_client::ClusterClient;
use crate::kafka::error::KafkaError;
use crate::os::process_identity::ProcessIdentity;
use crate::settings::{Assignment, Settings};

/// Why a run cannot start.
#[derive(Debug)]
pub(super) enum StartError {
    /// A request has failed.
    Kafka(KafkaError),
    /// The group or the settings do not allow it.
    Refused(ExitStatus),
}

impl From<KafkaError> for StartError {
    fn from(failure: KafkaError) -> Self {
        Self::Kafka(failure)
    }
}

impl From<ExitStatus> for StartError {
    fn from(exit: ExitStatus) -> Self {
        Self::Refused(exit)
    }
}

impl From<StartError> for ExitStatus {
    fn from(failure: StartError) -> Self {
        match failure {
            StartError::Kafka(failure) => failure.into(),
            StartError::Refused(exit) => exit,
        }
    }
}

/// Refuses a group that has members: the coordinator would reject commits of this program's workers, which are
/// not members.
pub(super) fn refuse_shared(cluster: &ClusterClient, settings: &Settings) -> Result<(), StartError> {
    let members = cluster.members(&settings.consumer.group_id)?;
    let members: Vec<_> = members.iter().map(|member| format!("{} at {}", member.client_id, member.address)).collect();
    if members.is_empty() {
        return Ok(());
    }
    Err(StartError::Refused(ExitStatus::failed(format!(
        "the group {:?} (consumer.group_id) is in use by other consumers, which subscribe with it: {}; choose another group, stop \
         them, or join them (consumer.assignment = \"group\")",
        settings.consumer.group_id,
        members.join(", ")
    ))))
}

/// Refuses to join a group whose partitions a supervisor assigns: the supervisor could not commit any more. A
/// user without the permission to describe the companion group joins unchecked: members need no permission on
/// it.
pub(super) fn refuse_locked(cluster: &ClusterClient, settings: &Settings, logger: &Logger) -> Result<(), StartError> {
    let group = &settings.consumer.group_id;
    let members = match cluster.members(&lock_group(group)) {
        Err(failure) if failure.is_denied() => {
            info!(
                logger,
                "whether a supervisor with manual assignment has locked the group could not be checked: {failure}"
            );
            return Ok(());
        }
        members => members?,
    };
    let Some(holder) = survey("", &members, ProcessIdentity::liveness).rivals.pop() else { return Ok(()) };
    Err(StartError::Refused(ExitStatus::failed(format!(
        "the group {group:?} (consumer.group_id) is already processed by {}, which assigns its partitions itself \
         (consumer.assignment = \"manual\"); stop that one, or choose another group",
        holder.text
    ))))
}

/// Checks whether `consume` could start with this group now. Returns a description of the group.
///
/// # Errors
/// The reason for which it could not start.
pub fn check(cluster: &ClusterClient, settings: &Settings, logger: &Logger) -> Result<String, ExitStatus> {
    let consumer = &settings.consumer;
    let group = &consumer.group_id;
    if consumer.read_only {
        return Ok(format!("{group:?}: not used, but for its committed offsets (consumer.read_only)"));
    }
    if consumer.assignment == Assignment::Group {
        if consumer.supervisor_lock {
            refuse_locked(cluster, settings, logger)?;
        }
        return Ok(format!("{group:?}: members: {}", cluster.members(group)?.len()));
    }
    refuse_shared(cluster, settings)?;
    if !consumer.supervisor_lock {
        return Ok(format!("{group:?}: no other members; not locked (consumer.supervisor_lock)"));
    }
    let members = cluster.members(&lock_group(group))?;
    match survey("", &members, ProcessIdentity::liveness).rivals.pop() {
        None => Ok(format!("{group:?}: no other members, and its lock is free")),
        Some(holder) if consumer.wait_for_lock => {
            Ok(format!("{group:?}: processed by {}, whose end is waited for (consumer.wait_for_lock)", holder.text))
        }
        Some(holder) => Err(ExitStatus::failed(format!(
            "the group {group:?} (consumer.group_id) is processed by {}; stop that one, or wait for its end (consumer.wait_for_lock)",
            holder.text
        ))),
    }
}
