//! Short names for what passes between a component's own modules.
//!
//! The linker names a module's imports and exports after the interfaces that they come from, in full and for each
//! again where the component wires its modules together: five kilobytes that nobody reads. What the component itself
//! imports and exports is left alone. See the binary format: <https://github.com/WebAssembly/component-model>.

use std::collections::HashMap;

use super::{read_leb128, write_leb128};

const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;
const FUNCTION: u8 = 0;
/// How an alias says that it names an export of a core instance.
const CORE_EXPORT: u8 = 1;

/// What the main module's names became.
#[derive(Default)]
pub(super) struct Names(HashMap<Vec<u8>, Vec<u8>>);

impl Names {
    /// The module with short names for all that it imports and exports. None if it is not as expected.
    pub(super) fn of_module(&mut self, module: &[u8]) -> Option<Vec<u8>> {
        let (preamble, rest) = module.split_at_checked(8)?;
        let mut out = preamble.to_vec();
        let mut rest = Cursor(rest);
        while !rest.0.is_empty() {
            let id = rest.byte()?;
            let size = rest.number()?;
            let content = Cursor(rest.bytes(size)?);
            let content = match id {
                IMPORTS => self.items(content, 2, |rest, out| {
                    // A module of ours imports functions only: its memory and its table are its own.
                    out.push(rest.byte().filter(|kind| *kind == FUNCTION)?);
                    rest.copy_number(out)
                })?,
                EXPORTS => self.items(content, 1, |rest, out| {
                    out.push(rest.byte()?);
                    rest.copy_number(out)
                })?,
                _ => content.0.to_vec(),
            };
            section(&mut out, id, &content);
        }
        Some(out)
    }

    /// Items that begin with so many names, all of them given short ones.
    fn items(
        &mut self,
        mut rest: Cursor<'_>,
        names: usize,
        then: impl Fn(&mut Cursor<'_>, &mut Vec<u8>) -> Option<()>,
    ) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let count = rest.number()?;
        write_leb128(&mut out, count);
        for _ in 0..count {
            for _ in 0..names {
                let name = rest.name()?;
                let next = self.0.len();
                let short = self.0.entry(name.to_vec()).or_insert_with(|| letters(next));
                put_name(&mut out, short);
            }
            then(&mut rest, &mut out)?;
        }
        rest.0.is_empty().then_some(out)
    }

    fn put(&self, out: &mut Vec<u8>, name: &[u8]) {
        put_name(out, self.0.get(name).map_or(name, Vec::as_slice));
    }

    /// A component's section of core instances, by the new names.
    pub(super) fn of_instances(&self, content: &[u8]) -> Option<Vec<u8>> {
        let (mut rest, mut out) = (Cursor(content), Vec::new());
        for _ in 0..rest.copy_count(&mut out)? {
            let kind = rest.byte()?;
            out.push(kind);
            if kind == 0 {
                // The module.
                rest.copy_number(&mut out)?;
            }
            // Either what a module is given, or what an instance is made of: a name, what sort of thing, and its index.
            for _ in 0..rest.copy_count(&mut out)? {
                self.put(&mut out, rest.name()?);
                out.push(rest.byte()?);
                rest.copy_number(&mut out)?;
            }
        }
        rest.0.is_empty().then_some(out)
    }

    /// A component's section of aliases, by the new names.
    pub(super) fn of_aliases(&self, content: &[u8]) -> Option<Vec<u8>> {
        let (mut rest, mut out) = (Cursor(content), Vec::new());
        for _ in 0..rest.copy_count(&mut out)? {
            let sort = rest.byte()?;
            out.push(sort);
            if sort == 0 {
                out.push(rest.byte()?);
            }
            let target = rest.byte()?;
            out.push(target);
            rest.copy_number(&mut out)?;
            match target {
                CORE_EXPORT => self.put(&mut out, rest.name()?),
                // An export of a component's instance, whose name is not ours to change.
                0 => put_name(&mut out, rest.name()?),
                // Something of an enclosing component.
                _ => rest.copy_number(&mut out)?,
            }
        }
        rest.0.is_empty().then_some(out)
    }
}

/// `a`, `b`, …, `z`, `ba`, …: never a digit, which is what the linker's own helper modules use.
fn letters(mut number: usize) -> Vec<u8> {
    let mut name = Vec::new();
    loop {
        name.insert(0, b'a' + (number % 26) as u8);
        number /= 26;
        if number == 0 {
            return name;
        }
    }
}

fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    write_leb128(out, name.len());
    out.extend_from_slice(name);
}

pub(super) fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    write_leb128(out, content.len());
    out.extend_from_slice(content);
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        let (number, length) = read_leb128(self.0)?;
        self.bytes(length)?;
        Some(number)
    }

    fn name(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(length)
    }

    fn copy_number(&mut self, out: &mut Vec<u8>) -> Option<()> {
        write_leb128(out, self.number()?);
        Some(())
    }

    fn copy_count(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let count = self.number()?;
        write_leb128(out, count);
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_modules_become_short_everywhere_and_others_stay() {
        // Imports `long`.`f`, exports `start` and `long`.
        let imports = b"\x01\x04long\x01f\x00\x00";
        let exports = b"\x02\x05start\x00\x01\x04long\x02\x00";
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        section(&mut module, IMPORTS, imports);
        section(&mut module, EXPORTS, exports);
        let mut names = Names::default();
        let mut expected = b"\0asm\x01\0\0\0".to_vec();
        section(&mut expected, IMPORTS, b"\x01\x01a\x01b\x00\x00");
        section(&mut expected, EXPORTS, b"\x02\x01c\x00\x01\x01a\x02\x00");
        assert_eq!(names.of_module(&module), Some(expected));
        // An instance that holds `f` and `0`, then the module with it as `long`.
        let instances = b"\x02\x01\x02\x01f\x00\x05\x010\x00\x06\x00\x00\x01\x04long\x12\x00";
        let expected = b"\x02\x01\x02\x01b\x00\x05\x010\x00\x06\x00\x00\x01\x01a\x12\x00";
        assert_eq!(names.of_instances(instances), Some(expected.to_vec()));
        // A core function `start`, and a function `start` of a component's instance.
        let aliases = b"\x02\x00\x00\x01\x01\x05start\x01\x00\x00\x05start";
        assert_eq!(
            names.of_aliases(aliases),
            Some(b"\x02\x00\x00\x01\x01\x01c\x01\x00\x00\x05start".to_vec())
        );
        assert_eq!(names.of_aliases(b"\x01\x00"), None);
    }

    #[test]
    fn no_two_numbers_have_the_same_letters() {
        let names: std::collections::HashSet<Vec<u8>> = (0..2_000).map(letters).collect();
        assert_eq!(names.len(), 2_000);
    }
}
