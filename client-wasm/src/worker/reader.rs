//! A file back, piece by piece: for whoever saves it, wherever that goes.
//!
//! A piece is given out once all of it is here and verified. Who reads all pieces in order is told their plain BLAKE3 in the end, which
//! is what the publisher's `b3sum` says if the file is the publisher's.

use super::viewer::{Keys, ViewerStore};
use baton_content::{BLOCK_LEN, DATA_LANE, Entry, Mask, PIECE_LEN, PieceId};
use baton_sorted::SortedMap;

/// What somebody waits for.
pub struct Read {
    /// Of the answer.
    pub request: u32,
    /// Who reads: one file, once; or [`PLACES`], or [`PLAYER`].
    pub reader: u32,
    pub file: usize,
    /// Within the file.
    pub piece: u32,
}

impl Read {
    /// Which piece of the stream it is about.
    pub fn place(&self, entries: &[Entry]) -> Option<PieceId> {
        let entry = entries.get(self.file)?;
        (self.piece < entry.piece_count())
            .then(|| PieceId::new(DATA_LANE, entry.first_piece.0 + self.piece))
    }
}

/// Those who read a file from its beginning.
#[derive(Default)]
pub struct Readers(SortedMap<u32, Reader>);

/// How far one is.
struct Reader {
    next: u32,
    hasher: blake3::Hasher,
}

impl Readers {
    /// The bytes, or the hash in the end; `None` while they are not here.
    pub fn answer(
        &mut self,
        read: &Read,
        entries: &[Entry],
        store: &mut ViewerStore,
        keys: &mut Keys,
    ) -> Option<Result<Vec<u8>, &'static str>> {
        let Some(entry) = entries.get(read.file) else {
            return (!entries.is_empty()).then_some(Err("there is no such file"));
        };
        let Some(piece) = read.place(entries) else {
            return self.end(read, entry.piece_count());
        };
        if read.piece == 0 && !matches!(read.reader, PLACES | PLAYER) {
            self.begin(read.reader);
        }
        let reader = self.0.get_mut(&read.reader);
        if reader
            .as_ref()
            .is_some_and(|reader| reader.next < read.piece)
        {
            return None;
        }
        let range = entry.piece_range(piece)?;
        let blocks = ((range.end - range.start) as usize).div_ceil(BLOCK_LEN);
        if store.have(piece) != Mask::first_n(blocks) {
            return None;
        }
        let mut plain = Vec::with_capacity(PIECE_LEN);
        for block in store.whole(piece)? {
            match keys.open(&block) {
                Some(bytes) => plain.extend_from_slice(&bytes),
                None => return Some(Err("the key is missing")),
            }
        }
        if let Some(reader) = reader.filter(|reader| reader.next == read.piece) {
            reader.hasher.update(&plain);
            reader.next += 1;
        }
        Some(Ok(plain))
    }

    fn begin(&mut self, reader: u32) {
        self.0.entry(reader).or_insert_with(|| Reader {
            next: 0,
            hasher: blake3::Hasher::new(),
        });
        // Whoever began first and never came to an end is forgotten.
        let first = self.0.keys().next().copied();
        if self.0.len() > READERS_MAX
            && let Some(first) = first
        {
            self.0.remove(&first);
        }
    }

    /// All pieces were asked for before this: what is not hashed is still waited for.
    fn end(&mut self, read: &Read, count: u32) -> Option<Result<Vec<u8>, &'static str>> {
        if count == 0 {
            self.begin(read.reader);
        }
        let Some(reader) = self.0.get(&read.reader) else {
            return Some(Err("it was not read from its beginning"));
        };
        if reader.next < count {
            return None;
        }
        let hash = reader.hasher.finalize();
        self.0.remove(&read.reader);
        Some(Ok(hash.as_bytes().to_vec()))
    }
}

/// Who looks at single places, in any order: nothing of it is hashed, and it never comes to an end.
const PLACES: u32 = u32::MAX;

/// Who plays a file without our media engine: the same, but somebody waits for it.
pub const PLAYER: u32 = u32::MAX - 1;

/// Files that are read at one time; each costs 2 KB.
const READERS_MAX: usize = 64;
