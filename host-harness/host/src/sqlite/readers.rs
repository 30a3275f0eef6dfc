//! Connections for reading: a few, opened when they are first needed.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::fault::{Outcome, Result, judge};
use super::identity::Identity;
use crate::port::StoreError;

/// Reads at a time.
const READERS: usize = 4;

pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    slots: Semaphore,
    identity: Arc<Identity>,
}

impl Readers {
    pub(super) fn new(identity: Arc<Identity>) -> Readers {
        Readers { idle: Mutex::new(Vec::new()), slots: Semaphore::new(READERS), identity }
    }

    fn take(&self) -> Result<Connection> {
        self.identity.known()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => open(&self.identity),
        }
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

    /// Runs the work where the caller is: for what takes no time.
    pub(super) fn look<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match kept.take() {
            Some(connection) => connection,
            None => open(&self.identity)?,
        };
        work(kept.insert(connection)).map_err(|fault| fault.explain(self.identity.path()))
    }
}

/// Runs the work in a transaction of its own, on a thread that may block.
pub(super) async fn run<T, F>(readers: Arc<Readers>, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
{
    let closed = |_| StoreError::Unavailable("the store is closing".into());
    let _slot = readers.slots.acquire().await.map_err(closed)?;
    let at_work = Arc::clone(&readers);
    let done = tokio::task::spawn_blocking(move || {
        let connection = at_work.take()?;
        let result = view(&connection, work).map_err(|fault| fault.explain(at_work.identity.path()));
        at_work.give_back(connection);
        result
    });
    done.await.map_err(|error| StoreError::Unavailable(format!("a read was cut off: {error}")))?
}

/// Runs the work where the caller is, each of its statements on a view of its own. For a few index steps, which take
/// less time than a change of threads, or than a transaction around them.
pub(super) fn glance<T>(readers: &Readers, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
    let connection = readers.take()?;
    let result = work(&connection).map_err(|fault| fault.explain(readers.identity.path()));
    readers.give_back(connection);
    result
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
