//! Tests of the verifier.

mod anomalies;
mod runs;
