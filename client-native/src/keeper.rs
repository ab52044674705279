//! The keeper's files: sealed blocks as they came, in sparse files, which it can verify and serve but not read.
//!
//! All swarms of one process share one [`Space`]; when it is full, the swarm that was served longest ago loses its oldest pieces.

use crate::index::Index;
use crate::worker::{Answer, News, Problem, Side, Worker, load, load_failed};
use baton_content::{BLOCK_LEN, Lane, MANIFEST_LANE, Mask, PIECE_LEN, PieceId, SwarmId};
use baton_swarm::{Event, Input, Output};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// The room that all swarms of a keeper share.
pub struct Space {
    limit: u64,
    swarms: Mutex<BTreeMap<SwarmId, Room>>,
}

struct Room {
    bytes: u64,
    /// Counts up: when somebody was served last.
    served: u64,
    worker: Worker,
}

impl Space {
    pub fn new(limit: u64) -> Space {
        Space {
            limit,
            swarms: Mutex::default(),
        }
    }

    /// Bytes kept in all.
    pub fn used(&self) -> u64 {
        self.with(|swarms| swarms.values().map(|room| room.bytes).sum())
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<SwarmId, Room>) -> T) -> T {
        f(&mut self.swarms.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn served(&self, swarm: SwarmId) {
        self.with(|swarms| {
            let others = swarms.iter().filter(|(other, _)| **other != swarm);
            let next = others.map(|(_, room)| room.served).max().unwrap_or(0) + 1;
            if let Some(room) = swarms.get_mut(&swarm) {
                room.served = next;
            }
        });
    }

    fn note(&self, swarm: SwarmId, bytes: u64) {
        self.with(|swarms| {
            if let Some(room) = swarms.get_mut(&swarm) {
                room.bytes = bytes;
            }
        });
    }

    /// Notes what a swarm has; if all are too much, tells the one that was served longest ago to make room.
    fn set(&self, swarm: SwarmId, bytes: u64) {
        let told = self.with(|swarms| {
            if let Some(room) = swarms.get_mut(&swarm) {
                room.bytes = bytes;
            }
            let used: u64 = swarms.values().map(|room| room.bytes).sum();
            let over = used.saturating_sub(self.limit);
            let oldest = swarms
                .values()
                .filter(|room| room.bytes > 0)
                .min_by_key(|room| room.served);
            oldest
                .filter(|_| over > 0)
                .map(|room| (room.worker.clone(), over))
        });
        if let Some((worker, over)) = told {
            worker.own(move |keeper: &mut Keeper| keeper.evict(over));
        }
    }
}

/// One swarm's files.
pub struct Keeper {
    swarm: SwarmId,
    folder: PathBuf,
    index: Index,
    lanes: BTreeMap<Lane, File>,
    bytes: u64,
    space: Arc<Space>,
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
        let bytes = index.bytes();
        space.with(|swarms| {
            swarms.insert(
                swarm,
                Room {
                    bytes: 0,
                    served: u64::MAX,
                    worker,
                },
            )
        });
        // A new one counts as served just now.
        space.served(swarm);
        space.set(swarm, bytes);
        Keeper {
            swarm,
            folder,
            index,
            lanes: BTreeMap::new(),
            bytes,
            space,
            news,
        }
    }

    fn lane(&mut self, lane: Lane) -> io::Result<&File> {
        let path = self.folder.join(format!("lane-{}", lane.0));
        Ok(match self.lanes.entry(lane) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)?,
            ),
        })
    }

    fn load(&mut self, piece: PieceId, mask: Mask) -> Vec<Input> {
        self.space.served(self.swarm);
        let Some((header, have)) = self.index.piece(piece).map(|(h, m)| (h.clone(), m)) else {
            return load_failed(piece, mask);
        };
        let lane = self.lane(piece.lane);
        let (mut inputs, bad) = load(&header, mask.and(have), |offset, bytes| {
            lane?.read_exact_at(bytes, place(piece) + offset as u64)
        });
        if !mask.without(have).is_empty() {
            inputs.extend(load_failed(piece, mask.without(have)));
        }
        self.drop_blocks(piece, bad);
        inputs
    }

    /// Drops the oldest data pieces until so many bytes are free.
    fn evict(&mut self, bytes: u64) -> Vec<Input> {
        let enough = self.bytes.saturating_sub(bytes);
        let mut inputs = Vec::new();
        let pieces: Vec<_> = self
            .index
            .pieces()
            .filter(|(p, m)| p.lane != MANIFEST_LANE && !m.is_empty())
            .collect();
        for (piece, mask) in pieces {
            if self.bytes <= enough {
                break;
            }
            self.drop_blocks(piece, mask);
            if let Ok(lane) = self.lane(piece.lane) {
                punch(lane, place(piece));
            }
            inputs.push(Input::Evicted { piece, mask });
        }
        // Noted only: with nothing but manifests left, asking again would never end.
        self.space.note(self.swarm, self.bytes);
        inputs
    }

    fn drop_blocks(&mut self, piece: PieceId, mask: Mask) {
        if mask.is_empty() {
            return;
        }
        if let Some((header, have)) = self.index.piece(piece) {
            let lost: u64 = have
                .and(mask)
                .iter()
                .map(|b| header.block_len(b) as u64)
                .sum();
            self.bytes = self.bytes.saturating_sub(lost);
        }
        self.index.remove(piece, mask);
    }

    fn store(&mut self, block: &baton_content::VerifiedBlock) -> io::Result<()> {
        let piece = block.piece();
        let offset = place(piece) + u64::from(block.block().0) * BLOCK_LEN as u64;
        self.lane(piece.lane)?.write_all_at(block.bytes(), offset)?;
        let known = self
            .index
            .piece(piece)
            .is_some_and(|(_, mask)| mask.contains(block.block()));
        self.index.add(block.header(), block.block());
        self.index.flush_if_full()?;
        if !known {
            self.bytes += block.bytes().len() as u64;
            self.space.set(self.swarm, self.bytes);
        }
        Ok(())
    }
}

impl Side for Keeper {
    fn act(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Store { block } => {
                let (piece, mask) = (block.piece(), Mask::of(block.block()));
                match self.store(&block) {
                    Ok(()) => vec![Input::Stored { piece, mask }],
                    Err(error) => {
                        let problem = Problem::CannotWrite(error.to_string());
                        let _ = self.news.send(Answer::News(News::Problem(problem)));
                        vec![Input::StoreFailed { piece, mask }]
                    }
                }
            }
            Output::Load { piece, mask } => self.load(piece, mask),
            _ => Vec::new(),
        }
    }

    fn event(&mut self, event: Event) -> Vec<Input> {
        match event {
            Event::HeadChanged(head) => self.index.set_head(head),
            // The publisher said until when: what is left of it goes.
            Event::Expired => {
                self.lanes.clear();
                let _ = std::fs::remove_dir_all(&self.folder);
                self.space.with(|swarms| swarms.remove(&self.swarm));
            }
            _ => {}
        }
        Vec::new()
    }

    fn idle(&mut self) {
        if let Err(error) = self.index.flush() {
            let _ = self
                .news
                .send(Answer::News(News::Problem(Problem::CannotWrite(
                    error.to_string(),
                ))));
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
