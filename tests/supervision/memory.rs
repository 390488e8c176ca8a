//! Memory: the memory of workers, and workers that run out of it.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};

use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{example_path, shell};
use crate::harness::{unique, wait_for};

/// A control group with a memory limit; it is removed when its test ends.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// `None` if this user may not create one.
    fn new(mib: u64) -> Option<Self> {
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")].into_iter().find_map(
            |(root, limit)| {
                let group = Self(Path::new(root).join(unique("test")));
                std::fs::create_dir(&group.0).ok()?;
                std::fs::write(group.0.join(limit), (mib << 20).to_string()).ok()?;
                Some(group)
            },
        )
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The processes in the group have exited; a group that cannot be removed is empty.
        let _left = std::fs::remove_dir(&self.0);
    }
}

/// A topic with this number of partitions, each with one message of 2 MB.
fn with_large_messages(partitions: u32) -> Topic {
    let topic = Topic::unmade();
    let (count, name) = (partitions.to_string(), topic.name.clone());
    let arguments = ["--bootstrap-server", &topic.brokers, "--create", "--topic", &name, "--partitions", &count];
    tool(
        "org.apache.kafka.tools.TopicCommand",
        &[&arguments[..], &["--config", "max.message.bytes=3000000"]].concat(),
        "",
    );
    let large = "--set producer.compression=none --set producer.properties.message.max.bytes=3000000 --size 2000000";
    let load =
        format!("--key round_robin --set producer.key_cardinality=1000 --threads 2 --messages-per-thread {partitions}");
    topic.produce(&format!("{load} {large}")).run().expect(0);
    topic
}

/// Two messages of 2 MB in each of 80 partitions: without a limit for their sum, all of them are fetched.
#[test]
#[ignore = "needs a real Kafka"]
fn many_partitions_with_large_messages_stay_within_the_memory_budget_and_lose_none() {
    let topic = with_large_messages(80);
    let notes = "print('did', m['partition'], m['offset'], file=sys.stderr, flush=True); time.sleep(0.02); answer(m)";
    let arguments = "--processes 1 --until-end --set consumer.memory_budget_mb=16";
    let running = topic.consume_with(arguments, notes).start();
    wait_for("its worker", || !running.workers().is_empty());
    let worker = running.workers()[0];
    let mut peak = 0;
    wait_for("the end", || {
        let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) / 1_024);
        running.stderr().contains("end reached")
    });
    let ended = running.end().expect(0).expect_committed();
    assert!((20..16 + 64).contains(&peak), "{peak} MiB, of 320 MB");
    let mut did: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("did ")).collect();
    assert_eq!((did.len(), ended.processed(), ended.restarts().len()), (160, 160, 0));
    did.sort_unstable();
    did.dedup();
    assert_eq!(did.len(), 160, "each once");
}

/// A handler that cannot fail, and a limit that the prefetched messages exceed.
#[test]
#[ignore = "needs a real Kafka"]
fn workers_that_are_killed_for_memory_blame_no_message() {
    let Some(group) = MemoryGroup::new(50) else {
        eprintln!("this user may not make control groups: nothing is tested");
        return;
    };
    // The kernel charges a page of a file to the group that reads it first. At its limit the group has no memory for the code of the
    // supervisor, which is then killed, too: its code is in memory already.
    drop(std::fs::read(example_path("hostile")).unwrap());
    // One worker, and less memory than it needs: of several workers, the last one would continue.
    let topic = Topic::new(8);
    let large = "--key round_robin --size 20000 --messages-per-thread 3000 --set producer.compression=none";
    topic.produce(large).run().expect(0);
    let line = format!(
        "echo $$ > {}/cgroup.procs; FAULT=dawdle exec {} consume --brokers {} --topic {} --group {} --processor own --until-end \
         --processes 1 --set consumer.on_failure=skip --set consumer.restart.max_restarts=4 \
         --set consumer.restart.backoff=50ms \"$@\"",
        group.0.display(),
        example_path("hostile").display(),
        topic.brokers,
        topic.name,
        topic.name
    );
    // The arguments after `hostile` are the arguments of the shell line: `--report FILE`.
    let ended = shell(&line).arg("hostile").run().expect(1);
    let restarts = ended.restarts();
    assert!(restarts.len() >= 4, "{restarts:?}");
    assert!(restarts.iter().all(|cause| cause.contains("memory limit is 50 MiB")), "{restarts:?}");
    assert!(ended.reason().contains("consumer.memory_budget_mb"), "{}", ended.reason());
    assert_eq!(ended.sum("failed"), 0, "{}", ended.report);
    let ended = ended.reports("the memory limit of this control group is 50 MiB");
    assert!(topic.committed_and_lag().0 <= ended.processed() as i64, "{}", ended.report);
}
