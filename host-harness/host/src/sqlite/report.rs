//! What a person asks about a sync.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::coding::unsigned;
use super::fault::{Outcome, Result};
use super::{SqliteStore, readers};
use crate::id::OrgId;
use crate::port::{Ended, Reports, SyncReport, UnknownTimestamp, Unmatched, normalised};

#[async_trait::async_trait]
impl Reports for SqliteStore {
    async fn sync_report(&self, org: &OrgId, most: u32) -> Result<SyncReport> {
        let org = org.clone();
        self.read(move |connection| report(connection, org.as_str(), most)).await
    }

    async fn endings(&self, org: &OrgId) -> Result<Vec<Ended>> {
        let org = org.clone();
        self.read(move |connection| endings(connection, org.as_str())).await
    }

    async fn unknown_timestamps(&self, org: &OrgId) -> Result<Vec<UnknownTimestamp>> {
        let org = org.clone();
        self.read(move |connection| {
            let row =
                |row: &Row<'_>| Ok(UnknownTimestamp { name: row.get(0)?, incidents: unsigned(row.get(1)?) });
            let mut statement = connection.prepare_cached(UNKNOWN_TIMESTAMPS)?;
            Ok(statement.query_map([org.as_str()], row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn service_names(&self, org: &OrgId, most: u32) -> Result<Vec<String>> {
        let org = org.clone();
        self.read(move |connection| {
            let select = format!(
                "SELECT min(coalesce(service.name, label.name)) {LABELS} GROUP BY
                    coalesce(service.folded, label.folded) ORDER BY coalesce(service.folded, label.folded) LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&select)?;
            let names = statement.query_map(params![org.as_str(), most], |row| row.get(0))?;
            Ok(names.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn services_named(&self, org: &OrgId, name: &str) -> Result<Vec<String>> {
        let (org, name) = (org.clone(), normalised(name));
        self.read(move |connection| {
            let select = format!(
                "SELECT coalesce(service.name, label.name) {LABELS} AND label.folded = ?2
                UNION SELECT name FROM service WHERE org = ?1 AND folded = ?2 ORDER BY 1"
            );
            let mut statement = connection.prepare_cached(&select)?;
            let names = statement.query_map(params![org.as_str(), name], |row| row.get(0))?;
            Ok(names.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn generation(&self) -> Result<i64> {
        // SQLite counts for each connection what others wrote, so that it must always be the same one that is asked.
        let read = |connection: &Connection| {
            Ok(connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
        };
        readers::watch(Arc::clone(&self.watcher), read).await
    }
}

/// Names that incidents bear, each with the catalog entry that it is linked to.
const LABELS: &str = "FROM label LEFT JOIN service ON service.org = label.org AND service.id = label.service
    WHERE label.org = ?1";

const PEOPLE: &str = "SELECT who, incidents, count(*) OVER () FROM (
        SELECT coalesce(person.value ->> 'email', person.value ->> 'name', person.value ->> 'id', '?') AS who,
            count(DISTINCT incident.n) AS incidents
        FROM (SELECT n, record FROM incident WHERE org = ?1 AND withheld = 0 ORDER BY created_at DESC LIMIT 2000)
            AS incident, json_each(incident.record, '$.responders') AS person
        WHERE person.value ->> 'user_id' IS NULL
        GROUP BY who
    ) ORDER BY incidents DESC, who LIMIT ?2";

const SERVICES: &str = "SELECT name, incidents, count(*) OVER () FROM (
        SELECT min(label.name) AS name, count(DISTINCT incident_label.incident) AS incidents
        FROM label JOIN incident_label ON incident_label.label = label.n
        WHERE label.org = ?1 AND label.service = ''
        GROUP BY label.folded
    ) ORDER BY incidents DESC, name LIMIT ?2";

const ENDED: &str =
    "SELECT coalesce(outcome, error, 'done') AS ending, count(*) AS deliveries, count(DISTINCT incident)
    FROM delivery WHERE org = ?1 AND state IN (3, 4)
    GROUP BY ending ORDER BY deliveries DESC, ending";

const UNKNOWN_TIMESTAMPS: &str = "SELECT unknown_timestamp, count(*) AS incidents FROM incident
    WHERE org = ?1 AND unknown_timestamp IS NOT NULL AND withheld = 0
    GROUP BY unknown_timestamp ORDER BY incidents DESC, unknown_timestamp";

const PENDING: &str = "SELECT (SELECT count(*) FROM delivery WHERE org = ?1 AND state = 0)
    + (SELECT count(*) FROM delivery INDEXED BY delivery_due WHERE due_at IS NOT NULL AND org = ?1)";

fn report(connection: &Connection, org: &str, most: u32) -> Outcome<SyncReport> {
    let number = |select: &str| -> rusqlite::Result<i64> {
        connection.prepare_cached(select)?.query_row([org], |row| row.get(0))
    };
    let (people, unmatched_people) = unmatched(connection, org, PEOPLE, most)?;
    let (services, unmatched_services) = unmatched(connection, org, SERVICES, most)?;
    let last = "SELECT max(received_at) FROM delivery WHERE org = ?1";
    Ok(SyncReport {
        incidents: unsigned(number("SELECT count(*) FROM incident WHERE org = ?1 AND withheld = 0")?),
        withheld: unsigned(number("SELECT count(*) FROM incident WHERE org = ?1 AND withheld = 1")?),
        people,
        unmatched_people,
        services,
        unmatched_services,
        pending: unsigned(number(PENDING)?),
        last_delivery_at: connection.prepare_cached(last)?.query_row([org], |row| row.get(0))?,
    })
}

fn endings(connection: &Connection, org: &str) -> Outcome<Vec<Ended>> {
    let ended = |row: &Row<'_>| {
        Ok(Ended {
            outcome: row.get(0)?,
            deliveries: unsigned(row.get(1)?),
            incidents: unsigned(row.get(2)?),
        })
    };
    Ok(connection.prepare_cached(ENDED)?.query_map([org], ended)?.collect::<rusqlite::Result<_>>()?)
}

/// The first of them, and how many there are.
fn unmatched(connection: &Connection, org: &str, select: &str, most: u32) -> Outcome<(Vec<Unmatched>, u64)> {
    let mut total = 0;
    let row = |row: &Row<'_>| {
        total = row.get(2)?;
        Ok(Unmatched { name: row.get(0)?, incidents: unsigned(row.get(1)?) })
    };
    let mut statement = connection.prepare_cached(select)?;
    let first = statement.query_map(params![org, most], row)?.collect::<rusqlite::Result<_>>()?;
    Ok((first, unsigned(total)))
}
