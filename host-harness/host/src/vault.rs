//! Secrets at rest: AES-256-GCM under a data key of each organisation, which is itself sealed by the host's key.
//!
//! A sealed value is bound to its organisation and its name, so that a row moved to another place does not
//! open. Opened secrets are wiped from memory when dropped, print as `***` and are never compared, hashed or
//! serialised. Losing the sealing key loses the secrets; that is its purpose.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::id::OrgId;
use crate::port::{Organisations, Sealed, Store, StoreError};

/// The format of a sealed value: this byte, a nonce of 12 bytes, ciphertext with its tag.
const VERSION: u8 = 1;
const NONCE: usize = 12;
/// Names the data key where a secret's name would stand; no secret can be called so.
const DATA_KEY: &str = "\0data-key";

/// Data keys that are read together where one that opens is enough.
const KEYS_AT_A_TIME: u32 = 256;

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

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none, and there was one.
    #[error(
        "the sealing key file {path} is missing, and it sealed the secrets of {organisations}: put it back from a \
         backup; if it is lost, run `org disconnect` for each of them, then `connect`"
    )]
    Missing {
        /// Which file.
        path: String,
        /// Whose secrets.
        organisations: String,
    },
    /// The file holds something else, and what it held sealed secrets.
    #[error(
        "the sealing key file {path} is damaged, and it sealed the secrets of {organisations}: restore it from a backup; \
         if it is lost, run `org disconnect` for each of them, remove the file, then `connect`"
    )]
    Damaged {
        /// Which file.
        path: String,
        /// Whose secrets.
        organisations: String,
    },
    /// The file holds something else.
    #[error(
        "the sealing key file {path} is damaged: each of its lines must be 32 bytes in base64; restore it from a \
         backup, or remove it if nothing is sealed with it"
    )]
    MalformedFile {
        /// Which file.
        path: String,
    },
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
    /// Waiting for others was cut off.
    #[error("the sealing key file is not locked: {0}")]
    Lock(String),
    /// It was not read from a file, so there is none to write another to.
    #[error("the sealing key comes from no file: rotate it where it comes from")]
    NoFile,
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
}

/// The host's sealing keys: the first seals, every one opens. Usually there is one; while a rotation is under way, and
/// after one that was cut off, the former is there too.
#[derive(Clone)]
pub struct Keyring {
    keys: Arc<RwLock<Vec<SealingKey>>>,
    /// The file that they come from, a key in base64 on each line. Read again when none of the keys fits: another
    /// process may have rotated them.
    file: Option<Arc<Path>>,
}

/// Who may hold the lock on a key file together.
#[derive(Debug, Clone, Copy)]
enum Lock {
    /// Nobody else.
    Alone,
    /// Others of this kind.
    Together,
}

impl From<SealingKey> for Keyring {
    fn from(key: SealingKey) -> Keyring {
        Keyring { keys: Arc::new(RwLock::new(vec![key])), file: None }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Keyring {
    /// The keys in this file.
    pub fn load(path: &Path) -> Result<Keyring, KeyError> {
        let keyring = Keyring { keys: Arc::default(), file: Some(path.into()) };
        keyring.reload().map(|()| keyring)
    }

    /// The keys in this file, or a fresh one that is put there, for its owner only. Where something is sealed already
    /// a fresh key would open nothing, so none is made.
    pub async fn load_or_create(path: &Path, store: &dyn Organisations) -> Result<Keyring, VaultError> {
        let keyring = Keyring { keys: Arc::default(), file: Some(path.into()) };
        if keyring.find_for(store).await? {
            return Ok(keyring);
        }
        // Another process may be making it.
        let _alone = keyring.lock(Lock::Alone).await?;
        if keyring.find_for(store).await? {
            return Ok(keyring);
        }
        if let Some(organisations) = sealed_for(store).await? {
            return Err(KeyError::Missing { path: path.display().to_string(), organisations }.into());
        }
        keyring.replace(vec![SealingKey::generate()?])?;
        Ok(keyring)
    }

    /// Whether one of the keys opens this data key of the organisation.
    pub fn opens(&self, org: &OrgId, data_key: &Sealed) -> bool {
        self.unseal(org, data_key).is_ok()
    }

    /// Reads the file, and says whose secrets are at stake if it is damaged.
    async fn find_for(&self, store: &dyn Organisations) -> Result<bool, VaultError> {
        match self.find() {
            Err(KeyError::MalformedFile { path }) => match sealed_for(store).await? {
                Some(organisations) => Err(KeyError::Damaged { path, organisations }.into()),
                None => Err(KeyError::MalformedFile { path }.into()),
            },
            found => Ok(found?),
        }
    }

    /// Reads the file. False if there is none, or an empty one.
    fn find(&self) -> Result<bool, KeyError> {
        let Some(path) = &self.file else { return Ok(true) };
        let malformed = || KeyError::MalformedFile { path: path.display().to_string() };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // What is no text is no key.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(malformed()),
            Err(error) => return Err(file_error(path, error)),
        };
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let keys = lines.map(|line| SealingKey::from_base64(line).map_err(|_| malformed()));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let found = !keys.is_empty();
        if found {
            self.set(keys);
        }
        Ok(found)
    }

    fn reload(&self) -> Result<(), KeyError> {
        match (self.find()?, &self.file) {
            (false, Some(path)) => Err(file_error(path, io::ErrorKind::NotFound.into())),
            _ => Ok(()),
        }
    }

    /// Puts these keys in the file's place, all or nothing. For who holds the lock alone.
    fn replace(&self, keys: Vec<SealingKey>) -> Result<(), KeyError> {
        let path = self.file.as_ref().ok_or(KeyError::NoFile)?;
        put_in_place(path, &keys).map_err(|error| file_error(path, error))?;
        self.set(keys);
        Ok(())
    }

    /// Until the answer is dropped, no other process, and nobody else in this one, holds a lock that excludes this one. A
    /// key that lies in no file is not rotated, and needs none.
    async fn lock(&self, lock: Lock) -> Result<Option<std::fs::File>, KeyError> {
        let Some(path) = self.file.clone() else { return Ok(None) };
        let locked = tokio::task::spawn_blocking(move || {
            let mut beside = path.as_os_str().to_owned();
            beside.push(".lock");
            let mut options = std::fs::OpenOptions::new();
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.write(true).create(true).truncate(false).open(Path::new(&beside));
            let locked = file.and_then(|file| {
                match lock {
                    Lock::Alone => file.lock()?,
                    Lock::Together => file.lock_shared()?,
                }
                Ok(file)
            });
            locked.map_err(|error| file_error(Path::new(&beside), error))
        });
        match locked.await {
            Ok(locked) => locked.map(Some),
            Err(error) => Err(KeyError::Lock(error.to_string())),
        }
    }

    fn all(&self) -> Vec<SealingKey> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, keys: Vec<SealingKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn seal(&self, org: &OrgId, value: &[u8]) -> Result<Sealed, VaultError> {
        // By the newest key there is, not by one that is about to be forgotten, or that is in no file any more.
        self.reload()?;
        seal(self.all().first().ok_or(VaultError::Sealing)?, org, DATA_KEY, value)
    }

    fn unseal(&self, org: &OrgId, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let open =
            |keys: Vec<SealingKey>| keys.iter().find_map(|key| unseal(key, org, DATA_KEY, sealed).ok());
        if let Some(value) = open(self.all()) {
            return Ok(value);
        }
        if let Err(error) = self.reload() {
            tracing::warn!("the sealing keys were not read again: {error}");
        }
        open(self.all()).ok_or_else(|| VaultError::WrongKey(org.clone()))
    }
}

fn opens(keys: &[SealingKey], org: &OrgId, data_key: &Sealed) -> bool {
    keys.iter().any(|key| unseal(key, org, DATA_KEY, data_key).is_ok())
}

fn file_error(path: &Path, source: io::Error) -> KeyError {
    KeyError::File { path: path.display().to_string(), source }
}

/// Whose secrets are sealed; none if nobody's are.
async fn sealed_for(store: &dyn Organisations) -> Result<Option<String>, StoreError> {
    let sealed = store.data_keys(None, u32::MAX).await?;
    Ok((!sealed.is_empty()).then(|| names(sealed.iter().map(|(org, _)| org))))
}

/// The first few of these organisations.
fn names<'a>(organisations: impl ExactSizeIterator<Item = &'a OrgId>) -> String {
    const NAMED: usize = 5;
    let more = organisations.len().saturating_sub(NAMED);
    let named: Vec<&str> = organisations.take(NAMED).map(OrgId::as_str).collect();
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Writes the keys beside the file, then renames: whoever reads it finds all of the former keys or all of these, also
/// after a power cut. What was written beside goes if that fails.
fn put_in_place(path: &Path, keys: &[SealingKey]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    // One that a killed process left.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let placed = write_keys(beside, keys).and_then(|()| std::fs::rename(beside, path));
    if let Err(error) = placed {
        let _ = std::fs::remove_file(beside);
        return Err(error);
    }
    let directory = path.parent().filter(|directory| *directory != Path::new(""));
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_keys(path: &Path, keys: &[SealingKey]) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    for key in keys {
        let line = Zeroizing::new(STANDARD.encode(key.0) + "\n");
        file.write_all(line.as_bytes())?;
    }
    file.sync_all()
}

/// Why a secret cannot be kept or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no sealing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was sealed with another key, moved, or changed.
    #[error(
        "the stored secrets of {0} do not open: this is not the sealing key that they were sealed with; put the right \
         key file back, or, if it is lost, run `org disconnect` and then `connect`"
    )]
    WrongKey(OrgId),
    /// No randomness, or a value too long to seal.
    #[error("a secret cannot be sealed")]
    Sealing,
}

/// Why the sealing key was not rotated. Whatever was done until then opens as before, and rotating again goes on.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A data key, or the store.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Seals, keeps and opens secrets.
#[derive(Clone)]
pub struct Vault {
    keys: Keyring,
    store: Arc<dyn Store>,
}

impl Vault {
    /// A vault that keeps its sealed values in this store.
    pub fn new(keys: impl Into<Keyring>, store: Arc<dyn Store>) -> Vault {
        Vault { keys: keys.into(), store }
    }

    /// Seals the data keys of all organisations with a fresh key and forgets the former one; answers how many there
    /// are. Other processes find the new key in the file when they next need it. One that was cut off is repeated.
    pub async fn rotate(&self) -> Result<u64, RotateError> {
        // Two at a time would each drop the key that the other sealed with.
        let _alone = self.keys.lock(Lock::Alone).await?;
        self.keys.reload()?;
        // Each rotation that fails in the middle adds a key to the file; one that cannot succeed is not begun.
        if let Some(org) = self.unopenable().await?.into_iter().next() {
            return Err(VaultError::WrongKey(org).into());
        }
        let mut keys = vec![SealingKey::generate()?];
        keys.extend(self.keys.all());
        // From here on both open, and only the new one seals.
        self.keys.replace(keys.clone())?;
        let count = self.reseal(&keys).await?;
        keys.truncate(1);
        self.keys.replace(keys)?;
        Ok(count)
    }

    async fn reseal(&self, keys: &[SealingKey]) -> Result<u64, VaultError> {
        let stored = self.store.data_keys(None, u32::MAX).await?;
        let mut resealed = Vec::with_capacity(stored.len());
        let newest = keys.first().ok_or(VaultError::Sealing)?;
        for (org, former) in stored {
            let mut opened = keys.iter().filter_map(|key| unseal(key, &org, DATA_KEY, &former).ok());
            let value = opened.next().ok_or_else(|| VaultError::WrongKey(org.clone()))?;
            let sealed = seal(newest, &org, DATA_KEY, &value)?;
            resealed.push((org, former, sealed));
        }
        Ok(self.store.replace_data_keys(resealed).await?)
    }

    /// Organisations whose secrets none of the sealing keys opens. Whoever has the right key puts it back; else they
    /// disconnect, and connect again.
    pub async fn unopenable(&self) -> Result<Vec<OrgId>, VaultError> {
        let keys = self.newest_keys();
        let sealed = self.store.data_keys(None, u32::MAX).await?;
        Ok(sealed
            .into_iter()
            .filter(|(org, sealed)| !opens(&keys, org, sealed))
            .map(|(org, _)| org)
            .collect())
    }

    /// Whether secrets are stored and the sealing keys open none of them. Reads until one opens, which usually is the
    /// first.
    pub async fn opens_nothing(&self) -> Result<bool, VaultError> {
        let keys = self.newest_keys();
        let mut last = None;
        loop {
            let sealed = self.store.data_keys(last.as_ref(), KEYS_AT_A_TIME).await?;
            if sealed.iter().any(|(org, sealed)| opens(&keys, org, sealed)) {
                return Ok(false);
            }
            match sealed.last() {
                Some((org, _)) => last = Some(org.clone()),
                None => return Ok(last.is_some()),
            }
        }
    }

    /// Another process may have rotated them.
    fn newest_keys(&self) -> Vec<SealingKey> {
        if let Err(error) = self.keys.reload() {
            tracing::warn!("the sealing keys were not read again: {error}");
        }
        self.keys.all()
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
                // With the key that counts now, which a rotation must not drop meanwhile.
                let _no_rotation = self.keys.lock(Lock::Together).await?;
                let fresh = SealingKey::generate().map_err(|_| VaultError::Sealing)?;
                let sealed = self.keys.seal(org, &fresh.0)?;
                // Whoever was first counts.
                self.store.put_data_key(org, sealed).await?
            }
        };
        let bytes = self.keys.unseal(org, &sealed)?;
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

    fn live(org: &OrgId) -> crate::port::Organisation {
        crate::port::Organisation {
            id: org.clone(),
            state: crate::port::OrganisationState::Live,
            plugin: "incidentio".into(),
            connection: None,
            settings: crate::contract::Settings::default(),
            origin_map: vec![],
            created_at: 0,
            connected_at: None,
        }
    }

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

    #[tokio::test]
    async fn a_key_file_is_made_once_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("koalr.key");
        let store = crate::sqlite::SqliteStore::open(directory.path().join("koalr.db")).unwrap();
        let made = Keyring::load_or_create(&path, &store).await.unwrap().all();
        assert_eq!(Keyring::load_or_create(&path, &store).await.unwrap().all()[0].0, made[0].0);
        assert!(!directory.path().join("koalr.key.new").exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, "too short").unwrap();
        let refused = Keyring::load_or_create(&path, &store).await;
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("koalr.key is damaged") && told.contains("remove it"), "{told}");
        // What a killed process of an earlier version left.
        std::fs::write(&path, "").unwrap();
        assert_eq!(Keyring::load_or_create(&path, &store).await.unwrap().all().len(), 1);
    }

    #[tokio::test]
    async fn a_damaged_key_file_is_named_with_what_saves_the_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("koalr.key");
        let store: Arc<dyn Store> =
            Arc::new(crate::sqlite::SqliteStore::open(directory.path().join("koalr.db")).unwrap());
        let acme: OrgId = "acme".parse().unwrap();
        let vault = Vault::new(Keyring::load_or_create(&path, &*store).await.unwrap(), Arc::clone(&store));
        store.put_organisation(&live(&acme)).await.unwrap();
        vault.put(&acme, "api-key", &[Secret::new("key-1".into())]).await.unwrap();
        for damage in [&b"too short"[..], &[0xff, 0xfe, 0x00]] {
            std::fs::write(&path, damage).unwrap();
            let told = Keyring::load_or_create(&path, &*store).await.unwrap_err().to_string();
            for part in [
                "koalr.key is damaged",
                "secrets of acme",
                "restore it from a backup",
                "org disconnect",
                "connect`",
            ] {
                assert!(told.contains(part), "{part}: {told}");
            }
            let loaded = Keyring::load(&path).unwrap_err().to_string();
            for told in [told, loaded] {
                assert!(!told.contains("openssl"), "a fresh key opens nothing: {told}");
            }
        }
        // The way out that it names.
        store.disconnect_organisation(&acme, 1).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        Keyring::load_or_create(&path, &*store).await.unwrap();
    }

    #[tokio::test]
    async fn a_database_with_sealed_secrets_never_gets_a_new_key_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("koalr.key");
        let store: Arc<dyn Store> =
            Arc::new(crate::sqlite::SqliteStore::open(directory.path().join("koalr.db")).unwrap());
        let (acme, beta): (OrgId, OrgId) = ("acme".parse().unwrap(), "beta".parse().unwrap());
        let vault = Vault::new(Keyring::load_or_create(&path, &*store).await.unwrap(), Arc::clone(&store));
        for org in [&acme, &beta] {
            store.put_organisation(&live(org)).await.unwrap();
        }
        vault.put(&acme, "api-key", &[Secret::new("key-1".into())]).await.unwrap();
        for lost in [None, Some("")] {
            std::fs::remove_file(&path).unwrap();
            if let Some(text) = lost {
                std::fs::write(&path, text).unwrap();
            }
            let error = Keyring::load_or_create(&path, &*store).await.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, VaultError::Key(KeyError::Missing { .. })), "{text}");
            assert!(text.contains("acme") && text.contains("org disconnect"), "{text}");
            // A process that runs on seals nothing with a key that is in no file.
            let sealed = vault.put(&beta, "api-key", &[Secret::new("key-2".into())]).await;
            assert!(matches!(sealed, Err(VaultError::Key(_))), "{sealed:?}");
            std::fs::write(&path, lost.unwrap_or_default()).unwrap();
        }
        // Disconnecting is the way out.
        assert!(store.disconnect_organisation(&acme, 1).await.unwrap());
        let fresh = Keyring::load_or_create(&path, &*store).await.unwrap();
        let vault = Vault::new(fresh, Arc::clone(&store));
        vault.put(&acme, "api-key", &[Secret::new("key-3".into())]).await.unwrap();
        assert_eq!(vault.open(&acme, "api-key").await.unwrap()[0].expose(), "key-3");
    }

    #[tokio::test]
    async fn a_key_that_does_not_fit_is_named_and_not_rotated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("koalr.key");
        let store: Arc<dyn Store> =
            Arc::new(crate::sqlite::SqliteStore::open(directory.path().join("koalr.db")).unwrap());
        let acme: OrgId = "acme".parse().unwrap();
        store.put_organisation(&live(&acme)).await.unwrap();
        let vault = Vault::new(Keyring::load_or_create(&path, &*store).await.unwrap(), Arc::clone(&store));
        vault.put(&acme, "api-key", &[Secret::new("key-1".into())]).await.unwrap();
        assert!(vault.unopenable().await.unwrap().is_empty() && !vault.opens_nothing().await.unwrap());
        let other = STANDARD.encode([7; 32]);
        std::fs::write(&path, &other).unwrap();
        let vault = Vault::new(Keyring::load(&path).unwrap(), Arc::clone(&store));
        assert_eq!(vault.unopenable().await.unwrap(), std::slice::from_ref(&acme));
        assert!(vault.opens_nothing().await.unwrap());
        let rotated = vault.rotate().await;
        assert!(matches!(rotated, Err(RotateError::Vault(VaultError::WrongKey(_)))), "{rotated:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), other, "a failed rotation adds no key");
        let error = vault.open(&acme, "api-key").await.unwrap_err().to_string();
        assert!(error.contains("org disconnect") && error.contains("connect"), "{error}");
    }

    /// Asked every second, of a database of many organisations.
    #[tokio::test]
    async fn whether_any_secret_opens_is_found_without_reading_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("koalr.db");
        let store: Arc<dyn Store> = Arc::new(crate::sqlite::SqliteStore::open(&path).unwrap());
        let vault = Vault::new(SealingKey([7; 32]), Arc::clone(&store));
        assert!(!vault.opens_nothing().await.unwrap(), "nothing is stored");
        let (first, last): (OrgId, OrgId) = ("a".parse().unwrap(), "z".parse().unwrap());
        for org in [&first, &last] {
            store.put_organisation(&live(org)).await.unwrap();
        }
        vault.put(&first, "api-key", &[Secret::new("key-1".into())]).await.unwrap();
        let raw = rusqlite::Connection::open(&path).unwrap();
        // More than are read together that do not open, and behind them a row that nobody can read.
        raw.execute_batch(
            "PRAGMA foreign_keys = FALSE;
            WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 600)
                INSERT INTO data_key SELECT 'b' || n, x'00' FROM many;
            INSERT INTO data_key VALUES ('c no id', x'00');",
        )
        .unwrap();
        assert!(!vault.opens_nothing().await.unwrap(), "the first one opens");
        vault.unopenable().await.unwrap_err();
        raw.execute_batch("DELETE FROM data_key WHERE org IN ('a', 'c no id')").unwrap();
        assert!(vault.opens_nothing().await.unwrap(), "none opens");
        vault.put(&last, "api-key", &[Secret::new("key-1".into())]).await.unwrap();
        assert!(!vault.opens_nothing().await.unwrap(), "the last one opens");
    }

    #[test]
    fn a_key_that_cannot_be_put_in_place_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        // A directory, which no file can replace.
        let path = directory.path().join("koalr.key");
        std::fs::create_dir(&path).unwrap();
        assert!(put_in_place(&path, &[SealingKey([7; 32])]).is_err());
        assert!(!directory.path().join("koalr.key.new").exists());
        // What a killed process left is replaced.
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(directory.path().join("koalr.key.new"), "half a k").unwrap();
        put_in_place(&path, &[SealingKey([7; 32])]).unwrap();
        assert!(!directory.path().join("koalr.key.new").exists());
        assert_eq!(Keyring::load(&path).unwrap().all()[0].0, [7; 32]);
    }

    #[tokio::test]
    async fn a_rotated_key_opens_nothing_any_more_and_running_processes_find_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("koalr.key");
        let store: Arc<dyn Store> =
            Arc::new(crate::sqlite::SqliteStore::open(directory.path().join("koalr.db")).unwrap());
        Keyring::load_or_create(&path, &*store).await.unwrap();
        let vault = || Vault::new(Keyring::load(&path).unwrap(), Arc::clone(&store));
        let acme: OrgId = "acme".parse().unwrap();
        for org in ["acme", "umbrella"] {
            store.put_organisation(&live(&org.parse().unwrap())).await.unwrap();
        }
        let (serving, rotating) = (vault(), vault());
        serving.put(&acme, "api-key", &[Secret::new("key-1".into())]).await.unwrap();
        let former = std::fs::read_to_string(&path).unwrap();
        assert_eq!(rotating.rotate().await.unwrap(), 1);
        let opened =
            async |vault: &Vault| vault.open(&acme, "api-key").await.map(|all| all[0].expose().to_string());
        assert_eq!(opened(&serving).await.unwrap(), "key-1", "it read the file again");
        let umbrella: OrgId = "umbrella".parse().unwrap();
        serving.put(&umbrella, "api-key", &[Secret::new("key-2".into())]).await.unwrap();
        assert_eq!(opened(&vault()).await.unwrap(), "key-1");
        assert_eq!(vault().open(&umbrella, "api-key").await.unwrap()[0].expose(), "key-2");
        let old = Vault::new(SealingKey::from_base64(&former).unwrap(), Arc::clone(&store));
        assert!(matches!(opened(&old).await, Err(VaultError::WrongKey(_))));

        // Cut off between its two writes of the file: both keys are there, and the next rotation ends it.
        let now = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{}\n{now}", STANDARD.encode([7; 32]))).unwrap();
        assert_eq!(opened(&vault()).await.unwrap(), "key-1");
        assert_eq!(vault().rotate().await.unwrap(), 2);
        assert_eq!(opened(&vault()).await.unwrap(), "key-1");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn rotations_at_the_same_time_lose_no_key_and_leave_nothing_that_a_former_key_opens() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = (directory.path().join("koalr.key"), directory.path().join("koalr.db"));
        let sqlite = Arc::new(crate::sqlite::SqliteStore::open(&file).unwrap());
        let acme: OrgId = "acme".parse().unwrap();
        let store: Arc<dyn Store> = sqlite;
        store.put_organisation(&live(&acme)).await.unwrap();
        Keyring::load_or_create(&path, &*store).await.unwrap();
        let vaults: Vec<Vault> =
            (0..4).map(|_| Vault::new(Keyring::load(&path).unwrap(), Arc::clone(&store))).collect();
        vaults[0].put(&acme, "api-key", &[Secret::new("key-1".into())]).await.unwrap();
        let former = store.data_key(&acme).await.unwrap().unwrap().0;
        let mut rotating = tokio::task::JoinSet::new();
        for vault in vaults.clone() {
            rotating.spawn(async move { vault.rotate().await.unwrap() });
        }
        assert_eq!(rotating.join_all().await, [1; 4]);
        for vault in &vaults {
            assert_eq!(vault.open(&acme, "api-key").await.unwrap()[0].expose(), "key-1");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        for name in ["koalr.db", "koalr.db-wal"] {
            let bytes = std::fs::read(directory.path().join(name)).unwrap_or_default();
            assert!(!bytes.windows(former.len()).any(|part| part == former), "{name} has it still");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new(" inc_live_key\n".into());
        assert_eq!((format!("{secret:?}").as_str(), secret.expose()), ("***", "inc_live_key"));
    }
}
