//! The ports over one SQLite file: bundled, WAL, flushed to disk at every commit.
//!
//! One thread writes and groups what waits into one flush ([`writer`]); a few connections read. Leases and
//! fencing tokens are rows, so several processes may open the same file. Nothing here knows a plugin.

mod directory;
mod inbox;
mod jobs;
mod migrations;
mod organisations;
mod records;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::Semaphore;

use crate::port::StoreError;
use writer::Writer;

/// How long a statement waits for another process's lock.
const BUSY: Duration = Duration::from_secs(10);
/// Connections that read.
const READERS: usize = 4;
/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 128;

/// A database file with everything that the host keeps. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: Writer,
    idle: Mutex<Vec<Connection>>,
    readers: Semaphore,
}

impl SqliteStore {
    /// Opens the file, makes it (for its owner only) if there is none, and brings it to the present schema.
    pub fn open(path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        let path = path.as_ref().to_path_buf();
        let named = |error| match error {
            StoreError::Unavailable(text) => StoreError::Unavailable(format!("{}: {text}", path.display())),
            StoreError::Corrupt(text) => StoreError::Corrupt(format!("{}: {text}", path.display())),
            StoreError::Invalid(text) => StoreError::Invalid(format!("{}: {text}", path.display())),
            other => other,
        };
        create_owner_only(&path).map_err(|error| named(StoreError::Unavailable(error.to_string())))?;
        let mut connection = connect(&path, false).map_err(named)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed).map_err(named)?;
        migrations::migrate(&mut connection).map_err(named)?;
        let writer = Writer::start(connection)?;
        let inner = Inner { path, writer, idle: Mutex::default(), readers: Semaphore::new(READERS) };
        Ok(SqliteStore { inner: Arc::new(inner) })
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.writer.write(job).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = |_| StoreError::Unavailable("the database is being closed".into());
        let _permit = self.inner.readers.acquire().await.map_err(gone)?;
        let inner = Arc::clone(&self.inner);
        let reading = tokio::task::spawn_blocking(move || {
            let idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => connect(&inner.path, true)?,
            };
            let result = job(&connection);
            inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        reading.await.map_err(|error| StoreError::Unavailable(format!("a read was cut off: {error}")))?
    }
}

fn connect(path: &Path, read_only: bool) -> Result<Connection, StoreError> {
    let access = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if !read_only {
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", "ON").map_err(failed)?;
    }
    Ok(connection)
}

fn create_owner_only(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// SQLite's errors in the port's terms.
fn failed(error: rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(text),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(text),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => StoreError::Invalid(text),
        Some(_) => StoreError::Unavailable(text),
        // A row that does not have the shape that this program writes.
        None => StoreError::Corrupt(text),
    }
}

/// A stored JSON text as a value.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("a stored record cannot be read: {error}")))
}

fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Invalid(format!("a record cannot be stored: {error}")))
}
