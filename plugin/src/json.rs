//! JSON into plain structs and back: leniently, in one pass, and in little code.
//!
//! A reader says for each key where its value goes; a value of another kind than the place expects, an unknown
//! key and `null` are passed over. So no surprise inside a document costs more than the value that it is; only
//! text that is not JSON at all is an error. Writing leaves out what is empty, and reading brings it back as it
//! was. One reader and one writer serve every type through trait objects, on a lexer that leaves numbers alone:
//! serde's derived code for each type would triple the size of the component, and serde_json's own, with the
//! floats that nothing here needs, is a tenth of what the component may be.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hifijson::num::LexWrite as _;
use hifijson::str::{Lex as _, LexAlloc as _};
use hifijson::token::{Expect, Lex as _};
use hifijson::{Read as _, SliceLexer};

use crate::model::Timestamp;
use crate::time;

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
    /// Where the value of this key goes.
    fn slot(&mut self, key: &str) -> Slot<'_>;
}

/// Takes the items of an array.
pub trait List {
    /// Where the next item goes.
    fn slot(&mut self) -> Slot<'_>;
    /// How many there are.
    fn count(&self) -> usize;
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
}

impl List for Vec<String> {
    fn slot(&mut self) -> Slot<'_> {
        self.push(String::new());
        self.last_mut().map_or(Slot::Skip, Slot::Text)
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// Absent until a field is seen: an empty object is as good as none.
impl<T: Object + Default> Object for Option<T> {
    fn slot(&mut self, key: &str) -> Slot<'_> {
        self.get_or_insert_with(T::default).slot(key)
    }
}

/// A value to write.
pub enum Value<'a> {
    /// Nothing: the key is left out.
    Absent,
    /// A string.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// `true`; `false` is left out.
    True,
    /// An object.
    Object(&'a dyn Fields),
    /// An array.
    List(&'a dyn Items),
}

/// An object to write.
pub trait Fields {
    /// Hands over each field in order.
    fn each(&self, take: &mut dyn FnMut(&'static str, Value<'_>));
}

/// An array to write.
pub trait Items {
    /// Hands over each item in order.
    fn each(&self, take: &mut dyn FnMut(Value<'_>));
}

impl<T: Fields> Items for Vec<T> {
    fn each(&self, take: &mut dyn FnMut(Value<'_>)) {
        self.iter().for_each(|item| take(Value::Object(item)));
    }
}

impl Items for Vec<String> {
    fn each(&self, take: &mut dyn FnMut(Value<'_>)) {
        self.iter().for_each(|item| take(Value::Text(item)));
    }
}

/// What can stand in a field.
pub trait Field {
    /// How it is written.
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
    let mut out = String::new();
    put(&mut out, &Value::Object(object));
    out.into_bytes()
}

fn put(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Absent => out.push_str("null"),
        Value::Text(text) => put_text(out, text),
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::True => out.push_str("true"),
        Value::Object(object) => {
            let mut before = '{';
            object.each(&mut |key, value| {
                if !matches!(value, Value::Absent) {
                    out.push(before);
                    before = ',';
                    put_text(out, key);
                    out.push(':');
                    put(out, &value);
                }
            });
            out.push_str(if before == '{' { "{}" } else { "}" });
        }
        Value::List(list) => {
            let mut before = '[';
            list.each(&mut |value| {
                out.push(before);
                before = ',';
                put(out, &value);
            });
            out.push_str(if before == '[' { "[]" } else { "]" });
        }
    }
}

fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.push('\\'),
            '\0'..='\x1f' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
                continue;
            }
            _ => {}
        }
        out.push(character);
    }
    out.push('"');
}

/// Reads a whole document. The error says where it stops being JSON.
pub fn read(document: &[u8], slot: Slot<'_>) -> Result<(), String> {
    if let Err(e) = core::str::from_utf8(document) {
        return Err(format!("not UTF-8 after byte {}", e.valid_up_to()));
    }
    let mut json = SliceLexer::new(document);
    match json.exactly_one(SliceLexer::ws_peek, |next, json| value(next, json, slot, DEEPEST)) {
        Ok(()) => Ok(()),
        Err(NotJson) => Err(format!("not JSON after byte {}", document.len() - json.as_slice().len())),
    }
}

/// Where the lexer stands is all that there is to say.
struct NotJson;

impl From<Expect> for NotJson {
    fn from(_: Expect) -> Self {
        NotJson
    }
}

fn value(next: u8, json: &mut SliceLexer<'_>, mut slot: Slot<'_>, depth: u32) -> Result<(), NotJson> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(NotJson);
    };
    match next {
        b'{' => json.discarded().seq(b'}', SliceLexer::ws_peek, |next, json| {
            let slot = key(next, json, &mut slot)?;
            json.expect(SliceLexer::ws_peek, b':').ok_or(NotJson)?;
            value(json.ws_peek().ok_or(NotJson)?, json, slot, depth)
        }),
        b'[' => json.discarded().seq(b']', SliceLexer::ws_peek, |next, json| {
            let slot = if let Slot::List(list) = &mut slot { list.slot() } else { Slot::Skip };
            value(next, json, slot, depth)
        }),
        b'"' => text(json.discarded(), slot),
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

fn key<'a>(next: u8, json: &mut SliceLexer<'_>, slot: &'a mut Slot<'_>) -> Result<Slot<'a>, NotJson> {
    if next != b'"' {
        return Err(NotJson);
    }
    json.take_next();
    if let Slot::Object(object) = slot {
        let key = json.str_string().map_err(|_| NotJson)?;
        return Ok(object.slot(&key));
    }
    json.str_ignore().map_err(|_| NotJson)?;
    Ok(Slot::Skip)
}

fn text(json: &mut SliceLexer<'_>, slot: Slot<'_>) -> Result<(), NotJson> {
    if !matches!(slot, Slot::Text(_) | Slot::MaybeText(_) | Slot::Instant(_)) {
        return json.str_ignore().map_err(|_| NotJson);
    }
    let text = json.str_string().map_err(|_| NotJson)?;
    match slot {
        Slot::Text(place) => *place = text.into_owned(),
        Slot::MaybeText(place) if !text.is_empty() => *place = Some(text.into_owned()),
        Slot::Instant(place) => *place = time::parse_rfc3339(&text),
        _ => {}
    }
    Ok(())
}

fn number(json: &mut SliceLexer<'_>, slot: Slot<'_>) -> Result<(), NotJson> {
    let (digits, parts) = json.num_bytes().validated().map_err(|_| NotJson)?;
    if let (true, Slot::Integer(place) | Slot::Instant(place)) = (parts.is_int(), slot) {
        // One that is too large is passed over like any other odd value.
        if let Some(number) = core::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) {
            *place = Some(number);
        }
    }
    Ok(())
}

/// Implements [`Object`] and [`Fields`] by one table of keys.
macro_rules! object {
    ($type:ty { $($key:literal => $kind:ident $field:ident),+ $(,)? }) => {
        impl $crate::json::Object for $type {
            fn slot(&mut self, key: &str) -> $crate::json::Slot<'_> {
                match key {
                    $($key => $crate::json::Slot::$kind(&mut self.$field),)+
                    _ => $crate::json::Slot::Skip,
                }
            }
        }

        impl $crate::json::Fields for $type {
            fn each(&self, take: &mut dyn FnMut(&'static str, $crate::json::Value<'_>)) {
                $(take($key, $crate::json::Field::value(&self.$field));)+
            }
        }
    };
}
pub(crate) use object;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Thing {
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
        fn slot(&mut self, key: &str) -> Slot<'_> {
            self.as_mut().slot(key)
        }
    }

    impl Fields for Box<Thing> {
        fn each(&self, take: &mut dyn FnMut(&'static str, Value<'_>)) {
            self.as_ref().each(take);
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
        let written = String::from_utf8(write(&got)).unwrap();
        assert_eq!(thing(&written), expected, "{written}");
        assert_eq!(write(&Thing::default()), b"{}");
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
        assert_eq!(read(b"{\"a\":\"\xff\"}", Slot::Skip), Err("not UTF-8 after byte 6".into()));
    }

    #[test]
    fn an_answer_nested_beyond_reason_is_refused_and_not_followed() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(read(&nested(128), Slot::Skip).is_ok());
        assert!(read(&nested(129), Slot::Skip).is_err());
        assert!(read(&vec![b'['; 1 << 20], Slot::Skip).is_err());
    }

    fn any_thing() -> impl Strategy<Value = Thing> {
        let flat = (".*", proptest::option::of(".+"), any::<(Option<i64>, Option<i64>, bool)>());
        let flat = flat.prop_map(|(name, note, (at, rank, flag))| Thing {
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
                part: Some(Box::new(part)).filter(|part| **part != Thing::default()),
                parts,
                tags,
                ..Thing::default()
            })
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_json_and_reads_back_as_it_was(before in any_thing()) {
            let written = write(&before);
            let judged: serde_json::Value = serde_json::from_slice(&written).unwrap();
            prop_assert_eq!(judged["name"].as_str().unwrap_or_default(), &before.name);
            let mut after = Thing::default();
            prop_assert_eq!(read(&written, Slot::Object(&mut after)), Ok(()));
            prop_assert_eq!(after, before);
        }

        /// serde_json is the judge. Texts of JSON's own characters: most are almost JSON.
        #[test]
        fn what_is_json_is_read_and_nothing_else(text in r#"([\[\]{},:"]|"[ab]?"|\\["nq/]|[ \t\n\x0b]|-|[0-9.]{1,3}|1e[+-]?[0-9]|true|false|null|nul|\PC){0,12}"#) {
            let judged = serde_json::from_str::<serde_json::Value>(&text).is_ok();
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
