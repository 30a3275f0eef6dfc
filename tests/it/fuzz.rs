//! A bounded run of what `fuzz/` runs without bounds: fixtures, each in many damaged copies, into every entry.

#[path = "../mangle.rs"]
mod mangle;

use std::collections::BTreeSet;

use koalr_entries::{ENTRIES, seeds};

use crate::support::root;

/// Damaged copies of each fixture.
const COPIES: usize = 20;

#[test]
fn whatever_comes_in_every_entry_comes_to_its_end() {
    let seeds = seeds(&root()).unwrap();
    assert!(seeds.len() > 100, "{}", seeds.len());
    let mut draw = fastrand::Rng::with_seed(11);
    for seed in &seeds {
        for copy in 0..COPIES {
            let input = if copy == 0 { seed.clone() } else { mangle::mangled(seed, &mut draw) };
            for (_, entry) in ENTRIES {
                entry(&input);
            }
        }
    }
}

#[test]
fn every_entry_is_a_fuzz_target_and_every_target_an_entry() {
    let names: BTreeSet<String> = ENTRIES.iter().map(|(name, _)| (*name).into()).collect();
    let files = std::fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap();
    let targets: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, targets);
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in &names {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        let target = std::fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("koalr_entries::feed(\"{name}\", data)")), "{name}");
    }
}
