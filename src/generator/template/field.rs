//! The fields of a template and their arguments.

use rand::distr::Uniform;
use rand::distr::weighted::WeightedIndex;
use serde::de::Deserialize;
use serde_json::value::RawValue;

use super::{Segment, pattern};

/// A part of the template that changes with each message.
#[derive(Debug)]
pub(super) enum Field {
    Sequence {
        start: i64,
        step: i64,
    },
    Uuid,
    Timestamp(TimestampFormat),
    Integer(Uniform<i64>),
    Float(Uniform<f64>),
    /// A decimal number, stored as a multiple of 10^-`digits`.
    Decimal {
        scaled: Uniform<i64>,
        digits: u32,
    },
    /// `weights`: `None` if all alternatives have the same weight.
    Choice {
        alternatives: Vec<Vec<Segment>>,
        weights: Option<WeightedIndex<f64>>,
    },
    Words(Uniform<usize>),
    Pattern(rand_regex::Regex),
    Text(Uniform<usize>),
    Boolean(f64),
}

/// The format of a timestamp.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimestampFormat {
    /// `"2026-11-23T10:00:00.123Z"`
    Rfc3339,
    /// Milliseconds since the Unix epoch.
    Milliseconds,
    /// Microseconds since the Unix epoch.
    Microseconds,
}

/// All field names.
const NAMES: [&str; 10] =
    ["$sequence", "$uuid", "$timestamp", "$integer", "$float", "$choice", "$word", "$pattern", "$bytes", "$boolean"];
/// The maximum length of random bytes: more than librdkafka sends by default.
const MAX_TEXT_BYTES: usize = 10_000_000;
/// The maximum number of words in a text.
const MAX_WORDS: usize = 10_000;
/// The maximum number of decimal places that a 64-bit number holds.
const DIGITS: u32 = 15;
/// Above this, some integers have no exact 64-bit floating-point number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The members of a field: the one that names it, and its options.
pub(super) struct FieldOptions<'a> {
    /// Including its `$`.
    pub(super) name: String,
    value: Option<&'a RawValue>,
    options: Vec<(String, &'a RawValue)>,
    /// The options that were read so far.
    known: Vec<&'static str>,
}

impl<'a> FieldOptions<'a> {
    /// Creates the options from the members of an object, one of which starts with `$`.
    pub(super) fn new(mut members: Vec<(String, &'a RawValue)>) -> Self {
        let place = members.iter().position(|(name, _)| name.starts_with('$') && !name.starts_with("$$"));
        let (name, value) =
            place.map(|place| members.remove(place)).map_or((String::new(), None), |(name, value)| (name, Some(value)));
        Self { name, value, options: members, known: Vec::new() }
    }

    /// The value of the member that names the field.
    pub(super) fn value<T: Deserialize<'a>>(&self, expected: &str) -> Result<T, String> {
        let read = self.value.and_then(|raw| serde_json::from_str(raw.get()).ok());
        read.ok_or_else(|| format!("{} takes {expected}", self.name))
    }

    /// Checks that the value is `{}`: the field has no argument.
    fn expect_empty(&self) -> Result<(), String> {
        match self.value.map(|raw| raw.get().split_whitespace().collect::<String>()) {
            Some(text) if text == "{}" => Ok(()),
            _ => Err(format!("{} takes {{}}; its options are members beside it", self.name)),
        }
    }

    /// An option, if present.
    fn option<T: Deserialize<'a>>(&mut self, name: &'static str, expected: &str) -> Result<Option<T>, String> {
        self.known.push(name);
        let Some(place) = self.options.iter().position(|(option, _)| option == name) else { return Ok(None) };
        let (_, raw) = self.options.remove(place);
        serde_json::from_str(raw.get()).map(Some).map_err(|_| format!("{name} must be {expected}, not {}", raw.get()))
    }

    /// Rejects unknown options; must be called after all options were read.
    pub(super) fn reject_unknown(self) -> Result<(), String> {
        let Some((name, _)) = self.options.first() else { return Ok(()) };
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        Err(format!("{} has no option {name:?}; its options: {known}", self.name))
    }
}

/// Parses any field except `$choice`, whose values may contain fields.
pub(super) fn read(mut arguments: FieldOptions<'_>) -> Result<Field, String> {
    let field = match arguments.name.as_str() {
        "$sequence" => sequence(&mut arguments)?,
        "$uuid" => arguments.expect_empty().map(|()| Field::Uuid)?,
        "$timestamp" => Field::Timestamp(time(&arguments)?),
        "$integer" => integer(&arguments)?,
        "$float" => float(&mut arguments)?,
        "$word" => words(&mut arguments)?,
        "$pattern" => Field::Pattern(pattern::compile(arguments.value("a text, a regular expression")?)?),
        "$bytes" => Field::Text(length(&arguments)?),
        "$boolean" => boolean(&arguments)?,
        name => return Err(unknown(name)),
    };
    arguments.reject_unknown()?;
    Ok(field)
}

fn unknown(name: &str) -> String {
    let near = NAMES.iter().min_by_key(|known| strsim::damerau_levenshtein(name, known)).unwrap_or(&"");
    format!(
        "there is no field {name}; did you mean {near}? All: {}. A member of this name is written ${name}",
        NAMES.join(", ")
    )
}

fn sequence(arguments: &mut FieldOptions<'_>) -> Result<Field, String> {
    arguments.expect_empty()?;
    let start = arguments.option("start", "a whole number")?.unwrap_or(0);
    let step = arguments.option("step", "a whole number")?.unwrap_or(1);
    if step == 0 {
        return Err("step must not be 0: every number would be the same".to_owned());
    }
    Ok(Field::Sequence { start, step })
}

fn time(arguments: &FieldOptions<'_>) -> Result<TimestampFormat, String> {
    const EXPECTED: &str = "\"rfc3339\", \"ms\" or \"us\"";
    match arguments.value::<String>(EXPECTED)?.as_str() {
        "rfc3339" => Ok(TimestampFormat::Rfc3339),
        "ms" => Ok(TimestampFormat::Milliseconds),
        "us" => Ok(TimestampFormat::Microseconds),
        _ => Err(format!("$timestamp takes {EXPECTED}")),
    }
}

fn integer(arguments: &FieldOptions<'_>) -> Result<Field, String> {
    const EXPECTED: &str = "two whole numbers of 64 bits, the smaller first, such as [1, 100]";
    let [min, max]: [i64; 2] = arguments.value(EXPECTED)?;
    Uniform::new_inclusive(min, max).map(Field::Integer).map_err(|_| format!("$integer takes {EXPECTED}"))
}

fn float(arguments: &mut FieldOptions<'_>) -> Result<Field, String> {
    const EXPECTED: &str = "two numbers, the smaller first, such as [0, 1]";
    let [min, max]: [f64; 2] = arguments.value(EXPECTED)?;
    let wrong = || format!("$float takes {EXPECTED}");
    let digits: Option<u32> = arguments.option("digits", "a whole number, 0 to 15")?;
    let Some(digits) = digits else {
        return Uniform::new_inclusive(min, max).map(Field::Float).map_err(|_| wrong());
    };
    if digits > DIGITS {
        return Err(format!("digits = {digits}; allowed: 0 to {DIGITS}"));
    }
    let scale = 10_f64.powi(digits as i32);
    let (low, high) = ((min * scale).round(), (max * scale).round());
    if low.abs() > EXACT || high.abs() > EXACT {
        return Err(format!("with {digits} digits, only numbers up to {} are exact", EXACT / scale));
    }
    let scaled = Uniform::new_inclusive(low as i64, high as i64).map_err(|_| wrong())?;
    Ok(Field::Decimal { scaled, digits })
}

/// The weights of a choice; `None` if all are equal.
pub(super) fn weights(
    arguments: &mut FieldOptions<'_>,
    alternatives: usize,
) -> Result<Option<WeightedIndex<f64>>, String> {
    if alternatives == 0 {
        return Err("$choice takes an array of at least one value".to_owned());
    }
    let expected = "an array of numbers, one for each value";
    let Some(weights) = arguments.option::<Vec<f64>>("weights", expected)? else { return Ok(None) };
    if weights.len() != alternatives {
        return Err(format!("weights must have {alternatives} numbers, one for each value, not {}", weights.len()));
    }
    let wrong = |_| "weights must be numbers, 0 or more, and not all 0".to_owned();
    WeightedIndex::new(weights).map(Some).map_err(wrong)
}

fn words(arguments: &mut FieldOptions<'_>) -> Result<Field, String> {
    arguments.expect_empty()?;
    let expected = "a whole number, 1 to 10000";
    let count: Option<usize> = arguments.option("count", expected)?;
    let min: Option<usize> = arguments.option("min", expected)?;
    let max: Option<usize> = arguments.option("max", expected)?;
    let (min, max) = match (count, min, max) {
        (None, None, None) => (1, 1),
        (Some(count), None, None) => (count, count),
        (None, Some(min), Some(max)) => (min, max),
        _ => return Err("$word takes either count, or min and max".to_owned()),
    };
    let range = (1..=MAX_WORDS).contains(&min) && max <= MAX_WORDS;
    let uniform = Uniform::new_inclusive(min, max).ok().filter(|_| range);
    uniform.map(Field::Words).ok_or_else(|| format!("$word takes 1 to {MAX_WORDS} words, min not above max"))
}

fn length(arguments: &FieldOptions<'_>) -> Result<Uniform<usize>, String> {
    let expected = format!("a number of characters, 0 to {MAX_TEXT_BYTES}, or two such numbers, the smaller first");
    let [min, max] = match arguments.value::<usize>(&expected) {
        Ok(length) => [length; 2],
        Err(_) => arguments.value(&expected)?,
    };
    let uniform = Uniform::new_inclusive(min, max).ok().filter(|_| max <= MAX_TEXT_BYTES);
    uniform.ok_or_else(|| format!("$bytes takes {expected}"))
}

fn boolean(arguments: &FieldOptions<'_>) -> Result<Field, String> {
    const EXPECTED: &str = "the probability of true, 0 to 1";
    let probability: f64 = arguments.value(EXPECTED)?;
    let holds = (0.0..=1.0).contains(&probability);
    holds.then_some(Field::Boolean(probability)).ok_or_else(|| format!("$boolean takes {EXPECTED}"))
}
