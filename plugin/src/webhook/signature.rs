//! Whether a delivery was signed with one of the organisation's secrets, within five minutes of now.
//!
//! Fails closed: without a usable secret nothing is genuine. Stricter than the libraries of the scheme where
//! they accept more than its text: headers of two families are never combined, a repeated header is refused, a
//! timestamp has exactly one spelling, and a signature counts only at its full length
//! (RUSTSEC-2024-0010 was a comparison over the shorter length).
//!
//! Scheme: <https://docs.svix.com/receiving/verifying-payloads/how-manual>, Standard Webhooks.

use alloc::string::String;
use alloc::vec::Vec;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::base64;
use crate::model::{Header, Rejection};

/// The sender names about 350 kB as the most that it sends.
pub const LARGEST_BODY: usize = 512 * 1024;
/// How far a delivery's timestamp may be from the clock, in seconds, either way.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Bounds on the work that a stranger can cause before the refusal.
const LARGEST_SIGNATURE_HEADER: usize = 4096;
const MOST_SIGNATURES: usize = 16;
/// Base64 of 32 bytes.
const SIGNATURE_LENGTH: usize = 44;

/// What a signature vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The message id: equal on every attempt.
    pub id: String,
    /// Unix seconds at which this attempt was signed.
    pub sent_at_seconds: i64,
}

/// Verifies a delivery against every secret that is valid now.
pub fn verify(
    secrets: &[String],
    headers: &[Header],
    body: &[u8],
    now_seconds: i64,
) -> Result<Signed, Rejection> {
    let mut keys = Vec::new();
    for secret in secrets {
        keys.extend(key(secret));
    }
    if keys.is_empty() {
        return Err(Rejection::NoSecret);
    }
    if body.len() > LARGEST_BODY {
        return Err(Rejection::TooLarge);
    }
    let [id, timestamp, signatures] = family(headers)?;
    let sent_at_seconds = seconds(timestamp)?;
    if sent_at_seconds.saturating_add(TOLERANCE_SECONDS) < now_seconds {
        return Err(Rejection::TooOld);
    }
    if sent_at_seconds > now_seconds.saturating_add(TOLERANCE_SECONDS) {
        return Err(Rejection::TooNew);
    }
    let genuine = keys.iter().any(|key| {
        sign(key, id, timestamp, body).is_some_and(|expected| matches(signatures, expected.as_bytes()))
    });
    if genuine { Ok(Signed { id: id.into(), sent_at_seconds }) } else { Err(Rejection::BadSignature) }
}

/// What is wrong with a secret, for whoever is about to save it; none if it can be used.
pub fn problem_with_secret(secret: &str) -> Option<&'static str> {
    if secret.starts_with("whsk_") || secret.starts_with("whpk_") {
        Some(
            "this is a key of the asymmetric scheme; copy the endpoint's signing secret, which starts with whsec_",
        )
    } else if key(secret).is_none() {
        Some("this is not a signing secret: expected whsec_ and standard base64")
    } else {
        None
    }
}

/// The bytes of a secret: one optional prefix, then standard padded base64; none for anything else.
fn key(secret: &str) -> Option<Vec<u8>> {
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    base64::decode(encoded).filter(|key| !key.is_empty())
}

/// Base64 of HMAC-SHA-256 over `id.timestamp.body`.
fn sign(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(base64::encode(&mac.finalize().into_bytes()))
}

fn matches(signatures: &str, expected: &[u8]) -> bool {
    let mut tried = 0;
    let mut found = false;
    for entry in signatures.as_bytes().split(|byte| *byte == b' ') {
        if entry.is_empty() {
            continue;
        }
        if tried == MOST_SIGNATURES {
            break;
        }
        tried += 1;
        if let Some(signature) = entry.strip_prefix(b"v1,") {
            found |= signature.len() == SIGNATURE_LENGTH && bool::from(signature.ct_eq(expected));
        }
    }
    found
}

/// The id, timestamp and signatures of one complete family.
fn family(headers: &[Header]) -> Result<[&str; 3], Rejection> {
    for names in [
        ["svix-id", "svix-timestamp", "svix-signature"],
        ["webhook-id", "webhook-timestamp", "webhook-signature"],
    ] {
        let present = |name: &&str| headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
        if !names.iter().all(present) {
            continue;
        }
        let [id, timestamp, signatures] = names;
        return Ok([single(headers, id)?, single(headers, timestamp)?, single(headers, signatures)?]);
    }
    Err(Rejection::MissingHeader)
}

fn single<'a>(headers: &'a [Header], name: &str) -> Result<&'a str, Rejection> {
    let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let (Some(header), None) = (values.next(), values.next()) else {
        return Err(Rejection::MalformedHeader);
    };
    if header.value.is_empty() {
        return Err(Rejection::MissingHeader);
    }
    if !header.value.is_ascii() || header.value.len() > LARGEST_SIGNATURE_HEADER {
        return Err(Rejection::MalformedHeader);
    }
    core::str::from_utf8(&header.value).map_err(|_| Rejection::MalformedHeader)
}

/// `0|[1-9][0-9]{0,17}`, so that the number has one spelling and what is signed is what is compared.
fn seconds(text: &str) -> Result<i64, Rejection> {
    let spelled = match text.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let parsed = if spelled { koalr_codec::time::integer(text.as_bytes()) } else { None };
    parsed.ok_or(Rejection::MalformedHeader)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NOW: i64 = 1_614_265_330;

    fn signed(id: &str, timestamp: &str, body: &[u8]) -> String {
        let mac = key(SECRET).and_then(|key| sign(&key, id, timestamp, body)).unwrap_or_default();
        format!("v1,{mac}")
    }

    fn check(id: &str, timestamp: &str, signature: &str, body: &[u8]) -> Result<Signed, Rejection> {
        let headers = [
            Header { name: "Webhook-Id".into(), value: id.as_bytes().to_vec() },
            Header { name: "webhook-timestamp".into(), value: timestamp.as_bytes().to_vec() },
            Header { name: "webhook-signature".into(), value: signature.as_bytes().to_vec() },
        ];
        verify(&[SECRET.into()], &headers, body, NOW)
    }

    #[test]
    fn a_body_over_the_cap_is_refused_before_it_is_hashed() {
        let body = vec![b' '; LARGEST_BODY + 1];
        let signature = signed("msg_1", "1614265330", &body);
        assert_eq!(check("msg_1", "1614265330", &signature, &body), Err(Rejection::TooLarge));
        let body = &body[..LARGEST_BODY];
        assert!(check("msg_1", "1614265330", &signed("msg_1", "1614265330", body), body).is_ok());
    }

    #[test]
    fn a_secret_that_cannot_verify_anything_is_named_when_it_is_saved() {
        assert_eq!(problem_with_secret(SECRET), None);
        for bad in ["", "whsec_", "whsec_***", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "not base64!"] {
            assert!(problem_with_secret(bad).is_some(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_is_accepted_and_any_change_is_not(
            id in "[!-~]{1,40}", body in proptest::collection::vec(any::<u8>(), 0..200), flip in any::<prop::sample::Index>(),
        ) {
            let signature = signed(&id, "1614265330", &body);
            prop_assert!(check(&id, "1614265330", &signature, &body).is_ok());
            let mut other = body.clone();
            if other.is_empty() { other.push(0) } else { let at = flip.index(other.len()); other[at] ^= 1; }
            prop_assert_eq!(check(&id, "1614265330", &signature, &other), Err(Rejection::BadSignature));
            prop_assert_eq!(check(&id, "1614265331", &signature, &body), Err(Rejection::BadSignature));
        }

        #[test]
        fn nothing_that_a_stranger_sends_panics_or_passes(
            id in "\\PC{0,20}", timestamp in "\\PC{0,24}", signature in "\\PC{0,200}", body in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            prop_assert!(check(&id, &timestamp, &signature, &body).is_err());
        }

        #[test]
        fn a_prefix_of_the_signature_never_passes(length in 0usize..47) {
            let signature = signed("msg_1", "1614265330", b"{}");
            let cut = signature.get(..length.min(signature.len() - 1)).unwrap_or_default();
            let refused = check("msg_1", "1614265330", cut, b"{}").is_err();
            prop_assert!(refused);
        }
    }
}
