//! External programs that fail, that work after a while, and that do not reply.

use nix::sys::signal::Signal;

use crate::harness::kafka::Topic;
use crate::harness::program::{Ended, Running};
use crate::harness::wait_for;

/// `consume` with this shell line as its command.
fn with_shell(topic: &Topic, arguments: &str, script: &str) -> Running {
    topic.consume(arguments).arg("--command").arg(&format!("sh -c '{script}'")).start()
}

const SKIP: &str = "--set consumer.on_failure=skip --until-end";

/// Asserts that no message was skipped, no offset is committed, and the reason contains the stderr output of the program.
fn expect_blameless(ended: Ended, stderr: &str) {
    let ended = ended.expect(1);
    assert!(ended.reason().contains("the processor does not work"), "{}", ended.reason());
    assert!(ended.reason().contains(stderr), "{}", ended.reason());
    assert!(ended.took.as_secs() < 40, "{:?}", ended.took);
    assert_eq!((ended.processed(), ended.sum("failed")), (0, 0));
    assert!(ended.restarts().iter().any(|cause| cause.contains(stderr)), "{:?}", ended.restarts());
}

/// The program fails before it has read a message, or during its first one; also when the topic is empty.
#[test]
#[ignore = "needs a real Kafka"]
fn a_program_that_never_works_ends_the_run_and_no_message_is_blamed() {
    let (before, within, without) = (Topic::new(4), Topic::new(4), Topic::new(2));
    before.fill(40);
    within.fill(40);
    let runs = [
        with_shell(&before, SKIP, "echo cannot open the database >&2; sleep 1; exit 1"),
        with_shell(&within, SKIP, "read line; echo cannot parse >&2; exit 1"),
        with_shell(&without, "", "echo no such module >&2; exit 1"),
    ];
    let [first, second, third] = runs.map(Running::end);
    expect_blameless(first, "cannot open the database");
    expect_blameless(second, "cannot parse");
    expect_blameless(third, "no such module");
    for topic in [before, within] {
        assert_eq!(topic.committed_and_lag().0, 0);
    }
}

/// The program fails until a file exists, at its start or with each message; then all messages are processed.
#[test]
#[ignore = "needs a real Kafka"]
fn a_program_that_works_after_some_time_loses_no_message() {
    for reads_first in [false, true] {
        let topic = Topic::new(4);
        topic.fill(40);
        let check = "sys.exit('no database yet') if not os.path.exists('go') else None";
        let (at_start, at_message) = if reads_first { ("", check) } else { (check, "") };
        let text = format!(
            "import sys, json, os\n{at_start}\nfor line in sys.stdin:\n    {at_message}\n    \
             print(json.dumps({{'id': json.loads(line)['id']}}))\n"
        );
        let restarts = "--set consumer.restart.backoff=200ms --set consumer.restart.backoff_max=200ms \
                        --set consumer.restart.max_restarts=0";
        let consume = topic.consume(&format!("{SKIP} {restarts}")).arg("--command").arg("python3 work.py");
        let running = consume.file("work.py", &text).start();
        // Far more worker exits than the threshold for a poison message.
        wait_for("deaths", || running.stderr().matches(" died: ").count() >= 12);
        running.make_file("go");
        let ended = running.end().expect(0).expect_committed();
        assert_eq!((ended.processed(), ended.sum("failed")), (40, 0), "{}", ended.report);
        assert_eq!(topic.committed_and_lag(), (40, 0));
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_python_program_needs_no_flush() {
    let topic = Topic::new(2);
    topic.fill(40);
    let text = "import sys, json\nfor line in sys.stdin:\n    print(json.dumps({'id': json.loads(line)['id']}))\n";
    let consume = topic.consume("--until-end").arg("--command").arg("python3 work.py").file("work.py", text);
    let ended = consume.run().expect(0).expect_committed();
    assert_eq!((ended.processed(), ended.restarts().len()), (40, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_program_that_keeps_its_first_answer_is_hinted_at() {
    let topic = Topic::new(1);
    topic.fill(4);
    let running = with_shell(&topic, "--processes 1 --set shutdown.timeout=1s", "cat >/dev/null");
    wait_for("the hint", || running.stderr().contains("flush stdout after each line"));
    assert_eq!(running.stderr().matches("has not replied to its first message").count(), 1);
    assert!(!running.stderr().contains(" died: "), "it is left alone: {}", running.stderr());
    running.signal(Signal::SIGTERM);
    running.end().expect(3);
    assert_eq!(topic.committed_and_lag().0, 0);
}
