//! The bytes of docs/signalling.md, and what happens to bytes that are none.

use baton_signal_protocol::*;
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn join() -> Join {
    let (swarm, peer) = (
        SigningKey::from_bytes(&[1; 32]),
        SigningKey::from_bytes(&[2; 32]),
    );
    let ids = (
        swarm.verifying_key().to_bytes(),
        peer.verifying_key().to_bytes(),
    );
    let mut join = Join::new(
        "Baton.Example:8080",
        1_800_000_000,
        ids.0,
        ids.1,
        |b| swarm.sign(b).to_bytes(),
        |b| peer.sign(b).to_bytes(),
    );
    join.completeness_permille = 1000;
    join.free_slots = 8;
    join
}

#[test]
fn client_messages_have_golden_bytes() {
    assert_eq!(
        hex(&ClientMessage::Join(join()).encode()),
        concat!(
            "00",
            "01",
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
            "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
            "80a4a7da06",
            "348a749f1109c27ffea82971b8978627f1a78345ff114cdc8d83c3b543cf836c",
            "d44674ddb66009a8a056aff27f15e32b59d31a04e6fc3605317b3c3e0e725a08",
            "cb508e160c05a3a8cc982d99b0444421b231d6ca1b2bc6fddb294a1874c3acea",
            "29eeb4f9343a3729ac9898e0aa69deb4a3f14c92bdf76667aeff02065dcfa104",
            "e807",
            "08",
        )
    );
    assert_eq!(
        hex(&ClientMessage::Relay {
            to: [0xaa; 32],
            blob: vec![1, 2, 3]
        }
        .encode()),
        format!("01{}03010203", "aa".repeat(32))
    );
    assert_eq!(hex(&ClientMessage::More.encode()), "02");
    let report = Report {
        completeness_permille: 500,
        free_slots: 3,
        spare_upload_kbit: 20_000,
    };
    assert_eq!(
        hex(&ClientMessage::Report(report).encode()),
        "03f40303a09c01"
    );
    assert_eq!(hex(&ClientMessage::Leave.encode()), "04");
    let ticket = [0xee; 32];
    assert_eq!(
        hex(&ClientMessage::Name { ticket }.encode()),
        format!("05{}", "ee".repeat(32))
    );
    assert_eq!(
        hex(&ClientMessage::Find { name: 32_767 }.encode()),
        "06ffff01"
    );
    let carry = ClientMessage::Carry {
        to: [0xaa; 32],
        frame: vec![1, 2, 3],
    };
    assert_eq!(
        hex(&carry.encode()),
        format!("07{}03010203", "aa".repeat(32))
    );
    assert_eq!(carry.encode()[0], ClientMessage::CARRY);
}

#[test]
fn server_messages_have_golden_bytes() {
    let ice = IceServer {
        urls: vec!["stun:a:1".into()],
        username: Some("u".into()),
        credential: None,
    };
    let candidate = Candidate {
        peer: [0xbb; 32],
        region: Some("NL".into()),
        completeness_permille: 1000,
        free_slots: 2,
    };
    let welcome = ServerMessage::Welcome {
        ice: vec![ice],
        candidates: vec![candidate.clone()],
        keepalive_s: 30,
    };
    assert_eq!(
        hex(&welcome.encode()),
        format!("00010108{}01017500", hex(b"stun:a:1"))
            + &format!("01{}01024e4ce807021e", "bb".repeat(32))
    );
    assert_eq!(
        hex(&ServerMessage::Candidates(vec![candidate]).encode()),
        format!("0101{}01024e4ce80702", "bb".repeat(32))
    );
    assert_eq!(
        hex(&ServerMessage::Relay {
            from: [0xcc; 32],
            blob: vec![9]
        }
        .encode()),
        format!("02{}0109", "cc".repeat(32))
    );
    assert_eq!(
        hex(&ServerMessage::Gone { to: [0xdd; 32] }.encode()),
        format!("03{}", "dd".repeat(32))
    );
    let refused = ServerMessage::Refused {
        reason: Refusal::Clock,
        retry_ms: Some(0),
        server_unix_s: 1_800_000_000,
    };
    assert_eq!(hex(&refused.encode()), "0401010080a4a7da06");
    assert_eq!(
        hex(&ServerMessage::GoingAway { retry_ms: 1000 }.encode()),
        "05e807"
    );
    assert_eq!(hex(&ServerMessage::Alive.encode()), "06");
    let named = |name| hex(&ServerMessage::Named { name, lasts_s: 120 }.encode());
    assert_eq!(
        [named(None), named(Some(300))],
        ["070078".to_owned(), "0701ac0278".to_owned()]
    );
    let found = |finding| hex(&ServerMessage::Found(finding).encode());
    assert_eq!(
        [
            found(Finding::Here([1; 32])),
            found(Finding::Nobody),
            found(Finding::TooMany)
        ],
        [
            format!("0800{}", "01".repeat(32)),
            "0801".to_owned(),
            "0802".to_owned()
        ]
    );
    let carries = ServerMessage::Carries {
        bytes_per_second: 1_250_000,
    };
    assert_eq!(hex(&carries.encode()), "09d0a54c");
    let carried = ServerMessage::Carried {
        from: [0xcc; 32],
        frame: vec![9],
    };
    assert_eq!(hex(&carried.encode()), format!("0a{}0109", "cc".repeat(32)));
}

#[test]
fn a_join_signs_the_lower_case_host_the_time_and_both_ids() {
    let bytes = join_bytes("Baton.Example:8080", 1_800_000_000, &[3; 32], &[4; 32]);
    assert_eq!(
        hex(&bytes),
        format!(
            "{}12{}00d2496b00000000{}{}",
            hex(b"baton join 1"),
            hex(b"baton.example:8080"),
            "03".repeat(32),
            "04".repeat(32)
        )
    );
}

#[test]
fn a_join_is_good_for_its_host_and_its_time_only() {
    let join = join();
    assert_eq!(join.verify("baton.example:8080", 1_800_000_000), Ok(()));
    assert_eq!(join.verify("BATON.example:8080", 1_800_000_600), Ok(()));
    assert_eq!(
        join.verify("baton.example:8080", 1_800_000_601),
        Err(JoinError::Clock)
    );
    assert_eq!(
        join.verify("baton.example:8080", 1_799_999_399),
        Err(JoinError::Clock)
    );
    assert_eq!(
        join.verify("other.example", 1_800_000_000),
        Err(JoinError::SwarmSignature)
    );
    assert_eq!(
        join.verify("", 1_800_000_000),
        Err(JoinError::SwarmSignature)
    );
}

#[test]
fn an_id_from_a_log_without_the_swarm_key_opens_nothing() {
    let real = join();
    let mallory = SigningKey::from_bytes(&[9; 32]);
    let peer = mallory.verifying_key().to_bytes();
    let sign = |bytes: &[u8]| mallory.sign(bytes).to_bytes();
    let forged = Join::new(
        "baton.example:8080",
        real.unix_s,
        real.swarm,
        peer,
        sign,
        sign,
    );
    assert_eq!(
        forged.verify("baton.example:8080", real.unix_s),
        Err(JoinError::SwarmSignature)
    );
}

#[test]
fn a_holder_of_the_link_cannot_join_as_somebody_else() {
    let real = join();
    let (swarm, mallory) = (
        SigningKey::from_bytes(&[1; 32]),
        SigningKey::from_bytes(&[9; 32]),
    );
    let forged = Join::new(
        "baton.example:8080",
        real.unix_s,
        real.swarm,
        real.peer,
        |b| swarm.sign(b).to_bytes(),
        |b| mallory.sign(b).to_bytes(),
    );
    assert_eq!(
        forged.verify("baton.example:8080", real.unix_s),
        Err(JoinError::PeerSignature)
    );
}

#[test]
fn small_order_keys_sign_for_nobody() {
    // The identity point "verifies" anything under the lax rule with S = 0 and R = identity.
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let mut join = join();
    join.swarm = identity;
    join.swarm_signature = Signature(signature);
    assert_eq!(
        join.verify("baton.example:8080", join.unix_s),
        Err(JoinError::SwarmSignature)
    );
}

#[test]
fn another_version_is_told_apart_from_garbage() {
    let mut bytes = ClientMessage::Join(join()).encode();
    bytes[1] = 2;
    assert_eq!(ClientMessage::decode(&bytes), Err(DecodeError::Version(2)));
    assert_eq!(ClientMessage::decode(&[0, 7]), Err(DecodeError::Version(7)));
}

#[test]
fn broken_messages_say_what_is_wrong_with_them() {
    assert_eq!(ClientMessage::decode(&[]), Err(DecodeError::Empty));
    assert_eq!(
        ClientMessage::decode(&[8]),
        Err(DecodeError::UnknownKind(8))
    );
    assert_eq!(
        ServerMessage::decode(&[11, 1, 2]),
        Err(DecodeError::UnknownKind(11))
    );
    assert_eq!(ClientMessage::decode(&[1; 20]), Err(DecodeError::Fields(1)));
    // A length of 2^64 - 1 with three bytes behind it.
    let mut relay = vec![1; 33];
    relay.extend([
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 2, 3,
    ]);
    assert_eq!(ClientMessage::decode(&relay), Err(DecodeError::Fields(1)));
    // Four billion candidates.
    assert_eq!(
        ServerMessage::decode(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        Err(DecodeError::Fields(1))
    );
    let long = ClientMessage::Relay {
        to: [0; 32],
        blob: vec![0; BLOB_MAX + 1],
    }
    .encode();
    assert_eq!(
        ClientMessage::decode(&long),
        Err(DecodeError::Blob(BLOB_MAX + 1))
    );
    let huge = vec![1; CLIENT_MESSAGE_MAX + 1];
    assert_eq!(
        ClientMessage::decode(&huge),
        Err(DecodeError::TooLarge {
            len: huge.len(),
            max: CLIENT_MESSAGE_MAX
        })
    );
}

#[test]
fn every_prefix_of_a_message_is_refused_and_appended_fields_are_ignored() {
    let whole = ClientMessage::Join(join());
    let mut bytes = whole.encode();
    for len in 0..bytes.len() {
        assert!(ClientMessage::decode(&bytes[..len]).is_err(), "{len} bytes");
    }
    bytes.extend([1, 2, 3]);
    assert_eq!(ClientMessage::decode(&bytes), Ok(whole));
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..12) {
        let _ = ClientMessage::decode(&bytes);
        let _ = ServerMessage::decode(&bytes);
        let kinded = [&[kind], &bytes[..]].concat();
        let _ = ClientMessage::decode(&kinded);
        let _ = ServerMessage::decode(&kinded);
    }

    #[test]
    fn a_relay_survives_its_journey(to in any::<[u8; 32]>(), blob in prop::collection::vec(any::<u8>(), 0..=BLOB_MAX)) {
        let message = ClientMessage::Relay { to, blob: blob.clone() };
        prop_assert_eq!(ClientMessage::decode(&message.encode()).unwrap(), message);
        let message = ServerMessage::Relay { from: to, blob };
        prop_assert_eq!(ServerMessage::decode(&message.encode()).unwrap(), message);
    }
}
