//! Proof of delivery: what was acknowledged, held against what was processed.
//!
//! - [`judge`]: acknowledgements and the workers' [journals](crate::journal) in, a verdict out. Pure.
//! - [`run_file`]: what was acknowledged, kept for another day or another machine.

pub mod judge;
pub mod run_file;
mod varint;
