//! What a secret looks like when it leaks: as it is, and in the encodings that text goes through on its way.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Byte strings of which any betrays the secret.
pub(crate) fn needles(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = |upper: bool| -> String {
        let digit = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        secret.iter().map(digit).collect()
    };
    let percent: String = secret.iter().map(|byte| format!("%{byte:02X}")).collect();
    let escaped: String = secret
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(*byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let mut all = vec![secret.to_vec(), hex(false).into(), hex(true).into(), percent.into(), escaped.into()];
    // In the middle of something else, base64 begins at any of three places; the edges depend on the neighbours.
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for skip in 0..3 {
            let inner = secret.get(skip..).unwrap_or_default();
            let whole = inner.len() / 3 * 3;
            all.push(engine.encode(inner.get(..whole).unwrap_or_default()).into_bytes());
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Whether any of these is in there.
pub(crate) fn holds(haystack: &[u8], needles: &[Vec<u8>]) -> bool {
    needles.iter().any(|needle| memchr::memmem::find(haystack, needle).is_some())
}
