//! `produce` and payloads.

mod payloads;
mod produce;
