//! What the organisation configured: statuses, severities, roles, fields, catalog and people.
//!
//! Each part carries the JSON that the endpoints and the incidents show of it, made once.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::{
    json::time_text,
    stages::{Stage, Stamp},
    words,
};

/// Something with an id and one JSON form.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) json: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Severity {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) rank: usize,
    pub(crate) json: String,
}

impl Severity {
    pub(crate) fn renamed(&self, name: &str) -> Severity {
        let json = merged(&[parsed(&self.json), json!({"name": name})]);
        Severity { id: self.id.clone(), name: name.to_owned(), rank: self.rank, json }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) slack_user_id: String,
    pub(crate) active: bool,
    /// As incidents show the user.
    pub(crate) json: String,
    /// As the list of users does.
    pub(crate) listed: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) external_id: String,
    pub(crate) alias: String,
    pub(crate) team: Arc<Part>,
    /// As an element of a custom field's `values`.
    pub(crate) json: String,
    /// As the catalog lists it.
    pub(crate) listed: String,
}

/// A catalog type and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct CatalogType {
    pub(crate) id: String,
    pub(crate) json: String,
}

/// The whole configuration.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) slug: String,
    pub(crate) name: String,
    pub(crate) slack_team_id: String,
    pub(crate) statuses: Vec<(Stage, Part)>,
    pub(crate) stamps: Vec<(Stamp, Part)>,
    /// Mildest first.
    pub(crate) severities: Vec<Arc<Severity>>,
    pub(crate) default_type: Arc<Part>,
    pub(crate) security_type: Arc<Part>,
    /// Lead, reporter and communications, as the list of roles and as assignments show them.
    pub(crate) lead: RolePart,
    pub(crate) reporter: RolePart,
    pub(crate) communications: RolePart,
    pub(crate) users: Vec<Arc<User>>,
    pub(crate) teams: Vec<Arc<Part>>,
    /// Team entries as the catalog lists them.
    pub(crate) teams_listed: Vec<String>,
    pub(crate) services: Vec<Arc<Service>>,
    pub(crate) service_type: CatalogType,
    pub(crate) team_type: CatalogType,
    pub(crate) fields: Fields,
    pub(crate) api_key_actor: String,
    pub(crate) workflow_actor: String,
}

#[derive(Debug, Clone)]
pub(crate) struct RolePart {
    pub(crate) id: String,
    pub(crate) json: String,
    pub(crate) embedded: String,
}

/// The custom fields: `Part::json` is the incident's form, the list's form is apart.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    pub(crate) services: Part,
    pub(crate) teams: Part,
    pub(crate) impact: Part,
    pub(crate) customers: Part,
    /// Choices of the impact field, as elements of `values`.
    pub(crate) impact_options: Vec<Part>,
    pub(crate) listed: Vec<String>,
}

impl Settings {
    /// The configuration of an account that is about three years old at `now`.
    pub(crate) fn generate(rng: &mut fastrand::Rng, now: DateTime<Utc>) -> Self {
        let born = now - Duration::days(3 * 365);
        let stamp_pair = json!({"created_at": time_text(born), "updated_at": time_text(born)});
        let mut part = |name: &str, fields: Value| {
            let id = ulid(rng, born);
            let json = merged(&[json!({"id": id, "name": name}), stamp_pair.clone(), fields]);
            Part { id, name: name.to_owned(), json }
        };

        let statuses = Stage::ALL
            .into_iter()
            .map(|stage| {
                let fields = json!({
                    "category": stage.category(), "description": stage.description(), "rank": stage.rank(),
                });
                (stage, part(stage.name(), fields))
            })
            .collect();
        let severities = words::SEVERITIES
            .iter()
            .enumerate()
            .map(|(rank, (name, description))| {
                let Part { id, name, json } = part(name, json!({"description": description, "rank": rank}));
                Arc::new(Severity { id, name, rank, json })
            })
            .collect();
        let kind = |description: &str, default: bool, private: bool| {
            json!({
                "description": description, "is_default": default, "private_incidents_only": private,
                "create_in_triage": if default { "optional" } else { "always" },
            })
        };
        let default_type = Arc::new(part("Default", kind("", true, false)));
        let security_type = Arc::new(part("Security", kind("Anything that needs confidence.", false, true)));
        let mut role = |name: &str, role_type: &str, shortform: &str| {
            let fields = json!({
                "role_type": role_type, "shortform": shortform, "description": format!("The {name} of the incident"),
                "instructions": "Keep everybody informed.",
            });
            let Part { id, json, .. } = part(name, fields);
            // Only the form inside assignments has `required`.
            let embedded = merged(&[parsed(&json), json!({"required": role_type == "lead"})]);
            RolePart { id, json, embedded }
        };
        let lead = role("Incident Lead", "lead", "lead");
        let reporter = role("Reporter", "reporter", "reporter");
        let communications = role("Communications Lead", "custom", "comms");

        let stamps = Stamp::ALL
            .into_iter()
            .enumerate()
            .map(|(rank, stamp)| {
                let id = ulid(rng, born);
                let json = json!({"id": id, "name": stamp.name(), "rank": rank}).to_string();
                (stamp, Part { id, name: stamp.name().to_owned(), json })
            })
            .collect();
        let users = words::PEOPLE
            .iter()
            .enumerate()
            .map(|(position, (first, last))| Arc::new(user(rng, born, position, first, last)))
            .collect();
        let catalog = Catalog::generate(rng, born);
        let fields = Fields::generate(rng, born, &catalog);
        let api_key_actor = json!({"api_key": {"id": ulid(rng, born), "name": "Alert router"}}).to_string();
        let workflow_actor =
            json!({"workflow": {"id": ulid(rng, born), "name": "Nudge the lead"}}).to_string();
        Self {
            slug: "northwind-goods".to_owned(),
            name: "Read-only sync".to_owned(),
            slack_team_id: "T0NORTHWIND".to_owned(),
            statuses,
            stamps,
            severities,
            default_type,
            security_type,
            lead,
            reporter,
            communications,
            users,
            teams: catalog.teams,
            teams_listed: catalog.teams_listed,
            services: catalog.services,
            service_type: catalog.service_type,
            team_type: catalog.team_type,
            fields,
            api_key_actor,
            workflow_actor,
        }
    }

    /// The JSON of a status; every stage has one.
    pub(crate) fn status_json(&self, stage: Stage) -> &str {
        self.statuses.iter().find(|(known, _)| *known == stage).map_or("null", |(_, part)| &part.json)
    }

    pub(crate) fn severity_named(&self, name: &str) -> Option<Arc<Severity>> {
        self.severities.iter().find(|severity| severity.name.eq_ignore_ascii_case(name)).cloned()
    }

    pub(crate) fn user_by_email(&self, email: &str) -> Option<Arc<User>> {
        self.users.iter().find(|user| user.email.eq_ignore_ascii_case(email)).cloned()
    }

    pub(crate) fn service_named(&self, name: &str) -> Option<Arc<Service>> {
        self.services.iter().find(|service| service.name == name).cloned()
    }
}

/// The address of the person at this position.
pub(crate) fn address(position: usize, first: &str) -> String {
    let plain: String = first.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
    format!("{plain}{position}@northwind.example")
}

fn user(rng: &mut fastrand::Rng, born: DateTime<Utc>, position: usize, first: &str, last: &str) -> User {
    let id = ulid(rng, born);
    let name = format!("{first} {last}");
    let email = address(position, first);
    let slack_user_id = format!("U0{}", token(rng, 9));
    let active = position % 11 != 10;
    let role = if position == 0 { "owner" } else { "responder" };
    let mut shown = json!({"id": id, "name": name, "role": role, "slack_user_id": slack_user_id});
    // A few people are embedded without an address, so a reader must resolve them through the list.
    if position % 10 != 9 {
        set(&mut shown, "email", email.clone().into());
    }
    let base_role = json!({
        "id": ulid(rng, born), "name": "Responder", "slug": "responder", "description": "Responds to incidents.",
    });
    let listed = merged(&[
        shown.clone(),
        json!({
            "email": email, "is_active": active, "base_role": base_role, "custom_roles": [],
            "seats": {"on_call": "full_access", "response": if active { "full_access" } else { "none" }},
        }),
    ]);
    User { id, name, email, slack_user_id, active, json: shown.to_string(), listed }
}

struct Catalog {
    teams: Vec<Arc<Part>>,
    teams_listed: Vec<String>,
    services: Vec<Arc<Service>>,
    service_type: CatalogType,
    team_type: CatalogType,
}

impl Catalog {
    fn generate(rng: &mut fastrand::Rng, born: DateTime<Utc>) -> Self {
        let (service_type, team_type) = (ulid(rng, born), ulid(rng, born));
        let (owner, tier) = (ulid(rng, born), ulid(rng, born));
        let team_parts: Vec<(Arc<Part>, String)> = words::TEAMS
            .iter()
            .enumerate()
            .map(|(rank, name)| {
                let id = ulid(rng, born);
                let external = format!("team-{}", name.to_lowercase());
                let entry = json!({"id": id, "name": name, "external_id": external, "aliases": []});
                let listed = listed_entry(&entry, &team_type, rank, born, json!({}));
                let json = json!({"value_catalog_entry": entry}).to_string();
                (Arc::new(Part { id, name: (*name).to_owned(), json }), listed)
            })
            .collect();
        let (teams, teams_listed): (Vec<_>, Vec<_>) = team_parts.into_iter().unzip();
        let services = words::SERVICES
            .iter()
            .enumerate()
            .filter_map(|(rank, (name, external_id, alias, team, tier_name))| {
                let team: Arc<Part> = teams.get(*team)?.clone();
                let id = ulid(rng, born);
                let entry = json!({"id": id, "name": name, "external_id": external_id, "aliases": [alias]});
                let mut attributes = json!({});
                set(&mut attributes, &owner, json!({"value": {"label": team.name, "literal": team.id}}));
                set(&mut attributes, &tier, json!({"value": {"label": tier_name}}));
                let listed = listed_entry(&entry, &service_type, rank, born, attributes);
                Some(Arc::new(Service {
                    id,
                    name: (*name).to_owned(),
                    external_id: (*external_id).to_owned(),
                    alias: (*alias).to_owned(),
                    team,
                    json: json!({"value_catalog_entry": entry}).to_string(),
                    listed,
                }))
            })
            .collect();
        let attributes = json!([
            {"id": owner, "name": "Owner", "array": false, "mode": "", "type": "Custom[\"Team\"]"},
            {"id": tier, "name": "Tier", "array": false, "mode": "", "type": "String"},
        ]);
        let service_json = listed_type(&service_type, "Service", "service", "server", born, attributes);
        let team_json = listed_type(&team_type, "Team", "team", "users", born, json!([]));
        Self {
            teams,
            teams_listed,
            services,
            service_type: CatalogType { id: service_type, json: service_json },
            team_type: CatalogType { id: team_type, json: team_json },
        }
    }
}

fn listed_entry(entry: &Value, type_id: &str, rank: usize, born: DateTime<Utc>, attributes: Value) -> String {
    merged(&[
        entry.clone(),
        json!({
            "catalog_type_id": type_id, "rank": rank, "attribute_values": attributes,
            "created_at": time_text(born), "updated_at": time_text(born),
        }),
    ])
}

fn listed_type(
    id: &str,
    name: &str,
    category: &str,
    icon: &str,
    born: DateTime<Utc>,
    attributes: Value,
) -> String {
    let type_name = format!("Custom[\"{name}\"]");
    json!({
        "id": id, "name": name, "description": format!("Every {} we run.", name.to_lowercase()),
        "annotations": {"incident.io/catalog-importer/id": "northwind"}, "categories": [category],
        "color": "blue", "icon": icon, "engine_resource_type": format!("CatalogEntry[{type_name:?}]"),
        "type_name": type_name, "is_editable": false, "ranked": false, "use_name_as_identifier": true,
        "schema": {"attributes": attributes, "version": 1},
        "created_at": time_text(born), "updated_at": time_text(born),
    })
    .to_string()
}

impl Fields {
    fn generate(rng: &mut fastrand::Rng, born: DateTime<Utc>, catalog: &Catalog) -> Self {
        let mut listed = Vec::new();
        let mut field = |rng: &mut fastrand::Rng, name: &str, kind: &str, backing: Option<&CatalogType>| {
            let id = ulid(rng, born);
            let shown = json!({
                "id": id, "name": name, "field_type": kind, "options": [],
                "description": format!("{name}, as far as we know."),
            });
            let mut row = json!({
                "id": id, "name": name, "field_type": kind, "description": format!("{name}, as far as we know."),
                "created_at": time_text(born), "updated_at": time_text(born),
            });
            if let Some(backing) = backing {
                set(&mut row, "catalog_type_id", backing.id.clone().into());
            }
            listed.push(row.to_string());
            (id, shown)
        };
        let as_part = |name: &str, (id, shown): (String, Value)| Part {
            id,
            name: name.to_owned(),
            json: shown.to_string(),
        };
        let services = field(rng, "Affected services", "multi_select", Some(&catalog.service_type));
        let teams = field(rng, "Affected teams", "multi_select", Some(&catalog.team_type));
        let (impact_id, mut impact_shown) = field(rng, "Impact", "single_select", None);
        let customers = field(rng, "Customers affected", "numeric", None);
        let choices =
            ["Full production outage", "Increased errors", "Increased latency", "Data loss", "Near miss"];
        let mut options = Vec::new();
        let impact_options = choices
            .iter()
            .enumerate()
            .map(|(sort_key, value)| {
                let id = ulid(rng, born);
                let option =
                    json!({"id": id, "custom_field_id": impact_id, "sort_key": sort_key, "value": value});
                options.push(option.clone());
                let json = json!({"value_option": option}).to_string();
                Part { id, name: (*value).to_owned(), json }
            })
            .collect();
        set(&mut impact_shown, "options", options.into());
        Self {
            services: as_part("Affected services", services),
            teams: as_part("Affected teams", teams),
            impact: as_part("Impact", (impact_id, impact_shown)),
            customers: as_part("Customers affected", customers),
            impact_options,
            listed,
        }
    }
}

/// An id in the vendor's present form: a ULID, i.e. a time and then chance.
pub(crate) fn ulid(rng: &mut fastrand::Rng, at: DateTime<Utc>) -> String {
    let millis = u128::from(at.timestamp_millis().unsigned_abs()) & ((1 << 48) - 1);
    let bits = (millis << 80) | (rng.u128(..) >> 48);
    (0..26).rev().map(|place| crockford((bits >> (place * 5)) & 31)).collect()
}

/// Capital letters and digits, as in Slack's ids.
pub(crate) fn token(rng: &mut fastrand::Rng, length: usize) -> String {
    (0..length).map(|_| crockford(rng.u128(..) & 31)).collect()
}

fn crockford(value: u128) -> char {
    let position = usize::try_from(value).unwrap_or(0);
    b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".get(position).map_or('0', |byte| char::from(*byte))
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// The properties of all objects in one.
fn merged(objects: &[Value]) -> String {
    let properties = objects.iter().filter_map(Value::as_object).flatten();
    Value::Object(properties.map(|(key, value)| (key.clone(), value.clone())).collect()).to_string()
}
