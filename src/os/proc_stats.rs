//! Statistics of a process: memory, CPU time, OOM kills.
//!
//! Linux only; elsewhere all values are `None`.

use std::path::{Path, PathBuf};

/// The resident memory of a process in MiB; `None` if it has exited or on other systems.
pub fn rss_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024)
}

/// The CPU time of a process in seconds, without its finished children; `None` if it has exited or on other systems.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses with arbitrary content; user and system time are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(ticks as f64 / per_second as f64)
}

/// The number of OOM kills in this process' control group, or of the whole machine if the group does not report them.
pub fn oom_kill_count() -> Option<u64> {
    let count = |text: &str| text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    let of_group = memory_group().and_then(|group| group.read("memory.events", "memory.oom_control"));
    let of_machine = || std::fs::read_to_string("/proc/vmstat").ok();
    of_group.as_deref().and_then(count).or_else(|| of_machine().as_deref().and_then(count))
}

/// The lowest memory limit of this process' control group and its ancestors, in MiB; `None` without one.
pub fn memory_limit_mib() -> Option<u64> {
    let group = memory_group()?;
    let groups = group.folder.ancestors().take_while(|folder| folder.starts_with(&group.root));
    let limit = |folder: &Path| {
        let group = MemoryGroup { folder: folder.to_owned(), ..group.clone() };
        group.read("memory.max", "memory.limit_in_bytes")?.trim().parse::<u64>().ok()
    };
    // Version 1 reports a huge number instead of "no limit".
    let limit = groups.filter_map(limit).min().filter(|bytes| *bytes < 1 << 60)?;
    Some(limit >> 20)
}

/// A control group with a memory controller.
#[derive(Clone)]
struct MemoryGroup {
    root: PathBuf,
    folder: PathBuf,
    is_version_2: bool,
}

impl MemoryGroup {
    /// Parses a line of `/proc/self/cgroup`: version 2, or the memory controller of version 1. In a container the
    /// path may start at the container's root or at the machine's; in the latter case the visible root is used.
    fn of(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, is_version_2) = match controllers {
            "" => ("/sys/fs/cgroup", true),
            _ if controllers.split(',').any(|controller| controller == "memory") => ("/sys/fs/cgroup/memory", false),
            _ => return None,
        };
        let root = PathBuf::from(root);
        [path.trim_start_matches('/'), ""]
            .map(|path| Self { root: root.clone(), folder: root.join(path), is_version_2 })
            .into_iter()
            .find(|group| group.read("memory.events", "memory.oom_control").is_some())
    }

    fn read(&self, name_2: &str, name_1: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(if self.is_version_2 { name_2 } else { name_1 })).ok()
    }
}

fn memory_group() -> Option<MemoryGroup> {
    std::fs::read_to_string("/proc/self/cgroup").ok()?.lines().find_map(MemoryGroup::of)
}

/// The adjustment that makes the kernel's OOM killer choose a worker and its children before the supervisor:
/// thousandths of all memory, added to the process' memory use.
const OOM_SCORE_OF_WORKERS: i32 = 500;

/// Makes the OOM killer prefer this process and its future children over others of the same size. Linux only;
/// failures are ignored.
pub fn raise_oom_score() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let Some(own) = std::fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok()) else { return };
    let raised = own.saturating_add(OOM_SCORE_OF_WORKERS).min(1_000);
    std::fs::write(FILE, raised.to_string()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_memory_and_one_that_is_gone_has_none() {
        assert!(rss_mib(std::process::id()).is_some_and(|mib| mib > 0));
        assert_eq!(rss_mib(u32::MAX), None);
        let begun = std::time::Instant::now();
        let before = cpu_seconds(std::process::id()).unwrap();
        while cpu_seconds(std::process::id()).unwrap() < before + 0.02 {
            assert!(begun.elapsed().as_secs() < 30, "working costs time");
        }
        assert_eq!(cpu_seconds(u32::MAX), None);
    }

    #[test]
    fn a_line_of_no_memory_controller_names_no_file() {
        assert!(MemoryGroup::of("3:cpu,cpuacct:/a").is_none());
        assert!(MemoryGroup::of("nonsense").is_none());
    }
}
