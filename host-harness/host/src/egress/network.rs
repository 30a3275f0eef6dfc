//! How requests leave this machine: which certificate authorities are trusted, and by which proxy.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// How a host's requests leave: whom it trusts, and by which proxy.
///
/// The authorities that Mozilla trusts are always trusted; they are part of this library.
///
/// ```
/// use koalr_host::{Network, Proxy};
///
/// let proxy = Proxy::new("http://proxy.example:3128", "localhost,.internal.example")?;
/// let network = Network::new().trust_system()?.by(proxy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Network {
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) proxy: Option<Proxy>,
}

/// Why certificate authorities cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum UntrustedError {
    /// Nothing in the text is one.
    #[error("there is no certificate in it; a certificate in PEM begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// One is damaged.
    #[error("a certificate in it cannot be read: {0}")]
    Unreadable(String),
    /// `SSL_CERT_FILE` or `SSL_CERT_DIR` names what cannot be read.
    #[error("the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: {0}")]
    System(String),
}

impl Network {
    /// Without a proxy, trusting the authorities that this library carries.
    pub fn new() -> Network {
        Network::default()
    }

    /// Also trusts these authorities: one or several certificates as PEM.
    pub fn trust(mut self, pem: &[u8]) -> Result<Network, UntrustedError> {
        let before = self.authorities.len();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let unreadable = |text: String| UntrustedError::Unreadable(text);
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate.clone()).map_err(|error| unreadable(error.to_string()))?;
            self.authorities.push(certificate);
        }
        if self.authorities.len() == before { Err(UntrustedError::NoCertificate) } else { Ok(self) }
    }

    /// Also trusts the authorities that this system trusts, or those in the places that the variables `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name. A system without any is no error.
    pub fn trust_system(mut self) -> Result<Network, UntrustedError> {
        let found = rustls_native_certs::load_native_certs();
        let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
        if let Some(error) = found.errors.first() {
            if named {
                return Err(UntrustedError::System(error.to_string()));
            }
            tracing::debug!("not all of the system's certificates can be read: {error}");
        }
        self.authorities.extend(found.certs);
        Ok(self)
    }

    /// Sends requests by this proxy; not those for origins that an organisation maps elsewhere.
    #[must_use]
    pub fn by(mut self, proxy: Proxy) -> Network {
        self.proxy = Some(proxy);
        self
    }
}

/// A proxy that connections are made through, by `CONNECT`.
#[derive(Clone)]
pub struct Proxy {
    matcher: Arc<Matcher>,
    pub(super) resolves: bool,
}

/// The text is no proxy's address. It is not repeated, because it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a proxy's address; write http://host:port or https://host:port")]
pub struct InvalidProxy;

impl Proxy {
    /// The proxy at this address, `http://host:port` or `https://host:port`, with a user and a password before the host
    /// if it asks for them. Names, addresses and networks in `except`, separated by commas, are reached without it, as
    /// are all of them with `*`.
    pub fn new(address: &str, except: &str) -> Result<Proxy, InvalidProxy> {
        let alone = Matcher::builder().all(address.trim()).build();
        let any = Uri::from_static("https://origin.invalid/");
        let proxy = alone.intercept(&any).ok_or(InvalidProxy)?;
        if !matches!(proxy.uri().scheme_str(), Some("http" | "https")) || proxy.uri().host() == Some("") {
            return Err(InvalidProxy);
        }
        let matcher = Matcher::builder().all(address.trim()).no(except).build();
        Ok(Proxy { matcher: Arc::new(matcher), resolves: false })
    }

    /// Hands names to the proxy instead of addresses: it is then the proxy's duty that none leads to this network. For
    /// networks whose DNS knows no outside names.
    #[must_use]
    pub fn resolves(mut self) -> Proxy {
        self.resolves = true;
        self
    }

    /// The proxy for a destination, and what it is to be shown.
    pub(super) fn for_destination(&self, uri: &Uri) -> Option<(Uri, Option<HeaderValue>)> {
        let proxy = self.matcher.intercept(uri)?;
        Some((proxy.uri().clone(), proxy.basic_auth().cloned()))
    }
}

impl std::fmt::Debug for Proxy {
    /// The matcher prints no credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("matcher", &self.matcher).field("resolves", &self.resolves).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_address_is_a_proxys_and_no_error_or_debug_text_shows_a_password() {
        for good in [
            "http://proxy:3128",
            "https://proxy",
            "proxy:3128",
            "http://ann:secret@proxy:3128/",
            " http://proxy ",
        ] {
            let proxy = Proxy::new(good, "").unwrap();
            assert!(!format!("{proxy:?}").contains("secret"), "{proxy:?}");
        }
        for bad in
            ["", "socks5://proxy:1080", "ftp://ann:secret@proxy", "http://", "ann:secret@:x", "http://a b"]
        {
            let error = Proxy::new(bad, "").unwrap_err();
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn what_is_excepted_goes_without_the_proxy() {
        let proxy = Proxy::new("http://proxy:3128", "localhost, .internal.example,10.0.0.0/8").unwrap();
        let by = |uri: &'static str| proxy.for_destination(&Uri::from_static(uri)).is_some();
        assert!(by("https://api.incident.io/") && by("http://api.incident.io/"));
        assert!(
            !by("https://api.internal.example/") && !by("https://10.1.2.3/") && !by("https://localhost:9/")
        );
        let everything = Proxy::new("http://proxy:3128", "*").unwrap();
        assert!(everything.for_destination(&Uri::from_static("https://api.incident.io/")).is_none());
    }

    #[test]
    fn what_is_no_certificate_is_not_trusted() {
        assert!(matches!(Network::new().trust(b"hello"), Err(UntrustedError::NoCertificate)));
        let damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Network::new().trust(damaged), Err(UntrustedError::Unreadable(_))));
    }
}
