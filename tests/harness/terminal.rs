//! The built program in a pseudo-terminal, which `script` makes.

use super::program::{Running, children, shell};
use super::wait_for;

/// Runs a shell line there, in which `$PROGRAM` is the program. stdout is all that is written to the terminal; in the end
/// its exit code (`code 0`) and whether the terminal's line discipline is the usual one (`icanon`, or `-icanon`).
pub fn run(line: &str, rows: u16, columns: u16) -> Running {
    let inner = format!(
        "stty rows {rows} cols {columns}; {line}; echo \"code $?\"; stty -a | tr ' ' '\\n' | grep -x -e icanon -e -icanon"
    );
    // What `script` reads from its stdin is typed; a fifo that is open for writing, too, is never at its end.
    let outer = "mkfifo keys; exec 3<>keys; exec script -qefc 'bash -c \"$INNER\"' /dev/null <&3";
    shell(outer).env("TERM", "xterm-256color").env("INNER", &inner).start_plain()
}

/// Waits until this was written there.
pub fn wait_for_text(running: &Running, text: &str) {
    wait_for(&format!("{text:?} in the terminal"), || running.stdout().contains(text));
}

/// Types this there.
pub fn type_keys(running: &Running, keys: &str) {
    running.write_file("keys", keys);
}

/// The program's own process.
pub fn program(running: &Running) -> i32 {
    let is_program = |pid: &i32| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        command.trim() == "kafka-actors"
    };
    // Below `script` and a shell.
    let find = || {
        let mut pids = vec![running.id() as i32];
        while !pids.is_empty() {
            pids = pids.into_iter().flat_map(children).collect();
            if let Some(found) = pids.iter().find(|pid| is_program(pid)) {
                return Some(*found);
            }
        }
        None
    };
    wait_for("the program", || find().is_some());
    find().unwrap()
}
