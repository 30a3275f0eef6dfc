//! The file at the database's path: made for its owner, or found there.
//!
//! | at the path | what happens |
//! |---|---|
//! | nothing | a file is made that its owner alone can read |
//! | our database | others lose their rights to it |
//! | our database, write-protected | refused: whoever protected it meant it |
//! | another program's file, a directory, a socket | refused, and nothing of it is changed |
//!
//! A path may lead there by links. SQLite gives its log and index files the database file's permissions.
//!
//! A file that exists is not opened here: whoever closes any descriptor of a file gives up all locks that this process
//! has on it (POSIX), and another store of this process may hold some.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use super::fault::Result;
use crate::port::StoreError;

/// Makes the file if there is none. What is there may be SQLite's to open.
pub(super) fn make_or_find(path: &Path) -> Result<()> {
    let file = path.display();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            let hint = "check that the directory exists and may be written to";
            return Err(StoreError::Invalid(format!("cannot open {file}: {error}; {hint}")));
        }
    }
    if is_protected(&find(path)?) {
        let hint = "let its owner write to it (chmod u+w), or name another file";
        return Err(StoreError::Invalid(format!("{file} is write-protected; {hint}")));
    }
    Ok(())
}

/// What there is, if it is a file at all.
pub(super) fn find(path: &Path) -> Result<Metadata> {
    let file = path.display();
    let found = std::fs::metadata(path)
        .map_err(|error| StoreError::Invalid(format!("cannot open {file}: {error}")))?;
    match found.is_file() {
        true => Ok(found),
        false => {
            let kind = if found.is_dir() { "a directory" } else { "no regular file" };
            Err(StoreError::Invalid(format!("{file} is {kind}; name a database file")))
        }
    }
}

/// Takes from others their rights to the file, which is known to be ours by now.
pub(super) fn keep_private(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let private = || {
            let mode = std::fs::metadata(path)?.permissions().mode();
            match mode & 0o077 {
                0 => Ok(()),
                _ => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o700)),
            }
        };
        private().map_err(|error: io::Error| {
            let file = path.display();
            StoreError::Invalid(format!("others can read {file}, and that could not be changed: {error}"))
        })?;
    }
    Ok(())
}

#[cfg(unix)]
fn is_protected(found: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o200 == 0
}

#[cfg(not(unix))]
fn is_protected(found: &Metadata) -> bool {
    found.permissions().readonly()
}
