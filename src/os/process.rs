//! What the operating system tells of a process: its memory, and whether the kernel has killed for the lack of it.
//!
//! Linux only; elsewhere nothing is known.

use std::path::PathBuf;

/// The resident memory of a process in MiB; `None` when it is gone, or not known here.
pub fn resident_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024)
}

/// The processor time that a process has used, in seconds, without that of children that have ended; `None` when it is gone, or
/// not known here.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything; user and system time are the 14th and 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(ticks as f64 / per_second as f64)
}

/// How often the kernel has killed a process of this one's control group because its memory ran out.
pub fn out_of_memory_kills() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let events = groups.lines().find_map(events_file)?;
    let events = std::fs::read_to_string(events).ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Of a line of `/proc/self/cgroup`: version 2, or version 1's memory controller.
fn events_file(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let path = path.trim_start_matches('/');
    let candidate = match controllers {
        "" => PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.oom_control")
        }
        _ => return None,
    };
    candidate.exists().then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_memory_and_one_that_is_gone_has_none() {
        assert!(resident_mib(std::process::id()).is_some_and(|mib| mib > 0));
        assert_eq!(resident_mib(u32::MAX), None);
        let begun = std::time::Instant::now();
        let before = cpu_seconds(std::process::id()).unwrap();
        while cpu_seconds(std::process::id()).unwrap() < before + 0.02 {
            assert!(begun.elapsed().as_secs() < 30, "working costs time");
        }
        assert_eq!(cpu_seconds(u32::MAX), None);
    }

    #[test]
    fn a_line_of_no_memory_controller_names_no_file() {
        assert_eq!(events_file("3:cpu,cpuacct:/a"), None);
        assert_eq!(events_file("nonsense"), None);
    }
}
