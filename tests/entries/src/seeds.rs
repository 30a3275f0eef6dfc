//! Where runs begin: the fixtures, in small parts.

use std::io;
use std::path::Path;

use serde_json::Value;

/// Longer ones are cut: damage near their beginning says as much.
const LONGEST: usize = 20_000;

/// The fixtures of the project in this directory, the examples within them, and what `fuzz/seeds` adds.
pub(crate) fn seeds(project: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    let mut directories = vec![project.join("fuzz/seeds")];
    for provider in ["incidentio", "opsgenie", "svix", "mttr"] {
        directories.push(project.join("tests/fixtures").join(provider));
    }
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read(path)?;
            if let Ok(Value::Object(document)) = serde_json::from_slice(&text) {
                seeds.extend(document.values().flat_map(examples));
            }
            seeds.push(text);
        }
    }
    seeds.iter_mut().for_each(|seed| seed.truncate(LONGEST));
    // The order of a directory is the file system's.
    seeds.sort_unstable();
    seeds.dedup();
    Ok(seeds)
}

/// An example for itself, and what it is made of.
fn examples(value: &Value) -> Vec<Vec<u8>> {
    let parts: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => return Vec::new(),
    };
    let compound = parts.into_iter().chain([value]).filter(|part| part.is_array() || part.is_object());
    compound.map(|part| part.to_string().into_bytes()).collect()
}
