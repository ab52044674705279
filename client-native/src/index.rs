//! The crash-safe index of a block store: an append-only log of small checked records.
//!
//! `"batonix1" | publisher 32 | swarm 32`, then records `kind 1 | length 4 | payload | first 4 bytes of BLAKE3 of all before`.
//! A record is written after the bytes it speaks of. What a crash tore off at the end is cut away when the index is opened;
//! what the disk lost all the same is found when a block is verified on its way out: the index only claims.

use crate::fresh::{OWNERS_ONLY, replacing, sync_folder_of};
use baton_content::record::{Record, push_piece_record, push_record};
use baton_content::{
    BlockIndex, Header, Mask, PieceId, PublisherId, SignedHead, SwarmId, VerifiedBlock,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is in a store.
pub struct Index {
    path: PathBuf,
    file: File,
    /// Where the next record goes. What a failed write left behind it is written over.
    end: u64,
    buffer: Vec<u8>,
    pieces: BTreeMap<PieceId, (Header, Mask)>,
    /// Sealed blocks of the manifest lane, which are kept right here.
    small: BTreeMap<(PieceId, BlockIndex), VerifiedBlock>,
    head: Option<SignedHead>,
    /// What the log begins with.
    begin: Vec<u8>,
    /// How long the log may get before what it says is written anew.
    compact_at: u64,
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("{path} cannot be read or written: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path} belongs to another stream")]
    OtherStream { path: PathBuf },
    #[error("{path} is no index of Baton's")]
    NotAnIndex { path: PathBuf },
    #[error("{path} is in use by another Baton")]
    InUse { path: PathBuf },
}

impl Index {
    /// Opens the index of a stream, or begins one. Only one process at a time has it.
    pub fn open(
        path: &Path,
        publisher: &PublisherId,
        swarm: &SwarmId,
    ) -> Result<Index, IndexError> {
        let fault = |error| IndexError::Io {
            path: path.into(),
            error,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fault)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(IndexError::InUse { path: path.into() }),
            // A file system without locks: its owner must take care.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(fault(error));
            }
            Err(_) | Ok(()) => {}
        }
        // Another Baton may have written it anew between the two.
        let there = std::fs::metadata(path).map_err(fault)?;
        if there.ino() != file.metadata().map_err(fault)?.ino() {
            return Err(IndexError::InUse { path: path.into() });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fault)?;
        let begin = [&FORMAT[..], &publisher.0, &swarm.0].concat();
        let (pieces, small) = (BTreeMap::new(), BTreeMap::new());
        let mut index = Index {
            path: path.into(),
            file,
            end: begin.len() as u64,
            begin: begin.clone(),
            compact_at: COMPACT_MIN_BYTES,
            buffer: Vec::new(),
            pieces,
            small,
            head: None,
        };
        if bytes.len() < begin.len() && begin.starts_with(&bytes) {
            index.file.set_len(0).map_err(fault)?;
            index.file.write_all_at(&begin, 0).map_err(fault)?;
            return Ok(index);
        }
        if !bytes.starts_with(&FORMAT) {
            return Err(IndexError::NotAnIndex { path: path.into() });
        }
        if !bytes.starts_with(&begin) {
            return Err(IndexError::OtherStream { path: path.into() });
        }
        let mut at = begin.len();
        while let Some(record) = Record::first(&bytes[at..], RECORD_MAX) {
            index.replay(&record, publisher, swarm);
            at += record.log_len();
        }
        index.file.set_len(at as u64).map_err(fault)?;
        index.end = at as u64;
        index.compact_at = index.limit_of(index.to_log().len());
        Ok(index)
    }

    /// Bytes of the log, with what is noted and not written yet.
    pub fn log_len(&self) -> u64 {
        self.end + self.buffer.len() as u64
    }

    fn limit_of(&self, len: usize) -> u64 {
        COMPACT_MIN_BYTES.max(len as u64 * 2)
    }

    /// The shortest log that says the same.
    fn to_log(&self) -> Vec<u8> {
        let mut log = self.begin.clone();
        if let Some(head) = &self.head {
            push_record(&mut log, HEAD, &[head.bytes()]);
        }
        for (piece, (header, mask)) in &self.pieces {
            push_record(&mut log, HEADER, &[header.bytes()]);
            if !mask.is_empty() {
                push_piece_record(&mut log, MASK, *piece, &mask.0.to_le_bytes());
            }
        }
        for block in self.small.values() {
            push_block(&mut log, block);
        }
        log
    }

    /// Writes the log anew once half of it says nothing any more: whoever drops blocks and fetches others for years must not be left with
    /// years of log. A crash leaves the old one or the new one.
    pub fn compact(&mut self) -> io::Result<()> {
        if self.log_len() < self.compact_at {
            return Ok(());
        }
        let log = self.to_log();
        // Where there is no room for it, not again at once.
        self.compact_at = self
            .limit_of(log.len())
            .max(self.log_len() + self.log_len() / 2);
        let mut fresh = self.path.clone().into_os_string();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let file = replacing(&fresh, OWNERS_ONLY)?;
        let written = file
            .try_lock()
            .or_else(|error| match error {
                TryLockError::Error(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
                error => Err(error.into()),
            })
            .and_then(|()| file.write_all_at(&log, 0))
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&fresh, &self.path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&fresh);
            return Err(error);
        }
        self.file = file;
        self.end = log.len() as u64;
        self.buffer.clear();
        self.compact_at = self.limit_of(log.len());
        sync_folder_of(&self.path)
    }

    /// What is claimed to be here, for `Swarm::new`.
    pub fn have(&self) -> Vec<(Header, Mask)> {
        self.pieces
            .values()
            .filter(|(_, mask)| !mask.is_empty())
            .cloned()
            .collect()
    }

    /// A piece's header and the blocks that are here.
    pub fn piece(&self, piece: PieceId) -> Option<(&Header, Mask)> {
        self.pieces
            .get(&piece)
            .map(|(header, mask)| (header, *mask))
    }

    /// The pieces from the lowest on.
    pub fn pieces(&self) -> impl Iterator<Item = (PieceId, Mask)> {
        self.pieces.iter().map(|(piece, (_, mask))| (*piece, *mask))
    }

    /// Whether a block is here that is not the manifest's.
    pub fn has_content(&self) -> bool {
        let mut pieces = self.pieces();
        pieces.any(|(piece, mask)| piece.lane.0 != 0 && !mask.is_empty())
    }

    /// Bytes of blocks that are here.
    pub fn bytes(&self) -> u64 {
        let piece = |(header, mask): &(Header, Mask)| {
            mask.iter().map(|b| header.block_len(b) as u64).sum::<u64>()
        };
        self.pieces.values().map(piece).sum()
    }

    /// The highest head seen.
    pub fn head(&self) -> Option<&SignedHead> {
        self.head.as_ref()
    }

    /// A block of the manifest lane.
    pub fn small(&self, piece: PieceId, block: BlockIndex) -> Option<&VerifiedBlock> {
        self.small.get(&(piece, block))
    }

    /// Notes a higher head.
    pub fn set_head(&mut self, head: SignedHead) {
        push_record(&mut self.buffer, HEAD, &[head.bytes()]);
        self.head = Some(head);
    }

    /// Notes a block whose bytes have been written elsewhere.
    pub fn add(&mut self, header: &Header, block: BlockIndex) {
        let known = self
            .pieces
            .get(&header.id())
            .is_some_and(|(old, _)| old.same_core(header));
        if !known {
            push_record(&mut self.buffer, HEADER, &[header.bytes()]);
            self.pieces
                .insert(header.id(), (header.clone(), Mask::EMPTY));
        }
        let (_, mask) = self.pieces.get_mut(&header.id()).expect("inserted above");
        if !mask.contains(block) {
            mask.insert(block);
            push_piece_record(
                &mut self.buffer,
                MASK,
                header.id(),
                &Mask::of(block).0.to_le_bytes(),
            );
        }
    }

    /// Keeps a header alone: what a publisher has signed.
    pub fn add_header(&mut self, header: &Header) {
        push_record(&mut self.buffer, HEADER, &[header.bytes()]);
        self.pieces
            .entry(header.id())
            .or_insert((header.clone(), Mask::EMPTY));
    }

    /// Keeps a block of the manifest lane, bytes and all.
    pub fn add_small(&mut self, block: VerifiedBlock) {
        self.add(block.header(), block.block());
        push_block(&mut self.buffer, &block);
        self.small.insert((block.piece(), block.block()), block);
    }

    /// Notes blocks that are no longer here.
    pub fn remove(&mut self, piece: PieceId, gone: Mask) {
        if let Some((_, mask)) = self.pieces.get_mut(&piece) {
            *mask = mask.without(gone);
            push_piece_record(&mut self.buffer, GONE, piece, &gone.0.to_le_bytes());
        }
    }

    /// Writes out what was noted once it is worth a write.
    pub fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes out what was noted. What could not be written (a full disk) is tried again by the next one, at the same place.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_all_at(&self.buffer, self.end)?;
            self.end += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// A record that no longer makes sense (a later version's, a header that does not verify) is passed over.
    fn replay(&mut self, record: &Record, publisher: &PublisherId, swarm: &SwarmId) {
        match record.kind {
            HEADER => {
                if let Ok(header) =
                    Header::parse(Bytes::copy_from_slice(record.payload), publisher, swarm)
                {
                    self.pieces.insert(header.id(), (header, Mask::EMPTY));
                }
            }
            MASK | GONE => {
                let Some((piece, rest)) = record.piece() else {
                    return;
                };
                let (Some((header, mask)), Ok(bits)) =
                    (self.pieces.get_mut(&piece), rest.try_into())
                else {
                    return;
                };
                let bits = Mask(u64::from_le_bytes(bits)).and(header.full_mask());
                *mask = if record.kind == MASK {
                    mask.or(bits)
                } else {
                    mask.without(bits)
                };
            }
            HEAD => {
                if let Ok(head) =
                    SignedHead::parse(Bytes::copy_from_slice(record.payload), publisher, swarm)
                    && self.head.as_ref().is_none_or(|old| head.supersedes(old))
                {
                    self.head = Some(head);
                }
            }
            BLOCK => {
                let Some((piece, [block, bytes @ ..])) = record.piece() else {
                    return;
                };
                let (Some((header, _)), block) = (self.pieces.get(&piece), BlockIndex(*block))
                else {
                    return;
                };
                if let Ok(verified) = header.verify(block, Bytes::copy_from_slice(bytes)) {
                    self.small.insert((piece, block), verified);
                }
            }
            _ => {}
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // Nothing can be done about a disk that is gone; the log stays readable.
        let _ = self.flush();
    }
}

fn push_block(log: &mut Vec<u8>, block: &VerifiedBlock) {
    let piece = block.piece();
    let place = [
        &piece.lane.0.to_le_bytes()[..],
        &piece.index.0.to_le_bytes(),
        &[block.block().0],
    ]
    .concat();
    push_record(log, BLOCK, &[&place, block.bytes()]);
}

const FORMAT: [u8; 8] = *b"batonix1";
const HEADER: u8 = 1;
const MASK: u8 = 2;
const GONE: u8 = 3;
const HEAD: u8 = 4;
const BLOCK: u8 = 5;
/// A log below it is not worth writing anew.
const COMPACT_MIN_BYTES: u64 = 1 << 20;
/// Noted and not written: what a kill costs is fetched again, some twenty blocks.
const BUFFER_BYTES: usize = 512;
/// The longest record is a block of 16 KiB; a head is below 10 KiB.
const RECORD_MAX: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use baton_content::{ContentKey, Lane, PieceFlags, PieceIndex, PieceMeta, PublisherKey, seal};

    fn header(key: &PublisherKey, index: u32) -> Header {
        let lane = Lane(1);
        let meta = PieceMeta {
            swarm: SwarmId([7; 32]),
            epoch: 0,
            lane,
            index: PieceIndex(index),
            flags: PieceFlags::NONE,
            media_time_us: 0,
        };
        seal(
            &ContentKey::from_random([3; 32]).lane_key(lane),
            key,
            meta,
            &mut vec![index as u8; 40_000],
        )
    }

    #[test]
    fn an_index_torn_anywhere_keeps_what_was_whole_before_the_tear() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("index");
        let key = PublisherKey::from_seed([1; 32]);
        let (publisher, swarm) = (key.id(), SwarmId([7; 32]));
        let mut index = Index::open(&path, &publisher, &swarm).expect("a new index");
        for piece in 0..3 {
            for block in 0..3 {
                index.add(&header(&key, piece), BlockIndex(block));
            }
        }
        drop(index);
        let whole = std::fs::read(&path).expect("it was written");
        let mut before = 0;
        for cut in (0..=whole.len()).step_by(7).chain([whole.len()]) {
            std::fs::write(&path, &whole[..cut]).expect("a torn copy");
            let mut index = Index::open(&path, &publisher, &swarm).expect("a torn index opens");
            let blocks: usize = index.have().iter().map(|(_, mask)| mask.count()).sum();
            assert!(blocks >= before, "a longer log has no fewer blocks");
            before = blocks;
            index.add(&header(&key, 9), BlockIndex(0));
            drop(index);
            let index = Index::open(&path, &publisher, &swarm).expect("it goes on after the tear");
            assert_eq!(
                index
                    .piece(PieceId::new(Lane(1), 9))
                    .map(|(_, mask)| mask.count()),
                Some(1)
            );
        }
        assert_eq!(before, 9);
    }

    /// Lowers or lifts the longest file that this process may write: a full disk, as the system tells it.
    fn limit_files(bytes: libc::rlim_t) {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the pointers are good for the calls.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit);
            limit.rlim_cur = bytes.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
        }
    }

    #[test]
    #[ignore = "a process of its own for the test below: it limits all files"]
    fn a_process_with_a_full_disk() {
        let Some(path) = std::env::var_os("BATON_TEST_INDEX").map(PathBuf::from) else {
            return;
        };
        let key = PublisherKey::from_seed([1; 32]);
        let (publisher, swarm) = (key.id(), SwarmId([7; 32]));
        let mut index = Index::open(&path, &publisher, &swarm).expect("a new index");
        limit_files(300);
        index.add(&header(&key, 0), BlockIndex(0));
        index.flush().expect_err("there is room for half of it");
        assert_eq!(std::fs::metadata(&path).expect("it is there").len(), 300);
        limit_files(libc::RLIM_INFINITY);
        index.add(&header(&key, 0), BlockIndex(1));
        index.flush().expect("there is room again");
    }

    #[test]
    fn a_write_that_a_full_disk_tore_is_made_good_once_there_is_room() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("index");
        let child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "index::tests::a_process_with_a_full_disk",
                "--ignored",
            ])
            .env("BATON_TEST_INDEX", &path)
            .output()
            .expect("this program runs again");
        assert!(
            child.status.success(),
            "{}",
            String::from_utf8_lossy(&child.stdout)
        );
        let key = PublisherKey::from_seed([1; 32]);
        let index = Index::open(&path, &key.id(), &SwarmId([7; 32])).expect("it opens");
        let blocks: usize = index.have().iter().map(|(_, mask)| mask.count()).sum();
        assert_eq!(blocks, 2);
    }

    #[test]
    fn a_log_that_grows_by_coming_and_going_is_written_anew_and_says_the_same() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("index");
        let key = PublisherKey::from_seed([1; 32]);
        let (publisher, swarm) = (key.id(), SwarmId([7; 32]));
        let mut index = Index::open(&path, &publisher, &swarm).expect("a new index");
        let headers: Vec<_> = (0..4).map(|piece| header(&key, piece)).collect();
        for _ in 0..20_000 {
            for header in &headers {
                index.add(header, BlockIndex(1));
                index.remove(header.id(), Mask::of(BlockIndex(1)));
            }
            index.flush_if_full().expect("there is room");
            index.compact().expect("there is room");
        }
        index.add(&headers[2], BlockIndex(2));
        index.flush().expect("there is room");
        let len = std::fs::metadata(&path).expect("it is there").len();
        assert!(len < 2 * COMPACT_MIN_BYTES, "{len} bytes");
        let other = Index::open(&path, &publisher, &swarm);
        assert!(matches!(other, Err(IndexError::InUse { .. })), "still ours");
        drop(index);
        let index = Index::open(&path, &publisher, &swarm).expect("it opens");
        assert_eq!(index.pieces().count(), 4, "headers stay");
        let have: Vec<_> = index.have().into_iter().map(|(h, m)| (h.id(), m)).collect();
        assert_eq!(have, [(headers[2].id(), Mask::of(BlockIndex(2)))]);
        let left = std::fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!(left, 1, "nothing but the index");
    }

    #[test]
    fn an_index_of_another_stream_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("index");
        let publisher = PublisherKey::from_seed([1; 32]).id();
        drop(Index::open(&path, &publisher, &SwarmId([7; 32])).expect("a new index"));
        let other = Index::open(&path, &publisher, &SwarmId([8; 32]));
        assert!(matches!(other, Err(IndexError::OtherStream { .. })));
    }
}
