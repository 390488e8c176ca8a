//! Complete histograms in a file: the HdrHistogram interval log (version 1.3), which HdrHistogram's tools and its libraries in
//! many languages read and plot.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use super::LatencyHistogram;

/// The tag of the latency from the scheduled time of a message to its acknowledgement.
pub const SCHEDULED_TO_ACKED: &str = "scheduled_to_acked";
/// The tag of the latency from passing a message to the client to its acknowledgement.
pub const SENT_TO_ACKED: &str = "sent_to_acked";
/// The tag of the latency from the scheduled time of a message to the end of its processing (end to end).
pub const SCHEDULED_TO_PROCESSED: &str = "scheduled_to_processed";

/// The first line, by which other programs recognize the format.
const FORMAT: &str = "[Histogram log format version 1.3]";

/// Writes the histograms, each with its tag, as one interval that starts at `start` and lasts `duration`. Empty histograms are
/// omitted.
///
/// # Errors
/// If `to` returns an error, or if a tag contains a comma, a blank or a line break, which the format does not allow.
pub fn write_log<W: Write>(
    to: &mut W,
    start: SystemTime,
    duration: Duration,
    histograms: &[(&str, &LatencyHistogram)],
) -> io::Result<()> {
    // Compressed, since Java's tools read only compressed histograms.
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(FORMAT)
        .add_comment("Values are microseconds. Times of the intervals are seconds since BaseTime.")
        .with_start_time(start)
        .with_base_time(start)
        .begin_log_with(to, &mut serializer)?;
    for (tag, latency) in histograms {
        if latency.negative > 0 {
            log.write_comment(&format!("{tag}: without {} times below zero", latency.negative))?;
        }
        let Some(times) = latency.count() else { continue };
        let tag = Tag::new(tag).ok_or_else(|| io::Error::other(format!("{tag:?} cannot be a tag")))?;
        log.write_histogram(times, Duration::ZERO, duration, Some(tag)).map_err(|error| match error {
            IntervalLogWriterError::IoError(error) => error,
            IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
        })?;
    }
    Ok(())
}

/// The output file of the histograms. It is opened before the run, so that a file that cannot be written is reported early.
pub struct HdrLogWriter(Option<(PathBuf, File)>);

impl HdrLogWriter {
    /// Creates a writer without a file.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// Opens the file that `latency.hdr_file` names, if it is set; the file stays empty until the end of the run.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(path: &str) -> io::Result<Self> {
        match path {
            "" => Ok(Self::nowhere()),
            path => Ok(Self(Some((PathBuf::from(path), File::create(path)?)))),
        }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|(path, _)| path.as_path())
    }

    /// Writes the histograms; see [`write_log`].
    ///
    /// # Errors
    /// If the file cannot be written, for example because the disk is full.
    pub fn write(
        &mut self,
        start: SystemTime,
        duration: Duration,
        histograms: &[(&str, &LatencyHistogram)],
    ) -> io::Result<()> {
        let Some((_, file)) = &mut self.0 else { return Ok(()) };
        let mut buffered = BufWriter::new(file);
        write_log(&mut buffered, start, duration, histograms)?;
        buffered.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn a_log_is_read_back_with_the_same_percentiles() {
        let (mut due, mut processed) = (LatencyHistogram::default(), LatencyHistogram::default());
        (1..=10_000).for_each(|us| due.record_us(us * us));
        (1..=500).for_each(|us| processed.record_us(us));
        processed.record_signed_us(-1);
        let start = UNIX_EPOCH + Duration::from_millis(1_796_000_000_125);
        let histograms = [
            (SCHEDULED_TO_ACKED, &due),
            (SENT_TO_ACKED, &LatencyHistogram::default()),
            (SCHEDULED_TO_PROCESSED, &processed),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latency.hlog");
        let mut file = HdrLogWriter::open(path.to_str().unwrap()).unwrap();
        assert_eq!(file.path(), Some(path.as_path()));
        file.write(start, Duration::from_millis(2_500), &histograms).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
        assert!(text.contains("#scheduled_to_processed: without 1 times below zero\n"), "{text}");
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            match entry.unwrap() {
                LogEntry::BaseTime(time) | LogEntry::StartTime(time) => {
                    assert_eq!(UNIX_EPOCH + time, start);
                }
                LogEntry::Interval(interval) => {
                    assert_eq!(interval.duration(), Duration::from_millis(2_500));
                    assert_eq!(interval.start_timestamp(), Duration::ZERO);
                    let bytes = BASE64_STANDARD.decode(interval.encoded_histogram()).unwrap();
                    let times: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                    found.push((interval.tag().unwrap().as_str().to_owned(), times));
                }
            }
        }
        let expected = [(SCHEDULED_TO_ACKED, due), (SCHEDULED_TO_PROCESSED, processed)];
        assert_eq!(found.len(), expected.len());
        for ((tag, times), (expected_tag, expected)) in found.into_iter().zip(expected) {
            assert_eq!(tag, expected_tag);
            let again = LatencyHistogram { times: Some(times), negative: expected.negative };
            assert_eq!(again.percentiles(), expected.percentiles());
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_found_before_the_run_or_reported_at_the_end() {
        assert!(HdrLogWriter::open("/no/such/folder/latency.hlog").is_err());
        let mut full = HdrLogWriter::open("/dev/full").unwrap();
        assert!(full.write(SystemTime::now(), Duration::ZERO, &[]).is_err());
        let mut nowhere = HdrLogWriter::open("").unwrap();
        assert!(nowhere.path().is_none());
        nowhere.write(SystemTime::now(), Duration::ZERO, &[]).unwrap();
    }
}
