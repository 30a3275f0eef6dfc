use super::*;
use crate::port::{Accepted, JobKind, Jobs, Population, Reports, StoreError};
use crate::sqlite::fault::Fault;

#[tokio::test]
async fn opening_again_changes_nothing() {
    let store = fixture().await;
    store.commit(&org("acme"), vec![put(incident("1"), None)], None).await.unwrap();
    let versions = "SELECT count(*), max(version) FROM schema_version";
    let read = |connection: &rusqlite::Connection| {
        Ok(connection.query_row(versions, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?)
    };
    let before = store.read(read).await.unwrap();
    let again = SqliteStore::open(store.path()).unwrap();
    assert_eq!(revision(&again, "1").await, Some(1));
    assert_eq!(again.read(read).await.unwrap(), before);
}

#[tokio::test]
async fn a_database_of_the_first_version_keeps_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.db");
    let mut record = serde_json::to_value(incident("1")).unwrap();
    for later in ["withheld", "not_visible", "first_resolved_at", "unknown_timestamp", "reopenings", "pauses"]
    {
        record.as_object_mut().unwrap().remove(later);
    }
    let old = rusqlite::Connection::open(&path).unwrap();
    let versions =
        "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;
        INSERT INTO schema_version VALUES (1, 0);";
    old.execute_batch(versions).unwrap();
    old.execute_batch(include_str!("../migrations/0001.sql")).unwrap();
    old.execute("INSERT INTO organisation VALUES ('acme', 1, NULL, '{}', '[]', 0, 0)", []).unwrap();
    let others = "INSERT INTO organisation VALUES
        ('refused', 2, NULL, '{}', '[]', 0, 0), ('disconnected', 3, NULL, '{}', '[]', 0, NULL)";
    old.execute(others, []).unwrap();
    let insert = "INSERT INTO incident (org, source, id, revision, updated_at, created_at, phase, mode, private, search,
            labels, branch, scan_at, revisit, record, facts)
        VALUES ('acme', 'incidentio', '1', 1, 0, 0, 1, 0, 0, '', x'', 0, 0, 0, ?1, x'')";
    old.execute(insert, [record.to_string()]).unwrap();
    let names = [" Zahlung__Öffentlich -API", "plain", "a\tb\u{a0}c", "支払い\u{3000} 基盤\u{2003}API", "--"];
    for name in names {
        let insert = "INSERT INTO label (org, name, folded, service) VALUES ('acme', ?1, ?2, '')";
        old.execute(insert, [name, &name.to_lowercase()]).unwrap();
    }
    old.execute("INSERT INTO service VALUES ('acme', 's', 'Pay Ments', 'pay ments', '{}')", []).unwrap();
    drop(old);
    let store = SqliteStore::open(&path).unwrap();
    let acme = org("acme");
    assert_eq!(store.find_incident(&acme, "1").await.unwrap().unwrap(), incident("1"));
    let rederive = async |id: &str| store.job(&org(id), JobKind::Rederive).await.unwrap();
    let due = async || {
        let due = store.claim_due(9, LEASE, 1_000).await.unwrap();
        due.into_iter().map(|(lease, _)| lease.org.to_string()).collect::<Vec<_>>()
    };
    for id in ["acme", "refused"] {
        assert_eq!(
            rederive(id).await.unwrap().run_at,
            Some(0),
            "{id}: the rules of its times are other ones now"
        );
    }
    assert_eq!(rederive("disconnected").await, None, "whoever connects it schedules it");
    assert_eq!(due().await, ["acme"]);
    store.put_organisation(&organisation("refused", OrganisationState::Live)).await.unwrap();
    assert_eq!(due().await, ["refused"], "it waits until the provider takes its key again");
    let now = Population { since: 10, until: 20, now: 15 };
    let page = store.scan_samples(&acme, now, None).await.unwrap();
    assert_eq!(page.samples.len(), 1, "what has no time that can be believed is in no other population");
    // What was folded by the former rule is found by the present one.
    for name in names {
        assert_eq!(store.services_named(&acme, name).await.unwrap(), [name], "{name:?}");
    }
    assert_eq!(store.services_named(&acme, "PAY-MENTS").await.unwrap(), ["Pay Ments"]);
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let store = fixture().await;
    let insert = "INSERT INTO schema_version VALUES (99, 0)";
    store.write(move |connection| Ok(connection.execute(insert, [])?)).await.unwrap();
    match SqliteStore::open(store.path()) {
        Err(StoreError::Invalid(text)) => {
            assert!(text.contains("koalr.db has version 99") && text.contains("newer program"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_our_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "these are notes, not a database; ".repeat(100)).unwrap();
    assert!(matches!(SqliteStore::open(&text), Err(StoreError::Corrupt(_))));

    let other = directory.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(matches!(SqliteStore::open(&other), Err(StoreError::Invalid(_))));

    let missing = directory.path().join("missing").join("koalr.db");
    match SqliteStore::open(&missing) {
        Err(StoreError::Invalid(text)) => assert!(text.contains("missing/koalr.db"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_touched_that_is_not_our_database() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mode = |name: &str| std::fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
    let chmod = |name: &str, mode| {
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let listed = || {
        let all = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name());
        all.collect::<std::collections::BTreeSet<_>>()
    };
    std::fs::create_dir(at("directory")).unwrap();
    std::fs::write(at("short.txt"), "notes\n").unwrap();
    std::fs::write(at("long.txt"), "these are notes, not a database; ".repeat(1_000)).unwrap();
    std::os::unix::fs::symlink(at("long.txt"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
    let _listening = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    rusqlite::Connection::open(at("other.db")).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let modes = [("directory", 0o755), ("short.txt", 0o644), ("long.txt", 0o664), ("socket", 0o777)];
    let modes = modes.into_iter().chain([("other.db", 0o644)]);
    for (name, mode) in modes.clone() {
        chmod(name, mode);
    }
    let files = ["short.txt", "long.txt", "other.db"];
    let read = || files.map(|name| std::fs::read(at(name)).unwrap());
    let (before, there) = (read(), listed());
    for name in ["directory", "short.txt", "long.txt", "link", "dangling", "socket", "other.db"] {
        let error = SqliteStore::open(at(name)).unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_) | StoreError::Corrupt(_)), "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    for (name, kept) in modes {
        assert_eq!(mode(name), kept, "{name}");
    }
    assert!(read() == before, "a file was written to");
    assert_eq!(listed(), there, "nothing is left beside");
}

#[cfg(unix)]
#[tokio::test]
async fn a_write_protected_database_is_refused_and_others_lose_their_rights_to_one_that_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let store = fixture().await;
    let path = store.path();
    let chmod = |mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let mode = || std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    chmod(0o444);
    match SqliteStore::open(path) {
        Err(StoreError::Invalid(text)) => assert!(text.contains("write-protected"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(mode(), 0o444);
    chmod(0o664);
    SqliteStore::open(path).unwrap();
    assert_eq!(mode(), 0o600);
    // By a link it is the same file.
    chmod(0o644);
    let link = store.directory.path().join("link.db");
    std::os::unix::fs::symlink(path, &link).unwrap();
    let linked = SqliteStore::open(&link).unwrap();
    assert_eq!((mode(), linked.organisations().await.unwrap().len()), (0o600, 2));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let store = fixture().await;
    let mut files = 0;
    for file in std::fs::read_dir(store.directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        files += 1;
    }
    assert_eq!(files, 3, "the database, its log and its index");
}

#[tokio::test]
async fn a_failing_piece_of_a_group_harms_none_of_its_neighbours() {
    let store = fixture().await;
    let set = |key: &'static str| {
        move |connection: &rusqlite::Connection| {
            let insert = "INSERT INTO state (org, key, value) VALUES ('acme', ?1, x'01')";
            connection.execute(insert, [key])?;
            Ok(())
        }
    };
    // The first piece holds the writer until all others wait, so that they form one group. It may be in it, and is done
    // twice then.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holding = store.write(move |_| {
        held.recv().map_err(|_| Fault::conflict())?;
        Ok(())
    });
    let good = store.write(set("before"));
    let refused = store.write(move |connection| {
        set("refused")(connection)?;
        Err::<(), Fault>(Fault::conflict())
    });
    let faulty = store.write(|connection| Ok(connection.execute("INSERT INTO nowhere VALUES (1)", [])?));
    let panicking = store.write::<(), _>(move |connection| {
        set("panicked")(connection)?;
        panic!("a defect")
    });
    let late = store.write(set("after"));
    let all_wait = async {
        release.send(()).unwrap();
        let _ = release.send(());
    };
    let (held, good, refused, faulty, panicking, late, ()) =
        tokio::join!(biased; holding, good, refused, faulty, panicking, late, all_wait);
    assert!(held.is_ok() && good.is_ok() && late.is_ok());
    assert!(matches!(refused, Err(StoreError::Conflict)));
    assert!(faulty.is_err());
    assert!(panicking.is_err());
    for (key, stored) in [("before", true), ("refused", false), ("panicked", false), ("after", true)] {
        assert_eq!(store.state(&org("acme"), key).await.unwrap().is_some(), stored, "{key}");
    }
}

#[tokio::test]
async fn a_transaction_that_sqlite_gave_up_fails_the_whole_group() {
    // The second time another piece of the group fails before, so that all is done again.
    for again in [false, true] {
        let store = fixture().await;
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holding = store.write(move |_| {
            let _ = held.recv();
            Ok(())
        });
        let refused = store.write::<(), _>(move |_| if again { Err(Fault::conflict()) } else { Ok(()) });
        let insert = "INSERT INTO state (org, key, value) VALUES ('acme', 'lost', x'01')";
        let lost = store.write(move |connection| Ok(connection.execute(insert, [])?));
        let fatal = store.write::<(), _>(|connection| {
            connection.execute_batch("ROLLBACK")?;
            Err(Fault::Refused(StoreError::Full("no room".into())))
        });
        let all_wait = async move { release.send(()).unwrap() };
        let (_, refused, lost, fatal, ()) = tokio::join!(biased; holding, refused, lost, fatal, all_wait);
        assert_eq!(matches!(refused, Err(StoreError::Conflict)), again);
        assert!(lost.is_err(), "it was not written, so it must not be answered as if it were");
        assert!(matches!(fatal, Err(StoreError::Full(_))));
        assert_eq!(store.state(&org("acme"), "lost").await.unwrap(), None);
        store.commit(&org("acme"), vec![put(incident("1"), None)], None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_share_the_work() {
    let store = fixture().await;
    let stores = [store.store.clone(), SqliteStore::open(store.path()).unwrap()];
    let mut accepting = tokio::task::JoinSet::new();
    for n in 0..200 {
        for store in stores.clone() {
            accepting.spawn(async move {
                store.accept(&org("acme"), delivery(&format!("msg_{n}"), n)).await.unwrap()
            });
        }
    }
    let accepted = accepting.join_all().await;
    assert_eq!(accepted.iter().filter(|accepted| **accepted == Accepted::New).count(), 200);

    let mut claiming = tokio::task::JoinSet::new();
    for n in 0..40 {
        let store = stores[n % 2].clone();
        claiming.spawn(async move { store.claim(hands(5), LEASE, 1_000).await.unwrap() });
    }
    let claimed: Vec<LeasedDelivery> = claiming.join_all().await.into_iter().flatten().collect();
    let distinct: std::collections::HashSet<String> =
        claimed.iter().map(|held| held.lease.delivery.to_string()).collect();
    assert_eq!((claimed.len(), distinct.len()), (200, 200), "each delivery is in one pair of hands");
}

#[tokio::test]
async fn only_notes_are_answered_before_a_sync() {
    let store = fixture().await;
    let synchronous = |connection: &rusqlite::Connection| {
        Ok(connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))?)
    };
    const NORMAL: i64 = 1;
    const FULL: i64 = 2;
    assert_eq!(store.write(synchronous).await.unwrap(), FULL);
    assert_eq!(store.note(synchronous).await.unwrap(), NORMAL);
    assert_eq!(store.write(synchronous).await.unwrap(), FULL, "what came before is no excuse");

    let (release, held) = std::sync::mpsc::channel::<()>();
    let holding = store.note(move |_| {
        held.recv().map_err(|_| Fault::conflict())?;
        Ok(())
    });
    let (noted, written) = (store.note(synchronous), store.write(synchronous));
    let all_wait = async move { release.send(()).unwrap() };
    let (_, noted, written, ()) = tokio::join!(biased; holding, noted, written, all_wait);
    assert_eq!((noted.unwrap(), written.unwrap()), (FULL, FULL), "the stricter promise counts for a group");
}

#[tokio::test]
async fn the_log_is_copied_into_the_database_and_stays_bounded() {
    const MEGABYTE: u64 = 1_000_000;
    let store = fixture().await;
    for n in 0..200 {
        let value = vec![n; MEGABYTE as usize];
        let set = crate::contract::Change::SetState(("large".into(), Some(value)));
        store.commit(&org("acme"), vec![set], None).await.unwrap();
    }
    let size = |end: &str| {
        let path = format!("{}{end}", store.path().display());
        std::fs::metadata(path).unwrap().len()
    };
    assert!(size("-wal") < 150 * MEGABYTE, "the log takes {} bytes", size("-wal"));
    assert!(size("") > MEGABYTE, "nothing was copied");
}
