//! The one writer: a thread that owns the writing connection and commits whatever waits in one transaction.
//!
//! Durability costs one flush of the disk a transaction. Under load many callers share one; alone, a caller
//! waits for nobody. A job that fails is undone to its savepoint and takes no neighbour with it.

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failed;
use crate::port::StoreError;

/// Jobs in one transaction.
const GROUP: usize = 256;
/// Jobs that wait; beyond that callers wait to be let in.
const QUEUE: usize = 1_024;

/// Tells the caller how its job ended, once the commit is known to have succeeded or failed.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Runs inside the transaction, unless there is none; answers whether to keep its effects.
type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) -> (bool, Reply) + Send>;

#[derive(Debug, Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the database's writer has stopped".into())
}

impl Writer {
    /// Starts the thread; it ends when the last `Writer` is dropped.
    pub(super) fn start(connection: Connection) -> Result<Writer, StoreError> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("sqlite-writer".into());
        let started = thread.spawn(move || write_all(&connection, waiting));
        started.map_err(|error| StoreError::Unavailable(format!("no thread for the database's writer: {error}")))?;
        Ok(Writer { jobs })
    }

    /// Runs `job` in a transaction that is durable once this answers `Ok`.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let boxed: Job = Box::new(move |connection| {
            let result = connection.and_then(job);
            let keep = result.is_ok();
            let reply: Reply = Box::new(move |committed| {
                // A caller that is gone wants no answer.
                let _ = sender.send(result.and_then(|value| committed.map(|()| value)));
            });
            (keep, reply)
        });
        self.jobs.send(boxed).await.map_err(|_| stopped())?;
        receiver.await.map_err(|_| stopped())?
    }
}

fn write_all(connection: &Connection, mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = waiting.try_recv()
        {
            group.push(next);
        }
        let mut replies = Vec::with_capacity(group.len());
        let committed = write_group(connection, group, &mut replies);
        if committed.is_err() && !connection.is_autocommit() {
            // Whatever is open must not leak into the next group; the first error is the one to report.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for reply in replies {
            reply(committed.clone());
        }
    }
}

/// Runs every job, so that every caller gets an answer; once the transaction is broken they get its error.
fn write_group(connection: &Connection, group: Vec<Job>, replies: &mut Vec<Reply>) -> Result<(), StoreError> {
    let run = |sql: &str| {
        let done = connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        done.map(|_| ()).map_err(failed)
    };
    let mut state = run("BEGIN IMMEDIATE");
    for job in group {
        state = state.and_then(|()| run("SAVEPOINT job"));
        let (keep, reply) = job(state.clone().map(|()| connection));
        replies.push(reply);
        if state.is_ok() {
            state = if keep { Ok(()) } else { run("ROLLBACK TO job") }.and_then(|()| run("RELEASE job"));
        }
    }
    state.and_then(|()| run("COMMIT"))
}
