//! What a person gives for a move from Opsgenie: saved records, and what names stand for. Pure but for reading files.

pub(crate) mod files;
pub(crate) mod mapping;
