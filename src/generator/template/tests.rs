use std::collections::{BTreeMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const THREADS: usize = 3;

fn generate(template: &Template, messages: u64) -> Vec<MessageBuffer> {
    let one = |sequence| {
        let mut message = MessageBuffer::default();
        template
            .clone()
            .generate(&MessageContext { producer: 1, producers: THREADS, sequence, due_us: 0 }, &mut message)
            .unwrap();
        message
    };
    (0..messages).map(one).collect()
}

fn texts(template: &str, messages: u64) -> Vec<String> {
    let template = Template::new(template, None, 7).unwrap();
    generate(&template, messages).into_iter().map(|message| String::from_utf8(message.payload).unwrap()).collect()
}

fn values(template: &str, messages: u64) -> Vec<Value> {
    texts(template, messages).iter().map(|text| serde_json::from_str(text).expect(text)).collect()
}

fn error_of(template: &str) -> String {
    Template::new(template, None, 0).unwrap_err().to_string()
}

#[test]
fn what_is_no_field_stands_as_it_is_written() {
    let template = r#" { "z" : [ 1.50, -0, "ä\u00e4\n", null ], "a": {}, "$$price": true, "e": [ ] } "#;
    assert_eq!(texts(template, 1), [r#"{"z":[1.50,-0,"ä\u00e4\n",null],"a":{},"$price":true,"e":[]}"#]);
    assert_eq!(texts("7", 1), ["7"]);
}

#[test]
fn a_sequence_is_unique_over_all_threads() {
    assert_eq!(texts(r#"{"$sequence": {}}"#, 3), ["1", "4", "7"]);
    assert_eq!(texts(r#"{"$sequence": {}, "start": 100, "step": -10}"#, 3), ["90", "60", "30"]);
    let most = format!(r#"{{"$sequence": {{}}, "start": {0}, "step": {0}}}"#, i64::MAX);
    assert_eq!(texts(&most, 2)[1], (i128::from(i64::MAX) * 5).to_string());
}

#[test]
fn ranges_are_met_to_both_ends() {
    let integers: HashSet<i64> =
        values(r#"{"$integer": [-2, 3]}"#, 500).iter().map(|value| value.as_i64().unwrap()).collect();
    assert_eq!(integers, (-2..=3).collect());
    values(&format!(r#"{{"$integer": [{}, {}]}}"#, i64::MIN, i64::MAX), 10);
    for value in values(r#"{"$float": [-1.5, 2]}"#, 500) {
        assert!((-1.5..=2.0).contains(&value.as_f64().unwrap()), "{value}");
    }
    let decimals: HashSet<String> = texts(r#"{"$float": [-0.1, 0.1], "digits": 2}"#, 2_000).into_iter().collect();
    assert_eq!(decimals.len(), 21, "{decimals:?}");
    for text in ["-0.10", "-0.01", "0.00", "0.09", "0.10"] {
        assert!(decimals.contains(text), "{text} of {decimals:?}");
    }
    assert_eq!(texts(r#"{"$float": [1.005, 1.005], "digits": 5}"#, 1), ["1.00500"]);
    assert_eq!(texts(r#"{"$float": [4, 4], "digits": 0}"#, 1), ["4"]);
}

#[test]
fn a_choice_has_its_weights_and_holds_anything() {
    let template = r#"{"$choice": ["a", {"b": {"$integer": [1, 1]}}, null], "weights": [6, 3, 1]}"#;
    let mut counts = BTreeMap::new();
    values(template, 10_000).iter().for_each(|value| *counts.entry(value.to_string()).or_insert(0) += 1);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["\"a\"", "null", "{\"b\":1}"]);
    // Five standard deviations are 250.
    for (text, expected) in [("\"a\"", 6_000_i32), ("{\"b\":1}", 3_000), ("null", 1_000)] {
        assert!((counts[text] - expected).abs() < 250, "{counts:?}");
    }
    let alike = values(r#"{"$choice": [1, 2]}"#, 10_000);
    let ones = alike.iter().filter(|value| **value == json!(1)).count();
    assert!((4_750..5_250).contains(&ones), "{ones}");
}

#[test]
fn texts_are_as_documented() {
    let uuids: HashSet<String> = texts(r#"{"$uuid": {}}"#, 100).into_iter().collect();
    assert_eq!(uuids.len(), 100);
    assert!(uuids.iter().all(|text| text.len() == 38 && text.as_bytes()[15] == b'4'), "{uuids:?}");
    for value in values(r#"{"$word": {}, "min": 2, "max": 4}"#, 100) {
        assert!((2..=4).contains(&value.as_str().unwrap().split(' ').count()), "{value}");
    }
    assert!(values(r#"{"$bytes": 101}"#, 10).iter().all(|value| value.as_str().unwrap().len() == 101));
    let lengths: HashSet<usize> =
        values(r#"{"$bytes": [0, 3]}"#, 200).iter().map(|value| value.as_str().unwrap().len()).collect();
    assert_eq!(lengths, HashSet::from([0, 1, 2, 3]));
    for value in values(r#"{"$pattern": "[\"\\\\\\n\\x01ä]{9}|\\d"}"#.replace('ä', "").as_str(), 50) {
        assert!(matches!(value.as_str().unwrap().len(), 1 | 9), "{value}");
    }
    let truths = values(r#"{"$boolean": 0.9}"#, 10_000).iter().filter(|value| **value == json!(true)).count();
    assert!((8_850..9_150).contains(&truths), "{truths}");
}

#[test]
fn times_are_now() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let near = |seconds: u64| (now..now + 60).contains(&seconds);
    assert!(near(values(r#"{"$timestamp": "ms"}"#, 1)[0].as_u64().unwrap() / 1_000));
    assert!(near(values(r#"{"$timestamp": "us"}"#, 1)[0].as_u64().unwrap() / 1_000_000));
    let text = values(r#"{"$timestamp": "rfc3339"}"#, 1)[0].as_str().unwrap().to_owned();
    let time = humantime::parse_rfc3339(&text).unwrap().duration_since(UNIX_EPOCH).unwrap();
    assert!(near(time.as_secs()), "{text}");
}

#[test]
fn a_seed_gives_the_same_messages_again() {
    let template = r#"[{"$uuid":{}},{"$word":{},"count":3},{"$pattern":"\\w+"},{"$float":[0,1]},{"$choice":[1,2,3]},{"$bytes":20}]"#;
    let with = |seed| generate(&Template::new(template, None, seed).unwrap(), 50);
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    let [first, second, ..] = &with(1)[..] else { panic!() };
    assert_ne!(first, second);
}

#[test]
fn a_member_is_the_key_without_parsing() {
    let key = |template: &str| generate(&Template::new(template, Some("id"), 7).unwrap(), 1).remove(0).key;
    assert_eq!(key(r#"{"a": 1, "id": {"$sequence": {}}}"#).unwrap(), b"1");
    assert_eq!(key(r#"{"id": "a\"b", "x": {"id": 2}}"#).unwrap(), b"a\"b");
    assert_eq!(key(r#"{"id": null}"#), None);
    assert_eq!(key(r#"{"$choice": [{"id": 5}]}"#).unwrap(), b"5");
    assert_eq!(key(r#"{"x": {"id": 2}}"#), None);
    assert!(!Template::new(r#"{"x": {"id": 2}}"#, Some("id"), 7).unwrap().has_key());
    assert!(!Template::new(r#"{"id": 2}"#, None, 7).unwrap().has_key());
}

#[test]
fn an_error_names_its_path() {
    let error_at = |field: &str| error_of(&format!(r#"{{"order": {{"items": [0, {{"price": {field}}}]}}}}"#));
    let cases = [
        (r#"{"$integer": [5, 1]}"#, "$integer takes two whole numbers of 64 bits, the smaller first, such as [1, 100]"),
        (
            r#"{"$integer": [1.5, 2]}"#,
            "$integer takes two whole numbers of 64 bits, the smaller first, such as [1, 100]",
        ),
        (r#"{"$float": [1]}"#, "$float takes two numbers, the smaller first, such as [0, 1]"),
        (r#"{"$float": [0, 1], "digits": 16}"#, "digits = 16; allowed: 0 to 15"),
        (r#"{"$float": [0, 1e300], "digits": 2}"#, "with 2 digits, only numbers up to 90071992547409.92 are exact"),
        (r#"{"$float": [0, 1], "digit": 1}"#, "$float has no option \"digit\"; its options: digits"),
        (r#"{"$uuid": {}, "a": 1}"#, "$uuid has no option \"a\"; its options: none"),
        (r#"{"$uuid": 4}"#, "$uuid takes {}; its options are members beside it"),
        (r#"{"$timestamp": "s"}"#, "$timestamp takes \"rfc3339\", \"ms\" or \"us\""),
        (r#"{"$choice": []}"#, "$choice takes an array of at least one value"),
        (r#"{"$choice": [1, 2], "weights": [1]}"#, "weights must have 2 numbers, one for each value, not 1"),
        (r#"{"$choice": [1, 2], "weights": [0, 0]}"#, "weights must be numbers, 0 or more, and not all 0"),
        (
            r#"{"$choice": [1, 2], "weights": "1"}"#,
            "weights must be an array of numbers, one for each value, not \"1\"",
        ),
        (r#"{"$word": {}, "min": 2}"#, "$word takes either count, or min and max"),
        (r#"{"$word": {}, "count": 0}"#, "$word takes 1 to 10000 words, min not above max"),
        (r#"{"$pattern": "a("}"#, "\"a(\" is no regular expression: unclosed group"),
        (
            r#"{"$bytes": [2, 1]}"#,
            "$bytes takes a number of characters, 0 to 10000000, or two such numbers, the smaller first",
        ),
        (r#"{"$boolean": 1.5}"#, "$boolean takes the probability of true, 0 to 1"),
        (r#"{"$sequence": {}, "step": 0}"#, "step must not be 0: every number would be the same"),
        (
            r#"{"$uuid": {}, "$word": {}}"#,
            "an object is one field: only one name may begin with $ ($$ stands for a plain $)",
        ),
        (r#"{"a": 1, "a": 2}"#, "duplicate member \"a\""),
    ];
    for (field, expected) in cases {
        assert_eq!(error_at(field), format!("order.items[1].price = {field}: {expected}"));
    }
    assert!(
        error_at(r#"{"$integr": [1, 2]}"#)
            .contains("there is no field $integr; did you mean $integer? All: $sequence, ")
    );
    assert_eq!(error_of(r#"{"a": {"$choice": [1, {"$uuid": 1}]}}"#).split(" = ").next().unwrap(), "a.$choice[1]");
    assert_eq!(error_of(r#"{"$uuid": 1}"#), "{\"$uuid\": 1}: $uuid takes {}; its options are members beside it");
    assert_eq!(error_of("{\"a\": }"), "this is not JSON: expected value at line 1 column 7");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(error_of(&deep).ends_with("more than 128 nested arrays and objects"));
}

/// JSON with the names of fields and options, and numbers at the ends of their ranges.
fn templates() -> impl Strategy<Value = Value> {
    let numbers = prop::sample::select(vec![
        json!(0),
        json!(1),
        json!(-1),
        json!(16),
        json!(1e308),
        json!(-0.5),
        json!(10_001),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
    ]);
    let texts = prop::sample::select(vec![
        "",
        "ms",
        "rfc3339",
        "a{9}",
        "(a|b)*",
        "[^a]",
        "(",
        "\\d{1000000000}",
        "$a",
        "ä\"\\\u{1}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        numbers,
        texts.prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "$sequence",
        "$uuid",
        "$timestamp",
        "$integer",
        "$float",
        "$choice",
        "$word",
        "$pattern",
        "$bytes",
        "$boolean",
        "$",
        "$$",
        "id",
        "a",
        "start",
        "step",
        "digits",
        "weights",
        "count",
        "min",
        "max",
    ]);
    leaf.prop_recursive(5, 24, 3, move |inner| {
        let object = prop::collection::vec((names.clone(), inner.clone()), 0..3);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            object.prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// Either the template is rejected, or every message is JSON, up to the last sequence number.
fn compiles(text: &str) -> Result<(), TestCaseError> {
    let Ok(mut template) = Template::new(text, Some("id"), 1) else { return Ok(()) };
    for sequence in [0, 1, u64::MAX] {
        let source = MessageContext { producer: usize::MAX, producers: usize::MAX, sequence, due_us: u64::MAX };
        let mut message = MessageBuffer::default();
        template.generate(&source, &mut message).unwrap();
        prop_assert!(serde_json::from_slice::<Value>(&message.payload).is_ok(), "{}", text);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_breaks_the_compiler(
        name in "\\$?[a-z]{0,9}", argument in "[\\[\\]{}\",:0-9a-z$. -]{0,30}", any: String, pattern: String,
        start: i64, step: i64,
    ) {
        compiles(&json!({"$sequence": {}, "start": start, "step": step}).to_string())?;
        compiles(&format!("{{\"a\":{{\"{name}\":{argument}}}}}"))?;
        compiles(&json!({"$pattern": pattern}).to_string())?;
        compiles(&any)?;
    }

    #[test]
    fn no_fields_break_the_compiler(template in templates()) {
        compiles(&template.to_string())?;
    }
}
