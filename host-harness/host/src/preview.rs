//! What other settings would change, before they are saved.
//!
//! The plugin takes the settings and derives stored incidents anew over records that are thrown away, so that a preview
//! goes the same way as the change.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::contract::{DerivedTime, Incident, Settings};
use crate::host::{Host, HostError};
use crate::id::OrgId;
use crate::port::Records;
use crate::rehearsal::Rehearsal;

/// Incidents that a preview shows.
const EXAMPLES: usize = 10;

/// What other settings would change about the times of stored incidents.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preview {
    /// Incidents of which at least one of these times would be another one.
    pub incidents: u64,
    /// Those that would start at another time.
    pub started: u64,
    /// Those that would be acknowledged at another time.
    pub acknowledged: u64,
    /// Those that would end at another time.
    pub resolved: u64,
    /// The newest ten of them.
    pub examples: Vec<Example>,
}

/// An incident as it is stored, and as it would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// As it is.
    pub before: Incident,
    /// As it would be.
    pub after: Incident,
}

impl Host {
    /// What these settings would change about the times of stored incidents. Stores nothing. The provider is asked with
    /// the stored credential, as [`Host::put_settings`] does, which is the way to save them.
    pub async fn preview_settings(&self, org: &OrgId, settings: Settings) -> Result<Preview, HostError> {
        let rehearsal = Arc::new(Rehearsal::going_on(Arc::clone(self.store()) as Arc<dyn Records>));
        let records = || Arc::clone(&rehearsal) as Arc<dyn Records>;
        self.rehearse_settings(org, settings, records()).await?;
        let source = self.plugin().descriptor().name.as_str();
        let mut stored: HashMap<String, Incident> = HashMap::new();
        self.read_all(org, &[source], &mut |incident| {
            stored.insert(incident.key.id.clone(), incident);
            ControlFlow::Continue(())
        })
        .await?;
        let mut preview = Preview::default();
        let mut next = None;
        loop {
            next = self.rehearse_rederiving(org, next.as_deref(), records()).await?.next;
            for after in rehearsal.take() {
                if let Some(before) = stored.remove(&after.key.id) {
                    preview.compare(before, after);
                }
            }
            if next.is_none() {
                return Ok(preview);
            }
        }
    }
}

impl Preview {
    fn compare(&mut self, before: Incident, after: Incident) {
        let at = |time: &Option<DerivedTime>| time.as_ref().map(|time| time.at);
        let moved = |of: fn(&Incident) -> &Option<DerivedTime>| at(of(&before)) != at(of(&after));
        let [started, acknowledged, resolved] = [
            moved(|incident| &incident.started_at),
            moved(|incident| &incident.acknowledged_at),
            moved(|incident| &incident.resolved_at),
        ];
        if !(started || acknowledged || resolved) {
            return;
        }
        self.incidents += 1;
        self.started += u64::from(started);
        self.acknowledged += u64::from(acknowledged);
        self.resolved += u64::from(resolved);
        let created = |example: &Example| std::cmp::Reverse(example.before.created_at);
        let example = Example { before, after };
        let place = self.examples.partition_point(|known| created(known) <= created(&example));
        self.examples.insert(place, example);
        self.examples.truncate(EXAMPLES);
    }
}
