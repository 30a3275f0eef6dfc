//! The built component in the real host over real HTTP: what a user of the whole would miss if it broke.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

mod account_changes;
mod accounts;
mod attacks;
mod bench;
mod canary;
mod component;
mod convergence;
mod drift;
mod errors;
mod faults;
mod fixtures;
mod fuzz;
mod kept;
mod limits;
mod mttr;
mod opsgenie;
mod peers;
mod support;
mod sync;
mod timelines;
mod webhooks;
