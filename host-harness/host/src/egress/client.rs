//! The HTTP client behind every guest: TLS by rustls, no redirects, judged addresses only, compressed answers decoded.

use std::collections::HashMap;
use std::mem::Discriminant;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, WasiBody};

use super::decode::{ACCEPTED, Decoded, coding};
use super::dial::{BoxError, DialError, Dialer, Lookup, Names, Timed, in_full};
use super::network::Network;
use crate::limits::Limits;

const IDLE: Duration = Duration::from_secs(60);
const AGENT: &str = concat!("koalr-host/", env!("CARGO_PKG_VERSION"));
/// How long the log is silent after it told why an origin is out of reach.
const SILENCE: Duration = Duration::from_secs(10);
/// Origins and causes that the log tells of within that time; those behind them wait for the next.
const TOLD: usize = 256;

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot start")]
pub struct ClientError(#[source] rustls::Error);

type Pool = legacy::Client<Timed<HttpsConnector<Dialer>>, Full<Bytes>>;

/// Connections to providers, shared by all calls.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Dials public addresses only.
    public: Pool,
    /// Dials any address, and by no proxy: for origins that the operator mapped.
    mapped: Pool,
    told: Arc<Told>,
}

/// What the log told last, and when: one organisation's bad certificate is not to hide another's unknown host.
#[derive(Debug, Default)]
struct Told(Mutex<HashMap<(String, Discriminant<Error>), Instant>>);

impl Told {
    /// Whether it is time to tell that this origin is out of reach for this cause; notes that it was told.
    fn is_due(&self, origin: &str, cause: &Error, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_silent = |at: &mut Instant| now.saturating_duration_since(*at) < SILENCE;
        let of = (origin.to_owned(), std::mem::discriminant(cause));
        if told.get_mut(&of).is_some_and(is_silent) {
            return false;
        }
        if told.len() >= TOLD {
            told.retain(|_, at| is_silent(at));
        }
        let is_due = told.len() < TOLD;
        if is_due {
            told.insert(of, now);
        }
        is_due
    }
}

/// A body that arrives in pieces.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

impl Client {
    /// A client with no connections yet.
    pub(crate) fn new(network: &Network) -> Result<Client, ClientError> {
        Client::looking_up(Lookup::System, network)
    }

    fn looking_up(lookup: Lookup, network: &Network) -> Result<Client, ClientError> {
        let tls = trusting(network)?;
        let pool = |names: Names, proxy| {
            let dialer = Dialer::new(names, proxy);
            legacy::Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .pool_timer(TokioTimer::new())
                .build(Timed(HttpsConnector::from((dialer, tls.clone()))))
        };
        let proxy = network.proxy.clone().map(|proxy| (proxy, tls.clone()));
        Ok(Client {
            public: pool(Names { lookup: lookup.clone(), judged: true }, proxy),
            mapped: pool(Names { lookup, judged: false }, None),
            told: Arc::default(),
        })
    }

    /// The answer's head, and its body while it arrives. All of it within the time of a request.
    pub(super) async fn send(
        &self,
        request: http::Request<WasiBody>,
        mapped: bool,
        limits: &Limits,
    ) -> Result<http::Response<AnswerBody>, Error> {
        let client = if mapped { &self.mapped } else { &self.public };
        let (mut parts, body) = request.into_parts();
        let body = Limited::new(body, limits.request_bytes).collect().await;
        let body = body.map_err(|_| Error::HttpRequestBodySize(None))?.to_bytes();
        let origin = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        parts.version = http::Version::HTTP_11;
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
        parts.headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        parts.headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let request = http::Request::from_parts(parts, Full::new(body));
        let mut deadline = Box::pin(tokio::time::sleep(limits.request));
        let response = tokio::select! {
            response = client.request(request) => response.map_err(|error| self.explained(&origin, &error))?,
            () = &mut deadline => return Err(Error::HttpResponseTimeout),
        };
        let (mut head, body) = response.into_parts();
        let body = InTime { body: body.map_err(BoxError::from), deadline };
        let body = match coding(&mut head.headers) {
            Some(coding) => Decoded::new(coding, body).boxed_unsync(),
            None => body.boxed_unsync(),
        };
        Ok(http::Response::from_parts(head, body))
    }

    /// What the guest is told. What does not pass by itself is told to the log as well, which can say more.
    fn explained(&self, origin: &str, error: &legacy::Error) -> Error {
        let told = classify(error);
        let lasting =
            matches!(told, Error::TlsCertificateError | Error::ConfigurationError | Error::DnsError { .. });
        if lasting && self.told.is_due(origin, &told, Instant::now()) {
            tracing::warn!("{origin} is out of reach: {}", in_full(error));
        }
        told
    }
}

/// TLS with the authorities of this network.
fn trusting(network: &Network) -> Result<rustls::ClientConfig, ClientError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // A system's store may hold some that no library reads; those that an operator names were checked when they were.
    let _ = roots.add_parsable_certificates(network.authorities.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(ClientError)?.with_root_certificates(roots).with_no_client_auth())
}

fn classify(error: &legacy::Error) -> Error {
    by_cause(error).unwrap_or(match error.is_connect() {
        true => Error::DestinationUnavailable,
        false => Error::HttpProtocolError,
    })
}

/// What the guest is told of the first known cause. An I/O error is a cause, and holds another.
fn by_cause(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    use std::io::ErrorKind;
    let mut cause = Some(error);
    let mut broken = None;
    while let Some(at) = cause {
        if let Some(dial) = at.downcast_ref::<DialError>() {
            return Some(of_dial(dial));
        }
        if let Some(tls) = at.downcast_ref::<rustls::Error>() {
            return Some(of_tls(tls));
        }
        if let Some(io) = at.downcast_ref::<std::io::Error>() {
            if let Some(told) = io.get_ref().and_then(|inner| by_cause(inner)) {
                return Some(told);
            }
            match io.kind() {
                ErrorKind::ConnectionRefused => return Some(Error::ConnectionRefused),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                    broken = Some(Error::ConnectionTerminated);
                }
                ErrorKind::TimedOut => return Some(Error::ConnectionTimeout),
                _ => {}
            }
        }
        if at.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            broken = Some(Error::ConnectionTerminated);
        }
        cause = at.source();
    }
    broken
}

fn of_dial(error: &DialError) -> Error {
    let unresolved = |rcode: &str| Error::DnsError { rcode: Some(rcode.to_owned()), info_code: None };
    match error {
        DialError::Prohibited(_) => Error::DestinationIpProhibited,
        DialError::UnknownName(_) => unresolved("NXDOMAIN"),
        DialError::Unresolved(..) => unresolved("SERVFAIL"),
        DialError::ProxyAway(_) => {
            Error::InternalError(Some("the proxy that this host uses cannot be reached".into()))
        }
        // What stands behind the proxy did not answer it, or it is overloaded.
        DialError::ProxyRefuses(_, status @ 500..) => {
            Error::InternalError(Some(format!("the proxy that this host uses answers HTTP {status}")))
        }
        DialError::ProxyRefuses(..) | DialError::NoProxy => Error::ConfigurationError,
        DialError::Late => Error::ConnectionTimeout,
    }
}

fn of_tls(error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            Error::TlsCertificateError
        }
        rustls::Error::AlertReceived(alert) => {
            Error::TlsAlertReceived { alert_id: Some((*alert).into()), alert_message: None }
        }
        _ => Error::TlsProtocolError,
    }
}

/// A body that must be through by a time.
struct InTime<B> {
    body: B,
    deadline: Pin<Box<Sleep>>,
}

impl<B: Body<Error = BoxError> + Unpin> Body for InTime<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.deadline.as_mut().poll(cx).map(|()| Some(Err(DialError::Late.into())))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Mutex as StdMutex;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::network::Proxy;
    use super::*;

    const AUTHORITY: &[u8] = include_bytes!("../../../../tests/fixtures/tls/authority.pem");
    const SERVER: &[u8] = include_bytes!("../../../../tests/fixtures/tls/api.incident.io.pem");
    const EXPIRED: &[u8] = include_bytes!("../../../../tests/fixtures/tls/expired.pem");
    const KEY: &[u8] = include_bytes!("../../../../tests/fixtures/tls/key.pem");
    /// A public address, which no test dials.
    const PUBLIC: &str = "203.0.114.9";

    fn get(uri: &str) -> http::Request<WasiBody> {
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        http::Request::get(uri).body(body).unwrap()
    }

    fn client(network: &Network) -> Client {
        Client::looking_up(Lookup::Fixed(vec![PUBLIC.parse().unwrap()]), network).unwrap()
    }

    #[test]
    fn one_origins_failure_hides_no_other_origin_and_no_other_cause_from_the_log() {
        let (told, start) = (Told::default(), Instant::now());
        let refused = Error::ConfigurationError;
        assert!(told.is_due("bad.example", &Error::TlsCertificateError, start));
        assert!(!told.is_due("bad.example", &Error::TlsCertificateError, start));
        assert!(told.is_due("other.example", &Error::TlsCertificateError, start));
        assert!(told.is_due("bad.example", &refused, start));
        assert!(told.is_due("bad.example", &Error::TlsCertificateError, start + SILENCE));
        // However many origins there are, a few are told of, and kept.
        let late = start + 2 * SILENCE;
        let origins = (0..10 * TOLD).map(|number| format!("{number}.example"));
        assert_eq!(origins.filter(|origin| told.is_due(origin, &refused, late)).count(), TOLD);
        assert_eq!(told.0.lock().unwrap().len(), TOLD);
        assert!(told.is_due("2559.example", &refused, late + SILENCE), "those behind them come next");
    }

    async fn failed(client: &Client, uri: &str, mapped: bool) -> Error {
        client.send(get(uri), mapped, &Limits::default()).await.unwrap_err()
    }

    async fn text(response: http::Response<AnswerBody>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// Reads the head of a request and gives this answer, to each connection.
    async fn answering(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_one(BufReader::new(stream), answer));
            }
        });
        address
    }

    async fn head<S: tokio::io::AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 || line == "\r\n" {
                return lines;
            }
            lines.push(line.trim_end().to_owned());
        }
    }

    async fn answer_one<S>(mut stream: BufReader<S>, answer: &[u8])
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        head(&mut stream).await;
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    }

    /// The same behind TLS, with this certificate.
    async fn answering_tls(certificate: &[u8], answer: &'static [u8]) -> SocketAddr {
        let chain = CertificateDer::pem_slice_iter(certificate).map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer_one(BufReader::new(stream), answer).await;
                    }
                });
            }
        });
        address
    }

    /// A proxy that connects whatever it is asked for to this place, or refuses with a status; and what it was asked.
    async fn proxy(to: Result<SocketAddr, &'static str>) -> (SocketAddr, Arc<StdMutex<Vec<Vec<String>>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(StdMutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let request = head(&mut stream).await;
                seen.lock().unwrap().push(request);
                match to {
                    Ok(to) => {
                        stream
                            .write_all(b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n")
                            .await
                            .unwrap();
                        let mut there = TcpStream::connect(to).await.unwrap();
                        tokio::spawn(async move {
                            let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
                        });
                    }
                    Err(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                }
            }
        });
        (address, asked)
    }

    fn by(address: SocketAddr, except: &str) -> Proxy {
        Proxy::new(&format!("http://ann:pass%20word@{address}"), except).unwrap()
    }

    fn trusting_ours() -> Network {
        Network::new().trust(AUTHORITY).unwrap()
    }

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    #[tokio::test]
    async fn a_name_or_literal_that_leads_home_is_not_dialled() {
        let direct = Client::new(&Network::new()).unwrap();
        let (address, asked) = proxy(Err("HTTP/1.1 500 x\r\n\r\n")).await;
        let proxied = Client::new(&Network::new().by(by(address, ""))).unwrap();
        for uri in [
            "http://localhost:9/",
            "http://127.0.0.1:9/",
            "http://[::1]:9/",
            "http://[::ffff:10.0.0.1]:9/",
            "http://[64:ff9b:1::a00:1]:9/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fd00:ec2::254]/",
            "http://2130706433:9/",
            "http://0177.0.0.1:9/",
            "http://0x7f.1:9/",
            "http://127.1:9/",
            "http://0:9/",
        ] {
            for client in [&direct, &proxied] {
                let error = failed(client, uri, false).await;
                assert!(matches!(error, Error::DestinationIpProhibited), "{uri}: {error:?}");
            }
        }
        assert!(asked.lock().unwrap().is_empty(), "nor is a proxy asked to");
    }

    #[tokio::test]
    async fn a_mapped_origin_may_lie_on_this_machine_and_is_reached_by_no_proxy() {
        let (there, (address, asked)) = (answering(OK).await, proxy(Err("")).await);
        let client = client(&Network::new().by(by(address, "")));
        let response = client.send(get(&format!("http://{there}/")), true, &Limits::default()).await;
        assert_eq!(text(response.unwrap()).await, "ok");
        assert!(asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn each_cause_has_its_name() {
        let client = client(&trusting_ours());
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = failed(&client, &format!("http://{closed}/"), true).await;
        assert!(matches!(error, Error::ConnectionRefused), "{error:?}");

        // Of an authority that is not trusted, of another name, expired.
        let server = answering_tls(SERVER, OK).await;
        let stranger = Client::new(&Network::new()).unwrap();
        let expired = answering_tls(EXPIRED, OK).await;
        for (client, uri) in [
            (&stranger, format!("https://localhost:{}/", server.port())),
            (&client, format!("https://127.0.0.1:{}/", server.port())),
            (&client, format!("https://127.0.0.1:{}/", expired.port())),
        ] {
            let error = failed(client, &uri, true).await;
            assert!(matches!(error, Error::TlsCertificateError), "{uri}: {error:?}");
        }
        let plain = answering(OK).await;
        let error = failed(&client, &format!("https://{plain}/"), true).await;
        assert!(matches!(error, Error::TlsProtocolError), "{error:?}");
        let gone = answering(b"").await;
        let error = failed(&client, &format!("http://{gone}/"), true).await;
        assert!(matches!(error, Error::ConnectionTerminated), "{error:?}");

        let unknown = DialError::UnknownName("api.incident.io".into());
        let told = by_cause(&std::io::Error::other(unknown));
        assert!(matches!(told, Some(Error::DnsError { rcode: Some(rcode), .. }) if rcode == "NXDOMAIN"));
    }

    #[tokio::test]
    async fn an_authority_that_the_operator_names_is_trusted() {
        let server = answering_tls(SERVER, OK).await;
        let uri = format!("https://localhost:{}/", server.port());
        let client = Client::new(&trusting_ours()).unwrap();
        let response = client.send(get(&uri), true, &Limits::default()).await.unwrap();
        assert_eq!(text(response).await, "ok");
    }

    #[tokio::test]
    async fn a_proxy_is_told_the_address_that_was_judged_and_the_server_its_name() {
        let server = answering_tls(SERVER, OK).await;
        let (address, asked) = proxy(Ok(server)).await;
        let client = client(&trusting_ours().by(by(address, "")));
        // The certificate is checked against the name, whoever the proxy connects to.
        let response = client.send(get("https://api.incident.io/v1"), false, &Limits::default()).await;
        assert_eq!(text(response.unwrap()).await, "ok");
        let asked = asked.lock().unwrap().concat();
        assert_eq!(
            asked,
            [
                "CONNECT 203.0.114.9:443 HTTP/1.1",
                "Host: 203.0.114.9:443",
                "Proxy-Authorization: Basic YW5uOnBhc3Mgd29yZA==",
            ]
        );
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_before_a_proxy_is_asked() {
        let (address, asked) = proxy(Err("")).await;
        let home = Lookup::Fixed(vec![PUBLIC.parse().unwrap(), "10.0.0.1".parse().unwrap()]);
        let client = Client::looking_up(home, &Network::new().by(by(address, ""))).unwrap();
        let error = failed(&client, "https://api.incident.io/", false).await;
        assert!(matches!(error, Error::DestinationIpProhibited), "{error:?}");
        assert!(asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_proxy_that_resolves_is_told_the_name_and_literals_are_judged_even_then() {
        let server = answering_tls(SERVER, OK).await;
        let (address, asked) = proxy(Ok(server)).await;
        let nothing = Lookup::Fixed(Vec::new());
        let network = trusting_ours().by(by(address, "").resolves());
        let client = Client::looking_up(nothing, &network).unwrap();
        let response = client.send(get("https://api.incident.io/"), false, &Limits::default()).await;
        assert_eq!(text(response.unwrap()).await, "ok");
        let error = failed(&client, "https://10.0.0.1/", false).await;
        assert!(matches!(error, Error::DestinationIpProhibited), "{error:?}");
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0][0], "CONNECT api.incident.io:443 HTTP/1.1");
    }

    #[tokio::test]
    async fn a_proxy_that_does_not_connect_is_named_and_whether_that_passes() {
        for (answer, passes) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", false),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", true),
            ("SSH-2.0-OpenSSH_9.9\r\n\r\n", false),
        ] {
            let (address, _) = proxy(Err(answer)).await;
            let client = client(&Network::new().by(by(address, "")));
            let error = failed(&client, "https://api.incident.io/", false).await;
            match passes {
                true => assert!(
                    matches!(&error, Error::InternalError(Some(why)) if why.contains("503")),
                    "{error:?}"
                ),
                false => assert!(matches!(error, Error::ConfigurationError), "{answer}: {error:?}"),
            }
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let client = client(&Network::new().by(by(closed, "")));
        let error = failed(&client, "https://api.incident.io/", false).await;
        assert!(matches!(&error, Error::InternalError(Some(why)) if why.contains("proxy")), "{error:?}");
    }

    #[tokio::test]
    async fn no_text_of_a_failure_shows_the_proxys_password() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (refusing, _) = proxy(Err("HTTP/1.1 407 x\r\n\r\n")).await;
        for address in [closed, refusing] {
            let client = client(&Network::new().by(by(address, "")));
            let request = http::Request::get("https://api.incident.io/").body(Full::default()).unwrap();
            let error = client.public.request(request).await.unwrap_err();
            for told in [in_full(&error), format!("{error:?}"), format!("{client:?}")] {
                for secret in ["pass word", "pass%20word", "YW5uOnBhc3Mgd29yZA"] {
                    assert!(!told.contains(secret), "{told}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_compressed_answer_reaches_the_guest_as_what_it_was() {
        // `printf ok | gzip -n`
        let answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 22\r\n\r\n\
            \x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xcf\x06\x00\x47\xdd\xdc\x79\x02\x00\x00\x00";
        let there = answering(answer).await;
        let client = Client::new(&Network::new()).unwrap();
        let response = client.send(get(&format!("http://{there}/")), true, &Limits::default()).await.unwrap();
        assert!(response.headers().is_empty(), "{:?}", response.headers());
        assert_eq!(text(response).await, "ok");
    }

    #[tokio::test]
    async fn a_request_says_what_it_can_read_and_who_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::new(&Network::new()).unwrap();
        let sending = tokio::spawn(async move {
            let _ = client.send(get(&format!("http://{address}/x?y=1")), true, &Limits::default()).await;
        });
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let mut said = head(&mut stream).await;
        said.sort();
        assert_eq!(
            said,
            [
                "GET /x?y=1 HTTP/1.1".to_owned(),
                "accept-encoding: gzip, deflate".to_owned(),
                "accept: */*".to_owned(),
                format!("host: {address}"),
                format!("user-agent: {AGENT}"),
            ]
        );
        drop(stream);
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_stops_is_over_in_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let client = Client::new(&Network::new()).unwrap();
        let limits = Limits { request: Duration::from_millis(50), ..Limits::default() };
        let response = client.send(get(&format!("http://{address}/")), true, &limits).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
    }

    #[test]
    fn the_address_that_stands_for_the_provider_is_public() {
        assert!(super::super::address::is_public(PUBLIC.parse::<IpAddr>().unwrap()));
    }
}
