//! Workers that are members of a consumer group: Kafka assigns the partitions.

use std::collections::BTreeMap;

use kafka_actors::internal::protocol::{GroupMember, WorkerCommand};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::kafka::{Topic, tool};
use crate::harness::program::{Program, Running, distinct, kafka_actors, printed};
use crate::harness::worker::Worker;
use crate::harness::{unique, wait_for};

const CLASSIC: &str = "classic";
const KIP_848: &str = "consumer";

/// `consume` as one of several hosts.
fn member(topic: &Topic, protocol: &str, host: &str, arguments: &str) -> Program {
    topic.consume(&format!(
        "--assignment group --processor print --set consumer.membership.group_protocol={protocol} \
         --set consumer.membership.instance_id_prefix={host} {arguments}"
    ))
}

/// The partitions of each line in which a worker logged that it reads.
fn assigned(running: &Running) -> Vec<Vec<String>> {
    let log = running.stderr();
    let partitions =
        |line: &str| line.split("partitions: ").nth(1).map(|list| list.split(", ").map(str::to_owned).collect());
    log.lines().filter(|line| line.contains("INFO reading")).filter_map(partitions).collect()
}

fn wait_for_partitions(running: &Running, count: usize) {
    wait_for(&format!("{count} partitions"), || assigned(running).iter().map(Vec::len).sum::<usize>() >= count);
}

/// Reads whole lines only: the last line may be incomplete.
fn places(stdout: &str) -> Vec<(i64, i64)> {
    printed(&stdout[..stdout.rfind('\n').map_or(0, |end| end + 1)])
}

fn two_supervisors_share(protocol: &str) {
    let topic = Topic::new(6);
    let producing = topic.produce("--key round_robin --rate 2000 --duration 25").start();
    let first = member(&topic, protocol, "a", "").start();
    wait_for_partitions(&first, 6);
    first.wait_for_lines(2_000);
    let second = member(&topic, protocol, "b", "").start();
    second.wait_for_lines(500);
    assert!(first.stderr().contains("partitions revoked"), "{}", first.stderr());
    second.signal(Signal::SIGTERM);
    let second = second.end().expect(0);
    let before = first.stdout().lines().count();
    let written = producing.end().expect(0).acknowledged() as usize;
    wait_for("everything to be read", || {
        first.stdout().lines().count() + second.stdout.lines().count() >= written
            && first.stdout().lines().count() > before
    });
    first.signal(Signal::SIGTERM);
    let first = first.end().expect(0);
    let mut read = places(&first.stdout);
    read.extend(places(&second.stdout));
    assert_eq!(distinct(&read), written, "nothing twice, nothing missed");
    assert_eq!(topic.committed_and_lag(), (written as i64, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn two_supervisors_share_a_group_and_nothing_is_missed_or_read_twice() {
    two_supervisors_share(CLASSIC);
}

#[test]
#[ignore = "needs a real Kafka"]
fn two_supervisors_share_a_group_that_the_brokers_keep() {
    two_supervisors_share(KIP_848);
}

/// Two workers in steady state, one of which receives this signal. No partition moves, and the successor continues.
fn nothing_moves(protocol: &str, signal: Signal) {
    let topic = Topic::new(6);
    let producing = topic.produce("--key round_robin --rate 1000 --duration 100").start();
    let running = member(&topic, protocol, "a", "").start();
    wait_for("both workers to read", || {
        let last = running.stderr();
        let reads = |worker: &str| last.lines().any(|line| line.contains("INFO reading") && line.contains(worker));
        reads("worker: 0") && reads("worker: 1")
    });
    running.wait_for_lines(running.stdout().lines().count() + 1_000);
    let (before, given_back) = (assigned(&running), running.stderr().matches("partitions revoked").count());
    let hit = running.workers()[0];
    kill(Pid::from_raw(hit), signal).unwrap();
    let begun = std::time::Instant::now();
    wait_for("the successor to read", || assigned(&running).len() > before.len());
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    running.wait_for_lines(running.stdout().lines().count() + 1_000);
    let mut again = assigned(&running).split_off(before.len());
    assert_eq!(again.len(), 1, "the successor alone was assigned something: {again:?}");
    let mut again = again.remove(0);
    again.sort_unstable();
    assert_eq!(again.len(), 3, "what it had before: {again:?}");
    assert_eq!(
        running.stderr().matches("partitions revoked").count(),
        given_back,
        "the other one keeps its partitions"
    );
    assert_eq!(running.stderr().matches("lost: ").count(), 0);
    drop(producing);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0);
    let mut read = places(&ended.stdout);
    if signal == Signal::SIGTERM {
        distinct(&read);
    }
    read.sort_unstable();
    read.dedup();
    let gaps = read.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 + 1 != pair[1].1).count();
    assert_eq!(
        gaps,
        0,
        "nothing is missed: {:?}\n{}",
        read.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 + 1 != pair[1].1).collect::<Vec<_>>(),
        ended.stderr
    );
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_killed_members_successor_has_its_partitions_and_no_other_one_moves() {
    nothing_moves(CLASSIC, Signal::SIGKILL);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_restarted_member_keeps_its_partitions_and_reads_nothing_twice() {
    nothing_moves(CLASSIC, Signal::SIGTERM);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_restarted_member_keeps_its_partitions_with_brokers_that_keep_the_group() {
    nothing_moves(KIP_848, Signal::SIGTERM);
}

/// The static member ids of a topic's group, from Kafka's own tool.
fn ids(topic: &Topic) -> String {
    let arguments = ["--bootstrap-server", &topic.brokers, "--describe", "--members", "--group", &topic.name];
    tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "")
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_member_that_is_replaced_stays_in_its_group_and_one_that_stops_leaves() {
    let topic = Topic::new(2);
    let start = |id: &str| {
        let member = GroupMember { id: Some(id.to_owned()), partitions: 1, partitions_at_start: BTreeMap::new() };
        Worker::start(&topic, &[], Vec::new(), Some(member))
    };
    let names = ["stays", "leaves", "is-there"];
    let [stays, leaves, is_there] = names.map(start);
    // A member that stops during a rebalance does not leave: librdkafka waits until the rebalance is over, and the group waits for
    // the member.
    wait_for("three members that have their shares", || {
        let reported = ids(&topic);
        let members = reported.lines().filter(|line| names.iter().any(|name| line.contains(name)));
        let mut shares: Vec<_> =
            members.filter_map(|line| line.split_whitespace().last()?.parse::<u32>().ok()).collect();
        shares.sort_unstable();
        shares == [0, 1, 1]
    });
    stays.finish(&WorkerCommand::StopForRestart);
    leaves.finish(&WorkerCommand::Stop);
    wait_for("one to have left", || !ids(&topic).contains("leaves"));
    let ids = ids(&topic);
    assert!(ids.contains("stays") && ids.contains("is-there"), "{ids}");
    is_there.finish(&WorkerCommand::Stop);
}

#[test]
#[ignore = "needs a real Kafka"]
fn an_id_that_the_brokers_have_not_released_is_waited_for() {
    let topic = Topic::new(2);
    topic.fill(400);
    let running = member(&topic, KIP_848, "a", "--processes 1").start();
    running.wait_for_lines(400);
    wait_for("the commit", || topic.committed_and_lag() == (400, 0));
    kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
    wait_for("the refusal", || running.stderr().contains("has died without a word"));
    topic.fill(400);
    // The brokers' default of `group.consumer.session.timeout.ms` is 45 s.
    wait_for("the successor to read", || assigned(&running).len() > 1);
    running.wait_for_lines(800);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    assert_eq!(ended.restarts(), ["SIGKILL"], "waiting is no death");
    assert_eq!(ended.stderr.matches("has died without a word").count(), 1, "{}", ended.stderr);
    assert_eq!(topic.committed_and_lag(), (800, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_member_that_is_fenced_by_another_one_with_its_id_reports_it() {
    let topic = Topic::new(2);
    let first = member(&topic, CLASSIC, "same", "--processes 1").start();
    wait_for_partitions(&first, 2);
    let second = member(&topic, CLASSIC, "same", "--processes 1").start();
    wait_for_partitions(&second, 2);
    let ended = first.end().expect(1);
    assert!(ended.reason().contains("consumer.membership.instance_id_prefix"), "{}", ended.reason());
    second.signal(Signal::SIGTERM);
    second.end().expect(0);
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_member_that_is_frozen_past_its_session_loses_its_partitions_and_no_message() {
    let topic = Topic::new(4);
    let producing = topic.produce("--key round_robin --rate 500 --duration 30").start();
    let settings = "--set consumer.membership.session_timeout=6s --set consumer.membership.revoke_timeout=3s";
    let start = |host| member(&topic, CLASSIC, host, &format!("--processes 1 {settings}")).start();
    let running = [start("a"), start("b")];
    running.iter().for_each(|running| wait_for("messages", || running.stdout().lines().count() > 100));
    let frozen = Pid::from_raw(running[0].workers()[0]);
    let before = assigned(&running[1]).len();
    kill(frozen, Signal::SIGSTOP).unwrap();
    wait_for("the other one to have its partitions", || assigned(&running[1]).len() > before);
    kill(frozen, Signal::SIGCONT).unwrap();
    wait_for("the loss to be noticed", || running[0].stderr().contains("lost: "));
    let again = running[0].stdout().lines().count();
    wait_for("it to read again", || running[0].stdout().lines().count() > again + 100);
    let written = producing.end().expect(0).acknowledged() as usize;
    let all = || {
        let mut read: Vec<_> = running.iter().flat_map(|running| places(&running.stdout())).collect();
        read.sort_unstable();
        read.dedup();
        read.len()
    };
    wait_for("everything to be read", || all() == written);
    running.into_iter().for_each(|running| {
        running.signal(Signal::SIGTERM);
        running.end().expect(0);
    });
    assert_eq!(topic.committed_and_lag(), (written as i64, 0));
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_that_goes_and_comes_again_is_read_again() {
    let [stays, goes] = [Topic::new(2), Topic::new(2)];
    stays.fill(400);
    goes.fill(400);
    let Topic { name: group, brokers } = &stays;
    let arguments = format!(
        "consume --brokers {brokers} --group {group} --assignment group --processor print \
         --set consumer.topics={group},{} --set kafka.properties.topic.metadata.refresh.interval.ms=1000",
        goes.name
    );
    let running = kafka_actors(&arguments).start();
    running.wait_for_lines(800);
    kafka_actors(&format!("topics delete {} --brokers {}", goes.name, goes.brokers)).run().expect(0);
    // A consumer that still owns one of the partitions when the topic is created again would read another topic, which needs the
    // operator's decision.
    wait_for("both of its partitions to be taken away", || {
        let log = running.stderr();
        let is_lost = |name: &str| log.lines().any(|line| line.contains("lost: ") && line.contains(name));
        (0..2).all(|number| is_lost(&format!("{}/{number}", goes.name)))
    });
    let create = || kafka_actors(&format!("topics create {}:3:1 --brokers {}", goes.name, goes.brokers)).run();
    wait_for("the topic to be made again", || create().status.success());
    goes.fill(400);
    stays.fill(400);
    running.wait_for_lines(1_600);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0);
    let of = |topic: &Topic| {
        let quoted = format!("\"{}\"", topic.name);
        ended.stdout.lines().filter(|line| line.contains(&quoted)).count()
    };
    assert_eq!((of(&stays), of(&goes)), (800, 800), "nothing twice, nothing missed");
}

#[test]
#[ignore = "needs a real Kafka"]
fn partitions_that_are_added_are_assigned() {
    let topic = Topic::new(2);
    topic.fill(400);
    let properties = "--set kafka.properties.topic.metadata.refresh.interval.ms=1000";
    let running = member(&topic, CLASSIC, "a", properties).start();
    running.wait_for_lines(400);
    let arguments = ["--bootstrap-server", &topic.brokers, "--alter", "--topic", &topic.name, "--partitions", "5"];
    tool("org.apache.kafka.tools.TopicCommand", &arguments, "");
    topic.fill(2_000);
    running.wait_for_lines(2_400);
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect(0).expect_committed();
    let read = places(&ended.stdout);
    assert_eq!(distinct(&read), 2_400);
    assert!(read.iter().any(|(partition, _)| *partition >= 2), "the new ones are among them");
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_stop_in_the_middle_of_a_rebalance_ends() {
    let topic = Topic::new(6);
    topic.fill(4_000);
    for round in 0..6 {
        let group = unique("rebalance");
        let start = |host: &str| member(&topic, CLASSIC, host, &format!("--group {group}")).start();
        let first = start("a");
        if round % 2 == 0 {
            wait_for_partitions(&first, 6);
        }
        // Both signals arrive during a rebalance: one member is joining, the other one has partitions that are being revoked.
        let second = start("b");
        wait_for("a member", || second.stderr().contains("waiting for the group"));
        std::thread::sleep(std::time::Duration::from_millis(round * 40));
        let begun = std::time::Instant::now();
        second.signal(Signal::SIGTERM);
        first.signal(Signal::SIGTERM);
        let ended = [first.end().expect(0), second.end().expect(0)];
        assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
        let read: Vec<_> = ended.iter().flat_map(|ended| places(&ended.stdout)).collect();
        distinct(&read);
    }
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_verdict_holds_for_a_group_too_one_of_whose_workers_is_killed() {
    for protocol in [CLASSIC, KIP_848] {
        let topic = Topic::new(4);
        let group = format!(
            "--set consumer.assignment=group --set consumer.membership.group_protocol={protocol} --processes 2"
        );
        let load = "--threads 2 --messages-per-thread 4000 --rate 2000 --timeout 110";
        let running = topic.verify(&format!("{load} {group}")).start();
        wait_for("the signal handlers", || running.stderr().contains("INFO producing"));
        wait_for("messages", || running.in_status("consume", "processed") > 1_000);
        kill(Pid::from_raw(running.workers()[0]), Signal::SIGKILL).unwrap();
        let ended = running.end().expect_found(&[]);
        assert_eq!((ended.count("acknowledged"), ended.count("processed")), (8_000, 8_000));
        assert_eq!(ended.restarts(), ["SIGKILL"]);
    }
}
