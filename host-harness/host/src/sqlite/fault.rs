//! What SQLite's errors mean to a caller of the ports.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::port::StoreError;

/// What the ports answer.
pub(super) type Result<T> = std::result::Result<T, StoreError>;
/// What a piece of work answers; the file's name is added where the work was started.
pub(super) type Outcome<T> = std::result::Result<T, Fault>;

/// Why a piece of work failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// A rule of the ports says so.
    Refused(StoreError),
}

impl Fault {
    pub(super) fn invalid(text: impl Into<String>) -> Fault {
        Fault::Refused(StoreError::Invalid(text.into()))
    }

    pub(super) fn full(text: impl Into<String>) -> Fault {
        Fault::Refused(StoreError::Full(text.into()))
    }

    /// A stored value that this version could not have written.
    pub(super) fn damaged(what: &str) -> Fault {
        Fault::Refused(StoreError::Corrupt(format!(
            "{what} cannot be read back; restore the database from a backup"
        )))
    }

    pub(super) fn conflict() -> Fault {
        Fault::Refused(StoreError::Conflict)
    }

    pub(super) fn explain(self, path: &Path) -> StoreError {
        match self {
            Fault::Sqlite(error) => judge(path, &error),
            Fault::Refused(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

/// SQLite's error as a person can act on it.
pub(super) fn judge(path: &Path, error: &rusqlite::Error) -> StoreError {
    let file = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Unavailable(format!(
            "{file} is locked by another process for longer than {} s ({error}); try again, or stop that process",
            super::PATIENCE.as_secs()
        )),
        Some(ErrorCode::DiskFull) => {
            StoreError::Full(format!("{file} cannot grow ({error}); free space on its disk"))
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            StoreError::Corrupt(format!("{file} is damaged ({error}); restore it from a backup"))
        }
        Some(ErrorCode::NotADatabase) => {
            StoreError::Corrupt(format!("{file} is not a SQLite database ({error}); name another file"))
        }
        // The only references that a caller can break are those to an organisation.
        Some(ErrorCode::ConstraintViolation) if is_missing_parent(error) => {
            StoreError::Invalid("there is no such organisation".into())
        }
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            StoreError::Invalid(format!("{file} cannot hold this ({error})"))
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            StoreError::Unavailable(format!(
                "{file} cannot be opened for writing ({error}); check its permissions"
            ))
        }
        _ if error.sqlite_error_code().is_none() => StoreError::Corrupt(format!(
            "{file} holds a value of an unexpected kind ({error}); restore it from a backup"
        )),
        _ => {
            StoreError::Unavailable(format!("{file} could not be read or written ({error}); check its disk"))
        }
    }
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn is_missing_parent(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}
