//! Random numbers that follow from a seed and the message's number, and from nothing else: not from when a message was
//! made, nor from what another thread did. Any one message can be made again alone.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::message::Source;

/// The same on every machine and in every version.
pub type Random = Xoshiro256PlusPlus;

/// What the numbers are for. Each has a stream of its own: other keys do not change the payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Draw {
    /// The fields of a template.
    Payload = 1,
    /// The key.
    Key = 2,
    /// The size, and what fills it.
    Size = 3,
    /// Tombstones and deliberate faults.
    Fault = 4,
}

/// The numbers of one message.
pub fn of_message(seed: u64, what: Draw, source: &Source) -> Random {
    let parts = [what as u64, source.producer as u64, source.sequence];
    Random::seed_from_u64(parts.into_iter().fold(mix(seed), |state, part| mix(state ^ part)))
}

/// The finish of SplitMix64: neighbouring numbers become unrelated ones.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters that one random number is enough for.
const AT_ONCE: usize = 10;

/// Appends so many characters of base64's alphabet: compression makes three quarters of them at best, as of real data.
pub(super) fn write_text(random: &mut Random, length: usize, out: &mut Vec<u8>) {
    out.reserve(length);
    let mut missing = length;
    while missing > 0 {
        let bits = random.next_u64();
        let characters: [u8; AT_ONCE] = std::array::from_fn(|place| ALPHABET[(bits >> (6 * place) & 63) as usize]);
        let count = missing.min(AT_ONCE);
        out.extend_from_slice(&characters[..count]);
        missing -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, what: Draw, producer: usize, sequence: u64) -> u64 {
        of_message(seed, what, &Source { producer, producers: 4, sequence, due_us: 0 }).next_u64()
    }

    #[test]
    fn a_message_has_the_same_numbers_in_every_run_and_version() {
        assert_eq!(first(7, Draw::Payload, 1, 2), first(7, Draw::Payload, 1, 2));
        assert_eq!(first(7, Draw::Payload, 1, 2), 1_019_681_630_358_647_210);
    }

    #[test]
    fn seeds_purposes_threads_and_messages_have_numbers_of_their_own() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..4 {
            for what in [Draw::Payload, Draw::Key, Draw::Size, Draw::Fault] {
                for producer in 0..4 {
                    (0..100).for_each(|sequence| assert!(seen.insert(first(seed, what, producer, sequence))));
                }
            }
        }
    }

    #[test]
    fn text_has_its_length_and_every_character() {
        let mut random = of_message(1, Draw::Size, &Source { producer: 0, producers: 1, sequence: 0, due_us: 0 });
        for length in [0, 1, 9, 10, 11, 4_000] {
            let mut out = b"before".to_vec();
            write_text(&mut random, length, &mut out);
            assert_eq!(out.len(), 6 + length);
            assert!(out[6..].iter().all(|byte| ALPHABET.contains(byte)));
            if length == 4_000 {
                assert!(ALPHABET.iter().all(|byte| out[6..].contains(byte)));
            }
        }
    }
}
