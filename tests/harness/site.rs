//! The HTTP endpoints of a run.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::exposition::Exposition;
use super::program::Running;
use super::wait_for;

/// Enables the status server of a run on a free port.
pub const LISTEN: &str = "--set monitoring.listen=127.0.0.1:0";

/// The address of the status server.
pub struct Site(pub SocketAddr);

impl Site {
    /// The status server of a run that was started with [`LISTEN`].
    pub fn of(running: &Running) -> Self {
        let found = || {
            let log = running.stderr();
            let address = log.split("INFO monitoring, url: http://").nth(1)?.split('/').next()?;
            address.parse().ok()
        };
        wait_for("the server", || found().is_some());
        Self(found().unwrap())
    }

    /// The response's code and body; `None` without a response.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(10)))
                .build(),
        );
        let mut response = agent.get(format!("http://{}{path}", self.0)).call().ok()?;
        Some((response.status().as_u16(), response.body_mut().read_to_string().ok()?))
    }

    pub fn status(&self) -> Value {
        let (code, body) = self.get("/status").unwrap();
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The rows of the consumer's `partitions` or `workers`; empty before it has any.
    pub fn rows(&self, name: &str) -> Vec<Value> {
        self.status()["consume"][name].as_array().cloned().unwrap_or_default()
    }

    /// The metrics that Prometheus would scrape.
    pub fn scrape(&self) -> Exposition {
        let (code, body) = self.get("/metrics").unwrap();
        assert_eq!(code, 200, "{body}");
        Exposition::read(&body).unwrap_or_else(|rule| panic!("{rule}\n{body}"))
    }

    /// Waits until `/readyz` replies with this code and text.
    pub fn wait_until_ready_is(&self, code: u16, text: &str) {
        wait_for(&format!("{code} {text}"), || {
            self.get("/readyz").is_some_and(|(found, body)| found == code && body.contains(text))
        });
    }
}
