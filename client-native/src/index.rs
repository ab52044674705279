//! The crash-safe index of a block store: an append-only log of small checked records.
//!
//! `"batonix1" | publisher 32 | swarm 32`, then records `kind 1 | length 4 | payload | first 4 bytes of BLAKE3 of all before`.
//! A record is written after the bytes it speaks of. What a crash tore off at the end is cut away when the index is opened;
//! what the disk lost all the same is found when a block is verified on its way out: the index only claims.
//!
//! Headers, 2.2 KB each, are in memory until they are in the log, and the ones used last. The others are read from there.

use crate::fresh::{OWNERS_ONLY, replacing, sync_folder_of};
use baton_content::record::{RECORD_HEAD_LEN, Record, push_piece_record, push_record};
use baton_content::{
    BLOCK_LEN, BlockIndex, Header, Mark, Mask, PieceId, PublisherId, SignedHead, SwarmId,
    VerifiedBlock,
};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is in a store.
pub struct Index {
    path: PathBuf,
    file: File,
    /// Where the next record goes. What a failed write left behind it is written over.
    end: u64,
    buffer: Vec<u8>,
    pieces: BTreeMap<PieceId, Row>,
    /// Headers used a moment ago, oldest first.
    recent: VecDeque<Header>,
    /// Noted and not written yet: these headers are nowhere else.
    unwritten: BTreeMap<PieceId, Header>,
    /// Pieces whose headers came into the log since this was asked last.
    kept: Vec<PieceId>,
    /// Sealed blocks of the manifest lane, which are kept right here.
    small: BTreeMap<(PieceId, BlockIndex), VerifiedBlock>,
    head: Option<SignedHead>,
    /// What the log begins with.
    begin: Vec<u8>,
    /// How long the log may get before what it says is written anew.
    compact_at: u64,
}

/// What is known of a piece without its header.
#[derive(Clone, Copy, Debug)]
struct Row {
    claim: Claim,
    /// Where its header stands in the log, and how long it is.
    header_at: u64,
    header_len: u32,
    mark: Mark,
}

/// What is claimed to be here of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Bytes of the whole piece.
    len: u32,
    pub mask: Mask,
}

impl Claim {
    pub fn is_whole(&self) -> bool {
        self.mask.contains_all(self.full())
    }

    /// Bytes of these blocks of the piece.
    pub fn bytes_of(&self, mask: Mask) -> u64 {
        let len = |b: BlockIndex| {
            let rest = u64::from(self.len).saturating_sub(u64::from(b.0) * BLOCK_LEN as u64);
            rest.min(BLOCK_LEN as u64)
        };
        mask.iter().map(len).sum()
    }

    fn full(&self) -> Mask {
        Mask::first_n((self.len as usize).div_ceil(BLOCK_LEN))
    }
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
        let file = OpenOptions::new()
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
        let begin = [&FORMAT[..], &publisher.0, &swarm.0].concat();
        let mut index = Index {
            path: path.into(),
            file,
            end: begin.len() as u64,
            begin: begin.clone(),
            compact_at: COMPACT_MIN_BYTES,
            buffer: Vec::new(),
            pieces: BTreeMap::new(),
            recent: VecDeque::new(),
            unwritten: BTreeMap::new(),
            kept: Vec::new(),
            small: BTreeMap::new(),
            head: None,
        };
        let log = index.file.try_clone().map_err(fault)?;
        let mut bytes = Vec::new();
        let read = |bytes: &mut Vec<u8>| (&log).take(READ_BYTES).read_to_end(bytes);
        read(&mut bytes).map_err(fault)?;
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
        let (mut at, mut used) = (begin.len() as u64, begin.len());
        loop {
            if let Some(record) = Record::first(&bytes[used..], RECORD_MAX) {
                index.replay(at, &record, publisher, swarm);
                at += record.log_len() as u64;
                used += record.log_len();
                continue;
            }
            bytes.drain(..used);
            used = 0;
            // With more than any record takes, it is torn or none.
            if bytes.len() > 2 * RECORD_MAX || read(&mut bytes).map_err(fault)? == 0 {
                break;
            }
        }
        index.file.set_len(at).map_err(fault)?;
        index.end = at;
        index.compact_at = index.limit_of(index.shortest());
        Ok(index)
    }

    /// Bytes of the log, with what is noted and not written yet.
    pub fn log_len(&self) -> u64 {
        self.end + self.buffer.len() as u64
    }

    fn limit_of(&self, len: u64) -> u64 {
        COMPACT_MIN_BYTES.max(len * 2)
    }

    /// Bytes of the shortest log that says the same, about.
    fn shortest(&self) -> u64 {
        let piece = |row: &Row| u64::from(row.header_len) + 3 * RECORD_HEAD_LEN as u64 + 16;
        let small = |block: &VerifiedBlock| block.bytes().len() as u64 + 16;
        let head = self.head.as_ref().map_or(0, |head| head.bytes().len());
        (self.begin.len() + head) as u64
            + self.pieces.values().map(piece).sum::<u64>()
            + self.small.values().map(small).sum::<u64>()
    }

    /// Writes the shortest log that says the same; how long it is, and where the headers stand in it.
    fn write_log(&mut self, file: &File) -> io::Result<(u64, BTreeMap<PieceId, u64>)> {
        let mut out = BufWriter::with_capacity(READ_BYTES as usize, file);
        let (mut log, mut len) = (self.begin.clone(), 0);
        let mut places = BTreeMap::new();
        if let Some(head) = &self.head {
            push_record(&mut log, HEAD, &[head.bytes()]);
        }
        let pieces: Vec<PieceId> = self.pieces.keys().copied().collect();
        for piece in pieces {
            out.write_all(&log)?;
            len += log.len() as u64;
            log.clear();
            // What the disk lost is found when the piece is needed.
            let Some(header) = self.header(piece) else {
                continue;
            };
            places.insert(piece, len + RECORD_HEAD_LEN as u64);
            push_record(&mut log, HEADER, &[header.bytes()]);
            let mask = self.pieces[&piece].claim.mask;
            if !mask.is_empty() {
                push_piece_record(&mut log, MASK, piece, &mask.0.to_le_bytes());
            }
        }
        for block in self.small.values() {
            push_block(&mut log, block);
        }
        out.write_all(&log)?;
        out.flush()?;
        Ok((len + log.len() as u64, places))
    }

    /// Writes the log anew once half of it says nothing any more: whoever drops blocks and fetches others for years must not be left with
    /// years of log. A crash leaves the old one or the new one.
    pub fn compact(&mut self) -> io::Result<()> {
        if self.log_len() < self.compact_at {
            return Ok(());
        }
        // Where there is no room for it, not again at once.
        self.compact_at = self
            .limit_of(self.shortest())
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
            .and_then(|()| self.write_log(&file))
            .and_then(|log| file.sync_all().map(|()| log))
            .and_then(|log| std::fs::rename(&fresh, &self.path).map(|()| log));
        let (len, places) = match written {
            Ok(log) => log,
            Err(error) => {
                let _ = std::fs::remove_file(&fresh);
                return Err(error);
            }
        };
        for (piece, row) in &mut self.pieces {
            // At 0 there is no header.
            row.header_at = places.get(piece).copied().unwrap_or(0);
        }
        self.file = file;
        self.written(len);
        self.compact_at = self.limit_of(len);
        sync_folder_of(&self.path)
    }

    /// What is claimed to be here, for the engine: read bit by bit from the log as it is now, whatever is written to it meanwhile.
    pub fn found(&self) -> io::Result<Found> {
        self.rows(|row| !row.claim.mask.is_empty())
    }

    /// All headers that were noted, whatever is here of their pieces.
    pub fn headers(&self) -> io::Result<Found> {
        self.rows(|_| true)
    }

    fn rows(&self, which: impl Fn(&Row) -> bool) -> io::Result<Found> {
        let rows = self.pieces.values().copied();
        let rows: Vec<Row> = rows.filter(which).collect();
        Ok(Found {
            file: self.file.try_clone()?,
            rows: rows.into_iter(),
        })
    }

    /// What is claimed of a piece.
    pub fn claim(&self, piece: PieceId) -> Option<Claim> {
        self.pieces.get(&piece).map(|row| row.claim)
    }

    /// A piece's header. `None` for one that was not noted, and for one that the disk has lost.
    pub fn header(&mut self, piece: PieceId) -> Option<Header> {
        if let Some(header) = self.unwritten.get(&piece) {
            return Some(header.clone());
        }
        let row = self.pieces.get(&piece)?;
        if let Some(header) = self.recent.iter().find(|header| header.id() == piece) {
            return Some(header.clone());
        }
        let header = read_header(&self.file, row)?;
        self.remember(header.clone());
        Some(header)
    }

    fn remember(&mut self, header: Header) {
        if self.recent.len() == RECENT_HEADERS {
            self.recent.pop_front();
        }
        self.recent.push_back(header);
    }

    /// Pieces whose headers can be had from here from now on, told once.
    pub fn take_kept(&mut self) -> Vec<PieceId> {
        std::mem::take(&mut self.kept)
    }

    /// The pieces from the lowest on.
    pub fn pieces(&self) -> impl Iterator<Item = (PieceId, Mask)> {
        self.pieces
            .iter()
            .map(|(piece, row)| (*piece, row.claim.mask))
    }

    /// Whether a block is here that is not the manifest's.
    pub fn has_content(&self) -> bool {
        let mut pieces = self.pieces();
        pieces.any(|(piece, mask)| piece.lane.0 != 0 && !mask.is_empty())
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
        self.add_header(header);
        let row = self.pieces.get_mut(&header.id()).expect("inserted above");
        if !row.claim.mask.contains(block) {
            row.claim.mask.insert(block);
            push_piece_record(
                &mut self.buffer,
                MASK,
                header.id(),
                &Mask::of(block).0.to_le_bytes(),
            );
        }
    }

    /// Notes a header, unless it is known: a publisher keeps all that it has signed.
    pub fn add_header(&mut self, header: &Header) {
        let piece = header.id();
        let mark = header.mark();
        let known = self.pieces.get(&piece);
        if known.is_some_and(|row| row.mark == mark && row.header_at != 0) {
            return;
        }
        let old = known.map_or(Mask::EMPTY, |row| row.claim.mask);
        if !old.is_empty() && self.header(piece).is_some_and(|old| old.same_core(header)) {
            return;
        }
        // Another core, or what was written is lost: the claims were about that.
        let header_at = self.log_len() + RECORD_HEAD_LEN as u64;
        push_record(&mut self.buffer, HEADER, &[header.bytes()]);
        self.recent.retain(|recent| recent.id() != piece);
        self.unwritten.insert(piece, header.clone());
        let row = Row {
            claim: Claim {
                len: header.core().len,
                mask: Mask::EMPTY,
            },
            header_at,
            header_len: header.bytes().len() as u32,
            mark,
        };
        self.pieces.insert(piece, row);
    }

    /// Keeps a block of the manifest lane, bytes and all.
    pub fn add_small(&mut self, block: VerifiedBlock) {
        self.add(block.header(), block.block());
        push_block(&mut self.buffer, &block);
        self.small.insert((block.piece(), block.block()), block);
    }

    /// Notes blocks that are no longer here.
    pub fn remove(&mut self, piece: PieceId, gone: Mask) {
        if let Some(row) = self.pieces.get_mut(&piece) {
            row.claim.mask = row.claim.mask.without(gone);
            push_piece_record(&mut self.buffer, GONE, piece, &gone.0.to_le_bytes());
        }
    }

    /// A piece whose header the disk has lost: with it goes all that was claimed.
    pub fn forget(&mut self, piece: PieceId) {
        if let Some(claim) = self.claim(piece) {
            self.remove(piece, claim.full());
            self.pieces.remove(&piece);
            // A log is read up to its first broken record: what is behind that one would be lost too.
            self.compact_at = 0;
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
            self.written(self.log_len());
        }
        Ok(())
    }

    /// All that was noted is in the log, which is so long now.
    fn written(&mut self, len: u64) {
        self.end = len;
        self.buffer.clear();
        for (piece, header) in std::mem::take(&mut self.unwritten) {
            self.kept.push(piece);
            self.remember(header);
        }
    }

    /// A record that no longer makes sense (a later version's, a header that does not verify) is passed over.
    fn replay(&mut self, at: u64, record: &Record, publisher: &PublisherId, swarm: &SwarmId) {
        match record.kind {
            HEADER => {
                if let Ok(header) =
                    Header::parse(Bytes::copy_from_slice(record.payload), publisher, swarm)
                {
                    let row = Row {
                        claim: Claim {
                            len: header.core().len,
                            mask: Mask::EMPTY,
                        },
                        header_at: at + RECORD_HEAD_LEN as u64,
                        header_len: record.payload.len() as u32,
                        mark: header.mark(),
                    };
                    self.recent.retain(|recent| recent.id() != header.id());
                    self.pieces.insert(header.id(), row);
                }
            }
            MASK | GONE => {
                let Some((piece, rest)) = record.piece() else {
                    return;
                };
                let (Some(row), Ok(bits)) = (self.pieces.get_mut(&piece), rest.try_into()) else {
                    return;
                };
                let bits = Mask(u64::from_le_bytes(bits)).and(row.claim.full());
                row.claim.mask = if record.kind == MASK {
                    row.claim.mask.or(bits)
                } else {
                    row.claim.mask.without(bits)
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
                let (Some(header), block) = (self.header(piece), BlockIndex(*block)) else {
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

/// What an index claimed when it was asked, piece by piece; what the disk has lost of it is passed over.
#[derive(Debug)]
pub struct Found {
    file: File,
    rows: std::vec::IntoIter<Row>,
}

impl Iterator for Found {
    type Item = (Header, Mask);

    fn next(&mut self) -> Option<(Header, Mask)> {
        let file = &self.file;
        self.rows
            .find_map(|row| Some((read_header(file, &row)?, row.claim.mask)))
    }
}

fn read_header(file: &File, row: &Row) -> Option<Header> {
    let mut bytes = vec![0; row.header_len as usize];
    file.read_exact_at(&mut bytes, row.header_at).ok()?;
    Header::parse_marked(bytes.into(), &row.mark)
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
/// How much of a log is read at a time.
const READ_BYTES: u64 = 256 * 1024;
/// A header is asked for once for each block of its piece, mostly within a moment.
const RECENT_HEADERS: usize = 32;
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

    fn blocks_of(index: &Index) -> usize {
        let found = index.found().expect("it is open");
        found.map(|(_, mask)| mask.count()).sum()
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
            let blocks = blocks_of(&index);
            assert!(blocks >= before, "a longer log has no fewer blocks");
            before = blocks;
            index.add(&header(&key, 9), BlockIndex(0));
            drop(index);
            let index = Index::open(&path, &publisher, &swarm).expect("it goes on after the tear");
            assert_eq!(
                index
                    .claim(PieceId::new(Lane(1), 9))
                    .map(|claim| claim.mask.count()),
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
        let blocks = blocks_of(&index);
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
        let found = index.found().expect("it is open");
        let have: Vec<_> = found.map(|(h, m)| (h.id(), m)).collect();
        assert_eq!(have, [(headers[2].id(), Mask::of(BlockIndex(2)))]);
        let left = std::fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!(left, 1, "nothing but the index");
    }

    #[test]
    fn headers_are_read_from_the_log_and_one_that_the_disk_lost_takes_its_piece_along() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("index");
        let key = PublisherKey::from_seed([1; 32]);
        let (publisher, swarm) = (key.id(), SwarmId([7; 32]));
        let count = RECENT_HEADERS as u32 + 2;
        let headers: Vec<_> = (0..count).map(|piece| header(&key, piece)).collect();
        let mut index = Index::open(&path, &publisher, &swarm).expect("a new index");
        for header in &headers {
            index.add(header, BlockIndex(0));
            assert!(index.take_kept().is_empty(), "it is in memory alone");
            index.flush().expect("there is room");
            assert_eq!(index.take_kept(), [header.id()]);
        }
        assert!(index.unwritten.is_empty());
        assert_eq!(index.recent.len(), RECENT_HEADERS);
        for header in &headers {
            assert_eq!(index.header(header.id()).as_ref(), Some(header));
        }
        let first = headers[0].id();
        let (at, len) = (index.pieces[&first].header_at, headers[0].bytes().len());
        assert!(
            !index.recent.contains(&headers[0]),
            "it is in the log alone"
        );
        index
            .file
            .write_all_at(&[0; 40], at + len as u64 - 40)
            .expect("it is ours");
        assert_eq!(index.header(first), None);
        assert_eq!(
            index.found().expect("it is open").count(),
            count as usize - 1
        );
        // A log that is written anew has no place for it.
        index.compact_at = 0;
        index.compact().expect("there is room");
        assert_eq!(index.header(first), None);
        assert_eq!(index.header(headers[1].id()).as_ref(), Some(&headers[1]));
        index.forget(first);
        assert_eq!(index.claim(first), None);
        index.add(&headers[0], BlockIndex(1));
        drop(index);
        let mut index = Index::open(&path, &publisher, &swarm).expect("it opens");
        assert_eq!(index.header(first).as_ref(), Some(&headers[0]));
        assert_eq!(index.claim(first).map(|claim| claim.mask), Some(Mask(2)));
        assert_eq!(blocks_of(&index), count as usize);
    }

    #[test]
    fn an_index_longer_than_what_is_read_at_a_time_is_read_whole() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("index");
        let key = PublisherKey::from_seed([1; 32]);
        let (publisher, swarm) = (key.id(), SwarmId([7; 32]));
        let count = 3 * READ_BYTES as u32 / 250;
        let mut index = Index::open(&path, &publisher, &swarm).expect("a new index");
        for piece in 0..count {
            index.add(&header(&key, piece), BlockIndex(0));
        }
        drop(index);
        assert!(std::fs::metadata(&path).expect("it is there").len() > 3 * READ_BYTES);
        let index = Index::open(&path, &publisher, &swarm).expect("it opens");
        assert_eq!(blocks_of(&index), count as usize);
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
