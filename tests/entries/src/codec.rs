//! The codec's own readers, with others as judges.

use std::borrow::Cow;

use chrono::{DateTime, Datelike};
use koalr_codec::json::{self as codec, Slot, object};
use koalr_codec::time;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Deeper documents are refused, which other readers do elsewhere or not at all.
const DEEPEST: usize = 128;

#[derive(Default)]
struct Named {
    name: String,
}

object!(Named { "name" => Text name });

/// What is JSON is read and nothing else, by serde_json's judgement, and a text is what it reads.
pub(crate) fn json(data: &[u8]) {
    let mut read = Named::default();
    let ours = codec::read(data, Slot::Object(&mut read));
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(ours.is_err(), "what is no text was read");
        return;
    };
    if data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() >= DEEPEST {
        return;
    }
    // It reads no values, so that numbers of any size and half surrogate pairs are JSON, as they are here.
    let theirs = serde_json::from_str::<IgnoredAny>(text);
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{ours:?}, {:?}: {text:?}", theirs.err());
    // Of a name that comes twice the last text counts here, and the last value there.
    if text.matches("name").count() == 1
        && !text.contains("\\u")
        && let Ok(value) = serde_json::from_str::<Value>(text)
    {
        assert_eq!(read.name, value.get("name").and_then(Value::as_str).unwrap_or_default(), "{text:?}");
    }
}

/// An instant that is read is the one that chrono reads, and its day is chrono's.
pub(crate) fn instants(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(at) = time::parse_rfc3339(text) {
        let theirs = DateTime::parse_from_rfc3339(&with_colon(text.trim_ascii()));
        assert_eq!(theirs.as_ref().map(DateTime::timestamp_micros), Ok(at), "{text:?}");
        // Its day: a leap second is the second after it here.
        let day = DateTime::from_timestamp_micros(at).map(|at| at.date_naive());
        // Years of other than four digits have a sign there.
        if let Some(day) = day.filter(|day| (0..10_000).contains(&day.year())) {
            assert_eq!(day.to_string(), time::day(at), "{text:?}");
        }
    }
    if let Some(number) = time::integer(data) {
        assert_eq!(text.parse(), Ok(number), "{text:?}");
    }
}

/// An offset without its colon, as ISO 8601 also has it, with one.
fn with_colon(text: &str) -> Cow<'_, str> {
    match text.split_at_checked(text.len().saturating_sub(4)) {
        Some((front, minutes))
            if front.ends_with(['+', '-']) && minutes.bytes().all(|b| b.is_ascii_digit()) =>
        {
            let (hours, minutes) = minutes.split_at(2);
            format!("{front}{hours}:{minutes}").into()
        }
        _ => text.into(),
    }
}
