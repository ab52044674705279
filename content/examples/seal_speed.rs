//! How fast a piece is sealed, verified and opened, in MiB/s and in ms per MiB; header costs in µs.
//!
//! `cargo run --release -p baton-content --example seal_speed`

use baton_content::{
    BlockIndex, ContentKey, DATA_LANE, Header, PIECE_LEN, PieceFlags, PieceIndex, PieceMeta,
    PublisherKey, SwarmKey, seal,
};
use bytes::Bytes;
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let publisher = PublisherKey::from_seed([1; 32]);
    let swarm = SwarmKey::from_seed([2; 32]).id();
    let lane_key = ContentKey::from_random([3; 32]).lane_key(DATA_LANE);
    let meta = PieceMeta {
        swarm,
        epoch: 0,
        lane: DATA_LANE,
        index: PieceIndex(0),
        flags: PieceFlags::NONE,
        media_time_us: 0,
    };
    let mut piece = vec![7; PIECE_LEN];
    let header = seal(&lane_key, &publisher, meta, &mut piece);
    let sealed = Bytes::from(piece.clone());

    per_piece("seal", || {
        black_box(seal(&lane_key, &publisher, meta, &mut piece));
    });
    per_piece("verify, block by block", || {
        for block in header.full_mask().iter() {
            let start = usize::from(block.0) * header.block_len(block);
            black_box(header.verify(block, sealed.slice(start..start + header.block_len(block))))
                .expect("what was sealed verifies");
        }
    });
    per_piece("open", || {
        lane_key.apply(header.core(), BlockIndex(0), black_box(&mut piece))
    });
    per_call("sign a core", || {
        black_box(publisher.sign(&header.core().to_bytes()));
    });
    per_call("parse a header of 64 blocks", || {
        black_box(
            Header::parse(header.bytes().clone(), &publisher.id(), &swarm)
                .expect("what was sealed parses"),
        );
    });
}

fn per_piece(what: &str, f: impl FnMut()) {
    let seconds = seconds_per_run(200, f);
    println!(
        "{what:30} {:8.0} MiB/s {:8.3} ms per MiB",
        1.0 / seconds,
        seconds * 1e3
    );
}

fn per_call(what: &str, f: impl FnMut()) {
    println!("{what:30} {:8.1} µs", seconds_per_run(2_000, f) * 1e6);
}

/// The best of five, because other work on the machine only ever slows things down.
fn seconds_per_run(runs: u32, mut f: impl FnMut()) -> f64 {
    let mut run = || {
        let start = Instant::now();
        (0..runs / 5).for_each(|_| f());
        start.elapsed().as_secs_f64() / f64::from(runs / 5)
    };
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}
