//! The disk against crashes, flipped bits and refusals, at every write.

use super::*;
use crate::worker::store::{Limits, Store};
use baton_content::{
    ContentKey, Head, Lane, LaneState, PieceFlags, PieceIndex, PieceMeta, PublisherKey, Sealed,
    seal_blocks,
};
use baton_swarm::Input;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::OnceLock;

/// A file in memory, which several of these have open, and what it does to those who write.
#[derive(Clone, Default)]
struct Medium(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    /// Writes that still go well, and what happens to the one after: it is refused having written half.
    good_writes: Option<(usize, Fault)>,
    /// Refuses to grow beyond this.
    room: Option<usize>,
    writes: usize,
}

impl super::Medium for Medium {
    fn size(&self) -> Result<u64, Fault> {
        Ok(self.0.borrow().bytes.len() as u64)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, Fault> {
        let inner = self.0.borrow();
        let from = inner.bytes.get(at as usize..).unwrap_or_default();
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut inner = self.0.borrow_mut();
        inner.writes += 1;
        let mut len = bytes.len();
        let mut result = Ok(());
        match &mut inner.good_writes {
            Some((0, fault)) => {
                result = Err(*fault);
                len /= 2;
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        let end = at as usize + len;
        if inner.room.is_some_and(|room| end > room) {
            return Err(Fault::Full);
        }
        if inner.bytes.len() < end {
            inner.bytes.resize(end, 0);
        }
        inner.bytes[at as usize..end].copy_from_slice(&bytes[..len]);
        result
    }

    fn truncate(&mut self, len: u64) -> Result<(), Fault> {
        self.0.borrow_mut().bytes.truncate(len as usize);
        Ok(())
    }
}

impl Medium {
    /// What a machine that lost its power would find, now.
    fn copy(&self) -> Medium {
        let bytes = self.0.borrow().bytes.clone();
        Medium(Rc::new(RefCell::new(Inner {
            bytes,
            ..Inner::default()
        })))
    }

    fn fail_after(&self, writes: usize, fault: Fault) {
        self.0.borrow_mut().good_writes = Some((writes, fault));
    }

    fn flip(&self, bit: usize) {
        let bytes = &mut self.0.borrow_mut().bytes;
        let len = bytes.len() * 8;
        if len > 0 {
            bytes[bit % len / 8] ^= 1 << (bit % 8);
        }
    }

    fn cut(&self, len: usize) {
        self.0.borrow_mut().bytes.truncate(len);
    }

    fn len(&self) -> usize {
        self.0.borrow().bytes.len()
    }
}

const SWARM: SwarmId = SwarmId([7; 32]);

fn key() -> PublisherKey {
    PublisherKey::from_seed([1; 32])
}

/// A piece of two blocks and a bit. Each is signed once: that is most of the time that these tests take.
fn piece(index: u32) -> &'static Sealed {
    static PIECES: [OnceLock<Sealed>; 32] = [const { OnceLock::new() }; 32];
    PIECES[index as usize].get_or_init(|| seal(index))
}

fn seal(index: u32) -> Sealed {
    let lane = Lane(u16::from(index > 0));
    let meta = PieceMeta {
        swarm: SWARM,
        epoch: 0,
        lane,
        index: PieceIndex(index),
        flags: PieceFlags::NONE,
        media_time_us: 0,
    };
    let key_of_lane = ContentKey::from_random([3; 32]).lane_key(lane);
    seal_blocks(&key_of_lane, &key(), meta, vec![index as u8; 40_000])
}

fn head(pieces: u32) -> SignedHead {
    let mut head = Head::new(SWARM);
    let lane = |lane, pieces| LaneState {
        lane: Lane(lane),
        pieces,
        open: true,
    };
    head.revision = u64::from(pieces);
    head.lanes = vec![lane(0, 1), lane(1, pieces)];
    SignedHead::sign(head, &key())
}

fn blocks(sealed: &Sealed) -> Vec<VerifiedBlock> {
    let all = sealed.header().full_mask();
    all.iter().filter_map(|b| sealed.block(b)).collect()
}

fn open(log: &Medium, blocks: &Medium) -> Disk<Medium> {
    Disk::open(log.clone(), blocks.clone(), key().id(), SWARM).expect("this medium opens")
}

fn claimed(disk: &mut Disk<Medium>) -> usize {
    let found = disk.find(usize::MAX);
    found.iter().map(|(_, mask)| mask.count()).sum()
}

#[test]
fn what_was_written_is_found_again_manifest_first() {
    let (log, file) = (Medium::default(), Medium::default());
    let mut disk = open(&log, &file);
    for index in [5, 0, 3] {
        let sealed = piece(index);
        let all = blocks(sealed);
        disk.put(sealed.header(), &all.iter().collect::<Vec<_>>())
            .expect("there is room");
    }
    disk.set_head(&head(4));
    disk.set_head(&head(2));
    disk.commit().expect("there is room");
    let mut disk = open(&log, &file);
    assert_eq!(disk.head().map(|head| head.head().revision), Some(4));
    let found: Vec<u32> = disk
        .find(9)
        .iter()
        .map(|(header, _)| header.id().index.0)
        .collect();
    assert_eq!(found, [0, 3, 5]);
    let (read, lost) = disk.read(piece(5).header().id(), Mask(0b111));
    assert_eq!((read.len(), lost), (3, Mask::EMPTY));
    assert_eq!(read[2].bytes(), blocks(piece(5))[2].bytes());
}

#[test]
fn a_log_torn_anywhere_keeps_what_was_whole_before_the_tear_and_goes_on() {
    let (log, file) = (Medium::default(), Medium::default());
    let mut disk = open(&log, &file);
    for index in 0..4 {
        let sealed = piece(index);
        for block in blocks(sealed) {
            disk.put(sealed.header(), &[&block]).expect("there is room");
        }
    }
    disk.commit().expect("there is room");
    let mut before = 0;
    for cut in (0..log.len()).step_by(7).chain([log.len()]) {
        let (log, file) = (log.copy(), file.copy());
        log.cut(cut);
        let mut disk = open(&log, &file);
        let count = claimed(&mut disk);
        assert!(count >= before, "a longer log has no fewer blocks");
        before = count;
        let sealed = piece(9);
        disk.put(sealed.header(), &[&blocks(sealed)[0]])
            .expect("there is room");
        disk.commit().expect("there is room");
        let mut again = open(&log, &file);
        assert_eq!(claimed(&mut again), count + 1);
        let (read, _) = again.read(sealed.header().id(), Mask(1));
        assert_eq!(read.len(), 1);
    }
    assert_eq!(before, 12);
}

#[test]
fn a_stream_of_another_publisher_or_format_begins_anew() {
    let (log, file) = (Medium::default(), Medium::default());
    let mut disk = open(&log, &file);
    let sealed = piece(1);
    disk.put(sealed.header(), &[&blocks(sealed)[0]])
        .expect("there is room");
    disk.commit().expect("there is room");
    let other = PublisherKey::from_seed([2; 32]).id();
    let mut disk = Disk::open(log, file.clone(), other, SWARM).expect("it opens");
    assert_eq!((claimed(&mut disk), file.len()), (0, 0));
}

#[test]
fn places_that_were_given_back_are_used_again_also_after_a_reopening() {
    let (log, file) = (Medium::default(), Medium::default());
    let mut disk = open(&log, &file);
    let put = |disk: &mut Disk<Medium>, index| {
        let sealed = piece(index);
        let all = blocks(sealed);
        disk.put(sealed.header(), &all.iter().collect::<Vec<_>>())
            .expect("there is room");
    };
    (1..=8).for_each(|index| put(&mut disk, index));
    disk.commit().expect("there is room");
    let full = file.len();
    disk.remove(PieceId::new(Lane(1), 3), Mask(u64::MAX));
    disk.remove(PieceId::new(Lane(1), 6), Mask(u64::MAX));
    put(&mut disk, 9);
    disk.commit().expect("there is room");
    let mut disk = open(&log, &file);
    put(&mut disk, 3);
    assert!(file.len() <= full);
    for index in [1, 2, 3, 4, 5, 7, 8, 9] {
        let (read, lost) = disk.read(PieceId::new(Lane(1), index), Mask(0b111));
        assert_eq!((read.len(), lost), (3, Mask::EMPTY), "piece {index}");
    }
}

#[test]
fn a_block_whose_bytes_changed_is_forgotten_and_its_neighbours_are_not() {
    let (log, file) = (Medium::default(), Medium::default());
    let mut disk = open(&log, &file);
    let sealed = piece(1);
    let all = blocks(sealed);
    disk.put(sealed.header(), &all.iter().collect::<Vec<_>>())
        .expect("there is room");
    disk.commit().expect("there is room");
    file.flip(BLOCK_LEN * 8 + 5);
    let id = sealed.header().id();
    let (read, lost) = disk.read(id, Mask(0b111));
    assert_eq!((read.len(), lost), (2, Mask(0b010)));
    disk.commit().expect("there is room");
    let mut disk = open(&log, &file);
    assert_eq!(claimed(&mut disk), 2);
    disk.put(sealed.header(), &[&all[1]])
        .expect("there is room");
    assert_eq!(disk.read(id, Mask(0b111)).0.len(), 3);
}

#[test]
fn headers_are_read_from_the_log_when_they_are_asked_for() {
    let (log, file) = (Medium::default(), Medium::default());
    let mut disk = open(&log, &file);
    let count = RECENT_HEADERS as u32 + 40;
    let sealed: Vec<Sealed> = (1..=count).map(seal).collect();
    let header = |index: u32| sealed[index as usize - 1].header();
    for sealed in &sealed {
        disk.put(sealed.header(), &[&blocks(sealed)[0]])
            .expect("there is room");
    }
    assert!(disk.take_kept().is_empty(), "nothing is written yet");
    disk.commit().expect("there is room");
    assert_eq!(disk.take_kept().len(), count as usize);
    assert_eq!(disk.recent.len(), RECENT_HEADERS);
    assert!(disk.unwritten.is_empty());
    for index in [1, 2, count] {
        let id = header(index).id();
        assert_eq!(disk.header(id).as_ref(), Some(header(index)));
    }
    let mut again = open(&log, &file);
    assert_eq!(claimed(&mut again), count as usize);
    assert_eq!(again.take_kept().len(), count as usize);
    // One that does not hold takes its blocks with it.
    let bytes = log.0.borrow().bytes.clone();
    let hash = &header(3).bytes()[200..232];
    let at = bytes.windows(32).position(|window| window == hash);
    log.flip(at.expect("the log has it") * 8);
    let id = header(3).id();
    disk.recent.clear();
    let (read, lost) = disk.read(id, Mask(0));
    assert_eq!((read.len(), lost), (0, Mask(1)));
    assert_eq!((disk.header(id), disk.have(id)), (None, Mask::EMPTY));
    // And it can come again.
    disk.put(header(3), &[&blocks(&sealed[2])[0]])
        .expect("there is room");
    disk.commit().expect("there is room");
    assert_eq!(disk.take_kept(), [id]);
}

#[test]
fn what_does_not_fit_pushes_out_what_is_farthest_behind_and_then_farthest_ahead() {
    let limits = Limits {
        memory: 4 * 40_000,
        cache: 0,
        unwritten: 1,
        ..Limits::default()
    };
    let mut store: Store<Medium> = Store::new(limits);
    store.set_need(PieceId::new(Lane(1), 5));
    for index in [0, 2, 9, 6, 3, 5, 7] {
        blocks(piece(index))
            .into_iter()
            .for_each(|block| store.put(block));
    }
    let left: Vec<u32> = (0..10)
        .filter(|&index| {
            let lane = Lane(u16::from(index > 0));
            !store.have(PieceId::new(lane, index)).is_empty()
        })
        .collect();
    assert_eq!(left, [0, 5, 6, 7]);
    assert!(store.is_full());
    let gone: BTreeSet<u32> = store.take_gone().iter().map(evicted).collect();
    assert_eq!(gone, BTreeSet::from([2, 3, 9]));
}

/// The pieces of 0 to 9 that are left after all of them came to a store that has room for four.
fn left_of_ten(prepare: impl FnOnce(&mut Store<Medium>)) -> Vec<u32> {
    let limits = Limits {
        memory: 4 * 40_000,
        cache: 0,
        unwritten: 1,
        ..Limits::default()
    };
    let mut store: Store<Medium> = Store::new(limits);
    prepare(&mut store);
    for index in 0..10 {
        let blocks = blocks(piece(index));
        blocks.into_iter().for_each(|block| store.put(block));
    }
    let id = |index: u32| PieceId::new(Lane(u16::from(index > 0)), index);
    let here = |index: &u32| !store.have(id(*index)).is_empty();
    (0..10).filter(here).collect()
}

#[test]
fn what_is_read_into_a_file_is_needed_as_what_is_looked_at() {
    let at = |index| PieceId::new(Lane(1), index);
    // Who reads is where nobody looks.
    let left = left_of_ten(|store| store.set_reading(Some(at(6))));
    assert_eq!(left, [0, 6, 7, 8]);
    // Both have what comes next.
    let left = left_of_ten(|store| {
        store.set_need(at(2));
        store.set_reading(Some(at(7)));
    });
    assert_eq!(left, [0, 2, 3, 7]);
    // Who has read all leaves nothing behind.
    let left = left_of_ten(|store| {
        store.set_reading(Some(at(7)));
        store.set_reading(None);
    });
    assert_eq!(left, [0, 1, 2, 3]);
}

#[test]
fn a_refusal_of_the_quota_fixes_the_size() {
    let (log, file) = (Medium::default(), Medium::default());
    let mut store: Store<Medium> = Store::new(Limits {
        unwritten: 1,
        ..Limits::default()
    });
    let mut disk = open(&log, &file);
    disk.set_capacity(1 << 30);
    store.set_disk(disk);
    assert!(!store.is_full());
    let before = store.pieces_ahead();
    file.fail_after(0, Fault::Full);
    for index in 1..4 {
        let blocks = blocks(piece(index));
        blocks.into_iter().for_each(|block| store.put(block));
    }
    assert!(store.is_full());
    assert!(store.pieces_ahead() < before);
}

fn evicted(input: &Input) -> u32 {
    match input {
        Input::Evicted { piece, .. } | Input::StoreFailed { piece, .. } => piece.index.0,
        other => panic!("no eviction: {other:?}"),
    }
}

#[test]
fn a_film_larger_than_memory_is_on_the_disk_and_memory_stays_small() {
    let (log, file) = (Medium::default(), Medium::default());
    let limits = Limits {
        memory: 0,
        cache: 3 * 40_000,
        unwritten: 50_000,
        ..Limits::default()
    };
    let mut store = Store::new(limits);
    store.set_disk(open(&log, &file));
    for index in 1..=30 {
        blocks(piece(index))
            .into_iter()
            .for_each(|block| store.put(block));
        assert!(store.memory_bytes() <= 3 * 40_000);
    }
    for index in 1..=30 {
        let whole = store.whole(PieceId::new(Lane(1), index));
        assert_eq!(whole.map(|blocks| blocks.len()), Some(3), "piece {index}");
    }
    assert!(store.take_gone().is_empty());
}

/// Puts thirty pieces into a store whose disk refuses a write, and says what the engine believes afterwards.
fn believed(store: &mut Store<Medium>) -> BTreeSet<(PieceId, u8)> {
    let mut believed = BTreeSet::new();
    for index in 0..30 {
        for block in blocks(piece(index)) {
            believed.insert((block.piece(), block.block().0));
            store.put(block);
            settle(store, &mut believed);
        }
        store.set_need(PieceId::new(Lane(1), index));
        store.write_out();
        settle(store, &mut believed);
    }
    believed
}

fn settle(store: &mut Store<Medium>, believed: &mut BTreeSet<(PieceId, u8)>) {
    for input in store.take_gone() {
        match input {
            Input::Evicted { piece, mask } | Input::StoreFailed { piece, mask } => {
                believed.retain(|(p, b)| *p != piece || !mask.contains(BlockIndex(*b)));
            }
            other => panic!("not of a store: {other:?}"),
        }
    }
}

/// Whether all that the engine believes to be here can be read, once what turned out to be lost was told.
fn check_all(store: &mut Store<Medium>, mut believed: BTreeSet<(PieceId, u8)>) {
    for (piece, block) in believed.clone() {
        let read = store.read(piece, Mask::of(BlockIndex(block)));
        settle(store, &mut believed);
        let here = !read.is_empty();
        assert_eq!(here, believed.contains(&(piece, block)), "{piece} {block}");
    }
}

#[test]
fn a_refusal_at_any_write_costs_blocks_at_most_and_the_engine_is_told_of_each() {
    let limits = Limits {
        memory: usize::MAX,
        cache: 100_000,
        unwritten: 50_000,
        ..Limits::default()
    };
    let count = {
        let (log, file) = (Medium::default(), Medium::default());
        let mut store = Store::new(limits);
        store.set_disk(open(&log, &file));
        let believed = believed(&mut store);
        assert_eq!(believed.len(), 90);
        check_all(&mut store, believed);
        let writes = |medium: &Medium| medium.0.borrow().writes;
        writes(&log).max(writes(&file))
    };
    for write in 0..count {
        for fault in [Fault::Full, Fault::Broken] {
            for log_fails in [true, false] {
                let (log, file) = (Medium::default(), Medium::default());
                let mut store = Store::new(limits);
                store.set_disk(open(&log, &file));
                let failing = if log_fails { &log } else { &file };
                failing.fail_after(write, fault);
                let believed = believed(&mut store);
                check_all(&mut store, believed);
                // What a crash leaves now is opened without a word, and every claim is true or found out.
                let (log, file) = (log.copy(), file.copy());
                let mut disk = open(&log, &file);
                for (header, mask) in disk.find(usize::MAX) {
                    let (read, lost) = disk.read(header.id(), mask);
                    assert_eq!(read.len() + lost.count(), mask.count());
                }
            }
        }
    }
}

#[test]
fn a_small_quota_keeps_what_is_near_and_the_log_too() {
    let (log, file) = (Medium::default(), Medium::default());
    file.0.borrow_mut().room = Some(10 * 3 * BLOCK_LEN);
    let mut store = Store::new(Limits {
        memory: 0,
        cache: 0,
        unwritten: 0,
        ..Limits::default()
    });
    store.set_disk(open(&log, &file));
    let believed = believed(&mut store);
    assert!(believed.len() >= 27, "{} blocks are kept", believed.len());
    assert!(believed.contains(&(PieceId::new(Lane(1), 29), 0)));
    check_all(&mut store, believed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn flipped_bits_and_cut_files_never_give_a_wrong_block(
        flips in prop::collection::vec((any::<bool>(), any::<usize>()), 0..12),
        cuts in prop::collection::vec((any::<bool>(), 0usize..300_000), 0..2),
    ) {
        let (log, file) = (Medium::default(), Medium::default());
        let mut disk = open(&log, &file);
        for index in 0..5 {
            let sealed = piece(index);
            let all = blocks(sealed);
            disk.put(sealed.header(), &all.iter().collect::<Vec<_>>()).expect("there is room");
        }
        disk.commit().expect("there is room");
        for (in_log, bit) in flips {
            if in_log { &log } else { &file }.flip(bit);
        }
        for (in_log, len) in cuts {
            if in_log { &log } else { &file }.cut(len);
        }
        let mut disk = open(&log, &file);
        for (header, mask) in disk.find(usize::MAX) {
            let (read, lost) = disk.read(header.id(), mask);
            prop_assert_eq!(read.len() + lost.count(), mask.count());
            let true_blocks = blocks(piece(header.id().index.0));
            for block in read {
                prop_assert_eq!(block.bytes(), true_blocks[usize::from(block.block().0)].bytes());
            }
            // What was lost is fetched again and kept.
            let missing: Vec<_> = true_blocks.iter().filter(|b| lost.contains(b.block())).collect();
            disk.put(&header, &missing).expect("there is room");
            prop_assert_eq!(disk.read(header.id(), mask).1, Mask::EMPTY);
        }
    }
}
