//! Deliveries: are they genuine, and what do they say.
//!
//! [`signature`] decides on bytes alone; [`event`] reads the JSON, and only of a delivery that is genuine.

pub mod event;
pub mod signature;
