//! Requests through `wasi:http`, several in flight at a time, without threads: whatever is ready goes on.
//!
//! Sends GET requests only, adds no credential (the host does), follows no redirect.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use wasi::http::outgoing_handler;
use wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasi::io::poll::{Pollable, poll};
use wasi::io::streams::{InputStream, StreamError};

use crate::port::{Answer, Failure, HEADERS, Request, Response};

/// Requests in flight at a time.
const IN_FLIGHT: usize = 8;
/// The largest answer that is read: a page of 250 incidents is well below 4 MB.
const LARGEST_BODY: usize = 16 << 20;
/// Bytes asked for at a time.
const CHUNK: u64 = 256 << 10;
/// Nanoseconds to wait for a connection, for the first byte, and between bytes.
const CONNECT_TIMEOUT: u64 = 10_000_000_000;
const ANSWER_TIMEOUT: u64 = 30_000_000_000;

/// Sends requests. Whatever is still on its way when this is dropped is called off.
#[derive(Default)]
pub(super) struct Client {
    begun: Vec<(Request, Flight)>,
}

impl Client {
    /// Sends a request whose answer a later [`Client::fetch`] of the same request takes. One that cannot be sent
    /// fails there.
    pub(super) fn begin(&mut self, request: &Request) {
        if let Ok(flight) = Flight::start(request) {
            self.begun.push((request.clone(), flight));
        }
    }

    fn start(&mut self, request: &Request) -> Result<Flight, Failure> {
        match self.begun.iter().position(|(begun, _)| begun == request) {
            Some(index) => Ok(self.begun.swap_remove(index).1),
            None => Flight::start(request),
        }
    }

    /// All answers, in the order of the requests.
    pub(super) fn fetch(&mut self, requests: &[Request]) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(requests.len());
        answers.resize_with(requests.len(), || None);
        let mut waiting = requests.iter().enumerate();
        let mut flights: Vec<(usize, Flight)> = Vec::with_capacity(IN_FLIGHT);
        let mut spent: Vec<&str> = Vec::new();
        loop {
            while flights.len() < IN_FLIGHT {
                let Some((index, request)) = waiting.next() else {
                    break;
                };
                if spent.contains(&request.endpoint()) {
                    continue;
                }
                match self.start(request) {
                    Ok(flight) => flights.push((index, flight)),
                    Err(failure) => settle(&mut answers, index, Err(failure)),
                }
            }
            if flights.is_empty() {
                break;
            }
            let pollables: Vec<&Pollable> = flights.iter().map(|(_, flight)| flight.pollable()).collect();
            let ready = poll(&pollables);
            let mut going = Vec::with_capacity(IN_FLIGHT);
            for (place, (index, flight)) in flights.into_iter().enumerate() {
                if !ready.iter().any(|r| usize::try_from(*r) == Ok(place)) {
                    going.push((index, flight));
                    continue;
                }
                match flight.advance() {
                    Ok(Progress::Going(flight)) => going.push((index, flight)),
                    Ok(Progress::Done(response)) => {
                        if response.is_last() {
                            spent.extend(requests.get(index).map(Request::endpoint));
                        }
                        settle(&mut answers, index, Ok(response));
                    }
                    Err(failure) => settle(&mut answers, index, Err(failure)),
                }
            }
            flights = going;
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Err(Failure::Unsent))).collect()
    }
}

fn settle(answers: &mut [Option<Answer>], index: usize, answer: Answer) {
    if let Some(slot) = answers.get_mut(index) {
        *slot = Some(answer);
    }
}

/// One request.
enum Flight {
    Sent(Sent),
    Reading(Reading, Response),
}

/// Fields are dropped in order, and a resource must go before the one that it was made from. So these are
/// never taken apart.
struct Sent {
    ready: Pollable,
    future: FutureIncomingResponse,
}

/// See [`Sent`].
struct Reading {
    ready: Pollable,
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
}

enum Progress {
    Going(Flight),
    Done(Response),
}

impl Flight {
    fn start(request: &Request) -> Result<Flight, Failure> {
        let broken = |()| Failure::Broken("the request cannot be built".to_string());
        let (scheme, authority) = match request.origin.strip_prefix("https://") {
            Some(authority) => (Scheme::Https, authority),
            None => return Err(Failure::Refused(format!("{} is no https origin", request.origin))),
        };
        let headers = Fields::new();
        let json = [b"application/json".to_vec()];
        headers.set("accept", &json).map_err(|_| broken(()))?;
        let outgoing = OutgoingRequest::new(headers);
        outgoing.set_method(&Method::Get).map_err(broken)?;
        outgoing.set_scheme(Some(&scheme)).map_err(broken)?;
        outgoing.set_authority(Some(authority)).map_err(broken)?;
        outgoing.set_path_with_query(Some(&request.path_and_query)).map_err(broken)?;
        let options = RequestOptions::new();
        // A host that knows no such option keeps its own limits.
        let _ = options.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let _ = options.set_first_byte_timeout(Some(ANSWER_TIMEOUT));
        let _ = options.set_between_bytes_timeout(Some(ANSWER_TIMEOUT));
        let future = outgoing_handler::handle(outgoing, Some(options)).map_err(failure)?;
        Ok(Flight::Sent(Sent { ready: future.subscribe(), future }))
    }

    fn pollable(&self) -> &Pollable {
        match self {
            Flight::Sent(sent) => &sent.ready,
            Flight::Reading(reading, _) => &reading.ready,
        }
    }

    fn advance(self) -> Result<Progress, Failure> {
        match self {
            Flight::Sent(sent) => {
                let Some(answer) = sent.future.get() else {
                    return Ok(Progress::Going(Flight::Sent(sent)));
                };
                let twice = |()| Failure::Broken("the answer was taken twice".to_string());
                let response = answer.map_err(twice)?.map_err(failure)?;
                let status = response.status();
                let fields = response.headers();
                let headers = HEADERS
                    .map(|name| fields.get(name).into_iter().next().and_then(|v| String::from_utf8(v).ok()));
                let unreadable = |()| Failure::Broken("the answer has no readable body".to_string());
                let body = response.consume().map_err(unreadable)?;
                let stream = body.stream().map_err(unreadable)?;
                let got = Response { status, headers, body: Vec::new() };
                let reading = Reading { ready: stream.subscribe(), stream, _body: body, _response: response };
                Flight::Reading(reading, got).advance()
            }
            Flight::Reading(reading, mut got) => loop {
                match reading.stream.read(CHUNK) {
                    Ok(chunk) if chunk.is_empty() => {
                        return Ok(Progress::Going(Flight::Reading(reading, got)));
                    }
                    Ok(chunk) if got.body.len() + chunk.len() > LARGEST_BODY => {
                        return Err(Failure::TooLarge);
                    }
                    Ok(chunk) if got.body.is_empty() => got.body = chunk,
                    Ok(chunk) => got.body.extend_from_slice(&chunk),
                    Err(StreamError::Closed) => return Ok(Progress::Done(got)),
                    Err(StreamError::LastOperationFailed(_)) => {
                        return Err(Failure::Broken("the answer broke off".to_string()));
                    }
                }
            },
        }
    }
}

fn failure(code: ErrorCode) -> Failure {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::HttpRequestMethodInvalid => {
            Failure::Refused("the origin is not allowed".to_string())
        }
        ErrorCode::DestinationIpProhibited => {
            Failure::Refused("the name resolves to an address that is not allowed".to_string())
        }
        ErrorCode::HttpResponseBodySize(_) => Failure::TooLarge,
        ErrorCode::ConnectionTimeout => Failure::Broken("no connection came about in time".to_string()),
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            Failure::Broken("no answer in time".to_string())
        }
        ErrorCode::ConnectionRefused => Failure::Broken("the connection was refused".to_string()),
        ErrorCode::DnsError(payload) if payload.rcode.as_deref() == Some("NXDOMAIN") => {
            Failure::Cut("the host is unknown: no such name is known to this host's DNS".to_string())
        }
        ErrorCode::DnsError(_) | ErrorCode::DnsTimeout => {
            Failure::Broken("this host's DNS does not answer for its name".to_string())
        }
        ErrorCode::ConnectionTerminated => Failure::Broken("the connection broke off".to_string()),
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationNotFound => {
            Failure::Broken("no connection".to_string())
        }
        ErrorCode::TlsCertificateError => Failure::Cut(
            "the certificate is not trusted by this host: it has expired, names another server, or comes from an \
             authority that is unknown here, such as that of a proxy that reads along"
                .to_string(),
        ),
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => {
            Failure::Broken("no secure connection (TLS) came about".to_string())
        }
        ErrorCode::ConfigurationError => {
            Failure::Cut("the proxy that this host uses refuses to connect to it".to_string())
        }
        ErrorCode::HttpResponseContentCoding(_) => {
            Failure::Broken("the answer's compression is damaged".to_string())
        }
        _ => Failure::Broken("the request failed".to_string()),
    }
}
