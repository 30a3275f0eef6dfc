//! Answers a request from the account: routes, permissions, pages and error bodies.
//!
//! Pure: no socket, no clock. Where incident.io's own behaviour is undocumented, this is what is assumed:
//!
//! - a private incident does not exist for a key without `global_access` (404, never 403);
//! - updates come newest first, timeline items oldest first (the latter is documented);
//! - a full page carries a cursor even when nothing follows, so the last page may be empty;
//! - a cursor that names nothing, or something deleted, is a 422;
//! - an `incident_id` that is not a full, known id gives an empty list.

use axum::body::Bytes;
use serde_json::{Value, json};

use crate::{
    account::Account,
    json::Object,
    model::{Incident, TimelineItem, Update},
    query::{Invalid, ListQuery, MAX_PAGE, Order, Query},
    render::Entry,
    settings::{CatalogType, Settings},
};

const MAX_USERS: usize = 10_000;

/// A status and a JSON body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Identity,
    Incidents,
    Incident(String),
    IncidentUpdates,
    IncidentTimelineItems,
    IncidentActivity,
    IncidentParticipants,
    IncidentAttachments,
    Severities,
    IncidentStatuses,
    IncidentTimestamps,
    IncidentTypes,
    IncidentRoles,
    CustomFields,
    CatalogTypes,
    CatalogEntries,
    Users,
}

impl Route {
    pub(crate) fn parse(path: &str) -> Option<Self> {
        Some(match path {
            "/v1/identity" => Self::Identity,
            "/v2/incidents" => Self::Incidents,
            "/v2/incident_updates" => Self::IncidentUpdates,
            "/v2/incident_timeline_items" => Self::IncidentTimelineItems,
            "/v2/incident_activity_log_entries" => Self::IncidentActivity,
            "/v2/incident_participants" => Self::IncidentParticipants,
            "/v1/incident_attachments" => Self::IncidentAttachments,
            "/v1/severities" => Self::Severities,
            "/v1/incident_statuses" => Self::IncidentStatuses,
            "/v2/incident_timestamps" => Self::IncidentTimestamps,
            "/v1/incident_types" => Self::IncidentTypes,
            "/v2/incident_roles" => Self::IncidentRoles,
            "/v2/custom_fields" => Self::CustomFields,
            "/v3/catalog_types" => Self::CatalogTypes,
            "/v3/catalog_entries" => Self::CatalogEntries,
            "/v2/users" => Self::Users,
            other => {
                let id = other.strip_prefix("/v2/incidents/")?;
                if id.is_empty() || id.contains('/') {
                    return None;
                }
                Self::Incident(id.to_owned())
            }
        })
    }

    /// The scope a key needs and the role that grants it; two endpoints list none.
    fn permission(&self) -> Option<(&'static str, &'static str)> {
        let scope = match self {
            Self::Identity | Self::IncidentTimestamps => return None,
            Self::Incidents
            | Self::Incident(_)
            | Self::IncidentUpdates
            | Self::IncidentTimelineItems
            | Self::IncidentActivity
            | Self::IncidentParticipants
            | Self::IncidentAttachments => "incidents.view",
            Self::Severities => "severities.view",
            Self::IncidentStatuses => "incident_statuses.view",
            Self::IncidentTypes => "incident_types.view",
            Self::IncidentRoles => "incident_roles.view",
            Self::CustomFields => "custom_fields.view",
            Self::Users => "users.view",
            Self::CatalogTypes => return Some(("catalog_types.view", "catalog_viewer")),
            Self::CatalogEntries => return Some(("catalog_entries.view", "catalog_viewer")),
        };
        Some((scope, "viewer"))
    }
}

/// Answers an authenticated `GET`.
pub(crate) fn answer(
    account: &Account,
    route: &Route,
    query: &Query,
    roles: &[String],
    request_id: &str,
) -> Answer {
    let has = |role: &str| roles.iter().any(|known| known == role);
    if let Some((scope, role)) = route.permission()
        && !has(role)
    {
        let message = format!("This API key does not have the {scope} scope, which the {role} role grants");
        return error(403, "forbidden", &message, request_id);
    }
    let view = View { account, settings: &account.settings, sees_private: has("global_access") };
    match view.respond(route, query, roles) {
        Ok(body) => Answer { status: 200, body: Bytes::from(body) },
        Err(Refusal::Invalid(invalid)) => validation_error(&invalid, request_id),
        Err(Refusal::NotFound) => {
            error(404, "resource_not_found", "The requested resource could not be found", request_id)
        }
    }
}

/// The documented body of a failure.
pub(crate) fn error(status: u16, code: &str, message: &str, request_id: &str) -> Answer {
    let body = error_body(status, json!([{"code": code, "message": message}]), request_id);
    Answer { status, body: Bytes::from(body.to_string()) }
}

/// The documented body of a 429.
pub(crate) fn rate_limited(limit: u32, retry_after: &str, request_id: &str) -> Answer {
    let message =
        "Too many requests hit the API too quickly. We recommend an exponential backoff of your requests.";
    let mut body = error_body(429, json!([{"code": "too_many_requests", "message": message}]), request_id);
    if let Some(body) = body.as_object_mut() {
        let limits =
            json!({"name": "api_key_name", "limit": limit, "remaining": 0, "retry_after": retry_after});
        body.insert("rate_limit".to_owned(), limits);
    }
    Answer { status: 429, body: Bytes::from(body.to_string()) }
}

fn validation_error(invalid: &Invalid, request_id: &str) -> Answer {
    let source = json!({"field": invalid.field, "pointer": format!("/{}", invalid.field)});
    let errors = json!([{"code": invalid.code, "message": invalid.message, "source": source}]);
    Answer { status: 422, body: Bytes::from(error_body(422, errors, request_id).to_string()) }
}

fn error_body(status: u16, errors: Value, request_id: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        403 => "resource_forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        422 => "validation_error",
        429 => "too_many_requests",
        _ => "api_error",
    };
    json!({"type": kind, "status": status, "request_id": request_id, "errors": errors})
}

enum Refusal {
    Invalid(Invalid),
    NotFound,
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// The account as one key sees it.
struct View<'a> {
    account: &'a Account,
    settings: &'a Settings,
    sees_private: bool,
}

fn no_participants() -> String {
    r#"{"incident_participants":{"active":[],"passive":[]}}"#.to_owned()
}

impl View<'_> {
    fn respond(&self, route: &Route, query: &Query, roles: &[String]) -> Result<String, Refusal> {
        let settings = self.settings;
        Ok(match route {
            Route::Identity => self.identity(roles),
            Route::Incidents => self.incidents(query)?,
            Route::Incident(id) => {
                let found = self.account.find(id).filter(|incident| self.sees(incident));
                let incident = found.ok_or(Refusal::NotFound)?;
                Object::with_capacity(8_000).raw("incident", &String::from_utf8_lossy(&incident.json)).close()
            }
            Route::IncidentUpdates => self.updates(query)?,
            Route::IncidentTimelineItems => self.entries(query, "incident_timeline_items", |incident| {
                let row = |item: &TimelineItem| Entry {
                    at: item.at,
                    id: item.id.clone(),
                    json: incident.timeline_json(item, settings),
                };
                incident.timeline.iter().map(row).collect()
            })?,
            Route::IncidentActivity => self.entries(query, "incident_activity_log_entries", |incident| {
                self.account.activity(incident)
            })?,
            Route::IncidentParticipants => {
                let position = self.account.position(query.required("incident_id")?);
                let incident = position.and_then(|position| self.account.living(position));
                let incident = incident.filter(|incident| self.sees(incident));
                incident.map_or_else(no_participants, |incident| incident.participants_json(settings))
            }
            Route::IncidentAttachments => {
                // By an external resource it can be asked as well; nobody here does.
                let position = self.account.position(query.required("incident_id")?);
                let incident = position.and_then(|position| self.account.living(position));
                let incident = incident.filter(|incident| self.sees(incident));
                let attachments = incident.map(|incident| incident.attachments_json()).unwrap_or_default();
                Object::new().array("incident_attachments", attachments).close()
            }
            Route::Severities => {
                Object::new().array("severities", settings.severities.iter().map(|one| &one.json)).close()
            }
            Route::IncidentStatuses => Object::new()
                .array("incident_statuses", settings.statuses.iter().map(|(_, one)| &one.json))
                .close(),
            Route::IncidentTimestamps => Object::new()
                .array("incident_timestamps", settings.stamps.iter().map(|(_, one)| &one.json))
                .close(),
            Route::IncidentTypes => {
                let types = [&settings.default_type.json, &settings.security_type.json];
                Object::new().array("incident_types", types).close()
            }
            Route::IncidentRoles => {
                let roles = [&settings.lead.json, &settings.reporter.json, &settings.communications.json];
                Object::new().array("incident_roles", roles).close()
            }
            Route::CustomFields => Object::new().array("custom_fields", &settings.fields.listed).close(),
            Route::CatalogTypes => {
                let types = [&settings.service_type.json, &settings.team_type.json];
                Object::new().array("catalog_types", types).close()
            }
            Route::CatalogEntries => self.catalog_entries(query)?,
            Route::Users => self.users(query)?,
        })
    }

    fn sees(&self, incident: &Incident) -> bool {
        self.sees_private || !incident.private
    }

    fn identity(&self, roles: &[String]) -> String {
        let settings = self.settings;
        let identity = json!({
            "name": settings.name, "roles": roles, "team_roles": [], "teams": [],
            "dashboard_url": format!("https://app.incident.io/{}", settings.slug),
        });
        json!({"identity": identity}).to_string()
    }

    fn incidents(&self, query: &Query) -> Result<String, Refusal> {
        let list = ListQuery::parse(query, self.settings)?;
        let account = self.account;
        let shown = |position: &usize| -> Option<&Incident> {
            let incident = account.living(*position)?;
            (self.sees(incident) && list.matches(incident, self.settings)).then_some(incident)
        };
        // The cursor is a place in the whole order, so it stays good when its incident no longer matches.
        let place = match &list.after {
            None => None,
            Some(id) => {
                let key = |position: &usize| account.living(*position).map(|of| (of.created_at, &of.id));
                let position = account.position(id);
                let place = position
                    .and_then(|position| account.order.binary_search_by_key(&key(&position), key).ok());
                Some(place.ok_or_else(|| Invalid::new("after", "no incident has this id"))?)
            }
        };
        let all = account.order.as_slice();
        let page: Vec<&Incident> = match list.order {
            Order::OldestFirst => {
                let rest = all.get(place.map_or(0, |place| place + 1)..).unwrap_or_default();
                rest.iter().filter_map(shown).take(list.page_size).collect()
            }
            Order::NewestFirst => {
                let rest = all.get(..place.unwrap_or(all.len())).unwrap_or_default();
                rest.iter().rev().filter_map(shown).take(list.page_size).collect()
            }
        };
        let asked = format!("{} {}", self.sees_private, list.filters());
        let total = account.counted(&asked, || all.iter().filter_map(shown).count());
        let after = full(&page, list.page_size).map(|last| last.id.as_str());
        let meta = page_meta(list.page_size, after, Some(total));
        let size: usize = page.iter().map(|incident| incident.json.len() + 1).sum();
        let mut body = Vec::with_capacity(size + 200);
        body.extend_from_slice(b"{\"incidents\":[");
        for (n, incident) in page.iter().enumerate() {
            if n > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&incident.json);
        }
        body.extend_from_slice(b"],\"pagination_meta\":");
        body.extend_from_slice(meta.as_bytes());
        body.push(b'}');
        Ok(String::from_utf8(body).unwrap_or_default())
    }

    fn updates(&self, query: &Query) -> Result<String, Refusal> {
        let page_size = query.page_size(MAX_PAGE)?;
        let of_incident;
        let slots: &[usize] = match query.get("incident_id") {
            None => &self.account.update_order,
            Some(id) => {
                let incident = self.account.position(id).and_then(|position| self.account.living(position));
                // Responders back-date updates, so the order of writing is not the order of time.
                let mut slots = incident.map(|incident| incident.updates.clone()).unwrap_or_default();
                slots
                    .sort_by_key(|slot| self.account.updates.get(*slot).map(|row| (row.created_at, &row.id)));
                of_incident = slots;
                &of_incident
            }
        };
        let visible = |slot: &usize| -> Option<&Update> {
            let update = self.account.updates.get(*slot)?;
            let incident = self.account.living(update.incident)?;
            self.sees(incident).then_some(update)
        };
        let older = match query.get("after") {
            None => slots,
            Some(id) => {
                let key = |slot: &usize| self.account.updates.get(*slot).map(|row| (row.created_at, &row.id));
                let slot = self.account.update_position(id);
                let place = slot.and_then(|slot| slots.binary_search_by_key(&key(&slot), key).ok());
                let place = place.ok_or_else(|| Invalid::new("after", "no update has this id"))?;
                slots.get(..place).unwrap_or_default()
            }
        };
        let page: Vec<&Update> = older.iter().rev().filter_map(visible).take(page_size).collect();
        let after = full(&page, page_size).map(|last| last.id.as_str());
        Ok(Object::with_capacity(page.len() * 900)
            .array("incident_updates", page.iter().map(|update| self.account.update_json(update)))
            .raw("pagination_meta", &page_meta(page_size, after, None))
            .close())
    }

    /// A page of what belongs to one incident, oldest first.
    fn entries(
        &self,
        query: &Query,
        key: &str,
        of: impl FnOnce(&Incident) -> Vec<Entry>,
    ) -> Result<String, Refusal> {
        let id = query.required("incident_id")?;
        let page_size = query.page_size(MAX_PAGE)?;
        let incident = self.account.position(id).and_then(|position| self.account.living(position));
        let incident = incident.filter(|incident| self.sees(incident));
        let mut entries = incident.map(of).unwrap_or_default();
        entries.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let from = match query.get("after") {
            None => 0,
            Some(id) => {
                let place = entries.iter().position(|entry| entry.id == id);
                place.ok_or_else(|| Invalid::new("after", "no entry has this id"))? + 1
            }
        };
        let page: Vec<Entry> = entries.into_iter().skip(from).take(page_size).collect();
        let after = full(&page, page_size).map(|last| last.id.as_str());
        Ok(Object::new()
            .array(key, page.iter().map(|entry| &entry.json))
            .raw("pagination_meta", &page_meta(page_size, after, None))
            .close())
    }

    fn catalog_entries(&self, query: &Query) -> Result<String, Refusal> {
        let type_id = query.required("catalog_type_id")?;
        query.required("page_size")?;
        let page_size = query.page_size(MAX_PAGE)?;
        let settings = self.settings;
        let (catalog_type, rows): (&CatalogType, Vec<(&str, &str)>) = if type_id == settings.service_type.id {
            let wanted = query.get("identifier");
            let services = settings.services.iter().filter(|service| {
                let names = [&service.id, &service.external_id, &service.alias, &service.name];
                wanted.is_none_or(|wanted| names.into_iter().any(|name| name == wanted))
            });
            (&settings.service_type, services.map(|one| (one.id.as_str(), one.listed.as_str())).collect())
        } else if type_id == settings.team_type.id {
            let wanted = query.get("identifier");
            let teams = settings.teams.iter().zip(&settings.teams_listed);
            let teams = teams
                .filter(|(team, _)| wanted.is_none_or(|wanted| team.id == wanted || team.name == wanted));
            (&settings.team_type, teams.map(|(one, listed)| (one.id.as_str(), listed.as_str())).collect())
        } else {
            return Err(Refusal::NotFound);
        };
        let total = rows.len();
        let (page, after) = cut(rows, query, page_size)?;
        Ok(Object::new()
            .array("catalog_entries", page)
            .raw("catalog_type", &catalog_type.json)
            .raw("pagination_meta", &page_meta(page_size, after, Some(total)))
            .close())
    }

    fn users(&self, query: &Query) -> Result<String, Refusal> {
        let page_size = query.page_size(MAX_USERS)?;
        let inactive = query.get("include_inactive") == Some("true");
        let users = self.settings.users.iter().filter(|user| {
            (inactive || user.active)
                && query.get("email").is_none_or(|email| user.email.eq_ignore_ascii_case(email))
                && query.get("slack_user_id").is_none_or(|id| user.slack_user_id == id)
        });
        let rows = users.map(|user| (user.id.as_str(), user.listed.as_str())).collect();
        let (page, after) = cut(rows, query, page_size)?;
        Ok(Object::new()
            .array("users", page)
            .raw("pagination_meta", &page_meta(page_size, after, None))
            .close())
    }
}

/// One page of (id, JSON) rows and the cursor behind it.
fn cut<'a>(
    rows: Vec<(&'a str, &'a str)>,
    query: &Query,
    page_size: usize,
) -> Result<(Vec<&'a str>, Option<&'a str>), Invalid> {
    let from = match query.get("after") {
        None => 0,
        Some(id) => {
            let place = rows.iter().position(|(known, _)| *known == id);
            place.ok_or_else(|| Invalid::new("after", "no record has this id"))? + 1
        }
    };
    let page: Vec<_> = rows.into_iter().skip(from).take(page_size).collect();
    let after = full(&page, page_size).map(|(id, _)| *id);
    Ok((page.into_iter().map(|(_, json)| json).collect(), after))
}

/// The last row of a full page: the cursor to the next.
fn full<T>(page: &[T], page_size: usize) -> Option<&T> {
    page.last().filter(|_| page.len() == page_size)
}

fn page_meta(page_size: usize, after: Option<&str>, total: Option<usize>) -> String {
    // The schema allows no number above 250 here, on users neither, whose pages may be larger.
    let shown = page_size.min(MAX_PAGE).to_string();
    let object = Object::new().optional("after", after).raw("page_size", &shown);
    match total {
        Some(total) => object.raw("total_record_count", &total.to_string()).close(),
        None => object.close(),
    }
}
