//! What the tests in `it/` and the program under `examples/` share: the benchmarks.
//!
//! The tests are in `it/`, one program, so that everything is linked once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark may")]

pub mod bench;
