//! Utilities that all tests share.

pub mod broker;
pub mod browser;
pub mod exposition;
pub mod full_status;
pub mod kafka;
pub mod program;
pub mod proxy;
pub mod site;
pub mod terminal;
pub mod tls;
pub mod transactions;
pub mod verdict;
pub mod worker;

use std::time::{Duration, Instant};

/// The timeout of a wait: long enough for a loaded machine. A test that waits this long fails.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `condition` is true.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A name that is unique among tests and runs.
pub fn unique(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}-{}", std::process::id(), now.as_nanos())
}
