//! JSON into plain structs: leniently, in one pass, and in little code.
//!
//! A reader says for each key where its value goes; a value of another kind than the place expects, an unknown
//! key and `null` are passed over. So no surprise inside a document costs more than the value that it is; only
//! text that is not JSON at all is an error. One reader serves every type through trait objects, on a lexer that
//! leaves numbers alone: the component must be small, and derived code for each type and floats are not.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::str::from_utf8;

use hifijson::SliceLexer;
use hifijson::num::LexWrite as _;
use hifijson::token::{Expect, Lex as _};

use crate::{Timestamp, time};

/// Arrays and objects within each other; deeper ones are no provider's answer, and each costs stack.
const DEEPEST: u32 = 128;

/// Where a value goes.
pub enum Slot<'a> {
    /// Nowhere.
    Skip,
    /// A string.
    Text(&'a mut String),
    /// A string that is not empty.
    MaybeText(&'a mut Option<String>),
    /// An RFC 3339 string, or a number of microseconds since the epoch.
    Instant(&'a mut Option<Timestamp>),
    /// A whole number.
    Integer(&'a mut Option<i64>),
    /// `true` or `false`.
    Flag(&'a mut bool),
    /// An object.
    Object(&'a mut dyn Object),
    /// An array.
    List(&'a mut dyn List),
}

/// Takes the fields of an object.
pub trait Object {
    /// The keys of its fields, each at the index of its place.
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where the value of the field at this index goes.
    fn place(&mut self, _index: usize) -> Slot<'_> {
        Slot::Skip
    }

    /// Where the value of this key goes.
    fn slot(&mut self, key: &str) -> Slot<'_> {
        match self.keys().iter().position(|known| *known == key) {
            Some(index) => self.place(index),
            None => Slot::Skip,
        }
    }
}

/// Takes the items of an array.
pub trait List {
    /// Where the next item goes.
    fn slot(&mut self) -> Slot<'_>;
    /// How many there are.
    fn count(&self) -> usize;
    /// Forgets all but the first so many.
    fn keep(&mut self, count: usize);
}

/// An item of another kind leaves an empty one behind; readers check what they need.
impl<T: Object + Default> List for Vec<T> {
    fn slot(&mut self) -> Slot<'_> {
        self.push(T::default());
        self.last_mut().map_or(Slot::Skip, |item| Slot::Object(item))
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn keep(&mut self, count: usize) {
        self.truncate(count);
    }
}

impl List for Vec<String> {
    fn slot(&mut self) -> Slot<'_> {
        self.push(String::new());
        self.last_mut().map_or(Slot::Skip, Slot::Text)
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn keep(&mut self, count: usize) {
        self.truncate(count);
    }
}

/// Absent until a field is seen: an empty object is as good as none.
impl<T: Object + Default> Object for Option<T> {
    fn place(&mut self, index: usize) -> Slot<'_> {
        self.get_or_insert_with(T::default).place(index)
    }

    fn slot(&mut self, key: &str) -> Slot<'_> {
        self.get_or_insert_with(T::default).slot(key)
    }
}

/// Reads a whole document. The error says where it stops being JSON.
pub fn read(document: &[u8], slot: Slot<'_>) -> Result<(), String> {
    let stops = |at: usize| format!("not JSON after byte {at}");
    let text = from_utf8(document).map_err(|error| stops(error.valid_up_to()))?;
    let mut json = SliceLexer::new(document);
    match json.exactly_one(SliceLexer::ws_peek, |next, json| value(next, text, json, slot, DEEPEST)) {
        Ok(()) => Ok(()),
        Err(NotJson) => Err(stops(document.len() - json.as_slice().len())),
    }
}

/// Where the lexer stands is all that there is to say.
struct NotJson;

impl From<Expect> for NotJson {
    fn from(_: Expect) -> Self {
        NotJson
    }
}

/// `document` is the whole of what `json` reads the rest of.
fn value<'a>(
    next: u8,
    document: &'a str,
    json: &mut SliceLexer<'a>,
    mut slot: Slot<'_>,
    depth: u32,
) -> Result<(), NotJson> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(NotJson);
    };
    match next {
        b'{' => json.discarded().seq(b'}', SliceLexer::ws_peek, |next, json| {
            if next != b'"' {
                return Err(NotJson);
            }
            let key = string(document, json.discarded())?;
            let slot = if let Slot::Object(object) = &mut slot { object.slot(&key) } else { Slot::Skip };
            json.expect(SliceLexer::ws_peek, b':').ok_or(NotJson)?;
            value(json.ws_peek().ok_or(NotJson)?, document, json, slot, depth)
        }),
        b'[' => json.discarded().seq(b']', SliceLexer::ws_peek, |next, json| {
            let slot = if let Slot::List(list) = &mut slot { list.slot() } else { Slot::Skip };
            value(next, document, json, slot, depth)
        }),
        b'"' => {
            let text = string(document, json.discarded())?;
            match slot {
                Slot::Text(place) => *place = text.into_owned(),
                Slot::MaybeText(place) if !text.is_empty() => *place = Some(text.into_owned()),
                Slot::Instant(place) => *place = time::parse_rfc3339(&text),
                _ => {}
            }
            Ok(())
        }
        b'-' | b'0'..=b'9' => number(json, slot),
        _ => {
            let flag = json.null_or_bool().ok_or(NotJson)?;
            if let (Slot::Flag(place), Some(flag)) = (slot, flag) {
                *place = flag;
            }
            Ok(())
        }
    }
}

/// A string behind its opening quote. Most have no escapes and are parts of the document.
fn string<'a>(document: &'a str, json: &mut SliceLexer<'a>) -> Result<Cow<'a, str>, NotJson> {
    let mut text = Cow::Borrowed("");
    loop {
        let rest = json.as_slice();
        let length = plain(rest);
        let start = document.len().saturating_sub(rest.len());
        text += document.get(start..start + length).ok_or(NotJson)?;
        let (_, rest) = rest.split_at_checked(length).ok_or(NotJson)?;
        *json = SliceLexer::new(rest);
        match rest {
            [b'"', after @ ..] => {
                *json = SliceLexer::new(after);
                return Ok(text);
            }
            [b'\\', after @ ..] => {
                let (letter, after) = escaped(after).ok_or(NotJson)?;
                text.to_mut().push(letter);
                *json = SliceLexer::new(after);
            }
            _ => return Err(NotJson),
        }
    }
}

/// What an escape stands for, and what comes after it. Half of a surrogate pair, which a sender leaves that cuts text in
/// the middle, is U+FFFD.
fn escaped(escape: &[u8]) -> Option<(char, &[u8])> {
    let (kind, rest) = escape.split_first()?;
    let letter = match kind {
        b'"' | b'\\' | b'/' => char::from(*kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let (first, rest) = unit(rest)?;
            if let (0xd800..0xdc00, Some((second @ 0xdc00..0xe000, rest))) =
                (first, rest.strip_prefix(b"\\u").and_then(unit))
            {
                let pair = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Some((char::from_u32(pair)?, rest));
            }
            return Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), rest));
        }
        _ => return None,
    };
    Some((letter, rest))
}

/// Four hexadecimal digits.
fn unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let add = |sum: u32, digit: &u8| Some(sum * 16 + char::from(*digit).to_digit(16)?);
    Some((digits.iter().try_fold(0, add)?, rest))
}

/// How many bytes come before the first quote, backslash or control character, eight of them looked at together.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The high bit of each byte that is below `limit`; above the lowest of them others may be set that are not.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let is = |byte: u64| below(word ^ (ONES * byte), 1);
        let found = is(b'"'.into()) | is(b'\\'.into()) | below(word, 0x20);
        if found != 0 {
            return index * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    bytes.len() - rest.len() + rest.iter().position(special).unwrap_or(rest.len())
}

fn number(json: &mut SliceLexer<'_>, slot: Slot<'_>) -> Result<(), NotJson> {
    let (digits, parts) = json.num_bytes().validated().map_err(|_| NotJson)?;
    if let (true, Slot::Integer(place) | Slot::Instant(place)) = (parts.is_int(), slot) {
        // One that is too large is passed over like any other odd value.
        if let Some(number) = crate::time::integer(digits) {
            *place = Some(number);
        }
    }
    Ok(())
}

/// Implements [`Object`], and [`crate::stored::Fields`] to keep it, by one table of keys. What is kept goes by
/// the order of the table: new keys are added at its end, and none is removed.
#[macro_export]
macro_rules! object {
    ($type:ty { $($key:literal => $kind:ident $field:ident),+ $(,)? }) => {
        impl $crate::json::Object for $type {
            fn keys(&self) -> &'static [&'static str] {
                &[$($key),+]
            }

            fn place(&mut self, index: usize) -> $crate::json::Slot<'_> {
                let mut place = 0;
                $(
                    if index == place {
                        return $crate::json::Slot::$kind(&mut self.$field);
                    }
                    place += 1;
                )+
                let _ = place;
                $crate::json::Slot::Skip
            }
        }

        impl $crate::stored::Fields for $type {
            fn count(&self) -> usize {
                [$($key),+].len()
            }

            fn value(&self, index: usize) -> $crate::stored::Value<'_> {
                let mut place = 0;
                $(
                    if index == place {
                        return $crate::stored::Field::value(&self.$field);
                    }
                    place += 1;
                )+
                let _ = place;
                $crate::stored::Value::Absent
            }
        }
    };
}
pub use object;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::stored::{Fields, Value};

    #[derive(Debug, Clone, Default, PartialEq)]
    pub(crate) struct Thing {
        name: String,
        note: Option<String>,
        at: Option<Timestamp>,
        rank: Option<i64>,
        flag: bool,
        part: Option<Box<Thing>>,
        parts: Vec<Thing>,
        tags: Vec<String>,
    }

    impl Object for Box<Thing> {
        fn place(&mut self, index: usize) -> Slot<'_> {
            self.as_mut().place(index)
        }

        fn slot(&mut self, key: &str) -> Slot<'_> {
            self.as_mut().slot(key)
        }
    }

    impl Fields for Box<Thing> {
        fn count(&self) -> usize {
            self.as_ref().count()
        }

        fn value(&self, index: usize) -> Value<'_> {
            Fields::value(self.as_ref(), index)
        }
    }

    object!(Thing {
        "name" => Text name, "note" => MaybeText note, "at" => Instant at, "rank" => Integer rank,
        "flag" => Flag flag, "part" => Object part, "parts" => List parts, "tags" => List tags,
    });

    fn thing(json: &str) -> Thing {
        let mut thing = Thing::default();
        read(json.as_bytes(), Slot::Object(&mut thing)).unwrap();
        thing
    }

    #[test]
    fn every_kind_of_value_finds_its_place() {
        let got = thing(
            r#"{"name":"a\u00e9","note":"n","at":"1970-01-01T00:00:01Z","rank":-3,"flag":true,
                "part":{"name":"b"},"parts":[{"at":7}],"tags":["x","y"],"other":{"deep":[1,2.5,null]}}"#,
        );
        let part = Thing { name: "b".into(), ..Thing::default() };
        let expected = Thing {
            name: "aé".into(),
            note: Some("n".into()),
            at: Some(1_000_000),
            rank: Some(-3),
            flag: true,
            part: Some(Box::new(part)),
            parts: vec![Thing { at: Some(7), ..Thing::default() }],
            tags: vec!["x".into(), "y".into()],
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn half_a_surrogate_pair_is_a_replacement_character_and_costs_nothing_else() {
        for (escaped, text) in [
            (r"\ud83d", "\u{fffd}"),
            (r"\ude00", "\u{fffd}"),
            (r"\ud83d\ude00", "\u{1f600}"),
            (r"\uD83D\uDE00", "\u{1f600}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r"a\ud83db", "a\u{fffd}b"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\ud83d\\u", "\u{fffd}\\u"),
        ] {
            let got = thing(&format!(r#"{{"name":"{escaped}","note":"kept","{escaped}":1,"rank":2}}"#));
            assert_eq!((got.name.as_str(), got.note.as_deref(), got.rank), (text, Some("kept"), Some(2)));
        }
        for bad in [r#""\ud83""#, r#""\ud83d\u12""#, r#""\ud83d\x""#, r#""\u+123""#] {
            assert!(read(bad.as_bytes(), Slot::Skip).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_of_another_kind_is_as_good_as_absent() {
        let nulls = r#"{"name":null,"note":null,"at":null,"rank":null,"flag":null,"part":null,"parts":null,"tags":null}"#;
        assert_eq!(thing(nulls), Thing::default());
        let others = r#"{"name":7,"note":"","at":"soon","rank":1.5,"flag":"yes","part":[1],"parts":{"a":1},"tags":true}"#;
        assert_eq!(thing(others), Thing::default());
        assert_eq!(thing("[]"), Thing::default());
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for bad in ["", "{", r#"{"name":"a""#, r#"{"name":"a"}x"#, "{name:1}"] {
            assert!(read(bad.as_bytes(), Slot::Skip).is_err(), "{bad}");
        }
        assert!(read(b"{\"a\":\"\xff\"}", Slot::Skip).is_err(), "not UTF-8");
        assert_eq!(read(b"{\"a\":1,}", Slot::Skip), Err("not JSON after byte 7".into()));
    }

    #[test]
    fn an_answer_nested_beyond_reason_is_refused_and_not_followed() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(read(&nested(128), Slot::Skip).is_ok());
        assert!(read(&nested(129), Slot::Skip).is_err());
        assert!(read(&vec![b'['; 1 << 20], Slot::Skip).is_err());
    }

    pub(crate) fn any_thing() -> impl Strategy<Value = Thing> {
        // As many digits as are read.
        let number = || proptest::option::of(-999_999_999_999_999_999..=999_999_999_999_999_999_i64);
        let flat = (".*", proptest::option::of(".+"), number(), number(), any::<bool>());
        let flat = flat.prop_map(|(name, note, at, rank, flag)| Thing {
            name,
            note,
            at,
            rank,
            flag,
            ..Thing::default()
        });
        flat.prop_recursive(3, 12, 3, |inner| {
            let nested = (
                inner.clone(),
                proptest::collection::vec(inner, 0..3),
                proptest::collection::vec(".*", 0..3),
            );
            nested.prop_map(|(part, parts, tags)| Thing {
                part: Some(Box::new(part)),
                parts,
                tags,
                ..Thing::default()
            })
        })
    }

    /// By serde_json, which refuses numbers that no double holds, and halves of surrogate pairs, unless it ignores them;
    /// JSON has no such limit.
    fn is_json(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    #[test]
    fn a_number_that_no_double_holds_is_json() {
        assert!(is_json("1e310") && read(b"1e310", Slot::Skip).is_ok());
        assert!(!is_json("1e") && read(b"1e", Slot::Skip).is_err());
    }

    fn document(thing: &Thing) -> serde_json::Value {
        json!({
            "name": thing.name, "note": thing.note, "at": thing.at, "rank": thing.rank, "flag": thing.flag,
            "part": thing.part.as_deref().map(document),
            "parts": thing.parts.iter().map(document).collect::<Vec<_>>(),
            "tags": thing.tags,
        })
    }

    proptest! {
        #[test]
        fn what_another_writes_is_read_as_it_was(before in any_thing()) {
            let written = serde_json::to_vec(&document(&before)).unwrap();
            let mut after = Thing::default();
            prop_assert_eq!(read(&written, Slot::Object(&mut after)), Ok(()));
            prop_assert_eq!(after, before);
        }

        /// serde_json is the judge. Texts of JSON's own characters: most are almost JSON.
        #[test]
        fn what_is_json_is_read_and_nothing_else(text in r#"([\[\]{},:"]|"[ab]?"|"\\["nqbfrtu/]([0-9a-f]{4})?"|\\["nq/]|[ \t\n\x0b]|-|[0-9.]{1,3}|1e[+-]?[0-9]|true|false|null|nul|\PC){0,12}"#) {
            let judged = is_json(&text);
            prop_assert_eq!(read(text.as_bytes(), Slot::Skip).is_ok(), judged);
            let mut thing = Thing::default();
            prop_assert_eq!(read(text.as_bytes(), Slot::Object(&mut thing)).is_ok(), judged);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let judged = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
            prop_assert_eq!(read(&bytes, Slot::Object(&mut Thing::default())).is_ok(), judged);
        }
    }
}
