//! Compiles the text of a template into segments.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::field::{self, Field, FieldOptions};
use super::{Segment, TemplateError};
use crate::util::escape::truncate_chars;

/// The maximum nesting of arrays and objects, as in serde_json.
const DEPTH: usize = 128;
/// The maximum number of characters of a wrong value in an error.
const SHOWN: usize = 80;

/// Compiles `text`; also returns whether the message has the member `key_field` that is the key.
pub(super) fn compile(text: &str, key_field: Option<&str>) -> Result<(Vec<Segment>, bool), TemplateError> {
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| TemplateError {
        place: String::new(),
        value: String::new(),
        problem: format!("this is not JSON: {error}"),
    })?;
    let mut compiler = Compiler { key_field, has_key: false, depth: 0 };
    let mut out = SegmentBuilder(Vec::new());
    compiler.value(whole, "", true, &mut out)?;
    Ok((out.0, compiler.has_key))
}

struct Compiler<'a> {
    key_field: Option<&'a str>,
    has_key: bool,
    depth: usize,
}

/// Segments; adjacent literals are merged.
struct SegmentBuilder(Vec<Segment>);

impl SegmentBuilder {
    fn literal(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(Segment::Literal(before)) => before.extend_from_slice(bytes),
            _ => self.0.push(Segment::Literal(bytes.to_vec())),
        }
    }
}

impl Compiler<'_> {
    /// `whole`: this value is the whole message.
    fn value(
        &mut self,
        raw: &RawValue,
        place: &str,
        whole: bool,
        out: &mut SegmentBuilder,
    ) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(error_at(raw, place, format!("more than {DEPTH} nested arrays and objects")));
        }
        let result = match raw.get().as_bytes().first() {
            Some(b'{') => self.object(raw, place, whole, out),
            Some(b'[') => self.array(raw, place, out),
            _ => {
                out.literal(raw.get().as_bytes());
                Ok(())
            }
        };
        self.depth -= 1;
        result
    }

    fn array(&mut self, raw: &RawValue, place: &str, out: &mut SegmentBuilder) -> Result<(), TemplateError> {
        let items: Vec<&RawValue> = read(raw, place)?;
        out.literal(b"[");
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                out.literal(b",");
            }
            self.value(item, &format!("{place}[{number}]"), false, out)?;
        }
        out.literal(b"]");
        Ok(())
    }

    fn object(
        &mut self,
        raw: &RawValue,
        place: &str,
        whole: bool,
        out: &mut SegmentBuilder,
    ) -> Result<(), TemplateError> {
        let Members(members) = read(raw, place)?;
        let is_field = |(name, _): &(String, &RawValue)| name.starts_with('$') && !name.starts_with("$$");
        match members.iter().filter(|member| is_field(member)).count() {
            0 => self.members(members, raw, place, whole, out),
            1 => {
                let field = self.field(members, raw, place, whole)?;
                out.0.push(Segment::Field(field));
                Ok(())
            }
            _ => Err(error_at(
                raw,
                place,
                "an object is one field: only one name may begin with $ ($$ stands for a plain $)",
            )),
        }
    }

    fn members(
        &mut self,
        members: Vec<(String, &RawValue)>,
        raw: &RawValue,
        place: &str,
        whole: bool,
        out: &mut SegmentBuilder,
    ) -> Result<(), TemplateError> {
        out.literal(b"{");
        for (number, (name, value)) in members.iter().enumerate() {
            if members.iter().take(number).any(|(other, _)| other == name) {
                return Err(error_at(raw, place, format!("duplicate member {name:?}")));
            }
            if number > 0 {
                out.literal(b",");
            }
            let plain = if name.starts_with("$$") { name.get(1..).unwrap_or_default() } else { name };
            let quoted = serde_json::to_string(plain).map_err(|error| error_at(raw, place, error.to_string()))?;
            out.literal(quoted.as_bytes());
            out.literal(b":");
            let is_key = whole && self.key_field == Some(plain);
            let path = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            if is_key {
                self.has_key = true;
                out.0.push(Segment::KeyBegins);
            }
            self.value(value, &path, false, out)?;
            if is_key {
                out.0.push(Segment::KeyEnds);
            }
        }
        out.literal(b"}");
        Ok(())
    }

    fn field(
        &mut self,
        members: Vec<(String, &RawValue)>,
        raw: &RawValue,
        place: &str,
        whole: bool,
    ) -> Result<Field, TemplateError> {
        let mut arguments = FieldOptions::new(members);
        let at_path = |problem| error_at(raw, place, problem);
        if arguments.name != "$choice" {
            return field::read(arguments).map_err(at_path);
        }
        let alternatives: Vec<&RawValue> = arguments.value("an array of values").map_err(at_path)?;
        let weights = field::weights(&mut arguments, alternatives.len()).map_err(at_path)?;
        arguments.reject_unknown().map_err(at_path)?;
        let mut compiled = Vec::with_capacity(alternatives.len());
        for (number, alternative) in alternatives.into_iter().enumerate() {
            let dot = if place.is_empty() { "" } else { "." };
            let mut out = SegmentBuilder(Vec::new());
            self.value(alternative, &format!("{place}{dot}$choice[{number}]"), whole, &mut out)?;
            compiled.push(out.0);
        }
        Ok(Field::Choice { alternatives: compiled, weights })
    }
}

fn read<'de, T: Deserialize<'de>>(raw: &'de RawValue, place: &str) -> Result<T, TemplateError> {
    serde_json::from_str(raw.get()).map_err(|error| error_at(raw, place, error.to_string()))
}

fn error_at(raw: &RawValue, place: &str, problem: impl Into<String>) -> TemplateError {
    let value = truncate_chars(&raw.get().split_whitespace().collect::<Vec<_>>().join(" "), SHOWN);
    TemplateError { place: place.to_owned(), value, problem: problem.into() }
}

/// The members of an object in order, with their raw values.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(InOrder)
    }
}
