//! A copy of the database as it is at one instant, made while others write.
//!
//! SQLite's online backup reads one view of the source, so that writers neither wait for it nor have it begin anew.

use std::io;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::fault::{Result, judge};
use super::{connect, migrations, place};
use crate::port::StoreError;

/// Copies the database at the first path into a new file at the second, for its owner only; answers its length. The
/// copy has its name once it is whole and on the disk.
pub(super) fn copy(from: &Path, to: &Path) -> Result<u64> {
    place::find(from)?;
    let source = connect(from).map_err(|error| judge(from, &error))?;
    migrations::check(&source, from)?;
    let unwritten = |error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            StoreError::Invalid(format!("{} exists; name a file that does not", to.display()))
        }
        io::ErrorKind::StorageFull => {
            StoreError::Full(format!("{}: {error}; free space on its disk", to.display()))
        }
        _ => StoreError::Invalid(format!("cannot write {}: {error}", to.display())),
    };
    // Before the work, and again when it has its name.
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(unwritten(&io::ErrorKind::AlreadyExists.into()));
    }
    let directory = to.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."));
    let beside = tempfile::Builder::new().prefix(".koalr-backup-").tempfile_in(directory);
    let beside = beside.map_err(|error| unwritten(&error))?;
    let copied = || {
        let mut target = Connection::open(beside.path())?;
        Backup::new(&source, &mut target)?.run_to_completion(i32::MAX, super::PATIENCE, None)?;
        target.close().map_err(|(_, error)| error)
    };
    copied().map_err(|error| judge(to, &error))?;
    let named = || {
        beside.as_file().sync_all()?;
        let length = beside.as_file().metadata()?.len();
        beside.persist_noclobber(to).map_err(|error| error.error)?;
        std::fs::File::open(directory)?.sync_all()?;
        Ok(length)
    };
    named().map_err(|error| unwritten(&error))
}
