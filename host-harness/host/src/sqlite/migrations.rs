//! Brings a database to the present schema, one numbered step at a time, all in one transaction.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::failed;
use crate::port::StoreError;

/// The steps. A published one is never edited; a change is a new one.
const STEPS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// Applies what is missing. A database from a newer program is refused and left alone.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let create = "CREATE TABLE IF NOT EXISTS schema_version (
        version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL DEFAULT (datetime('now'))) STRICT";
    transaction.execute_batch(create).map_err(failed)?;
    let newest = "SELECT version FROM schema_version ORDER BY version DESC LIMIT 1";
    let version: i64 =
        transaction.query_row(newest, [], |row| row.get(0)).optional().map_err(failed)?.unwrap_or(0);
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if version > known {
        let text = format!("the database has version {version}, this program knows {known}: use the newer program");
        return Err(StoreError::Invalid(text));
    }
    for (number, step) in (1i64..).zip(STEPS).filter(|(number, _)| *number > version) {
        transaction.execute_batch(step).map_err(failed)?;
        transaction.execute("INSERT INTO schema_version (version) VALUES (?1)", [number]).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}
