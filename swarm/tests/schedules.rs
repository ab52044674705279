//! Random schedules: whatever happens in whatever order, the invariants hold after every input and the film arrives in the end.

mod common;

use baton_content::{Lane, Mask, PieceId};
use baton_swarm::wire::{Have, Message, Part, Range, Want};
use baton_swarm::{Channel, Config, Demand, Input, Instant, Role};
use bytes::Bytes;
use common::film::Film;
use common::puppet::{Puppet, Stage};
use common::{Habit, Link, SECOND, World};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Run(u64),
    Join {
        up: u64,
        plays: bool,
        partly: bool,
    },
    Poisoner,
    Leave {
        who: usize,
        politely: bool,
    },
    Seek {
        who: usize,
        to: u64,
    },
    Evict {
        who: usize,
        piece: u32,
        mask: u64,
    },
    StoreFailed {
        who: usize,
        piece: u32,
        mask: u64,
    },
    Pause {
        who: usize,
        paused: bool,
        limit: Option<u64>,
    },
    Jitter(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1_000u64..3_000_000).prop_map(Act::Run),
        2 => (100_000u64..5_000_000, any::<bool>(), any::<bool>()).prop_map(|(up, plays, partly)| Act::Join { up, plays, partly }),
        1 => Just(Act::Poisoner),
        1 => (1usize..8, any::<bool>()).prop_map(|(who, politely)| Act::Leave { who, politely }),
        2 => (1usize..8, 0u64..4_000_000).prop_map(|(who, to)| Act::Seek { who, to }),
        1 => (1usize..8, 0u32..4, any::<u64>()).prop_map(|(who, piece, mask)| Act::Evict { who, piece, mask }),
        1 => (1usize..8, 0u32..4, any::<u64>()).prop_map(|(who, piece, mask)| Act::StoreFailed { who, piece, mask }),
        1 => (1usize..8, any::<bool>(), prop::option::of(50_000u64..1_000_000))
            .prop_map(|(who, paused, limit)| Act::Pause { who, paused, limit }),
        1 => (0u64..200_000).prop_map(Act::Jitter),
    ]
}

fn play(acts: Vec<Act>, seed: u64, headers_lost_every: Option<u64>) {
    let mut world = World::new(Film::new(3_500_000), seed);
    world.check_every = 1;
    world.headers_lost_every = headers_lost_every;
    let publisher = world.publisher(Link::new(2_500_000, 5_000_000, 10_000));
    let mut evicted = [false; 64];
    for act in acts {
        let nodes = world.nodes.len();
        let alive = |world: &World, who: usize| who < world.nodes.len() && world.nodes[who].alive;
        match act {
            Act::Run(us) => world.run_for(us),
            Act::Join { .. } | Act::Poisoner if nodes > 7 => {}
            Act::Join { up, plays, partly } => {
                let link = Link::new(up, up * 2, 15_000);
                let who = if partly {
                    world.viewer_with(link, Config::default(), &[1, 3])
                } else {
                    world.viewer(link)
                };
                if plays && !partly {
                    world.play(who, 200_000);
                }
                let others: Vec<usize> = (0..who).collect();
                world.introduce(who, &others);
            }
            Act::Poisoner => {
                let who = world.viewer_with(
                    Link::new(1_000_000, 1_000_000, 5_000),
                    Config::default(),
                    &[0, 1, 2, 3],
                );
                world.nodes[who].habit = Habit::Poison;
                world.introduce(who, &(0..who).collect::<Vec<_>>());
            }
            Act::Leave { who, politely } if alive(&world, who) => {
                world.leave(who, politely);
                if !politely {
                    world.run_for(SECOND);
                    world.notice_death(who);
                }
            }
            Act::Seek { who, to } if alive(&world, who) => {
                let now = world.now;
                if let Some(player) = &mut world.nodes[who].player {
                    player.seek(to % 3_500_000, now);
                }
            }
            Act::Evict { who, piece, mask } if alive(&world, who) => {
                evicted[who] = true;
                let piece = PieceId::new(Lane(1), piece);
                forget(&mut world, who, piece, mask);
                world.input(
                    who,
                    Input::Evicted {
                        piece,
                        mask: Mask(mask),
                    },
                );
            }
            Act::StoreFailed { who, piece, mask } if alive(&world, who) => {
                let piece = PieceId::new(Lane(1), piece);
                forget(&mut world, who, piece, mask);
                world.input(
                    who,
                    Input::StoreFailed {
                        piece,
                        mask: Mask(mask),
                    },
                );
            }
            Act::Pause { who, paused, limit } if alive(&world, who) => {
                world.input(
                    who,
                    Input::Budget {
                        upload_bytes_per_second: limit,
                        paused,
                    },
                );
            }
            Act::Jitter(us) => world.control_jitter_us = us,
            _ => {}
        }
    }
    world.run_for(120 * SECOND);
    for who in (1..world.nodes.len()).filter(|&who| world.nodes[who].alive) {
        let node = &world.nodes[who];
        // Nobody evicts any more; what was evicted is not fetched again by itself.
        if !evicted[who] && node.habit == Habit::Honest {
            assert!(
                world.has_everything(who),
                "node {who}: {:#?}",
                world.stats(who)
            );
        }
    }
    assert!(world.nodes[publisher].alive);
}

fn forget(world: &mut World, who: usize, piece: PieceId, mask: u64) {
    if let Some(blocks) = world.nodes[who].store.get_mut(&piece) {
        blocks.retain(|block, _| mask >> block & 1 == 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_whatever_happens(acts in prop::collection::vec(act(), 5..30), seed in 0u64..1000, lost in prop::option::of(2u64..5)) {
        play(acts, seed, lost);
    }
}

/// What a hostile peer may say, well formed.
fn message() -> impl Strategy<Value = (bool, Bytes)> {
    let part = || {
        (0u16..3, 0u32..4, any::<u64>()).prop_map(|(lane, index, mask)| Part { lane, index, mask })
    };
    let want = (
        0u16..3,
        0u32..4,
        any::<u64>(),
        any::<u8>(),
        prop::option::of(any::<[u8; 8]>()),
    )
        .prop_map(|(lane, index, mask, flags, root8)| Want {
            lane,
            index,
            mask,
            flags,
            root8,
        });
    let range = (0u16..3, any::<u32>(), any::<u32>()).prop_map(|(lane, first, count)| Range {
        lane,
        first,
        count,
    });
    let control = prop_oneof![
        prop::collection::vec(part(), 0..5).prop_map(Message::DontHave),
        prop::collection::vec(part(), 0..5).prop_map(Message::Cancel),
        prop::collection::vec(part(), 0..5).prop_map(Message::StartSet),
        prop::collection::vec(want, 0..5).prop_map(Message::Request),
        (
            prop::collection::vec(range, 0..5),
            prop::collection::vec(part(), 0..5)
        )
            .prop_map(|(ranges, parts)| Message::Have(Have { ranges, parts })),
        any::<u16>().prop_map(Message::Grant),
        (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(echo_us, hold_us, bytes)| {
            Message::Ack(baton_swarm::wire::Ack {
                echo_us,
                hold_us,
                bytes,
            })
        }),
        Just(Message::WantStart),
        any::<u32>().prop_map(Message::Pong),
    ];
    prop_oneof![
        6 => control.prop_map(|message| (false, message.encode())),
        1 => (any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(data, bytes)| (data, bytes.into())),
        1 => (1u8..20, prop::collection::vec(any::<u8>(), 0..100)).prop_map(|(kind, bytes)| {
            (false, [1, kind].into_iter().chain(bytes).collect::<Vec<u8>>().into())
        }),
        2 => (0u32..3, 0u64..62, any::<bool>()).prop_map(|(index, block, whole)| {
            let bytes = Bytes::from(vec![7; if whole { 16_384 } else { 100 }]);
            (true, baton_swarm::wire::encode_blocks(PieceId::new(Lane(1), index), 0, std::iter::once((block as u8, bytes))))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_peer_says_breaks_anything(
        publisher: bool,
        says in prop::collection::vec((0u8..3, message(), 0u64..400_000), 0..120),
    ) {
        let role = if publisher { Role::Publisher } else { Role::Viewer };
        let mut stage = Stage::new(Film::new(3 << 20), role);
        let mut puppets: Vec<Puppet> = (0..3).map(Puppet::new).collect();
        let all = Have { ranges: vec![Range { lane: 0, first: 0, count: 1 }, Range { lane: 1, first: 0, count: 3 }], parts: vec![] };
        for puppet in &puppets {
            stage.join(puppet, all.clone());
        }
        stage.input(Input::Demanded(vec![Demand { piece: PieceId::new(Lane(1), 1), mask: Mask(u64::MAX), deadline: Instant(2_000_000) }]));
        for (next, (who, (data, bytes), pause)) in says.into_iter().enumerate() {
            let puppet = &puppets[usize::from(who)];
            let channel = if data { Channel::Data } else { Channel::Control };
            // The stage checks the invariants after every input.
            let outputs = stage.raw(puppet, channel, bytes);
            stage.wait(pause);
            if common::puppet::dropped(&outputs, puppet).is_some() {
                let mut again = Puppet::new(10 + next as u8);
                again.conn = baton_swarm::ConnId(100 + next as u64);
                stage.join(&again, all.clone());
                puppets[usize::from(who)] = again;
            }
        }
        if let Some(at) = stage.swarm.poll_timeout() {
            prop_assert!(at > Instant(stage.now), "a timer is never left in the past");
        }
    }
}
