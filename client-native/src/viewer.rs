//! The viewer's files: blocks are opened and written to their place; what is asked for is read, sealed again and verified.

use crate::index::Index;
use crate::library::Library;
use crate::output::{Files, Target};
use crate::worker::{Answer, News, Problem, Side, load, load_failed};
use baton_content::{
    BLOCK_LEN, BlockIndex, ContentKey, Header, Lane, LaneKey, MANIFEST_LANE, Manifest, Mask,
    PieceId, PieceIndex, SignedHead, SlotKey, VerifiedBlock,
};
use baton_swarm::{Demand, Event, Input, Instant, Output};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// What a download is doing.
pub struct Viewer {
    slot_key: SlotKey,
    keys: Keys,
    index: Index,
    /// Where the log is, to remove it when there is nothing more to resume.
    index_path: std::path::PathBuf,
    target: Target,
    files: Option<Arc<Mutex<Files>>>,
    /// Where each file begins in its lane, to find a block's.
    places: BTreeMap<(Lane, PieceIndex), usize>,
    library: Arc<Library>,
    /// Blocks that came before it was known where they go: what a start set has, and no more.
    early: Vec<VerifiedBlock>,
    manifest_pieces: BTreeMap<PieceId, Vec<u8>>,
    manifest: Option<Arc<Manifest>>,
    /// Claimed by the index of an earlier run and not verified since.
    unverified: BTreeMap<PieceId, Mask>,
    complete: bool,
    news: UnboundedSender<Answer>,
}

/// The lane keys in use, by epoch.
#[derive(Default)]
struct Keys {
    content: BTreeMap<u32, ContentKey>,
    lanes: BTreeMap<(u32, Lane), LaneKey>,
}

impl Keys {
    /// Opens or seals bytes of a piece in place; false while the key is unknown.
    fn apply(&mut self, header: &Header, offset: usize, bytes: &mut [u8]) -> bool {
        let core = header.core();
        let Some(content) = self.content.get(&core.epoch) else {
            return false;
        };
        let key = self
            .lanes
            .entry((core.epoch, core.lane))
            .or_insert_with(|| content.lane_key(core.lane));
        key.apply_at(core, offset, bytes);
        true
    }
}

impl Viewer {
    /// Goes on with what the index has.
    pub fn new(
        slot_key: SlotKey,
        index: Index,
        index_path: std::path::PathBuf,
        target: Target,
        library: Arc<Library>,
        news: UnboundedSender<Answer>,
    ) -> Viewer {
        let unverified = index
            .pieces()
            .filter(|(piece, mask)| piece.lane != MANIFEST_LANE && !mask.is_empty())
            .collect();
        let mut viewer = Viewer {
            slot_key,
            keys: Keys::default(),
            index,
            index_path,
            target,
            files: None,
            places: BTreeMap::new(),
            library,
            early: Vec::new(),
            manifest_pieces: BTreeMap::new(),
            manifest: None,
            unverified,
            complete: false,
            news,
        };
        if let Some(head) = viewer.index.head().cloned() {
            viewer.learn(&head);
        }
        let lane0: Vec<PieceId> = viewer
            .index
            .pieces()
            .map(|(p, _)| p)
            .filter(|p| p.lane == MANIFEST_LANE)
            .collect();
        for piece in lane0 {
            viewer.manifest_block(piece);
        }
        viewer
    }

    /// The start set, where a manifest was here already.
    pub fn start_set(&self) -> Option<Input> {
        let entry = self.manifest.as_ref()?.entries.first()?;
        Some(Input::StartSet(entry.start_blocks().collect()))
    }

    fn learn(&mut self, head: &SignedHead) -> bool {
        let key = head.head().content_key(&self.slot_key);
        if let Ok(key) = key {
            self.keys.content.insert(head.head().epoch, key);
            return true;
        }
        false
    }

    fn store(&mut self, block: VerifiedBlock) -> Vec<Input> {
        let (piece, mask) = (block.piece(), Mask::of(block.block()));
        if piece.lane == MANIFEST_LANE {
            self.index.add_small(block);
            let mut inputs = vec![Input::Stored { piece, mask }];
            inputs.extend(self.manifest_block(piece));
            return inputs;
        }
        if self.manifest.is_none() {
            if self.early.len() >= EARLY_BLOCKS_MAX {
                return vec![Input::StoreFailed { piece, mask }];
            }
            self.early.push(block);
            return vec![Input::Stored { piece, mask }];
        }
        self.write(block)
    }

    fn write(&mut self, block: VerifiedBlock) -> Vec<Input> {
        let (piece, mask) = (block.piece(), Mask::of(block.block()));
        let Some((entry, offset)) = self.locate(piece, block.block()) else {
            return vec![Input::StoreFailed { piece, mask }];
        };
        let mut plain = block.bytes().to_vec();
        let opened = self.keys.apply(
            block.header(),
            usize::from(block.block().0) * BLOCK_LEN,
            &mut plain,
        );
        let Some(mut files) = self.files.as_ref().filter(|_| opened).map(lock) else {
            return vec![Input::StoreFailed { piece, mask }];
        };
        let written = files.write(entry, offset, &plain).and_then(|()| {
            self.index.add(block.header(), block.block());
            self.index.flush_if_full()
        });
        if let Err(error) = written {
            self.tell(News::Problem(Problem::CannotWrite(error.to_string())));
            return vec![Input::StoreFailed { piece, mask }];
        }
        self.library.add(piece, mask);
        vec![Input::Stored { piece, mask }]
    }

    fn load(&mut self, piece: PieceId, mask: Mask) -> Vec<Input> {
        if piece.lane == MANIFEST_LANE {
            return mask
                .iter()
                .map(|b| match self.index.small(piece, b) {
                    Some(block) => Input::Loaded {
                        block: block.clone(),
                    },
                    None => Input::LoadFailed {
                        piece,
                        mask: Mask::of(b),
                    },
                })
                .collect();
        }
        if self.manifest.is_none() {
            let early = |b| {
                self.early
                    .iter()
                    .find(|block| block.piece() == piece && block.block() == b)
            };
            return mask
                .iter()
                .map(|b| match early(b) {
                    Some(block) => Input::Loaded {
                        block: block.clone(),
                    },
                    None => Input::LoadFailed {
                        piece,
                        mask: Mask::of(b),
                    },
                })
                .collect();
        }
        let Some((header, have)) = self.index.piece(piece).map(|(h, m)| (h.clone(), m)) else {
            return load_failed(piece, mask);
        };
        let (Some((entry, start)), Some(files)) =
            (self.locate(piece, BlockIndex(0)), self.files.clone())
        else {
            return load_failed(piece, mask);
        };
        let keys = &mut self.keys;
        let (mut inputs, bad) = load(&header, mask.and(have), |offset, bytes| {
            lock(&files).read(entry, start + offset as u64, bytes)?;
            // Without the key it is not sealed again, and does not verify.
            keys.apply(&header, offset, bytes);
            Ok(())
        });
        if !mask.without(have).is_empty() {
            inputs.extend(load_failed(piece, mask.without(have)));
        }
        self.verified(piece, mask);
        self.lose(piece, bad);
        inputs
    }

    fn lose(&mut self, piece: PieceId, bad: Mask) {
        if !bad.is_empty() {
            self.index.remove(piece, bad);
            self.library.remove(piece, bad);
        }
    }

    fn verified(&mut self, piece: PieceId, mask: Mask) {
        if let Some(left) = self.unverified.get_mut(&piece) {
            *left = left.without(mask);
            if left.is_empty() {
                self.unverified.remove(&piece);
            }
        }
    }

    /// Which file a block belongs to, and where in it.
    fn locate(&self, piece: PieceId, block: BlockIndex) -> Option<(usize, u64)> {
        let entries = &self.manifest.as_ref()?.entries;
        let (_, place) = self
            .places
            .range(..=(piece.lane, piece.index))
            .next_back()?;
        Some((*place, entries.get(*place)?.block_offset(piece, block)?))
    }

    /// Reads the manifest anew whenever a piece of lane 0 is whole.
    fn manifest_block(&mut self, piece: PieceId) -> Vec<Input> {
        let Some((header, have)) = self.index.piece(piece).map(|(h, m)| (h.clone(), m)) else {
            return Vec::new();
        };
        if !have.contains_all(header.full_mask()) {
            return Vec::new();
        }
        let mut plain = Vec::new();
        for block in header.full_mask().iter() {
            let Some(block) = self.index.small(piece, block) else {
                return Vec::new();
            };
            plain.extend_from_slice(block.bytes());
        }
        if !self.keys.apply(&header, 0, &mut plain) {
            return Vec::new();
        }
        self.manifest_pieces.insert(piece, plain);
        let pieces = self
            .manifest_pieces
            .iter()
            .map(|(piece, bytes)| (piece.index, bytes.as_slice()));
        match Manifest::from_lane(pieces) {
            Ok(Some(newer))
                if self
                    .manifest
                    .as_ref()
                    .is_none_or(|old| newer.revision > old.revision) =>
            {
                self.opened(newer)
            }
            Ok(_) => Vec::new(),
            Err(_) => {
                self.tell(News::Problem(Problem::BadManifest));
                Vec::new()
            }
        }
    }

    fn opened(&mut self, manifest: Manifest) -> Vec<Input> {
        let manifest = Arc::new(manifest);
        let first = self.manifest.is_none();
        if first {
            match Files::create(&self.target, &manifest) {
                Ok(files) => {
                    let files = Arc::new(Mutex::new(files));
                    self.library.set_files(files.clone());
                    self.files = Some(files);
                    // An empty file has no pieces, and begins where the next one does.
                    let filled = manifest
                        .entries
                        .iter()
                        .enumerate()
                        .filter(|(_, entry)| entry.size > 0);
                    self.places = filled
                        .map(|(place, e)| ((e.lane, e.first_piece), place))
                        .collect();
                }
                Err(error) => {
                    self.tell(News::Problem(Problem::CannotWrite(error.to_string())));
                    return Vec::new();
                }
            }
            for (piece, mask) in self
                .index
                .pieces()
                .filter(|(piece, _)| piece.lane != MANIFEST_LANE)
                .collect::<Vec<_>>()
            {
                self.library.add(piece, mask);
            }
        }
        self.manifest = Some(manifest.clone());
        let path = self
            .files
            .as_ref()
            .and_then(|files| lock(files).end().map(Into::into));
        self.library.set_manifest(manifest.clone(), path);
        self.tell(News::Manifest);
        let mut inputs = Vec::new();
        if first && let Some(entry) = manifest.entries.first() {
            inputs.push(Input::StartSet(entry.start_blocks().collect()));
        }
        for block in std::mem::take(&mut self.early) {
            inputs.extend(self.write(block));
        }
        if self.complete {
            inputs.extend(self.finish());
        }
        inputs
    }

    /// Everything is here: verifies what an earlier run left, checks the publisher's hash, gives the files their names.
    fn finish(&mut self) -> Vec<Input> {
        let Some(manifest) = self.manifest.clone() else {
            return Vec::new();
        };
        let mut again = Vec::new();
        for (piece, mask) in self.unverified.clone() {
            for input in self.load(piece, mask) {
                if let Input::LoadFailed { piece, mask } = input {
                    again.push(Demand {
                        piece,
                        mask,
                        deadline: Instant(0),
                    });
                    self.lose(piece, mask);
                }
            }
        }
        if !again.is_empty() {
            self.complete = false;
            let mut inputs: Vec<_> = again
                .iter()
                .map(|d| Input::LoadFailed {
                    piece: d.piece,
                    mask: d.mask,
                })
                .collect();
            inputs.push(Input::Demanded(again));
            return inputs;
        }
        match self.check_hashes(&manifest) {
            Ok(None) => {}
            Ok(Some(path)) => {
                self.tell(News::Problem(Problem::WrongHash(path)));
                return Vec::new();
            }
            Err(error) => {
                self.tell(News::Problem(Problem::CannotWrite(error.to_string())));
                return Vec::new();
            }
        }
        let named = self
            .files
            .as_ref()
            .map_or(Ok(()), |files| lock(files).finish())
            .and_then(|()| self.index.flush());
        if let Err(error) = named {
            self.tell(News::Problem(Problem::CannotWrite(error.to_string())));
            return Vec::new();
        }
        // The log would only litter; a later `get` of the same link finds the finished file and says so.
        let _ = std::fs::remove_file(&self.index_path);
        self.tell(News::Finished);
        Vec::new()
    }

    /// The path of a file whose bytes are not what the publisher's `b3sum` says.
    fn check_hashes(&mut self, manifest: &Manifest) -> std::io::Result<Option<String>> {
        let Some(files) = &self.files else {
            return Ok(None);
        };
        for (place, entry) in manifest.entries.iter().enumerate() {
            let Some(expected) = entry.blake3 else {
                continue;
            };
            let mut hasher = blake3::Hasher::new();
            let mut buffer = vec![0; 1 << 20];
            let mut at = 0;
            while at < entry.size {
                let len = buffer
                    .len()
                    .min(usize::try_from(entry.size - at).unwrap_or(usize::MAX));
                lock(files).read(place, at, &mut buffer[..len])?;
                hasher.update(&buffer[..len]);
                at += len as u64;
            }
            if *hasher.finalize().as_bytes() != expected {
                return Ok(Some(entry.path.clone()));
            }
        }
        Ok(None)
    }

    fn tell(&self, news: News) {
        // A session that has ended listens no more.
        let _ = self.news.send(Answer::News(news));
    }
}

impl Side for Viewer {
    fn act(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Store { block } => self.store(block),
            Output::Load { piece, mask } => self.load(piece, mask),
            _ => Vec::new(),
        }
    }

    fn event(&mut self, event: Event) -> Vec<Input> {
        match event {
            Event::HeadChanged(head) => {
                if !self.learn(&head) {
                    self.tell(News::Problem(Problem::NotOpened));
                }
                self.index.set_head(head);
                // The key may have come after what it opens.
                let pieces: Vec<_> = self
                    .index
                    .pieces()
                    .map(|(p, _)| p)
                    .filter(|p| p.lane == MANIFEST_LANE)
                    .collect();
                pieces
                    .into_iter()
                    .filter(|p| !self.manifest_pieces.contains_key(p))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .flat_map(|piece| self.manifest_block(piece))
                    .collect()
            }
            Event::Complete => {
                self.complete = true;
                self.finish()
            }
            _ => Vec::new(),
        }
    }

    fn idle(&mut self) {
        if let Err(error) = self.index.flush() {
            self.tell(News::Problem(Problem::CannotWrite(error.to_string())));
        }
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

/// Whoever else has it only opens a handle: a panic there leaves nothing half done.
fn lock(files: &Arc<Mutex<Files>>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks before the manifest: 4 MiB, sixteen start sets.
const EARLY_BLOCKS_MAX: usize = 256;
