//! A program that is built on this crate: it generates sensor readings and archives them in one file per partition.
//!
//! `ARCHIVE=$(mktemp -d) cargo run --example archive -- demo`
//!
//! Use a new folder for each demo: its broker starts at offset 0 each time. With a real Kafka cluster, keep the folder.
//!
//! A message may be delivered again after a crash (at least once). The number of lines in a file is the next offset, so a message
//! that is already in the file is not written again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use kafka_actors::MessageContext;
use kafka_actors::Program;
use kafka_actors::Record;
use kafka_actors::{ProcessError, ProcessResult, Processor, WorkerContext};
use serde_json::{Value, json};

fn main() -> std::process::ExitCode {
    Program::new()
        .generator(reading)
        .processor_with(|_: &WorkerContext| Ok(Box::new(Archive::new())))
        .default_setting("kafka.topic", "readings")
        .run()
}

/// Creates a sensor reading.
fn reading(source: &MessageContext) -> Value {
    let celsius = 20.0 + 5.0 * (source.sequence as f64 / 10.0).sin();
    json!({"sensor": source.producer, "number": source.sequence, "celsius": celsius})
}

/// The open files, each with its next offset.
struct Archive {
    folder: PathBuf,
    files: HashMap<(String, i32), (File, i64)>,
}

impl Archive {
    fn new() -> Self {
        Self {
            folder: std::env::var_os("ARCHIVE").map_or_else(|| "archive".into(), PathBuf::from),
            files: HashMap::new(),
        }
    }

    fn store(&mut self, record: &Record<'_>) -> Result<(), ProcessError> {
        let key = (record.topic.to_owned(), record.partition);
        if !self.files.contains_key(&key) {
            self.files.insert(key.clone(), self.open(record)?);
        }
        let Some((file, next)) = self.files.get_mut(&key) else { return Ok(()) };
        if record.offset < *next {
            return Ok(());
        }
        let value: Value = record.value.map(serde_json::from_slice).transpose()?.unwrap_or_default();
        let mut line = serde_json::to_vec(&json!({"offset": record.offset, "value": value}))?;
        line.push(b'\n');
        file.write_all(&line)?;
        *next = record.offset + 1;
        Ok(())
    }

    fn open(&self, record: &Record<'_>) -> Result<(File, i64), ProcessError> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{}-{}.ndjson", record.topic, record.partition));
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let last = BufReader::new(&file).lines().last().transpose()?;
        let next = match last {
            Some(line) => serde_json::from_str::<Value>(&line)?["offset"].as_i64().map_or(0, |offset| offset + 1),
            None => 0,
        };
        Ok((file, next))
    }
}

impl Processor for Archive {
    fn process(&mut self, record: &Record<'_>) -> ProcessResult {
        ProcessResult::Done(self.store(record))
    }
}
