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
use crate::model::{Connection, Error, Settings};
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
        return Err(Error::Invalid(format!(
            "the key belongs to the account `{account}`, this organisation's incidents to `{known}`; connect it as \
             another organisation, or move this one to that account"
        )));
    }
    client::body(&INCIDENTIO, "incidents", fetch_one(world, probe), now)?;
    let connection = Connection {
        account,
        account_url: identity.dashboard_url,
        key_name: identity.name,
        warnings: warnings(&identity.roles, settings),
        roles: identity.roles,
    };
    let mut context = Context::load(world)?;
    // Before any record is derived. A new key may see more of the account than the last one.
    context::refresh(world, &mut context)?;
    let mut changes = Vec::from([context::settings_change(settings)]);
    changes.extend(poll::first_watermark(world, now)?);
    world.commit(&changes)?;
    Ok(connection)
}

/// What the key's roles mean for the sync. Roles: <https://docs.incident.io/api-reference/introduction>.
fn warnings(roles: &[String], settings: &Settings) -> Vec<String> {
    let has = |role: &str| roles.iter().any(|r| r == role);
    let mut warnings = Vec::new();
    let reads = |role: &str| {
        role == "viewer" || role == "global_access" || role.ends_with("_viewer") || role.ends_with("_reader")
    };
    let mut list = String::new();
    for role in roles.iter().filter(|role| !reads(role)) {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(role);
    }
    if !list.is_empty() {
        warnings.push(format!(
            "The key can do more than reading ({list}); a key with read-only roles is enough."
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
    fn a_key_is_told_what_it_cannot_see_and_what_it_should_not_do() {
        check(&["viewer", "catalog_viewer", "global_access"], true, &[]);
        check(&["viewer", "catalog_viewer"], false, &["private incidents"]);
        check(&["viewer", "catalog_viewer"], true, &["although the settings ask"]);
        check(&["viewer", "global_access"], false, &["catalog_viewer"]);
        check(&["viewer", "catalog_viewer", "global_access", "incident_editor"], false, &["incident_editor"]);
        check(&["viewer", "catalog_viewer", "global_access", "schedules_reader"], false, &[]);
    }
}
