//! The verifying process' side: bytes as they come, events out.

use super::{ENTRY, Entries, Event, HEAD, LONGEST, MAGIC, PARTITIONS, Reader, VERSION, kind};
use crate::stamp::Kind;

/// Why a journal cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Another program, or another protocol.
    #[error("a worker's journal begins with {found:02x?}, not with {MAGIC:02x?}; this is no worker of this program")]
    Magic {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// Another version of this program.
    #[error(
        "a worker writes journals of version {found}, this is version {VERSION}; the program's file was replaced while it ran: start it again"
    )]
    Version {
        /// The worker's.
        found: u32,
    },
    /// Bytes that no worker writes.
    #[error("a worker's journal is broken at byte {at}: {problem}")]
    Broken {
        /// Where the frame begins.
        at: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// How a journal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Who wrote it, if it came so far.
    pub reader: Option<Reader>,
    /// Whether it ends with [`Event::Bye`]; if not, the worker has died.
    pub clean: bool,
    /// Bytes of a frame that was cut off; what was in it is not known.
    pub discarded: usize,
}

/// Reads one journal.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// A frame that has come in part.
    pending: Vec<u8>,
    /// Where the next frame begins.
    at: u64,
    reader: Option<Reader>,
    clean: bool,
}

/// How many bytes the frame that `bytes` begin with has; `None` if the head is not all there.
fn length(bytes: &[u8]) -> Option<usize> {
    let (_, length) = bytes.get(..HEAD)?.split_last_chunk::<4>()?;
    Some(HEAD.saturating_add(u32::from_le_bytes(*length) as usize))
}

/// A partition and an offset.
fn place(body: &[u8]) -> Option<(i32, i64)> {
    let (partition, offset) = body.split_first_chunk::<4>()?;
    Some((i32::from_le_bytes(*partition), i64::from_le_bytes(offset.try_into().ok()?)))
}

impl Decoder {
    /// Takes what came, and tells `on` the frames that are complete.
    ///
    /// # Errors
    /// If this is no journal. Nothing that comes after can be read.
    pub fn push(&mut self, mut bytes: &[u8], mut on: impl FnMut(Event<'_>)) -> Result<(), JournalError> {
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

    /// The journal has ended.
    pub fn finish(&self) -> End {
        End { reader: self.reader, clean: self.clean, discarded: self.pending.len() }
    }

    fn broken(&self, problem: impl Into<String>) -> JournalError {
        JournalError::Broken { at: self.at, problem: problem.into() }
    }

    /// The length of the first frame, if all of it is there.
    fn whole(&self, bytes: &[u8]) -> Result<Option<usize>, JournalError> {
        let Some(length) = length(bytes) else { return Ok(None) };
        if self.reader.is_none() && bytes.first() != Some(&kind::HELLO) {
            return Err(JournalError::Magic { found: bytes[..HEAD].to_vec() });
        }
        if length > LONGEST {
            return Err(self.broken(format!("a frame of {length} bytes; the longest has {LONGEST}")));
        }
        Ok((length <= bytes.len()).then_some(length))
    }

    fn frame(&mut self, frame: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<(), JournalError> {
        let (head, body) = frame.split_at(HEAD.min(frame.len()));
        let kind = head.first().copied().unwrap_or_default();
        if self.clean {
            return Err(self.broken("a frame behind the last one"));
        }
        let event = match kind {
            kind::HELLO => Event::Hello(self.hello(body)?),
            kind::READ => {
                let (time, entries) =
                    body.split_first_chunk::<8>().ok_or_else(|| self.broken("messages without a time"))?;
                self.check(entries)?;
                Event::Read { time_us: u64::from_le_bytes(*time), entries: Entries(entries) }
            }
            kind::ASSIGNED | kind::COMMITTED => {
                let (partition, offset) = place(body)
                    .filter(|(partition, offset)| (0..PARTITIONS).contains(partition) && *offset >= 0)
                    .ok_or_else(|| self.broken("a partition or an offset that cannot be"))?;
                if kind == kind::ASSIGNED {
                    Event::Assigned { partition, start: offset }
                } else {
                    Event::Committed { partition, offset }
                }
            }
            kind::BYE => {
                self.clean = true;
                Event::Bye
            }
            other => return Err(self.broken(format!("a frame of the kind {other}"))),
        };
        self.at += frame.len() as u64;
        on(event);
        Ok(())
    }

    fn hello(&mut self, body: &[u8]) -> Result<Reader, JournalError> {
        let Some((&MAGIC, numbers)) = body.split_first_chunk::<4>() else {
            return Err(JournalError::Magic { found: body[..body.len().min(MAGIC.len())].to_vec() });
        };
        let numbers: Vec<_> = numbers.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number)).collect();
        match numbers[..] {
            [VERSION, slot, process] if self.reader.is_none() => {
                let reader = Reader { slot, process };
                self.reader = Some(reader);
                Ok(reader)
            }
            [VERSION, ..] => Err(self.broken("a second beginning")),
            [found, ..] => Err(JournalError::Version { found }),
            [] => Err(self.broken("a beginning without a version")),
        }
    }

    /// Whether entries are what a worker writes.
    fn check(&self, entries: &[u8]) -> Result<(), JournalError> {
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        let possible = |entry: &[u8; ENTRY]| {
            let negative = entry[7] & 0x80 != 0;
            // Below 2^20: the two upper bytes hold four bits at most.
            let partition = entry[27] == 0 && entry[26] < (PARTITIONS >> 16) as u8;
            !negative && partition && Kind::from_byte(entry[30]).is_some()
        };
        if !rest.is_empty() {
            return Err(self.broken(format!("{} bytes behind the last message", rest.len())));
        }
        match entries.iter().position(|entry| !possible(entry)) {
            None => Ok(()),
            Some(at) => Err(self.broken(format!("message {at} of the frame stands at a place that cannot be"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, MOST_ENTRIES, Writer};
    use super::*;
    use proptest::prelude::*;

    const READER: Reader = Reader { slot: 2, process: 4711 };

    /// An event that owns what is in it.
    #[derive(Clone, Debug, PartialEq)]
    enum Owned {
        Other(Event<'static>),
        Read(u64, Vec<Entry>),
    }

    fn owned(event: Event<'_>) -> Owned {
        match event {
            Event::Read { time_us, entries } => Owned::Read(time_us, entries.iter().collect()),
            Event::Hello(reader) => Owned::Other(Event::Hello(reader)),
            Event::Assigned { partition, start } => Owned::Other(Event::Assigned { partition, start }),
            Event::Committed { partition, offset } => Owned::Other(Event::Committed { partition, offset }),
            Event::Bye => Owned::Other(Event::Bye),
        }
    }

    fn write(writer: &mut Writer, event: &Owned) {
        match event {
            Owned::Read(time_us, entries) => writer.read(*time_us, entries),
            Owned::Other(Event::Assigned { partition, start }) => writer.assigned(*partition, *start),
            Owned::Other(Event::Committed { partition, offset }) => writer.committed(*partition, *offset),
            Owned::Other(_) => writer.bye(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<(Vec<Owned>, End), JournalError> {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        decoder.push(bytes, |event| events.push(owned(event)))?;
        Ok((events, decoder.finish()))
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let place = (0..PARTITIONS, 0..i64::MAX);
        let stamp = (any::<u64>(), any::<u64>(), any::<u16>(), 0_u8..4);
        (place, stamp, any::<[bool; 4]>()).prop_map(|((partition, offset), (run, sequence, producer, kind), flags)| {
            let [stamped, intact, misplaced, failed] = flags;
            let kind = Kind::from_byte(kind).unwrap();
            Entry { offset, sequence, run, partition, producer, kind, stamped, intact, misplaced, failed }
        })
    }

    fn events() -> impl Strategy<Value = Owned> {
        let place = || (0..PARTITIONS, 0..i64::MAX);
        prop_oneof![
            place().prop_map(|(partition, start)| Owned::Other(Event::Assigned { partition, start })),
            place().prop_map(|(partition, offset)| Owned::Other(Event::Committed { partition, offset })),
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
            for event in events.iter().chain([&Owned::Other(Event::Bye)]) {
                write(&mut writer, event);
                ends.push(writer.bytes().len());
            }
            let end = end.index(writer.bytes().len() + 1);
            let mut rest = &writer.bytes()[..end];
            let (mut decoder, mut read) = (Decoder::default(), Vec::new());
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                decoder.push(now, |event| read.push(owned(event))).unwrap();
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let complete = ends.iter().filter(|frame| **frame <= end).count();
            let all = [Owned::Other(Event::Hello(READER))].into_iter().chain(events).chain([Owned::Other(Event::Bye)]);
            prop_assert_eq!(read, all.take(complete).collect::<Vec<_>>());
            let before = ends[..complete].last().copied().unwrap_or_default();
            let reader = (complete > 0).then_some(READER);
            let clean = complete == ends.len();
            prop_assert_eq!(decoder.finish(), End { reader, clean, discarded: end - before });
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, after_hello: bool, kind in 0_u8..7) {
            if after_hello {
                let mut all = Writer::new(READER).bytes().to_vec();
                all.extend([kind, 0, 0, 0, 16, 0, 0, 0]);
                all.append(&mut bytes);
                bytes = all;
            }
            let _any = decode(&bytes).is_ok();
        }
    }

    #[test]
    fn a_batch_that_is_too_long_for_a_frame_becomes_two() {
        let entry = Entry { sequence: 5, ..Entry::default() };
        let mut writer = Writer::new(READER);
        writer.read(1, &vec![entry; MOST_ENTRIES + 1]);
        let (events, end) = decode(writer.bytes()).unwrap();
        let [_, Owned::Read(1, first), Owned::Read(1, second)] = &events[..] else { panic!("{end:?}") };
        assert_eq!((first.len(), second.len()), (MOST_ENTRIES, 1));
        assert_eq!(end.discarded, 0);
    }

    #[test]
    fn what_is_no_journal_is_refused_with_the_reason() {
        assert_eq!(decode(b"GET / HTTP/1.1").unwrap_err(), JournalError::Magic { found: b"GET / HT".to_vec() });
        let hello = Writer::new(READER).bytes().to_vec();
        let mut other = hello.clone();
        other[HEAD] = b'X';
        assert_eq!(decode(&other).unwrap_err(), JournalError::Magic { found: b"XAJ\n".to_vec() });
        let mut other = hello.clone();
        other[HEAD + 4] = 9;
        assert_eq!(decode(&other).unwrap_err(), JournalError::Version { found: 9 });
        for (more, named) in [
            (hello.clone(), "second beginning"),
            (vec![kind::READ, 0, 0, 0, 0, 0, 0, 1], "16777224 bytes"),
            (vec![kind::READ, 0, 0, 0, 9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "1 bytes behind"),
            (vec![77, 0, 0, 0, 0, 0, 0, 0], "kind 77"),
            (vec![kind::BYE, 0, 0, 0, 0, 0, 0, 0, kind::BYE, 0, 0, 0, 0, 0, 0, 0], "behind the last"),
        ] {
            let text = decode(&[hello.clone(), more].concat()).unwrap_err().to_string();
            assert!(text.contains(named) && text.contains("at byte"), "{text}");
        }
        for entry in [
            Entry { offset: -1, ..Entry::default() },
            Entry { partition: -1, ..Entry::default() },
            Entry { partition: PARTITIONS, ..Entry::default() },
        ] {
            let mut writer = Writer::new(READER);
            writer.read(1, &[Entry::default(), entry]);
            let text = decode(writer.bytes()).unwrap_err().to_string();
            assert!(text.contains("message 1 of the frame"), "{text}");
        }
    }
}
