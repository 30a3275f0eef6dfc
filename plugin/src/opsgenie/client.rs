//! What to ask Opsgenie for, and what its answers mean. Sends nothing.

use alloc::format;
use alloc::string::String;

use crate::incidentio::client::{ApiError, Provider, encoded};
use crate::model::{OpsgenieRegion, Timestamp};
use crate::port::Request;
use koalr_codec::{SECOND, time};

/// Where accounts of the United States are kept: <https://docs.opsgenie.com/docs/api-overview>.
pub const US: &str = "https://api.opsgenie.com";
/// Where accounts of the European Union are kept.
pub const EU: &str = "https://api.eu.opsgenie.com";

/// The largest page.
pub(super) const PAGE: usize = 100;
/// How far into a list its pages reach: documented for alerts, seen for the others.
pub(super) const REACH: i64 = 20_000;

/// Where an account's requests go.
pub(super) fn origin(region: OpsgenieRegion) -> &'static str {
    match region {
        OpsgenieRegion::Us => US,
        OpsgenieRegion::Eu => EU,
    }
}

/// How its refusals are told.
pub(super) const OPSGENIE: Provider = Provider {
    name: "Opsgenie",
    unauthorized: "; the key is wrong, or it belongs to the other region: accounts live at api.opsgenie.com (us) or \
                   api.eu.opsgenie.com (eu), and a key is good for one of them",
    forbidden: "; create an API key with the right to read, or use one that is not limited to what it cannot see",
};

/// How an interval is written in a query.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dates {
    /// As documented, and in quotes, which is not: `"27-05-2022T00:00:00Z"`.
    Quoted,
    /// Seconds since 1970, as some clients send it.
    Seconds,
}

/// A page of what was created in [from, to), oldest first, so that what is new shifts no page.
pub(super) fn list(
    origin: &'static str,
    alerts: bool,
    dates: Dates,
    (from, to): (Timestamp, Timestamp),
    offset: i64,
) -> Request {
    let path = if alerts { "/v2/alerts" } else { "/v1/incidents" };
    let date = |at: Timestamp| match dates {
        Dates::Quoted => quoted(at),
        Dates::Seconds => format!("{}", at.div_euclid(SECOND)),
    };
    let query = encoded(&format!("createdAt>={} AND createdAt<{}", date(from), date(to)));
    get(origin, format!("{path}?limit={PAGE}&offset={offset}&sort=createdAt&order=asc&query={query}"))
}

/// `"dd-MM-yyyyTHH:mm:ssZ"`, to the second.
fn quoted(at: Timestamp) -> String {
    let day = time::day(at);
    let part = |from: usize, to: usize| day.get(from..to).unwrap_or_default();
    let seconds = at.div_euclid(SECOND).rem_euclid(86_400);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("\"{}-{}-{}T{hours:02}:{minutes:02}:{:02}Z\"", part(8, 10), part(5, 7), part(0, 4), seconds % 60)
}

/// A page of the users or the services.
pub(super) fn roster(origin: &'static str, list: &str, offset: i64) -> Request {
    get(origin, format!("{list}?limit={PAGE}&offset={offset}"))
}

/// A page of an incident's timeline, oldest first.
pub(super) fn timeline(origin: &'static str, id: &str, offset: Option<&str>) -> Request {
    let mut path = format!("/v2/incident-timelines/{}/entries?limit={PAGE}&order=asc", encoded(id));
    if let Some(offset) = offset {
        path.push_str("&offset=");
        path.push_str(&encoded(offset));
    }
    get(origin, path)
}

/// The identifiers of the alerts that an incident sent out, or that it was made from.
pub(super) fn alert_ids(origin: &'static str, id: &str, which: &str) -> Request {
    get(origin, format!("/v1/incidents/{}/{which}-alert-ids", encoded(id)))
}

fn get(origin: &'static str, path_and_query: String) -> Request {
    Request { origin, path_and_query }
}

/// Of a list of incidents that is refused: what the refusal most likely means.
pub(super) fn refused(status: u16, error: ApiError) -> ApiError {
    match (status, error) {
        (402, ApiError::Rejected(why) | ApiError::Forbidden(why)) => ApiError::Forbidden(format!(
            "{why}: this plan has no Incident API, which comes with Standard and Enterprise; import its alerts instead"
        )),
        (403, ApiError::Forbidden(why)) => {
            ApiError::Forbidden(format!("{why}; if the plan has no incidents, import its alerts instead"))
        }
        (_, error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_service_reads_them() {
        let at = time::parse_rfc3339("2022-05-26T23:05:09.9Z").unwrap();
        assert_eq!(quoted(at), "\"26-05-2022T23:05:09Z\"");
        let request = list(EU, false, Dates::Quoted, (at, at + SECOND), 300);
        assert_eq!(request.origin, "https://api.eu.opsgenie.com");
        assert_eq!(
            request.path_and_query,
            "/v1/incidents?limit=100&offset=300&sort=createdAt&order=asc&query=createdAt%3E%3D%2226-05-2022T23%3A05%3A09Z\
             %22%20AND%20createdAt%3C%2226-05-2022T23%3A05%3A10Z%22"
        );
        let request = list(US, true, Dates::Seconds, (0, SECOND), 0);
        assert!(request.path_and_query.ends_with("createdAt%3E%3D0%20AND%20createdAt%3C1"), "{request:?}");
    }
}
