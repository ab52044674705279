//! The key file: what makes the same link survive restarts. Whoever has it can sign as the publisher: it is made for its owner only.
//!
//! It holds the seeds, the content key, the highest head, the manifest and what the files were. A publisher must never sign two
//! different pieces of one index, so a key goes with its files: other files, or changed ones, need another key.

use crate::fresh::{OWNERS_ONLY, replacing, sync_folder_of};
use baton_content::{ContentKey, PublisherKey, Secret, SignedHead, StreamKeys};
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a publisher keeps.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyFile {
    pub publisher_seed: [u8; 32],
    pub secret: [u8; 16],
    pub content_key: [u8; 32],
    pub slot_nonce: [u8; 24],
    /// The highest head that was signed.
    pub head: Option<Vec<u8>>,
    /// Plaintext of the pieces of lane 0.
    pub manifest: Vec<Vec<u8>>,
    pub files: Vec<FileMark>,
}

/// What a file was when its first piece was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    /// As in the manifest.
    pub path: String,
    pub size: u64,
    /// Nanoseconds since 1970; 0 where the file system knows none.
    pub modified_ns: u64,
    pub blake3: Option<[u8; 32]>,
}

impl FileMark {
    pub fn new(path: &str, metadata: &Metadata) -> FileMark {
        let modified = metadata
            .modified()
            .ok()
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let modified_ns = modified.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
        FileMark {
            path: path.into(),
            size: metadata.len(),
            modified_ns,
            blake3: None,
        }
    }

    /// Whether it is still the same file.
    pub fn same(&self, other: &FileMark) -> bool {
        (&self.path, self.size, self.modified_ns) == (&other.path, other.size, other.modified_ns)
    }
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key file cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}: {1}")]
    Source(PathBuf, std::io::Error),
    #[error("the key is in use by another Baton")]
    InUse,
    #[error("this is no key file of Baton's")]
    NotAKey,
    #[error("these are not the files that the key was made for: {0} differs; take another key")]
    OtherFiles(String),
}

impl KeyFile {
    /// Fresh keys.
    pub fn random() -> KeyFile {
        KeyFile {
            publisher_seed: crate::random(),
            secret: crate::random(),
            content_key: crate::random(),
            slot_nonce: crate::random(),
            head: None,
            manifest: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Keeps other processes from signing with this key for as long as the file that is returned is open.
    pub fn lock(path: &Path) -> Result<File, KeyError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNERS_ONLY)
            .open(beside)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(KeyError::InUse),
            // A file system without locks: its owner must take care.
            Err(TryLockError::Error(_)) | Ok(()) => Ok(file),
        }
    }

    /// Reads a key file; `None` where there is none yet.
    pub fn read(path: &Path) -> Result<Option<KeyFile>, KeyError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let body = bytes.strip_prefix(FORMAT).ok_or(KeyError::NotAKey)?;
        let (check, body) = body.split_first_chunk::<32>().ok_or(KeyError::NotAKey)?;
        if blake3::hash(body) != *check {
            return Err(KeyError::NotAKey);
        }
        postcard::from_bytes(body)
            .map(Some)
            .map_err(|_| KeyError::NotAKey)
    }

    /// Writes it beside its place and moves it there, so that a crash leaves the old one or the new one.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        let body = postcard::to_allocvec(self).map_err(|_| KeyError::NotAKey)?;
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let mut file = replacing(&fresh, OWNERS_ONLY)?;
        file.write_all(FORMAT)?;
        file.write_all(blake3::hash(&body).as_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        // The head in it is about to be shown: a power cut must not bring the old one back.
        sync_folder_of(path)?;
        Ok(())
    }

    pub fn publisher(&self) -> PublisherKey {
        PublisherKey::from_seed(self.publisher_seed)
    }

    pub fn keys(&self) -> StreamKeys {
        StreamKeys::derive(&self.publisher().id(), &Secret(self.secret))
    }

    pub fn content(&self) -> ContentKey {
        ContentKey::from_random(self.content_key)
    }

    /// The head that was signed last, if it is this key's.
    pub fn signed_head(&self) -> Option<SignedHead> {
        let bytes = self.head.clone()?;
        SignedHead::parse(
            bytes.into(),
            &self.publisher().id(),
            &self.keys().swarm.id(),
        )
        .ok()
    }
}

const FORMAT: &[u8] = b"baton key 1\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_waits_where_the_new_key_is_written_leads_it_nowhere() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("film.key");
        let other = dir.path().join("other");
        std::fs::write(&other, "somebody's").expect("it is ours");
        std::os::unix::fs::symlink(&other, dir.path().join("film.key.new")).expect("it is ours");
        let key = KeyFile::random();
        key.write(&path).expect("there is room");
        let text = std::fs::read_to_string(&other).expect("it is there");
        assert_eq!(text, "somebody's");
        let kept = KeyFile::read(&path).expect("it can be read");
        let kept = kept.expect("it is there");
        assert_eq!(kept.publisher_seed, key.publisher_seed);
        assert!(!path.is_symlink());
    }
}
