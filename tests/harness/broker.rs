//! Brokers of a test's own, which may be killed or stopped.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::proxy::Proxy;

/// A broker of the test's own, or a cluster; it ends with it.
pub struct Broker {
    folder: tempfile::TempDir,
    /// Where it is.
    pub brokers: String,
}

impl Broker {
    pub fn start() -> Self {
        Self::up(&[]).0
    }

    /// Three of them; two have to have a message before it is acknowledged.
    pub fn cluster() -> Self {
        Self::up(&["--mode", "cluster", "--topics", ""]).0
    }

    /// One behind a proxy, which is where the program has to go; Kafka's own tools go straight to `brokers`.
    pub fn behind(proxy: &Proxy) -> Self {
        let (broker, text) = Self::up(&["--topics", "", "--advertise", &proxy.address.to_string()]);
        proxy.stand_before(Self::told(&text, "BEHIND").parse().unwrap());
        broker
    }

    fn up(arguments: &[&str]) -> (Self, String) {
        let folder = tempfile::TempDir::new().unwrap();
        let data = folder.path().join("kafka");
        let output = Self::script().args(["up", "--port", "0", "--data"]).arg(&data).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        (Self { brokers: Self::told(&text, "BROKERS"), folder }, text)
    }

    /// A variable among the lines that `up` writes.
    fn told(text: &str, name: &str) -> String {
        let name = format!("TEST_KAFKA_{name}=");
        let value = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        value.trim_matches(['\'', '"']).to_owned()
    }

    fn script() -> Command {
        Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka"))
    }

    /// `scripts/kafka` does this with the first broker.
    pub fn call(&self, command: &str) {
        self.call_on(command, 1);
    }

    /// `scripts/kafka` does this with a broker of the cluster.
    pub fn call_on(&self, command: &str, number: u32) {
        let data = self.folder.path().join("kafka");
        let status = Self::script().arg(command).arg("--data").arg(data).arg(number.to_string()).status().unwrap();
        assert!(status.success(), "{command} {number}");
    }

    /// A signal to its process, of a cluster's first.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(1).unwrap(), signal).unwrap();
    }

    /// `None` if it was not started.
    fn pid(&self, number: u32) -> Option<Pid> {
        let text = std::fs::read_to_string(self.folder.path().join(format!("kafka/broker-{number}.pid"))).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let data = self.folder.path().join("kafka");
        // One that is stopped takes no other signal; one that was killed takes none.
        (1..=3).filter_map(|number| self.pid(number)).for_each(|pid| {
            let _killed = kill(pid, Signal::SIGCONT);
        });
        let _stopped = Self::script().arg("down").arg("--data").arg(data).status();
    }
}
