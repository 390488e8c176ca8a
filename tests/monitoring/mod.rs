//! Status, metrics, probes, `top`, files for deployment.

mod deploy_files;
mod http;
mod metrics;
mod status;
mod top;
