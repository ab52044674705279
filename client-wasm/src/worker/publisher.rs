//! The publisher's side: reads the files, seals what is asked for, hashes the rest in the background.
//!
//! Nothing is hashed or copied before the link is ready. Sealed bytes are not kept, but for the last few pieces:
//! what is asked for later is read and sealed again, and checked against its signed header before it leaves.

use super::disk::Disk;
use super::opfs::{self, Folder, Lock};
use super::signed::{HEADERS_MAX, Signed};
use super::viewer::{first_playable, is_playable};
use super::{Door, WorkerEvent};
use crate::bridge::{Problem, ProblemCode, ShareSpec, Stats, StreamNumber, ToPage};
use crate::door;
use baton_content::{
    BLOCK_LEN, BlockIndex, ByteRange, ContentKey, DATA_LANE, Entry, Head, Header, Kind, Lane,
    LaneKey, LaneState, MANIFEST_LANE, Manifest, ManifestError, Mask, PIECE_LEN, PieceFlags,
    PieceId, PieceIndex, PieceMeta, PublisherId, PublisherKey, Sealed, Secret, SignedCore,
    SignedHead, StreamKeys, SwarmId, seal_blocks,
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
    /// What a player should fetch first of this file.
    Probed(usize, Probe),
    /// The background hash has read this piece.
    Hashing(PieceId, Fingerprint, Vec<u8>),
    /// The plain hashes of all files.
    Hashed(Result<Vec<[u8; 32]>, ReadFault>),
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

/// Files and their keys.
pub struct Publisher {
    number: StreamNumber,
    door: Door,
    /// As the manifest has them.
    files: Vec<File>,
    key: PublisherKey,
    head: SignedHead,
    manifest: Manifest,
    /// Manifest versions as pieces of lane 0; empty until the first film was looked into.
    versions: Vec<Vec<u8>>,
    signed: Signed,
    /// Sealed a moment ago, oldest first.
    recent: VecDeque<Sealed>,
    /// Read in part a moment ago, oldest first: whoever asks for more of one will want the rest too.
    begun: VecDeque<PieceId>,
    /// What waits for a whole piece that is being read.
    reading: SortedMap<PieceId, Mask>,
    /// Those of them whose header is waited for: the engine asks for few at a time.
    headers_due: Vec<PieceId>,
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
    /// What was signed, kept for a later page.
    disk: Option<Disk<opfs::File>>,
    /// The right to it; dropped after its files.
    lock: Option<Lock>,
    /// An earlier page began this share: nothing is signed until it is known what that one signed.
    waits: bool,
}

impl Publisher {
    /// Signs the first head; begins to look into the file and to hash it. Of a share that is resumed, all that comes with its folder.
    pub fn new(number: StreamNumber, door: Door, spec: ShareSpec, files: Vec<File>) -> Publisher {
        let key = PublisherKey::from_seed(spec.publisher_seed);
        let keys = StreamKeys::derive(&key.id(), &Secret(spec.secret));
        let content_key = ContentKey::from_random(spec.content_key);
        let (resumed, slot_nonce) = (spec.resumed, spec.slot_nonce);
        let (manifest, pieces) = manifest(spec);
        let mut head = Head::new(keys.swarm.id());
        head.lanes = vec![
            LaneState {
                lane: MANIFEST_LANE,
                pieces: 1,
                open: true,
            },
            LaneState {
                lane: DATA_LANE,
                pieces,
                open: false,
            },
        ];
        head.clock_unix_ms = door::unix_s() * 1000;
        head.slots = vec![content_key.wrap(&keys.link_slot, head.epoch, slot_nonce)];
        let publisher = Publisher {
            number,
            head: SignedHead::sign(head, &key),
            lane_key: content_key.lane_key(DATA_LANE),
            manifest_key: content_key.lane_key(MANIFEST_LANE),
            door,
            files,
            key,
            manifest,
            versions: Vec::new(),
            signed: Signed::default(),
            recent: VecDeque::new(),
            begun: VecDeque::new(),
            reading: SortedMap::new(),
            headers_due: Vec::new(),
            early: Vec::new(),
            fingerprints: SortedMap::new(),
            hashed_bytes: 0,
            busy_until_ms: Rc::default(),
            failed: false,
            over: Rc::default(),
            disk: None,
            lock: None,
            waits: resumed,
        };
        if !publisher.waits {
            publisher.begin();
        }
        publisher
    }

    /// Whether what an earlier page signed must be known first.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// The share's folder is open, or there is none.
    pub fn opened(&mut self, folder: Option<Folder>) -> Vec<Input> {
        let (id, swarm) = (self.id(), self.swarm_id());
        let disk = folder.and_then(|folder| {
            self.lock = Some(folder.lock);
            Disk::open(folder.log, folder.blocks, id, swarm).ok()
        });
        match disk {
            Some(disk) if !self.waits => {
                self.note_all(disk);
                Vec::new()
            }
            Some(disk) if disk.head().is_some() => {
                self.waits = false;
                self.remember(disk);
                vec![Input::Head(self.head.clone()), self.start_set()]
            }
            // Who does not know what it signed must not sign.
            _ if self.waits => {
                self.fail(ProblemCode::FileUnreadable);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Keeps what was signed while the folder was being opened.
    fn note_all(&mut self, mut disk: Disk<opfs::File>) {
        disk.set_head(&self.head);
        // One that cannot be written to keeps nothing, and says so by `bytes_stored`.
        if disk.commit().is_err() {
            return;
        }
        self.disk = Some(disk);
        for header in self.signed.headers() {
            let piece = header.id();
            match self.versions.get(piece.index.0 as usize) {
                Some(bytes) if piece.lane == MANIFEST_LANE => {
                    let sealed = self.seal_piece(piece, bytes.clone());
                    self.is_only_truth(&sealed);
                }
                _ => self.note_header(&header),
            }
        }
    }

    /// What an earlier page signed holds: its head, its manifest, and every header, which is looked up when the piece is sealed again.
    fn remember(&mut self, mut disk: Disk<opfs::File>) {
        if let Some(head) = disk.head() {
            self.head = head.clone();
        }
        while let Some(plain) = self.kept_manifest(&mut disk) {
            self.versions.push(plain);
        }
        let pieces = self.versions.iter().zip(0..);
        let pieces = pieces.map(|(bytes, index)| (PieceIndex(index), bytes.as_slice()));
        if let Ok(Some(manifest)) = Manifest::from_lane(pieces) {
            self.manifest = manifest;
        }
        self.disk = Some(disk);
        // What is whole is not read once more: each piece is checked when somebody asks for it.
        if !self.head.head().ended {
            self.begin();
        }
    }

    /// The next piece of lane 0, as the disk has it.
    fn kept_manifest(&self, disk: &mut Disk<opfs::File>) -> Option<Vec<u8>> {
        let piece = PieceId::new(MANIFEST_LANE, self.versions.len() as u32);
        let (header, mask) = disk.claim(piece)?;
        let mut plain = Vec::new();
        for block in disk.read(piece, mask).0 {
            let at = plain.len();
            plain.extend_from_slice(block.bytes());
            self.manifest_key
                .apply(header.core(), block.block(), &mut plain[at..]);
        }
        (plain.len() == header.len()).then_some(plain)
    }

    /// Whether nothing else was ever signed for this piece, by this page or one before. It is kept before anybody sees it.
    fn is_only_truth(&mut self, sealed: &Sealed) -> bool {
        let header = sealed.header();
        let piece = header.id();
        let mut known = self.signed.core(piece);
        if known.is_none() {
            let kept = self.disk.as_mut().and_then(|disk| disk.claim(piece));
            known = kept.map(|(header, _)| header.signed_core());
        }
        if let Some(known) = known
            && known.core() != header.core()
        {
            // Other bytes than those that were signed: saying so beats signing two truths.
            self.fail(ProblemCode::FileChanged);
            return false;
        }
        if let Some(disk) = &mut self.disk
            && piece.lane == MANIFEST_LANE
        {
            let blocks: Vec<_> = sealed.blocks().collect();
            let _ = disk.put(header, &blocks.iter().collect::<Vec<_>>());
        }
        self.note_header(header);
        self.signed.insert(header);
        true
    }

    /// A disk that is full keeps the note until there is room: the file is checked by its hash as well.
    fn note_header(&mut self, header: &Header) {
        if let Some(disk) = &mut self.disk {
            let _ = disk.put_header(header);
            // Which of them memory can do without is decided by `signed`.
            disk.take_kept();
        }
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
            Output::LoadHeader { piece } => self.load_header(piece),
            _ => Vec::new(),
        }
    }

    /// Takes in what came back from the disk.
    pub fn handle(&mut self, event: PublisherEvent) -> Vec<Input> {
        let mut inputs = self.handle_event(event);
        let slimmed = self.signed.take_slimmed();
        inputs.extend(slimmed.into_iter().map(|piece| Input::HeaderKept { piece }));
        inputs
    }

    fn handle_event(&mut self, event: PublisherEvent) -> Vec<Input> {
        match event {
            PublisherEvent::ToSeal(piece, Ok(bytes)) => {
                let now = fingerprint(self.place_in_file(piece), &bytes);
                match self.is_as_before(piece.index, now) {
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
            PublisherEvent::Probed(file, probe) => self.probed(file, probe),
            PublisherEvent::Hashing(piece, fingerprint, bytes) => {
                self.hashed_bytes += bytes.len() as u64;
                match self.is_as_before(piece.index, fingerprint) {
                    true => self.seal_ahead(piece, bytes).into_iter().collect(),
                    false => Vec::new(),
                }
            }
            PublisherEvent::Hashed(Ok(hashes)) if !self.failed => self.hashed(hashes),
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
        if let [entry] = self.manifest.entries.as_slice() {
            stats.blake3 = entry.blake3;
        }
        stats.bytes_stored = self.disk.as_ref().map_or(0, Disk::used);
        let hashing = !self.head.head().ended && !self.failed && self.hashed_bytes > 0;
        let size: u64 = self.manifest.entries.iter().map(|entry| entry.size).sum();
        stats.hash_permille =
            hashing.then(|| (self.hashed_bytes.saturating_mul(1000) / size.max(1)).min(999) as u16);
    }

    /// Whether the file is not any more what was shared: then nobody can be served.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// The film that viewers see first is looked into at once, the others when they are hashed.
    fn begin(&self) {
        let (number, door, files) = (self.number, self.door.clone(), self.files.clone());
        let entries = self.manifest.entries.clone();
        let (busy, over) = (self.busy_until_ms.clone(), self.over.clone());
        spawn_local(async move {
            let emit = |event| door.emit(WorkerEvent::Publisher(number, event));
            let first = first_playable(&entries);
            let others = (0..files.len()).filter(|place| *place != first);
            let mut hashes = vec![[0; 32]; files.len()];
            for place in std::iter::once(first).chain(others) {
                let (file, entry) = (&files[place], &entries[place]);
                if place == first || (place < PROBED_MAX && is_playable(entry)) {
                    let probe = probe(file, &entry.path, entry.size).await;
                    emit(PublisherEvent::Probed(place, probe));
                }
                let seen = |index: PieceIndex, fingerprint, bytes| {
                    let piece = PieceId::new(DATA_LANE, entry.first_piece.0 + index.0);
                    emit(PublisherEvent::Hashing(piece, fingerprint, bytes));
                };
                match hash(file, entry.size, &busy, &over, seen).await {
                    Ok(hash) => hashes[place] = hash,
                    Err(_) if over.get() => return,
                    Err(fault) => return emit(PublisherEvent::Hashed(Err(fault))),
                }
            }
            if !over.get() {
                emit(PublisherEvent::Hashed(Ok(hashes)));
            }
        });
    }

    fn start_set(&self) -> Input {
        let first = &self.manifest.entries[first_playable(&self.manifest.entries)];
        Input::StartSet(first.start_blocks().collect())
    }

    fn probed(&mut self, file: usize, probe: Probe) -> Vec<Input> {
        let range = |r: &Range<u64>| ByteRange {
            offset: r.start,
            len: u32::try_from(r.end - r.start).unwrap_or(u32::MAX),
        };
        let entry = &mut self.manifest.entries[file];
        let start = probe.start.iter().take(START_RANGES_MAX);
        entry.start = start.map(range).collect();
        entry.duration_us = probe.duration_us;
        // The others' come with the hashes; a share that goes on has its manifest.
        if !self.versions.is_empty() {
            return Vec::new();
        }
        self.add_manifest();
        let early = std::mem::take(&mut self.early);
        let mut inputs = self.grown(false);
        inputs.push(self.start_set());
        inputs.extend(early.into_iter().flat_map(|piece| self.seal(piece)));
        inputs
    }

    /// The hashes are in: a second manifest and the head that ends the stream.
    fn hashed(&mut self, hashes: Vec<[u8; 32]>) -> Vec<Input> {
        for (entry, hash) in self.manifest.entries.iter_mut().zip(hashes) {
            entry.blake3 = Some(hash);
        }
        self.manifest.revision += 1;
        self.add_manifest();
        self.grown(true)
    }

    /// Signs a head that names the manifest's pieces. It is kept before anybody sees it.
    fn grown(&mut self, ended: bool) -> Vec<Input> {
        let pieces = self.versions.len() as u32;
        if !ended && self.head.head().pieces(MANIFEST_LANE) == pieces {
            return Vec::new();
        }
        let mut head = self.head.next();
        for lane in &mut head.lanes {
            if lane.lane == MANIFEST_LANE {
                *lane = LaneState {
                    lane: MANIFEST_LANE,
                    pieces,
                    open: !ended,
                };
            }
        }
        head.ended = ended;
        head.clock_unix_ms = door::unix_s() * 1000;
        self.head = SignedHead::sign(head, &self.key);
        if let Some(disk) = &mut self.disk {
            disk.set_head(&self.head);
            let _ = disk.commit();
        }
        vec![Input::Head(self.head.clone())]
    }

    fn add_manifest(&mut self) {
        // A name, title or type that no manifest takes must not keep files from being shared: those, and only those, get plain ones.
        for _ in 0..=self.manifest.entries.len() {
            match self.manifest.to_pieces() {
                Ok(pieces) => return self.versions.extend(pieces),
                Err(ManifestError::Entry { entry, .. }) => {
                    let fault = &mut self.manifest.entries[entry];
                    (fault.path, fault.mime) = (format!("file-{entry}"), None);
                    fault.start.clear();
                }
                Err(_) => self.manifest.title = "files".into(),
            }
        }
        // More names than a manifest has room for.
        self.fail(ProblemCode::FileUnreadable);
    }

    /// Which file a piece is of, and what of it.
    fn locate(&self, piece: PieceId) -> Option<(usize, Range<u64>)> {
        let entries = &self.manifest.entries;
        let place = entries
            .partition_point(|entry| entry.first_piece.0 + entry.piece_count() <= piece.index.0);
        let range = entries.get(place)?.piece_range(piece)?;
        Some((place, range))
    }

    /// The how-manieth of its file a piece is.
    fn place_in_file(&self, piece: PieceId) -> PieceIndex {
        let start = self.locate(piece).map_or(0, |(_, range)| range.start);
        PieceIndex((start / PIECE_LEN as u64) as u32)
    }

    fn seal(&mut self, piece: PieceId) -> Vec<Input> {
        if piece.lane == MANIFEST_LANE {
            return match self.versions.get(piece.index.0 as usize).cloned() {
                Some(bytes) => vec![self.sealed(piece, bytes)],
                None if self.versions.is_empty() => {
                    self.early.push(piece);
                    Vec::new()
                }
                None => vec![Input::SealFailed { piece }],
            };
        }
        let Some(place) = self.locate(piece).filter(|_| !self.failed) else {
            return vec![Input::SealFailed { piece }];
        };
        self.read(place, move |read| PublisherEvent::ToSeal(piece, read));
        Vec::new()
    }

    /// Signs a piece that nobody has asked for yet, because its bytes are in memory: who asks then waits for one small read instead of
    /// a whole piece read, sealed, hashed and signed (a seek into cold pieces waited 30 ms for each).
    fn seal_ahead(&mut self, piece: PieceId, plaintext: Vec<u8>) -> Option<Input> {
        let is_wanted = !self.signed.contains(piece) && self.signed.len() < HEADERS_MAX;
        if !is_wanted || self.failed {
            return None;
        }
        let sealed = self.seal_piece(piece, plaintext);
        let header = sealed.header().clone();
        Some(match self.is_only_truth(&sealed) {
            true => Input::Sealed { header },
            false => Input::SealFailed { piece },
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
        if !self.is_only_truth(&sealed) {
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
        if !self.signed.contains(piece) || self.failed {
            return vec![Input::LoadFailed { piece, mask }];
        }
        if piece.lane == MANIFEST_LANE {
            let bytes = self.versions[piece.index.0 as usize].clone();
            return match self.sealed(piece, bytes) {
                Input::Sealed { .. } => self.load(piece, mask),
                _ => vec![Input::LoadFailed { piece, mask }],
            };
        }
        let (Some(first), Some((file, range))) = (mask.first(), self.locate(piece)) else {
            return Vec::new();
        };
        if let Some(waiting) = self.reading.get_mut(&piece) {
            *waiting = waiting.or(mask);
            return Vec::new();
        }
        let is_begun = mask.count() >= WHOLE_BLOCKS_MIN || self.begun.contains(&piece);
        if is_begun || self.header(piece).is_none() {
            self.begun.retain(|begun| *begun != piece);
            self.read_all(piece, mask, (file, range));
            return Vec::new();
        }
        if self.begun.len() == RECENT_PIECES {
            self.begun.pop_front();
        }
        self.begun.push_back(piece);
        let last = mask.iter().last().expect("a mask with a first has a last");
        let start = range.start + u64::from(first.0) * BLOCK_LEN as u64;
        let end = (range.start + (u64::from(last.0) + 1) * BLOCK_LEN as u64).min(range.end);
        self.read((file, start..end), move |read| {
            PublisherEvent::ToLoad(piece, mask, first, read)
        });
        Vec::new()
    }

    fn read_all(&mut self, piece: PieceId, mask: Mask, place: (usize, Range<u64>)) {
        self.reading.insert(piece, mask);
        self.read(place, move |read| PublisherEvent::ToLoadAll(piece, read));
    }

    /// The header of a signed piece, if the hashes of its blocks are at hand.
    fn header(&mut self, piece: PieceId) -> Option<Header> {
        let sealed = self.recent.iter().map(Sealed::header);
        let mut recent = sealed.chain(self.signed.header(piece));
        if let Some(header) = recent.find(|header| header.id() == piece) {
            return Some(header.clone());
        }
        // Nothing that was not signed here is told of, whatever the disk has.
        let core = self.signed.core(piece)?;
        let (header, _) = self.disk.as_mut()?.claim(piece)?;
        (header.core() == core.core()).then_some(header)
    }

    /// The header alone. Where nothing else has its hashes, they are made once more of the piece.
    fn load_header(&mut self, piece: PieceId) -> Vec<Input> {
        if let Some(header) = self.header(piece) {
            return vec![Input::HeaderLoaded { header }];
        }
        if piece.lane == MANIFEST_LANE && self.signed.contains(piece) {
            let bytes = self.versions[piece.index.0 as usize].clone();
            let header = self.seal_piece(piece, bytes).header().clone();
            return vec![Input::HeaderLoaded { header }];
        }
        let known = self.signed.contains(piece) && !self.failed;
        let Some(place) = self.locate(piece).filter(|_| known) else {
            return vec![Input::HeaderFailed { piece }];
        };
        self.headers_due.push(piece);
        if !self.reading.contains_key(&piece) {
            self.read_all(piece, Mask::EMPTY, place);
        }
        Vec::new()
    }

    /// A whole piece, for what waits for it and what will be asked for next.
    fn loaded_all(&mut self, piece: PieceId, read: Result<Vec<u8>, ReadFault>) -> Vec<Input> {
        let Some(mask) = self.reading.remove(&piece) else {
            return Vec::new();
        };
        let is_due = self.headers_due.contains(&piece);
        self.headers_due.retain(|due| *due != piece);
        let code = match (read, self.signed.core(piece)) {
            (Err(ReadFault), _) | (_, None) => ProblemCode::FileUnreadable,
            (Ok(bytes), Some(core)) => match self.seal_again(piece, &core, bytes) {
                Some(sealed) => {
                    let header = sealed.header().clone();
                    self.keep(sealed);
                    let due = is_due.then_some(Input::HeaderLoaded { header });
                    return due.into_iter().chain(self.load(piece, mask)).collect();
                }
                None => ProblemCode::FileChanged,
            },
        };
        self.fail(code);
        let due = is_due.then_some(Input::HeaderFailed { piece });
        let failed = Input::LoadFailed { piece, mask };
        due.into_iter().chain([failed]).collect()
    }

    fn seal_again(&self, piece: PieceId, core: &SignedCore, bytes: Vec<u8>) -> Option<Sealed> {
        let key = self.key_of(piece.lane);
        match self.signed.header(piece) {
            Some(header) => Sealed::again(key, header.clone(), bytes).ok(),
            None => Sealed::again_by_core(key, core, bytes),
        }
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
        let Some(header) = self.header(piece) else {
            // Its hashes went meanwhile: the whole piece is read for them.
            return self.load(piece, mask);
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
        (file, range): (usize, Range<u64>),
        then: impl FnOnce(Result<Vec<u8>, ReadFault>) -> PublisherEvent + 'static,
    ) {
        self.busy_until_ms.set(door::now_ms() + BUSY_MS);
        let (number, door, file) = (self.number, self.door.clone(), self.files[file].clone());
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

/// The manifest of what is to be shared, before anything is known but names, and how many pieces there are.
fn manifest(spec: ShareSpec) -> (Manifest, u32) {
    let mut pieces = 0;
    let mut entries: Vec<Entry> = Vec::with_capacity(spec.files.len());
    for file in spec.files {
        let mut entry = Entry::new(&file.path, file.size);
        entry.mime = Some(file.mime).filter(|mime| !mime.is_empty());
        entry.first_piece = PieceIndex(pieces);
        pieces += entry.piece_count();
        entries.push(entry);
    }
    let manifest = Manifest {
        revision: 1,
        kind: match spec.folder {
            true => Kind::Collection,
            false => Kind::File,
        },
        title: spec.title.unwrap_or_default(),
        entries,
        poster: None,
    };
    (manifest, pieces)
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
        let alone = (size <= PIECE_LEN as u64).then(|| blake3::hash(&bytes));
        progress(PieceIndex(index), found, bytes);
        if let Some(hash) = alone {
            return Ok(*hash.as_bytes());
        }
    }
    if fingerprints.is_empty() {
        return Ok(*blake3::hash(&[]).as_bytes());
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
/// What may be read to find the index. A moov of three hours is 10 MB.
const PROBE_BYTES_MAX: u64 = 64 << 20;
/// What may be read to find the end.
const PROBE_END_BYTES_MAX: u64 = 16 << 20;
/// Files of a folder that are looked into. Of the others a player finds its way by itself, a round trip later.
const PROBED_MAX: usize = 256;
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
