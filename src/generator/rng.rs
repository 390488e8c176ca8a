//! Random numbers that depend only on the seed and the message's number, not on time or other threads, so that each
//! message can be reproduced separately.

use rand::{Rng, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

use crate::generator::MessageContext;

/// The generator produces the same numbers on every machine and in every version.
pub type Random = Xoshiro256PlusPlus;

/// The purpose of random numbers. Each purpose has its own stream: different keys do not change the payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum RngStream {
    /// The fields of a template.
    Payload = 1,
    /// The key.
    Key = 2,
    /// The size and the padding.
    Size = 3,
    /// Tombstones and injected faults.
    Fault = 4,
}

/// The random numbers of one message.
pub fn rng_for(seed: u64, what: RngStream, source: &MessageContext) -> Random {
    let parts = [what as u64, source.producer as u64, source.sequence];
    Random::seed_from_u64(parts.into_iter().fold(mix(seed), |state, part| mix(state ^ part)))
}

/// Maps consecutive numbers to unrelated ones.
fn mix(number: u64) -> u64 {
    SplitMix64::seed_from_u64(number).next_u64()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters per random number.
const AT_ONCE: usize = 10;

/// Appends `length` characters of the base64 alphabet: like real data, it compresses to three quarters at best.
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

    fn first(seed: u64, what: RngStream, producer: usize, sequence: u64) -> u64 {
        rng_for(seed, what, &MessageContext { producer, producers: 4, sequence, due_us: 0 }).next_u64()
    }

    #[test]
    fn a_message_has_the_same_numbers_in_every_run_and_version() {
        assert_eq!(first(7, RngStream::Payload, 1, 2), first(7, RngStream::Payload, 1, 2));
        assert_eq!(first(7, RngStream::Payload, 1, 2), 1_019_681_630_358_647_210);
    }

    #[test]
    fn seeds_purposes_threads_and_messages_have_numbers_of_their_own() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..4 {
            for what in [RngStream::Payload, RngStream::Key, RngStream::Size, RngStream::Fault] {
                for producer in 0..4 {
                    (0..100).for_each(|sequence| assert!(seen.insert(first(seed, what, producer, sequence))));
                }
            }
        }
    }

    #[test]
    fn text_has_its_length_and_every_character() {
        let mut random =
            rng_for(1, RngStream::Size, &MessageContext { producer: 0, producers: 1, sequence: 0, due_us: 0 });
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
