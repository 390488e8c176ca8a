//! Checks the rules of the source layout: dependencies point in one direction, and each library is used in one module only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Files below `src`, each with its code without comments.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), code.join("\n"))
    };
    found.into_iter().map(read).collect()
}

/// Whether `word` occurs in `code` at the start of an identifier: `nix::` does not match in `unix::`, and a module of this crate
/// does not count as a library.
fn has(code: &str, word: &str) -> bool {
    let part_of_name = |before: &str| {
        before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            || (!word.starts_with("crate") && before.ends_with("crate::"))
    };
    code.match_indices(word).any(|(at, _)| !part_of_name(&code[..at]))
}

/// Asserts that no file of `rooms` contains `word`.
fn nowhere(word: &str, rooms: impl Fn(&str) -> bool) {
    let guilty: Vec<_> =
        code().into_iter().filter(|(file, code)| rooms(file) && has(code, word)).map(|(file, _)| file).collect();
    assert!(guilty.is_empty(), "{word:?} stands in {guilty:?}");
}

#[test]
fn each_library_has_one_room() {
    nowhere("rdkafka::", |file| !file.starts_with("kafka/"));
    nowhere("nix::", |file| !file.starts_with("os/"));
    nowhere("rustix::", |file| !file.starts_with("os/"));
    nowhere("clap::", |file| !file.starts_with("cli/") && !file.starts_with("app/"));
    nowhere("config::", |file| !file.starts_with("settings/") && !file.starts_with("kafka/"));
    for library in ["axum::", "hyper::", "prometheus::", "sd_notify::"] {
        nowhere(library, |file| !file.starts_with("monitoring/"));
    }
    nowhere("ratatui::", |file| !file.starts_with("top/"));
    for library in ["indicatif::", "console::"] {
        nowhere(library, |file| !file.starts_with("progress/") && file != "console.rs");
    }
}

#[test]
fn kafka_knows_no_actor() {
    nowhere("actix", |file| file.starts_with("kafka/") || file.starts_with("os/") || file.starts_with("settings/"));
}

#[test]
fn dependencies_point_one_way() {
    nowhere("crate::consumer", |file| file.starts_with("producer/"));
    nowhere("crate::producer", |file| file.starts_with("consumer/"));
    nowhere("consumer::worker", |file| file.starts_with("consumer/supervisor/"));
    nowhere("consumer::supervisor", |file| file.starts_with("consumer/worker/"));
    // All layers use the files at the top of `src`.
    nowhere("crate::app", |file| !file.starts_with("app/") && file != "main.rs" && file != "lib.rs");
    for above in ["crate::consumer", "crate::producer", "crate::app", "crate::verify", "crate::cli"] {
        nowhere(above, |file| {
            ["kafka/", "os/", "util/", "processor/", "monitoring/", "top/"].iter().any(|room| file.starts_with(room))
        });
    }
    nowhere("crate::settings", |file| file.starts_with("generator/"));
    for above in ["crate::consumer", "crate::producer", "crate::kafka", "crate::app", "crate::verify"] {
        nowhere(above, |file| {
            file.starts_with("settings/")
                || file.starts_with("generator/")
                || matches!(file, "record.rs" | "exit.rs")
                // A report contains the checker's verdict.
                || (file.starts_with("report/") && above != "crate::verify")
        });
    }
}

#[test]
fn one_room_is_unsafe_and_nothing_exits_past_its_owners() {
    nowhere("unsafe", |file| !file.starts_with("kafka/ffi/") && file != "kafka/mod.rs");
    nowhere("rdkafka_sys", |file| !file.starts_with("kafka/ffi/"));
    // A signal ends a command that hangs before it starts its work.
    nowhere("process::exit", |file| file != "signals/signal_thread.rs");
}

/// The file's module and the sibling modules that it imports.
fn neighbours((file, code): &(String, String)) -> Option<(String, BTreeSet<String>)> {
    let (room, name) = file.strip_suffix(".rs")?.rsplit_once('/')?;
    let code = code.split("#[cfg(test)]").next()?;
    let imported = code.split("use super::").skip(1).filter_map(|rest| rest.split([':', ';']).next());
    let imported = imported.filter(|_| name != "mod").map(|neighbour| format!("{room}/{neighbour}"));
    Some((format!("{room}/{name}"), imported.collect()))
}

#[test]
fn no_neighbours_import_each_other_in_a_circle() {
    let mut left: BTreeMap<_, _> = code().iter().filter_map(neighbours).collect();
    assert!(left.values().map(BTreeSet::len).sum::<usize>() > 100, "imports are recognized");
    loop {
        let before = left.len();
        // A module that imports none of the remaining modules is in no cycle.
        let names: BTreeSet<_> = left.keys().cloned().collect();
        left.retain(|_, imported| !imported.is_disjoint(&names));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "in a circle, or above one: {left:?}");
}
