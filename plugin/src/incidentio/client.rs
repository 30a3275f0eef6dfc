//! What to ask the provider for, and what its answers mean. Builds requests and reads statuses; sends nothing.
//!
//! Two of the provider's defaults drop incidents without a word: a list that names no `status_category` leaves
//! out declined, canceled and merged ones, a list that names no `mode` leaves out test and tutorial ones.
//! Every list request here names all of both.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::payload;
pub use super::payload::Page;
use crate::model::{Error, SECOND, Timestamp};
use crate::port::{Answer, Failure, Request, Response};
use koalr_codec::json::{self, List, Slot, object};
use koalr_codec::time;

/// The provider's one origin: <https://docs.incident.io/api-reference/introduction>.
pub const ORIGIN: &str = "https://api.incident.io";

/// The largest page of incidents, updates, timeline items and catalog entries; more is silently cut.
pub const PAGE_SIZE: u32 = 250;

/// Statuses fall into these; the organisation cannot add one, the provider can.
pub const STATUS_CATEGORIES: [&str; 8] =
    ["triage", "live", "learning", "paused", "closed", "declined", "canceled", "merged"];

/// Those of incidents that are not over.
const OPEN_CATEGORIES: [&str; 3] = ["triage", "live", "paused"];

const MODES: [&str; 4] = ["standard", "retrospective", "test", "tutorial"];

/// Waits longer than this are cut: a provider that asks for more is asked again then.
const LONGEST_WAIT_MS: u64 = 600_000;
/// Waits are no shorter than this: clocks differ, and a moment that has passed would mean no wait at all.
const SHORTEST_WAIT_MS: u64 = 1_000;
/// When the provider asks to wait without saying how long.
const DEFAULT_WAIT_MS: u64 = 15_000;

fn get(path_and_query: String) -> Request {
    Request { origin: ORIGIN, path_and_query }
}

/// `GET /v1/identity`: the credential check.
pub fn identity() -> Request {
    get("/v1/identity".into())
}

/// `GET` of a list that has no pages, such as `/v1/severities`.
pub fn unpaged(path: &str) -> Request {
    get(path.into())
}

/// `GET /v2/users`, leavers included.
pub fn users(after: Option<&str>) -> Request {
    get(with_after("/v2/users?page_size=1000&include_inactive=true".into(), after))
}

/// `GET /v2/incidents/{id}`.
pub fn incident(id: &str) -> Request {
    get(format!("/v2/incidents/{}", encoded(id)))
}

/// `GET /v2/incidents`: what was updated from one UTC day to another, both included, oldest creation first,
/// so that pages stay put while new incidents arrive. `categories` are those that the account knows besides
/// the eight documented ones.
pub fn incidents(
    from: Timestamp,
    to: Timestamp,
    categories: &[String],
    page_size: u32,
    after: Option<&str>,
) -> Request {
    let extra = categories.iter().map(String::as_str).filter(|c| !STATUS_CATEGORIES.contains(c));
    let mut path = listing(page_size, STATUS_CATEGORIES.into_iter().chain(extra));
    // `gte` together with `lte` is a 422; a range compares whole days.
    path.push_str(&format!("&updated_at%5Bdate_range%5D={}~{}", time::day(from), time::day(to)));
    get(with_after(path, after))
}

/// `GET /v2/incidents`: all that are not over, whenever they changed.
pub fn open_incidents(page_size: u32, after: Option<&str>) -> Request {
    get(with_after(listing(page_size, OPEN_CATEGORIES.into_iter()), after))
}

fn listing<'a>(page_size: u32, categories: impl Iterator<Item = &'a str>) -> String {
    let mut path = format!("/v2/incidents?page_size={page_size}&sort_by=created_at_oldest_first");
    for category in categories {
        path.push_str(&format!("&status_category%5Bone_of%5D={}", encoded(category)));
    }
    for mode in MODES {
        path.push_str(&format!("&mode%5Bone_of%5D={mode}"));
    }
    path
}

/// `GET /v2/incident_updates` of the whole organisation.
pub fn updates(after: Option<&str>) -> Request {
    get(with_after(format!("/v2/incident_updates?page_size={PAGE_SIZE}"), after))
}

/// `GET` of a list of one incident's own, such as `incident_timeline_items`.
pub fn of_incident(list: &str, incident: &str, after: Option<&str>) -> Request {
    get(with_after(format!("/v2/{list}?page_size={PAGE_SIZE}&incident_id={}", encoded(incident)), after))
}

/// `GET /v2/incident_participants`: who takes part in an incident, on one page.
pub fn participants(incident: &str) -> Request {
    get(format!("/v2/incident_participants?incident_id={}", encoded(incident)))
}

/// `GET /v1/incident_attachments`: what an incident was linked to in other tools, on one page.
pub fn attachments(incident: &str) -> Request {
    get(format!("/v1/incident_attachments?incident_id={}", encoded(incident)))
}

fn with_after(mut path: String, after: Option<&str>) -> String {
    if let Some(after) = after {
        path.push_str("&after=");
        path.push_str(&encoded(after));
    }
    path
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase();
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

/// How a provider's refusals are told.
pub struct Provider {
    /// Its name.
    pub name: &'static str,
    /// What to do about a 401; a part of a sentence.
    pub unauthorized: &'static str,
    /// What to do about a 403.
    pub forbidden: &'static str,
}

/// How this one's are.
pub const INCIDENTIO: Provider = Provider {
    name: "incident.io",
    unauthorized: "; create a new one under Settings > API keys and connect again",
    forbidden: "; give the key the role \"View data\" (and \"View catalog\" for services), or add this host's address to \
                the account's IP allowlist",
};

/// A refusal, in the provider's terms; see the table in its documentation of errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// 401: the key is bad.
    Unauthorized(String),
    /// 403: the key is genuine; a permission is missing or the address is not allowed.
    Forbidden(String),
    /// 404: deleted, never existed, or hidden.
    NotFound,
    /// 400, 405, 406, 409, 412, 413, 422: asking again will not help.
    Rejected(String),
    /// 429: milliseconds to wait.
    RateLimited(u64),
    /// 408, 5xx, no connection, no answer in time.
    Unavailable(String),
    /// 200 with a body that is not what is documented.
    Malformed(String),
    /// Something between the host and the provider keeps them apart, or answers in the provider's place.
    Unreachable(String),
    /// The answer is larger than is accepted.
    TooLarge(String),
    /// The host does not let the request out.
    Refused(String),
}

impl ApiError {
    /// What happened, as a sentence.
    pub fn why(self) -> String {
        match self {
            ApiError::NotFound => "the provider knows no such thing (404)".into(),
            ApiError::RateLimited(_) => "the provider asks to wait".into(),
            ApiError::Unauthorized(text)
            | ApiError::Forbidden(text)
            | ApiError::Rejected(text)
            | ApiError::Unavailable(text)
            | ApiError::Malformed(text)
            | ApiError::Unreachable(text)
            | ApiError::TooLarge(text)
            | ApiError::Refused(text) => text,
        }
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        let of: fn(String) -> Error = match error {
            ApiError::RateLimited(ms) => return Error::RateLimited(ms),
            ApiError::Unauthorized(_) => Error::Unauthorized,
            ApiError::Forbidden(_) | ApiError::Refused(_) => Error::Forbidden,
            ApiError::Unavailable(_) => Error::Unavailable,
            ApiError::Unreachable(_) => Error::Unreachable,
            ApiError::NotFound | ApiError::Rejected(_) | ApiError::Malformed(_) | ApiError::TooLarge(_) => {
                Error::Malformed
            }
        };
        of(error.why())
    }
}

/// The body of a 200, or what the refusal means. `what` names the request in messages, for example
/// `incidents`.
pub fn body(provider: &Provider, what: &str, answer: Answer, now: Timestamp) -> Result<Vec<u8>, ApiError> {
    let name = provider.name;
    let response = match answer {
        Ok(response) => response,
        Err(Failure::Refused(why)) => {
            return Err(ApiError::Refused(format!("the host does not allow the request for {what}: {why}")));
        }
        Err(Failure::Broken(why)) => {
            return Err(ApiError::Unavailable(format!(
                "{name} did not answer the request for {what}: {why}"
            )));
        }
        Err(Failure::Cut(why)) => {
            return Err(ApiError::Unreachable(format!(
                "the request for {what} does not reach {name}: {why}"
            )));
        }
        Err(Failure::Unsent) => return Err(ApiError::RateLimited(DEFAULT_WAIT_MS)),
        Err(Failure::TooLarge) => {
            return Err(ApiError::TooLarge(format!("{name}'s answer for {what} is larger than is accepted")));
        }
    };
    let status = response.status;
    let foreign = foreign(&response);
    match (&foreign, status) {
        (None, 200) => return Ok(response.body),
        (Some(Foreign::Nothing), 200) => {
            return Err(unreadable(provider, what, "it is empty"));
        }
        (_, 300..=399) => return Err(in_between(provider, what, &format!("a redirect (HTTP {status})"))),
        (_, 407 | 511) => {
            return Err(in_between(provider, what, &format!("a demand to sign in (HTTP {status})")));
        }
        // A passing fault, or a wait, whoever tells it.
        (_, 408 | 429 | 500..=599) => {}
        (Some(Foreign::Something(thing)), _) => {
            return Err(in_between(provider, what, &format!("{thing} (HTTP {status})")));
        }
        (None | Some(Foreign::Nothing), _) => {}
    }
    // What answers in the provider's place may do so without the documented body: the status decides, the body explains.
    let mut said = ErrorBody::default();
    let _ = json::read(&response.body, Slot::Object(&mut said));
    let [retry_after, _, _, period, ..] = response.headers;
    // Where there is no other word, the length of the window that is spent.
    let retry_after = retry_after.or(period);
    let detail = said.detail();
    Err(match status {
        401 => ApiError::Unauthorized(format!("{name} refuses the API key{detail}{}", provider.unauthorized)),
        403 => ApiError::Forbidden(format!(
            "{name} does not let this API key read {what}{detail}{}",
            provider.forbidden
        )),
        404 => ApiError::NotFound,
        429 => ApiError::RateLimited(wait_ms(retry_after.as_deref(), &said, now)),
        408 | 500..=599 => {
            ApiError::Unavailable(format!("{name} failed on the request for {what} (HTTP {status}{detail})"))
        }
        _ => ApiError::Rejected(format!("{name} rejected the request for {what} (HTTP {status}{detail})")),
    })
}

/// Reads one page of a list into `items`; errors as of [`body`].
pub fn page(
    what: &str,
    key: &str,
    answer: Answer,
    now: Timestamp,
    items: &mut dyn List,
) -> Result<Page, ApiError> {
    let pause_ms = answer.as_ref().map_or(0, pause_ms);
    let body = body(&INCIDENTIO, what, answer, now)?;
    let mut page = payload::page(&body, key, items).map_err(|why| unreadable(&INCIDENTIO, what, &why))?;
    page.pause_ms = pause_ms;
    Ok(page)
}

/// How long until one more request is allowed, if this one was the last of its allowance. An endpoint's bucket is
/// refilled evenly over a minute; the first number is the bucket that binds.
fn pause_ms(response: &Response) -> u64 {
    let [_, limit, ..] = &response.headers;
    if !response.is_last() {
        return 0;
    }
    let limit = limit.as_deref().and_then(|limit| limit.split(',').next());
    let a_minute = limit.and_then(|limit| time::integer(limit.trim_ascii().as_bytes())).unwrap_or(60);
    60_000 / a_minute.clamp(1, 60_000).unsigned_abs()
}

/// A 200 whose body is not what is documented.
pub fn unreadable(provider: &Provider, what: &str, why: &str) -> ApiError {
    let name = provider.name;
    ApiError::Malformed(format!("{name}'s answer to the request for {what} cannot be read: {why}"))
}

/// An answer that is not the provider's.
fn in_between(provider: &Provider, what: &str, thing: &str) -> ApiError {
    let name = provider.name;
    ApiError::Unreachable(format!(
        "{thing} came in place of {name}'s answer to the request for {what}: something stands between this host and \
         {name}, such as a proxy that asks for a sign-in, blocks the address or changes the answer"
    ))
}

/// A body that cannot be JSON.
#[derive(Debug, PartialEq, Eq)]
enum Foreign {
    /// There is none.
    Nothing,
    /// This, as a part of a sentence.
    Something(String),
}

/// Characters of a title or a beginning that are quoted.
const QUOTED: usize = 60;

/// What a body is that cannot be JSON, by its first bytes, its encoding and its type; none if it may be.
fn foreign(response: &Response) -> Option<Foreign> {
    let [.., kind, encoding] = &response.headers;
    let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body).trim_ascii_start();
    let thing = match body {
        [] => return Some(Foreign::Nothing),
        [b'{' | b'[' | b'"' | b'-' | b'0'..=b'9', ..] => return None,
        [b't', b'r', b'u', b'e', ..] | [b'f', b'a', b'l', b's', b'e', ..] | [b'n', b'u', b'l', b'l', ..] => {
            return None;
        }
        [0x1f, 0x8b, ..] => "compressed data (gzip)".into(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed data (zstd)".into(),
        [b'<', ..] => match title(body) {
            Some(title) => format!("a web page titled \"{title}\""),
            None if is_page(body, kind.as_deref()) => "a web page".into(),
            None => "XML".into(),
        },
        _ => match (encoding, core::str::from_utf8(body.get(..4 * QUOTED).unwrap_or(body))) {
            (Some(encoding), _) => format!("compressed data ({encoding})"),
            // A character may be cut in two.
            (None, Err(error)) if error.error_len().is_some() => "binary data".into(),
            (None, _) => format!("text that begins \"{}\"", quoted(body)),
        },
    };
    let kind = kind.as_deref().and_then(|kind| kind.split(';').next()).map_or("", str::trim);
    Some(Foreign::Something(if kind.is_empty() { thing } else { format!("{thing}, {kind},") }))
}

fn is_page(body: &[u8], kind: Option<&str>) -> bool {
    let begins = |with: &str| body.get(..with.len()).is_some_and(|b| b.eq_ignore_ascii_case(with.as_bytes()));
    begins("<!doctype html")
        || begins("<html")
        || kind.is_some_and(|kind| kind.trim_ascii().to_ascii_lowercase().starts_with("text/html"))
}

/// The title of a web page, if it has one near its beginning.
fn title(page: &[u8]) -> Option<String> {
    let head = page.get(..4_096).unwrap_or(page);
    let at = head.windows(6).position(|window| window.eq_ignore_ascii_case(b"<title"))?;
    let rest = head.get(at..)?;
    let from = rest.iter().position(|byte| *byte == b'>')?.checked_add(1)?;
    let text = rest.get(from..)?;
    let to = text.iter().position(|byte| *byte == b'<').unwrap_or(text.len());
    let title = quoted(text.get(..to)?);
    (!title.is_empty()).then_some(title)
}

/// The beginning of a text, on one line.
fn quoted(bytes: &[u8]) -> String {
    let bytes = bytes.get(..4 * QUOTED).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.split_whitespace();
    let mut line = String::new();
    line.push_str(words.next().unwrap_or_default());
    for word in words {
        line.push(' ');
        line.push_str(word);
    }
    line.chars().filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER).take(QUOTED).collect()
}

/// How long a 429 asks to wait: the header in seconds, as an HTTP date or as RFC 3339, else the body's word.
fn wait_ms(header: Option<&str>, said: &ErrorBody, now: Timestamp) -> u64 {
    let seconds = |text: &str| {
        let seconds = time::integer(text.trim_ascii().as_bytes())?;
        u64::try_from(seconds).ok().map(|seconds| seconds.saturating_mul(1_000))
    };
    let instant = |text: &str| {
        let at = http_date(text).or_else(|| time::parse_rfc3339(text))?;
        // Rounded up: a millisecond early is a request refused.
        u64::try_from(at.saturating_sub(now).max(0)).ok().map(|us| us.div_ceil(SECOND.unsigned_abs() / 1_000))
    };
    let from_header = header.and_then(|text| seconds(text).or_else(|| instant(text)));
    let from_body = || said.rate_limit.as_ref()?.retry_after.as_deref().and_then(instant);
    from_header.or_else(from_body).unwrap_or(DEFAULT_WAIT_MS).clamp(SHORTEST_WAIT_MS, LONGEST_WAIT_MS)
}

/// An HTTP date such as `Thu, 17 Apr 2025 11:17:18 GMT`; `UTC` in place of `GMT` is accepted, because incident.io
/// has sent it.
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_ascii_whitespace().skip(1);
    let (day, name, year, clock, zone) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|known| *known == name).filter(|_| matches!(zone, "GMT" | "UTC"))? + 1;
    time::parse_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

#[derive(Debug, Default)]
struct ErrorBody {
    errors: Vec<ErrorItem>,
    message: Option<String>,
    request_id: Option<String>,
    rate_limit: Option<RateLimit>,
}

object!(ErrorBody {
    "errors" => List errors, "message" => MaybeText message, "request_id" => MaybeText request_id,
    "requestId" => MaybeText request_id, "rate_limit" => Object rate_limit,
});

#[derive(Debug, Default)]
struct ErrorItem {
    message: Option<String>,
}

object!(ErrorItem { "message" => MaybeText message });

#[derive(Debug, Default)]
struct RateLimit {
    retry_after: Option<String>,
}

object!(RateLimit { "retry_after" => MaybeText retry_after });

impl ErrorBody {
    /// What the provider says, to stand inside a sentence; empty if it says nothing.
    fn detail(&self) -> String {
        let message = self.errors.iter().find_map(|e| e.message.as_deref());
        let message = message.or(self.message.as_deref()).unwrap_or_default();
        let request = self.request_id.as_deref().unwrap_or_default();
        match (message.is_empty(), request.is_empty()) {
            (true, true) => String::new(),
            (false, true) => format!(": {message}"),
            (true, false) => format!(" (request {request})"),
            (false, false) => format!(": {message} (request {request})"),
        }
    }
}

/// Where every account's dashboard is. An address anywhere else is an answer of somebody in between.
const DASHBOARD: &str = "https://app.incident.io/";

/// The account's slug from its dashboard address, the only identity that the API has.
pub fn account_slug(dashboard_url: Option<&str>) -> Option<String> {
    let path = dashboard_url?.strip_prefix(DASHBOARD)?.as_bytes();
    let slug = path.split(|byte| b"/?#".contains(byte)).next().filter(|slug| !slug.is_empty())?;
    core::str::from_utf8(slug).ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Response;

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> Answer {
        Ok(Response {
            status,
            headers: [retry_after.map(Into::into), None, None, None, None, None, None],
            body: body.as_bytes().to_vec(),
        })
    }

    #[test]
    fn a_list_request_names_every_category_and_mode() {
        let request =
            incidents(0, crate::model::DAY, &["hibernating".into(), "live".into()], 250, Some("a/b"));
        let path = request.path_and_query;
        for category in STATUS_CATEGORIES.into_iter().chain(["hibernating"]) {
            assert_eq!(
                path.matches(&format!("status_category%5Bone_of%5D={category}")).count(),
                1,
                "{category}"
            );
        }
        for mode in MODES {
            assert!(path.contains(&format!("mode%5Bone_of%5D={mode}")), "{mode}");
        }
        assert!(path.contains("updated_at%5Bdate_range%5D=1970-01-01~1970-01-02"));
        assert!(path.ends_with("&after=a%2Fb"));
    }

    #[test]
    fn each_status_says_what_to_do() {
        let said = r#"{"type":"x","errors":[{"message":"Nope"}],"request_id":"r1"}"#;
        let error = |status| body(&INCIDENTIO, "incidents", answer(status, None, said), 0).unwrap_err();
        assert!(
            matches!(error(401), ApiError::Unauthorized(t) if t.contains("Nope") && t.contains("create a new one"))
        );
        assert!(
            matches!(error(403), ApiError::Forbidden(t) if t.contains("View data") && t.contains("allowlist"))
        );
        assert_eq!(error(404), ApiError::NotFound);
        assert!(matches!(error(422), ApiError::Rejected(t) if t.contains("422") && t.contains("r1")));
        for status in [408, 500, 502, 503, 504] {
            assert!(matches!(error(status), ApiError::Unavailable(_)), "{status}");
        }
        let html =
            body(&INCIDENTIO, "incidents", answer(502, None, "<html>Bad gateway</html>"), 0).unwrap_err();
        assert!(matches!(html, ApiError::Unavailable(_)));
    }

    #[test]
    fn what_is_not_the_providers_answer_is_named_and_said_to_stand_in_between() {
        let read = |status, kind: Option<&str>, encoding: Option<&str>, said: &[u8]| {
            let headers = [None, None, None, None, None, kind.map(Into::into), encoding.map(Into::into)];
            body(&INCIDENTIO, "incidents", Ok(Response { status, headers, body: said.to_vec() }), 0)
        };
        let page = b"\n<!DOCTYPE html><html><head><Title>\n Sign in to  Acme\n</title>";
        for (status, kind, encoding, said, expected) in [
            (
                200,
                Some("text/html; charset=utf-8"),
                None,
                page.as_slice(),
                "a web page titled \"Sign in to Acme\", text/html, (HTTP 200) came",
            ),
            (403, Some("text/html"), None, page, "a web page titled"),
            (401, None, None, page, "a web page titled"),
            (404, None, None, b"<html><body>blocked", "a web page (HTTP 404) came"),
            (200, Some("text/xml"), None, b"<?xml version='1.0'?><x/>", "XML, text/xml, (HTTP 200) came"),
            (200, None, None, b"\x1f\x8b\x08\x00", "compressed data (gzip)"),
            (200, None, Some("br"), b"\x8b\x02\x80{}\x03", "compressed data (br)"),
            (200, None, None, b"\x00\xff\xfe", "binary data"),
            (
                200,
                Some("text/plain"),
                None,
                b"Access\r\ndenied",
                "text that begins \"Access denied\", text/plain,",
            ),
            (302, None, None, b"", "a redirect (HTTP 302)"),
            (407, None, None, b"", "a demand to sign in (HTTP 407)"),
            (511, Some("text/html"), None, page, "a demand to sign in (HTTP 511)"),
        ] {
            let error = read(status, kind, encoding, said).unwrap_err();
            let ApiError::Unreachable(text) = &error else { panic!("{error:?}") };
            assert!(text.contains(expected), "{text}");
            assert!(text.contains("something stands between this host and incident.io"), "{text}");
        }
        assert!(
            matches!(read(200, None, None, b" \n"), Err(ApiError::Malformed(text)) if text.contains("empty"))
        );
        for json in ["{}", " [1]", "null", "true", "-1", "\"x\"", "\u{feff}{}"] {
            assert!(read(200, Some("text/html"), None, json.as_bytes()).is_ok(), "{json}");
        }
        // Whoever says so: these pass.
        assert!(matches!(read(502, Some("text/html"), None, page), Err(ApiError::Unavailable(_))));
        assert!(matches!(read(429, Some("text/html"), None, page), Err(ApiError::RateLimited(_))));
        // Without a body the status is all there is.
        assert!(matches!(read(401, None, None, b""), Err(ApiError::Unauthorized(_))));
        assert!(matches!(read(404, None, None, b""), Err(ApiError::NotFound)));
    }

    #[test]
    fn retry_after_is_read_in_its_three_forms_and_from_the_body() {
        let now = time::parse_rfc3339("2025-04-17T11:17:00Z").unwrap();
        let wait = |header, said| body(&INCIDENTIO, "x", answer(429, header, said), now).unwrap_err();
        assert_eq!(wait(Some("7"), ""), ApiError::RateLimited(7_000));
        assert_eq!(wait(Some("Thu, 17 Apr 2025 11:17:18 GMT"), ""), ApiError::RateLimited(18_000));
        assert_eq!(wait(Some("Thu, 17 Apr 2025 11:17:18 UTC"), ""), ApiError::RateLimited(18_000));
        assert_eq!(wait(Some("2025-04-17T11:17:01.0005Z"), ""), ApiError::RateLimited(1_001));
        assert_eq!(
            wait(Some("2025-04-17T11:16:00Z"), ""),
            ApiError::RateLimited(1_000),
            "a clock that is behind"
        );
        let said = r#"{"rate_limit":{"retry_after":"2025-04-17T11:17:09Z"}}"#;
        assert_eq!(wait(None, said), ApiError::RateLimited(9_000));
        assert_eq!(wait(Some("soon"), "<html>"), ApiError::RateLimited(DEFAULT_WAIT_MS));
        assert_eq!(wait(Some("99999999999999999999"), ""), ApiError::RateLimited(DEFAULT_WAIT_MS));
        assert_eq!(wait(Some("86400"), ""), ApiError::RateLimited(LONGEST_WAIT_MS));
    }

    #[test]
    fn a_spent_allowance_pauses_for_one_request() {
        let pause = |limit: Option<&str>, remaining: Option<&str>| {
            let headers = [None, limit.map(Into::into), remaining.map(Into::into), None, None, None, None];
            pause_ms(&Response { status: 200, headers, body: Vec::new() })
        };
        assert_eq!(pause(Some("60, 1200;window=60, 60;window=60"), Some("0")), 1_000);
        assert_eq!(pause(Some("1200, 1200;window=60"), Some("0")), 50);
        assert_eq!(pause(Some("60"), Some("1")), 0);
        assert_eq!(pause(None, None), 0);
        assert_eq!(pause(Some("none"), Some("0")), 1_000);
    }

    #[test]
    fn an_http_date_may_say_utc() {
        let expected = time::parse_rfc3339("2025-04-17T11:17:18Z");
        assert_eq!(http_date("Thu, 17 Apr 2025 11:17:18 GMT"), expected);
        assert_eq!(http_date(" Thu, 17 Apr 2025 11:17:18 UTC"), expected);
        for bad in [
            "17 Apr 2025",
            "Thu, 17 Apr 2025 11:17:18",
            "Thu, 17 Foo 2025 11:17:18 GMT",
            "Thu, 31 Apr 2025 11:17:18 GMT",
            "Thu, 17 Apr 2025 11:17:18 CET",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_account_is_the_first_path_segment_of_the_dashboard() {
        assert_eq!(account_slug(Some("https://app.incident.io/my-org")).as_deref(), Some("my-org"));
        assert_eq!(account_slug(Some("https://app.incident.io/my-org/x?y")).as_deref(), Some("my-org"));
        assert_eq!(account_slug(Some("https://app.incident.io/")), None);
        assert_eq!(account_slug(None), None);
        for elsewhere in
            ["https://portal/login", "https://app.incident.io.example/login", "http://app.incident.io/my-org"]
        {
            assert_eq!(account_slug(Some(elsewhere)), None, "{elsewhere}");
        }
    }
}
