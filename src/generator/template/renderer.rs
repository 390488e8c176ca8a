//! Renders segments to bytes.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::distr::Distribution;
use rand::{Rng, RngExt};

use super::super::key;
use super::super::rng::{Random, write_text};
use super::Segment;
use super::field::{Field, TimestampFormat};
use super::word_list::WORD_LIST;
use crate::generator::{GenerateError, MessageContext};

/// Renders a message; returns its key if a part of it is the key.
pub(super) fn render(
    pieces: &[Segment],
    source: &MessageContext,
    random: Random,
    out: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>, GenerateError> {
    let mut writer = Renderer { source, random, out, key_begins: 0, key: None };
    writer.pieces(pieces)?;
    Ok(writer.key)
}

struct Renderer<'a> {
    source: &'a MessageContext,
    random: Random,
    out: &'a mut Vec<u8>,
    key_begins: usize,
    key: Option<Vec<u8>>,
}

impl Renderer<'_> {
    fn pieces(&mut self, pieces: &[Segment]) -> Result<(), GenerateError> {
        for piece in pieces {
            match piece {
                Segment::Literal(bytes) => self.out.extend_from_slice(bytes),
                Segment::Field(field) => self.field(field)?,
                Segment::KeyBegins => self.key_begins = self.out.len(),
                Segment::KeyEnds => self.key = self.out.get(self.key_begins..).and_then(key::of_json),
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field) -> Result<(), GenerateError> {
        match field {
            Field::Sequence { start, step } => {
                let number = self.source.number();
                // The product of two 64-bit numbers fits in 128 bits.
                self.whole(i128::from(*start) + i128::from(*step) * i128::from(number));
            }
            Field::Uuid => self.uuid(),
            Field::Timestamp(time) => self.time(*time)?,
            Field::Integer(range) => {
                let number = range.sample(&mut self.random);
                self.whole(number);
            }
            Field::Float(range) => serde_json::to_writer(&mut *self.out, &range.sample(&mut self.random))?,
            Field::Decimal { scaled, digits } => {
                let scaled = scaled.sample(&mut self.random);
                self.decimal(scaled, *digits);
            }
            Field::Choice { alternatives, weights } => {
                let chosen = match weights {
                    Some(weights) => weights.sample(&mut self.random),
                    None => self.random.random_range(0..alternatives.len()),
                };
                self.pieces(alternatives.get(chosen).map_or(&[], Vec::as_slice))?;
            }
            Field::Words(count) => {
                let count = count.sample(&mut self.random);
                self.words(count);
            }
            Field::Pattern(regex) => {
                let text: Vec<u8> = regex.sample(&mut self.random);
                self.text(&text);
            }
            Field::Text(length) => {
                let length = length.sample(&mut self.random);
                self.out.push(b'"');
                write_text(&mut self.random, length, self.out);
                self.out.push(b'"');
            }
            Field::Boolean(probability) => {
                let holds = self.random.random_bool(*probability);
                self.out.extend_from_slice(if holds { b"true" } else { b"false" });
            }
        }
        Ok(())
    }

    fn whole(&mut self, number: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn uuid(&mut self) {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        let mut text = uuid::Uuid::encode_buffer();
        let text = uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn time(&mut self, time: TimestampFormat) -> Result<(), GenerateError> {
        let now = SystemTime::now();
        // A wrong clock before 1970 gives 0 instead of an error.
        let since: Duration = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        match time {
            TimestampFormat::Milliseconds => self.whole(since.as_millis() as u64),
            TimestampFormat::Microseconds => self.whole(since.as_micros() as u64),
            TimestampFormat::Rfc3339 => {
                write!(self.out, "\"{}\"", humantime::format_rfc3339_millis(UNIX_EPOCH + since))
                    .map_err(serde_json::Error::io)?
            }
        }
        Ok(())
    }

    fn decimal(&mut self, scaled: i64, digits: u32) {
        if scaled < 0 {
            self.out.push(b'-');
        }
        let scale = 10_u64.pow(digits);
        let number = scaled.unsigned_abs();
        self.whole(number / scale);
        if digits > 0 {
            self.out.push(b'.');
            let places = number % scale;
            // Leading zeros: 5 hundredths are .05.
            let mut limit = scale / 10;
            while limit > places.max(1) {
                self.out.push(b'0');
                limit /= 10;
            }
            self.whole(places);
        }
    }

    fn words(&mut self, count: usize) {
        self.out.push(b'"');
        for number in 0..count {
            if number > 0 {
                self.out.push(b' ');
            }
            let word = WORD_LIST.get(self.random.random_range(0..WORD_LIST.len())).unwrap_or(&"");
            self.out.extend_from_slice(word.as_bytes());
        }
        self.out.push(b'"');
    }

    /// A JSON string of UTF-8 bytes.
    fn text(&mut self, text: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.out.push(b'"');
        for &byte in text {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                0..0x20 => {
                    self.out.extend_from_slice(b"\\u00");
                    self.out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }
}
