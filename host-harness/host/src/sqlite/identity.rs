//! Whether what lies at the store's path is still the database that was opened.
//!
//! SQLite writes on into a file that somebody deleted, replaced or overwrote, and what it acknowledges then is lost. So
//! the writer looks after each commit, before it answers. A look is a `stat` of the path, and a read of the database's
//! header past SQLite: the pages that SQLite shows may come from its log, which an overwritten file does not change.
//!
//! The header holds a random identifier, made once for each database, and numbers that only grow: one of them is raised
//! before each copy of the log into the file (see [`advance`]), so that an older copy of the same database is told from
//! what the file held a moment ago.
//!
//! The log is looked at as well: SQLite also writes on into a log that somebody deleted, and what is in that log alone
//! ends with the process. The writer still has it open, and copies it into the database before it ends.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::fault::{Result, judge};
use crate::port::StoreError;

/// What SQLite calls a page's header: the first bytes of the file.
const HEADER: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
/// How long a copy of the first page into the file takes at most, by far: a read during it shows half of it.
const COPYING: Duration = Duration::from_millis(5);
/// Reads of a header that is written all the time.
const READS: u32 = 20;

/// The database that a store was opened on.
pub(super) struct Identity {
    path: Arc<Path>,
    descriptor: Descriptor,
    /// Where SQLite has its log: beside the file that links lead to.
    log: PathBuf,
    log_place: Place,
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
    /// The log, which this process still has open. Nobody else has written another.
    LogDeleted,
    /// There is another log, which somebody may be writing, or this one was deleted and could not be saved.
    LogLost,
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
        // SQLite keeps the log for as long as the connection lives, which has read from it.
        let log = PathBuf::from(format!("{}-wal", connection.path().unwrap_or_default()));
        let log_place = std::fs::metadata(&log).map(|metadata| place(&metadata)).map_err(unreadable)?;
        let identity = Identity {
            path: Arc::clone(path),
            descriptor,
            log,
            log_place,
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
        match self.examine()? {
            None => Ok(()),
            // Whoever hears of the loss ends the process, so the writer tells it, which saves the log before.
            Some(loss @ Loss::LogDeleted) => Err(StoreError::Gone(loss.explain(&self.path))),
            Some(loss) => Err(self.lose(loss)),
        }
    }

    /// The same, for the writer, between its transactions: it saves a log that was deleted.
    pub(super) fn check_and_save(&self, writer: &Connection) -> Result<()> {
        match self.examine()? {
            None => Ok(()),
            Some(Loss::LogDeleted) => {
                let saved = writer.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get::<_, bool>(0));
                if let Err(error) = &saved {
                    tracing::error!("the log of {} was not copied: {error}", self.path.display());
                }
                let is_saved = matches!(saved, Ok(false));
                Err(self.lose(if is_saved { Loss::LogDeleted } else { Loss::LogLost }))
            }
            Some(loss) => Err(self.lose(loss)),
        }
    }

    fn examine(&self) -> Result<Option<Loss>> {
        self.known()?;
        let looked = assured(|| self.look(), || std::thread::sleep(COPYING));
        looked.map_err(|error| {
            let file = self.path.display();
            StoreError::Unavailable(format!("cannot look at {file}: {error}; check its directory and disk"))
        })
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

    fn look(&self) -> io::Result<Option<Loss>> {
        let place = match std::fs::metadata(&self.path) {
            Ok(metadata) => place(&metadata),
            Err(error) if is_missing(&error) => return Ok(Some(Loss::Deleted)),
            Err(error) => return Err(error),
        };
        if place != self.descriptor.place {
            return Ok(Some(Loss::Replaced));
        }
        let found = steady(|| self.descriptor.header())?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(found) if found.follows(&seen, &self.opened) => *seen = found,
            Some(found) if found.is_altered(&seen, &self.opened) => return Ok(Some(Loss::Altered)),
            _ => return Ok(Some(Loss::Overwritten)),
        }
        self.look_at_log()
    }

    fn look_at_log(&self) -> io::Result<Option<Loss>> {
        match std::fs::metadata(&self.log) {
            Ok(metadata) if place(&metadata) == self.log_place => Ok(None),
            // Whoever opens the database makes an empty log, also to read only.
            Ok(metadata) if metadata.len() == 0 => Ok(Some(Loss::LogDeleted)),
            Ok(_) => Ok(Some(Loss::LogLost)),
            Err(error) if is_missing(&error) => Ok(Some(Loss::LogDeleted)),
            Err(error) => Err(error),
        }
    }
}

/// What two reads in a row show alike: one that meets a write shows half of it.
fn steady<T: PartialEq>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut before = read()?;
    for _ in 0..READS {
        let now = read()?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    Err(io::Error::other("its header changes all the time"))
}

/// What the look finds, and finds again after a wait where it read what may have been half written.
fn assured(
    mut look: impl FnMut() -> io::Result<Option<Loss>>,
    wait: impl FnOnce(),
) -> io::Result<Option<Loss>> {
    match look()? {
        Some(Loss::Overwritten | Loss::Altered) => {
            wait();
            look()
        }
        found => Ok(found),
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
            Loss::LogDeleted => format!(
                "{file}-wal was deleted while this process used it. What it held was copied into {file}: the database \
                 is whole, and nothing that was acknowledged is lost. Stop every other process that uses it with \
                 SIGTERM, leave {file}-wal and {file}-shm alone, and start again"
            ),
            Loss::LogLost => format!(
                "{file}-wal was deleted or replaced while this process used it, and what it held could not be copied \
                 into {file}: what was acknowledged last is lost. Stop every process that uses it, delete {file}-wal \
                 and {file}-shm, and put your newest backup at {file}. Then start again"
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
    fn a_header_that_was_read_half_written_is_no_loss() {
        let (former, half) = (Header { id: 7, schema: 40, generation: 5, changes: 9 }, None);
        let later = Header { generation: 6, changes: 10, ..former };
        let mut reads = [Some(former), half, Some(later), Some(later)].into_iter();
        assert_eq!(steady(|| Ok(reads.next().unwrap())).unwrap(), Some(later));
        let mut number = 0;
        let changing = || {
            number += 1;
            Ok(number)
        };
        steady(changing).unwrap_err();
        for (found, again, lost) in [
            (Some(Loss::Overwritten), None, None),
            (Some(Loss::Altered), None, None),
            (Some(Loss::Overwritten), Some(Loss::Overwritten), Some(Loss::Overwritten)),
            (Some(Loss::Deleted), None, Some(Loss::Deleted)),
            (Some(Loss::Replaced), None, Some(Loss::Replaced)),
        ] {
            let mut looks = [found, again].into_iter();
            assert_eq!(assured(|| Ok(looks.next().unwrap()), || ()).unwrap(), lost, "{found:?} {again:?}");
        }
    }

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
