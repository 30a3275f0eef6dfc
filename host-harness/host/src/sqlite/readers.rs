//! Connections for reading: a few, opened when they are first needed. Each read runs on a thread that may block, never
//! on one that answers requests: a page of the file may have to come from a slow disk.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::fault::{Outcome, Result, judge};
use super::identity::Identity;
use crate::port::StoreError;

/// Reads at a time.
const READERS: usize = 4;
/// Look-ups at a time beside them, so that none waits for four reports.
const GLANCES: usize = 4;

pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    slots: Semaphore,
    glances: Semaphore,
    identity: Arc<Identity>,
}

impl Readers {
    pub(super) fn new(identity: Arc<Identity>) -> Readers {
        let (slots, glances) = (Semaphore::new(READERS), Semaphore::new(GLANCES));
        Readers { idle: Mutex::new(Vec::new()), slots, glances, identity }
    }

    fn take(&self) -> Result<Connection> {
        self.identity.known()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => open(&self.identity),
        }
    }

    fn lend<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        let connection = self.take()?;
        let result = work(&connection).map_err(|fault| fault.explain(self.identity.path()));
        self.give_back(connection);
        result
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// One connection of its own, for what is counted by connection.
pub(super) struct Watcher {
    connection: Mutex<Option<Connection>>,
    identity: Arc<Identity>,
}

impl Watcher {
    pub(super) fn new(identity: Arc<Identity>) -> Watcher {
        Watcher { connection: Mutex::new(None), identity }
    }

    fn look<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match kept.take() {
            Some(connection) => connection,
            None => open(&self.identity)?,
        };
        work(kept.insert(connection)).map_err(|fault| fault.explain(self.identity.path()))
    }
}

/// Runs the work on the watcher's one connection.
pub(super) async fn watch<T, F>(watcher: Arc<Watcher>, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
{
    apart(move || watcher.look(work)).await
}

/// Runs the work in a transaction of its own.
pub(super) async fn run<T, F>(readers: Arc<Readers>, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
{
    let _slot = readers.slots.acquire().await.map_err(closed)?;
    let at_work = Arc::clone(&readers);
    apart(move || at_work.lend(|connection| view(connection, work))).await
}

/// Runs the work, each of its statements on a view of its own: for a few index steps, which take less time than a
/// transaction around them.
pub(super) async fn glance<T, F>(readers: Arc<Readers>, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
{
    let _slot = readers.glances.acquire().await.map_err(closed)?;
    let at_work = Arc::clone(&readers);
    apart(move || at_work.lend(work)).await
}

fn closed(_: tokio::sync::AcquireError) -> StoreError {
    StoreError::Unavailable("the store is closing".into())
}

/// Runs the work on a thread that may block.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work);
    done.await.map_err(|error| StoreError::Unavailable(format!("a read was cut off: {error}")))?
}

fn view<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
    // Kept statements: parsing them takes longer than running them.
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = work(connection);
    // It has written nothing, so that there is nothing to undo.
    connection.prepare_cached("COMMIT")?.execute([])?;
    result
}

fn open(identity: &Identity) -> Result<Connection> {
    let open = || {
        let connection = super::connect(identity.path())?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    let connection = open().map_err(|error| judge(identity.path(), &error))?;
    // Not of the file that somebody put in the place of the one that all others have open.
    identity.check()?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_read_runs_on_a_thread_that_answers_requests() {
        let directory = tempfile::tempdir().unwrap();
        let store = crate::sqlite::SqliteStore::open(directory.path().join("koalr.db")).unwrap();
        let here = std::thread::current().id();
        let at = |_: &Connection| Ok(std::thread::current().id());
        assert_ne!(run(Arc::clone(&store.readers), at).await.unwrap(), here);
        assert_ne!(glance(Arc::clone(&store.readers), at).await.unwrap(), here);
        assert_ne!(watch(Arc::clone(&store.watcher), at).await.unwrap(), here);
    }

    #[tokio::test]
    async fn a_look_up_does_not_wait_for_reports() {
        let directory = tempfile::tempdir().unwrap();
        let store = crate::sqlite::SqliteStore::open(directory.path().join("koalr.db")).unwrap();
        let _reports = store.readers.slots.acquire_many(READERS as u32).await.unwrap();
        glance(Arc::clone(&store.readers), |_| Ok(())).await.unwrap();
    }
}
