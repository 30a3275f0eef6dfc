//! Where bytes from outside enter the plugin, each as a function that must come to its end whatever it is given.

use incidentio::incidentio::payload::{Activity, Incident, TimelineItem, Update, page};
use incidentio::model::Header;
use incidentio::opsgenie::payload::Record;
use incidentio::webhook::{event, signature};

/// An entry and its name.
pub(crate) type Entry = (&'static str, fn(&[u8]));

pub(crate) const ENTRIES: [Entry; 4] = [
    ("signature_headers", signature_headers),
    ("webhook_body", webhook_body),
    ("api_page", api_page),
    ("opsgenie_page", opsgenie_page),
];

/// Lines of headers; whatever follows an empty line is the body.
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
    for secrets in [vec![], vec![secret.clone()], vec![String::from_utf8_lossy(body).into_owned(), secret]] {
        let _ = signature::verify(&secrets, &headers, body, 1_614_265_330);
    }
}

pub(crate) fn webhook_body(data: &[u8]) {
    let named = event::named(data);
    match event::envelope(data) {
        Ok(envelope) => {
            let (event_type, incident_id) = (envelope.event_type.clone(), envelope.incident_id());
            assert_eq!(named, Ok(event::Named { event_type, incident_id }));
            let _ = envelope.event();
        }
        Err(error) => assert_eq!(named, Err(error)),
    }
}

pub(crate) fn api_page(data: &[u8]) {
    let _ = page(data, "incidents", &mut Vec::<Incident>::new());
    let _ = page(data, "incident_updates", &mut Vec::<Update>::new());
    let _ = page(data, "timeline_items", &mut Vec::<TimelineItem>::new());
    let _ = page(data, "incident_activity_logs", &mut Vec::<Activity>::new());
}

pub(crate) fn opsgenie_page(data: &[u8]) {
    let _ = page(data, "data", &mut Vec::<Record>::new());
}
