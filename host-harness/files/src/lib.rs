//! Readers of the files that people have. Bytes go in, records and named mistakes come out.
//!
//! The crate knows neither the host nor its store, so that a fuzz target builds it without wasmtime.

pub mod import;
pub mod opsgenie;
