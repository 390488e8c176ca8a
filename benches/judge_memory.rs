//! What the judge costs: 10,000,000 clean messages of 4 producers in 12 partitions, read 100,000 messages behind the
//! acknowledgements; then the same, all of it read after all was acknowledged, as with a run file. `cargo bench --bench judge_memory`.

#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::time::Instant;

use kafka_actors::journal::{Entry, Reader};
use kafka_actors::judge::{Facts, Judge, Scope};

const MESSAGES: u64 = 10_000_000;
const PRODUCERS: u64 = 4;
const PARTITIONS: u64 = 12;
const RUN: u64 = 1;

/// The memory of this process, in KB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// Where each message stands, in the order that acknowledgements come.
struct Stream {
    batch: u64,
    keyed: bool,
    at: u64,
    sequences: [u64; PRODUCERS as usize],
    ends: [i64; PARTITIONS as usize],
    waiting: std::vec::IntoIter<Entry>,
}

impl Stream {
    fn new(batch: u64, keyed: bool) -> Self {
        let (sequences, ends) = ([0; PRODUCERS as usize], [0; PARTITIONS as usize]);
        Self { batch, keyed, at: 0, sequences, ends, waiting: Vec::new().into_iter() }
    }

    /// The next batches of one producer: one partition, or keys spread over all of them, a batch each.
    fn refill(&mut self) {
        let producer = self.at % PRODUCERS;
        let sticky = self.at / PRODUCERS % PARTITIONS;
        self.at += 1;
        let mut batch = Vec::new();
        for _ in 0..if self.keyed { self.batch * PARTITIONS } else { self.batch } {
            let sequence = self.sequences[producer as usize];
            self.sequences[producer as usize] += 1;
            // A multiplicative hash scatters the sequences over the partitions as keys do.
            let key = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let partition = if self.keyed { key % PARTITIONS } else { sticky } as i32;
            let message = Entry { run: RUN, producer: producer as u16, sequence, partition, ..Entry::default() };
            batch.push(Entry { stamped: true, intact: true, ..message });
        }
        // Brokers acknowledge partition by partition.
        batch.sort_by_key(|entry| entry.partition);
        for entry in &mut batch {
            let end = &mut self.ends[entry.partition as usize];
            entry.offset = *end;
            *end += 1;
        }
        self.waiting = batch.into_iter();
    }

    fn next(&mut self) -> Entry {
        loop {
            if let Some(entry) = self.waiting.next() {
                return entry;
            }
            self.refill();
        }
    }
}

fn run(name: &str, batch: u64, keyed: bool, lag: u64) {
    let before = memory();
    let mut judge = Judge::new(Scope {
        run: Some(RUN),
        acknowledgements: true,
        from_start: true,
        partitions: PARTITIONS as usize,
        shared: false,
    });
    let (mut acknowledged, mut read) = (Stream::new(batch, keyed), Stream::new(batch, keyed));
    let (mut highest, mut at) = (0, 0);
    let began = Instant::now();
    while at < MESSAGES + lag {
        // In bulks, as sockets and channels bring them.
        for _ in at..at + 1_000 {
            if at < MESSAGES {
                let Entry { producer, sequence, partition, offset, .. } = acknowledged.next();
                judge.acknowledged(producer, sequence, partition, offset);
            }
        }
        for _ in at..at + 1_000 {
            if at >= lag {
                let entry = read.next();
                judge.read(Reader { slot: entry.partition as u32 % 2, process: 1 }, at, &entry);
            }
        }
        at += 1_000;
        if at % 1_000_000 == 0 {
            highest = highest.max(memory().saturating_sub(before));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let verdict = judge.verdict(Facts::default());
    let million = MESSAGES as f64 / 1e6;
    let after = memory().saturating_sub(before);
    println!(
        "{name:<50} {:>5.2} M messages/s  memory at most {:>5.1} MB, at the end {:>5.1} MB  {}",
        million / seconds,
        highest as f64 / 1e3,
        after as f64 / 1e3,
        if verdict.holds { "holds" } else { "DOES NOT HOLD" },
    );
}

/// What is measured, each in a process of its own: freed memory of the one before would hide what the next one takes.
const CASES: [(&str, u64, bool, u64); 5] = [
    ("batches of 500, read 100,000 behind", 500, false, 100_000),
    ("batches of 10, read 100,000 behind", 10, false, 100_000),
    ("keyed, batches of some 40, read 100,000 behind", 40, true, 100_000),
    ("batches of 500, all acknowledged first", 500, false, MESSAGES),
    ("keyed, batches of some 40, all acknowledged first", 40, true, MESSAGES),
];

fn main() -> std::io::Result<()> {
    let named = std::env::args().find_map(|argument| CASES.into_iter().find(|case| case.0 == argument));
    if let Some((name, batch, keyed, lag)) = named {
        run(name, batch, keyed, lag);
        return Ok(());
    }
    for (name, ..) in CASES {
        std::process::Command::new(std::env::current_exe()?).arg(name).status()?;
    }
    Ok(())
}
