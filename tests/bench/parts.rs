//! The harness's webhook server with less behind it than the host: what it takes at most, what storing costs, what
//! verifying costs, and what the sandbox adds to that.

use std::path::Path;

use chrono::Utc;
use incidentio::webhook::{event, signature};
use koalr_harness::Intake;
use koalr_host::contract::{Delivery, Rejection, Timestamp, Verified};
use koalr_host::id::OrgId;
use koalr_host::port::{Accepted, Inbox, NewDelivery};
use koalr_host::sqlite::SqliteStore;
use koalr_host::{ReceiveError, Received};
use tokio::net::TcpListener;

use super::{SECRET, native};

/// What is done with each webhook before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It is read to its end. Nothing is verified or stored.
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

/// The harness's webhook server that does this and no more, and applies nothing; it stores in a database that has the
/// organisations already. Never ends.
pub async fn serve(listener: TcpListener, part: Part, database: Option<&Path>) {
    let store = database.filter(|_| part != Part::Reads).map(|path| SqliteStore::open(path).unwrap());
    let app = koalr_harness::webhooks(Less { part, store });
    axum::serve(listener, app).await.unwrap();
}

struct Less {
    part: Part,
    /// None where nothing is stored.
    store: Option<SqliteStore>,
}

impl Intake for Less {
    fn plugin(&self) -> &str {
        "incidentio"
    }

    fn now(&self) -> Timestamp {
        Utc::now().timestamp_micros()
    }

    async fn is_connected(&self, _: &OrgId) -> Option<bool> {
        Some(true)
    }

    async fn receive(&self, org: &OrgId, delivery: Delivery) -> Result<Received, ReceiveError> {
        let mut verified =
            Verified { id: String::new(), sent_at: 0, event_type: String::new(), incident_id: None };
        if self.part == Part::Verifies {
            let headers = native(&delivery.headers);
            signature::verify(&[SECRET.into()], &headers, &delivery.body, Utc::now().timestamp())
                .map_err(|_| ReceiveError::Rejected(Rejection::BadSignature))?;
            let named = event::named(&delivery.body);
            (verified.event_type, verified.incident_id) = (named.event_type, named.incident_id);
        }
        let Some(store) = &self.store else {
            // What no other intake may say of what it did not keep.
            return Ok(Received { verified, accepted: Accepted::New });
        };
        let id = delivery.headers.iter().find(|header| header.name == "webhook-id").unwrap();
        verified.id = String::from_utf8_lossy(&id.value).into_owned();
        let (event_type, incident) = (verified.event_type.clone(), verified.incident_id.clone());
        let (id, received_at) = (verified.id.parse().unwrap(), self.now());
        let new = NewDelivery { id, event_type, incident, received_at, delivery };
        let accepted = store.accept(org, new).await.unwrap();
        Ok(Received { verified, accepted })
    }
}
