//! A wasmtime host for integration components.
pub mod cache;
pub mod contract;
pub mod egress;
pub mod engine;
pub mod id;
pub mod limits;
pub mod port;
pub mod sqlite;
pub mod vault;
