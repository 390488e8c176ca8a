//! Reloads the password when it changes while the supervisor runs.

use slog::{info, warn};

use super::actor::ConsumerSupervisor;
use super::messages::RefreshCredentials;

impl ConsumerSupervisor {
    /// Reads `kafka.security.password_file` again, before workers are started that log in with it, and passes it
    /// to the supervisor's own clients. Without a password file the password does not change.
    pub(super) fn reload_password(&mut self) {
        match self.params.settings.kafka.security.reread_password() {
            Ok(Some(password)) if password != self.fleet.password => {
                self.fleet.password = password;
                info!(
                    self.params.logger,
                    "kafka.security.password_file has another password: clients log in with it from now on"
                );
                self.probes.queries.do_send(RefreshCredentials);
                self.lock.keeper.iter().for_each(|keeper| keeper.refresh_credentials());
            }
            Ok(_) => {}
            Err(problem) => warn!(
                self.params.logger,
                "kafka.security.password_file = {} {problem}: clients go on with the last password",
                self.params.settings.kafka.security.password_file
            ),
        }
    }
}
