//! Peers played by the test: what is refused, with which reason, and that nobody else notices.

mod common;

use baton_content::{Lane, Mask, PieceId, SignedHead};
use baton_swarm::wire::{self, Have, Message, Part, Range, Signature, Want, WireError};
use baton_swarm::{Channel, Demand, Event, Flood, Input, Instant, Output, Reason, Role};
use bytes::Bytes;
use common::film::Film;
use common::puppet::{Puppet, Stage, dropped, heard, refused};

fn all_of_it() -> Have {
    Have {
        ranges: vec![
            Range {
                lane: 0,
                first: 0,
                count: 1,
            },
            Range {
                lane: 1,
                first: 0,
                count: 2,
            },
        ],
        parts: vec![],
    }
}

fn viewer() -> Stage {
    Stage::new(Film::new(2 << 20), Role::Viewer)
}

fn publisher() -> Stage {
    Stage::new(Film::new(2 << 20), Role::Publisher)
}

fn piece(index: u32) -> PieceId {
    PieceId::new(Lane(1), index)
}

fn blocks(stage: &Stage, piece: PieceId, mask: u64) -> Bytes {
    let sealed = stage.film.sealed(piece);
    let parts = Mask(mask)
        .iter()
        .map(|block| (block.0, sealed.block(block).expect("there").bytes().clone()));
    wire::encode_blocks(piece, 0, parts)
}

fn wanted(outputs: &[Output], puppet: &Puppet) -> Vec<Want> {
    let of = |message| {
        if let Message::Request(wants) = message {
            wants
        } else {
            Vec::new()
        }
    };
    heard(outputs, puppet).into_iter().flat_map(of).collect()
}

#[test]
fn the_first_message_is_hello_and_goes_out_at_once() {
    let mut stage = publisher();
    let puppet = Puppet::new(1);
    let outputs = stage.connect(&puppet);
    let Some(Message::Hello(hello)) = heard(&outputs, &puppet).into_iter().next() else {
        panic!("{outputs:?}")
    };
    assert!(hello.head.is_some() && hello.grant > 0 && !hello.have.ranges.is_empty());
    let me = baton_content::PeerKey::from_seed([50; 32]).id();
    let statement = wire::hello_statement(&stage.film.swarm, &me, &puppet.id(), &puppet.binding);
    assert!(baton_content::verify_signature(
        &me.0,
        &statement,
        &hello.signature.bytes()
    ));
}

/// A message and the reason for which it is refused.
type Case = (Channel, Bytes, fn(&Reason) -> bool);

#[test]
fn malformed_messages_cost_their_sender_the_connection_and_nobody_else() {
    let cases: Vec<Case> = vec![
        (Channel::Control, Bytes::new(), |r| {
            matches!(r, Reason::Malformed(WireError::Short))
        }),
        (Channel::Control, Bytes::from_static(&[9, 3]), |r| {
            matches!(r, Reason::Malformed(WireError::Version(9)))
        }),
        (Channel::Control, Bytes::from(vec![1; 65_537]), |r| {
            matches!(r, Reason::Malformed(WireError::TooLong(65_537)))
        }),
        (
            Channel::Control,
            Bytes::from_static(&[1, 5, 0xff, 0xff]),
            |r| matches!(r, Reason::Malformed(WireError::Body(5))),
        ),
        (Channel::Control, Bytes::from_static(&[1, 64]), |r| {
            matches!(r, Reason::Malformed(WireError::WrongChannel(64)))
        }),
        (Channel::Data, Bytes::from_static(&[1, 3]), |r| {
            matches!(r, Reason::Malformed(WireError::WrongChannel(3)))
        }),
        (Channel::Data, Bytes::from_static(&[1, 64, 0]), |r| {
            matches!(r, Reason::Malformed(WireError::BlockLength(3)))
        }),
        (
            Channel::Data,
            Bytes::from(
                vec![1u8, 64]
                    .into_iter()
                    .chain(vec![0; 1000])
                    .collect::<Vec<_>>(),
            ),
            |r| matches!(r, Reason::Malformed(WireError::BlockLength(1002))),
        ),
    ];
    for (channel, bytes, expected) in cases {
        let mut stage = viewer();
        let (good, bad) = (Puppet::new(1), Puppet::new(2));
        stage.join(&good, all_of_it());
        stage.join(&bad, all_of_it());
        let outputs = stage.raw(&bad, channel, bytes.clone());
        let reason = dropped(&outputs, &bad).unwrap_or_else(|| panic!("{bytes:?} was taken"));
        assert!(expected(&reason), "{reason:?}");
        assert_eq!(refused(&outputs), vec![bad.id()]);
        assert_eq!(dropped(&outputs, &good), None);
        assert_eq!(stage.swarm.stats().peers.len(), 1);
        // And it does not come back.
        let again = Puppet {
            conn: baton_swarm::ConnId(77),
            ..Puppet::new(2)
        };
        assert_eq!(
            dropped(&stage.connect(&again), &again),
            Some(Reason::Banned)
        );
    }
}

#[test]
fn unknown_kinds_and_later_fields_are_skipped() {
    let mut stage = viewer();
    let puppet = Puppet::new(1);
    stage.join(&puppet, all_of_it());
    assert_eq!(
        dropped(
            &stage.raw(
                &puppet,
                Channel::Control,
                Bytes::from_static(&[1, 60, 1, 2, 3])
            ),
            &puppet
        ),
        None
    );
    assert_eq!(
        dropped(
            &stage.raw(
                &puppet,
                Channel::Data,
                Bytes::from_static(&[1, 99, 1, 2, 3])
            ),
            &puppet
        ),
        None
    );
    let mut longer = Message::Grant(12).encode().to_vec();
    longer.extend([1, 2, 3, 4]);
    assert_eq!(
        dropped(
            &stage.raw(&puppet, Channel::Control, longer.into()),
            &puppet
        ),
        None
    );
}

#[test]
fn messages_before_hello_and_second_hellos_are_refused() {
    let mut stage = viewer();
    let puppet = Puppet::new(1);
    stage.connect(&puppet);
    assert_eq!(
        dropped(&stage.say(&puppet, &Message::Grant(5)), &puppet),
        Some(Reason::OutOfTurn)
    );
    let puppet = Puppet::new(2);
    stage.join(&puppet, all_of_it());
    let hello = stage.good_hello(&puppet, all_of_it());
    assert_eq!(
        dropped(
            &stage.say(&puppet, &Message::Hello(Box::new(hello))),
            &puppet
        ),
        Some(Reason::OutOfTurn)
    );
}

#[test]
fn reflected_foreign_and_redirected_hellos_are_refused() {
    let mut stage = viewer();
    // Our own Hello, sent back.
    let puppet = Puppet::new(1);
    let ours = stage.connect(&puppet);
    let Output::Send { bytes, .. } = &ours[0] else {
        panic!()
    };
    assert_eq!(
        dropped(
            &stage.raw(&puppet, Channel::Control, bytes.clone()),
            &puppet
        ),
        Some(Reason::BadHello)
    );
    // Another peer's Hello, as for another connection of ours, or to somebody else: another nonce, fingerprint, role, PeerId.
    for change in 0..5 {
        let puppet = Puppet::new(2 + change);
        let mut other = Puppet::new(2 + change);
        match change {
            0 => other.binding.remote_nonce = [99; 16],
            1 => other.binding.remote_fingerprint = [99; 32],
            2 => other.binding.local_fingerprint = [99; 32],
            3 => other.binding.offerer = true,
            _ => {}
        }
        stage.connect(&puppet);
        let mut hello = stage.good_hello(&other, all_of_it());
        if change == 4 {
            hello.signature = Signature::new(&[7; 64]);
        }
        let outputs = stage.say(&puppet, &Message::Hello(Box::new(hello)));
        assert_eq!(
            dropped(&outputs, &puppet),
            Some(Reason::BadHello),
            "change {change}"
        );
        // Who did not prove its PeerId cannot get that PeerId banned.
        let honest = Puppet {
            conn: baton_swarm::ConnId(50 + u64::from(change)),
            ..Puppet::new(2 + change)
        };
        assert_eq!(dropped(&stage.join(&honest, all_of_it()), &honest), None);
    }
}

#[test]
fn a_head_or_header_that_the_publisher_did_not_sign_is_refused() {
    let mut stage = viewer();
    let puppet = Puppet::new(1);
    stage.join(&puppet, all_of_it());
    let mut head = stage.film.head.bytes().to_vec();
    head[9] ^= 1;
    assert_eq!(
        dropped(&stage.say(&puppet, &Message::Head(head)), &puppet),
        Some(Reason::BadHead)
    );
    let puppet = Puppet::new(2);
    stage.join(&puppet, all_of_it());
    let mut header = stage.film.sealed(piece(0)).header().bytes().to_vec();
    header[30] ^= 1;
    assert_eq!(
        dropped(&stage.say(&puppet, &Message::Header(header)), &puppet),
        Some(Reason::BadHeader)
    );
}

#[test]
fn a_wrong_block_costs_its_sender_the_connection_even_if_it_came_before_its_header() {
    let mut stage = viewer();
    let puppet = Puppet::new(1);
    stage.join(&puppet, all_of_it());
    let outputs = stage.input(Input::Demanded(vec![Demand {
        piece: piece(0),
        mask: Mask(7),
        deadline: Instant(0),
    }]));
    assert!(
        wanted(&outputs, &puppet)
            .iter()
            .any(|want| want.lane == 1 && want.mask & 7 == 7),
        "{outputs:?}"
    );
    let mut message = blocks(&stage, piece(0), 7).to_vec();
    *message.last_mut().expect("not empty") ^= 1;
    let outputs = stage.raw(&puppet, Channel::Data, message.into());
    assert_eq!(dropped(&outputs, &puppet), None, "nobody can tell yet");
    let header = stage.film.sealed(piece(0)).header().bytes().to_vec();
    let outputs = stage.say(&puppet, &Message::Header(header));
    assert_eq!(dropped(&outputs, &puppet), Some(Reason::Poison(1, 0, 2)));
    let stats = stage.swarm.stats();
    assert_eq!(
        (
            stats.verified_blocks,
            stats.rejected_blocks,
            stats.blocks_in_flight
        ),
        (2, 1, 0)
    );
    let delivered = stage
        .said
        .iter()
        .filter(|output| matches!(output, Output::Deliver(_)))
        .count();
    assert_eq!(delivered, 2, "the two right ones");
}

#[test]
fn pending_blocks_are_bounded_per_peer_and_in_all() {
    let mut stage = Stage::new(Film::new(16 << 20), Role::Viewer);
    let have = Have {
        ranges: vec![Range {
            lane: 1,
            first: 0,
            count: 16,
        }],
        parts: vec![],
    };
    for n in 1..=6 {
        let puppet = Puppet::new(n);
        stage.connect(&puppet);
        let mut hello = stage.good_hello(&puppet, have.clone());
        hello.grant = 512;
        stage.say(&puppet, &Message::Hello(Box::new(hello)));
        stage.input(Input::Demanded(
            (0..16)
                .map(|index| Demand {
                    piece: piece(index),
                    mask: Mask(u64::MAX),
                    deadline: Instant(9_000_000),
                })
                .collect(),
        ));
        // It sends what it was asked for, but never a header. The stage checks the bounds after each input.
        let said = std::mem::take(&mut stage.said);
        for want in wanted(&said, &puppet).iter().filter(|want| want.lane == 1) {
            for block in Mask(want.mask).iter() {
                let message = blocks(&stage, piece(want.index), 1 << block.0);
                stage.raw(&puppet, Channel::Data, message);
            }
        }
    }
    assert_eq!(stage.swarm.stats().verified_blocks, 0);
}

#[test]
fn unasked_blocks_are_a_flood_in_the_end() {
    let mut stage = viewer();
    let puppet = Puppet::new(1);
    stage.join(&puppet, all_of_it());
    let message = blocks(&stage, piece(1), 7);
    let mut end = None;
    for _ in 0..2_000 {
        end = dropped(&stage.raw(&puppet, Channel::Data, message.clone()), &puppet);
        if end.is_some() {
            break;
        }
    }
    assert_eq!(end, Some(Reason::Flood(Flood::Blocks)));
}

/// A person who jumps about takes back what is on its way already.
#[test]
fn what_was_taken_back_may_come_all_the_same() {
    let mut stage = Stage::new(Film::new(40 << 20), Role::Viewer);
    let puppet = Puppet::new(1);
    let mut have = all_of_it();
    have.ranges[1].count = 40;
    stage.join(&puppet, have);
    stage.say(&puppet, &Message::Grant(1024));
    for index in 0..40 {
        let demand = Demand {
            piece: piece(index),
            mask: Mask(u64::MAX),
            deadline: Instant(stage.now + 50_000),
        };
        stage.input(Input::Demanded(vec![demand]));
    }
    let mut cancelled = vec![0u64; 40];
    for message in heard(&std::mem::take(&mut stage.said), &puppet) {
        let Message::Cancel(parts) = message else {
            continue;
        };
        for part in parts.iter().filter(|part| part.lane == 1) {
            cancelled[part.index as usize] |= part.mask;
        }
    }
    let count: u32 = cancelled.iter().map(|mask| mask.count_ones()).sum();
    assert!(count > 1024 + 64, "{count} blocks were taken back");
    for (index, mask) in cancelled.into_iter().enumerate() {
        let header = stage.film.sealed(piece(index as u32)).header();
        stage.say(&puppet, &Message::Header(header.bytes().to_vec()));
        for block in Mask(mask).iter() {
            let message = blocks(&stage, piece(index as u32), 1 << block.0);
            let outputs = stage.raw(&puppet, Channel::Data, message);
            assert_eq!(dropped(&outputs, &puppet), None, "piece {index}");
        }
    }
}

#[test]
fn request_floods_are_refused_and_cold_seals_are_few() {
    let mut stage = Stage::new(Film::new(10 << 20), Role::Publisher);
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    let want = |index| Want {
        lane: 1,
        index,
        mask: u64::MAX,
        flags: 0,
        root8: None,
    };
    // Within the grant and a little beyond: the rest is refused politely.
    let outputs = stage.say(&puppet, &Message::Request((0..4).map(want).collect()));
    assert_eq!(dropped(&outputs, &puppet), None);
    assert!(
        heard(&outputs, &puppet)
            .iter()
            .any(|message| matches!(message, Message::Reject(_)))
    );
    let sealing = stage
        .said
        .iter()
        .filter(|output| matches!(output, Output::Seal { piece } if piece.lane == Lane(1)))
        .count();
    assert!(sealing <= 2, "{sealing} cold seals for one peer");
    // Very far beyond: that is an attack.
    let puppet = Puppet::new(2);
    stage.join(&puppet, Have::default());
    let mut end = None;
    for _ in 0..10 {
        end = end.or(dropped(
            &stage.say(
                &puppet,
                &Message::Request((0..40).map(|n| want(n % 10)).collect()),
            ),
            &puppet,
        ));
    }
    assert_eq!(end, Some(Reason::Flood(Flood::Requests)));
}

#[test]
fn message_floods_and_introduction_floods_are_refused() {
    let mut stage = viewer();
    let puppet = Puppet::new(1);
    stage.join(&puppet, all_of_it());
    let end = (0..10_000).find_map(|_| dropped(&stage.say(&puppet, &Message::Ping(1)), &puppet));
    assert_eq!(end, Some(Reason::Flood(Flood::Messages)));
    let puppet = Puppet::new(2);
    stage.join(&puppet, all_of_it());
    let introduce = wire::Introduce {
        from: puppet.id().0,
        to: [3; 32],
        blob: vec![0; 100],
    };
    let end = (0..100).find_map(|_| {
        dropped(
            &stage.say(&puppet, &Message::Introduce(introduce.clone())),
            &puppet,
        )
    });
    assert_eq!(end, Some(Reason::Flood(Flood::Introductions)));
}

#[test]
fn haves_beyond_the_head_are_ignored_cheaply() {
    let mut stage = viewer();
    let puppet = Puppet::new(1);
    stage.join(&puppet, all_of_it());
    let dreams = Have {
        ranges: vec![
            Range {
                lane: 1,
                first: 0,
                count: u32::MAX,
            },
            Range {
                lane: 9,
                first: u32::MAX,
                count: u32::MAX,
            },
        ],
        parts: vec![Part {
            lane: 500,
            index: u32::MAX,
            mask: u64::MAX,
        }],
    };
    for _ in 0..1000 {
        assert_eq!(
            dropped(&stage.say(&puppet, &Message::Have(dreams.clone())), &puppet),
            None
        );
    }
    assert_eq!(stage.swarm.stats().peers[0].complete_permille, 1000);
}

/// A few bytes stand for any number of pieces: each must not buy a walk over all of them.
#[test]
fn haves_that_say_the_same_over_and_over_are_refused() {
    const PIECES: u32 = 20_000;
    let mut stage = viewer();
    let mut head = stage.film.head.head().clone();
    head.revision += 1;
    head.lanes[1].pieces = PIECES;
    stage.film.head = SignedHead::sign(head, &stage.film.publisher);
    let whole = |times: usize| Have {
        ranges: vec![
            Range {
                lane: 1,
                first: 0,
                count: PIECES,
            };
            times
        ],
        parts: vec![],
    };
    let (once, often) = (Puppet::new(1), Puppet::new(2));
    stage.join(&once, whole(1));
    let mut say = |puppet: &Puppet, have| dropped(&stage.say(puppet, &Message::Have(have)), puppet);
    assert_eq!(say(&once, whole(1)), None, "once more is no flood");
    let end = (0..20).find_map(|_| say(&once, whole(1)));
    assert_eq!(end, Some(Reason::Flood(Flood::Messages)));
    stage.join(&often, whole(1));
    let end = dropped(&stage.say(&often, &Message::Have(whole(2))), &often);
    assert_eq!(end, Some(Reason::Flood(Flood::Messages)));
}

#[test]
fn long_messages_count_for_what_they_cost() {
    let mut stage = viewer();
    let puppet = Puppet::new(1);
    stage.join(&puppet, all_of_it());
    let part = Part {
        lane: 1,
        index: 0,
        mask: u64::MAX,
    };
    let end = (0..1200).find_map(|_| {
        dropped(
            &stage.say(&puppet, &Message::Cancel(vec![part; 1024])),
            &puppet,
        )
    });
    assert_eq!(end, Some(Reason::Flood(Flood::Messages)));
}

#[test]
fn fraud_is_proven_by_two_cores_and_by_nothing_less() {
    let mut stage = viewer();
    let (honest, liar) = (Puppet::new(1), Puppet::new(2));
    stage.join(&honest, all_of_it());
    stage.join(&liar, all_of_it());
    let truth = stage.film.sealed(piece(0)).header().core_bytes().to_vec();
    let outputs = stage.say(&liar, &Message::Fraud(truth.clone(), truth.clone()));
    assert_eq!(dropped(&outputs, &liar), Some(Reason::FalseEvidence));
    let other = stage
        .film
        .second_truth(piece(0))
        .header()
        .core_bytes()
        .to_vec();
    let witness = Puppet::new(3);
    stage.join(&witness, all_of_it());
    let outputs = stage.say(&witness, &Message::Fraud(truth, other));
    assert!(outputs.iter().any(
        |output| matches!(output, Output::Event(Event::Fraud { piece: at }) if *at == piece(0))
    ));
    assert!(
        heard(&outputs, &honest)
            .iter()
            .any(|message| matches!(message, Message::Fraud(..))),
        "it is passed on"
    );
    assert_eq!(dropped(&outputs, &honest), Some(Reason::Fraud));
    assert!(refused(&outputs).is_empty(), "no peer is blamed");
}

#[test]
fn a_second_header_for_a_piece_shows_the_fraud() {
    let mut stage = viewer();
    let (one, other) = (Puppet::new(1), Puppet::new(2));
    stage.join(&one, all_of_it());
    stage.input(Input::Demanded(vec![Demand {
        piece: piece(0),
        mask: Mask(7),
        deadline: Instant(0),
    }]));
    stage.say(
        &one,
        &Message::Header(stage.film.sealed(piece(0)).header().bytes().to_vec()),
    );
    stage.join(&other, all_of_it());
    let lie = stage.film.second_truth(piece(0)).header().bytes().to_vec();
    let outputs = stage.say(&other, &Message::Header(lie));
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Event(Event::Fraud { .. })))
    );
    assert!(refused(&outputs).is_empty());
}

#[test]
fn who_was_given_another_truth_is_not_blamed_for_its_blocks() {
    let mut stage = viewer();
    let (one, other) = (Puppet::new(1), Puppet::new(2));
    stage.join(&one, all_of_it());
    stage.join(&other, all_of_it());
    // Asked of the other while nobody knows the header; its blocks overtake it, and the header of the one comes first.
    let outputs = stage.input(Input::Demanded(vec![Demand {
        piece: piece(0),
        mask: Mask(7),
        deadline: Instant(0),
    }]));
    let [asked, told] = match wanted(&outputs, &other).iter().any(|want| want.lane == 1) {
        true => [&other, &one],
        false => [&one, &other],
    };
    stage.say(
        told,
        &Message::Header(stage.film.sealed(piece(0)).header().bytes().to_vec()),
    );
    let lie = stage.film.second_truth(piece(0));
    let of = |block| lie.block(baton_content::BlockIndex(block)).expect("there");
    let message = wire::encode_blocks(piece(0), 0, (0..3).map(|b| (b, of(b).bytes().clone())));
    let outputs = stage.raw(asked, Channel::Data, message);
    assert_eq!(dropped(&outputs, asked), None, "its header may tell why");
    assert_eq!(stage.swarm.stats().rejected_blocks, 0);
    let header = Message::Header(lie.header().bytes().to_vec());
    let outputs = stage.say(asked, &header);
    let fraud = |output: &Output| matches!(output, Output::Event(Event::Fraud { .. }));
    assert!(outputs.iter().any(fraud));
    assert!(refused(&outputs).is_empty(), "no peer is blamed");
}

#[test]
fn a_request_that_names_another_root_gets_the_header_once() {
    let mut stage = publisher();
    let sealed = stage.film.sealed(piece(0)).clone();
    stage.input(Input::Sealed {
        header: sealed.header().clone(),
    });
    let puppet = Puppet::new(1);
    stage.join(&puppet, Have::default());
    let want = Want {
        lane: 1,
        index: 0,
        mask: 1,
        flags: 0,
        root8: Some([1; 8]),
    };
    let outputs = stage.say(&puppet, &Message::Request(vec![want; 100]));
    let headers = heard(&outputs, &puppet)
        .into_iter()
        .filter(|message| matches!(message, Message::Header(_)))
        .count();
    assert_eq!(headers, 1);
}

#[test]
fn a_newcomers_start_set_is_answered_before_anything_was_asked() {
    let mut stage = publisher();
    let outputs = stage.input(Input::StartSet(stage.film.start_set()));
    let seals = outputs
        .iter()
        .chain(&stage.said)
        .filter(|output| matches!(output, Output::Seal { .. }))
        .count();
    assert!(seals >= 2, "sealed before anybody came: {seals}");
    for id in [PieceId::new(Lane(0), 0), piece(0)] {
        let header = stage.film.sealed(id).header().clone();
        stage.input(Input::Sealed { header });
    }
    let puppet = Puppet::new(1);
    stage.connect(&puppet);
    let mut hello = stage.good_hello(&puppet, Have::default());
    hello.start_set = true;
    let outputs = stage.say(&puppet, &Message::Hello(Box::new(hello)));
    let parts = heard(&outputs, &puppet).into_iter().find_map(|message| {
        if let Message::StartSet(parts) = message {
            Some(parts)
        } else {
            None
        }
    });
    assert_eq!(
        parts,
        Some(vec![
            Part {
                lane: 0,
                index: 0,
                mask: 1
            },
            Part {
                lane: 1,
                index: 0,
                mask: 0xff
            }
        ])
    );
    let loads: u32 = outputs
        .iter()
        .filter_map(|output| {
            if let Output::Load { mask, .. } = output {
                Some(mask.0.count_ones())
            } else {
                None
            }
        })
        .sum();
    assert_eq!(loads, 9, "all of it is loaded at once");
}

#[test]
fn two_connections_to_one_peer_become_one_and_both_sides_keep_the_same() {
    let me = baton_content::PeerKey::from_seed([50; 32]).id();
    let mut stage = viewer();
    let first = Puppet::new(1);
    let mut second = Puppet {
        conn: baton_swarm::ConnId(9),
        ..Puppet::new(1)
    };
    second.binding.offerer = true;
    stage.join(&first, all_of_it());
    let outputs = stage.join(&second, all_of_it());
    let kept = if me < first.id() { &second } else { &first };
    let gone = if me < first.id() { &first } else { &second };
    assert_eq!(dropped(&outputs, kept), None);
    assert!(dropped(&stage.said, gone).is_some());
    assert_eq!(stage.swarm.stats().peers.len(), 1);
}

#[test]
fn more_peers_than_places_are_turned_away() {
    let mut stage = viewer();
    for n in 0..30 {
        let puppet = Puppet::new(n);
        stage.join(&puppet, all_of_it());
        assert_eq!(
            dropped(&stage.said, &puppet),
            (n >= 24).then_some(Reason::Full)
        );
    }
}
