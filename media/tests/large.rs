//! A film of 50 GB costs no more memory than its tables and the bytes that are about to be played.

use baton_media::{Media, Output, Support};
use bytes::Bytes;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is allocated, and the most that ever was.
struct Counting;
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work; we only count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
}

fn table(kind: &[u8; 4], head: &[u32], entries: impl Iterator<Item = u32>) -> Vec<u8> {
    let words: Vec<u8> = head.iter().copied().chain(entries).flat_map(u32::to_be_bytes).collect();
    boxed(kind, &[&words])
}

const GB: u64 = 1 << 30;
const PICTURES: u32 = 24 * 3600 * 3;
const PICTURE: u32 = 200_000;

/// Three hours of pictures of 200 KB each: every one a chunk of its own with a 64-bit place and a size in the table.
fn moov() -> Vec<u8> {
    let avcc = boxed(b"avcC", &[&[1, 0x64, 0, 0x1e, 0xff, 0xe0, 0]]);
    let avc1 = boxed(b"avc1", &[&[0, 0, 0, 0, 0, 0, 0, 1], &[0; 16], &[2, 128, 1, 104], &[0; 50], &avcc]);
    let place = |i: u32| 4096 + u64::from(i) * u64::from(PICTURE);
    let stbl = boxed(
        b"stbl",
        &[
            &boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &avc1]),
            &table(b"stts", &[0, 1, PICTURES, 1], [].into_iter()),
            &table(b"stss", &[0, PICTURES / 48], (0..PICTURES / 48).map(|i| i * 48 + 1)),
            &table(b"stsc", &[0, 1, 1, 1, 1], [].into_iter()),
            &table(b"stsz", &[0, 0, PICTURES], (0..PICTURES).map(|i| PICTURE - i % 7)),
            &table(b"co64", &[0, PICTURES], (0..PICTURES).flat_map(|i| [(place(i) >> 32) as u32, place(i) as u32])),
        ],
    );
    let matrix = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    let tkhd = table(b"tkhd", &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], matrix.into_iter().chain([640 << 16, 360 << 16]));
    let mdhd = table(b"mdhd", &[0, 0, 0, 24, PICTURES, 0x55c4_0000], [].into_iter());
    let hdlr = boxed(b"hdlr", &[&[0; 8], b"vide", &[0; 13]]);
    let trak = boxed(b"trak", &[&tkhd, &boxed(b"mdia", &[&mdhd, &hdlr, &boxed(b"minf", &[&stbl])])]);
    let mvhd = table(b"mvhd", &[0, 0, 0, 24, PICTURES], (0..20).map(|_| 0));
    boxed(b"moov", &[&mvhd, &trak])
}

#[test]
fn fifty_gigabytes_take_the_memory_of_their_tables() {
    let moov = Bytes::from(moov());
    let len = 50 * GB;
    let mut at = len - moov.len() as u64;
    let ftyp = Bytes::from_static(b"\0\0\0\x10ftypisom\0\0\0\0");
    let mdat = [&1u32.to_be_bytes()[..], b"mdat", &(at - 16).to_be_bytes()].concat();
    let head = Bytes::from([&ftyp[..], &mdat, &vec![0; (64 << 10) - ftyp.len() - mdat.len()]].concat());
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    let mut media = Media::new(len, None, Support::default());
    media.handle_bytes(0, head);
    while at < len {
        let from = (at + moov.len() as u64 - len) as usize;
        let piece = moov.slice(from..moov.len().min(from + (1 << 20)));
        media.handle_bytes(at, Bytes::copy_from_slice(&piece));
        at += piece.len() as u64;
    }
    let (mut pictures, mut out) = (0u64, 0u64);
    for minute in (0..180).step_by(12) {
        media.seek(minute * 60_000_000);
        for _ in 0..40 {
            while let Some(output) = media.poll_output() {
                match output {
                    Output::Segment { bytes, .. } => (pictures, out) = (pictures + 1, out + bytes.len() as u64),
                    Output::Failed(error) => panic!("{error}"),
                    _ => {}
                }
            }
            for demand in media.demands().into_iter().take(4) {
                let end = demand.range.end.min(demand.range.start + (256 << 10));
                media.handle_bytes(demand.range.start, vec![0; (end - demand.range.start) as usize].into());
            }
        }
    }
    let most = MOST.load(Relaxed) - before;
    println!(
        "moov {} KiB, {pictures} segments with {} MiB out, at most {} MiB held",
        moov.len() >> 10,
        out >> 20,
        most >> 20
    );
    assert!(pictures > 200, "{pictures}");
    // The table, a copy of it while it is put together, 32 MiB of film, and what is on its way out.
    assert!(most < (48 << 20) + 3 * moov.len(), "{} MiB", most >> 20);
}
