//! Round trips, and errors of damaged files.

use std::fs;

use proptest::prelude::*;

use super::*;

fn header() -> Header {
    Header::new(0xfeed, "t", vec![0, 70, 3], 4, "2026-10-17T00:00:00Z")
}

fn append(writer: &mut Writer, record: &RunFileRecord) {
    match *record {
        RunFileRecord::Acknowledged { producer, sequence, partition, offset } => {
            writer.acknowledged(producer, sequence, partition, offset).unwrap();
        }
        RunFileRecord::Failed { producer, sequence } => writer.failed(producer, sequence).unwrap(),
    }
}

fn write(path: &Path, records: &[RunFileRecord]) -> Writer {
    let mut writer = OpenFile::new(path).unwrap().begin(&header()).unwrap();
    records.iter().for_each(|record| append(&mut writer, record));
    writer
}

fn read(path: &Path) -> Result<(Vec<RunFileRecord>, Totals), RunFileError> {
    let (found, reader) = Reader::open(path)?;
    assert_eq!(found, header());
    let mut records = Vec::new();
    let totals = reader.feed(&mut |record| records.push(record))?;
    Ok((records, totals))
}

/// Batches of 500 by 4 producers in 12 partitions, with occasional failures.
fn batches(count: u64) -> Vec<RunFileRecord> {
    let one = |at: u64| {
        let (batch, producer) = (at / 500, (at / 500 % 4) as u16);
        let (partition, sequence) = ((batch % 12) as i32, batch / 4 * 500 + at % 500);
        let offset = (batch / 12 * 500 + at % 500) as i64;
        if at % 5_000 == 77 {
            RunFileRecord::Failed { producer, sequence }
        } else {
            RunFileRecord::Acknowledged { producer, sequence, partition, offset }
        }
    };
    (0..count).map(one).collect()
}

fn records() -> impl Strategy<Value = Vec<RunFileRecord>> {
    let number =
        || (any::<u64>(), prop_oneof![Just(0), Just(20), 40..64_u32]).prop_map(|(number, less)| number >> less);
    let one = (0..3_u16, number(), -1..3_i32, number(), prop::bool::weighted(0.1));
    let one = one.prop_map(|(producer, sequence, partition, offset, failed)| {
        let producer = producer * (u16::MAX / 2);
        let (offset, partition) = (offset as i64, partition.wrapping_mul(i32::MAX));
        if failed {
            RunFileRecord::Failed { producer, sequence }
        } else {
            RunFileRecord::Acknowledged { producer, sequence, partition, offset }
        }
    });
    prop::collection::vec(one, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read(records in records(), flush_at: prop::sample::Index) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let flush_at = flush_at.index(records.len() + 1);
        let mut writer = write(&path, &records[..flush_at]);
        writer.flush().unwrap();
        let (before, totals) = read(&path).unwrap();
        prop_assert_eq!((before.as_slice(), totals.complete), (&records[..flush_at], false));
        for record in &records[flush_at..] {
            append(&mut writer, record);
        }
        let written = writer.finish().unwrap();
        prop_assert_eq!(read(&path).unwrap(), (records, written));
    }

    #[test]
    fn no_bytes_make_the_reading_panic(
        line in prop_oneof![
            4 => Just(serde_json::to_vec(&header()).unwrap()), 1 => any::<Vec<u8>>(), 1 => "[{\\[\":a-z0-9,]{0,40}".prop_map(String::into_bytes)
        ],
        blocks in prop::collection::vec((0..3_usize, prop::collection::vec(any::<u8>(), 0..60), any::<bool>()), 0..6),
        rest: Vec<u8>,
    ) {
        // Blocks with valid checksums and arbitrary content.
        let mut bytes = [&line[..], b"\n"].concat();
        let first = crc32fast::hash(&bytes).to_le_bytes().to_vec();
        let kinds = [block::Kind::Records, block::Kind::FirstLine, block::Kind::End];
        let blocks = blocks.into_iter().map(|(kind, body, wrong)| (kinds[kind], body, wrong));
        let mut length = 0;
        for (kind, body, wrong) in [(block::Kind::FirstLine, first, false)].into_iter().chain(blocks) {
            let mut head = block::BlockHeader::of(kind, &body);
            if wrong {
                head[4] ^= 1;
            }
            length += body.len();
            bytes.extend([&head[..], &body].concat());
        }
        bytes.extend(rest);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::write(&path, &bytes).unwrap();
        let mut records = 0;
        if let Ok((_, reader)) = Reader::open(&path) {
            reader.feed(&mut |_| records += 1).ok();
        }
        prop_assert!(records <= length, "each record has a byte at least");
    }
}

#[test]
fn a_batched_message_takes_two_bytes_and_a_scattered_one_less_than_seven() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let records = batches(200_000);
    write(&path, &records).finish().unwrap();
    assert_eq!(read(&path).unwrap().0, records);
    let length = fs::metadata(&path).unwrap().len();
    assert!(length < 405_000, "{length}");
    let scattered = |at: u64| RunFileRecord::Acknowledged {
        producer: (at % 4) as u16,
        sequence: at / 4,
        partition: (at * 7 % 12) as i32,
        offset: (at / 12) as i64,
    };
    write(&path, &(0..200_000).map(scattered).collect::<Vec<_>>()).finish().unwrap();
    let length = fs::metadata(&path).unwrap().len();
    assert!(length < 1_300_000, "{length}");
}

#[test]
fn a_file_that_was_cut_off_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let records = batches(100_000);
    let totals = write(&path, &records).finish().unwrap();
    assert_eq!((totals.acknowledged, totals.failed, totals.complete), (99_980, 20, true));
    let whole = fs::read(&path).unwrap();
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut lengths = Vec::new();
    for length in (line..whole.len()).step_by(997).chain(whole.len() - 40..whole.len()) {
        fs::write(&path, &whole[..length]).unwrap();
        let (found, totals) = read(&path).unwrap();
        assert!(!totals.complete && records.starts_with(&found), "{length}");
        lengths.push(found.len());
    }
    assert!(lengths.is_sorted() && lengths.last() == Some(&100_000), "{lengths:?}");
    fs::write(&path, &whole[..line - 1]).unwrap();
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains("does not begin with a whole line"), "{text}");
}

#[test]
fn no_byte_can_change_without_being_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    write(&path, &batches(300)).finish().unwrap();
    let whole = fs::read(&path).unwrap();
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let opened = Reader::open(&path).and_then(|(_, reader)| reader.feed(&mut |_| {}));
        let text = opened.expect_err(&format!("byte {at}")).to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
        assert!(at < line || text.contains("broken at byte"), "byte {at}: {text}");
    }
    fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains(&format!("broken at byte {}: unexpected data after", whole.len())), "{text}");
}

#[test]
fn a_block_that_is_missing_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut writer = write(&path, &batches(300));
    writer.flush().unwrap();
    let before = fs::metadata(&path).unwrap().len() as usize;
    writer.failed(1, 2).unwrap();
    writer.flush().unwrap();
    let behind = fs::metadata(&path).unwrap().len() as usize;
    writer.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..before], &whole[behind..]].concat()).unwrap();
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains(&format!("broken at byte {before}: blocks are missing")), "{text}");
}

#[test]
fn what_is_no_run_file_of_this_version_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let good = serde_json::to_string(&header()).unwrap();
    for (text, named) in [
        ("text\n".to_owned(), "first line is not that of a run file"),
        (String::new(), "whole line"),
        ("{\"version\":7,\"other\":1}\n".to_owned(), "version 7, and this program reads version 1"),
        ("{\"version\":1}\n".to_owned(), "missing field `run`"),
        (format!("{good}\n").replace("000000000000feed", "feet"), "\"feet\" is no hexadecimal"),
        (format!("{good}\n").replace("\"partitions\":3", "\"partitions\":2"), "2 partitions"),
        (format!("{good}\n").replace("70", "-70"), "offset -70"),
    ] {
        fs::write(&path, text).unwrap();
        let text = Reader::open(&path).unwrap_err().to_string();
        assert!(text.contains(named) && text.starts_with("run file /"), "{text}");
    }
    let text = Reader::open("/no/such/run").unwrap_err().to_string();
    assert!(text.starts_with("run file /no/such/run: cannot be read: "), "{text}");
}

#[test]
fn a_full_disk_is_named() {
    let text = OpenFile::new("/dev/full").unwrap().begin(&header()).unwrap_err().to_string();
    assert!(text.starts_with("run file /dev/full: cannot be written: ") && text.contains("space"), "{text}");
    let text = OpenFile::new("/no/such/run").unwrap_err().to_string();
    assert!(text.starts_with("run file /no/such/run: cannot be created: "), "{text}");
}
