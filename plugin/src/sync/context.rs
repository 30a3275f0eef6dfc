//! What the account itself looks like: its severities, status categories, timestamps, service fields and people.
//!
//! Read at the start of a backfill and again when it is a day old, not with every poll. A list that the key may
//! not read stays as it was last read, and costs what depends on it, never the sync.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::OnceCell;

use super::digest::Digest;
use super::{decode_state, insert_once, is_within, no_answer, read_page, read_state, write_state};
use crate::incidentio::client::{self, ApiError, Page};
use crate::incidentio::payload;
use crate::model::{
    Change, DAY, Error, Level, Priority, Settings, SeverityOverride, Timestamp, TimestampChoice,
};
use crate::port::World;
use koalr_codec::json::{List, object};
use koalr_codec::stored::{Fields, Value};

/// Key of the settings in the plugin's state.
const SETTINGS: &str = "settings";
/// Key of the account in the plugin's state.
const ACCOUNT: &str = "account";
/// Age at which the account is read again.
const ACCOUNT_AGE: Timestamp = DAY;
/// The same where a part of it could not be read.
const RETRY_AGE: Timestamp = DAY / 24;
/// Pages of users that are read at most: 50,000 people.
const USER_PAGES: u32 = 50;
/// Lists of the account, each asked for once, and users for as many pages as they have.
const LISTS: u32 = 6;
/// People in one value of the state: below a megabyte, however long their addresses are.
const USERS_PER_SHARD: usize = 3_000;
/// A page holds fewer people than a shard.
const MOST_SHARDS: i64 = USER_PAGES as i64;

/// Everything besides an incident's own facts that its record depends on.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// What the organisation has set.
    pub settings: Settings,
    /// What its account looks like.
    pub account: Account,
    /// Both as they were stored.
    pub(super) stored: [Option<Vec<u8>>; 2],
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
    /// The timestamps that incidents can have.
    pub timestamps: Vec<payload::TimestampName>,
    /// Custom fields whose entries are services, by identifier; empty, too, if the key may not read the catalog.
    pub service_fields: Vec<String>,
    /// People with an e-mail address, by identifier, once they were asked for. Stored beside the account, in shards.
    users: OnceCell<Vec<payload::User>>,
    pub(super) shards: Option<i64>,
    /// Whether stored incidents are still to be derived anew with it.
    pub due: bool,
    /// A digest of all names in it. When one changes, incidents bear the old one until they are read again.
    pub look: Option<i64>,
}

object!(Account {
    "read_at" => Instant read_at,
    "severities" => List severities,
    "categories" => List categories,
    "service_fields" => List service_fields,
    "shards" => Integer shards,
    "due" => Flag due,
    "look" => Integer look,
    "timestamps" => List timestamps,
});

/// Some of the people, as stored.
#[derive(Default)]
struct Shard {
    users: Vec<payload::User>,
}

object!(Shard { "users" => List users });

/// The same before it is stored.
struct Part<'a>(&'a [payload::User]);

impl Fields for Part<'_> {
    fn count(&self) -> usize {
        1
    }

    fn value(&self, _: usize) -> Value<'_> {
        Value::List(&self.0)
    }
}

fn shard(index: i64) -> String {
    format!("users/{index}")
}

impl Account {
    /// Read when they are first asked for: who works on an incident mostly has an address there, and there may be tens of
    /// thousands of people.
    fn users(&self, world: &mut dyn World) -> Result<&[payload::User], Error> {
        if let Some(users) = self.users.get() {
            return Ok(users);
        }
        let mut users = Vec::new();
        for index in 0..self.shards.unwrap_or(0) {
            let mut part = Shard::default();
            read_state(world, &shard(index), &mut part)?;
            users.append(&mut part.users);
        }
        Ok(self.users.get_or_init(|| users))
    }

    fn store(&mut self, world: &mut dyn World) -> Result<(), Error> {
        let mut changes = Vec::new();
        let mut index = 0;
        for users in self.users(world)?.chunks(USERS_PER_SHARD) {
            changes.push(write_state(&shard(index), &Part(users)));
            index += 1;
        }
        for gone in index..self.shards.unwrap_or(0) {
            changes.push(Change::SetState((shard(gone), None)));
        }
        self.shards = Some(index);
        changes.push(write_state(ACCOUNT, self));
        world.commit(&changes)?;
        Ok(())
    }

    /// The e-mail address of a person, lower-cased.
    pub fn email(&self, world: &mut dyn World, id: &str) -> Result<Option<String>, Error> {
        let users = self.users(world)?;
        let index = users.binary_search_by(|user| user.id.as_str().cmp(id)).ok();
        Ok(index.and_then(|index| users.get(index)?.email.clone()))
    }
}

/// Adds those with an e-mail address, in whatever order the provider lists them; [`sorted`] comes after the last.
fn add(people: &mut Vec<payload::User>, user: payload::User) {
    if let Some(email) = &user.email {
        let email = Some(email.trim_ascii().to_ascii_lowercase());
        people.push(payload::User { id: user.id, name: None, email });
    }
}

/// By identifier, each once, the first that was listed.
fn sorted(mut people: Vec<payload::User>) -> Vec<payload::User> {
    people.sort_by(|a, b| a.id.cmp(&b.id));
    people.dedup_by(|later, first| later.id == first.id);
    people
}

impl Context {
    /// What is stored; empty before the first connect.
    pub fn load(world: &mut dyn World) -> Result<Context, Error> {
        let stored = stored(world)?;
        let [own, account] = &stored;
        let mut settings = StoredSettings::default();
        decode_state(SETTINGS, own.as_deref(), &mut settings)?;
        let mut read = Account::default();
        decode_state(ACCOUNT, account.as_deref(), &mut read)?;
        if !(0..=MOST_SHARDS).contains(&read.shards.unwrap_or(0)) {
            return Err(super::damaged(ACCOUNT));
        }
        Ok(Context { settings: settings.into(), account: read, stored })
    }

    /// Whether this is still what is stored: settings can change while a step waits for answers.
    pub fn is_current(&self, world: &mut dyn World) -> Result<bool, Error> {
        Ok(self.stored == stored(world)?)
    }

    /// Takes note of an account that was just stored; of settings that somebody else stored meanwhile it does not.
    fn stored_account(&mut self, world: &mut dyn World) -> Result<(), Error> {
        let [_, account] = &mut self.stored;
        *account = world.state(ACCOUNT)?;
        Ok(())
    }

    /// Notes that deriving incidents anew has begun.
    pub fn settle(&mut self, world: &mut dyn World) -> Result<(), Error> {
        if self.account.due {
            self.account.due = false;
            world.commit(&[write_state(ACCOUNT, &self.account)])?;
            self.stored_account(world)?;
        }
        Ok(())
    }

    /// Whether the account should be read again.
    pub fn is_old(&self, now: Timestamp) -> bool {
        !is_within(ACCOUNT_AGE, self.account.read_at, now)
    }
}

fn stored(world: &mut dyn World) -> Result<[Option<Vec<u8>>; 2], Error> {
    Ok([world.state(SETTINGS)?, world.state(ACCOUNT)?])
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
        timestamps: StoredChoice {
            started: settings.timestamps.started.clone(),
            acknowledged: settings.timestamps.acknowledged.clone(),
            resolved: settings.timestamps.resolved.clone(),
        },
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
    timestamps: StoredChoice,
}

object!(StoredSettings {
    "severity_overrides" => List severity_overrides,
    "service_fields" => List service_fields,
    "include_private" => Flag include_private,
    "history_days" => Integer history_days,
    "timestamps" => Object timestamps,
});

/// Identifiers of timestamps.
#[derive(Default)]
struct StoredChoice {
    started: Option<String>,
    acknowledged: Option<String>,
    resolved: Option<String>,
}

object!(StoredChoice {
    "started" => MaybeText started,
    "acknowledged" => MaybeText acknowledged,
    "resolved" => MaybeText resolved,
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
            timestamps: TimestampChoice {
                started: stored.timestamps.started,
                acknowledged: stored.timestamps.acknowledged,
                resolved: stored.timestamps.resolved,
            },
            include_private: stored.include_private,
            history_days: stored.history_days.and_then(|days| u32::try_from(days).ok()),
        }
    }
}

/// Reads the account anew and stores it; answers how many requests that took.
pub fn refresh(world: &mut dyn World, context: &mut Context) -> Result<u32, Error> {
    let account = &mut context.account;
    account.users(world)?;
    let before = account.clone();
    let answers = world.fetch(&[
        client::unpaged("/v1/severities"),
        client::unpaged("/v1/incident_statuses"),
        client::unpaged("/v2/custom_fields"),
        client::unpaged("/v2/incident_timestamps"),
        client::unpaged("/v3/catalog_types"),
        client::users(None),
    ]);
    let mut look = Digest::default();
    for answer in answers.iter().take(4).flatten().filter(|answer| answer.status == 200) {
        look.add(&answer.body);
    }
    let mut answers = answers.into_iter();
    let mut requests = LISTS;
    let mut missing = false;
    let mut next = |world: &mut dyn World, what, key, items: &mut dyn List| {
        let answer = answers.next().unwrap_or_else(no_answer);
        let page = client::page(what, key, answer, world.now(), items);
        readable(world, page, &mut missing)
    };
    let mut severities: Vec<payload::Severity> = Vec::new();
    if next(world, "severities", "severities", &mut severities)?.is_some() {
        account.severities = severities;
    }
    let mut statuses: Vec<payload::Status> = Vec::new();
    if next(world, "incident statuses", "incident_statuses", &mut statuses)?.is_some() {
        account.categories.clear();
        for status in statuses.iter().filter(|status| !status.category.is_empty()) {
            insert_once(&mut account.categories, &status.category);
        }
    }
    let mut fields: Vec<payload::Field> = Vec::new();
    let mut types: Vec<payload::CatalogType> = Vec::new();
    let custom = next(world, "custom fields", "custom_fields", &mut fields)?;
    let mut timestamps: Vec<payload::TimestampName> = Vec::new();
    if next(world, "incident timestamps", "incident_timestamps", &mut timestamps)?.is_some() {
        account.timestamps = timestamps;
    }
    if next(world, "catalog types", "catalog_types", &mut types)?.is_some() && custom.is_some() {
        account.service_fields = service_fields(&fields, &types);
    }
    let mut users: Vec<payload::User> = Vec::new();
    let mut page = next(world, "users", "users", &mut users)?;
    // They are read again if this ends early.
    let mut people = account.users.take().unwrap_or_default();
    if page.is_some() {
        people.clear();
    }
    while let Some(Page { after, .. }) = page {
        for user in users.drain(..) {
            look.add(user.id.as_bytes());
            look.add(user.name.as_deref().unwrap_or_default().as_bytes());
            add(&mut people, user);
        }
        if after.is_none() || requests >= LISTS + USER_PAGES {
            break;
        }
        requests += 1;
        let answer = read_page(world, "users", "users", client::users(after.as_deref()), &mut users);
        page = readable(world, answer, &mut missing)?;
    }
    account.users = OnceCell::from(sorted(people));
    let now = world.now();
    // The first reading comes before any incident.
    account.due |= before.read_at.is_some() && *account != before;
    if missing {
        account.read_at = Some(now.saturating_sub(ACCOUNT_AGE - RETRY_AGE));
    } else {
        (account.read_at, account.look) = (Some(now), Some(look.value()));
    }
    account.store(world)?;
    context.stored_account(world)?;
    Ok(requests)
}

/// None for a list that cannot be read, which is `missing` if another attempt may succeed.
fn readable(
    world: &mut dyn World,
    page: Result<Page, ApiError>,
    missing: &mut bool,
) -> Result<Option<Page>, Error> {
    match page {
        Ok(page) => Ok(Some(page)),
        Err(error @ (ApiError::Unauthorized(_) | ApiError::RateLimited(_))) => Err(error.into()),
        Err(error) => {
            *missing |= !matches!(error, ApiError::Forbidden(_) | ApiError::NotFound);
            let fields = [("why".into(), error.why())];
            world.log(Level::Warn, "a list of the account that cannot be read stays as it was", &fields);
            Ok(None)
        }
    }
}

/// Fields backed by a catalog type of category `service`.
fn service_fields(fields: &[payload::Field], types: &[payload::CatalogType]) -> Vec<String> {
    let is_service =
        |id: &String| types.iter().any(|t| t.id == *id && t.categories.iter().any(|c| c == "service"));
    let backed = fields.iter().filter(|f| f.catalog_type_id.as_ref().is_some_and(is_service));
    backed.map(|f| f.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use crate::model::{
        Applied, IncidentKey, KeyPage, Responder, RevisitPage, SamplePage, ServiceName, StorageError,
        StoredIncident,
    };
    use crate::port::{Answer, Request, Response};
    use crate::sync::event::handle;

    /// The host's limit on one value of the state.
    const LARGEST: usize = 1_000_000;

    /// An account with so many people, a thousand a page, and a host that keeps state.
    #[derive(Default)]
    struct Account {
        people: usize,
        state: BTreeMap<String, Vec<u8>>,
        /// How often people were read.
        asked: usize,
        /// Whether the key may not list people.
        refused: bool,
        /// What their addresses end in.
        domain: &'static str,
        responders: Vec<Responder>,
    }

    impl Account {
        fn answer(&self, request: &Request) -> String {
            let path = &request.path_and_query;
            if !path.starts_with("/v2/users") {
                let list = path.rsplit('/').next().unwrap();
                return format!(r#"{{"{list}":[]}}"#);
            }
            let domain = self.domain;
            let after = path.split("after=").nth(1).map_or(0, |after| after.parse().unwrap());
            let end = self.people.min(after + 1_000);
            let user = |n| format!(r#"{{"id":"{n:026}","email":"{:0>200}@example.com{domain}"}}"#, n);
            let users: Vec<String> = (after..end).map(user).collect();
            let next = if end < self.people { format!(r#""{end}""#) } else { "null".into() };
            format!(r#"{{"users":[{}],"pagination_meta":{{"after":{next}}}}}"#, users.join(","))
        }
    }

    impl World for Account {
        fn now(&self) -> Timestamp {
            7
        }

        fn begin(&mut self, _: &Request) {}

        fn fetch(&mut self, requests: &[Request]) -> Vec<Answer> {
            let answer = |request: &Request| {
                Ok(Response {
                    status: if self.refused && request.path_and_query.starts_with("/v2/users") {
                        403
                    } else {
                        200
                    },
                    headers: Default::default(),
                    body: self.answer(request).into_bytes(),
                })
            };
            requests.iter().map(answer).collect()
        }

        fn commit(&mut self, changes: &[Change]) -> Result<Applied, StorageError> {
            for change in changes {
                let Change::SetState((key, value)) = change else {
                    if let Change::PutIncident(write) = change {
                        self.responders.clone_from(&write.incident.responders);
                    }
                    continue;
                };
                match value {
                    Some(value) if value.len() > LARGEST => return Err(StorageError::Invalid(key.clone())),
                    Some(value) => drop(self.state.insert(key.clone(), value.clone())),
                    None => drop(self.state.remove(key)),
                }
            }
            Ok(Applied::default())
        }

        fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
            self.asked += usize::from(key.starts_with("users/"));
            Ok(self.state.get(key).cloned())
        }

        fn log(&mut self, _: Level, _: &str, _: &[(String, String)]) {}

        fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<StoredIncident>>, StorageError> {
            Ok(alloc::vec![None; keys.len()])
        }

        fn list(&mut self, _: &str, _: Option<&str>, _: u32) -> Result<KeyPage, StorageError> {
            unimplemented!()
        }

        fn list_open(&mut self, _: &str, _: Option<&str>, _: u32) -> Result<KeyPage, StorageError> {
            unimplemented!()
        }

        fn to_revisit(&mut self, _: &str, _: u32) -> Result<RevisitPage, StorageError> {
            unimplemented!()
        }

        fn samples(
            &mut self,
            _: Timestamp,
            _: Timestamp,
            _: Timestamp,
            _: Option<&str>,
        ) -> Result<SamplePage, StorageError> {
            unimplemented!()
        }

        fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError> {
            Ok(alloc::vec![None; emails.len()])
        }

        fn services_by_name(&mut self, _: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError> {
            unimplemented!()
        }

        fn secrets(&mut self, _: &str) -> Vec<String> {
            unimplemented!()
        }
    }

    #[test]
    fn an_account_of_fifty_thousand_people_fits_the_hosts_limits() {
        let mut world = Account { people: 50_000, ..Account::default() };
        let mut context = Context::default();
        refresh(&mut world, &mut context).unwrap();
        assert_eq!(context.account.users(&mut world).unwrap().len(), 50_000);
        let loaded = Context::load(&mut world).unwrap().account;
        loaded.users(&mut world).unwrap();
        assert_eq!(loaded, context.account);

        world.people = 10;
        refresh(&mut world, &mut context).unwrap();
        assert_eq!(Context::load(&mut world).unwrap().account.users(&mut world).unwrap().len(), 10);
        assert_eq!(world.state.len(), 2, "the account and one shard: {:?}", world.state.keys());
    }

    #[test]
    fn an_account_with_more_shards_than_it_can_have_is_damaged_and_they_are_not_counted_through() {
        for shards in [-1, MOST_SHARDS + 1, i64::MAX] {
            let mut world = Account::default();
            let account = super::Account { shards: Some(shards), ..super::Account::default() };
            world.commit(&[write_state(ACCOUNT, &account)]).unwrap();
            let loaded = Context::load(&mut world).map(drop);
            assert!(
                matches!(loaded, Err(Error::Storage(StorageError::Unavailable(why))) if why.contains("damaged")),
                "{shards}"
            );
        }
    }

    #[test]
    fn people_of_whom_none_was_asked_for_are_compared_with_those_read_anew() {
        let mut world = Account { people: 20, ..Account::default() };
        refresh(&mut world, &mut Context::default()).unwrap();
        let mut read_anew = |domain, refused| {
            (world.domain, world.refused) = (domain, refused);
            let mut context = Context::load(&mut world).unwrap();
            refresh(&mut world, &mut context).unwrap();
            let known = Context::load(&mut world).unwrap().account.email(&mut world, &format!("{:026}", 7));
            (context.account.due, known.unwrap())
        };
        let address = |domain| Some(format!("{:0>200}@example.com{domain}", 7));
        assert_eq!(read_anew("", false), (false, address("")), "nobody has another address");
        assert_eq!(read_anew(".au", true), (false, address("")), "who may not be listed stays");
        assert_eq!(read_anew(".au", false), (true, address(".au")));
    }

    #[test]
    fn people_are_read_for_an_address_that_the_incident_lacks_and_for_nothing_else() {
        let mut world = Account { people: 20, ..Account::default() };
        refresh(&mut world, &mut Context::default()).unwrap();
        let mut deliver = |assignee: &str| {
            world.asked = 0;
            let kind = "public_incident.incident_updated_v2";
            let body = format!(
                r#"{{"event_type":"{kind}","{kind}":{{"id":"01X","name":"N","visibility":"public","created_at":
                "2026-01-01T00:00:00Z","updated_at":"2026-01-01T01:00:00Z","incident_status":{{"name":"Fixing",
                "category":"active"}},"incident_role_assignments":[{{"role":{{"name":"Lead"}},"assignee":{{
                "id":"{:026}","name":"Robin"{assignee}}}}}]}}}}"#,
                7
            );
            handle(&mut world, body.as_bytes()).unwrap();
            (world.asked, world.responders.first().and_then(|one| one.email.clone()))
        };
        assert_eq!(deliver(r#","email":"robin@example.com""#), (0, Some("robin@example.com".into())));
        let (asked, email) = deliver("");
        assert_eq!((asked, email), (1, Some(format!("{:0>200}@example.com", 7))));
    }
}
