//! Requests of every bad kind, through `wasi:http` as it is.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use wasi::http::outgoing_handler::handle;
use wasi::http::types::{
    Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingRequest, Scheme,
};
use wasi::io::streams::StreamError;

fn request(url: &str) -> OutgoingRequest {
    let request = OutgoingRequest::new(Fields::new());
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        other => Scheme::Other(other.to_string()),
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let _ = request.set_scheme(Some(&scheme));
    // What cannot even be said is left out, and then refused for that.
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    request
}

fn answer(future: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
    loop {
        future.subscribe().block();
        match future.get() {
            Some(Ok(Ok(response))) => return Ok(response),
            Some(Ok(Err(code))) => return Err(format!("{code:?}")),
            Some(Err(())) => return Err("taken twice".to_string()),
            None => {}
        }
    }
}

/// How many bytes there were, and how they ended.
fn read(response: &IncomingResponse) -> String {
    let Ok(body) = response.consume() else { return "no body".to_string() };
    let Ok(stream) = body.stream() else { return "no stream".to_string() };
    let mut bytes = 0;
    let end = loop {
        match stream.blocking_read(1 << 20) {
            Ok(chunk) => bytes += chunk.len(),
            Err(StreamError::Closed) => break "closed",
            Err(StreamError::LastOperationFailed(_)) => break "broke off",
        }
    };
    drop(stream);
    IncomingBody::finish(body);
    format!("{bytes} bytes, then {end}")
}

pub(crate) fn get(url: &str) -> String {
    match handle(request(url), None) {
        Err(code) => format!("{code:?}"),
        Ok(future) => match answer(&future) {
            Err(code) => code,
            Ok(response) => format!("{}: {}", response.status(), read(&response)),
        },
    }
}

/// Begins requests and takes no answer.
pub(crate) fn hoard(url: &str) -> String {
    let mut held = Vec::new();
    while held.len() < 100 {
        match handle(request(url), None) {
            Ok(future) => held.push(future),
            Err(code) => return format!("{} begun, then {code:?}", held.len()),
        }
    }
    // The first that is answered says that the others were begun.
    let first = held.first().map(answer);
    format!("{} begun, {:?}", held.len(), first.map(|first| first.map(|response| response.status())))
}

/// A request whose body never ends.
pub(crate) fn send_without_end(url: &str) -> String {
    let request = request(url);
    let _ = request.set_method(&Method::Post);
    let Ok(body) = request.body() else { return "no body".to_string() };
    let Ok(stream) = body.write() else { return "no stream".to_string() };
    let Ok(_future) = handle(request, None) else { return "refused".to_string() };
    let chunk = [7; 4_096];
    let mut sent = 0_u64;
    loop {
        match stream.blocking_write_and_flush(&chunk) {
            Ok(()) => sent += 4_096,
            Err(_) => return format!("{sent} bytes sent, then broke off"),
        }
    }
}
