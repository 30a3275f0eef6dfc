//! What a person gives for a move from Opsgenie: saved records, and what names stand for. Pure.

pub mod files;
pub mod mapping;

#[cfg(test)]
mod tests;
