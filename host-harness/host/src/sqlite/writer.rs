//! The one thread that writes, and its group commit.
//!
//! Everything that waits when the thread is free goes into one transaction with one sync, and is answered after the
//! commit, so that no answer precedes durability, and after a look whether the file still is the database that was
//! opened. Where a piece of work fails, the transaction is done again with each
//! piece in a savepoint of its own, and the next groups are done so from the start: a savepoint costs a copy of each
//! page that is written in it, which most groups need not pay.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Log;
use super::fault::{Fault, Outcome, Result, judge};
use super::identity::{Identity, advance};
use super::migrations;
use crate::port::StoreError;

/// Pieces of work that share a transaction at most, which bounds how long the first of them waits.
const GROUP: usize = 256;
/// Groups that are done with savepoints from the start after one that had to be done again.
const WARY: u32 = 64;
/// Pieces of work that wait at most; more callers wait for room.
const QUEUE: usize = 1024;

/// What an answer promises. A group that holds any synced piece is synced as a whole, and everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Durability {
    /// Survives the end of this process.
    Written,
    /// Survives a power cut.
    Synced,
}

/// Hands work to the writing thread, which ends with the last of these.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Task>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, identity: Arc<Identity>, log: Log) -> Result<Writer> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("sqlite-writer".into());
        let writing = move || write_all(connection, &identity, &log, waiting);
        let unstarted = |error| StoreError::Unavailable(format!("no thread for the database: {error}"));
        thread.spawn(writing).map_err(unstarted)?;
        Ok(Writer { queue })
    }

    pub(super) async fn run<T, F>(&self, durability: Durability, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Outcome<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Unavailable("the database's writer has ended".into());
        self.queue
            .send(Box::new(Piece { durability, work, result: None, reply }))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A piece of work of any type.
trait Task: Send {
    fn durability(&self) -> Durability;
    /// Does the work, for the first time or again, and keeps its result; answers the failure, if it is one.
    fn run(&mut self, connection: &Connection, path: &Path) -> Option<StoreError>;
    /// Tells the caller: the work's own failure, else how the transaction ended.
    fn answer(self: Box<Self>, ended: &Result<()>);
}

struct Piece<T, F> {
    durability: Durability,
    work: F,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Task for Piece<T, F>
where
    T: Send,
    F: Fn(&Connection) -> Outcome<T> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, connection: &Connection, path: &Path) -> Option<StoreError> {
        // A defect in one piece of work must not end the thread that all others need.
        let done = catch_unwind(AssertUnwindSafe(|| (self.work)(connection)));
        let done = done.unwrap_or_else(|_| Err(Fault::invalid("the work on it came to an unexpected end")));
        let result = done.map_err(|fault| fault.explain(path));
        let failure = result.as_ref().err().cloned();
        self.result = Some(result);
        failure
    }

    fn answer(self: Box<Self>, ended: &Result<()>) {
        let result = match (self.result, ended) {
            (_, Err(error @ StoreError::Gone(_))) => Err(error.clone()),
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.clone()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Unavailable("the write was not begun".into())),
        };
        // A caller that went away does not want to know.
        let _ = self.reply.send(result);
    }
}

fn write_all(
    connection: Connection,
    identity: &Identity,
    log: &Log,
    mut waiting: mpsc::Receiver<Box<dyn Task>>,
) {
    let path = identity.path();
    let mut group = Vec::with_capacity(GROUP);
    let (mut promised, mut wary) = (None, 0);
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        let wanted = group.iter().map(|task| task.durability()).max();
        let mut ended = identity.known().and_then(|()| {
            promise(&connection, &mut promised, wanted).map_err(|error| judge(path, &error))?;
            write_group(&connection, identity, &mut group, &mut wary)
        });
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!("a transaction on {} could not be rolled back: {error}", path.display());
        }
        // What was committed into a file that nobody finds again is not durable. A file that was overwritten fails in
        // many ways, of which this is the cause.
        if let Err(error) = identity.check_and_save(&connection) {
            ended = Err(error);
        }
        for task in group.drain(..) {
            task.answer(&ended);
        }
        if log.has_grown() {
            if let Err(error) = raise(&connection) {
                tracing::warn!("the generation of {} was not raised: {error}", path.display());
            }
            log.copy();
        }
    }
    if identity.known().is_err() {
        // The last connection that is closed would copy the log, which would go into a file that is not ours.
        std::mem::forget(connection);
    }
}

fn raise(connection: &Connection) -> rusqlite::Result<()> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let raised = advance(connection);
    execute(connection, if raised.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    raised
}

/// Sets what the next commit guarantees, if the last one was of another kind.
fn promise(
    connection: &Connection,
    promised: &mut Option<Durability>,
    wanted: Option<Durability>,
) -> rusqlite::Result<()> {
    if *promised != wanted {
        *promised = None;
        let synced = wanted != Some(Durability::Written);
        connection.pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" })?;
        *promised = wanted;
    }
    Ok(())
}

fn write_group(
    connection: &Connection,
    identity: &Identity,
    group: &mut [Box<dyn Task>],
    wary: &mut u32,
) -> Result<()> {
    let path = identity.path();
    let execute = |sql: &str| execute(connection, sql).map_err(|error| judge(path, &error));
    execute("BEGIN IMMEDIATE")?;
    // From here on nobody else migrates it.
    if migrations::is_newer(connection).map_err(|error| judge(path, &error))? {
        return Err(identity.outgrown());
    }
    if *wary == 0 {
        let Some(failure) = group.iter_mut().find_map(|task| task.run(connection, path)) else {
            return execute("COMMIT");
        };
        // After some failures, a full disk among them, SQLite has rolled back the whole transaction: nothing of the
        // group was written, and this is why.
        if connection.is_autocommit() {
            return Err(failure);
        }
        execute("ROLLBACK")?;
        if group.len() == 1 {
            return Ok(());
        }
        *wary = WARY;
        execute("BEGIN IMMEDIATE")?;
    }
    *wary = wary.saturating_sub(1);
    for task in group {
        execute("SAVEPOINT piece")?;
        if let Some(failure) = task.run(connection, path) {
            if connection.is_autocommit() {
                return Err(failure);
            }
            execute("ROLLBACK TO piece")?;
        }
        execute("RELEASE piece")?;
    }
    execute("COMMIT")
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
