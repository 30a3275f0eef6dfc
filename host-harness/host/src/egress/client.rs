//! The HTTP client behind every guest: TLS by rustls, no redirects, no proxy, judged addresses only.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited, combinators::UnsyncBoxBody};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use wasmtime_wasi_http::{Error, WasiBody};

use super::address::is_public;
use crate::limits::Limits;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot start")]
pub struct ClientError(#[source] reqwest::Error);

/// Connections to providers, shared by all calls.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Dials public addresses only.
    public: reqwest::Client,
    /// Dials any address: for origins that the operator mapped.
    mapped: reqwest::Client,
}

/// A body that arrives in pieces.
pub(super) type AnswerBody = UnsyncBoxBody<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>;

impl Client {
    /// A client with no connections yet.
    pub(crate) fn new() -> Result<Client, ClientError> {
        let builder = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE)
                .tcp_nodelay(true)
                .user_agent(concat!("koalr-host/", env!("CARGO_PKG_VERSION")))
        };
        let public = builder().dns_resolver(Arc::new(PublicOnly)).build().map_err(ClientError)?;
        Ok(Client { public, mapped: builder().build().map_err(ClientError)? })
    }

    pub(super) async fn send(
        &self,
        request: http::Request<WasiBody>,
        mapped: bool,
        limits: &Limits,
    ) -> Result<http::Response<AnswerBody>, Error> {
        let client = if mapped { &self.mapped } else { &self.public };
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, limits.request_bytes).collect().await;
        let body = body.map_err(|_| Error::HttpRequestBodySize(None))?.to_bytes();
        let request = http::Request::from_parts(parts, reqwest::Body::from(body));
        let mut request = reqwest::Request::try_from(request).map_err(|_| Error::HttpRequestUriInvalid)?;
        // An address in place of a name is dialled without the resolver, so it is judged here; after the client's own
        // parser, to which `2130706433` and `0x7f.1` are addresses too.
        let host = request.url().host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if !mapped && literal.is_ok_and(|address| !is_public(address)) {
            return Err(Error::DestinationIpProhibited);
        }
        *request.timeout_mut() = Some(limits.request);
        let response = client.execute(request).await.map_err(|error| classify(&error))?;
        let response: http::Response<reqwest::Body> = response.into();
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
}

fn classify(error: &reqwest::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = cause {
        if at.is::<Prohibited>() {
            return Error::DestinationIpProhibited;
        }
        if let Some(io) = at.downcast_ref::<std::io::Error>() {
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => return Error::ConnectionRefused,
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => {
                    return Error::ConnectionTerminated;
                }
                _ => {}
            }
        }
        cause = at.source();
    }
    if error.is_timeout() {
        return if error.is_connect() { Error::ConnectionTimeout } else { Error::HttpResponseTimeout };
    }
    if error.is_connect() {
        return Error::DestinationUnavailable;
    }
    Error::HttpProtocolError
}

/// A name resolves to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("{0} resolves to an address that is not public")]
struct Prohibited(String);

/// Resolves once and judges every address; the connection goes to exactly those.
#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().any(|address| !is_public(address.ip())) {
                return Err(Prohibited(name.as_str().to_string()).into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &str) -> http::Request<WasiBody> {
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        http::Request::get(uri).body(body).unwrap()
    }

    #[tokio::test]
    async fn a_name_or_literal_that_leads_home_is_not_dialled() {
        let client = Client::new().unwrap();
        for uri in [
            "http://localhost:9/",
            "http://127.0.0.1:9/",
            "http://[::1]:9/",
            "http://[::ffff:10.0.0.1]:9/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fd00:ec2::254]/",
            "http://2130706433:9/",
            "http://0177.0.0.1:9/",
            "http://0x7f.1:9/",
            "http://127.1:9/",
            "http://0:9/",
        ] {
            let error = client.send(get(uri), false, &Limits::default()).await.unwrap_err();
            assert!(matches!(error, Error::DestinationIpProhibited), "{uri}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_mapped_origin_may_lie_on_this_machine() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let client = Client::new().unwrap();
        let error =
            client.send(get(&format!("http://{closed}/")), true, &Limits::default()).await.unwrap_err();
        assert!(matches!(error, Error::ConnectionRefused), "{error:?}");
    }
}
