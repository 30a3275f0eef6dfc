use super::*;
use crate::contract::{AccountTimestamp, Connection, ServiceName, TimestampChoice};
use crate::port::{Directory, HostService, HostUser, JobKind, Jobs, OriginMapping, Sealed, StoreError};

#[tokio::test]
async fn an_organisation_comes_back_as_it_was_put() {
    let store = fixture().await;
    let mut acme = organisation("acme", OrganisationState::Refused);
    acme.connection = Some(Connection {
        account: "acme".into(),
        account_url: Some("https://app.example".into()),
        key_name: "koalr".into(),
        roles: vec!["viewer".into()],
        timestamps: vec![AccountTimestamp { id: "01T".into(), name: "Resolved at".into() }],
        chosen: TimestampChoice { resolved: Some("01T".into()), ..TimestampChoice::default() },
        warnings: Vec::new(),
    });
    acme.origin_map = vec![OriginMapping { from: "https://a".into(), to: "http://b".into() }];
    acme.connected_at = Some(7);
    store.commit(&acme.id, vec![put(incident("1"), None)], None).await.unwrap();
    store.put_organisation(&acme).await.unwrap();
    assert_eq!(store.organisation(&acme.id).await.unwrap().as_ref(), Some(&acme));
    assert_eq!(revision(&store, "1").await, Some(1), "its records stay");
    assert_eq!(store.organisation(&org("nobody")).await.unwrap(), None);
    let all = store.organisations().await.unwrap();
    assert_eq!(all, [acme, organisation("beta", OrganisationState::Live)]);
    for (text, limit, expected, total) in [
        ("", 9, vec!["acme", "beta"], 2),
        ("", 1, vec!["acme"], 2),
        ("ET", 9, vec!["beta"], 1),
        ("%", 9, vec![], 0),
    ] {
        let (found, all) = store.find_organisations(text, limit).await.unwrap();
        let found: Vec<&str> = found.iter().map(|one| one.id.as_str()).collect();
        assert_eq!((found, all), (expected, total), "{text}");
    }
}

#[tokio::test]
async fn those_that_were_disconnected_are_not_counted_as_connected() {
    let store = fixture().await;
    store.put_organisation(&organisation("gamma", OrganisationState::Refused)).await.unwrap();
    assert_eq!(store.count_connected().await.unwrap(), 3);
    store.disconnect_organisation(&org("acme"), 1).await.unwrap();
    assert_eq!(store.count_connected().await.unwrap(), 2);
    assert_eq!(store.organisations().await.unwrap().len(), 3);
}

#[tokio::test]
async fn secrets_are_replaced_as_a_whole_and_kept_apart() {
    let store = fixture().await;
    let (acme, beta) = (org("acme"), org("beta"));
    let sealed = |bytes: &[u8]| Sealed(bytes.to_vec());
    store.put_secret(&acme, "signing", vec![sealed(b"new"), sealed(b"old")]).await.unwrap();
    assert_eq!(store.secret(&acme, "signing").await.unwrap(), [sealed(b"new"), sealed(b"old")]);
    assert!(store.secret(&beta, "signing").await.unwrap().is_empty());
    assert!(store.secret(&acme, "api-key").await.unwrap().is_empty());
    store.put_secret(&acme, "signing", Vec::new()).await.unwrap();
    assert!(store.secret(&acme, "signing").await.unwrap().is_empty());

    assert_eq!(store.data_key(&acme).await.unwrap(), None);
    assert_eq!(store.put_data_key(&acme, sealed(b"first")).await.unwrap(), sealed(b"first"));
    assert_eq!(store.put_data_key(&acme, sealed(b"second")).await.unwrap(), sealed(b"first"));
    assert_eq!(store.data_key(&beta).await.unwrap(), None);
    let unknown = store.put_data_key(&org("nobody"), sealed(b"x")).await;
    assert!(matches!(unknown, Err(StoreError::Invalid(_))), "{unknown:?}");
}

#[tokio::test]
async fn nothing_of_a_removed_organisation_stays() {
    let store = fixture().await;
    store.remove_organisation(&org("beta")).await.unwrap();
    let acme = org("acme");
    let mut record = incident("1");
    record.services = vec![service("api", None)];
    let state = Change::SetState(("cursor".into(), Some(vec![1])));
    let changes = vec![put(record, None), Change::PutTimelineEvent(event("1", "a", 5)), state];
    store.commit(&acme, changes, None).await.unwrap();
    store.put_data_key(&acme, Sealed(vec![1])).await.unwrap();
    store.put_secret(&acme, "api-key", vec![Sealed(vec![1])]).await.unwrap();
    store.accept(&acme, delivery("msg_1", 1)).await.unwrap();
    store.put_job(&acme, JobKind::Poll, 1, None, 0).await.unwrap();
    store
        .import_users(&acme, vec![HostUser { id: "u".into(), email: "e".into(), name: None }])
        .await
        .unwrap();
    let entry = HostService {
        id: "s".into(),
        name: "n".into(),
        external_ids: vec!["x".into()],
        aliases: vec!["a".into()],
    };
    store.import_services(&acme, vec![entry]).await.unwrap();

    let filled = tables_with_rows(&store).await;
    assert_eq!(filled.len(), 15, "this test puts a row into every table: {filled:?}");
    store.remove_organisation(&acme).await.unwrap();
    assert_eq!(tables_with_rows(&store).await, Vec::<String>::new());
}

/// But for those that belong to no organisation.
async fn tables_with_rows(store: &SqliteStore) -> Vec<String> {
    let read = |connection: &rusqlite::Connection| {
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('schema_version', 'turn', 'age')";
        let mut tables = connection.prepare(tables)?;
        let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut filled = Vec::new();
        for table in tables {
            if connection.prepare(&format!("SELECT 1 FROM {table}"))?.exists([])? {
                filled.push(table);
            }
        }
        Ok(filled)
    };
    store.read(read).await.unwrap()
}

#[tokio::test]
async fn an_older_connection_that_fails_takes_nothing_from_a_newer_one() {
    let store = fixture().await;
    let acme = org("acme");
    // A second connect, begun before the first was accepted.
    store.remove_pending_organisation(&acme, 1).await.unwrap();
    assert!(store.organisation(&acme).await.unwrap().is_some());
    // The former key is refused after another was accepted.
    assert!(!store.refuse_organisation(&acme, Some(7)).await.unwrap());
    assert_eq!(store.organisation(&acme).await.unwrap().unwrap().state, OrganisationState::Live);
    assert!(store.refuse_organisation(&acme, None).await.unwrap());
    assert_eq!(store.organisation(&acme).await.unwrap().unwrap().state, OrganisationState::Refused);

    store.put_organisation(&organisation("new", OrganisationState::Pending)).await.unwrap();
    store.remove_pending_organisation(&org("new"), 2).await.unwrap();
    assert!(store.organisation(&org("new")).await.unwrap().is_some(), "another one was begun since");
    store.remove_pending_organisation(&org("new"), 1).await.unwrap();
    assert!(store.organisation(&org("new")).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_linked_by_hand_takes_nothing_from_what_is_known() {
    let store = fixture().await;
    let acme = org("acme");
    let user =
        |id: &str, email: &str| HostUser { id: id.into(), email: email.into(), name: Some("A".into()) };
    store.import_users(&acme, vec![user("u1", "ada@example.com")]).await.unwrap();
    let service = HostService {
        id: "s1".into(),
        name: "Checkout".into(),
        external_ids: vec!["ext".into()],
        aliases: vec!["shop".into()],
    };
    store.import_services(&acme, vec![service]).await.unwrap();
    for (address, id) in [("Ada@old.example", "u1"), ("ada@home.example", "u1"), ("new@example.com", "u2")] {
        store.link_user(&acme, address, id).await.unwrap();
    }
    for (name, id) in [("checkout-api", "s1"), ("till", "s1"), ("fresh", "s2")] {
        store.link_service(&acme, name, id).await.unwrap();
    }
    let addresses =
        ["ada@example.com", "ada@OLD.example", "ada@home.example", "new@example.com", "who@example.com"];
    let found = store.users_by_email(&acme, &addresses.map(String::from)).await.unwrap();
    assert_eq!(
        found.iter().map(Option::as_deref).collect::<Vec<_>>(),
        [Some("u1"), Some("u1"), Some("u1"), Some("u2"), None]
    );
    let name = |name: &str| ServiceName { external_id: None, name: name.into(), aliases: vec![] };
    let names = ["Checkout", "shop", "checkout-api", "till", "fresh", "other"].map(name);
    let found = store.services_by_name(&acme, &names).await.unwrap();
    assert_eq!(
        found.iter().map(Option::as_deref).collect::<Vec<_>>(),
        [Some("s1"), Some("s1"), Some("s1"), Some("s1"), Some("s2"), None]
    );
}
