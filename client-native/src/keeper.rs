//! The keeper's files: sealed blocks as they came, in sparse files, which it can verify and serve but not read.
//!
//! All swarms of one process share one [`Space`]; when it is full, the swarm that was served longest ago loses its first pieces.

use crate::ahead::Ahead;
use crate::index::Index;
use crate::space::{Answer as Room, Kept, Space};
use crate::worker::{Answer, News, Problem, Side, Worker, load, load_failed};
use baton_content::{
    BLOCK_LEN, Header, Lane, MANIFEST_LANE, Mask, PIECE_LEN, PieceId, SwarmId, VerifiedBlock,
};
use baton_swarm::{Event, Input, Instant, Output};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// One swarm's files.
pub struct Keeper {
    swarm: SwarmId,
    folder: PathBuf,
    index: Index,
    lanes: BTreeMap<Lane, Arc<File>>,
    ahead: Ahead,
    kept: Kept,
    space: Arc<Space>,
    /// Whoever asked was told that the disk takes no more.
    told_full: bool,
    /// When somebody was served last, about Unix seconds, and which of these times is written down.
    served: u64,
    served_noted: u64,
    news: UnboundedSender<Answer>,
}

impl Keeper {
    /// Goes on with what the folder has.
    pub fn new(
        swarm: SwarmId,
        folder: PathBuf,
        index: Index,
        space: Arc<Space>,
        worker: Worker,
        news: UnboundedSender<Answer>,
    ) -> Keeper {
        let mut kept = Kept::default();
        for (piece, mask) in index.pieces() {
            let header = index.piece(piece).map(|(header, _)| header);
            let bytes = header.map_or(0, |header| bytes_of(header, mask));
            *kept.of(piece.lane) += bytes;
        }
        let served = std::fs::read_to_string(folder.join(SERVED)).ok();
        let served = served.and_then(|text| text.trim().parse().ok());
        space.enter(swarm, kept, served, worker);
        let first = served.is_none().then(|| space.served(swarm));
        Keeper {
            swarm,
            folder,
            index,
            lanes: BTreeMap::new(),
            ahead: Ahead::default(),
            kept,
            space,
            told_full: false,
            served: first.unwrap_or(0),
            served_noted: 0,
            news,
        }
    }

    fn lane(&mut self, lane: Lane) -> io::Result<Arc<File>> {
        if let Some(file) = self.lanes.get(&lane) {
            return Ok(file.clone());
        }
        let path = self.folder.join(format!("lane-{}", lane.0));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let file = Arc::new(file);
        self.lanes.insert(lane, file.clone());
        Ok(file)
    }

    fn load(&mut self, piece: PieceId, mask: Mask) -> Vec<Input> {
        self.served = self.space.served(self.swarm);
        let Some((header, have)) = self.index.piece(piece).map(|(h, m)| (h.clone(), m)) else {
            return load_failed(piece, mask);
        };
        let lane = self.lane(piece.lane);
        if let Ok(file) = &lane {
            let start = place(piece);
            let end = start + u64::from(header.core().len);
            self.ahead.read(piece, file, start..end);
        }
        let (mut inputs, bad) = load(&header, mask.and(have), |offset, bytes| {
            lane?.read_exact_at(bytes, place(piece) + offset as u64)
        });
        if !mask.without(have).is_empty() {
            inputs.extend(load_failed(piece, mask.without(have)));
        }
        self.drop_blocks(piece, bad);
        inputs
    }

    /// Only the order of eviction after a restart hangs on it.
    fn note_served(&mut self) {
        if self.served > self.served_noted {
            self.served_noted = self.served;
            let _ = std::fs::write(self.folder.join(SERVED), self.served.to_string());
        }
    }

    /// Drops the first data pieces until so many bytes are free.
    pub fn evict(&mut self, bytes: u64) -> Vec<Input> {
        let enough = self.kept.data.saturating_sub(bytes);
        let mut inputs = Vec::new();
        let pieces: Vec<_> = self
            .index
            .pieces()
            .filter(|(p, m)| p.lane != MANIFEST_LANE && !m.is_empty())
            .collect();
        for (piece, mask) in pieces {
            if self.kept.data <= enough {
                break;
            }
            self.drop_blocks(piece, mask);
            if let Ok(lane) = self.lane(piece.lane) {
                punch(&lane, place(piece));
            }
            inputs.push(Input::Evicted { piece, mask });
        }
        self.space.note(self.swarm, self.kept, bytes);
        inputs
    }

    fn drop_blocks(&mut self, piece: PieceId, mask: Mask) {
        if mask.is_empty() {
            return;
        }
        if let Some((header, have)) = self.index.piece(piece) {
            let lost = bytes_of(header, have.and(mask));
            let kept = self.kept.of(piece.lane);
            *kept = kept.saturating_sub(lost);
        }
        self.index.remove(piece, mask);
        self.space.note(self.swarm, self.kept, 0);
    }

    fn store(&mut self, block: &VerifiedBlock) -> Vec<Input> {
        let (piece, mask) = (block.piece(), Mask::of(block.block()));
        let known = self.index.piece(piece);
        let known = known.is_some_and(|(_, mask)| mask.contains(block.block()));
        let bytes = block.bytes().len() as u64;
        if !known && piece.lane != MANIFEST_LANE {
            match self.space.take(self.swarm, bytes) {
                Room::Yes => {}
                Room::Later => return vec![Input::StoreFailed { piece, mask }],
                Room::No => return enough(piece, mask),
            }
        }
        if !known {
            *self.kept.of(piece.lane) += bytes;
        }
        match self.write(block) {
            Ok(()) if !known && piece.lane == MANIFEST_LANE => {
                self.space.note(self.swarm, self.kept, 0);
                let mut inputs = vec![Input::Stored { piece, mask }];
                let over = self.space.over();
                if over > 0 {
                    inputs.extend(self.evict(over));
                }
                inputs
            }
            Ok(()) => vec![Input::Stored { piece, mask }],
            Err(error) => {
                if !known {
                    *self.kept.of(piece.lane) -= bytes;
                    self.space.note(self.swarm, self.kept, 0);
                }
                if !std::mem::replace(&mut self.told_full, true) {
                    self.complain(&error);
                }
                enough(piece, mask)
            }
        }
    }

    fn write(&mut self, block: &VerifiedBlock) -> io::Result<()> {
        let piece = block.piece();
        let offset = place(piece) + u64::from(block.block().0) * BLOCK_LEN as u64;
        self.lane(piece.lane)?.write_all_at(block.bytes(), offset)?;
        self.index.add(block.header(), block.block());
        self.index.flush_if_full()
    }

    fn complain(&self, error: &io::Error) {
        let problem = Problem::CannotWrite(error.to_string());
        // A session that has ended listens no more.
        let _ = self.news.send(Answer::News(News::Problem(problem)));
    }

    /// Nothing of it will be served again: what is left goes.
    fn remove(&mut self) {
        self.lanes.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
        self.space.leave(self.swarm);
    }
}

/// Not kept, and nothing more is fetched until there is room: a stream that is larger than the space would be fetched in vain.
fn enough(piece: PieceId, mask: Mask) -> Vec<Input> {
    let until = Instant(u64::MAX >> 12);
    vec![Input::Evicted { piece, mask }, Input::Focus { until }]
}

fn bytes_of(header: &Header, mask: Mask) -> u64 {
    mask.iter().map(|b| header.block_len(b) as u64).sum()
}

impl Side for Keeper {
    fn act(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Store { block } => self.store(&block),
            Output::Load { piece, mask } => self.load(piece, mask),
            _ => Vec::new(),
        }
    }

    fn event(&mut self, event: Event) -> Vec<Input> {
        match event {
            Event::HeadChanged(head) => self.index.set_head(head),
            // The publisher said until when, or is not to be believed.
            Event::Expired | Event::Fraud { .. } => self.remove(),
            _ => {}
        }
        Vec::new()
    }

    fn idle(&mut self) {
        self.note_served();
        if let Err(error) = self.index.flush()
            && !std::mem::replace(&mut self.told_full, true)
        {
            self.complain(&error);
        }
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

/// Where a piece lies in its lane's file.
fn place(piece: PieceId) -> u64 {
    u64::from(piece.index.0) * PIECE_LEN as u64
}

/// Gives a piece's bytes back to the file system; where it cannot, they stay until the file goes.
fn punch(file: &File, offset: u64) {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let (Ok(offset), len) = (libc::off_t::try_from(offset), PIECE_LEN as libc::off_t) else {
        return;
    };
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory is passed.
    unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, len) };
}

/// Beside the index: when somebody was served last, Unix seconds.
const SERVED: &str = "served";
