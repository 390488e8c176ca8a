//! Makes a message whole: the generator's payload, the key, headers, size, deliberate faults, the stamp.

use rand::RngExt;
use rand_distr::{Distribution, Zipf};

use crate::message::{GenerateError, Generator, Outgoing, Source};
use crate::payload::lines::Lines;
use crate::payload::random::{Draw, of_message};
use crate::payload::template::Template;
use crate::payload::{blanks, field_of, pad};
use crate::settings::{self, KeySource, Size};
use crate::stamp::{Kind, LENGTH, NAME, Stamp};

/// What makes the payloads: the template or the lines that the settings name, else the program's `own`.
///
/// # Errors
/// What is wrong with the template or its file; both were in order when the settings were checked.
pub(crate) fn generator(settings: &settings::Producer, own: Box<dyn Generator>) -> Result<Box<dyn Generator>, String> {
    if let Some(text) = settings.template_text() {
        let text = text.map_err(|problem| format!("producer.template_file {problem}"))?;
        let key_field = (settings.key == KeySource::Message).then_some(settings.key_field.as_str());
        let template = Template::new(&text, key_field, settings.seed);
        // As the settings have it: the text goes before the file.
        let key = if settings.template.is_empty() { "template_file" } else { "template" };
        return Ok(Box::new(template.map_err(|problem| format!("the template of producer.{key}: {problem}"))?));
    }
    if settings.lines_file.is_empty() { Ok(own) } else { Ok(Box::new(Lines::new(&settings.lines_file))) }
}

/// Makes the messages of one producer thread. Its outcome depends on the settings, the seed among them, the run and the
/// sequence number alone (unless the user's generator looks elsewhere).
pub(super) struct Maker {
    generator: Box<dyn Generator>,
    key: Key,
    headers: Vec<(String, Vec<u8>)>,
    size: Size,
    faults: settings::Faults,
    tombstone_ratio: f64,
    seed: u64,
    /// The run, if messages are stamped.
    run: Option<u64>,
    /// What the last message was before it was stamped.
    unstamped: Unstamped,
}

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// What the message was made as.
    pub(super) kind: Kind,
    /// It is to be sent once more, see [`Maker::repeat`].
    pub(super) repeat: bool,
}

/// Lengths.
#[derive(Clone, Copy, Default)]
struct Unstamped {
    payload: usize,
    headers: usize,
}

enum Key {
    None,
    RoundRobin { cardinality: u64 },
    Uniform { cardinality: u64 },
    Zipf { cardinality: u64, ranks: Zipf<f64> },
    Message { field: String },
}

impl Key {
    fn new(settings: &settings::Producer) -> Self {
        let cardinality = settings.key_cardinality;
        match settings.key {
            KeySource::None => Self::None,
            KeySource::RoundRobin => Self::RoundRobin { cardinality },
            KeySource::Uniform => Self::Uniform { cardinality },
            // The settings' ranges are those of the distribution.
            KeySource::Zipf => match Zipf::new(cardinality as f64, settings.key_exponent) {
                Ok(ranks) => Self::Zipf { cardinality, ranks },
                Err(_) => Self::Uniform { cardinality },
            },
            KeySource::Message => Self::Message { field: settings.key_field.clone() },
        }
    }
}

/// What becomes of a message beside being made: at most one of these.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Regular,
    Repeat,
    Corrupt,
    Oversized,
    Tombstone,
}

impl Maker {
    /// `run`: stamps the messages as this run's.
    pub(super) fn new(settings: &settings::Producer, generator: Box<dyn Generator>, run: Option<u64>) -> Self {
        Self {
            generator,
            key: Key::new(settings),
            headers: settings.header_pairs().map(|(name, value)| (name.to_owned(), value.into())).collect(),
            size: settings.size,
            faults: settings.faults.clone(),
            tombstone_ratio: settings.tombstone_ratio,
            seed: settings.seed,
            run,
            unstamped: Unstamped::default(),
        }
    }

    /// Makes the message of `source` in `message`, whose memory is reused.
    ///
    /// # Errors
    /// What the generator says.
    pub(super) fn make(&mut self, source: &Source, message: &mut Outgoing) -> Result<Made, GenerateError> {
        message.clear();
        self.generator.generate(source, message)?;
        message.headers.extend_from_slice(&self.headers);
        self.set_key(source, message);
        let made = self.meet_fate(self.fate(source), source, message);
        self.unstamped = Unstamped { payload: message.payload.len(), headers: message.headers.len() };
        self.stamp(source, made.kind, message);
        Ok(made)
    }

    /// Makes the message that was made last, and that `message` still holds, its own second copy.
    pub(super) fn repeat(&self, source: &Source, message: &mut Outgoing) {
        if message.payload.len() > self.unstamped.payload {
            // The stamp stands before the bracket.
            message.payload.truncate(self.unstamped.payload.saturating_sub(1));
            message.payload.push(b'}');
        }
        message.headers.truncate(self.unstamped.headers);
        self.stamp(source, Kind::Duplicate, message);
    }

    fn set_key(&self, source: &Source, message: &mut Outgoing) {
        let number = match &self.key {
            Key::None => {
                message.key = None;
                return;
            }
            Key::Message { field } => {
                if message.key.is_none() {
                    message.key = field_of(&message.payload, field);
                }
                return;
            }
            Key::RoundRobin { cardinality } => source.number() % cardinality,
            Key::Uniform { cardinality } => of_message(self.seed, Draw::Key, source).random_range(0..*cardinality),
            Key::Zipf { cardinality, ranks } => {
                // Ranks count from 1.
                let rank = ranks.sample(&mut of_message(self.seed, Draw::Key, source)) as u64;
                rank.clamp(1, *cardinality) - 1
            }
        };
        let mut key = b"key-".to_vec();
        key.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        message.key = Some(key);
    }

    /// Fills a JSON object up to a size with its stamp; `false` if it is none.
    fn fill(&self, Size { least, most }: Size, source: &Source, message: &mut Outgoing) -> bool {
        let mut random = of_message(self.seed, Draw::Size, source);
        let size = if least == most { most } else { random.random_range(least..=most) };
        let stamp = if self.run.is_some() { LENGTH } else { 0 };
        let missing = size.saturating_sub(message.payload.len() + stamp);
        pad(&mut message.payload, missing, self.run.is_some(), &mut random)
    }

    fn meet_fate(&self, fate: Fate, source: &Source, message: &mut Outgoing) -> Made {
        let made = |kind| Made { kind, repeat: fate == Fate::Repeat };
        if message.tombstone {
            // The generator's own: there is no payload that could be filled or be wrong.
            return made(Kind::Regular);
        }
        if fate == Fate::Oversized {
            let size = self.faults.oversized_bytes;
            if !self.fill(Size { least: size, most: size }, source, message) {
                blanks(&mut message.payload, size);
            }
            return made(Kind::Oversized);
        }
        if fate == Fate::Tombstone && message.key.is_some() {
            message.payload.clear();
            message.tombstone = true;
            return made(Kind::Regular);
        }
        if self.size.most > 0 {
            self.fill(self.size, source, message);
        }
        if fate == Fate::Corrupt {
            corrupt(&mut message.payload);
            return made(Kind::Corrupt);
        }
        made(Kind::Regular)
    }

    /// One draw decides: the ratios are parts of one whole.
    fn fate(&self, source: &Source) -> Fate {
        let parts = [
            (self.faults.duplicate, Fate::Repeat),
            (self.faults.corrupt, Fate::Corrupt),
            (self.faults.oversized, Fate::Oversized),
            (self.tombstone_ratio, Fate::Tombstone),
        ];
        if parts.iter().all(|(ratio, _)| *ratio == 0.0) {
            return Fate::Regular;
        }
        let mut drawn: f64 = of_message(self.seed, Draw::Fault, source).random();
        for (ratio, fate) in parts {
            if drawn < ratio {
                return fate;
            }
            drawn -= ratio;
        }
        Fate::Regular
    }

    fn stamp(&self, source: &Source, kind: Kind, message: &mut Outgoing) {
        let Some(run) = self.run else { return };
        // There are 256 producers at most.
        let stamp =
            Stamp { run, producer: source.producer as u16, sequence: source.sequence, due_us: source.due_us, kind };
        let key = message.key.as_deref();
        if message.tombstone {
            message.headers.push((NAME.to_owned(), stamp.header(key, None).to_vec()));
        } else if !stamp.put(key, &mut message.payload) {
            message.headers.push((NAME.to_owned(), stamp.header(key, Some(&message.payload)).to_vec()));
        }
    }
}

/// Cuts a payload in the middle. No JSON text ends with an opening bracket.
fn corrupt(payload: &mut Vec<u8>) {
    payload.truncate(payload.len() / 2);
    payload.push(b'{');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::generate_message;
    use crate::stamp;

    const SOURCE: Source = Source { producer: 1, producers: 4, sequence: 7, due_us: 5_000 };

    fn maker(change: impl FnOnce(&mut settings::Producer)) -> Maker {
        let mut settings = settings::defaults().producer;
        settings.seed = 7;
        change(&mut settings);
        let generator = generator(&settings, Box::new(generate_message)).unwrap();
        Maker::new(&settings, generator, Some(42))
    }

    fn make(maker: &mut Maker, sequence: u64) -> (Made, Outgoing) {
        let mut message = Outgoing::default();
        let made = maker.make(&Source { sequence, ..SOURCE }, &mut message).unwrap();
        (made, message)
    }

    fn found(message: &Outgoing) -> stamp::Found {
        let header = message.headers.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.as_slice());
        let payload = (!message.tombstone).then_some(message.payload.as_slice());
        stamp::find(message.key.as_deref(), payload, || header).unwrap()
    }

    #[test]
    fn sizes_are_met_with_the_stamp() {
        let mut fixed = maker(|settings| settings.size = Size { least: 300, most: 300 });
        let mut between = maker(|settings| settings.size = Size { least: 200, most: 400 });
        let mut lengths = std::collections::BTreeSet::new();
        for sequence in 0..2_000 {
            let (_, message) = make(&mut fixed, sequence);
            assert_eq!(message.payload.len(), 300);
            assert!(found(&message).intact);
            lengths.insert(make(&mut between, sequence).1.payload.len());
        }
        assert_eq!((lengths.first(), lengths.last()), (Some(&200), Some(&400)));
        assert!(lengths.len() > 190, "{}", lengths.len());
        let mut small = maker(|settings| settings.size = Size { least: 1, most: 1 });
        assert_eq!(make(&mut small, 3).1.payload.len(), make(&mut maker(|_| {}), 3).1.payload.len());
    }

    #[test]
    fn every_fault_is_stamped_as_itself_and_intact() {
        let faulty = |change: fn(&mut settings::Faults)| make(&mut maker(|settings| change(&mut settings.faults)), 7);
        let (made, message) = faulty(|faults| faults.corrupt = 1.0);
        assert_eq!(
            (made.kind, found(&message).stamp.kind, found(&message).intact),
            (Kind::Corrupt, Kind::Corrupt, true)
        );
        assert!(serde_json::from_slice::<serde_json::Value>(&message.payload).is_err());
        let (made, message) = faulty(|faults| faults.oversized = 1.0);
        assert_eq!(
            (made.kind, found(&message).stamp.kind, found(&message).intact),
            (Kind::Oversized, Kind::Oversized, true)
        );
        assert_eq!(message.payload.len(), 1_100_000);
        let (made, message) = faulty(|faults| faults.duplicate = 1.0);
        assert_eq!((made, found(&message).stamp.kind), (Made { kind: Kind::Regular, repeat: true }, Kind::Regular));
    }

    #[test]
    fn a_copy_differs_in_its_stamp_alone() {
        for template in ["{\"a\":1}", "{}", "[1]"] {
            let mut maker = maker(|settings| {
                settings.template = template.to_owned();
                settings.headers = vec!["a=b=c".to_owned()];
                settings.faults.duplicate = 1.0;
            });
            let (_, mut message) = make(&mut maker, 7);
            let original = message.clone();
            maker.repeat(&SOURCE, &mut message);
            assert_ne!(message, original);
            let copy = found(&message);
            assert!(copy.intact && found(&original).intact, "{template}");
            assert_eq!(copy.stamp, Stamp { kind: Kind::Duplicate, ..found(&original).stamp });
            assert_eq!(message.payload.len(), original.payload.len());
            assert_eq!(message.headers.len(), original.headers.len());
            assert_eq!(message.headers[0], ("a".to_owned(), b"b=c".to_vec()));
        }
    }

    #[test]
    fn ratios_are_parts_of_one_whole() {
        let mut maker = maker(|settings| {
            settings.key = KeySource::RoundRobin;
            settings.tombstone_ratio = 0.4;
            settings.faults = settings::Faults { duplicate: 0.3, corrupt: 0.2, oversized: 0.1, oversized_bytes: 1_000 };
        });
        let mut counts = [0_i32; 5];
        for sequence in 0..10_000 {
            let (made, message) = make(&mut maker, sequence);
            assert!(found(&message).intact);
            match (made.repeat, made.kind, message.tombstone) {
                (true, Kind::Regular, false) => counts[0] += 1,
                (false, Kind::Corrupt, false) => counts[1] += 1,
                (false, Kind::Oversized, false) => counts[2] += 1,
                (false, Kind::Regular, true) => counts[3] += 1,
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
            let mut maker = maker(|settings| {
                settings.key = key;
                settings.key_cardinality = 10;
            });
            let mut counts = std::collections::BTreeMap::new();
            for sequence in 0..10_000 {
                *counts.entry(make(&mut maker, sequence).1.key.unwrap()).or_insert(0_i32) += 1;
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
        assert_eq!(make(&mut maker(by_message), 7).1.key.unwrap(), b"29");
        let own = maker(|settings| settings.key = KeySource::Message);
        assert_eq!(make(&mut { own }, 7).1.key.unwrap(), b"29");
    }
}
