//! Readers of the files that people have, whatever wrote them. Bytes go in, records and named mistakes come out, each with
//! its place. Nothing is guessed: what can be read in two ways is refused, with what to do.
//!
//! The crate knows neither the host nor its store, so that a fuzz target builds it without wasmtime.

pub mod import;
pub mod instant;
pub mod opsgenie;
mod table;

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

/// Why bytes are no text that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// A spreadsheet's own format, or an archive.
    #[error("is compressed, or in a spreadsheet's own format; unpack it, or save it as CSV in UTF-8")]
    Packed,
    /// Every other byte is zero.
    #[error("looks like UTF-16 but lacks its byte order mark; save it as UTF-8")]
    Unmarked,
    /// An older encoding, which does not say which one it is.
    #[error("is not UTF-8 text (line {0} is the first that shows it); save it as UTF-8")]
    Line(usize),
    /// The mark promises another encoding than what follows.
    #[error("begins like {0} and goes on otherwise; save it as UTF-8")]
    Damaged(&'static str),
}

/// The text of UTF-8, with or without a byte order mark, or of UTF-16 with one. The mark is no part of it.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    if bytes.starts_with(b"PK\x03\x04")
        || bytes.starts_with(b"\x1f\x8b")
        || bytes.starts_with(b"\xd0\xcf\x11\xe0")
    {
        return Err(NotText::Packed);
    }
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or((UTF_8, 0));
    let rest = bytes.get(mark..).unwrap_or_default();
    if encoding != UTF_8 {
        let (text, damaged) = encoding.decode_without_bom_handling(rest);
        return if damaged { Err(NotText::Damaged(encoding.name())) } else { Ok(text) };
    }
    let text = std::str::from_utf8(rest).map_err(|error| {
        let before = rest.get(..error.valid_up_to()).unwrap_or_default();
        NotText::Line(before.iter().filter(|byte| **byte == b'\n').count() + 1)
    });
    match text {
        // UTF-16 of Latin letters is valid UTF-8, and no text has a zero at its beginning.
        Ok(text) if text.get(..2).is_some_and(|start| start.contains('\0')) => Err(NotText::Unmarked),
        Err(_) if rest.get(..2).is_some_and(|start| start.contains(&0)) => Err(NotText::Unmarked),
        text => text.map(Cow::Borrowed),
    }
}

/// Line and column of what stands in a text, both from 1. A column counts characters.
pub(crate) struct Places<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

/// A line, and a column where one is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: Option<u64>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(text: &'a str) -> Places<'a> {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Places { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Where a part of the text begins, which must be a slice of it.
    pub(crate) fn of(&self, part: &str) -> Place {
        self.at(part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr()))
    }

    /// The place of this byte.
    pub(crate) fn at(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        Place { line: line as u64, column: Some(before.chars().count() as u64 + 1) }
    }
}

/// What several names in one cell are: a list as JSON or Python writes it, else parts between `;`, `|` or line breaks,
/// and only where there is none of these, between commas.
pub(crate) fn list(cell: &str) -> Vec<String> {
    let cell = cell.trim();
    if let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(cell) {
        return items.iter().filter_map(item_name).collect();
    }
    let inner = cell.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let strong = |c: char| matches!(c, ';' | '|' | '\n' | '\r');
    let parts: Vec<&str> = match inner {
        Some(inner) => quoted_parts(inner),
        None if cell.contains(strong) => cell.split(strong).collect(),
        None => cell.split(',').collect(),
    };
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// The name of an item of a list: a text, or an object's `name`, else its `id`.
pub(crate) fn item_name(item: &serde_json::Value) -> Option<String> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    text(item).or_else(|| ["name", "id"].into_iter().find_map(|key| text(item.get(key)?)))
}

/// Parts between commas that are not within quotes, without those.
fn quoted_parts(inner: &str) -> Vec<&str> {
    let mut open: Option<char> = None;
    let outside = |c: char| {
        match open {
            Some(quote) if c == quote => open = None,
            None if matches!(c, '\'' | '"') => open = Some(c),
            _ => {}
        }
        c == ',' && open.is_none()
    };
    inner.split(outside).map(|part| part.trim().trim_matches(['\'', '"'])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_by_its_byte_order_mark_and_nothing_else_is_guessed() {
        let utf16 = |text: &str, little: bool| -> Vec<u8> {
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
        };
        for bytes in [
            b"id,\xc3\xa4".to_vec(),
            b"\xef\xbb\xbfid,\xc3\xa4".to_vec(),
            utf16("id,ä", true),
            utf16("id,ä", false),
        ] {
            assert_eq!(decode(&bytes).unwrap(), "id,ä");
        }
        for (bytes, expected) in [
            (&b"id\nname\n\xe4"[..], NotText::Line(3)),
            (b"i\0d\0", NotText::Unmarked),
            (b"\0i\0d", NotText::Unmarked),
            (b"PK\x03\x04rest", NotText::Packed),
            (b"\xff\xfei", NotText::Damaged("UTF-16LE")),
        ] {
            assert_eq!(decode(bytes).unwrap_err(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn several_names_in_a_cell_are_several() {
        for (cell, expected) in [
            ("checkout", vec!["checkout"]),
            ("checkout, payments", vec!["checkout", "payments"]),
            ("checkout; payments |search\nmail", vec!["checkout", "payments", "search", "mail"]),
            ("Payments, EU; Checkout", vec!["Payments, EU", "Checkout"]),
            (r#"["checkout","Payments, EU"]"#, vec!["checkout", "Payments, EU"]),
            ("['checkout', 'Payments, EU']", vec!["checkout", "Payments, EU"]),
            (r#"[{"id":"s1","name":"checkout"},{"id":"s2"}]"#, vec!["checkout", "s2"]),
            ("", vec![]),
            (" ; ", vec![]),
            ("[]", vec![]),
        ] {
            assert_eq!(list(cell), expected, "{cell}");
        }
    }

    #[test]
    fn a_place_is_a_line_and_a_character() {
        let text = "ab\nöd\n";
        let places = Places::new(text);
        let place = |line, column| Place { line, column: Some(column) };
        assert_eq!(places.of(text), place(1, 1));
        assert_eq!(places.of(&text[5..]), place(2, 2));
        assert_eq!(places.at(text.len()), place(3, 1));
    }
}
