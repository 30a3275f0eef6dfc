//! What happens to a database in the world: each is a clear error, and what was acknowledged stays.

use std::sync::Arc;

use super::*;
use crate::port::{Accepted, DeliveryFilter, Health, JobKind, Jobs, StoreError};

/// Sets something of the writing connection.
async fn pragma(store: &SqliteStore, text: &'static str) {
    store.note(move |connection| Ok(connection.execute_batch(text)?)).await.unwrap();
}

async fn offer(store: &SqliteStore, number: i64) -> Result<Accepted, StoreError> {
    let mut delivery = delivery(&format!("msg_{number}"), number);
    delivery.delivery.body = vec![b'x'; 20_000];
    store.accept(&org("acme"), delivery).await
}

async fn stored(store: &SqliteStore) -> usize {
    store.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap().len()
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_passes() {
    let store = fixture().await;
    store
        .note(|connection| {
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            connection.pragma_update(None, "max_page_count", pages + 40)?;
            Ok(())
        })
        .await
        .unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match offer(&store, acknowledged).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, StoreError::Full(text) if text.contains("free space on its disk")), "{error}");
    assert!(acknowledged > 1);
    let rehearsed = store.try_write().await;
    assert!(matches!(&rehearsed, Err(StoreError::Full(_))), "a probe says what would happen: {rehearsed:?}");
    assert_eq!(stored(&store).await, acknowledged as usize);
    // Room comes back, and the sender sends again.
    pragma(&store, "PRAGMA max_page_count = 1000000").await;
    assert_eq!(offer(&store, acknowledged).await.unwrap(), Accepted::New);
    assert_eq!(stored(&store).await, acknowledged as usize + 1);
    store.try_write().await.unwrap();
}

/// Many that share a transaction: all of them hear why nothing was written.
#[tokio::test]
async fn a_full_disk_is_told_to_everybody() {
    let store = Arc::new(fixture().await);
    store
        .note(|connection| {
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            connection.pragma_update(None, "max_page_count", pages + 4)?;
            Ok(())
        })
        .await
        .unwrap();
    let mut offers = tokio::task::JoinSet::new();
    for number in 0..200 {
        let store = Arc::clone(&store);
        offers.spawn(async move {
            let mut new = delivery(&format!("msg_{number}"), number);
            // What cannot be compressed.
            new.delivery.body =
                (0..3_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
            store.accept(&org("acme"), new).await
        });
    }
    let ended = offers.join_all().await;
    let refused: Vec<&StoreError> = ended.iter().filter_map(|one| one.as_ref().err()).collect();
    assert!(refused.len() > 100, "{}", refused.len());
    assert!(refused.iter().all(|error| matches!(error, StoreError::Full(_))), "{refused:?}");
    assert_eq!(stored(&store).await, ended.len() - refused.len());
}

#[tokio::test]
async fn a_database_that_turns_read_only_refuses_and_can_be_read() {
    let store = fixture().await;
    offer(&store, 1).await.unwrap();
    // From within the transaction, which then cannot be committed either.
    let _ = store.note(|connection| Ok(connection.execute_batch("PRAGMA query_only = 1")?)).await;
    let error = offer(&store, 2).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(text) if text.contains("check its permissions")),
        "{error}"
    );
    assert!(store.try_write().await.is_err(), "a probe says what would happen");
    assert_eq!(stored(&store).await, 1);
}

#[tokio::test]
async fn a_database_that_another_process_locks_refuses_and_passes() {
    let store = fixture().await;
    offer(&store, 1).await.unwrap();
    pragma(&store, "PRAGMA busy_timeout = 20").await;
    let other = rusqlite::Connection::open(store.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = offer(&store, 2).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(text) if text.contains("locked by another process")),
        "{error}"
    );
    assert!(store.try_write().await.is_err(), "a probe says what would happen");
    assert_eq!(stored(&store).await, 1, "it can be read meanwhile");
    other.execute_batch("ROLLBACK").unwrap();
    offer(&store, 2).await.unwrap();
}

#[tokio::test]
async fn a_damaged_database_is_named_and_never_taken_for_an_empty_one() {
    let store = fixture().await;
    for number in 0..200 {
        offer(&store, number).await.unwrap();
    }
    let path = store.path().with_file_name("damaged.db");
    let into = format!("VACUUM INTO '{}'", path.display());
    rusqlite::Connection::open(store.path()).unwrap().execute_batch(&into).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut named = 0;
    let size = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    // Every page but the first, one at a time: whatever is read either is right or says that it is damaged.
    for page in 1..(whole.len() / size).min(80) {
        let mut damaged = whole.clone();
        damaged[page * size..(page + 1) * size].fill(0xa5);
        // A file of its own for each: a log that was left behind belongs to the one before.
        let path = store.path().with_file_name(format!("damaged-{page}.db"));
        std::fs::write(&path, &damaged).unwrap();
        let opened = match SqliteStore::open(&path) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
                named += 1;
                continue;
            }
        };
        match opened.deliveries(&org("acme"), &DeliveryFilter::default()).await {
            Ok(rows) => assert_eq!(rows.len(), 200, "page {page}"),
            Err(error) => {
                assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("backup")), "{error}");
                named += 1;
            }
        }
        let said = [
            opened.claim(hands(200), LEASE, 1_000).await.map(|taken| {
                assert!(taken.iter().all(|one| one.delivery.body == [b'x'; 20_000]), "page {page}");
            }),
            opened.delivery(&org("acme"), &"msg_7".parse().unwrap()).await.map(drop),
            offer(&opened, 1_000).await.map(drop),
        ];
        for error in said.into_iter().filter_map(Result::err) {
            assert!(matches!(error, StoreError::Corrupt(_)), "page {page}: {error}");
        }
    }
    assert!(named > 3, "{named}");
    // Cut off in the middle.
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let read = match SqliteStore::open(&path) {
        Ok(opened) => {
            opened.deliveries(&org("acme"), &DeliveryFilter::default()).await.map(|rows| rows.len())
        }
        Err(error) => Err(error),
    };
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}

#[tokio::test]
async fn a_clock_that_was_wrong_holds_nothing_up() {
    const YEAR: i64 = 365 * 86_400_000_000;
    let store = fixture().await;
    store.put_job(&org("acme"), JobKind::Poll, 10, None, 0).await.unwrap();
    // Claimed a year ahead by a process that is gone, and noted to be tried again then.
    let held = leased(&store, "msg_1", 10 + YEAR).await;
    let waiting = leased(&store, "msg_2", 10 + YEAR).await;
    store.retry(&waiting.lease, "no", 900 + YEAR).await.unwrap();
    assert_eq!(store.claim_due(9, LEASE, 10 + YEAR).await.unwrap().len(), 1);
    // The clock is right again.
    let again = store.claim(hands(9), LEASE, 20).await.unwrap();
    assert_eq!(again.len(), 2);
    assert_eq!(finish(&store, &held.lease, "created", 21).await, 0);
    assert_eq!(store.claim_due(9, LEASE, 20).await.unwrap().len(), 1);
    // Behind by a year: what is ready is taken all the same.
    store.accept(&org("acme"), delivery("msg_3", 30)).await.unwrap();
    assert_eq!(store.claim(hands(9), LEASE, 30 - YEAR).await.unwrap().len(), 3);
}
