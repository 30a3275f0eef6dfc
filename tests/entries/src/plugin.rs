//! The plugin's readers: of webhooks, of pages, of its own notes.

use incidentio::incidentio::payload::{Activity, Incident, TimelineItem, Update, page};
use incidentio::model::Header;
use incidentio::opsgenie::payload::{self as opsgenie, Entity, Entries, Record};
use incidentio::sync::facts::{Facts, News, Snapshot};
use incidentio::webhook::{event, signature};
use koalr_codec::json::Slot;

/// Lines of headers; what follows a zero byte is the body.
pub(crate) fn signature_headers(data: &[u8]) {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_string();
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (head, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let header = |line: &[u8]| {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        Header { name, value: parts.next().unwrap_or_default().to_vec() }
    };
    let headers: Vec<Header> = head.split(|byte| *byte == b'\n').map(header).collect();
    let odd = String::from_utf8_lossy(body).into_owned();
    let _ = signature::problem_with_secret(&odd);
    for secrets in [vec![], vec![secret.clone()], vec![odd, secret]] {
        let genuine = signature::verify(&secrets, &headers, body, 1_614_265_330);
        assert!(!secrets.is_empty() || genuine.is_err(), "a delivery is genuine without a secret");
    }
}

pub(crate) fn webhook_body(data: &[u8]) {
    let named = event::named(data);
    match event::envelope(data) {
        Ok(envelope) => {
            let (event_type, incident_id) = (envelope.event_type.clone(), envelope.incident_id());
            assert_eq!(named, event::Named { event_type, incident_id });
            let _ = envelope.event();
        }
        // It is genuine all the same, and concerns no incident.
        Err(_) => assert_eq!((named.event_type.is_empty(), named.incident_id), (false, None)),
    }
}

pub(crate) fn api_page(data: &[u8]) {
    let mut incidents = Vec::<Incident>::new();
    let _ = page(data, "incidents", &mut incidents);
    for incident in incidents {
        if let Some(snapshot) = Snapshot::new(incident) {
            let news = News { snapshot: Some(snapshot), ..News::default() };
            let facts = Facts::merge(None, &news);
            assert!(facts.is_some(), "a snapshot is enough to know an incident by");
            kept(facts);
        }
    }
    let _ = page(data, "incident_updates", &mut Vec::<Update>::new());
    let _ = page(data, "timeline_items", &mut Vec::<TimelineItem>::new());
    let _ = page(data, "incident_activity_logs", &mut Vec::<Activity>::new());
}

pub(crate) fn opsgenie_page(data: &[u8]) {
    let _ = opsgenie::data(data, Slot::List(&mut Vec::<Record>::new()));
    let _ = opsgenie::data(data, Slot::List(&mut Vec::<Entity>::new()));
    let _ = opsgenie::data(data, Slot::Object(&mut Entries::default()));
}

/// Notes as the store gives them back.
pub(crate) fn stored_notes(data: &[u8]) {
    kept(Facts::from_bytes(data));
    crate::provider::odd_state(data);
}

/// What is kept reads back as it was.
fn kept(facts: Option<Facts>) {
    if let Some(facts) = facts {
        assert_eq!(Facts::from_bytes(&facts.to_bytes()), Some(facts));
    }
}
