//! How the plugin keeps its own notes (facts, positions, settings): compact, and exactly as they were.
//!
//! A document is a format byte and one object. An object is its fields in the order of their places, without
//! names: next to the provider's long keys that halves what an incident takes. Fields that a newer version has
//! added at the end are passed over, fields that an older one lacked stay empty. Nothing here is read by anybody
//! else: the host keeps bytes.

use alloc::string::String;
use alloc::vec::Vec;

use crate::json::Slot;

/// The first byte of a document.
const FORMAT: u8 = 1;
/// Objects and lists within each other; nothing that is written comes near.
const DEEPEST: u32 = 32;

const ABSENT: u8 = 0;
const TEXT: u8 = 1;
const INTEGER: u8 = 2;
const TRUE: u8 = 3;
const OBJECT: u8 = 4;
const LIST: u8 = 5;
/// A length from here on takes four more bytes.
const LONG: u8 = u8::MAX;

/// A value to keep.
pub enum Value<'a> {
    /// Nothing: the place stays as it is when empty.
    Absent,
    /// A string.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// `true`; `false` is absent.
    True,
    /// An object.
    Object(&'a dyn Fields),
    /// A list.
    List(&'a dyn Items),
}

/// An object to keep; see [`crate::json::object`].
pub trait Fields {
    /// How many places it has.
    fn count(&self) -> usize;
    /// What is in the place at this index.
    fn value(&self, index: usize) -> Value<'_>;
}

/// A list to keep.
pub trait Items {
    /// How many items it has.
    fn count(&self) -> usize;
    /// The item at this index.
    fn value(&self, index: usize) -> Value<'_>;
}

impl<T: Fields> Items for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }

    fn value(&self, index: usize) -> Value<'_> {
        self.get(index).map_or(Value::Absent, |item| Value::Object(item))
    }
}

impl<T: Fields> Items for &[T] {
    fn count(&self) -> usize {
        self.len()
    }

    fn value(&self, index: usize) -> Value<'_> {
        self.get(index).map_or(Value::Absent, |item| Value::Object(item))
    }
}

impl Items for Vec<String> {
    fn count(&self) -> usize {
        self.len()
    }

    fn value(&self, index: usize) -> Value<'_> {
        self.get(index).map_or(Value::Absent, |item| Value::Text(item))
    }
}

/// What can be in a place.
pub trait Field {
    /// How it is kept.
    fn value(&self) -> Value<'_>;
}

impl Field for String {
    fn value(&self) -> Value<'_> {
        if self.is_empty() { Value::Absent } else { Value::Text(self) }
    }
}

impl Field for Option<String> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Absent, |text| Value::Text(text))
    }
}

impl Field for Option<i64> {
    fn value(&self) -> Value<'_> {
        self.map_or(Value::Absent, Value::Integer)
    }
}

impl Field for bool {
    fn value(&self) -> Value<'_> {
        if *self { Value::True } else { Value::Absent }
    }
}

impl<T: Fields> Field for T {
    fn value(&self) -> Value<'_> {
        Value::Object(self)
    }
}

impl<T: Fields> Field for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Absent, |object| Value::Object(object))
    }
}

impl<T> Field for Vec<T>
where
    Vec<T>: Items,
{
    fn value(&self) -> Value<'_> {
        if self.is_empty() { Value::Absent } else { Value::List(self) }
    }
}

/// Writes an object as a document.
pub fn write(object: &dyn Fields) -> Vec<u8> {
    let mut out = Vec::from([FORMAT]);
    put(&mut out, &Value::Object(object));
    out
}

fn put(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Absent => out.push(ABSENT),
        Value::Text(text) => {
            put_length(out, TEXT, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Integer(number) => {
            out.push(INTEGER);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Value::True => out.push(TRUE),
        Value::Object(object) => {
            put_length(out, OBJECT, object.count());
            (0..object.count()).for_each(|index| put(out, &object.value(index)));
        }
        Value::List(list) => {
            put_length(out, LIST, list.count());
            (0..list.count()).for_each(|index| put(out, &list.value(index)));
        }
    }
}

fn put_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    match u8::try_from(length) {
        Ok(short) if short != LONG => out.push(short),
        _ => {
            out.push(LONG);
            // No string or list of four gigabytes fits the memory that it is written from.
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

/// Reads a document into an empty object; none if it is not what [`write`] writes.
pub fn read(document: &[u8], slot: Slot<'_>) -> Option<()> {
    let mut rest = Rest(document.strip_prefix(&[FORMAT])?);
    take(&mut rest, slot, DEEPEST)?;
    rest.0.is_empty().then_some(())
}

fn take(rest: &mut Rest<'_>, mut slot: Slot<'_>, depth: u32) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match (rest.byte()?, &mut slot) {
        (ABSENT, _) => {}
        (TEXT, slot) => {
            let length = rest.length()?;
            let text = core::str::from_utf8(rest.bytes(length)?).ok()?;
            match slot {
                Slot::Text(place) => **place = text.into(),
                Slot::MaybeText(place) => **place = Some(text.into()),
                _ => {}
            }
        }
        (INTEGER, slot) => {
            let number = i64::from_le_bytes(rest.bytes(8)?.try_into().ok()?);
            if let Slot::Integer(place) | Slot::Instant(place) = slot {
                **place = Some(number);
            }
        }
        (TRUE, slot) => {
            if let Slot::Flag(place) = slot {
                **place = true;
            }
        }
        (OBJECT, slot) => {
            for index in 0..rest.length()? {
                let slot = if let Slot::Object(object) = slot { object.place(index) } else { Slot::Skip };
                take(rest, slot, depth)?;
            }
        }
        (LIST, slot) => {
            for _ in 0..rest.length()? {
                let slot = if let Slot::List(list) = slot { list.slot() } else { Slot::Skip };
                take(rest, slot, depth)?;
            }
        }
        _ => return None,
    }
    Some(())
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn length(&mut self) -> Option<usize> {
        match self.byte()? {
            LONG => usize::try_from(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?)).ok(),
            short => Some(short.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::tests::{Thing, any_thing};

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_it_was(before in any_thing()) {
            let mut after = Thing::default();
            prop_assert_eq!(read(&write(&before), Slot::Object(&mut after)), Some(()));
            prop_assert_eq!(after, before);
        }

        #[test]
        fn a_cut_document_is_none(before in any_thing(), cut in any::<prop::sample::Index>()) {
            let written = write(&before);
            let cut = &written[..cut.index(written.len())];
            prop_assert_eq!(read(cut, Slot::Object(&mut Thing::default())), None);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(0_u8..8, 0..64)) {
            let document = [vec![FORMAT], bytes].concat();
            let _ = read(&document, Slot::Object(&mut Thing::default()));
        }
    }

    #[test]
    fn lengths_of_all_sizes_are_kept() {
        for length in [0, 1, 254, 255, 256, 70_000] {
            let before = Vec::from(["x".repeat(length), "y".into()]);
            let mut out = Vec::new();
            put(&mut out, &Field::value(&before));
            let mut after: Vec<String> = Vec::new();
            assert_eq!(take(&mut Rest(&out), Slot::List(&mut after), DEEPEST), Some(()));
            assert_eq!(after, before);
        }
    }

    #[test]
    fn a_field_that_a_newer_version_added_is_passed_over() {
        let newer = [FORMAT, OBJECT, 10, TEXT, 1, b'n', 0, 0, 0, 0, 0, 0, 0, TEXT, 1, b'x', TRUE];
        let mut thing = Thing::default();
        assert_eq!(read(&newer, Slot::Object(&mut thing)), Some(()));
        assert_ne!(thing, Thing::default());
    }

    #[test]
    fn a_field_that_an_older_version_lacked_stays_empty() {
        let older = [FORMAT, OBJECT, 1, TEXT, 1, b'n'];
        let newer = [FORMAT, OBJECT, 8, TEXT, 1, b'n', 0, 0, 0, 0, 0, 0, 0];
        let (mut thing, mut same) = (Thing::default(), Thing::default());
        assert_eq!(read(&older, Slot::Object(&mut thing)), Some(()));
        assert_eq!(read(&newer, Slot::Object(&mut same)), Some(()));
        assert_eq!(thing, same);
        assert_ne!(thing, Thing::default());
    }
}
