//! History from Opsgenie: incidents, or alerts in their place, from its API or from saved records.
//!
//! What Opsgenie says is put into the same facts that incident.io's incidents are kept as, so that records, links
//! to the host's directory and new settings come about in one way. Opsgenie's API is asked for and never written to.

mod client;
pub mod convert;
mod import;
pub mod payload;

use alloc::format;

use crate::model::{Error, Rederived};
use crate::port::World;
use crate::sync::derive::Source;
use crate::sync::rederive;

pub use client::{EU, US};
pub use import::{import, piece};

/// What stands before a token into the list of alerts.
const ALERTS_TOKEN: &str = "alerts:";

/// The source of incidents.
pub static INCIDENTS: Source = Source { name: "opsgenie", mapping: convert::mapping, times: convert::times };
/// The source of alerts that stand in for them: their times are not those of incidents, and the name says so wherever
/// figures are shown by source.
pub static ALERTS: Source =
    Source { name: "opsgenie-alerts", mapping: convert::mapping, times: convert::times };

/// Derives a bounded part of either source's incidents anew; see [`crate::sync::rederive`].
pub fn rederive(world: &mut dyn World, after: Option<&str>) -> Result<Rederived, Error> {
    // The alerts come after the incidents. A host's own tokens are identifiers, and none begins like this.
    let after_alert = after.and_then(|after| after.strip_prefix(ALERTS_TOKEN));
    if let Some(after) = after_alert {
        let after = Some(after).filter(|after| !after.is_empty());
        let done = rederive::rederive(world, &ALERTS, after)?;
        let next = done.next.map(|next| format!("{ALERTS_TOKEN}{next}"));
        return Ok(Rederived { next, ..done });
    }
    let done = rederive::rederive(world, &INCIDENTS, after)?;
    Ok(Rederived { next: Some(done.next.unwrap_or_else(|| ALERTS_TOKEN.into())), ..done })
}
