//! Moving history from another tool: what a person decided, and what the move wrote.

use std::collections::BTreeMap;

use super::StoreError;
use crate::contract::{Incident, IncidentKey, Timestamp};
use crate::id::OrgId;

/// What a person says that a name of the other tool stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AliasKind {
    /// An address of a person, compared without regard to case.
    Person,
    /// A service's name, compared as names of services are; see [`normalised`](super::normalised).
    Service,
    /// A word for a priority, compared without regard to case. It stands for `P1` to `P4`.
    Priority,
}

impl AliasKind {
    /// A name of this kind as it is compared.
    pub fn folded(self, name: &str) -> String {
        match self {
            AliasKind::Person | AliasKind::Priority => name.trim().to_lowercase(),
            AliasKind::Service => super::normalised(name),
        }
    }
}

/// A name of the other tool, and whom or what it stands for here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Alias {
    /// What it names.
    pub kind: AliasKind,
    /// The name.
    pub name: String,
    /// The user's or catalog entry's id, or the priority.
    pub target: String,
}

/// How an organisation's move from another tool stands.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Migration {
    /// When records were first written.
    pub begun_at: Option<Timestamp>,
    /// When an import last came to its end.
    pub finished_at: Option<Timestamp>,
    /// The import that is under way or was cut off. Another run of the same goes on with it.
    pub under_way: Option<UnderWay>,
    /// From when on the other tool is the record no more, if a person said so.
    pub cut_over: Option<Timestamp>,
    /// Incidents of the other tool, by id, of which a person said that they are known here too (the reference or id
    /// of that one) or that they are not (none).
    pub decisions: BTreeMap<String, Option<String>>,
    /// Pairs of incidents that may be the same, when that was last looked at.
    #[serde(default)]
    pub to_review: u64,
}

/// What is stored of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// The source.
    pub source: String,
    /// Its incidents.
    pub incidents: u64,
    /// Those of them that are counted at another source.
    pub duplicates: u64,
}

/// An import that has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UnderWay {
    /// What is imported, in the importer's words.
    pub what: String,
    /// Created at or after. Microseconds.
    pub since: Timestamp,
    /// Created before.
    pub until: Timestamp,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// Incidents, each with its timeline.
    pub incidents: u64,
    /// Entries of those timelines.
    pub events: u64,
    /// Names of the directory.
    pub aliases: u64,
}

/// Moves from other tools, by the name of the plugin that imports.
#[async_trait::async_trait]
pub trait Migrations: Send + Sync {
    /// Leases the move until then; none while somebody else works on it. The token is what the lease is renewed and
    /// given back by.
    async fn lease_migration(
        &self,
        org: &OrgId,
        importer: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError>;
    /// Renews the lease until then, or gives it back with a time that is past; `Conflict` when it was lost.
    async fn renew_migration(
        &self,
        org: &OrgId,
        importer: &str,
        token: i64,
        until: Timestamp,
    ) -> Result<(), StoreError>;
    /// How the move stands; none if there never was one.
    async fn migration(&self, org: &OrgId, importer: &str) -> Result<Option<Migration>, StoreError>;
    /// Notes how it stands.
    async fn put_migration(
        &self,
        org: &OrgId,
        importer: &str,
        migration: &Migration,
    ) -> Result<(), StoreError>;
    /// Replaces all names that were given for this move. True if that changes any.
    async fn put_aliases(&self, org: &OrgId, importer: &str, aliases: &[Alias]) -> Result<bool, StoreError>;
    /// One answer per name, in order.
    async fn aliased(
        &self,
        org: &OrgId,
        importer: &str,
        kind: AliasKind,
        names: &[String],
    ) -> Result<Vec<Option<String>>, StoreError>;
    /// A page of the incidents of these sources, withheld ones and duplicates included, by identifier and source; none
    /// behind the last.
    async fn incidents_of(
        &self,
        org: &OrgId,
        sources: &[&str],
        after: Option<&IncidentKey>,
        limit: u32,
    ) -> Result<Vec<Incident>, StoreError>;
    /// When the first listed incident of these sources was created that is no test and no tutorial.
    async fn first_creation(&self, org: &OrgId, sources: &[&str]) -> Result<Option<Timestamp>, StoreError>;
    /// What is stored of each source, withheld ones included.
    async fn census(&self, org: &OrgId) -> Result<Vec<Census>, StoreError>;
    /// Marks these incidents of the sources as duplicates, and no others, and notes how many pairs a person is to decide
    /// about. Answers how many marks changed.
    async fn mark_duplicates(
        &self,
        org: &OrgId,
        importer: &str,
        sources: &[&str],
        duplicates: &[IncidentKey],
        to_review: u64,
    ) -> Result<u64, StoreError>;
    /// Every name that was given for this move, as it is compared.
    async fn aliases(&self, org: &OrgId, importer: &str) -> Result<Vec<Alias>, StoreError>;
    /// Removes the sources' incidents, the names and the note of the move, the importer's secrets with these names,
    /// and its own state: all keys that begin with its name.
    async fn remove_migration(
        &self,
        org: &OrgId,
        importer: &str,
        sources: &[&str],
        secrets: &[&str],
    ) -> Result<Removed, StoreError>;
}
