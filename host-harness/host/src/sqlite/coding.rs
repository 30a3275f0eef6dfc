//! How the contract's types are written into columns.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Fault, Outcome};
use crate::contract::{Header, Mode, Phase, Priority};

/// Numbers in the database never change their meaning; a new case takes a new number.
macro_rules! numbered {
    ($encode:ident, $decode:ident, $type:ident { $($case:ident = $number:literal),+ $(,)? }) => {
        pub(super) fn $encode(value: $type) -> i64 {
            match value { $($type::$case => $number),+ }
        }

        pub(super) fn $decode(number: i64) -> Option<$type> {
            match number { $($number => Some($type::$case),)+ _ => None }
        }
    };
}

numbered!(encode_priority, decode_priority, Priority { P1 = 1, P2 = 2, P3 = 3, P4 = 4 });
numbered!(encode_phase, decode_phase, Phase {
    Triage = 0,
    Active = 1,
    Paused = 2,
    Resolved = 3,
    Closed = 4,
    Declined = 5,
    Canceled = 6,
    Merged = 7,
    Unknown = 8,
});
numbered!(encode_mode, decode_mode, Mode {
    Standard = 0,
    Retrospective = 1,
    Test = 2,
    Tutorial = 3,
    Unknown = 4,
});

pub(super) fn to_json(value: &impl Serialize) -> Outcome<String> {
    serde_json::to_string(value)
        .map_err(|error| Fault::invalid(format!("it cannot be written as JSON: {error}")))
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Outcome<T> {
    serde_json::from_str(text).map_err(|_| Fault::damaged("a stored record"))
}

/// Counts in the database are signed; none of ours comes near the limit.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Each name and value behind its length, four bytes, little end first.
pub(super) fn encode_headers(headers: &[Header]) -> Outcome<Vec<u8>> {
    let mut out =
        Vec::with_capacity(headers.iter().map(|header| header.name.len() + header.value.len() + 8).sum());
    for header in headers {
        for part in [header.name.as_bytes(), &header.value] {
            let length = u32::try_from(part.len()).map_err(|_| Fault::invalid("a header is too long"))?;
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(part);
        }
    }
    Ok(out)
}

pub(super) fn decode_headers(mut bytes: &[u8]) -> Outcome<Vec<Header>> {
    let damaged = || Fault::damaged("a delivery's headers");
    let mut headers = Vec::new();
    while !bytes.is_empty() {
        let name = take_part(&mut bytes).ok_or_else(damaged)?;
        let value = take_part(&mut bytes).ok_or_else(damaged)?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| damaged())?;
        headers.push(Header { name, value: value.to_vec() });
    }
    Ok(headers)
}

fn take_part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        let headers = vec![
            Header { name: "webhook-id".into(), value: b"msg_1".to_vec() },
            Header { name: String::new(), value: vec![0, 255, b'\n'] },
        ];
        let bytes = encode_headers(&headers).unwrap();
        assert_eq!(decode_headers(&bytes).unwrap(), headers);
        assert!(decode_headers(&bytes[..bytes.len() - 1]).is_err());
    }
}
