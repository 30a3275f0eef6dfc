//! A wasmtime host for integration components.
pub mod contract;
pub mod id;
pub mod port;
pub mod sqlite;
pub mod vault;
