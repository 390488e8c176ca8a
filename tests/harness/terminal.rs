//! The built program in a pseudo-terminal, which `script` creates.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::program::{Running, children, shell};
use super::wait_for;

/// Runs a shell line in the terminal; `$PROGRAM` in it is the program. The stdout of the result is all terminal output. It ends
/// with the exit code (`code 0`) and with the state of the terminal's line discipline (`icanon` is the normal one, or `-icanon`).
pub fn run(line: &str, rows: u16, columns: u16) -> Running {
    let inner = format!(
        "stty rows {rows} cols {columns}; {line}; echo \"code $?\"; stty -a | tr ' ' '\\n' | grep -x -e icanon -e -icanon"
    );
    // `script` starts $SHELL, or sh: because of `exec`, bash is the session leader nevertheless, and receives SIGHUP when the
    // terminal is closed. `script` types what it reads from its stdin. A fifo that is also open for writing never reaches its end.
    let outer = "mkfifo keys; exec 3<>keys; exec script -qefc 'exec bash -c \"$INNER\"' /dev/null <&3";
    shell(outer).env("TERM", "xterm-256color").env("INNER", &inner).start_plain()
}

/// Waits until the terminal shows this text.
pub fn wait_for_text(running: &Running, text: &str) {
    wait_for(&format!("{text:?} in the terminal"), || running.stdout().contains(text));
}

/// Types these keys in the terminal.
pub fn type_keys(running: &Running, keys: &str) {
    running.write_file("keys", keys);
}

/// Closes the terminal: its processes receive SIGHUP, and their writes fail with EIO.
pub fn close(running: &Running) {
    running.signal(Signal::SIGKILL);
}

/// Stops reading the terminal's output, like Ctrl+S. Waits until the program's log is blocked.
pub fn hold_up(running: &Running, program: i32) {
    running.signal(Signal::SIGSTOP);
    let mut before = String::new();
    wait_for("a log that waits", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = switches(program, "screen") + &switches(program, "log");
        std::mem::replace(&mut before, now.clone()) == now
    });
}

/// The numbers of context switches of a process's threads with this name.
fn switches(pid: i32, name: &str) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let status = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let own = status.filter(|status| status.lines().next() == Some(&format!("Name:\t{name}")));
    own.flat_map(|status| {
        status.lines().filter(|line| line.contains("ctxt_switches")).map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

/// The pid of the program.
pub fn program(running: &Running) -> i32 {
    let is_program = |pid: &i32| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        command.trim() == "kafka-actors"
    };
    // The program is a descendant of `script` and a shell.
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
