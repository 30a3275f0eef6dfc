//! JSON into plain structs and back: leniently, in one pass, and in little code.
//!
//! A reader says for each key where its value goes; a value of another kind than the place expects, an unknown
//! key and `null` are passed over. So no surprise inside a document costs more than the value that it is; only
//! text that is not JSON at all is an error. Writing leaves out what is empty, and reading brings it back as it
//! was. One visitor and one serializer serve every type through trait objects: deriving serde's traits for each
//! would triple the size of the component.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::model::Timestamp;
use crate::time;

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

/// Absent until a field is seen.
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

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        let mut done = Ok(());
        match self {
            Value::Absent => json.serialize_unit(),
            Value::Text(text) => json.serialize_str(text),
            Value::Integer(number) => json.serialize_i64(*number),
            Value::True => json.serialize_bool(true),
            Value::Object(object) => {
                let mut map = json.serialize_map(None)?;
                object.each(&mut |key, value| {
                    if done.is_ok() && !matches!(value, Value::Absent) {
                        done = map.serialize_entry(key, &value);
                    }
                });
                done.and_then(|()| map.end())
            }
            Value::List(list) => {
                let mut seq = json.serialize_seq(None)?;
                list.each(&mut |value| {
                    if done.is_ok() {
                        done = seq.serialize_element(&value);
                    }
                });
                done.and_then(|()| seq.end())
            }
        }
    }
}

/// Writes an object as a document.
pub fn write(object: &dyn Fields) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Value::Object(object))
}

/// Reads a whole document. The error says where it stops being JSON.
pub fn read(document: &[u8], slot: Slot<'_>) -> Result<(), String> {
    let text =
        core::str::from_utf8(document).map_err(|e| format!("not UTF-8 after byte {}", e.valid_up_to()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = slot.deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|e| format!("not JSON at line {} column {}", e.line(), e.column()))
}

impl<'de> DeserializeSeed<'de> for Slot<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Slot<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self {
            Slot::Text(place) => *place = text.into(),
            Slot::MaybeText(place) if !text.is_empty() => *place = Some(text.into()),
            Slot::Instant(place) => *place = time::parse_rfc3339(text),
            _ => {}
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        if let Slot::Integer(place) | Slot::Instant(place) = self {
            *place = Some(number);
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        i64::try_from(number).map_or(Ok(()), |number| self.visit_i64(number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if let Slot::Flag(place) = self {
            *place = value;
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self {
            Slot::Object(object) => {
                while let Some(slot) = map.next_key_seed(Key(&mut *object))? {
                    match slot {
                        Slot::Skip => drop(map.next_value::<IgnoredAny>()?),
                        slot => map.next_value_seed(slot)?,
                    }
                }
            }
            _ => while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {},
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        match self {
            Slot::List(list) => while seq.next_element_seed(Item(&mut *list))?.is_some() {},
            _ => while seq.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(())
    }
}

struct Key<'a>(&'a mut dyn Object);

impl<'a, 'de> DeserializeSeed<'de> for Key<'a> {
    type Value = Slot<'a>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Slot<'a>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Slot<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Slot<'a>, E> {
        Ok(self.0.slot(key))
    }
}

struct Item<'a>(&'a mut dyn List);

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.0.slot() {
            Slot::Skip => IgnoredAny::deserialize(json).map(drop),
            slot => slot.deserialize(json),
        }
    }
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
    use super::*;

    #[derive(Debug, Default, PartialEq)]
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
        let written = String::from_utf8(write(&got).unwrap()).unwrap();
        assert_eq!(thing(&written), expected, "{written}");
        assert_eq!(write(&Thing::default()).unwrap(), b"{}");
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
}
