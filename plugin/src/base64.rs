//! Standard base64 with padding, as signing secrets and signatures use it: one spelling for each value.
//!
//! The general crate is several times the size of this in a component. Refuses what another alphabet, missing
//! padding or set bits behind the end would allow.

use alloc::string::String;
use alloc::vec::Vec;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes of a text; none if it is not their one spelling.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (groups, []) = text.as_bytes().as_chunks::<4>() else { return None };
    for (number, group) in (1..).zip(groups) {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && number != groups.len()) {
            return None;
        }
        let mut bits = 0u32;
        for byte in group.iter().take(4 - padding) {
            let value = ALPHABET.iter().position(|letter| letter == byte)?;
            bits = bits << 6 | value as u32;
        }
        bits <<= 6 * padding;
        let [_, decoded @ ..] = bits.to_be_bytes();
        let (kept, rest) = decoded.split_at_checked(3 - padding)?;
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

/// The one spelling of some bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = 0u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(group.get(at).copied().unwrap_or_default());
        }
        for at in 0..4 {
            let letter = ALPHABET.get((bits >> (18 - 6 * at)) as usize & 63);
            let letter = letter.filter(|_| at <= group.len()).unwrap_or(&b'=');
            text.push(char::from(*letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_agrees_with_the_crate_on_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = super::encode(&bytes);
            prop_assert_eq!(&text, &STANDARD.encode(&bytes));
            prop_assert_eq!(super::decode(&text), Some(bytes));
        }

        #[test]
        fn it_agrees_with_the_crate_on_texts(text in "[A-Da-d+/=_-]{0,12}|\\PC{0,8}") {
            prop_assert_eq!(super::decode(&text), STANDARD.decode(&text).ok());
        }
    }
}
