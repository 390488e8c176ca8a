//! All integration tests, in one binary. They run the built program as its users do, and judge it by its report and by
//! Kafka's own tools.
//!
//! `scripts/test` runs all of them. Those marked `needs a real Kafka` are ignored by a plain `cargo test`; they find
//! their brokers in the environment (see `harness::kafka`), and share them: each makes topics and groups of its own.
//! Those marked `needs chromium` are ignored, too: `cargo test --test tests -- --ignored page::`.
//! By hand, without what takes long: `cargo test -- --include-ignored --skip chaos::`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "nobody uses this crate; `pub` says what the harness offers its tests")]

mod harness;

// What needs no broker, or the embedded one.
mod command_line;
mod deploy;
mod docs;
mod embedded_demo;
mod generating;
mod library;
mod metrics;
mod module_rules;
mod progress;
mod serving;
mod top;

// What needs chromium.
mod page;

// What needs a real Kafka.
mod anomalies;
mod assignment;
mod changing_topics;
mod consuming;
mod failures;
mod faults;
mod full_disks;
mod group;
mod hostile;
mod messages;
mod monitoring;
mod network;
mod producing;
mod security;
mod shutdown;
mod signals;
mod supervision;
mod verifying;
mod watching;
mod whole_demo;

// What takes long: `scripts/test --chaos` runs it, the normal run leaves it out.
mod chaos;
