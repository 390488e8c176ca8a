//! A real browser: Debian's chromium, driven by its chromedriver over the W3C WebDriver protocol.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use super::{DEADLINE, wait_for};

/// Longer than any one command takes on a loaded machine; starting the browser is one.
const COMMAND: Duration = Duration::from_secs(60);
/// A screenshot of a long page is a few MiB.
const ANSWER: u64 = 64 << 20;

/// A browser with one window and a profile of its own; all of it ends with its test.
pub struct Browser {
    agent: Agent,
    /// Of the session.
    url: String,
    /// The browser's own process, which the driver should end, and may fail to.
    browser: Option<Pid>,
    _driver: Driver,
    _folder: TempDir,
}

/// It is killed if its test ends before it.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser, and the browser its helpers. If it fails to, its pid is still this browser's: the driver,
        // which is its parent, is killed after this.
        let ended = self.agent.delete(&self.url).call().is_ok();
        if let (false, Some(browser)) = (ended, self.browser) {
            let _gone = kill(browser, Signal::SIGKILL);
        }
    }
}

impl Browser {
    /// Starts both, without a window on a screen.
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let said = folder.path().join("driver.log");
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&said).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: apt-get install chromium chromium-driver");
        let driver = Driver(driver);
        let mut port = None;
        wait_for("chromedriver's port", || {
            port = port_of(&std::fs::read_to_string(&said).unwrap());
            port.is_some()
        });
        let agent: Agent =
            Agent::config_builder().timeout_global(Some(COMMAND)).http_status_as_error(false).build().into();
        let base = format!("http://127.0.0.1:{}", port.unwrap());
        let session = post(&agent, &format!("{base}/session"), &capabilities(folder.path()));
        let browser =
            session["capabilities"]["goog:processID"].as_i64().map(|pid| Pid::from_raw(pid.try_into().unwrap()));
        let url = format!("{base}/session/{}", session["sessionId"].as_str().unwrap());
        Self { agent, url, browser, _driver: driver, _folder: folder }
    }

    /// Opens an address, and returns when the page is loaded.
    pub fn open(&self, address: &str) {
        self.post("url", &json!({ "url": address }));
    }

    /// The value of a JavaScript expression; of a promise, what it comes to.
    pub fn eval(&self, expression: &str) -> Value {
        self.post("execute/sync", &json!({ "script": format!("return ({expression})"), "args": [] }))
    }

    /// Runs statements.
    pub fn run(&self, script: &str) {
        self.post("execute/sync", &json!({ "script": script, "args": [] }));
    }

    /// Waits until an expression is true.
    pub fn wait_until(&self, expression: &str) {
        let mut seen = Value::Null;
        let begun = std::time::Instant::now();
        while seen != json!(true) {
            assert!(
                begun.elapsed() < DEADLINE,
                "waited {DEADLINE:?} for {expression}; the page says:\n{}",
                self.text("body")
            );
            seen = self.eval(expression);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text that an element shows.
    pub fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({}).innerText", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Types into an element.
    pub fn type_into(&self, selector: &str, text: &str) {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }));
        let (_, id) = found.as_object().unwrap().iter().next().unwrap();
        self.post(&format!("element/{}/value", id.as_str().unwrap()), &json!({ "text": text }));
    }

    /// The page's size in CSS pixels; a narrow one is a phone's, with a touch screen.
    pub fn size(&self, width: u32, height: u32) {
        let phone = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// What the user prefers: `prefers-color-scheme` is `dark` …
    pub fn prefer(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// What its console has said since it was asked last: errors, refused content, unreachable servers.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" }));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// What is seen, as a PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(self.get("screenshot").as_str().unwrap()).unwrap()
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        post(&self.agent, &format!("{}/{command}", self.url), body)
    }

    fn get(&self, command: &str) -> Value {
        value(self.agent.get(format!("{}/{command}", self.url)).call(), command)
    }
}

/// What the driver says at its start; it takes a port that is free.
fn port_of(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once("started successfully on port ")?;
    rest.split_once('.')?.0.parse().ok()
}

fn capabilities(folder: &Path) -> Value {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        &profile,
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}

fn post(agent: &Agent, url: &str, body: &Value) -> Value {
    let request = agent.post(url).header("content-type", "application/json");
    value(request.send(serde_json::to_vec(body).unwrap()), url)
}

fn value(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, what: &str) -> Value {
    let mut answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
    let bytes = answer.body_mut().with_config().limit(ANSWER).read_to_vec().unwrap();
    let mut json: Value = serde_json::from_slice(&bytes).unwrap();
    let value = json["value"].take();
    assert!(answer.status().is_success(), "{what}: {}: {}", value["error"], value["message"]);
    value
}
