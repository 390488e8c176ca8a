//! The lists in the documents match the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kafka_actors::internal::checker::{AnomalySample, InjectedFaultCounts, Verdict};
use kafka_actors::internal::report::{
    ConsumeReport, ExitPosition, FaultsReport, PartitionReport, ProduceReport, REPORT_VERSION, ReplayReport, Report,
    RestartKind, RestartReport, ScheduleReport, SecurityReport, ThreadReport, WorkerReport,
};
use kafka_actors::internal::{Acks, Excluded, ExitStatus, LatencyHistogram, PartitionCounts};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folder: &Path, texts: &mut Vec<String>) {
    let mut paths = Vec::new();
    rust_files(folder, &mut paths);
    texts.extend(paths.iter().map(|path| std::fs::read_to_string(path).unwrap()));
}

/// The text between the parentheses of each call of these macros.
fn calls<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("{name}!(");
    let rest = text.match_indices(&begin).map(|(at, _)| &text[at + begin.len()..]);
    rest.map(|rest| {
        let mut depth = 1;
        let end = rest.find(|letter| {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            depth == 0
        });
        &rest[..end.unwrap_or(rest.len())]
    })
    .collect()
}

/// The `"name" =>` fields of slog's macros.
fn fields(call: &str) -> Vec<String> {
    let mut pieces: Vec<_> = call.split("\" =>").collect();
    // Removes the text after the last one.
    pieces.pop();
    pieces.into_iter().filter_map(|before| before.rsplit_once('"')).map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn every_field_of_a_log_line_is_documented() {
    let mut texts = Vec::new();
    sources(&root().join("src"), &mut texts);
    let macros = ["info", "warn", "error", "debug", "trace", "log", "o", "tell"];
    let calls = texts.iter().flat_map(|text| macros.iter().flat_map(|name| calls(text, name)));
    let used: BTreeSet<_> = calls.flat_map(fields).collect();
    assert!(used.len() > 30, "they are found: {used:?}");
    let text = std::fs::read_to_string(root().join("docs/LOGGING.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next().map(str::to_owned));
    let documented: BTreeSet<_> = rows
        .flat_map(|row| row.split(", ").map(|name| name.trim_matches(['`', ' ']).to_owned()).collect::<Vec<_>>())
        .chain(["time", "level", "message"].map(str::to_owned))
        .collect();
    assert_eq!(used, documented);
}

/// Words of the project's former language, and the words of the field that replaced them.
const DIALECT: [(&str, &str); 28] = [
    ("told", "reported, sent, logged"),
    ("hear", "receive"),
    ("heard", "received"),
    ("hears", "receives"),
    ("whoever", "the client, the caller, the operator"),
    ("nobody", "no client, no consumer"),
    ("somebody", "a client, an operator"),
    ("strangers", "untrusted input"),
    ("cautious", "isolation mode"),
    ("condemned", "poison message"),
    ("anew", "again"),
    ("stint", "session"),
    ("stints", "sessions"),
    ("lasting", "permanent"),
    ("rooms", "modules"),
    ("unheard", "a comment with the reason"),
    ("give up", "dead-letter, skip, time out, stop"),
    ("gives up", "dead-letters, skips, times out, stops"),
    ("gave up", "dead-lettered, skipped, timed out, stopped"),
    ("came of", "the result of"),
    ("what becomes", "the result"),
    ("stands still", "is stalled"),
    ("standing still", "stalled"),
    ("by hand over", "manually"),
    ("for itself", "alone"),
    ("mean trip", "average round trip"),
    ("half within", "p50"),
    ("stands by", "is a standby"),
];

fn words(text: &str) -> String {
    let separate = |letter: char| if letter.is_alphanumeric() { letter.to_ascii_lowercase() } else { ' ' };
    let words: String = text.chars().map(separate).collect();
    format!(" {} ", words.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The comments of Rust code, one text per file.
fn comments(folder: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    rust_files(&root().join(folder), &mut paths);
    let comment = |line: &str| Some(line.split_at(line.find("//")?).1.trim_start_matches(['/', '!']).to_owned());
    let of = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let comments: Vec<_> =
            text.lines().filter(|line| line.trim_start().starts_with("//")).filter_map(comment).collect();
        (path.display().to_string(), comments.join(" "))
    };
    paths.into_iter().map(of).collect()
}

#[test]
fn prose_is_written_in_the_words_of_the_field() {
    let files =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Settings.toml"].map(|name| root().join(name));
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let documents = files.into_iter().chain(pages);
    let documents = documents.map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap()));
    let code = ["src", "tests", "benches", "examples"].into_iter().flat_map(comments);
    let mut found = Vec::new();
    for (file, text) in documents.chain(code) {
        // Names of tests, settings and metrics are code.
        let prose = words(&text.split('`').step_by(2).collect::<Vec<_>>().join(" "));
        let dialect = DIALECT.iter().filter(|(word, _)| prose.contains(&format!(" {word} ")));
        found.extend(dialect.map(|(word, instead)| format!("{file}: {word:?}; write: {instead}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// A report with every field; each `Option` is `Some`, and each list has one element.
fn full_report() -> Report {
    let counts = |key: &str| BTreeMap::from([(key.to_owned(), 1)]);
    let mut latency = LatencyHistogram::default();
    latency.record_us(5);
    latency.record_signed_us(-5);
    let produce = ProduceReport {
        requested: Some(1),
        acks: Acks::All,
        acknowledged: 1,
        unacknowledged: 1,
        failed: counts("<reason>"),
        messages_per_second: 1.5,
        latency_us: latency.clone(),
        sent_latency_us: latency.clone(),
        schedule: Some(ScheduleReport { target_rate: 1.5, actual_rate: 1.5, met: true, worst_delay_us: 1 }),
        seed: 1,
        faults: FaultsReport { duplicated: 1, corrupt: 1, oversized: 1 },
        threads: vec![ThreadReport {
            producer: 0,
            sent: 1,
            acknowledged: 1,
            unacknowledged: 1,
            failed: 1,
            panic: Some(String::new()),
        }],
    };
    let (topic, text) = ("orders".to_owned(), String::new());
    let restart = RestartReport {
        kind: RestartKind::Killed,
        cause: text.clone(),
        at: text.clone(),
        uptime: 1.5,
        pid: 1,
        rss_mb: Some(1),
        out_of_memory: true,
        panicked: true,
        partitions: vec![ExitPosition {
            topic: topic.clone(),
            partition: 0,
            position: 1,
            committed: Some(1),
            in_flight: Some(1),
        }],
        log: vec![text.clone()],
    };
    let consume = ConsumeReport {
        read_only: false,
        processed: 1,
        failed: 1,
        dead_lettered: 1,
        retried: 1,
        failures: counts("<reason>"),
        messages_per_second: 1.5,
        latency_us: latency,
        latency_excluded: Excluded { older: 1, other_run: 1, corrupt: 1 },
        partitions: vec![PartitionReport {
            topic,
            partition: 0,
            worker: Some(0),
            start_offset: 0,
            position: 1,
            committed: Some(1),
            high_watermark: 1,
            lag: Some(1),
            counts: PartitionCounts { processed: 1, failed: 1, dead_lettered: 1, retried: 1, read_bytes: 1 },
            abandoned: 1,
            stopped: Some(text.clone()),
        }],
        workers: vec![WorkerReport { slot: 0, pids: vec![1], restarted: 1, restarts: vec![restart] }],
    };
    let example = AnomalySample {
        anomaly: "lost",
        run: Some(text.clone()),
        producer: Some(0),
        sequence: Some(1),
        partition: Some(0),
        offset: Some(1),
        worker: Some(0),
        pid: Some(1),
        time: Some(text.clone()),
        detail: Some(text.clone()),
    };
    let verify = Verdict {
        gaps: Some(1),
        deliberate: InjectedFaultCounts { duplicated: 1, corrupt: 1, oversized: 1 },
        examples: vec![example],
        ..Verdict::default()
    };
    Report {
        version: REPORT_VERSION,
        command: text.clone(),
        exit: ExitStatus::clean("done"),
        seconds: 1.5,
        security: SecurityReport { warnings: vec![text] },
        produce: Some(produce),
        consume: Some(consume),
        verify: Some(verify),
        replay: Some(ReplayReport {
            read: 1,
            acknowledged: 1,
            failed: counts("<reason>"),
            refused: counts("<topic>"),
            foreign: 1,
            skipped: 1,
            parked: 1,
        }),
    }
}

/// The same report without everything that can be missing or null.
fn sparse_report() -> Report {
    let mut report = full_report();
    report.security = SecurityReport::default();
    let produce = report.produce.as_mut().unwrap();
    (produce.requested, produce.schedule, produce.faults) = (None, None, FaultsReport::default());
    (produce.latency_us, produce.sent_latency_us) = Default::default();
    produce.latency_us.record_us(5);
    produce.threads[0].panic = None;
    let consume = report.consume.as_mut().unwrap();
    (consume.latency_us, consume.latency_excluded, consume.failures) = Default::default();
    let partition = &mut consume.partitions[0];
    (partition.worker, partition.committed, partition.lag, partition.stopped) = (None, None, None, None);
    let restart = &mut consume.workers[0].restarts[0];
    restart.rss_mb = None;
    (restart.partitions[0].committed, restart.partitions[0].in_flight) = (None, None);
    report.verify = Some(Verdict { examples: vec![AnomalySample::default()], ..Verdict::default() });
    report
}

/// The type of each field, by path; `null` for a field that is null.
fn fields_of(value: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Object(_) => "object",
        Value::Array(list) => return list.iter().for_each(|item| fields_of(item, &format!("{path}[]"), found)),
    };
    if !path.is_empty() {
        found.insert(path.to_owned(), kind.to_owned());
    }
    for (name, item) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        fields_of(item, &path, found);
    }
}

fn fields_of_report(report: &Report) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    fields_of(&serde_json::to_value(report).unwrap(), "", &mut found);
    found
}

/// The cells type and presence of each row of the field tables, by path.
fn documented_fields(text: &str) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [path, kind, _, meaning, present] = cells[..] else { continue };
        assert!(!meaning.is_empty(), "{row}");
        let path = path.trim_matches('`');
        let paths = match path.strip_prefix("<latency>") {
            Some(rest) => ["produce.latency_us", "produce.sent_latency_us", "consume.latency_us"]
                .map(|latency| format!("{latency}{rest}"))
                .to_vec(),
            None => vec![path.to_owned()],
        };
        for path in paths {
            let twice = found.insert(path, (kind.to_owned(), present.to_owned()));
            assert!(twice.is_none(), "twice: {row}");
        }
    }
    found
}

#[test]
fn every_field_of_the_report_is_documented() {
    let text = std::fs::read_to_string(root().join("docs/REPORT.md")).unwrap();
    assert!(text.contains(&format!("The version of this page is {REPORT_VERSION}.")));
    let documented = documented_fields(&text);
    let (full, sparse) = (fields_of_report(&full_report()), fields_of_report(&sparse_report()));
    let (names, known): (BTreeSet<_>, BTreeSet<_>) = (full.keys().collect(), documented.keys().collect());
    let missing: Vec<_> = names.difference(&known).collect();
    let unknown: Vec<_> = known.difference(&names).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "not documented: {missing:?}; documented, and not there: {unknown:?}"
    );
    for (path, kind) in &full {
        let (documented_kind, present) = &documented[path];
        let is_null = sparse.get(path).is_some_and(|kind| kind == "null");
        let expected = if is_null { format!("{kind} or null") } else { kind.clone() };
        assert_eq!(*documented_kind, expected, "the type of {path}");
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        if !sparse.contains_key(path) && (parent.is_empty() || sparse.contains_key(parent)) {
            assert_ne!(present, "always", "{path} can be missing");
        }
    }
    let kinds = text.split("## Latency percentiles").next().unwrap();
    for kind in RestartKind::ALL {
        assert!(kinds.contains(&format!("\n| `{kind}` | ")), "the kind {kind}");
    }
}

/// The names of all functions below a folder.
fn functions(folder: &str) -> Vec<String> {
    let mut texts = Vec::new();
    sources(&root().join(folder), &mut texts);
    let name = |line: &str| {
        let rest = line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?;
        rest.split(['(', '<']).next().map(str::to_owned)
    };
    texts.iter().flat_map(|text| text.lines().filter_map(name).collect::<Vec<_>>()).collect()
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/RELIABILITY.md")).unwrap();
    let known: Vec<_> = ["tests", "src"].into_iter().flat_map(functions).collect();
    let mut named = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let Some(tests) = row.trim_end_matches(['|', ' ']).rsplit(" | ").next() else { continue };
        for name in tests.split('`').skip(1).step_by(2).filter(|name| name.contains("::") || name.starts_with('…')) {
            let function = name.rsplit("::").next().unwrap_or_default();
            let (part, module) = (function.trim_matches(['…', '*']), name.split("::").next().unwrap_or_default());
            let is_known = |known: &&String| {
                if function.starts_with('…') { known.contains(part) } else { known.starts_with(part) }
            };
            assert!(known.iter().any(|known| is_known(&known)), "{name} in docs/RELIABILITY.md is no test");
            let folder = root().join("tests").join(module);
            let is_module =
                folder.is_dir() || name.contains("tests::") || name.starts_with('…') || !name.contains("::");
            assert!(is_module, "{name} in docs/RELIABILITY.md: there is no tests/{module}");
            named += 1;
        }
    }
    assert!(named > 80, "{named} tests are named");
}
