//! A program whose processor does its worst to the worker that it runs in; the variable FAULT says what.
//!
//! MISCHIEF is a file: it is appended to whenever the processor is about to misbehave, and tells a fault that happens
//! once that it has happened. A message is bad if its offset is 5 and its partition 0.

#![allow(clippy::panic, reason = "it is what this program is for")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use kafka_actors::Program;
use kafka_actors::processing::Failure;
use kafka_actors::record::Record;

fn main() -> std::process::ExitCode {
    Program::new().processor(process).run()
}

fn process(record: &Record<'_>) -> Result<(), Failure> {
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
        // A MiB a message, never given back; slowly enough to be seen.
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

/// Notes that it misbehaves; whether it is the first time.
fn happens_once() -> Result<bool, Failure> {
    let file = std::env::var("MISCHIEF")?;
    let first = std::fs::metadata(&file).is_ok_and(|file| file.len() == 0);
    happened()?;
    Ok(first)
}

fn happened() -> Result<(), Failure> {
    let mut file = std::fs::OpenOptions::new().append(true).open(std::env::var("MISCHIEF")?)?;
    Ok(writeln!(file, "{}", std::process::id())?)
}

/// Memory that is really used.
fn filled(bytes: usize) -> Vec<u8> {
    vec![1; bytes]
}

/// Until the operating system refuses, which ends the process.
fn allocate_without_end() {
    let mut all = Vec::new();
    loop {
        all.push(filled(16 << 20));
    }
}

/// It outlives its parent if nobody ends it; nobody waits for it.
fn start_something() -> Result<(), Failure> {
    let program = std::env::var("MISCHIEF")?;
    Command::new("sh").args(["-c", "sleep 1000; :", &program]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    Ok(())
}
