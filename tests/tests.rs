//! All integration tests, in one binary. They run the built program as its users do, and check it by its report and by Kafka's own
//! tools.
//!
//! `scripts/test` runs all of them. A plain `cargo test` ignores those marked `needs a real Kafka`; they find their brokers in the
//! environment (see `harness::kafka`), and share them: each creates unique topics and groups. Those marked `needs chromium` are
//! ignored, too: `cargo test --test tests -- --ignored page::`. To run all but the long tests manually: `cargo test --
//! --include-ignored --skip chaos::`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod architecture;
mod cli;
mod consumer;
mod docs;
mod harness;
mod kafka;
mod monitoring;
mod producer;
mod security;
mod supervision;
mod verify;

// These tests need chromium.
mod page;

// These tests take long: `scripts/test --chaos` runs them, the normal run skips them.
mod chaos;
