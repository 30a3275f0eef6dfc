//! Writes JSON objects from parts that are JSON already.
//!
//! An incident repeats the same users, roles, statuses and field descriptions thousands of times. Those parts
//! are serialised once, with the settings, and copied from then on; that is what makes ten thousand incidents
//! a matter of copying bytes.

use chrono::{DateTime, SecondsFormat, Utc};

/// An object under construction. Keys are written as given, so they must need no escaping.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    /// An object that will grow to about this many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self(text)
    }

    /// A value that is JSON already.
    pub(crate) fn raw(mut self, key: &str, json: &str) -> Self {
        self.key(key);
        self.0.push_str(json);
        self
    }

    pub(crate) fn text(mut self, key: &str, text: &str) -> Self {
        self.key(key);
        push_text(&mut self.0, text);
        self
    }

    /// Absent when there is nothing: the official schema never uses `null`.
    pub(crate) fn optional(self, key: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    pub(crate) fn time(self, key: &str, at: DateTime<Utc>) -> Self {
        let json = quoted_time(at);
        self.raw(key, &json)
    }

    pub(crate) fn array<I>(mut self, key: &str, elements: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.key(key);
        push_array(&mut self.0, elements);
        self
    }

    pub(crate) fn close(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }
}

/// A list of values that are JSON already.
pub(crate) fn array<I>(elements: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut out = String::new();
    push_array(&mut out, elements);
    out
}

/// An instant as incident.io prints it: UTC, with as many fraction digits as it needs.
pub(crate) fn time_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn quoted_time(at: DateTime<Utc>) -> String {
    format!("\"{}\"", time_text(at))
}

fn push_array<I>(out: &mut String, elements: I)
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    out.push('[');
    for (position, element) in elements.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        out.push_str(element.as_ref());
    }
    out.push(']');
}

fn push_text(out: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&serde_json::Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_parts_are_kept() {
        let object = Object::new()
            .text("a", "say \"hi\"\n")
            .raw("b", "{\"x\":1}")
            .optional("c", None)
            .array("d", ["1", "2"])
            .close();
        let value: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!(value, serde_json::json!({"a": "say \"hi\"\n", "b": {"x": 1}, "d": [1, 2]}));
    }
}
