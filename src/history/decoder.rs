//! The verifier's side: decodes a stream of bytes into events.

use super::{ENTRY, Entries, HEAD, HISTORY_VERSION, HistoryEvent, MAGIC, MAX_FRAME_BYTES, PARTITIONS, WorkerId, kind};
use crate::stamp::StampKind;

/// Why a history cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The sender is another program or uses another protocol.
    #[error("a worker's journal begins with {found:02x?}, not with {MAGIC:02x?}; this is no worker of this program")]
    Magic {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// The sender is another version of this program.
    #[error(
        "a worker writes histories of version {found}, this process reads version {HISTORY_VERSION}; the program file was replaced while it ran: restart it"
    )]
    Version {
        /// The worker's version.
        found: u32,
    },
    /// Bytes that no worker writes.
    #[error("a worker's journal is broken at byte {at}: {problem}")]
    Broken {
        /// The offset of the frame in the stream.
        at: u64,
        /// What is wrong with the frame.
        problem: String,
    },
}

/// How a history ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// The worker that wrote it, if the first frame is complete.
    pub reader: Option<WorkerId>,
    /// Whether it ends with [`HistoryEvent::Bye`]; otherwise the worker crashed.
    pub clean: bool,
    /// The number of bytes of an incomplete last frame, whose content is unknown.
    pub discarded: usize,
}

/// Decodes one history.
#[derive(Clone, Debug, Default)]
pub struct HistoryDecoder {
    /// An incomplete frame.
    pending: Vec<u8>,
    /// The stream offset of the next frame.
    at: u64,
    reader: Option<WorkerId>,
    clean: bool,
}

/// The length of the frame that `bytes` start with; `None` if its header is incomplete.
fn length(bytes: &[u8]) -> Option<usize> {
    let (_, length) = bytes.get(..HEAD)?.split_last_chunk::<4>()?;
    Some(HEAD.saturating_add(u32::from_le_bytes(*length) as usize))
}

/// Parses a partition and an offset.
fn place(body: &[u8]) -> Option<(i32, i64)> {
    let (partition, offset) = body.split_first_chunk::<4>()?;
    Some((i32::from_le_bytes(*partition), i64::from_le_bytes(offset.try_into().ok()?)))
}

impl HistoryDecoder {
    /// Decodes received bytes and calls `on` for each complete frame.
    ///
    /// # Errors
    /// The bytes are no history. Nothing after them can be decoded.
    pub fn push(&mut self, mut bytes: &[u8], mut on: impl FnMut(HistoryEvent<'_>)) -> Result<(), HistoryError> {
        loop {
            if self.pending.is_empty() {
                let Some(whole) = self.whole(bytes)? else { break };
                let (frame, rest) = bytes.split_at(whole);
                self.frame(frame, &mut on)?;
                bytes = rest;
            } else {
                let missing = length(&self.pending).unwrap_or(HEAD) - self.pending.len();
                let (more, rest) = bytes.split_at(missing.min(bytes.len()));
                self.pending.extend_from_slice(more);
                bytes = rest;
                let mut pending = std::mem::take(&mut self.pending);
                match self.whole(&pending)? {
                    Some(_) => {
                        self.frame(&pending, &mut on)?;
                        pending.clear();
                    }
                    None if bytes.is_empty() => {
                        self.pending = pending;
                        return Ok(());
                    }
                    None => {}
                }
                self.pending = pending;
            }
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the history.
    pub fn finish(&self) -> StreamEnd {
        StreamEnd { reader: self.reader, clean: self.clean, discarded: self.pending.len() }
    }

    fn broken(&self, problem: impl Into<String>) -> HistoryError {
        HistoryError::Broken { at: self.at, problem: problem.into() }
    }

    /// The length of the first frame, if it is complete.
    fn whole(&self, bytes: &[u8]) -> Result<Option<usize>, HistoryError> {
        let Some(length) = length(bytes) else { return Ok(None) };
        if self.reader.is_none() && bytes.first() != Some(&kind::OPEN) {
            return Err(HistoryError::Magic { found: bytes[..HEAD].to_vec() });
        }
        if length > MAX_FRAME_BYTES {
            return Err(self.broken(format!("a frame of {length} bytes; the maximum is {MAX_FRAME_BYTES}")));
        }
        Ok((length <= bytes.len()).then_some(length))
    }

    fn frame(&mut self, frame: &[u8], on: &mut impl FnMut(HistoryEvent<'_>)) -> Result<(), HistoryError> {
        let (head, body) = frame.split_at(HEAD.min(frame.len()));
        let kind = head.first().copied().unwrap_or_default();
        if self.clean {
            return Err(self.broken("a frame after the last one"));
        }
        let event = match kind {
            kind::OPEN => HistoryEvent::Hello(self.hello(body)?),
            kind::READ => {
                let (time, entries) =
                    body.split_first_chunk::<8>().ok_or_else(|| self.broken("messages without a time"))?;
                self.check(entries)?;
                HistoryEvent::Read { time_us: u64::from_le_bytes(*time), entries: Entries(entries) }
            }
            kind::ASSIGNED | kind::COMMITTED => {
                let (partition, offset) = place(body)
                    .filter(|(partition, offset)| (0..PARTITIONS).contains(partition) && *offset >= 0)
                    .ok_or_else(|| self.broken("an invalid partition or offset"))?;
                if kind == kind::ASSIGNED {
                    HistoryEvent::Assigned { partition, start: offset }
                } else {
                    HistoryEvent::Committed { partition, offset }
                }
            }
            kind::CLOSE => {
                self.clean = true;
                HistoryEvent::Bye
            }
            other => return Err(self.broken(format!("a frame of the kind {other}"))),
        };
        self.at += frame.len() as u64;
        on(event);
        Ok(())
    }

    fn hello(&mut self, body: &[u8]) -> Result<WorkerId, HistoryError> {
        let Some((&MAGIC, numbers)) = body.split_first_chunk::<4>() else {
            return Err(HistoryError::Magic { found: body[..body.len().min(MAGIC.len())].to_vec() });
        };
        let numbers: Vec<_> = numbers.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number)).collect();
        match numbers[..] {
            [HISTORY_VERSION, slot, process] if self.reader.is_none() => {
                let reader = WorkerId { slot, process };
                self.reader = Some(reader);
                Ok(reader)
            }
            [HISTORY_VERSION, ..] => Err(self.broken("a second hello frame")),
            [found, ..] => Err(HistoryError::Version { found }),
            [] => Err(self.broken("a hello frame without a version")),
        }
    }

    /// Checks that the entries are valid.
    fn check(&self, entries: &[u8]) -> Result<(), HistoryError> {
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        let possible = |entry: &[u8; ENTRY]| {
            let negative = entry[7] & 0x80 != 0;
            // Below 2^20: the two upper bytes hold at most four bits.
            let partition = entry[27] == 0 && entry[26] < (PARTITIONS >> 16) as u8;
            !negative && partition && StampKind::from_byte(entry[30]).is_some()
        };
        if !rest.is_empty() {
            return Err(self.broken(format!("{} bytes after the last message", rest.len())));
        }
        match entries.iter().position(|entry| !possible(entry)) {
            None => Ok(()),
            Some(at) => Err(self.broken(format!("message {at} of the frame has an invalid partition or offset"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HistoryEntry, MOST_ENTRIES, Writer};
    use super::*;
    use proptest::prelude::*;

    const READER: WorkerId = WorkerId { slot: 2, process: 4711 };

    /// An event that owns its content.
    #[derive(Clone, Debug, PartialEq)]
    enum Owned {
        Other(HistoryEvent<'static>),
        Read(u64, Vec<HistoryEntry>),
    }

    fn owned(event: HistoryEvent<'_>) -> Owned {
        match event {
            HistoryEvent::Read { time_us, entries } => Owned::Read(time_us, entries.iter().collect()),
            HistoryEvent::Hello(reader) => Owned::Other(HistoryEvent::Hello(reader)),
            HistoryEvent::Assigned { partition, start } => Owned::Other(HistoryEvent::Assigned { partition, start }),
            HistoryEvent::Committed { partition, offset } => {
                Owned::Other(HistoryEvent::Committed { partition, offset })
            }
            HistoryEvent::Bye => Owned::Other(HistoryEvent::Bye),
        }
    }

    fn write(writer: &mut Writer, event: &Owned) {
        match event {
            Owned::Read(time_us, entries) => writer.read(*time_us, entries),
            Owned::Other(HistoryEvent::Assigned { partition, start }) => writer.assigned(*partition, *start),
            Owned::Other(HistoryEvent::Committed { partition, offset }) => writer.committed(*partition, *offset),
            Owned::Other(_) => writer.bye(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<(Vec<Owned>, StreamEnd), HistoryError> {
        let (mut decoder, mut events) = (HistoryDecoder::default(), Vec::new());
        decoder.push(bytes, |event| events.push(owned(event)))?;
        Ok((events, decoder.finish()))
    }

    fn entries() -> impl Strategy<Value = HistoryEntry> {
        let place = (0..PARTITIONS, 0..i64::MAX);
        let stamp = (any::<u64>(), any::<u64>(), any::<u16>(), 0_u8..4);
        (place, stamp, any::<[bool; 4]>()).prop_map(|((partition, offset), (run, sequence, producer, kind), flags)| {
            let [stamped, intact, misplaced, failed] = flags;
            let kind = StampKind::from_byte(kind).unwrap();
            HistoryEntry { offset, sequence, run, partition, producer, kind, stamped, intact, misplaced, failed }
        })
    }

    fn events() -> impl Strategy<Value = Owned> {
        let place = || (0..PARTITIONS, 0..i64::MAX);
        prop_oneof![
            place().prop_map(|(partition, start)| Owned::Other(HistoryEvent::Assigned { partition, start })),
            place().prop_map(|(partition, offset)| Owned::Other(HistoryEvent::Committed { partition, offset })),
            (any::<u64>(), prop::collection::vec(entries(), 1..20)).prop_map(|(time, all)| Owned::Read(time, all)),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_comes_and_wherever_it_ends(
            events in prop::collection::vec(events(), 0..20),
            pieces in prop::collection::vec(1_usize..200, 1..50),
            end: prop::sample::Index,
        ) {
            let mut writer = Writer::new(READER);
            let mut ends = vec![writer.bytes().len()];
            for event in events.iter().chain([&Owned::Other(HistoryEvent::Bye)]) {
                write(&mut writer, event);
                ends.push(writer.bytes().len());
            }
            let end = end.index(writer.bytes().len() + 1);
            let mut rest = &writer.bytes()[..end];
            let (mut decoder, mut read) = (HistoryDecoder::default(), Vec::new());
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                decoder.push(now, |event| read.push(owned(event))).unwrap();
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let complete = ends.iter().filter(|frame| **frame <= end).count();
            let all = [Owned::Other(HistoryEvent::Hello(READER))].into_iter().chain(events).chain([Owned::Other(HistoryEvent::Bye)]);
            prop_assert_eq!(read, all.take(complete).collect::<Vec<_>>());
            let before = ends[..complete].last().copied().unwrap_or_default();
            let reader = (complete > 0).then_some(READER);
            let clean = complete == ends.len();
            prop_assert_eq!(decoder.finish(), StreamEnd { reader, clean, discarded: end - before });
        }

        #[test]
        fn no_frames_make_it_panic_or_keep_more_than_one(
            frames in prop::collection::vec((0_u8..7, prop::collection::vec(any::<u8>(), 0..80), any::<bool>()), 0..10),
            pieces in prop::collection::vec(1_usize..100, 1..10),
        ) {
            let mut bytes = Writer::new(READER).bytes().to_vec();
            for (kind, body, wrong_length) in frames {
                let length = if wrong_length { u32::MAX } else { body.len() as u32 };
                bytes.extend([&[kind, 0, 0, 0][..], &length.to_le_bytes(), &body].concat());
            }
            let mut decoder = HistoryDecoder::default();
            let mut rest = bytes.as_slice();
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                let read = decoder.push(now, |event| drop(owned(event)));
                prop_assert!(decoder.pending.len() < MAX_FRAME_BYTES);
                rest = later;
                if rest.is_empty() || read.is_err() {
                    break;
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, after_hello: bool, kind in 0_u8..7) {
            if after_hello {
                let mut all = Writer::new(READER).bytes().to_vec();
                all.extend([kind, 0, 0, 0, 16, 0, 0, 0]);
                all.append(&mut bytes);
                bytes = all;
            }
            decode(&bytes).ok();
        }
    }

    #[test]
    fn a_batch_that_is_too_long_for_a_frame_becomes_two() {
        let entry = HistoryEntry { sequence: 5, ..HistoryEntry::default() };
        let mut writer = Writer::new(READER);
        writer.read(1, &vec![entry; MOST_ENTRIES + 1]);
        let (events, end) = decode(writer.bytes()).unwrap();
        let [_, Owned::Read(1, first), Owned::Read(1, second)] = &events[..] else { panic!("{end:?}") };
        assert_eq!((first.len(), second.len()), (MOST_ENTRIES, 1));
        assert_eq!(end.discarded, 0);
    }

    #[test]
    fn what_is_no_journal_is_refused_with_the_reason() {
        assert_eq!(decode(b"GET / HTTP/1.1").unwrap_err(), HistoryError::Magic { found: b"GET / HT".to_vec() });
        let hello = Writer::new(READER).bytes().to_vec();
        let mut other = hello.clone();
        other[HEAD] = b'X';
        assert_eq!(decode(&other).unwrap_err(), HistoryError::Magic { found: b"XAJ\n".to_vec() });
        let mut other = hello.clone();
        other[HEAD + 4] = 9;
        assert_eq!(decode(&other).unwrap_err(), HistoryError::Version { found: 9 });
        for (more, named) in [
            (hello.clone(), "second hello frame"),
            (vec![kind::READ, 0, 0, 0, 0, 0, 0, 1], "16777224 bytes"),
            (vec![kind::READ, 0, 0, 0, 9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "1 bytes after"),
            (vec![77, 0, 0, 0, 0, 0, 0, 0], "kind 77"),
            (vec![kind::CLOSE, 0, 0, 0, 0, 0, 0, 0, kind::CLOSE, 0, 0, 0, 0, 0, 0, 0], "after the last"),
        ] {
            let text = decode(&[hello.clone(), more].concat()).unwrap_err().to_string();
            assert!(text.contains(named) && text.contains("at byte"), "{text}");
        }
        for entry in [
            HistoryEntry { offset: -1, ..HistoryEntry::default() },
            HistoryEntry { partition: -1, ..HistoryEntry::default() },
            HistoryEntry { partition: PARTITIONS, ..HistoryEntry::default() },
        ] {
            let mut writer = Writer::new(READER);
            writer.read(1, &[HistoryEntry::default(), entry]);
            let text = decode(writer.bytes()).unwrap_err().to_string();
            assert!(text.contains("message 1 of the frame"), "{text}");
        }
    }
}
