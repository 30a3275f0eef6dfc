//! Whether what lies at the store's path is still the database that was opened.
//!
//! SQLite writes on into a file that somebody deleted, replaced or overwrote, and what it acknowledges then is lost. So
//! the writer looks after each commit, before it answers. A look is a `stat` of the path, and a read of the database's
//! header past SQLite: the pages that SQLite shows may come from its log, which an overwritten file does not change.
//!
//! The header holds a random identifier, made once for each database, and numbers that only grow: one of them is raised
//! before each copy of the log into the file (see [`advance`]), so that an older copy of the same database is told from
//! what the file held a moment ago.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::fault::{Result, judge};
use crate::port::StoreError;

/// What SQLite calls a page's header: the first bytes of the file.
const HEADER: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The database that a store was opened on.
pub(super) struct Identity {
    path: Arc<Path>,
    descriptor: Descriptor,
    /// As SQLite shows it. The file shows the same once the log was copied into it.
    opened: Header,
    /// As the file showed it last.
    seen: Mutex<Header>,
    gone: watch::Sender<Option<StoreError>>,
}

/// Of the file's header, what tells one database from another, and from its own past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Random.
    id: u32,
    /// Grows with each change of the tables, such as a newer program's.
    schema: u32,
    /// Grows before each copy of the log.
    generation: u32,
    /// Grows with the file.
    changes: u32,
}

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Deleted,
    Replaced,
    Overwritten,
    /// The database is whole, and has other tables than this program knows.
    Altered,
}

impl Identity {
    /// To be called before anything else opens the file, so that its locks are not given up by another store's end.
    pub(super) fn hold(path: &Path) -> io::Result<Descriptor> {
        Descriptor::open(path)
    }

    /// The database that this connection was opened on. It gets an identifier if it has none.
    pub(super) fn of(
        connection: &mut Connection,
        path: &Arc<Path>,
        descriptor: Descriptor,
    ) -> Result<Identity> {
        let opened = Header::shown(connection).map_err(|error| judge(path, &error))?;
        let unreadable = |error: io::Error| {
            StoreError::Unavailable(format!("cannot read {}: {error}; check its disk", path.display()))
        };
        let is_current = |header: &Option<Header>| {
            header.is_some_and(|header| header.id == opened.id && header.schema == opened.schema)
        };
        let mut found = descriptor.header().map_err(unreadable)?;
        if !is_current(&found) {
            // What was just made, or migrated, is in the log alone.
            let copy = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            copy.map_err(|error| judge(path, &error))?;
            found = descriptor.header().map_err(unreadable)?;
        }
        let found = found.ok_or_else(|| {
            StoreError::Corrupt(format!("{} is not a SQLite database; name another file", path.display()))
        })?;
        let identity = Identity {
            path: Arc::clone(path),
            descriptor,
            opened,
            seen: Mutex::new(found),
            gone: watch::Sender::new(None),
        };
        // It may have been replaced between the descriptor and the connection, which must not stand for two files.
        identity.check()?;
        Ok(identity)
    }

    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether the file at the path is the database that was opened, as the last look found it.
    pub(super) fn known(&self) -> Result<()> {
        match &*self.gone.borrow() {
            Some(gone) => Err(gone.clone()),
            None => Ok(()),
        }
    }

    /// Looks whether it is. Once it is not, it never is again: what was written meanwhile is nowhere.
    pub(super) fn check(&self) -> Result<()> {
        self.known()?;
        let looked = self.look().map_err(|error| {
            let file = self.path.display();
            StoreError::Unavailable(format!("cannot look at {file}: {error}; check its directory and disk"))
        })?;
        looked.map_err(|loss| self.lose(loss))
    }

    /// A newer program has migrated the database: what this one writes would break its rules.
    pub(super) fn outgrown(&self) -> StoreError {
        self.lose(Loss::Altered)
    }

    fn lose(&self, loss: Loss) -> StoreError {
        let gone = StoreError::Gone(loss.explain(&self.path));
        tracing::error!("{gone}");
        self.gone.send_replace(Some(gone.clone()));
        gone
    }

    /// Waits until a look finds another file, or none.
    pub(super) async fn gone(&self) -> StoreError {
        let mut gone = self.gone.subscribe();
        match gone.wait_for(Option::is_some).await.map(|gone| gone.clone()) {
            Ok(Some(gone)) => gone,
            // The sender lives as long as this.
            _ => std::future::pending().await,
        }
    }

    fn look(&self) -> io::Result<std::result::Result<(), Loss>> {
        let place = match std::fs::metadata(&self.path) {
            Ok(metadata) => place(&metadata),
            Err(error) if is_missing(&error) => return Ok(Err(Loss::Deleted)),
            Err(error) => return Err(error),
        };
        if place != self.descriptor.place {
            return Ok(Err(Loss::Replaced));
        }
        let found = self.descriptor.header()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match found {
            Some(found) if found.follows(&seen, &self.opened) => {
                *seen = found;
                Ok(())
            }
            Some(found) if found.is_altered(&seen, &self.opened) => Err(Loss::Altered),
            _ => Err(Loss::Overwritten),
        })
    }
}

/// Raises the number that tells the file from older copies of it. To be committed before the log is copied.
pub(super) fn advance(connection: &Connection) -> rusqlite::Result<()> {
    let generation: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    connection.pragma_update(None, "user_version", generation.wrapping_add(1))
}

impl Header {
    /// As SQLite shows it, with what is in the log.
    fn shown(connection: &mut Connection) -> rusqlite::Result<Header> {
        let pragma = |connection: &Connection, name| {
            connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0))
        };
        // Who only looks does not wait for who writes.
        if pragma(connection, "application_id")? == 0 {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if pragma(&transaction, "application_id")? == 0 {
                transaction.pragma_update(None, "application_id", fastrand::i32(1..))?;
            }
            transaction.commit()?;
        }
        let transaction = connection.transaction()?;
        let (id, schema) = (pragma(&transaction, "application_id")?, pragma(&transaction, "schema_version")?);
        transaction.commit()?;
        let unsigned = |value: i32| u32::from_ne_bytes(value.to_ne_bytes());
        Ok(Header { id: unsigned(id), schema: unsigned(schema), generation: 0, changes: 0 })
    }

    /// As the file shows it. None if that is no database's.
    fn read(file: &File) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let number = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let read = || {
            let (id, schema, generation, changes) = (number(68)?, number(40)?, number(60)?, number(24)?);
            bytes.starts_with(MAGIC).then_some(Header { id, schema, generation, changes })
        };
        Ok(read())
    }

    /// Whether the file may show this after it showed the other.
    fn follows(&self, seen: &Header, opened: &Header) -> bool {
        (self.schema == opened.schema || self.schema == seen.schema) && self.is_later(seen, opened)
    }

    /// Whether it is the same database later on, with other tables: a newer program has migrated it.
    fn is_altered(&self, seen: &Header, opened: &Header) -> bool {
        self.schema != opened.schema && not_behind(self.schema, opened.schema) && self.is_later(seen, opened)
    }

    fn is_later(&self, seen: &Header, opened: &Header) -> bool {
        (self.id == opened.id || self.id == seen.id)
            && not_behind(self.generation, seen.generation)
            && not_behind(self.changes, seen.changes)
    }
}

/// Of numbers that only grow, and begin anew after the largest.
fn not_behind(now: u32, before: u32) -> bool {
    now.wrapping_sub(before) <= u32::MAX / 2
}

impl Loss {
    fn explain(self, path: &Path) -> String {
        let file = path.display();
        match self {
            Loss::Deleted => format!(
                "{file} was moved or deleted while this process used it. Move it back; or, to go on with a backup, \
                 delete {file}-wal and {file}-shm and put the backup at {file}. Then start again"
            ),
            Loss::Replaced => format!(
                "{file} was replaced while this process used it. Stop every process that uses it, delete {file}-wal \
                 and {file}-shm, which belong to the former file, and put the new one at {file} once more. Then start \
                 again"
            ),
            Loss::Overwritten => format!(
                "{file} was overwritten while this process used it, and may be a mixture now. Stop every process that \
                 uses it, delete {file}-wal and {file}-shm, and put the backup at {file} once more. Then start again"
            ),
            Loss::Altered => format!(
                "another program changed the tables of {file} while this process used it: a newer version of this \
                 program, or a database tool. Nothing is lost. Start the newest version that you use"
            ),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Device and inode.
type Place = (u64, u64);

fn place(metadata: &std::fs::Metadata) -> Place {
    (metadata.dev(), metadata.ino())
}

/// An open descriptor of the file. Stores of one file share it: whoever closes any descriptor of a file gives up all
/// locks that this process has on it (POSIX), so it is closed after the last connection of the last store.
pub(super) struct Descriptor {
    /// Held by [`HELD`], which closes it.
    file: Weak<File>,
    place: Place,
}

/// Descriptors in use, each with how many use it.
static HELD: Mutex<BTreeMap<Place, (Arc<File>, usize)>> = Mutex::new(BTreeMap::new());

fn held() -> MutexGuard<'static, BTreeMap<Place, (Arc<File>, usize)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Descriptor {
    fn open(path: &Path) -> io::Result<Descriptor> {
        let mut held = held();
        let place = place(&std::fs::metadata(path)?);
        let (file, users) = match held.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let file = File::open(path)?;
                if self::place(&file.metadata()?) != place {
                    return Err(io::Error::other("it was replaced at this moment"));
                }
                new.insert((Arc::new(file), 0))
            }
        };
        *users = users.saturating_add(1);
        Ok(Descriptor { file: Arc::downgrade(file), place })
    }

    fn header(&self) -> io::Result<Option<Header>> {
        let file = self.file.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        Header::read(&file)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let mut held = held();
        if let Some((_, users)) = held.get_mut(&self.place) {
            *users = users.saturating_sub(1);
            if *users == 0 {
                held.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_follows_its_own_past_and_no_other() {
        let opened = Header { id: 7, schema: 40, generation: 0, changes: 0 };
        let seen = Header { id: 7, schema: 40, generation: 5, changes: u32::MAX };
        let later = Header { generation: 6, changes: 2, ..seen };
        assert!(seen.follows(&seen, &opened) && later.follows(&seen, &opened));
        for other in [
            Header { id: 8, ..later },
            Header { schema: 41, ..later },
            Header { generation: 4, ..later },
            Header { changes: u32::MAX - 1, ..later },
        ] {
            assert!(!other.follows(&seen, &opened), "{other:?}");
        }
        assert!(Header { schema: 41, ..later }.is_altered(&seen, &opened));
        for other in [Header { schema: 39, ..later }, Header { schema: 41, generation: 4, ..later }, later] {
            assert!(!other.is_altered(&seen, &opened), "{other:?}");
        }
        // What was made a moment ago reaches the file with the first copy of the log.
        let new = Header { id: 0, schema: 0, generation: 0, changes: 1 };
        assert!(new.follows(&new, &opened) && later.follows(&Header { changes: 1, ..new }, &opened));
    }
}
