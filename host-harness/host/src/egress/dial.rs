//! Connections to what may be reached: names are resolved here, once, every address is judged, and exactly the judged
//! ones are dialled, by a proxy too, which is told an address and no name.
//!
//! A proxy that is to resolve names itself is told the name. Addresses in place of names are judged even then.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tower_service::Service;

use super::address::is_public;
use super::network::Proxy;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Dialling<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// How long a connection may take to come about, TLS and a proxy's answer included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a proxy's answer.
const PROXY_HEAD: usize = 16 << 10;

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0} resolves to an address that is not public")]
    Prohibited(String),
    #[error("DNS knows no name {0}")]
    UnknownName(String),
    #[error("DNS does not answer for {0}: {1}")]
    Unresolved(String, String),
    #[error("the proxy cannot be reached: {0}")]
    ProxyAway(String),
    #[error("the proxy refuses to connect to {0} (HTTP {1})")]
    ProxyRefuses(String, u16),
    #[error("what was taken for a proxy does not answer as one")]
    NoProxy,
    #[error("no connection came about in time")]
    Late,
}

/// Where addresses come from.
#[derive(Debug, Clone)]
pub(super) enum Lookup {
    System,
    #[cfg(test)]
    Fixed(Vec<IpAddr>),
}

impl Lookup {
    async fn addresses(&self, name: String) -> Result<Vec<IpAddr>, DialError> {
        match self {
            Lookup::System => {
                let asked = name.clone();
                let asking = move || -> Result<Vec<IpAddr>, dns_lookup::LookupError> {
                    // One answer for each address, instead of one for each kind of socket.
                    let streams = dns_lookup::AddrInfoHints {
                        socktype: dns_lookup::SockType::Stream.into(),
                        ..dns_lookup::AddrInfoHints::default()
                    };
                    let found = dns_lookup::getaddrinfo(Some(&asked), None, Some(streams))?;
                    Ok(found.filter_map(|one| Some(one.ok()?.sockaddr.ip())).collect())
                };
                let found = tokio::task::spawn_blocking(asking).await;
                let found = found.map_err(|error| DialError::Unresolved(name.clone(), error.to_string()))?;
                found.map_err(|error| unresolved(name, &error))
            }
            #[cfg(test)]
            Lookup::Fixed(addresses) => Ok(addresses.clone()),
        }
    }
}

fn unresolved(name: String, error: &dns_lookup::LookupError) -> DialError {
    match error.kind() {
        dns_lookup::LookupErrorKind::NoName | dns_lookup::LookupErrorKind::NoData => {
            DialError::UnknownName(name)
        }
        _ => DialError::Unresolved(name, error.to_string()),
    }
}

/// Resolves a name; where it is to be judged, every one of its addresses must be public.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) lookup: Lookup,
    pub(super) judged: bool,
}

impl Names {
    async fn addresses(&self, name: String) -> Result<Vec<IpAddr>, DialError> {
        let found = self.lookup.addresses(name.clone()).await?;
        match self.judged && found.iter().any(|address| !is_public(*address)) {
            true => Err(DialError::Prohibited(name)),
            false => Ok(found),
        }
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        Box::pin(async move {
            let found = names.addresses(name.as_str().to_owned()).await?;
            let found: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(found.into_iter())
        })
    }
}

/// Makes the connection below TLS: to the destination, or by a proxy.
#[derive(Clone)]
pub(super) struct Dialer {
    names: Names,
    direct: HttpConnector<Names>,
    proxy: Option<ByProxy>,
}

#[derive(Clone)]
struct ByProxy {
    proxy: Proxy,
    /// To the proxy itself, which is the operator's and may be anywhere.
    connector: HttpsConnector<HttpConnector>,
}

impl Dialer {
    pub(super) fn new(names: Names, proxy: Option<(Proxy, rustls::ClientConfig)>) -> Dialer {
        let mut direct = HttpConnector::new_with_resolver(names.clone());
        direct.enforce_http(false);
        direct.set_nodelay(true);
        let proxy = proxy.map(|(proxy, tls)| {
            let mut connector = HttpConnector::new();
            connector.enforce_http(false);
            connector.set_nodelay(true);
            ByProxy { proxy, connector: HttpsConnector::from((connector, tls)) }
        });
        Dialer { names, direct, proxy }
    }

    async fn dial(mut self, uri: Uri) -> Result<Stream, BoxError> {
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let literal = bare.parse::<IpAddr>().ok();
        if self.names.judged && literal.is_some_and(|address| !is_public(address)) {
            return Err(DialError::Prohibited(bare).into());
        }
        let by = self.proxy.as_mut().and_then(|by| Some((by.proxy.for_destination(&uri)?, by)));
        let Some(((proxy, credential), by)) = by else {
            return Ok(MaybeHttpsStream::Http(self.direct.call(uri).await?));
        };
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let destinations = match literal {
            Some(address) => vec![SocketAddr::new(address, port).to_string()],
            None if by.proxy.resolves => vec![format!("{bare}:{port}")],
            None => {
                let found = self.names.addresses(bare.clone()).await?;
                found.into_iter().map(|address| SocketAddr::new(address, port).to_string()).collect()
            }
        };
        let mut failed: BoxError = DialError::UnknownName(bare).into();
        for destination in destinations {
            match by.connect(proxy.clone(), credential.as_ref(), &destination).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }
}

impl ByProxy {
    async fn connect(
        &mut self,
        proxy: Uri,
        credential: Option<&HeaderValue>,
        destination: &str,
    ) -> Result<Stream, DialError> {
        let connected = self.connector.call(proxy).await;
        let stream = connected.map_err(|error| DialError::ProxyAway(in_full(&*error)))?;
        let mut stream = TokioIo::new(stream);
        let status = handshake(&mut stream, credential, destination).await;
        match status.map_err(|error| DialError::ProxyAway(error.to_string()))? {
            Some(200..=299) => Ok(stream.into_inner()),
            Some(status) => Err(DialError::ProxyRefuses(destination.to_owned(), status)),
            None => Err(DialError::NoProxy),
        }
    }
}

/// Asks for a tunnel. The status of the answer; none if it is no answer of HTTP.
async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credential: Option<&HeaderValue>,
    destination: &str,
) -> std::io::Result<Option<u16>> {
    let mut request = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n").into_bytes();
    if let Some(credential) = credential {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(credential.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    stream.flush().await?;
    // Byte by byte: what follows the head is the tunnel's. A connection is made seldom.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD {
            return Ok(None);
        }
        head.push(stream.read_u8().await?);
    }
    let mut words = head.split(|byte| *byte == b' ');
    let is_http = words.next().is_some_and(|version| version.starts_with(b"HTTP/1."));
    let status = words.next().and_then(|status| std::str::from_utf8(status).ok()?.trim().parse().ok());
    Ok(status.filter(|_| is_http))
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = BoxError;
    type Future = Dialling<Stream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A connector whose connections come about in time, or not at all.
#[derive(Clone)]
pub(super) struct Timed<C>(pub(super) C);

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Response: Send + 'static,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Dialling<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.0.call(uri));
        Box::pin(async move { connecting.await.map_err(|_| BoxError::from(DialError::Late))? })
    }
}

/// An error with what caused it, on one line.
pub(super) fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(at) = cause {
        let more = at.to_string();
        // Some repeat what is inside them.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = at.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_from_a_dns_that_does_not_answer() {
        let told = |number| unresolved("x.example".into(), &dns_lookup::LookupError::new(number));
        // EAI_NONAME, EAI_AGAIN, EAI_FAIL of this system.
        assert!(matches!(told(-2), DialError::UnknownName(_)));
        assert!(matches!(told(-3), DialError::Unresolved(..)));
        assert!(matches!(told(-4), DialError::Unresolved(..)));
    }
}
