//! What the harness's reception of webhooks is made of, part by part: servers of the same HTTP library that do less of
//! it, so that a benchmark tells what storing costs, what verifying costs, and what the sandbox adds to that.

use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path as Named;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chrono::Utc;
use incidentio::model::Header;
use incidentio::webhook::{event, signature};
use koalr_host::contract::{self, Delivery};
use koalr_host::id::OrgId;
use koalr_host::port::{Inbox, NewDelivery};
use koalr_host::sqlite::SqliteStore;
use tokio::net::TcpListener;

use super::SECRET;

/// What is done with each webhook before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It is read to its end.
    Reads,
    /// And stored, as the harness stores it.
    Stores,
    /// And verified before, by the plugin's own functions, compiled natively.
    Verifies,
}

impl Part {
    /// All, from the least work to the most.
    pub const ALL: [Part; 3] = [Part::Reads, Part::Stores, Part::Verifies];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Part::Reads => "reads",
            Part::Stores => "stores",
            Part::Verifies => "verifies",
        }
    }

    /// What a server that does no more is called in figures.
    pub fn server(self) -> &'static str {
        match self {
            Part::Reads => "ceiling",
            Part::Stores => "ceiling that stores",
            Part::Verifies => "verified natively and stored",
        }
    }
}

/// A server that does this and no more; it stores in a database that has the organisations already. Never ends.
pub async fn serve(listener: TcpListener, part: Part, database: Option<&Path>) {
    let store = database.map(|database| SqliteStore::open(database).unwrap());
    let take =
        async move |Named((_, org)): Named<(String, String)>, headers: HeaderMap, body: Bytes| match store {
            Some(store) if part != Part::Reads => keep(&store, part, &org, &headers, body).await,
            _ => StatusCode::NO_CONTENT,
        };
    let app = Router::new().route("/webhooks/{plugin}/{org}", post(take));
    axum::serve(listener, app).await.unwrap();
}

async fn keep(store: &SqliteStore, part: Part, org: &str, headers: &HeaderMap, body: Bytes) -> StatusCode {
    let header =
        |name: &str| Some(Header { name: name.into(), value: headers.get(name)?.as_bytes().to_vec() });
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Vec<Header> = names.into_iter().filter_map(header).collect();
    let now = Utc::now();
    let (mut event_type, mut incident) = (String::new(), None);
    if part == Part::Verifies {
        if signature::verify(&[SECRET.into()], &headers, &body, now.timestamp()).is_err() {
            return StatusCode::UNAUTHORIZED;
        }
        let named = event::named(&body).unwrap();
        (event_type, incident) = (named.event_type, named.incident_id);
    }
    let id = String::from_utf8_lossy(&headers[0].value).parse().unwrap();
    let headers =
        headers.into_iter().map(|Header { name, value }| contract::Header { name, value }).collect();
    let delivery = Delivery { headers, body: body.into() };
    let received_at = now.timestamp_micros();
    let org: OrgId = org.parse().unwrap();
    store.accept(&org, NewDelivery { id, event_type, incident, received_at, delivery }).await.unwrap();
    StatusCode::NO_CONTENT
}
