//! Tests of exits and closed pipes, with shell scripts as programs.

use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::program::Reply;
use super::*;
use crate::processor::{ProcessError, ProcessResult, Processor, WorkerContext};

/// A command processor that runs this script.
fn shell(script: &str) -> CommandProcessor {
    let mut settings = crate::settings::defaults();
    settings.consumer.command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let logger = crate::logging::discard();
    CommandProcessor::start(&WorkerContext { slot: 0, settings: Arc::new(settings), logger, output_lock: None })
        .unwrap()
}

async fn process(command: &mut CommandProcessor) -> Result<(), ProcessError> {
    let record =
        Record { topic: "t", partition: 0, offset: 7, timestamp_ms: None, key: None, value: None, headers: &() };
    match command.process(&record) {
        ProcessResult::Done(result) => result,
        ProcessResult::Later(result) => tokio::time::timeout(Duration::from_secs(20), result).await.unwrap(),
    }
}

async fn over(command: &CommandProcessor) -> String {
    let begun = Instant::now();
    while command.program.as_ref().is_some_and(|program| !program.is_finished()) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    command.pending.borrow().over.clone().unwrap()
}

#[actix::test]
async fn a_program_that_closes_its_stdout_and_lives_is_asked_no_more() {
    let mut command = shell(r#"read line; echo '{"id":0}'; exec >&-; exec sleep 60"#);
    assert_eq!(process(&mut command).await, Ok(()));
    let reason = over(&command).await;
    assert_eq!(reason, "the program \"sh\" has closed its stdout, and had not ended: killed");
    assert_eq!(process(&mut command).await, Err(ProcessError::Worker(reason)), "nothing is this message's doing");
}

#[actix::test]
async fn what_it_was_asked_before_may_have_done_it() {
    for end in ["stdin", "stdout"] {
        let close = if end == "stdin" { "exec <&-" } else { "exec >&-" };
        let mut command = shell(&format!("read line; {close}; exec sleep 60"));
        match process(&mut command).await {
            Err(ProcessError::Crash(reason)) => {
                assert!(reason.contains(&format!("has closed its {end}, ")), "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[actix::test]
async fn a_program_that_closes_its_stdin_and_lives_is_asked_no_more() {
    let mut command = shell("exec <&-; exec sleep 60");
    let reason = over(&command).await;
    assert_eq!(reason, "the program \"sh\" has closed its stdin, and had not ended: killed");
    assert_eq!(process(&mut command).await, Err(ProcessError::Worker(reason)));
}

/// Sends one message of each of two partitions.
async fn process_two(command: &mut CommandProcessor) -> [Result<(), ProcessError>; 2] {
    let mut results = [0, 1].map(|partition| {
        let record =
            Record { topic: "t", partition, offset: 7, timestamp_ms: None, key: None, value: None, headers: &() };
        command.process(&record)
    });
    let [first, second] = results.each_mut().map(|result| std::mem::replace(result, ProcessResult::Done(Ok(()))));
    let (ProcessResult::Later(first), ProcessResult::Later(second)) = (first, second) else { panic!("already done") };
    let both = futures::future::join(first, second);
    tokio::time::timeout(Duration::from_secs(20), both).await.unwrap().into()
}

#[actix::test]
async fn a_message_of_which_the_program_has_read_nothing_has_not_ended_it() {
    let mut command = shell("sleep 0.3; exit 1");
    let reason = "the program \"sh\" ended: exit status: 1".to_owned();
    assert_eq!(process(&mut command).await, Err(ProcessError::Worker(reason)));
    // A shell reads exactly one line.
    let mut command = shell("sleep 0.3; read line; exit 1");
    let reason = "the program \"sh\" ended: exit status: 1".to_owned();
    let expected = [Err(ProcessError::Crash(reason.clone())), Err(ProcessError::Worker(reason))];
    assert_eq!(process_two(&mut command).await, expected);
}

#[actix::test]
async fn a_program_that_is_killed_from_outside_blames_no_message() {
    for signal in ["KILL", "TERM"] {
        let mut command = shell(&format!("read line; kill -{signal} $$; sleep 60"));
        assert!(matches!(process(&mut command).await, Err(ProcessError::Worker(_))), "{signal}");
    }
    let mut command = shell("read line; kill -ABRT $$; sleep 60");
    assert!(matches!(process(&mut command).await, Err(ProcessError::Crash(_))));
}

#[actix::test]
async fn the_exit_of_a_program_without_messages_is_reported() {
    let mut command = shell("exit 1");
    let ended = command.failure().unwrap();
    let reason = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    assert_eq!(reason, "the program \"sh\" ended: exit status: 1");
}

#[actix::test]
async fn a_program_that_exits_by_itself_is_reported_with_its_status() {
    let mut command = shell("read line; exit 3");
    let reason = "the program \"sh\" ended: exit status: 3".to_owned();
    assert_eq!(process(&mut command).await, Err(ProcessError::Crash(reason.clone())));
    assert_eq!(over(&command).await, reason);
}

#[actix::test]
async fn at_its_end_it_may_close_its_stdout_and_take_its_time() {
    let mut command = shell("read line; exec >&-; sleep 1");
    match command.finish() {
        ProcessResult::Later(result) => assert_eq!(result.await, Ok(())),
        ProcessResult::Done(result) => panic!("{result:?}"),
    }
}

proptest! {
    #[test]
    fn no_line_breaks_the_reading_of_answers(line in prop_oneof![
        any::<Vec<u8>>(),
        "[{}\\[\\]\":,a-z0-9. -]{0,60}".prop_map(String::into_bytes),
        (1..100_000_usize).prop_map(|depth| "[".repeat(depth).into_bytes()),
        any::<String>().prop_map(|id| format!("{{\"id\":{id},\"error\":{id:?}}}").into_bytes()),
    ]) {
        if let Err(error) = Reply::of(&line) {
            prop_assert!(error.starts_with("answered ") && error.len() < 2_000, "{}", error);
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written(id: u64, error: Option<String>) {
        let line = serde_json::to_vec(&serde_json::json!({"id": id, "error": error})).unwrap();
        let reply = Reply::of(&line).unwrap();
        prop_assert_eq!((reply.id, &reply.error), (id, &error));
        let marked = [&b"\xef\xbb\xbf"[..], &line, b"\r\n"].concat();
        prop_assert_eq!(Reply::of(&marked).unwrap().error, error);
    }
}
