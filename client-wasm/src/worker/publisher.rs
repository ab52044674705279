//! The publisher's side: reads the file, seals what is asked for, hashes the rest in the background.
//!
//! Nothing is hashed or copied before the link is ready. Sealed bytes are not kept, but for the last few pieces:
//! what is asked for later is read and sealed again, and checked against its signed header before it leaves.

use super::{Door, WorkerEvent};
use crate::bridge::{Problem, ProblemCode, ShareSpec, Stats, StreamNumber, ToPage};
use crate::door;
use baton_content::{
    BLOCK_LEN, BlockIndex, ByteRange, ContentKey, Entry, Head, Header, Lane, LaneKey, LaneState,
    MANIFEST_LANE, Manifest, Mask, PIECE_LEN, PieceFlags, PieceId, PieceIndex, PieceMeta,
    PublisherId, PublisherKey, Sealed, Secret, SignedHead, StreamKeys, SwarmId, seal_blocks,
};
use baton_media::{Media, Support};
use baton_sorted::SortedMap;
use baton_swarm::{Input, Output};
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use gloo_timers::future::TimeoutFuture;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::File;

/// What comes back from the disk.
pub enum PublisherEvent {
    /// A whole piece, to be sealed.
    ToSeal(PieceId, Result<Vec<u8>, ReadFault>),
    /// A run of blocks from this one on, to be sealed again.
    ToLoad(PieceId, Mask, BlockIndex, Result<Vec<u8>, ReadFault>),
    /// A whole piece whose header is known, to be sealed again.
    ToLoadAll(PieceId, Result<Vec<u8>, ReadFault>),
    /// What a player should fetch first.
    Probed(Probe),
    /// The background hash has read this piece.
    Hashing(PieceIndex, Fingerprint, Vec<u8>),
    /// The plain hash of the file.
    Hashed(Result<[u8; 32], ReadFault>),
}

/// The file cannot be read any more: it was moved, removed or changed.
pub struct ReadFault;

/// What the plain bytes of a piece were: the chaining value of their subtree in the file's BLAKE3 (of a file of one
/// piece, its hash). Both who seals and who hashes must see the same: Chromium refuses to read a changed file, Firefox
/// reads the new bytes.
pub type Fingerprint = [u8; 32];

/// What looking into the file found.
#[derive(Default)]
pub struct Probe {
    start: Vec<Range<u64>>,
    duration_us: Option<u64>,
}

/// A file and its keys.
pub struct Publisher {
    number: StreamNumber,
    door: Door,
    file: File,
    key: PublisherKey,
    head: SignedHead,
    entry: Entry,
    title: Option<String>,
    /// Manifest versions as pieces of lane 0; empty until the file was looked into.
    manifest: Vec<Vec<u8>>,
    headers: SortedMap<PieceId, Header>,
    /// Sealed a moment ago, oldest first.
    recent: VecDeque<Sealed>,
    /// Read in part a moment ago, oldest first: whoever asks for more of one will want the rest too.
    begun: VecDeque<PieceId>,
    /// What waits for a whole piece that is being read.
    reading: SortedMap<PieceId, Mask>,
    /// Manifest pieces asked for before there was a manifest.
    early: Vec<PieceId>,
    lane_key: LaneKey,
    manifest_key: LaneKey,
    /// Of every piece that was read, by whomever first.
    fingerprints: SortedMap<PieceIndex, Fingerprint>,
    hashed_bytes: u64,
    busy_until_ms: Rc<Cell<f64>>,
    failed: bool,
    /// Nobody is served any more, so nothing more is read.
    over: Rc<Cell<bool>>,
}

impl Publisher {
    /// Signs the first head; begins to look into the file and to hash it.
    pub fn new(number: StreamNumber, door: Door, spec: ShareSpec, file: File) -> Publisher {
        let key = PublisherKey::from_seed(spec.publisher_seed);
        let keys = StreamKeys::derive(&key.id(), &Secret(spec.secret));
        let content_key = ContentKey::from_random(spec.content_key);
        let mut entry = Entry::new(&spec.name, spec.size);
        entry.mime = Some(spec.mime).filter(|mime| !mime.is_empty());
        let mut head = Head::new(keys.swarm.id());
        head.lanes = vec![
            LaneState {
                lane: MANIFEST_LANE,
                pieces: 1,
                open: true,
            },
            LaneState {
                lane: entry.lane,
                pieces: entry.piece_count(),
                open: false,
            },
        ];
        head.clock_unix_ms = door::unix_s() * 1000;
        head.slots = vec![content_key.wrap(&keys.link_slot, head.epoch, spec.slot_nonce)];
        let publisher = Publisher {
            number,
            head: SignedHead::sign(head, &key),
            lane_key: content_key.lane_key(entry.lane),
            manifest_key: content_key.lane_key(MANIFEST_LANE),
            door,
            file,
            key,
            entry,
            title: spec.title,
            manifest: Vec::new(),
            headers: SortedMap::new(),
            recent: VecDeque::new(),
            begun: VecDeque::new(),
            reading: SortedMap::new(),
            early: Vec::new(),
            fingerprints: SortedMap::new(),
            hashed_bytes: 0,
            busy_until_ms: Rc::default(),
            failed: false,
            over: Rc::default(),
        };
        publisher.begin();
        publisher
    }

    pub fn id(&self) -> PublisherId {
        self.key.id()
    }

    pub fn swarm_id(&self) -> SwarmId {
        self.head.head().swarm
    }

    pub fn head(&self) -> &SignedHead {
        &self.head
    }

    /// Somebody came: what they ask for next goes before what nobody has asked for.
    pub fn somebody_came(&self) {
        self.busy_until_ms.set(door::now_ms() + BUSY_MS);
    }

    /// What the engine wants of a publisher.
    pub fn act(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Seal { piece } => self.seal(piece),
            Output::Load { piece, mask } => self.load(piece, mask),
            _ => Vec::new(),
        }
    }

    /// Takes in what came back from the disk.
    pub fn handle(&mut self, event: PublisherEvent) -> Vec<Input> {
        match event {
            PublisherEvent::ToSeal(piece, Ok(bytes)) => {
                match self.is_as_before(piece.index, fingerprint(piece.index, &bytes)) {
                    true => vec![self.sealed(piece, bytes)],
                    false => vec![Input::SealFailed { piece }],
                }
            }
            PublisherEvent::ToSeal(piece, Err(_)) => {
                self.fail(ProblemCode::FileUnreadable);
                vec![Input::SealFailed { piece }]
            }
            PublisherEvent::ToLoad(piece, mask, first, read) => {
                self.loaded(piece, mask, first, read)
            }
            PublisherEvent::ToLoadAll(piece, read) => self.loaded_all(piece, read),
            PublisherEvent::Probed(probe) => self.probed(probe),
            PublisherEvent::Hashing(index, fingerprint, bytes) => {
                self.hashed_bytes = (u64::from(index.0) + 1) * PIECE_LEN as u64;
                match self.is_as_before(index, fingerprint) {
                    true => self.seal_ahead(index, bytes).into_iter().collect(),
                    false => Vec::new(),
                }
            }
            PublisherEvent::Hashed(Ok(hash)) if !self.failed => self.hashed(hash),
            PublisherEvent::Hashed(Ok(_)) => Vec::new(),
            PublisherEvent::Hashed(Err(_)) => {
                self.fail(ProblemCode::FileUnreadable);
                Vec::new()
            }
        }
    }

    pub fn add_stats(&self, stats: &mut Stats) {
        stats.complete = true;
        stats.have_permille = 1000;
        stats.blake3 = self.entry.blake3;
        let hashing = self.entry.blake3.is_none() && !self.failed && self.hashed_bytes > 0;
        stats.hash_permille = hashing.then(|| {
            (self.hashed_bytes.saturating_mul(1000) / self.entry.size.max(1)).min(999) as u16
        });
    }

    /// Whether the file is not any more what was shared: then nobody can be served.
    pub fn failed(&self) -> bool {
        self.failed
    }

    fn begin(&self) {
        let (number, door, file) = (self.number, self.door.clone(), self.file.clone());
        let (name, size) = (self.entry.path.clone(), self.entry.size);
        let (busy, over) = (self.busy_until_ms.clone(), self.over.clone());
        spawn_local(async move {
            let emit = |event| door.emit(WorkerEvent::Publisher(number, event));
            emit(PublisherEvent::Probed(probe(&file, &name, size).await));
            let hash = hash(&file, size, &busy, &over, |index, fingerprint, bytes| {
                emit(PublisherEvent::Hashing(index, fingerprint, bytes))
            })
            .await;
            if !over.get() {
                emit(PublisherEvent::Hashed(hash));
            }
        });
    }

    fn probed(&mut self, probe: Probe) -> Vec<Input> {
        let range = |r: &Range<u64>| ByteRange {
            offset: r.start,
            len: u32::try_from(r.end - r.start).unwrap_or(u32::MAX),
        };
        self.entry.start = probe
            .start
            .iter()
            .take(START_RANGES_MAX)
            .map(range)
            .collect();
        self.entry.duration_us = probe.duration_us;
        self.add_manifest(1);
        let early = std::mem::take(&mut self.early);
        let mut inputs = vec![Input::StartSet(self.entry.start_blocks().collect())];
        inputs.extend(early.into_iter().flat_map(|piece| self.seal(piece)));
        inputs
    }

    /// The hash is in: a second manifest and the head that ends the stream.
    fn hashed(&mut self, hash: [u8; 32]) -> Vec<Input> {
        self.hashed_bytes = self.entry.size;
        self.entry.blake3 = Some(hash);
        self.add_manifest(2);
        let mut head = self.head.next();
        for lane in &mut head.lanes {
            if lane.lane == MANIFEST_LANE {
                *lane = LaneState {
                    lane: MANIFEST_LANE,
                    pieces: self.manifest.len() as u32,
                    open: false,
                };
            }
        }
        head.ended = true;
        head.clock_unix_ms = door::unix_s() * 1000;
        self.head = SignedHead::sign(head, &self.key);
        vec![Input::Head(self.head.clone())]
    }

    fn add_manifest(&mut self, revision: u32) {
        let mut manifest = Manifest {
            revision,
            ..Manifest::file(self.entry.clone())
        };
        if let Some(title) = &self.title {
            manifest.title.clone_from(title);
        }
        let pieces = manifest.to_pieces().or_else(|_| {
            // A name or a title that no manifest takes must not keep the file from being shared.
            let entry = Entry {
                path: "file".into(),
                mime: None,
                start: Vec::new(),
                ..self.entry.clone()
            };
            Manifest {
                revision,
                ..Manifest::file(entry)
            }
            .to_pieces()
        });
        self.manifest
            .extend(pieces.expect("a plain name and no start set fit"));
    }

    fn seal(&mut self, piece: PieceId) -> Vec<Input> {
        if piece.lane == MANIFEST_LANE {
            return match self.manifest.get(piece.index.0 as usize).cloned() {
                Some(bytes) => vec![self.sealed(piece, bytes)],
                None if self.manifest.is_empty() => {
                    self.early.push(piece);
                    Vec::new()
                }
                None => vec![Input::SealFailed { piece }],
            };
        }
        let Some(range) = self.entry.piece_range(piece).filter(|_| !self.failed) else {
            return vec![Input::SealFailed { piece }];
        };
        self.read(range, move |read| PublisherEvent::ToSeal(piece, read));
        Vec::new()
    }

    /// Signs a piece that nobody has asked for yet, because its bytes are in memory: who asks then waits for one small read instead of
    /// a whole piece read, sealed, hashed and signed (a seek into cold pieces waited 30 ms for each).
    fn seal_ahead(&mut self, index: PieceIndex, plaintext: Vec<u8>) -> Option<Input> {
        let piece = PieceId {
            lane: self.entry.lane,
            index: PieceIndex(self.entry.first_piece.0 + index.0),
        };
        let is_wanted = !self.headers.contains_key(&piece) && self.headers.len() < HEADERS_AHEAD;
        (is_wanted && !self.failed).then(|| {
            let sealed = self.seal_piece(piece, plaintext);
            let header = sealed.header().clone();
            self.headers.insert(piece, header.clone());
            Input::Sealed { header }
        })
    }

    fn seal_piece(&self, piece: PieceId, plaintext: Vec<u8>) -> Sealed {
        let meta = PieceMeta {
            swarm: self.swarm_id(),
            epoch: self.head.head().epoch,
            lane: piece.lane,
            index: piece.index,
            flags: if piece.lane == MANIFEST_LANE {
                PieceFlags::FRAGMENT_START
            } else {
                PieceFlags::NONE
            },
            media_time_us: 0,
        };
        seal_blocks(self.key_of(piece.lane), &self.key, meta, plaintext)
    }

    fn sealed(&mut self, piece: PieceId, plaintext: Vec<u8>) -> Input {
        let sealed = self.seal_piece(piece, plaintext);
        let header = sealed.header().clone();
        if let Some(old) = self.headers.insert(piece, header.clone())
            && !old.same_core(&header)
        {
            // Other bytes than those that were signed: saying so beats signing two truths.
            self.headers.insert(piece, old);
            self.fail(ProblemCode::FileChanged);
            return Input::SealFailed { piece };
        }
        self.keep(sealed);
        Input::Sealed { header }
    }

    fn keep(&mut self, sealed: Sealed) {
        if self.recent.len() == RECENT_PIECES {
            self.recent.pop_front();
        }
        self.recent.push_back(sealed);
    }

    /// Whether a piece still has the bytes that were read first; if not, the share ends here.
    fn is_as_before(&mut self, index: PieceIndex, now: Fingerprint) -> bool {
        let same = *self.fingerprints.entry(index).or_insert(now) == now;
        if !same {
            self.fail(ProblemCode::FileChanged);
        }
        same
    }

    fn load(&mut self, piece: PieceId, mask: Mask) -> Vec<Input> {
        if let Some(sealed) = self.recent.iter().find(|s| s.header().id() == piece) {
            return mask
                .iter()
                .filter_map(|b| sealed.block(b))
                .map(|block| Input::Loaded { block })
                .collect();
        }
        if !self.headers.contains_key(&piece) || self.failed {
            return vec![Input::LoadFailed { piece, mask }];
        }
        if piece.lane == MANIFEST_LANE {
            let bytes = self.manifest[piece.index.0 as usize].clone();
            return match self.sealed(piece, bytes) {
                Input::Sealed { .. } => self.load(piece, mask),
                _ => vec![Input::LoadFailed { piece, mask }],
            };
        }
        let (Some(first), Some(range)) = (mask.first(), self.entry.piece_range(piece)) else {
            return Vec::new();
        };
        if let Some(waiting) = self.reading.get_mut(&piece) {
            *waiting = waiting.or(mask);
            return Vec::new();
        }
        if mask.count() >= WHOLE_BLOCKS_MIN || self.begun.contains(&piece) {
            self.begun.retain(|begun| *begun != piece);
            self.reading.insert(piece, mask);
            self.read(range, move |read| PublisherEvent::ToLoadAll(piece, read));
            return Vec::new();
        }
        if self.begun.len() == RECENT_PIECES {
            self.begun.pop_front();
        }
        self.begun.push_back(piece);
        let last = mask.iter().last().expect("a mask with a first has a last");
        let start = range.start + u64::from(first.0) * BLOCK_LEN as u64;
        let end = (range.start + (u64::from(last.0) + 1) * BLOCK_LEN as u64).min(range.end);
        self.read(start..end, move |read| {
            PublisherEvent::ToLoad(piece, mask, first, read)
        });
        Vec::new()
    }

    /// A whole piece, for what waits for it and what will be asked for next.
    fn loaded_all(&mut self, piece: PieceId, read: Result<Vec<u8>, ReadFault>) -> Vec<Input> {
        let Some(mask) = self.reading.remove(&piece) else {
            return Vec::new();
        };
        let header = self.headers.get(&piece).cloned();
        let code = match (read, header) {
            (Err(ReadFault), _) | (_, None) => ProblemCode::FileUnreadable,
            (Ok(bytes), Some(header)) => {
                match Sealed::again(self.key_of(piece.lane), header, bytes) {
                    Ok(sealed) => {
                        self.keep(sealed);
                        return self.load(piece, mask);
                    }
                    Err(_) => ProblemCode::FileChanged,
                }
            }
        };
        self.fail(code);
        vec![Input::LoadFailed { piece, mask }]
    }

    /// Seals again and checks against the signed header: a changed file is noticed here.
    fn loaded(
        &mut self,
        piece: PieceId,
        mask: Mask,
        first: BlockIndex,
        read: Result<Vec<u8>, ReadFault>,
    ) -> Vec<Input> {
        let Ok(bytes) = read else {
            self.fail(ProblemCode::FileUnreadable);
            return vec![Input::LoadFailed { piece, mask }];
        };
        let Some(header) = self.headers.get(&piece).cloned() else {
            return vec![Input::LoadFailed { piece, mask }];
        };
        let bytes = bytes::BytesMut::from(bytes::Bytes::from(bytes));
        let mut inputs = Vec::new();
        for block in mask.iter() {
            let from = usize::from(block.0 - first.0) * BLOCK_LEN;
            let mut sealed = bytes[from..from + header.block_len(block)].to_vec();
            self.key_of(piece.lane)
                .apply(header.core(), block, &mut sealed);
            match header.verify(block, sealed.into()) {
                Ok(block) => inputs.push(Input::Loaded { block }),
                Err(_) => {
                    self.fail(ProblemCode::FileChanged);
                    inputs.push(Input::LoadFailed {
                        piece,
                        mask: Mask::of(block),
                    });
                }
            }
        }
        inputs
    }

    fn read(
        &self,
        range: Range<u64>,
        then: impl FnOnce(Result<Vec<u8>, ReadFault>) -> PublisherEvent + 'static,
    ) {
        self.busy_until_ms.set(door::now_ms() + BUSY_MS);
        let (number, door, file) = (self.number, self.door.clone(), self.file.clone());
        spawn_local(async move {
            let read = slice(&file, range).await;
            door.emit(WorkerEvent::Publisher(number, then(read)));
        });
    }

    fn key_of(&self, lane: Lane) -> &LaneKey {
        if lane == MANIFEST_LANE {
            &self.manifest_key
        } else {
            &self.lane_key
        }
    }

    fn fail(&mut self, code: ProblemCode) {
        if !self.failed {
            self.failed = true;
            self.over.set(true);
            let problem = Some(Problem { code, detail: None });
            self.door.tell(&ToPage::Problem {
                stream: self.number,
                problem,
            });
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.over.set(true);
    }
}

/// Reads a range of a file. A short read is a file that shrank.
async fn slice(file: &File, range: Range<u64>) -> Result<Vec<u8>, ReadFault> {
    let blob = file
        .slice_with_f64_and_f64(range.start as f64, range.end as f64)
        .map_err(|_| ReadFault)?;
    let buffer = JsFuture::from(blob.array_buffer())
        .await
        .map_err(|_| ReadFault)?;
    let bytes = door::bytes(&buffer);
    if bytes.len() as u64 == range.end - range.start {
        Ok(bytes)
    } else {
        Err(ReadFault)
    }
}

/// Lets the media engine look for its index, as a player would; a file that is no film costs one read. A film that does not say how long
/// it is (fragments without an index) is looked at from its end too, so that people can seek in it at once.
async fn probe(file: &File, name: &str, size: u64) -> Probe {
    let mut media = Media::new(size, Some(name), Support::default());
    let known = feed(&mut media, file, PROBE_BYTES_MAX, |media, _| {
        media.start_ranges().is_some()
    })
    .await;
    let start = media.start_ranges().unwrap_or_default();
    let told = media.info().and_then(|info| info.duration_us);
    if told.is_some() || !known {
        return Probe {
            start,
            duration_us: told,
        };
    }
    media.seek(END_US);
    let mut duration_us = None;
    feed(&mut media, file, PROBE_END_BYTES_MAX, |_, output| {
        if let Some(baton_media::Output::Duration(us)) = output {
            duration_us = Some(*us);
        }
        duration_us.is_some()
    })
    .await;
    Probe { start, duration_us }
}

/// Gives the media engine what it asks for until `done` or the budget is spent. Whether it was done.
async fn feed(
    media: &mut Media,
    file: &File,
    budget: u64,
    mut done: impl FnMut(&Media, Option<&baton_media::Output>) -> bool,
) -> bool {
    let mut read = 0;
    loop {
        while let Some(output) = media.poll_output() {
            if matches!(
                output,
                baton_media::Output::Failed(_) | baton_media::Output::Unsupported { .. }
            ) {
                return false;
            }
            if done(media, Some(&output)) {
                return true;
            }
        }
        let demands = media.demands();
        if done(media, None) {
            return true;
        }
        if demands.is_empty() || read >= budget {
            return false;
        }
        for demand in demands.into_iter().take(4) {
            let end = demand.range.end.min(demand.range.start + PROBE_READ_BYTES);
            let Ok(bytes) = slice(file, demand.range.start..end).await else {
                return false;
            };
            read += end - demand.range.start;
            media.handle_bytes(demand.range.start, bytes.into());
        }
    }
}

/// Plain BLAKE3 of the whole file, in the background: while peers are being served it goes at a walk. It ends early once the
/// share is over.
async fn hash(
    file: &File,
    size: u64,
    busy_until_ms: &Cell<f64>,
    over: &Cell<bool>,
    progress: impl Fn(PieceIndex, Fingerprint, Vec<u8>),
) -> Result<[u8; 32], ReadFault> {
    if size <= PIECE_LEN as u64 {
        let bytes = slice(file, 0..size).await?;
        let hash = *blake3::hash(&bytes).as_bytes();
        if size > 0 {
            progress(PieceIndex(0), fingerprint(PieceIndex(0), &bytes), bytes);
        }
        return Ok(hash);
    }
    let mut fingerprints = Vec::new();
    for index in 0..u32::try_from(size.div_ceil(PIECE_LEN as u64)).map_err(|_| ReadFault)? {
        if door::now_ms() < busy_until_ms.get() {
            TimeoutFuture::new(HASH_PAUSE_MS).await;
        }
        if over.get() {
            return Err(ReadFault);
        }
        let at = u64::from(index) * PIECE_LEN as u64;
        let bytes = slice(file, at..size.min(at + PIECE_LEN as u64)).await?;
        let found = fingerprint(PieceIndex(index), &bytes);
        fingerprints.push(found);
        progress(PieceIndex(index), found, bytes);
    }
    let (left, right) = fingerprints.split_at(left_len(fingerprints.len()));
    Ok(*merge_subtrees_root(&merged(left), &merged(right), Mode::Hash).as_bytes())
}

/// See [`Fingerprint`].
fn fingerprint(index: PieceIndex, plain: &[u8]) -> Fingerprint {
    let offset = u64::from(index.0) * PIECE_LEN as u64;
    blake3::Hasher::new()
        .set_input_offset(offset)
        .update(plain)
        .finalize_non_root()
}

/// The chaining value over several pieces, by the tree of BLAKE3 (its specification, section 2.1).
fn merged(pieces: &[Fingerprint]) -> Fingerprint {
    match pieces {
        [one] => *one,
        _ => {
            let (left, right) = pieces.split_at(left_len(pieces.len()));
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// The left subtree takes the largest power of two that leaves something for the right one. `pieces` is at least two.
fn left_len(pieces: usize) -> usize {
    pieces.div_ceil(2).next_power_of_two()
}

/// Sealed pieces kept: what two cold seals for each of eight peers make, and are asked for right after.
const RECENT_PIECES: usize = 24;
/// From so many blocks on, a piece is read as a whole: one read of 1 MiB costs little more than one of half of it.
const WHOLE_BLOCKS_MIN: usize = 24;
/// Headers made before anybody asks: the first 4 GB of a file, 9 MB of memory.
const HEADERS_AHEAD: usize = 4096;
/// What may be read to find the index. A moov of three hours is 10 MB.
const PROBE_BYTES_MAX: u64 = 64 << 20;
/// What may be read to find the end.
const PROBE_END_BYTES_MAX: u64 = 16 << 20;
/// Past the end of every film, microseconds.
const END_US: u64 = u64::MAX >> 2;
/// One read while probing.
const PROBE_READ_BYTES: u64 = 4 << 20;
/// A file that was read for a peer within this time is being served, milliseconds.
const BUSY_MS: f64 = 1000.0;
/// The pause between two background reads while peers are served, milliseconds: 4 MB/s at most.
const HASH_PAUSE_MS: u32 = 250;
/// As many as a manifest takes (docs/protocol.md section 6).
const START_RANGES_MAX: usize = 64;
