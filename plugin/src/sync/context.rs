//! What the account itself looks like: its severities, status categories, service fields and people.
//!
//! Read at the start of a backfill and again when it is a day old, not with every poll. A list that the key may
//! not read is remembered as unreadable and costs what depends on it, never the sync.

use alloc::string::String;
use alloc::vec::Vec;

use super::{insert_once, no_answer, read_page, read_state, write_state};
use crate::incidentio::client::{self, ApiError, Page};
use crate::incidentio::payload;
use crate::model::{Change, DAY, Error, Level, Priority, Settings, SeverityOverride, Timestamp};
use crate::port::World;
use koalr_codec::json::{List, object};

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
    /// The e-mail address of a person, lower-cased.
    pub fn email(&self, id: &str) -> Option<String> {
        let index = self.users.binary_search_by(|user| user.id.as_str().cmp(id)).ok()?;
        self.users.get(index)?.email.clone()
    }

    fn add(&mut self, user: payload::User) {
        if let (Some(email), Err(index)) =
            (&user.email, self.users.binary_search_by(|known| known.id.cmp(&user.id)))
        {
            let email = Some(email.trim_ascii().to_ascii_lowercase());
            self.users.insert(index, payload::User { id: user.id, name: None, email });
        }
    }
}

impl Context {
    /// What is stored; empty before the first connect.
    pub fn load(world: &mut dyn World) -> Result<Context, Error> {
        let mut settings = StoredSettings::default();
        let mut account = Account::default();
        read_state(world, SETTINGS, &mut settings)?;
        read_state(world, ACCOUNT, &mut account)?;
        Ok(Context { settings: settings.into(), account })
    }

    /// Whether the account should be read again.
    pub fn is_old(&self, now: Timestamp) -> bool {
        self.account.read_at.is_none_or(|at| now.saturating_sub(at) >= ACCOUNT_AGE)
    }
}

/// The change that stores settings.
pub fn settings_change(settings: &Settings) -> Change {
    let mut severity_overrides = Vec::with_capacity(settings.severity_overrides.len());
    for SeverityOverride { severity, priority } in &settings.severity_overrides {
        let (severity, priority) = (severity.clone(), Some(*priority as i64));
        severity_overrides.push(StoredOverride { severity, priority });
    }
    let stored = StoredSettings {
        severity_overrides,
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
    /// Index into [`PRIORITIES`].
    priority: Option<i64>,
}

object!(StoredOverride { "severity" => Text severity, "priority" => Integer priority });

const PRIORITIES: [Priority; 4] = [Priority::P1, Priority::P2, Priority::P3, Priority::P4];

impl From<StoredSettings> for Settings {
    fn from(stored: StoredSettings) -> Self {
        let mut severity_overrides = Vec::with_capacity(stored.severity_overrides.len());
        for StoredOverride { severity, priority } in stored.severity_overrides {
            let index = priority.and_then(|index| usize::try_from(index).ok());
            if let Some(priority) = index.and_then(|index| PRIORITIES.get(index)) {
                severity_overrides.push(SeverityOverride { severity, priority: *priority });
            }
        }
        Settings {
            severity_overrides,
            service_fields: stored.service_fields,
            include_private: stored.include_private,
            history_days: stored.history_days.and_then(|days| u32::try_from(days).ok()),
        }
    }
}

/// Reads the account anew and stores it; answers it with the number of requests that it took.
pub fn refresh(world: &mut dyn World) -> Result<(Account, u32), Error> {
    let mut answers = (world.fetch(&[
        client::unpaged("/v1/severities"),
        client::unpaged("/v1/incident_statuses"),
        client::unpaged("/v2/custom_fields"),
        client::unpaged("/v3/catalog_types"),
        client::users(None),
    ]))
    .into_iter();
    let mut requests = 5;
    let mut account = Account { read_at: Some(world.now()), ..Account::default() };
    let mut next = |world: &mut dyn World, what, key, items: &mut dyn List| {
        let answer = answers.next().unwrap_or_else(no_answer);
        let page = client::page(what, key, answer, world.now(), items);
        optional(world, page)
    };
    next(world, "severities", "severities", &mut account.severities)?;
    let mut statuses: Vec<payload::Status> = Vec::new();
    next(world, "incident statuses", "incident_statuses", &mut statuses)?;
    let mut fields: Vec<payload::Field> = Vec::new();
    next(world, "custom fields", "custom_fields", &mut fields)?;
    let mut types: Vec<payload::CatalogType> = Vec::new();
    next(world, "catalog types", "catalog_types", &mut types)?;
    let mut users: Vec<payload::User> = Vec::new();
    let mut after = next(world, "users", "users", &mut users)?;
    loop {
        for user in users.drain(..) {
            account.add(user);
        }
        if after.is_none() || requests >= 5 + USER_PAGES {
            break;
        }
        requests += 1;
        let page = read_page(world, "users", "users", client::users(after.as_deref()), &mut users);
        after = optional(world, page)?;
    }
    for status in statuses.iter().filter(|status| !status.category.is_empty()) {
        insert_once(&mut account.categories, &status.category);
    }
    account.service_fields = service_fields(&fields, &types);
    world.commit(&[write_state(ACCOUNT, &account)])?;
    Ok((account, requests))
}

/// Where a list goes on, or nowhere if the key may not read it.
fn optional(world: &mut dyn World, page: Result<Page, ApiError>) -> Result<Option<String>, Error> {
    match page {
        Ok(page) => Ok(page.after),
        Err(ApiError::Forbidden(why)) => {
            let fields = [("why".into(), why)];
            world.log(Level::Warn, "a list that the key may not read is left out", &fields);
            Ok(None)
        }
        Err(ApiError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Fields backed by a catalog type of category `service`.
fn service_fields(fields: &[payload::Field], types: &[payload::CatalogType]) -> Vec<String> {
    let is_service =
        |id: &String| types.iter().any(|t| t.id == *id && t.categories.iter().any(|c| c == "service"));
    let backed = fields.iter().filter(|f| f.catalog_type_id.as_ref().is_some_and(is_service));
    backed.map(|f| f.id.clone()).collect()
}
