//! Origins: scheme, host and port, compared exactly.
//!
//! | text | meaning |
//! |---|---|
//! | `https://api.incident.io` | that host, https, port 443 |
//! | `http://127.0.0.1:4010` | that address, http, that port |
//!
//! A path, query, fragment or user part is refused, as is every scheme but http and https. Hosts are compared
//! in lower case; there are no wildcards.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

/// The text is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an origin; write scheme and host, as in https://api.incident.io")]
pub struct InvalidOrigin(String);

impl Origin {
    /// The origin of a request.
    pub(crate) fn of(uri: &Uri) -> Result<Origin, InvalidOrigin> {
        let invalid = || InvalidOrigin(uri.to_string());
        let authority = uri.authority().ok_or_else(invalid)?;
        // `api.incident.io@evil.example` is a host called evil.example: no text with a user part is judged.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(invalid());
        }
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid()),
        };
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => {
                if secure {
                    443
                } else {
                    80
                }
            }
            Some(_) => authority.port_u16().ok_or_else(invalid)?,
            None => return Err(invalid()),
        };
        Ok(Origin { secure, host: authority.host().to_ascii_lowercase(), port })
    }

    /// This origin with the path and query of another address.
    pub(crate) fn with_path_of(&self, uri: &Uri) -> Result<Uri, http::Error> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let scheme = if self.secure { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(self.authority()).path_and_query(path).build()
    }

    fn authority(&self) -> String {
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_string());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        if uri.path_and_query().is_some_and(|path| path != "/") || text.contains(['#', '?']) {
            return Err(invalid());
        }
        Origin::of(&uri).map_err(|_| invalid())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_make_an_origin() {
        for (text, expected) in [
            ("https://api.incident.io", "https://api.incident.io"),
            ("https://API.incident.io:443/", "https://api.incident.io"),
            ("http://127.0.0.1:4010", "http://127.0.0.1:4010"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), expected);
        }
        for bad in [
            "",
            "api.incident.io",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "https://a:99999",
            "https://a:",
            "file:///etc/passwd",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
