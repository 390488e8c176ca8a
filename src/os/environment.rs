//! Environment variables that child processes must not inherit.

use std::ffi::OsStr;
use std::process::Command;

/// The prefix of settings, which may contain passwords.
const SETTINGS: &str = "KAFKA_ACTORS__";

/// Variables of a service manager for its main process: a child would notify in its place, or take its sockets.
const SERVICE_MANAGER: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Removes these variables from the environment of `command`.
pub fn remove_private(command: &mut Command) {
    let names = std::env::vars_os().map(|(name, _)| name).filter(|name| is_private(name));
    for name in names.collect::<Vec<_>>() {
        command.env_remove(name);
    }
}

fn is_private(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let is_setting = name.get(..SETTINGS.len()).is_some_and(|start| start.eq_ignore_ascii_case(SETTINGS.as_bytes()));
    is_setting || SERVICE_MANAGER.iter().any(|it| it.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_what_a_service_manager_sets_are_private() {
        let private = |name: &str| is_private(OsStr::new(name));
        assert!(private("KAFKA_ACTORS__KAFKA__SECURITY__PASSWORD") && private("kafka_actors__kafka__topic"));
        assert!(SERVICE_MANAGER.into_iter().all(private));
        assert!(!["PATH", "HOME", "KAFKA_ACTORS", "KAFKA_WORKER_SLOT", "INVOCATION_ID", "é"].into_iter().any(private));
    }
}
