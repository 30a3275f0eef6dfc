//! incident.io as this plugin sees it: what to ask, what comes back, what a refusal means.

pub mod client;
pub mod payload;
