//! A user's program that is built with the library.

use tempfile::TempDir;

use crate::harness::program::example;

#[test]
fn the_example_archives_every_message_once() {
    let archive = TempDir::new().unwrap();
    let folder = archive.path().to_str().unwrap();
    let ended = example("archive", "demo --rate 0 --messages-per-thread 250").env("ARCHIVE", folder).run().expect(0);
    assert_eq!(ended.processed(), 1_000);
    let mut lines = 0;
    for file in std::fs::read_dir(archive.path()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for (offset, line) in text.lines().enumerate() {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                message["offset"], offset,
                "each file holds its partition from the first offset on, without a gap"
            );
            assert!(message["value"]["celsius"].is_number(), "{line}");
            lines += 1;
        }
    }
    assert_eq!(lines, 1_000);
}

#[test]
fn a_panic_in_a_generator_ends_its_thread_alone() {
    let ended = example("faulty", "demo --rate 0 --messages-per-thread 50").env("FAULT", "generator").run().expect(1);
    assert!(ended.reason().contains("producer 2") && ended.reason().contains("no more ideas"), "{}", ended.reason());
    let threads = ended.report["produce"]["threads"].as_array().unwrap();
    assert!(threads[2]["panic"].as_str().unwrap().contains("no more ideas"));
    assert_eq!((threads[2]["sent"].as_u64(), threads[2]["acknowledged"].as_u64()), (Some(5), Some(5)));
    assert_eq!((ended.acknowledged(), ended.processed()), (155, 155), "the others' messages are there");
}

#[test]
fn a_panic_in_a_processor_is_that_messages_failure() {
    let demo = |policy: &str| {
        let arguments = format!("demo --rate 0 --messages-per-thread 50 --set consumer.on_failure={policy}");
        example("faulty", &arguments).env("FAULT", "processor").run()
    };
    let stopped = demo("stop").expect(1);
    assert!(stopped.reason().contains("cannot stomach this"), "{}", stopped.reason());
    let skipped = demo("skip").expect(0).reports("1 failed");
    assert_eq!(skipped.report["consume"]["failed"], 1, "{}", skipped.report);
    assert_eq!(skipped.processed(), 199);
    assert_eq!(skipped.restarts(), [""; 0]);
}

#[test]
fn an_async_processor_overlaps_partitions_and_keeps_their_order() {
    // 120 messages of 50 ms each, in 6 partitions of one worker: 6 s in sequence, 1 s concurrently.
    let arguments = "demo --rate 0 --processes 1 --threads 1 --messages-per-thread 120";
    let ended = example("faulty", arguments).env("FAULT", "slow").run().expect(0);
    assert_eq!(ended.processed(), 120);
    let rate = ended.report["consume"]["messages_per_second"].as_f64().unwrap();
    assert!(rate > 24.0, "{rate} messages/s: they did not overlap");
}

#[test]
fn built_in_processors_stay_to_be_chosen() {
    let ended =
        example("archive", "demo --rate 0 --messages-per-thread 5 --set consumer.processor=print").run().expect(0);
    assert_eq!(ended.stdout.lines().count(), 20);
}

#[test]
fn bytes_that_are_not_text_reach_programs_as_base64() {
    let program = "import sys, json, base64\nfor line in sys.stdin:\n    m = json.loads(line)\n    \
        ok = base64.b64decode(m['value_base64']) == bytes([0xff, 0, 0xfe])\n    \
        print(json.dumps({'id': m['id']} if ok else {'id': m['id'], 'error': line}), flush=True)\n";
    let demo = example("faulty", "demo --rate 0 --messages-per-thread 10");
    let demo = demo.arg("--set").arg("consumer.command=python3 work.py").file("work.py", program).env("FAULT", "bytes");
    assert_eq!(demo.run().expect(0).processed(), 40);
}
