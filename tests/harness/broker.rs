//! Dedicated brokers of a test, which it may kill or stop.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::proxy::Proxy;

/// A dedicated broker or cluster of a test; it stops when the test ends.
pub struct Broker {
    folder: tempfile::TempDir,
    /// The bootstrap servers.
    pub brokers: String,
}

impl Broker {
    pub fn start() -> Self {
        Self::up(&[]).0
    }

    /// Starts three brokers; two of them have to store a message before it is acknowledged.
    pub fn cluster() -> Self {
        Self::up(&["--mode", "cluster", "--topics", ""]).0
    }

    /// Starts a broker with these properties.
    pub fn with(properties: &[&str]) -> Self {
        Self::up(&properties.iter().flat_map(|property| ["--property", property]).collect::<Vec<_>>()).0
    }

    /// Starts a broker that advertises the proxy's address, to which the program connects; Kafka's own tools connect to `brokers`
    /// directly.
    pub fn behind(proxy: &Proxy) -> Self {
        let (broker, text) = Self::up(&["--topics", "", "--advertise", &proxy.address.to_string()]);
        proxy.stand_before(Self::reported(&text, "BEHIND").parse().unwrap());
        broker
    }

    /// Starts a broker with an authorizer and these topics (see `scripts/kafka`). Everything is allowed at `brokers`. The second
    /// value is the address at which its users log in.
    pub fn with_acls(topics: &str) -> (Self, String) {
        let (broker, text) = Self::up(&["--mode", "acl", "--topics", topics]);
        (broker, Self::reported(&text, "ACL_BROKERS"))
    }

    fn up(arguments: &[&str]) -> (Self, String) {
        let folder = tempfile::TempDir::new().unwrap();
        let data = folder.path().join("kafka");
        let output = Self::script().args(["up", "--port", "0", "--data"]).arg(&data).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        (Self { brokers: Self::reported(&text, "BROKERS"), folder }, text)
    }

    /// The value of a variable in the output of `up`.
    fn reported(text: &str, name: &str) -> String {
        let name = format!("TEST_KAFKA_{name}=");
        let value = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        value.trim_matches(['\'', '"']).to_owned()
    }

    fn script() -> Command {
        Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka"))
    }

    /// Runs a command of `scripts/kafka` on the first broker.
    pub fn call(&self, command: &str) {
        self.call_on(command, 1);
    }

    /// Runs a command of `scripts/kafka` on a broker of the cluster.
    pub fn call_on(&self, command: &str, number: u32) {
        let data = self.folder.path().join("kafka");
        let status = Self::script().arg(command).arg("--data").arg(data).arg(number.to_string()).status().unwrap();
        assert!(status.success(), "{command} {number}");
    }

    /// Replaces a text in the broker's properties, which the broker reads when it is restarted.
    pub fn rewrite(&self, from: &str, to: &str) {
        let path = self.folder.path().join("kafka/broker-1.properties");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no {from} in {text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Restarts the broker at another port.
    pub fn restart_at(&mut self, port: u16) {
        let data = self.folder.path().join("kafka");
        let command = ["restart-broker", "--port", &port.to_string(), "1", "--data"];
        let status = Self::script().args(command).arg(data).status().unwrap();
        assert!(status.success(), "restart-broker --port {port}");
        self.brokers = format!("127.0.0.1:{port}");
    }

    /// Sends a signal to the broker's process, or to the first process of a cluster.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(1).unwrap(), signal).unwrap();
    }

    /// The process id; `None` if this broker was not started.
    fn pid(&self, number: u32) -> Option<Pid> {
        let text = std::fs::read_to_string(self.folder.path().join(format!("kafka/broker-{number}.pid"))).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let data = self.folder.path().join("kafka");
        // SIGCONT first, because a stopped process handles no other signal. The call fails for a process that was killed.
        (1..=3).filter_map(|number| self.pid(number)).for_each(|pid| {
            let _killed = kill(pid, Signal::SIGCONT);
        });
        let _stopped = Self::script().arg("down").arg("--data").arg(data).status();
    }
}
