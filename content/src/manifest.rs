//! The manifest: what the stream consists of, sealed in lane 0 (docs/protocol.md section 6).
//!
//! A version of the manifest is one record, cut into as many consecutive pieces as it needs, beginning with a
//! piece of its own. Each piece says which part of which record it is, so that a reader needs only the pieces of
//! the newest version. The plaintext of a piece:
//! `"btnmani1" | revision 4 | part 4 | record length 4 | part of the record`, numbers little-endian.

use baton_sorted::{SortedMap, sort_by_key};
use core::fmt;
use core::marker::PhantomData;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::id::{Lane, PieceIndex};
use crate::path::{clean_path, clean_paths, is_clean, is_invisible, is_path};
use crate::{DATA_LANE, MANIFEST_LANE, PIECE_LEN, PIECES_PER_LANE_MAX};

/// What is in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Grows with each version; the highest that is complete counts.
    pub revision: u32,
    pub kind: Kind,
    /// What people call it: a file's name, a folder's, a broadcast's.
    pub title: String,
    pub entries: Vec<Entry>,
    pub poster: Option<Poster>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    File,
    Collection,
    Live,
}

/// One file of a stream. It begins at the start of a piece and fills whole pieces but for its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative, `/` between its parts; never absolute, `..` or with control characters. On a disk use [`Manifest::places`].
    pub path: String,
    /// In bytes.
    pub size: u64,
    pub mime: Option<String>,
    pub lane: Lane,
    pub first_piece: PieceIndex,
    /// What a player should fetch first (moov, Cues, first key frame), in the order to fetch it.
    pub start: Vec<ByteRange>,
    pub duration_us: Option<u64>,
    /// Plain BLAKE3 of the file, as `b3sum` prints it, once the publisher has read all of it.
    pub blake3: Option<[u8; 32]>,
}

impl Entry {
    /// A file of which nothing more is known. What a path must not have is replaced by `_`.
    pub fn new(path: &str, size: u64) -> Self {
        Entry {
            path: clean_path(path),
            size,
            mime: None,
            lane: DATA_LANE,
            first_piece: PieceIndex(0),
            start: Vec::new(),
            duration_us: None,
            blake3: None,
        }
    }
}

/// Bytes `offset..offset + len` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    pub offset: u64,
    pub len: u32,
}

/// A small still picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poster {
    pub mime: String,
    pub bytes: Vec<u8>,
}

impl Manifest {
    /// The manifest of one file.
    pub fn file(entry: Entry) -> Self {
        let title = entry.path.rsplit('/').next().unwrap_or_default().to_owned();
        Manifest {
            revision: 1,
            kind: Kind::File,
            title,
            entries: vec![entry],
            poster: None,
        }
    }

    /// The manifest of a folder; paths that clash on some system are numbered.
    pub fn collection(title: String, mut entries: Vec<Entry>) -> Self {
        let paths = clean_paths(entries.iter().map(|entry| entry.path.as_str()));
        for (entry, path) in entries.iter_mut().zip(paths) {
            entry.path = path;
        }
        Manifest {
            revision: 1,
            kind: Kind::Collection,
            title,
            entries,
            poster: None,
        }
    }

    /// Where each entry goes below the folder of a download: a path that every system takes, and none twice.
    pub fn places(&self) -> Vec<String> {
        clean_paths(self.entries.iter().map(|entry| entry.path.as_str()))
    }

    /// The plaintext of the pieces to append to lane 0, each at most [`PIECE_LEN`] bytes.
    pub fn to_pieces(&self) -> Result<Vec<Vec<u8>>, ManifestError> {
        self.check()?;
        self.check_paths()?;
        let record = self.to_record();
        if record.len() > MANIFEST_LEN_MAX {
            return Err(ManifestError::TooLong);
        }
        let piece = |(part, bytes): (usize, &[u8])| {
            let mut piece = Vec::with_capacity(PART_HEADER_LEN + bytes.len());
            piece.extend(PART_FORMAT);
            piece.extend(self.revision.to_le_bytes());
            piece.extend((part as u32).to_le_bytes());
            piece.extend((record.len() as u32).to_le_bytes());
            piece.extend(bytes);
            piece
        };
        Ok(record.chunks(PART_LEN_MAX).enumerate().map(piece).collect())
    }

    /// Reads the newest version of which all pieces are there, from opened pieces of lane 0 in any order.
    ///
    /// Pieces that are no part of a record are passed over. `Ok(None)` when no version is complete yet.
    pub fn from_lane<'a>(
        pieces: impl IntoIterator<Item = (PieceIndex, &'a [u8])>,
    ) -> Result<Option<Manifest>, ManifestError> {
        let parts: SortedMap<PieceIndex, Part<'a>> = pieces
            .into_iter()
            .filter_map(|(index, bytes)| Some((index, Part::read(bytes)?)))
            .collect();
        let mut starts: Vec<_> = parts.iter().filter(|(_, part)| part.part == 0).collect();
        sort_by_key(&mut starts, |(index, first)| {
            (first.revision.into(), index.0.into())
        });
        let mut newest_first = starts.into_iter().rev();
        let newest = newest_first
            .find_map(|(index, first)| Some((first.revision, assemble(&parts, *index, first)?)));
        newest
            .map(|(revision, record)| Manifest::from_record(revision, &record))
            .transpose()
    }

    fn to_record(&self) -> Vec<u8> {
        let entries: Vec<Vec<u8>> = self.entries.iter().map(EntryRecord::write).collect();
        let entries = Bounded(entries.iter().map(Vec::as_slice).collect());
        let record = Record {
            kind: self.kind,
            title: self.title.clone(),
            entries,
            poster: self.poster.clone(),
        };
        postcard::to_allocvec(&record).expect("writing to memory does not fail")
    }

    fn from_record(revision: u32, bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let record: Record<'_> =
            postcard::from_bytes(bytes).map_err(|_| ManifestError::Malformed)?;
        let entries = record
            .entries
            .0
            .iter()
            .enumerate()
            .map(|(place, bytes)| EntryRecord::read(place, bytes))
            .collect::<Result<_, _>>()?;
        let manifest = Manifest {
            revision,
            kind: record.kind,
            title: record.title,
            entries,
            poster: record.poster,
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.entries.len() > ENTRIES_MAX {
            return Err(ManifestError::TooManyEntries);
        }
        if self.title.len() > PATH_LEN_MAX || self.title.chars().any(is_invisible) {
            return Err(ManifestError::Title);
        }
        if self
            .poster
            .as_ref()
            .is_some_and(|poster| poster.bytes.len() > POSTER_LEN_MAX || !is_mime(&poster.mime))
        {
            return Err(ManifestError::Poster);
        }
        for (entry, value) in self.entries.iter().enumerate() {
            value
                .check()
                .map_err(|fault| ManifestError::Entry { entry, fault })?;
        }
        let paths = self.entries.iter().map(|entry| entry.path.as_str());
        sorted_paths(paths).map(drop)
    }
}

impl Manifest {
    /// What a writer must keep to beyond what a reader asks for: paths that every system takes, and that stay apart where (ASCII) case does not count.
    fn check_paths(&self) -> Result<(), ManifestError> {
        let refuse = |entry, fault| Err(ManifestError::Entry { entry, fault });
        let unclean = |value: &Entry| !is_clean(&value.path);
        if let Some(entry) = self.entries.iter().position(unclean) {
            return refuse(entry, EntryFault::Path);
        }
        let fold = |path: &str| path.to_ascii_lowercase();
        let folded: Vec<String> = self.entries.iter().map(|it| fold(&it.path)).collect();
        let taken = sorted_paths(folded.iter().map(String::as_str))?;
        let is_taken = |path: &str| {
            let place = taken.binary_search_by(|(other, _)| (*other).cmp(path));
            place.is_ok()
        };
        for (entry, value) in self.entries.iter().enumerate() {
            let mut folders = value
                .path
                .match_indices('/')
                .map(|(at, _)| &value.path[..at]);
            if folders.any(|folder| is_taken(&fold(folder))) {
                return refuse(entry, EntryFault::SamePath);
            }
        }
        Ok(())
    }
}

/// Paths in their order, each with the number of its entry. There may be [`ENTRIES_MAX`], in an order that somebody else chose.
fn sorted_paths<'a>(
    paths: impl Iterator<Item = &'a str>,
) -> Result<Vec<(&'a str, usize)>, ManifestError> {
    let mut list: Vec<_> = paths
        .enumerate()
        .map(|(entry, path)| (path, entry))
        .collect();
    baton_sorted::sort(&mut list);
    let fault = EntryFault::SamePath;
    match list.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(ManifestError::Entry {
            entry: pair[1].1,
            fault,
        }),
        None => Ok(list),
    }
}

impl Entry {
    fn check(&self) -> Result<(), EntryFault> {
        if !is_path(&self.path) {
            return Err(EntryFault::Path);
        }
        if self.lane == MANIFEST_LANE
            || self.size.div_ceil(PIECE_LEN as u64) + u64::from(self.first_piece.0)
                > u64::from(PIECES_PER_LANE_MAX)
        {
            return Err(EntryFault::Size);
        }
        if self.mime.as_ref().is_some_and(|mime| !is_mime(mime)) {
            return Err(EntryFault::Mime);
        }
        let inside = |range: &ByteRange| {
            range.len > 0
                && range
                    .offset
                    .checked_add(u64::from(range.len))
                    .is_some_and(|end| end <= self.size)
        };
        if self.start.len() > START_RANGES_MAX || !self.start.iter().all(inside) {
            return Err(EntryFault::Start);
        }
        Ok(())
    }
}

fn is_mime(mime: &str) -> bool {
    (1..=MIME_LEN_MAX).contains(&mime.len())
        && mime.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

struct Part<'a> {
    revision: u32,
    part: u32,
    record_len: u32,
    bytes: &'a [u8],
}

impl<'a> Part<'a> {
    fn read(bytes: &'a [u8]) -> Option<Part<'a>> {
        let mut reader = crate::read::Reader::new(bytes);
        let known = reader.array()? == PART_FORMAT;
        let part = Part {
            revision: reader.u32()?,
            part: reader.u32()?,
            record_len: reader.u32()?,
            bytes: reader.rest(),
        };
        (known && part.record_len as usize <= MANIFEST_LEN_MAX && part.bytes.len() <= PART_LEN_MAX)
            .then_some(part)
    }
}

/// The whole record that begins at `first`, if all its parts are there and fit.
fn assemble(
    parts: &SortedMap<PieceIndex, Part<'_>>,
    first_index: PieceIndex,
    first: &Part<'_>,
) -> Option<Vec<u8>> {
    let len = first.record_len as usize;
    let mut record = Vec::with_capacity(first.bytes.len());
    for part in 0..(len.div_ceil(PART_LEN_MAX) as u32) {
        let found = parts.get(&PieceIndex(first_index.0.checked_add(part)?))?;
        if (found.revision, found.part, found.record_len)
            != (first.revision, part, first.record_len)
        {
            return None;
        }
        record.extend(found.bytes);
    }
    (record.len() == len && len > 0).then_some(record)
}

/// Postcard of the record. Fields are only appended: an older reader ignores what follows.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    kind: Kind,
    title: String,
    /// Each a length and postcard of [`EntryRecord`], so that fields can be appended there, too.
    #[serde(borrow)]
    entries: Bounded<&'a [u8], ENTRIES_MAX>,
    poster: Option<Poster>,
}

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    path: String,
    size: u64,
    mime: Option<String>,
    lane: Lane,
    first_piece: PieceIndex,
    start: Bounded<ByteRange, START_RANGES_MAX>,
    duration_us: Option<u64>,
    blake3: Option<[u8; 32]>,
}

impl EntryRecord {
    fn write(entry: &Entry) -> Vec<u8> {
        let Entry {
            path,
            size,
            mime,
            lane,
            first_piece,
            start,
            duration_us,
            blake3,
        } = entry.clone();
        let record = EntryRecord {
            path,
            size,
            mime,
            lane,
            first_piece,
            start: Bounded(start),
            duration_us,
            blake3,
        };
        postcard::to_allocvec(&record).expect("writing to memory does not fail")
    }

    fn read(entry: usize, bytes: &[u8]) -> Result<Entry, ManifestError> {
        let malformed = |_| ManifestError::Entry {
            entry,
            fault: EntryFault::Malformed,
        };
        let EntryRecord {
            path,
            size,
            mime,
            lane,
            first_piece,
            start,
            duration_us,
            blake3,
        } = postcard::from_bytes(bytes).map_err(malformed)?;
        Ok(Entry {
            path,
            size,
            mime,
            lane,
            first_piece,
            start: start.0,
            duration_us,
            blake3,
        })
    }
}

/// A list that stops being read at its `MAX`th element: eight megabytes of empty entries would be 200 in memory.
struct Bounded<T, const MAX: usize>(Vec<T>);

impl<T: Serialize, const MAX: usize> Serialize for Bounded<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_seq(BoundedVisitor::<T, MAX>(PhantomData))
            .map(Bounded)
    }
}

struct BoundedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BoundedVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == MAX {
                return Err(serde::de::Error::custom("too many elements"));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// Why a manifest cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    #[error("the manifest cannot be read")]
    Malformed,
    #[error("the manifest is longer than {MANIFEST_LEN_MAX} bytes")]
    TooLong,
    #[error("the manifest has more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    #[error("the title is too long or has control characters")]
    Title,
    #[error("the poster is too big or of no kind")]
    Poster,
    #[error("entry {entry} of the manifest: {fault}")]
    Entry { entry: usize, fault: EntryFault },
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryFault {
    #[error("it cannot be read")]
    Malformed,
    #[error("its path is not a plain relative one that every system takes")]
    Path,
    #[error("another entry has the same path, or is a folder of it")]
    SamePath,
    #[error("it does not fit into its lane")]
    Size,
    #[error("its MIME type is none")]
    Mime,
    #[error("its start ranges are too many or outside of it")]
    Start,
}

const PART_FORMAT: [u8; 8] = *b"btnmani1";
const PART_HEADER_LEN: usize = 20;
/// Bytes of the record in one piece.
const PART_LEN_MAX: usize = PIECE_LEN - PART_HEADER_LEN;
/// Bytes of one record: a hundred thousand entries of 80 bytes; a viewer holds it in memory.
pub const MANIFEST_LEN_MAX: usize = 8 << 20;
/// Bytes of all pieces of lane 0: four of the longest versions, of which publishers write two. Whoever takes part keeps the whole lane.
pub const MANIFEST_LANE_LEN_MAX: usize = 4 * MANIFEST_LEN_MAX;
/// Files of one collection.
pub const ENTRIES_MAX: usize = 65_536;
/// Bytes of a path or title: four times what file systems allow for one name.
pub const PATH_LEN_MAX: usize = 1024;
/// Bytes of a MIME type with its codecs.
pub const MIME_LEN_MAX: usize = 255;
/// Ranges to fetch first: index, head and tail of it, and the first key frame of each track.
pub const START_RANGES_MAX: usize = 64;
/// Bytes of the poster: a quarter of the start set, which it travels in.
pub const POSTER_LEN_MAX: usize = 64 * 1024;
