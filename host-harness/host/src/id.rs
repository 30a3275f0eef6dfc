//! Identifiers that come from outside, checked once where they enter.
//!
//! Refuses empty, over-long and non-printing text, so that no later layer has to.

/// Text that is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {rule}")]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $rule:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(raw: &str) -> Result<Self, InvalidId> {
                let allowed: fn(u8) -> bool = $allowed;
                if (1..=$max).contains(&raw.len()) && raw.bytes().all(allowed) {
                    Ok(Self(raw.into()))
                } else {
                    Err(InvalidId { kind: $kind, rule: $rule })
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Names an organisation: part of the webhook address and of every row that belongs to it.
    OrgId,
    "an organisation id",
    64,
    "1 to 64 letters, digits, hyphens or underscores",
    |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
);

text_id!(
    /// Names one delivery; equal on every attempt, so it is the idempotency key.
    DeliveryId,
    "a delivery id",
    256,
    "1 to 256 printable ASCII characters without spaces",
    |b| b.is_ascii_graphic()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organisation_id_is_safe_in_a_path() {
        for good in ["acme", "ACME-1", "a_b"] {
            assert!(good.parse::<OrgId>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "ä", "..", &"x".repeat(65)] {
            assert!(bad.parse::<OrgId>().is_err(), "{bad}");
        }
    }
}
