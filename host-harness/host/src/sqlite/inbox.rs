//! The durable inbox.
//!
//! | state | meaning | `due_at` |
//! |---|---|---|
//! | ready | a worker may take it | none |
//! | leased | a worker has it | when its lease runs out |
//! | waiting | its last attempt failed | when the next one is due |
//! | done | applied, or ignored | none |
//! | dead | given up | none |
//!
//! No instant is trusted: what is due later than any lease or wait lasts was noted while the clock was ahead, and is due
//! now; and deliveries grow old by the time that the database has seen pass, besides the clock's.
//!
//! A claim first makes ready what has come due, then lets organisations take turns, from the one after the
//! organisation that was served last. Either step reads an index of exactly the rows that it is after, so a
//! long history or many failures cost a claim nothing. The token grows with every claim and replay: whoever
//! comes with an older one has lost the delivery.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::SqliteStore;
use super::coding::{decode_headers, encode_headers, signed, to_json, unsigned};
use super::fault::{Fault, Outcome, Result};
use crate::contract::{Delivery, Timestamp};
use crate::id::{DeliveryId, OrgId};
use crate::port::{
    Accepted, DeliveryFilter, DeliveryRow, DeliveryState, Hands, Inbox, InboxDepth, KEPT_DEAD, Keep,
    LONGEST_RETRY, Lease, LeasedDelivery, NewDelivery,
};

/// Microseconds that no wait of a delivery lasts.
const LONGEST_WAIT: i64 = LONGEST_RETRY.as_micros() as i64 + SLACK;
/// Microseconds by which a clock may be set back without a word: two processes, or a correction over the network.
pub(super) const SLACK: i64 = 5_000_000;
/// What is counted of the time between two notes at most. Microseconds.
const COUNTED: i64 = 2 * 3_600_000_000;

// Of many that wait, these read an index and no more rows than they answer.
pub(super) const DEPTH: &str = "SELECT (SELECT count(*) FROM delivery WHERE state = 0)
        + (SELECT count(*) FROM delivery WHERE due_at IS NOT NULL),
    (SELECT count(*) FROM delivery WHERE state = 4)";
pub(super) const CROWDING: &str = "SELECT org FROM (
        SELECT org, count(*) AS waiting FROM delivery WHERE state = 0 GROUP BY org
        UNION ALL SELECT org, count(*) FROM delivery INDEXED BY delivery_due WHERE due_at IS NOT NULL GROUP BY org
    ) GROUP BY org HAVING sum(waiting) >= ?1";
pub(super) const OLDEST: &str = "SELECT n, id, event_type, token, attempts, incident FROM delivery
    WHERE org = ?1 AND state = 0 ORDER BY received_at, n LIMIT 1";
/// Not of these incidents, as far as it is among the oldest thousand.
pub(super) const OLDEST_BUT: &str = "SELECT n, id, event_type, token, attempts, incident FROM (
        SELECT n, id, event_type, token, attempts, incident, received_at FROM delivery
        WHERE org = ?1 AND state = 0 ORDER BY received_at, n LIMIT 1000)
    WHERE incident IS NULL OR incident NOT IN (SELECT value FROM json_each(?2))
    ORDER BY received_at, n LIMIT 1";

pub(super) const ANY_DUE: &str =
    "SELECT 1 FROM delivery INDEXED BY delivery_due WHERE state = ?1 AND due_at BETWEEN ?2 AND ?3 LIMIT 1";
pub(super) const COME_DUE: &str = "UPDATE delivery INDEXED BY delivery_due SET state = 0, due_at = NULL
    WHERE state = ?1 AND due_at BETWEEN ?2 AND ?3";

const READY: i64 = 0;
const LEASED: i64 = 1;
const WAITING: i64 = 2;
const DONE: i64 = 3;
const DEAD: i64 = 4;

#[async_trait::async_trait]
impl Inbox for SqliteStore {
    async fn accept(&self, org: &OrgId, delivery: NewDelivery) -> Result<Accepted> {
        // Before the one thread that writes has it.
        let headers =
            encode_headers(&delivery.delivery.headers).map_err(|fault| fault.explain(&self.path))?;
        let org = org.clone();
        let (body, size) = pack(&delivery.delivery.body);
        self.write(move |connection| accept(connection, &org, &delivery, &headers, &body, size)).await
    }

    async fn claim(&self, hands: Hands, lease_for: Duration, now: Timestamp) -> Result<Vec<LeasedDelivery>> {
        // An idle worker asks often; a look at two indexes spares the file a write.
        let due = due(lease_for, now);
        let asked = due;
        if !self.glance(move |connection| any_due(connection, &asked)).await? {
            return Ok(Vec::new());
        }
        self.note(move |connection| claim(connection, &hands, &due, lease_end(now, lease_for), now)).await
    }

    async fn finish(&self, ended: Vec<(Lease, String)>, now: Timestamp) -> Result<u64> {
        self.note(move |connection| {
            let update =
                "UPDATE delivery SET state = 3, due_at = NULL, outcome = ?4, error = NULL, finished_at = ?5
                WHERE org = ?1 AND id = ?2 AND token = ?3 AND state IN (1, 3)";
            let mut update = connection.prepare_cached(update)?;
            let mut noted = 0;
            for (lease, outcome) in &ended {
                let (org, id) = (lease.org.as_str(), lease.delivery.as_str());
                noted += update.execute(params![org, id, lease.token, outcome, now])? as u64;
            }
            Ok(noted)
        })
        .await
    }

    async fn retry(&self, lease: &Lease, error: &str, run_at: Timestamp) -> Result<()> {
        let (lease, error) = (lease.clone(), error.to_owned());
        self.note(move |connection| {
            let update = "UPDATE delivery SET state = 2, due_at = ?5, error = ?4
                WHERE org = ?1 AND id = ?2 AND token = ?3 AND state = 1";
            let (org, id) = (lease.org.as_str(), lease.delivery.as_str());
            held(connection.prepare_cached(update)?.execute(params![org, id, lease.token, error, run_at])?)
        })
        .await
    }

    async fn renew(&self, leases: Vec<Lease>, lease_for: Duration, now: Timestamp) -> Result<()> {
        self.note(move |connection| {
            let update =
                "UPDATE delivery SET due_at = ?4 WHERE org = ?1 AND id = ?2 AND token = ?3 AND state = 1";
            let mut update = connection.prepare_cached(update)?;
            let until = lease_end(now, lease_for);
            for lease in &leases {
                update.execute(params![lease.org.as_str(), lease.delivery.as_str(), lease.token, until])?;
            }
            Ok(())
        })
        .await
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<()> {
        self.write(move |connection| {
            let update = "UPDATE delivery SET state = 0, due_at = NULL, attempts = attempts - 1
                WHERE org = ?1 AND id = ?2 AND token = ?3 AND state = 1";
            let mut update = connection.prepare_cached(update)?;
            for lease in &leases {
                update.execute(params![lease.org.as_str(), lease.delivery.as_str(), lease.token])?;
            }
            Ok(())
        })
        .await
    }

    async fn bury(&self, lease: &Lease, error: &str, now: Timestamp) -> Result<()> {
        let (lease, error) = (lease.clone(), error.to_owned());
        self.write(move |connection| {
            let update = "UPDATE delivery SET state = 4, due_at = NULL, error = ?4, finished_at = ?5
                WHERE org = ?1 AND id = ?2 AND token = ?3 AND state = 1";
            let (org, id) = (lease.org.as_str(), lease.delivery.as_str());
            held(connection.prepare_cached(update)?.execute(params![org, id, lease.token, error, now])?)
        })
        .await
    }

    async fn replay(&self, org: &OrgId, delivery: &DeliveryId, now: Timestamp) -> Result<bool> {
        let (org, delivery) = (org.clone(), delivery.clone());
        self.write(move |connection| {
            let these = params![org.as_str(), now, delivery.as_str()];
            Ok(again(connection, "id = ?3 AND state IN (3, 4)", these)? > 0)
        })
        .await
    }

    async fn replay_dead(&self, org: &OrgId, now: Timestamp) -> Result<u64> {
        let org = org.clone();
        self.write(move |connection| Ok(again(connection, "state = 4", params![org.as_str(), now])? as u64))
            .await
    }

    async fn deliveries(&self, org: &OrgId, filter: &DeliveryFilter) -> Result<Vec<DeliveryRow>> {
        let (org, filter) = (org.clone(), filter.clone());
        self.read(move |connection| deliveries(connection, &org, &filter)).await
    }

    async fn delivery(&self, org: &OrgId, delivery: &DeliveryId) -> Result<Option<(DeliveryRow, Delivery)>> {
        let (org, delivery) = (org.clone(), delivery.clone());
        self.read(move |connection| {
            let select = format!(
                "SELECT {ROW}, headers, body, size FROM delivery JOIN delivery_body USING (n) WHERE org = ?1 AND id = ?2"
            );
            let read = |of: &Row<'_>| Ok((row(of)?, of.get(11)?, of.get(12)?, of.get(13)?));
            let mut statement = connection.prepare_cached(&select)?;
            let found = statement.query_row([org.as_str(), delivery.as_str()], read).optional()?;
            let Some((row, headers, body, size)): Option<(_, Vec<u8>, _, _)> = found else { return Ok(None) };
            Ok(Some((row, Delivery { headers: decode_headers(&headers)?, body: unpack(body, size)? })))
        })
        .await
    }

    async fn depth(&self) -> Result<InboxDepth> {
        self.read(|connection| {
            let read = |row: &Row<'_>| {
                Ok(InboxDepth { pending: unsigned(row.get(0)?), dead: unsigned(row.get(1)?) })
            };
            Ok(connection.prepare_cached(DEPTH)?.query_row([], read)?)
        })
        .await
    }

    async fn crowding(&self, most: u64) -> Result<Vec<OrgId>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(CROWDING)?;
            let rows = statement.query_map([signed(most)], |row| row.get::<_, String>(0))?;
            rows.map(|org| org?.parse().map_err(|_| Fault::damaged("an organisation"))).collect()
        })
        .await
    }

    async fn grow_older(&self, now: Timestamp) -> Result<()> {
        self.write(move |connection| grow_older(connection, now)).await
    }

    async fn prune(&self, keep: Keep, now: Timestamp, after: i64) -> Result<Option<i64>> {
        self.write(move |connection| prune(connection, keep, now, after)).await
    }
}

/// Makes deliveries of a connected organisation ready again, as if they had not been tried: those of the first value
/// that this term admits, asked for at the second value. Answers how many.
fn again(connection: &Connection, these: &str, values: &[&dyn ToSql]) -> Outcome<usize> {
    let update = format!(
        "UPDATE delivery SET state = 0, due_at = NULL, token = token + 1, attempts = 0, outcome = NULL, error = NULL,
            finished_at = NULL, replayed_at = ?2
        WHERE org = ?1 AND {these} AND EXISTS (SELECT 1 FROM organisation WHERE id = ?1 AND state <> 3)"
    );
    Ok(connection.prepare_cached(&update)?.execute(values)?)
}

/// Deliveries that are looked at in one write.
const SLICE: i64 = 500;

fn grow_older(connection: &Connection, now: Timestamp) -> Outcome<()> {
    // Set back, the clock counts from there.
    let count =
        "UPDATE age SET passed = passed + max(0, min(?1 - seen_at, ?2)), seen_at = ?1 RETURNING passed";
    let passed: i64 = connection.prepare_cached(count)?.query_row([now, COUNTED], |row| row.get(0))?;
    let note = "INSERT INTO arrived SELECT ?1, coalesce(max(n), 0) FROM delivery WHERE true
        ON CONFLICT (passed) DO UPDATE SET newest = excluded.newest";
    connection.prepare_cached(note)?.execute([passed])?;
    Ok(())
}

/// What is old: what arrived before this time, and not after this delivery.
struct Old {
    before: Timestamp,
    newest: i64,
}

impl Old {
    fn after(connection: &Connection, kept: Duration, now: Timestamp) -> Outcome<Old> {
        let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
        let select = "SELECT coalesce(max(newest), 0) FROM arrived
            WHERE passed <= (SELECT passed FROM age) - ?1";
        let newest = connection.prepare_cached(select)?.query_row([kept], |row| row.get(0))?;
        Ok(Old { before: now.saturating_sub(kept), newest })
    }
}

fn prune(connection: &Connection, keep: Keep, now: Timestamp, after: i64) -> Outcome<Option<i64>> {
    let (done, dead) = (Old::after(connection, keep.done, now)?, Old::after(connection, keep.dead, now)?);
    // Of the notes, the newest that is old enough stays, and those after it.
    let longest = i64::try_from(keep.done.max(keep.dead).as_micros()).unwrap_or(i64::MAX);
    let forget = "DELETE FROM arrived WHERE passed < (SELECT max(passed) FROM arrived
        WHERE passed <= (SELECT passed FROM age) - ?1)";
    connection.prepare_cached(forget)?.execute([longest])?;

    // In the order of their arrival, so that no index is needed for it.
    let slice = "SELECT max(n), min(received_at), count(*) FROM
        (SELECT n, received_at FROM delivery WHERE n > ?1 ORDER BY n LIMIT ?2)";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (last, oldest, seen): (Option<i64>, Option<Timestamp>, i64) =
        connection.prepare_cached(slice)?.query_row([after, SLICE], read)?;
    let (Some(last), Some(oldest)) = (last, oldest) else { return Ok(None) };
    let delete =
        "DELETE FROM delivery WHERE n > ?1 AND n <= ?2 AND state = 3 AND received_at < ?3 AND n <= ?4
        AND EXISTS (SELECT 1 FROM delivery AS newer
            WHERE newer.org = delivery.org AND newer.received_at > delivery.received_at)";
    connection.prepare_cached(delete)?.execute([after, last, done.before, done.newest])?;
    let orgs = "SELECT DISTINCT org FROM delivery WHERE n > ?1 AND n <= ?2 AND state = 4 AND received_at < ?3 AND n <= ?4";
    let mut orgs = connection.prepare_cached(orgs)?;
    let orgs = orgs.query_map([after, last, dead.before, dead.newest], |row| row.get(0))?;
    for org in orgs.collect::<rusqlite::Result<Vec<String>>>()? {
        let delete =
            "DELETE FROM delivery WHERE n > ?1 AND n <= ?2 AND state = 4 AND received_at < ?3 AND n <= ?4
            AND org = ?5 AND received_at < (SELECT received_at FROM delivery AS kept
                WHERE kept.org = ?5 AND kept.state = 4 ORDER BY received_at DESC LIMIT 1 OFFSET ?6)";
        let values = params![after, last, dead.before, dead.newest, org, KEPT_DEAD.saturating_sub(1)];
        connection.prepare_cached(delete)?.execute(values)?;
    }
    Ok((seen == SLICE && oldest < done.before.max(dead.before)).then_some(last))
}

/// A body, and its length if it takes less room compressed.
fn pack(body: &[u8]) -> (Vec<u8>, Option<i64>) {
    let packed = lz4_flex::block::compress(body);
    match i64::try_from(body.len()) {
        Ok(size) if packed.len() < body.len() => (packed, Some(size)),
        _ => (body.to_vec(), None),
    }
}

fn unpack(body: Vec<u8>, size: Option<i64>) -> Outcome<Vec<u8>> {
    let damaged = || Fault::damaged("a delivery's body");
    let Some(size) = size else { return Ok(body) };
    let size = usize::try_from(size).ok().filter(|size| *size <= MOST_UNPACKED).ok_or_else(damaged)?;
    lz4_flex::block::decompress(&body, size).map_err(|_| damaged())
}

/// More than any body that is accepted: a damaged length is not to become memory.
const MOST_UNPACKED: usize = 64 << 20;

/// Marks the lease's delivery as applied, within the transaction that applies it. When it was done and what it
/// led to is added by `finish`.
pub(super) fn complete(connection: &Connection, lease: &Lease) -> Outcome<()> {
    let update = "UPDATE delivery SET state = 3, due_at = NULL, error = NULL
        WHERE org = ?1 AND id = ?2 AND token = ?3 AND state = 1";
    let values = params![lease.org.as_str(), lease.delivery.as_str(), lease.token];
    held(connection.prepare_cached(update)?.execute(values)?)
}

/// When a lease that begins now runs out.
pub(super) fn lease_end(now: Timestamp, lease_for: Duration) -> Timestamp {
    now.saturating_add(i64::try_from(lease_for.as_micros()).unwrap_or(i64::MAX))
}

fn accept(
    connection: &Connection,
    org: &OrgId,
    delivery: &NewDelivery,
    headers: &[u8],
    body: &[u8],
    size: Option<i64>,
) -> Outcome<Accepted> {
    // It was verified with what was known a moment ago.
    let connected = "SELECT 1 FROM organisation WHERE id = ?1 AND state <> 3";
    if !connection.prepare_cached(connected)?.exists([org.as_str()])? {
        return Ok(Accepted::Unknown);
    }
    let insert = "INSERT INTO delivery (org, id, event_type, incident, received_at, state, token, attempts)
        VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0) ON CONFLICT (org, id) DO NOTHING";
    let inserted = connection.prepare_cached(insert)?.execute(params![
        org.as_str(),
        delivery.id.as_str(),
        delivery.event_type,
        delivery.incident,
        delivery.received_at,
    ])?;
    if inserted == 0 {
        return again_offered(connection, org, delivery);
    }
    let n = connection.last_insert_rowid();
    let insert = "INSERT INTO delivery_body (n, headers, body, size) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(insert)?.execute(params![n, headers, body, size])?;
    Ok(Accepted::New)
}

/// A delivery whose id is stored. The sender signs each attempt anew, so that only the body tells whether it is the same.
fn again_offered(connection: &Connection, org: &OrgId, delivery: &NewDelivery) -> Outcome<Accepted> {
    let select = "SELECT n, body, size FROM delivery JOIN delivery_body USING (n) WHERE org = ?1 AND id = ?2";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (n, body, size): (i64, Vec<u8>, Option<i64>) =
        connection.prepare_cached(select)?.query_row([org.as_str(), delivery.id.as_str()], read)?;
    if unpack(body, size)? == delivery.delivery.body {
        return Ok(Accepted::Duplicate);
    }
    let update = "UPDATE delivery SET altered_at = ?2 WHERE n = ?1";
    connection.prepare_cached(update)?.execute([n, delivery.received_at])?;
    Ok(Accepted::Altered)
}

/// What has come due: of each state, from this to that time.
type Due = [(i64, Timestamp, Timestamp); 4];

fn due(lease_for: Duration, now: Timestamp) -> Due {
    // Twice, so that a clock that is set back by a little ends no lease.
    let leased = lease_end(lease_end(now, lease_for), lease_for);
    let waiting = now.saturating_add(LONGEST_WAIT);
    [
        (LEASED, Timestamp::MIN, now),
        (LEASED, leased.saturating_add(1), Timestamp::MAX),
        (WAITING, Timestamp::MIN, now),
        (WAITING, waiting.saturating_add(1), Timestamp::MAX),
    ]
}

fn any_due(connection: &Connection, due: &Due) -> Outcome<bool> {
    let ready = "SELECT 1 FROM delivery WHERE state = 0 LIMIT 1";
    if connection.prepare_cached(ready)?.exists([])? {
        return Ok(true);
    }
    let mut any = connection.prepare_cached(ANY_DUE)?;
    for &(state, from, to) in due {
        if any.exists([state, from, to])? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn claim(
    connection: &Connection,
    hands: &Hands,
    due: &Due,
    until: Timestamp,
    now: Timestamp,
) -> Outcome<Vec<LeasedDelivery>> {
    let mut ready = connection.prepare_cached(COME_DUE)?;
    for &(state, from, to) in due {
        ready.execute([state, from, to])?;
    }

    let limit = usize::try_from(hands.free).unwrap_or(usize::MAX);
    let mut leased = Vec::new();
    let mut turns = turns(connection, limit, hands)?;
    let mut busy = hands.busy.clone();
    let mut served = None;
    while leased.len() < limit && !turns.is_empty() {
        // One each, until there are enough, or none has any left or a hand for it.
        let mut going_on = Vec::with_capacity(turns.len());
        for org in turns {
            if leased.len() == limit {
                break;
            }
            let Some(delivery) = lease_oldest(connection, &org, hands, until, now)? else {
                continue;
            };
            leased.push(delivery);
            served = Some(org.clone());
            let held = busy.entry(org.clone()).or_default();
            *held = held.saturating_add(1);
            if *held < hands.each {
                going_on.push(org);
            }
        }
        turns = going_on;
    }
    if let Some(org) = served {
        connection.prepare_cached("UPDATE turn SET org = ?1")?.execute([org.as_str()])?;
    }
    Ok(leased)
}

/// Up to `limit` organisations with something ready, from the one after the last served on, then from the first;
/// without those that have all the hands that one may have.
fn turns(connection: &Connection, limit: usize, hands: &Hands) -> Outcome<Vec<OrgId>> {
    let last: String = connection.prepare_cached("SELECT org FROM turn")?.query_row([], |row| row.get(0))?;
    let next = "SELECT org FROM delivery WHERE state = 0 AND org > ?1 ORDER BY org LIMIT 1";
    let mut next = connection.prepare_cached(next)?;
    let mut turns: Vec<OrgId> = Vec::new();
    let mut at = last.clone();
    let mut wrapped = false;
    while turns.len() < limit {
        match next.query_row([&at], |row| row.get::<_, String>(0)).optional()? {
            Some(org) if wrapped && org > last => break,
            Some(org) => {
                let turn: OrgId = org.parse().map_err(|_| Fault::damaged("an organisation"))?;
                if hands.busy.get(&turn).is_none_or(|held| *held < hands.each) {
                    turns.push(turn);
                }
                at = org;
            }
            None if wrapped => break,
            None => {
                wrapped = true;
                at.clear();
            }
        }
    }
    Ok(turns)
}

/// Deliveries of one organisation that one claim gives up at most: what a long row of crashes left is buried over
/// several claims.
const BURIED: usize = 100;

fn lease_oldest(
    connection: &Connection,
    org: &OrgId,
    hands: &Hands,
    until: Timestamp,
    now: Timestamp,
) -> Outcome<Option<LeasedDelivery>> {
    let slow = hands.slow.get(org).map(to_json).transpose()?;
    let mut oldest = connection.prepare_cached(if slow.is_some() { OLDEST_BUT } else { OLDEST })?;
    let read = |row: &Row<'_>| {
        let lease =
            Lease { org: org.clone(), delivery: delivery_id(row, 1)?, token: row.get::<_, i64>(3)? + 1 };
        let attempt = row.get::<_, u32>(4)?.saturating_add(1);
        Ok((row.get::<_, i64>(0)?, lease, row.get(2)?, attempt, row.get(5)?))
    };
    for _ in 0..BURIED {
        let found = match &slow {
            Some(slow) => oldest.query_row([org.as_str(), slow], read),
            None => oldest.query_row([org.as_str()], read),
        };
        let found = found.optional()?;
        let Some((n, lease, event_type, attempt, incident)) = found else { return Ok(None) };
        // Nobody came to note how its attempts ended: it may be what ends those who try.
        if attempt > hands.attempts {
            let bury = "UPDATE delivery SET state = 4, due_at = NULL, finished_at = ?2,
                    error = 'every attempt ended without a word; a worker may have failed over it'
                WHERE n = ?1";
            connection.prepare_cached(bury)?.execute([n, now])?;
            continue;
        }
        let update = "UPDATE delivery SET state = 1, due_at = ?2, token = ?3, attempts = ?4 WHERE n = ?1";
        connection.prepare_cached(update)?.execute(params![n, until, lease.token, attempt])?;
        let body = "SELECT headers, body, size FROM delivery_body WHERE n = ?1";
        let mut body = connection.prepare_cached(body)?;
        let (headers, body, size): (Vec<u8>, Vec<u8>, Option<i64>) =
            body.query_row([n], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let delivery = Delivery { headers: decode_headers(&headers)?, body: unpack(body, size)? };
        return Ok(Some(LeasedDelivery { lease, attempt, event_type, incident, delivery }));
    }
    Ok(None)
}

fn deliveries(connection: &Connection, org: &OrgId, filter: &DeliveryFilter) -> Outcome<Vec<DeliveryRow>> {
    // Literals, so that the partial indexes serve.
    let wanted = match filter.state {
        None => "",
        Some(DeliveryState::Pending) => " AND state < 3",
        Some(DeliveryState::Done) => " AND state = 3",
        Some(DeliveryState::Dead) => " AND state = 4",
    };
    // No index leads from an incident to its deliveries, which would cost each webhook something.
    let from = match &filter.incident {
        None => format!("delivery WHERE org = ?1{wanted}"),
        Some(_) => format!(
            "(SELECT * FROM delivery WHERE org = ?1{wanted} ORDER BY received_at DESC, n DESC LIMIT {AMONG})
                WHERE incident = ?4"
        ),
    };
    let select = format!("SELECT {ROW} FROM {from} ORDER BY received_at DESC, n DESC LIMIT ?2 OFFSET ?3");
    let limit = filter.limit.map_or(-1, i64::from);
    let mut statement = connection.prepare_cached(&select)?;
    let rows = match &filter.incident {
        None => statement.query_map(params![org.as_str(), limit, filter.offset], row)?,
        Some(incident) => statement.query_map(params![org.as_str(), limit, filter.offset, incident], row)?,
    };
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Deliveries, the newest, among which those of one incident are looked for.
const AMONG: u32 = 20_000;

const ROW: &str =
    "id, event_type, incident, received_at, state, attempts, outcome, error, finished_at, altered_at,
    replayed_at";

/// Columns as in [`ROW`].
fn row(of: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        id: delivery_id(of, 0)?,
        event_type: of.get(1)?,
        incident: of.get(2)?,
        received_at: of.get(3)?,
        state: match of.get(4)? {
            READY | LEASED | WAITING => DeliveryState::Pending,
            DONE => DeliveryState::Done,
            DEAD => DeliveryState::Dead,
            state => return Err(rusqlite::Error::IntegralValueOutOfRange(4, state)),
        },
        attempts: of.get(5)?,
        outcome: of.get(6)?,
        error: of.get(7)?,
        finished_at: of.get(8)?,
        altered_at: of.get(9)?,
        replayed_at: of.get(10)?,
    })
}

fn delivery_id(row: &Row<'_>, column: usize) -> rusqlite::Result<DeliveryId> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn held(rows: usize) -> Outcome<()> {
    if rows == 0 { Err(Fault::conflict()) } else { Ok(()) }
}
