//! Monitoring: the status of a run, its HTTP endpoints, metrics, readiness and systemd notifications.
//!
//! - [`status`]: the model that all views share. [`status_registry`]: holds the current status; the producer and the consumer
//!   update it.
//! - `histogram`: histograms with fixed bucket bounds. [`readiness`]: why a run is not ready. [`metrics`]: the Prometheus text
//!   format. The last two are pure.
//! - [`http_server`]: the HTTP server and its limits. `routes`: its endpoints. `host_header`: the host names that it accepts.
//!   `dashboard.html`: the dashboard.
//! - [`systemd`]: notifications to the service manager.

mod histogram;
#[cfg(feature = "monitoring")]
mod host_header;
#[cfg(feature = "monitoring")]
pub mod http_server;
#[cfg(feature = "monitoring")]
pub mod metrics;
pub mod readiness;
#[cfg(feature = "monitoring")]
mod routes;
pub mod status;
pub mod status_registry;
#[cfg_attr(not(feature = "monitoring"), path = "systemd_disabled.rs")]
pub mod systemd;
