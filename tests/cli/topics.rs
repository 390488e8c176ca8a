//! `topics`: the list, and partitions that are added.

use serde_json::{Value, json};

use crate::harness::kafka::{Topic, brokers, tool};
use crate::harness::program::{Ended, kafka_actors};
use crate::harness::terminal::{self, type_keys, wait_for_text};

fn topics(arguments: &str) -> Ended {
    kafka_actors(&format!("topics {arguments} --brokers {}", brokers())).run()
}

/// Runs `kafka-topics`.
fn topic_command(arguments: &[&str]) -> String {
    let brokers = brokers();
    let arguments = [&["--bootstrap-server", brokers.as_str()], arguments].concat();
    tool("org.apache.kafka.tools.TopicCommand", &arguments, "")
}

/// The number of partitions of a topic, from Kafka's own tool.
fn partitions(topic: &str) -> usize {
    let described = topic_command(&["--describe", "--topic", topic]);
    described.lines().filter(|line| line.contains("Partition: ")).count()
}

#[test]
#[ignore = "needs a real Kafka"]
fn a_topic_with_fewer_partitions_names_the_command_that_adds_them() {
    let Topic { name, brokers } = Topic::new(2);
    let reported = topics(&format!("create {name}:5:1")).expect(1).reason().to_owned();
    let command = format!("kafka-actors topics alter {name}:5 --brokers {brokers}");
    assert!(
        reported.contains("exists already, with 2 partitions and not 5") && reported.contains(&command),
        "{reported}"
    );
    assert_eq!(partitions(&name), 2);
    let (_, arguments) = command.split_once(' ').unwrap();
    kafka_actors(arguments).run().expect(0).reports("partitions added");
    assert_eq!(partitions(&name), 5);
    topics(&format!("create {name}:5:1")).expect(0).reports("exists already");
    topics(&format!("alter {name}:5")).expect(0).reports("that many partitions already");
    for refused in [format!("alter {name}:4"), format!("create {name}:4:1")] {
        let reported = topics(&refused).expect(1).reason().to_owned();
        assert!(reported.contains("5 partitions") && reported.contains("Kafka cannot remove partitions"), "{reported}");
    }
    assert_eq!(partitions(&name), 5);
    let missing = format!("{name}-missing");
    let reported = topics(&format!("alter {missing}:4")).expect(1).reason().to_owned();
    assert!(reported.contains(&format!("{missing:?} does not exist")), "{reported}");
}

#[test]
#[ignore = "needs a real Kafka"]
fn all_topics_are_listed_as_kafkas_own_tool_lists_them() {
    let Topic { name, .. } = Topic::new(3);
    let listed = topics("list --json").expect(0).stdout;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let own = listed.iter().find(|topic| topic["name"] == name.as_str()).unwrap();
    assert_eq!(*own, json!({"name": name, "partitions": 3, "replication_factor": 1}));
    // Other tests create and delete their topics meanwhile.
    let names = topic_command(&["--list"]);
    assert!(names.lines().any(|line| line == name), "{names}");
    let table = topics("list").expect(0).stdout;
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(name.as_str())).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), [name.as_str(), "3", "1"]);
}

#[test]
#[ignore = "needs a real Kafka"]
fn on_a_terminal_a_deletion_asks_first() {
    let Topic { name, brokers } = Topic::new(2);
    let question = format!("Delete {name} (2 partitions) with all messages? [y/N] ");
    let delete =
        |more: &str| terminal::run(&format!("$PROGRAM topics delete {name} --brokers {brokers} {more}"), 24, 80);
    // Ctrl+C ends the shell, too, which then prints no exit code.
    for (keys, code) in [("n\n", Some(1)), ("\n", Some(1)), ("\u{4}", Some(1)), ("\u{3}", None)] {
        let running = delete("");
        wait_for_text(&running, &question);
        type_keys(&running, keys);
        let ended = running.end();
        let reported = code.map_or_else(|| "^C".to_owned(), |code| format!("code {code}"));
        assert!(ended.stdout.contains(&reported), "{keys:?}: {:?}", ended.stdout);
        assert_eq!(partitions(&name), 2, "{keys:?}");
    }
    let running = delete("");
    wait_for_text(&running, &question);
    type_keys(&running, "y\n");
    assert!(running.end().stdout.contains("code 0"));
    topics(&format!("describe {name}")).expect(1);

    topics(&format!("create {name}:1:1")).expect(0);
    let ended = delete("--yes").end();
    assert!(ended.stdout.contains("code 0") && !ended.stdout.contains("[y/N]"), "{:?}", ended.stdout);
    // Without a terminal there is no confirmation prompt.
    topics(&format!("create {name}:1:1")).expect(0);
    topics(&format!("delete {name}")).expect(0);
}
