//! Checks of the producer settings that their types cannot express: ranges, templates, files, and settings that exclude each
//! other.

use std::path::Path;

use crate::generator::lines_file::LinesFile;
use crate::generator::template::Template;
use crate::settings::{KeySource, Producer};
use crate::stamp;
use crate::util::text_file;

/// The maximum number of messages: more than any run sends, and small enough to be multiplied by the number of threads.
pub(super) const LARGE_MESSAGE_COUNT: u64 = 1_000_000_000_000_000;

/// The maximum seed: JSON parsers represent larger integers inexactly.
const LARGEST_SEED: u64 = (1 << 53) - 1;
/// The maximum size of a template, in bytes: a larger file is probably the wrong one.
const LONGEST_TEMPLATE: u64 = 10_000_000;

/// The range checks: key, whether the value is valid, allowed values.
pub(super) fn ranges(producer: &Producer) -> Vec<(&'static str, bool, &'static str)> {
    let ratio = |ratio: f64| (0.0..=1.0).contains(&ratio);
    let faults = &producer.faults;
    vec![
        ("producer.seed", producer.seed <= LARGEST_SEED, "allowed: 0 (another one each time) to 9007199254740991"),
        (
            "producer.key_cardinality",
            (1..=LARGE_MESSAGE_COUNT).contains(&producer.key_cardinality),
            "allowed: 1 to 1e15",
        ),
        (
            "producer.key_zipf_exponent",
            (0.0..=10.0).contains(&producer.key_zipf_exponent),
            "allowed: 0 (all alike) to 10",
        ),
        ("producer.tombstone_ratio", ratio(producer.tombstone_ratio), "allowed: 0 to 1"),
        ("producer.faults.duplicate", ratio(faults.duplicate), "allowed: 0 to 1"),
        ("producer.faults.corrupt", ratio(faults.corrupt), "allowed: 0 to 1"),
        ("producer.faults.oversized", ratio(faults.oversized), "allowed: 0 to 1"),
        (
            "producer.faults.oversized_bytes",
            (1_000..=100_000_000).contains(&faults.oversized_bytes),
            "allowed: 1000 to 100000000",
        ),
    ]
}

/// The conflict checks: keys, whether they exclude each other, reason.
pub(super) fn contradictions(producer: &Producer) -> Vec<(&'static [&'static str], bool, &'static str)> {
    let (template, file, lines) =
        (!producer.template.is_empty(), !producer.template_file.is_empty(), !producer.lines_file.is_empty());
    let one = "messages come from one of them; leave the other empty";
    let by_message = producer.key == KeySource::Message;
    let named = !producer.key_field.trim().is_empty();
    // `names` already reports a text that is not a template.
    let keyless = |text: Option<String>| {
        let compiled = text.and_then(|text| Template::new(&text, Some(&producer.key_field), 0).ok());
        by_message && named && compiled.is_some_and(|template| !template.has_key())
    };
    let no_member = "the template has no member of this name, which key = \"message\" takes as the key";
    let faults = &producer.faults;
    let ratios = faults.duplicate + faults.corrupt + faults.oversized + producer.tombstone_ratio;
    vec![
        (&["producer.template", "producer.template_file"], template && file, one),
        (&["producer.template", "producer.lines_file"], template && lines, one),
        (&["producer.template_file", "producer.lines_file"], file && lines, one),
        (&["producer.key", "producer.key_field"], by_message && !named, "key = \"message\" needs the name of a field"),
        (&["producer.key_field", "producer.template"], template && keyless(Some(producer.template.clone())), no_member),
        (
            &["producer.key_field", "producer.template_file"],
            file && keyless(template_file(&producer.template_file).ok()),
            no_member,
        ),
        (
            &["producer.tombstone_ratio", "producer.key"],
            producer.tombstone_ratio > 0.0 && producer.key == KeySource::None,
            "a tombstone says what is to be forgotten by its key; choose a key",
        ),
        (
            &[
                "producer.faults.duplicate",
                "producer.faults.corrupt",
                "producer.faults.oversized",
                "producer.tombstone_ratio",
            ],
            // The binary sum of decimal fractions that add up to 1 may be slightly larger than 1.
            ratios > 1.0 + 1e-9,
            "no message gets two of them: together they are 1 at most",
        ),
    ]
}

/// Checks templates, files and headers. Returns the keys with their problems.
pub(super) fn names(producer: &Producer) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    let mut check = |key: &str, problem: Option<String>| wrong.extend(problem.map(|problem| (key.to_owned(), problem)));
    let compiled = |text: &str| Template::new(text, None, 0).err().map(|problem| problem.to_string());
    if !producer.template.is_empty() {
        check("producer.template", compiled(&producer.template));
    }
    if !producer.template_file.is_empty() {
        let problem = template_file(&producer.template_file).map_or_else(Some, |text| compiled(&text));
        check("producer.template_file", problem);
    }
    if !producer.lines_file.is_empty() {
        check("producer.lines_file", LinesFile::problem(Path::new(&producer.lines_file)));
    }
    let mut headers = producer.headers.iter().enumerate();
    check("producer.headers", headers.find_map(|(index, header)| header_problem(index + 1, header)));
    wrong
}

impl Producer {
    /// Returns the template, if there is one, or why its file cannot be read.
    pub(crate) fn template_text(&self) -> Option<Result<String, String>> {
        match (self.template.as_str(), self.template_file.as_str()) {
            ("", "") => None,
            ("", path) => Some(template_file(path)),
            (text, _) => Some(Ok(text.to_owned())),
        }
    }

    /// Returns the headers of every message: name, value.
    pub(crate) fn header_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|header| header.split_once('='))
    }
}

/// Reads the text of a template file; an error is the reason why it cannot be read.
fn template_file(path: &str) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is no regular file; it is read twice".to_owned());
    }
    if metadata.len() > LONGEST_TEMPLATE {
        return Err(format!("has {} bytes; a template has {LONGEST_TEMPLATE} at most", metadata.len()));
    }
    text_file::read(Path::new(path)).map_err(cannot)
}

/// Returns the problem of a header. The text does not contain the header: it may be a token.
fn header_problem(number: usize, header: &str) -> Option<String> {
    match header.split_once('=') {
        None | Some(("", _)) => Some(format!("header {number} is not written as name=value")),
        Some((stamp::NAME, _)) => Some(format!("{:?} is the name of the stamp's own header", stamp::NAME)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{LoadOptions, load};

    /// Returns the error that loading these `--set` arguments results in; empty if they are valid.
    fn reported(sets: &[&str]) -> String {
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        let processors = vec!["log".to_owned()];
        let inputs = LoadOptions { sets, processors, config_file: Some("/dev/null".into()), ..LoadOptions::default() };
        load(inputs).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_value_out_of_range_names_key_value_origin_and_the_range() {
        let cases = [
            ("producer.seed", "9007199254740992", "0 (another one each time) to 9007199254740991"),
            ("producer.key_cardinality", "0", "1 to 1e15"),
            ("producer.key_zipf_exponent", "-1", "0 (all alike) to 10"),
            ("producer.key_zipf_exponent", "NaN", "0 (all alike) to 10"),
            ("producer.tombstone_ratio", "1.1", "0 to 1"),
            ("producer.faults.duplicate", "-0.1", "0 to 1"),
            ("producer.faults.corrupt", "2", "0 to 1"),
            ("producer.faults.oversized", "inf", "0 to 1"),
            ("producer.faults.oversized_bytes", "999", "1000 to 100000000"),
        ];
        for (key, value, allowed) in cases {
            let reported = reported(&[&format!("{key}={value}")]);
            let expected = format!("{key} = {value} (--set): allowed: {allowed}");
            assert!(reported.lines().any(|line| line == expected), "{reported}\n{expected}");
        }
        assert!(
            reported(&["producer.message_size=9..1"])
                .starts_with("producer.message_size = 9..1 (--set): allowed: a number of bytes")
        );
    }

    #[test]
    fn an_invalid_template_is_reported_with_its_place() {
        let field = r#"{"a":{"$integer":[5,1]}}"#;
        let expected = r#"(--set): a = {"$integer":[5,1]}: $integer takes two whole numbers"#;
        assert!(reported(&[&format!("producer.template={field}")]).contains(expected));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, field).unwrap();
        let path = file.path().display();
        let of_file = reported(&[&format!("producer.template_file={path}")]);
        assert!(of_file.starts_with(&format!("producer.template_file = {path} {expected}")), "{of_file}");
        assert!(
            reported(&["producer.template_file=/no/such"])
                .ends_with("cannot be read: No such file or directory (os error 2)")
        );
        assert!(reported(&["producer.template_file=/dev/zero"]).contains("is no regular file"));
        assert!(reported(&["producer.lines_file=/dev/null"]).contains("is no regular file"));
    }

    #[test]
    fn headers_have_names_and_values() {
        assert_eq!(reported(&["producer.headers=a=1,b=,c=x=y"]), "");
        assert!(reported(&["producer.headers=a=1,b"]).ends_with("header 2 is not written as name=value"));
        assert!(reported(&["producer.headers==1"]).ends_with("header 1 is not written as name=value"));
        assert!(reported(&["producer.headers=_stamp=1"]).ends_with("\"_stamp\" is the name of the stamp's own header"));
    }

    #[test]
    fn settings_that_exclude_each_other_are_both_named() {
        let cases: [(&[&str], &str); 5] = [
            (
                &["producer.template={}", "producer.template_file=Cargo.toml"],
                "producer.template = {} (--set) and producer.template_file = Cargo.toml (--set): messages come from one \
                 of them; leave the other empty",
            ),
            (
                &["producer.template={}", "producer.lines_file=Cargo.toml"],
                "producer.template = {} (--set) and producer.lines_file = Cargo.toml (--set): messages come from one of \
                 them; leave the other empty",
            ),
            (
                &["producer.key=message", "producer.template={\"a\":1}"],
                "producer.key_field = \"id\" (Settings.toml (built in)) and producer.template = {\"a\":1} (--set): the \
                 template has no member of this name, which key = \"message\" takes as the key",
            ),
            (
                &["producer.tombstone_ratio=0.5"],
                "producer.tombstone_ratio = 0.5 (--set) and producer.key = \"none\" (Settings.toml (built in)): a \
                 tombstone says what is to be forgotten by its key; choose a key",
            ),
            (
                &["producer.faults.duplicate=0.6", "producer.faults.corrupt=0.5"],
                "no message gets two of them: together they are 1 at most",
            ),
        ];
        for (sets, expected) in cases {
            let reported = reported(sets);
            assert!(reported.lines().any(|line| line.ends_with(expected)), "{reported}\n{expected}");
        }
        let all = [
            "producer.key=zipf",
            "producer.tombstone_ratio=0.7",
            "producer.faults.duplicate=0.1",
            "producer.faults.corrupt=0.2",
        ];
        assert_eq!(reported(&all), "");
        assert_eq!(reported(&["producer.key=message", "producer.template={\"id\":1}"]), "");
    }
}
