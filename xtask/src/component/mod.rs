//! Makes a built component smaller: binaryen's `wasm-opt` for its code, short names between its modules, and no custom
//! sections.

mod names;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use names::Names;

/// The host looks for this name.
const DEPENDENCIES: &str = "koalr:dependencies";

const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;
const CORE_INSTANCES: u8 = 2;
const ALIASES: u8 = 6;

/// What rustc's wasm32-wasip2 target uses, and SIMD.
const FEATURES: [&str; 7] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-reference-types",
];

/// The component with each of its modules optimised for size, its inner names short, and without its custom sections:
/// names for a debugger, which the linker adds after it has stripped.
pub(crate) fn smaller(component: &[u8], scratch: &Path) -> Result<Vec<u8>> {
    let no_component = "the linker's result is no component";
    let (preamble, mut rest) = component.split_at_checked(8).context(no_component)?;
    let mut kept = preamble.to_vec();
    let mut names = None;
    while let [id, after_id @ ..] = rest {
        let (size, header) = read_leb128(after_id).context(no_component)?;
        let (_, after_header) = after_id.split_at_checked(header).context(no_component)?;
        let (content, next) = after_header.split_at_checked(size).context(no_component)?;
        let odd =
            || format!("the linker wired the component in an unexpected way, in a section of kind {id}");
        let content = match (*id, &mut names) {
            (CUSTOM, _) => None,
            // The first is ours; those after it are the linker's own.
            (CORE_MODULE, None) => {
                let new = names.insert(Names::default());
                Some(new.of_module(&optimised(content, scratch)?).with_context(odd)?)
            }
            (CORE_MODULE, Some(_)) => Some(optimised(content, scratch)?),
            (CORE_INSTANCES, Some(names)) => Some(names.of_instances(content).with_context(odd)?),
            (ALIASES, Some(names)) => Some(names.of_aliases(content).with_context(odd)?),
            _ => Some(content.to_vec()),
        };
        if let Some(content) = content {
            names::section(&mut kept, *id, &content);
        }
        rest = next;
    }
    Ok(kept)
}

/// The component with a list of what it was built from, a `name version` on each line, in a custom section that
/// `koalr-harness inspect` reads.
pub(crate) fn with_dependencies(mut component: Vec<u8>, list: &str) -> Vec<u8> {
    let mut content = Vec::new();
    write_leb128(&mut content, DEPENDENCIES.len());
    content.extend_from_slice(DEPENDENCIES.as_bytes());
    content.extend_from_slice(list.as_bytes());
    names::section(&mut component, CUSTOM, &content);
    component
}

fn optimised(module: &[u8], scratch: &Path) -> Result<Vec<u8>> {
    let name = |which: &str| scratch.join(format!("{which}-{}.wasm", std::process::id()));
    let (before, after) = (name("before"), name("after"));
    std::fs::write(&before, module).with_context(|| format!("cannot write {}", before.display()))?;
    let mut command = Command::new("wasm-opt");
    // Nothing lives in the first kilobyte: it is the far end of the stack.
    command
        .args(["-Oz", "--const-hoisting", "--low-memory-unused"])
        .args(FEATURES)
        .args(["--strip-debug", "--strip-producers"]);
    let ended = command.arg(&before).arg("-o").arg(&after).status().context(
        "cannot run wasm-opt; it is part of binaryen, which most systems have as a package (apt install binaryen, \
         brew install binaryen)",
    )?;
    if !ended.success() {
        bail!("wasm-opt failed on {}: {ended}", before.display());
    }
    let bytes = std::fs::read(&after).with_context(|| format!("cannot read {}", after.display()))?;
    std::fs::remove_file(&before)?;
    std::fs::remove_file(&after)?;
    Ok(bytes)
}

/// An unsigned LEB128 number and how many bytes it takes.
fn read_leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let length = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let digits = bytes.get(..length)?.iter().rev();
    Some((digits.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f)), length))
}

fn write_leb128(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_sections_go_modules_are_optimised_and_the_rest_stays() {
        let long = [[7, 0x81, 0x01].as_slice(), &[9; 129]].concat();
        // A module with nothing but a type that nothing uses.
        let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0";
        let start = b"\0asm\x0d\0\x01\0".as_slice();
        let component = [start, &[0, 2, 1, b'x'], &long, &[0, 0], &[1, 14], module].concat();
        let expected = [start, &long, &[1, 8], b"\0asm\x01\0\0\0"].concat();
        let scratch = std::env::temp_dir();
        assert_eq!(smaller(&component, &scratch).unwrap(), expected);
        assert!(smaller(b"\0asm\x0d\0\x01\0\x07\x05\x01", &scratch).is_err());
        assert!(smaller(b"no", &scratch).is_err());
    }

    #[test]
    fn a_length_reads_back_as_written() {
        for length in [0, 1, 127, 128, 300, 70_000] {
            let mut written = Vec::new();
            write_leb128(&mut written, length);
            assert_eq!(read_leb128(&written), Some((length, written.len())));
        }
    }
}
