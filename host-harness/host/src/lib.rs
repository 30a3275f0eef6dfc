//! A wasmtime host for integration components: it supplies HTTP, storage and a clock, and nothing else.
//!
//! [`Host`] is the way in: it loads one component and runs it for many organisations, each call in a fresh
//! instance with limits on memory, computing time, wall clock and everything that crosses the boundary. What
//! the component stores goes through the traits in [`port`]; [`sqlite`] implements them. [`scheduler`] and
//! [`worker`] keep organisations current. There is no terminal, no environment and no global state in here.

/// Compiles what the README tells embedders to write.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub mod cache;
pub mod calendar;
mod call;
pub mod contract;
mod egress;
mod engine;
mod guest;
mod host;
pub mod id;
mod limits;
pub mod migration;
mod plugin;
pub mod port;
mod preview;
mod rehearsal;
pub mod scheduler;
pub mod sqlite;
pub mod vault;
pub mod worker;

pub use call::{CallError, Usage};
pub use egress::{ClientError, InvalidOrigin, InvalidProxy, Network, Proxy, UntrustedError};
pub use engine::{Engine, EngineError, Saturated};
pub use host::{
    Connect, Host, HostBuilder, HostError, MappingError, NotReady, ReceiveError, Received, StartError,
    explain, passes,
};
pub use limits::Limits;
pub use plugin::{Dependency, LoadError, Plugin, Surface};
pub use preview::{Example, Preview};
