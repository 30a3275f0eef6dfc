//! The incident.io integration, as a component of the world `koalr:integration/integration`.
//!
//! `component` holds everything that calls the host and is compiled for wasm only. Every other module works on
//! the contract's types as plain values and on the [`port::World`] trait, so that it also compiles natively,
//! where its tests, property tests and benchmarks run. On wasm there is no `std`: it would import the environment, the file
//! system and a random source, which an integration may not have.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

#[cfg(target_arch = "wasm32")]
mod component;

mod base64;
pub mod incidentio;
pub mod model;
pub mod mttr;
pub mod opsgenie;
pub mod port;
pub mod resolution;
pub mod severity;
pub mod sync;
pub mod webhook;
mod wit;
