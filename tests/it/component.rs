//! The component as a file: what it imports and exports, how large it is, which instructions it uses.

use std::collections::BTreeSet;

use wasmparser::{Operator, Parser, Payload};
use wit_parser::{Docs, Resolve, Stability, TypeDefKind, WorldItem};

use crate::support::{Bench, component, importer, root};

/// Names of the interfaces that the world imports, those that others of them build on included.
fn world_imports() -> BTreeSet<String> {
    let mut resolve = Resolve::new();
    let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("integration")).unwrap();
    let imports = resolve.worlds[world].imports.iter();
    let interfaces = imports.filter(|(_, item)| matches!(item, WorldItem::Interface { .. }));
    interfaces.map(|(key, _)| resolve.name_world_key(key)).collect()
}

#[tokio::test]
async fn the_component_imports_exactly_the_worlds_interfaces() {
    let bench = Bench::new().await;
    for plugin in [bench.host.plugin(), bench.host.importer().unwrap()] {
        let surface = plugin.surface();
        let (world, own) = (world_imports(), surface.imports.iter().cloned().collect::<BTreeSet<_>>());
        let too_many: Vec<_> = own.difference(&world).collect();
        let missing: Vec<_> = world.difference(&own).collect();
        assert!(
            too_many.is_empty() && missing.is_empty(),
            "beyond the world: {too_many:?}; not used: {missing:?}"
        );
        for ambient in ["cli", "filesystem", "sockets", "random", "environment"] {
            assert!(!own.iter().any(|name| name.contains(ambient)), "{ambient} is not for a plugin");
        }
        assert_eq!(surface.exports, ["koalr:integration/connector@0.1.0"]);
    }
}

#[test]
fn each_item_of_the_contract_has_a_version_and_says_what_it_is() {
    let mut resolve = Resolve::new();
    let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
    let mut silent = Vec::new();
    let mut hold = |name: String, docs: &Docs, stability: Option<&Stability>| {
        let told = docs.contents.as_ref().is_some_and(|text| !text.trim().is_empty());
        let dated = stability.is_none_or(|stability| matches!(stability, Stability::Stable { .. }));
        if !(told && dated) {
            silent.push(name);
        }
    };
    for (_, interface) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[*interface];
        let of = interface.name.clone().unwrap();
        hold(of.clone(), &interface.docs, Some(&interface.stability));
        for (name, function) in &interface.functions {
            hold(format!("{of}.{name}"), &function.docs, Some(&function.stability));
        }
        for (name, definition) in &interface.types {
            let of = format!("{of}.{name}");
            let definition = &resolve.types[*definition];
            let parts: Vec<(&str, &Docs)> = match &definition.kind {
                // Of another interface, which documents it.
                TypeDefKind::Type(wit_parser::Type::Id(_)) => continue,
                TypeDefKind::Record(record) => record.fields.iter().map(|f| (&*f.name, &f.docs)).collect(),
                TypeDefKind::Variant(variant) => variant.cases.iter().map(|c| (&*c.name, &c.docs)).collect(),
                // The enum's own words may say what all of its cases are.
                TypeDefKind::Enum(words) if words.cases.iter().any(|c| c.docs.contents.is_some()) => {
                    words.cases.iter().map(|c| (&*c.name, &c.docs)).collect()
                }
                _ => Vec::new(),
            };
            hold(of.clone(), &definition.docs, Some(&definition.stability));
            for (part, docs) in parts {
                hold(format!("{of}.{part}"), docs, None);
            }
        }
    }
    assert!(silent.is_empty(), "without a version or without words: {silent:#?}");
}

/// Bytes that the component may be.
const LARGEST: usize = 400_000;

#[test]
fn the_component_is_small() {
    for (name, wasm) in [("incidentio", component()), ("opsgenie", importer())] {
        let over = wasm.len().saturating_sub(LARGEST);
        assert!(
            over == 0,
            "{name} has {} bytes, {over} more than the {LARGEST} that it may have",
            wasm.len()
        );
    }
}

#[test]
fn the_component_uses_simd() {
    // A RUSTFLAGS variable silently replaces the flags of .cargo/config.toml, and SHA-256 becomes scalar.
    let wasm = component();
    let mut vectors = 0;
    for payload in Parser::new(0).parse_all(&wasm) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            let operators = body.get_operators_reader().unwrap().into_iter();
            vectors += operators.filter(|op| matches!(op, Ok(Operator::I32x4Add))).count();
        }
    }
    assert!(vectors > 10, "{vectors} vector additions");
}

#[tokio::test]
async fn the_component_says_what_the_product_documents() {
    let bench = Bench::new().await;
    let descriptor = bench.host.plugin().descriptor();
    assert_eq!((descriptor.name.as_str(), descriptor.history_days), ("incidentio", 90));
    assert_eq!(descriptor.poll_interval_seconds, 300);
    assert_eq!(descriptor.origins, ["https://api.incident.io"]);
    assert!(!descriptor.revealed.contains(&"api-key".to_string()), "the key is injected, never revealed");
    // Neither reaches the other's provider, nor sees its own key.
    let descriptor = bench.host.importer().unwrap().descriptor();
    assert_eq!(descriptor.origins, ["https://api.opsgenie.com", "https://api.eu.opsgenie.com"]);
    assert!(descriptor.injected.iter().all(|credential| credential.prefix == "GenieKey "));
    assert!(descriptor.revealed.is_empty());
}
