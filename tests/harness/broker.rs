//! Brokers of a test's own, which may be killed or stopped.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A broker of the test's own; it ends with it.
pub struct Broker {
    folder: tempfile::TempDir,
    /// Where it is.
    pub brokers: String,
}

impl Broker {
    pub fn start() -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let data = folder.path().join("kafka");
        let output = Self::script().args(["up", "--port", "0", "--data"]).arg(&data).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let brokers = text.lines().find_map(|line| line.strip_prefix("TEST_KAFKA_BROKERS=")).unwrap();
        Self { brokers: brokers.trim_matches(['\'', '"']).to_owned(), folder }
    }

    fn script() -> Command {
        Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka"))
    }

    /// `scripts/kafka` does this with it.
    pub fn call(&self, command: &str) {
        let data = self.folder.path().join("kafka");
        let status = Self::script().arg(command).arg("--data").arg(data).arg("1").status().unwrap();
        assert!(status.success(), "{command}");
    }

    /// A signal to its process.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid().unwrap(), signal).unwrap();
    }

    /// `None` if it was not started.
    fn pid(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.folder.path().join("kafka/broker-1.pid")).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let data = self.folder.path().join("kafka");
        // One that is stopped takes no other signal; one that was killed takes none.
        let _killed = self.pid().map(|pid| kill(pid, Signal::SIGCONT));
        let _stopped = Self::script().arg("down").arg("--data").arg(data).status();
    }
}
