//! What leaves the sandbox: requests to origins that the plugin declared and the operator allows, and no others.
//!
//! Two checks stand between a guest and the network. The origin of each request must be one of the plugin's by
//! scheme, host and port (`origin`); then every address that the name resolves to must be public (`address`),
//! and exactly the judged addresses are dialled (`dial`), by a proxy too if there is one (`network`). Redirects are not
//! followed: a hop would pass neither check. Credentials are added here, behind the guest, so they never enter its
//! memory. Compressed answers are decoded here (`decode`), under the same cap as others.

mod address;
mod client;
mod decode;
mod dial;
mod network;
mod origin;

pub(crate) use client::Client;
pub use client::ClientError;
pub use network::{InvalidProxy, Network, Proxy, UntrustedError};
pub use origin::InvalidOrigin;
pub(crate) use origin::Origin;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::limits::Limits;

/// One origin that a call may reach.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    /// As the guest names it.
    pub(crate) origin: Origin,
    /// Where requests go instead; development only.
    pub(crate) mapped_to: Option<Origin>,
    /// Credentials to add: header and value, the latter marked as sensitive.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Allowed {
    pub(crate) fn new(origin: Origin) -> Allowed {
        Allowed { origin, mapped_to: None, headers: Vec::new() }
    }
}

/// The egress of one call.
pub(crate) struct Egress {
    client: Client,
    allowed: Arc<[Allowed]>,
    in_flight: Arc<Semaphore>,
    made: Arc<AtomicU32>,
    limits: Limits,
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl Egress {
    pub(crate) fn new(client: Client, allowed: Vec<Allowed>, limits: Limits) -> Egress {
        Egress {
            client,
            allowed: allowed.into(),
            in_flight: Arc::new(Semaphore::new(limits.requests_in_flight)),
            made: Arc::default(),
            limits,
        }
    }

    /// From now on no request is admitted, and no credential is here.
    pub(crate) fn forget(&mut self) {
        self.allowed = Arc::default();
    }

    /// Judges and rewrites a request; nothing is sent.
    fn admit(&self, request: http::Request<WasiBody>) -> Result<(http::Request<WasiBody>, bool), Error> {
        let (mut parts, body) = request.into_parts();
        let origin = Origin::of(&parts.uri).map_err(|_| Error::HttpRequestDenied)?;
        let allowed =
            self.allowed.iter().find(|allowed| allowed.origin == origin).ok_or(Error::HttpRequestDenied)?;
        let target = allowed.mapped_to.as_ref().unwrap_or(&allowed.origin);
        parts.uri = target.with_path_of(&parts.uri).map_err(|_| Error::HttpRequestUriInvalid)?;
        parts.headers.remove(http::header::HOST);
        for (name, value) in &allowed.headers {
            parts.headers.insert(name, value.clone());
        }
        if self.made.fetch_add(1, Ordering::Relaxed) >= self.limits.requests {
            return Err(Error::HttpRequestDenied);
        }
        // An origin that the operator mapped may lie on this machine; that is what mapping is for.
        Ok((http::Request::from_parts(parts, body), allowed.mapped_to.is_some()))
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send> {
        let admitted = self.admit(request);
        let (client, in_flight, limits) = (self.client.clone(), Arc::clone(&self.in_flight), self.limits);
        Box::new(async move {
            let (request, mapped) = admitted?;
            let permit = in_flight.acquire_owned().await.map_err(|_| Error::ConnectionLimitReached)?;
            let first_byte = options.and_then(|o| o.first_byte_timeout).unwrap_or(limits.request);
            let sent = client.send(request, mapped, &limits);
            let response = tokio::time::timeout(first_byte.min(limits.request), sent).await;
            let response = response.map_err(|_| Error::HttpResponseTimeout)??;
            let cap = limits.response_bytes;
            // Told before the body is read, the guest learns the reason; a body that turns out too long breaks off.
            let declared = http_body::Body::size_hint(response.body()).lower();
            if usize::try_from(declared).is_ok_and(|length| length > cap) {
                return Err(Error::HttpResponseBodySize(Some(declared)));
            }
            let response = response.map(|body| {
                let capped = Limited::new(body, cap).map_err(|error| {
                    if error.is::<http_body_util::LengthLimitError>() {
                        return Error::HttpResponseBodySize(None);
                    }
                    Error::InternalError(Some("the answer broke off".into()))
                });
                // A request is in flight until its answer is read, or dropped.
                let held = capped.map_frame(move |frame| {
                    let _ = &permit;
                    frame
                });
                held.boxed_unsync()
            });
            let done: Io = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress() -> Egress {
        let allowed = |origin: &str, to: Option<&str>| Allowed {
            origin: origin.parse().unwrap(),
            mapped_to: to.map(|to| to.parse().unwrap()),
            headers: vec![(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer key"))],
        };
        let allowed = vec![
            allowed("https://api.incident.io", None),
            allowed("https://api.opsgenie.com", Some("http://127.0.0.1:4011")),
        ];
        Egress::new(
            Client::new(&Network::new()).unwrap(),
            allowed,
            Limits { requests: 5, ..Limits::default() },
        )
    }

    fn request(uri: &str) -> http::Request<WasiBody> {
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        http::Request::get(uri).header("authorization", "the guest's own").body(body).unwrap()
    }

    #[test]
    fn a_request_to_another_origin_is_refused() {
        for uri in [
            "http://api.incident.io/",
            "https://api.incident.io:444/",
            "https://incident.io/",
            "https://api.incident.io.evil.example/",
            "https://api.incident.io@evil.example/",
            "https://127.0.0.1/",
            "https://[::ffff:127.0.0.1]/",
        ] {
            let refused = egress().admit(request(uri));
            assert!(matches!(refused, Err(Error::HttpRequestDenied)), "{uri}");
        }
    }

    #[test]
    fn the_credential_replaces_whatever_the_guest_set() {
        let (request, mapped) = egress().admit(request("https://api.incident.io/v1/identity?x=1")).unwrap();
        assert_eq!(request.headers().get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer key"]);
        assert_eq!(
            (request.uri().to_string().as_str(), mapped),
            ("https://api.incident.io/v1/identity?x=1", false)
        );
    }

    #[test]
    fn a_mapped_origin_goes_elsewhere() {
        let (request, mapped) =
            egress().admit(request("https://api.opsgenie.com/v1/incidents?limit=1")).unwrap();
        assert_eq!(
            (request.uri().to_string().as_str(), mapped),
            ("http://127.0.0.1:4011/v1/incidents?limit=1", true)
        );
    }

    #[test]
    fn a_call_may_not_make_requests_without_end() {
        let egress = egress();
        let admitted = (0..10).filter(|_| egress.admit(request("https://api.incident.io/")).is_ok()).count();
        assert_eq!(admitted, 5);
    }
}
