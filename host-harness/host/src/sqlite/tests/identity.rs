//! What somebody does to the file while it is open. Each is found before anything more is acknowledged.

use super::*;
use crate::port::{DeliveryFilter, Health, JobKind, Jobs, StoreError};

async fn offer(store: &SqliteStore, number: i64) -> Result<crate::port::Accepted, StoreError> {
    store.accept(&org("acme"), delivery(&format!("msg_{number}"), number)).await
}

/// From now on every write and every read says this, and whoever waits for it hears of it.
async fn is_gone(store: &SqliteStore, said: &str) {
    let job = store.put_job(&org("acme"), JobKind::Poll, 1, None, 1).await.map(drop);
    let list = store.deliveries(&org("acme"), &DeliveryFilter::default()).await.map(drop);
    let record = store.commit(&org("acme"), vec![put(incident("1"), None)], None).await.map(drop);
    for (what, answer) in
        [("job", job), ("list", list), ("record", record), ("probe", store.try_write().await)]
    {
        assert!(matches!(&answer, Err(StoreError::Gone(text)) if text.contains(said)), "{what}: {answer:?}");
    }
    assert!(matches!(store.gone().await, StoreError::Gone(text) if text.contains(said)));
}

/// A copy of the database as it is now.
fn backup(store: &SqliteStore, name: &str) -> std::path::PathBuf {
    let path = store.path().with_file_name(name);
    let into = format!("VACUUM INTO '{}'", path.display());
    rusqlite::Connection::open(store.path()).unwrap().execute_batch(&into).unwrap();
    path
}

#[tokio::test]
async fn a_deleted_database_file_is_not_acknowledged_into() {
    let store = fixture().await;
    offer(&store, 1).await.unwrap();
    std::fs::remove_file(store.path()).unwrap();
    assert!(matches!(offer(&store, 2).await, Err(StoreError::Gone(_))));
    is_gone(&store, "was moved or deleted").await;
    assert!(!store.path().exists(), "no other is made in its place");
}

#[tokio::test]
async fn a_database_file_that_is_moved_away_and_back_has_all_that_was_acknowledged() {
    let store = fixture().await;
    offer(&store, 1).await.unwrap();
    let away = store.path().with_file_name("away.db");
    std::fs::rename(store.path(), &away).unwrap();
    assert!(matches!(offer(&store, 2).await, Err(StoreError::Gone(_))));
    std::fs::rename(&away, store.path()).unwrap();
    is_gone(&store, "was moved or deleted").await;
    let again = SqliteStore::open(store.path()).unwrap();
    let rows = again.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
    assert!(rows.iter().any(|row| row.id.as_str() == "msg_1"));
}

#[tokio::test]
async fn a_replaced_database_file_is_not_acknowledged_into() {
    let store = fixture().await;
    offer(&store, 1).await.unwrap();
    let backup = backup(&store, "backup.db");
    let bytes = std::fs::read(&backup).unwrap();
    offer(&store, 2).await.unwrap();
    std::fs::rename(&backup, store.path()).unwrap();
    assert!(matches!(offer(&store, 3).await, Err(StoreError::Gone(_))));
    is_gone(&store, "was replaced").await;
    assert_eq!(std::fs::read(store.path()).unwrap(), bytes, "nothing was written into the other file");
}

/// Whatever it is overwritten with, a backup of its own past among it, and however that was made.
#[tokio::test]
async fn a_database_file_that_is_overwritten_in_place_is_not_acknowledged_into() {
    for with in ["nothing", "text", "another database", "a backup", "a copy of the file"] {
        let store = fixture().await;
        offer(&store, 1).await.unwrap();
        let bytes = match with {
            "nothing" => Vec::new(),
            "text" => b"these are notes, not a database; ".repeat(1_000),
            "another database" => {
                let other = fixture().await;
                std::fs::read(backup(&other, "other.db")).unwrap()
            }
            "a backup" => std::fs::read(backup(&store, "backup.db")).unwrap(),
            _ => std::fs::read(store.path()).unwrap(),
        };
        offer(&store, 2).await.unwrap();
        // What was acknowledged meanwhile reached the file.
        store.forget_former_pages().await;
        // Written into the same file, as `cp` does it.
        std::fs::write(store.path(), &bytes).unwrap();
        let answer = offer(&store, 3).await;
        assert!(matches!(answer, Err(StoreError::Gone(_))), "{with}: {answer:?}");
        is_gone(&store, "was overwritten").await;
    }
}

fn beside(store: &SqliteStore, end: &str) -> std::path::PathBuf {
    std::path::PathBuf::from(format!("{}{end}", store.path().display()))
}

/// The numbers of the deliveries that a program finds which starts after this one was killed.
async fn found_after_a_kill(store: &SqliteStore) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("koalr.db");
    std::fs::copy(store.path(), &path).unwrap();
    if let Ok(log) = std::fs::read(beside(store, "-wal")) {
        std::fs::write(directory.path().join("koalr.db-wal"), log).unwrap();
    }
    let later = SqliteStore::open(&path).unwrap();
    let rows = later.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
    let mut found: Vec<String> = rows.into_iter().map(|row| row.id.to_string()).collect();
    found.sort();
    found
}

/// What it held reaches the database before anybody hears of the loss, whatever else happens to the process then.
#[tokio::test]
async fn a_deleted_log_is_not_acknowledged_into_and_what_it_held_is_saved() {
    for (deleted, opened) in
        [(vec!["-wal"], false), (vec!["-wal", "-shm"], false), (vec!["-wal", "-shm"], true)]
    {
        let store = fixture().await;
        for number in 1..=3 {
            offer(&store, number).await.unwrap();
        }
        // A reader that is open holds no lock that keeps the log from being copied.
        store.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
        for end in &deleted {
            std::fs::remove_file(beside(&store, end)).unwrap();
        }
        if opened {
            // As another program does that looks into it.
            std::fs::write(beside(&store, "-wal"), "").unwrap();
        }
        let answer = offer(&store, 4).await;
        assert!(matches!(answer, Err(StoreError::Gone(_))), "{deleted:?}: {answer:?}");
        is_gone(&store, "koalr.db-wal was deleted").await;
        let StoreError::Gone(text) = store.gone().await else { panic!("another kind of end") };
        assert!(text.contains("the database is whole") && !text.contains("backup"), "{text}");
        let found = found_after_a_kill(&store).await;
        assert_eq!(found, ["msg_1", "msg_2", "msg_3", "msg_4"], "{deleted:?}");
    }
}

/// Somebody may be writing the other one, and a copy would mix the two.
#[tokio::test]
async fn a_replaced_log_is_not_acknowledged_into_nor_mixed_with_the_other() {
    let store = fixture().await;
    offer(&store, 1).await.unwrap();
    let other = beside(&store, "-other");
    std::fs::copy(beside(&store, "-wal"), &other).unwrap();
    offer(&store, 2).await.unwrap();
    std::fs::rename(&other, beside(&store, "-wal")).unwrap();
    let before = std::fs::read(store.path()).unwrap();
    assert!(matches!(offer(&store, 3).await, Err(StoreError::Gone(_))));
    is_gone(&store, "koalr.db-wal was deleted or replaced").await;
    assert_eq!(std::fs::read(store.path()).unwrap(), before);
    assert_eq!(found_after_a_kill(&store).await, ["msg_1"]);
}

/// Only the writer has the log open for sure, so nobody else ends the process before it has saved the log.
#[tokio::test]
async fn a_read_that_finds_the_log_deleted_leaves_it_to_the_writer_to_save_it() {
    let store = fixture().await;
    offer(&store, 1).await.unwrap();
    std::fs::remove_file(beside(&store, "-wal")).unwrap();
    let read = store.deliveries(&org("acme"), &DeliveryFilter::default()).await;
    assert!(read.is_err(), "{read:?}");
    assert!(matches!(store.try_write().await, Err(StoreError::Gone(_))));
    assert_eq!(found_after_a_kill(&store).await, ["msg_1"]);
}

#[tokio::test]
async fn a_database_behind_a_link_has_its_log_beside_the_file() {
    let store = fixture().await;
    let link = store.path().with_file_name("link.db");
    std::os::unix::fs::symlink(store.path(), &link).unwrap();
    let linked = SqliteStore::open(&link).unwrap();
    offer(&linked, 1).await.unwrap();
    std::fs::remove_file(beside(&store, "-wal")).unwrap();
    assert!(matches!(offer(&linked, 2).await, Err(StoreError::Gone(_))));
}

/// Its log holds what was acknowledged: whoever deleted it, as after an overwritten file, would lose that.
#[tokio::test]
async fn a_database_that_a_newer_program_migrated_is_told_so_and_not_given_up() {
    let store = fixture().await;
    offer(&store, 1).await.unwrap();
    let newer = rusqlite::Connection::open(store.path()).unwrap();
    newer.execute_batch("CREATE TABLE newer (n INTEGER); PRAGMA wal_checkpoint(PASSIVE);").unwrap();
    offer(&store, 2).await.unwrap_err();
    is_gone(&store, "a newer version").await;
    let StoreError::Gone(text) = store.gone().await else { panic!("another kind of end") };
    assert!(!text.contains("delete") && !text.contains("backup"), "{text}");
    let kept = SqliteStore::open(store.path()).unwrap();
    let rows = kept.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
    assert!(rows.iter().any(|row| row.id.as_str() == "msg_1"));
}

#[tokio::test]
async fn copies_of_the_log_and_other_processes_are_not_taken_for_a_replacement() {
    let store = fixture().await;
    let other = SqliteStore::open(store.path()).unwrap();
    for number in 0..50 {
        offer(if number % 2 == 0 { &store } else { &other }, number).await.unwrap();
        if number % 10 == 0 {
            store.forget_former_pages().await;
        }
        if number % 7 == 0 {
            drop(SqliteStore::open(store.path()).unwrap());
        }
    }
    // Far more than the log holds before it is copied.
    let value = crate::contract::Change::SetState(("large".into(), Some(vec![7; 900_000])));
    for _ in 0..100 {
        store.commit(&org("acme"), vec![value.clone()], None).await.unwrap();
    }
    store.try_write().await.unwrap();
    other.try_write().await.unwrap();
}

/// A read that opens its connection late must not open what was put in the place of the file.
#[tokio::test]
async fn a_replaced_database_file_is_not_read_either() {
    let store = fixture().await;
    let backup = backup(&store, "backup.db");
    std::fs::rename(&backup, store.path()).unwrap();
    let list = store.deliveries(&org("acme"), &DeliveryFilter::default()).await;
    assert!(matches!(list, Err(StoreError::Gone(_))), "{list:?}");
}

#[tokio::test]
async fn whether_a_delivery_could_be_stored_is_found_out_by_writing() {
    let store = fixture().await;
    let limit = |pages: i64| {
        move |connection: &rusqlite::Connection| {
            let used: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            Ok(connection.pragma_update(None, "max_page_count", used + pages)?)
        }
    };
    // A disk without room for what comes.
    store.note(limit(0)).await.unwrap();
    let error = store.try_write().await.unwrap_err();
    assert!(matches!(&error, StoreError::Full(text) if text.contains("free space")), "{error}");
    store.note(limit(100)).await.unwrap();
    store.try_write().await.unwrap();
    let rows = |connection: &rusqlite::Connection| {
        Ok(connection.query_row("SELECT count(*) FROM trial", [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(store.read(rows).await.unwrap(), 0, "nothing of it stays");
}

#[tokio::test]
async fn a_newer_program_that_migrates_the_database_ends_the_older_one_in_words() {
    for copied in [false, true] {
        let store = fixture().await;
        // As a newer program does, and perhaps its first copy of the log with it.
        let newer = rusqlite::Connection::open(store.path()).unwrap();
        newer.execute_batch("CREATE TABLE later (x); INSERT INTO schema_version VALUES (99, 0)").unwrap();
        if copied {
            newer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        }
        let offered = store.accept(&org("acme"), delivery("msg_1", 1)).await;
        let Err(StoreError::Gone(text)) = offered else { panic!("{offered:?}") };
        assert!(text.contains("newer version") && !text.contains("delete"), "{text}");
        assert!(matches!(store.gone().await, StoreError::Gone(_)));
        let rows: i64 = newer.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "it writes nothing into what it does not know");
    }
}
