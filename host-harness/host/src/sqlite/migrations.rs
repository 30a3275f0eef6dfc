//! The database's shape, one step after the other.

use std::path::Path;

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::fault::{Result, judge};
use crate::port::{Clock, StoreError, SystemClock, normalised};

/// Each brings the database from the version before to its own; the first makes version 1. Never edit one that
/// was released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
];

/// The name of that function of SQL by which names are folded.
const FOLD: &str = "normalised";

/// Refuses the file of another program, and one of a newer version of this. Writes nothing.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<()> {
    let stored = stored_version(connection, path)?.unwrap_or(0);
    if stored > ours() {
        return Err(StoreError::Invalid(format!(
            "{} has version {stored}, this program knows versions up to {}; use a newer program",
            path.display(),
            ours()
        )));
    }
    Ok(())
}

/// Brings the database to this version. What is there already is left alone.
pub(super) fn run(connection: &mut Connection, path: &Path) -> Result<()> {
    let fault = |error: rusqlite::Error| judge(path, &error);
    // Who only looks does not wait for who writes.
    if stored_version(connection, path)? == Some(ours()) {
        return Ok(());
    }
    // For names that are folded by this program's rule, which SQL cannot say.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let folded = |call: &mut rusqlite::functions::Context<'_>| Ok(normalised(&call.get::<String>(0)?));
    connection.create_scalar_function(FOLD, 1, flags, folded).map_err(fault)?;
    for (version, migration) in (1..).zip(MIGRATIONS) {
        // One process migrates, the others wait here and then find it done.
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        check(&transaction, path)?;
        let stored = stored_version(&transaction, path)?;
        if stored.is_none() {
            let table = "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT";
            transaction.execute_batch(table).map_err(fault)?;
        }
        if stored.unwrap_or(0) < version {
            transaction.execute_batch(migration).map_err(fault)?;
            let at = SystemClock.now();
            let noted = "INSERT INTO schema_version (version, applied_at) VALUES (?1, ?2)";
            transaction.execute(noted, params![version, at]).map_err(fault)?;
        }
        transaction.commit().map_err(fault)?;
    }
    connection.remove_function(FOLD, 1).map_err(fault)
}

/// Whether a newer program has migrated it since it was opened.
pub(super) fn is_newer(connection: &Connection) -> rusqlite::Result<bool> {
    let version = "SELECT max(version) FROM schema_version";
    let stored: i64 = connection.prepare_cached(version)?.query_row([], |row| row.get(0))?;
    Ok(stored > ours())
}

/// The newest version that this program knows.
fn ours() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// None for a new file; the file of another program is refused.
fn stored_version(connection: &Connection, path: &Path) -> Result<Option<i64>> {
    let fault = |error: rusqlite::Error| judge(path, &error);
    let known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'";
    let known: Option<i64> = connection.query_row(known, [], |row| row.get(0)).optional().map_err(fault)?;
    if known.is_none() {
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(fault)?;
        if tables > 0 {
            let file = path.display();
            return Err(StoreError::Invalid(format!(
                "{file} is another program's database; name another file"
            )));
        }
        return Ok(None);
    }
    let version = "SELECT coalesce(max(version), 0) FROM schema_version";
    connection.query_row(version, [], |row| row.get(0)).map(Some).map_err(fault)
}
