//! A bounded run of what `fuzz/` runs without bounds: fixtures, each in many damaged copies, into every entry.

#[path = "../entries.rs"]
mod entries;
#[path = "../mangle.rs"]
mod mangle;

use crate::support::root;

/// Damaged copies of each fixture.
const COPIES: usize = 150;
/// Longer ones are cut: damage near their beginning says as much.
const LONGEST: usize = 20_000;

fn corpus() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut directories = vec![root().join("tests/fixtures"), root().join("fuzz/corpus")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let mut seed = std::fs::read(path).unwrap();
            seed.truncate(LONGEST);
            seeds.push(seed);
        }
    }
    // A test of many examples holds each of them as a document of its own.
    for file in ["incidentio/webhook-examples.json", "incidentio/rest-examples.json"] {
        let document = crate::support::fixture(file);
        let examples = document.as_object().unwrap().values().flat_map(|value| match value {
            serde_json::Value::Array(list) => list.clone(),
            serde_json::Value::Object(map) => map.values().cloned().collect(),
            other => vec![other.clone()],
        });
        seeds.extend(examples.map(|example| example.to_string().into_bytes()));
    }
    seeds.iter_mut().for_each(|seed| seed.truncate(LONGEST));
    seeds
}

#[test]
fn whatever_comes_in_every_entry_comes_to_its_end() {
    let seeds = corpus();
    assert!(seeds.len() > 30, "{}", seeds.len());
    let mut draw = fastrand::Rng::with_seed(11);
    for seed in &seeds {
        for copy in 0..COPIES {
            let input = if copy == 0 { seed.clone() } else { mangle::mangled(seed, &mut draw) };
            for (_, entry) in entries::ENTRIES {
                entry(&input);
            }
        }
    }
}
