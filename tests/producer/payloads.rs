//! The produced messages: `produce --dry-run` shows them without a broker; the embedded broker stores them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::program::{Program, kafka_actors};

/// Produces with stamps, unless the arguments disable them.
fn stamped(arguments: &str) -> Program {
    kafka_actors(arguments).env("KAFKA_ACTORS__PRODUCER__STAMP", "true")
}

fn messages(program: Program) -> Vec<Value> {
    let ended = program.run().expect(0);
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn dry_run(arguments: &str) -> Vec<Value> {
    messages(stamped(&format!("produce {arguments}")))
}

const TEMPLATE: &str = r#"{"id": {"$sequence": {}}, "customer": {"$uuid": {}}, "amount": {"$float": [1, 99], "digits": 2},
    "state": {"$choice": ["new", "paid", "sent"], "weights": [6, 3, 1]}, "note": {"$word": {}, "min": 1, "max": 9}}"#;

/// A line without the fields that differ between runs: the time and the run in the stamp.
fn without_stamp(mut message: Value) -> Value {
    if let Some(object) = message.get_mut("value").and_then(Value::as_object_mut) {
        object.remove("_stamp").expect("every message is stamped");
    }
    if let Some(headers) = message.get_mut("headers").and_then(Value::as_array_mut) {
        headers.retain(|header| header[0] != "_stamp");
    }
    message
}

#[test]
fn it_shows_so_many_messages_and_the_threads_take_turns() {
    let shown = dry_run("--threads 3 --dry-run 7");
    let places: Vec<_> =
        shown.iter().map(|message| (message["producer"].as_u64(), message["sequence"].as_u64())).collect();
    let expected = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)];
    assert_eq!(places, expected.map(|(producer, sequence)| (Some(producer), Some(sequence))));
    assert_eq!(shown[4]["value"]["text"], "message 1 of producer 1");
    assert_eq!(shown[4]["value"]["_stamp"].as_str().unwrap().len(), 40);
    assert!(dry_run("--dry-run 1 --set producer.stamp=false")[0]["value"].get("_stamp").is_none());
    assert_eq!(dry_run("--dry-run 0").len(), 0);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let run = |seed: u64| {
        let arguments = format!(
            "produce --template-file order.json --seed {seed} --size 250..400 --key zipf --dry-run 400 \
             --set producer.tombstone_ratio=0.1 --set producer.faults.duplicate=0.1 --set producer.faults.corrupt=0.1"
        );
        let shown = messages(stamped(&arguments).file("order.json", TEMPLATE));
        shown.into_iter().map(without_stamp).map(|message| message.to_string()).collect::<Vec<_>>()
    };
    let first = run(11);
    assert_eq!(first, run(11));
    assert_ne!(first, run(12));
    assert_ne!(run(0), run(0), "0 is another seed each time");
}

#[test]
fn other_keys_do_not_change_the_payloads() {
    let values = |key: &str| {
        let arguments = format!("produce --template-file order.json --seed 3 --key {key} --dry-run 50");
        let shown = messages(stamped(&arguments).file("order.json", TEMPLATE)).into_iter().map(without_stamp);
        shown.map(|message| message["value"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(values("none"), values("uniform"));
}

#[test]
fn sizes_are_kept_stamp_included() {
    let lengths = |arguments: &str| {
        let shown = stamped(&format!("produce {arguments}")).file("order.json", TEMPLATE).run().expect(0).stdout;
        let length = |line: &str| {
            let start = line.find("\"value\":").unwrap() + "\"value\":".len();
            line.len() - start - 1
        };
        shown.lines().map(length).collect::<BTreeSet<_>>()
    };
    assert_eq!(lengths("--size 200 --dry-run 100"), BTreeSet::from([200]));
    assert_eq!(lengths("--size 400 --dry-run 100 --template-file order.json"), BTreeSet::from([400]));
    assert_eq!(lengths("--size 300 --dry-run 100 --set producer.stamp=false"), BTreeSet::from([300]));
    let between = lengths("--size 300..350 --dry-run 2000");
    assert_eq!(between, (300..=350).collect());
    assert!(lengths("--size 10 --dry-run 10").iter().all(|length| *length > 100), "what is larger stays");
}

#[test]
fn zipf_is_skewed_and_uniform_is_not() {
    let counts = |key: &str| {
        let mut counts = BTreeMap::new();
        for message in dry_run(&format!("--seed 5 --key {key} --dry-run 4000 --set producer.key_cardinality=100")) {
            *counts.entry(message["key"].as_str().unwrap().to_owned()).or_insert(0_u32) += 1;
        }
        counts
    };
    let uniform = counts("uniform");
    assert_eq!(uniform.len(), 100);
    assert!(uniform.values().all(|count| (10..90).contains(count)), "{uniform:?}");
    // 1 + 1/2 + … + 1/100 = 5.19: of 4,000 messages 771 have the first key, 77 the tenth.
    let zipf = counts("zipf");
    assert!((650..900).contains(&zipf["key-0"]) && (40..120).contains(&zipf["key-9"]), "{zipf:?}");
}

#[test]
fn keys_come_from_the_templates_member() {
    let arguments =
        "produce --template-file t.json --key message --set producer.key_field=name --dry-run 2 --threads 2";
    let shown = messages(stamped(arguments).file("t.json", r#"{"name": {"$choice": ["a\"b"]}, "id": 1}"#));
    assert_eq!((&shown[0]["key"], &shown[0]["value"]["name"]), (&"a\"b".into(), &"a\"b".into()));
    let ended = stamped(arguments).file("t.json", "{\"id\": 1}").run().expect(2);
    assert!(
        ended.reason().contains("producer.key_field = name (--set) and producer.template_file"),
        "{}",
        ended.reason()
    );
}

#[test]
fn ratios_are_met_and_headers_are_there() {
    let shown = dry_run(
        "--seed 9 --key uniform --dry-run 4000 --set producer.headers=a=1,b=x=y --set producer.tombstone_ratio=0.2 \
         --set producer.faults.duplicate=0.1 --set producer.faults.corrupt=0.05 --set producer.faults.oversized=0.025 \
         --set producer.faults.oversized_bytes=2000",
    );
    let count = |fault: &str| shown.iter().filter(|message| message["fault"] == fault).count();
    assert_eq!(shown.len(), 4_000 + count("duplicate"));
    // Five standard deviations of the largest are 126.
    let near = |count: usize, expected: usize| assert!(count.abs_diff(expected) < 130, "{count} instead of {expected}");
    near(count("duplicate"), 400);
    near(count("corrupt"), 200);
    near(count("oversized"), 100);
    near(shown.iter().filter(|message| message.get("value").is_some_and(Value::is_null)).count(), 800);
    for message in &shown {
        let headers = message["headers"].as_array().unwrap();
        assert_eq!(headers[..2], [serde_json::json!(["a", "1"]), serde_json::json!(["b", "x=y"])]);
        let stamped = message["value"].get("_stamp").is_some() || headers.iter().any(|header| header[0] == "_stamp");
        assert!(stamped, "{message}");
        match message["fault"].as_str() {
            Some("corrupt") => assert!(message["value_text"].is_string(), "{message}"),
            Some("oversized") => assert_eq!(message["value"].to_string().len(), 2_000),
            _ => assert!(message["value"].is_object() || message["value"].is_null(), "{message}"),
        }
    }
    let pairs: Vec<_> = shown.windows(2).filter(|pair| pair[1]["fault"] == "duplicate").collect();
    assert!(
        pairs.iter().all(|pair| without_stamp(pair[0].clone())["value"] == without_stamp(pair[1].clone())["value"])
    );
}

#[test]
fn lines_of_a_file_are_sent_in_turn() {
    let program = stamped("produce --lines-file lines --threads 2 --dry-run 7");
    let shown = messages(program.file("lines", "{\"n\":1}\nplain\n[3]\n"));
    let text = |message: &Value| {
        let message = without_stamp(message.clone());
        message.get("value").or(message.get("value_text")).unwrap().to_string()
    };
    let texts: Vec<_> = shown.iter().map(text).collect();
    assert_eq!(texts, ["{\"n\":1}", "\"plain\"", "[3]", "{\"n\":1}", "\"plain\"", "[3]", "{\"n\":1}"]);
    stamped("produce --lines-file lines --dry-run 1").file("lines", "").run().expect(2).reports("is empty");
}

#[test]
fn a_bad_template_is_reported_with_its_place() {
    let template = r#"{"order": {"items": [1, 2, {"price": {"$integer": [9, 1]}}]}}"#;
    let ended = stamped("produce --template-file t.json").file("t.json", template).run().expect(2);
    let expected = "producer.template_file = t.json (--template-file): order.items[2].price = {\"$integer\": [9, 1]}: $integer takes";
    assert!(ended.reason().starts_with(expected), "{}", ended.reason());
    let ended = stamped("config check --set").arg("producer.template={\"a\": ").run().expect(2);
    assert!(ended.reason().contains("this is not JSON: EOF"), "{}", ended.reason());
}

#[test]
fn second_copies_are_sent_and_counted() {
    let faults = "--set producer.seed=4 --set producer.faults.duplicate=0.2 --set producer.faults.corrupt=0.1";
    let ended = stamped(&format!("demo --rate 0 --messages-per-thread 250 --set consumer.processor=count {faults}"));
    let ended = ended.run().expect(0);
    let produce = &ended.report["produce"];
    let duplicated = produce["faults"]["duplicated"].as_u64().unwrap();
    assert!((120..280).contains(&duplicated), "{produce}");
    assert!((50..150).contains(&produce["faults"]["corrupt"].as_u64().unwrap()), "{produce}");
    assert_eq!((produce["requested"].as_u64(), produce["seed"].as_u64()), (Some(1_000), Some(4)));
    assert_eq!((ended.acknowledged(), ended.processed()), (1_000 + duplicated, 1_000 + duplicated));
}

#[test]
fn oversized_messages_fail_with_their_reason() {
    let ended = stamped("demo --rate 0 --messages-per-thread 50 --set producer.faults.oversized=0.1").run().expect(1);
    let produce = &ended.report["produce"];
    let oversized = produce["faults"]["oversized"].as_u64().unwrap();
    let failed: Vec<_> = produce["failed"].as_object().unwrap().iter().collect();
    assert!(failed.len() == 1 && failed[0].1.as_u64() == Some(oversized) && oversized > 0, "{produce}");
    assert_eq!(ended.acknowledged(), 200 - oversized);
    assert!(ended.reason().contains(failed[0].0.as_str()), "{}", ended.reason());
}
