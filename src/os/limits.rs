//! Operating system limits: open descriptors, threads and processes. Errors name the limit with its numbers.
//!
//! The soft limit of descriptors is often 1,024, which 200 Kafka clients exceed; a process may raise it up to the
//! hard limit. Child processes get the original limit back, because some use `select`, which accepts no descriptor
//! above 1,023.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The maximum to which the soft limit is raised, because some systems report no limit but reject it.
const MAX_RAISED: u64 = 1 << 20;
/// The stack size of an idle thread.
const PROBE_STACK_BYTES: usize = 64 << 10;

/// The operating system's texts for a reached limit; libraries include them in their errors.
const NO_MORE_DESCRIPTORS: &str = "Too many open files";
const NO_MORE_THREADS: &str = "Resource temporarily unavailable";

/// The soft limit of descriptors before it was raised.
static ORIGINAL: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of descriptors as far as allowed; called once, at the start of the process.
pub fn raise_descriptor_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = hard.min(MAX_RAISED);
    if raised > soft && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
        // A second call would read the raised limit.
        ORIGINAL.set(soft).ok();
    }
}

/// The soft limit of descriptors at the start of this process, if it was raised since.
pub fn original_descriptor_limit() -> Option<u64> {
    ORIGINAL.get().copied()
}

/// Sets the original limit in a worker, which has inherited its supervisor's raised limit.
pub fn set_original_descriptor_limit(soft: u64) {
    // Set once, before any child process is started.
    ORIGINAL.set(soft).ok();
}

/// Starts a program with the original soft limit of descriptors. The limit applies to this process meanwhile: another
/// thread that opens a descriptor above it fails.
pub fn with_original_descriptor_limit<T>(start: impl FnOnce() -> T) -> T {
    let current = getrlimit(Resource::RLIMIT_NOFILE).ok();
    let lowered = match (original_descriptor_limit(), current) {
        (Some(original), Some((soft, hard))) if original < soft => {
            setrlimit(Resource::RLIMIT_NOFILE, original, hard).is_ok().then_some((soft, hard))
        }
        _ => None,
    };
    let started = start();
    if let Some((soft, hard)) = lowered {
        // This was the soft limit before, so it is allowed.
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).ok();
    }
    started
}

/// Checks that the hard limit allows `needed` descriptors; `user` describes what needs them.
///
/// # Errors
/// The numbers, and what to do.
pub fn check_descriptors(needed: u64, user: &str) -> Result<(), String> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if needed <= soft {
        return Ok(());
    }
    let soft = original_descriptor_limit().unwrap_or(soft);
    Err(format!(
        "too few open files are allowed: {user} needs about {needed} descriptors; the soft limit is {soft}, and can be raised \
         to the hard limit of {hard} only. Raise the hard limit (`ulimit -Hn {needed}`, LimitNOFILE= in a systemd unit)"
    ))
}

/// Checks that `needed` threads can be created, by creating them all and ending them: several limits apply, and most
/// count other processes, too.
///
/// # Errors
/// The numbers, and what to do.
pub fn check_threads(needed: usize, user: &str) -> Result<(), String> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let mut threads = Vec::with_capacity(needed);
    let mut refused = None;
    while threads.len() < needed && refused.is_none() {
        let gate = Arc::clone(&gate);
        let wait = move || drop(gate.lock());
        match std::thread::Builder::new().stack_size(PROBE_STACK_BYTES).spawn(wait) {
            Ok(thread) => threads.push(thread),
            Err(error) => refused = Some(error),
        }
    }
    drop(closed);
    let created = threads.len();
    // They do nothing that could panic.
    threads.into_iter().for_each(|thread| _ = thread.join());
    match refused {
        None => Ok(()),
        Some(error) => Err(format!(
            "too few threads can be created: {user} needs about {needed}, and {created} could be created ({error}); {}. Raise \
             that limit, or end other processes",
            thread_limits()
        )),
    }
}

/// The text of an error with the limit that it has reached.
pub fn named(error: &io::Error) -> String {
    named_text(&error.to_string())
}

/// Like [`named`], for a text that contains the operating system's text.
pub fn named_text(text: &str) -> String {
    match explanation(text) {
        Some(explanation) => format!("{text} ({explanation})"),
        None => text.to_owned(),
    }
}

/// The limit that a text with the operating system's text is about.
pub fn explanation(text: &str) -> Option<String> {
    if text.contains(NO_MORE_DESCRIPTORS) {
        return Some(descriptor_limits());
    }
    // EAGAIN of a non-blocking call has the same text, but no such text arrives here.
    let is_about_threads = text.contains(NO_MORE_THREADS) || text.contains("Unable to create broker thread");
    is_about_threads.then(thread_limits)
}

fn descriptor_limits() -> String {
    let open = std::fs::read_dir(if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" });
    let open = open.map_or_else(|_| "all".to_owned(), |entries| entries.count().to_string());
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => format!(
            "{open} descriptors are open; the limit of this process is {soft} (RLIMIT_NOFILE, `ulimit -n`), the hard limit {hard}"
        ),
        Err(_) => format!("{open} descriptors are open"),
    }
}

/// The limits of threads, per user and per control group.
fn thread_limits() -> String {
    let mut limits = Vec::new();
    #[cfg(not(target_os = "macos"))]
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NPROC) {
        limits.push(format!(
            "all processes of this user may have {soft} threads together (RLIMIT_NPROC, `ulimit -u`; hard limit {hard})"
        ));
    }
    if let Some((current, max)) = control_group_pids() {
        limits.push(format!("the control group may have {max} (pids.max), and has {current}"));
    }
    limits.join("; ")
}

/// The number of threads in this process' control group, and its maximum.
fn control_group_pids() -> Option<(String, String)> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            "pids" => "/sys/fs/cgroup/pids",
            _ => return None,
        };
        // In a container its own group is the root.
        let read = |file: &str| {
            let at = |folder: String| std::fs::read_to_string(format!("{folder}/{file}")).ok();
            at(format!("{root}{path}")).or_else(|| at(root.to_owned())).map(|text| text.trim().to_owned())
        };
        Some((read("pids.current")?, read("pids.max")?))
    })
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn what_is_not_enough_is_named_with_numbers() {
        assert_eq!((check_descriptors(10, "a run"), check_threads(10, "a run")), (Ok(()), Ok(())));
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if hard < u64::MAX {
            let refused = check_descriptors(hard + 1, "a run").unwrap_err();
            assert!(refused.contains(&format!("a run needs about {}", hard + 1)), "{refused}");
            assert!(refused.contains(&format!("hard limit of {hard}")), "{refused}");
        }
    }

    #[test]
    fn an_error_is_named_with_the_limit_that_it_has_run_into() {
        let of = |errno: Errno| named(&io::Error::from(errno));
        let files = of(Errno::EMFILE);
        assert!(files.starts_with("Too many open files") && files.contains("RLIMIT_NOFILE"), "{files}");
        assert!(of(Errno::EAGAIN).contains("RLIMIT_NPROC"));
        assert_eq!(of(Errno::ENOENT), io::Error::from(Errno::ENOENT).to_string());
        // As librdkafka's texts.
        assert!(named_text("Failed to create thread: Resource temporarily unavailable (11)").contains("RLIMIT_NPROC"));
        assert!(named_text("Failed to create IPv4 socket: Too many open files (24)").contains("RLIMIT_NOFILE"));
    }

    #[test]
    fn a_program_starts_with_the_original_limit() {
        let soft = || getrlimit(Resource::RLIMIT_NOFILE).unwrap().0;
        raise_descriptor_limit();
        let raised = soft();
        let seen = with_original_descriptor_limit(soft);
        assert_eq!((seen, soft()), (original_descriptor_limit().unwrap_or(raised), raised));
    }
}
