//! Rate profiles: rates over time, parsed from texts such as `ramp 1000 to 5000 for 30s`.

use std::fmt;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::values::SettingValues;
use super::{Settings, de};

/// The maximum rate, in messages per second, as for `producer.rate`: no machine sends more.
const MAX_RATE: f64 = 1e9;
/// The maximum duration of a step.
const MAX_STEP_DURATION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A sequence of steps; after the last one it starts again. Empty: no profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(into = "Vec<String>")]
pub struct RateProfile(Vec<RateStep>);

/// A step. Rates are in messages per second of all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "Step's Display, and Settings.toml, say them in one sentence each")]
pub enum RateStep {
    /// A constant rate.
    Constant { rate: f64, time: Duration },
    /// A linear change from one rate to another.
    Ramp { from: f64, to: f64, time: Duration },
    /// A sine wave between two rates that starts at the first one; its period is `every`.
    Sine { from: f64, to: f64, every: Duration, time: Duration },
    /// Periodic bursts: `rate` for `length`, every `every`, starting at once; `base` between the bursts.
    Burst { rate: f64, length: Duration, every: Duration, base: f64, time: Duration },
}

/// The syntax of the steps.
const CONSTANT: &str = "RATE for TIME";
const RAMP: &str = "ramp RATE to RATE for TIME";
const SINE: &str = "sine RATE to RATE every TIME for TIME";
const BURST: &str = "burst RATE for TIME every TIME over RATE for TIME";

impl RateProfile {
    /// Whether the profile has no steps.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the steps in order.
    pub fn steps(&self) -> &[RateStep] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for RateProfile {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        let step = |(place, text): (usize, &String)| {
            step(text).map_err(|problem| format!("step {}, {text:?}: {problem}", place + 1))
        };
        let steps: Vec<RateStep> = texts.iter().enumerate().map(step).collect::<Result<_, _>>()?;
        if !steps.is_empty() && !steps.iter().any(RateStep::is_nonzero) {
            return Err("no step asks for a message; one needs a rate above 0".to_owned());
        }
        Ok(Self(steps))
    }
}

impl<'de> Deserialize<'de> for RateProfile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::try_from(de::list(from)?).map_err(D::Error::custom)
    }
}

impl From<RateProfile> for Vec<String> {
    fn from(profile: RateProfile) -> Self {
        profile.0.iter().map(RateStep::to_string).collect()
    }
}

impl RateStep {
    /// Whether the step sends any messages.
    fn is_nonzero(&self) -> bool {
        match *self {
            Self::Constant { rate, .. } => rate > 0.0,
            Self::Ramp { from, to, .. } | Self::Sine { from, to, .. } => from > 0.0 || to > 0.0,
            Self::Burst { rate, length, every, base, time } => rate > 0.0 || (base > 0.0 && length < every.min(time)),
        }
    }
}

impl fmt::Display for RateStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = humantime::format_duration;
        match *self {
            Self::Constant { rate, time } => write!(f, "{rate} for {}", duration(time)),
            Self::Ramp { from, to, time } => write!(f, "ramp {from} to {to} for {}", duration(time)),
            Self::Sine { from, to, every, time } => {
                write!(f, "sine {from} to {to} every {} for {}", duration(every), duration(time))
            }
            Self::Burst { rate, length, every, base, time } => {
                write!(
                    f,
                    "burst {rate} for {} every {} over {base} for {}",
                    duration(length),
                    duration(every),
                    duration(time)
                )
            }
        }
    }
}

fn step(text: &str) -> Result<RateStep, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["ramp", rest @ ..] => {
            let [from, to, time] = parts(rest, ["to", "for"], RAMP)?;
            Ok(RateStep::Ramp { from: rate(&from)?, to: rate(&to)?, time: duration(&time)? })
        }
        ["sine", rest @ ..] => {
            let [from, to, every, time] = parts(rest, ["to", "every", "for"], SINE)?;
            Ok(RateStep::Sine { from: rate(&from)?, to: rate(&to)?, every: duration(&every)?, time: duration(&time)? })
        }
        ["burst", rest @ ..] => {
            let [peak, length, every, base, time] = parts(rest, ["for", "every", "over", "for"], BURST)?;
            let (length, every) = (duration(&length)?, duration(&every)?);
            if length > every {
                return Err(format!("a burst of {length:?} is longer than the {every:?} after which the next begins"));
            }
            Ok(RateStep::Burst { rate: rate(&peak)?, length, every, base: rate(&base)?, time: duration(&time)? })
        }
        [first, ..] if first.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            let [only, time] = parts(&words, ["for"], CONSTANT)?;
            Ok(RateStep::Constant { rate: rate(&only)?, time: duration(&time)? })
        }
        _ => Err(format!("write {CONSTANT:?}, {RAMP:?}, {SINE:?} or {BURST:?}")),
    }
}

/// Splits a text at the keywords and returns the parts before, between and after them.
fn parts<const KEYS: usize, const PARTS: usize>(
    words: &[&str],
    keys: [&str; KEYS],
    form: &str,
) -> Result<[String; PARTS], String> {
    let mut rest = words;
    let mut found = Vec::with_capacity(PARTS);
    for key in keys {
        let Some((before, after)) =
            rest.iter().position(|word| *word == key).and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?)))
        else {
            return Err(format!("{key:?} is missing after {:?}; write {form:?}", rest.join(" ")));
        };
        found.push(before.join(" "));
        rest = after;
    }
    found.push(rest.join(" "));
    found.try_into().map_err(|_| format!("write {form:?}"))
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.replace('_', "").parse().ok().filter(|number| (0.0..=MAX_RATE).contains(number));
    number.ok_or_else(|| format!("{text:?} is no rate; allowed: messages a second, 0 to 1e9"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok().filter(|time| !time.is_zero() && *time <= MAX_STEP_DURATION);
    time.ok_or_else(|| format!("{text:?} is no time; allowed: above 0s to 1year, such as \"30s\" or \"1m 30s\""))
}

/// Keeps the rate or the profile, whichever has the higher layer: `--rate` overrides a profile in a file, and vice versa. Both in
/// the same layer are a conflict.
pub(super) fn follow(settings: &mut Settings, values: &mut SettingValues) {
    let producer = &mut settings.producer;
    if producer.rate_profile.is_empty() {
        return;
    }
    let (rate, profile) = ("producer.rate", "producer.rate_profile");
    if values.layer(rate) > values.layer(profile) {
        producer.rate_profile = RateProfile::default();
        values.follow(profile, Vec::<String>::new(), rate);
    } else if producer.rate > 0.0 && values.layer(profile) > values.layer(rate) {
        producer.rate = 0.0;
        values.follow(rate, 0.0, profile);
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::SettingsError;
    use super::super::{LoadOptions, LoadedSettings, load};
    use super::*;

    fn profile(texts: &[&str]) -> Result<RateProfile, String> {
        RateProfile::try_from(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    fn with(sets: &[&str], flags: &[(&str, &str, &str)]) -> Result<LoadedSettings, SettingsError> {
        let owned = |&(flag, key, value): &(&str, &str, &str)| (flag.to_owned(), key.to_owned(), value.to_owned());
        load(LoadOptions {
            sets: sets.iter().map(|&set| set.to_owned()).collect(),
            flags: flags.iter().map(owned).collect(),
            processors: vec!["log".to_owned()],
            config_file: Some("/dev/null".into()),
            ..LoadOptions::default()
        })
    }

    const EACH: [&str; 4] = [
        "1000 for 10s",
        "ramp 1_000 to 5e3 for 1m 30s",
        "sine 1000 to 5000.5 every 20s for 60s",
        "burst 10000 for 500ms every 5s over 0 for 1m",
    ];

    #[test]
    fn each_kind_of_step_is_read() {
        let (seconds, milliseconds) = (Duration::from_secs, Duration::from_millis);
        let expected = [
            RateStep::Constant { rate: 1000.0, time: seconds(10) },
            RateStep::Ramp { from: 1000.0, to: 5000.0, time: seconds(90) },
            RateStep::Sine { from: 1000.0, to: 5000.5, every: seconds(20), time: seconds(60) },
            RateStep::Burst {
                rate: 10_000.0,
                length: milliseconds(500),
                every: seconds(5),
                base: 0.0,
                time: seconds(60),
            },
        ];
        assert_eq!(profile(&EACH).unwrap().steps(), expected);
        assert!(profile(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_profile_is_written_as_it_is_read() {
        let read = profile(&EACH).unwrap();
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<RateProfile>(&json).unwrap(), read, "{json}");
    }

    #[test]
    fn a_list_and_a_text_with_commas_are_the_same() {
        let text = EACH.join(", ");
        let loaded = with(&[&format!("producer.rate_profile={text}")], &[]).unwrap();
        assert_eq!(loaded.settings.producer.rate_profile, profile(&EACH).unwrap());
        let line = "producer.rate_profile = [\"1000 for 10s\", \"ramp 1000 to 5000 for 1m 30s\",";
        assert!(loaded.show(false).contains(line), "{}", loaded.show(false));
    }

    #[test]
    fn an_error_names_its_place_and_what_is_allowed() {
        let cases = [
            ("steady 5 for 1s", "write \"RATE for TIME\", \"ramp RATE to RATE for TIME\", \"sine"),
            ("", "write \"RATE for TIME\""),
            ("1000", "\"for\" is missing after \"1000\"; write \"RATE for TIME\""),
            ("ramp 1 for 5s", "\"to\" is missing after \"1 for 5s\"; write \"ramp RATE to RATE for TIME\""),
            ("sine 1 to 2 for 5s", "\"every\" is missing after \"2 for 5s\"; write \"sine"),
            ("burst 9 for 1s every 5s over 1", "\"for\" is missing after \"1\"; write \"burst"),
            ("-1 for 5s", "\"-1\" is no rate; allowed: messages a second, 0 to 1e9"),
            ("1e10 for 5s", "\"1e10\" is no rate"),
            ("ramp 1 to NaN for 5s", "\"NaN\" is no rate"),
            ("1 for 5", "\"5\" is no time; allowed: above 0s to 1year, such as \"30s\" or \"1m 30s\""),
            ("1 for 0s", "\"0s\" is no time"),
            ("1 for ", "\"\" is no time"),
            ("1 for 2years", "\"2years\" is no time"),
            ("1 for 5s extra", "\"5s extra\" is no time"),
            ("burst 9 for 6s every 5s over 1 for 1m", "a burst of 6s is longer than the 5s"),
        ];
        for (text, expected) in cases {
            let reported = profile(&["1 for 1s", text]).unwrap_err();
            assert!(reported.starts_with(&format!("step 2, {text:?}: {expected}")), "{reported}");
        }
        let reported = with(&["producer.rate_profile=5 for 1s,ramp 1"], &[]).unwrap_err().to_string();
        let expected =
            "producer.rate_profile = \"5 for 1s,ramp 1\" (--set): step 2, \"ramp 1\": \"to\" is missing after";
        assert!(reported.starts_with(expected), "{reported}");
    }

    #[test]
    fn a_profile_without_a_message_is_an_error() {
        let none = ["0 for 1s", "ramp 0 to 0 for 1s", "burst 0 for 1s every 1s over 9 for 9s"];
        assert_eq!(profile(&none).unwrap_err(), "no step asks for a message; one needs a rate above 0");
        assert!(profile(&["burst 0 for 1s every 5s over 9 for 1s"]).is_err(), "it ends with its first burst");
        for one in ["ramp 0 to 1 for 1s", "sine 1 to 0 every 1s for 1s", "burst 0 for 1s every 2s over 9 for 9s"] {
            assert!(profile(&["0 for 1s", one]).is_ok(), "{one}");
        }
    }

    #[test]
    fn a_rate_and_a_profile_exclude_each_other() {
        let reported = with(&["producer.rate=5", "producer.rate_profile=1 for 1s"], &[]).unwrap_err().to_string();
        let expected = "producer.rate_profile = \"1 for 1s\" (--set) and producer.rate = 5 (--set): either one rate or a \
                        profile of rates; leave one of the two out";
        assert_eq!(reported, expected);
    }

    #[test]
    fn of_a_rate_and_a_profile_the_later_place_wins() {
        let profile = ("--rate-profile", "producer.rate_profile", "1 for 1s");
        let loaded = with(&["producer.rate=5"], &[profile]).unwrap();
        assert_eq!(loaded.settings.producer.rate, 0.0);
        assert_eq!(loaded.origin("producer.rate").to_string(), "follows from producer.rate_profile, --rate-profile");
        for rate in ["5", "0"] {
            let loaded = with(&["producer.rate_profile=1 for 1s"], &[("--rate", "producer.rate", rate)]).unwrap();
            assert!(loaded.settings.producer.rate_profile.is_empty());
            assert_eq!(loaded.settings.producer.rate.to_string(), rate);
        }
    }
}
