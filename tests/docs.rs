//! What the documents list is what there is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// What stands between the parentheses of each call of these macros.
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

/// `"name" =>` in slog's macros.
fn fields(call: &str) -> Vec<String> {
    let mut pieces: Vec<_> = call.split("\" =>").collect();
    // What is behind the last one.
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
