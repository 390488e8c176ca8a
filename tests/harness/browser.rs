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

/// Longer than any single command takes on a loaded machine; the browser's start is a command.
const COMMAND: Duration = Duration::from_secs(60);
/// The maximum size of a response. A screenshot of a long page is a few MiB.
const ANSWER: u64 = 64 << 20;

/// A browser with one window and a dedicated profile; all of it ends with its test.
pub struct Browser {
    agent: Agent,
    /// The URL of the WebDriver session.
    url: String,
    /// The browser process. The driver should terminate it, and may fail to.
    browser: Option<Pid>,
    _driver: Driver,
    _folder: TempDir,
}

/// Kills the process when it is dropped.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        // Both fail only if the process has exited and was reaped.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver terminates the browser, and the browser its helpers. If the driver fails, the pid still belongs to this
        // browser: the driver, which is its parent, is killed after this.
        let ended = self.agent.delete(&self.url).call().is_ok();
        if let (false, Some(browser)) = (ended, self.browser) {
            let _gone = kill(browser, Signal::SIGKILL);
        }
    }
}

impl Browser {
    /// Starts the driver and a headless browser.
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

    /// The value of a JavaScript expression; for a promise, the value with which it is fulfilled.
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

    pub fn type_into(&self, selector: &str, text: &str) {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }));
        let (_, id) = found.as_object().unwrap().iter().next().unwrap();
        self.post(&format!("element/{}/value", id.as_str().unwrap()), &json!({ "text": text }));
    }

    /// Sets the size of the page in CSS pixels; a narrow page emulates a phone with a touch screen.
    pub fn size(&self, width: u32, height: u32) {
        let phone = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Sets a media feature of the user's preferences, for example `prefers-color-scheme` to `dark`.
    pub fn prefer(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// The messages of the browser's console since the last call: errors, blocked content, unreachable servers.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" }));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The visible page as a PNG.
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

/// The port in the driver's first output; the driver uses a free port.
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

fn value(reply: Result<ureq::http::Response<ureq::Body>, ureq::Error>, what: &str) -> Value {
    let mut reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
    let bytes = reply.body_mut().with_config().limit(ANSWER).read_to_vec().unwrap();
    let mut json: Value = serde_json::from_slice(&bytes).unwrap();
    let value = json["value"].take();
    assert!(reply.status().is_success(), "{what}: {}: {}", value["error"], value["message"]);
    value
}
