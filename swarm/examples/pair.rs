//! What the engine costs: CPU milliseconds per MiB at each end of a transfer, crypto and the film's making not counted.
//!
//!     cargo run --release -p baton-swarm --example pair
//!
//! Two engines hand each other their messages without any delay or copy; every call is timed. The receiver's verification is measured
//! apart, on the same blocks, and taken off.

use baton_content::{
    ContentKey, Head, Lane, LaneState, Mask, PeerKey, PieceFlags, PieceId, PieceMeta, PublisherKey,
    Sealed, SignedHead, SwarmKey, VerifiedBlock, seal_blocks,
};
use baton_swarm::{Binding, Config, ConnId, Input, Instant, Output, Path, Role, Stream, Swarm};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant as Clock};

const PIECE: usize = 1 << 20;

struct End {
    swarm: Swarm,
    inbox: VecDeque<Input>,
    spent: Duration,
    sent: u64,
}

fn main() {
    for pieces in [64, 2_000, 50_000] {
        run(pieces, 192.min(pieces));
    }
}

fn run(pieces: u32, transfer: u32) {
    let publisher = PublisherKey::from_seed([1; 32]);
    let swarm = SwarmKey::from_seed([2; 32]).id();
    let lanes = vec![
        LaneState {
            lane: Lane(0),
            pieces: 1,
            open: true,
        },
        LaneState {
            lane: Lane(1),
            pieces,
            open: false,
        },
    ];
    let head = SignedHead::sign(
        Head {
            lanes,
            ..Head::new(swarm)
        },
        &publisher,
    );
    let key = ContentKey::from_random([3; 32]);
    let seal = |piece: PieceId| {
        let meta = PieceMeta {
            swarm,
            epoch: 0,
            lane: piece.lane,
            index: piece.index,
            flags: PieceFlags::NONE,
            media_time_us: 0,
        };
        let len = if piece.lane == Lane(0) { 500 } else { PIECE };
        seal_blocks(
            &key.lane_key(piece.lane),
            &publisher,
            meta,
            vec![piece.index.0 as u8; len],
        )
    };
    let end = |role, seed: u8, head| {
        let stream = Stream {
            publisher: publisher.id(),
            swarm,
            head,
        };
        let key = PeerKey::from_seed([seed; 32]);
        let swarm = Swarm::new(
            stream,
            Vec::new(),
            role,
            Config::default(),
            key,
            u64::from(seed),
            Instant(0),
            0,
        );
        End {
            swarm,
            inbox: VecDeque::new(),
            spent: Duration::ZERO,
            sent: 0,
        }
    };
    let mut ends = [
        end(Role::Publisher, 10, Some(head)),
        end(Role::Viewer, 11, None),
    ];
    let binding = Binding {
        local_nonce: [1; 16],
        remote_nonce: [2; 16],
        local_fingerprint: [3; 32],
        remote_fingerprint: [4; 32],
        offerer: true,
    };
    let ids = [
        PeerKey::from_seed([10; 32]).id(),
        PeerKey::from_seed([11; 32]).id(),
    ];
    for (at, binding) in [binding, binding.swapped()].into_iter().enumerate() {
        ends[at].inbox.push_back(Input::Connected {
            conn: ConnId(1),
            peer: ids[1 - at],
            binding,
            path: Path::Direct,
        });
        ends[at].inbox.push_back(Input::Writable {
            conn: ConnId(1),
            credit: 1 << 20,
        });
    }
    ends[1].inbox.push_back(Input::Demanded(Vec::new()));
    let mut sealed: BTreeMap<PieceId, Sealed> = BTreeMap::new();
    let mut blocks: Vec<VerifiedBlock> = Vec::new();
    let (mut now, mut calls) = (0, 0u64);
    while blocks.len() < transfer as usize * 64 {
        now += 20;
        let mut idle = true;
        for at in 0..2 {
            let due = ends[at]
                .swarm
                .poll_timeout()
                .is_some_and(|due| due <= Instant(now));
            let Some(input) = ends[at]
                .inbox
                .pop_front()
                .or(due.then_some(Input::TimedOut))
            else {
                continue;
            };
            idle = false;
            calls += 1;
            let start = Clock::now();
            ends[at].swarm.handle_input(Instant(now), input);
            let outputs: Vec<Output> =
                std::iter::from_fn(|| ends[at].swarm.poll_output()).collect();
            ends[at].spent += start.elapsed();
            for output in outputs {
                match output {
                    Output::Send { channel, bytes, .. } => {
                        ends[at].sent += bytes.len() as u64;
                        let credit = ends[at].sent + (1 << 20);
                        ends[at].inbox.push_back(Input::Writable {
                            conn: ConnId(1),
                            credit,
                        });
                        ends[1 - at].inbox.push_back(Input::Received {
                            conn: ConnId(1),
                            channel,
                            bytes,
                        });
                    }
                    Output::Seal { piece } => {
                        let header = sealed
                            .entry(piece)
                            .or_insert_with(|| seal(piece))
                            .header()
                            .clone();
                        ends[at].inbox.push_back(Input::Sealed { header });
                    }
                    Output::Load { piece, mask } => {
                        for block in mask.iter() {
                            let block = sealed[&piece].block(block).expect("sealed before");
                            ends[at].inbox.push_back(Input::Loaded { block });
                        }
                    }
                    Output::Deliver(block) => blocks.push(block),
                    Output::Store { block } => {
                        let (piece, mask) = (block.piece(), Mask::of(block.block()));
                        ends[at].inbox.push_back(Input::Stored { piece, mask });
                    }
                    _ => {}
                }
            }
        }
        if idle {
            let next = ends
                .iter()
                .filter_map(|end| end.swarm.poll_timeout())
                .min()
                .expect("somebody waits for something");
            now = next.0;
        }
    }
    let start = Clock::now();
    for block in &blocks {
        block
            .header()
            .verify(block.block(), block.bytes().clone())
            .expect("verified before");
    }
    let verify = start.elapsed();
    let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
    let per_mib = |spent: Duration| spent.as_secs_f64() * 1e3 / (bytes as f64 / PIECE as f64);
    println!(
        "{pieces:>6} pieces, {} MiB moved: sender {:.3} ms/MiB, receiver {:.3} ms/MiB (+ {:.3} verifying), {} calls",
        bytes >> 20,
        per_mib(ends[0].spent),
        per_mib(ends[1].spent.saturating_sub(verify)),
        per_mib(verify),
        calls,
    );
}
