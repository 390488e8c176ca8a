//! Limits of the operating system: descriptors, threads and processes.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::harness::kafka::Topic;
use crate::harness::program::{Ended, Program, shell};

/// Runs a shell line with a limit for threads. The limit does not apply to the superuser, who runs the line as another user without
/// processes.
fn with_threads(limit: u32, line: &str) -> Program {
    let line = format!("ulimit -u {limit} && exec \"$PROGRAM\" {line}");
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        shell("cd / && exec setpriv --reuid=65534 --regid=65534 --clear-groups bash -c \"$LINE\"").env("LINE", &line)
    } else {
        shell(&line)
    }
}

/// Asserts that the command failed soon, with an error that is not reported as a bug.
fn refused(ended: Ended, texts: &[&str]) {
    let ended = ended.expect(1);
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    texts.iter().for_each(|text| assert!(ended.stderr.contains(text), "{text:?} is not in:\n{}", ended.stderr));
    assert!(!ended.stderr.contains("bug"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_soft_limit_of_descriptors_is_raised_and_a_hard_one_is_named_with_numbers() {
    let topic = Topic::new(3);
    let Topic { name, brokers } = &topic;
    let produce =
        format!("exec \"$PROGRAM\" produce --brokers {brokers} --topic {name} --threads 40 --messages-per-thread 5");
    shell(&format!("ulimit -Sn 60; {produce}")).run_plain().expect(0);
    assert_eq!(topic.end(), 200);
    let limits = ["producer.threads = 40 with 1 brokers needs about 216 descriptors", "hard limit of 60"];
    refused(shell(&format!("ulimit -n 60; {produce}")).run_plain(), &limits);

    let consume = format!("exec \"$PROGRAM\" consume --brokers {brokers} --topic {name} --group {name} --until-end");
    let limits = ["consumer.processes = 30 needs about 114 descriptors", "hard limit of 60"];
    refused(shell(&format!("ulimit -n 60; {consume} --processes 30")).run_plain(), &limits);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_program_that_a_worker_starts_has_the_original_limit_of_descriptors() {
    let topic = Topic::new(1);
    topic.fill(4);
    let Topic { name, brokers } = &topic;
    let program = "import sys, json, resource\n\
                   open('limit', 'w').write(str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))\n\
                   for line in sys.stdin: print(json.dumps(dict(id=json.loads(line)['id'])), flush=True)\n";
    let consume = format!("\"$PROGRAM\" consume --brokers {brokers} --topic {name} --group {name} --max-messages 4");
    let line = format!("ulimit -Sn 100; {consume} --processes 1 --command 'python3 work.py' && cat limit");
    assert_eq!(shell(&line).file("work.py", program).run_plain().expect(0).stdout, "100");
}

#[test]
#[ignore = "needs a real Kafka"]
fn threads_that_cannot_be_created_are_named_with_numbers() {
    let topic = Topic::new(3);
    let Topic { name, brokers } = &topic;
    let of = format!("--brokers {brokers} --topic {name}");
    let few = ["too few threads can be created: `produce` needs about 10", "(RLIMIT_NPROC, `ulimit -u`; hard limit 5)"];
    refused(with_threads(5, &format!("produce {of}")).run_plain(), &few);
    let many = "too few threads can be created: producer.threads = 64 with 1 brokers needs about 320, and ";
    refused(with_threads(60, &format!("produce {of} --threads 64")).run_plain(), &[many, "hard limit 60"]);
    let many = "too few threads can be created: consumer.processes = 16 needs about 160, and ";
    refused(with_threads(60, &format!("consume {of} --processes 16")).run_plain(), &[many, "hard limit 60"]);
}
