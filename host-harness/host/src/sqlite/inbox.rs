//! The durable inbox. A claim moves a row's due time to the end of its lease and raises its token.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::organisations::org_id;
use super::{SqliteStore, failed};
use crate::contract::{Delivery, Header, Timestamp};
use crate::id::{DeliveryId, OrgId};
use crate::port::{
    Accepted, DeliveryFilter, DeliveryRow, DeliveryState, Inbox, InboxDepth, Lease, LeasedDelivery, NewDelivery,
    StoreError,
};

pub(super) fn end_of_lease(now: Timestamp, lease_for: Duration) -> Timestamp {
    now.saturating_add(i64::try_from(lease_for.as_micros()).unwrap_or(i64::MAX))
}

/// Names and values one after another, each with its length before it: values may hold any byte.
fn pack(headers: &[Header]) -> Vec<u8> {
    let mut packed = Vec::new();
    for part in headers.iter().flat_map(|header| [header.name.as_bytes(), &header.value]) {
        packed.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        packed.extend(part);
    }
    packed
}

fn unpack(mut packed: &[u8]) -> Option<Vec<Header>> {
    let mut headers = Vec::new();
    let part = |packed: &mut &[u8]| {
        let (length, rest) = packed.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        *packed = rest;
        Some(part.to_vec())
    };
    while !packed.is_empty() {
        let name = String::from_utf8(part(&mut packed)?).ok()?;
        headers.push(Header { name, value: part(&mut packed)? });
    }
    Some(headers)
}

fn state_code(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => 0,
        DeliveryState::Done => 1,
        DeliveryState::Dead => 2,
    }
}

/// Marks the delivery as applied, inside the transaction that stores what it led to.
pub(super) fn complete(connection: &Connection, lease: &Lease) -> Result<(), StoreError> {
    let sql = "UPDATE delivery SET state = 1, error = NULL WHERE org = ?1 AND id = ?2 AND token = ?3 AND state = 0";
    fenced(connection, sql, params![lease.org.as_str(), lease.delivery.as_str(), lease.token])
}

/// One row or the lease is lost.
fn fenced(connection: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), StoreError> {
    let rows = connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(failed)?;
    if rows == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// The next organisation with due deliveries after `org`, in the order of ids.
fn next_org(connection: &Connection, org: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    // The index leads with the organisation, so each step over one is a single search.
    let sql = "SELECT org FROM delivery WHERE state = 0 AND org > ?1 ORDER BY org LIMIT 1";
    let due = "SELECT 1 FROM delivery WHERE state = 0 AND org = ?1 AND due_at <= ?2 LIMIT 1";
    let mut after = org.to_string();
    loop {
        let mut next = connection.prepare_cached(sql).map_err(failed)?;
        let found: Option<String> = next.query_row([&after], |row| row.get(0)).optional().map_err(failed)?;
        let Some(found) = found else { return Ok(None) };
        let mut due = connection.prepare_cached(due).map_err(failed)?;
        if due.exists(params![found, now]).map_err(failed)? {
            return Ok(Some(found));
        }
        after = found;
    }
}

struct Due {
    seq: i64,
    id: String,
    event_type: String,
    headers: Vec<u8>,
    body: Vec<u8>,
    token: i64,
    attempt: u32,
}

fn claim_from(
    connection: &Connection,
    org: &str,
    limit: u32,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<LeasedDelivery>, StoreError> {
    let sql = "SELECT seq, id, event_type, headers, body, token, attempts FROM delivery
        WHERE state = 0 AND org = ?1 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let due = |row: &Row<'_>| {
        Ok(Due {
            seq: row.get(0)?,
            id: row.get(1)?,
            event_type: row.get(2)?,
            headers: row.get(3)?,
            body: row.get(4)?,
            token: row.get::<_, i64>(5)? + 1,
            attempt: row.get::<_, u32>(6)? + 1,
        })
    };
    let rows = statement.query_map(params![org, now, limit], due).map_err(failed)?;
    let rows = rows.collect::<rusqlite::Result<Vec<Due>>>().map_err(failed)?;
    let take = "UPDATE delivery SET due_at = ?2, token = ?3, attempts = ?4 WHERE seq = ?1";
    let mut take = connection.prepare_cached(take).map_err(failed)?;
    let mut leased = Vec::with_capacity(rows.len());
    for row in rows {
        take.execute(params![row.seq, until, row.token, row.attempt]).map_err(failed)?;
        let damaged = || StoreError::Corrupt(format!("the headers of delivery {} cannot be read", row.id));
        let headers = unpack(&row.headers).ok_or_else(damaged)?;
        let delivery = delivery_id(&row.id)?;
        leased.push(LeasedDelivery {
            lease: Lease { org: org_id(org)?, delivery, token: row.token },
            attempt: row.attempt,
            event_type: row.event_type,
            delivery: Delivery { headers, body: row.body },
        });
    }
    Ok(leased)
}

fn delivery_id(text: &str) -> Result<DeliveryId, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt(format!("`{text}`: {error}")))
}

fn listed(id: DeliveryId, row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        id,
        event_type: row.get(1)?,
        incident: row.get(2)?,
        received_at: row.get(3)?,
        state: match row.get::<_, i64>(4)? {
            0 => DeliveryState::Pending,
            1 => DeliveryState::Done,
            _ => DeliveryState::Dead,
        },
        attempts: row.get(5)?,
        outcome: row.get(6)?,
        error: row.get(7)?,
        finished_at: row.get(8)?,
    })
}

#[async_trait::async_trait]
impl Inbox for SqliteStore {
    async fn accept(&self, org: &OrgId, new: NewDelivery) -> Result<Accepted, StoreError> {
        let org = org.clone();
        self.write(move |connection| {
            let sql = "INSERT INTO delivery (org, id, event_type, incident, received_at, headers, body, due_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?5) ON CONFLICT (org, id) DO NOTHING";
            let mut insert = connection.prepare_cached(sql).map_err(failed)?;
            let headers = pack(&new.delivery.headers);
            let (id, kind, body) = (new.id.as_str(), &new.event_type, &new.delivery.body);
            let values = params![org.as_str(), id, kind, new.incident, new.received_at, headers, body];
            let rows = insert.execute(values).map_err(failed)?;
            Ok(if rows == 1 { Accepted::New } else { Accepted::Duplicate })
        })
        .await
    }

    async fn claim(&self, limit: u32, lease_for: Duration, now: Timestamp) -> Result<Vec<LeasedDelivery>, StoreError> {
        let until = end_of_lease(now, lease_for);
        self.write(move |connection| {
            let turn = "SELECT org FROM inbox_turn";
            let last: String = connection.query_row(turn, [], |row| row.get(0)).map_err(failed)?;
            // Once round all organisations that have something due, from where the last claim stopped.
            let mut orgs = Vec::new();
            let mut at = last.clone();
            let mut wrapped = false;
            while orgs.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
                match next_org(connection, &at, now)? {
                    Some(org) if wrapped && org > last => break,
                    Some(org) => {
                        at.clone_from(&org);
                        orgs.push(org);
                    }
                    None if wrapped => break,
                    None => {
                        wrapped = true;
                        at.clear();
                    }
                }
            }
            let mut leased: Vec<LeasedDelivery> = Vec::new();
            let count = u32::try_from(orgs.len()).unwrap_or(u32::MAX);
            for (at, org) in (0u32..).zip(&orgs) {
                let left = limit - u32::try_from(leased.len()).unwrap_or(limit);
                let share = left.div_ceil(count - at);
                leased.extend(claim_from(connection, org, share, until, now)?);
            }
            if let Some(org) = orgs.last() {
                connection.execute("UPDATE inbox_turn SET org = ?1", [org]).map_err(failed)?;
            }
            Ok(leased)
        })
        .await
    }

    async fn finish(&self, lease: &Lease, outcome: &str, now: Timestamp) -> Result<(), StoreError> {
        let (lease, outcome) = (lease.clone(), outcome.to_string());
        self.write(move |connection| {
            let sql = "UPDATE delivery SET state = 1, outcome = ?4, error = NULL, finished_at = ?5
                WHERE org = ?1 AND id = ?2 AND token = ?3 AND state IN (0, 1)";
            fenced(connection, sql, params![lease.org.as_str(), lease.delivery.as_str(), lease.token, outcome, now])
        })
        .await
    }

    async fn retry(&self, lease: &Lease, error: &str, run_at: Timestamp) -> Result<(), StoreError> {
        let (lease, error) = (lease.clone(), error.to_string());
        self.write(move |connection| {
            let sql = "UPDATE delivery SET due_at = ?5, error = ?4
                WHERE org = ?1 AND id = ?2 AND token = ?3 AND state = 0";
            fenced(connection, sql, params![lease.org.as_str(), lease.delivery.as_str(), lease.token, error, run_at])
        })
        .await
    }

    async fn bury(&self, lease: &Lease, error: &str, now: Timestamp) -> Result<(), StoreError> {
        let (lease, error) = (lease.clone(), error.to_string());
        self.write(move |connection| {
            let sql = "UPDATE delivery SET state = 2, error = ?4, finished_at = ?5
                WHERE org = ?1 AND id = ?2 AND token = ?3 AND state = 0";
            fenced(connection, sql, params![lease.org.as_str(), lease.delivery.as_str(), lease.token, error, now])
        })
        .await
    }

    async fn replay(&self, org: &OrgId, delivery: &DeliveryId, now: Timestamp) -> Result<bool, StoreError> {
        let (org, delivery) = (org.clone(), delivery.clone());
        self.write(move |connection| {
            let sql = "UPDATE delivery SET state = 0, due_at = ?3, attempts = 0, token = token + 1, outcome = NULL,
                error = NULL, finished_at = NULL WHERE org = ?1 AND id = ?2 AND state <> 0";
            let rows = connection.execute(sql, params![org.as_str(), delivery.as_str(), now]).map_err(failed)?;
            Ok(rows == 1)
        })
        .await
    }

    async fn deliveries(&self, org: &OrgId, filter: &DeliveryFilter) -> Result<Vec<DeliveryRow>, StoreError> {
        let (org, filter) = (org.clone(), filter.clone());
        self.read(move |connection| {
            let sql = "SELECT id, event_type, incident, received_at, state, attempts, outcome, error, finished_at
                FROM delivery WHERE org = ?1 AND (?2 IS NULL OR state = ?2)
                ORDER BY received_at DESC, seq DESC LIMIT ?3";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let values = params![org.as_str(), filter.state.map(state_code), filter.limit.map_or(-1, i64::from)];
            let mut rows = statement.query(values).map_err(failed)?;
            let mut list = Vec::new();
            while let Some(row) = rows.next().map_err(failed)? {
                let id: String = row.get(0).map_err(failed)?;
                list.push(listed(delivery_id(&id)?, row).map_err(failed)?);
            }
            Ok(list)
        })
        .await
    }

    async fn depth(&self) -> Result<InboxDepth, StoreError> {
        self.read(|connection| {
            let sql = "SELECT (SELECT count(*) FROM delivery WHERE state = 0),
                (SELECT count(*) FROM delivery WHERE state = 2)";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let depth = |row: &Row<'_>| Ok(InboxDepth { pending: row.get(0)?, dead: row.get(1)? });
            statement.query_row([], depth).map_err(failed)
        })
        .await
    }
}
