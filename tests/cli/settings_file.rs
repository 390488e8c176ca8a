//! Which settings file is read, and which owners and modes it may have; files with a byte order mark.

use std::os::unix::fs::PermissionsExt;

use crate::harness::program::{Ended, kafka_actors, shell};

/// Runs `config show` with a settings file of this text and mode.
fn show(text: &str, mode: u32) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    kafka_actors("config show --config").arg(path.to_str().unwrap()).run()
}

#[test]
fn the_settings_file_is_named_in_the_log() {
    let ended = kafka_actors("config check").file("Settings.toml", "[producer]\nthreads = 2\n").run().expect(0);
    assert!(
        ended.stderr.contains("settings file, file: /") && ended.stderr.contains("/Settings.toml"),
        "{}",
        ended.stderr
    );
    let ended = kafka_actors("config check").run().expect(0);
    assert!(!ended.stderr.contains("settings file"), "{}", ended.stderr);
    kafka_actors("config check -v").run().expect(0).reports("no settings file");
}

#[test]
fn a_settings_file_that_others_can_write_is_refused() {
    let text = "[producer]\nthreads = 3\n";
    assert!(show(text, 0o644).expect(0).stdout.contains("producer.threads = 3"));
    assert!(show(text, 0o600).expect(0).stdout.contains("producer.threads = 3"));
    let ended = show(text, 0o666).expect(2).reports("other.toml").reports("(mode 0666)").reports("chmod o-w");
    assert!(!ended.stdout.contains("threads"), "{}", ended.stdout);
    // The layout of a Kubernetes volume: links to a file that root owns.
    let linked = "mkdir ..data && echo 'producer.threads = 3' >..data/Settings.toml && ln -s ..data/Settings.toml Settings.toml && \
        $PROGRAM config show";
    assert!(shell(linked).run_plain().expect(0).stdout.contains("producer.threads = 3"));
    assert!(
        shell("$PROGRAM config show --config <(echo producer.threads=3)")
            .run_plain()
            .expect(0)
            .stdout
            .contains("threads = 3")
    );
}

/// Only root can change the owner of a file.
#[test]
fn a_settings_file_of_another_user_is_refused() {
    let line =
        "echo 'consumer.command = \"touch ran\"' >Settings.toml && chown 12345 Settings.toml && $PROGRAM config show";
    let ended = shell(line).run_plain();
    if !ended.stderr.contains("not permitted") {
        ended.expect(2).reports("Settings.toml").reports("belongs to user 12345").reports("chown");
    }
}

#[test]
fn a_byte_order_mark_and_carriage_returns_change_nothing() {
    let ended = show("\u{feff}[producer]\r\nthreads = 3\r\n", 0o644).expect(0);
    assert!(ended.stdout.contains("producer.threads = 3"), "{}", ended.stdout);
    let messages = |arguments: &str, text: &str| {
        let ended = kafka_actors(&format!("produce --dry-run 2 {arguments}")).file("file", text).run().expect(0);
        ended.stdout
    };
    let made = messages("--template-file file", "\u{feff}{\r\n\"a\": 1\r\n}\r\n");
    assert!(made.contains("\"a\":1") || made.contains("\\\"a\\\":1"), "{made}");
    let made = messages("--lines-file file", "\u{feff}{\"a\":1}\r\n{\"a\":2}\r\n");
    assert!(!made.contains('\u{feff}') && !made.contains("\\r") && made.lines().count() == 2, "{made:?}");
    let utf_16: Vec<u8> = "[producer]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("utf-16.toml");
    std::fs::write(&path, [&[0xff, 0xfe][..], &utf_16].concat()).unwrap();
    kafka_actors("config show --config").arg(path.to_str().unwrap()).run().expect(2).reports("UTF-16");
}
