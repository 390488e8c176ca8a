//! A strict parser of Prometheus's text format: it accepts what a scrape accepts, restricted to what the naming conventions allow.

use std::collections::{BTreeMap, BTreeSet};

use super::program::Running;

/// The metric families of a text.
#[derive(Debug)]
pub struct Exposition(pub Vec<Family>);

#[derive(Debug)]
pub struct Family {
    pub name: String,
    pub help: String,
    pub kind: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    /// Includes `_bucket`, `_sum` or `_count`.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Parts of metric names that are no base unit. The base units are seconds, bytes, and counts of named things.
const NO_BASE_UNITS: [&str; 17] = [
    "ms",
    "us",
    "ns",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "mb",
    "kib",
    "mib",
    "kilobytes",
    "megabytes",
    "bits",
    "percent",
];

impl Exposition {
    /// Parses a text; the error names the line and the rule that it breaks.
    pub fn read(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix('\n').ok_or("the last line does not end")?;
        let mut families: Vec<Family> = Vec::new();
        for line in body.split('\n') {
            let read = match line.strip_prefix("# ") {
                Some(comment) => read_comment(comment, &mut families),
                None => read_sample(line).and_then(|sample| add(sample, &mut families)),
            };
            read.map_err(|rule| format!("{rule}: {line}"))?;
        }
        for family in &families {
            family.check().map_err(|rule| format!("{rule}: {}", family.name))?;
        }
        Ok(Self(families))
    }

    pub fn names(&self) -> BTreeSet<&str> {
        self.0.iter().map(|family| family.name.as_str()).collect()
    }

    pub fn family(&self, name: &str) -> &Family {
        self.0.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// All samples that only increase.
    pub fn counts(&self) -> BTreeMap<(&str, &BTreeMap<String, String>), f64> {
        let growing = self.0.iter().filter(|family| family.kind != "gauge");
        growing.flat_map(|family| &family.samples).map(|row| ((row.name.as_str(), &row.labels), row.value)).collect()
    }

    /// The sum of all series with this name.
    pub fn sum(&self, name: &str) -> f64 {
        self.0.iter().flat_map(|family| &family.samples).filter(|row| row.name == name).map(|row| row.value).sum()
    }

    /// The value of the one series that has this name and these labels, and possibly others.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let label = |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(label)
        };
        let found: Vec<_> = self.0.iter().flat_map(|family| &family.samples).filter(has).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].value
    }
}

fn read_comment(comment: &str, families: &mut Vec<Family>) -> Result<(), String> {
    let mut words = comment.splitn(3, ' ');
    let (keyword, name, rest) = (words.next(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match keyword {
        Some("HELP") => {
            check_name(name)?;
            if families.iter().any(|family| family.name == name) {
                return Err("a family stands in one place".to_owned());
            }
            let help = unescape(rest, false)?;
            if help.trim().is_empty() {
                return Err("a help says something".to_owned());
            }
            families.push(Family { name: name.to_owned(), help, kind: String::new(), samples: Vec::new() });
            Ok(())
        }
        Some("TYPE") => {
            let family = families.last_mut().filter(|family| family.name == name).ok_or("a type follows its help")?;
            if !family.kind.is_empty() {
                return Err("a family has one type".to_owned());
            }
            if !["counter", "gauge", "histogram"].contains(&rest) {
                return Err("a type is a counter, gauge or histogram".to_owned());
            }
            rest.clone_into(&mut family.kind);
            Ok(())
        }
        _ => Err("a comment is a help or a type".to_owned()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if !name.starts_with("kafka_actors_") {
        return Err("a name begins with the program's".to_owned());
    }
    if !is_lower_snake(name) {
        return Err("a name is lower-case letters, digits and underlines".to_owned());
    }
    match name.split('_').find(|part| NO_BASE_UNITS.contains(part)) {
        Some(unit) => Err(format!("{unit} is no base unit")),
        None => Ok(()),
    }
}

fn is_lower_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn read_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("a sample has a value")?;
    let (name, rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    let value = match rest.strip_prefix('{') {
        None => &rest[1..],
        Some(mut rest) => loop {
            let (label, after) = rest.split_once("=\"").ok_or("a label is name=\"value\"")?;
            if !is_lower_snake(label) {
                return Err("a label's name is lower-case letters, digits and underlines".to_owned());
            }
            let end = quoted(after).ok_or("a label's value ends with a quote")?;
            if labels.insert(label.to_owned(), unescape(&after[..end], true)?).is_some() {
                return Err("a sample has a label once".to_owned());
            }
            let after = &after[end + 1..];
            if let Some(value) = after.strip_prefix("} ") {
                break value;
            }
            rest = after.strip_prefix(',').ok_or("labels are separated by commas")?;
        },
    };
    // Rejects numbers that Rust accepts and Go does not, or that the format writes in another way.
    let written = value.chars().all(|c| c.is_ascii_digit() || ".-+e".contains(c)) && !value.is_empty();
    let value = value.parse().ok().filter(|value: &f64| written && value.is_finite());
    let value = value.ok_or("a value is one finite number, without a timestamp")?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// The end of a text that starts with a quote.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end.then_some(at)
    })
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                _ => return Err("backslashes, line feeds and quotes are escaped, nothing else".to_owned()),
            }),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

fn add(sample: Sample, families: &mut [Family]) -> Result<(), String> {
    let family = families.last_mut().ok_or("a family begins with its help and type")?;
    if family.kind.is_empty() {
        return Err("a sample follows its family's type".to_owned());
    }
    let suffix = sample.name.strip_prefix(&family.name).ok_or("a sample belongs to the family before it")?;
    let belongs = match family.kind.as_str() {
        "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
        _ => suffix.is_empty(),
    };
    if !belongs {
        return Err("a sample belongs to the family before it".to_owned());
    }
    if sample.labels.contains_key("le") != (suffix == "_bucket") {
        return Err("buckets have a bound, nothing else has".to_owned());
    }
    family.samples.push(sample);
    Ok(())
}

impl Family {
    fn check(&self) -> Result<(), &'static str> {
        let first = self.samples.first().ok_or("a family has samples")?;
        let series: BTreeSet<_> = self.samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
        if series.len() < self.samples.len() {
            return Err("a series stands there once");
        }
        if self.name.ends_with("_total") != (self.kind == "counter") {
            return Err("counters and nothing else end in _total");
        }
        if ["_count", "_sum", "_bucket"].iter().any(|suffix| self.name.ends_with(suffix)) {
            return Err("what a histogram's samples end in, no name ends in");
        }
        if self.kind != "gauge" && self.samples.iter().any(|sample| sample.value < 0.0) {
            return Err("only a gauge is negative");
        }
        if self.name.ends_with("_info") && self.samples.iter().any(|sample| sample.value != 1.0) {
            return Err("an info is 1");
        }
        if self.samples.iter().any(|sample| sample.others().0.keys().ne(first.others().0.keys())) {
            return Err("all samples have the same labels");
        }
        if self.kind == "histogram" { self.check_histogram() } else { Ok(()) }
    }

    fn check_histogram(&self) -> Result<(), &'static str> {
        if !self.name.ends_with("_seconds") && !self.name.ends_with("_bytes") {
            return Err("a histogram's name ends in its unit");
        }
        let series: BTreeSet<_> = self.samples.iter().map(Sample::others).collect();
        for series in &series {
            let of = |suffix: &'static str| {
                let own = move |sample: &&Sample| sample.name.ends_with(suffix) && sample.others() == *series;
                self.samples.iter().filter(own)
            };
            let bound = |sample: &Sample| match sample.labels["le"].as_str() {
                "+Inf" => Some(f64::INFINITY),
                bound => bound.parse().ok().filter(|bound: &f64| bound.is_finite()),
            };
            let buckets: Option<Vec<_>> = of("_bucket").map(|sample| Some((bound(sample)?, sample.value))).collect();
            let buckets = buckets.ok_or("a bucket's bound is a number")?;
            if !buckets.is_sorted_by(|(one, fewer), (other, more)| one < other && fewer <= more) {
                return Err("buckets grow, bounds and counts");
            }
            let (Some(count), Some(_)) = (of("_count").next(), of("_sum").next()) else {
                return Err("a histogram has a count and a sum");
            };
            if buckets.last() != Some(&(f64::INFINITY, count.value)) {
                return Err("the last bucket is +Inf, and has all");
            }
        }
        Ok(())
    }
}

/// Labels without a bucket's bound. They distinguish the histograms of a family.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Others<'a>(BTreeMap<&'a str, &'a str>);

impl Sample {
    fn others(&self) -> Others<'_> {
        let others = self.labels.iter().filter(|(name, _)| *name != "le");
        Others(others.map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }
}

/// The metrics that a run serves; `None` if it does not serve yet.
pub fn scrape(running: &Running) -> Option<Exposition> {
    let log = running.stderr();
    let url = log.split("monitoring, url: ").nth(1)?.split_whitespace().next()?;
    let mut reply = ureq::get(format!("{url}metrics")).call().unwrap();
    assert_eq!(reply.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.body_mut().read_to_string().unwrap();
    Some(Exposition::read(&text).unwrap_or_else(|rule| panic!("{rule}\nin\n{text}")))
}
