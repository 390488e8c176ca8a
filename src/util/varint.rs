//! Variable-length integers (LEB128): seven bits per byte, lowest first.

/// Appends a number: one byte below 128, at most ten.
pub(crate) fn encode(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

/// Decodes the number at the start of `bytes`; `None` if it is incomplete or has more than 64 bits.
pub(crate) fn decode(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The zigzag-encoded difference of `number` and `from`: small differences in either direction are small numbers.
pub(crate) fn distance(from: u64, number: u64) -> u64 {
    let signed = number.wrapping_sub(from) as i64;
    (signed << 1 ^ signed >> 63) as u64
}

/// The number at this [`distance`].
pub(crate) fn at_distance(from: u64, distance: u64) -> u64 {
    from.wrapping_add(distance >> 1 ^ (distance & 1).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_that_is_cut_off_or_too_long_is_none() {
        assert_eq!(decode(&mut [].as_slice()), None);
        assert_eq!(decode(&mut [0x80, 0x80].as_slice()), None);
        assert_eq!(decode(&mut [0xff; 10].as_slice()), None);
        assert_eq!(decode(&mut [0xff; 11].as_slice()), None);
    }

    proptest! {
        #[test]
        fn what_was_put_is_taken(number: u64, from: u64, bits in 0_u32..64) {
            let number = number >> bits;
            let mut bytes = Vec::new();
            encode(&mut bytes, number);
            bytes.push(7);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(decode(&mut rest), Some(number));
            prop_assert_eq!(rest, [7]);
            prop_assert_eq!(at_distance(from, distance(from, number)), number);
            prop_assert!(distance(from, from.wrapping_sub(2)) < 4);
        }
    }
}
