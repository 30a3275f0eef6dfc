//! A loaded component: compiled, linked, and asked what it is.
//!
//! Refuses a component that imports anything beyond the world, and one whose description makes no sense: both
//! at load, not at the first call of some organisation.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::cache::{ModuleCache, hex};
use crate::call::{CallError, Slot};
use crate::contract::{Descriptor, IntegrationPre};
use crate::egress::{Client, Egress, InvalidOrigin, Origin};
use crate::engine::{Engine, Lane};
use crate::guest::{GuestState, linker};
use crate::limits::Limits;

/// Why a component cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is something else; the text says what.
    #[error("this is not a WebAssembly component: {0}")]
    NotAComponent(&'static str),
    /// The compiler refuses it.
    #[error("this is not a WebAssembly component that can be compiled: {0:#}")]
    Compile(wasmtime::Error),
    /// It imports what the world does not offer, or lacks what the world demands.
    #[error("the component does not fit the world koalr:integration/integration: {0:#}")]
    Link(wasmtime::Error),
    /// It cannot say what it is.
    #[error("the component does not describe itself: {0}")]
    Describe(#[from] CallError),
    /// What it says of itself makes no sense.
    #[error("the component describes itself wrongly: {0}")]
    Origin(#[from] InvalidOrigin),
    /// It wants to call what the operator did not allow.
    #[error(
        "the component wants to call {0}, which is not allowed here; allow it, or do not run the component"
    )]
    Forbidden(String),
    /// An injected credential for an origin that is not listed, or a header that is none.
    #[error(
        "the component describes itself wrongly: the credential `{0}` has no listed origin or no valid header"
    )]
    Credential(String),
}

/// What a component imports and exports: names of interfaces with their versions, sorted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Surface {
    /// Interfaces that the component asks for.
    pub imports: Vec<String>,
    /// Interfaces that it offers.
    pub exports: Vec<String>,
}

/// A function that a component exports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Export {
    /// As the contract calls it.
    pub(crate) name: &'static str,
    /// Where the component has it.
    pub(crate) index: ComponentExportIndex,
}

/// The functions of the contract, `describe` aside, which is called when the component is loaded.
pub(crate) struct Exports {
    pub(crate) connect: Export,
    pub(crate) verify_webhook: Export,
    pub(crate) handle_event: Export,
    pub(crate) poll: Export,
    pub(crate) rederive: Export,
    pub(crate) backfill: Export,
    pub(crate) map_severity: Export,
    pub(crate) compute_mttr: Export,
}

impl Exports {
    fn of(component: &Component) -> wasmtime::Result<Exports> {
        const CONNECTOR: &str = "koalr:integration/connector@0.1.0";
        let interface = component.get_export_index(None, CONNECTOR);
        let find = |name| match component.get_export_index(interface.as_ref(), name) {
            Some(index) => Ok(Export { name, index }),
            None => Err(wasmtime::Error::msg(format!("{CONNECTOR} lacks {name}"))),
        };
        Ok(Exports {
            connect: find("connect")?,
            verify_webhook: find("verify-webhook")?,
            handle_event: find("handle-event")?,
            poll: find("poll")?,
            rederive: find("rederive")?,
            backfill: find("backfill")?,
            map_severity: find("map-severity")?,
            compute_mttr: find("compute-mttr")?,
        })
    }
}

/// A component that is ready to be called. Cheap to clone through [`Arc`].
pub struct Plugin {
    pub(crate) pre: InstancePre<GuestState>,
    pub(crate) exports: Exports,
    pub(crate) name: Arc<str>,
    pub(crate) origins: Vec<Origin>,
    descriptor: Descriptor,
    digest: String,
    size: usize,
    surface: Surface,
    dependencies: Vec<Dependency>,
}

/// Something that a component was built from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Plugin {
    /// Compiles (or takes from the cache), links and describes a component.
    pub async fn load(
        engine: &Engine,
        cache: Option<&ModuleCache>,
        limits: &Limits,
        wasm: &[u8],
    ) -> Result<Plugin, LoadError> {
        match wasm {
            [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
                return Err(LoadError::NotAComponent("it is a core module; build it for wasm32-wasip2"));
            }
            [0, b'a', b's', b'm', ..] => {}
            _ => return Err(LoadError::NotAComponent("it does not begin as WebAssembly does")),
        }
        let component = match cache {
            Some(cache) => cache.load(engine, wasm),
            None => Component::new(engine.wasmtime(), wasm),
        };
        let component = component.map_err(LoadError::Compile)?;
        let surface = surface(engine, &component);
        let linked = linker(engine.wasmtime()).and_then(|linker| linker.instantiate_pre(&component));
        let pre = linked.and_then(IntegrationPre::new).map_err(LoadError::Link)?;

        let client = Client::new(&crate::egress::Network::new())
            .map_err(|error| CallError::Host(error.to_string()))?;
        let state = GuestState::new(None, Egress::new(client, Vec::new(), *limits), *limits);
        // Finds every function of the contract too, with its types, or fails.
        let describe = async |store: &mut Store<GuestState>| {
            let instance = pre.instantiate_async(&mut *store).await?;
            instance.koalr_integration_connector().call_describe(store).await
        };
        let slot = Slot::new(engine, *limits, Lane::Work, state).await.map_err(CallError::from);
        let (descriptor, _) = slot?.run(limits.verify_wall, describe).await?;

        let origins = descriptor.origins.iter().map(|origin| origin.parse());
        let origins = origins.collect::<Result<Vec<Origin>, InvalidOrigin>>()?;
        for credential in &descriptor.injected {
            let listed = credential.origin.parse().is_ok_and(|origin: Origin| origins.contains(&origin));
            if !listed || credential.header.parse::<http::HeaderName>().is_err() {
                return Err(LoadError::Credential(credential.name.clone()));
            }
        }
        let digest = hex(&Sha256::digest(wasm));
        Ok(Plugin {
            exports: Exports::of(&component).map_err(LoadError::Link)?,
            pre: pre.instance_pre().clone(),
            name: descriptor.name.as_str().into(),
            origins,
            descriptor,
            digest,
            size: wasm.len(),
            surface,
            dependencies: dependencies(wasm),
        })
    }

    /// What the component says of itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// SHA-256 of its bytes, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// What it says it was built from; empty if it says nothing. Nobody vouches for it but whoever built it.
    pub fn dependencies(&self) -> &[Dependency] {
        &self.dependencies
    }

    /// What it imports and exports.
    pub fn surface(&self) -> &Surface {
        &self.surface
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// The list in the custom section `koalr:dependencies`: a `name version` on each line.
fn dependencies(wasm: &[u8]) -> Vec<Dependency> {
    let mut sections = wasmparser::Parser::new(0).parse_all(wasm).filter_map(Result::ok);
    let list = sections.find_map(|section| match section {
        wasmparser::Payload::CustomSection(custom) if custom.name() == "koalr:dependencies" => {
            std::str::from_utf8(custom.data()).ok()
        }
        _ => None,
    });
    let of = |line: &str| {
        let (name, version) = line.split_once(' ')?;
        Some(Dependency { name: name.into(), version: version.into() })
    };
    list.unwrap_or_default().lines().filter_map(of).collect()
}

fn surface(engine: &Engine, component: &Component) -> Surface {
    let kind = component.component_type();
    let is_interface = |item: &ComponentItem| matches!(item, ComponentItem::ComponentInstance(_));
    let names = |items: Vec<(&str, ComponentItem)>| {
        let mut names: Vec<String> = items
            .into_iter()
            .filter(|(_, item)| is_interface(item))
            .map(|(name, _)| name.to_string())
            .collect();
        names.sort();
        names
    };
    let imports = names(kind.imports(engine.wasmtime()).map(|(name, item)| (name, item.ty)).collect());
    let exports = names(kind.exports(engine.wasmtime()).map(|(name, item)| (name, item.ty)).collect());
    Surface { imports, exports }
}
