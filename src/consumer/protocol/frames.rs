//! Frames: one JSON object per line.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The maximum size of a frame, in bytes: a heartbeat of 10,000 partitions has 2 MB. A longer frame comes from a
/// faulty peer and must not use up the memory.
const MAX_FRAME_BYTES: u64 = 16 << 20;

/// Writes frames.
pub struct FrameWriter(OwnedWriteHalf);

impl FrameWriter {
    /// Creates a writer for this half of the channel.
    pub fn new(half: OwnedWriteHalf) -> Self {
        Self(half)
    }

    /// Writes one frame; waits while the peer does not read.
    ///
    /// # Errors
    /// The peer is gone.
    pub async fn write<T: Serialize>(&mut self, frame: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }
}

/// Reads frames.
pub struct FrameReader {
    half: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

impl FrameReader {
    /// Creates a reader for this half of the channel.
    pub fn new(half: OwnedReadHalf) -> Self {
        Self { half: BufReader::new(half), line: Vec::new() }
    }

    /// The next frame; `None` when the peer is gone.
    ///
    /// # Errors
    /// The input is not a valid frame.
    pub async fn read<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        self.line.clear();
        let read = (&mut self.half).take(MAX_FRAME_BYTES).read_until(b'\n', &mut self.line).await?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            // The peer exited in the middle of a frame, or wrote one that is too long.
            return if (read as u64) < MAX_FRAME_BYTES {
                Ok(None)
            } else {
                Err(io::Error::other("a frame is too long"))
            };
        }
        serde_json::from_slice(&self.line).map(Some).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{InFlight, PROTOCOL_VERSION, PartitionProgress, WorkerCommand, WorkerEvent, WorkerHealth};
    use super::*;
    use crate::partition_counts::PartitionCounts;
    use crate::record::TopicPartition;

    fn rt() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn frames_arrive_as_they_were_sent() {
        rt().block_on(async {
            let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            let mut writer = FrameWriter::new(ours.into_split().1);
            let mut reader = FrameReader::new(theirs.into_split().0);
            writer.write(&WorkerCommand::Pause(true)).await.unwrap();
            writer.write(&WorkerCommand::ReadUntil(vec![(TopicPartition::new("a\nb", 1), 2)])).await.unwrap();
            drop(writer);
            assert!(matches!(reader.read().await.unwrap(), Some(WorkerCommand::Pause(true))));
            assert!(matches!(reader.read().await.unwrap(), Some(WorkerCommand::ReadUntil(list)) if list[0].1 == 2));
            assert!(reader.read::<WorkerCommand>().await.unwrap().is_none());
        });
    }

    /// Progress with numbers and texts that no worker sends.
    fn progress() -> impl Strategy<Value = PartitionProgress> {
        let counts = any::<[u64; 5]>();
        let place = (any::<String>(), any::<i32>(), any::<i64>(), any::<Option<i64>>(), any::<Option<i64>>());
        let state = (any::<Option<(i64, u64)>>(), any::<bool>(), any::<bool>());
        (place, counts, state).prop_map(
            |((topic, number, next, end, committed), counts, (in_flight, retrying, waits_for_turn))| {
                let [processed, failed, dead_lettered, retried, read_bytes] = counts;
                let in_flight = in_flight.map(|(offset, age_ms)| InFlight { offset, age_ms });
                let partition = TopicPartition::new(&topic, number);
                PartitionProgress {
                    partition,
                    next,
                    end,
                    committed,
                    counts: PartitionCounts { processed, failed, dead_lettered, retried, read_bytes },
                    in_flight,
                    retrying,
                    waits_for_turn,
                }
            },
        )
    }

    /// Valid frames, and changed ones.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let settings = crate::settings::defaults();
        let whole = vec![
            serde_json::to_vec(&WorkerCommand::AllowProcess(TopicPartition::new("t", 0), i64::MAX)).unwrap(),
            serde_json::to_vec(&WorkerEvent::Ready { version: PROTOCOL_VERSION }).unwrap(),
            serde_json::to_vec(&WorkerEvent::Times(Box::default())).unwrap(),
            serde_json::to_vec(&WorkerEvent::Health(WorkerHealth::default())).unwrap(),
            [br#"{"Start":{"version":6,"slot":0,"settings":"#, &serde_json::to_vec(&settings).unwrap()[..], b"}}"]
                .concat(),
        ];
        let changed = (prop::sample::select(whole), any::<prop::sample::Index>(), any::<Vec<u8>>());
        let changed = changed.prop_map(|(frame, at, bytes)| {
            let at = at.index(frame.len());
            [&frame[..at], &bytes, &frame[at..]].concat()
        });
        let nested = (1..100_000_usize).prop_map(|depth| "[".repeat(depth).into_bytes());
        prop_oneof![4 => changed, 2 => any::<Vec<u8>>(), 1 => nested]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_progress_arrives_as_it_was_sent(sent in prop::collection::vec(progress(), 0..5)) {
            let read = rt().block_on(async {
                let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
                FrameWriter::new(ours.into_split().1).write(&WorkerEvent::Progress(sent.clone())).await.unwrap();
                FrameReader::new(theirs.into_split().0).read().await.unwrap()
            });
            let Some(WorkerEvent::Progress(read)) = read else { return Err(TestCaseError::fail("no progress")) };
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn no_bytes_break_the_reading(frames in prop::collection::vec(frame(), 0..5), ended: bool) {
            let mut bytes = frames.join(&b'\n');
            if ended {
                bytes.push(b'\n');
            }
            rt().block_on(async {
                let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
                let mut reader = FrameReader::new(theirs.into_split().0);
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                let writing = async move {
                    ours.write_all(&bytes).await.unwrap();
                };
                let reading = async {
                    for line in 0..=lines {
                        let as_worker = reader.read::<WorkerEvent>().await;
                        if as_worker.is_ok_and(|frame| frame.is_none()) {
                            return line;
                        }
                    }
                    lines + 1
                };
                let ((), read) = tokio::join!(writing, reading);
                assert!(read <= lines, "each line is one frame or one error");
            });
            // Parsed as frames of the supervisor as well.
            for frame in &frames {
                let _read = serde_json::from_slice::<WorkerCommand>(frame).is_ok();
            }
        }
    }

    #[test]
    fn a_frame_without_an_end_is_refused_at_the_limit() {
        rt().block_on(async {
            let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            let mut reader = FrameReader::new(theirs.into_split().0);
            let endless = tokio::spawn(async move { while ours.write_all(&[b'['; 1 << 16]).await.is_ok() {} });
            let reported = reader.read::<WorkerEvent>().await.unwrap_err().to_string();
            assert_eq!(reported, "a frame is too long");
            assert!(reader.line.len() as u64 <= MAX_FRAME_BYTES);
            drop(reader);
            endless.await.unwrap();
        });
    }

    #[test]
    fn half_a_frame_is_the_end_and_nonsense_is_an_error() {
        rt().block_on(async {
            let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            ours.write_all(b"nonsense\n\"Sto").await.unwrap();
            drop(ours);
            let mut reader = FrameReader::new(theirs.into_split().0);
            assert!(reader.read::<WorkerCommand>().await.is_err());
            assert!(reader.read::<WorkerCommand>().await.unwrap().is_none());
        });
    }
}
