//! Moving from Opsgenie: its history is imported once (or again), so that time to restore goes on across the change
//! of tool.
//!
//! [`Host::plan_migration`] rehearses an import and writes nothing; [`Host::run_migration`] imports;
//! [`Host::undo_migration`] removes exactly what that wrote. An incident that both tools know is counted once: see
//! [`overlap`]. Opsgenie is asked for nothing but to be read.

pub mod overlap;
mod plan;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::{
    BackfillRequest, BackfillSource, GuestError, Incident, IncidentKey, OpsgenieAccount, OpsgenieRegion,
    Problem, Step, Timestamp,
};
use crate::host::{Host, HostError, Trial};
use crate::id::OrgId;
use crate::port::{Alias, Clock, Migration, OriginMapping, Records, Removed, Store, StoreError, UnderWay};
use crate::rehearsal::Rehearsal;
use crate::vault::Secret;
use overlap::{Compared, Overlap, Sieve};
pub use plan::{Effect, Plan, Reason, Row, State};

/// The importer's name, and what its own state's keys begin with.
const IMPORTER: &str = "opsgenie";
/// Where imported incidents are kept: incidents, and alerts that stand in for them.
pub const SOURCES: [&str; 2] = [IMPORTER, "opsgenie-alerts"];
/// The source that stays.
const KNOWN: &str = "incidentio";
/// The name of Opsgenie's API key.
pub const KEY: &str = "opsgenie-key";
/// When Opsgenie ends, and data that was not taken out by then: 5 April 2027, by its vendor's announcement.
pub const END_OF_LIFE: Timestamp = 1_806_883_200_000_000;

const DAY: Timestamp = 86_400_000_000;
/// How long a killed process keeps others from the migration. Microseconds.
const LEASE: Timestamp = 30_000_000;
/// How often a living one renews that.
const BEAT: Duration = Duration::from_secs(10);
/// A provider's wait up to this is slept through. A longer one ends the run, which goes on from there when it is started
/// again: nobody else can run or undo the migration meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);
/// The shortest wait after an answer that says that the rate of requests is limited.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// Incidents that are read at a time.
const PAGE: u32 = 500;
/// Attempts at a step that fails for a reason that passes.
const ATTEMPTS: u32 = 6;

fn rfc3339<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    let time = at.and_then(chrono::DateTime::<chrono::Utc>::from_timestamp_micros);
    let text = time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
    serde::Serialize::serialize(&text, serializer)
}

/// Full days until Opsgenie ends; none once it has.
pub fn days_left(now: Timestamp) -> Option<u32> {
    u32::try_from((END_OF_LIFE - now).div_euclid(DAY)).ok()
}

/// An account in words.
pub fn described(account: &OpsgenieAccount) -> String {
    let region = match account.region {
        OpsgenieRegion::Us => "US",
        OpsgenieRegion::Eu => "EU",
    };
    let what = if account.alerts { "alerts" } else { "incidents" };
    format!("{what} of the Opsgenie account in region {region}")
}

/// Where history comes from.
#[derive(Debug, Clone)]
pub enum History {
    /// Opsgenie's API.
    Account {
        /// Which account, and what of it.
        account: OpsgenieAccount,
        /// Created at or after.
        since: Timestamp,
        /// Created before.
        until: Timestamp,
    },
    /// Saved records, in pieces; see `opsgenie-records` in the contract.
    Saved(Vec<Vec<u8>>),
}

/// What a person gives for a migration. What is absent stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Prepare {
    /// Opsgenie's API key.
    pub key: Option<Secret>,
    /// Development only; replaces mappings of the same origins.
    pub origin_map: Vec<OriginMapping>,
    /// What names stand for; replaces all that were given before.
    pub aliases: Option<Vec<Alias>>,
    /// Which incidents are the same, by a person's word, as in [`Migration::decisions`]; replaces all of them.
    pub decisions: Option<Vec<(String, Option<String>)>>,
    /// From when on incident.io is the record.
    pub cut_over: Option<Timestamp>,
}

/// A lease of a migration.
struct Hold {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    org: OrgId,
    token: i64,
}

impl Hold {
    /// Renews the lease for as long as this is waited for. Ends only when it was lost.
    async fn keep(&mut self) -> HostError {
        loop {
            tokio::time::sleep(BEAT).await;
            let until = self.clock.now().saturating_add(LEASE);
            match self.store.renew_migration(&self.org, IMPORTER, self.token, until).await {
                Ok(()) => {}
                Err(StoreError::Conflict) => return HostError::MigrationBusy,
                // It passes, or the import fails on it too.
                Err(error) => tracing::warn!("the migration's lease was not renewed: {error}"),
            }
        }
    }

    /// Gives it back. What fails here passes by itself, when the lease runs out; but if the database is gone, that is
    /// why whatever came before failed.
    async fn release(&self) -> Result<(), HostError> {
        match self.store.renew_migration(&self.org, IMPORTER, self.token, Timestamp::MIN).await {
            Ok(()) => {}
            Err(gone @ StoreError::Gone(_)) => return Err(gone.into()),
            Err(error) => tracing::warn!("the migration's lease was not given back: {error}"),
        }
        Ok(())
    }
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Records read.
    pub fetched: u64,
    /// New incidents.
    pub created: u64,
    /// Stored incidents that changed.
    pub updated: u64,
    /// Records of incidents that are stored just so.
    pub unchanged: u64,
    /// Records that could not be imported; `problems` says why.
    pub left_out: u64,
    /// Requests.
    pub requests: u64,
    /// What was left out or lost.
    pub problems: Vec<Reason>,
    /// What is known to both tools.
    pub overlap: Overlap,
}

impl Summary {
    /// Notes how many incidents are new and how many are other ones now. Steps count writes, of which an incident may have
    /// several.
    fn count(&mut self, created: u64, updated: u64) {
        (self.created, self.updated) = (created, updated);
        let blocks = |problem: &&Reason| plan::BLOCKING.contains(&problem.code.as_str());
        self.left_out = self.problems.iter().filter(blocks).count() as u64;
        let accounted = self.created + self.updated + self.left_out;
        self.unchanged = self.fetched.saturating_sub(accounted);
    }
}

/// Tells an incident that changed from one that did not, in few bytes.
fn digest(incident: &Incident) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{incident:?}").hash(&mut hasher);
    hasher.finish()
}

fn id(key: &IncidentKey) -> (&str, &str) {
    (&key.source, &key.id)
}

/// How a migration stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// What was noted.
    pub migration: Migration,
    /// Imported incidents.
    pub incidents: u64,
    /// Imported alerts that stand in for incidents.
    pub alerts: u64,
    /// Of both, those that are not counted because incident.io knows them.
    pub duplicates: u64,
    /// Pairs that a person should decide about.
    pub to_review: u64,
    /// From when on incident.io is the record: set by a person, else the creation of its first incident that is not a
    /// test. None while nothing is imported.
    pub cut_over: Option<Timestamp>,
    /// Days until Opsgenie ends; none once it has.
    pub days_left: Option<u32>,
}

impl Host {
    /// Stores what a person gave.
    pub async fn prepare_migration(&self, org: &OrgId, prepare: Prepare) -> Result<(), HostError> {
        self.importer()?;
        let mut organisation = self.own(org).await?;
        if !prepare.origin_map.is_empty() {
            self.check_map(&prepare.origin_map)?;
            OriginMapping::add(&mut organisation.origin_map, prepare.origin_map);
            self.store().put_organisation(&organisation).await?;
        }
        if let Some(key) = prepare.key {
            self.vault().put(org, KEY, &[key]).await?;
        }
        let stored = self.store().migration(org, IMPORTER).await?;
        let mut migration = stored.clone().unwrap_or_default();
        if let Some(decisions) = prepare.decisions {
            migration.decisions = decisions.into_iter().collect();
        }
        migration.cut_over = prepare.cut_over.or(migration.cut_over);
        if stored.unwrap_or_default() != migration {
            self.store().put_migration(org, IMPORTER, &migration).await?;
        }
        if let Some(aliases) = prepare.aliases
            && self.store().put_aliases(org, IMPORTER, &aliases).await?
        {
            self.schedule_rederive(org).await?;
        }
        Ok(())
    }

    /// Whether Opsgenie's API key is stored.
    pub async fn has_migration_key(&self, org: &OrgId) -> Result<bool, HostError> {
        Ok(!self.vault().open(org, KEY).await?.is_empty())
    }

    /// What an import would do if this were given. Asks Opsgenie, writes nothing: what was given is for the caller to
    /// give again.
    pub async fn plan_migration(
        &self,
        org: &OrgId,
        history: History,
        given: &Prepare,
        told: &mut (dyn FnMut(&Step) + Send),
    ) -> Result<Plan, HostError> {
        self.importer()?;
        self.check_map(&given.origin_map)?;
        let rehearsal = Arc::new(Rehearsal::new(Arc::clone(self.store()) as Arc<dyn Records>, IMPORTER));
        let folded = |alias: &Alias| ((alias.kind, alias.kind.folded(&alias.name)), alias.target.clone());
        let trial = Trial {
            records: Arc::clone(&rehearsal) as Arc<dyn Records>,
            credentials: given.key.iter().map(|key| (KEY.to_owned(), key.clone())).collect(),
            origin_map: given.origin_map.clone(),
            names: given.aliases.as_ref().map(|aliases| aliases.iter().map(folded).collect()),
        };
        let (summary, problems) = self.import(org, history, Some(&trial), told).await?;
        let planned = rehearsal.incidents();
        let mut stored = Vec::new();
        self.read_all(org, &SOURCES, &mut |incident| {
            stored.push(incident);
            ControlFlow::Continue(())
        })
        .await?;
        let ids: HashSet<_> = planned.iter().map(|incident| &incident.key).map(id).collect();
        let others = stored.iter().filter(|stored| !ids.contains(&id(&stored.key)));
        let all: Vec<Compared> = planned.iter().chain(others).cloned().map(Compared::from).collect();
        let overlap = self.overlap(org, &all, given.decisions.as_deref()).await?;
        let mut plan = plan::plan(&planned, &stored, &problems, overlap, self.clock().now());
        plan.requests = summary.requests;
        Ok(plan)
    }

    /// Imports. Goes on where it was interrupted; a second run changes nothing unless Opsgenie did.
    pub async fn run_migration(
        &self,
        org: &OrgId,
        history: History,
        told: &mut (dyn FnMut(&Step) + Send),
    ) -> Result<Summary, HostError> {
        self.importer()?;
        let mut hold = self.hold_migration(org).await?;
        let done = tokio::select! {
            done = self.import_all(org, history, told) => done,
            lost = hold.keep() => Err(lost),
        };
        hold.release().await?;
        self.store().settle().await;
        done
    }

    async fn import_all(
        &self,
        org: &OrgId,
        history: History,
        told: &mut (dyn FnMut(&Step) + Send),
    ) -> Result<Summary, HostError> {
        let mut migration = self.store().migration(org, IMPORTER).await?.unwrap_or_default();
        // Before anything is written, so that it can be undone.
        migration.begun_at.get_or_insert_with(|| self.clock().now());
        let mut history = history;
        if let History::Account { account, since, until } = &mut history {
            let what = described(account);
            match &migration.under_way {
                // Up to then, as it began; what came after is another run's.
                Some(cut_off)
                    if cut_off.what == what && cut_off.since == *since && cut_off.until <= *until =>
                {
                    *until = cut_off.until;
                }
                _ => migration.under_way = Some(UnderWay { what, since: *since, until: *until }),
            }
        }
        self.store().put_migration(org, IMPORTER, &migration).await?;
        let mut before = HashMap::new();
        self.read_all(org, &SOURCES, &mut |incident| {
            before.insert((incident.key.source.clone(), incident.key.id.clone()), digest(&incident));
            ControlFlow::Continue(())
        })
        .await?;
        let (mut summary, problems) = match self.import(org, history, None, told).await {
            Ok(done) => done,
            Err(error) => {
                self.forget_refused(org, &error).await?;
                return Err(error);
            }
        };
        summary.problems =
            problems.into_iter().map(|problem| Reason::new(&problem.reason, problem.text)).collect();
        let (mut created, mut updated) = (0, 0);
        self.read_all(org, &SOURCES, &mut |incident| {
            let now = digest(&incident);
            match before.get(&(incident.key.source, incident.key.id)) {
                None => created += 1,
                Some(known) if *known != now => updated += 1,
                Some(_) => {}
            }
            ControlFlow::Continue(())
        })
        .await?;
        summary.count(created, updated);
        summary.overlap = self.settle_overlap(org).await?;
        let mut migration = self.store().migration(org, IMPORTER).await?.unwrap_or_default();
        migration.finished_at = Some(self.clock().now());
        migration.under_way = None;
        self.store().put_migration(org, IMPORTER, &migration).await?;
        Ok(summary)
    }

    /// A key that is refused is not kept, and an import that was refused before it wrote anything was none.
    async fn forget_refused(&self, org: &OrgId, error: &HostError) -> Result<(), HostError> {
        let HostError::Plugin(error @ (GuestError::Unauthorized(_) | GuestError::Forbidden(_))) = error
        else {
            return Ok(());
        };
        if matches!(error, GuestError::Unauthorized(_)) {
            self.vault().put(org, KEY, &[]).await?;
        }
        if self.store().incidents_of(org, &SOURCES, None, 1).await?.is_empty() {
            let mut migration = self.store().migration(org, IMPORTER).await?.unwrap_or_default();
            (migration.begun_at, migration.under_way) = (None, None);
            self.store().put_migration(org, IMPORTER, &migration).await?;
        }
        Ok(())
    }

    /// Finds what both tools know, and has it counted once.
    pub async fn settle_overlap(&self, org: &OrgId) -> Result<Overlap, HostError> {
        let mut imported = Vec::new();
        self.read_all(org, &SOURCES, &mut |incident| {
            imported.push(Compared::from(incident));
            ControlFlow::Continue(())
        })
        .await?;
        overlap::in_order(&mut imported);
        let overlap = self.overlap(org, &imported, None).await?;
        let to_review = overlap.probable.len() as u64;
        self.store().mark_duplicates(org, IMPORTER, &SOURCES, &overlap.duplicates(), to_review).await?;
        Ok(overlap)
    }

    /// The same after incidents changed, if history was imported.
    pub(crate) async fn resettle_overlap(&self, org: &OrgId) -> Result<(), HostError> {
        let migration = self.store().migration(org, IMPORTER).await?.unwrap_or_default();
        if migration.begun_at.is_some() {
            self.settle_overlap(org).await?;
        }
        Ok(())
    }

    /// `decisions` in the place of those that are stored.
    async fn overlap(
        &self,
        org: &OrgId,
        imported: &[Compared],
        decisions: Option<&[(String, Option<String>)]>,
    ) -> Result<Overlap, HostError> {
        let decisions: HashMap<_, _> = match decisions {
            Some(given) => given.iter().cloned().collect(),
            None => {
                let migration = self.store().migration(org, IMPORTER).await?.unwrap_or_default();
                migration.decisions.into_iter().collect()
            }
        };
        let sieve = Sieve::new(imported, &decisions);
        let mut known = Vec::new();
        self.read_all(org, &[KNOWN], &mut |incident| {
            known.extend(Some(Compared::from(incident)).filter(|one| sieve.holds(one)));
            ControlFlow::Continue(())
        })
        .await?;
        overlap::in_order(&mut known);
        Ok(overlap::find(imported, &known, &decisions))
    }

    /// Shows the incidents of these sources one after the other, for as long as `see` goes on. A page is held at a time.
    pub(crate) async fn read_all(
        &self,
        org: &OrgId,
        sources: &[&str],
        see: &mut (dyn FnMut(Incident) -> ControlFlow<()> + Send),
    ) -> Result<(), HostError> {
        let mut after = None;
        loop {
            let page = self.store().incidents_of(org, sources, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            for incident in page {
                if see(incident).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// What a person said before: names, and which incidents are the same.
    pub async fn migration_told(
        &self,
        org: &OrgId,
    ) -> Result<(Vec<Alias>, BTreeMap<String, Option<String>>), HostError> {
        let aliases = self.store().aliases(org, IMPORTER).await?;
        let migration = self.store().migration(org, IMPORTER).await?.unwrap_or_default();
        Ok((aliases, migration.decisions))
    }

    /// How it stands.
    pub async fn migration_status(&self, org: &OrgId) -> Result<Status, HostError> {
        self.organisation(org).await?;
        let migration = self.store().migration(org, IMPORTER).await?.unwrap_or_default();
        let stored = match migration.begun_at {
            Some(_) => self.store().census(org).await?,
            None => Vec::new(),
        };
        let of = |source: &str| stored.iter().find(|one| one.source == source);
        let count = |source: &str| of(source).map_or(0, |one| one.incidents);
        Ok(Status {
            incidents: count(SOURCES[0]),
            alerts: count(SOURCES[1]),
            duplicates: SOURCES.iter().filter_map(|source| of(source)).map(|one| one.duplicates).sum(),
            to_review: migration.to_review,
            cut_over: self.cut_over(org).await?,
            days_left: days_left(self.clock().now()),
            migration,
        })
    }

    /// From when on incident.io is the record; none unless an import brought something.
    pub async fn cut_over(&self, org: &OrgId) -> Result<Option<Timestamp>, HostError> {
        let Some(migration) = self.store().migration(org, IMPORTER).await? else {
            return Ok(None);
        };
        if self.store().first_creation(org, &SOURCES).await?.is_none() {
            return Ok(None);
        }
        match migration.cut_over {
            Some(decided) => Ok(Some(decided)),
            None => Ok(self.store().first_creation(org, &[KNOWN]).await?),
        }
    }

    /// Removes what the migration wrote: incidents, timelines, names, decisions, Opsgenie's key.
    pub async fn undo_migration(&self, org: &OrgId) -> Result<Removed, HostError> {
        self.organisation(org).await?;
        let hold = self.hold_migration(org).await?;
        let removed = self.store().remove_migration(org, IMPORTER, &SOURCES, &[KEY]).await;
        hold.release().await?;
        self.store().settle().await;
        Ok(removed?)
    }

    /// Keeps others from running or undoing the same migration at the same time.
    async fn hold_migration(&self, org: &OrgId) -> Result<Hold, HostError> {
        let (store, clock) = (Arc::clone(self.store()), Arc::clone(self.clock()));
        let now = clock.now();
        let token = store.lease_migration(org, IMPORTER, now.saturating_add(LEASE), now).await?;
        let token = token.ok_or(HostError::MigrationBusy)?;
        Ok(Hold { store, clock, org: org.clone(), token })
    }

    /// Step by step to its end, with patience for what passes.
    async fn import(
        &self,
        org: &OrgId,
        history: History,
        trial: Option<&Trial>,
        told: &mut (dyn FnMut(&Step) + Send),
    ) -> Result<(Summary, Vec<Problem>), HostError> {
        let mut done = (Summary::default(), Vec::new());
        let dry_run = trial.is_some();
        let request = |source, since, until| BackfillRequest { source, since, until, dry_run };
        match history {
            History::Account { mut account, since, until } => {
                account.alert_ids = self.refers_to_alerts(org).await?;
                let request = request(BackfillSource::Opsgenie(account), since, until);
                while self.step(org, &request, trial, &mut done, told).await? {}
            }
            History::Saved(pieces) => {
                for piece in pieces {
                    let request = request(BackfillSource::OpsgenieRecords(piece), 0, 0);
                    self.step(org, &request, trial, &mut done, told).await?;
                }
            }
        }
        Ok(done)
    }

    /// One step; true if there is more to do.
    async fn step(
        &self,
        org: &OrgId,
        request: &BackfillRequest,
        trial: Option<&Trial>,
        (summary, problems): &mut (Summary, Vec<Problem>),
        told: &mut (dyn FnMut(&Step) + Send),
    ) -> Result<bool, HostError> {
        let mut attempt = 0;
        let step = loop {
            let error = match self.backfill_into(org, request, trial).await {
                Ok(step) => break step,
                Err(error) => error,
            };
            let wait = match &error {
                HostError::Plugin(GuestError::RateLimited(ms)) => patience(*ms),
                HostError::Plugin(GuestError::Unavailable(why)) if attempt + 1 < ATTEMPTS => {
                    tracing::warn!(org = org.as_str(), "{why}; trying again");
                    attempt += 1;
                    Some(Duration::from_secs(1 << (attempt - 1)))
                }
                _ => None,
            };
            let Some(wait) = wait else { return Err(error) };
            tokio::time::sleep(wait).await;
        };
        summary.fetched += u64::from(step.fetched);
        summary.created += u64::from(step.created);
        summary.updated += u64::from(step.updated);
        summary.requests += u64::from(step.requests);
        problems.extend(step.problems.iter().cloned());
        told(&step);
        if let Some(wait) = pause(&step)? {
            tokio::time::sleep(wait).await;
        }
        Ok(step.more)
    }

    /// Whether an incident of incident.io refers to an alert of Opsgenie's.
    async fn refers_to_alerts(&self, org: &OrgId) -> Result<bool, HostError> {
        let mut refers = false;
        self.read_all(org, &[KNOWN], &mut |incident| {
            refers = incident.references.iter().any(|reference| reference.contains("opsgenie"));
            if refers { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        Ok(refers)
    }
}

/// How long to wait before the next step. An error if that is longer than a run waits: it ends here, and goes on from
/// there when it is started again.
fn pause(step: &Step) -> Result<Option<Duration>, HostError> {
    if !step.more || step.wait_ms == 0 {
        return Ok(None);
    }
    let wait = patience(step.wait_ms);
    wait.map(Some).ok_or(HostError::Plugin(GuestError::RateLimited(step.wait_ms)))
}

/// How long to wait for what a provider asks for; none if that is longer than a run waits.
fn patience(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms).max(SHORTEST_WAIT)).filter(|wait| *wait <= PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_without_an_end_does_not_keep_the_migration_from_others() {
        assert_eq!(
            [0, 100, 2_000].map(patience),
            [100, 100, 2_000].map(|ms| Some(Duration::from_millis(ms)))
        );
        assert_eq!(patience(300_000), Some(PATIENCE));
        assert_eq!([300_001, u64::MAX].map(patience), [None, None]);
    }

    fn step() -> Step {
        Step {
            created: 0,
            updated: 0,
            stale: 0,
            fetched: 0,
            requests: 0,
            done: 0,
            total: None,
            more: false,
            wait_ms: 0,
            rederive: false,
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_step_that_asks_for_a_longer_wait_ends_the_run_and_no_provider_is_asked_early() {
        let asking = |more, wait_ms| pause(&Step { more, wait_ms, ..step() });
        for wait_ms in [300_001, u64::MAX] {
            let ended = asking(true, wait_ms);
            assert!(
                matches!(ended, Err(HostError::Plugin(GuestError::RateLimited(ms))) if ms == wait_ms),
                "{ended:?}"
            );
        }
        assert_eq!(asking(true, 300_000).unwrap(), Some(PATIENCE));
        assert_eq!(asking(true, 0).unwrap(), None);
        assert_eq!(asking(false, u64::MAX).unwrap(), None, "it was the last one");
    }
}
