//! What the API shows of incidents, updates and timeline items.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    account::Account,
    json::{Object, array},
    model::{Actor, Attachment, Incident, TimelineItem, Update},
    settings::{Part, RolePart, Settings, User},
    stages::Stamp,
};

impl Account {
    /// The incident as the created and updated events show it: with what was said last.
    pub(crate) fn webhook_incident(&self, incident: &Incident) -> String {
        let mut said = incident.updates.iter().rev().filter_map(|slot| self.updates.get(*slot));
        let mut object = incident.fields(&self.settings);
        if let Some(message) = said.find_map(|update| update.message.as_deref()) {
            object = object.text("most_recent_update_message", message);
        }
        object.close()
    }

    pub(crate) fn update_json(&self, update: &Update) -> String {
        let incident_id = self.incidents.get(update.incident).map_or("", |incident| &incident.id);
        let mut object = Object::with_capacity(900)
            .text("id", &update.id)
            .text("incident_id", incident_id)
            .time("created_at", update.created_at)
            .raw("new_incident_status", self.settings.status_json(update.stage))
            .raw("updater", &update.updater.to_json(&self.settings))
            .optional("message", update.message.as_deref())
            .optional("merged_into_incident_id", update.merged_into.as_deref());
        if let Some(severity) = &update.severity {
            object = object.raw("new_severity", &severity.json);
        }
        object.close()
    }
}

/// One row of a list that belongs to an incident.
pub(crate) struct Entry {
    pub(crate) at: DateTime<Utc>,
    pub(crate) id: String,
    pub(crate) json: String,
}

impl Account {
    /// The activity log of one incident: an entry for each update, and one for the page that was answered.
    pub(crate) fn activity(&self, incident: &Incident) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut add = |id: &str, at, kind: &str, title: &str, content: String| {
            let json = Object::with_capacity(500)
                .text("id", id)
                .text("incident_id", &incident.id)
                .text("type", kind)
                .text("title", title)
                .time("occurred_at", at)
                .time("created_at", at)
                .raw("content", &Object::new().raw(kind, &content).close());
            entries.push(Entry { at, id: id.to_owned(), json: json.close() });
        };
        for (slot, item) in incident.updates.iter().zip(&incident.timeline) {
            let (Some(update), Some(id)) = (self.updates.get(*slot), &item.activity_log_id) else { continue };
            let content = Object::new()
                .text("id", &update.id)
                .raw("new_status", self.settings.status_json(update.stage))
                .raw("updater", &update.updater.to_json(&self.settings));
            add(id, update.created_at, "incident_update", "Update shared", content.close());
        }
        if let Some(at) = incident.paged {
            // Made from the incident's own id, which is random enough.
            let made = |end: &str| format!("{}{end}", incident.id.get(..23).unwrap_or(&incident.id));
            let content = Object::new().text("escalation_id", &made("ESC"));
            let content = match &incident.lead {
                Some(user) => content.raw("acknowledger", &user.json),
                None => content,
            };
            add(&made("ACK"), at, "escalation_acknowledged", "Escalation acknowledged", content.close());
        }
        for (number, attachment) in incident.attachments.iter().enumerate() {
            let id = format!("{}ATT{number}", incident.id.get(..22).unwrap_or(&incident.id));
            let json = Object::with_capacity(300)
                .text("id", &id)
                .text("incident_id", &incident.id)
                .text("type", "incident_attachment_added")
                .text("title", "Attached an Opsgenie alert")
                .time("occurred_at", attachment.at)
                .time("created_at", attachment.at);
            entries.push(Entry { at: attachment.at, id, json: json.close() });
        }
        entries
    }
}

impl Incident {
    pub(crate) fn attachments_json(&self) -> Vec<String> {
        let attachment = |(number, attachment): (usize, &Attachment)| {
            let permalink =
                format!("https://northwind.app.opsgenie.example/alert/detail/{}", attachment.alert);
            let resource = Object::new()
                .text("external_id", &attachment.alert)
                .text("permalink", &permalink)
                .text("resource_type", "opsgenie_alert")
                .text("title", &self.name)
                .close();
            let id = format!("{}RES{number}", self.id.get(..22).unwrap_or(&self.id));
            Object::new().text("id", &id).text("incident_id", &self.id).raw("resource", &resource).close()
        };
        self.attachments.iter().enumerate().map(attachment).collect()
    }

    /// Who takes part: whoever has a role, somebody who helps without one, and somebody who only looks on.
    pub(crate) fn participants_json(&self, settings: &Settings) -> String {
        let of = |user: &User, kind: &str| {
            Object::new().raw("user", &user.json).text("participant_type", kind).close()
        };
        let anybody = |skip: usize| {
            let number = usize::try_from(self.number).unwrap_or_default();
            settings.users.iter().cycle().nth((number + skip) % settings.users.len().max(1))
        };
        let roles = [&self.lead, &self.communications].into_iter().flatten();
        let active: Vec<String> = roles
            .map(|user| of(user, "responder"))
            .chain(anybody(0).map(|user| of(user, "collaborator")))
            .collect();
        let passive: Vec<String> = anybody(1).map(|user| of(user, "observer")).into_iter().collect();
        let participants = Object::new().array("active", &active).array("passive", &passive).close();
        Object::new().raw("incident_participants", &participants).close()
    }

    pub(crate) fn to_json(&self, settings: &Settings) -> String {
        self.fields(settings).close()
    }

    fn fields(&self, settings: &Settings) -> Object {
        let reference = format!("INC-{}", self.number);
        let permalink = format!("https://app.incident.io/{}/incidents/{}", settings.slug, self.number);
        let channel_name = self
            .slack_channel
            .as_ref()
            .map(|_| format!("inc-{}-{}", self.number, self.created_at.date_naive()));
        let assignments = [
            (&settings.lead, &self.lead),
            (&settings.reporter, &self.reporter),
            (&settings.communications, &self.communications),
        ];
        let team_ids = self.teams().into_iter().map(|team| format!("\"{}\"", team.id));
        let mut object = Object::with_capacity(6_000)
            .text("id", &self.id)
            .text("reference", &reference)
            .text("name", &self.name)
            .optional("summary", self.summary.as_deref())
            .text("permalink", &permalink)
            .text("visibility", if self.private { "private" } else { "public" })
            .text("mode", self.mode.as_str())
            .raw("incident_status", settings.status_json(self.stage))
            .raw("incident_type", &self.kind.json)
            .raw("creator", &self.creator.to_json(settings))
            .array("incident_role_assignments", assignments.map(|(role, user)| assignment(role, user)))
            .array("custom_field_entries", self.custom_fields(settings))
            .array("incident_timestamp_values", self.timestamp_values(settings))
            .text("slack_team_id", &settings.slack_team_id)
            .text("slack_channel_id", self.slack_channel.as_deref().unwrap_or(""))
            .optional("slack_channel_name", channel_name.as_deref())
            .array("team_ids", team_ids)
            .raw("has_debrief", if self.stamps.get(Stamp::Reviewed).is_some() { "true" } else { "false" })
            .time("created_at", self.created_at)
            .time("updated_at", self.updated_at)
            .time("last_activity_at", self.last_activity_at);
        if let Some(severity) = &self.severity {
            object = object.raw("severity", &severity.json);
        }
        object
    }

    fn teams(&self) -> Vec<&Arc<Part>> {
        let mut teams: Vec<&Arc<Part>> = Vec::new();
        for service in &self.services {
            if !teams.iter().any(|team| team.id == service.team.id) {
                teams.push(&service.team);
            }
        }
        teams
    }

    fn custom_fields(&self, settings: &Settings) -> [String; 4] {
        let fields = &settings.fields;
        let entry = |field: &Part, values: String| {
            Object::with_capacity(1_200).raw("custom_field", &field.json).raw("values", &values).close()
        };
        let impact = self.impact.and_then(|position| fields.impact_options.get(position));
        let customers = self.customers.map(|n| Object::new().text("value_numeric", &n.to_string()).close());
        [
            entry(&fields.services, array(self.services.iter().map(|service| &service.json))),
            entry(&fields.teams, array(self.teams().into_iter().map(|team| &team.json))),
            entry(&fields.impact, array(impact.map(|option| &option.json))),
            entry(&fields.customers, array(customers)),
        ]
    }

    fn timestamp_values(&self, settings: &Settings) -> impl Iterator<Item = String> {
        settings.stamps.iter().map(|(stamp, part)| {
            let object = Object::with_capacity(160).raw("incident_timestamp", &part.json);
            match self.stamps.get(*stamp) {
                Some(at) => object.raw("value", &Object::new().time("value", at).close()).close(),
                None => object.close(),
            }
        })
    }

    /// The words of one timeline item.
    pub(crate) fn timeline_json(&self, item: &TimelineItem, settings: &Settings) -> String {
        Object::with_capacity(500)
            .text("id", &item.id)
            .text("incident_id", &self.id)
            .time("timestamp", item.at)
            .text("title", &item.title)
            .optional("description", item.description.as_deref())
            .raw("creator", &item.creator.to_json(settings))
            .optional("activity_log_id", item.activity_log_id.as_deref())
            .time("created_at", item.at)
            .time("updated_at", item.at)
            .close()
    }
}

impl Actor {
    fn to_json(&self, settings: &Settings) -> String {
        match self {
            Self::User(user) => Object::new().raw("user", &user.json).close(),
            Self::ApiKey => settings.api_key_actor.clone(),
            Self::Workflow => settings.workflow_actor.clone(),
        }
    }
}

fn assignment(role: &RolePart, user: &Option<Arc<User>>) -> String {
    let object = Object::with_capacity(700).raw("role", &role.embedded);
    match user {
        Some(user) => object.raw("assignee", &user.json).close(),
        None => object.close(),
    }
}
