//! `consume`: records, failures, consumer groups.

mod assignment;
mod committed_offsets;
mod consume;
mod failing_commands;
mod faulty_processors;
mod group;
mod records;
mod retries_and_dlq;
