//! What links and tickets promise.

mod common;

use baton_content::{Link, LinkError, PublisherId, Secret, StreamKeys, Ticket};
use common::fixture;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[test]
fn every_wrong_character_in_a_link_is_told() {
    for link in [
        fixture().link,
        Link::new(fixture().link.publisher, fixture().link.secret),
    ] {
        let text = link.encode();
        assert_eq!(Link::parse(&text), Ok(link));
        for (place, right) in text.char_indices() {
            for wrong in ALPHABET.chars().filter(|wrong| *wrong != right) {
                let mut mistyped = text.clone();
                mistyped.replace_range(place..=place, &wrong.to_string());
                assert_eq!(
                    Link::parse(&mistyped),
                    Err(LinkError::Mistyped),
                    "{wrong} at {place}"
                );
            }
            for foreign in ['.', ' ', '=', '%', '+', '/', 'é', '\0'] {
                let mut mistyped = text.clone();
                mistyped.replace_range(place..=place, &foreign.to_string());
                assert!(Link::parse(&mistyped).is_err(), "{foreign:?} at {place}");
            }
        }
    }
}

#[test]
fn missing_doubled_and_swapped_characters_are_told() {
    let text = fixture().link.encode();
    for place in 0..text.len() {
        let (before, after) = text.split_at(place);
        assert!(
            Link::parse(&format!("{before}{}", &after[1..])).is_err(),
            "one missing at {place}"
        );
        assert!(
            Link::parse(&format!("{before}{}{after}", &after[..1])).is_err(),
            "one doubled at {place}"
        );
        assert!(Link::parse(before).is_err(), "cut at {place}");
        if after.len() >= 2 && after[..1] != after[1..2] {
            let swapped = format!("{before}{}{}{}", &after[1..2], &after[..1], &after[2..]);
            assert_eq!(
                Link::parse(&swapped),
                Err(LinkError::Mistyped),
                "swapped at {place}"
            );
        }
    }
    assert!(Link::parse(&text.to_lowercase()).is_err());
}

#[test]
fn a_link_is_read_out_of_what_people_paste() {
    let link = fixture().link;
    let url = link.url("https://baton.example/");
    assert_eq!(url, format!("https://baton.example/#{}", link.encode()));
    for pasted in [
        url.clone(),
        format!("  {url}\n"),
        format!("#{}", link.encode()),
        format!("https://x.example/embed#{}", link.encode()),
    ] {
        assert_eq!(Link::parse(&pasted), Ok(link.clone()));
    }
    for garbage in [
        "",
        "#",
        "https://baton.example/",
        "hello",
        "how are you today?",
        "https://baton.example/#%41",
        "A",
        "AAAA",
    ] {
        assert!(Link::parse(garbage).is_err(), "{garbage}");
    }
    assert_eq!(
        Link::parse("https://baton.example/"),
        Err(LinkError::NotALink)
    );
}

/// CRC-32 and base64url of `body`, as a maker of another version would write them.
fn written(body: &[u8]) -> String {
    let crc = !body.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xEDB8_8320
            } else {
                crc >> 1
            }
        })
    });
    let bits: Vec<u8> = body
        .iter()
        .copied()
        .chain(crc.to_le_bytes())
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let value = |six: &[u8]| {
        six.iter()
            .chain([0; 6].iter())
            .take(6)
            .fold(0, |value, bit| value << 1 | usize::from(*bit))
    };
    bits.chunks(6)
        .map(|six| ALPHABET.as_bytes()[value(six)] as char)
        .collect()
}

fn body(version: u8, tlvs: &[u8]) -> Vec<u8> {
    let link = fixture().link;
    [&[version][..], &link.publisher.0, &link.secret.0, tlvs].concat()
}

#[test]
fn another_version_is_told_apart_from_a_mistake() {
    for version in [0, 2, 77, 127] {
        assert_eq!(
            Link::parse(&written(&body(version, &[]))),
            Err(LinkError::UnknownVersion { version })
        );
        assert_eq!(
            Link::parse(&written(&[version])),
            Err(LinkError::UnknownVersion { version })
        );
    }
    assert!(Link::parse(&written(&body(1, &[]))).is_ok());
    assert_eq!(
        Ticket::parse(&written(&[0x82, 1, 2, 3])).map(|_| ()),
        Err(LinkError::UnknownVersion { version: 0x82 })
    );
}

#[test]
fn links_and_tickets_are_not_taken_for_each_other() {
    let link = fixture().link;
    assert_eq!(
        Link::parse(&link.ticket().encode()),
        Err(LinkError::IsATicket)
    );
    assert_eq!(
        Ticket::parse(&link.encode()).map(|_| ()),
        Err(LinkError::IsALink)
    );
}

#[test]
fn what_a_later_version_adds_is_kept_unless_it_must_be_understood() {
    let text = written(&body(1, &[5, 3, b'a', b'b', b'c', 6, 0]));
    let link = Link::parse(&text).expect("types below 128 may be ignored");
    assert_eq!(link.encode(), text);
    assert_eq!(
        Link::parse(&written(&body(1, &[128, 0]))),
        Err(LinkError::NeedsNewer { kind: 128 })
    );
    assert_eq!(
        Link::parse(&written(&body(1, &[5, 3, b'a', b'b']))),
        Err(LinkError::Malformed)
    );
    assert_eq!(
        Link::parse(&written(&body(1, &[5]))),
        Err(LinkError::Malformed)
    );
    assert_eq!(Link::parse(&written(&[1, 2, 3])), Err(LinkError::Malformed));
}

#[test]
fn only_origins_are_servers() {
    let fresh = || Link::new(PublisherId([1; 32]), Secret([2; 16]));
    for good in [
        "https://a.example",
        "http://192.168.1.5:8080",
        "http://[fe80::1]:8080",
        "http://localhost:8080",
    ] {
        assert_eq!(fresh().add_server(good), Ok(()), "{good}");
    }
    let long = format!("https://{}.example", "a".repeat(200));
    for bad in [
        "",
        "a.example",
        "ws://a.example",
        "https://",
        "https://a.example/x",
        "https://a@b",
        "https://a b",
        "https://a\nb",
        "javascript:alert(1)",
        "https://é",
        &long,
    ] {
        assert_eq!(fresh().add_server(bad), Err(LinkError::BadServer), "{bad}");
        if bad.len() < 256 {
            let tlv = [&[1, bad.len() as u8][..], bad.as_bytes()].concat();
            assert_eq!(
                Link::parse(&written(&body(1, &tlv))),
                Err(LinkError::BadServer),
                "{bad}"
            );
        }
    }
    let mut link = fresh();
    let added = (0..9)
        .filter(|port| {
            link.add_server(&format!("https://a.example:{port}"))
                .is_ok()
        })
        .count();
    assert_eq!((added, link.servers().len()), (4, 4));
}

#[test]
fn nothing_secret_is_printed() {
    let fixture = fixture();
    let keys = fixture.link.keys();
    let printed = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        fixture.link,
        keys,
        fixture.publisher,
        fixture.content_key,
        keys.link_slot,
        fixture.link.ticket(),
        fixture.content_key.lane_key(baton_content::DATA_LANE)
    );
    let secrets = [
        &fixture.publisher.seed()[..],
        &fixture.link.secret.0,
        keys.swarm.seed(),
        &keys.signalling,
        keys.link_slot.as_bytes(),
        fixture.content_key.as_bytes(),
    ];
    for secret in secrets {
        assert!(!printed.contains(&common::hex(&secret[..4])), "{printed}");
        assert!(
            !printed.contains(&format!("{}, {}, {}", secret[0], secret[1], secret[2])),
            "{printed}"
        );
    }
}

#[test]
fn keeper_and_viewer_meet_in_one_swarm_and_only_the_viewer_can_read() {
    let fixture = fixture();
    let ticket = Ticket::parse(&fixture.link.ticket().encode()).expect("what was written is read");
    let keys = fixture.link.keys();
    assert_eq!(ticket.swarm.id(), keys.swarm.id());
    assert_eq!(ticket.signalling, keys.signalling);
    // Nothing the ticket holds opens the slot.
    let slot = &fixture.head().slots[0];
    for key in [*ticket.swarm.seed(), ticket.signalling, ticket.publisher.0] {
        assert!(slot.open(&baton_content::SlotKey::from_bytes(key)).is_err());
    }
}

proptest! {
    #[test]
    fn a_link_reads_as_what_was_written(publisher: [u8; 32], secret: [u8; 16], ports in prop::collection::vec(any::<u16>(), 0..4)) {
        let mut link = Link::new(PublisherId(publisher), Secret(secret));
        for port in ports {
            link.add_server(&format!("http://host.example:{port}")).expect("this is an origin");
        }
        prop_assert_eq!(Link::parse(&link.encode()), Ok(link));
    }

    #[test]
    fn every_derived_key_is_its_own(publisher: [u8; 32], secret: [u8; 16], other: [u8; 16]) {
        prop_assume!(secret != other);
        let derive = |secret| StreamKeys::derive(&PublisherId(publisher), &Secret(secret));
        let all: Vec<[u8; 32]> = [derive(secret), derive(other)].iter().flat_map(|keys| [*keys.swarm.seed(), keys.signalling, *keys.link_slot.as_bytes()]).collect();
        prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 6);
    }
}
