//! Fetches the status of a run periodically.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use super::url::StatusUrl;
use crate::monitoring::status::{STATUS_VERSION, Status};
use crate::util::escape::{escape_control, truncate_chars};

/// The timeout of a request, from the name resolution to the last byte of the response.
const DEADLINE: Duration = Duration::from_secs(3);
/// The delay between a response and the next request; a run updates its status about once a second.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum size of a response, in bytes: enough for about 100,000 partitions.
const MAX_RESPONSE_BYTES: u64 = 32 * 1_024 * 1_024;
/// The maximum length of a text from a response, in characters.
const MAX_TEXT_CHARS: usize = 1_000;

/// A received status.
#[derive(Clone, Debug)]
pub(super) struct FetchedStatus {
    /// The status, with control characters escaped: it cannot affect the terminal.
    pub(super) status: Status,
    /// Its version, if that is newer than [`STATUS_VERSION`].
    pub(super) newer: Option<u64>,
}

/// The result of a request.
pub(super) struct FetchResult {
    /// When the response was received.
    pub(super) at: Instant,
    /// The status, or a readable error.
    pub(super) reported: Result<FetchedStatus, String>,
}

/// Fetches from a dedicated thread. When this is dropped, the thread ends after its current request.
pub(super) struct Fetcher {
    /// The channel holds at most one result: a slow receiver delays the next request.
    pub(super) replies: Receiver<FetchResult>,
    _stop: Sender<()>,
}

impl Fetcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(address: StatusUrl) -> io::Result<Self> {
        let (reply, replies) = mpsc::sync_channel(1);
        let (_stop, stopped) = mpsc::channel();
        std::thread::Builder::new().name("top-fetch".to_owned()).spawn(move || {
            let agent = agent();
            loop {
                let reported = get_status(&agent, &address);
                if reply.send(FetchResult { at: Instant::now(), reported }).is_err() {
                    return;
                }
                if stopped.recv_timeout(POLL_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { replies, _stop })
    }
}

/// Fetches the status once.
///
/// # Errors
/// A readable reason: the request failed, or the response is not a status.
pub(super) fn once(address: &StatusUrl) -> Result<FetchedStatus, String> {
    get_status(&agent(), address)
}

/// Creates an HTTP client without a proxy: a run listens on this machine or nearby. Connections are not reused, since the next
/// request may reach another run.
fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(DEADLINE))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .proxy(None)
        .user_agent(concat!("kafka-actors/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

fn get_status(agent: &Agent, address: &StatusUrl) -> Result<FetchedStatus, String> {
    let mut reply = agent.get(address.status()).call().map_err(describe_error)?;
    let code = reply.status();
    if code.as_u16() != 200 {
        return Err(format!("it answers {code}: is this where a run listens?"));
    }
    let body = reply.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec().map_err(describe_error)?;
    read(&body)
}

fn describe_error(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "connection refused (is the run up, and its monitoring.listen set?)".to_owned()
        }
        ureq::Error::Timeout(_) => format!("no answer within {} s", DEADLINE.as_secs()),
        ureq::Error::HostNotFound => "there is no host of that name".to_owned(),
        ureq::Error::BodyExceedsLimit(_) => {
            format!("it answers with more than {} MiB", MAX_RESPONSE_BYTES / 1_024 / 1_024)
        }
        error => shown(&error.to_string()),
    }
}

/// Parses a response. A status with a newer version is shown as far as it can be parsed.
fn read(body: &[u8]) -> Result<FetchedStatus, String> {
    let mut reported: Value =
        serde_json::from_slice(body).map_err(|_| "it answers with something that is no status")?;
    let version =
        reported.get("version").and_then(Value::as_u64).ok_or("it answers with something that is no status")?;
    sanitize(&mut reported);
    let newer = Some(version).filter(|version| *version > u64::from(STATUS_VERSION));
    let status = serde_json::from_value(reported).map_err(|error| match newer {
        Some(version) => {
            let error = shown(&error.to_string());
            format!("its status has version {version}, this program knows {STATUS_VERSION}: use a newer one ({error})")
        }
        None => format!("its status cannot be understood: {}", shown(&error.to_string())),
    })?;
    Ok(FetchedStatus { status, newer })
}

/// Escapes all texts in a value, including the names of fields.
fn sanitize(value: &mut Value) {
    match value {
        Value::String(text) => *text = shown(text),
        Value::Array(values) => values.iter_mut().for_each(sanitize),
        Value::Object(fields) => {
            for (name, mut value) in std::mem::take(fields) {
                sanitize(&mut value);
                fields.insert(shown(&name), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn shown(text: &str) -> String {
    truncate_chars(&escape_control(text.as_bytes()), MAX_TEXT_CHARS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::monitoring::status::ProduceStatus;

    fn reported(change: impl FnOnce(&mut Value)) -> Result<FetchedStatus, String> {
        let mut value = serde_json::to_value(Status { version: STATUS_VERSION, ..Status::default() }).unwrap();
        change(&mut value);
        read(value.to_string().as_bytes())
    }

    #[test]
    fn a_status_is_read_as_it_was_sent() {
        let reported = reported(|value| value["command"] = json!("consume")).unwrap();
        assert_eq!((reported.status.command.as_str(), reported.newer), ("consume", None));
    }

    #[test]
    fn garbage_is_no_status() {
        for body in
            ["", "<html>", "[]", "{}", "7", "{\"version\": \"1\"}", "{\"version\": -1}", "\u{0}", "{\"version\""]
        {
            assert_eq!(read(body.as_bytes()).unwrap_err(), "it answers with something that is no status", "{body}");
        }
        assert!(read(&[0xff; 100]).is_err());
        assert!(read("[".repeat(100_000).as_bytes()).is_err(), "and the stack is not at its end");
        let error = reported(|value| value["phase"] = json!("\u{1b}[2J")).unwrap_err();
        assert!(error.starts_with("its status cannot be understood: ") && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn a_newer_version_is_shown_if_it_can_be_and_named_if_not() {
        let newer = |value: &mut Value| (value["version"], value["more"]) = (json!(7), json!({"x": 1}));
        assert_eq!(reported(newer).unwrap().newer, Some(7));
        let changed = |value: &mut Value| (value["version"], value["phase"]) = (json!(7), json!("dancing"));
        let error = reported(changed).unwrap_err();
        assert!(error.starts_with("its status has version 7, this program knows 2: use a newer one"), "{error}");
        let error = reported(|value| value["version"] = json!(u64::MAX)).unwrap_err();
        assert!(error.starts_with("its status has version 18446744073709551615"), "{error}");
    }

    #[test]
    fn no_text_of_a_status_does_anything_to_a_terminal() {
        let hostile = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\n";
        let reported = reported(|value| {
            let event = json!({"id": 0, "at": hostile, "level": "info", "kind": hostile, "worker": null,
                "text": hostile.repeat(1_000)});
            (value["host"], value["not_ready_reasons"], value["events"]) =
                (json!(hostile), json!([hostile]), json!([event]));
            value["produce"] = serde_json::to_value(ProduceStatus::default()).unwrap();
            value["produce"]["failed"] = json!({hostile: 3});
        });
        let status = reported.unwrap().status;
        assert_eq!(status.produce.as_ref().unwrap().failed.values().sum::<u64>(), 3);
        assert!(status.host.contains("owned"), "{}", status.host);
        assert_letters(&serde_json::to_value(status).unwrap());
    }

    fn assert_letters(value: &Value) {
        match value {
            Value::String(text) => {
                assert!(
                    text.chars().all(|letter| letter.escape_debug().len() == 1 || "\"'\\".contains(letter)),
                    "{text:?}"
                );
                assert!(text.chars().count() <= MAX_TEXT_CHARS);
            }
            Value::Array(values) => values.iter().for_each(assert_letters),
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                assert_letters(&Value::String(name.clone()));
                assert_letters(value);
            }),
            _ => {}
        }
    }
}
