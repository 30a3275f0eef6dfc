//! What a delivery says, in either of two families of event names.
//!
//! incident.io's envelope has two keys: `event_type`, and one named after the type that holds the payload. The
//! product documents three shorter names, `incident.created`, `incident.status_updated` and
//! `incident.resolved`; their payloads are published nowhere, so they are looked for in every plausible place.
//! Whatever is not about an incident is ignored with a reason, never refused: the sender would only repeat it.
//!
//! Types: <https://docs.incident.io/api-reference/webhooks>.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::incidentio::payload::{Incident, LONGEST_ID};
use crate::model::Timestamp;
use koalr_codec::json::{self, Object, Slot, object};

/// Event types to select when the webhook is created.
pub const SELECT: [&str; 6] = [
    "public_incident.incident_created_v2",
    "public_incident.incident_updated_v2",
    "public_incident.incident_status_updated_v2",
    "private_incident.incident_created_v2",
    "private_incident.incident_updated_v2",
    "public_escalation.escalation_status_updated_v1",
];

/// Identifiers that the provider's documentation uses in examples and so, it seems, in test sends.
const EXAMPLE_IDS: [&str; 2] = ["01FDAG4SAP5TYPT98WGR2N7W91", "abc123"];

/// A delivery's body does not have the documented shape; the text says how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

/// A delivery's body, read.
#[derive(Debug, Default)]
pub struct Envelope {
    /// The provider's event type.
    pub event_type: String,
    /// Where the incident may be, most likely first.
    payloads: Vec<Payload>,
}

/// The body as it stands: the type, and what is under every other key.
struct Body {
    event_type: String,
    payloads: Vec<(String, Payload)>,
    depth: Depth,
}

impl Object for Body {
    fn slot(&mut self, key: &str) -> Slot<'_> {
        if key == "event_type" {
            return Slot::Text(&mut self.event_type);
        }
        self.payloads.push((key.to_string(), Payload { depth: self.depth, ..Payload::default() }));
        self.payloads.last_mut().map_or(Slot::Skip, |(_, payload)| Slot::Object(payload))
    }
}

/// How much of a delivery's body is kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Depth {
    #[default]
    Whole,
    Names,
}

/// What is asked of a delivery's body before it is durable.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// The provider's event type.
    pub event_type: String,
    /// The provider's incident that the delivery concerns, if it names one.
    pub incident_id: Option<String>,
}

/// Everything that a payload can say about an incident: it is one, it holds one, or it names one.
#[derive(Debug, Default)]
struct Payload {
    depth: Depth,
    own: Incident,
    incident: Incident,
    incident_id: String,
    postmortem_document: Document,
    escalation: Escalation,
}

impl Object for Payload {
    fn slot(&mut self, key: &str) -> Slot<'_> {
        match key {
            "incident" => Slot::Object(&mut self.incident),
            "incident_id" => Slot::Text(&mut self.incident_id),
            "postmortem_document" => Slot::Object(&mut self.postmortem_document),
            "escalation" => Slot::Object(&mut self.escalation),
            key if self.depth == Depth::Names && key != "id" => Slot::Skip,
            key => self.own.slot(key),
        }
    }
}

#[derive(Debug, Default)]
struct Document {
    incident_id: String,
}

object!(Document { "incident_id" => Text incident_id });

#[derive(Debug, Default)]
struct Escalation {
    related_incidents: Vec<Related>,
    updated_at: Option<Timestamp>,
    created_at: Option<Timestamp>,
    events: Vec<Happening>,
}

object!(Escalation {
    "related_incidents" => List related_incidents, "updated_at" => Instant updated_at,
    "created_at" => Instant created_at, "events" => List events,
});

/// What happened to an escalation.
#[derive(Debug, Default)]
struct Happening {
    occurred_at: Option<Timestamp>,
}

object!(Happening { "occurred_at" => Instant occurred_at });

impl Escalation {
    /// Its version.
    fn at(&self) -> Option<Timestamp> {
        let times = self.events.iter().map(|event| event.occurred_at);
        times.chain([self.updated_at, self.created_at]).max().flatten()
    }
}

#[derive(Debug, Default)]
struct Related {
    id: String,
}

object!(Related { "id" => Text id });

/// What a delivery asks the plugin to do.
#[derive(Debug)]
pub enum Event {
    /// The incident itself, as it was when the event was made.
    Whole {
        /// The incident.
        incident: Box<Incident>,
        /// Whether its status changed.
        status_changed: bool,
    },
    /// Only the incident's identifier: it has to be fetched.
    Reference {
        /// The provider's identifier.
        id: String,
        /// Whether it is private now.
        private: bool,
    },
    /// Something happened that the activity logs of incidents tell and their versions need not.
    Stirred {
        /// The provider's identifiers.
        ids: Vec<String>,
        /// When.
        at: Timestamp,
    },
    /// Of no concern, and why.
    Ignored(String),
}

/// Reads a delivery's body.
pub fn envelope(body: &[u8]) -> Result<Envelope, Malformed> {
    read(body, Depth::Whole)
}

/// What a delivery is called that [`envelope`] cannot read.
const UNREADABLE: &str = "unreadable";

/// Reads only what a delivery's body names, and skips the rest. It judges the body as [`envelope`] does.
pub fn named(body: &[u8]) -> Named {
    match read(body, Depth::Names) {
        Ok(envelope) => Named { incident_id: envelope.incident_id(), event_type: envelope.event_type },
        Err(_) => Named { event_type: UNREADABLE.into(), incident_id: None },
    }
}

fn read(body: &[u8], depth: Depth) -> Result<Envelope, Malformed> {
    let malformed = |why| Malformed(format!("the body is {why}"));
    let mut whole = Body { event_type: String::new(), payloads: Vec::new(), depth };
    json::read(body, Slot::Object(&mut whole)).map_err(malformed)?;
    let Body { event_type, payloads: mut under, .. } = whole;
    if event_type.is_empty() {
        return Err(Malformed("the body has no `event_type`".into()));
    }
    let mut payloads = Vec::new();
    let mut take = |name: &str| {
        let found = under.iter_mut().find(|(key, _)| key == name);
        payloads.extend(found.map(|(_, payload)| core::mem::take(payload)));
    };
    take(&event_type);
    if SHORT_NAMES.contains(&event_type.as_str()) {
        take("data");
        take("incident");
        let mut top = Payload { depth, ..Payload::default() };
        json::read(body, Slot::Object(&mut top)).map_err(malformed)?;
        payloads.push(top);
    }
    Ok(Envelope { event_type, payloads })
}

impl Envelope {
    /// As [`Named`] has it.
    pub fn incident_id(&self) -> Option<String> {
        let is_incident = self.kind() == Kind::Incident;
        for payload in &self.payloads {
            if let Some(related) = payload.escalation.related_incidents.first() {
                return Some(related.id.clone());
            }
            let own = if is_incident { payload.own.id.as_str() } else { "" };
            let inside = &payload.postmortem_document.incident_id;
            for id in [&payload.incident.id, inside, &payload.incident_id, own] {
                if !id.is_empty() {
                    return Some(id.to_string());
                }
            }
        }
        None
    }

    /// What to do.
    pub fn event(self) -> Result<Event, Malformed> {
        let event_type = self.event_type.as_str();
        match self.kind() {
            Kind::Ping => return Ok(Event::Ignored("a ping".into())),
            Kind::Other => return Ok(Event::Ignored(format!("{event_type} changes no incident record"))),
            Kind::Unknown => {
                return Ok(Event::Ignored(format!("{event_type} is not an event type that is known")));
            }
            Kind::Escalation => {
                let mut ids = Vec::new();
                let mut at = None;
                for Payload { escalation, .. } in self.payloads {
                    at = at.max(escalation.at());
                    ids.extend(escalation.related_incidents.into_iter().map(|related| related.id));
                }
                if ids.is_empty() {
                    return Ok(Event::Ignored("the escalation concerns no incident".into()));
                }
                return Ok(match at {
                    Some(at) => Event::Stirred { ids, at },
                    None => Event::Ignored("the escalation has no time".into()),
                });
            }
            Kind::Incident => {}
        }
        let Some(id) = self.incident_id() else {
            return Err(Malformed(format!("{event_type} names no incident")));
        };
        if id.len() > LONGEST_ID {
            let length = id.len();
            return Err(Malformed(format!(
                "the incident's identifier has {length} bytes; one of the provider has {LONGEST_ID} at most"
            )));
        }
        if EXAMPLE_IDS.contains(&id.as_str()) {
            return Ok(Event::Ignored("a test send with the documentation's example".into()));
        }
        let (_, event) = halves(event_type);
        let status_changed =
            event.starts_with("incident_status_updated") || matches!(event, "status_updated" | "resolved");
        for Payload { incident, own, .. } in self.payloads {
            for incident in [incident, own] {
                // It was queued as one that concerns this incident, so it changes no other.
                if is_whole(&incident) && incident.id == id {
                    return Ok(Event::Whole { incident: Box::new(incident), status_changed });
                }
            }
        }
        // It names its incident but does not hold all of it.
        let private = event_type.starts_with("private_");
        Ok(Event::Reference { id, private })
    }

    fn kind(&self) -> Kind {
        let event_type = self.event_type.as_str();
        if event_type == "ping" {
            return Kind::Ping;
        }
        if SHORT_NAMES.contains(&event_type) {
            return Kind::Incident;
        }
        let (family, event) = halves(event_type);
        match family {
            "public_incident" | "private_incident" if event.starts_with("incident_") => Kind::Incident,
            "public_escalation" => Kind::Escalation,
            "public_incident"
            | "private_incident"
            | "private_escalation"
            | "public_alert"
            | "private_alert"
            | "schedule"
            | "status_page_incident" => Kind::Other,
            _ => Kind::Unknown,
        }
    }
}

/// What stands before and after the first point of an event type.
fn halves(event_type: &str) -> (&str, &str) {
    let point = event_type.bytes().position(|byte| byte == b'.').unwrap_or(event_type.len());
    let (family, event) = event_type.split_at_checked(point).unwrap_or((event_type, ""));
    (family, event.get(1..).unwrap_or_default())
}

const SHORT_NAMES: [&str; 3] = ["incident.created", "incident.status_updated", "incident.resolved"];

#[derive(PartialEq, Eq)]
enum Kind {
    Incident,
    Escalation,
    Other,
    Ping,
    Unknown,
}

/// Whether there is more than an identifier. An incident without a version cannot be ordered against what is
/// stored, so it does not count.
fn is_whole(incident: &Incident) -> bool {
    !incident.incident_status.category.is_empty() && incident.updated_at.is_some()
}

impl From<Malformed> for crate::model::Error {
    fn from(error: Malformed) -> Self {
        crate::model::Error::Malformed(error.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"id":"01X","reference":"INC-1","incident_status":{"name":"Fixing","category":"live"},
        "created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T01:00:00Z"}"#;

    fn check(body: &str, id: Option<&str>, expected: &str) {
        let envelope = envelope(body.as_bytes()).unwrap();
        assert_eq!(envelope.incident_id().as_deref(), id, "{body}");
        let named = named(body.as_bytes());
        assert_eq!(
            (named.event_type, named.incident_id.as_deref()),
            (envelope.event_type.clone(), id),
            "{body}"
        );
        let said = match envelope.event() {
            Ok(Event::Whole { incident, status_changed }) => {
                format!("whole {} {status_changed}", incident.id)
            }
            Ok(Event::Reference { id, .. }) => format!("reference {id}"),
            Ok(Event::Stirred { ids, at }) => format!("stirred {} at {at}", ids.join(" ")),
            Ok(Event::Ignored(why)) => format!("ignored: {why}"),
            Err(Malformed(why)) => format!("malformed: {why}"),
        };
        assert_eq!(said, expected, "{body}");
    }

    #[test]
    fn both_families_of_names_are_read() {
        let t = "public_incident.incident_created_v2";
        check(&format!(r#"{{"event_type":"{t}","{t}":{WHOLE}}}"#), Some("01X"), "whole 01X false");
        let t = "public_incident.incident_status_updated_v2";
        check(
            &format!(r#"{{"event_type":"{t}","{t}":{{"incident":{WHOLE}}}}}"#),
            Some("01X"),
            "whole 01X true",
        );
        let t = "private_incident.incident_updated_v2";
        check(&format!(r#"{{"event_type":"{t}","{t}":{{"id":"01P"}}}}"#), Some("01P"), "reference 01P");
        for place in ["incident.created", "data", "incident"] {
            check(
                &format!(r#"{{"event_type":"incident.created","{place}":{WHOLE}}}"#),
                Some("01X"),
                "whole 01X false",
            );
        }
        let nested = format!(r#"{{"event_type":"incident.resolved","data":{{"incident":{WHOLE}}}}}"#);
        check(&nested, Some("01X"), "whole 01X true");
        check(
            r#"{"event_type":"incident.resolved","data":{"incident_id":"01Y"}}"#,
            Some("01Y"),
            "reference 01Y",
        );
        check(
            &format!(r#"{{"event_type":"incident.status_updated",{}"#, &WHOLE[1..]),
            Some("01X"),
            "whole 01X true",
        );
        // It is queued as one that concerns 01Y, so that is what it may change.
        check(
            &format!(r#"{{"event_type":"incident.status_updated","incident_id":"01Y",{}"#, &WHOLE[1..]),
            Some("01Y"),
            "reference 01Y",
        );
    }

    #[test]
    fn what_concerns_no_record_is_ignored_with_a_reason() {
        check(r#"{"event_type":"ping"}"#, None, "ignored: a ping");
        check(
            r#"{"event_type":"brand.new_v9","x":1}"#,
            None,
            "ignored: brand.new_v9 is not an event type that is known",
        );
        let t = "public_incident.follow_up_created_v2";
        let ignored = "ignored: public_incident.follow_up_created_v2 changes no incident record";
        check(
            &format!(r#"{{"event_type":"{t}","{t}":{{"id":"F","incident_id":"01X"}}}}"#),
            Some("01X"),
            ignored,
        );
        let t = "private_incident.incident_created_v2";
        let test = "ignored: a test send with the documentation's example";
        check(&format!(r#"{{"event_type":"{t}","{t}":{{"id":"abc123"}}}}"#), Some("abc123"), test);
    }

    #[test]
    fn an_escalation_stirs_the_incidents_that_it_concerns() {
        let t = "public_escalation.escalation_status_updated_v1";
        let body = |related| {
            format!(
                r#"{{"event_type":"{t}","{t}":{{"escalation":{{"id":"E","related_incidents":[{related}],"created_at":1,
                "updated_at":2,"events":[{{"occurred_at":1}},{{"occurred_at":3}},{{}}]}}}}}}"#
            )
        };
        check(&body(r#"{"id":"01X"},{"id":"01Y"}"#), Some("01X"), "stirred 01X 01Y at 3");
        check(&body(""), None, "ignored: the escalation concerns no incident");
    }

    #[test]
    fn a_body_without_the_documented_shape_is_malformed() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"event_type":7}"#,
            r#"{"event_type":""}"#,
            "{\"event_type\":\"x\"",
            "\u{0}",
        ] {
            assert!(envelope(body.as_bytes()).is_err(), "{body}");
            let unreadable = Named { event_type: UNREADABLE.into(), incident_id: None };
            assert_eq!(named(body.as_bytes()), unreadable, "{body}");
        }
        assert!(envelope(b"{\"event_type\":\"\xff\"}").is_err());
        let t = "public_incident.incident_created_v2";
        check(&format!(r#"{{"event_type":"{t}"}}"#), None, &format!("malformed: {t} names no incident"));
        let long = "x".repeat(300_000);
        let why =
            "malformed: the incident's identifier has 300000 bytes; one of the provider has 200 at most";
        check(&format!(r#"{{"event_type":"{t}","{t}":{{"id":"{long}"}}}}"#), Some(&long), why);
    }
}
