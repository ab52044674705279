//! The keeper's files: sealed blocks as they came, in sparse files, which it can verify and serve but not read.
//!
//! All swarms of one process share one [`Space`]; when it is full, the swarm that was served longest ago loses its first pieces.

use crate::ahead::Ahead;
use crate::index::Index;
use crate::space::{Answer as Room, Kept, Space};
use crate::worker::{Answer, News, Problem, Side, Worker, header_or_failed, load, load_failed};
use baton_content::{
    BLOCK_LEN, Header, Lane, MANIFEST_LANE, Mask, PIECE_LEN, PieceId, SwarmId, VerifiedBlock,
};
use baton_swarm::{Demand, Event, Input, Instant, Output};
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
    /// Whoever asked was told that there is no room even for the manifest.
    told_narrow: bool,
    /// Blocks of the manifest that there was no room for: the engine fetches those again only when they are demanded.
    unkept: BTreeMap<PieceId, Mask>,
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
            let bytes = index.claim(piece).map(|claim| claim.bytes_of(mask));
            *kept.of(piece.lane) += bytes.unwrap_or(0);
        }
        kept.log = index.log_len();
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
            told_narrow: false,
            unkept: BTreeMap::new(),
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
        let (Some(header), Some(claim)) = (self.header(piece), self.index.claim(piece)) else {
            return load_failed(piece, mask);
        };
        let have = claim.mask;
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

    /// A piece's header. If the disk has lost it, nothing of the piece is here any more.
    fn header(&mut self, piece: PieceId) -> Option<Header> {
        let header = self.index.header(piece);
        if header.is_none()
            && let Some(claim) = self.index.claim(piece)
        {
            self.drop_blocks(piece, claim.mask);
            self.index.forget(piece);
        }
        header
    }

    /// Only the order of eviction after a restart hangs on it.
    fn note_served(&mut self) {
        if self.served > self.served_noted {
            self.served_noted = self.served;
            let _ = std::fs::write(self.folder.join(SERVED), self.served.to_string());
        }
    }

    /// Drops the first data pieces until so many bytes are free, as it was told to.
    pub fn evict(&mut self, bytes: u64) -> Vec<Input> {
        let inputs = self.drop_first(bytes);
        self.note(bytes);
        inputs
    }

    fn drop_first(&mut self, bytes: u64) -> Vec<Input> {
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
            self.forget(piece, mask);
            if let Ok(lane) = self.lane(piece.lane) {
                punch(&lane, place(piece));
            }
            inputs.push(Input::Evicted { piece, mask });
        }
        inputs
    }

    fn drop_blocks(&mut self, piece: PieceId, mask: Mask) {
        if !mask.is_empty() {
            self.forget(piece, mask);
            self.note(0);
        }
    }

    /// Says what is kept; of what was to be dropped, so much is done.
    fn note(&mut self, dropped: u64) {
        self.kept.log = self.index.log_len();
        self.space.note(self.swarm, self.kept, dropped);
    }

    fn forget(&mut self, piece: PieceId, mask: Mask) {
        if let Some(claim) = self.index.claim(piece) {
            let lost = claim.bytes_of(claim.mask.and(mask));
            let kept = self.kept.of(piece.lane);
            *kept = kept.saturating_sub(lost);
        }
        self.index.remove(piece, mask);
    }

    fn store(&mut self, block: &VerifiedBlock) -> Vec<Input> {
        let (piece, mask) = (block.piece(), Mask::of(block.block()));
        let known = self.index.claim(piece);
        let known = known.is_some_and(|claim| claim.mask.contains(block.block()));
        let bytes = block.bytes().len() as u64;
        let mut inputs = Vec::new();
        if !known {
            let mut room = self.space.take(self.swarm, piece.lane, bytes);
            if room == Room::No && piece.lane == MANIFEST_LANE {
                // The film makes room for what makes it one.
                inputs = self.drop_first(self.space.lacking(bytes));
                self.note(0);
                room = self.space.take(self.swarm, piece.lane, bytes);
            }
            match room {
                Room::Yes => *self.kept.of(piece.lane) += bytes,
                Room::Later => inputs.push(Input::StoreFailed { piece, mask }),
                Room::No => {
                    if piece.lane == MANIFEST_LANE
                        && !std::mem::replace(&mut self.told_narrow, true)
                    {
                        self.complain("there is no room for its manifest".into());
                    }
                    inputs.extend(self.enough(piece, mask));
                }
            }
            if room != Room::Yes {
                return inputs;
            }
        }
        match self.write(block) {
            Ok(()) => {
                if std::mem::take(&mut self.told_full) {
                    self.space.disk_is_well(self.swarm);
                }
                inputs.push(Input::Stored { piece, mask });
            }
            Err(error) => {
                if !known {
                    *self.kept.of(piece.lane) -= bytes;
                }
                self.disk_is_full(&error);
                inputs.extend(self.enough(piece, mask));
            }
        }
        self.note(0);
        inputs
    }

    /// Not kept, and nothing more is fetched until there is room: a stream that is larger than the space would be fetched in vain.
    fn enough(&mut self, piece: PieceId, mask: Mask) -> Vec<Input> {
        let focus = Input::Focus {
            until: Instant(u64::MAX >> 12),
        };
        if piece.lane != MANIFEST_LANE {
            return vec![focus, Input::StoreFailed { piece, mask }];
        }
        // The manifest is fetched whatever the focus is.
        let unkept = self.unkept.entry(piece).or_insert(Mask::EMPTY);
        *unkept = unkept.or(mask);
        vec![Input::Evicted { piece, mask }, focus]
    }

    /// There is room again.
    pub fn resume(&mut self) -> Vec<Input> {
        let lacked = std::mem::take(&mut self.unkept).into_iter();
        let demand = |(piece, mask)| Demand {
            piece,
            mask,
            deadline: Instant(0),
        };
        let until = Instant(0);
        vec![
            Input::Focus { until },
            Input::Demanded(lacked.map(demand).collect()),
        ]
    }

    fn disk_is_full(&mut self, error: &io::Error) {
        self.space.disk_is_full(self.swarm);
        if !std::mem::replace(&mut self.told_full, true) {
            self.complain(error.to_string());
        }
    }

    fn write(&mut self, block: &VerifiedBlock) -> io::Result<()> {
        let piece = block.piece();
        let offset = place(piece) + u64::from(block.block().0) * BLOCK_LEN as u64;
        self.lane(piece.lane)?.write_all_at(block.bytes(), offset)?;
        self.index.add(block.header(), block.block());
        self.index.flush_if_full()
    }

    fn complain(&self, reason: String) {
        let problem = Problem::CannotWrite(reason);
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

impl Side for Keeper {
    fn act(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Store { block } => self.store(&block),
            Output::Load { piece, mask } => self.load(piece, mask),
            Output::LoadHeader { piece } => header_or_failed(piece, self.header(piece)),
            _ => Vec::new(),
        }
    }

    fn event(&mut self, event: Event) -> Vec<Input> {
        match event {
            Event::HeadChanged(head) => self.index.set_head(head),
            // The publisher said until when, or is not to be believed.
            Event::Expired | Event::Fraud { .. } | Event::ManifestTooLong => self.remove(),
            _ => {}
        }
        Vec::new()
    }

    fn take_kept(&mut self) -> Vec<PieceId> {
        self.index.take_kept()
    }

    fn idle(&mut self) {
        self.note_served();
        // What could not be written is tried again by the next block.
        let written = self.index.flush().and_then(|()| self.index.compact());
        match written {
            Ok(()) => self.note(0),
            Err(error) => self.disk_is_full(&error),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker;
    use baton_content::{
        BlockIndex, ContentKey, DATA_LANE, PieceFlags, PieceIndex, PieceMeta, PublisherId,
        PublisherKey, VerifiedBlock, seal,
    };
    use std::path::Path;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    const SWARM: SwarmId = SwarmId([7; 32]);

    fn publisher() -> PublisherKey {
        PublisherKey::from_seed([1; 32])
    }

    /// All blocks of a piece.
    fn blocks(lane: Lane, index: u32, len: usize) -> Vec<VerifiedBlock> {
        let meta = PieceMeta {
            swarm: SWARM,
            epoch: 0,
            lane,
            index: PieceIndex(index),
            flags: PieceFlags::NONE,
            media_time_us: 0,
        };
        let key = ContentKey::from_random([3; 32]).lane_key(lane);
        let mut bytes = vec![index as u8; len];
        let header = seal(&key, &publisher(), meta, &mut bytes);
        let block = |(bytes, n): (&[u8], u8)| {
            let bytes = bytes::Bytes::copy_from_slice(bytes);
            header.verify(BlockIndex(n), bytes).expect("it was sealed")
        };
        bytes.chunks(BLOCK_LEN).zip(0..).map(block).collect()
    }

    /// A keeper without a thread, and where it and its space send what they want.
    fn keeper(
        folder: &Path,
        space: &Arc<Space>,
    ) -> (Keeper, worker::Jobs, UnboundedReceiver<Answer>) {
        let publisher: PublisherId = publisher().id();
        let index = Index::open(&folder.join("index"), &publisher, &SWARM).expect("an index");
        let (worker, jobs) = worker::queue();
        let (news, answers) = unbounded_channel();
        let folder = folder.to_path_buf();
        let keeper = Keeper::new(SWARM, folder, index, space.clone(), worker, news);
        (keeper, jobs, answers)
    }

    fn stored(inputs: &[Input]) -> bool {
        let stored = |input: &Input| matches!(input, Input::Stored { .. });
        inputs.iter().any(stored)
    }

    #[test]
    fn the_manifest_counts_and_is_refused_with_a_reason_where_there_is_no_room() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let limit = 3 << 20;
        let space = Arc::new(Space::new(limit));
        let (mut keeper, _jobs, mut answers) = keeper(dir.path(), &space);
        let film: Vec<_> = (0..2)
            .flat_map(|n| blocks(DATA_LANE, n, PIECE_LEN))
            .collect();
        assert!(film.iter().all(|block| stored(&keeper.store(block))));
        let mut manifest = Vec::new();
        let mut evicted = 0;
        let kept = (0..5).flat_map(|n| blocks(MANIFEST_LANE, n, PIECE_LEN)).filter(|block| {
            let inputs = keeper.store(block);
            let data = |i: &&Input| matches!(i, Input::Evicted { piece, .. } if piece.lane == DATA_LANE);
            evicted += inputs.iter().filter(data).count();
            manifest.extend(inputs.iter().cloned());
            assert!(space.used() <= limit, "{} bytes are kept", space.used());
            stored(&inputs)
        });
        let kept = kept.count();
        assert!((128..192).contains(&kept), "{kept} blocks of it are kept");
        assert_eq!(evicted, 2, "the film made room first");
        let reasons: Vec<String> = std::iter::from_fn(|| answers.try_recv().ok())
            .map(|answer| match answer {
                Answer::News(News::Problem(problem)) => problem.to_string(),
                _ => "something else".into(),
            })
            .collect();
        assert_eq!(reasons, ["cannot write: there is no room for its manifest"]);
    }

    #[test]
    fn the_log_counts_as_kept() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let space = Arc::new(Space::new(1 << 30));
        let (mut keeper, _jobs, _answers) = keeper(dir.path(), &space);
        for block in blocks(DATA_LANE, 0, PIECE_LEN) {
            assert!(stored(&keeper.store(&block)));
        }
        keeper.idle();
        let log = std::fs::metadata(dir.path().join("index")).expect("it is there");
        assert_eq!(space.used(), PIECE_LEN as u64 + log.len());
    }

    #[test]
    fn a_disk_that_was_full_is_tried_again_once_it_has_room() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let space = Arc::new(Space::new(1 << 30));
        let (mut keeper, jobs, mut answers) = keeper(dir.path(), &space);
        // A folder where the file should be: a disk that takes nothing, to whoever writes.
        for lane in ["lane-0", "lane-1"] {
            std::fs::create_dir(dir.path().join(lane)).expect("it is ours");
        }
        let (film, manifest) = (blocks(DATA_LANE, 0, 100), blocks(MANIFEST_LANE, 0, 100));
        let forever = |input: &Input| matches!(input, Input::Focus { until } if until.0 > 1 << 50);
        let refused = keeper.store(&film[0]);
        assert!(matches!(&refused[..], [focus, Input::StoreFailed { .. }] if forever(focus)));
        let refused = keeper.store(&manifest[0]);
        assert!(matches!(&refused[..], [Input::Evicted { .. }, focus] if forever(focus)));
        assert!(matches!(
            answers.try_recv(),
            Ok(Answer::News(News::Problem(_)))
        ));
        for lane in ["lane-0", "lane-1"] {
            std::fs::remove_dir(dir.path().join(lane)).expect("it is ours");
        }
        space.look_again(1 << 10);
        space.look_again(1 << 30);
        let mut wishes = jobs.own_jobs().into_iter();
        let wish = wishes.next().expect("it is told that there is room");
        assert!(wishes.next().is_none(), "once");
        let inputs = wish(&mut keeper);
        let [Input::Focus { until }, Input::Demanded(demands)] = &inputs[..] else {
            panic!("{inputs:?}");
        };
        assert_eq!(*until, Instant(0));
        assert_eq!(demands.len(), 1, "the manifest, which waited");
        assert!(stored(&keeper.store(&manifest[0])) && stored(&keeper.store(&film[0])));
    }

    #[test]
    fn folders_that_a_mistyped_ticket_may_mean_count_and_are_not_dropped() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (mine, stray) = (dir.path().join(SWARM.to_string()), dir.path().join("stray"));
        for folder in [&mine, &stray] {
            std::fs::create_dir(folder).expect("it is ours");
        }
        std::fs::write(stray.join("index"), vec![1; 200_000]).expect("it is ours");
        let space = Arc::new(Space::new(150_000));
        space.count_strays(dir.path(), &[SWARM], true);
        let (mut one, _jobs, _answers) = keeper(&mine, &space);
        let film = blocks(DATA_LANE, 0, 100);
        assert!(!stored(&one.store(&film[0])) && stray.exists());
        drop(one);
        let space = Arc::new(Space::new(150_000));
        space.count_strays(dir.path(), &[SWARM], false);
        let (mut one, _jobs, _answers) = keeper(&mine, &space);
        assert!(stored(&one.store(&film[0])) && !stray.exists());
    }

    #[test]
    fn what_a_bad_disk_lost_while_it_was_to_be_dropped_is_not_missed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let space = Arc::new(Space::new(2 << 20));
        let (mut keeper, _jobs, _answers) = keeper(dir.path(), &space);
        let film = blocks(DATA_LANE, 0, PIECE_LEN);
        assert!(film.iter().all(|block| stored(&keeper.store(block))));
        // Another stream comes with more than is left: this one is told to drop a piece, and loses it before it does.
        let (worker, _others) = worker::queue();
        let kept = Kept {
            data: (2 << 20) - (64 << 10),
            ..Kept::default()
        };
        space.enter(SwarmId([8; 32]), kept, Some(u64::MAX >> 1), worker);
        let piece = film[0].piece();
        keeper.drop_blocks(piece, film[0].header().full_mask());
        space.leave(SwarmId([8; 32]));
        assert!(stored(&keeper.store(&film[0])));
    }
    #[test]
    fn a_header_that_the_disk_has_lost_takes_its_piece_along_and_both_are_kept_when_they_come_again()
     {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let space = Arc::new(Space::new(64 << 20));
        let (mut keeper, _jobs, _answers) = keeper(dir.path(), &space);
        // So many that the header of the first is in the log alone.
        let film: Vec<_> = (0..40)
            .flat_map(|n| blocks(DATA_LANE, n, BLOCK_LEN + 1))
            .collect();
        assert!(film.iter().all(|block| stored(&keeper.store(block))));
        keeper.idle();
        let (first, piece) = (&film[..2], film[0].piece());
        assert_eq!(keeper.take_kept().len(), 40);
        let load = Output::LoadHeader { piece };
        let loaded = keeper.act(load.clone());
        assert!(
            matches!(&loaded[..], [Input::HeaderLoaded { header }] if header == first[0].header())
        );
        for n in 1..40 {
            keeper.act(Output::LoadHeader {
                piece: PieceId::new(DATA_LANE, n),
            });
        }
        let before = space.used();
        // The log's beginning is the stream's name; the first header follows.
        let log = File::options().write(true).open(dir.path().join("index"));
        let log = log.expect("it is ours");
        log.write_all_at(&[0; 100], 100).expect("it is ours");
        let lost = keeper.act(load.clone());
        assert!(matches!(&lost[..], [Input::HeaderFailed { piece: lost }] if *lost == piece));
        assert!(space.used() < before, "its bytes are no longer counted");
        let mask = Mask(1);
        let failed = keeper.act(Output::Load { piece, mask });
        assert!(matches!(&failed[..], [Input::LoadFailed { .. }]));
        assert!(first.iter().all(|block| stored(&keeper.store(block))));
        keeper.idle();
        let loaded = keeper.act(load);
        assert!(matches!(&loaded[..], [Input::HeaderLoaded { .. }]));
    }
}
