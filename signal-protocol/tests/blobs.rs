//! What a server, or a viewer with the link, can do to the blobs between two peers: nothing that is not noticed.

use baton_signal_protocol::blob::{Route, open, seal};
use baton_signal_protocol::*;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

const SWARM: [u8; 32] = [7; 32];
const KEY: [u8; 32] = [8; 32];
const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];
const MALLORY: [u8; 32] = [3; 32];
const OFFER_NONCE: [u8; 16] = [0x0f; 16];

fn id(seed: &[u8; 32]) -> PeerId {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

fn route() -> Route {
    Route {
        swarm: SWARM,
        from: id(&ALICE),
        to: id(&BOB),
    }
}

fn candidate() -> IceCandidate {
    IceCandidate {
        foundation: "1".into(),
        transport: Transport::Udp,
        priority: 2_113_937_151,
        address: Address::V4([192, 0, 2, 2]),
        port: 36915,
        kind: CandidateKind::Host,
    }
}

fn description(setup: Setup) -> Description {
    Description {
        session_nonce: OFFER_NONCE,
        ufrag: "z/6f".into(),
        pwd: "Y2N8zb05JjVPPEQZ/wLTWLCQ".into(),
        fingerprint: [0xfe; 32],
        setup,
        candidates: vec![candidate()],
    }
}

fn offer() -> Signal {
    Signal::Offer(description(Setup::ActPass))
}

fn answer() -> Signal {
    Signal::Answer {
        offer_nonce: OFFER_NONCE,
        description: Description {
            session_nonce: [0xaa; 16],
            ..description(Setup::Active)
        },
    }
}

fn sealed(signal: &Signal) -> Vec<u8> {
    seal(&SWARM, &id(&BOB), &KEY, &ALICE, [5; 24], signal).unwrap()
}

#[test]
fn a_blob_has_golden_bytes() {
    assert_eq!(
        sealed(&offer())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>(),
        concat!(
            "00050505050505050505050505050505050505050505050505f313bf16bf043074b8398aae6f97cdfc46c1550fe2fe9b",
            "a40563420b7ef9c6d847333d15ab1b635fd754dd2db6b59e9a275d760fd2da4d05fb8129ed1ed5ce4058a7f01168f447",
            "3460950f1e541ff60240655f5e4e2572025d739590f6edf41c2f1fbf084210bc17c6955e4b4ee0463f6bbd04f58a320f",
            "dad84031348f5fd02fa0649889f98a85d42577f07e48a6bdb69cdc8ddd895ca773fe82beb75ebd63c3b77e4637c700b1",
            "ba13f700ef796115e3fa",
        )
    );
}

#[test]
fn offers_answers_and_candidates_arrive_as_they_were_sent() {
    let candidates = Signal::Candidates {
        offer_nonce: OFFER_NONCE,
        candidates: vec![candidate()],
        last: true,
    };
    for signal in [offer(), answer(), candidates] {
        assert_eq!(
            open(&route(), &KEY, Some(&OFFER_NONCE), &sealed(&signal)),
            Ok(signal)
        );
    }
    assert_eq!(open(&route(), &KEY, None, &sealed(&offer())), Ok(offer()));
}

#[test]
fn a_blob_shows_nothing_of_what_it_holds() {
    let blob = sealed(&offer());
    for part in [
        &b"z/6f"[..],
        b"Y2N8zb05",
        &[0xfe; 8],
        &[192, 0, 2, 2],
        &KEY[..8],
        &id(&ALICE)[..8],
        &OFFER_NONCE[..8],
    ] {
        assert!(
            !blob.windows(part.len()).any(|window| window == part),
            "{part:?}"
        );
    }
}

#[test]
fn an_altered_blob_is_refused() {
    let blob = sealed(&offer());
    for at in 0..blob.len() {
        let mut altered = blob.clone();
        altered[at] ^= 0x40;
        assert!(
            open(&route(), &KEY, Some(&OFFER_NONCE), &altered).is_err(),
            "byte {at}"
        );
    }
    for len in 0..blob.len() {
        assert!(
            open(&route(), &KEY, None, &blob[..len]).is_err(),
            "cut to {len}"
        );
    }
}

#[test]
fn a_redirected_blob_is_refused() {
    let blob = sealed(&offer());
    for wrong in [
        Route {
            swarm: [9; 32],
            ..route()
        },
        Route {
            from: id(&MALLORY),
            ..route()
        },
        Route {
            to: id(&MALLORY),
            ..route()
        },
        Route {
            from: id(&BOB),
            to: id(&ALICE),
            ..route()
        },
    ] {
        assert_eq!(open(&wrong, &KEY, None, &blob), Err(BlobError::Box));
    }
}

#[test]
fn a_blob_of_one_kind_does_not_pass_as_another() {
    let mut blob = sealed(&offer());
    for other in [
        Kind::Answer,
        Kind::Candidates,
        Kind::CarryOffer,
        Kind::CarryAnswer,
    ] {
        blob[0] = other as u8;
        assert_eq!(
            open(&route(), &KEY, Some(&OFFER_NONCE), &blob),
            Err(BlobError::Box)
        );
    }
    blob[0] = 5;
    assert_eq!(
        open(&route(), &KEY, Some(&OFFER_NONCE), &blob),
        Err(BlobError::Kind(5))
    );
}

#[test]
fn an_answer_to_another_offer_is_refused() {
    let blob = sealed(&answer());
    assert_eq!(
        open(&route(), &KEY, Some(&[0x77; 16]), &blob),
        Err(BlobError::OtherSession(Kind::Answer))
    );
    assert_eq!(
        open(&route(), &KEY, None, &blob),
        Err(BlobError::OtherSession(Kind::Answer))
    );
    let late = Signal::Candidates {
        offer_nonce: [0x77; 16],
        candidates: vec![],
        last: true,
    };
    assert_eq!(
        open(&route(), &KEY, Some(&OFFER_NONCE), &sealed(&late)),
        Err(BlobError::OtherSession(Kind::Candidates))
    );
}

#[test]
fn without_the_signalling_key_nothing_opens() {
    assert_eq!(
        open(&route(), &[0; 32], None, &sealed(&offer())),
        Err(BlobError::Box)
    );
}

/// The box, made by hand as docs/signalling.md says, by a server that was given the signalling key (or a viewer, who has it anyway).
fn boxed(kind: Kind, inner: &[u8]) -> Vec<u8> {
    let nonce = [6; 24];
    let aad = [
        &b"baton blob 1"[..],
        &[kind as u8],
        &SWARM,
        &id(&ALICE),
        &id(&BOB),
    ]
    .concat();
    let sealed = XChaCha20Poly1305::new(&KEY.into())
        .encrypt(
            &nonce.into(),
            Payload {
                msg: inner,
                aad: &aad,
            },
        )
        .unwrap();
    [&[kind as u8][..], &nonce, &sealed].concat()
}

fn unboxed(blob: &[u8]) -> Vec<u8> {
    let aad = [
        &b"baton blob 1"[..],
        &blob[..1],
        &SWARM,
        &id(&ALICE),
        &id(&BOB),
    ]
    .concat();
    let nonce: [u8; 24] = blob[1..25].try_into().unwrap();
    XChaCha20Poly1305::new(&KEY.into())
        .decrypt(
            &nonce.into(),
            Payload {
                msg: &blob[25..],
                aad: &aad,
            },
        )
        .unwrap()
}

#[test]
fn a_server_that_has_the_signalling_key_cannot_swap_the_fingerprint() {
    let mut inner = unboxed(&sealed(&offer()));
    let at = inner
        .windows(32)
        .position(|window| window == [0xfe; 32])
        .expect("the fingerprint is in the box");
    inner[at..at + 32].fill(0xbd);
    assert_eq!(
        open(&route(), &KEY, None, &boxed(Kind::Offer, &inner)),
        Err(BlobError::Signature)
    );
}

#[test]
fn a_viewer_cannot_speak_as_another_peer() {
    let mut inner = unboxed(&sealed(&offer()));
    let body = inner.split_off(64);
    let aad = [&b"baton blob 1"[..], &[0], &SWARM, &id(&ALICE), &id(&BOB)].concat();
    let signature = SigningKey::from_bytes(&MALLORY).sign(&[&aad[..], &[6; 24], &body].concat());
    let forged = boxed(Kind::Offer, &[&signature.to_bytes()[..], &body].concat());
    assert_eq!(
        open(&route(), &KEY, None, &forged),
        Err(BlobError::Signature)
    );
}

#[test]
fn a_signature_does_not_move_to_another_box() {
    let inner = unboxed(&sealed(&offer()));
    assert_eq!(
        open(&route(), &KEY, None, &boxed(Kind::Offer, &inner)),
        Err(BlobError::Signature)
    );
}

/// Signed and sealed by Alice herself, but not what the protocol allows.
fn alice_says(kind: Kind, body: &[u8]) -> Result<Signal, BlobError> {
    let aad = [
        &b"baton blob 1"[..],
        &[kind as u8],
        &SWARM,
        &id(&ALICE),
        &id(&BOB),
    ]
    .concat();
    let signature = SigningKey::from_bytes(&ALICE)
        .sign(&[&aad[..], &[6; 24], body].concat())
        .to_bytes();
    open(
        &route(),
        &KEY,
        Some(&OFFER_NONCE),
        &boxed(kind, &[&signature[..], body].concat()),
    )
}

#[test]
fn a_signed_blob_is_still_checked_field_by_field() {
    let say = |change: &dyn Fn(&mut Description)| {
        let mut description = description(Setup::ActPass);
        change(&mut description);
        alice_says(Kind::Offer, &postcard::to_allocvec(&description).unwrap())
    };
    assert!(say(&|_| ()).is_ok());
    let refused = |error: DescriptionError| Err(BlobError::Description(error));
    assert_eq!(
        say(&|d| d.ufrag = "abcd\r\na=x".into()),
        refused(DescriptionError::Ufrag)
    );
    assert_eq!(
        say(&|d| d.ufrag = "a".repeat(65)),
        refused(DescriptionError::Ufrag)
    );
    assert_eq!(
        say(&|d| d.ufrag = "abc".into()),
        refused(DescriptionError::Ufrag)
    );
    assert_eq!(
        say(&|d| d.pwd = "twenty two characters!".into()),
        refused(DescriptionError::Pwd)
    );
    assert_eq!(
        say(&|d| d.pwd = "p".repeat(129)),
        refused(DescriptionError::Pwd)
    );
    assert_eq!(
        say(&|d| d.setup = Setup::Active),
        refused(DescriptionError::Setup)
    );
    assert_eq!(
        say(&|d| d.candidates = vec![candidate(); 25]),
        refused(DescriptionError::TooManyCandidates)
    );
    assert_eq!(
        say(&|d| d.candidates[0].foundation = "1 1 udp".into()),
        refused(DescriptionError::Foundation { index: 0 })
    );
    assert_eq!(
        say(&|d| d.candidates[0].port = 0),
        refused(DescriptionError::Port { index: 0 })
    );
    for name in ["a b", "a\r\n", "a.b", "", "host.example.com/"] {
        assert_eq!(
            say(&|d| d.candidates[0].address = Address::Mdns(name.into())),
            refused(DescriptionError::Mdns { index: 0 }),
            "{name:?}"
        );
    }
    for address in [[224, 0, 0, 251], [255, 255, 255, 255], [0, 0, 0, 0]] {
        assert_eq!(
            say(&|d| d.candidates[0].address = Address::V4(address)),
            refused(DescriptionError::Address { index: 0 })
        );
        let mapped = std::net::Ipv4Addr::from(address).to_ipv6_mapped().octets();
        assert_eq!(
            say(&|d| d.candidates[0].address = Address::V6(mapped)),
            refused(DescriptionError::Address { index: 0 })
        );
    }
    assert_eq!(
        alice_says(Kind::Offer, &[1, 2, 3]),
        Err(BlobError::Fields(Kind::Offer))
    );
    assert_eq!(
        alice_says(Kind::Answer, &[0x0f; 16]),
        Err(BlobError::Fields(Kind::Answer))
    );
}

#[test]
fn what_the_receiver_would_refuse_is_not_sealed() {
    let bad = Signal::Offer(description(Setup::Active));
    assert_eq!(
        seal(&SWARM, &id(&BOB), &KEY, &ALICE, [5; 24], &bad),
        Err(BlobError::Description(DescriptionError::Setup))
    );
}

#[test]
fn the_longest_blob_fits() {
    let mut long = description(Setup::ActPass);
    long.ufrag = "u".repeat(64);
    long.pwd = "p".repeat(128);
    let mdns = IceCandidate {
        foundation: "f".repeat(32),
        priority: u32::MAX,
        address: Address::Mdns("m".repeat(63)),
        port: u16::MAX,
        transport: Transport::Tcp(TcpType::Passive),
        kind: CandidateKind::Host,
    };
    long.candidates = vec![mdns; 24];
    let blob = sealed(&Signal::Answer {
        offer_nonce: OFFER_NONCE,
        description: Description {
            setup: Setup::Active,
            ..long
        },
    });
    assert!(blob.len() <= BLOB_MAX, "{}", blob.len());
}

proptest! {
    #[test]
    fn no_bytes_make_open_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..3) {
        let _ = open(&route(), &KEY, None, &bytes);
        let _ = alice_says([Kind::Offer, Kind::Answer, Kind::Candidates][kind as usize], &bytes);
    }
}
