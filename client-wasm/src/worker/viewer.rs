//! The viewer's side: keeps blocks, reads the manifest, feeds the film, gives the file back.

use super::Door;
use super::disk::Disk;
use super::film::Film;
use super::opfs::{File, Folder, Lock};
use super::ranges;
use super::reader::{PLAYER, Read, Readers};
use super::store::{Limits, Store};
use crate::bridge::{
    FileMeta, HOT_READ, HOT_STILL, Meta, Problem, ProblemCode, Stats, StreamNumber, ToPage,
    ToWorker,
};
use crate::door;
use baton_content::path::clean_path;
use baton_content::{
    ContentKey, Entry, Kind, Lane, LaneKey, MANIFEST_LANE, Manifest, Mask, PIECE_LEN, PieceId,
    PublisherId, SignedHead, SlotKey, SwarmId, VerifiedBlock,
};
use baton_sorted::SortedMap;
use baton_swarm::{Demand, Input, Instant, Output};
use js_sys::Array;
use wasm_bindgen::JsValue;

/// What a viewer keeps, in a browser.
pub type ViewerStore = Store<File>;

/// What a viewer has and is doing with it.
pub struct Viewer {
    number: StreamNumber,
    door: Door,
    ids: (PublisherId, SwarmId),
    slot_key: SlotKey,
    keys: Keys,
    store: ViewerStore,
    limits: Limits,
    /// The right to the store's folder; dropped after its files.
    lock: Option<Lock>,
    /// Whether the engine was told that nothing but what is needed has room here.
    full_told: bool,
    /// Opened pieces of lane 0.
    manifest_pieces: SortedMap<PieceId, Vec<u8>>,
    revision: u32,
    /// Of the newest manifest; empty until there is one.
    entries: Vec<Entry>,
    /// Which of them is played.
    file: usize,
    /// Whether the browser takes MP3 in MP4, and AC-3.
    attached: Option<(bool, bool)>,
    /// Which one the page wants to be played.
    chosen: Option<usize>,
    film: Option<Film>,
    /// The page plays the file by itself.
    released: bool,
    complete: bool,
    /// What is waited for by whoever saves a file.
    reads: Vec<Read>,
    readers: Readers,
    /// What the player waits for, as it was told last.
    demanded: Vec<Demand>,
    /// When what is wanted of a file is to be looked at again.
    demanded_at: Instant,
    inputs: Vec<Input>,
    meta: Meta,
}

/// The lane keys in use, by epoch.
pub struct Keys {
    head: Option<SignedHead>,
    content: SortedMap<u32, ContentKey>,
    lanes: SortedMap<(u32, Lane), LaneKey>,
}

impl Keys {
    /// The plain bytes of a block; `None` while the key is unknown.
    pub fn open(&mut self, block: &VerifiedBlock) -> Option<Vec<u8>> {
        let core = block.header().core();
        let id = (core.epoch, core.lane);
        if !self.lanes.contains_key(&id) {
            let key = self.content.get(&core.epoch)?.lane_key(core.lane);
            self.lanes.insert(id, key);
        }
        let key = self.lanes.get(&id)?;
        let mut bytes = block.bytes().to_vec();
        key.apply(core, block.block(), &mut bytes);
        Some(bytes)
    }

    fn learn(&mut self, head: SignedHead, slot_key: &SlotKey) -> bool {
        let known = match head.head().content_key(slot_key) {
            Ok(key) => {
                self.content.insert(head.head().epoch, key);
                true
            }
            Err(_) => false,
        };
        self.head = Some(head);
        known
    }
}

impl Viewer {
    /// Nothing here yet.
    pub fn new(
        number: StreamNumber,
        door: Door,
        ids: (PublisherId, SwarmId),
        slot_key: SlotKey,
        limits: Limits,
    ) -> Viewer {
        Viewer {
            number,
            door,
            ids,
            slot_key,
            keys: Keys {
                head: None,
                content: SortedMap::new(),
                lanes: SortedMap::new(),
            },
            store: Store::new(limits),
            limits,
            lock: None,
            full_told: false,
            manifest_pieces: SortedMap::new(),
            revision: 0,
            entries: Vec::new(),
            file: 0,
            attached: None,
            chosen: None,
            film: None,
            released: false,
            complete: false,
            reads: Vec::new(),
            readers: Readers::default(),
            demanded: Vec::new(),
            demanded_at: Instant(0),
            inputs: Vec::new(),
            meta: Meta::default(),
        }
    }

    /// A higher head: it may bring the content key.
    pub fn head(&mut self, head: SignedHead) {
        self.store.set_head(&head);
        if !self.keys.learn(head, &self.slot_key) {
            // The publisher signed a head whose link slot this link does not open.
            self.tell_problem(ProblemCode::Ended);
        }
    }

    /// Everything is here.
    pub fn complete(&mut self) {
        self.complete = true;
        self.give();
    }

    /// What the engine wants of a viewer.
    pub fn act(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Store { block } => {
                let (piece, mask) = (block.piece(), Mask::of(block.block()));
                self.store.put(block);
                vec![Input::Stored { piece, mask }]
            }
            Output::Load { piece, mask } => {
                let blocks = self.store.read(piece, mask);
                let here = |missing: Mask, b: &VerifiedBlock| missing.without(Mask::of(b.block()));
                let mask = blocks.iter().fold(mask, here);
                let mut inputs: Vec<Input> = blocks
                    .into_iter()
                    .map(|block| Input::Loaded { block })
                    .collect();
                if !mask.is_empty() {
                    inputs.push(Input::LoadFailed { piece, mask });
                }
                inputs
            }
            Output::LoadHeader { piece } => vec![match self.store.header(piece) {
                Some(header) => Input::HeaderLoaded { header },
                None => Input::HeaderFailed { piece },
            }],
            Output::Deliver(block) => {
                self.delivered(&block);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Feeds the film with what is here, and asks the swarm for what is not.
    pub fn pump(&mut self, now: Instant) -> Vec<Input> {
        let mut inputs = std::mem::take(&mut self.inputs);
        if let (Some(film), Some(entry)) = (&mut self.film, self.entries.get(self.file)) {
            inputs.extend(film.pump(now, entry, &mut self.store, &mut self.keys));
        }
        let kept = self.store.take_kept().into_iter();
        inputs.extend(kept.map(|piece| Input::HeaderKept { piece }));
        let gone = self.store.take_gone();
        // What is lost is fetched again, and the engine says so when all is here once more.
        self.complete &= gone.is_empty();
        if let (false, Some(film)) = (gone.is_empty(), &mut self.film) {
            film.lost();
        }
        inputs.extend(gone);
        if !self.reads.is_empty() {
            self.give();
        }
        self.demand_reads(now, &mut inputs);
        self.only_what_is_needed(&mut inputs);
        inputs
    }

    /// Where there is no room for more, nothing is fetched that would push out what is here.
    fn only_what_is_needed(&mut self, inputs: &mut Vec<Input>) {
        if !self.store.is_full() {
            return;
        }
        if !self.full_told {
            self.full_told = true;
            inputs.push(Input::Focus { until: FOR_GOOD });
        }
        for input in inputs {
            if let Input::Focus { until } = input {
                *until = FOR_GOOD;
            }
        }
    }

    /// Another tab keeps it, or has the file itself: without a disk of our own there is no use in a second copy of it all.
    pub fn be_lean(&mut self) {
        self.store.be_lean();
    }

    /// The stream's folder is open: what was kept there is claimed, head first; what came meanwhile goes there.
    pub fn opened(&mut self, folder: Folder) -> Vec<Input> {
        let (publisher, swarm) = self.ids;
        let Ok(mut disk) = Disk::open(folder.log, folder.blocks, publisher, swarm) else {
            return Vec::new();
        };
        disk.set_capacity(disk.used() + folder.room.saturating_sub(SPARE_BYTES));
        let kept = disk.head().cloned();
        self.store.set_disk(disk);
        self.lock = Some(folder.lock);
        if std::mem::take(&mut self.full_told) {
            self.inputs.push(Input::Focus { until: Instant(0) });
        }
        match (kept, &self.keys.head) {
            (Some(kept), known) if known.as_ref().is_none_or(|k| kept.supersedes(k)) => {
                self.head(kept.clone());
                vec![Input::Head(kept)]
            }
            (_, Some(known)) => {
                let known = known.clone();
                self.store.set_head(&known);
                Vec::new()
            }
            (_, None) => Vec::new(),
        }
    }

    /// Some of what the folder holds; empty once all was told.
    pub fn find(&mut self) -> Vec<Input> {
        let found = self.store.find(FIND_PIECES);
        for (header, _) in &found {
            if header.id().lane == MANIFEST_LANE {
                self.manifest_block(header.id());
            }
        }
        let claim = |(header, mask)| Input::Found { header, mask };
        found.into_iter().map(claim).collect()
    }

    /// The stream ends here: what waits is written, and whoever opens it next may have the folder at once.
    pub fn close(&mut self) {
        self.store.write_out();
        self.store = Store::new(self.limits);
        self.lock = None;
    }

    /// A cold message from the page.
    pub fn handle_page(&mut self, news: ToWorker) {
        match news {
            ToWorker::Attach {
                file,
                mp3_in_mp4,
                ac3,
                ..
            } => {
                let stream = self.number;
                self.door.tell(&ToPage::Attached { stream });
                self.attached = Some((mp3_in_mp4, ac3));
                self.chosen = file.map(|file| file as usize);
                // Another element begins at the beginning: it has heard nothing of what the last one was told.
                self.film = None;
                self.released = false;
                self.choose();
                self.start_film();
            }
            ToWorker::Release { .. } => {
                (self.film, self.attached, self.released) = (None, None, true);
                self.inputs.push(Input::Demanded(Vec::new()));
            }
            ToWorker::Seek {
                to_s, generation, ..
            } => {
                self.with_film(|film| film.seek(to_s, generation));
            }
            ToWorker::Shown { .. } => self.with_film(Film::shown),
            ToWorker::Select {
                tracks, generation, ..
            } => self.with_film(|film| film.select(&tracks, generation)),
            ToWorker::Still { request, at_s, .. } => self.tell_still(request, at_s),
            ToWorker::Read {
                request,
                reader,
                file,
                piece,
                ..
            } => {
                if reader == PLAYER {
                    self.demanded_at = Instant(0);
                    self.forget_played();
                }
                self.reads.push(Read {
                    request,
                    reader,
                    file: file as usize,
                    piece,
                });
                self.give();
            }
            _ => {}
        }
    }

    /// Where the viewer is.
    pub fn playhead(&mut self, at_s: f64, until_s: f64) {
        self.with_film(|film| film.playhead(at_s, until_s));
    }

    fn tell_still(&mut self, request: u32, at_s: f64) {
        match (&mut self.film, self.entries.get(self.file)) {
            (Some(film), Some(entry)) => {
                film.tell_still(request, at_s, entry, &mut self.store, &mut self.keys);
            }
            _ => {
                let message = [HOT_STILL.into(), self.number.into(), request.into()];
                self.door.post(&message, &Array::new());
            }
        }
    }

    /// Four times a second: time alone may have changed what is wanted.
    pub fn tick(&mut self) {
        self.with_film(Film::tick);
        self.give();
        // Nothing competes with a picture that is waited for.
        let waiting = match &self.film {
            Some(film) => film.is_waiting(),
            None => self.attached.is_some() && self.entries.is_empty(),
        };
        if !waiting {
            self.store.write_out();
        }
    }

    /// The film has more to do than one turn is good for.
    pub fn film_again(&mut self) {
        self.with_film(Film::again);
    }

    pub fn add_stats(&self, stats: &mut Stats) {
        stats.complete = self.complete && !self.entries.is_empty();
        let is_played = self.film.is_some() || self.released;
        let is_shown = is_played || self.entries.len() == 1;
        if let Some(entry) = self.entries.get(self.file).filter(|_| is_shown) {
            stats.file = is_played.then_some(self.file as u32);
            stats.have_ranges = match self.complete {
                true => vec![(0, entry.size)],
                false => ranges::here(entry, |piece| self.store.have(piece)),
            };
        }
        if self.store.has_disk() {
            stats.bytes_stored = stats
                .bytes_verified
                .saturating_sub(self.store.unwritten_bytes());
        }
    }

    fn with_film(&mut self, f: impl FnOnce(&mut Film)) {
        if let Some(film) = &mut self.film {
            f(film);
        }
    }

    fn delivered(&mut self, block: &VerifiedBlock) {
        if block.piece().lane == MANIFEST_LANE {
            self.manifest_block(block.piece());
        } else if let Some(film) = &mut self.film {
            film.arrived(block.piece(), block.block());
        }
    }

    /// Reads the manifest anew whenever a piece of lane 0 is whole.
    fn manifest_block(&mut self, piece: PieceId) {
        let Some(blocks) = self.store.whole(piece) else {
            return;
        };
        let mut plain = Vec::new();
        for block in blocks {
            let Some(bytes) = self.keys.open(&block) else {
                return;
            };
            plain.extend_from_slice(&bytes);
        }
        self.manifest_pieces.insert(piece, plain);
        let pieces = self
            .manifest_pieces
            .iter()
            .map(|(piece, bytes)| (piece.index, bytes.as_slice()));
        match Manifest::from_lane(pieces) {
            Ok(Some(manifest)) if manifest.revision > self.revision => self.manifest(manifest),
            Ok(_) => {}
            Err(_) => self.tell_problem(ProblemCode::MediaBroken),
        }
    }

    fn manifest(&mut self, manifest: Manifest) {
        if manifest.entries.is_empty() {
            return;
        }
        self.revision = manifest.revision;
        self.meta = meta(&manifest);
        self.door.tell(&ToPage::Meta {
            stream: self.number,
            meta: self.meta.clone(),
        });
        self.entries = manifest.entries;
        let entry = &self.entries[self.file_to_play()];
        self.inputs
            .push(Input::StartSet(entry.start_blocks().collect()));
        self.choose();
        self.start_film();
    }

    /// What the page chose, or else the first film.
    fn file_to_play(&self) -> usize {
        let chosen = self.chosen.filter(|file| *file < self.entries.len());
        chosen.unwrap_or_else(|| first_playable(&self.entries))
    }

    fn choose(&mut self) {
        // While a film plays, a newer manifest changes nothing.
        if self.film.is_none() || self.chosen.is_some() {
            self.file = self.file_to_play();
        }
    }

    /// Once somebody wants to look at it and it is known what it is.
    fn start_film(&mut self) {
        let Some(entry) = self.entries.get(self.file) else {
            return;
        };
        if let (Some(takes), None) = (self.attached, &self.film)
            && is_playable(entry)
            && entry.size > 0
        {
            let (door, limits) = (self.door.clone(), self.limits);
            self.film = Some(Film::new(self.number, door, entry, takes, limits));
        }
        if self.film.is_none() {
            // Nobody plays it: there is no first word of a player to wait for.
            self.inputs.push(Input::Demanded(Vec::new()));
        }
    }

    /// Hands over what is here of what was asked for; a picture that is waited for goes first.
    fn give(&mut self) {
        if self.film.as_ref().is_some_and(Film::is_waiting) {
            return;
        }
        for read in std::mem::take(&mut self.reads) {
            let answer = self
                .readers
                .answer(&read, &self.entries, &mut self.store, &mut self.keys);
            let Some(answer) = answer else {
                self.reads.push(read);
                continue;
            };
            match answer {
                Ok(bytes) => self.tell_read(read.request, door::buffer(&bytes)),
                Err(why) => self.tell_read(read.request, why),
            }
        }
        // Something that the disk claimed to have may be lost: it is fetched again.
        self.complete &= !self.store.has_lost();
        let next = self
            .reads
            .first()
            .and_then(|read| read.place(&self.entries));
        self.store.set_reading(next);
    }

    /// What a player that is not ours has left behind does not pile up: the oldest goes when there is no more room.
    fn forget_played(&mut self) {
        let mut played = self.reads.iter().filter(|read| read.reader == PLAYER);
        let Some(oldest) = played.next().map(|read| read.request) else {
            return;
        };
        if played.count() + 1 < PLAYED_MAX {
            return;
        }
        self.reads.retain(|read| read.request != oldest);
        self.tell_read(oldest, "it was given up");
    }

    fn tell_read(&self, request: u32, answer: impl Into<JsValue>) {
        let answer = answer.into();
        let transfer = match answer.is_object() {
            true => Array::of1(&answer),
            false => Array::new(),
        };
        let message = [HOT_READ.into(), self.number.into(), request.into(), answer];
        self.door.post(&message, &transfer);
    }

    /// What somebody saves comes in its order, after what the player needs.
    fn demand_reads(&mut self, now: Instant, inputs: &mut Vec<Input>) {
        for input in inputs.iter() {
            if let Input::Demanded(demands) = input {
                self.demanded.clone_from(demands);
            }
        }
        // What was asked for before a jump may still wait, and nobody be there for it.
        let plays = |read: &&Read| read.reader == PLAYER;
        let mut played = self.reads.iter().rev().filter(plays);
        let Some(read) = played.next().or(self.reads.first()) else {
            return;
        };
        let Some(entry) = self.entries.get(read.file) else {
            return;
        };
        if inputs.is_empty() && now < self.demanded_at {
            return;
        }
        self.demanded_at = Instant(now.0 + DEMAND_EVERY_US);
        let is_played = plays(&read);
        // Who reads all of a file has several waiting; who looks at one place (a cover) wants no more than that.
        let goes_on = self
            .reads
            .iter()
            .filter(|it| it.reader == read.reader)
            .count()
            > 1;
        let ahead = match (is_played, goes_on) {
            (true, _) => self.store.pieces_ahead().min(PLAYED_AHEAD),
            (false, true) => self.store.pieces_ahead(),
            (false, false) => 1,
        };
        let first = entry.first_piece.0 + read.piece;
        let wanted = missing(entry, read.piece, &self.store).take(ahead);
        let wanted = wanted.map(|(piece, mask)| Demand {
            piece,
            mask,
            deadline: match is_played {
                true => now.after(u64::from(piece.index.0.saturating_sub(first)) * PLAYED_PIECE_US),
                false => now.after(READ_IN_US),
            },
        });
        // Its index and its samples may be read at once.
        let others = played
            .take(1)
            .filter_map(|read| missing(entry, read.piece, &self.store).next());
        let others = others.map(|(piece, mask)| Demand {
            piece,
            mask,
            deadline: now,
        });
        let all = self.demanded.iter().cloned();
        let all = all.chain(wanted).chain(others).collect();
        inputs.retain(|input| !matches!(input, Input::Demanded(_)));
        inputs.push(Input::Demanded(all));
    }

    fn tell_problem(&self, code: ProblemCode) {
        let problem = Some(Problem { code, detail: None });
        self.door.tell(&ToPage::Problem {
            stream: self.number,
            problem,
        });
    }
}

/// Longer than any page lives.
const FOR_GOOD: Instant = Instant(u64::MAX / 2);
/// Pieces claimed at a time: their signatures take some 10 ms.
const FIND_PIECES: usize = 64;
/// Room left to everything else of this origin, bytes: the logs, other streams' manifests.
const SPARE_BYTES: u64 = 64 << 20;

/// How soon a file that somebody saves is wanted, microseconds: later than anything that a player waits for.
const READ_IN_US: u64 = 60_000_000;
/// What such a player may have asked for and not got.
const PLAYED_MAX: usize = 8;
/// Pieces that are fetched before a player that is not ours asks for them: seconds, at most.
const PLAYED_AHEAD: usize = 16;
/// How much later than the one before each of them is wanted, microseconds: 8 Mbit/s.
const PLAYED_PIECE_US: u64 = 1_000_000;
/// How often that is looked at, microseconds.
const DEMAND_EVERY_US: u64 = 1_000_000;

/// What the page is told of the stream.
fn meta(manifest: &Manifest) -> Meta {
    let entries = &manifest.entries;
    let files = entries.iter().map(|entry| FileMeta {
        // Whoever puts several into one folder sees to it that none is in another's place (web/src/zip.ts).
        path: clean_path(&entry.path),
        mime: entry.mime.clone().unwrap_or_default(),
        size: entry.size,
        playable: is_playable(entry),
        duration_us: entry.duration_us,
        blake3: entry.blake3,
    });
    let files: Vec<FileMeta> = files.collect();
    let folder = manifest.kind == Kind::Collection;
    let alone = files
        .first()
        .filter(|_| !folder)
        .cloned()
        .unwrap_or_default();
    let name = match folder {
        true => manifest.title.replace('/', "_"),
        false => entries[0]
            .path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .into(),
    };
    Meta {
        title: manifest.title.clone(),
        // For the disk of whoever downloads it.
        name: clean_path(&name),
        mime: alone.mime,
        size: entries.iter().map(|entry| entry.size).sum(),
        playable: files.iter().any(|file| file.playable),
        duration_us: alone.duration_us,
        blake3: alone.blake3,
        folder,
        files,
    }
}

/// Blocks of a file that are not here, from one of its pieces on.
fn missing(entry: &Entry, from: u32, store: &ViewerStore) -> impl Iterator<Item = (PieceId, Mask)> {
    let start = (u64::from(from) * PIECE_LEN as u64).min(entry.size);
    let all = entry.blocks(start..entry.size);
    all.filter_map(|(piece, mask)| {
        let mask = mask.without(store.have(piece));
        (!mask.is_empty()).then_some((piece, mask))
    })
}

/// What is shown to whoever chooses nothing: the first film, if there is one.
pub fn first_playable(entries: &[Entry]) -> usize {
    entries.iter().position(is_playable).unwrap_or_default()
}

/// Whether the media engine is worth asking: by type, or by name where the publisher's browser knew no type.
pub fn is_playable(entry: &Entry) -> bool {
    let mime = entry.mime.as_deref().unwrap_or_default();
    let extension = entry
        .path
        .rsplit_once('.')
        .map_or("", |(_, e)| e)
        .to_ascii_lowercase();
    // Systems take some of these for sound: Firefox told of `audio/…` for `.ass`.
    if let "srt" | "vtt" | "ass" | "ssa" = extension.as_str() {
        return false;
    }
    if mime.starts_with("video/") || mime.starts_with("audio/") {
        return true;
    }
    const MEDIA: [&str; 21] = [
        "mp4", "m4v", "mov", "m4a", "3gp", "mkv", "mka", "webm", "ts", "m2ts", "mts", "ogg", "oga",
        "ogv", "opus", "mp3", "flac", "wav", "aac", "avi", "wmv",
    ];
    MEDIA.contains(&extension.as_str())
}
