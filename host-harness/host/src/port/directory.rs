//! Whom and what the host knows: users and services of an organisation.

use super::StoreError;
use crate::contract::ServiceName;
use crate::id::OrgId;

/// A user of the host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostUser {
    /// The host's id.
    pub id: String,
    /// Compared without regard to case.
    pub email: String,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
}

/// An entry of the host's service catalog.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostService {
    /// The host's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Identifiers that other systems know it by.
    #[serde(default)]
    pub external_ids: Vec<String>,
    /// Other names.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// New rows.
    pub added: u64,
    /// Rows that were there and differ now.
    pub updated: u64,
    /// Rows that were there and are the same.
    pub unchanged: u64,
}

/// A name that several entries of the directory have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ambiguity {
    /// The name or address as it is compared.
    pub name: String,
    /// The entries' ids, in order.
    pub ids: Vec<String>,
}

/// Users and services of an organisation.
#[async_trait::async_trait]
pub trait Directory: Send + Sync {
    /// The id of each user, by e-mail address without regard to case; of several, the smallest.
    async fn users_by_email(&self, org: &OrgId, emails: &[String])
    -> Result<Vec<Option<String>>, StoreError>;
    /// The id of each catalog entry: by external id, then name, then alias, the last two normalised. An external id or
    /// a name that is an entity reference is compared as one; see [`entity_reference`]. What several entries have in
    /// common names none of them.
    async fn services_by_name(
        &self,
        org: &OrgId,
        names: &[ServiceName],
    ) -> Result<Vec<Option<String>>, StoreError>;
    /// Has an address lead to the user of this id, beside the user's own; makes the user if there is none.
    async fn link_user(&self, org: &OrgId, address: &str, id: &str) -> Result<Imported, StoreError>;
    /// Has a name lead to the catalog entry of this id, as one more alias; makes the entry if there is none.
    async fn link_service(&self, org: &OrgId, name: &str, id: &str) -> Result<Imported, StoreError>;
    /// Adds or replaces users by id.
    async fn import_users(&self, org: &OrgId, users: Vec<HostUser>) -> Result<Imported, StoreError>;
    /// Adds or replaces services by id.
    async fn import_services(&self, org: &OrgId, services: Vec<HostService>) -> Result<Imported, StoreError>;
    /// Addresses that several users have, in order.
    async fn ambiguous_users(&self, org: &OrgId) -> Result<Vec<Ambiguity>, StoreError>;
    /// Names, aliases and external ids that several catalog entries have, in order.
    async fn ambiguous_services(&self, org: &OrgId) -> Result<Vec<Ambiguity>, StoreError>;
}

/// A reference to an entity of a Backstage catalog in the one form that all of its spellings have in common: without
/// regard to case, of kind `component` and in the namespace `default` unless it says otherwise. None of a text that
/// names neither: a bare name may be anybody's.
/// See <https://backstage.io/docs/features/software-catalog/references>.
///
/// ```
/// use koalr_host::port::entity_reference;
/// let whole = Some("component:default/payments-api".to_owned());
/// for spelling in ["Component:Default/Payments-API", "component:payments-api", "default/payments-api"] {
///     assert_eq!(entity_reference(spelling), whole);
/// }
/// assert_eq!(entity_reference("payments-api"), None);
/// ```
pub fn entity_reference(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let (kind, rest) = text.split_once(':').map_or((None, text.as_str()), |(kind, rest)| (Some(kind), rest));
    let (namespace, name) = rest.split_once('/').map_or((None, rest), |(space, name)| (Some(space), name));
    let said = [kind, namespace];
    let whole =
        said.iter().flatten().chain([&name]).all(|part| !part.is_empty() && !part.contains([':', '/', ' ']));
    let (kind, namespace) = (kind.unwrap_or("component"), namespace.unwrap_or("default"));
    (whole && said.iter().any(Option::is_some)).then(|| format!("{kind}:{namespace}/{name}"))
}

/// A name as it is compared: lower case, outer spaces gone, runs of spaces, hyphens and underscores one hyphen.
///
/// ```
/// assert_eq!(koalr_host::port::normalised("  Payments_ API"), "payments-api");
/// ```
pub fn normalised(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for word in name.split(|c: char| c.is_whitespace() || c == '-' || c == '_').filter(|w| !w.is_empty()) {
        if !out.is_empty() {
            out.push('-');
        }
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
    out
}
