//! The publisher's files: pieces are read and sealed when somebody asks for them, and hashed in the background.
//!
//! Nothing is hashed or copied before the link is ready. Sealed bytes are not kept, but for the last few pieces: what is asked for
//! later is read and sealed again, and checked against its signed header before it leaves.

use crate::ahead::Ahead;
use crate::handles::Handles;
use crate::index::Index;
use crate::keyfile::{FileMark, KeyError, KeyFile};
use crate::look::{Probe, hash, mime, probe};
use crate::signed::Signed;
use crate::worker::{Answer, News, Problem, Side, Worker, header_or_failed, load, load_failed};
use baton_content::{
    ByteRange, DATA_LANE, Entry, Head, Header, Lane, LaneKey, LaneState, Link, MANIFEST_LANE,
    Manifest, ManifestError, Mask, PieceFlags, PieceId, PieceIndex, PieceMeta, PublisherKey,
    Sealed, Secret, SignedHead, seal_blocks,
};
use baton_swarm::{Event, Input, Output};
use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// One file to share: its name in the manifest and where it is.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub path: PathBuf,
}

/// A stream that is being published.
pub struct Publisher {
    key: PublisherKey,
    state: KeyFile,
    key_path: Option<PathBuf>,
    head: SignedHead,
    manifest: Manifest,
    paths: Arc<Vec<PathBuf>>,
    handles: Handles,
    ahead: Ahead,
    marks: Vec<FileMark>,
    /// Held for as long as the key is in use: one writer per signing key.
    _lock: Option<File>,
    lane_key: LaneKey,
    manifest_key: LaneKey,
    signed: Signed,
    /// Beside the key: the same, for later runs.
    log: Option<Index>,
    /// Sealed or asked for a moment ago, oldest first.
    recent: VecDeque<Sealed>,
    /// Manifest pieces asked for before there was a manifest.
    early: Vec<PieceId>,
    failed: bool,
    /// When somebody was served last, milliseconds since `started`.
    served_ms: Arc<AtomicU64>,
    started: Instant,
    news: UnboundedSender<Answer>,
}

impl Publisher {
    /// Opens the files and signs the first head, or goes on with the key's.
    pub fn new(
        sources: &[Source],
        title: Option<String>,
        key_path: Option<PathBuf>,
        expires_unix_s: u64,
        news: UnboundedSender<Answer>,
    ) -> Result<Publisher, KeyError> {
        let lock = key_path.as_deref().map(KeyFile::lock).transpose()?;
        let known = key_path
            .as_deref()
            .map(KeyFile::read)
            .transpose()?
            .flatten();
        let mut state = known.unwrap_or_else(KeyFile::random);
        let (mut marks, mut entries) = (Vec::new(), Vec::new());
        let mut first_piece = 0;
        for source in sources {
            let unreadable = |error| KeyError::Source(source.path.clone(), error);
            let metadata = std::fs::metadata(&source.path).map_err(unreadable)?;
            let mut entry = Entry::new(&source.name, metadata.len());
            entry.mime = mime(&source.name).map(Into::into);
            entry.first_piece = PieceIndex(first_piece);
            first_piece += entry.piece_count();
            marks.push(FileMark::new(&source.name, &metadata));
            entries.push(entry);
        }
        if !state.files.is_empty() {
            let differs = marks
                .iter()
                .zip(&state.files)
                .find(|(now, then)| !now.same(then));
            if let Some((now, _)) = differs {
                return Err(KeyError::OtherFiles(now.path.clone()));
            }
            if marks.len() != state.files.len() {
                return Err(KeyError::OtherFiles("their number".into()));
            }
        }
        let mut manifest = match title {
            None if entries.len() == 1 => Manifest::file(entries.remove(0)),
            title => Manifest::collection(title.unwrap_or_else(|| "files".into()), entries),
        };
        let key = state.publisher();
        let keys = state.keys();
        let content = state.content();
        let head = match state.signed_head() {
            Some(head) => {
                let pieces = state
                    .manifest
                    .iter()
                    .zip(0..)
                    .map(|(bytes, i)| (PieceIndex(i), bytes.as_slice()));
                if let Ok(Some(known)) = Manifest::from_lane(pieces) {
                    manifest = known;
                }
                head
            }
            None => {
                let mut head = Head::new(keys.swarm.id());
                head.lanes = vec![
                    LaneState {
                        lane: MANIFEST_LANE,
                        pieces: 1,
                        open: true,
                    },
                    LaneState {
                        lane: DATA_LANE,
                        pieces: first_piece,
                        open: false,
                    },
                ];
                head.clock_unix_ms = crate::unix_s() * 1000;
                head.expires_unix_s = expires_unix_s;
                head.slots = vec![content.wrap(&keys.link_slot, head.epoch, state.slot_nonce)];
                SignedHead::sign(head, &key)
            }
        };
        let head = match expires_unix_s {
            // Another time than when the key was made: said by a head of its own.
            until if until != 0 && until != head.head().expires_unix_s => {
                let mut newer = head.next();
                newer.expires_unix_s = until;
                newer.clock_unix_ms = crate::unix_s() * 1000;
                SignedHead::sign(newer, &key)
            }
            _ => head,
        };
        state.files = marks.clone();
        state.head = Some(head.bytes().to_vec());
        let mut publisher = Publisher {
            lane_key: content.lane_key(DATA_LANE),
            manifest_key: content.lane_key(MANIFEST_LANE),
            key,
            state,
            key_path,
            head,
            manifest,
            paths: Arc::new(sources.iter().map(|source| source.path.clone()).collect()),
            handles: Handles::default(),
            ahead: Ahead::default(),
            _lock: lock,
            marks,
            signed: Signed::default(),
            log: None,
            recent: VecDeque::new(),
            early: Vec::new(),
            failed: false,
            served_ms: Arc::default(),
            started: Instant::now(),
            news,
        };
        publisher.save()?;
        publisher.open_signed()?;
        Ok(publisher)
    }

    /// Beside the key: the headers that were signed, so that a changed file is never signed anew.
    fn open_signed(&mut self) -> Result<(), KeyError> {
        let Some(path) = &self.key_path else {
            return Ok(());
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".signed");
        let index = Index::open(Path::new(&beside), &self.key.id(), &self.head.head().swarm)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        for (header, _) in index.headers()? {
            self.signed.know(&header);
        }
        self.log = Some(index);
        Ok(())
    }

    /// What people are given.
    pub fn link(&self, servers: &[String]) -> Link {
        let mut link = Link::new(self.key.id(), Secret(self.state.secret));
        for server in servers.iter().skip(1) {
            // One that a link cannot name is left out: the first is in the link itself.
            let _ = link.add_server(server);
        }
        link
    }

    pub fn state(&self) -> &KeyFile {
        &self.state
    }

    pub fn head(&self) -> &SignedHead {
        &self.head
    }

    pub fn title(&self) -> &str {
        &self.manifest.title
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.marks.iter().map(|mark| mark.size).sum()
    }

    /// Starts looking into the files and hashing them, on a thread of its own.
    pub fn begin(&self, worker: Worker) {
        if !self.state.manifest.is_empty() && self.head.head().ended {
            let start = self.start_set();
            worker.own(move |_: &mut Publisher| vec![start]);
            return;
        }
        let paths = self.paths.clone();
        let names: Vec<(String, u64)> = self
            .marks
            .iter()
            .map(|mark| (mark.path.clone(), mark.size))
            .collect();
        let (served, started) = (self.served_ms.clone(), self.started);
        let known = !self.state.manifest.is_empty();
        std::thread::spawn(move || {
            if !known {
                let probes: Vec<Probe> = paths
                    .iter()
                    .zip(&names)
                    .take(PROBED_MAX)
                    .map(|(path, (name, size))| {
                        File::open(path)
                            .map_or_else(|_| Probe::default(), |file| probe(&file, name, *size))
                    })
                    .collect();
                worker.own(move |publisher: &mut Publisher| publisher.probed(probes));
            }
            let mut hashes = Vec::new();
            for (path, (_, size)) in paths.iter().zip(&names) {
                let hashed = File::open(path).and_then(|file| hash(&file, *size, &served, started));
                match hashed {
                    Ok(hash) => hashes.push(hash),
                    Err(error) => {
                        let problem =
                            Problem::FileUnreadable(format!("{}: {error}", path.display()));
                        worker.own(|publisher: &mut Publisher| {
                            publisher.fail(problem);
                            Vec::new()
                        });
                        return;
                    }
                }
            }
            worker.own(move |publisher: &mut Publisher| publisher.hashed(hashes));
        });
    }

    fn start_set(&self) -> Input {
        let blocks = self
            .manifest
            .entries
            .first()
            .map(|entry| entry.start_blocks().collect());
        Input::StartSet(blocks.unwrap_or_default())
    }

    fn probed(&mut self, probes: Vec<Probe>) -> Vec<Input> {
        for (entry, probe) in self.manifest.entries.iter_mut().zip(probes) {
            let range = |r: &Range<u64>| ByteRange {
                offset: r.start,
                len: u32::try_from(r.end - r.start).unwrap_or(u32::MAX),
            };
            entry.start = probe
                .start
                .iter()
                .take(START_RANGES_MAX)
                .map(range)
                .collect();
            entry.duration_us = probe.duration_us;
        }
        self.add_manifest();
        let mut inputs = self.grown(false);
        inputs.push(self.start_set());
        for piece in std::mem::take(&mut self.early) {
            inputs.extend(self.seal(piece));
        }
        inputs
    }

    /// The hashes are in: a second manifest and the head that ends the stream.
    fn hashed(&mut self, hashes: Vec<[u8; 32]>) -> Vec<Input> {
        // What was read is what the link is for, or nothing is said of it.
        let same = |place: &usize| {
            let file = std::fs::metadata(&self.paths[*place]);
            file.is_ok_and(|now| self.is_same(*place, &now))
        };
        if let Some(place) = (0..self.paths.len()).find(|place| !same(place)) {
            self.fail(self.changed(place));
        }
        if self.failed {
            return Vec::new();
        }
        for ((entry, mark), hash) in self
            .manifest
            .entries
            .iter_mut()
            .zip(&mut self.state.files)
            .zip(hashes)
        {
            entry.blake3 = Some(hash);
            mark.blake3 = Some(hash);
        }
        self.manifest.revision += 1;
        self.add_manifest();
        // A session that has ended listens no more.
        let _ = self
            .news
            .send(Answer::News(News::Hashed { bytes: self.size() }));
        self.grown(true)
    }

    /// Signs a head that names the manifest's pieces. It is on the disk before anybody sees it.
    fn grown(&mut self, ended: bool) -> Vec<Input> {
        let pieces = self.state.manifest.len() as u32;
        if !ended && self.head.head().pieces(MANIFEST_LANE) == pieces {
            self.save_or_fail();
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
        head.clock_unix_ms = crate::unix_s() * 1000;
        self.head = SignedHead::sign(head, &self.key);
        self.state.head = Some(self.head.bytes().to_vec());
        self.save_or_fail();
        vec![Input::Head(self.head.clone())]
    }

    fn save_or_fail(&mut self) {
        if let Err(error) = self.save() {
            self.fail(Problem::CannotWrite(error.to_string()));
        }
    }

    fn save(&self) -> Result<(), KeyError> {
        self.key_path
            .as_deref()
            .map_or(Ok(()), |path| self.state.write(path))
    }

    fn add_manifest(&mut self) {
        let pieces = self
            .manifest
            .to_pieces()
            .unwrap_or_else(|_| self.plain().to_pieces().unwrap_or_default());
        self.state.manifest.extend(pieces);
    }

    /// A name or type that no manifest takes must not keep files from being shared: those files, and only those, get plain ones.
    fn plain(&self) -> Manifest {
        let mut plain = self.manifest.clone();
        while let Err(fault) = plain.to_pieces() {
            match fault {
                ManifestError::Entry { entry, .. } => {
                    let fault = &mut plain.entries[entry];
                    let name = format!("file-{entry}");
                    if fault.path == name {
                        break;
                    }
                    (fault.path, fault.mime, fault.start) = (name, None, Vec::new());
                }
                _ if plain.title != "files" => plain.title = "files".into(),
                _ => break,
            }
        }
        plain
    }

    fn seal(&mut self, piece: PieceId) -> Vec<Input> {
        if piece.lane == MANIFEST_LANE {
            return match self.state.manifest.get(piece.index.0 as usize).cloned() {
                Some(bytes) => vec![self.sealed(piece, bytes)],
                None if self.state.manifest.is_empty() => {
                    self.early.push(piece);
                    Vec::new()
                }
                None => vec![Input::SealFailed { piece }],
            };
        }
        let Some((place, range)) = self.locate(piece).filter(|_| !self.failed) else {
            return vec![Input::SealFailed { piece }];
        };
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = self
            .file(place)
            .and_then(|file| file.read_exact_at(&mut bytes, range.start).map(|()| file));
        if !read.is_ok_and(|file| self.unchanged(place, &file)) {
            self.fail(self.changed(place));
            return vec![Input::SealFailed { piece }];
        }
        vec![self.sealed(piece, bytes)]
    }

    fn file(&mut self, place: usize) -> std::io::Result<Arc<File>> {
        self.handles.get(place, || File::open(&self.paths[place]))
    }

    fn changed(&self, place: usize) -> Problem {
        Problem::FileChanged(self.paths[place].display().to_string())
    }

    /// Size and time of a file as they were when the link was made.
    fn unchanged(&self, place: usize, file: &File) -> bool {
        file.metadata().is_ok_and(|now| self.is_same(place, &now))
    }

    fn is_same(&self, place: usize, now: &Metadata) -> bool {
        let mark = &self.marks[place];
        FileMark::new(&mark.path, now).same(mark)
    }

    fn sealed(&mut self, piece: PieceId, plaintext: Vec<u8>) -> Input {
        let meta = PieceMeta {
            swarm: self.head.head().swarm,
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
        let sealed = seal_blocks(self.key_of(piece.lane), &self.key, meta, plaintext);
        let header = sealed.header().clone();
        match self.signed.core(piece) {
            Some(old) if old.core() != header.core() => {
                // Other bytes than those that were signed: saying so beats signing two truths.
                let place = self.locate(piece).map_or(0, |(place, _)| place);
                self.fail(self.changed(place));
                return Input::SealFailed { piece };
            }
            Some(_) => {}
            None => {
                if let Some(log) = &mut self.log {
                    log.add_header(&header);
                    if let Err(error) = log.flush() {
                        self.fail(Problem::CannotWrite(error.to_string()));
                        return Input::SealFailed { piece };
                    }
                    // `signed` says when the engine may let go of it.
                    log.take_kept();
                }
            }
        }
        self.signed.insert(&header);
        self.remember(sealed);
        Input::Sealed { header }
    }

    fn remember(&mut self, sealed: Sealed) {
        if self.recent.len() == RECENT_PIECES {
            self.recent.pop_front();
        }
        self.recent.push_back(sealed);
    }

    /// It is the newest from now on.
    fn recent(&mut self, piece: PieceId) -> Option<&Sealed> {
        let at = self.recent.iter().position(|s| s.header().id() == piece)?;
        let sealed = self.recent.remove(at)?;
        self.recent.push_back(sealed);
        self.recent.back()
    }

    /// A signed piece once more, from its file: other bytes than those that were signed are not sealed.
    fn seal_again(&mut self, piece: PieceId) -> Option<&Sealed> {
        if self.recent(piece).is_none() {
            let core = *self.signed.core(piece).filter(|_| !self.failed)?;
            if piece.lane == MANIFEST_LANE {
                self.seal(piece);
            } else {
                let (place, range) = self.locate(piece)?;
                let mut bytes = vec![0; (range.end - range.start) as usize];
                let file = self.file(place);
                let read = file.and_then(|file| file.read_exact_at(&mut bytes, range.start));
                let sealed = read
                    .ok()
                    .and_then(|()| Sealed::again_by_core(&self.lane_key, &core, bytes));
                match sealed {
                    Some(sealed) => self.remember(sealed),
                    None => self.fail(self.changed(place)),
                }
            }
        }
        self.recent(piece)
    }

    fn header(&mut self, piece: PieceId) -> Option<Header> {
        self.known_header(piece)
            .or_else(|| self.seal_again(piece).map(|sealed| sealed.header().clone()))
    }

    /// From memory, or from beside the key.
    fn known_header(&mut self, piece: PieceId) -> Option<Header> {
        let core = self.signed.core(piece)?;
        if let Some(header) = self.signed.header(piece) {
            return Some(header.clone());
        }
        let header = self.log.as_mut()?.header(piece)?;
        (header.core() == core.core()).then_some(header)
    }

    fn load(&mut self, piece: PieceId, mask: Mask) -> Vec<Input> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.served_ms.store(now_ms, Ordering::Relaxed);
        if let Some(sealed) = self.recent(piece) {
            return blocks_of(sealed, mask);
        }
        let reads_blocks = piece.lane != MANIFEST_LANE && !self.failed;
        let header = reads_blocks.then(|| self.known_header(piece)).flatten();
        let Some(header) = header else {
            // Where only its core is at hand, the whole piece is read: most of it is asked for.
            return match self.seal_again(piece) {
                Some(sealed) => blocks_of(sealed, mask),
                None => load_failed(piece, mask),
            };
        };
        let Some((place, range)) = self.locate(piece) else {
            return load_failed(piece, mask);
        };
        let file = self.file(place);
        if let Ok(file) = &file {
            self.ahead.read(piece, file, range.clone());
        }
        let key = &self.lane_key;
        let (inputs, bad) = load(&header, mask, |offset, bytes| {
            file?.read_exact_at(bytes, range.start + offset as u64)?;
            key.apply_at(header.core(), offset, bytes);
            Ok(())
        });
        if !bad.is_empty() {
            self.fail(self.changed(place));
        }
        inputs
    }

    fn locate(&self, piece: PieceId) -> Option<(usize, Range<u64>)> {
        let entries = &self.manifest.entries;
        // The last that begins at or before it: ours are in order.
        let place = entries
            .partition_point(|entry| entry.first_piece <= piece.index)
            .checked_sub(1)?;
        let from = entries[..=place]
            .iter()
            .rposition(|entry| entry.piece_range(piece).is_some())?;
        Some((from, entries[from].piece_range(piece)?))
    }

    fn key_of(&self, lane: Lane) -> &LaneKey {
        if lane == MANIFEST_LANE {
            &self.manifest_key
        } else {
            &self.lane_key
        }
    }

    fn fail(&mut self, problem: Problem) {
        if !self.failed {
            self.failed = true;
            let _ = self.news.send(Answer::News(News::Problem(problem)));
        }
    }
}

fn blocks_of(sealed: &Sealed, mask: Mask) -> Vec<Input> {
    let blocks = mask.iter().filter_map(|b| sealed.block(b));
    blocks.map(|block| Input::Loaded { block }).collect()
}

impl Side for Publisher {
    fn act(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Seal { piece } => self.seal(piece),
            Output::Load { piece, mask } => self.load(piece, mask),
            Output::LoadHeader { piece } => header_or_failed(piece, self.header(piece)),
            _ => Vec::new(),
        }
    }

    fn event(&mut self, _: Event) -> Vec<Input> {
        Vec::new()
    }

    fn take_kept(&mut self) -> Vec<PieceId> {
        self.signed.take_slimmed()
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

/// Sealed pieces kept: what two cold seals for each of sixteen peers make, and are asked for right after.
const RECENT_PIECES: usize = 32;
/// Files of a folder that are looked into; the others start a little later.
const PROBED_MAX: usize = 256;
/// As many as a manifest takes (docs/protocol.md section 6).
const START_RANGES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker;
    use std::time::{Duration, SystemTime};
    use tokio::sync::mpsc::unbounded_channel;

    #[test]
    fn of_a_long_film_the_hashes_are_found_again_in_the_file() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("film.bin");
        let pieces = crate::signed::HEADERS_MAX as u32 + 2;
        let film = File::create(&path).expect("it is ours");
        film.set_len(u64::from(pieces) << 20)
            .expect("a sparse file");
        let source = Source {
            name: "film.bin".into(),
            path: path.clone(),
        };
        let (news, mut answers) = unbounded_channel();
        let mut publisher = Publisher::new(&[source], None, None, 0, news).expect("a file");
        let first = PieceId::new(DATA_LANE, 0);
        let Input::Sealed { header } = publisher.seal(first).remove(0) else {
            panic!("it can be read");
        };
        assert!(publisher.take_kept().is_empty());
        // Others are signed meanwhile, which need not be read for it.
        for index in 1..pieces {
            let meta = PieceMeta {
                swarm: publisher.head.head().swarm,
                epoch: 0,
                lane: DATA_LANE,
                index: PieceIndex(index),
                flags: PieceFlags::NONE,
                media_time_us: 0,
            };
            let sealed = seal_blocks(&publisher.lane_key, &publisher.key, meta, vec![0; 1]);
            publisher.signed.insert(sealed.header());
        }
        let kept: Vec<_> = (0..2).map(|index| PieceId::new(DATA_LANE, index)).collect();
        assert_eq!(publisher.take_kept(), kept);
        publisher.recent.clear();
        let load = Output::LoadHeader { piece: first };
        let loaded = publisher.act(load.clone());
        assert!(matches!(&loaded[..], [Input::HeaderLoaded { header: again }] if *again == header));
        publisher.recent.clear();
        let mask = Mask(0b101);
        let blocks = publisher.act(Output::Load { piece: first, mask });
        let is_loaded =
            |input: &Input| matches!(input, Input::Loaded { block } if *block.header() == header);
        assert!(blocks.len() == 2 && blocks.iter().all(is_loaded));
        publisher.recent.clear();
        let film = File::options().write(true).open(&path);
        film.expect("it is ours")
            .write_all_at(b"else", 0)
            .expect("it is ours");
        let failed = publisher.act(load);
        assert!(matches!(&failed[..], [Input::HeaderFailed { .. }]));
        let told = answers.try_recv().expect("it says why");
        assert!(matches!(
            told,
            Answer::News(News::Problem(Problem::FileChanged(_)))
        ));
    }

    #[test]
    fn the_hash_of_a_file_that_changed_since_its_link_is_not_signed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("film.bin");
        std::fs::write(&path, "as it was").expect("it is ours");
        let (news, mut answers) = unbounded_channel();
        let source = Source {
            name: "film.bin".into(),
            path: path.clone(),
        };
        let publisher = Publisher::new(&[source], None, None, 0, news.clone()).expect("a file");
        std::fs::write(&path, "as it is ").expect("it is ours");
        let later = SystemTime::now() + Duration::from_secs(60);
        let file = File::options().write(true).open(&path).expect("it is ours");
        file.set_modified(later).expect("it is ours");
        let (worker, jobs) = worker::queue();
        publisher.begin(worker);
        worker::spawn(Box::new(publisher), jobs, news);
        let end = std::iter::from_fn(|| answers.blocking_recv()).find_map(|answer| match answer {
            Answer::News(news) => Some(news),
            Answer::Inputs(_) => None,
        });
        let Some(News::Problem(problem)) = end else {
            panic!("{end:?}");
        };
        assert!(matches!(problem, Problem::FileChanged(_)), "{problem}");
    }
}
