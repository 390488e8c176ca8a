//! Builds complete messages: the generator's payload, key, headers, size, injected faults, stamp.

use rand::RngExt;
use rand_distr::{Distribution, Zipf};

use crate::generator::lines_file::LinesFile;
use crate::generator::rng::{RngStream, rng_for};
use crate::generator::template::Template;
use crate::generator::{GenerateError, Generator, MessageBuffer, MessageContext};
use crate::generator::{key_from_field, pad_object, pad_spaces};
use crate::settings::{self, KeySource, SizeRange};
use crate::stamp::{LENGTH, NAME, Stamp, StampKind};

/// The generator that the settings select: a template, the lines of a file, or else the program's `own`.
///
/// # Errors
/// The template or its file is invalid; both were valid when the settings were checked.
pub(crate) fn generator(settings: &settings::Producer, own: Box<dyn Generator>) -> Result<Box<dyn Generator>, String> {
    if let Some(text) = settings.template_text() {
        let text = text.map_err(|problem| format!("producer.template_file {problem}"))?;
        let key_field = (settings.key == KeySource::Message).then_some(settings.key_field.as_str());
        let template = Template::new(&text, key_field, settings.seed);
        // As in the settings, the inline template takes precedence over the file.
        let key = if settings.template.is_empty() { "template_file" } else { "template" };
        return Ok(Box::new(template.map_err(|problem| format!("the template of producer.{key}: {problem}"))?));
    }
    if settings.lines_file.is_empty() { Ok(own) } else { Ok(Box::new(LinesFile::new(&settings.lines_file))) }
}

/// Builds the messages of one producer thread. A message depends only on the settings (including the seed), the run
/// and the sequence number, unless the user's generator uses other sources.
pub(super) struct MessageBuilder {
    generator: Box<dyn Generator>,
    key: KeyStrategy,
    headers: Vec<(String, Vec<u8>)>,
    size: SizeRange,
    faults: settings::FaultInjection,
    tombstone_ratio: f64,
    seed: u64,
    /// The run id, if messages are stamped.
    run: Option<u64>,
    /// The lengths of the last message before it was stamped.
    unstamped: StampFailed,
}

/// A built message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BuiltMessage {
    /// The kind of message, for the stamp.
    pub(super) kind: StampKind,
    /// The message must be sent twice, see [`MessageBuilder::repeat`].
    pub(super) repeat: bool,
}

/// The lengths of payload and headers.
#[derive(Clone, Copy, Default)]
struct StampFailed {
    payload: usize,
    headers: usize,
}

enum KeyStrategy {
    None,
    RoundRobin { cardinality: u64 },
    Uniform { cardinality: u64 },
    Zipf { cardinality: u64, ranks: Zipf<f64> },
    Message { field: String },
}

impl KeyStrategy {
    fn new(settings: &settings::Producer) -> Self {
        let cardinality = settings.key_cardinality;
        match settings.key {
            KeySource::None => Self::None,
            KeySource::RoundRobin => Self::RoundRobin { cardinality },
            KeySource::Uniform => Self::Uniform { cardinality },
            // The validated settings are within the distribution's range.
            KeySource::Zipf => match Zipf::new(cardinality as f64, settings.key_zipf_exponent) {
                Ok(ranks) => Self::Zipf { cardinality, ranks },
                Err(_) => Self::Uniform { cardinality },
            },
            KeySource::Message => Self::Message { field: settings.key_field.clone() },
        }
    }
}

/// The fault of a message; at most one is injected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InjectedFault {
    Regular,
    Repeat,
    Corrupt,
    Oversized,
    Tombstone,
}

impl MessageBuilder {
    /// Creates a builder; with `run` it stamps the messages.
    pub(super) fn new(settings: &settings::Producer, generator: Box<dyn Generator>, run: Option<u64>) -> Self {
        Self {
            generator,
            key: KeyStrategy::new(settings),
            headers: settings.header_pairs().map(|(name, value)| (name.to_owned(), value.into())).collect(),
            size: settings.message_size,
            faults: settings.faults.clone(),
            tombstone_ratio: settings.tombstone_ratio,
            seed: settings.seed,
            run,
            unstamped: StampFailed::default(),
        }
    }

    /// Builds the message of `source` in `message`, whose memory is reused.
    ///
    /// # Errors
    /// The generator's error.
    pub(super) fn build(
        &mut self,
        source: &MessageContext,
        message: &mut MessageBuffer,
    ) -> Result<BuiltMessage, GenerateError> {
        message.clear();
        self.generator.generate(source, message)?;
        message.headers.extend_from_slice(&self.headers);
        self.set_key(source, message);
        let built = self.inject_fault(self.choose_fault(source), source, message);
        self.unstamped = StampFailed { payload: message.payload.len(), headers: message.headers.len() };
        self.stamp(source, built.kind, message);
        Ok(built)
    }

    /// Turns the last built message, which `message` still holds, into its injected duplicate.
    pub(super) fn repeat(&self, source: &MessageContext, message: &mut MessageBuffer) {
        if message.payload.len() > self.unstamped.payload {
            // The stamp precedes the closing bracket.
            message.payload.truncate(self.unstamped.payload.saturating_sub(1));
            message.payload.push(b'}');
        }
        message.headers.truncate(self.unstamped.headers);
        self.stamp(source, StampKind::Duplicate, message);
    }

    fn set_key(&self, source: &MessageContext, message: &mut MessageBuffer) {
        let number = match &self.key {
            KeyStrategy::None => {
                message.key = None;
                return;
            }
            KeyStrategy::Message { field } => {
                if message.key.is_none() {
                    message.key = key_from_field(&message.payload, field);
                }
                return;
            }
            KeyStrategy::RoundRobin { cardinality } => source.number() % cardinality,
            KeyStrategy::Uniform { cardinality } => {
                rng_for(self.seed, RngStream::Key, source).random_range(0..*cardinality)
            }
            KeyStrategy::Zipf { cardinality, ranks } => {
                // Zipf ranks start at 1.
                let rank = ranks.sample(&mut rng_for(self.seed, RngStream::Key, source)) as u64;
                rank.clamp(1, *cardinality) - 1
            }
        };
        let mut key = b"key-".to_vec();
        key.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        message.key = Some(key);
    }

    /// Pads a JSON object to a size including its stamp; `false` if the payload is no object.
    fn fill(&self, SizeRange { least, most }: SizeRange, source: &MessageContext, message: &mut MessageBuffer) -> bool {
        let mut random = rng_for(self.seed, RngStream::Size, source);
        let size = if least == most { most } else { random.random_range(least..=most) };
        let stamp = if self.run.is_some() { LENGTH } else { 0 };
        let missing = size.saturating_sub(message.payload.len() + stamp);
        pad_object(&mut message.payload, missing, self.run.is_some(), &mut random)
    }

    fn inject_fault(&self, fate: InjectedFault, source: &MessageContext, message: &mut MessageBuffer) -> BuiltMessage {
        let built = |kind| BuiltMessage { kind, repeat: fate == InjectedFault::Repeat };
        if message.tombstone {
            // A tombstone of the generator has no payload to pad or corrupt.
            return built(StampKind::Regular);
        }
        if fate == InjectedFault::Oversized {
            let size = self.faults.oversized_bytes;
            if !self.fill(SizeRange { least: size, most: size }, source, message) {
                pad_spaces(&mut message.payload, size);
            }
            return built(StampKind::Oversized);
        }
        if fate == InjectedFault::Tombstone && message.key.is_some() {
            message.payload.clear();
            message.tombstone = true;
            return built(StampKind::Regular);
        }
        if self.size.most > 0 {
            self.fill(self.size, source, message);
        }
        if fate == InjectedFault::Corrupt {
            corrupt(&mut message.payload);
            return built(StampKind::Corrupt);
        }
        built(StampKind::Regular)
    }

    /// One random number decides, because the ratios add up to at most 1.
    fn choose_fault(&self, source: &MessageContext) -> InjectedFault {
        let parts = [
            (self.faults.duplicate, InjectedFault::Repeat),
            (self.faults.corrupt, InjectedFault::Corrupt),
            (self.faults.oversized, InjectedFault::Oversized),
            (self.tombstone_ratio, InjectedFault::Tombstone),
        ];
        if parts.iter().all(|(ratio, _)| *ratio == 0.0) {
            return InjectedFault::Regular;
        }
        let mut drawn: f64 = rng_for(self.seed, RngStream::Fault, source).random();
        for (ratio, fate) in parts {
            if drawn < ratio {
                return fate;
            }
            drawn -= ratio;
        }
        InjectedFault::Regular
    }

    fn stamp(&self, source: &MessageContext, kind: StampKind, message: &mut MessageBuffer) {
        let Some(run) = self.run else { return };
        // There are at most 256 producers.
        let stamp =
            Stamp { run, producer: source.producer as u16, sequence: source.sequence, due_us: source.due_us, kind };
        let key = message.key.as_deref();
        if message.tombstone {
            message.headers.push((NAME.to_owned(), stamp.header(key, None).to_vec()));
        } else if !stamp.append(key, &mut message.payload) {
            message.headers.push((NAME.to_owned(), stamp.header(key, Some(&message.payload)).to_vec()));
        }
    }
}

/// Cuts a payload in half. No JSON text ends with an opening bracket.
fn corrupt(payload: &mut Vec<u8>) {
    payload.truncate(payload.len() / 2);
    payload.push(b'{');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::generate_message;
    use crate::stamp;

    const SOURCE: MessageContext = MessageContext { producer: 1, producers: 4, sequence: 7, due_us: 5_000 };

    fn builder(change: impl FnOnce(&mut settings::Producer)) -> MessageBuilder {
        let mut settings = settings::defaults().producer;
        settings.seed = 7;
        change(&mut settings);
        let generator = generator(&settings, Box::new(generate_message)).unwrap();
        MessageBuilder::new(&settings, generator, Some(42))
    }

    fn build(builder: &mut MessageBuilder, sequence: u64) -> (BuiltMessage, MessageBuffer) {
        let mut message = MessageBuffer::default();
        let built = builder.build(&MessageContext { sequence, ..SOURCE }, &mut message).unwrap();
        (built, message)
    }

    fn found(message: &MessageBuffer) -> stamp::StampCheck {
        let header = message.headers.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.as_slice());
        let payload = (!message.tombstone).then_some(message.payload.as_slice());
        stamp::find(message.key.as_deref(), payload, || header).unwrap()
    }

    #[test]
    fn sizes_are_met_with_the_stamp() {
        let mut fixed = builder(|settings| settings.message_size = SizeRange { least: 300, most: 300 });
        let mut between = builder(|settings| settings.message_size = SizeRange { least: 200, most: 400 });
        let mut lengths = std::collections::BTreeSet::new();
        for sequence in 0..2_000 {
            let (_, message) = build(&mut fixed, sequence);
            assert_eq!(message.payload.len(), 300);
            assert!(found(&message).intact);
            lengths.insert(build(&mut between, sequence).1.payload.len());
        }
        assert_eq!((lengths.first(), lengths.last()), (Some(&200), Some(&400)));
        assert!(lengths.len() > 190, "{}", lengths.len());
        let mut small = builder(|settings| settings.message_size = SizeRange { least: 1, most: 1 });
        assert_eq!(build(&mut small, 3).1.payload.len(), build(&mut builder(|_| {}), 3).1.payload.len());
    }

    #[test]
    fn every_fault_is_stamped_as_itself_and_intact() {
        let faulty =
            |change: fn(&mut settings::FaultInjection)| build(&mut builder(|settings| change(&mut settings.faults)), 7);
        let (built, message) = faulty(|faults| faults.corrupt = 1.0);
        assert_eq!(
            (built.kind, found(&message).stamp.kind, found(&message).intact),
            (StampKind::Corrupt, StampKind::Corrupt, true)
        );
        assert!(serde_json::from_slice::<serde_json::Value>(&message.payload).is_err());
        let (built, message) = faulty(|faults| faults.oversized = 1.0);
        assert_eq!(
            (built.kind, found(&message).stamp.kind, found(&message).intact),
            (StampKind::Oversized, StampKind::Oversized, true)
        );
        assert_eq!(message.payload.len(), 1_100_000);
        let (built, message) = faulty(|faults| faults.duplicate = 1.0);
        assert_eq!(
            (built, found(&message).stamp.kind),
            (BuiltMessage { kind: StampKind::Regular, repeat: true }, StampKind::Regular)
        );
    }

    #[test]
    fn a_copy_differs_in_its_stamp_alone() {
        for template in ["{\"a\":1}", "{}", "[1]"] {
            let mut builder = builder(|settings| {
                settings.template = template.to_owned();
                settings.headers = vec!["a=b=c".to_owned()];
                settings.faults.duplicate = 1.0;
            });
            let (_, mut message) = build(&mut builder, 7);
            let original = message.clone();
            builder.repeat(&SOURCE, &mut message);
            assert_ne!(message, original);
            let duplicate = found(&message);
            assert!(duplicate.intact && found(&original).intact, "{template}");
            assert_eq!(duplicate.stamp, Stamp { kind: StampKind::Duplicate, ..found(&original).stamp });
            assert_eq!(message.payload.len(), original.payload.len());
            assert_eq!(message.headers.len(), original.headers.len());
            assert_eq!(message.headers[0], ("a".to_owned(), b"b=c".to_vec()));
        }
    }

    #[test]
    fn ratios_are_parts_of_one_whole() {
        let mut builder = builder(|settings| {
            settings.key = KeySource::RoundRobin;
            settings.tombstone_ratio = 0.4;
            settings.faults =
                settings::FaultInjection { duplicate: 0.3, corrupt: 0.2, oversized: 0.1, oversized_bytes: 1_000 };
        });
        let mut counts = [0_i32; 5];
        for sequence in 0..10_000 {
            let (built, message) = build(&mut builder, sequence);
            assert!(found(&message).intact);
            match (built.repeat, built.kind, message.tombstone) {
                (true, StampKind::Regular, false) => counts[0] += 1,
                (false, StampKind::Corrupt, false) => counts[1] += 1,
                (false, StampKind::Oversized, false) => counts[2] += 1,
                (false, StampKind::Regular, true) => counts[3] += 1,
                _ => counts[4] += 1,
            }
        }
        for (count, expected) in counts.into_iter().zip([3_000, 2_000, 1_000, 4_000, 0]) {
            assert!((count - expected).abs() < 250, "{counts:?}");
        }
    }

    #[test]
    fn zipf_is_skewed_and_uniform_is_not() {
        let counts = |key| {
            let mut builder = builder(|settings| {
                settings.key = key;
                settings.key_cardinality = 10;
            });
            let mut counts = std::collections::BTreeMap::new();
            for sequence in 0..10_000 {
                *counts.entry(build(&mut builder, sequence).1.key.unwrap()).or_insert(0_i32) += 1;
            }
            assert_eq!(counts.len(), 10, "{counts:?}");
            counts.into_values().collect::<Vec<_>>()
        };
        assert!(counts(KeySource::Uniform).iter().all(|count| (count - 1_000).abs() < 200));
        let zipf = counts(KeySource::Zipf);
        // 1 + 1/2 + … + 1/10 = 2.929
        for (rank, count) in (1..).zip(&zipf) {
            assert!((count - 3_414 / rank).abs() < 250, "{zipf:?}");
        }
    }

    #[test]
    fn the_templates_member_is_the_key() {
        let by_message = |settings: &mut settings::Producer| {
            settings.key = KeySource::Message;
            settings.template = r#"{"id":{"$sequence":{}}}"#.to_owned();
        };
        assert_eq!(build(&mut builder(by_message), 7).1.key.unwrap(), b"29");
        let own = builder(|settings| settings.key = KeySource::Message);
        assert_eq!(build(&mut { own }, 7).1.key.unwrap(), b"29");
    }
}
