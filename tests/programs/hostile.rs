//! A program with a processor that damages the worker in which it runs; the variable FAULT selects the fault.
//!
//! MISCHIEF is a file: the processor appends a line to it before each fault, so that a fault that happens once can detect that it
//! has happened. A message is bad if its offset is 5 and its partition 0.

#![allow(clippy::panic, reason = "it is what this program is for")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use kafka_actors::ProcessError;
use kafka_actors::Program;
use kafka_actors::Record;

fn main() -> std::process::ExitCode {
    Program::new().processor(process).run()
}

fn process(record: &Record<'_>) -> Result<(), ProcessError> {
    let is_bad = record.partition == 0 && record.offset == 5;
    match std::env::var("FAULT").as_deref() {
        Ok("hang_once") if is_bad && happens_once()? => std::thread::sleep(Duration::from_secs(3_600)),
        Ok("hang") if is_bad => {
            happened()?;
            std::thread::sleep(Duration::from_secs(3_600));
        }
        Ok("dawdle") => std::thread::sleep(Duration::from_millis(400)),
        Ok("abort") if is_bad => {
            happened()?;
            std::process::abort();
        }
        Ok("exit") if is_bad => {
            happened()?;
            std::process::exit(0);
        }
        Ok("panic") if is_bad => {
            happened()?;
            assert!(!is_bad, "this message is too much");
        }
        Ok("allocate") if is_bad => {
            happened()?;
            allocate_without_end();
        }
        // Leaks one MiB per message, slowly enough to be noticed.
        Ok("leak") => {
            std::mem::forget(filled(1 << 20));
            std::thread::sleep(Duration::from_millis(40));
        }
        Ok("fork") => start_something()?,
        Ok("close_stdout") if is_bad => {
            happened()?;
            nix::unistd::close(1)?;
        }
        _ => {}
    }
    Ok(())
}

/// Appends to the file; returns whether this is the first fault.
fn happens_once() -> Result<bool, ProcessError> {
    let file = std::env::var("MISCHIEF")?;
    let first = std::fs::metadata(&file).is_ok_and(|file| file.len() == 0);
    happened()?;
    Ok(first)
}

fn happened() -> Result<(), ProcessError> {
    let mut file = std::fs::OpenOptions::new().append(true).open(std::env::var("MISCHIEF")?)?;
    Ok(writeln!(file, "{}", std::process::id())?)
}

/// Memory that is really used.
fn filled(bytes: usize) -> Vec<u8> {
    vec![1; bytes]
}

/// Allocates until the operating system refuses, which ends the process.
fn allocate_without_end() {
    let mut all = Vec::new();
    loop {
        all.push(filled(16 << 20));
    }
}

/// Starts a process that outlives its parent unless another process kills it; no process waits for it.
fn start_something() -> Result<(), ProcessError> {
    let program = std::env::var("MISCHIEF")?;
    Command::new("sh").args(["-c", "sleep 1000; :", &program]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    Ok(())
}
