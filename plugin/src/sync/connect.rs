//! Connecting: is the key good, whose is it, what can it not see, what can it do that it should not.
//!
//! A key of another account than the one that is expected is refused before anything is written.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::context::{self, Context};
use super::{fetch_one, poll};
use crate::incidentio::client::{self, INCIDENTIO};
use crate::incidentio::payload;
use crate::model::{AccountTimestamp, Connection, Error, Settings, TimestampChoice};
use crate::port::World;
use koalr_codec::json::{self, Slot, object};

#[derive(Default)]
struct IdentityAnswer {
    identity: payload::Identity,
}

object!(IdentityAnswer { "identity" => Object identity });

/// Checks the key and, only if it is good and of the account that is expected, stores the settings and the point from
/// which polls catch up.
pub fn connect(
    world: &mut dyn World,
    settings: &Settings,
    expected: Option<&str>,
) -> Result<Connection, Error> {
    let now = world.now();
    // The identity needs no permission, so a list of one tells whether incidents can be read at all.
    let probe = client::incidents(now, now, &[], 1, None);
    let what = "the key's identity";
    let body = client::body(&INCIDENTIO, what, fetch_one(world, client::identity()), now)?;
    let mut answer = IdentityAnswer::default();
    json::read(&body, Slot::Object(&mut answer))
        .map_err(|why| client::unreadable(&INCIDENTIO, what, &why))?;
    let identity = answer.identity;
    // Whatever answers 200 with some JSON is not the provider.
    let Some(account) = client::account_slug(identity.dashboard_url.as_deref()) else {
        return Err(client::unreadable(&INCIDENTIO, what, "it names no account").into());
    };
    if let Some(known) = expected.filter(|known| *known != account) {
        return Err(Error::AnotherAccount(format!(
            "the key belongs to the account `{account}`, this organisation's incidents to `{known}`; connect it as \
             another organisation, or move this one to that account"
        )));
    }
    client::body(&INCIDENTIO, "incidents", fetch_one(world, probe), now)?;
    let mut connection = Connection {
        account,
        timestamps: Vec::new(),
        chosen: TimestampChoice::default(),
        account_url: identity.dashboard_url,
        key_name: identity.name,
        warnings: warnings(&identity.roles, settings),
        roles: identity.roles,
    };
    let mut context = Context::load(world)?;
    // Before any record is derived. A new key may see more of the account than the last one.
    context::refresh(world, &mut context)?;
    connection.chosen = chosen(&settings.timestamps, &context)?;
    for payload::TimestampName { id, name } in &context.account.timestamps {
        connection.timestamps.push(AccountTimestamp { id: id.clone(), name: name.clone() });
    }
    let settings = Settings { timestamps: connection.chosen.clone(), ..settings.clone() };
    let mut changes = Vec::from([context::settings_change(&settings)]);
    changes.extend(poll::first_watermark(world, now)?);
    world.commit(&changes)?;
    Ok(connection)
}

/// What the settings call timestamps, as identifiers. One that is set already may have been deleted at the provider since.
fn chosen(wanted: &TimestampChoice, context: &Context) -> Result<TimestampChoice, Error> {
    let known = &context.account.timestamps;
    let TimestampChoice { started, acknowledged, resolved } = &context.settings.timestamps;
    let identifier = |wanted: &Option<String>, before: &Option<String>| {
        let Some(wanted) = wanted else { return Ok(None) };
        let name = wanted.trim_ascii();
        let by_name = || known.iter().find(|one| one.name.trim_ascii().eq_ignore_ascii_case(name));
        match known.iter().find(|one| one.id == name).or_else(by_name) {
            Some(found) => Ok(Some(found.id.clone())),
            None if before.as_ref() == Some(wanted) => Ok(Some(wanted.clone())),
            None if known.is_empty() => Err(Error::Invalid(format!(
                "whether the account has a timestamp `{name}` is not known: the list of its timestamps is empty or could \
                 not be read"
            ))),
            None => Err(Error::Invalid(format!(
                "the account has no timestamp `{name}`; it has {}",
                list(known.iter().map(|one| one.name.as_str()))
            ))),
        }
    };
    let chosen = TimestampChoice {
        started: identifier(&wanted.started, started)?,
        acknowledged: identifier(&wanted.acknowledged, acknowledged)?,
        resolved: identifier(&wanted.resolved, resolved)?,
    };
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    if same(&chosen.started, &chosen.acknowledged)
        || same(&chosen.started, &chosen.resolved)
        || same(&chosen.acknowledged, &chosen.resolved)
    {
        return Err(Error::Invalid("one timestamp cannot tell two moments of an incident".into()));
    }
    Ok(chosen)
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut list = String::new();
    for name in names {
        list.push_str(if list.is_empty() { "" } else { ", " });
        list.push_str(name);
    }
    list
}

/// What the key's roles mean for the sync. Roles: <https://docs.incident.io/api-reference/introduction>.
fn warnings(roles: &[String], settings: &Settings) -> Vec<String> {
    let has = |role: &str| roles.iter().any(|r| r == role);
    let mut warnings = Vec::new();
    let reads = |role: &str| {
        role == "viewer" || role == "global_access" || role.ends_with("_viewer") || role.ends_with("_reader")
    };
    let more = list(roles.iter().map(String::as_str).filter(|role| !reads(role)));
    if !more.is_empty() {
        warnings.push(format!(
            "The key can do more than reading ({more}); a key with read-only roles is enough."
        ));
    }
    if !has("catalog_viewer") && !has("catalog_editor") {
        warnings.push(
            "The key cannot read the catalog (role catalog_viewer): services are found only by the name of their \
             custom field or by the setting."
                .into(),
        );
    }
    match (has("global_access"), settings.include_private) {
        (false, true) => warnings.push(
            "The key cannot see private incidents (role global_access), although the settings ask for them."
                .into(),
        ),
        (false, false) => {
            warnings
                .push("The key cannot see private incidents (role global_access); they are left out.".into());
        }
        (true, _) => {}
    }
    warnings
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn check(roles: &[&str], include_private: bool, expected: &[&str]) {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        let settings = Settings { include_private, ..Settings::default() };
        let got = warnings(&roles, &settings);
        assert_eq!(got.len(), expected.len(), "{got:?}");
        for (got, expected) in got.iter().zip(expected) {
            assert!(got.contains(expected), "{got} should mention {expected}");
        }
    }

    #[test]
    fn a_timestamp_that_is_set_stays_when_the_account_does_not_have_it_any_more() {
        let mut context = Context::default();
        let wanted = |id: &str| TimestampChoice { resolved: Some(id.into()), ..TimestampChoice::default() };
        context.settings.timestamps = wanted("gone");
        assert_eq!(chosen(&wanted("gone"), &context).unwrap().resolved.as_deref(), Some("gone"));
        let refused = chosen(&wanted("Over"), &context).map(drop);
        assert!(matches!(refused, Err(Error::Invalid(why)) if why.contains("could not be read")));
        context.account.timestamps =
            Vec::from([payload::TimestampName { id: "1".into(), name: "Over".into() }]);
        assert_eq!(chosen(&wanted("over"), &context).unwrap().resolved.as_deref(), Some("1"));
        let refused = chosen(&wanted("Under"), &context).map(drop);
        assert!(matches!(refused, Err(Error::Invalid(why)) if why.ends_with("`Under`; it has Over")));
    }

    #[test]
    fn a_key_is_told_what_it_cannot_see_and_what_it_should_not_do() {
        check(&["viewer", "catalog_viewer", "global_access"], true, &[]);
        check(&["viewer", "catalog_viewer"], false, &["private incidents"]);
        check(&["viewer", "catalog_viewer"], true, &["although the settings ask"]);
        check(&["viewer", "global_access"], false, &["catalog_viewer"]);
        check(&["viewer", "catalog_viewer", "global_access", "incident_editor"], false, &["incident_editor"]);
        check(&["viewer", "catalog_viewer", "global_access", "schedules_reader"], false, &[]);
    }
}
