use super::*;
use crate::contract::ServiceName;
use crate::port::{Ambiguity, Directory, HostService, HostUser, Imported};

fn user(id: &str, email: &str) -> HostUser {
    HostUser { id: id.into(), email: email.into(), name: None }
}

fn entry(id: &str, name: &str, external_ids: &[&str], aliases: &[&str]) -> HostService {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    HostService {
        id: id.into(),
        name: name.into(),
        external_ids: owned(external_ids),
        aliases: owned(aliases),
    }
}

fn wanted(name: &str, external_id: Option<&str>, aliases: &[&str]) -> ServiceName {
    let aliases = aliases.iter().map(|text| (*text).to_owned()).collect();
    ServiceName { name: name.into(), external_id: external_id.map(Into::into), aliases }
}

#[tokio::test]
async fn users_are_found_without_regard_to_case() {
    let store = fixture().await;
    let acme = org("acme");
    store
        .import_users(&acme, vec![user("u1", "Ada@Example.com"), user("u2", "bob@example.com")])
        .await
        .unwrap();
    let emails = ["BOB@example.com", "nobody@example.com", "ada@example.COM"].map(str::to_owned);
    let found = store.users_by_email(&acme, &emails).await.unwrap();
    assert_eq!(found, [Some("u2".into()), None, Some("u1".into())]);
    assert_eq!(store.users_by_email(&org("beta"), &emails).await.unwrap(), [None, None, None]);
    assert!(store.users_by_email(&acme, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn services_are_found_by_external_id_then_name_then_alias() {
    let store = fixture().await;
    let acme = org("acme");
    let services = vec![
        entry("s1", "Payments API", &["ext-1"], &["money"]),
        entry("s2", "Money", &["ext-2"], &["Check_Out"]),
        entry("s3", "---", &[""], &[""]),
    ];
    store.import_services(&acme, services).await.unwrap();
    for (name, expected) in [
        (wanted("Money", Some("ext-1"), &[]), Some("s1")),
        (wanted("Money", Some("EXT-1"), &[]), Some("s2")),
        (wanted("payments__api", None, &["money"]), Some("s1")),
        (wanted("check-out", None, &[]), Some("s2")),
        (wanted("unknown", None, &["Payments  API"]), Some("s1")),
        (wanted("unknown", None, &["none", "check out"]), Some("s2")),
        (wanted("", Some(""), &["_"]), None),
        (wanted("unknown", Some("ext-9"), &[]), None),
    ] {
        let found = store.services_by_name(&acme, std::slice::from_ref(&name)).await.unwrap();
        assert_eq!(found[0].as_deref(), expected, "{name:?}");
        assert_eq!(store.services_by_name(&org("beta"), &[name]).await.unwrap(), [None]);
    }
}

#[tokio::test]
async fn an_import_counts_and_replaces() {
    let store = fixture().await;
    let acme = org("acme");
    let imported = |added, updated, unchanged| Imported { added, updated, unchanged };
    let first = vec![entry("s1", "One", &[], &["uno"]), entry("s2", "Two", &[], &[])];
    assert_eq!(store.import_services(&acme, first).await.unwrap(), imported(2, 0, 0));
    let second = vec![
        entry("s1", "One", &[], &["eins"]),
        entry("s2", "Two", &[], &[]),
        entry("s3", "Three", &[], &[]),
    ];
    assert_eq!(store.import_services(&acme, second).await.unwrap(), imported(1, 1, 1));
    let found =
        store.services_by_name(&acme, &[wanted("uno", None, &[]), wanted("eins", None, &[])]).await.unwrap();
    assert_eq!(found, [None, Some("s1".into())]);

    assert_eq!(store.import_users(&acme, vec![user("u1", "a@b.c")]).await.unwrap(), imported(1, 0, 0));
    let second = vec![user("u1", "a@b.d"), user("u1", "a@b.d")];
    assert_eq!(store.import_users(&acme, second).await.unwrap(), imported(0, 1, 1));
}

#[tokio::test]
async fn a_name_that_several_services_have_is_told_and_links_to_none() {
    let store = fixture().await;
    let acme = org("acme");
    let services = vec![
        entry("component:default/api", "api", &["component:default/api", "api"], &[]),
        entry("component:payments/api", "API", &["component:payments/api", "api"], &[]),
        entry("s3", "Search", &[], &["find", "api"]),
        entry("s4", "Mail", &[], &["find"]),
    ];
    store.import_services(&acme, services).await.unwrap();
    for (name, expected) in [
        (wanted("api", None, &[]), None),
        (wanted("unknown", Some("api"), &[]), None),
        (wanted("find", None, &[]), None),
        (wanted("api", Some("component:payments/api"), &[]), Some("component:payments/api")),
        (wanted("search", None, &[]), Some("s3")),
    ] {
        let found = store.services_by_name(&acme, std::slice::from_ref(&name)).await.unwrap();
        assert_eq!(found[0].as_deref(), expected, "{name:?}");
    }
    let told = store.ambiguous_services(&acme).await.unwrap();
    let told: Vec<(&str, Vec<&str>)> =
        told.iter().map(|one| (one.name.as_str(), one.ids.iter().map(String::as_str).collect())).collect();
    assert_eq!(
        told,
        [("api", vec!["component:default/api", "component:payments/api"]), ("find", vec!["s3", "s4"])]
    );
    assert_eq!(store.ambiguous_services(&org("beta")).await.unwrap(), []);
}

#[tokio::test]
async fn an_address_that_several_users_have_is_told() {
    let store = fixture().await;
    let acme = org("acme");
    let users =
        vec![user("u2", "Ann@example.com"), user("u1", "ann@example.com"), user("u3", "bo@example.com")];
    store.import_users(&acme, users).await.unwrap();
    let told = store.ambiguous_users(&acme).await.unwrap();
    let expected = Ambiguity { name: "ann@example.com".into(), ids: vec!["u1".into(), "u2".into()] };
    assert_eq!(told, [expected]);
    assert_eq!(store.ambiguous_users(&org("beta")).await.unwrap(), []);
}

#[tokio::test]
async fn entity_references_are_compared_as_backstage_compares_them() {
    let store = fixture().await;
    let acme = org("acme");
    let services = vec![
        entry("s1", "Payments API", &["component:default/payments-api"], &[]),
        entry("s2", "Search", &["Component:Money/Search"], &[]),
    ];
    store.import_services(&acme, services).await.unwrap();
    for (name, external_id, expected) in [
        ("x", Some("Component:Default/Payments-API"), Some("s1")),
        ("x", Some("default/payments-api"), Some("s1")),
        ("x", Some("component:payments-api"), Some("s1")),
        ("component:default/Payments-api", None, Some("s1")),
        ("x", Some("component:money/search"), Some("s2")),
        ("x", Some("money/SEARCH"), Some("s2")),
        ("x", Some("component:other/search"), None),
        ("x", Some("api:default/payments-api"), None),
        ("x", Some("payments-api"), None),
    ] {
        let found = store.services_by_name(&acme, &[wanted(name, external_id, &[])]).await.unwrap();
        assert_eq!(found[0].as_deref(), expected, "{name} {external_id:?}");
    }
}
