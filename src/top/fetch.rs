//! Asks a run for its status, again and again.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use super::address::Address;
use crate::monitoring::status::{Status, VERSION};
use crate::printable::{cut, printable};

/// For a whole answer, from the name's look-up to its last byte.
const DEADLINE: Duration = Duration::from_secs(3);
/// Between an answer and the next question; a run tells something new about once a second.
const EVERY: Duration = Duration::from_secs(1);
/// The largest answer: some 100,000 partitions.
const LARGEST: u64 = 32 * 1_024 * 1_024;
/// The longest text in an answer that is shown, in characters.
const LONGEST: usize = 1_000;

/// What a run has told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Nothing in it can do anything to a terminal.
    pub(super) status: Status,
    /// Its version, if that is newer than what is known here.
    pub(super) newer: Option<u64>,
}

/// What came of a question.
pub(super) struct Answer {
    /// When.
    pub(super) at: Instant,
    /// What was told, or for people why nothing was.
    pub(super) told: Result<Told, String>,
}

/// Asks from a thread of its own, which ends, after the question that it is at, when this is dropped.
pub(super) struct Fetcher {
    /// One answer waits at most: whoever is slow gets the next ones later.
    pub(super) answers: Receiver<Answer>,
    _stop: Sender<()>,
}

impl Fetcher {
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(address: Address) -> io::Result<Self> {
        let (answer, answers) = mpsc::sync_channel(1);
        let (_stop, stopped) = mpsc::channel();
        std::thread::Builder::new().name("top-fetch".to_owned()).spawn(move || {
            let agent = agent();
            loop {
                let told = ask(&agent, &address);
                if answer.send(Answer { at: Instant::now(), told }).is_err() {
                    return;
                }
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { answers, _stop })
    }
}

/// Asks once.
///
/// # Errors
/// For people: why there is no answer, or what is wrong with it.
pub(super) fn once(address: &Address) -> Result<Told, String> {
    ask(&agent(), address)
}

/// Without a proxy: a run listens on this machine or next to it. A connection is used once: the run may be another one the
/// next time.
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

fn ask(agent: &Agent, address: &Address) -> Result<Told, String> {
    let mut answer = agent.get(address.status()).call().map_err(why)?;
    let code = answer.status();
    if code.as_u16() != 200 {
        return Err(format!("it answers {code}: is this where a run listens?"));
    }
    let body = answer.body_mut().with_config().limit(LARGEST).read_to_vec().map_err(why)?;
    read(&body)
}

fn why(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "nobody listens there (is the run up, and its monitoring.listen set?)".to_owned()
        }
        ureq::Error::Timeout(_) => format!("no answer within {} s", DEADLINE.as_secs()),
        ureq::Error::HostNotFound => "there is no host of that name".to_owned(),
        ureq::Error::BodyExceedsLimit(_) => format!("it answers with more than {} MiB", LARGEST / 1_024 / 1_024),
        error => shown(&error.to_string()),
    }
}

/// An answer's body. A newer version is shown as far as it can be understood.
fn read(body: &[u8]) -> Result<Told, String> {
    let mut told: Value = serde_json::from_slice(body).map_err(|_| "it answers with something that is no status")?;
    let version = told.get("version").and_then(Value::as_u64).ok_or("it answers with something that is no status")?;
    clean(&mut told);
    let newer = Some(version).filter(|version| *version > u64::from(VERSION));
    let status = serde_json::from_value(told).map_err(|error| match newer {
        Some(version) => {
            let error = shown(&error.to_string());
            format!("its status has version {version}, this program knows {VERSION}: use a newer one ({error})")
        }
        None => format!("its status cannot be understood: {}", shown(&error.to_string())),
    })?;
    Ok(Told { status, newer })
}

/// All texts in it, names included.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = shown(text),
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(fields) => {
            for (name, mut value) in std::mem::take(fields) {
                clean(&mut value);
                fields.insert(shown(&name), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn shown(text: &str) -> String {
    cut(&printable(text.as_bytes()), LONGEST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::monitoring::status::ProduceStatus;

    fn told(change: impl FnOnce(&mut Value)) -> Result<Told, String> {
        let mut value = serde_json::to_value(Status { version: VERSION, ..Status::default() }).unwrap();
        change(&mut value);
        read(value.to_string().as_bytes())
    }

    #[test]
    fn a_status_is_read_as_it_was_told() {
        let told = told(|value| value["command"] = json!("consume")).unwrap();
        assert_eq!((told.status.command.as_str(), told.newer), ("consume", None));
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
        let error = told(|value| value["phase"] = json!("\u{1b}[2J")).unwrap_err();
        assert!(error.starts_with("its status cannot be understood: ") && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn a_newer_version_is_shown_if_it_can_be_and_named_if_not() {
        let newer = |value: &mut Value| (value["version"], value["more"]) = (json!(7), json!({"x": 1}));
        assert_eq!(told(newer).unwrap().newer, Some(7));
        let changed = |value: &mut Value| (value["version"], value["phase"]) = (json!(7), json!("dancing"));
        let error = told(changed).unwrap_err();
        assert!(error.starts_with("its status has version 7, this program knows 1: use a newer one"), "{error}");
        let error = told(|value| value["version"] = json!(u64::MAX)).unwrap_err();
        assert!(error.starts_with("its status has version 18446744073709551615"), "{error}");
    }

    #[test]
    fn no_text_of_a_status_does_anything_to_a_terminal() {
        let hostile = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\n";
        let told = told(|value| {
            let event = json!({"id": 0, "at": hostile, "level": "info", "kind": hostile, "worker": null,
                "text": hostile.repeat(1_000)});
            (value["host"], value["unready"], value["events"]) = (json!(hostile), json!([hostile]), json!([event]));
            value["produce"] = serde_json::to_value(ProduceStatus::default()).unwrap();
            value["produce"]["failed"] = json!({hostile: 3});
        });
        let status = told.unwrap().status;
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
                assert!(text.chars().count() <= LONGEST);
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
