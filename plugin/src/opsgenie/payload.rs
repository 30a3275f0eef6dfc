//! The JSON of Opsgenie's API, as far as it is read: <https://docs.opsgenie.com/docs/incident-api>. Descriptions, notes
//! and the like have no place here: what is not read cannot be stored.

use alloc::string::String;
use alloc::vec::Vec;

use crate::incidentio::payload::Named;
use crate::model::Timestamp;
use koalr_codec::json::{self, List, Object, Slot, object};

/// An incident or an alert, as listed or saved.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the provider's own field names, in our spelling")]
pub struct Record {
    pub id: String,
    pub tiny_id: String,
    pub message: String,
    pub status: String,
    pub priority: String,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub impact_start: Option<Timestamp>,
    pub impact_end: Option<Timestamp>,
    /// Only in saved records: the end by the account of whoever saved them.
    pub resolved_at: Option<Timestamp>,
    /// Identifiers; in saved records perhaps names.
    pub services: Vec<String>,
    pub responders: Vec<Member>,
    pub tags: Vec<String>,
    pub extra: Values,
    pub links: Links,
    /// Only in saved records.
    pub timeline: Option<Entries>,
    /// Of an alert.
    pub alias: String,
    pub acknowledged: bool,
    pub owner: String,
    pub report: Report,
}

object!(Record {
    "id" => Text id, "tinyId" => Text tiny_id, "message" => Text message, "status" => Text status,
    "priority" => Text priority, "createdAt" => Instant created_at, "updatedAt" => Instant updated_at,
    "impactStartDate" => Instant impact_start, "impactEndDate" => Instant impact_end,
    "resolvedAt" => Instant resolved_at, "impactedServices" => List services, "responders" => List responders,
    "tags" => List tags, "extraProperties" => Object extra, "links" => Object links, "timeline" => Object timeline,
    "alias" => Text alias, "acknowledged" => Flag acknowledged, "owner" => Text owner, "report" => Object report,
});

/// A responder: a user or a team, sometimes a schedule or an escalation.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Member {
    pub kind: String,
    pub id: String,
    pub username: String,
    pub name: String,
}

object!(Member { "type" => Text kind, "id" => Text id, "username" => Text username, "name" => Text name });

/// A user (`username` is the address) or a service.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Entity {
    pub id: String,
    pub username: String,
    pub full_name: String,
    pub name: String,
}

object!(Entity { "id" => Text id, "username" => Text username, "fullName" => Text full_name, "name" => Text name });

/// Where the record is shown.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// To a person.
    pub web: String,
}

object!(Links { "web" => Text web });

/// What became of an alert; milliseconds since its creation.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Report {
    pub ack_time: Option<i64>,
    pub close_time: Option<i64>,
}

object!(Report { "ackTime" => Integer ack_time, "closeTime" => Integer close_time });

/// The values of a map, whatever their keys.
#[derive(Debug, Clone, Default)]
pub struct Values(pub Vec<String>);

impl Object for Values {
    fn slot(&mut self, _: &str) -> Slot<'_> {
        List::slot(&mut self.0)
    }
}

impl koalr_codec::stored::Fields for Values {
    fn count(&self) -> usize {
        0
    }

    fn value(&self, _: usize) -> koalr_codec::stored::Value<'_> {
        koalr_codec::stored::Value::Absent
    }
}

/// A page of a timeline.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// Newest first or oldest first.
    pub entries: Vec<Entry>,
    /// Where it goes on.
    pub next: Option<String>,
}

object!(Entries { "entries" => List entries, "nextOffset" => MaybeText next });

/// An entry of a timeline. What a person wrote into it is not read.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Entry {
    pub id: String,
    pub kind: String,
    pub at: Option<Timestamp>,
    pub hidden: bool,
    pub actor: Named,
    pub title: Content,
}

object!(Entry {
    "id" => Text id, "type" => Text kind, "eventTime" => Instant at, "hidden" => Flag hidden, "actor" => Object actor,
    "title" => Object title,
});

/// A text.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the provider's own field names")]
pub struct Content {
    pub content: String,
}

object!(Content { "content" => Text content });

/// The envelope of every answer.
struct Answer<'a> {
    found: bool,
    data: Slot<'a>,
    total: Option<i64>,
}

impl Object for Answer<'_> {
    fn slot(&mut self, key: &str) -> Slot<'_> {
        match key {
            "data" => {
                self.found = true;
                match &mut self.data {
                    Slot::List(list) => Slot::List(&mut **list),
                    Slot::Object(object) => Slot::Object(&mut **object),
                    _ => Slot::Skip,
                }
            }
            "totalCount" => Slot::Integer(&mut self.total),
            _ => Slot::Skip,
        }
    }
}

/// Reads an answer's `data`, and answers how many there are in all, where that is told.
pub fn data(body: &[u8], data: Slot<'_>) -> Result<Option<i64>, String> {
    let mut answer = Answer { found: false, data, total: None };
    json::read(body, Slot::Object(&mut answer))?;
    if answer.found { Ok(answer.total) } else { Err("the answer has no `data`".into()) }
}

/// Saved records; see `opsgenie-records` in the contract.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "as in the contract")]
pub struct Piece {
    pub users: Vec<Entity>,
    pub services: Vec<Entity>,
    pub incidents: Vec<Record>,
    pub alerts: Vec<Record>,
}

object!(Piece {
    "users" => List users, "services" => List services, "incidents" => List incidents, "alerts" => List alerts,
});
