//! The ports on one SQLite file.
//!
//! - **Durable on return.** The database runs in WAL mode with `synchronous = FULL`. One thread writes: it takes
//!   whatever waits, runs it in one transaction and syncs once for all of it, so that a thousand small writes cost a
//!   few syncs; a piece of work that fails harms none of its neighbours. Leases, how
//!   attempts ended, and what applied a delivery are not synced by themselves: a power cut can undo the last of them,
//!   which makes the delivery due again and loses none; a killed process undoes nothing.
//!   Another thread copies the log into the database meanwhile.
//! - **Shared.** Leases are rows with a fencing token, and nothing else guards them: several processes may have the
//!   same file open. A process that finds the file locked waits for some seconds, then answers `Unavailable`.
//! - **Apart.** Every statement that touches an organisation's rows names the organisation.
//! - **The same file.** After each commit, and before it is answered, the writer looks whether the file at the path still
//!   is the database that was opened. If it was deleted, replaced or overwritten, the store is gone for good: see
//!   [`Health::gone`](crate::port::Health::gone).
//! - **Private.** The file is readable by its owner only.
//! - **Versioned.** Migrations run when the file is opened, each in a transaction; a file that a newer version has
//!   migrated is refused untouched.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use koalr_host::port::Organisations;
//! use koalr_host::sqlite::SqliteStore;
//!
//! let directory = tempfile::tempdir()?;
//! let store = SqliteStore::open(directory.path().join("koalr.db"))?;
//! assert!(store.organisations().await?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod backup;
mod checkpoint;
mod coding;
mod directory;
mod fault;
mod health;
mod identity;
mod inbox;
mod jobs;
mod migration;
mod migrations;
mod organisations;
mod place;
mod readers;
mod records;
mod report;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::port::StoreError;
use fault::Result;

/// How long a statement waits for another process's lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than there are statements.
const STATEMENTS: usize = 128;

/// A store on one SQLite file. Clones share its writer and its readers.
#[derive(Clone)]
pub struct SqliteStore {
    path: Arc<Path>,
    writer: writer::Writer,
    readers: Arc<readers::Readers>,
    watcher: Arc<readers::Watcher>,
    identity: Arc<identity::Identity>,
}

impl SqliteStore {
    /// Opens the database at this path; creates it if there is none, and migrates it to this version.
    ///
    /// Blocks, for long only while a large database is migrated.
    pub fn open(path: impl Into<PathBuf>) -> Result<SqliteStore> {
        let path: Arc<Path> = path.into().into();
        place::make_or_find(&path)?;
        let descriptor = identity::Identity::hold(&path).map_err(|error| {
            StoreError::Unavailable(format!("cannot open {}: {error}; check its permissions", path.display()))
        })?;
        let mut connection = connect(&path).map_err(|error| fault::judge(&path, &error))?;
        // Until here nothing is changed.
        migrations::check(&connection, &path)?;
        place::keep_private(&path)?;
        prepare(&connection).map_err(|error| fault::judge(&path, &error))?;
        migrations::run(&mut connection, &path)?;
        let identity = Arc::new(identity::Identity::of(&mut connection, &path, descriptor)?);
        let log = checkpoint::watch(&mut connection, &identity)?;
        let writer = writer::Writer::start(connection, Arc::clone(&identity), log)?;
        Ok(SqliteStore {
            readers: Arc::new(readers::Readers::new(Arc::clone(&identity))),
            watcher: Arc::new(readers::Watcher::new(Arc::clone(&identity))),
            identity,
            path,
            writer,
        })
    }

    /// Copies the database at the first path into a new file at the second, also while others write to it; answers the
    /// copy's length. Sealed secrets stay sealed, and the sealing key is not in it.
    pub async fn backup(database: &Path, copy: &Path) -> Result<u64> {
        let (database, copy) = (database.to_owned(), copy.to_owned());
        let copied = tokio::task::spawn_blocking(move || backup::copy(&database, &copy));
        copied.await.map_err(|error| StoreError::Unavailable(format!("the copy was cut off: {error}")))?
    }

    /// The file that the store was opened on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs the work in the writer's next transaction, and answers when that is durable.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> fault::Outcome<T> + Send + 'static,
    {
        self.writer.run(writer::Durability::Synced, work).await
    }

    /// Like `write`, but a power cut right after the answer can undo it. For what is safe to be done again.
    async fn note<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> fault::Outcome<T> + Send + 'static,
    {
        self.writer.run(writer::Durability::Written, work).await
    }

    /// Copies the log into the database and empties it, so that what was overwritten or deleted is in neither. Readers
    /// that are at work can keep it from that; then the next copy does it.
    async fn forget_former_pages(&self) {
        self.copy_log("PRAGMA wal_checkpoint(TRUNCATE)").await;
    }

    async fn copy_log(&self, checkpoint: &'static str) {
        if let Err(error) = self.note(|connection| Ok(identity::advance(connection)?)).await {
            tracing::warn!("the log of {} was not copied: {error}", self.path.display());
            return;
        }
        let identity = Arc::clone(&self.identity);
        let copied = tokio::task::spawn_blocking(move || {
            let log = connect(identity.path())?;
            let busy = log.query_row(checkpoint, [], |row| row.get::<_, bool>(0));
            // What the file shows now is what it must not fall behind. Whether it does the writer says.
            let _ = identity.check();
            busy
        });
        // Nothing is lost: the log stays.
        match copied.await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                tracing::warn!("the log of {} is in use and was not copied to its end", self.path.display())
            }
            Ok(Err(error)) => tracing::warn!("the log of {} was not copied: {error}", self.path.display()),
            Err(error) => tracing::warn!("copying a log was cut off: {error}"),
        }
    }

    /// Runs the work, each of its statements on a view of its own: for what takes a few index steps.
    async fn glance<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> fault::Outcome<T> + Send + 'static,
    {
        readers::glance(Arc::clone(&self.readers), work).await
    }

    /// Runs the work on one consistent view of the database.
    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> fault::Outcome<T> + Send + 'static,
    {
        readers::run(Arc::clone(&self.readers), work).await
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A kept statement stays as it was planned, whatever values it is given. Otherwise those that a partial index might
    // serve are parsed anew with every value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is deleted or overwritten within a page, a sealed secret among it, is wiped there.
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Kibibytes. The system keeps the file in memory too; this is for the pages that a transaction writes.
    connection.pragma_update(None, "cache_size", -8_192)?;
    Ok(connection)
}

/// What is a property of the file, and set once.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // An incident takes two to four kilobytes; of larger pages less is left empty. A file that exists keeps its own.
    connection.pragma_update(None, "page_size", 4_096)?;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        // The busy timeout does not cover this change, and two processes may create the file together.
        let mode =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode {
            Err(error) if fault::is_busy(&error) && std::time::Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            mode => return mode.map(|_| ()),
        }
    }
}
