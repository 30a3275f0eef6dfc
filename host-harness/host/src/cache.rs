//! Compiled components on disk, so that a start costs milliseconds instead of a compilation.
//!
//! wasmtime trusts compiled code completely, so a file is used only if its HMAC, under a key that lives beside
//! it in an owner-only directory and over its own name, is right. The name is the component's digest and
//! wasmtime's compatibility hash, which covers the exact version and settings. Anything unexpected, from a
//! damaged file to a read-only directory, costs one compilation and a line in the log, never a wrong answer.

use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::engine::Engine;

const TAG: usize = 32;

/// A directory of compiled components.
#[derive(Debug, Clone)]
pub struct ModuleCache {
    directory: PathBuf,
}

impl ModuleCache {
    /// Keeps compiled components in this directory, which is created for the owner only.
    pub fn new(directory: impl Into<PathBuf>) -> ModuleCache {
        ModuleCache { directory: directory.into() }
    }

    /// The component, from the cache if it is there and genuine, else compiled and stored.
    pub(crate) fn load(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
        let name = file_name(engine, wasm);
        let key = match self.key() {
            Ok(key) => key,
            Err(error) => {
                tracing::warn!(directory = %self.directory.display(), "no cache of compiled components: {error}");
                return Component::new(engine.wasmtime(), wasm);
            }
        };
        let path = self.directory.join(&name);
        match read(&path, &name, &key) {
            Ok(Some(code)) => {
                #[allow(
                    unsafe_code,
                    reason = "wasmtime cannot check compiled code; the HMAC says that we wrote it"
                )]
                // SAFETY: the bytes were written by `store` under a key that only the owner can read.
                match unsafe { Component::deserialize(engine.wasmtime(), &code) } {
                    Ok(component) => return Ok(component),
                    Err(error) => {
                        tracing::warn!("a cached component does not load and is compiled anew: {error:#}")
                    }
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("a cached component is not used: {error}"),
        }
        let component = Component::new(engine.wasmtime(), wasm)?;
        let code = component.serialize()?;
        if let Err(error) = store(&self.directory, &name, &key, &code) {
            tracing::warn!("a compiled component cannot be cached: {error}");
        }
        Ok(component)
    }

    fn key(&self) -> io::Result<[u8; TAG]> {
        owner_only_directory(&self.directory)?;
        let path = self.directory.join("key");
        if let Ok(bytes) = std::fs::read(&path)
            && let Ok(key) = bytes.try_into()
        {
            return Ok(key);
        }
        let mut key = [0; TAG];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        write_whole(&self.directory, "key", &[&key])?;
        Ok(key)
    }
}

fn file_name(engine: &Engine, wasm: &[u8]) -> String {
    struct Digesting(Sha256);
    impl Hasher for Digesting {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut hasher = Digesting(Sha256::new());
    engine.wasmtime().precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.update(Sha256::digest(wasm));
    format!("{}.cwasm", hex(&hasher.0.finalize()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(name: &str, key: &[u8], code: &[u8]) -> io::Result<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(io::Error::other)?;
    mac.update(name.as_bytes());
    mac.update(&[0]);
    mac.update(code);
    Ok(mac)
}

fn read(path: &Path, name: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let short = || io::Error::new(io::ErrorKind::InvalidData, "the file is too short");
    let at = bytes.len().checked_sub(TAG).ok_or_else(short)?;
    let tag = bytes.split_off(at);
    let forged = |_| io::Error::new(io::ErrorKind::InvalidData, "the file was changed since it was written");
    mac(name, key, &bytes)?.verify_slice(&tag).map_err(forged)?;
    Ok(Some(bytes))
}

fn store(directory: &Path, name: &str, key: &[u8], code: &[u8]) -> io::Result<()> {
    let tag = mac(name, key, code)?.finalize().into_bytes();
    write_whole(directory, name, &[code, &tag])
}

/// Writes beside and renames, so that no reader sees half a file.
fn write_whole(directory: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let temporary = directory.join(format!(".{}", hex(&random)));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part));
    let placed = written.and_then(|()| std::fs::rename(&temporary, directory.join(name)));
    if placed.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    placed
}

fn owner_only_directory(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(directory)?;
        if metadata.permissions().mode() & 0o022 != 0 {
            let why = "others can write to the directory; make it the owner's only (chmod 700)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        if !is_own(&metadata) {
            let why = "the directory is another user's; choose one of your own with XDG_CACHE_HOME";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    }
    Ok(())
}

/// Whether this process's user owns it: code from another one's directory would run with this one's rights. Where the
/// process's own user cannot be found out, which is not on Linux, that is believed.
#[cfg(unix)]
fn is_own(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or(true, |process| process.uid() == metadata.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    /// The same component with a custom section, so another digest.
    const OTHER: &[u8] = b"\0asm\x0d\0\x01\0\0\x02\x01x";

    fn files(directory: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some()).collect();
        files.sort();
        files
    }

    #[test]
    fn a_damaged_or_swapped_file_is_compiled_anew_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("modules");
        let cache = ModuleCache::new(&path);
        let engine = Engine::new(1, &Limits::default()).unwrap();
        cache.load(&engine, EMPTY).unwrap();
        let first = files(&path).remove(0);
        let genuine = std::fs::read(&first).unwrap();

        let mut damaged = genuine.clone();
        damaged[10] ^= 1;
        std::fs::write(&first, &damaged).unwrap();
        assert!(read(&first, first.file_name().unwrap().to_str().unwrap(), &cache.key().unwrap()).is_err());
        cache.load(&engine, EMPTY).unwrap();
        assert_ne!(std::fs::read(&first).unwrap(), damaged, "replaced");

        cache.load(&engine, OTHER).unwrap();
        let second = files(&path).into_iter().find(|file| *file != first).unwrap();
        std::fs::copy(&second, &first).unwrap();
        let name = first.file_name().unwrap().to_str().unwrap();
        assert!(
            read(&first, name, &cache.key().unwrap()).is_err(),
            "another component's code under this name"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let engine = Engine::new(1, &Limits::default()).unwrap();
        ModuleCache::new(directory.path()).load(&engine, EMPTY).unwrap();
        assert!(files(directory.path()).is_empty());
    }
}
