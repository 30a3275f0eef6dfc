//! The provider's JSON, as far as it is needed, in the provider's own words.
//!
//! Only an incident's `id` and a time are indispensable. Everything else may be absent, `null`, of another kind
//! or a word that nobody has seen yet, because the provider reserves the right to add; what its schema calls
//! required grows. What is not needed (summaries, messages, post-mortems) is not even read, so that it cannot
//! be stored by accident.
//!
//! The same types are written into an incident's facts, which is why empty fields are left out there.
//! Source of the shapes: <https://docs.incident.io/api-reference>.

use alloc::string::String;
use alloc::vec::Vec;

use crate::model::Timestamp;
use koalr_codec::json::{self, List, Object, Slot, object};

/// A longer identifier is none: the host keeps an incident by it, and asks the provider with it.
pub const LONGEST_ID: usize = 200;

/// A whole incident.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Incident {
    pub id: String,
    pub reference: String,
    pub name: String,
    pub permalink: Option<String>,
    pub visibility: String,
    pub mode: String,
    pub incident_status: Status,
    pub severity: Option<Severity>,
    pub incident_role_assignments: Vec<RoleAssignment>,
    pub custom_field_entries: Vec<FieldEntry>,
    pub incident_timestamp_values: Vec<TimestampValue>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    /// Moves with whatever the activity log tells, whether the version does or not.
    pub last_activity_at: Option<Timestamp>,
    /// Kept of other providers' incidents; no answer of this one has it.
    pub references: Vec<String>,
}

object!(Incident {
    "id" => Text id,
    "reference" => Text reference,
    "name" => Text name,
    "permalink" => MaybeText permalink,
    "visibility" => Text visibility,
    "mode" => Text mode,
    "incident_status" => Object incident_status,
    "severity" => Object severity,
    "incident_role_assignments" => List incident_role_assignments,
    "custom_field_entries" => List custom_field_entries,
    "incident_timestamp_values" => List incident_timestamp_values,
    "created_at" => Instant created_at,
    "updated_at" => Instant updated_at,
    "last_activity_at" => Instant last_activity_at,
    "koalr_references" => List references,
});

/// A status: the name is the organisation's, the category the provider's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Status {
    pub name: String,
    pub category: String,
}

object!(Status { "name" => Text name, "category" => Text category });

/// A severity. A higher rank is worse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Severity {
    pub id: Option<String>,
    pub name: String,
    pub rank: Option<i64>,
}

object!(Severity { "id" => MaybeText id, "name" => Text name, "rank" => Integer rank });

impl From<&Severity> for crate::model::Severity {
    fn from(severity: &Severity) -> Self {
        let rank = severity.rank.and_then(|rank| i32::try_from(rank).ok());
        Self { id: severity.id.clone(), name: severity.name.clone(), rank }
    }
}

/// A role on the incident; an unfilled one has no assignee.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct RoleAssignment {
    pub role: Role,
    pub assignee: Option<User>,
}

object!(RoleAssignment { "role" => Object role, "assignee" => Object assignee });

/// A role's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Role {
    pub name: String,
}

object!(Role { "name" => Text name });

/// A person. The e-mail address may be missing here and known to `/v2/users`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct User {
    pub id: String,
    pub name: Option<String>,
    pub email: Option<String>,
}

object!(User { "id" => Text id, "name" => MaybeText name, "email" => MaybeText email });

/// Somebody who takes part in an incident, with a role in it or without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Participant {
    pub user: User,
    pub participant_type: String,
}

object!(Participant { "user" => Object user, "participant_type" => Text participant_type });

/// A custom field with its values on this incident.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct FieldEntry {
    pub custom_field: Field,
    pub values: Vec<FieldValue>,
}

object!(FieldEntry { "custom_field" => Object custom_field, "values" => List values });

/// A custom field's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Field {
    pub id: String,
    pub name: String,
    /// Only in `/v2/custom_fields`.
    pub catalog_type_id: Option<String>,
}

object!(Field { "id" => Text id, "name" => Text name, "catalog_type_id" => MaybeText catalog_type_id });

/// One value; one of the keys is set, by the field's kind. Kinds that cannot name a service are not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct FieldValue {
    pub value_catalog_entry: Option<CatalogEntry>,
    pub value_option: Option<FieldOption>,
}

object!(FieldValue { "value_catalog_entry" => Object value_catalog_entry, "value_option" => Object value_option });

/// A catalog entry, for example a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct CatalogEntry {
    pub name: String,
    pub external_id: Option<String>,
    pub aliases: Vec<String>,
}

object!(CatalogEntry { "name" => Text name, "external_id" => MaybeText external_id, "aliases" => List aliases });

/// An option of a select field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct FieldOption {
    pub value: String,
}

object!(FieldOption { "value" => Text value });

/// A named point in the incident's life; an unset one has no value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct TimestampValue {
    pub incident_timestamp: TimestampName,
    pub value: TimestampAt,
}

object!(TimestampValue { "incident_timestamp" => Object incident_timestamp, "value" => Object value });

/// The name of a point; the organisation can edit it, and the identifier stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct TimestampName {
    pub id: String,
    pub name: String,
}

// Kept by place: what was stored before has no identifier.
object!(TimestampName { "name" => Text name, "id" => Text id });

/// When.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct TimestampAt {
    pub value: Option<Timestamp>,
}

object!(TimestampAt { "value" => Instant value });

/// One entry of `/v2/incident_updates`: the status is present on each, changed or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Update {
    pub id: String,
    pub incident_id: String,
    pub created_at: Option<Timestamp>,
    pub new_incident_status: Status,
    pub new_severity: Option<Named>,
    pub merged_into_incident_id: Option<String>,
    pub updater: Actor,
    /// Kept with it: the question that it answers.
    pub asked: Option<i64>,
}

object!(Update {
    "id" => Text id,
    "incident_id" => Text incident_id,
    "created_at" => Instant created_at,
    "new_incident_status" => Object new_incident_status,
    "new_severity" => Object new_severity,
    "merged_into_incident_id" => MaybeText merged_into_incident_id,
    "updater" => Object updater,
    "koalr_asked" => Integer asked,
});

impl Update {
    /// Whether both say the same, whenever it was asked for.
    pub fn is_same(&self, other: &Update) -> bool {
        let Update { id, incident_id, created_at, new_incident_status, .. } = self;
        let Update { new_severity, merged_into_incident_id, updater, .. } = self;
        *id == other.id
            && *incident_id == other.incident_id
            && *created_at == other.created_at
            && *new_incident_status == other.new_incident_status
            && *new_severity == other.new_severity
            && *merged_into_incident_id == other.merged_into_incident_id
            && *updater == other.updater
    }
}

/// Who did something: at most one key is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Actor {
    pub user: Option<Named>,
    pub workflow: Option<Named>,
    pub api_key: Option<Named>,
    pub alert: Option<Titled>,
}

object!(Actor {
    "user" => Object user, "workflow" => Object workflow, "api_key" => Object api_key, "alert" => Object alert,
});

impl Actor {
    /// The name to show.
    pub fn name(&self) -> Option<String> {
        let actors = [&self.user, &self.workflow, &self.api_key];
        let named = actors.into_iter().flatten().find_map(|actor| actor.name.clone());
        named.or_else(|| self.alert.as_ref()?.title.clone())
    }
}

/// Something with a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Named {
    pub name: Option<String>,
}

object!(Named { "name" => MaybeText name });

/// Something with a title.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Titled {
    pub title: Option<String>,
}

object!(Titled { "title" => MaybeText title });

/// One entry of the curated timeline. The description is not read: data minimisation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct TimelineItem {
    pub id: String,
    pub timestamp: Option<Timestamp>,
    pub title: String,
    pub creator: Actor,
    /// The entry of the activity log that it was made from; none if a person wrote it.
    pub activity_log_id: String,
}

object!(TimelineItem {
    "id" => Text id, "timestamp" => Instant timestamp, "title" => Text title, "creator" => Object creator,
    "activity_log_id" => Text activity_log_id,
});

/// One entry of the activity log. Of its content little is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Activity {
    pub id: String,
    pub r#type: String,
    pub title: String,
    pub occurred_at: Option<Timestamp>,
    pub content: ActivityContent,
}

object!(Activity {
    "id" => Text id, "type" => Text r#type, "title" => Text title, "occurred_at" => Instant occurred_at,
    "content" => Object content,
});

/// What [`Activity`] says beyond its type; one of these is set, if any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct ActivityContent {
    pub incident_update: Update,
    pub incident_merged: Merging,
    pub incident_timestamp_set: TimestampSet,
}

object!(ActivityContent {
    "incident_update" => Object incident_update, "incident_merged" => Object incident_merged,
    "incident_timestamp_set" => Object incident_timestamp_set,
});

/// The update that a merge was told with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Merging {
    pub incident_update_id: String,
}

object!(Merging { "incident_update_id" => Text incident_update_id });

/// Somebody or something set a named point in the incident's life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct TimestampSet {
    pub incident_timestamp: TimestampName,
}

object!(TimestampSet { "incident_timestamp" => Object incident_timestamp });

/// What an incident was linked to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Attachment {
    pub resource: Resource,
}

object!(Attachment { "resource" => Object resource });

/// Something in another tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Resource {
    pub external_id: String,
    pub permalink: String,
}

object!(Resource { "external_id" => Text external_id, "permalink" => Text permalink });

/// A catalog type; `categories` says what its entries are.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct CatalogType {
    pub id: String,
    pub categories: Vec<String>,
}

object!(CatalogType { "id" => Text id, "categories" => List categories });

/// The credential and whom it belongs to.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Identity {
    pub name: String,
    pub dashboard_url: Option<String>,
    pub roles: Vec<String>,
}

object!(Identity { "name" => Text name, "dashboard_url" => MaybeText dashboard_url, "roles" => List roles });

/// Where a list goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The next position; none after the last page.
    pub after: Option<String>,
    /// The size of the whole list, where the endpoint tells.
    pub total: Option<i64>,
    /// How long to wait before the next request to this endpoint; from the answer's headers.
    pub pause_ms: u64,
}

object!(Page { "after" => MaybeText after, "total_record_count" => Integer total });

/// A list answer: the items under a key that depends on the endpoint.
struct ListAnswer<'a> {
    key: &'a str,
    found: bool,
    items: &'a mut dyn List,
    page: Page,
}

impl Object for ListAnswer<'_> {
    fn slot(&mut self, key: &str) -> Slot<'_> {
        if key == self.key {
            self.found = true;
            return Slot::List(&mut *self.items);
        }
        match key {
            "pagination_meta" => Slot::Object(&mut self.page),
            // Its lists, those who help and those who only look on, are one level below the others'.
            "incident_participants" => Slot::Object(self),
            _ => Slot::Skip,
        }
    }
}

/// Reads a list answer into `items`, where one of another kind than expected is an empty item. The error says
/// why the body is no such answer.
pub fn page(body: &[u8], key: &str, items: &mut dyn List) -> Result<Page, String> {
    let before = items.count();
    let mut answer = ListAnswer { key, found: false, items, page: Page::default() };
    json::read(body, Slot::Object(&mut answer))?;
    if !answer.found {
        return Err(alloc::format!("the answer has no `{key}`"));
    }
    let ListAnswer { mut page, items, .. } = answer;
    // An empty page ends the chain, whatever its cursor says.
    if items.count() == before {
        page.after = None;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_item_does_not_take_its_page_with_it() {
        let body = br#"{"incidents":[{"id":"a"},7,null,{"name":"no id"},{"id":"b","severity":[],"name":{}}],
            "pagination_meta":{"after":"b","total_record_count":9}}"#;
        let mut items: Vec<Incident> = Vec::new();
        let page = page(body, "incidents", &mut items).unwrap();
        let ids: Vec<&str> = items.iter().map(|i| i.id.as_str()).filter(|id| !id.is_empty()).collect();
        assert_eq!(
            (ids.as_slice(), page.after.as_deref(), page.total),
            (["a", "b"].as_slice(), Some("b"), Some(9))
        );
    }

    #[test]
    fn an_empty_cursor_or_an_empty_page_ends_the_chain() {
        for body in [
            r#"{"incidents":[{"id":"a"}],"pagination_meta":{"after":""}}"#,
            r#"{"incidents":[{"id":"a"}],"pagination_meta":{"after":null}}"#,
            r#"{"incidents":[{"id":"a"}],"pagination_meta":null}"#,
            r#"{"incidents":[{"id":"a"}]}"#,
            r#"{"incidents":[],"pagination_meta":{"after":"a"}}"#,
        ] {
            let page = page(body.as_bytes(), "incidents", &mut Vec::<Incident>::new()).unwrap();
            assert_eq!(page.after, None, "{body}");
        }
        assert!(page(b"<html>", "incidents", &mut Vec::<Incident>::new()).is_err());
        assert!(page(br#"{"incidents":[{"id":"a"}"#, "incidents", &mut Vec::<Incident>::new()).is_err());
        assert!(page(b"{}", "incidents", &mut Vec::<Incident>::new()).is_err());
    }
}
