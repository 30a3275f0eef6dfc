//! Copies the write-ahead log into the database on a thread of its own, so that no writer waits for it.
//!
//! Writers append while the log is copied. Only when it has grown to a multiple of its usual size does the writer
//! copy by itself: a log that grows faster than it is copied must not fill the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::fault::Result;
use super::identity::Identity;
use crate::port::StoreError;

/// Pages by which the log grows between copies: 8 MB. Under load it is never copied to its end, because it grows
/// meanwhile, and only then does it begin anew; a copy after each commit would copy the same pages all the time.
const PAGES: i32 = 2_048;
/// Pages in the log from which on the writer waits for the copy: 64 MB.
const MOST_PAGES: i32 = 16_384;

/// The log of the writer's commits. The thread that copies it ends with this.
pub(super) struct Log {
    grown: Arc<AtomicBool>,
    wanted: SyncSender<()>,
}

impl Log {
    /// Whether it has grown enough to be copied; says so once.
    pub(super) fn has_grown(&self) -> bool {
        self.grown.swap(false, Ordering::Relaxed)
    }

    /// Has it copied.
    pub(super) fn copy(&self) {
        // One that waits already is enough.
        let _ = self.wanted.try_send(());
    }
}

/// Watches how the log of this connection's commits grows.
pub(super) fn watch(writer: &mut Connection, identity: &Arc<Identity>) -> Result<Log> {
    let (copy, wanted) = sync_channel(1);
    let grown = Arc::new(AtomicBool::new(false));
    let unstarted = |error| StoreError::Unavailable(format!("no thread for the database's log: {error}"));
    let thread = std::thread::Builder::new().name("sqlite-log".into());
    let copied = Arc::clone(identity);
    thread.spawn(move || copy_all(&copied, &wanted)).map_err(unstarted)?;
    let hooked = writer.wal_hook(Some(hook(Arc::clone(&grown))));
    hooked.map_err(|error| super::fault::judge(identity.path(), &error))?;
    Ok(Log { grown, wanted: copy })
}

fn hook(grown: Arc<AtomicBool>) -> impl FnMut(&mut Wal, i32) -> rusqlite::Result<()> + Send {
    // How long the log was when it was last to be copied.
    let mut last = 0;
    move |log, pages| {
        if pages < last {
            last = 0;
        }
        if pages >= MOST_PAGES
            && let Err(error) = log.checkpoint()
        {
            // What was committed is committed, whatever becomes of the copy: the other thread may be at it.
            tracing::debug!("the log was not copied by the writer: {error}");
        }
        if pages - last >= PAGES {
            last = pages;
            grown.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn copy_all(identity: &Identity, wanted: &Receiver<()>) {
    while wanted.recv().is_ok() {
        // Into no other file. The writer says so, which finds it as well.
        if identity.check().is_err() {
            continue;
        }
        let path = identity.path();
        let copied = super::connect(path)
            .and_then(|log| log.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
        if let Err(error) = copied {
            // Nothing is lost: the log stays, and is copied the next time.
            tracing::warn!("the log of {} could not be copied: {error}", path.display());
        }
        // What the file shows now is what it must not fall behind. Whether it does the writer says.
        let _ = identity.check();
    }
}
