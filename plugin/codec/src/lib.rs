//! What the integration reads and keeps: JSON, instants, and its own notes; and the memory that they take.
//!
//! A crate of its own because a sync spends most of its time here: this is compiled for speed, the integration for
//! size. Knows nothing of any provider, and never panics, whatever it is given.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

#[cfg(target_arch = "wasm32")]
mod heap;
pub mod json;
pub mod stored;
pub mod time;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Timestamp = i64;

/// One second in [`Timestamp`] units.
pub const SECOND: Timestamp = 1_000_000;
/// One day in [`Timestamp`] units.
pub const DAY: Timestamp = 86_400 * SECOND;
