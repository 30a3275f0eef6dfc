//! Secrets at rest: AES-256-GCM under a data key of each organisation, which is itself sealed by the host's key.
//!
//! A sealed value is bound to its organisation and its name, so that a row moved to another place does not
//! open. Opened secrets are wiped from memory when dropped, print as `***` and are never compared, hashed or
//! serialised. Losing the sealing key loses the secrets; that is its purpose.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::id::OrgId;
use crate::port::{Sealed, Store, StoreError};

/// The format of a sealed value: this byte, a nonce of 12 bytes, ciphertext with its tag.
const VERSION: u8 = 1;
const NONCE: usize = 12;
/// Names the data key where a secret's name would stand; no secret can be called so.
const DATA_KEY: &str = "\0data-key";

/// A secret in the clear. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret as it was entered; outer white space, such as the newline of a pipe, is not part of it.
    pub fn new(mut entered: String) -> Secret {
        let secret = Secret(entered.trim().to_string());
        entered.zeroize();
        secret
    }

    /// The text itself. Keep it short-lived.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The key that seals the data keys of all organisations: 256 bits.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingKey([u8; 32]);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The sealing key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not what it should be.
    #[error("a sealing key is 32 bytes in base64 (make one with: openssl rand -base64 32)")]
    Malformed,
    /// The file cannot be read or written.
    #[error("the sealing key file {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl SealingKey {
    /// A fresh key.
    pub fn generate() -> Result<SealingKey, KeyError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(KeyError::Random)?;
        Ok(SealingKey(key))
    }

    /// A key from 32 bytes in base64, outer white space allowed.
    pub fn from_base64(text: &str) -> Result<SealingKey, KeyError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| KeyError::Malformed)?);
        bytes.as_slice().try_into().map(SealingKey).map_err(|_| KeyError::Malformed)
    }

    /// The key in this file. A file that does not exist is made, for its owner only.
    pub fn load_or_create(path: &Path) -> Result<SealingKey, KeyError> {
        let failed = |source| KeyError::File { path: path.display().to_string(), source };
        match std::fs::read_to_string(path) {
            Ok(text) => return SealingKey::from_base64(&Zeroizing::new(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let key = SealingKey::generate()?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = match options.open(path) {
            // Another process was faster: its key counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return SealingKey::load_or_create(path);
            }
            opened => opened.map_err(failed)?,
        };
        let text = Zeroizing::new(STANDARD.encode(key.0));
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(key)
    }
}

/// Why a secret cannot be kept or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was sealed with another key, moved, or changed.
    #[error("the stored secrets of {0} do not open: this is not the sealing key that they were sealed with")]
    WrongKey(OrgId),
    /// No randomness, or a value too long to seal.
    #[error("a secret cannot be sealed")]
    Sealing,
}

/// Seals, keeps and opens secrets.
#[derive(Clone)]
pub struct Vault {
    key: SealingKey,
    store: Arc<dyn Store>,
}

impl Vault {
    /// A vault that keeps its sealed values in this store.
    pub fn new(key: SealingKey, store: Arc<dyn Store>) -> Vault {
        Vault { key, store }
    }

    /// Replaces all values of a secret; an empty list removes it.
    pub async fn put(&self, org: &OrgId, name: &str, values: &[Secret]) -> Result<(), VaultError> {
        let data_key = self.data_key(org).await?;
        let sealed = values.iter().map(|value| seal(&data_key, org, name, value.0.as_bytes()));
        let sealed = sealed.collect::<Result<Vec<Sealed>, VaultError>>()?;
        Ok(self.store.put_secret(org, name, sealed).await?)
    }

    /// Every value of a secret; empty when it is not set.
    pub async fn open(&self, org: &OrgId, name: &str) -> Result<Vec<Secret>, VaultError> {
        let sealed = self.store.secret(org, name).await?;
        if sealed.is_empty() {
            return Ok(Vec::new());
        }
        let data_key = self.data_key(org).await?;
        let opened = sealed.iter().map(|sealed| {
            let bytes = unseal(&data_key, org, name, sealed)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| VaultError::WrongKey(org.clone()))?;
            Ok(Secret(text.to_string()))
        });
        opened.collect()
    }

    async fn data_key(&self, org: &OrgId) -> Result<SealingKey, VaultError> {
        let sealed = match self.store.data_key(org).await? {
            Some(sealed) => sealed,
            None => {
                let fresh = SealingKey::generate().map_err(|_| VaultError::Sealing)?;
                let sealed = seal(&self.key, org, DATA_KEY, &fresh.0)?;
                // Whoever was first counts.
                self.store.put_data_key(org, sealed).await?
            }
        };
        let bytes = unseal(&self.key, org, DATA_KEY, &sealed)?;
        bytes.as_slice().try_into().map(SealingKey).map_err(|_| VaultError::WrongKey(org.clone()))
    }
}

/// What a value is bound to. An organisation id holds no NUL, so that no two pairs read alike.
fn place(org: &OrgId, name: &str) -> Vec<u8> {
    [org.as_str().as_bytes(), &[0], name.as_bytes()].concat()
}

fn seal(key: &SealingKey, org: &OrgId, name: &str, value: &[u8]) -> Result<Sealed, VaultError> {
    let cipher = Aes256Gcm::new_from_slice(&key.0).map_err(|_| VaultError::Sealing)?;
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| VaultError::Sealing)?;
    let payload = Payload { msg: value, aad: &place(org, name) };
    let ciphertext = cipher.encrypt(&nonce.into(), payload).map_err(|_| VaultError::Sealing)?;
    Ok(Sealed([&[VERSION][..], &nonce, &ciphertext].concat()))
}

fn unseal(
    key: &SealingKey,
    org: &OrgId,
    name: &str,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let wrong = || VaultError::WrongKey(org.clone());
    let cipher = Aes256Gcm::new_from_slice(&key.0).map_err(|_| VaultError::Sealing)?;
    let (VERSION, rest) = sealed.0.split_first().map(|(v, rest)| (*v, rest)).ok_or_else(wrong)? else {
        return Err(wrong());
    };
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or_else(wrong)?;
    let payload = Payload { msg: ciphertext, aad: &place(org, name) };
    cipher.decrypt(&(*nonce).into(), payload).map(Zeroizing::new).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_in_its_own_place_under_its_own_key_only() {
        let (key, other) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
        let (acme, umbrella): (OrgId, OrgId) = ("acme".parse().unwrap(), "umbrella".parse().unwrap());
        let sealed = seal(&key, &acme, "api-key", b"inc_live_key").unwrap();
        assert_eq!(unseal(&key, &acme, "api-key", &sealed).unwrap().as_slice(), b"inc_live_key");
        assert!(unseal(&other, &acme, "api-key", &sealed).is_err(), "another key");
        assert!(unseal(&key, &umbrella, "api-key", &sealed).is_err(), "another organisation");
        assert!(unseal(&key, &acme, "webhook-secret", &sealed).is_err(), "another name");
        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert!(unseal(&key, &acme, "api-key", &changed).is_err(), "byte {at}");
            let cut = Sealed(sealed.0[..at].to_vec());
            assert!(unseal(&key, &acme, "api-key", &cut).is_err(), "cut at {at}");
        }
        assert_ne!(seal(&key, &acme, "api-key", b"x").unwrap(), seal(&key, &acme, "api-key", b"x").unwrap());
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("koalr.key");
        let made = SealingKey::load_or_create(&path).unwrap();
        assert_eq!(SealingKey::load_or_create(&path).unwrap().0, made.0);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, "too short").unwrap();
        assert!(matches!(SealingKey::load_or_create(&path), Err(KeyError::Malformed)));
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new(" inc_live_key\n".into());
        assert_eq!((format!("{secret:?}").as_str(), secret.expose()), ("***", "inc_live_key"));
    }
}
