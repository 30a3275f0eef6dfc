//! Who is connected, and their sealed secrets.

use super::StoreError;
use crate::contract::{Connection, Settings, Timestamp};
use crate::id::OrgId;

/// How far an organisation's connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganisationState {
    /// Created; no credential has been accepted yet.
    Pending,
    /// The provider accepted the credential.
    Live,
    /// The provider refuses the credential: work stops until a new one is given.
    Refused,
    /// Somebody disconnected it: its secrets are gone, no work is done for it, and its records stay.
    Disconnected,
}

/// For development: requests for one origin go to another base address. The plugin does not know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OriginMapping {
    /// The origin that the plugin calls, for example `https://api.incident.io`.
    pub from: String,
    /// Where its requests go instead, for example `http://127.0.0.1:4010`.
    pub to: String,
}

impl OriginMapping {
    /// Adds mappings; one that there was of the same origin goes.
    pub fn add(map: &mut Vec<OriginMapping>, new: Vec<OriginMapping>) {
        map.retain(|kept| new.iter().all(|new| new.from != kept.from));
        map.extend(new);
    }
}

/// One connected (or connecting) organisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Organisation {
    /// Its id on this host.
    pub id: OrgId,
    /// How far the connection has come.
    pub state: OrganisationState,
    /// The name of the plugin that connected it: its records and state are that plugin's, and no other's.
    pub plugin: String,
    /// What the plugin found when it connected; absent while pending.
    pub connection: Option<Connection>,
    /// What the organisation has set.
    pub settings: Settings,
    /// Development only.
    pub origin_map: Vec<OriginMapping>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the provider last accepted a credential.
    pub connected_at: Option<Timestamp>,
}

/// A sealed secret: ciphertext with its nonce, meaningless without the sealing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

/// Organisations and their sealed secrets.
#[async_trait::async_trait]
pub trait Organisations: Send + Sync {
    /// Creates or replaces the organisation's own row; its records, secrets and jobs stay.
    async fn put_organisation(&self, organisation: &Organisation) -> Result<(), StoreError>;
    /// The organisation, if it exists.
    async fn organisation(&self, org: &OrgId) -> Result<Option<Organisation>, StoreError>;
    /// All of them, by id.
    async fn organisations(&self) -> Result<Vec<Organisation>, StoreError>;
    /// How many there are that nobody disconnected.
    async fn count_connected(&self) -> Result<u64, StoreError>;
    /// At most `limit` of those whose id holds this text, without regard to case, by id; and how many those are in all.
    async fn find_organisations(
        &self,
        text: &str,
        limit: u32,
    ) -> Result<(Vec<Organisation>, u64), StoreError>;
    /// Removes the organisation and everything that belongs to it.
    async fn remove_organisation(&self, org: &OrgId) -> Result<(), StoreError>;
    /// The same, if its connection is still pending and was begun at this time.
    async fn remove_pending_organisation(&self, org: &OrgId, created_at: Timestamp)
    -> Result<(), StoreError>;
    /// Marks it as refused by the provider, if it is live by the connection of this time. False if it is not.
    async fn refuse_organisation(
        &self,
        org: &OrgId,
        connected_at: Option<Timestamp>,
    ) -> Result<bool, StoreError>;

    /// In one transaction: the organisation is marked as disconnected; its secrets, data key and jobs are removed;
    /// deliveries that wait are set aside. False if there is no such organisation.
    async fn disconnect_organisation(&self, org: &OrgId, now: Timestamp) -> Result<bool, StoreError>;

    /// At most `limit` data keys of the organisations after this one, by organisation.
    async fn data_keys(&self, after: Option<&OrgId>, limit: u32) -> Result<Vec<(OrgId, Sealed)>, StoreError>;
    /// Replaces data keys, each by the second unless it is not the first any more; answers how many were replaced.
    async fn replace_data_keys(&self, keys: Vec<(OrgId, Sealed, Sealed)>) -> Result<u64, StoreError>;
    /// The organisation's data key, sealed by the host's sealing key.
    async fn data_key(&self, org: &OrgId) -> Result<Option<Sealed>, StoreError>;
    /// Stores a data key if there is none yet, and answers the one that is stored now.
    async fn put_data_key(&self, org: &OrgId, key: Sealed) -> Result<Sealed, StoreError>;
    /// Replaces all values of a secret; an empty list removes it.
    async fn put_secret(&self, org: &OrgId, name: &str, values: Vec<Sealed>) -> Result<(), StoreError>;
    /// All values of a secret; empty when it is not set.
    async fn secret(&self, org: &OrgId, name: &str) -> Result<Vec<Sealed>, StoreError>;

    /// Brings what is durable to where a person looks for it, such as from a log into the one file that they copy. Called
    /// after what a person asked for.
    async fn settle(&self);
}
