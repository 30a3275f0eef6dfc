//! What the account itself looks like: its severities, status categories, service fields and people.
//!
//! Read at the start of a backfill and again when it is a day old, not with every poll. A list that the key may
//! not read is remembered as unreadable and costs what depends on it, never the sync.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{insert_once, read_state, write_state};
use crate::incidentio::client::{self, ApiError};
use crate::incidentio::payload;
use crate::json::{Object, object};
use crate::model::{DAY, Error, Priority, Settings, Severity, SeverityOverride, Timestamp};
use crate::port::{Change, Level, Request, World};

/// Key of the settings in the plugin's state.
const SETTINGS: &str = "settings";
/// Key of the account in the plugin's state.
const ACCOUNT: &str = "account";
/// Age at which the account is read again.
const ACCOUNT_AGE: Timestamp = DAY;
/// Pages of users that are read at most: 50,000 people.
const USER_PAGES: u32 = 50;

/// Everything besides an incident's own facts that its record depends on.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// What the organisation has set.
    pub settings: Settings,
    /// What its account looks like.
    pub account: Account,
}

/// The account as last read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// When it was read; none if it never was.
    pub read_at: Option<Timestamp>,
    /// The organisation's severities.
    pub severities: Vec<payload::Severity>,
    /// Status categories that are in use, known or not.
    pub categories: Vec<String>,
    /// Custom fields whose entries are services, by identifier; empty, too, if the key may not read the catalog.
    pub service_fields: Vec<String>,
    /// People with an e-mail address, by identifier.
    pub users: Vec<payload::User>,
}

object!(Account {
    "read_at" => Instant read_at,
    "severities" => List severities,
    "categories" => List categories,
    "service_fields" => List service_fields,
    "users" => List users,
});

impl Account {
    /// The severities in the words of [`crate::severity`].
    pub fn known_severities(&self) -> Vec<Severity> {
        self.severities.iter().map(Into::into).collect()
    }

    /// The e-mail address of a person, lower-cased.
    pub fn email(&self, id: &str) -> Option<String> {
        let index = self.users.binary_search_by(|user| user.id.as_str().cmp(id)).ok()?;
        self.users.get(index)?.email.clone()
    }
}

impl Context {
    /// What is stored; empty before the first connect.
    pub fn load<W: World>(world: &mut W) -> Result<Context, Error> {
        Ok(Context {
            settings: read_state::<W, StoredSettings>(world, SETTINGS)?.unwrap_or_default().into(),
            account: read_state(world, ACCOUNT)?.unwrap_or_default(),
        })
    }

    /// Whether the account should be read again.
    pub fn is_old(&self, now: Timestamp) -> bool {
        self.account.read_at.is_none_or(|at| now.saturating_sub(at) >= ACCOUNT_AGE)
    }
}

/// The change that stores settings.
pub fn settings_change(settings: &Settings) -> Result<Change, Error> {
    let rule = |o: &SeverityOverride| StoredOverride {
        severity: o.severity.clone(),
        priority: match o.priority {
            Priority::P1 => "P1",
            Priority::P2 => "P2",
            Priority::P3 => "P3",
            Priority::P4 => "P4",
        }
        .into(),
    };
    let stored = StoredSettings {
        severity_overrides: settings.severity_overrides.iter().map(rule).collect(),
        service_fields: settings.service_fields.clone(),
        include_private: settings.include_private,
        history_days: settings.history_days.map(i64::from),
    };
    write_state(SETTINGS, &stored)
}

/// Settings as they are read back; see [`Settings`].
#[derive(Default)]
struct StoredSettings {
    severity_overrides: Vec<StoredOverride>,
    service_fields: Vec<String>,
    include_private: bool,
    history_days: Option<i64>,
}

object!(StoredSettings {
    "severity_overrides" => List severity_overrides,
    "service_fields" => List service_fields,
    "include_private" => Flag include_private,
    "history_days" => Integer history_days,
});

#[derive(Default)]
struct StoredOverride {
    severity: String,
    priority: String,
}

object!(StoredOverride { "severity" => Text severity, "priority" => Text priority });

impl From<StoredSettings> for Settings {
    fn from(stored: StoredSettings) -> Self {
        let rule = |o: StoredOverride| {
            let priority = match o.priority.as_str() {
                "P1" => Priority::P1,
                "P2" => Priority::P2,
                "P3" => Priority::P3,
                "P4" => Priority::P4,
                _ => return None,
            };
            Some(SeverityOverride { severity: o.severity, priority })
        };
        Settings {
            severity_overrides: stored.severity_overrides.into_iter().filter_map(rule).collect(),
            service_fields: stored.service_fields,
            include_private: stored.include_private,
            history_days: stored.history_days.and_then(|days| u32::try_from(days).ok()),
        }
    }
}

/// Reads the account anew and stores it; answers it with the number of requests that it took.
pub fn refresh<W: World>(world: &mut W) -> Result<(Account, u32), Error> {
    let lists = ["/v1/severities", "/v1/incident_statuses", "/v2/custom_fields", "/v3/catalog_types"]
        .map(client::unpaged);
    let [severities, statuses, fields, types] = lists;
    let mut answers = Lists::fetch(world, [severities, statuses, fields, types, client::users(None)]);
    let mut requests = 5;
    let severities = answers.read::<payload::Severity, W>(world, "severities", "severities")?;
    let statuses = answers.read::<payload::Status, W>(world, "incident statuses", "incident_statuses")?;
    let fields = answers.read::<payload::Field, W>(world, "custom fields", "custom_fields")?;
    let types = answers.read::<payload::CatalogType, W>(world, "catalog types", "catalog_types")?;
    let mut page = answers.read::<payload::User, W>(world, "users", "users")?;
    let mut users: Vec<payload::User> = Vec::new();
    while let Some(payload::Page { items, after, .. }) = page {
        for payload::User { id, email, .. } in items.into_iter().filter(|user| user.email.is_some()) {
            let email = email.map(|email| email.trim().to_ascii_lowercase());
            if let Err(index) = users.binary_search_by(|known| known.id.cmp(&id)) {
                users.insert(index, payload::User { id, name: None, email });
            }
        }
        let Some(after) = after.filter(|_| requests < 5 + USER_PAGES) else {
            break;
        };
        requests += 1;
        page = Lists::fetch(world, [client::users(Some(&after))]).read(world, "users", "users")?;
    }
    let mut categories: Vec<String> = Vec::new();
    for status in statuses.map(|p| p.items).unwrap_or_default() {
        insert_once(&mut categories, status.category);
    }
    categories.retain(|category| !category.is_empty());
    let account = Account {
        read_at: Some(world.now()),
        severities: severities.map(|p| p.items).unwrap_or_default(),
        categories,
        service_fields: fields
            .zip(types)
            .map(|(f, t)| service_fields(&f.items, &t.items))
            .unwrap_or_default(),
        users,
    };
    world.commit(Vec::from([write_state(ACCOUNT, &account)?]))?;
    Ok((account, requests))
}

/// Fields backed by a catalog type of category `service`.
fn service_fields(fields: &[payload::Field], types: &[payload::CatalogType]) -> Vec<String> {
    let is_service =
        |id: &String| types.iter().any(|t| t.id == *id && t.categories.iter().any(|c| c == "service"));
    let backed = fields.iter().filter(|f| f.catalog_type_id.as_ref().is_some_and(is_service));
    backed.map(|f| f.id.clone()).collect()
}

/// Answers to several list requests, read one after the other.
struct Lists(alloc::vec::IntoIter<Result<crate::port::Response, crate::port::Failure>>);

impl Lists {
    fn fetch<W: World, const N: usize>(world: &mut W, requests: [Request; N]) -> Lists {
        Lists(world.fetch(&requests).into_iter())
    }

    /// The next answer's first page; none if the key may not read it.
    fn read<T: Object + Default, W: World>(
        &mut self,
        world: &mut W,
        what: &str,
        key: &str,
    ) -> Result<Option<payload::Page<T>>, Error> {
        let answer = self.0.next().unwrap_or(Err(crate::port::Failure::Broken("no answer".into())));
        match client::body(what, answer, world.now()) {
            Ok(body) => payload::page(&body, key).map(Some).map_err(|why| {
                Error::Malformed(format!("incident.io's list of {what} cannot be read: {why}"))
            }),
            Err(ApiError::Forbidden(why)) => {
                world.log(Level::Warn, "a list that the key may not read is left out", &[("why", why)]);
                Ok(None)
            }
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
