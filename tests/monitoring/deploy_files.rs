//! The deployment files use only metrics that the program has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kafka_actors::internal::metrics::text;
use kafka_actors::internal::report::RestartKind;
use serde_json::Value;

use crate::harness::exposition::{Exposition, Family};
use crate::harness::full_status::full_status;
use crate::harness::program::kafka_actors;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// All metrics by the names of their samples, each with its labels and their values.
fn known() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let reported = Exposition::read(&text(&full_status())).unwrap();
    let mut known = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    for sample in reported.0.into_iter().flat_map(|family| family.samples) {
        let labels = known.entry(sample.name).or_default();
        for (label, value) in sample.labels {
            labels.entry(label).or_default().insert(value);
        }
    }
    // Prometheus itself adds this metric.
    known.entry("up".to_owned()).or_default();
    for labels in known.values_mut() {
        labels.extend(["job", "instance"].map(|label| (label.to_owned(), BTreeSet::new())));
    }
    known
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The names of `name{matchers}`, each with its matchers, which may be empty.
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

/// The labels between the parentheses after these keywords.
fn grouped(expression: &str) -> Vec<&str> {
    let behind = ["by (", "without (", "on (", "ignoring (", "group_left (", "group_right ("];
    let lists = behind.iter().flat_map(|word| expression.split(word).skip(1)).filter_map(|rest| rest.split(')').next());
    lists.flat_map(words).collect()
}

/// The errors in an expression, and in the labels that adjacent texts use from its result.
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
            // Checks values only where the model defines the possible ones.
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

/// The texts between `{{` and `}}`.
fn templates(text: &str) -> Vec<&str> {
    text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).map(str::trim).collect()
}

/// On several hosts the unit has to share the group; otherwise all hosts except one would be refused.
#[test]
fn the_unit_shares_the_group_among_hosts_and_its_settings_hold() {
    let unit = file("deploy/kafka-actors.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/kafka-actors ")).unwrap();
    let words: Vec<_> = command.split(' ').collect();
    assert_eq!(words[..2], ["--config", "/etc/kafka-actors/Settings.toml"]);
    assert_eq!(words[2..], ["consume", "--assignment", "group"]);
    kafka_actors("config check --set consumer.assignment=group").run().expect(0);
    // The unit waits for an outage of any length.
    let variable = unit.lines().find_map(|line| line.strip_prefix("Environment=")).unwrap();
    let (name, value) = variable.split_once('=').unwrap();
    let shown = kafka_actors("config show --origin").env(name, value).run().expect(0).stdout;
    let line = shown.lines().find(|line| line.starts_with("kafka.connect_timeout")).unwrap();
    assert!(line.contains("\"0s\"") && line.contains(name), "{line}");
    // The unit documents the option for a host that has to wait.
    assert!(unit.contains("--wait"));
    kafka_actors("config check --set consumer.wait_for_lock=true").run().expect(0);
    kafka_actors("config check --set consumer.wait_for_lock=true --set consumer.assignment=group")
        .run()
        .expect(2)
        .reports("has no lock to wait for");
}

#[test]
fn alerts_use_metrics_that_exist_and_state_what_to_do() {
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
        // Labels that the aggregation removes cannot be shown.
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
    let known = RestartKind::ALL.map(|kind| kind.to_string());
    assert_eq!(causes.split('|').count(), 6);
    for cause in causes.split('|') {
        assert!(known.iter().any(|kind| kind == cause), "{cause}");
    }
}

#[test]
fn the_dashboard_shows_metrics_that_are_there_of_any_prometheus() {
    let registry: Value = serde_json::from_str(&file("deploy/grafana-dashboard.json")).unwrap();
    assert!(registry["uid"].is_string() && registry["id"].is_null());
    let panels = registry["panels"].as_array().unwrap();
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
    let variables = registry["templating"]["list"].as_array().unwrap();
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        let query = variable["query"]["query"].as_str().unwrap();
        selectors(query).iter().for_each(|(name, _)| assert_right(name, &[]));
        let label = query.rsplit(", ").next().unwrap().trim_end_matches(')');
        let has = |(name, _): &(&str, &str)| known()[*name].contains_key(label);
        assert!(selectors(query).iter().all(has), "{query}");
        assert_eq!(variable["datasource"]["uid"], "${datasource}");
    }
    // A metric that no dashboard or alert uses was forgotten in these files.
    let known = known();
    let shown =
        |name: &&String| used.contains(*name) || ["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
    let unseen: Vec<_> = known.keys().filter(|name| !shown(name)).map(String::as_str).collect();
    let left_out = [
        "consumer_info",
        "consumer_partitions",
        "consumer_partitions_aggregated",
        "phase",
        "producer_requested_messages",
    ];
    let left_out = left_out.map(|name| format!("kafka_actors_{name}"));
    assert_eq!(unseen, [left_out.as_slice(), &["up".to_owned()]].concat());
}

#[test]
fn the_table_of_metrics_is_what_the_program_tells() {
    let reported = Exposition::read(&text(&full_status())).unwrap();
    let row = |family: &Family| {
        let labels: BTreeSet<_> = family.samples.iter().flat_map(|sample| sample.labels.keys()).collect();
        let labels: Vec<_> =
            labels.into_iter().filter(|label| *label != "le").map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
        format!("| `{}` | {} | {} | {} |", family.name, family.kind, labels, family.help)
    };
    let reported: Vec<_> = reported.0.iter().map(row).collect();
    let document = file("docs/MONITORING.md");
    let documented: Vec<_> = document.lines().filter(|line| line.starts_with("| `kafka_actors_")).collect();
    assert_eq!(documented, reported, "it should be\n{}", reported.join("\n"));
}

/// The checks above detect each kind of error.
#[test]
fn an_expression_with_a_wrong_name_or_label_is_found() {
    let right = "sum by (topic, le) (rate(kafka_actors_producer_acknowledgement_seconds_bucket{job=~\"$job\"}[5m]))";
    assert!(wrong(right, &["topic"]).is_empty());
    for (from, to, reported) in [
        ("acknowledgement", "acknowledging", "there is no kafka_actors_producer_acknowledging_seconds_bucket"),
        ("by (topic", "by (topics", "nothing has topics"),
        ("{job", "{jobs", "kafka_actors_producer_acknowledgement_seconds_bucket has no jobs"),
        ("kafka_actors_", "", "it has no metric"),
    ] {
        assert!(wrong(&right.replace(from, to), &[]).contains(&reported.to_owned()), "{reported}");
    }
    assert_eq!(wrong(right, &["partition"]), ["nothing has partition"]);
    assert_eq!(wrong("kafka_actors_phase{phase=\"asleep\"}", &[]), ["kafka_actors_phase has no phase asleep"]);
}
