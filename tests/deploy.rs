//! What ships beside the program speaks of metrics that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kafka_actors::monitoring::metrics::text;
use serde_json::Value;

use crate::harness::exposition::{Exposition, Family};
use crate::harness::full_status::full_status;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// All metrics by the names of their samples, each with its labels and their values.
fn known() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let told = Exposition::read(&text(&full_status())).unwrap();
    let mut known = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    for sample in told.0.into_iter().flat_map(|family| family.samples) {
        let labels = known.entry(sample.name).or_default();
        for (label, value) in sample.labels {
            labels.entry(label).or_default().insert(value);
        }
    }
    // What Prometheus itself adds.
    known.entry("up".to_owned()).or_default();
    for labels in known.values_mut() {
        labels.extend(["job", "instance"].map(|label| (label.to_owned(), BTreeSet::new())));
    }
    known
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// `name{matchers}`, each name with its matchers, which may be none.
fn selectors(expression: &str) -> Vec<(&str, &str)> {
    let names = words(expression).filter(|word| word.starts_with("kafka_actors_") || *word == "up");
    names
        .map(|name| {
            let after = &expression[name.as_ptr() as usize - expression.as_ptr() as usize + name.len()..];
            let matchers =
                after.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
            (name, matchers)
        })
        .collect()
}

/// The labels that are named between parentheses behind these words.
fn grouped(expression: &str) -> Vec<&str> {
    let behind = ["by (", "without (", "on (", "ignoring (", "group_left (", "group_right ("];
    let lists = behind.iter().flat_map(|word| expression.split(word).skip(1)).filter_map(|rest| rest.split(')').next());
    lists.flat_map(words).collect()
}

/// What is wrong with an expression, and with the labels that texts beside it take from its result.
fn wrong(expression: &str, shown: &[&str]) -> Vec<String> {
    let known = known();
    let mut wrong = Vec::new();
    let mut labels = BTreeSet::new();
    for (name, matchers) in selectors(expression) {
        let Some(own) = known.get(name) else {
            wrong.push(format!("there is no {name}"));
            continue;
        };
        labels.extend(own.keys().cloned());
        for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
            let (label, rest) = matcher.split_at(matcher.find(['=', '!']).unwrap());
            let Some(values) = own.get(label) else {
                wrong.push(format!("{name} has no {label}"));
                continue;
            };
            // Only where the model itself says what there can be.
            let value = rest.trim_start_matches(['=', '!', '~']).trim_matches('"');
            if ["phase", "state"].contains(&label) && !values.contains(value) {
                wrong.push(format!("{name} has no {label} {value}"));
            }
        }
    }
    if labels.is_empty() {
        wrong.push("it has no metric".to_owned());
    }
    let used = grouped(expression).into_iter().chain(shown.iter().copied());
    wrong.extend(used.filter(|label| !labels.contains(*label)).map(|label| format!("nothing has {label}")));
    wrong
}

fn assert_right(expression: &str, shown: &[&str]) {
    let wrong = wrong(expression, shown);
    assert!(wrong.is_empty(), "{wrong:?} in {expression}");
}

/// What stands between `{{` and `}}`.
fn templates(text: &str) -> Vec<&str> {
    text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).map(str::trim).collect()
}

#[test]
fn alerts_watch_metrics_that_are_there_and_say_what_to_do() {
    let text = file("deploy/prometheus-alerts.yml");
    let alerts: Vec<_> = text.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 8);
    for alert in alerts {
        let value = |key: &str| {
            let line = alert.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {key} in {alert}"))
        };
        let (summary, description) = (value("summary"), value("description"));
        assert!(summary.len() > 20 && description.len() > 80, "{alert}");
        assert!(["warning", "critical"].contains(&value("severity")), "{alert}");
        let shown = [templates(summary), templates(description)].concat();
        let labels: Vec<_> = shown.iter().filter_map(|shown| shown.strip_prefix("$labels.")).collect();
        assert!(shown.iter().all(|shown| shown.starts_with("$labels.") || *shown == "$value"), "{alert}");
        assert_right(value("expr"), &labels);
        // What is grouped away cannot be shown.
        let by = grouped(value("expr"));
        assert!(by.is_empty() || labels.iter().all(|label| by.contains(label)), "{alert}");
        for name in words(description).filter(|word| word.starts_with("kafka_actors_")) {
            assert_right(name, &[]);
        }
    }
}

#[test]
fn the_causes_that_alerts_leave_out_are_causes() {
    let text = file("deploy/prometheus-alerts.yml");
    let causes = text.split("cause!~\"").nth(1).unwrap().split('"').next().unwrap();
    let code = file("src/consumer/supervisor/death.rs");
    assert_eq!(causes.split('|').count(), 6);
    for cause in causes.split('|') {
        assert!(code.contains(&format!("=> \"{cause}\",")), "{cause}");
    }
}

#[test]
fn the_dashboard_shows_metrics_that_are_there_of_any_prometheus() {
    let board: Value = serde_json::from_str(&file("deploy/grafana-dashboard.json")).unwrap();
    assert!(board["uid"].is_string() && board["id"].is_null());
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut used = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{expression}");
            assert_right(expression, &templates(target["legendFormat"].as_str().unwrap()));
            used.extend(selectors(expression).into_iter().map(|(name, _)| name.to_owned()));
        }
    }
    let variables = board["templating"]["list"].as_array().unwrap();
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        let query = variable["query"]["query"].as_str().unwrap();
        selectors(query).iter().for_each(|(name, _)| assert_right(name, &[]));
        let label = query.rsplit(", ").next().unwrap().trim_end_matches(')');
        let has = |(name, _): &(&str, &str)| known()[*name].contains_key(label);
        assert!(selectors(query).iter().all(has), "{query}");
        assert_eq!(variable["datasource"]["uid"], "${datasource}");
    }
    // A metric that nobody looks at is one that was forgotten here.
    let known = known();
    let shown =
        |name: &&String| used.contains(*name) || ["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
    let unseen: Vec<_> = known.keys().filter(|name| !shown(name)).map(String::as_str).collect();
    let left_out =
        ["consume_info", "consume_partitions", "consume_partitions_summed", "phase", "produce_requested_messages"];
    let left_out = left_out.map(|name| format!("kafka_actors_{name}"));
    assert_eq!(unseen, [left_out.as_slice(), &["up".to_owned()]].concat());
}

#[test]
fn the_table_of_metrics_is_what_the_program_tells() {
    let told = Exposition::read(&text(&full_status())).unwrap();
    let row = |family: &Family| {
        let labels: BTreeSet<_> = family.samples.iter().flat_map(|sample| sample.labels.keys()).collect();
        let labels: Vec<_> =
            labels.into_iter().filter(|label| *label != "le").map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
        format!("| `{}` | {} | {} | {} |", family.name, family.kind, labels, family.help)
    };
    let told: Vec<_> = told.0.iter().map(row).collect();
    let document = file("docs/MONITORING.md");
    let documented: Vec<_> = document.lines().filter(|line| line.starts_with("| `kafka_actors_")).collect();
    assert_eq!(documented, told, "it should be\n{}", told.join("\n"));
}

/// The checks above find what they are there for.
#[test]
fn an_expression_with_a_wrong_name_or_label_is_found() {
    let right = "sum by (topic, le) (rate(kafka_actors_produce_acknowledgement_seconds_bucket{job=~\"$job\"}[5m]))";
    assert!(wrong(right, &["topic"]).is_empty());
    for (from, to, told) in [
        ("acknowledgement", "acknowledging", "there is no kafka_actors_produce_acknowledging_seconds_bucket"),
        ("by (topic", "by (topics", "nothing has topics"),
        ("{job", "{jobs", "kafka_actors_produce_acknowledgement_seconds_bucket has no jobs"),
        ("kafka_actors_", "", "it has no metric"),
    ] {
        assert!(wrong(&right.replace(from, to), &[]).contains(&told.to_owned()), "{told}");
    }
    assert_eq!(wrong(right, &["partition"]), ["nothing has partition"]);
    assert_eq!(wrong("kafka_actors_phase{phase=\"asleep\"}", &[]), ["kafka_actors_phase has no phase asleep"]);
}
