//! Golden bytes of the peer wire (docs/protocol-wire.md).

use baton_content::{Mask, PeerId, PeerKey, PieceId, SwarmId};
use baton_swarm::Binding;
use baton_swarm::wire::{
    Ack, Blocks, FLAG_SOON, FLAG_URGENT, Have, Hello, Introduce, Message, Part, Range, Receipt,
    Refusal, Reject, Signature, Want, encode_blocks, hello_statement, receipt_statement,
};
use bytes::Bytes;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn piece(lane: u16, index: u32) -> PieceId {
    PieceId::new(baton_content::Lane(lane), index)
}

#[test]
fn control_messages_have_these_bytes() {
    let part = Part {
        lane: 1,
        index: 300,
        mask: 5,
    };
    let want = Want {
        lane: 1,
        index: 2,
        mask: u64::MAX,
        flags: FLAG_URGENT | FLAG_SOON,
        root8: Some([1, 2, 3, 4, 5, 6, 7, 8]),
    };
    let have = Have {
        ranges: vec![Range {
            lane: 1,
            first: 0,
            count: 200,
        }],
        parts: vec![part],
    };
    let reject = |refusal| {
        Message::Reject(Reject {
            piece: piece(1, 300),
            mask: Mask(5),
            refusal,
        })
    };
    let cases: Vec<(Message, String)> = vec![
        (Message::Head(vec![7, 8]), "0102020708".into()),
        (Message::Have(have), "0103010100c8010101ac0205".into()),
        (Message::DontHave(vec![part]), "01040101ac0205".into()),
        (
            Message::Request(vec![want]),
            "0105010102ffffffffffffffffff0105010102030405060708".into(),
        ),
        (Message::Cancel(vec![part]), "01060101ac0205".into()),
        (Message::Header(vec![9]), "01070109".into()),
        (
            Message::Ack(Ack {
                echo_us: 1,
                hold_us: 128,
                bytes: 65_536,
            }),
            "0108018001808004".into(),
        ),
        (Message::Grant(512), "01098004".into()),
        (reject(Refusal::NotHere), "010a01ac02050000".into()),
        (reject(Refusal::Choked), "010a01ac02050100".into()),
        (
            reject(Refusal::AskPeer(PeerId([0xab; 32]))),
            format!("010a01ac02050201{}", "ab".repeat(32)),
        ),
        (reject(Refusal::SealFailed), "010a01ac02050300".into()),
        (Message::Fraud(vec![1], vec![2, 3]), "010b0101020203".into()),
        (
            Message::Introduce(Introduce {
                from: [1; 32],
                to: [2; 32],
                blob: vec![3],
            }),
            format!("010c{}{}0103", "01".repeat(32), "02".repeat(32)),
        ),
        (Message::Goodbye, "010d".into()),
        (Message::StartSet(vec![part]), "010e0101ac0205".into()),
        (Message::Ping(300), "010fac02".into()),
        (Message::Pong(300), "0110ac02".into()),
        (
            Message::Neighbours(vec![[4; 32]]),
            format!("011101{}", "04".repeat(32)),
        ),
        (Message::WantStart, "0112".into()),
        (
            Message::Receipts(vec![Receipt {
                receiver: [5; 32],
                bytes: 300,
                signature: Signature::new(&[6; 64]),
            }]),
            format!("011301{}ac02{}", "05".repeat(32), "06".repeat(64)),
        ),
    ];
    for (message, expected) in cases {
        let bytes = message.encode();
        assert_eq!(hex(&bytes), expected, "{message:?}");
        assert_eq!(Message::decode(&bytes, false), Ok(message));
    }
}

#[test]
fn a_hello_has_these_bytes() {
    let hello = Hello {
        peer: [1; 32],
        signature: Signature::new(&[2; 64]),
        features: 0,
        role: 1,
        head: Some(vec![3]),
        have: Have {
            ranges: vec![Range {
                lane: 0,
                first: 0,
                count: 1,
            }],
            parts: vec![],
        },
        grant: 128,
        start_set: true,
    };
    let message = Message::Hello(Box::new(hello));
    let bytes = message.encode();
    let expected = format!(
        "0101{}{}00010101030100000100800101",
        "01".repeat(32),
        "02".repeat(64)
    );
    assert_eq!(hex(&bytes), expected);
    assert_eq!(Message::decode(&bytes, false), Ok(message));
}

#[test]
fn a_block_message_has_these_bytes() {
    let full = Bytes::from(vec![0xaa; 16_384]);
    let last = Bytes::from_static(&[0xbb; 3]);
    let bytes = encode_blocks(
        piece(1, 0x0203_0405),
        0x0a0b_0c0d,
        [(2, full.clone()), (63, last.clone())].into_iter(),
    );
    assert_eq!(
        hex(&bytes[..20]),
        "014001000504030204000000000000800d0c0b0a"
    );
    assert_eq!(bytes.len(), 20 + 16_384 + 3);
    let Ok(Message::Blocks(blocks)) = Message::decode(&bytes, true) else {
        panic!()
    };
    assert_eq!(
        (blocks.piece, blocks.mask, blocks.sent_us),
        (piece(1, 0x0203_0405), Mask(1 << 63 | 4), 0x0a0b_0c0d)
    );
    assert_eq!(
        blocks.iter().collect::<Vec<_>>(),
        vec![(2, full), (63, last)]
    );
}

#[test]
fn the_hello_signs_these_bytes() {
    let binding = Binding {
        local_nonce: [3; 16],
        remote_nonce: [4; 16],
        local_fingerprint: [5; 32],
        remote_fingerprint: [6; 32],
        offerer: true,
    };
    let (a, b) = (PeerId([1; 32]), PeerId([2; 32]));
    let swarm = SwarmId([9; 32]);
    let expected = format!(
        "6261746f6e2068656c6c6f2076310000{}00{}{}{}{}{}{}",
        "09".repeat(32),
        "01".repeat(32),
        "02".repeat(32),
        "03".repeat(16),
        "04".repeat(16),
        "05".repeat(32),
        "06".repeat(32),
    );
    assert_eq!(hex(&hello_statement(&swarm, &a, &b, &binding)), expected);
    // The answer's statement differs in the role and in the order: neither can be taken for the other.
    assert_ne!(
        hello_statement(&swarm, &a, &b, &binding),
        hello_statement(&swarm, &b, &a, &binding.swapped())
    );
}

/// The whole of it, with the signature that ed25519 makes of the seed: a second implementation must come to the same.
#[test]
fn a_receipt_signs_these_bytes() {
    let receiver = PeerKey::from_seed([7; 32]);
    let giver = PeerId([1; 32]);
    let statement = receipt_statement(&SwarmId([9; 32]), &giver, &receiver.id(), 0x0102_0304);
    let expected = format!(
        "6261746f6e2072656365697074207631{}{}{}0403020100000000",
        "09".repeat(32),
        "01".repeat(32),
        hex(&receiver.id().0),
    );
    assert_eq!(hex(&statement), expected);
    assert_eq!(
        hex(&receiver.id().0),
        "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
    );
    assert_eq!(
        hex(&receiver.sign(&statement)),
        "37a2ea01d48b218d8ce0eb7c07e80a3a98e1684b7a315a057555f6dc5966ef662a8aaeffca207324f095c5fc267b85078cf7f30173bb760f1a24fdfdd5c01302"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), data: bool) {
        let _ = Message::decode(&Bytes::from(bytes), data);
    }

    #[test]
    fn what_is_read_is_written_back(kind in 1u8..20, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes: Bytes = [1, kind].into_iter().chain(body).collect::<Vec<u8>>().into();
        if let Ok(message) = Message::decode(&bytes, false) {
            prop_assert_eq!(Message::decode(&message.encode(), false), Ok(message));
        }
    }

    #[test]
    fn blocks_come_back_as_they_were(mask in any::<u64>(), tail in 1usize..16_384) {
        let blocks: Vec<u8> = Mask(mask).iter().map(|block| block.0).take(3).collect();
        prop_assume!(!blocks.is_empty());
        let sized = |at: usize| if at + 1 == blocks.len() { tail } else { 16_384 };
        let parts: Vec<(u8, Bytes)> = blocks.iter().enumerate().map(|(at, &block)| (block, Bytes::from(vec![block; sized(at)]))).collect();
        let bytes = encode_blocks(piece(0, 0), 0, parts.clone().into_iter());
        let decoded: Blocks = match Message::decode(&bytes, true) { Ok(Message::Blocks(blocks)) => blocks, other => panic!("{other:?}") };
        prop_assert_eq!(decoded.iter().collect::<Vec<_>>(), parts);
    }
}
